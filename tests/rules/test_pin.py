"""Prove that a pin is what we signed, for its scope and its time, or nothing."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rules.flag import Side
from rules.pin import Pin, keys_of, pin_of, pins_in, without_pins
from rules.sticky import FieldList

NOW = 1_795_000_000.9


def pin(scope: str = "checkout", keys: tuple[bytes, ...] = (b"one",), lasts_s: int = 30) -> Pin:
    """Make a pin of one scope."""
    return pin_of(scope, lasts_s * 10**9, keys)


def cookie(one: Pin, side: Side = Side.NEW, now: float = NOW) -> bytes:
    """Write the Cookie field of a client that has a pin among others."""
    return b"a=b; %b=%b; theme=dark" % (one.cookie, one.value(side, now))


@pytest.mark.parametrize("side", list(Side))
def test_a_pin_says_its_side_until_it_ends(side: Side) -> None:
    """A pin keeps its side for as many seconds as the route says, and not one more."""
    one = pin()
    raw = cookie(one, side)

    assert one.side(raw, lambda: NOW) is side
    assert one.side(raw, lambda: NOW + 29) is side
    assert one.side(raw, lambda: NOW + 30) is None


def test_a_pin_of_another_scope_or_key_is_none() -> None:
    """Neither a pin of another journey under this one's name nor one signed by another key is heard."""
    mine, theirs, forged = pin(), pin("cart"), pin(keys=(b"two",))

    assert mine.cookie != theirs.cookie
    assert mine.side(b"%b=%b" % (mine.cookie, theirs.value(Side.NEW, NOW)), lambda: NOW) is None
    assert mine.side(cookie(forged), lambda: NOW) is None
    assert mine.side(cookie(theirs), lambda: NOW) is None


def test_a_key_is_replaced_without_ending_pins() -> None:
    """The first key signs; a pin of any other one is still heard, and a removed key's is not."""
    old, both, new = pin(keys=(b"old",)), pin(keys=(b"new", b"old")), pin(keys=(b"new",))

    assert both.side(cookie(old), lambda: NOW) is Side.NEW
    assert new.side(cookie(both), lambda: NOW) is Side.NEW
    assert new.side(cookie(old), lambda: NOW) is None


def test_every_change_of_a_pin_undoes_it() -> None:
    """No single changed byte of a pin leaves it valid: not its side, not its end, not its hash."""
    one = pin()
    value = one.value(Side.LEGACY, NOW)

    for place in range(len(value)):
        for byte in (b"0", b"n", b"l", b"A", b"."):
            changed = value[:place] + byte + value[place + 1 :]
            if changed != value:
                assert one.side(b"%b=%b" % (one.cookie, changed), lambda: NOW) is None, changed


@given(st.binary(max_size=80))
def test_whatever_a_client_writes_is_read_without_harm(value: bytes) -> None:
    """Any bytes in place of a pin are no pin, and nothing is raised."""
    one = pin()

    assert one.side(b"%b=%b" % (one.cookie, value), lambda: NOW) is None


def test_a_pin_says_nothing_about_its_client() -> None:
    """A pin holds a side, a millisecond and a hash, the same for every client, and fits into a cookie as it is."""
    value = pin().value(Side.NEW, NOW)

    assert re.fullmatch(rb"n\.1795000030900\.[A-Za-z0-9_-]{22}", value)
    assert value == pin().value(Side.NEW, NOW)
    assert re.fullmatch(rb"matapalo_pin_[0-9a-f]{8}", pin("a;b c").cookie)


@pytest.mark.parametrize(
    ("raw_cookies", "found"),
    [
        ((), b""),
        ((b"a=b; matapalo_client=1",), b""),
        ((b"a=b; matapalo_pin_1=2",), b"a=b; matapalo_pin_1=2"),
        ((b"a=b", b"matapalo_pin_1=2"), b"a=b; matapalo_pin_1=2"),
    ],
)
def test_a_pin_is_found_in_whichever_cookie_field(raw_cookies: tuple[bytes, ...], found: bytes) -> None:
    """Several Cookie fields are one, as RFC 9113 joins them; without a pin there is nothing to look at."""
    assert pins_in(FieldList((b"Cookie", raw_cookie) for raw_cookie in raw_cookies)) == found


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"a=b; c=d", b"a=b; c=d"),
        (b"matapalo_pin_0123abcd=n.1.x", b""),
        (b"a=b; matapalo_pin_0123abcd=n.1.x", b"a=b"),
        (b"matapalo_pin_0123abcd=n.1.x; a=b", b"a=b"),
        (b'a=b;matapalo_pin_1=x ;matapalo_pin_2=y;c="d e"; f', b'a=b;c="d e"; f'),
        (b"x=matapalo_pin_1", b"x=matapalo_pin_1"),
        (b"matapalo_pin=mine; my_matapalo_pin_1=2", b"matapalo_pin=mine; my_matapalo_pin_1=2"),
        (b"matapalo_client=abc; matapalo_pin_1=2", b"matapalo_client=abc"),
    ],
)
def test_pins_are_taken_out_and_nothing_else(before: bytes, after: bytes) -> None:
    """What a backend gets of a Cookie field is everything but pins, in order and byte for byte."""
    assert without_pins(before) == after


def test_keys_are_made_of_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each reference gives one key, in order, whatever its length."""
    monkeypatch.setenv("TEST_PIN_A", "a")
    monkeypatch.setenv("TEST_PIN_B", "b" * 1_000)

    keys = keys_of(("env:TEST_PIN_A", "env:TEST_PIN_B"))

    assert [len(key) for key in keys] == [32, 32]
    assert keys[0] != keys[1]
