"""Two JSON strings of two texts: what makes them mean the same, and what makes them noise.

Rules of this file:

1. Spelling comes first (:mod:`shadow.texts`). Of two texts, the first rule that *proves* one meaning wins: moments,
   durations, identifiers, then broken characters, normal forms and charsets, then numbers, bytes and words.
2. A rule is a function of the two texts and the member's name, and says nothing where it proves nothing.
3. A text above :data:`shadow.texts.MAX_JUDGED_BYTES` is judged by its spelling, or its changed window, only.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from shadow import names, numbers, shapes, texts, times
from shadow.reason import Reasons, because

TextRule = Callable[[str, str, str], Reasons]
"""Two decoded texts and the member's name."""

_SHORT_TEXT: Final = 128
"""Longer texts are no moment, no duration and no identifier."""


def string_reasons(legacy: bytes, new: bytes, name: str) -> Reasons:
    """Say why two unequal strings differ, given with their quotes."""
    causes = texts.spelling_causes(legacy, new)
    if causes is not None:
        return texts.reasons_of(causes, legacy, new)
    if len(legacy) + len(new) > texts.MAX_JUDGED_BYTES:
        return _two_large_texts(*texts.narrow(legacy, new))
    one, other = texts.decode(legacy), texts.decode(new)
    if not one or not other:
        return because("null.zero_value" if times.is_zero_time(one or other) else "value.changed")
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
    unit = times.epoch_unit(number, read)
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
    for token, is_named in ((_TOKEN, names.is_identifier), (_SHORT_TOKEN, names.is_of_request)):
        if token.fullmatch(one) and token.fullmatch(other) and is_named(name) and _are_random(one, other):
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
    return because("type.duration", times.scale_text(power)) if power and names.is_length(name) else ()


def _are_decimals(one: numbers.Number, other: numbers.Number, name: str) -> bool:
    """Say whether two texts of one number are decimals: 007 and 7, or versions 1.10 and 1.1, are not."""
    has_point = one.fraction is not None or other.fraction is not None
    has_same_head = bool(one.letter or other.letter) or one.whole == other.whole
    return has_point and has_same_head and "version" not in name.lower()


WORD: Final = re.compile(r"[A-Za-z][A-Za-z0-9_.-]*")


def _two_words(one: str, other: str, name: str) -> Reasons:
    if not (WORD.fullmatch(one) and WORD.fullmatch(other)):
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


# ---- the proof ----------------------------------------------------------------------------------------------------


def respell(legacy: bytes, new: bytes, causes: frozenset[str]) -> bytes:
    """Rewrite legacy's string by the causes that allow it; new's bytes exactly if they are the whole truth."""
    if all(cause.startswith("escape.") or cause == "unicode.invalid" for cause in causes):
        return texts.respell(legacy, new, causes)
    one, other = texts.decode(legacy), texts.decode(new)
    if causes & {"time.format", "time.fraction", "time.zone"}:
        moment, other_moment = times.read_moment(one), times.read_moment(other)
        if moment is not None and other_moment is not None:
            text = times.respell_moment(moment, other_moment, causes)
            if text is not None:
                return f'"{text}"'.encode()
    if "type.duration" in causes and _are_scaled(one, other):
        return new
    # The rule that named the cause computes again whether one follows from the other.
    found = frozenset(reason.cause for reason in string_reasons(legacy, new, ""))
    return new if found <= causes else legacy


def _are_scaled(one: str, other: str) -> bool:
    number, other_number = (numbers.parse(text.encode()) if text.isascii() else None for text in (one, other))
    return number is not None and other_number is not None and times.scale_between(number, other_number) != 0
