"""``matapalo schema``."""

from __future__ import annotations

import pytest

from config.schema import json_schema
from tests.console.commands.conftest import Cli


@pytest.mark.parametrize("words", [[], ["--json"]])
def test_it_prints_the_schema_and_nothing_else(cli: Cli, words: list[str]) -> None:
    """The output is the JSON Schema, ready to be redirected into a file."""
    printed = cli("schema", *words)

    assert printed.code == 0
    assert printed.json == json_schema()
