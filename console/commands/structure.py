"""How two JSON values differ by structure, as DeepDiff says; the only module of the command line that imports it.

It never decides anything: whether bytes or meaning are equal is the comparer's word.
"""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Final

import click

from console.commands.admin import JsonObject
from console.commands.sheet import body_of

MAX_BYTES: Final = 256 << 10
"""Of one body: DeepDiff needs some 100 times as much memory."""

MAX_DEPTH: Final = 100
"""Levels of nesting: DeepDiff is recursive."""


def structure_of(comparison: JsonObject) -> str:
    """Describe in lines how new's value differs from legacy's.

    Raises: ClickException where the bodies were not kept, are no JSON, or are too large.
    """
    legacy, new = (_value(comparison[side], side) for side in ("legacy", "new"))
    import deepdiff  # 0.2 s that only this option needs

    # Its defaults leave members out whose names begin with "__".
    found = deepdiff.DeepDiff(legacy, new, ignore_private_variables=False, verbose_level=2)
    return str(found.pretty()) or "The two values are the same; `matapalo diff` says how their bytes differ."


def _value(answer: JsonObject, side: str) -> object:
    body = body_of(answer)
    if body is None:
        raise click.ClickException(
            f"the body of {side} was not kept: set `keep: bodies` on the route and wait for the next example"
        )
    if len(body) > MAX_BYTES:
        raise click.ClickException(f"the body of {side} has {len(body)} bytes; expected at most {MAX_BYTES}")
    if _depth(body) > MAX_DEPTH:
        raise click.ClickException(f"the body of {side} is nested deeper than {MAX_DEPTH} levels")
    try:
        return json.loads(body, parse_float=Decimal)
    except (ValueError, RecursionError) as error:
        raise click.ClickException(f"the body of {side} is no JSON ({error}); `--raw` shows it") from error


def _depth(body: bytes) -> int:
    """Bound the nesting from above: brackets inside strings count, too."""
    depth = deepest = 0
    for byte in body:
        if byte in b"[{":
            depth += 1
            deepest = max(deepest, depth)
        elif byte in b"]}":
            depth -= 1
    return deepest
