"""``matapalo check``."""

from __future__ import annotations

import socket
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest

from config.loader import load
from tests.console.commands.conftest import FLAG, Cli, StandIn
from tests.console.commands.test_status import ROUTE, STATUS
from tests.console.commands.test_tolerate import CLOCK
from tests.support.authority import Authority

VALID = """\
listen: 127.0.0.1:0
state_dir: ./state
backends:
  old: {url: "http://127.0.0.1:PORT"}
  fresh: {url: "http://localhost:PORT/fresh"}
defaults: {legacy: old, new: fresh, sticky: [ip]}
routes:
  - {name: orders, match: {path: "/api/orders/{id}", methods: [GET]}}
"""


def write(tmp_path: Path, text: str, port: int = 9) -> None:
    """Write the configuration that the commands look for."""
    (tmp_path / "matapalo.yaml").write_text(text.replace("PORT", str(port)))


def test_every_problem_is_reported_with_its_place(cli: Cli, tmp_path: Path) -> None:
    """Two mistakes are two lines with file, line and column, and exit code 1."""
    write(tmp_path, VALID.replace("listen:", "liste:").replace("[GET]", "[G T]"))

    printed = cli("check")

    assert printed.code == 1
    assert "matapalo.yaml:1:1: liste:" in printed.err
    assert "matapalo.yaml:8:" in printed.err
    found = cli("check", "--json").json
    assert not found["ok"]
    assert {problem["line"] for problem in found["problems"]} == {1, 8}


def test_a_missing_file_is_one_sentence(cli: Cli) -> None:
    """A file that is not there is a problem that names it."""
    printed = cli("check", "-c", "nowhere.yaml")

    assert printed.code == 1
    assert "nowhere.yaml" in printed.err


def test_a_secret_that_cannot_be_found_here_is_a_problem(cli: Cli, tmp_path: Path) -> None:
    """check resolves every reference and names the one that fails, never a value."""
    write(tmp_path, VALID + "override: {header: X-Side, token: 'env:MATAPALO_TEST_NO_SUCH'}\n")

    printed = cli("check")

    assert printed.code == 1
    assert "MATAPALO_TEST_NO_SUCH is not set" in printed.err


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (None, "MATAPALO_TEST_DATABASE is not set"),
        ("junk-s3cret", "PostgreSQL does not read as a URL, expected postgresql://"),
        ("postgresql://me:s3cret@a@db/x", "PostgreSQL does not read as a URL, expected postgresql://"),
        ("postgresql://me:s3cret@db/x", ""),
    ],
)
def test_a_database_that_no_node_could_open_is_a_problem(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str | None, said: str
) -> None:
    """What stands in the variable is read as `db check` reads it, never shown, and nobody is connected to."""
    monkeypatch.delenv("MATAPALO_TEST_DATABASE", raising=False)
    if value is not None:
        monkeypatch.setenv("MATAPALO_TEST_DATABASE", value)
    write(tmp_path, VALID + "database: env:MATAPALO_TEST_DATABASE\n")

    printed = cli("check")
    found = cli("check", "--json").json["problems"]

    assert (printed.code, len(found)) == ((1, 1) if said else (0, 0))
    assert said in printed.err
    assert "s3cret" not in printed.err
    assert {(one["where"], one["line"]) for one in found} <= {("database", 9)}


def test_probe_names_the_backend_that_does_not_answer(cli: Cli, tmp_path: Path) -> None:
    """--probe connects to every backend; without it nothing is connected to."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        write(tmp_path, VALID.replace("localhost", "127.0.0.2"), taken.getsockname()[1])

        assert cli("check").code == 0
        printed = cli("check", "--probe")

    assert printed.code == 1
    assert "backends.old: http://127.0.0.1:" in printed.err
    assert "does not accept a connection" in printed.err


def test_probe_is_silent_when_all_answer(cli: Cli, tmp_path: Path) -> None:
    """A configuration whose backends all accept passes."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        text = VALID.replace("localhost", "127.0.0.1").replace("fresh: {", "fresh: {path: {add: /v2}, ")
        write(tmp_path, text, listener.getsockname()[1])

        assert cli("check", "--probe").code == 0


def test_probe_speaks_tls_where_the_backend_does(cli: Cli, tmp_path: Path) -> None:
    """A backend that accepts and hangs up on a TLS greeting is named, though its port is open."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        write(tmp_path, VALID.replace('"http://127', '"https://127'), listener.getsockname()[1])
        greeter = threading.Thread(target=_hang_up_twice, args=(listener,))
        greeter.start()

        printed = cli("check", "--probe")
        greeter.join()

    assert "backends.old: https://127.0.0.1:" in printed.err
    assert "backends.fresh" not in printed.err


def _hang_up_twice(listener: socket.socket) -> None:
    for _ in range(2):
        listener.accept()[0].close()


def test_strict_makes_warnings_problems(cli: Cli, tmp_path: Path) -> None:
    """A backend that no route uses warns, and fails with --strict."""
    write(tmp_path, VALID.replace("defaults:", '  idle: {url: "http://127.0.0.1:7"}\ndefaults:'))

    lenient, strict = cli("check"), cli("check", "--strict")

    assert (lenient.code, strict.code) == (0, 1)
    assert lenient.out == "matapalo.yaml is valid, with 1 warning.\n"
    assert "which --strict does not let pass" in strict.out
    assert "backends.idle: no route uses it" in lenient.err


def test_against_prints_the_plan(cli: Cli, admin: StandIn, tmp_path: Path) -> None:
    """--against shows what a reload of the running server would change; same files change nothing."""
    write(tmp_path, VALID)
    served = {**ROUTE, "legacy": "old", "new": "older", "sticky": ["ip"]}
    admin.answers |= {
        "GET /api/v1/status": (200, STATUS),
        "GET /api/v1/routes": (200, {"revision": 13, "routes": [served]}),
        "GET /api/v1/tolerances": (200, {"revision": 13, "tolerances": []}),
    }

    printed = cli("check", "--against", admin.url)

    assert printed.code == 0
    assert "~ route orders: new: older -> fresh" in printed.out
    assert "Keys that the admin API does not show" in printed.out

    admin.answers["GET /api/v1/routes"] = (200, {"revision": 13, "routes": [{**served, "new": "fresh"}]})
    unseen = cli("check", "--against", admin.url)
    assert "No route and no flag changes." in unseen.out
    assert "may change, too" in unseen.out, "the digest is another one: limits or backends may differ"

    digest = load(tmp_path / "matapalo.yaml").digest
    admin.answers["GET /api/v1/status"] = (200, {**STATUS, "config": {"digest": digest}})
    assert "this is the configuration in force" in cli("check", "--against", admin.url).out
    assert cli("check", "--against", admin.url, "--json").json["plan_is_whole"] is True


def test_against_names_the_flag_that_would_be_lost(cli: Cli, admin: StandIn, tmp_path: Path) -> None:
    """A route beyond legacy that the new file lacks is a problem, as the reload would refuse it."""
    write(tmp_path, VALID)
    gone = {**ROUTE, "name": "carts", "flag": FLAG}
    admin.answers |= {
        "GET /api/v1/status": (200, STATUS),
        "GET /api/v1/routes": (200, {"revision": 13, "routes": [gone]}),
        "GET /api/v1/tolerances": (200, {"revision": 13, "tolerances": []}),
    }

    printed = cli("check", "--against", admin.url)

    assert printed.code == 1
    assert "- route carts" in printed.out
    assert "was: carts" in printed.err


def test_against_a_dead_server_is_exit_code_3(cli: Cli, tmp_path: Path) -> None:
    """The plan needs the server; its absence is not a fault of the file."""
    write(tmp_path, VALID)

    assert cli("check", "--against", "http://127.0.0.1:1").code == 3


def test_a_wrong_certificate_is_a_problem_at_its_line(cli: Cli, tmp_path: Path) -> None:
    """A pair that does not belong together, and a file that is not there, are named with line and column."""
    authority = Authority(tmp_path)
    one, other = authority.issue("one"), authority.issue("other")
    listen = f"listen:\n  - 127.0.0.1:0\n  - {{address: 127.0.0.1:0, tls: {{cert: {one.cert}, key: {other.key}}}}}"
    backend = 'tls: {url: "https://localhost:9", tls: {ca: "file:missing.pem"}}'
    write(tmp_path, VALID.replace("listen: 127.0.0.1:0", listen).replace("backends:", f"backends:\n  {backend}"))

    printed = cli("check")

    assert printed.code == 1
    assert "matapalo.yaml:3:33: listen[1].tls: the key" in printed.err
    assert "does not belong to the certificate" in printed.err
    assert "matapalo.yaml:6:47: backends.tls.tls.ca: the file" in printed.err


def test_a_certificate_that_ends_is_a_warning(cli: Cli, tmp_path: Path) -> None:
    """Ended, or to end within 14 days: a warning that names the day, a problem with --strict; later: nothing."""
    authority = Authority(tmp_path)
    for days, said in ((-1, "the certificate has ended on "), (13, "the certificate ends on "), (20, "")):
        pair = authority.issue("short", days=days)
        tls = f"listen: {{address: 127.0.0.1:0, tls: {{cert: {pair.cert}, key: {pair.key}}}}}"
        write(tmp_path, VALID.replace("listen: 127.0.0.1:0", tls))

        relaxed, strict = cli("check"), cli("check", "--strict")

        assert relaxed.code == 0
        assert strict.code == int(bool(said))
        assert ("listen[0].tls.cert: " + said in relaxed.err) == bool(said)


NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)


def tolerated(days: int) -> str:
    """Write a tolerance whose last day is so many days from :data:`NOON`."""
    day = (NOON.date() + timedelta(days=days)).isoformat()
    return f"{{path: $.at, reason: clock, owner: shop, expires: {day}}}"


def test_a_tolerance_that_ends_is_noted_and_an_expired_one_fails_strict(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seven days ahead a note names line and owner; after its last day a tolerance is a warning, and --strict fails."""
    monkeypatch.setattr("console.commands.check.time", SimpleNamespace(time=NOON.timestamp))  # no midnight in between
    write(tmp_path, VALID.replace("[GET]}", f"[GET]}}, tolerate: {tolerated(7)}") + f"tolerate: {tolerated(6)}\n")
    later = cli("check", "--strict")
    write(tmp_path, VALID + f"tolerate: {tolerated(6)}\n")
    ahead = cli("check", "--strict")
    write(tmp_path, VALID + f"tolerate: [{tolerated(30)}, {tolerated(-1).replace('$.at', '$.on')}]\n")
    past = cli("check")

    assert (later.code, ahead.code, past.code) == (0, 0, 0)
    assert later.err.count("note: ") == 1
    assert ":9:11: note: tolerate[0]: it ends on " in ahead.err
    assert "shop answers for it (clock)" in ahead.err
    assert ":9:75: warning: tolerate[1]: it has expired on " in past.err
    assert cli("check", "--strict").code == 1
    assert len(cli("check", "--json").json["warnings"]) == 1


def test_against_names_tolerances_that_do_no_good(cli: Cli, admin: StandIn, tmp_path: Path) -> None:
    """With --against, applied tolerances that expired and those never hit are warnings, and --strict fails."""
    write(tmp_path, VALID)
    idle = {**CLOCK, "id": "t-idle", "hits": 0}
    fresh = {**idle, "id": "t-fresh", "compared": 999}
    past = {**CLOCK, "id": "t-past", "source": "applied", "state": "expired"}
    written = {**past, "id": "t-written", "source": "file", "hits": 0}
    admin.answers |= {
        "GET /api/v1/status": (200, {**STATUS, "config": {"digest": load(tmp_path / "matapalo.yaml").digest}}),
        "GET /api/v1/routes": (200, {"revision": 1, "routes": []}),
        "GET /api/v1/tolerances": (200, {"revision": 1, "tolerances": [CLOCK, idle, fresh, past, written]}),
    }

    printed = cli("check", "--against", admin.url)

    assert printed.code == 0
    assert [line.partition("tolerance ")[2].partition(" ")[0] for line in printed.err.splitlines()] == [
        "t-idle",
        "t-past",
    ]
    assert "has hidden nothing in 9000 comparisons" in printed.err
    assert "`matapalo tolerate --remove t-past`" in printed.err
    assert cli("check", "--against", admin.url, "--strict").code == 1


PITFALLS = """\
cohorts: []
backends:
  old: {url: "http://127.0.0.1:9"}
  fresh: {url: "http://localhost:9/fresh"}
defaults: {legacy: old, new: fresh, sticky: ["cookie:sid"]}
routes:
  - {name: orders, match: {path: /orders, methods: [POST]}, reads: [POST]}
  - {name: logout, match: {path: /session/logout}}
  - {name: unsubscribe, match: {path: /news/unsubscribe}}
  - {name: confirm, match: {path: "/mail/confirm/{token}"}}
  - {name: clock, match: {path: /clock},
     tolerate: [{path: $.at, reason: clock, owner: us, expires: 2020-01-31}]}
  - {name: first, match: {path: /b, methods: METHODS}}
  - {name: rest, match: {path: /b}}
  - {name: share, match: {path: /share}, initial_stage: canary, initial_percent: 5%}
"""


def test_every_pitfall_of_a_file_is_warned_of(cli: Cli, admin: StandIn, tmp_path: Path) -> None:
    """A write that is copied, GETs that write, an expired tolerance, a route that no request reaches, a canary that no
    Envoy can follow, and with a server a canary by flip, and a route that stands in one stage for too long."""
    write(tmp_path, PITFALLS.replace("METHODS", "[GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS, TRACE]"))
    stuck = {"route": "clock", "sentence": "it stands in shadow for 31 days; flip it on"}
    canary = {**ROUTE, "name": "clock", "flag": {**FLAG, "stage": "canary", "percent": 5.0}}
    admin.answers |= {
        "GET /api/v1/status": (
            200,
            {**STATUS, "stuck": [stuck], "config": {"digest": load(tmp_path / "matapalo.yaml").digest}},
        ),
        "GET /api/v1/routes": (200, {"revision": 13, "routes": [canary]}),
        "GET /api/v1/tolerances": (200, {"revision": 13, "tolerances": []}),
    }

    alone = cli("check", "--json").json["warnings"]
    seen = cli("check", "--against", admin.url, "--json").json["warnings"]

    assert sorted((one["name"], one["where"].split("[")[0].removesuffix(".match")) for one in alone) == [
        ("copy.writes", "routes.orders"),
        ("get.writes", "routes.confirm"),
        ("get.writes", "routes.logout"),
        ("get.writes", "routes.unsubscribe"),
        ("route.unreachable", "routes.rest"),
        ("sticky.envoy", "routes.share"),
        ("tolerance.expired", "routes.clock.tolerate"),
    ]
    assert [(one["name"], one["where"]) for one in seen if one not in alone] == [
        ("stage.stuck", "routes.clock"),
        ("sticky.envoy", "routes.clock"),
    ]


def test_against_lists_the_flips_of_a_file_that_rules_and_what_the_gates_say(
    cli: Cli, admin: StandIn, tmp_path: Path
) -> None:
    """With `flags: file` the plan names every flip with its gate's verdict; one that did not pass is a warning."""
    ruled = VALID.replace("[GET]}}", "[GET]}, stage: canary, percent: 5%}").replace("listen:", "flags: file\nlisten:")
    write(tmp_path, ruled + "watch: true\n")
    gate = {"result": "inconclusive", "sentence": "nothing was compared yet", "needs_s": None}
    served = {**ROUTE, "legacy": "old", "new": "fresh", "sticky": ["ip"], "gate": gate}
    admin.answers |= {
        "GET /api/v1/status": (200, STATUS),
        "GET /api/v1/routes": (200, {"revision": 13, "routes": [served]}),
        "GET /api/v1/tolerances": (200, {"revision": 13, "tolerances": []}),
    }

    waits = cli("check", "--against", admin.url)
    served["gate"] = {**gate, "result": "pass", "sentence": "0 divergent of 4,022"}
    passes = cli("check", "--against", admin.url)
    write(tmp_path, ruled.replace("canary, percent: 5%", "legacy") + "watch: true\n")
    back = cli("check", "--against", admin.url)

    flip = "~ flag orders: shadow (copies 100%) -> canary 5% (copies 100%); its gate: "
    assert f"{flip}inconclusive" in waits.out
    assert "routes.orders: the file gives new more clients, though the gate is inconclusive: nothing was" in waits.err
    assert "[gate.not_passed]" in waits.err
    assert f"{flip}pass" in passes.out
    assert "gate.not_passed" not in passes.err
    assert "~ flag orders: shadow (copies 100%) -> legacy\n" in back.out


def test_every_warning_has_its_place_name_and_silence(cli: Cli, tmp_path: Path) -> None:
    """A warning is printed with file, line, column and name; `ignore` with a reason silences it, also for --strict."""
    methods = "[GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS, TRACE]"
    routes = (
        f"  - {{name: first, match: {{path: /b, methods: {methods}}}}}\n  - {{name: rest, match: {{path: /b}}IGNORE}}\n"
    )
    write(tmp_path, VALID + routes.replace("IGNORE", ""))
    loud = cli("check")
    told = cli("check", "--json").json["warnings"]
    write(tmp_path, VALID + routes.replace("IGNORE", ", ignore: {warning: route.unreachable, reason: for later}"))

    assert loud.code == 0
    assert "matapalo.yaml:10:25: warning: routes.rest.match[0]: found /b, which no request can reach" in loud.err
    assert "every request goes to first" in loud.err
    assert [(one["name"], one["line"], one["column"]) for one in told] == [("route.unreachable", 10, 25)]
    assert cli("check", "--strict").code == 0
