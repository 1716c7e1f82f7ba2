"""Encrypting what is kept of two answers."""

from __future__ import annotations

import base64
import os

import pytest

from console.sealing import SealedError, Sealing


def key(monkeypatch: pytest.MonkeyPatch, name: str) -> str:
    """Put a fresh key into the environment; give its reference."""
    monkeypatch.setenv(name, base64.b64encode(os.urandom(32)).decode())
    return f"env:{name}"


def sealing(*keys: str) -> Sealing:
    """Follow a configuration with these keys."""
    return Sealing(lambda: ("digest", keys))


def test_without_keys_examples_stay_as_they_are() -> None:
    """Nobody who asked for no encryption pays for it."""
    assert sealing().close(b"body") == b"body"
    assert sealing().open(b"body") == b"body"


def test_what_a_key_closed_only_that_key_opens(monkeypatch: pytest.MonkeyPatch) -> None:
    """An encrypted example shows nothing, opens with its key, and says what is missing without it."""
    one, other = key(monkeypatch, "ONE"), key(monkeypatch, "OTHER")

    kept = sealing(one).close(b"the body of an order")

    assert b"order" not in kept
    assert sealing(one).open(kept) == b"the body of an order"
    with pytest.raises(SealedError, match="does not name"):
        sealing(other).open(kept)
    with pytest.raises(SealedError, match="names no key"):
        sealing().open(kept)


def test_a_new_key_goes_in_front_of_the_former_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rotation loses nothing: what the former key closed still opens, and new examples have the new key."""
    former, fresh = key(monkeypatch, "FORMER"), key(monkeypatch, "FRESH")
    kept = sealing(former).close(b"old")

    rotated = sealing(fresh, former)

    assert rotated.open(kept) == b"old"
    assert sealing(fresh).open(rotated.close(b"new")) == b"new"


def test_an_example_from_before_the_keys_is_still_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Switching encryption on leaves what was kept before readable."""
    assert sealing(key(monkeypatch, "ONE")).open(b"\x81kept in the open") == b"\x81kept in the open"


@pytest.mark.parametrize("value", ["c2hvcnQ=", "no base64 at all!", "hunter2hunter2hunter2hunter2hunter2"])
def test_without_its_key_nothing_readable_is_written(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    """A key that is none leaves the example out, and says so without the key."""
    monkeypatch.setenv("BAD", value)

    one = sealing("env:BAD")

    assert one.close(b"secret") == b""
    assert "openssl rand" in one.complaint
    assert value not in one.complaint
    with pytest.raises(SealedError, match="not kept"):
        one.open(b"")


def test_a_missing_key_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """A reference that leads nowhere is in the complaint."""
    monkeypatch.delenv("NOWHERE", raising=False)

    assert "NOWHERE" in sealing("env:NOWHERE").complaint


def test_keys_are_read_again_with_the_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    """A reload that brings the key ends the complaint."""
    wanted = ["digest"]
    one = Sealing(lambda: (wanted[0], ("env:LATER",)))
    monkeypatch.delenv("LATER", raising=False)
    assert one.complaint
    key(monkeypatch, "LATER")
    assert one.complaint

    wanted[0] = "another digest"

    assert one.open(one.close(b"body")) == b"body"
