"""Rules of how many wrong credentials one address may show."""

from __future__ import annotations

import pytest

from console.guesses import AT_ONCE, EACH_S, MAX_ADDRESSES, Guesses, network_of


def test_twenty_wrong_ones_are_free_and_then_one_in_three_seconds() -> None:
    """Twenty wrong credentials pass without a wait, the next has to wait, and so does each one after it."""
    guesses, waits = Guesses(), []

    for _ in range(AT_ONCE):
        waits.append(guesses.wait_s("192.0.2.1", 100.0))
        guesses.note("192.0.2.1", 100.0)
    full = guesses.wait_s("192.0.2.1", 100.0)
    after = guesses.wait_s("192.0.2.1", 100.0 + EACH_S)
    guesses.note("192.0.2.1", 100.0 + EACH_S)
    again = guesses.wait_s("192.0.2.1", 100.0 + EACH_S)

    assert waits == [0] * AT_ONCE
    assert (full, after, again) == (3, 0, 3)


def test_an_address_that_stops_is_clear_again() -> None:
    """A minute after its last wrong credential an address may show twenty more."""
    guesses = Guesses()
    for _ in range(AT_ONCE):
        guesses.note("192.0.2.1", 100.0)

    later = 100.0 + AT_ONCE * EACH_S
    waits = []
    for _ in range(AT_ONCE):
        waits.append(guesses.wait_s("192.0.2.1", later))
        guesses.note("192.0.2.1", later)

    assert waits == [0] * AT_ONCE


def test_one_address_makes_no_other_wait() -> None:
    """Who guesses from one address costs another address nothing."""
    guesses = Guesses()
    for _ in range(100):
        guesses.note("192.0.2.1", 100.0)

    assert guesses.wait_s("192.0.2.1", 100.0) > 0
    assert guesses.wait_s("192.0.2.2", 100.0) == 0


def test_a_million_addresses_cost_no_memory() -> None:
    """Only the last 1,024 addresses are remembered, whoever knocks."""
    guesses = Guesses()
    for number in range(5 * MAX_ADDRESSES):
        guesses.note(f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}", 100.0)

    assert len(guesses) == MAX_ADDRESSES


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:aaaa::1", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:bbbb::9", "2001:db8:1:2::/64"),
        ("", ""),
    ],
)
def test_a_machine_cannot_hide_among_its_own_addresses(address: str, network: str) -> None:
    """All IPv6 addresses of one /64 count as one, and an IPv4 address is one however it is written."""
    assert network_of(address) == network
