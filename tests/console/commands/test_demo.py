"""``matapalo demo``: in a checkout it is the demo, elsewhere it says where the demo is."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]


def test_in_a_checkout_it_hands_its_words_over() -> None:
    """Options, --help too, are the demo's own."""
    done = subprocess.run(
        [sys.executable, "-m", "matapalo", "demo", "--help"], cwd=ROOT, capture_output=True, text=True, check=False
    )

    assert done.returncode == 0
    assert "--for" in done.stdout


def test_without_a_checkout_it_says_how_to_get_it(tmp_path: Path) -> None:
    """An installed package has no demo and says so in one sentence, exit code 1."""
    for room in ("config", "rules", "shadow", "store", "proxy", "console"):
        shutil.copytree(ROOT / room, tmp_path / room, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "matapalo.py", tmp_path)

    done = subprocess.run(
        [sys.executable, "-m", "matapalo", "demo"], cwd=tmp_path, capture_output=True, text=True, check=False
    )

    assert done.returncode == 1
    assert "clone the repository and run scripts/demo" in done.stderr
