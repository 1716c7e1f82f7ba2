"""``matapalo encoding``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from shadow.advise import Group, advise
from shadow.style import Seen
from tests.console.commands.conftest import Cli, StandIn

SEPARATOR, NEWLINE = "whitespace.separator", "whitespace.trailing_newline"
ADVICE: dict[str, Any] = advise(
    "orders",
    [
        Group(causes=frozenset({SEPARATOR, NEWLINE}), count=88, places=((SEPARATOR, ""), (NEWLINE, ""))),
        Group(causes=frozenset({NEWLINE, "value.changed"}), count=12, places=(("value.changed", "/to\ntal"),)),
    ],
    [Seen(cause=SEPARATOR, detail="', ' -> ',', ': ' -> ':'", legacy="", new="")],
).as_json()
NOTHING = advise("orders", [], []).as_json()


def test_the_plan_says_what_each_fix_brings(cli: Cli, admin: StandIn) -> None:
    """Steps in the best order with their shares, then what is left, and where."""
    admin.answers["*"] = (200, ADVICE)

    printed = cli("encoding", "orders", at=admin)

    assert printed.code == 0
    assert "trailing newline 0 % → + separator 88 %" in printed.out
    assert "left: value.changed in 12 pairs" in printed.out
    assert "django" in printed.out
    assert admin.asked[0].call == "GET /api/v1/routes/orders/encoding"


@pytest.mark.parametrize(("variant", "part"), [("go", "jsontext.SpaceAfterComma(true)"), ("go-older", "func spaced(")])
def test_the_code_is_one_go_file(cli: Cli, admin: StandIn, variant: str, part: str) -> None:
    """What is printed compiles as it stands: the plan is a comment, whatever a pointer holds."""
    admin.answers["*"] = (200, ADVICE)

    printed = cli("encoding", "orders", "--for", variant, at=admin)

    before = printed.out.partition("\npackage legacyjson\n")[0]
    assert all(line.startswith("//") or not line for line in before.splitlines())
    assert "value.changed in 12 pairs, at /to tal" in before
    assert part in printed.out


def test_the_code_can_be_written_to_a_file(cli: Cli, admin: StandIn, tmp_path: Path) -> None:
    """``-o`` takes the code alone; the plan is printed."""
    admin.answers["*"] = (200, ADVICE)

    printed = cli("encoding", "orders", "--for", "go", "-o", "legacyjson.go", at=admin)

    assert (tmp_path / "legacyjson.go").read_text() == ADVICE["code"]["go"]
    assert "separator 88 %" in printed.out


def test_without_evidence_there_is_no_code(cli: Cli, admin: StandIn) -> None:
    """Exit code 1 if code was asked for, and the way to a framework's defaults."""
    admin.answers["*"] = (200, NOTHING)

    assert "nothing to imitate yet" in cli("encoding", "orders", at=admin).out
    printed = cli("encoding", "orders", "--for", "go", at=admin)
    assert (printed.code, "--like NAME" in printed.out) == (1, True)


def test_a_framework_can_be_asked_for(cli: Cli, admin: StandIn) -> None:
    """``--like`` goes to the server; an unknown one, or -o without --for, is a usage error."""
    admin.answers["*"] = (200, NOTHING)

    cli("encoding", "orders", "--like", "django", at=admin)

    assert admin.asked[0].call.endswith("?like=django")
    assert cli("encoding", "orders", "--like", "cobol", at=admin).code == 2
    assert cli("encoding", "orders", "-o", "x.go", at=admin).code == 2


def test_json_is_the_answer_of_the_api(cli: Cli, admin: StandIn) -> None:
    """Scripts get the object as it came."""
    admin.answers["*"] = (200, ADVICE)

    assert cli("encoding", "orders", "--json", at=admin).json == ADVICE
