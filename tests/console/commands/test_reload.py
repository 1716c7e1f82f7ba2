"""``matapalo reload``."""

from __future__ import annotations

from tests.console.commands.conftest import Cli, StandIn


def test_a_reload_prints_the_difference(cli: Cli, admin: StandIn) -> None:
    """The sentences of the difference, the revision and the audit entry are printed."""
    admin.answers["*"] = (
        200,
        {
            "changed": True,
            "revision": 14,
            "audit_id": "a-43",
            "diff": ["+ route carts"],
            "workers": {"acked": [0], "missing": []},
            "notes": [],
        },
    )

    printed = cli("reload", "--drop", "old", at=admin)

    assert printed.code == 0
    assert "+ route carts" in printed.out
    assert (admin.asked[0].call, admin.asked[0].body) == ("POST /-/reload", {"drop": ["old"]})


def test_a_bad_configuration_is_refused_with_every_problem(cli: Cli, admin: StandIn) -> None:
    """All problems of the file are printed with their places, exit code 1."""
    problem = {
        "status": 422,
        "detail": "2 problems",
        "errors": [{"detail": "m.yaml:3:1: a: x"}, {"detail": "m.yaml:9:1: b: y"}],
    }
    admin.answers["*"] = (422, problem)

    printed = cli("reload", at=admin)

    assert printed.code == 1
    assert "m.yaml:3:1: a: x" in printed.err
    assert "m.yaml:9:1: b: y" in printed.err
