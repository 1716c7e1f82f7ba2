"""``matapalo token``."""

from __future__ import annotations

import io
import re
from hashlib import sha256

import pytest

from tests.console.commands.conftest import Cli, StandIn

TOKEN = {
    "name": "ci",
    "role": "operator",
    "source": "made",
    "state": "valid",
    "made_at": "2026-01-31T03:00:00.000Z",
    "made_by": "boss",
    "expires_at": "2026-05-01T03:00:00.000Z",
    "last_used_at": None,
}
MADE = {"changed": True, "audit_id": "a-44", "token": TOKEN, "value": "mtp_secret"}


def test_a_new_token_is_alone_on_stdout(cli: Cli, admin: StandIn) -> None:
    """`token create` prints the value and nothing else on stdout, so that a script can take it; the rest is said
    beside."""
    admin.answers["*"] = (200, MADE)

    printed = cli("token", "create", "ci", "--role", "operator", "--expires", "90d", at=admin)

    assert (printed.code, printed.out) == (0, "mtp_secret\n")
    assert "ci (operator, until 2026-05-01T03:00:00.000Z, a-44)" in printed.err
    assert admin.asked[0].call == "POST /api/v1/tokens"
    assert admin.asked[0].body == {"name": "ci", "role": "operator", "expires": "90d"}


def test_rotate_and_revoke_name_the_token(cli: Cli, admin: StandIn) -> None:
    """`token rotate` prints the new value, `token revoke` what was done."""
    admin.answers["*"] = (200, MADE)

    rotated = cli("token", "rotate", "ci", "--overlap", "1h", at=admin)
    revoked = cli("token", "revoke", "ci", "--reason", "lost", at=admin)

    assert rotated.out == "mtp_secret\n"
    assert "Revoked ci (a-44)" in revoked.out
    assert [(one.call, one.body) for one in admin.asked] == [
        ("POST /api/v1/tokens/ci/rotate", {"overlap": "1h"}),
        ("POST /api/v1/tokens/ci/revoke", {"reason": "lost"}),
    ]


def test_the_list_shows_who_may_what_until_when(cli: Cli, admin: StandIn) -> None:
    """`token list` is a table, with --json the API's own object."""
    admin.answers["*"] = (200, {"tokens": [TOKEN]})

    printed = cli("token", "list", at=admin)

    assert re.search(r"ci +operator +valid +made", printed.out)
    assert cli("token", "list", "--json", at=admin).json == {"tokens": [TOKEN]}


def test_a_hash_is_what_the_configuration_takes(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """`token hash` reads a token from stdin and prints sha256: and its hash; --new makes the token, too."""
    monkeypatch.setattr("sys.stdin", io.StringIO("my token\n"))

    given = cli("token", "hash")
    made = cli("token", "hash", "--new")
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    nothing = cli("token", "hash")

    assert given.out == f"sha256:{sha256(b'my token').hexdigest()}\n"
    value, digest = made.out.split()
    assert re.fullmatch(r"mtp_[0-9A-Za-z]{43}", value)
    assert digest == f"sha256:{sha256(value.encode()).hexdigest()}"
    assert nothing.code == 2
