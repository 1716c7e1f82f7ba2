"""What a JSON body means, apart from how it is spelled.

A body is read into a *plain value* in which two equal values are equal for
Python's ``==`` and nothing else is:

====================  ===========================================================
JSON                  plain value
====================  ===========================================================
null, true, false     ``None``, ``True``, ``False``
number                ``bytes``: one spelling per decimal value, never rounded
string                ``str``; with ill-formed UTF-8 inside a 1-tuple of ``bytes``
array, object         ``list``, ``dict`` (unordered, the last duplicate wins)
====================  ===========================================================

No two rows share a Python type, so ``true`` never equals ``1`` and ``"1"`` never
equals ``1``.

There are two readers. The slow one is ours, strict and iterative, and defines
the answer. The quick one is CPython's C scanner; it is used only where its
answer is provably the same (see :func:`_read_quickly`), and every refusal of it
is decided again by the slow one.

Whether two bodies mean the same is mostly known without either: msgspec decodes
both and writes them again in the one spelling that a value has, see
:func:`_canonical`. Bytes know no ``True == 1``; every doubt goes to the readers.
"""

from __future__ import annotations

import json
import json.scanner
import re
from dataclasses import dataclass
from enum import Enum
from typing import Final

import msgspec

from shadow import json_grammar as grammar
from shadow.json_grammar import NotJsonError, OverLimitError

_UNSURE: Final = object()


class Meaning(str, Enum):
    """Say whether two bodies are the same JSON value."""

    SAME = "same"
    DIFFERENT = "different"
    NOT_JSON = "not_json"
    """At least one side is not JSON and the bytes differ: such a body equals nothing but itself."""
    LIMIT = "limit"
    """A limit stopped the reading: nobody knows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MeaningCheck:
    """Hold the answer of :func:`check_meaning` and what was learned on the way."""

    meaning: Meaning
    limit: str = ""
    """Which limit stopped it: ``size``, ``depth``, ``tokens`` or ``number``."""
    legacy_is_json: bool | None = None
    """``None``: not known."""
    new_is_json: bool | None = None


def check_meaning(legacy: bytes, new: bytes) -> MeaningCheck:
    """Say whether both bodies are the same JSON value: members unordered, numbers exact.

    Cost: about 15 microseconds for two bodies of 1 KB, 2 ms for two of 100 KB; three times as much on a doubt.
    """
    if legacy == new:
        return MeaningCheck(meaning=Meaning.SAME)
    legacy_spelling = _canonical(legacy)
    new_spelling = _canonical(new) if legacy_spelling else b""
    if legacy_spelling and new_spelling:
        meaning = Meaning.SAME if legacy_spelling == new_spelling else Meaning.DIFFERENT
        return MeaningCheck(meaning=meaning, legacy_is_json=True, new_is_json=True)
    legacy_value, legacy_is_json, legacy_limit = _try_read(legacy)
    new_value, new_is_json, new_limit = _try_read(new)
    limit = legacy_limit or new_limit
    if legacy_is_json is False or new_is_json is False:
        # Known without the other side: what is not JSON equals nothing but itself.
        meaning, limit = Meaning.NOT_JSON, ""
    elif limit:
        meaning = Meaning.LIMIT
    else:
        # C recursion, but both values are at most MAX_DEPTH deep.
        meaning = Meaning.SAME if legacy_value == new_value else Meaning.DIFFERENT
    return MeaningCheck(meaning=meaning, limit=limit, legacy_is_json=legacy_is_json, new_is_json=new_is_json)


def read(body: bytes) -> object:
    """Read one JSON text into its plain value.

    Raises: NotJsonError, OverLimitError.
    Cost: 15 to 25 ns per byte on the quick way, 60 to 140 on the slow one.
    """
    if len(body) > grammar.MAX_BYTES:
        raise OverLimitError("size")
    value = _read_quickly(body)
    return read_slowly(body) if value is _UNSURE else value


def _try_read(body: bytes) -> tuple[object, bool | None, str]:
    try:
        return read(body), True, ""
    except NotJsonError:
        return None, False, ""
    except OverLimitError as error:
        return None, None, error.limit


# ---- the canonical spelling ------------------------------------------------------------------------------------------


def _positional(text: str) -> msgspec.Raw:
    """Spell a number that has a point or an exponent without exponent, idle zeros and the sign of zero.

    Raises: OverLimitError.
    """
    # What programs write mostly is that spelling already; the order of the tests is that of their cost.
    if text[-1] in "123456789" and "e" not in text and "E" not in text and len(text) <= grammar.MAX_NUMBER_CHARS:
        return msgspec.Raw(text)
    digits, _, exponent = plain_number(text).decode().partition("e-")
    if not exponent:
        return msgspec.Raw(digits)
    sign, digits = ("-", digits[1:]) if digits[0] == "-" else ("", digits)
    digits = digits.rjust(int(exponent) + 1, "0")
    return msgspec.Raw(f"{sign}{digits[: -int(exponent)]}.{digits[-int(exponent) :]}")


_CANONICAL_DECODER: Final = msgspec.json.Decoder(float_hook=_positional)
_CANONICAL_ENCODER: Final = msgspec.json.Encoder(order="sorted")


def _canonical(body: bytes) -> bytes:
    """Spell a body in the one way that its value has; empty on any doubt.

    Two bodies have one spelling exactly where both readers give equal values, because: integers are decoded exactly
    and written as plain digits, as :func:`_positional` writes every other number of that value (``-0`` is 0 in both);
    text is decoded to characters and written in one way; the last duplicate wins; members are sorted by name. What
    msgspec reads otherwise than the slow reader it refuses: ill-formed UTF-8, lone surrogates, what is no JSON.
    """
    if len(body) > grammar.MAX_BYTES or _may_be_over_limit(body):
        return b""
    try:
        value = _CANONICAL_DECODER.decode(body)
        _check_depth(body, value)
        return _CANONICAL_ENCODER.encode(value)
    except (msgspec.MsgspecError, OverLimitError, ValueError, RecursionError):  # also UnicodeDecodeError
        return b""


def _may_be_over_limit(body: bytes) -> bool:
    """Say whether a body may have too many digits in a row or too many tokens; false is certain."""
    size = len(body)
    return (size > grammar.MAX_NUMBER_CHARS and _has_long_digits(body)) or (
        size > grammar.MAX_TOKENS and _most_tokens(body) > grammar.MAX_TOKENS
    )


# ---- the quick reader ----------------------------------------------------------------------------------------------


def plain_number(text: str) -> bytes:
    """Spell a JSON number in the one way that its decimal value has.

    Shape: plain digits for an integer (``b"-120"``), else digits without trailing zeros and an exponent
    (``b"15e-1"``); zero has no sign.
    Raises: OverLimitError.
    """
    if len(text) > grammar.MAX_NUMBER_CHARS:
        raise OverLimitError("number")
    mantissa, _, exponent_text = text.replace("E", "e").partition("e")
    exponent = int(exponent_text) if exponent_text else 0
    if not -grammar.MAX_EXPONENT <= exponent <= grammar.MAX_EXPONENT:
        raise OverLimitError("number")
    whole, _, fraction = mantissa.partition(".")
    digits = (whole + fraction).lstrip("-0")
    kept = digits.rstrip("0")
    if not kept:
        return b"0"
    exponent += len(digits) - len(kept) - len(fraction)
    sign = "-" if text[0] == "-" else ""
    if exponent >= 0:
        return f"{sign}{kept}{'0' * exponent}".encode()
    return f"{sign}{kept}e{exponent}".encode()


def _refuse(constant: str) -> object:
    raise ValueError(f"{constant} is no JSON")


# An integer's own digits are its plain spelling already, but for -0: str.encode keeps the commonest case in C.
_DECODER: Final = json.JSONDecoder(parse_int=str.encode, parse_float=plain_number, parse_constant=_refuse)
_ZERO_DECODER: Final = json.JSONDecoder(parse_int=plain_number, parse_float=plain_number, parse_constant=_refuse)
_HAS_C_SCANNER: Final = getattr(json.scanner, "c_make_scanner", None) is not None


def _read_quickly(body: bytes) -> object:
    """Read with the C scanner where it must agree with the slow reader, else give ``_UNSURE``.

    It agrees because: well-formed UTF-8 is decoded by us, so it guesses no encoding and drops no BOM; NaN and
    Infinity are refused; numbers come to us as text, so none is rounded; control characters and bad escapes are
    refused by it; lone surrogates and last duplicates are kept as we keep them. What it cannot count is
    bounded before (tokens, digits) or measured after (depth). Only a too deep value that a later duplicate
    overwrites goes unseen, and then the answer is right all the same.
    """
    if not _HAS_C_SCANNER or _may_be_over_limit(body):
        return _UNSURE
    decoder = _ZERO_DECODER if b"-0" in body and grammar.MINUS_ZERO.search(body) else _DECODER
    try:
        value: object = decoder.decode(body.decode())
    except (ValueError, RecursionError):  # also UnicodeDecodeError and JSONDecodeError
        return _UNSURE
    _check_depth(body, value)
    return value


def _has_long_digits(body: bytes) -> bool:
    """Say whether the body may hold more than MAX_NUMBER_CHARS digits in a row; false is certain."""
    # Such a run covers at least one whole aligned chunk of half that length.
    step = grammar.MAX_NUMBER_CHARS // 2
    return any(body[at : at + step].isdigit() for at in range(0, len(body), step))


def _most_tokens(body: bytes) -> int:
    """Bound the number of tokens from above: strings may hold these bytes too."""
    return 1 + body.count(b",") + body.count(b":") + body.count(b"[") + body.count(b"{")


def _check_depth(body: bytes, value: object) -> None:
    """Go down level by level where brackets may be deep; raise OverLimitError where there are too many."""
    if body.count(b"[") + body.count(b"{") <= grammar.MAX_DEPTH:
        return
    level = [value] if isinstance(value, (list, dict)) else []
    depth = 0
    while level:
        depth += 1
        if depth > grammar.MAX_DEPTH:
            raise OverLimitError("depth")
        level = [
            child
            for container in level
            for child in (container.values() if type(container) is dict else container)
            if type(child) is list or type(child) is dict
        ]


# ---- the slow reader: defines the answer ---------------------------------------------------------------------------

_GAP: Final = re.compile(grammar.GAP)
_VALUE: Final = re.compile(
    grammar.GAP + rb"(?:(" + grammar.STRING + rb")|(" + grammar.NUMBER + rb")|(true|false|null)|([\[{]))"
)
_NAME: Final = re.compile(grammar.GAP + rb"(" + grammar.STRING + rb")" + grammar.GAP + rb":")
_EMPTY: Final = {b"[": re.compile(grammar.GAP + rb"\]"), b"{": re.compile(grammar.GAP + rb"\}")}
_AFTER_ITEM: Final = re.compile(grammar.GAP + rb"([,\]])")
_AFTER_MEMBER: Final = re.compile(grammar.GAP + rb"([,}])")
_LITERALS: Final[dict[bytes, object]] = {b"true": True, b"false": False, b"null": None}


def read_slowly(body: bytes) -> object:
    """Read one JSON text token by token with an explicit stack.

    Bound: MAX_DEPTH, MAX_TOKENS and the number limits; the first rule broken decides.
    Raises: NotJsonError, OverLimitError.
    """
    containers: list[list[object] | dict[object, object]] = []
    names: list[object] = []
    """The name that waits for its value, one per open object."""
    position = tokens = 0
    while True:
        match = _VALUE.match(body, position)
        if match is None:
            raise NotJsonError(position)
        position = match.end()
        tokens += 1
        kind = match.lastindex
        if kind == 1:
            value: object = plain_text(match[1])
        elif kind == 2:
            value = plain_number(match[2].decode())
        elif kind == 3:
            value = _LITERALS[match[3]]
        else:
            opening = match[4]
            if len(containers) >= grammar.MAX_DEPTH:
                raise OverLimitError("depth")
            empty = _EMPTY[opening].match(body, position)
            if empty is None and opening == b"[":
                containers.append([])
                continue
            if empty is None:
                containers.append({})
                name, position = _read_name(body, position)
                tokens += 1
                names.append(name)
                continue
            position = empty.end()
            value = [] if opening == b"[" else {}
        if tokens > grammar.MAX_TOKENS:
            raise OverLimitError("tokens")
        # A value is whole: put it where it belongs, and close every container that ends behind it.
        while containers:
            container = containers[-1]
            if type(container) is list:
                container.append(value)
                after = _AFTER_ITEM.match(body, position)
            else:
                container[names[-1]] = value  # type: ignore[call-overload]  # mypy does not narrow by type() is
                after = _AFTER_MEMBER.match(body, position)
            if after is None:
                raise NotJsonError(position)
            position = after.end()
            if after[1] == b",":
                if type(container) is dict:
                    names[-1], position = _read_name(body, position)
                    tokens += 1
                break
            value = containers.pop()
            if type(container) is dict:
                names.pop()
        else:
            end = _GAP.match(body, position)
            if end is None or end.end() != len(body):
                raise NotJsonError(position)
            return value


def _read_name(body: bytes, position: int) -> tuple[object, int]:
    match = _NAME.match(body, position)
    if match is None:
        raise NotJsonError(position)
    return plain_text(match[1]), match.end()


_ESCAPES: Final = re.compile(rb"(?:\\u[0-9a-fA-F]{4})++|\\.")
_SHORT_ESCAPES: Final = {
    b"\\b": b"\b",
    b"\\f": b"\f",
    b"\\n": b"\n",
    b"\\r": b"\r",
    b"\\t": b"\t",
    b"\\/": b"/",
    b'\\"': b'"',
    b"\\\\": b"\\\\",
}


def plain_text(raw: bytes) -> str | tuple[bytes]:
    """Decode a JSON string given with its quotes; ill-formed UTF-8 stays bytes.

    Shape: in the 1-tuple every escape is replaced by the UTF-8 it stands for, but the backslash and lone
    surrogates stay escaped, so that no two different strings meet.
    """
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        return (_ESCAPES.sub(_spell_escapes, raw[1:-1]),)
    if "\\" not in text:
        return text[1:-1]
    decoded: str = json.loads(text)
    return decoded


def _spell_escapes(match: re.Match[bytes]) -> bytes:
    """Spell one short escape, or one run of ``\\u`` escapes: two of them may be one character."""
    escapes = match[0]
    short = _SHORT_ESCAPES.get(escapes)
    if short is not None:
        return short
    text: str = json.loads(f'"{escapes.decode()}"') if len(escapes) > 6 else chr(int(escapes[2:], 16))
    return text.replace("\\", "\\\\").encode("utf-8", "backslashreplace")
