"""The judge: is what reached a backend one request that every reader reads alike?

It shares no code with the product and repairs nothing. A proxy may answer a strange request with 200; it must
not hand the strangeness on. Each *finding* is one thing on which two backends could disagree.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

_LINE = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+) ([^\x00-\x20\x7f]+) (HTTP/1\.[01])")
_NAME = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
_HOST = re.compile(
    rb"(?:(?:%[0-9A-Fa-f]{2}|[A-Za-z0-9._~!$&'()*+;=-])+|\[[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*\])(?::([0-9]{0,5}))?"
)
_LENGTH = re.compile(rb"[0-9]{1,40}")
"""Leading zeros are legal; a number that some integer overflows at is none that all read alike."""
_SIZE_LINE = re.compile(rb"([0-9A-Fa-f]{1,16})(?:[ \t]*;[^\x00-\x08\x0a-\x1f\x7f]*)?")
_FRAMING = (b"content-length", b"transfer-encoding")
_NO_TRAILER = (*_FRAMING, b"host", b"connection", b"trailer", b"authorization")
"""What RFC 9110 section 6.5.1 keeps out of trailers, of that what changes whom or what a backend answers."""

Fields = list[tuple[bytes, bytes]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """Hold one request as it reached a backend."""

    raw: bytes
    method: bytes = b""
    target: bytes = b""
    fields: tuple[tuple[bytes, bytes], ...] = ()
    body: bytes = b""
    complete: bool = True
    """False: the connection ended before the body did."""
    findings: tuple[str, ...] = ()
    """Empty: every reader reads this alike."""


def read_arrival(data: bytes, *, ended: bool = False) -> tuple[Arrival | None, int]:
    """Read the first request of *data* and how many bytes it takes; ``None``: it is not complete yet.

    Shape: what has findings takes all bytes, for nobody knows where it ends; so does what the connection
    *ended* inside.
    """
    start = data.find(b"\r\n\r\n") + 4
    if start < 4:
        return (Arrival(raw=data, complete=False) if ended and data else None), len(data)
    head, findings = read_head(data[:start])
    if findings:
        return replace(head, raw=data, findings=tuple(findings)), len(data)
    end, body, finding = _read_body(data, start, head.fields)
    if finding:
        return replace(head, raw=data, body=body, findings=(finding,)), len(data)
    if end is None:
        return (replace(head, raw=data, body=body, complete=False) if ended else None), len(data)
    return replace(head, raw=data[:end], body=body), end


def read_head(head: bytes) -> tuple[Arrival, list[str]]:
    """Read a head up to and with its empty line, and say what is wrong with it."""
    first, *lines = head[:-4].split(b"\r\n")
    findings: list[str] = []
    match = _LINE.fullmatch(first)
    if match is None:
        findings.append(f"request line {first[:60]!r}")
    method, target, version = match.groups() if match else (b"", b"", b"")
    if b"#" in target:
        findings.append("fragment in the target")
    fields: Fields = []
    for line in lines:
        name, colon, value = line.partition(b":")
        if not colon or _NAME.fullmatch(name) is None:
            findings.append(f"field line {line[:40]!r}")
        elif _CONTROL.search(value) is not None:
            findings.append(f"control byte in {name[:40].decode()}")
        fields.append((name, value.strip(b" \t")))
    findings += _about_framing(fields, version)
    findings += _about_host(fields, version, target)
    findings += _about_twins(fields)
    return Arrival(raw=head, method=method, target=target, fields=tuple(fields)), findings


def _values(fields: Fields | tuple[tuple[bytes, bytes], ...], wanted: bytes) -> list[bytes]:
    return [value for name, value in fields if name.lower() == wanted]


def _about_framing(fields: Fields, version: bytes) -> list[str]:
    lengths, codings = _values(fields, b"content-length"), _values(fields, b"transfer-encoding")
    findings = []
    if lengths and codings:
        findings.append("Content-Length beside Transfer-Encoding")
    if len(lengths) > 1 or any(_LENGTH.fullmatch(one) is None or int(one) >= 1 << 63 for one in lengths):
        findings.append(f"Content-Length {lengths}")
    if codings and (codings != [codings[0]] or codings[0].lower() != b"chunked" or version == b"HTTP/1.0"):
        findings.append(f"Transfer-Encoding {codings} in {version.decode()}")
    return findings


def _about_host(fields: Fields, version: bytes, target: bytes) -> list[str]:
    hosts = _values(fields, b"host")
    if len(hosts) > 1 or (not hosts and version == b"HTTP/1.1"):
        return [f"{len(hosts)} Hosts"]
    if hosts and hosts[0]:
        match = _HOST.fullmatch(hosts[0])
        if match is None or int(match[1] or b"0") > 65_535:
            return [f"Host {hosts[0][:40]!r}"]
    absolute = re.match(rb"[A-Za-z][A-Za-z0-9+.-]*://([^/?]*)", target)
    if absolute is not None and hosts and absolute[1].lower() != hosts[0].lower():
        return [f"target of {absolute[1][:40]!r} beside Host {hosts[0][:40]!r}"]
    return []


def _about_twins(fields: Fields) -> list[str]:
    names = {name.lower() for name, _ in fields}
    framed = any(name in names for name in _FRAMING)
    return [
        f"{name.decode('latin-1')} beside its twin"
        for name in sorted(names)
        if b"_" in name
        and (
            any(other != name and other.replace(b"_", b"-") == name.replace(b"_", b"-") for other in names)
            or (framed and name.replace(b"_", b"-") in _FRAMING)
        )
    ]


def _read_body(data: bytes, start: int, fields: tuple[tuple[bytes, bytes], ...]) -> tuple[int | None, bytes, str]:
    """Say where the body ends (``None``: not yet), what it is, and what is wrong with it."""
    if not _values(fields, b"transfer-encoding"):
        lengths = _values(fields, b"content-length")
        end = start + (int(lengths[0]) if lengths else 0)
        return end if len(data) >= end else None, data[start:end], ""
    body, at = b"", start
    while (line_end := data.find(b"\r\n", at)) >= 0:
        match = _SIZE_LINE.fullmatch(data[at:line_end])
        if match is None:
            return None, body, f"chunk line {data[at:line_end][:40]!r}"
        size, at = int(match[1], 16), line_end + 2
        if size == 0:
            end_of_trailers, finding = _read_trailers(data, at)
            return end_of_trailers, body, finding
        if len(data) < at + size + 2:
            break
        if data[at + size : at + size + 2] != b"\r\n":
            return None, body, "no line end behind a chunk"
        body, at = body + data[at : at + size], at + size + 2
    return None, body, ""


def _read_trailers(data: bytes, at: int) -> tuple[int | None, str]:
    while (line_end := data.find(b"\r\n", at)) >= 0:
        line, at = data[at:line_end], line_end + 2
        if not line:
            return at, ""
        name, colon, value = line.partition(b":")
        if not colon or _NAME.fullmatch(name) is None or _CONTROL.search(value) or name.lower() in _NO_TRAILER:
            return None, f"trailer {line[:40]!r}"
    return None, ""
