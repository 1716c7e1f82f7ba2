"""The grammar of RFC 8259 as byte patterns, and the limits of what is read.

Rules of this file:

1. Every repetition is possessive (``*+``), so no pattern can be made to
   backtrack: matching is linear whatever a backend sends.
2. Patterns work on bytes. Nothing is decoded before it is known to be a string.
3. A limit is an outcome of its own, never a crash and never an answer.
"""

from __future__ import annotations

import re
from typing import Final

MAX_BYTES: Final = 16 << 20
"""A larger body is not read for its meaning."""

MAX_DEPTH: Final = 512
"""Containers inside each other; below CPython's recursion limit of 1,000, which C code shares."""

MAX_TOKENS: Final = 250_000
"""Values and member names of one body; about half a second of the slow reader."""

MAX_NUMBER_CHARS: Final = 1_000
"""Text of one number."""

MAX_EXPONENT: Final = 400
"""Written exponent of one number: above a double's 308, far below what eats memory when written out."""

GAP: Final = rb"[ \t\n\r]*+"
STRING: Final = rb'"[^"\\\x00-\x1f]*+(?:\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})[^"\\\x00-\x1f]*+)*+"'
NUMBER: Final = rb"-?+(?:0|[1-9][0-9]*+)(?:\.[0-9]++)?+(?:[eE][+-]?+[0-9]++)?+"
SCALAR: Final = rb"(?:" + STRING + rb"|" + NUMBER + rb"|true|false|null)"

# The literal stands first: the search for it then runs at the speed of a plain find, dates and all.
MINUS_ZERO: Final = re.compile(rb"-0(?<![^\[,: \t\n\r]-0)(?![0-9.eE])")
"""An integer ``-0``, or something in a string that looks like it; where it finds nothing there is none."""


class NotJsonError(Exception):
    """A body is not one JSON text of RFC 8259."""

    def __init__(self, offset: int) -> None:
        super().__init__(f"not JSON: byte {offset} fits no rule of RFC 8259 there")
        self.offset = offset


class OverLimitError(Exception):
    """A body is beyond what is read; ``limit`` is ``size``, ``depth``, ``tokens`` or ``number``."""

    def __init__(self, limit: str) -> None:
        super().__init__(f"the body is beyond the {limit} limit of the value check")
        self.limit = limit
