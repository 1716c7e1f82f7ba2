"""What a call may ask: its fields, read with everything that is wrong at once, and shown as JSON Schema."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from config.errors import UnfitError
from config.units import duration_ns, percent_bp
from console.problem import Fault, ProblemError, invalid

Kind = Literal[
    "text",
    "choice",
    "flag",
    "percent",
    "integer",
    "names",
    "audit_id",
    "window",
    "lasting",
    "overlap",
    "address",
    "headers",
    "rule",
    "context",
]

MAX_TEXT: Final = 2_000
"""Characters of a reason or a name; longer texts belong into a ticket."""

MAX_LIMIT: Final = 500
"""Items of one page."""

HOUR_NS: Final = 3_600 * 10**9
MAX_WINDOW_NS: Final = 31 * 24 * HOUR_NS

_AUDIT_ID: Final = re.compile(r"a-([0-9]{1,15})")
UNSHOWABLE: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
"""Control characters of both sets, ends of lines, and what turns the direction of writing: a reason or a name with one
of these would show an audit's reader something else than what was written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """Describe one field of a body or a query."""

    name: str
    kind: Kind
    help: str
    required: bool = False
    default: object = None
    choices: tuple[str, ...] = ()
    """Of a choice: every value that there is."""
    limits: Mapping[str, object] = dataclasses.field(default_factory=dict)
    """Further bounds of the value, as JSON Schema."""


REASON: Final = Field(name="reason", kind="text", help="Why; stands in the audit.", default="")
ROUTE: Final = Field(name="route", kind="text", help="Only this route.")
PAGE: Final = (
    Field(name="cursor", kind="text", help="`next` of the page before."),
    Field(name="limit", kind="integer", help="1 to 500.", default=50, limits={"minimum": 1, "maximum": MAX_LIMIT}),
)
"""What every list may ask."""


EXPECTED: Final[Mapping[Kind, str]] = {
    "text": f"a text of at most {MAX_TEXT} characters, none of them a control character or a change of direction",
    "choice": "one of the known values",
    "flag": "true or false",
    "percent": "a share from 0 to 100 in steps of 0.01, such as 12.5",
    "integer": "a whole number",
    "names": "a list of names",
    "audit_id": "an id such as a-42",
    "window": "a duration from 1h to 31d, such as 24h",
    "lasting": "a duration such as 90d, longer than 0s and at most 3650d",
    "overlap": "a duration such as 24h, or 0s for none, at most 3650d",
    "address": "an IP address",
    "headers": "a header such as X-User-Id:42",
    "rule": "the name of a rule, or an object with one rule",
    "context": "an object of attributes",
}

_SCHEMAS: Final[Mapping[Kind, Mapping[str, Any]]] = {  # Any: JSON
    "text": {"type": "string", "maxLength": MAX_TEXT},
    "choice": {"type": "string"},
    "flag": {"type": "boolean"},
    "percent": {
        "oneOf": [
            {"type": "number", "minimum": 0, "maximum": 100},
            {"type": "string", "pattern": r"^[0-9]{1,3}(\.[0-9]{1,2})?%?$"},
        ]
    },
    "integer": {"type": "integer", "minimum": 0, "maximum": (1 << 53) - 1},
    "names": {"type": "array", "items": {"type": "string"}, "maxItems": 10_000},
    "audit_id": {"type": "string", "pattern": "^a-[0-9]{1,15}$"},
    "window": {"type": "string", "pattern": "^[0-9]+(h|d|m|s)$"},
    "lasting": {"type": "string", "pattern": r"^[0-9]+(\.[0-9]+)?(ms|s|m|h|d)$"},
    "overlap": {"type": "string", "pattern": r"^[0-9]+(\.[0-9]+)?(ms|s|m|h|d)$"},
    "address": {"type": "string"},
    "headers": {"type": "array", "items": {"type": "string", "pattern": r"^[^\s:\x00-\x1f\x7f][^:\x00-\x1f\x7f]*:"}},
    "rule": {"oneOf": [{"type": "string"}, {"type": "object"}]},
    "context": {"type": "object"},
}


def schema_of(field: Field) -> dict[str, Any]:
    """Show one field as JSON Schema."""
    schema = {**_SCHEMAS[field.kind], **field.limits, "description": field.help}
    if field.choices:
        schema["enum"] = [*field.choices] if field.required else [*field.choices, None]
    # Whatever may be left out may also be null: clients in typed languages send null.
    if not field.required and "type" in schema:
        schema["type"] = [schema["type"], "null"]
    elif not field.required:
        schema["oneOf"] = [*schema["oneOf"], {"type": "null"}]
    return schema


def read(fields: Sequence[Field], asked: Mapping[str, object]) -> dict[str, Any]:
    """Read a body or query; every field of the table is in the result.

    Raises: ProblemError ``invalid-request`` with everything that is wrong.
    """
    faults: list[Fault] = []
    values: dict[str, Any] = {}
    known = {field.name for field in fields}
    for name in asked:
        if name not in known:
            shown = ", ".join(sorted(known)) or "none"
            faults.append(Fault(where=str(name)[:100], detail=f"{str(name)[:100]} is not known; known: {shown}."))
    for field in fields:
        value = asked.get(field.name)
        if value is None:
            if field.required:
                faults.append(Fault(where=field.name, detail=f"{field.name} is missing; expected {_expected(field)}."))
            values[field.name] = field.default
            continue
        try:
            values[field.name] = _choice(field, value) if field.choices else _value(field.kind, value)
        except ValueError:
            shown = repr(value) if isinstance(value, str) else str(value)
            faults.append(
                Fault(where=field.name, detail=f"{field.name} is {shown[:100]}; expected {_expected(field)}.")
            )
    if faults:
        raise invalid(faults)
    return values


def _expected(field: Field) -> str:
    return f"one of {', '.join(field.choices)}" if field.choices else EXPECTED[field.kind]


def _choice(field: Field, value: object) -> str:
    """Take one of a closed set of texts.

    Raises: ValueError for another one.
    """
    if not isinstance(value, str) or value not in field.choices:
        raise ValueError(value)
    return value


def _value(kind: Kind, value: object) -> object:
    """Convert one value.

    Raises: ValueError when it is not of its kind.
    """
    match kind, value:
        case "text", str() if len(value) <= MAX_TEXT and _is_clean(value):
            return value
        case "rule", str() if len(value) <= MAX_TEXT and _is_clean(value):
            return value
        case "rule", dict() if len(value) <= 10:
            return value
        case "context", dict():
            return value
        case "flag", bool():
            return value
        case "flag", "true" | "false":  # a query
            return value == "true"
        case "percent", bool():
            raise ValueError
        case "percent", int() | float() | str():
            return percent_bp(_plain(value))
        case "integer", bool():
            raise ValueError
        case "integer", int() if 0 <= value < 1 << 53:
            return value
        case "integer", str() if value.isascii() and value.isdigit() and len(value) < 16:  # a query
            return int(value)
        case "names", list() if len(value) <= 10_000 and all(
            isinstance(item, str) and _is_clean(item) for item in value
        ):
            return value
        case "audit_id", str() if found := _AUDIT_ID.fullmatch(value):
            return int(found[1])
        case "window", str():
            window_ns = duration_ns(value)
            if HOUR_NS <= window_ns <= MAX_WINDOW_NS:
                return window_ns
        case "lasting", str():
            if (lasting_ns := duration_ns(value)) > 0:
                return lasting_ns
        case "overlap", str():
            return duration_ns(value)
        case "address", str():
            import ipaddress

            return str(ipaddress.ip_address(value))
        case "headers", list():
            return [_header(item) for item in value]
    raise ValueError(kind)


def _is_clean(text: str) -> bool:
    """Say whether a text can be stored and shown as it is: nothing of :data:`UNSHOWABLE`, no lone surrogates."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return UNSHOWABLE.search(text) is None


def _plain(value: float | str) -> str:
    """Write a number without an exponent, as ``percent_bp`` reads it.

    Raises: ValueError for what is no number.
    """
    if isinstance(value, str):
        if len(value) > 20:
            raise UnfitError(value[:20], EXPECTED["percent"])
        return value
    if not -1e6 < value < 1e6:  # also false for NaN
        raise ValueError(value)
    return f"{value:f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)


def _header(item: object) -> tuple[str, str]:
    if not isinstance(item, str) or not _is_clean(item) or ":" not in item:
        raise ValueError(item)
    name, _, value = item.partition(":")
    if not name.strip():
        raise ValueError(item)
    return name.strip().lower(), value.strip()


def cursor_problem(cursor: str) -> ProblemError:
    """Report a cursor that this server did not hand out."""
    return ProblemError(
        "bad-cursor", f"The cursor {cursor[:100]!r} is not one that this server handed out; begin without one."
    )


def limit_of(values: Mapping[str, Any]) -> int:
    """Take the size of a page.

    Raises: ProblemError ``invalid-request``.
    """
    limit = values["limit"]
    if not 1 <= limit <= MAX_LIMIT:
        raise invalid([{"where": "limit", "detail": f"limit is {limit}; expected 1 to {MAX_LIMIT}."}])
    return int(limit)
