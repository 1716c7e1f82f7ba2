"""Units are exact: what is read is what is written back, and what cannot be held is refused."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config import UnfitError, units


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("250ms", 250_000_000),
        ("30s", 30_000_000_000),
        ("1.5s", 1_500_000_000),
        ("7d", 604_800_000_000_000),
        ("0s", 0),
        ("1ns", 1),
        ("3650d", 315_360_000_000_000_000),
    ],
)
def test_a_duration_is_read_in_nanoseconds(text: str, expected: int) -> None:
    """A duration is a number with its unit, exact to the nanosecond."""
    assert units.duration_ns(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"), [("64KiB", 65_536), ("1.5MiB", 1_572_864), ("0B", 0), ("1024TiB", 1 << 50)]
)
def test_a_size_is_read_in_bytes(text: str, expected: int) -> None:
    """A size is a number with its binary unit."""
    assert units.size_bytes(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"), [("12.5%", 1_250), ("0%", 0), ("100%", 10_000), ("0.01%", 1), ("5.00%", 500)]
)
def test_a_share_is_read_in_basis_points(text: str, expected: int) -> None:
    """A share is a percentage, exact to the basis point."""
    assert units.share_bp(text) == expected


@pytest.mark.parametrize(("text", "expected"), [("50", 50.0), ("0.5", 0.5), ("off", None), ("1000000", 1e6)])
def test_a_rate_is_read_per_second(text: str, expected: float | None) -> None:
    """A rate is a number per second, or off."""
    assert units.rate_per_second(text) == expected


def test_a_percent_needs_no_sign() -> None:
    """Where the place says percent, 12.5 and 12.5% are the same."""
    assert units.percent_bp("12.5") == units.percent_bp("12.5%") == 1_250


@pytest.mark.parametrize(
    ("read", "text", "hint"),
    [
        (units.duration_ns, "30", "say the unit, for example 30s"),
        (units.duration_ns, "30S", "write s"),
        (units.duration_ns, "3651d", "at most 3650d"),
        (units.duration_ns, "0.1ns", "finer than can be counted"),
        (units.duration_ns, "-1s", ""),
        (units.duration_ns, "1w", "the units are ns, us, ms, s, m, h, d"),
        (units.size_bytes, "64KB", "write KiB"),
        (units.size_bytes, "64", "say the unit"),
        (units.size_bytes, "0.3B", "finer than can be counted"),
        (units.share_bp, "140%", "cannot exceed 100%"),
        (units.share_bp, "100.01%", "cannot exceed 100%"),
        (units.share_bp, "0.001%", "finer than can be counted"),
        (units.share_bp, "25", "write 25%"),
        (units.percent_bp, "140", "cannot exceed 100%"),
        (units.rate_per_second, "0", ""),
        (units.rate_per_second, "0.0001", "finer than can be counted"),
        (units.rate_per_second, "50%", "without a unit"),
        (units.rate_per_second, "", ""),
        (units.duration_ns, "٣s", ""),
        (units.duration_ns, "1s\n", ""),
    ],
)
def test_what_cannot_be_held_is_refused_with_a_hint(read: Callable[[str], object], text: str, hint: str) -> None:
    """A quantity that would be rounded, cut or guessed is refused, and the message says what to write."""
    with pytest.raises(UnfitError) as caught:
        read(text)

    assert hint in caught.value.hint
    assert repr(text).strip("'") in str(caught.value)


@pytest.mark.parametrize(
    ("read", "write", "values"),
    [
        (units.duration_ns, units.format_duration, st.integers(0, units.MAX_DURATION_NS)),
        (units.size_bytes, units.format_size, st.integers(0, units.MAX_SIZE_BYTES)),
        (units.share_bp, units.format_share, st.integers(0, 10_000)),
        (
            units.rate_per_second,
            units.format_rate,
            st.none() | st.integers(1, 10**9).map(lambda thousandths: thousandths / 1_000),
        ),
    ],
)
def test_what_is_written_reads_back_the_same(
    read: Callable[[str], Any], write: Callable[[Any], str], values: st.SearchStrategy[Any]
) -> None:
    """Formatting and reading a quantity gives the same quantity, for every value."""

    @given(values)
    def holds(value: object) -> None:
        assert read(write(value)) == value

    holds()


@given(st.text(max_size=40))
def test_no_text_does_more_than_be_refused(text: str) -> None:
    """Any text is either a quantity or an UnfitError."""
    for read in (units.duration_ns, units.size_bytes, units.share_bp, units.percent_bp, units.rate_per_second):
        with contextlib.suppress(UnfitError):
            read(text)
