"""Rules of estimating how many different requests were seen."""

from __future__ import annotations

from array import array

import pytest
from xxhash import xxh64_intdigest

from rules.distinct import BITS, SATURATED, TRUSTED, estimate, positions_from


def bitmap_of(requests: range) -> int:
    """Set the bits of numbered requests."""
    bitmap = 0
    for number in requests:
        bitmap |= 1 << xxh64_intdigest(b"GET/orders/%d" % number) % BITS
    return bitmap


@pytest.mark.parametrize("count", [0, 1, 10, 200, 1_000, 5_000, TRUSTED])
def test_the_estimate_is_near(count: int) -> None:
    """As many different requests as a gate may ask for are estimated within three standard errors."""
    assert estimate(bitmap_of(range(count))) == pytest.approx(count, rel=0.11)


def test_what_is_seen_twice_counts_once() -> None:
    """Two nodes that saw the same requests have together seen no more than one of them."""
    one, other = bitmap_of(range(300)), bitmap_of(range(200, 500))

    assert estimate(one | one) == estimate(one)
    assert estimate(one | other) == pytest.approx(500, rel=0.05)


def test_a_full_bitmap_says_so_many_at_least() -> None:
    """Where every bit is set the estimate stays at its largest number."""
    assert estimate((1 << BITS) - 1) == SATURATED
    assert estimate(bitmap_of(range(200_000))) == SATURATED


def test_positions_travel_as_two_bytes() -> None:
    """What a worker tells is read back; half a number is refused."""
    assert list(positions_from(array("H", [0, 7, BITS - 1]).tobytes())) == [0, 7, BITS - 1]
    with pytest.raises(ValueError, match="multiple"):
        positions_from(b"\x01")
