"""Numbers, moments and durations as encoders spell them, against what the encoders wrote."""

from __future__ import annotations

import base64
import gzip
import json
import math
import re
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shadow.dialects import DURATIONS, FLOATS, TIMES, duration_dialects, float_dialects, time_dialects

CORPUS = Path(__file__).with_name("corpus") / "encoders.jsonl.gz"

WRITERS = {
    "py-json": "Python",
    "django-jsonresponse": "Python",
    "py-orjson": "orjson",
    "pydantic-model-json": "orjson",
    "php-json_encode": "PHP",
    "express-json": "JavaScript",
}


def recorded_floats(encoder: str) -> list[tuple[float, str]]:
    """List (value, lexeme as the encoder wrote it) of the corpus' single floats."""
    bodies: dict[str, dict[str, str]] = {}
    for line in gzip.decompress(CORPUS.read_bytes()).splitlines():
        row = json.loads(line)
        if row["case"].startswith("fl-") and row["encoder"] in ("py-json", encoder):
            found = re.fullmatch(r'\{"v": ?(.*)\}', base64.b64decode(row["body_b64"]).decode())
            if found:
                bodies.setdefault(row["case"], {})[row["encoder"]] = found[1]
    pairs = [(float(one["py-json"]), one[encoder]) for one in bodies.values() if len({*one} | {encoder}) == len(one)]
    return [(value, lexeme) for value, lexeme in pairs if math.isfinite(value)]


@pytest.mark.parametrize("encoder", WRITERS)
def test_floats_are_spelled_as_recorded(encoder: str) -> None:
    """Every recorded float is spelled by its encoder's dialect, thresholds and exponents included."""
    recorded = recorded_floats(encoder)

    assert len(recorded) > 25
    assert [(value, lexeme) for value, lexeme in recorded if FLOATS[WRITERS[encoder]].spell(value) != lexeme] == []


@pytest.mark.parametrize("name", FLOATS)
@given(value=st.floats(allow_nan=False, allow_infinity=False))
def test_every_dialect_spells_the_same_double(name: str, value: float) -> None:
    """Whatever the layout, reading the lexeme gives the same value."""
    assert float(FLOATS[name].spell(value)) == value


@given(value=st.floats(allow_nan=False, allow_infinity=False))
def test_python_is_spelled_as_python_does(value: float) -> None:
    """The dialect of Python is repr."""
    assert FLOATS["Python"].spell(value) == repr(value)


@pytest.mark.parametrize(
    ("pairs", "first"),
    [
        ([("1.0", "1"), ("1e+16", "10000000000000000"), ("1e-05", "0.00001")], "Python"),
        ([("1.0E10", "10000000000")], "Java"),
        ([("0", "-0")], "JavaScript"),
        ([("-0.0", "0"), ("1.0", "1")], "Go with a point"),
        ([("1.0", "1"), ("true", "1"), ("…", "2"), ("3", "4"), ("1e999", "1e999")], "Go with a point"),
    ],
)
def test_the_dialect_of_numbers_is_found(pairs: list[tuple[str, str]], first: str) -> None:
    """Of the dialects that spell every lexeme the one nearest to Go stands first; other values decide nothing."""
    assert float_dialects(pairs)[0] == first


def test_no_dialect_is_guessed() -> None:
    """Lexemes that nobody spells so, and no lexemes at all, have no dialect."""
    assert float_dialects([("10.50", "10.5")]) == ()
    assert float_dialects([("2.0", "1")]) == ()
    assert float_dialects([]) == ()


MOMENTS = [
    datetime(2024, 1, 2, 3, 4, 5, 120_000, UTC),
    datetime(2024, 1, 2, 3, 4, 5, 0, UTC),
    datetime(2024, 1, 2, 5, 4, 5, 123_456, timezone(timedelta(hours=2))),
]
AS_GO = ['"2024-01-02T03:04:05.12Z"', '"2024-01-02T03:04:05Z"', '"2024-01-02T05:04:05.123456+02:00"']


@pytest.mark.parametrize("name", TIMES)
def test_the_dialect_of_moments_is_found(name: str) -> None:
    """Three moments with and without fraction and offset tell every dialect from every other."""
    pairs = [(TIMES[name].spell(moment), new) for moment, new in zip(MOMENTS, AS_GO, strict=True)]

    assert time_dialects(pairs) == (name,)


def test_moments_are_spelled_as_people_know_them() -> None:
    """JavaScript, Django, isoformat and RFC 1123 write what they write."""
    moment = MOMENTS[2]

    assert TIMES["JavaScript"].spell(moment) == '"2024-01-02T03:04:05.123Z"'
    assert TIMES["Django"].spell(moment) == '"2024-01-02T05:04:05.123+02:00"'
    assert TIMES["isoformat"].spell(MOMENTS[0]) == '"2024-01-02T03:04:05.120000+00:00"'
    assert TIMES["RFC 1123"].spell(moment) == '"Tue, 02 Jan 2024 03:04:05 GMT"'
    assert TIMES["milliseconds since 1970"].spell(MOMENTS[0]) == "1704164645120"


@pytest.mark.parametrize("new", ['"yesterday"', "7", '"2024-01-02"', '"2024-01-02T03:04:05"', "", '"\\ud83d'])
def test_what_is_no_moment_has_no_dialect(new: str) -> None:
    """A cut, redacted or zoneless lexeme decides nothing."""
    assert time_dialects([('"2024-01-02T03:04:05.000Z"', new)]) == ()


def test_the_dialect_of_durations_is_found() -> None:
    """Nanoseconds on new's side against milliseconds, seconds and ISO 8601."""
    nanoseconds = ["5400000000000", "1500000000"]
    for name, dialect in DURATIONS.items():
        pairs = [(dialect.spell(timedelta(microseconds=int(one) // 1000)), one) for one in nanoseconds]
        assert duration_dialects(pairs) == (name,)
    assert duration_dialects([("5400", "-1"), ("5400", "x"), ("1", "9" * 40)]) == ()
    assert duration_dialects([]) == ()
