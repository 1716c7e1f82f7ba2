"""What stands around a JSON text: a byte order mark, another charset, a guard against script inclusion, a callback."""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class Framed:
    """Hold a body as UTF-8, and where its JSON text begins and stops."""

    body: bytes
    begin: int
    stop: int
    bom: bool = False
    charset: str = ""
    """Not empty: the body was not UTF-8, so offsets into :attr:`body` are none into what was received."""
    prefix: str = ""
    """A guard or a callback, as written."""


# Longer marks first: that of UTF-32 begins like that of UTF-16.
_WIDE_MARKS: Final = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)

# Spring's, Angular's, Gin's, Facebook's and Google's guards.
_GUARD: Final = re.compile(
    rb"[ \t\r\n]*+(?:while ?\((?:1|true)\);|for ?\(;;\);|\)\]\}'?,?|\{\}&&|throw 1;(?: ?<[^>\r\n]{0,32}>)?)[ \t\r\n]*+"
)
_CALLBACK: Final = re.compile(rb"[ \t\r\n]*+(?:/\*\*/)?[ \t\r\n]*+[A-Za-z_$][\w$.\[\]]{0,127}[ \t]*+\(")
_CALLBACK_END: Final = re.compile(rb"\);?[ \t\r\n]*+\Z")
# A callback's closing bracket is looked for in the last bytes only.
_END_BYTES: Final = 64


def unframe(body: bytes) -> Framed:
    """Find the JSON text of a body.

    Cost: a look at both ends; a body in UTF-16 or UTF-32 is decoded.
    """
    for mark, charset in _WIDE_MARKS:
        if body.startswith(mark):
            return _recoded(body, charset)
    if body[:4].count(0) >= 2 or (len(body) > 1 and body[:2].count(0) == 1):
        return _recoded(body, "utf-16-le" if body[0] else "utf-16-be")
    bom = body.startswith(codecs.BOM_UTF8)
    begin = len(codecs.BOM_UTF8) if bom else 0
    guard = _GUARD.match(body, begin)
    if guard is not None:
        prefix = guard[0].decode("latin-1")
        return Framed(body=body, begin=guard.end(), stop=len(body), bom=bom, prefix=prefix)
    call = _CALLBACK.match(body, begin)
    if call is not None:
        tail = max(call.end(), len(body) - _END_BYTES)
        end = _CALLBACK_END.search(body, tail)
        if end is not None:
            return Framed(body=body, begin=call.end(), stop=end.start(), bom=bom, prefix=call[0].decode("latin-1"))
    return Framed(body=body, begin=begin, stop=len(body), bom=bom)


def _recoded(body: bytes, charset: str) -> Framed:
    try:
        text = body.decode(charset).encode()
    except UnicodeError:
        return Framed(body=body, begin=0, stop=len(body))
    return Framed(body=text, begin=0, stop=len(text), charset=charset)


def from_latin(framed: Framed, other: Framed) -> Framed:
    """Give a body that is Latin-1 as UTF-8, or *framed* itself if it is UTF-8, or broken in another way.

    Shape: it counts as Latin-1 only if each character that this yields stands in *other*, raw or escaped.
    """
    try:
        framed.body.decode()
        return framed
    except UnicodeDecodeError:
        pass
    try:
        text, seen = framed.body.decode("cp1252"), other.body.decode()
    except UnicodeDecodeError:
        return framed
    wide = {char for char in text if char > "\x7f"}
    escaped = {chr(int(code, 16)) for code in _ESCAPE.findall(seen)}
    if "\ufffd" in seen or not wide <= (set(seen) | escaped):
        return framed
    body = text.encode()
    return Framed(body=body, begin=0, stop=len(body), charset="windows-1252")


_ESCAPE: Final = re.compile(r"\\u([0-9a-fA-F]{4})")
