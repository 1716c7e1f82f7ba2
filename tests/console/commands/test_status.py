"""``matapalo status`` and ``matapalo routes``."""

from __future__ import annotations

from typing import Any

from tests.console.commands.conftest import FLAG, Cli, StandIn

STATUS: dict[str, Any] = {
    "version": "0.1.0",
    "revision": 13,
    "started_at": "2026-01-31T03:00:00Z",
    "pid": 4711,
    "config": {"file": "m.yaml", "digest": "9f", "last_reload": None},
    "database": {"ok": True, "error": None},
    "workers": [{"slot": 0, "epoch": "w0", "pid": 4712, "revision": 12, "current": False}],
    "comparers": [],
    "holds": [],
    "copying": {"on": True, "off": []},
    "deploys": {"shop": {"version": "v2", "at": "2026-01-31T03:00:00.000Z", "actor": "ci"}},
    "drift": [],
    "degraded": [],
}
ROUTE: dict[str, Any] = {
    "name": "orders",
    "match": [
        {
            "path": "/api/orders/{id}",
            "methods": ["GET"],
            "trailing_slash": "strict",
            "host": None,
            "headers": {},
            "query": {},
        }
    ],
    "legacy": "django",
    "new": "shop",
    "journey": None,
    "sticky": [],
    "parity": "bytes",
    "flag": FLAG,
    "hold": None,
    "copying": True,
    "share": {"asked": 0.0, "actual": None},
    "counts": {
        "requests": {"legacy": 950, "new": 48, "none": 0},
        "eligible": 998,
        "unsampled": 0,
        "skipped": {"rate": 10},
        "sent": 988,
        "identical": 900,
        "unequal": 80,
        "tolerated": 0,
        "divergent": 79,
        "errored": 3,
        "undecided": {"limit": 1},
        "in_flight": 5,
        "queued": 0,
    },
    "last_legacy": None,
    "last_flip": None,
    "gate": {"result": "pass", "sentence": "0 divergent of 988", "needs_s": None},
}


def test_a_healthy_server_is_exit_code_0(cli: Cli, admin: StandIn) -> None:
    """Status names version, revision and each worker, and says that nothing is degraded."""
    admin.answers["*"] = (200, STATUS)

    printed = cli("status", at=admin)

    assert printed.code == 0
    assert "revision 13" in printed.out
    assert "worker 0: pid 4712, revision 12 (behind)" in printed.out
    assert "nothing is degraded" in printed.out
    assert "shop runs v2 since 2026-01-31T03:00:00.000Z" in printed.out


def test_a_degraded_server_is_exit_code_1(cli: Cli, admin: StandIn) -> None:
    """Everything unusual is a line of its own, and degraded is a problem that a script can see."""
    unusual = {
        **STATUS,
        "config": {**STATUS["config"], "last_reload": {"ok": False, "at": "2026-01-31T03:00:00Z", "error": "m.yaml:3"}},
        "copying": {"on": False, "off": []},
        "holds": [{"route": "orders", "keep_copying": False, "reason": "slow", "actor": "ops", "at": "2026"}],
        "drift": [{"route": "orders", "sentence": "orders: the file says canary 5 %, a hold keeps it in legacy"}],
        "stuck": [{"route": "cart", "sentence": "it stands in shadow for 45 days"}],
        "watchdog": {"tripped": {"orders": "new failed 47.3 %"}, "blind": {"cart": "blind: 30 of 100 requests"}},
        "degraded": ["the database cannot be written"],
    }
    admin.answers["*"] = (200, unusual)

    printed = cli("status", at=admin)

    assert printed.code == 1
    for part in (
        "was refused: m.yaml:3",
        "switched off for every route",
        "held on legacy: orders by ops at 2026: slow",
        "drift: orders: the file says canary 5 %, a hold keeps it in legacy",
        "stuck: cart: it stands in shadow for 45 days",
        "watchdog: orders is tripped: new failed 47.3 %",
        "watchdog: cart: blind: 30 of 100 requests",
        "degraded: the database cannot be written",
    ):
        assert part in printed.out
    assert "nothing is degraded" not in printed.out
    assert cli("status", "--json", at=admin).code == 1


def test_routes_are_one_line_each(cli: Cli, admin: StandIn) -> None:
    """The table shows stage, shares, verdicts, gate and what is unusual about a route."""
    held = {**ROUTE, "name": "carts", "hold": {"reason": "", "actor": "", "at": ""}, "copying": False, "journey": "j"}
    admin.answers["*"] = (200, {"revision": 13, "routes": [ROUTE, held]})

    printed = cli("routes", at=admin)

    title, orders, carts = printed.out.splitlines()
    assert title.startswith("ROUTE")
    assert orders.split()[:7] == ["orders", "shadow", "(copies", "100%)", "0%", "-", "900"]
    assert orders.split()[9:] == ["pass", "-"]
    assert carts.endswith("held, copying off, journey j")


def test_one_route_shows_its_counts(cli: Cli, admin: StandIn) -> None:
    """`routes NAME` shows match, sides, every count and the last flip."""
    flip = {"id": "a-42", "at": "2026", "actor": "ops", "kind": "flip", "reason": "go"}
    admin.answers["*"] = (200, {**ROUTE, "last_flip": flip})

    printed = cli("routes", "orders", at=admin)

    assert admin.asked[0].call == "GET /api/v1/routes/orders"
    for part in ("GET /api/orders/{id}", "django", "rate 10", "eligible 998", "divergent 79", "limit 1", "a-42", "go"):
        assert part in printed.out
