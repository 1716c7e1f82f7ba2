"""The closed vocabulary of causes: why two answers differ, as one table.

A cause is a name in the field's words, a severity and one sentence. Only cosmetic causes may enter a route's
encoding, because only they leave every conforming JSON parser with the same value (RFC 8259).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType
from typing import Final


class Severity(str, Enum):
    """Say who can see a difference."""

    VISIBLE = "client-visible"
    """Another value: every client sees it."""
    DEPENDENT = "client-dependent"
    """Typed or strict parsers, caches and string compares see it."""
    COSMETIC = "cosmetic"
    """Every conforming JSON parser gives the same value; hashes and signatures see it all the same."""
    NOISE = "noise"
    """Differs between two answers of one service too: clocks, random identifiers."""
    UNKNOWN = "unknown"
    """A limit stopped the explanation, or nothing in the table fits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """Describe one reason for a difference."""

    name: str
    severity: Severity
    sentence: str


def _table(severity: Severity, rows: dict[str, str]) -> dict[str, Cause]:
    return {name: Cause(name=name, severity=severity, sentence=text) for name, text in rows.items()}


CAUSES: Final = MappingProxyType(
    {
        **_table(
            Severity.COSMETIC,
            {
                "whitespace.trailing_newline": "Blanks behind the value differ, mostly one line feed.",
                "whitespace.separator": "Blanks behind commas or colons differ.",
                "whitespace.indent": "One side is printed over several lines, or with another indent.",
                "key_order": "The same members stand in another order.",
                "escape.html": "One side escapes < > & (some also = and quotes) in strings.",
                "escape.line_separator": "One side escapes U+2028 and U+2029.",
                "escape.non_ascii": "One side escapes characters beyond ASCII.",
                "escape.solidus": "One side writes / as \\/.",
                "escape.control": "Control characters or DEL are escaped in another way.",
                "escape.hex_case": "Escapes have hexadecimal digits in the other case.",
                "number.exponent_threshold": "Equal numbers, only one of them with an exponent.",
                "number.exponent_spelling": "Equal numbers whose exponents are spelled differently.",
            },
        ),
        **_table(
            Severity.DEPENDENT,
            {
                "framing.bom": "One side begins with a byte order mark.",
                "framing.charset": "One side is not UTF-8.",
                "framing.prefix": "One side has a guard or a callback around its JSON.",
                "framing.empty_body": "One side is empty where the other is null.",
                "framing.raw_string": "One side is the bare text of the other's JSON string.",
                "key.duplicate": "A member stands twice in one object.",
                "number.integral_float": "Equal numbers, only one of them with a zero fraction (1.0 and 1).",
                "number.negative_zero": "Zero with and without a sign.",
                "number.float_digits": "One double with more or fewer digits.",
                "number.decimal_spelling": "Equal decimals with another scale (10.50 and 10.5).",
                "time.fraction": "The same moment with other digits of a second.",
                "time.zone": "The same moment with another offset.",
                "http.charset": "The content types differ in their charset only.",
                "http.content_encoding": "The bodies are compressed differently, or one of them twice or unannounced.",
                "http.header": "A compared response header differs.",
            },
        ),
        **_table(
            Severity.VISIBLE,
            {
                "key.name": "A member's name is spelled in another way (userId and user_id).",
                "escape.surrogate_pair": "A character beyond the basic plane is escaped with five digits.",
                "unicode.invalid": "A broken character is replaced, dropped or passed on.",
                "unicode.normalization": "The same text in another Unicode normal form.",
                "unicode.mojibake": "The text was decoded with the wrong charset.",
                "number.float32": "The number passed through 32 bits.",
                "number.precision_loss": "An integer beyond 2^53 passed through a double.",
                "number.as_string": "A number on one side is its text in quotes on the other.",
                "number.nonfinite": "NaN or Infinity on one side.",
                "null.empty_array": "null on one side, [] on the other.",
                "null.empty_object": "null on one side, {} on the other.",
                "null.omitted": "A member is null on one side and absent on the other.",
                "zero.omitted": "A member with a zero value on one side is absent on the other.",
                "null.zero_value": "null on one side, an empty or zero value on the other.",
                "value.null": "A value became null.",
                "container.object_as_array": "An object on one side is an array on the other.",
                "time.format": "The same moment in another shape.",
                "type.duration": "The same duration in another unit or shape.",
                "type.bytes": "The same bytes in another shape.",
                "type.bool": "true or false on one side, 1 or 0 on the other.",
                "type.enum": "An enumeration's name, value or case.",
                "type.changed": "A value has another type.",
                "value.changed": "A value differs.",
                "member.missing": "A member of legacy's is absent in new.",
                "member.added": "A member of new's is absent in legacy.",
                "array.reordered": "The same items stand in another order.",
                "array.missing_item": "An item of legacy's is absent in new.",
                "array.extra_item": "An item of new's is absent in legacy.",
                "envelope.wrapped": "New has one more level around the value.",
                "envelope.unwrapped": "Legacy has one more level around the value.",
                "body.empty": "One side has no body.",
                "body.truncated": "One side's JSON ends too early.",
                "body.trailing_data": "One side has data behind its JSON value.",
                "body.not_json": "One side is not JSON.",
                "body.changed": "Bodies that are not compared as JSON differ.",
                "http.status": "The status codes differ.",
                "http.content_type": "The media types differ.",
            },
        ),
        **_table(
            Severity.NOISE,
            {
                "volatile.timestamp": "Two moments of the same minutes: a clock.",
                "volatile.id": "Two identifiers of one kind: random or counted.",
                "volatile.duration": "Two small measurements: a stopwatch.",
            },
        ),
        **_table(
            Severity.UNKNOWN,
            {
                "limit.depth": "The nesting is beyond what is explained.",
                "limit.size": "The size is beyond what is explained.",
                "unexplained": "Nothing in this table fits, or nobody looked closer.",
            },
        ),
    }
)
"""Every cause by its name; what is not here does not exist."""
