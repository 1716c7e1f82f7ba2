"""The reference is generated, whole, and checked in as generated."""

from __future__ import annotations

import re
from pathlib import Path

from config import reference_markdown

ROOT = Path(__file__).resolve().parents[2]


def test_the_document_in_the_repository_is_the_generated_one() -> None:
    """docs/configuration.md says exactly what the loader does."""
    written = (ROOT / "docs/configuration.md").read_text()

    assert written == reference_markdown(), "write config.reference_markdown() to docs/configuration.md"


def test_every_link_has_its_section() -> None:
    """A key that leads to a section links to a heading that exists."""
    text = reference_markdown()
    headings = {heading.lower().replace(" ", "-") for heading in re.findall(r"^## (.+)$", text, re.MULTILINE)}

    assert set(re.findall(r"\]\(#([a-z-]+)\)", text)) <= headings


def test_every_row_has_four_cells() -> None:
    """No text of a key breaks its table."""
    rows = [line for line in reference_markdown().splitlines() if line.startswith("| ")]

    assert len(rows) > 80
    assert all(len(re.findall(r"(?<!\\)\|", row)) == 5 for row in rows)
