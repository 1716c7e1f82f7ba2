"""Rules of moments and durations: what is read, and when two are one."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shadow import times
from shadow.kinds import classify, respell

MOMENTS = st.datetimes(min_value=datetime(1, 1, 3), max_value=datetime(9999, 12, 29))


@given(MOMENTS, st.integers(-14 * 60, 14 * 60))
def test_a_moment_is_read_as_the_instant_that_it_is(naive: datetime, minutes: int) -> None:
    """ISO 8601 with an offset gives the instant that Python's datetime gives."""
    moment = naive.replace(tzinfo=timezone(timedelta(minutes=minutes)))

    read = times.read_moment(moment.isoformat())

    assert read is not None
    assert read.instant == (moment.replace(microsecond=0) - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(seconds=1)
    assert int(read.digits or "0") == moment.microsecond


@pytest.mark.parametrize(
    "text", ["03/04/2024 10:00:00", "2024-13-01", "2024-02-30T00:00:00Z", "20240102", "12:30", "Jan 2, 2024", "now"]
)
def test_what_is_no_certain_moment_is_none(text: str) -> None:
    """A date that two readers may read in two ways, or no day of the calendar, is not taken for a moment."""
    assert times.read_moment(text) is None


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1:30:00", 5400),
        ("0:00:01.500000", 1.5),
        ("1 day, 0:00:01", 86401),
        ("P0DT01H30M00S", 5400),
        ("PT1H30M", 5400),
        ("PT5400S", 5400),
        ("-PT1.5S", -1.5),
        ("P1W", 604800),
        ("1h30m0s", 5400),
        ("1.5s", 1.5),
        ("250ms", 0.25),
    ],
)
def test_a_duration_is_read_in_nanoseconds(text: str, seconds: float) -> None:
    """Durations of Python, Django, ISO 8601 and Go are read exactly."""
    assert times.read_duration(text) == round(seconds * 10**9)


TIME_CAUSES = frozenset({"time.format", "time.fraction", "time.zone"})
STYLES = st.tuples(
    st.sampled_from(["T", " "]),
    st.sampled_from(["trimmed", "3", "6", "9"]),
    st.sampled_from(["Z", "+00:00", " UTC", "+02:00", "-0330", " +0545"]),
)


def write(moment: datetime, style: tuple[str, str, str]) -> bytes:
    """Write a moment as one encoder would, its fraction never cut."""
    between, fraction, zone = style
    digits = f"{moment.microsecond:06d}000"
    digits = digits.rstrip("0") if fraction == "trimmed" else digits[: int(fraction)]
    offset = timedelta(seconds=times.read_moment(f"2024-01-01T00:00:00{zone}").offset or 0)  # type: ignore[union-attr]
    local = (moment + offset).replace(microsecond=0, tzinfo=None)
    return f'"{local.isoformat(between)}{"." + digits if digits else ""}{zone}"'.encode()


MILLISECONDS = MOMENTS.map(lambda moment: moment.replace(microsecond=moment.microsecond // 1000 * 1000))


@given(MILLISECONDS, STYLES, STYLES)
def test_one_moment_in_two_styles_is_explained_and_proven(
    moment: datetime, legacy: tuple[str, str, str], new: tuple[str, str, str]
) -> None:
    """A moment's shape, digits and offset are named when they differ, and they alone turn legacy's text into new's."""
    one, other = write(moment, legacy), write(moment, new)

    causes = frozenset(reason.cause for reason in classify(one, other))

    assert causes <= TIME_CAUSES
    assert bool(causes) == (one != other)
    assert not causes or respell(one, other, causes) == other
    for missing in causes:
        assert respell(one, other, causes - {missing}) != other


@given(MILLISECONDS, MILLISECONDS, STYLES, STYLES)
def test_two_moments_are_never_one(
    moment: datetime, other_moment: datetime, legacy: tuple[str, str, str], new: tuple[str, str, str]
) -> None:
    """No shape, digits or offset turn one moment into another one."""
    one, other = write(moment, legacy), write(other_moment, new)

    if moment != other_moment:
        assert {reason.cause for reason in classify(one, other)} <= {"value.changed", "volatile.timestamp"}
        assert respell(one, other, TIME_CAUSES) != other
