"""Why two values at one place differ: the door to what is known of texts, numbers, times, bytes and types.

:func:`classify` takes the raw bytes of two unequal values, as they stand in the bodies, and names the causes;
:func:`respell` rewrites legacy's by exactly those causes. Containers come here only beside another kind.

Rules of this file:

1. Unequal bytes have at least one reason. What nothing proves is ``value.changed`` or ``type.changed``.
2. Among rules, the first that *proves* that both mean the same wins; each row of a table is one kind of pair.
3. A member's name only ever decides between noise and a change, or about a scale: where the values alone prove
   something, the name is not asked.
4. Nothing here recurses or reads more than 64 KiB of a container.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Final

from shadow import names, numbers, shapes, strings, texts, times
from shadow.json_grammar import MAX_NUMBER_CHARS
from shadow.reason import Reasons, because
from shadow.strings import WORD, string_reasons

_MEMORY_BYTES: Final = 256
"""Pairs of values up to this size are remembered: the same few repeat all through a document."""

MAX_NAME: Final = 256
"""Characters of a name that says anything; a longer one is no word of a program, and would be remembered."""


def classify(legacy: bytes, new: bytes, *, name: str = "") -> Reasons:
    """Say why two values differ, given their bytes and legacy's member name.

    Shape: raw JSON values without blanks around them, strings with their quotes; empty only for equal bytes.
    Cost: 5 to 15 microseconds for a new pair of short values, less than one for a known pair.
    """
    name = name if len(name) <= MAX_NAME else ""
    if len(legacy) + len(new) <= _MEMORY_BYTES:
        return _remembered(legacy, new, name)
    return _classify(legacy, new, name)


def _classify(legacy: bytes, new: bytes, name: str) -> Reasons:
    if legacy == new:
        return ()
    one, other = _KIND.get(legacy[:1], ""), _KIND.get(new[:1], "")
    if one == other:
        return _SAME_KIND.get(one, _changed_value)(legacy, new, name)
    rule = _MIXED.get(frozenset((one, other)), _changed_type)
    return rule(legacy, new, name)


_remembered = lru_cache(maxsize=1 << 14)(_classify)

_KIND: Final = {
    b'"': "string",
    b"{": "object",
    b"[": "array",
    b"t": "bool",
    b"f": "bool",
    b"n": "null",
    b"N": "nonfinite",
    b"I": "nonfinite",
    **{bytes((digit,)): "number" for digit in b"-0123456789"},
}


def _changed_value(legacy: bytes, new: bytes, name: str) -> Reasons:
    return because("value.changed")


def _changed_type(legacy: bytes, new: bytes, name: str) -> Reasons:
    return because("type.changed", f"{_KIND.get(legacy[:1], '?')} -> {_KIND.get(new[:1], '?')}")


# ---- two numbers -----------------------------------------------------------------------------------------------------


def _two_numbers(legacy: bytes, new: bytes, name: str) -> Reasons:
    if numbers.is_nonfinite(legacy) or numbers.is_nonfinite(new):
        return because("number.nonfinite")
    one, other = numbers.parse(legacy), numbers.parse(new)
    if one is None or other is None:
        return because("limit.size", "number")
    reasons = numbers.number_reasons(one, other)
    if reasons:
        return reasons
    moment, other_moment = times.plausible_epoch(one), times.plausible_epoch(other)
    if moment is not None and other_moment is not None:
        near = times.moment_reasons(moment, other_moment)
        if near and (near[0].cause != "volatile.timestamp" or names.is_clock(name)):
            return near
    power = times.scale_between(one, other)
    if abs(power) > 3 or (power and names.is_length(name)):
        return because("type.duration", times.scale_text(power))
    if names.is_of_request(name):
        return because("volatile.id", "counted")
    if names.is_stopwatch(name) and not one.negative and not other.negative:
        return because("volatile.duration")
    return because("value.changed")


# ---- values of two kinds ---------------------------------------------------------------------------------------------


def _string_and_number(legacy: bytes, new: bytes, name: str) -> Reasons:
    raw, digits = (legacy, new) if legacy[:1] == b'"' else (new, legacy)
    text, number = texts.decode(raw), numbers.parse(digits)
    if len(text) > MAX_NUMBER_CHARS or not text.isascii() or number is None:
        if numbers.is_nonfinite(digits) or text in numbers.NONFINITE:
            return because("number.nonfinite")
        return _enum_or_type(text, digits, legacy, new)
    quoted = numbers.parse(text.strip().removeprefix("+").encode())
    if quoted is not None:
        if quoted.same(number) or numbers.are_one_double(quoted, number):
            return because("number.as_string", "legacy has quotes" if raw is legacy else "new has quotes")
        power = times.scale_between(quoted, number)
        if abs(power) > 3 or (power and names.is_length(name)):
            return because("type.duration", times.scale_text(power if raw is legacy else -power) + ", in quotes")
        return _changed_type(legacy, new, name)
    if text in numbers.NONFINITE:
        return because("number.nonfinite")
    moment = times.read_moment(text)
    if moment is not None:
        unit = times.epoch_unit(number, moment)
        if unit:
            return because("time.format", f"{moment.shape} and {unit}")
        return _moment_and_number(moment, number, legacy, new)
    length = times.read_duration(text)
    if length is not None:
        unit = times.unit_of(number, length)
        if unit:
            return because("type.duration", f"text and {unit}")
    return _enum_or_type(text, digits, legacy, new)


_ORDINAL: Final = re.compile(rb"-?[0-9]{1,4}")


def _enum_or_type(text: str, digits: bytes, legacy: bytes, new: bytes) -> Reasons:
    if WORD.fullmatch(text) and _ORDINAL.fullmatch(digits):
        return because("type.enum", "name and number")
    return _changed_type(legacy, new, "")


def _moment_and_number(moment: times.Moment, number: numbers.Number, legacy: bytes, new: bytes) -> Reasons:
    """Judge a moment beside a number that is not the same one."""
    other = times.plausible_epoch(number)
    if other is None:
        return _changed_type(legacy, new, "")
    near = times.moment_reasons(moment, other)
    return near or because("value.changed")


def _bool_and_number(legacy: bytes, new: bytes, name: str) -> Reasons:
    flag, digits = (legacy, new) if legacy[:1] in b"tf" else (new, legacy)
    number = numbers.parse(digits)
    if number is not None and number.scaled(0) == (flag == b"true"):
        return because("type.bool")
    return _changed_type(legacy, new, name)


def _null_and_other(legacy: bytes, new: bytes, name: str) -> Reasons:
    value = new if legacy[:1] == b"n" else legacy
    kind = _KIND.get(value[:1], "")
    if kind in ("array", "object"):
        if _is_empty(value):
            return because(f"null.empty_{kind}")
    elif kind == "nonfinite" or (kind == "number" and numbers.is_nonfinite(value)):
        return because("number.nonfinite")
    elif kind == "string":
        text = texts.decode(value)
        if text in numbers.NONFINITE:
            return because("number.nonfinite")
        if not text or times.is_zero_time(text):
            return because("null.zero_value")
    elif value == b"false":
        return because("null.zero_value")
    elif kind == "number":
        number = numbers.parse(value)
        if number is not None and not number.digits:
            return because("null.zero_value")
    if value is legacy:
        return because("value.null")
    return because("value.changed", "legacy is null")


def _is_empty(container: bytes) -> bool:
    return not container[1:-1].strip(b" \t\r\n")


def _string_and_container(legacy: bytes, new: bytes, name: str) -> Reasons:
    raw, container = (legacy, new) if legacy[:1] == b'"' else (new, legacy)
    kind = _KIND[container[:1]]
    text = texts.decode(raw)
    if _is_empty(container):
        if not text:
            return because(f"null.empty_{kind}", "the other is an empty text")
        return _changed_type(legacy, new, name)
    value = shapes.read_container(container)
    moment, other = shapes.moment_of(value), times.read_moment(text)
    if moment is not None and other is not None:
        return _two_shapes_of_moments(moment, other)
    data = shapes.bytes_of(value)
    if data is not None:
        for shape, candidate in shapes.bytes_of_text(text).items():
            if candidate == data:
                return because("type.bytes", f"{kind} and {shape}")
    if value is not None and text[:1] in "[{" and shapes.read_container(text.encode("utf-8", "replace")) == value:
        return because("type.changed", "JSON in quotes")
    boxed = shapes.unboxed(value)
    if boxed is not None and boxed != raw:
        reasons = _classify(boxed, raw, name)
        if reasons and reasons[0].cause in ("number.as_string", "number.decimal_spelling", "time.format"):
            return reasons
    if boxed == raw:
        return because("type.changed", "boxed")
    return _changed_type(legacy, new, name)


def _two_shapes_of_moments(one: times.Moment, other: times.Moment) -> Reasons:
    reasons = times.moment_reasons(one, other)
    if reasons and reasons[0].cause != "volatile.timestamp":
        return because("time.format", f"{one.shape} and {other.shape}")
    return reasons or because("value.changed")


def _number_and_container(legacy: bytes, new: bytes, name: str) -> Reasons:
    digits, container = (legacy, new) if legacy[:1] not in b"[{" else (new, legacy)
    value, number = shapes.read_container(container), numbers.parse(digits)
    moment = shapes.moment_of(value)
    if moment is not None and number is not None:
        if times.epoch_unit(number, moment):
            return because("time.format", f"{moment.shape} and epoch")
        return _moment_and_number(moment, number, legacy, new)
    return _changed_type(legacy, new, name)


def _two_containers(legacy: bytes, new: bytes, name: str) -> Reasons:
    """Judge an array beside an object: one list, one map, or two spellings of bytes."""
    array, mapping = (legacy, new) if legacy[:1] == b"[" else (new, legacy)
    if _is_empty(array) and _is_empty(mapping):
        return because("container.object_as_array")
    items, members = shapes.read_container(array), shapes.read_container(mapping)
    if isinstance(items, list) and isinstance(members, dict):
        if members and {str(at) for at in range(len(items))} == set(members):
            return because("container.object_as_array")
        data, other = shapes.bytes_of(items), shapes.bytes_of(members)
        if data is not None and data == other:
            return because("type.bytes", "array and object")
        moment, other_moment = shapes.moment_of(items), shapes.moment_of(members)
        if moment is not None and other_moment is not None:
            return _two_shapes_of_moments(moment, other_moment)
    return _changed_type(legacy, new, name)


def _nonfinite(legacy: bytes, new: bytes, name: str) -> Reasons:
    return because("number.nonfinite")


def _nonfinite_and_string(legacy: bytes, new: bytes, name: str) -> Reasons:
    text = texts.decode(legacy if legacy[:1] == b'"' else new)
    return because("number.nonfinite") if not text or text in numbers.NONFINITE else _changed_type(legacy, new, name)


Rule = Callable[[bytes, bytes, str], Reasons]

_SAME_KIND: Final[dict[str, Rule]] = {"string": string_reasons, "number": _two_numbers, "nonfinite": _nonfinite}

_MIXED: Final[dict[frozenset[str], Rule]] = {
    frozenset(("string", "number")): _string_and_number,
    frozenset(("bool", "number")): _bool_and_number,
    frozenset(("string", "array")): _string_and_container,
    frozenset(("string", "object")): _string_and_container,
    frozenset(("number", "array")): _number_and_container,
    frozenset(("number", "object")): _number_and_container,
    frozenset(("array", "object")): _two_containers,
    frozenset(("nonfinite", "number")): _nonfinite,
    frozenset(("nonfinite", "string")): _nonfinite_and_string,
    **{
        frozenset(("null", kind)): _null_and_other
        for kind in ("string", "number", "bool", "array", "object", "nonfinite")
    },
}


# ---- the proof -------------------------------------------------------------------------------------------------------

_NO_RULE: Final = frozenset(
    {
        "value.changed",
        "value.null",
        "type.changed",
        "type.enum",
        "volatile.timestamp",
        "volatile.id",
        "volatile.duration",
        "number.nonfinite",
        "container.object_as_array",
        "limit.size",
        "unexplained",
    }
)
"""Causes that do not say what new's value is: nothing can be computed from legacy's."""


def respell(legacy: bytes, new: bytes, causes: frozenset[str]) -> bytes | None:
    """Rewrite legacy's value by exactly those causes, in new's style.

    Shape: new's bytes exactly when the causes are the whole truth; ``None``: one of them has no rule, the value
    in new is another one and stands for itself.
    """
    if causes & _NO_RULE:
        return None
    one, other = _KIND.get(legacy[:1], ""), _KIND.get(new[:1], "")
    if one == other == "number":
        return _respell_number(legacy, new, causes)
    if one == other == "string":
        return strings.respell(legacy, new, causes)
    return _respell_kind(legacy, new, causes)


def _respell_number(legacy: bytes, new: bytes, causes: frozenset[str]) -> bytes | None:
    one, other = numbers.parse(legacy), numbers.parse(new)
    if one is None or other is None:
        return None
    if "time.format" in causes:
        moment, other_moment = times.plausible_epoch(one), times.plausible_epoch(other)
        if moment is None or other_moment is None:
            return legacy
        text = times.respell_moment(moment, other_moment, causes)
        written = numbers.parse(text.encode()) if text is not None else None
        return new if written is not None and written.same(other) else legacy
    if "type.duration" in causes:
        power = times.scale_between(one, other)
        return new if power else legacy
    return numbers.respell(legacy, new, causes)


def _respell_kind(legacy: bytes, new: bytes, causes: frozenset[str]) -> bytes | None:
    found = frozenset(reason.cause for reason in classify(legacy, new))
    return new if found and found <= causes else legacy
