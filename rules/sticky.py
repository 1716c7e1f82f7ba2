"""Find the key that keeps a client on one side: headers, cookies, parameters, addresses.

Rules of this file:

1. Keys are raw bytes: nothing is decoded, unquoted or folded, because the same
   bytes must give the same bucket in every version and in Envoy.
2. The first present source of a route's list wins; a source seen twice counts
   by its first occurrence. Present and empty is present.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Final, Protocol

from config.errors import MatapaloError
from rules.path import query_of

ISSUED_COOKIE: Final = "matapalo_client"
"""The cookie that Matapalo sets where a route asks for ``issued_cookie`` and no key is there."""


MAX_SHARED: Final = 256
"""Different lists whose compiled form is one object; more are compiled anew."""


class Fields(Protocol):
    """Look up the header fields of one request."""

    def get(self, name: bytes, /) -> bytes | None:
        """Give the first value of *name*, whatever its case, or ``None``."""

    def getall(self, name: bytes, /) -> list[bytes]:
        """Give every value of *name*, in order."""


class FieldList:
    """Hold header fields as pairs, where no parsed head is at hand."""

    __slots__ = ("_pairs",)

    def __init__(self, pairs: Iterable[tuple[bytes, bytes]] = ()) -> None:
        self._pairs: Final = tuple((name.lower(), value) for name, value in pairs)

    def get(self, name: bytes, /) -> bytes | None:
        """Give the first value of *name*, whatever its case, or ``None``."""
        wanted = name.lower()
        return next((value for known, value in self._pairs if known == wanted), None)

    def getall(self, name: bytes, /) -> list[bytes]:
        """Give every value of *name*, in order."""
        wanted = name.lower()
        return [value for known, value in self._pairs if known == wanted]


Source = Callable[[bytes, Fields, str], bytes | None]
"""Reads a key from (target, fields, client address); ``None``: not present."""


class StickyError(MatapaloError, ValueError):
    """A sticky key names a source that does not exist."""

    def __init__(self, text: str) -> None:
        super().__init__(
            f"sticky key {text!r} is unknown; expected header:NAME, cookie:NAME, query:NAME, issued_cookie or ip"
        )
        self.text = text


@lru_cache(maxsize=MAX_SHARED)
def sources_from(sticky: tuple[str, ...]) -> tuple[Source, ...]:
    """Compile a ``sticky`` list; one object for all routes that have the same one.

    Raises: StickyError for anything that is not in the list of sources.
    """
    return tuple(map(source_from, sticky))


@lru_cache(maxsize=MAX_SHARED)
def header_from(sticky: tuple[str, ...]) -> bytes:
    """Name the header that a ``sticky`` list begins with, empty where it begins with something else.

    It is what nearly every list begins with, and asked without a call of its source.
    """
    kind, _, name = sticky[0].partition(":") if sticky else ("", "", "")
    return name.lower().encode() if kind == "header" else b""


def source_from(text: str) -> Source:
    """Compile one entry of a ``sticky`` list.

    Raises: StickyError for anything that is not in the list of sources.
    """
    kind, colon, name = text.partition(":")
    if text == "ip":
        return lambda _target, _fields, client_ip: client_ip.encode()
    if text == "issued_cookie":
        return _cookie_source(ISSUED_COOKIE)
    if name and colon:
        if kind == "header":
            lower = name.lower().encode()
            return lambda _target, fields, _client_ip: fields.get(lower)
        if kind == "cookie":
            return _cookie_source(name)
        if kind == "query":
            raw_name = name.encode()
            return lambda target, _fields, _client_ip: query_value(query_of(target), raw_name)
    raise StickyError(text)


def _cookie_source(name: str) -> Source:
    raw_name = name.encode()

    def read(_target: bytes, fields: Fields, _client_ip: str) -> bytes | None:
        raw_cookie = fields.get(b"cookie")
        return None if raw_cookie is None else cookie_value(raw_cookie, raw_name)

    return read


def cookie_value(raw_cookie: bytes, name: bytes) -> bytes | None:
    """Find the first cookie called *name* in the bytes of a Cookie field.

    Shape: the raw value, quotes and escapes included, blanks around it removed; names keep their case.
    Cost: linear; the value is found without splitting the field.
    Source: RFC 6265 section 4.2.1.
    """
    wanted = name + b"="
    found = raw_cookie.find(wanted)
    while found >= 0:
        before = found - 1
        while before >= 0 and raw_cookie[before] in b" \t":
            before -= 1
        if before < 0 or raw_cookie[before] == 0x3B:
            start = found + len(wanted)
            end = raw_cookie.find(b";", start)
            return raw_cookie[start : end if end >= 0 else len(raw_cookie)].strip(b" \t")
        found = raw_cookie.find(wanted, found + 1)
    return None


def query_value(raw_query: bytes, name: bytes) -> bytes | None:
    """Find the first parameter spelled exactly *name* and give its raw value.

    Shape: ``a=1&a=2`` gives ``1``; ``a`` without ``=`` is present and empty; ``%61=1`` is not ``a``.
    """
    for pair in raw_query.split(b"&"):
        key, _, value = pair.partition(b"=")
        if key == name and pair:
            return value
    return None
