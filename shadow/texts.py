"""Two JSON strings: the same text spelled differently, or another text that means the same.

Theory: a string is a row of *units*, each one character in one spelling: a raw character, a short escape, a
``\\u`` escape, or a pair of them. Two strings are the same text exactly when their units, one by one, are the
same characters; then every pair of unlike units has a cause by its character. *Broken* units (lone surrogates,
bytes that are no UTF-8, and U+FFFD, which stands for them) have no character: runs of them are compared as one.

Rules of this file:

1. Work is done by regular expressions and sets in C, unit by unit only over the *distinct* pairs: a string of
   a megabyte costs what its bytes cost.
2. Of a long string only the window between common head and tail is looked at; the window is widened until it
   begins and ends between two units.
3. Nothing backtracks: alternatives begin with different bytes or have a fixed length.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Final, Literal

from shadow.reason import Reason, Reasons, because

_HEX: Final = rb"[0-9a-fA-F]"
_PAIR: Final = rb"\\u[dD][89abAB]" + _HEX + rb"{2}\\u[dD][c-fC-F]" + _HEX + rb"{2}"
_UTF8: Final = (
    rb"[\xc2-\xdf][\x80-\xbf]|\xe0[\xa0-\xbf][\x80-\xbf]|[\xe1-\xec\xee\xef][\x80-\xbf]{2}|\xed[\x80-\x9f][\x80-\xbf]"
    rb"|\xf0[\x90-\xbf][\x80-\xbf]{2}|[\xf1-\xf3][\x80-\xbf]{3}|\xf4[\x80-\x8f][\x80-\xbf]{2}"
)
_ONE: Final = _PAIR + rb"|\\u" + _HEX + rb"{4}|\\.|" + _UTF8 + rb"|."
_UNITS: Final = re.compile(_ONE, re.DOTALL)

_BROKEN: Final = (
    rb"(?!" + _PAIR + rb")\\u[dD][89a-fA-F]" + _HEX + rb"{2}|\\u[fF]{3}[dD]|\xef\xbf\xbd"
    rb"|\xed[\xa0-\xbf][\x80-\xbf]|(?!" + _UTF8 + rb")[\x80-\xff]"
)
_BROKEN_RUN: Final = re.compile(rb"(?:" + _BROKEN + rb")+")
_HAS_BROKEN: Final = re.compile(_BROKEN)
_UNITS_AND_RUNS: Final = re.compile(rb"(?:" + _BROKEN + rb")+|" + _ONE, re.DOTALL)

_FIVE_DIGITS: Final = re.compile(rb"\\u(10" + _HEX + rb"{4}|[1-9a-fA-F]" + _HEX + rb"{4})")
"""An escape of a character beyond the basic plane written as if there were no surrogates (gin#4688)."""

_WINDOW_FROM: Final = 512
"""Shorter strings are taken whole: looking for the window would cost more than it saves."""


_DECODE_FIRST: Final = 4096

MAX_JUDGED_BYTES: Final = 1 << 17
"""Of two larger texts only the changed window is judged, and if that is larger too, nothing but its spelling."""


# ---- one text, two spellings -----------------------------------------------------------------------------------------


def spelling_causes(legacy: bytes, new: bytes) -> frozenset[str] | None:
    """Say in which ways two strings spell one text differently; ``None``: they are two texts.

    Cost: 3 microseconds for short strings, 0.1 s for two of a megabyte that differ everywhere.
    """
    start, legacy_end, new_end = _window(legacy, new)
    if legacy_end - start > _DECODE_FIRST and _are_two_texts(legacy[start:legacy_end], new[start:new_end]):
        return None
    causes = _causes_of(
        _UNITS.findall(legacy, start, legacy_end), _UNITS.findall(new, start, new_end), broken_too=False
    )
    if causes is None or "escape.line_separator" not in causes or "escape.non_ascii" not in causes:
        return causes
    # Who escapes everything beyond ASCII escapes U+2028 with it: one habit, one cause.
    return causes - {"escape.line_separator"}


def _are_two_texts(legacy: bytes, new: bytes) -> bool:
    """Say, ten times as fast as units can, whether two well-formed texts differ; false is not certain."""
    try:
        one: str = json.loads(f'"{legacy.decode()}"', strict=False)
        other: str = json.loads(f'"{new.decode()}"', strict=False)
    except ValueError:
        return False
    return one != other


def _causes_of(legacy: list[bytes], new: list[bytes], *, broken_too: bool) -> frozenset[str] | None:
    if len(legacy) != len(new):
        return None
    causes = set()
    for one, other in set(zip(legacy, new, strict=True)):
        if one != other:
            cause = _cause_of_pair(one, other)
            if broken_too and cause != "escape.hex_case" and _is_replaced(one, other):
                cause = "unicode.invalid"
            if cause is None:
                return None
            causes.add(cause)
    return frozenset(causes)


@lru_cache(maxsize=8192)
def _cause_of_pair(one: bytes, other: bytes) -> str | None:
    """Name the cause of two unlike spellings of one character; ``None``: two characters, or broken ones."""
    if one.lower() == other.lower() and one.startswith(b"\\u"):
        return "escape.hex_case"
    code = _code(one)
    if code is None or code != _code(other):
        return None
    if code in (0x2028, 0x2029):
        return "escape.line_separator"
    if code > 0x7F:
        return "escape.non_ascii"
    if code == 0x2F:
        return "escape.solidus"
    if code < 0x20 or code == 0x7F:
        return "escape.control"
    # < > & for certain; = ' " + ` and whatever else of ASCII a cautious encoder escapes.
    return "escape.html"


def _code(unit: bytes) -> int | None:
    """Give the unit's code point; ``None``: it is broken, or a run of broken ones."""
    try:
        text = unit.decode() if unit[:1] != b"\\" else json.loads(b'"%s"' % unit)
    except ValueError:
        return None
    code = ord(text) if len(text) == 1 else 0xD800
    return None if 0xD800 <= code <= 0xDFFF else code


# ---- windows ---------------------------------------------------------------------------------------------------------

# One of these is a unit of its own wherever it stands: no escape begins with, ends with or contains it.
_ALONE: Final = frozenset(b" !#$%&'()*+,-.:;<=>?@[]^_`{|}~GHIJKLMNOPQRSTUVWXYZghijklmopqsvwxyz")
_NEAR: Final = 64


def _window(legacy: bytes, new: bytes) -> tuple[int, int, int]:
    """Give start, legacy's end and new's end of the part between the quotes that has to be looked at."""
    legacy_end, new_end = len(legacy) - 1, len(new) - 1
    shorter = min(legacy_end, new_end)
    if shorter < _WINDOW_FROM:
        return 1, legacy_end, new_end
    head = _common_head(legacy, new, shorter)
    start = 1
    for at in range(head, max(head - _NEAR, 1), -1):
        if legacy[at - 1] in _ALONE:
            start = at
            break
    tail = _common_tail(legacy, new, shorter - start)
    for left in range(tail, max(tail - _NEAR, 0), -1):
        if legacy[len(legacy) - left] in _ALONE:
            return start, len(legacy) - left + 1, len(new) - left + 1
    return start, legacy_end, new_end


def narrow(legacy: bytes, new: bytes) -> tuple[bytes, bytes]:
    """Cut two strings to their changed windows, with quotes."""
    start, legacy_end, new_end = _window(legacy, new)
    return b'"%s"' % legacy[start:legacy_end], b'"%s"' % new[start:new_end]


def _common_head(legacy: bytes, new: bytes, most: int) -> int:
    low, step = 0, 4096
    while step:
        while low + step <= most and legacy[low : low + step] == new[low : low + step]:
            low += step
        step //= 2
    return low


def _common_tail(legacy: bytes, new: bytes, most: int) -> int:
    low, step = 0, 4096
    legacy_size, new_size = len(legacy), len(new)
    while step:
        while (
            low + step <= most
            and legacy[legacy_size - low - step : legacy_size - low] == new[new_size - low - step : new_size - low]
        ):
            low += step
        step //= 2
    return low


# ---- another text that means the same --------------------------------------------------------------------------------


def decode(raw: bytes) -> str:
    """Decode a JSON string given with its quotes; bytes that are no UTF-8 become lone surrogates."""
    text = raw.decode("utf-8", "surrogateescape")
    if "\\" not in text:
        return text[1:-1]
    try:
        decoded: str = json.loads(text, strict=False)
    except ValueError:
        return text[1:-1]
    return decoded


def five_digit_causes(legacy: bytes, new: bytes) -> frozenset[str] | None:
    """Say whether five-digit escapes make the whole difference, and what else then differs in spelling."""
    for side in (legacy, new):
        if _FIVE_DIGITS.search(side) is None:
            continue
        repaired = _FIVE_DIGITS.sub(_spell_pair, side)
        one, other = (repaired, new) if side is legacy else (legacy, repaired)
        causes = spelling_causes(one, other)
        if causes is not None:
            return causes | {"escape.surrogate_pair"}
    return None


def _spell_pair(match: re.Match[bytes]) -> bytes:
    code = int(match[1], 16) - 0x10000
    return b"\\u%04x\\u%04x" % (0xD800 + (code >> 10), 0xDC00 + (code & 0x3FF))


def broken_causes(legacy: bytes, new: bytes) -> frozenset[str] | None:
    """Say whether broken characters make the whole difference, and what else then differs in spelling."""
    if b"?" not in legacy + new and _HAS_BROKEN.search(legacy) is None and _HAS_BROKEN.search(new) is None:
        return None
    one = _UNITS_AND_RUNS.findall(legacy, 1, len(legacy) - 1)
    other = _UNITS_AND_RUNS.findall(new, 1, len(new) - 1)
    causes = _causes_of(one, other, broken_too=True)
    if causes is not None:
        return causes
    whole, other_whole = _whole(one), _whole(other)
    if len(whole) < len(one) and len(other_whole) < len(other):
        return None
    causes = _causes_of(whole, other_whole, broken_too=False)  # dropped on one side
    return None if causes is None else causes | {"unicode.invalid"}


def _whole(units: list[bytes]) -> list[bytes]:
    return [unit for unit in units if _BROKEN_RUN.fullmatch(unit) is None]


_STAND_IN: Final = re.compile(rb"\?|(?:\\u[fF]{3}[dD]|\xef\xbf\xbd)+")
"""What is written for a character that was lost: Java's and MySQL's question mark, or U+FFFD."""


@lru_cache(maxsize=1024)
def _is_replaced(one: bytes, other: bytes) -> bool:
    """Say whether two unlike units are one broken run in two spellings, or one stands in for the other."""
    broken, other_broken = _BROKEN_RUN.fullmatch(one), _BROKEN_RUN.fullmatch(other)
    if broken and other_broken:
        return True
    for stand_in, lost in ((one, other), (other, one)):
        if _STAND_IN.fullmatch(stand_in) and (_BROKEN_RUN.fullmatch(lost) or (_code(lost) or 0) > 0x7F):
            return True
    return False


_FORMS: Final[tuple[Literal["NFC", "NFKC"], ...]] = ("NFC", "NFKC")


def same_when_normalized(one: str, other: str) -> str:
    """Give the normal form in which two unlike texts are one, ``NFC`` or ``NFKC``; empty: none."""
    if one.isascii() and other.isascii():
        return ""
    for form in _FORMS:
        if unicodedata.normalize(form, one) == unicodedata.normalize(form, other):
            return form
    return ""


def mojibake(text: str) -> str:
    """Read the text's UTF-8 as Windows-1252, as a client with the wrong charset does."""
    data = text.encode("utf-8", "surrogatepass")
    try:
        return data.decode("cp1252")
    except UnicodeDecodeError:
        # WHATWG's windows-1252 passes the five bytes that Python's refuses.
        return "".join(bytes((byte,)).decode("cp1252", "ignore") or chr(byte) for byte in data)


def is_mojibake(one: str, other: str) -> str:
    """Say in a few words how one text came out of the other through a wrong charset; empty: it did not."""
    if one.isascii() and other.isascii():
        return ""
    for text, wrong, side in ((one, other, "new"), (other, one, "legacy")):
        if text.isascii() or len(wrong) < len(text):
            continue
        once = mojibake(text)
        if wrong in (once, text.encode("utf-8", "surrogatepass").decode("latin-1")):
            return f"{side} read UTF-8 as Windows-1252"
        if len(wrong) > len(once) and wrong == mojibake(once):
            return f"{side} read UTF-8 as Windows-1252, twice"
    return ""


def escapes_as_well(legacy: bytes, new: bytes) -> Reasons:
    """Give the cause of one side alone escaping what is beyond ASCII, in two texts that mean the same."""
    if _escapes_non_ascii(legacy) and not _escapes_non_ascii(new) and not new.isascii():
        return because("escape.non_ascii", "legacy escapes")
    if _escapes_non_ascii(new) and not _escapes_non_ascii(legacy) and not legacy.isascii():
        return because("escape.non_ascii", "new escapes")
    return ()


_ESCAPED_NON_ASCII: Final = re.compile(rb"(?<!\\)(?:\\\\)*+\\u(?!00[0-7])")


def _escapes_non_ascii(raw: bytes) -> bool:
    return b"\\u" in raw and _ESCAPED_NON_ASCII.search(raw) is not None


# ---- the proof -------------------------------------------------------------------------------------------------------


def respell(legacy: bytes, new: bytes, causes: frozenset[str]) -> bytes:
    """Spell legacy's text as new does, but only where one of *causes* allows it.

    Shape: a character without a cause keeps legacy's spelling; the text is never taken from new, but for
    what stands beside a broken run or a stand-in, which have none. So
    the result is new's lexeme exactly when the causes are the whole truth.
    """
    if "escape.surrogate_pair" in causes:
        legacy, new_repaired = _FIVE_DIGITS.sub(_spell_pair, legacy), _FIVE_DIGITS.sub(_spell_pair, new)
        return new if _respell_units(legacy, new_repaired, causes) == new_repaired else legacy
    return _respell_units(legacy, new, causes)


def _respell_units(legacy: bytes, new: bytes, causes: frozenset[str]) -> bytes:
    broken_too = "unicode.invalid" in causes
    start, legacy_end, new_end = _window(legacy, new)
    pattern = _UNITS_AND_RUNS if broken_too else _UNITS
    one, other = pattern.findall(legacy, start, legacy_end), pattern.findall(new, start, new_end)
    if len(one) == len(other):
        units = _spell_all(one, other, causes)
    elif broken_too and len(whole := _whole(one)) == len(other_whole := _whole(other)):
        units = _put_broken(other, iter(_spell_all(whole, other_whole, causes)))
    else:
        return legacy
    return legacy[:start] + b"".join(units) + legacy[legacy_end:]


def _spell_all(legacy: list[bytes], new: list[bytes], causes: frozenset[str]) -> Iterable[bytes]:
    spelled = {pair: _spell(pair, causes) for pair in set(zip(legacy, new, strict=True))}
    by_unit = {one: unit for (one, _), unit in spelled.items()}
    if len(by_unit) == len(spelled):  # one habit all through
        return map(by_unit.__getitem__, legacy)
    return map(spelled.__getitem__, zip(legacy, new, strict=True))


def _spell(pair: tuple[bytes, bytes], causes: frozenset[str]) -> bytes:
    one, other = pair
    if one == other:
        return one
    cause = _cause_of_pair(one, other)
    if cause in causes or (cause == "escape.line_separator" and "escape.non_ascii" in causes):
        return other
    return other if "unicode.invalid" in causes and _is_replaced(one, other) else one


def _put_broken(new: list[bytes], whole: Iterator[bytes]) -> Iterable[bytes]:
    """Put legacy's whole units between the broken runs of new, which may have none."""
    return (unit if _BROKEN_RUN.fullmatch(unit) else next(whole) for unit in new)


def reasons_of(causes: frozenset[str], legacy: bytes, new: bytes) -> Reasons:
    """Give one reason per cause, in the order of their names, saying who escapes."""
    return tuple(Reason(cause, _who(cause, legacy, new)) for cause in sorted(causes))


def _who(cause: str, legacy: bytes, new: bytes) -> str:
    if cause == "escape.hex_case" or not cause.startswith("escape."):
        return ""
    escapes, new_escapes = legacy.count(b"\\"), new.count(b"\\")
    return "legacy escapes" if escapes > new_escapes else "new escapes" if escapes < new_escapes else ""
