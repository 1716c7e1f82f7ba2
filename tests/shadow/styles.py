"""A reference encoder with switches: one value, written as any of very many encoders would.

It knows nothing of ``shadow``: each group of switches is what one cause of the vocabulary says, so two styles and a
value say which causes lie between their two bodies (:func:`causes_between`), and what replaying some of them must
give (:func:`with_causes`).
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

from hypothesis import strategies as st


@dataclass(frozen=True, slots=True, kw_only=True)
class Style:
    """Say how one encoder writes; the defaults are JSON.stringify's."""

    end: str = ""
    """Behind the value."""
    item_gap: str = ""
    name_gap: str = ""
    """Behind a comma and a colon, where there is no indent."""
    indent: str = ""
    """``2``, ``4``, ``tab``, ``ruby``, ``jackson``; empty: one line."""
    order: str = ""
    """``sorted``, ``utf16``, ``reversed``, ``integers first`` or the seed of a shuffle; empty: as the value has it."""
    html: str = ""
    """Characters that are escaped although they need not be."""
    separators: bool = False
    """U+2028 and U+2029 are escaped."""
    beyond_ascii: str = ""
    """``all`` or ``astral`` are escaped; empty: none."""
    solidus: bool = False
    long_controls: bool = False
    """Backspace and form feed as u-escapes."""
    delete: bool = False
    """DEL is escaped."""
    upper: bool = False
    """Hexadecimal digits in upper case."""
    largest_plain: int = 21
    smallest_plain: int = -7
    """Decimal exponents from which, and below which, floats are written with one."""
    exponent: str = "e"
    exponent_plus: bool = True
    exponent_digits: int = 1
    exponent_fraction: bool = False
    """``1.0e7`` for ``1e7``."""
    integral_fraction: bool = False
    """``1.0`` for the float 1."""
    signed_zero: bool = False
    """``-0`` or ``-0.0`` for the float; else 0."""


SWITCHES: Final[dict[str, tuple[str, ...]]] = {
    "whitespace.trailing_newline": ("end",),
    "whitespace.separator": ("item_gap", "name_gap"),
    "whitespace.indent": ("indent",),
    "key_order": ("order",),
    "escape.html": ("html",),
    "escape.line_separator": ("separators",),
    "escape.non_ascii": ("beyond_ascii",),
    "escape.solidus": ("solidus",),
    "escape.control": ("long_controls", "delete"),
    "escape.hex_case": ("upper",),
    "number.exponent_threshold": ("largest_plain", "smallest_plain"),
    "number.exponent_spelling": ("exponent", "exponent_plus", "exponent_digits", "exponent_fraction"),
    "number.integral_float": ("integral_fraction",),
    "number.negative_zero": ("signed_zero",),
}
"""The fields of a style that one cause stands for."""

STYLES: Final = st.builds(
    Style,
    end=st.sampled_from(("", "", "\n", "\r\n", "\n\n")),
    item_gap=st.sampled_from(("", " ")),
    name_gap=st.sampled_from(("", " ")),
    indent=st.sampled_from(("", "", "", "2", "4", "tab", "ruby", "jackson")),
    order=st.sampled_from(("", "", "sorted", "utf16", "reversed", "integers first", "1", "2")),
    html=st.sampled_from(("", "<>&", "<>&='", "<>&'\"")),
    separators=st.booleans(),
    beyond_ascii=st.sampled_from(("", "all", "astral")),
    solidus=st.booleans(),
    long_controls=st.booleans(),
    delete=st.booleans(),
    upper=st.booleans(),
    largest_plain=st.sampled_from((7, 16, 21)),
    smallest_plain=st.sampled_from((-3, -5, -7)),
    exponent=st.sampled_from("eE"),
    exponent_plus=st.booleans(),
    exponent_digits=st.sampled_from((1, 2)),
    exponent_fraction=st.booleans(),
    integral_fraction=st.booleans(),
    signed_zero=st.booleans(),
)

_TEXTS: Final = st.one_of(
    st.text(max_size=6),
    st.text("ab\"\\/<>&='\b\f\n\t\x7f\x1f\x01é\u2028\u2029\ufffd😀ud0", max_size=6),
    st.sampled_from(("-0", ", -0", "u00e9", "1e5", "12", "x-0", "\\u003c", "\\", "</p>")),
)
_FLOATS: Final = st.one_of(
    st.sampled_from((0.0, -0.0, 1.0, 1e16, 1e-7, 1.5e-5, 1e21, 123456789.5, 1e7, 1e-3, 1.25, 100.0, 5e-324, 1e23)),
    st.floats(allow_nan=False, allow_infinity=False),
)
VALUES: Final = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-(10**20), 10**20), _FLOATS, _TEXTS),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(
            st.one_of(_TEXTS, st.sampled_from(("1", "10", "9", "id", "Z", "𐀀", "\uffff"))), inner, max_size=4
        ),
    ),
    max_leaves=10,
)


def written(value: object, style: Style) -> bytes:
    """Write a value in a style."""
    return (_value(value, style, 0) + style.end).encode()


def with_causes(style: Style, other: Style, causes: Iterable[str]) -> Style:
    """Give *style* with the switches of *causes* set as in *other*."""
    names = [name for cause in causes for name in SWITCHES.get(cause, ())]
    return replace(style, **{name: getattr(other, name) for name in names})


def causes_between(value: object, legacy: Style, new: Style) -> frozenset[str] | None:
    """Name the causes between the two bodies of *value*: every switch that both sides feel.

    Shape: ``None`` where those alone do not lead from one body to the other, so that nobody can say.
    """
    one, two = written(value, legacy), written(value, new)
    found = frozenset(
        cause
        for cause in SWITCHES
        if written(value, with_causes(legacy, new, [cause])) != one
        and written(value, with_causes(new, legacy, [cause])) != two
    )
    return found if written(value, with_causes(legacy, new, found)) == two else None


def _value(value: object, style: Style, depth: int) -> str:
    if isinstance(value, str):
        return _text(value, style)
    if isinstance(value, float):
        return _float(value, style)
    if isinstance(value, list):
        # Jackson's arrays stand on one line and do not count as a level.
        below = depth if style.indent == "jackson" else depth + 1
        return _container("[]", [_value(item, style, below) for item in value], style, depth)
    if isinstance(value, dict):
        colon = {"": ":" + style.name_gap, "jackson": " : "}.get(style.indent, ": ")
        members = [
            f"{_text(name, style)}{colon}{_value(value[name], style, depth + 1)}" for name in _names(value, style)
        ]
        return _container("{}", members, style, depth)
    return (
        {None: "null", True: "true", False: "false"}[value]
        if value is None or value is True or value is False
        else str(value)
    )


def _container(brackets: str, items: list[str], style: Style, depth: int) -> str:
    opening, closing = brackets[0], brackets[1]
    if not style.indent:
        return opening + f",{style.item_gap}".join(items) + closing
    if not items:
        return {"ruby": "[\n\n]" if opening == "[" else "{\n}", "jackson": f"{opening} {closing}"}.get(
            style.indent, brackets
        )
    if style.indent == "jackson" and opening == "[":
        return f"[ {', '.join(items)} ]"
    unit = {"4": "    ", "tab": "\t"}.get(style.indent, "  ")
    line = "\n" + unit * (depth + 1)
    return opening + line + f",{line}".join(items) + "\n" + unit * depth + closing


def _names(value: dict[str, object], style: Style) -> list[str]:
    names = list(value)
    if style.order == "sorted":
        return sorted(names)
    if style.order == "utf16":
        return sorted(names, key=lambda name: name.encode("utf-16-be", "surrogatepass"))
    if style.order == "reversed":
        return names[::-1]
    if style.order == "integers first":
        integers = [name for name in names if name.isascii() and name.isdigit() and str(int(name)) == name]
        return sorted(integers, key=int) + [name for name in names if name not in integers]
    if style.order:
        random.Random(style.order).shuffle(names)
    return names


_SHORT: Final = {'"': '\\"', "\\": "\\\\", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t"}


def _text(text: str, style: Style) -> str:
    return '"' + "".join(_char(char, style) for char in text) + '"'


def _char(char: str, style: Style) -> str:
    code = ord(char)
    is_escaped = (
        code < 0x20
        or char in style.html
        or (code == 0x7F and style.delete)
        or (code in (0x2028, 0x2029) and style.separators)
        or (code > 0x7F and style.beyond_ascii == "all")
        or (code > 0xFFFF and style.beyond_ascii == "astral")
    )
    if char in _SHORT and char not in style.html and not (char in "\b\f" and style.long_controls):
        return _SHORT[char]
    if char == "/" and style.solidus:
        return "\\/"
    if not is_escaped:
        return char
    units = char.encode("utf-16-be").hex()
    units = units.upper() if style.upper else units
    return "".join(f"\\u{units[at : at + 4]}" for at in range(0, len(units), 4))


def _float(value: float, style: Style) -> str:
    sign = "-" if str(value).startswith("-") else ""
    if value == 0:
        sign = sign if style.signed_zero else ""
        return f"{sign}0{'.0' if style.integral_fraction else ''}"
    mantissa, _, power = repr(abs(value)).partition("e")
    whole, _, fraction = mantissa.partition(".")
    digits = (whole + fraction).strip("0")
    if power:
        exponent = int(power)
    else:
        exponent = len(whole) - 1 if whole != "0" else len(fraction.lstrip("0")) - len(fraction) - 1
    if style.smallest_plain < exponent < style.largest_plain:
        return sign + _plain(digits, exponent, style)
    point = "." + digits[1:] if len(digits) > 1 else ".0" if style.exponent_fraction else ""
    plus = "-" if exponent < 0 else "+" if style.exponent_plus else ""
    return f"{sign}{digits[0]}{point}{style.exponent}{plus}{abs(exponent):0{style.exponent_digits}}"


def _plain(digits: str, exponent: int, style: Style) -> str:
    if exponent < 0:
        return "0." + "0" * (-exponent - 1) + digits
    whole, fraction = digits[: exponent + 1].ljust(exponent + 1, "0"), digits[exponent + 1 :]
    if fraction:
        return f"{whole}.{fraction}"
    return whole + (".0" if style.integral_fraction else "")
