"""``matapalo explain``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.console.commands.conftest import Cli, StandIn
from tests.console.commands.test_check import VALID, write


def test_a_file_explains_itself_without_a_server(cli: Cli, tmp_path: Path) -> None:
    """With -c the decision comes from the file alone, with the flags of a first start."""
    text = VALID.replace("methods: [GET]}}", "methods: [GET]}, initial_stage: canary, initial_percent: 100%}")
    write(tmp_path, text)

    printed = cli("explain", "get", "/api/orders/7", "-c", "matapalo.yaml")

    assert printed.code == 0
    assert "route orders matches /api/orders/{id} with method GET" in printed.out
    assert "=> answered by new (fresh), every such request is copied to legacy" in printed.out


def test_headers_and_client_address_decide(cli: Cli, tmp_path: Path) -> None:
    """-H and --client-ip are the request's own; a header's name is the same in any case."""
    text = VALID.replace("sticky: [ip]", 'sticky: ["header:X-User-Id", ip]').replace(
        "methods: [GET]}}", "methods: [GET]}, initial_stage: canary, initial_percent: 50%}"
    )
    write(tmp_path, text)
    words = ("explain", "GET", "/api/orders/7", "-c", "matapalo.yaml", "--json")

    by_header = cli(*words, "-H", "x-user-ID: 42").json
    by_address = cli(*words, "--client-ip", "192.0.2.1").json

    assert by_header["key"].lower() == "header:x-user-id"
    assert by_address["key"] == "ip"
    assert by_header["bucket"] != by_address["bucket"]


def test_the_server_explains_what_it_serves(cli: Cli, admin: StandIn) -> None:
    """Without -c the running server is asked, with every header of the command line."""
    admin.answers["*"] = (
        200,
        {
            "primary": "new",
            "backend": "shop",
            "shadow": "legacy",
            "copied": "sampled",
            "sample": 1.0,
            "why": ["because"],
        },
    )

    printed = cli("explain", "GET", "/a?b=1", "-H", "X-A: 1", "-H", "X-B: 2", at=admin)

    assert printed.out.splitlines() == [
        "because",
        "=> answered by new (shop), 1% of such requests are copied to legacy",
    ]
    call = admin.asked[0].call
    assert "path=%2Fa%3Fb%3D1" in call
    assert "header=X-A%3A1&header=X-B%3A2" in call


EXPLAINED: dict[str, Any] = {
    "primary": "legacy",
    "backend": "django",
    "shadow": "new",
    "copied": "always",
    "sample": 100.0,
    "why": ["stage shadow: legacy answers"],
    "gate": {
        "result": "inconclusive",
        "sentence": "needs 1,742 more clean, about 6 h at this rate",
        "needs_s": 21600.0,
    },
    "watchdog": {"state": "blind", "sentence": "blind: 30 of 100 requests per window"},
    "autopilot": None,
}
KEPT: dict[str, Any] = {
    "id": "c-1",
    "divergence": "d-1",
    "route": "orders",
    "at": "2026-01-31T03:00:00Z",
    "request_id": "7f3a",
    "verdict": "divergent",
    "request": {"method": "GET", "target": "/api/orders/7?full=1", "headers": [["x-user-id", "42"]]},
    "legacy": {"status": 200, "build": ""},
    "new": {"status": 500, "build": "v2"},
}


def test_the_route_is_shown_with_its_gate_and_watchdog(cli: Cli, admin: StandIn) -> None:
    """Whoever asks why a request goes where it goes reads what gate and watchdog make of its route, too."""
    admin.answers["*"] = (200, EXPLAINED)

    printed = cli("explain", "GET", "/api/orders/7", "--request-id", "7f3a", at=admin)

    assert printed.out.splitlines()[2:] == [
        "gate     inconclusive: needs 1,742 more clean, about 6 h at this rate",
        "watchdog blind: 30 of 100 requests per window",
    ]
    assert "request_id=7f3a" in admin.asked[0].call


def test_a_request_that_was_kept_is_found_by_its_id(cli: Cli, admin: StandIn) -> None:
    """An id alone finds the request among the examples of divergences: what it met, then how it is decided now."""
    admin.answers |= {
        "GET /api/v1/divergences": (200, {"divergences": [{"id": "d-1"}], "next": None}),
        "GET /api/v1/divergences/d-1": (200, {"examples": [{**KEPT, "id": "c-0", "request_id": "other"}, KEPT]}),
        "GET /api/v1/comparisons/c-1": (200, KEPT),
        "GET /api/v1/explain": (200, EXPLAINED),
    }

    printed = cli("explain", "--request-id", "7f3a", at=admin)

    assert printed.out.splitlines()[0] == (
        "GET /api/orders/7?full=1 was compared on route orders at 2026-01-31T03:00:00Z: legacy answered 200 and new "
        "answered 500 (build v2), divergent; `matapalo diff d-1`"
    )
    assert "stage shadow: legacy answers" in printed.out
    assert "header=x-user-id%3A42" in admin.asked[-1].call
    assert cli("explain", "--request-id", "7f3a", "--json", at=admin).json["kept"] == "c-1"


def test_a_request_that_nobody_kept_leads_to_the_access_log(cli: Cli, admin: StandIn) -> None:
    """Of a request without an example nothing is kept but its line in the access log, and that is said."""
    admin.answers["*"] = (200, {"divergences": [], "next": None})

    printed = cli("explain", "--request-id", "7f3a", at=admin)

    assert printed.code == 1
    assert "no request 7f3a is kept" in printed.err
    assert "access log" in printed.err


@pytest.mark.parametrize(
    ("words", "code", "part"),
    [
        ([], 2, "expected METHOD and PATH, or --request-id alone"),
        (["GET"], 2, "expected METHOD and PATH"),
        (["--request-id", "7f3a", "-c", "m.yaml"], 2, "expected METHOD and PATH"),
        (["GET", "api"], 2, "begins with /"),
        (["GET", "/x", "-H", "nonsense"], 2, "expected 'Name: value'"),
        (["GET", "/x", "-c", "nowhere.yaml"], 1, "nowhere.yaml"),
    ],
)
def test_what_cannot_be_explained_is_one_sentence(cli: Cli, words: list[str], code: int, part: str) -> None:
    """A path without its slash, half a header or a missing file is refused with the reason."""
    printed = cli("explain", *words)

    assert printed.code == code
    assert part in printed.err
