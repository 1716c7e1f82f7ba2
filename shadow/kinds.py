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

import json
import re
from collections.abc import Callable
from functools import lru_cache
from typing import Final

from shadow import numbers, shapes, texts, times
from shadow.json_grammar import MAX_NUMBER_CHARS
from shadow.reason import Reasons, because

_MEMORY_BYTES: Final = 256
"""Pairs of values up to this size are remembered: the same few repeat all through a document."""


def classify(legacy: bytes, new: bytes, *, name: str = "") -> Reasons:
    """Say why two values differ, given their bytes and legacy's member name.

    Shape: raw JSON values without blanks around them, strings with their quotes; empty only for equal bytes.
    Cost: 5 to 15 microseconds for a new pair of short values, less than one for a known pair.
    """
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


TextRule = Callable[[str, str, str], Reasons]
"""Two decoded texts and the member's name."""


# ---- two texts -------------------------------------------------------------------------------------------------------

_SHORT_TEXT: Final = 128


def _two_strings(legacy: bytes, new: bytes, name: str) -> Reasons:
    causes = texts.spelling_causes(legacy, new)
    if causes is not None:
        return texts.reasons_of(causes, legacy, new)
    if len(legacy) + len(new) > texts.MAX_JUDGED_BYTES:
        return _two_large_texts(*texts.narrow(legacy, new))
    one, other = texts.decode(legacy), texts.decode(new)
    if not one or not other:
        return because("null.zero_value" if _zero_time(one or other) else "value.changed")
    rules = _SHORT_RULES if len(one) <= _SHORT_TEXT and len(other) <= _SHORT_TEXT else ()
    return (
        _first(rules, one, other, name)
        or _one_text_in_two_codes(legacy, new, one, other)
        or _first(_LATE_RULES, one, other, name)
        or because("value.changed")
    )


def _two_large_texts(legacy: bytes, new: bytes) -> Reasons:
    if len(legacy) + len(new) > texts.MAX_JUDGED_BYTES:
        return because("value.changed", "large text")
    one, other = texts.decode(legacy), texts.decode(new)
    return _one_text_in_two_codes(legacy, new, one, other) or because("value.changed", "large text")


def _first(rules: tuple[TextRule, ...], one: str, other: str, name: str) -> Reasons:
    """Give what the first rule says that says something."""
    return next(filter(None, (rule(one, other, name) for rule in rules)), ())


def _one_text_in_two_codes(legacy: bytes, new: bytes, one: str, other: str) -> Reasons:
    """Judge what broke on its way through an encoder, a normal form or a charset."""
    if one.isascii() and other.isascii():
        return ()
    causes = texts.five_digit_causes(legacy, new) or texts.broken_causes(legacy, new)
    if causes is not None:
        return texts.reasons_of(causes, legacy, new)
    form = texts.same_when_normalized(one, other)
    if form:
        return because("unicode.normalization", form) + texts.escapes_as_well(legacy, new)
    wrong = texts.is_mojibake(one, other)
    return because("unicode.mojibake", wrong) + texts.escapes_as_well(legacy, new) if wrong else ()


def _two_moments(one: str, other: str, name: str) -> Reasons:
    moment = times.read_moment(one)
    if moment is None:
        return _maybe_epoch(other, one)
    other_moment = times.read_moment(other)
    if other_moment is None:
        return _maybe_epoch(one, other)
    return times.moment_reasons(moment, other_moment)


def _maybe_epoch(moment: str, count: str) -> Reasons:
    """Compare a moment with the text of an epoch."""
    read = times.read_moment(moment)
    number = numbers.parse(count.encode()) if read is not None and count.isascii() else None
    if read is None or number is None:
        return ()
    unit = _epoch_unit(number, read)
    return because("time.format", f"{read.shape} and {unit} in quotes") if unit else ()


def _two_durations(one: str, other: str, name: str) -> Reasons:
    length, other_length = times.read_duration(one), times.read_duration(other)
    if length is not None and length == other_length:
        return because("type.duration", "another shape")
    if (length is None) == (other_length is None):
        return ()
    text = other if length is not None else one
    number = numbers.parse(text.encode()) if text.isascii() else None
    unit = times.unit_of(number, length if length is not None else other_length or 0) if number is not None else ""
    return because("type.duration", f"in {unit} in quotes") if unit else ()


_UUID: Final = re.compile(r"\{?[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}\}?")
_TOKEN: Final = re.compile(r"[0-9A-Za-z_+/=.-]{16,128}")
_JWT: Final = re.compile(r"eyJ[0-9A-Za-z_-]++\.eyJ[0-9A-Za-z_-]++\.[0-9A-Za-z_-]*+")
_ID_NAME: Final = re.compile(
    r"(?:^|_)(?:id|uuid|guid|token|nonce|csrf|trace|span|session|jti|etag|cursor|secret|signature|idempotency_key)$"
    r"|^(?:request|correlation|trace|transaction|session)_"
)
_REQUEST_NAME: Final = re.compile(
    r"(?:^|_)(?:nonce|csrf|jti)$|(?:^|_)(?:request|correlation|trace|span|transaction)_(?:id|uuid|key|token)$"
)
_SHORT_TOKEN: Final = re.compile(r"[0-9A-Za-z_-]{8,15}")
_RANDOM_CHARS: Final = 6
"""Characters in which two random identifiers differ at least; two counted ones differ in the last few."""


def _two_identifiers(one: str, other: str, name: str) -> Reasons:
    if len(one) != len(other):
        return because("volatile.id", "JWT") if _JWT.fullmatch(one) and _JWT.fullmatch(other) else ()
    if _UUID.fullmatch(one) and _UUID.fullmatch(other):
        if one.lower() == other.lower():
            return because("type.enum", "case of a UUID")
        return because("volatile.id", "UUID") if _are_random(one, other) else ()
    words = snake(name)
    for token, names in ((_TOKEN, _ID_NAME), (_SHORT_TOKEN, _REQUEST_NAME)):
        if token.fullmatch(one) and token.fullmatch(other) and names.search(words) and _are_random(one, other):
            return because("volatile.id", "token")
    return ()


def _are_random(one: str, other: str) -> bool:
    """Say whether two identifiers of one length look drawn, not counted: behind a common head most differs."""
    if not all(re.search("[0-9]", text) and re.search("[A-Za-z]", text) for text in (one, other)):
        return False
    unlike = [at for at, (a, b) in enumerate(zip(one, other, strict=True)) if a != b]
    return len(unlike) >= max(_RANDOM_CHARS, (len(one) - unlike[0]) // 2)


def _two_number_texts(one: str, other: str, name: str) -> Reasons:
    number = numbers.parse(one.encode()) if one.isascii() else None
    if number is None:
        return ()
    other_number = numbers.parse(other.encode()) if other.isascii() else None
    if other_number is None:
        return ()
    if number.same(other_number):
        return because("number.decimal_spelling", "in quotes") if _are_decimals(number, other_number, name) else ()
    power = times.scale_between(number, other_number)
    return because("type.duration", _scale_text(power)) if power and _DURATION_NAME.search(snake(name)) else ()


def _are_decimals(one: numbers.Number, other: numbers.Number, name: str) -> bool:
    """Say whether two texts of one number are decimals: 007 and 7, or versions 1.10 and 1.1, are not."""
    has_point = one.fraction is not None or other.fraction is not None
    has_same_head = bool(one.letter or other.letter) or one.whole == other.whole
    return has_point and has_same_head and "version" not in name.lower()


_WORD: Final = re.compile(r"[A-Za-z][A-Za-z0-9_.-]*")


def _two_words(one: str, other: str, name: str) -> Reasons:
    if not (_WORD.fullmatch(one) and _WORD.fullmatch(other)):
        return ()
    # Of two words of an enumeration one is all small, all capitals or Capitalised; of two tokens none is.
    if _fold_word(one) == _fold_word(other) and any(
        word in (word.lower(), word.upper(), word.capitalize()) for word in (one, other)
    ):
        return because("type.enum", "another case")
    # protobuf prefixes its values: STATUS_PAID.
    for long, short in ((one, other), (other, one)):
        if long.isupper() and long.endswith("_" + short.upper().replace("-", "_")):
            return because("type.enum", "another prefix")
    return ()


def _fold_word(word: str) -> str:
    return word.replace("_", "").replace("-", "").lower()


def _two_spellings_of_bytes(one: str, other: str, name: str) -> Reasons:
    if one.isdigit() and other.isdigit():
        return ()
    if one.rstrip("=") == other.rstrip("="):
        return because("type.bytes", "padding of base64")
    data, other_data = shapes.bytes_of_text(one), shapes.bytes_of_text(other)
    for shape, value in data.items():
        for other_shape, other_value in other_data.items():
            if value == other_value and shape != other_shape and value:
                return because("type.bytes", f"{shape} -> {other_shape}")
    return ()


_SHORT_RULES: Final = (_two_moments, _two_durations, _two_identifiers)
_LATE_RULES: Final = (_two_number_texts, _two_spellings_of_bytes, _two_words)

# ---- two numbers -----------------------------------------------------------------------------------------------------

_TIME_NAME: Final = re.compile(
    r"(?:^|_)(?:at|on|ts|now|time|date|timestamp|created|updated|modified|expires|exp|iat|nbf|since|until|epoch)(?:_ms)?$"
)
_DURATION_NAME: Final = re.compile(
    r"(?:^|_)(?:ttl|took|elapsed|latency|duration|timeout|interval|delay|period|age|lifetime|uptime|expires_in"
    r"|ms|millis|milliseconds|seconds|secs|nanos)(?:_ms|_s|_ns|_us)?$|_time$"
)
_STOPWATCH_NAME: Final = re.compile(
    r"(?:^|_)(?:took|elapsed|latency|uptime|runtime)(?:_(?:ms|millis|milliseconds|seconds|secs|s|ns|us|time))?$"
    r"|(?:^|_)(?:response|query|processing|request|execution|exec|render|process|server|total|duration|elapsed)"
    r"_(?:time|duration|latency|ms|millis|milliseconds)(?:_(?:ms|seconds|s|ns|us))?$"
)


def _two_numbers(legacy: bytes, new: bytes, name: str) -> Reasons:
    if numbers.is_nonfinite(legacy) or numbers.is_nonfinite(new):
        return because("number.nonfinite")
    one, other = numbers.parse(legacy), numbers.parse(new)
    if one is None or other is None:
        return because("limit.size", "number")
    reasons = numbers.number_reasons(one, other)
    if reasons:
        return reasons
    words = snake(name)
    moment, other_moment = times.plausible_epoch(one), times.plausible_epoch(other)
    if moment is not None and other_moment is not None:
        near = times.moment_reasons(moment, other_moment)
        if near and (near[0].cause != "volatile.timestamp" or _TIME_NAME.search(words)):
            return near
    power = times.scale_between(one, other)
    if power and (abs(power) > 3 or _DURATION_NAME.search(words)):
        return because("type.duration", _scale_text(power))
    if _REQUEST_NAME.search(words):
        return because("volatile.id", "counted")
    if _STOPWATCH_NAME.search(words) and not one.negative and not other.negative:
        return because("volatile.duration")
    return because("value.changed")


def _scale_text(power: int) -> str:
    return f"new is 10^{power} of legacy"


@lru_cache(maxsize=4096)
def snake(name: str) -> str:
    """Fold a member's name to words between underscores."""
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name[:128])
    return re.sub(r"[^0-9A-Za-z]+", "_", spaced).lower()


# ---- values of two kinds ---------------------------------------------------------------------------------------------


def _string_and_number(legacy: bytes, new: bytes, name: str) -> Reasons:
    raw, digits = (legacy, new) if legacy[:1] == b'"' else (new, legacy)
    text, number = texts.decode(raw), numbers.parse(digits)
    if len(text) > MAX_NUMBER_CHARS or not text.isascii() or number is None:
        if numbers.is_nonfinite(digits) or text in _NONFINITE:
            return because("number.nonfinite")
        return _enum_or_type(text, digits, legacy, new)
    quoted = numbers.parse(text.strip().removeprefix("+").encode())
    if quoted is not None:
        if quoted.same(number) or quoted.double() == number.double():
            return because("number.as_string", "legacy has quotes" if raw is legacy else "new has quotes")
        power = times.scale_between(quoted, number)
        if power:
            return because("type.duration", _scale_text(power if raw is legacy else -power) + ", in quotes")
        return _changed_type(legacy, new, name)
    if text in _NONFINITE:
        return because("number.nonfinite")
    moment = times.read_moment(text)
    if moment is not None:
        unit = _epoch_unit(number, moment)
        if unit:
            return because("time.format", f"{moment.shape} and {unit}")
        return _moment_and_number(moment, number, legacy, new)
    length = times.read_duration(text)
    if length is not None:
        unit = times.unit_of(number, length)
        if unit:
            return because("type.duration", f"text and {unit}")
    return _enum_or_type(text, digits, legacy, new)


_NONFINITE: Final = frozenset({"NaN", "Infinity", "-Infinity", "inf", "-inf", "nan", "+Inf", "-Inf", "Inf"})
_ORDINAL: Final = re.compile(rb"-?[0-9]{1,4}")


def _enum_or_type(text: str, digits: bytes, legacy: bytes, new: bytes) -> Reasons:
    if _WORD.fullmatch(text) and _ORDINAL.fullmatch(digits):
        return because("type.enum", "name and number")
    return _changed_type(legacy, new, "")


def _moment_and_number(moment: times.Moment, number: numbers.Number, legacy: bytes, new: bytes) -> Reasons:
    """Judge a moment beside a number that is not the same one."""
    other = times.plausible_epoch(number)
    if other is None:
        return _changed_type(legacy, new, "")
    near = times.moment_reasons(moment, other)
    return near or because("value.changed")


def _epoch_unit(number: numbers.Number, moment: times.Moment) -> str:
    """Give the unit in which the number is the moment; empty: in none."""
    for unit in times.EPOCH_UNITS:
        epoch = times.read_epoch(number, unit)
        if epoch is not None:
            reasons = times.moment_reasons(epoch, moment)
            if reasons and reasons[0].cause == "time.format":
                return unit
    return ""


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
        if text in _NONFINITE:
            return because("number.nonfinite")
        if not text or _zero_time(text):
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


def _zero_time(text: str) -> bool:
    """Say whether the text is the first moment of the calendar: Go's zero time, .NET's and SQL's."""
    return text.startswith(("0001-01-01", "0000-00-00")) and len(text) <= times.MAX_TIME_CHARS


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
        if _epoch_unit(number, moment):
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
    return because("number.nonfinite") if not text or text in _NONFINITE else _changed_type(legacy, new, name)


Rule = Callable[[bytes, bytes, str], Reasons]

_SAME_KIND: Final[dict[str, Rule]] = {"string": _two_strings, "number": _two_numbers, "nonfinite": _nonfinite}

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
        return _respell_string(legacy, new, causes)
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


def _respell_string(legacy: bytes, new: bytes, causes: frozenset[str]) -> bytes | None:
    if all(cause.startswith("escape.") or cause == "unicode.invalid" for cause in causes):
        return texts.respell(legacy, new, causes)
    one, other = texts.decode(legacy), texts.decode(new)
    if causes & {"time.format", "time.fraction", "time.zone"}:
        moment, other_moment = times.read_moment(one), times.read_moment(other)
        if moment is not None and other_moment is not None:
            text = times.respell_moment(moment, other_moment, causes)
            if text is not None:
                return new if text == other else json.dumps(text).encode()
    if "type.duration" in causes and _are_scaled(one, other):
        return new
    # The rule that named the cause computes again whether one follows from the other.
    found = frozenset(reason.cause for reason in classify(legacy, new))
    return new if found <= causes else legacy


def _are_scaled(one: str, other: str) -> bool:
    number, other_number = (numbers.parse(text.encode()) if text.isascii() else None for text in (one, other))
    return number is not None and other_number is not None and times.scale_between(number, other_number) != 0


def _respell_kind(legacy: bytes, new: bytes, causes: frozenset[str]) -> bytes | None:
    found = frozenset(reason.cause for reason in classify(legacy, new))
    return new if found and found <= causes else legacy
