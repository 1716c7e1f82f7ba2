"""The JSON Schema of the configuration, for editors and for checks without Matapalo."""

from __future__ import annotations

from config.kinds import Schema
from config.table import ROOT

VARIABLE_PATTERN = r"\$\{[A-Za-z_][A-Za-z0-9_]*(:[-?][^}]*)?\}"


def json_schema() -> Schema:
    """Describe the main file.

    Shape: the common subset of draft-07, which editors read, and 2020-12; no ``$ref`` has a neighbour.
    What the schema accepts may still be refused by the loader, which also sees what no single key can know.
    """
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "Matapalo configuration",
        "description": ROOT.doc,
        **ROOT.schema(),
        "definitions": {
            "variable": {
                "type": "string",
                "pattern": VARIABLE_PATTERN,
                "description": "A value from the environment: ${NAME}, ${NAME:-default} or ${NAME:?message}.",
            }
        },
    }
