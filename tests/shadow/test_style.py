"""How legacy writes, read out of recorded differences."""

from __future__ import annotations

import pytest

from shadow.style import FRAMEWORKS, Seen, Style, fitting, style_of


def seen(cause: str, legacy: str = "", new: str = "", detail: str = "") -> Seen:
    """Make one recorded difference."""
    return Seen(cause=cause, detail=detail, legacy=legacy, new=new)


@pytest.mark.parametrize(
    ("row", "style"),
    [
        (seen("whitespace.trailing_newline", detail=r"'' -> '\n'"), Style(newline=False)),
        (seen("whitespace.trailing_newline", detail=r"'\n' -> ''"), Style(newline=True)),
        (seen("whitespace.separator", detail="', ' -> ',', ': ' -> ':'"), Style(comma=True, colon=True, indent="")),
        (seen("whitespace.separator", detail="':' -> ': '"), Style(colon=False, indent="")),
        (seen("whitespace.indent", detail="'    ' -> one line"), Style(indent="    ", colon=True)),
        (seen("whitespace.indent", detail="one line -> '  '"), Style(indent="")),
        (seen("key_order", detail="sorted -> its own"), Style(is_sorted=True)),
        (seen("key_order", detail="its own -> sorted"), Style(is_sorted=False)),
        (seen("escape.html", '"a<b"', r'"a\u003cb"'), Style(html="")),
        (seen("escape.html", r'"a\u003cb"', '"a<b"'), Style(html="<>&", upper_hex=False)),
        (seen("escape.solidus", r'"\/a"', '"/a"'), Style(solidus=True)),
        (seen("escape.non_ascii", r'"\u00e9"', '"é"'), Style(non_ascii="all", upper_hex=False)),
        (seen("escape.non_ascii", '"é"', r'"\u00e9"'), Style(non_ascii="none")),
        (seen("escape.non_ascii", r'"\ud83d\ude00"', '"😀"'), Style(non_ascii="astral", upper_hex=False)),
        (seen("escape.hex_case", r'"\u00E9"', r'"\u00e9"'), Style(non_ascii="all", upper_hex=True)),
        (seen("escape.line_separator", '"a"', '"b"', "new escapes"), Style(line_separator=False)),
        (seen("escape.line_separator", '"a"', '"b"', "legacy escapes"), Style(line_separator=True)),
        (seen("escape.non_ascii", "…xé…", ""), Style(non_ascii="none")),
        (seen("escape.solidus", r'"\u200b\/…', ""), Style(solidus=True)),
        (seen("escape.control", r'"\b"', r'"\u0008"'), Style(short_control=True)),
        (seen("number.exponent_spelling", "1e-07", "1e-7"), Style(floats=("Python",))),
        (seen("number.negative_zero", "0", "-0"), Style(floats=("JavaScript",))),
        (seen("number.nonfinite", "null", "NaN"), Style(floats=("JavaScript",))),
        (seen("time.fraction", '"2024-01-02T03:04:05.000Z"', '"2024-01-02T03:04:05Z"'), Style(times=("JavaScript",))),
        (
            seen("time.fraction", '"2024-01-02T03:04:05.120Z"', '"2024-01-02T03:04:05.12Z"'),
            Style(times=("Django", "JavaScript")),
        ),
        (seen("type.duration", "5400000", "5400000000000"), Style(durations=("milliseconds",))),
        (seen("null.empty_array", "[]", "null"), Style(null_slices=False)),
        (seen("null.empty_object", "null", "{}"), Style(null_maps=True)),
        (seen("value.changed", "1", "2"), Style()),
    ],
    ids=lambda value: value.cause if isinstance(value, Seen) else "",
)
def test_one_difference_decides_what_it_shows(row: Seen, style: Style) -> None:
    """Each cause decides the setting that it is about, and no other."""
    assert style_of([row]) == style


@pytest.mark.parametrize(
    "row",
    [
        seen("number.integral_float", "[redacted]", "1"),
        seen("time.fraction", '"2024-01-02T03', '"2024-01-02T03'),
        seen("whitespace.separator", detail=""),
        seen("whitespace.trailing_newline", detail="'\\"),
    ],
)
def test_what_is_cut_or_redacted_decides_nothing(row: Seen) -> None:
    """A fragment that does not show the bytes leaves the setting open."""
    assert style_of([row]) == Style()


def test_differences_that_contradict_each_other_decide_nothing() -> None:
    """A body with several encoders' spellings inside is not forced into one style."""
    rows = [seen("null.empty_array", "[]", "null"), seen("null.empty_array", "null", "[]")]

    assert style_of(rows) == Style()


def test_names_in_order_by_chance_do_not_make_a_sorter() -> None:
    """One object out of order shows that legacy keeps an order of its own."""
    rows = [seen("key_order", detail="sorted -> its own"), seen("key_order", detail="its own -> sorted")]

    assert style_of(rows).is_sorted is False


def test_frameworks_that_fit_are_named() -> None:
    """What was seen tells Django from Flask; nothing seen fits nobody in particular."""
    style = style_of(
        [
            seen("whitespace.separator", detail="', ' -> ',', ': ' -> ':'"),
            seen("escape.non_ascii", r'"\u00e9"', '"é"'),
            seen("time.fraction", '"2024-01-02T03:04:05.120Z"', '"2024-01-02T03:04:05.12Z"'),
        ]
    )

    assert "flask" not in fitting(style)
    assert "aiohttp" in fitting(style)
    assert fitting(Style()) == ()


def test_what_was_seen_wins_over_a_framework() -> None:
    """``--like`` fills in what is open, and changes nothing that was seen."""
    mixed = Style(newline=True, indent="").over(FRAMEWORKS["django"])

    assert (mixed.newline, mixed.comma, mixed.times) == (True, True, ("Django",))


def test_of_several_dialects_a_framework_chooses() -> None:
    """``1.0`` alone may be many; asked to be like Django it is Python's, and by itself the one nearest to Go."""
    style = style_of([seen("number.integral_float", "1.0", "1")])

    assert style.floats[0] == "Go with a point"
    assert style.over(FRAMEWORKS["django"]).floats == ("Python",)
    assert "django" in fitting(style)
    assert "express" not in fitting(style)


def test_frameworks_differ() -> None:
    """Each name stands for another style."""
    assert len(set(FRAMEWORKS.values())) == len(FRAMEWORKS)
