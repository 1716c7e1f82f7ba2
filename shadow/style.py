"""How a legacy service writes JSON, as far as its recorded differences show it.

Every setting is ``None`` or empty until something was seen that decides it. What nothing was seen of stays as
encoding/json has it: a setting by guess could break pairs that are equal today.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from types import MappingProxyType
from typing import Any, Final

from shadow import dialects


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """Hold one recorded difference, as much of it as shows how legacy writes."""

    cause: str
    detail: str
    legacy: str
    """The bytes at that place, as text; possibly cut or redacted."""
    new: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Style:
    """Say how an encoder writes."""

    newline: bool | None = None
    """One line feed stands behind the value."""
    comma: bool | None = None
    """A blank stands behind every comma, …"""
    colon: bool | None = None
    """… and behind every colon."""
    indent: str | None = None
    """Of one level; empty: everything stands on one line."""
    is_sorted: bool | None = None
    """Members are sorted by their names' UTF-8; false: in an order of their own."""
    html: str | None = None
    """The ASCII characters that are escaped although JSON need not: ``<>&``."""
    line_separator: bool | None = None
    """U+2028 and U+2029 are escaped."""
    non_ascii: str | None = None
    """What is escaped beyond ASCII: ``none``, ``all`` or ``astral``."""
    delete: bool | None = None
    """DEL is escaped."""
    solidus: bool | None = None
    upper_hex: bool | None = None
    short_control: bool | None = None
    """``\\b`` and ``\\f``, not ``\\u0008`` and ``\\u000c``."""
    floats: tuple[str, ...] = ()
    """Names of :data:`dialects.FLOATS`, any of which it may be; the first one is nearest to Go."""
    times: tuple[str, ...] = ()
    """Of :data:`dialects.TIMES`."""
    durations: tuple[str, ...] = ()
    """Of :data:`dialects.DURATIONS`."""
    null_slices: bool | None = None
    """A nil slice is null; false: []."""
    null_maps: bool | None = None

    def agrees(self, other: Style) -> bool:
        """Say whether nothing that both have seen contradicts."""
        return all(_agree(getattr(self, one.name), getattr(other, one.name)) for one in fields(self))

    def over(self, other: Style) -> Style:
        """Give this style with what it leaves open taken from *other*."""
        return Style(**{one.name: _over(getattr(self, one.name), getattr(other, one.name)) for one in fields(self)})


_OPEN: Final = (None, ())


def _agree(mine: object, theirs: object) -> bool:
    if mine in _OPEN or theirs in _OPEN:
        return True
    return bool({*mine} & {*theirs}) if isinstance(mine, tuple) and isinstance(theirs, tuple) else mine == theirs


def _over(mine: Any, theirs: Any) -> Any:  # Any: each setting has a type of its own
    """Choose between two values of one setting; of several dialects the one that both may be."""
    if mine in _OPEN:
        return theirs
    return tuple(one for one in mine if one in theirs) or mine if isinstance(mine, tuple) else mine


_PLAIN: Final = Style(
    newline=False,
    comma=False,
    colon=False,
    indent="",
    html="",
    line_separator=False,
    non_ascii="none",
    delete=False,
    solidus=False,
    short_control=True,
)
_DUMPS: Final = replace(_PLAIN, comma=True, colon=True, non_ascii="all", delete=True, floats=("Python",))

FRAMEWORKS: Final = MappingProxyType(
    {
        "express": replace(_PLAIN, floats=("JavaScript",), times=("JavaScript",), durations=("milliseconds",)),
        "django": replace(_DUMPS, times=("Django",), durations=("Django's ISO 8601",)),
        "flask": replace(_DUMPS, comma=False, colon=False, newline=True, is_sorted=True, times=("RFC 1123",)),
        "fastapi": replace(_PLAIN, floats=("Python",), times=("isoformat",), durations=("seconds",)),
        "drf": replace(_PLAIN, floats=("Python",), line_separator=True, times=("Django REST framework",)),
        "pydantic": replace(_PLAIN, floats=("orjson",), times=("Django REST framework",)),
        "aiohttp": _DUMPS,
        "rails": replace(_PLAIN, html="<>&", line_separator=True, floats=("Ruby",), times=("JavaScript",)),
        "php": replace(_PLAIN, non_ascii="all", solidus=True, floats=("PHP",)),
        "laravel": replace(_PLAIN, non_ascii="all", solidus=True, floats=("PHP",), times=("Laravel",)),
        "orjson": replace(_PLAIN, floats=("orjson",), times=("isoformat",)),
    }
)
"""How frameworks write with their defaults, by the name that ``--like`` takes.

Fastify, Koa and Hono write as Express does, Starlette as FastAPI, Tornado and Falcon as aiohttp.
"""


def fitting(style: Style) -> tuple[str, ...]:
    """Name the frameworks that nothing seen contradicts; empty where nothing was seen."""
    return () if style == Style() else tuple(name for name, one in FRAMEWORKS.items() if style.agrees(one))


# ---- from what was seen --------------------------------------------------------------------------------------------


def style_of(seen: Iterable[Seen]) -> Style:
    """Read a style out of recorded differences; what they do not decide, or not alike, stays open."""
    rows = list(seen)
    by_cause: dict[str, list[Seen]] = {}
    for row in rows:
        by_cause.setdefault(row.cause, []).append(row)
    style = Style(
        **_layout(by_cause),
        **_escapes([row for row in rows if row.cause.startswith("escape.")]),
        floats=dialects.float_dialects(
            [(row.legacy, row.new) for cause in _FLOAT_CAUSES for row in by_cause.get(cause, ())]
        ),
        times=dialects.time_dialects(
            [(row.legacy, row.new) for cause in _TIME_CAUSES for row in by_cause.get(cause, ())]
        ),
        durations=dialects.duration_dialects([(row.legacy, row.new) for row in by_cause.get("type.duration", ())]),
        null_slices=_null_side(by_cause.get("null.empty_array", ())),
        null_maps=_null_side(by_cause.get("null.empty_object", ())),
    )
    if not style.floats and _null_side(by_cause.get("number.nonfinite", ())):
        return replace(style, floats=("JavaScript",))
    return style


_FLOAT_CAUSES: Final = (
    "number.integral_float",
    "number.exponent_threshold",
    "number.exponent_spelling",
    "number.negative_zero",
)
_TIME_CAUSES: Final = ("time.fraction", "time.zone", "time.format")

_ARROW: Final = re.compile(r"('(?:[^'\\]|\\.)*'|one line|none) -> ('(?:[^'\\]|\\.)*'|one line|none)")


def _layout(by_cause: dict[str, list[Seen]]) -> dict[str, Any]:  # Any: each setting has a type of its own
    """Read whitespace and order from the words that describe them."""
    found: dict[str, set[bool | str]] = {}
    for row in by_cause.get("whitespace.trailing_newline", ()):
        for legacy, _ in _changes(row.detail):
            found.setdefault("newline", set()).add(legacy == "\n")
    for row in by_cause.get("whitespace.separator", ()):
        for legacy, _ in _changes(row.detail):
            found.setdefault("comma" if "," in legacy else "colon", set()).add(legacy in (", ", ": "))
            found.setdefault("indent", set()).add("")
    for row in by_cause.get("whitespace.indent", ()):
        for legacy, _ in _changes(row.detail):
            found.setdefault("indent", set()).add("" if legacy == "one line" else legacy)
            if legacy != "one line":
                found.setdefault("colon", set()).add(True)
    known = {name: next(iter(values)) for name, values in found.items() if len(values) == 1}
    orders = [row.detail.startswith("sorted ->") for row in by_cause.get("key_order", ())]
    if orders:
        # Two names are in order by chance; names that were integers are sorted as such.
        known["is_sorted"] = 2 * sum(orders) > len(orders)
    return known


def _changes(detail: str) -> list[tuple[str, str]]:
    """Read ``', ' -> ','`` out of a detail."""
    return [(_unquoted(legacy), _unquoted(new)) for legacy, new in _ARROW.findall(detail)]


def _unquoted(text: str) -> str:
    return str(ast.literal_eval(text)) if text.startswith("'") else text


def _null_side(rows: Iterable[Seen]) -> bool | None:
    """Say whether legacy is the side with null, in every row alike."""
    sides = {row.legacy == "null" for row in rows}
    return sides.pop() if len(sides) == 1 else None


_UNIT: Final = re.compile(r'\\u([0-9a-fA-F]{4})|\\(.)|([^\\"])', re.DOTALL)


def _escapes(rows: list[Seen]) -> dict[str, Any]:
    """Read from legacy's string lexemes which characters it escapes, and how.

    Fragments are printable lines: what is not printable stands in them as an escape that the body may not have.
    Of those nothing is concluded; for U+2028 and U+2029 the difference itself says who escapes.
    """
    escaped, raw, short, digits = set(), set(), set(), ""
    said = {(row.cause, row.detail) for row in rows}
    for row in rows:
        for unit in _UNIT.finditer(row.legacy.strip("…")):  # which says that a fragment was cut
            if unit[1]:
                code = int(unit[1], 16)
                if code < 0x80 or 0xD800 <= code < 0xE000 or chr(code).isprintable():
                    escaped.add(code)
                    digits += unit[1]
            elif unit[2]:
                short.add(unit[2])
            else:
                raw.add(ord(unit[3]))
    known: dict[str, Any] = {
        "non_ascii": _non_ascii(escaped, raw),
        "delete": _side(0x7F in escaped, 0x7F in raw),
        "line_separator": _side(("escape.line_separator", _LEGACY) in said, ("escape.line_separator", _NEW) in said),
        "solidus": _side("/" in short, ord("/") in raw),
        "short_control": _side(bool(short & {"b", "f"}), bool(escaped & {8, 12})),
        "upper_hex": _side(digits != digits.lower(), digits != digits.upper()),
    }
    if escaped & _HTML or raw & _HTML:
        known["html"] = "".join(chr(one) for one in sorted(escaped & _HTML))
        if known["html"] in ("&", "<", ">", "<>", "&<", "&>", "&<>"):
            known["html"] = "<>&"  # nobody escapes only some of the three
    if known["non_ascii"] == "all":
        known["line_separator"] = None  # they are escaped as anything else is
    return known


_LEGACY: Final = "legacy escapes"
_NEW: Final = "new escapes"
_SEPARATORS: Final = frozenset((0x2028, 0x2029))
_HTML: Final = frozenset(map(ord, "<>&='+"))


def _side(yes: bool, no: bool) -> bool | None:
    return yes if yes is not no else None


def _non_ascii(escaped: set[int], raw: set[int]) -> str | None:
    beyond = {one for one in escaped if one > 0x7F} - _SEPARATORS
    basic = {one for one in beyond if not 0xD800 <= one < 0xE000}
    plain = {one for one in raw if one > 0x7F} - _SEPARATORS
    if basic:
        return None if plain else "all"
    if beyond:
        return "astral"
    return "none" if plain else None
