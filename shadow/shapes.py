"""What a text or a small container may stand for: bytes, a moment, one boxed scalar.

Encoders without a type for bytes or times write them as text, lists or objects of their own: Node's Buffer, PHP's
DateTime, MongoDB's extended JSON, protobuf's Timestamp, Jackson's array of fields. Only shapes that are
certain are read.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import json
import re
from typing import Final

from shadow import numbers, times

MAX_CONTAINER_BYTES: Final = 1 << 16
"""A larger container beside a scalar is another type, and nobody looks closer."""


# ---- texts that are bytes --------------------------------------------------------------------------------------------

_BASE64: Final = re.compile(r"(?:[A-Za-z0-9+/]{4})*+(?:[A-Za-z0-9+/]{2}(?:==)?|[A-Za-z0-9+/]{3}=?)?")
_BASE64_URL: Final = re.compile(r"[A-Za-z0-9_-]++={0,2}")
_HEX: Final = re.compile(r"(?:0x|\\x)?((?:[0-9a-fA-F]{2})++)")
_BYTES_REPR: Final = re.compile(r"b'(.*)'|b\"(.*)\"", re.DOTALL)
MAX_BYTES_TEXT: Final = 1 << 20


def bytes_of_text(text: str) -> dict[str, bytes]:
    """Give the bytes that a text may stand for, by the shape they would have; the text itself is one."""
    found = {"text": text.encode("utf-8", "surrogatepass")}
    if len(text) > MAX_BYTES_TEXT or not text:
        return found
    match = _BYTES_REPR.fullmatch(text)
    if match is not None:
        with contextlib.suppress(ValueError):
            written = (match[1] or match[2] or "").encode("latin-1")
            found["Python's repr"] = written.decode("unicode_escape").encode("latin-1")
    if _BASE64.fullmatch(text) is not None:
        found["base64"] = base64.b64decode(text + "=" * (-len(text) % 4))
    elif ("-" in text or "_" in text) and _BASE64_URL.fullmatch(text) is not None:
        with contextlib.suppress(binascii.Error):
            found["base64url"] = base64.urlsafe_b64decode(text.rstrip("=") + "=" * (-len(text.rstrip("=")) % 4))
    match = _HEX.fullmatch(text)
    if match is not None:
        found["hexadecimal"] = bytes.fromhex(match[1])
    return found


# ---- small containers ------------------------------------------------------------------------------------------------


def read_container(container: bytes) -> object:
    """Read a small container for its shape; ``None``: too large, too deep or no JSON."""
    if len(container) > MAX_CONTAINER_BYTES:
        return None
    try:
        return json.loads(container.decode("utf-8", "replace"), parse_float=str, parse_int=str)
    except (ValueError, RecursionError):
        return None


def bytes_of(value: object) -> bytes | None:
    """Give the bytes that a list of numbers, or Node's Buffer object, stands for; ``None``: it is no bytes."""
    if isinstance(value, dict):
        if value.get("type") == "Buffer" and len(value) == 2:
            return bytes_of(value.get("data"))
        if value and list(value) == [str(at) for at in range(len(value))]:  # a Uint8Array
            return bytes_of(list(value.values()))
        for key in ("$binary", "base64"):
            inner = value.get(key)
            if isinstance(inner, dict):
                return bytes_of(inner)
            if isinstance(inner, str):
                return bytes_of_text(inner).get("base64")
        return None
    if not isinstance(value, list) or not all(isinstance(item, str) and _BYTE.fullmatch(item) for item in value):
        return None
    octets = [int(item) for item in value]
    return bytes(octet & 0xFF for octet in octets) if all(-128 <= octet < 256 for octet in octets) else None


_BYTE: Final = re.compile(r"-?[0-9]{1,3}")


def moment_of(value: object) -> times.Moment | None:
    """Read PHP's, MongoDB's, protobuf's and Jackson's containers for a moment; ``None``: it is none.

    Shape: numbers inside are text, as :func:`read_container` leaves them.
    """
    if isinstance(value, list):
        return _moment_of_fields(value)
    if not isinstance(value, dict):
        return None
    if "timezone_type" in value and isinstance(value.get("date"), str):
        return _moment_of_php(value)
    inner = value.get("$date")
    if isinstance(inner, dict):
        inner = inner.get("$numberLong")
    if isinstance(inner, str):
        number = numbers.parse(inner.encode()) if inner.isascii() else None
        moment = times.read_epoch(number, "epoch milliseconds") if number is not None else times.read_moment(inner)
        return _in_shape("MongoDB date", moment)
    seconds, nanos = value.get("seconds", value.get("_seconds")), value.get("nanos", value.get("_nanoseconds", "0"))
    if not (isinstance(seconds, str) and isinstance(nanos, str) and len(value) <= 2):
        return None
    if not (_SECONDS.fullmatch(seconds) and _NANOS.fullmatch(nanos)):
        return None
    return times.Moment("seconds and nanos", int(seconds), nanos.rjust(9, "0"))


_SECONDS: Final = re.compile(r"-?[0-9]{1,12}")
_NANOS: Final = re.compile(r"[0-9]{1,9}")


def _in_shape(shape: str, moment: times.Moment | None) -> times.Moment | None:
    return moment and times.Moment(shape, moment.local, moment.digits, moment.offset, moment.zone)


def _moment_of_php(value: dict[str, object]) -> times.Moment | None:
    zone = value.get("timezone")
    moment = times.read_moment(str(value["date"]))
    if moment is None or not isinstance(zone, str):
        return None
    if zone in ("UTC", "GMT", "Z") or zone[:1] in "+-":
        moment = times.read_moment(f"{value['date']}{zone}")
        return _in_shape("PHP date", moment)
    offset = times.offset_in(zone, moment.local)
    return times.Moment("PHP date", moment.local, moment.digits, offset, zone)


def _moment_of_fields(value: list[object]) -> times.Moment | None:
    """Read Jackson's array of a LocalDateTime: year, month, day, hour, minute, maybe second and nanoseconds."""
    if not 5 <= len(value) <= 7 or not all(isinstance(item, str) and _NANOS.fullmatch(item) for item in value):
        return None
    fields = [int(str(item)) for item in value] + [0, 0]
    if not 1900 <= fields[0] <= 9999:
        return None
    year, month, day, hour, minute, second, nanos = fields[:7]
    text = f"{year:04d}-{month:02d}-{day:02d}T{hour:02d}:{minute:02d}:{second:02d}.{nanos:09d}"
    return _in_shape("array of fields", times.read_moment(text))


def unboxed(value: object) -> bytes | None:
    """Give the one scalar inside MongoDB's and Go's boxes as a lexeme; ``None``: it is no box."""
    if not isinstance(value, dict) or not value or len(value) > 2:
        return None
    if len(value) == 2 and "Valid" not in value:
        return None
    for key, inner in value.items():
        if key in _BOXES and isinstance(inner, str):
            return inner.encode() if key in _NUMBER_BOXES else json.dumps(inner, ensure_ascii=False).encode()
    return None


_NUMBER_BOXES: Final = frozenset(
    {"$numberLong", "$numberInt", "$numberDouble", "$numberDecimal", "Int64", "Float64", "Int32"}
)
_BOXES: Final = _NUMBER_BOXES | {"$oid", "String", "Time"}
