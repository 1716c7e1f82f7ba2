"""A route's encoding: the proven cosmetic causes, and whether they alone make two bodies equal.

In the first weeks of a migration nearly every pair differs by the same line feed, separator or order of members.
Once an explanation has *proved* such causes, they are the route's :data:`Encoding`, and :func:`covers` replays them
at full traffic: it rewrites both bodies to one spelling of exactly those causes and compares. Rules of this file:

1. **Sound.** ``covers`` says true only if an explanation within its limits would name no cause outside the encoding.
   Every doubt says false, which costs a value check and nothing else. In particular: a body that is not JSON,
   ill-formed UTF-8, a lone surrogate, a member that stands twice, ``-0`` in a rewritten body, and any spelling that
   the rewriting would lose although its cause is not in the encoding.
2. **Cheapest first.** Trim, then respell escapes as text, and only then decode and encode again.
3. **A rewriting is injective on what is not excused.** An escape that stays is *protected*: the character U+0001, which
   no JSON text holds raw, marks it, so that decoding cannot make it equal to another spelling. A number that stays
   keeps its text (msgspec.Raw).
4. Everything is linear and in C; nothing here recurses in Python.

Why these and not other rewritings: docs/decisions/0015-replay.md.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any, Final

import msgspec

from shadow import json_grammar as grammar
from shadow.causes import CAUSES, Severity
from shadow.difference import Explanation, Proof
from shadow.json_grammar import MINUS_ZERO
from shadow.json_value import Meaning

Encoding = frozenset[str]
"""Names of cosmetic causes; empty: nothing is replayed."""

COSMETIC: Final = frozenset(name for name, cause in CAUSES.items() if cause.severity is Severity.COSMETIC)
"""What an encoding may hold, and so its bound."""

NOTHING: Final[Encoding] = frozenset()

_BLANKS: Final = b" \t\n\r"
_GAPS: Final = frozenset(("whitespace.separator", "whitespace.indent"))
_NUMBERS: Final = frozenset(("number.exponent_threshold", "number.exponent_spelling"))
_ESCAPES: Final = frozenset(name for name in COSMETIC if name.startswith("escape."))
_REWRITTEN: Final = _GAPS | _NUMBERS | {"key_order"}
"""Causes that are replayed by decoding and encoding."""

_DOUBTS: Final = (msgspec.MsgspecError, ValueError, RecursionError)
"""What a body that is no JSON, or too deep, or ill-formed makes the readers raise."""


def learn(encoding: Encoding, explanation: Explanation) -> Encoding:
    """Add what one explanation has proved of one JSON value: its causes, if all of them are cosmetic.

    Bound: at most the causes of :data:`COSMETIC`.
    """
    is_proven = explanation.proof is Proof.PROVEN and explanation.meaning is Meaning.SAME
    if is_proven and explanation.causes <= COSMETIC:
        return encoding | explanation.causes
    return encoding


def covers(encoding: Encoding, legacy: bytes, new: bytes) -> bool:
    """Say whether exactly the causes of *encoding*, normalised away, make both bodies equal.

    Bound: MAX_BYTES of each body.
    Cost: about 2 microseconds for 1 KB where trimming decides, 20 where both are rewritten.
    """
    if legacy == new:
        return True
    if not encoding or max(len(legacy), len(new)) > grammar.MAX_BYTES:
        return False
    left, right = legacy.strip(_BLANKS), new.strip(_BLANKS)
    if not _margins_agree(encoding, legacy, left, new, right):
        return False
    try:
        if left == right:
            return _is_json(left)
        return _is_json(left) and _is_json(right) and _agree(encoding, left, right)
    except _DOUBTS:
        return False


def _margins_agree(encoding: Encoding, legacy: bytes, left: bytes, new: bytes, right: bytes) -> bool:
    """Compare the blanks around the values: only those behind are ever excused."""
    heads = legacy[: legacy.find(left[:1])], new[: new.find(right[:1])]
    if heads[0] != heads[1]:
        return False
    return (
        "whitespace.trailing_newline" in encoding
        or legacy[len(heads[0]) + len(left) :] == new[len(heads[1]) + len(right) :]
    )


_SHAPE: Final = msgspec.json.Decoder(msgspec.Raw)


def _is_json(body: bytes) -> bool:
    """Say that a body is one well-formed JSON text of UTF-8.

    Raises: the doubts.
    """
    _SHAPE.decode(body)
    return body.isascii() or bool(body.decode())


def _agree(encoding: Encoding, left: bytes, right: bytes) -> bool:
    """Compare two different JSON texts without margins.

    Raises: the doubts.
    """
    if _ESCAPE.search(left) or _ESCAPE.search(right):
        escapes = encoding & _ESCAPES
        if not _hex_digits_agree(escapes, left, right):
            return False
        left, right = _respelled(escapes, left), _respelled(escapes, right)
        if left == right:
            return True
    if encoding.isdisjoint(_REWRITTEN) or not _gaps_agree(encoding, left, right):
        return False
    if MINUS_ZERO.search(left) or MINUS_ZERO.search(right):
        return False
    decode = _decoder(encoding & _NUMBERS, left, right)
    encode = _SORTED if "key_order" in encoding else _IN_ORDER
    return _rewritten(left, decode, encode) == _rewritten(right, decode, encode)


def _rewritten(body: bytes, decoder: msgspec.json.Decoder[Any], encoder: msgspec.json.Encoder) -> bytes:
    """Decode and encode: no blanks, numbers as the decoder spells them, members as the encoder orders them.

    Raises: the doubts, a member that stands twice among them.
    """
    written = encoder.encode(decoder.decode(body))
    # Behind the respelling every quote of a string stands for itself, so only a lost member loses any.
    if written.count(b'"') != body.count(b'"'):
        raise ValueError("a member stands twice")
    return written


# ---- escapes: respelled as text ------------------------------------------------------------------------------------

_ESCAPE: Final = re.compile(rb"\\[u/]")
"""Escapes that have another spelling; the other ones are each the only way to write their character."""

_TAIL: Final = rb"(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|u[0-9a-fA-F]{4})"
# Every pattern begins with its backslash, for which the search is a plain find.
_UNITS: Final = re.compile(rb"\\" + _TAIL)
_RUN: Final = re.compile(rb"\\(?:" + _TAIL + rb"(?:\\" + _TAIL + rb"){0,7}+|[^u])")
"""One short escape, or up to eight characters at once: a run is the unit of the cache, so it stays short."""

_UPPER_DIGIT: Final = re.compile(rb"\\u[0-9a-f]{0,3}[A-F]")
_LOWER_DIGIT: Final = re.compile(rb"\\u[0-9A-F]{0,3}[a-f]")

_MARK: Final = b"\\u0001"
_SHORT: Final = {0x08: b"\\b", 0x09: b"\\t", 0x0A: b"\\n", 0x0C: b"\\f", 0x0D: b"\\r", 0x22: b'\\"'}

_NEVER: Final = frozenset(("",))
"""What no encoding holds."""

_HTML: Final = frozenset(map(ord, "<>&='\""))


@lru_cache(maxsize=4_096)
def _causes_of(code: int) -> frozenset[str]:
    """Name the causes that excuse an escape of this character; all of them are needed.

    Shape: U+2028 needs two, because one pair cannot tell which one it was; U+FFFD may stand for a
    broken character, which is not cosmetic.
    """
    if code < 0x20 or code == 0x7F:
        return frozenset(("escape.control",))
    if code in _HTML:
        return frozenset(("escape.html",))
    if code in (0x2028, 0x2029):
        return frozenset(("escape.line_separator", "escape.non_ascii"))
    return _NEVER if code < 0x80 or code == 0xFFFD else frozenset(("escape.non_ascii",))


def _code_of(unit: bytes) -> int:
    high = int(unit[2:6], 16)
    return high if len(unit) == 6 else 0x10000 + ((high - 0xD800) << 10) + int(unit[8:12], 16) - 0xDC00


def _respelled(escapes: Encoding, body: bytes) -> bytes:
    """Write what *escapes* excuse in one way, and protect every other escape that has a second spelling."""
    return _RUN.sub(lambda match: _respelled_run(escapes, match[0]), body)


@lru_cache(maxsize=4_096)
def _respelled_run(escapes: Encoding, run: bytes) -> bytes:
    if run == b"\\/":
        return b"/" if "escape.solidus" in escapes else _MARK + b"/"
    if len(run) == 2:
        return run
    return b"".join(_respelled_unit(escapes, unit) for unit in _UNITS.findall(run))


def _respelled_unit(escapes: Encoding, unit: bytes) -> bytes:
    code = _code_of(unit)
    if _causes_of(code) <= escapes:
        if code in _SHORT:
            return _SHORT[code]
        if code >= 0x20:
            return chr(code).encode()
    digits = unit.replace(b"\\", b"")
    return _MARK + (digits.lower() if "escape.hex_case" in escapes else digits)


def _hex_digits_agree(escapes: Encoding, left: bytes, right: bytes) -> bool:
    """Say that no respelling can hide digits in the other case, where that is not excused.

    Shape: a doubt, and so false, where one side has upper case anywhere and the other lower.
    """
    if "escape.hex_case" in escapes:
        return True
    return not any(_UPPER_DIGIT.search(one) and _LOWER_DIGIT.search(two) for one, two in ((left, right), (right, left)))


# ---- gaps: the blanks between tokens -------------------------------------------------------------------------------

_COMPACT: Final = -1
_SPACED: Final = 0


def _gaps_agree(encoding: Encoding, left: bytes, right: bytes) -> bool:
    """Say that all gaps that differ are excused.

    Shape: on one line, only the two layouts that leave no doubt.
    Raises: the doubts.
    """
    if encoding >= _GAPS:
        return True
    layouts = _layout(left), _layout(right)
    if layouts[0] == layouts[1]:
        return layouts[0] is not None
    # No string of a JSON text holds a raw line feed, so one anywhere is an indent. On one side it is enough; two
    # layouts of several lines may differ in their separators too, unless both are known.
    lines = b"\n" in left, b"\n" in right
    if any(lines):
        return "whitespace.indent" in encoding and not (all(lines) and None in layouts)
    return "whitespace.separator" in encoding and set(layouts) == {_COMPACT, _SPACED}


def _layout(body: bytes) -> int | None:
    """Give the spaces of an indent, ``_SPACED`` (``, `` and ``: `` on one line), ``_COMPACT``, or ``None`` for others.

    Raises: the doubts.
    """
    if b"\n" in body:
        start = body.index(b"\n") + 1
        spaces = len(body[start : start + 16]) - len(body[start : start + 16].lstrip(b" "))
        return spaces if spaces and msgspec.json.format(body, indent=spaces) == body else None
    return next((kind for kind in (_COMPACT, _SPACED) if msgspec.json.format(body, indent=kind) == body), None)


# ---- numbers: by their text ----------------------------------------------------------------------------------------

_EXPONENT: Final = re.compile(rb"[0-9][eE][-+0-9]")
_SCIENTIFIC: Final = re.compile(r"(-?)([1-9])(?:\.(?:0|([0-9]*[1-9])))?[eE]([-+]?)0*+([0-9]{1,3})")
"""A number as programs write it: one digit before the point, no idle zeros but a single ``.0``."""


def _spell_exponent(text: str) -> msgspec.Raw:
    match = _SCIENTIFIC.fullmatch(text)
    if match is None:
        return msgspec.Raw(text)
    sign, digit, fraction, direction, exponent = match.groups("")
    return msgspec.Raw(f"{sign}{digit}{'.' if fraction else ''}{fraction}e{direction.strip('+')}{exponent}")


def _write_out(text: str) -> msgspec.Raw:
    match = _SCIENTIFIC.fullmatch(text)
    if match is None:
        return msgspec.Raw(text)
    sign, digit, fraction, direction, exponent = match.groups("")
    digits, places = digit + fraction, int(direction + exponent)
    if places < 0:
        return msgspec.Raw(f"{sign}0.{'0' * (-places - 1)}{digits}")
    whole, rest = digits[: 1 + places].ljust(1 + places, "0"), digits[1 + places :]
    return msgspec.Raw(f"{sign}{whole}{'.' if rest else ''}{rest}")


_VERBATIM: Final = msgspec.json.Decoder(float_hook=msgspec.Raw)
_ONE_EXPONENT: Final = msgspec.json.Decoder(float_hook=_spell_exponent)
_NO_EXPONENT: Final = msgspec.json.Decoder(float_hook=_write_out)
_SORTED: Final = msgspec.json.Encoder(order="sorted")
_IN_ORDER: Final = msgspec.json.Encoder()


def _decoder(numbers: Encoding, left: bytes, right: bytes) -> msgspec.json.Decoder[Any]:
    """Choose how numbers are read: with their own text, or respelled as far as it is excused."""
    if not numbers:
        return _VERBATIM
    if "number.exponent_threshold" not in numbers:
        return _ONE_EXPONENT
    # Written out, two exponents would meet whatever their spelling.
    if "number.exponent_spelling" in numbers or not (_EXPONENT.search(left) and _EXPONENT.search(right)):
        return _NO_EXPONENT
    return _VERBATIM
