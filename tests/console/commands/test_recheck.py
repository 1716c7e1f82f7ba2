"""``matapalo recheck``."""

from __future__ import annotations

from typing import Any

import pytest

from tests.console.commands.conftest import Cli, StandIn

SIDE = {"status": 200, "build": "", "bytes": 11, "took_ms": 3.2, "error": None}
FOUND: dict[str, Any] = {
    "comparison": "c-1",
    "divergence": "d-1",
    "outcome": "still",
    "sentence": "The same difference is there.",
    "at": "2026-01-31T03:00:00.000Z",
    "legacy": SIDE,
    "new": {**SIDE, "build": "v2"},
    "left_out": ["authorization"],
    "found": {
        "differences": [
            {"cause": "number.value", "path": "/price", "legacy": "1", "new": "2", "detail": ""},
            {"cause": "whitespace.separator", "path": "", "legacy": "", "new": "", "detail": "', ' -> ','"},
            {"cause": "value.changed", "path": "/a", "legacy": '"\x1b[2J"', "new": '"b"', "detail": ""},
        ]
    },
}


def test_a_recheck_says_what_was_found(cli: Cli, admin: StandIn) -> None:
    """The verdict comes first, then both answers, what was not sent, and what differs now."""
    admin.answers["*"] = (200, FOUND)

    done = cli("recheck", "c-1", "-H", "Authorization: Bearer x", "--target", "/a?b=c", at=admin)

    assert done.code == 1
    assert admin.asked[0].call == "POST /api/v1/comparisons/c-1/recheck"
    assert admin.asked[0].body == {"headers": ["Authorization:Bearer x"], "target": "/a?b=c"}
    assert done.out.splitlines()[0] == "STILL  d-1: The same difference is there."
    assert "new     200, 11 bytes in 3.2 ms, build v2" in done.out
    assert "redacted: authorization" in done.out
    assert "number.value at /price" in done.out
    assert "whitespace.separator at the root\n    ', ' -> ','\n" in done.out
    assert "\x1b" not in done.out


@pytest.mark.parametrize(
    ("outcome", "code"),
    [("fixed", 0), ("still", 1), ("different", 1), ("refused", 1), ("unanswered", 1), ("undecided", 1)],
)
def test_only_a_fix_exits_with_zero(cli: Cli, admin: StandIn, outcome: str, code: int) -> None:
    """A script may rely on the exit code: 0 means that the difference is gone."""
    silent = {"status": None, "build": "", "bytes": 0, "took_ms": 10_000.0, "error": "no complete answer within 10 s"}
    admin.answers["*"] = (200, {**FOUND, "outcome": outcome, "new": silent, "found": None, "left_out": []})

    done = cli("recheck", "d-1", at=admin)

    assert done.code == code
    assert "no complete answer within 10 s" in done.out
    assert cli("recheck", "d-1", "--json", at=admin).json["outcome"] == outcome
