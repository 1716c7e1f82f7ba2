"""The names of the causes that a configuration may speak of.

What each cause means stands in :mod:`shadow.causes`, which this room may not import; a test holds the two together.
"""

from __future__ import annotations

import difflib
from typing import Final

from config.errors import UnfitError

EXPECTED: Final = "the name of a cause, such as volatile.timestamp"

COSMETIC: Final = (
    "whitespace.trailing_newline",
    "whitespace.separator",
    "whitespace.indent",
    "key_order",
    "escape.html",
    "escape.line_separator",
    "escape.non_ascii",
    "escape.solidus",
    "escape.control",
    "escape.hex_case",
    "number.exponent_threshold",
    "number.exponent_spelling",
)
"""Causes that no JSON parser sees."""

CAUSES: Final = (
    *COSMETIC,
    "framing.bom",
    "framing.charset",
    "framing.prefix",
    "framing.empty_body",
    "framing.raw_string",
    "key.duplicate",
    "number.integral_float",
    "number.negative_zero",
    "number.float_digits",
    "number.decimal_spelling",
    "time.fraction",
    "time.zone",
    "http.charset",
    "http.content_encoding",
    "http.header",
    "key.name",
    "escape.surrogate_pair",
    "unicode.invalid",
    "unicode.normalization",
    "unicode.mojibake",
    "number.float32",
    "number.precision_loss",
    "number.as_string",
    "number.nonfinite",
    "null.empty_array",
    "null.empty_object",
    "null.omitted",
    "zero.omitted",
    "null.zero_value",
    "value.null",
    "container.object_as_array",
    "time.format",
    "type.duration",
    "type.bytes",
    "type.bool",
    "type.enum",
    "type.changed",
    "value.changed",
    "member.missing",
    "member.added",
    "array.reordered",
    "array.missing_item",
    "array.extra_item",
    "envelope.wrapped",
    "envelope.unwrapped",
    "body.empty",
    "body.truncated",
    "body.trailing_data",
    "body.not_json",
    "body.changed",
    "http.status",
    "http.content_type",
    "volatile.timestamp",
    "volatile.id",
    "volatile.duration",
    "limit.depth",
    "limit.size",
    "unexplained",
)
"""Every cause, in the order of the table of causes."""

NEVER_TOLERATED: Final = {
    "http.status": "another status is another answer",
    "body.truncated": "half an answer is no answer",
    "limit.depth": "nobody has looked at the rest",
    "limit.size": "nobody has looked at the rest",
    "unexplained": "nobody knows what it would hide",
}
"""Causes that no tolerance hides, each with the reason."""

TOLERABLE: Final = tuple(name for name in CAUSES if name not in NEVER_TOLERATED)


def tolerable(written: str) -> str:
    """Take the name of a cause that may be tolerated.

    Raises: UnfitError with the reason why it may not, or with the name that was probably meant.
    """
    if written in NEVER_TOLERATED:
        raise UnfitError(written, "another cause", f"it is never hidden: {NEVER_TOLERATED[written]}")
    if written not in CAUSES:
        close = difflib.get_close_matches(written[:100], TOLERABLE, n=1)
        raise UnfitError(written, EXPECTED, f"did you mean {close[0]!r}?" if close else "`matapalo causes` lists them")
    return written
