"""Pins, cohorts and the override through a real worker: what clients get set, and what backends never see."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

import pytest

from config.spec import CohortSpec, FallbackSpec, MemberSpec, OverrideSpec
from rules.bucket import bucket_of
from rules.flag import CohortFlag, Stage
from shadow import link
from tests.support.oneworker import OneWorker, flag, route
from tests.support.rawclient import RawResponse, request_bytes
from tests.support.recorder import Recorder, answer

PIN = re.compile(
    rb"(matapalo_pin_[0-9a-f]{8})=([ln])\.([0-9]+)\.[A-Za-z0-9_-]{22}; Path=/; Max-Age=30; HttpOnly; SameSite=Lax"
)
STAFF = CohortSpec(name="staff", match=(MemberSpec(header="x-staff", token="env:TEST_STAFF"),))
OFFICE = CohortSpec(name="office", match=(MemberSpec(cidr=("203.0.113.0/24",)),))
ENVIRON = {"TEST_STAFF": "let-me-in", "TEST_PIN": "pinned", "TEST_SIDE": "s3cret"}
PINNING = replace(route(), pin_ns=30 * 10**9, fallback=FallbackSpec(connect=True))


@pytest.fixture
def legacy() -> Iterator[Recorder]:
    """Answer as the old service."""
    with Recorder(answer(b'"legacy"')) as recorder:
        yield recorder


@pytest.fixture
def new() -> Iterator[Recorder]:
    """Answer as the new service."""
    with Recorder(
        lambda request: answer(b'"new"', status=int((request.values("x-status") or [b"200"])[0]))
    ) as recorder:
        yield recorder


@pytest.fixture
def worker(legacy: Recorder, new: Recorder) -> Iterator[OneWorker]:
    """Run a worker whose route pins, with two cohorts and an override; each test pushes its flag."""
    with OneWorker(
        backends={"legacy": legacy.url, "new": new.url},
        routes=[PINNING],
        cohorts=(STAFF, OFFICE),
        pins=("env:TEST_PIN",),
        override=OverrideSpec(header="x-side", token="env:TEST_SIDE"),
        trusted_proxies=("127.0.0.0/8",),
        environ=ENVIRON,
    ) as one:
        yield one


def ask(worker: OneWorker, *headers: tuple[str, str], method: str = "GET", body: bytes | None = None) -> RawResponse:
    """Send one request to the route."""
    return worker.ask(request_bytes(method, "/api/orders/1", headers=headers, body=body))


def write(worker: OneWorker, *headers: tuple[str, str]) -> RawResponse:
    """Write as some client."""
    return ask(worker, *headers, method="POST", body=b"{}")


def user(side: str, percent_bp: int = 5_000, salt: str = "orders") -> tuple[str, str]:
    """Name a user whom a canary places on *side*."""
    places = ((str(n), bucket_of(salt, b"%d" % n) >= 10_000 - percent_bp) for n in range(10_000))
    return "X-User-Id", next(name for name, is_new in places if is_new is (side == "new"))


def cookie_of(response: RawResponse) -> tuple[str, str]:
    """Read the pin that an answer sets, as the client sends it back."""
    value = response.value("set-cookie")
    assert value is not None
    return "Cookie", value.partition(b";")[0].decode()


def test_who_writes_reads_what_was_written(worker: OneWorker) -> None:
    """The answer of a write pins its client: reads stay on that side though the percent changes under it."""
    for side in ("legacy", "new"):
        stays(worker, side)


def stays(worker: OneWorker, side: str) -> None:
    """Write to one side, move everybody to the other one, and read with the pin and without."""
    worker.push({"orders": flag(Stage.CANARY, percent_bp=5_000)})
    wrote = write(worker, user(side))
    pin = cookie_of(wrote)

    worker.push({"orders": flag(Stage.CANARY, percent_bp=10_000 if side == "legacy" else 1)})
    moved, stayed = ask(worker, user(side)), ask(worker, user(side), pin)

    assert wrote.body == stayed.body == f'"{side}"'.encode()
    assert moved.body != wrote.body
    found = PIN.fullmatch(wrote.value("set-cookie") or b"")
    assert found is not None
    assert found[2] == side[:1].encode()
    assert stayed.value("set-cookie") is None


def test_only_an_answered_write_in_a_canary_pins(worker: OneWorker) -> None:
    """Reads, refused writes and writes in other stages set no cookie."""
    worker.push({"orders": flag(Stage.CANARY, percent_bp=5_000)})
    assert ask(worker, user("new")).value("set-cookie") is None
    assert write(worker, user("new"), ("X-Side", "new s3cret")).value("set-cookie") is None
    for status, pinned in ((201, True), (303, True), (400, False), (409, False), (500, False)):
        wrote = write(worker, user("new"), ("X-Status", str(status)))
        assert (wrote.status, wrote.value("set-cookie") is not None) == (status, pinned)
    for stage in (Stage.LEGACY, Stage.SHADOW, Stage.LIVE, Stage.COMPLETE, Stage.GONE):
        worker.push({"orders": flag(stage)})
        assert write(worker, user("new")).value("set-cookie") is None, stage


def test_a_pin_is_marked_secure_where_the_client_speaks_tls(worker: OneWorker) -> None:
    """Behind a trusted proxy that speaks TLS the pin is Secure, so that no clear connection carries it."""
    worker.push({"orders": flag(Stage.CANARY, percent_bp=5_000)})

    clear, safe = write(worker, user("new")), write(worker, user("new"), ("X-Forwarded-Proto", "https"))

    assert (clear.value("set-cookie") or b"").endswith(b"; SameSite=Lax")
    assert (safe.value("set-cookie") or b"").endswith(b"; SameSite=Lax; Secure")


def test_no_backend_sees_a_pin_or_a_secret_of_ours(worker: OneWorker, legacy: Recorder, new: Recorder) -> None:
    """Pins, the override and a cohort's token are taken out of what both sides get; the client's own cookies stay."""
    worker.push({"orders": flag(Stage.SHADOW)})
    pin = "matapalo_pin_0123abcd=n.1.x"
    before = {recorder: len(recorder.requests) for recorder in (legacy, new)}

    ask(worker, ("Cookie", f"a=1; {pin}; b=2"), ("X-Side", "new wrong"), ("X-Staff", "guess"))
    new.wait_requests(before[new] + 1)
    ask(worker, ("Cookie", pin))
    new.wait_requests(before[new] + 2)

    for recorder in (legacy, new):
        first, second = recorder.requests[before[recorder] :]
        assert first.values("cookie") == [b"a=1; b=2"]
        assert second.values("cookie") == []
        for request in (first, second):
            assert request.values("x-side") == request.values("x-staff") == []


def test_staff_are_on_live_while_everybody_else_is_in_shadow(worker: OneWorker) -> None:
    """A cohort gets its own stage by its secret or its address, and the access log says whose it was."""
    own = {name: CohortFlag(stage=Stage.LIVE) for name in ("staff", "office")}
    worker.push({"orders": replace(flag(Stage.SHADOW, sample_bp=0), cohorts=own)})
    asked = [
        ((("X-Staff", "let-me-in"),), b'"new"', "staff"),
        ((("x-sTAFF", "let-me-in"),), b'"new"', "staff"),
        ((("X-Staff", "let-me-in"), ("X-Staff", "")), b'"new"', "staff"),
        ((("X-Staff", ""), ("X-Staff", "let-me-in")), b'"legacy"', ""),
        ((("Connection", "X-Staff"), ("X-Staff", "let-me-in")), b'"new"', "staff"),
        ((("X-Staff", "let-me-out"),), b'"legacy"', ""),
        ((("X-Forwarded-For", "203.0.113.9"),), b'"new"', "office"),
        ((("X-Forwarded-For", "203.0.113.9, 198.51.100.1"),), b'"legacy"', ""),
        ((), b'"legacy"', ""),
    ]
    before = len(worker.access_lines(0))

    bodies = [ask(worker, *headers).body for headers, _, _ in asked]
    lines = worker.access_lines(before + len(asked))[before:]

    assert bodies == [body for _, body, _ in asked]
    assert [line["cohort"] for line in lines] == [cohort for _, _, cohort in asked]
    assert [line["reason"] for line in lines] == ["cohort" if cohort else "stage" for _, _, cohort in asked]


def test_a_hold_and_gone_beat_the_override_a_pin_and_a_cohort(worker: OneWorker) -> None:
    """With a good token, a pin and a membership at once, a held route is legacy's and a route that is gone is gone."""
    own = {"staff": CohortFlag(stage=Stage.LIVE)}
    worker.push({"orders": replace(flag(Stage.CANARY, percent_bp=5_000), cohorts=own)})
    pin = cookie_of(write(worker, user("new")))
    everything = (user("new"), pin, ("X-Side", "new s3cret"), ("X-Staff", "let-me-in"))
    assert ask(worker, *everything).body == b'"new"'

    worker.hold(link.HoldItem(route="orders"))
    held = ask(worker, *everything)
    worker.hold()
    worker.push({"orders": flag(Stage.GONE)})
    gone = ask(worker, *everything)

    assert held.body == b'"legacy"'
    assert gone.status == 410


def test_complete_never_asks_legacy(worker: OneWorker, legacy: Recorder) -> None:
    """In complete a good override token reaches new as everybody does; the answer and the access log say so."""
    worker.push({"orders": flag(Stage.COMPLETE)})
    before, asked = len(worker.access_lines(0)), len(legacy.requests)

    answers = [
        ask(worker, ("X-Side", f"{side} s3cret"), ("X-Matapalo-Side", "?"), method=method)
        for side in ("legacy", "new")
        for method in ("GET", "DELETE")
    ]
    lines = worker.access_lines(before + 4)[before:]

    assert {(one.body, one.value("x-matapalo-side")) for one in answers} == {(b'"new"', b"new")}
    assert [(line["side"], line["reason"]) for line in lines] == [("new", "stage")] * 4
    assert len(legacy.requests) == asked


def test_a_rollback_ends_the_pins_of_its_canary(worker: OneWorker) -> None:
    """A client that wrote to new before a rollback is read for from its bucket's side when a canary begins again."""
    for step in ("rollback", "hold"):
        worker.push({"orders": flag(Stage.CANARY, percent_bp=5_000)})
        pin = cookie_of(write(worker, user("new")))
        assert ask(worker, user("legacy"), pin).body == b'"new"'

        if step == "rollback":
            worker.push({"orders": flag(Stage.LEGACY)})
        else:
            worker.hold(link.HoldItem(route="orders"))
            worker.hold()
        worker.push({"orders": flag(Stage.CANARY, percent_bp=100)})

        assert ask(worker, user("legacy", 100), pin).body == b'"legacy"', step


def test_a_wrong_override_is_no_override(worker: OneWorker, legacy: Recorder, new: Recorder) -> None:
    """Without the exact token the header chooses nothing; with it or without, no backend sees it."""
    worker.push({"orders": flag(Stage.LEGACY)})

    for value in ("new", "new wrong", "NEW s3cret", "new  s3cret", "s3cret"):
        assert ask(worker, ("X-Side", value)).body == b'"legacy"'
    assert ask(worker, ("X-Side", "new s3cret")).body == b'"new"'

    assert len(legacy.requests) == 5
    assert all(request.values("x-side") == [] for request in (*legacy.requests, *new.requests))


def test_after_a_fallback_the_pin_names_the_side_that_answered(legacy: Recorder) -> None:
    """A write that legacy answered because new could not be reached is read from legacy."""
    with OneWorker(
        backends={"legacy": legacy.url, "new": "http://127.0.0.1:9"},
        routes=[PINNING],
        flags={"orders": flag(Stage.CANARY, percent_bp=10_000)},
        pins=("env:TEST_PIN",),
        environ=ENVIRON,
    ) as worker:
        wrote = write(worker, user("new"))

        assert wrote.body == b'"legacy"'
        assert (PIN.fullmatch(wrote.value("set-cookie") or b"") or [b""] * 3)[2] == b"l"
