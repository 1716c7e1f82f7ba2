"""Rules of the tokens that a process knows."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

import pytest

from config.spec import AddressSpec, AdminSpec, TokenSpec
from console.keyring import FileToken, Keyring, read_file_tokens
from store.tokens import Token


def hashed(value: str) -> str:
    """Hash a token."""
    return sha256(value.encode()).hexdigest()


def made(name: str, value: str, **more: float) -> Token:
    """Make a token that was made."""
    return Token(key=name, role="operator", digest=hashed(value), made_at=0.0, made_by="", **more)


def test_tokens_of_the_file_are_values_references_or_hashes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A token may be a plain secret, a secret that is a hash, or a hash in the file itself; what cannot be read is
    said without its value, and the others work."""
    (tmp_path / "token").write_text(f"sha256:{hashed('two')}\n")
    (tmp_path / "broken").write_text("sha256:not-a-hash")
    monkeypatch.setenv("ONE", "one")
    monkeypatch.delenv("GONE", raising=False)
    references = (
        "env:ONE",
        f"file:{tmp_path}/token",
        f"sha256:{hashed('three')}",
        "env:GONE",
        f"file:{tmp_path}/broken",
    )
    admin = AdminSpec(
        listen=AddressSpec(host="127.0.0.1", port=0),
        tokens=tuple(TokenSpec(name=f"t{number}", role="viewer", token=text) for number, text in enumerate(references)),
    )

    found, complaints = read_file_tokens(admin)
    ring = Keyring()
    ring.hang(of_file=found)

    assert [one.name for one in found] == ["t0", "t1", "t2"]
    assert [getattr(ring.find(value, 0.0), "name", None) for value in ("one", "two", "three")] == ["t0", "t1", "t2"]
    assert ring.find(f"sha256:{hashed('three')}", 0.0) is None
    assert len(complaints) == 2
    assert "not-a-hash" not in "".join(complaints)


def test_one_value_is_one_token(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two tokens of the configuration with the same value the first one counts, and the other one is complained of:
    a viewer who was given an operator's value would be either."""
    monkeypatch.setenv("SAME", "s3cret-value")
    admin = AdminSpec(
        listen=AddressSpec(host="127.0.0.1", port=0),
        tokens=(
            TokenSpec(name="eye", role="viewer", token="env:SAME"),
            TokenSpec(name="ops", role="operator", token="env:SAME"),
        ),
    )

    found, complaints = read_file_tokens(admin)

    assert [(one.name, one.role) for one in found] == [("eye", "viewer")]
    assert complaints == ["the admin token 'ops' cannot be used: it has the value of 'eye'"]


def test_uses_of_valid_tokens_are_noted() -> None:
    """A valid token that was made is noted as used; an expired one and one of the file are not."""
    ring = Keyring()
    ring.hang(
        of_file=[FileToken(name="file", role="viewer", digest=hashed("file"))],
        made=[made("ci", "ci"), made("over", "over", expires_at=50.0)],
    )

    found = [ring.find(value, 100.0) for value in ("file", "ci", "over", "nobody")]

    assert [getattr(one, "name", None) for one in found] == ["file", "ci", "over", None]
    assert ring.uses == {"ci": 100.0}


def test_what_is_read_anew_replaces_only_its_own_half() -> None:
    """Reading the file again keeps the made tokens, and the other way round; a token that is gone opens nothing."""
    ring = Keyring()
    ring.hang(of_file=[FileToken(name="file", role="viewer", digest=hashed("file"))], made=[made("ci", "ci")])
    ring.hang(of_file=[])
    kept = [ring.find(value, 1.0) is not None for value in ("file", "ci")]
    ring.hang(made=[])

    assert kept == [False, True]
    assert ring.find("ci", 1.0) is None
    assert ring.uses == {}


def test_a_value_that_both_know_is_the_files() -> None:
    """The configuration rules: who puts a made token's hash there decides its name and role."""
    ring = Keyring()
    ring.hang(of_file=[FileToken(name="file", role="admin", digest=hashed("x"))], made=[made("ci", "x")])

    assert getattr(ring.find("x", 1.0), "name", None) == "file"
