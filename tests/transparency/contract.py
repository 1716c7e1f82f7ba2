"""What docs/wire.md promises, as functions: from what was sent to what must arrive, byte for byte.

The lists of names are read from the document, so that it cannot say one thing and the product do another.
Nothing here shares code with the product.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Final

_DOCUMENT: Final = (Path(__file__).resolve().parents[2] / "docs" / "wire.md").read_text()

PEER: Final = b"127.0.0.1"
NODE: Final = re.compile(rb"[0-9A-Za-z._-]+")
NEW_ID: Final = re.compile(rb"[0-9a-f]{24}")
_KEPT_ID: Final = re.compile(rb"[!#-+\--:<-\[\]-~]{1,128}")
"""Visible ASCII that may stand in a cookie: no quotation mark, comma, semicolon, backslash (RFC 6265 section 4.1.1)."""


def _named(heading: str, line: str) -> frozenset[bytes]:
    """Read the names of one line of the table under *heading*, in lower case."""
    table = _DOCUMENT.split(f"| {heading} | names |\n", 1)[1].split("\n\n", 1)[0]
    (row,) = [row for row in table.splitlines() if row.startswith(f"| {line} |")]
    return frozenset(name.lower().encode() for name in re.findall(r"`([A-Za-z0-9-]+)`", row.split("|")[2]))


HOP: Final = _named("fields of a request", "removed, because they are for one hop")
IDENTITY: Final = _named("fields of a request", "removed, because they say who asked")
NEVER_LISTED: Final = _named("fields of a request", "removed if a `Connection` field lists them")
ANSWER_HOP: Final = _named("fields of an answer", "removed")
NO_TRAILERS: Final = _named("fields that are no trailers", "removed from trailers, in both directions")

Fields = Iterable[tuple[bytes, bytes]]


def values(fields: Fields, name: bytes) -> list[bytes]:
    """List the values of one field."""
    return [value for key, value in fields if key.lower() == name]


def _listed(fields: Fields) -> frozenset[bytes]:
    tokens = b",".join(values(fields, b"connection")).lower().split(b",")
    return frozenset(token.strip(b" \t") for token in tokens) - NEVER_LISTED


def _is_ours(name: bytes) -> bool:
    return name.startswith(b"x-matapalo-")


def request_id(fields: Fields) -> bytes | None:
    """Give the id that a request keeps; ``None``: it gets a new one."""
    good = [value for value in values(fields, b"x-request-id") if _KEPT_ID.fullmatch(value)]
    return good[-1] if good else None


def target_of(method: bytes, target: bytes) -> bytes:
    """Bring absolute form to origin form."""
    match = re.fullmatch(rb"(?i:https?)://[^/?]+(.*)", target)
    if match is None:
        return target
    rest = match[1]
    return rest if rest.startswith(b"/") else b"/" + rest


def kept_lines(fields: Fields) -> list[bytes]:
    """List the client's own field lines as a backend gets them."""
    fields = list(fields)
    gone = HOP | IDENTITY | _listed(fields) | {b"x-request-id", b"host"}
    return [name + b": " + value for name, value in fields if name.lower() not in gone and not _is_ours(name.lower())]


def forwarded_head(
    method: bytes, target: bytes, version: bytes, fields: Fields, *, new_id: bytes, node: bytes
) -> bytes:
    """Write the head that a backend must get for a request that reads so."""
    fields = list(fields)
    host = b"".join(values(fields, b"host"))
    lines = [b"%b %b HTTP/1.1" % (method, target_of(method, target)), b"Host: " + host]
    lines += [
        line for line in kept_lines(fields) if not (version == b"HTTP/1.0" and line.lower().startswith(b"expect:"))
    ]
    if values(fields, b"transfer-encoding"):
        lines.append(b"Transfer-Encoding: chunked")
    upgrades = values(fields, b"upgrade")
    if (
        version == b"HTTP/1.1"
        and method == b"GET"
        and len(upgrades) == 1
        and upgrades[0].lower() == b"websocket"
        and b"upgrade" in _listed(fields)
    ):
        lines += [b"Connection: Upgrade", b"Upgrade: " + upgrades[0]]
    elif b"trailers" in b",".join(values(fields, b"te")).lower():
        lines += [b"TE: trailers", b"Connection: TE"]
    lines += added_lines(host, request_id(fields) or new_id, node)
    return b"\r\n".join(lines) + b"\r\n\r\n"


def added_lines(host: bytes, identity: bytes, node: bytes) -> list[bytes]:
    """List what we add to a stranger's request."""
    lines = [b"X-Request-Id: " + identity, b"X-Matapalo-Via: " + node]
    lines += [b"X-Forwarded-For: " + PEER, b"X-Forwarded-Proto: http"]
    return [*lines, b"X-Forwarded-Host: " + host] if host else lines


def kept_trailers(trailers: Fields, head: Fields, hop: frozenset[bytes]) -> tuple[tuple[bytes, bytes], ...]:
    """List the trailers that go on, given the head that they belong to."""
    gone = hop | IDENTITY | NO_TRAILERS | _listed(head) | {b"x-request-id"}
    return tuple(pair for pair in trailers if pair[0].lower() not in gone and not _is_ours(pair[0].lower()))


def copied_head(primary: bytes, body: bytes) -> bytes:
    """Write the head that a shadow must get, given the *primary*'s; the new span of a trace reads ``SPAN``."""
    first, *lines = primary[:-4].split(b"\r\n")
    ours = lines.index(next(line for line in lines if line.startswith(b"X-Request-Id: ")))
    dropped = (b"if-none-match:", b"if-modified-since:", b"expect:", b"te:", b"connection:", b"transfer-encoding:")
    theirs = [line for line in lines[:ours] if not line.lower().startswith(dropped)]
    theirs = [re.sub(rb"(?i)^(traceparent: ..-.{32}-).{16}(-..)$", rb"\1SPAN\2", line) for line in theirs]
    if b"Transfer-Encoding: chunked" in lines[:ours]:
        theirs.append(b"Content-Length: %d" % len(body))
    return b"\r\n".join([first, *theirs, *lines[ours:], b"X-Matapalo-Shadow: 1"]) + b"\r\n\r\n"


def answer_lines(
    lines: Iterable[bytes], *, chunked: bool, connection: bytes, own: Iterable[bytes]
) -> tuple[bytes, ...]:
    """List the lines of the head that a client must get for an answer whose head has these *lines*."""
    first, *rest = lines
    fields = [(name, value.strip(b" \t")) for name, _, value in (line.partition(b":") for line in rest)]
    status = first.split(b" ")[1]
    gone = ANSWER_HOP | _listed(fields)
    out = [first.replace(b"HTTP/1.0", b"HTTP/1.1", 1)]
    out += [
        line
        for line, (name, _) in zip(rest, fields, strict=True)
        if name.lower() not in gone and not _is_ours(name.lower())
    ]
    upgrades = [line for line, (name, _) in zip(rest, fields, strict=True) if name.lower() == b"upgrade"]
    if status == b"426" and upgrades:
        out += [b"Connection: Upgrade", *upgrades]
    if chunked:
        out.append(b"Transfer-Encoding: chunked")
    if connection:
        out.append(b"Connection: " + connection)
    return (*out, *own)


def broken(cases: Mapping[str, str], check: Callable[[str], None]) -> dict[str, str]:
    """Check every case, given as id and reason; list those that fail, each with its reason and what was found."""
    found = {}
    for name, why in cases.items():
        try:
            check(name)
        except AssertionError as error:
            found[name] = f"{why}: {error}"
    return found
