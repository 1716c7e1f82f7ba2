"""Say why a head is refused: what zttp leaves open, heads that are not whole yet, and the limits.

zttp has one sentence for many faults, and none before a head is whole. All of
this lies off the common path: it runs for a head that came in several reads,
that is large enough to reach a limit, or that was refused.

Rules of this file:

1. A head gets the same answer in whatever pieces it came: what is said of its
   first line here is said before anything else is looked at.
2. Nothing here lets a request pass that :mod:`proxy.wire` refuses; it only says
   why, and says it sooner.
"""

from __future__ import annotations

import re
from typing import Final

from config.spec import LimitsSpec
from proxy import wire
from proxy.wire import RefusedError
from shadow import redact

_LINE: Final = re.compile(rb"([!#-'*+.^_`|~0-9A-Za-z-]+) ([^\x00-\x20\x7f]+) HTTP/([0-9.]+)")
_SIMPLE: Final = re.compile(rb"[A-Z]+ [^\x00-\x20\x7f]+")
"""A request of HTTP/0.9: no version, no fields."""

_BARE: Final = re.compile(rb"(?<!\r)\n|\r(?=[^\n])|\0")
"""A line end that only some readers see (RFC 9112 section 2.2), or NUL."""

_TLS: Final = 0x16
"""What TLS begins with, and no method does (RFC 8446 section 5.1)."""

MAX_SHOWN: Final = 2_048
"""Bytes of a target, or of what should have been a request line, that the access log repeats."""

_SMALLEST_FIELD: Final = 4
"""``X:`` and a line end."""


def head_room(limits: LimitsSpec) -> int:
    """Give a size at which a head is within every limit, whatever it holds: below it nothing need be measured."""
    fields = limits.max_fields * _SMALLEST_FIELD if limits.max_fields < wire.MAX_FIELDS else limits.max_head_bytes
    return min(limits.max_target_bytes, limits.max_head_bytes, fields)


def check_size(event: wire.Request, limits: LimitsSpec) -> None:
    """Refuse a head that is larger than the configuration allows; blanks around values are not counted.

    Raises: RefusedError with 414 or 431.
    """
    if len(event.target) > limits.max_target_bytes:
        raise RefusedError(414, "target_too_long")
    fields = event.headers
    size = len(event.method) + len(event.target) + 14
    size += sum(len(name) + len(value) + 3 for name, value in fields)
    if size > limits.max_head_bytes:
        raise RefusedError(431, "head_too_large")
    if len(fields) > limits.max_fields:
        raise RefusedError(431, "too_many_fields")


class PartialHead:
    """Hold the reads of a head that is not whole.

    Bound: zttp's, 64 KiB and one read.
    """

    __slots__ = ("_begins", "_line_ended", "_seen", "raw")

    def __init__(self, *, begins: bool) -> None:
        """Start empty; unless it *begins* the connection, bytes of it may lie in zttp's buffer already."""
        self.raw = bytearray()
        self._begins = begins
        self._line_ended = not begins
        self._seen = 0 if begins else 1

    def add(self, data: bytes, limits: LimitsSpec) -> RefusedError | None:
        """Take one read; say whether the head is beyond repair already.

        Cost: linear in *data*, in whatever slices a head comes.
        """
        raw = self.raw
        raw += data
        if self._begins and raw[0] == _TLS:
            return RefusedError(400, "tls")
        if not self._line_ended:
            end = raw.find(b"\n", self._seen)
            if end >= 0:
                self._line_ended = True
                fault = _fault_of_line(bytes(raw[:end]).removesuffix(b"\r"), limits)
                if fault is not None:
                    return fault
            elif len(raw) > limits.max_target_bytes and _target_bytes(raw) > limits.max_target_bytes:
                return RefusedError(414, "target_too_long")
        if _BARE.search(raw, max(0, self._seen - 1) if self._begins else max(1, self._seen - 1)) is not None:
            return RefusedError(400, "grammar")
        self._seen = len(raw)
        return RefusedError(431, "head_too_large") if len(raw) > limits.max_head_bytes else None


def explain(error: wire.GrammarError, raw: bytes, limits: LimitsSpec) -> RefusedError:
    """Put what zttp refused under a status and a reason.

    Shape: *raw* is the head as far as it is known, with whatever came behind it.
    """
    head, whole, _ = raw.partition(b"\r\n\r\n")
    line, ended, rest = (head + whole[:2]).partition(b"\n")
    if ended:
        fault = _fault_of_line(line.removesuffix(b"\r"), limits)
        if fault is not None:
            return fault
    elif _target_bytes(head) > limits.max_target_bytes:
        return RefusedError(414, "target_too_long")
    sentence = str(error)
    if "size limit" in sentence:
        return RefusedError(431, "too_many_fields" if rest.count(b"\n") >= wire.MAX_FIELDS else "head_too_large")
    if _BARE.search(head) is not None:
        return RefusedError(400, "grammar")
    if "framing" in sentence:
        return _fault_of_framing(rest)
    if ended and len(_values(rest, b"host")) != 1:
        return RefusedError(400, "host")
    return RefusedError(400, "grammar")


def shown(raw: bytes) -> tuple[str, str]:
    """Give method and target of a refused head for the access log, ``-`` where they cannot be told."""
    line = raw[: MAX_SHOWN + 1].partition(b"\n")[0].removesuffix(b"\r")
    match = _LINE.fullmatch(line)
    if match is not None:
        return escaped(match[1]), _without_values(match[2])
    return "-", _without_values(line) or "-"


def _without_values(raw: bytes) -> str:
    """Write what is, or should be, a target: of a query the names only."""
    return redact.mask_query(raw[:MAX_SHOWN]) if b"?" in raw else escaped(raw)


def escaped(raw: bytes) -> str:
    """Write bytes of the wire as visible ASCII, so that a log line does nothing to the terminal that shows it."""
    text = raw[:MAX_SHOWN].decode("ascii", "backslashreplace")
    return text if text.isprintable() else "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text)


def _target_bytes(line: bytes | bytearray) -> int:
    """Measure the second word of a request line that may not be whole."""
    words = line.split(b" ", 2)
    return len(words[1]) if len(words) > 1 else 0


def _fault_of_line(line: bytes, limits: LimitsSpec) -> RefusedError | None:
    match = _LINE.fullmatch(line)
    if match is None:
        return RefusedError(505, "http_version") if _SIMPLE.fullmatch(line) else RefusedError(400, "grammar")
    if len(match[2]) > limits.max_target_bytes:
        return RefusedError(414, "target_too_long")
    if match[3] not in (b"1.1", b"1.0"):
        return RefusedError(505, "http_version")
    return None


def _values(fields: bytes, name: bytes) -> list[bytes]:
    pairs = (line.partition(b":") for line in fields.split(b"\r\n"))
    return [value.strip(b" \t").lower() for found, _, value in pairs if found.lower() == name]


def _fault_of_framing(fields: bytes) -> RefusedError:
    lengths, codings = _values(fields, b"content-length"), _values(fields, b"transfer-encoding")
    if len(lengths) + len(codings) != 1:
        return RefusedError(400, "framing")
    if lengths:
        return RefusedError(400, "content_length")
    known = {coding.strip(b" \t") for coding in codings[0].split(b",")} <= {b"chunked", b""}
    return RefusedError(400, "framing") if known else RefusedError(501, "transfer_coding")
