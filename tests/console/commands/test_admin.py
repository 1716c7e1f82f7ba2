"""What the command line says when the admin API answers, refuses, or is not there."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from console.commands.admin import Admin, OutOfReachError, RefusedError, segment
from tests.console.commands.conftest import CHANGE, Cli, StandIn


def test_an_unreachable_api_is_exit_code_3_and_says_what_to_check(cli: Cli) -> None:
    """Nothing listens: exit code 3, naming the URL, the setting and the way that still works."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: refused for sure
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        printed = cli("status", "--url", url)

    assert printed.code == 3
    for part in (url, "matapalo serve", "MATAPALO_URL", "admin.listen", "rollback --local"):
        assert part in printed.err


@pytest.mark.parametrize(
    "words",
    [("routes", "--url", "http://127.0.0.1:9"), ("restart", "--local", "--state-dir", "."), ("audit", "--verify")],
    ids=str,
)
def test_who_cannot_be_reached_is_one_json_object_too(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    """With --json exit code 3 comes with a problem in the shape of a refusal, and nothing else is printed."""
    monkeypatch.setenv("MATAPALO_URL", "http://127.0.0.1:9")

    printed = cli(*words, "--json")

    assert (printed.code, printed.err) == (3, "")
    assert printed.json["type"] == "urn:matapalo:problem:out-of-reach"
    assert printed.json["errors"] == [{"where": "", "detail": printed.json["detail"]}]
    assert "is `matapalo serve` running" in printed.json["detail"]


@pytest.mark.parametrize("url", ["nonsense", "http://", "ftp://127.0.0.1:1", "http://127.0.0.1:notaport"])
def test_an_impossible_url_is_exit_code_3(cli: Cli, url: str) -> None:
    """A URL that cannot be one gives the same sentence, never a traceback."""
    printed = cli("status", "--url", url)

    assert printed.code == 3
    assert url in printed.err


@pytest.mark.parametrize(("status", "body"), [(200, b"<html>"), (200, []), (502, b"bad gateway"), (404, {"x": 1})])
def test_somebody_elses_server_is_exit_code_3(cli: Cli, admin: StandIn, status: int, body: object) -> None:
    """What answers is not the admin API: exit code 3, naming the URL and the status."""
    admin.answers["*"] = (status, body)

    printed = cli("status", at=admin)

    assert printed.code == 3
    assert "is not Matapalo's admin API" in printed.err
    assert str(status) in printed.err


def test_a_refusal_is_exit_code_1_with_everything_that_is_wrong(cli: Cli, admin: StandIn) -> None:
    """A problem is printed as its sentence, its further errors and the nearest known name."""
    problem = {
        "status": 404,
        "detail": "route 'order' is not known.",
        "errors": [{"detail": "first"}, {"detail": "second"}],
        "did_you_mean": "orders",
    }
    admin.answers["*"] = (404, problem)

    printed = cli("hold", "order", at=admin)

    assert printed.code == 1
    for part in ("route 'order' is not known.", "first", "second", "Did you mean orders?"):
        assert part in printed.err


def test_a_refusal_with_json_is_the_problem_itself(cli: Cli, admin: StandIn) -> None:
    """With --json a script finds the whole problem on stdout and the same exit code."""
    problem = {"status": 412, "detail": "stale", "revision": 14}
    admin.answers["*"] = (412, problem)

    printed = cli("flip", "orders", "live", "--json", at=admin)

    assert printed.code == 1
    assert printed.json == problem


def test_a_missing_token_says_where_to_put_it(cli: Cli, admin: StandIn) -> None:
    """401 names --token and MATAPALO_TOKEN."""
    admin.answers["*"] = (401, {"status": 401, "detail": "A token is needed."})

    printed = cli("routes", at=admin)

    assert printed.code == 1
    assert "MATAPALO_TOKEN" in printed.err


def test_the_token_travels_as_bearer(cli: Cli, admin: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    """--token and MATAPALO_TOKEN become the Authorization header; changes carry an idempotency key."""
    monkeypatch.setenv("MATAPALO_TOKEN", "s3cret")

    cli("hold", "orders", at=admin)

    assert admin.asked[0].headers["authorization"] == "Bearer s3cret"
    assert admin.asked[0].headers["idempotency-key"]


def test_a_token_may_lie_in_a_file(cli: Cli, admin: StandIn, tmp_path: Path) -> None:
    """--token file:PATH sends what the file holds, and the help says what a literal costs."""
    (tmp_path / "token").write_text("s3cret\n")

    cli("hold", "orders", "--token", f"file:{tmp_path / 'token'}", at=admin)
    helped = " ".join(cli("routes", "--help").out.split())

    assert admin.asked[0].headers["authorization"] == "Bearer s3cret"
    assert "see a TOKEN given here in `ps`" in helped


def test_a_proxy_in_the_environment_is_not_asked(admin: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    """A rollback does not depend on HTTP_PROXY."""
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")

    assert Admin(url=admin.url, token=None).get("/api/v1/status") == CHANGE


def test_absent_values_are_not_sent(admin: StandIn) -> None:
    """What was not asked for does not travel, so the server's defaults hold; a repeated value travels repeatedly."""
    caller = Admin(url=admin.url + "/", token=None)

    caller.get("/x", {"a": None, "b": 1, "c": ("x", "y")})
    caller.post("/y", {"a": None, "b": False})

    assert admin.asked[0].call == "GET /x?b=1&c=x&c=y"
    assert admin.asked[1].body == {"b": False}


def test_a_name_stays_one_segment() -> None:
    """A route's name cannot leave its place in the path."""
    assert segment("a b?c") == "a%20b%3Fc"


def test_errors_carry_their_exit_codes() -> None:
    """Out of reach is 3, refused is 1, and a refusal keeps the problem."""
    assert OutOfReachError("x").exit_code == 3
    assert RefusedError({"detail": "no"}).problem == {"detail": "no"}


@pytest.mark.parametrize("name", ["", ".", "..", "../status", "a/b"])
def test_what_can_be_no_name_is_wrong_usage_and_asks_nobody(cli: Cli, admin: StandIn, name: str) -> None:
    """A name with a slash, or one that climbs a path, is refused before anything is sent."""
    printed = cli("routes", name, at=admin)

    assert (printed.code, admin.asked) == (2, [])
    assert f"{name!r} is no name" in printed.err


@pytest.mark.parametrize("words", [("hold", "orders", "--reason", "\udcff"), ("hold", "\udcff")])
def test_an_argument_that_is_not_utf_8_is_wrong_usage(cli: Cli, admin: StandIn, words: tuple[str, ...]) -> None:
    """What a terminal of another encoding sent is said to be that, and not a server out of reach."""
    printed = cli(*words, at=admin)

    assert (printed.code, admin.asked) == (2, [])
    assert "not UTF-8" in printed.err


@pytest.mark.parametrize(("words", "is_unknown"), [(("hold", "orders"), True), (("routes",), False)])
def test_a_change_without_an_answer_may_have_been_made(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], is_unknown: bool
) -> None:
    """Who took a change and says nothing may have carried it out: exit code 3, and where to look before repeating."""
    monkeypatch.setattr("console.commands.admin.READ_TIMEOUT_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        printed = cli(*words, "--url", f"http://127.0.0.1:{silent.getsockname()[1]}")

    assert printed.code == 3
    assert ("not known: look at `matapalo audit`" in printed.err) is is_unknown
    assert "rollback --local" in printed.err
