"""Copies: what goes out, what it may never cost the client, and that every one of them is counted once."""

from __future__ import annotations

import gzip
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest

from config.spec import LimitsSpec, RouteSpec, ShadowSpec
from proxy.copies import Rate
from rules.distinct import positions_from
from rules.flag import Flag, Stage
from rules.latency import quantile
from shadow import link
from tests.support.oneworker import OneWorker, backend, flag, holds_law, route
from tests.support.rawclient import ConnectionEndedError, request_bytes
from tests.support.recorder import (
    Close,
    Gate,
    Hang,
    Pause,
    Recorder,
    Reset,
    Step,
    answer,
    chunked_answer,
    forever,
)
from tests.support.sickness import SICK

JSON = (("Content-Type", "application/json"),)
SAME = answer(b'{"id":1}', headers=JSON)
SHADOW = {"orders": flag(Stage.SHADOW)}


@pytest.fixture
def legacy() -> Iterator[Recorder]:
    """Answer as the old service."""
    with Recorder(SAME) as recorder:
        yield recorder


@pytest.fixture
def new() -> Iterator[Recorder]:
    """Answer as the new service, with the same bytes."""
    with Recorder(SAME) as recorder:
        yield recorder


def worker_of(
    legacy: Recorder,
    new: Recorder,
    *,
    spec: RouteSpec | None = None,
    flags: dict[str, Flag] | None = None,
    limits: LimitsSpec | None = None,
) -> OneWorker:
    """Start a worker whose one route stands in shadow, and which goes on copying whatever becomes of the copies."""
    return OneWorker(
        backends={"legacy": legacy.url, "new": backend("new", new.url, circuit_bp=None)},
        routes=[spec or route()],
        flags=flags or SHADOW,
        limits=limits,
    )


def shadow(**changes: object) -> ShadowSpec:
    """Make a shadow policy without a rate limit."""
    return ShadowSpec(max_per_second=None, **changes)  # type: ignore[arg-type]  # the caller names fields


# --- what goes out ---


def test_a_copy_is_marked_and_otherwise_the_same_request(legacy: Recorder, new: Recorder) -> None:
    """The copy has the primary's target and headers, plus X-Matapalo-Shadow: 1."""
    headers = (("X-A", "1"), ("Cookie", "s=1"), ("Authorization", "Bearer t"), ("x-a", "2"))
    with worker_of(legacy, new) as worker:
        worker.ask(request_bytes(target="/api/a?b=%20", headers=headers))
        worker.settled()

    primary, copy = legacy.requests[0], new.requests[0]
    assert copy.target == primary.target
    assert copy.headers == (*primary.headers, (b"X-Matapalo-Shadow", b"1"))
    assert primary.values("x-matapalo-shadow") == []


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_writes_are_never_copied(legacy: Recorder, new: Recorder, method: str) -> None:
    """An unsafe method reaches one service only and is not even eligible."""
    with worker_of(legacy, new) as worker:
        worker.ask(request_bytes(method, "/api/a", body=b"x"))
        counts = worker.settled()

    assert new.requests == []
    assert "eligible|orders" not in counts


@pytest.mark.parametrize("chunked", [False, True])
def test_a_declared_read_is_copied_with_its_body(legacy: Recorder, new: Recorder, chunked: bool) -> None:
    """A POST that the route declares to be a read is copied whole, with its length."""
    body = b'{"q":"fig"}' * 5_000
    sent = (
        b"POST /api/a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n"
        % (len(body), body)
        if chunked
        else request_bytes("POST", "/api/a", body=body)
    )
    with worker_of(legacy, new, spec=route(shadow=shadow(reads=("POST",)))) as worker:
        worker.ask(sent)
        counts = worker.settled()

    assert new.requests[0].body == legacy.requests[0].body == body
    assert new.requests[0].values("content-length") == [str(len(body)).encode()]
    assert counts["identical|orders|legacy"] == 1


def test_an_oversized_body_is_not_copied(legacy: Recorder, new: Recorder) -> None:
    """A declared read whose body is too large to be kept is skipped, announced or not."""
    spec = route(shadow=shadow(reads=("POST",), max_body_bytes=100))
    with worker_of(legacy, new, spec=spec) as worker:
        worker.ask(request_bytes("POST", "/api/a", body=b"x" * 101))
        worker.ask(
            b"POST /api/a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n65\r\n"
            + b"x" * 101
            + b"\r\n0\r\n\r\n"
        )
        counts = worker.settled()

    assert len(legacy.requests) == 2
    assert new.requests == []
    assert counts["skipped|orders|oversize"] == counts["uncopied|orders|POST"] == 2
    assert holds_law(counts)


def test_a_condition_is_dropped_from_the_copy(legacy: Recorder, new: Recorder) -> None:
    """A conditional request is copied without its condition, once the primary answers in full."""
    with worker_of(legacy, new) as worker:
        worker.ask(request_bytes(target="/api/a", headers=(("If-None-Match", '"1"'), ("If-Modified-Since", "x"))))
        counts = worker.settled()

    assert legacy.requests[0].values("if-none-match") == [b'"1"']
    assert new.requests[0].values("if-none-match") == new.requests[0].values("if-modified-since") == []
    assert counts["identical|orders|legacy"] == 1


def test_a_304_is_not_compared(legacy: Recorder, new: Recorder) -> None:
    """Where the primary answers 304 there is nothing to compare: skipped, and nothing was sent."""
    legacy.answer = answer(b"", status=304, reason="Not Modified", length=False)
    with worker_of(legacy, new) as worker:
        worker.ask(request_bytes(target="/api/a", headers=(("If-None-Match", '"1"'),)))
        counts = worker.settled()

    assert new.requests == []
    assert counts["skipped|orders|conditional"] == 1
    assert holds_law(counts)


@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        ((("Range", "bytes=0-1"),), "conditional"),
        ((("Accept", "text/event-stream"),), "streaming"),
        ((("Connection", "Upgrade"), ("Upgrade", "websocket")), "upgrade"),
    ],
)
def test_what_cannot_be_compared_is_skipped_with_its_reason(
    legacy: Recorder, new: Recorder, headers: tuple[tuple[str, str], ...], reason: str
) -> None:
    """Ranges, event streams and upgrades are not copied, and the count says why."""
    with worker_of(legacy, new) as worker:
        worker.ask(request_bytes(target="/api/a", headers=headers))
        counts = worker.settled()

    assert new.requests == []
    assert counts[f"skipped|orders|{reason}"] == 1
    assert holds_law(counts)


@pytest.mark.parametrize(
    ("credentials", "expected"), [("pass", [b"Bearer t"]), ("strip", []), ("replace", [b"Bearer shadow"])]
)
def test_credentials_follow_the_policy(
    legacy: Recorder, new: Recorder, credentials: str, expected: list[bytes]
) -> None:
    """A copy carries the client's credentials, none, or the configured ones."""
    spec = route(shadow=shadow(credentials=credentials, replace_authorization="env:SHADOW_AUTH"))
    with OneWorker(
        backends={"legacy": legacy.url, "new": new.url},
        routes=[spec],
        flags=SHADOW,
        environ={"SHADOW_AUTH": "Bearer shadow"},
    ) as worker:
        worker.ask(request_bytes(target="/api/a", headers=(("Authorization", "Bearer t"), ("Cookie", "s=1"))))
        worker.settled()

    assert new.requests[0].values("authorization") == expected
    assert new.requests[0].values("cookie") == ([b"s=1"] if credentials == "pass" else [])


def test_a_copy_has_its_own_span(legacy: Recorder, new: Recorder) -> None:
    """traceparent is passed to the primary; the copy stays in the trace under a span id of its own."""
    parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    with worker_of(legacy, new) as worker:
        worker.ask(request_bytes(target="/api/a", headers=(("traceparent", parent),)))
        worker.settled()

    copied = new.requests[0].values("traceparent")[0].decode()
    assert legacy.requests[0].values("traceparent") == [parent.encode()]
    assert copied[:36] == parent[:36]
    assert copied[-3:] == "-01"
    assert copied[36:52] != parent[36:52]


def test_reverse_shadow_copies_to_legacy(legacy: Recorder, new: Recorder) -> None:
    """In stage live new answers and legacy gets the copy."""
    with worker_of(legacy, new, flags={"orders": flag(Stage.LIVE, sample_bp=10_000)}) as worker:
        worker.ask(request_bytes(target="/api/a"))
        counts = worker.settled()

    assert legacy.requests[0].values("x-matapalo-shadow") == [b"1"]
    assert counts["identical|orders|new"] == 1
    assert counts["copies|orders|legacy|compare"] == 1


def test_the_sample_is_kept(legacy: Recorder, new: Recorder) -> None:
    """Only the sampled share is copied; the rest is eligible and unsampled."""
    with (
        worker_of(legacy, new, flags={"orders": flag(Stage.SHADOW, sample_bp=2_500)}) as worker,
        worker.client() as client,
    ):
        for _ in range(400):
            client.exchange(request_bytes(target="/api/a"))
        counts = worker.settled()

    assert counts["eligible|orders"] == 400
    assert 60 <= counts["sent|orders"] <= 140  # 100, 4 sigma
    assert holds_law(counts)


# --- what it may never cost ---


@pytest.mark.alone
def test_a_hanging_shadow_does_not_delay_the_client(legacy: Recorder, new: Recorder) -> None:
    """Requests on one connection go on at full speed while every copy hangs until its deadline."""
    new.answer = [Hang()]
    spec = route(shadow=shadow(timeout_ns=60_000_000_000, max_in_flight=8))
    with worker_of(legacy, new, spec=spec) as worker, worker.client() as client:
        start = time.monotonic()
        for _ in range(200):
            client.exchange(request_bytes(target="/api/a"))
        elapsed = time.monotonic() - start
        worker.totals(lambda counts: counts.get("eligible|orders") == 200)
        counts = worker.tallies[-1].counts
        gauges = worker.tallies[-1].gauges

    assert elapsed < 5.0
    assert gauges["in_flight|orders|legacy"] == 8
    assert counts["skipped|orders|in_flight"] == 192
    assert len(new.requests) <= 8


def test_an_endless_shadow_answer_costs_no_memory(legacy: Recorder, new: Recorder) -> None:
    """A shadow that never stops sending is read into a digest until its deadline, not into memory."""
    new.answer = lambda request: forever(b"x" * 65_536)
    spec = route(shadow=shadow(timeout_ns=700_000_000))
    with worker_of(legacy, new, spec=spec) as worker:
        worker.ask(request_bytes(target="/other"))
        before = worker.rss_bytes()
        worker.ask(request_bytes(target="/api/a"))
        counts = worker.settled()
        after = worker.rss_bytes()

    assert counts["errored|orders|legacy|shadow"] == 1
    assert after - before < 8 << 20


def test_the_rate_is_bounded(legacy: Recorder, new: Recorder) -> None:
    """No more copies per second than the route allows; the others are skipped and counted."""
    spec = route(shadow=ShadowSpec(max_per_second=5))
    with worker_of(legacy, new, spec=spec) as worker, worker.client() as client:
        began = time.monotonic()
        for _ in range(100):
            client.exchange(request_bytes(target="/api/a"))
        took = time.monotonic() - began
        counts = worker.settled()

    assert counts["sent|orders"] <= 5 + 5 * took + 1
    assert counts["sent|orders"] + counts["skipped|orders|rate"] == 100
    assert holds_law(counts)


def test_copies_share_one_byte_budget(legacy: Recorder, new: Recorder) -> None:
    """With the budget used up by answers, further copies are skipped and answers are compared by digest."""
    body = b"y" * 300_000
    legacy.answer = answer(body)
    gate = Gate()
    new.answer = [gate, answer(body)]
    limits = LimitsSpec(copy_bytes=250_000)
    with worker_of(legacy, new, limits=limits) as worker:
        assert worker.ask(request_bytes(target="/api/a")).body == body
        gate.open()
        counts = worker.settled()

    assert counts["identical|orders|legacy"] == 1


def test_a_shadow_pool_never_takes_a_primary_connection(legacy: Recorder, new: Recorder) -> None:
    """Requests to new as primary go through although every shadow connection to new is stuck."""
    new.answer = lambda request: [Hang()] if request.values("x-matapalo-shadow") else SAME
    routes = [route(shadow=shadow(max_in_flight=300)), route("other", "/other/**")]
    flags = {"orders": flag(Stage.SHADOW), "other": flag(Stage.COMPLETE, salt="other")}
    with OneWorker(backends={"legacy": legacy.url, "new": new.url}, routes=routes, flags=flags) as worker:
        with worker.client() as client:
            for _ in range(300):
                client.exchange(request_bytes(target="/api/a"))
        assert worker.ask(request_bytes(target="/other/a")).status == 200


def test_a_copy_is_sent_at_most_once(legacy: Recorder, new: Recorder) -> None:
    """A copy whose connection dies is never sent again."""
    new.answer = lambda request: [Reset()] if len(new.requests) % 2 == 0 else SAME
    with worker_of(legacy, new) as worker, worker.client() as client:
        for number in range(20):
            client.exchange(request_bytes(target="/api/a", headers=(("X-Request-Id", f"r{number}"),)))
        counts = worker.settled()

    ids = [request.values("x-request-id")[0] for request in new.requests]
    assert len(ids) == len(set(ids))
    assert counts["sent|orders"] == 20
    assert holds_law(counts)


# --- verdicts ---


@pytest.mark.parametrize(
    "other",
    [
        answer(b'{"id":2}', headers=JSON),
        answer(b'{"id":1}\n', headers=JSON),
        answer(b'{"id":1}', status=201, headers=JSON),
        answer(b'{"id":1}', headers=(("Content-Type", "application/json; charset=utf-8"),)),
        answer(b'{"id":1}', headers=(*JSON, ("Location", "/x"))),
        answer(b'{"id":1}', headers=(*JSON, ("Content-Encoding", "gzip"))),
    ],
    ids=["value", "newline", "status", "type", "watched", "coding"],
)
def test_one_difference_makes_a_pair(legacy: Recorder, new: Recorder, other: bytes) -> None:
    """A difference in status, type, coding, a watched header or one body byte is sent to the comparer."""
    new.answer = other
    with worker_of(legacy, new) as worker:
        worker.ask(request_bytes(target="/api/a?q=1", headers=(("X-Request-Id", "r-1"),)))
        counts = worker.settled()
        pair, bodies = worker.pairs[0]

    assert counts["unequal|orders|legacy"] == counts["divergent|orders|legacy"] == 1
    assert holds_law(counts)
    assert (pair.request_id, pair.method, pair.target) == ("r-1", "GET", b"/api/a?q=1")
    assert [(policy.number, policy.route) for policy in worker.policies] == [(pair.policy, "orders")]
    assert bodies == b'{"id":1}' + other.partition(b"\r\n\r\n")[2]


def test_equal_answers_in_other_framing_are_identical(legacy: Recorder, new: Recorder) -> None:
    """Chunked or not, with whatever Date and Server: equal status, type and bytes are identical."""
    new.answer = chunked_answer([b'{"id"', b":1}"], headers=(*JSON, ("Server", "other"), ("Date", "now")))
    with worker_of(legacy, new) as worker:
        worker.ask(request_bytes(target="/api/a"))
        counts = worker.settled()

    assert counts["identical|orders|legacy"] == 1


def test_large_answers_are_compared_by_digest(legacy: Recorder, new: Recorder) -> None:
    """Bodies beyond the pair's bound are compared exactly, and travel as digest and length."""
    body = gzip.compress(b"x", mtime=0) + bytes(range(256)) * 8_192
    legacy.answer = answer(body)
    new.answer = answer(body)
    with worker_of(legacy, new) as worker:
        worker.ask(request_bytes(target="/api/a"))
        new.answer = answer(body[:-1] + b"!")
        worker.ask(request_bytes(target="/api/a"))
        counts = worker.settled()
        pair, bodies = worker.pairs[0]

    assert counts["identical|orders|legacy"] == counts["unequal|orders|legacy"] == 1
    assert not pair.whole
    assert bodies == b""
    assert pair.legacy.body_bytes == pair.new.body_bytes == len(body)
    assert pair.legacy.digest != pair.new.digest


def test_a_broken_primary_is_not_compared(legacy: Recorder, new: Recorder) -> None:
    """Where the client got no whole answer the comparison is errored, on the right side."""
    legacy.answer = [b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf", Close()]
    with worker_of(legacy, new) as worker:
        with worker.client() as client, pytest.raises((ConnectionEndedError, ConnectionResetError)):
            client.exchange(request_bytes(target="/api/a"))
        counts = worker.settled()

    assert counts["errored|orders|legacy|primary"] + counts.get("errored|orders|legacy|both", 0) == 1
    assert holds_law(counts)


def total(counts: dict[str, int], start: str) -> int:
    """Sum every count whose key begins so."""
    return sum(count for key, count in counts.items() if key == start or key.startswith(f"{start}|"))


def test_a_copy_is_heard_out_when_the_primary_fails(legacy: Recorder, new: Recorder) -> None:
    """Whether one side fails or both do is known exactly, whoever fails first, and the client waits for neither."""
    late = Gate()
    broken: list[Step] = [b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf", Close()]
    sick: dict[str, bytes | list[Step]] = {
        "well": SAME,
        "sick": broken,
        "late": [late, SAME],
        "late-sick": [late, Reset()],
    }
    legacy.answer = lambda request: sick[request.values("x-legacy")[0].decode()]
    new.answer = lambda request: sick[request.values("x-new")[0].decode()]
    with worker_of(legacy, new) as worker:
        for pair in (("sick", "well"), ("sick", "late"), ("sick", "late-sick"), ("well", "sick")):
            headers = tuple(zip(("X-Legacy", "X-New"), pair, strict=True))
            with worker.client() as client, suppress(ConnectionEndedError, ConnectionResetError):
                client.exchange(request_bytes(target="/api/a", headers=headers))
        late.open()
        counts = worker.settled()

    assert counts["errored|orders|legacy|primary"] == counts["paired|orders|GET|none|2xx"] == 2
    assert counts["errored|orders|legacy|both"] == counts["paired|orders|GET|none|none"] == 1
    assert counts["errored|orders|legacy|shadow"] == counts["paired|orders|GET|2xx|none"] == 1
    assert counts["broken|orders|legacy"] == 3
    assert holds_law(counts)


def test_what_gates_judge_is_counted(legacy: Recorder, new: Recorder) -> None:
    """Each pair counts under its method and both classes; times and requests only where both sides answered."""
    new.answer = lambda request: answer(b"no", status=503, reason="No") if b"bad" in request.target else SAME
    flags = {"orders": flag(Stage.CANARY, percent_bp=10_000)}
    with worker_of(legacy, new, flags=flags) as worker, worker.client() as client:
        user = (("X-User-Id", "u1"),)
        for target in ("/api/a", "/api/b", "/api/a", "/api/bad"):
            client.exchange(request_bytes(target=target, headers=user))
        client.exchange(request_bytes(method="HEAD", target="/api/a", headers=user))
        client.exchange(request_bytes(method="BREW", target="/api/a", headers=user))
        counts = worker.settled()
        histograms = worker.tallies[-1].histograms
        bits = {bit for tally in worker.tallies for bit in positions_from(tally.distinct.get("orders", b""))}

    assert {key: count for key, count in counts.items() if key.startswith("paired|")} == {
        "paired|orders|GET|2xx|2xx": 3,
        "paired|orders|GET|2xx|5xx": 1,
        "paired|orders|HEAD|2xx|2xx": 1,
    }
    assert sum(histograms["paired_head|orders|legacy"]) == sum(histograms["paired_head|orders|new"]) == 5
    assert len(bits) == 4
    assert counts["requests|orders|new|new|5xx"] == 1


def paired_s(worker: OneWorker, side: str) -> float:
    """Read the longest time of one side that gates judge."""
    worker.settled()
    longest = quantile(worker.tallies[-1].histograms[f"paired_head|orders|{side}"], 1.0)
    assert longest is not None
    return longest


@pytest.mark.parametrize("stage", [Stage.SHADOW, Stage.LIVE])
def test_gates_judge_the_time_of_each_side(legacy: Recorder, new: Recorder, stage: Stage) -> None:
    """The time of the slow side is told as the slow side's, whichever of the two answers the client."""
    legacy.answer = [Pause(seconds=1.0), SAME]
    spec = route(shadow=shadow(timeout_ns=60_000_000_000))
    with worker_of(legacy, new, flags={"orders": flag(stage, sample_bp=10_000)}, spec=spec) as worker:
        worker.ask(request_bytes(target="/api/a"))
        slow, quick = paired_s(worker, "legacy"), paired_s(worker, "new")

    assert slow >= 0.9
    assert quick < slow


def test_a_slow_upload_is_not_the_time_of_who_answers(legacy: Recorder, new: Recorder) -> None:
    """Times begin when the request is sent whole: the copy is sent in one piece, so anything else would be unfair."""
    sent = request_bytes("POST", "/api/a", body=b"{}")
    with worker_of(legacy, new, spec=route(shadow=shadow(reads=("POST",)))) as worker, worker.client() as client:
        client.send(sent[:-1])
        legacy.wait_until(lambda: bool(legacy.requests), "the head at legacy")
        began = time.monotonic()
        time.sleep(1.0)  # the slow upload itself
        client.send(sent[-1:])
        client.read_response()
        spent = time.monotonic() - began

        assert paired_s(worker, "legacy") < spent - 0.5


def test_the_counting_law_holds_under_chaos(legacy: Recorder, new: Recorder) -> None:
    """After clients that leave, shadows that die, skips and samples, every eligible request is counted once."""
    scripts = [*(one.script for one in SICK.values() if not callable(one.script)), *[SAME] * 8, answer(b"other")]
    new.answer = lambda request: scripts[int(request.values("x-n")[0]) % len(scripts)]
    legacy.answer = lambda request: [Reset()] if int(request.values("x-n")[0]) % 17 == 0 else SAME
    spec = route(shadow=shadow(timeout_ns=500_000_000, max_in_flight=20))
    flags = {"orders": flag(Stage.SHADOW, sample_bp=8_000)}
    with worker_of(legacy, new, spec=spec, flags=flags) as worker:
        for number in range(150):
            with worker.client() as client:
                client.send(request_bytes(target="/api/a", headers=(("X-N", str(number)),)))
                if number % 7 == 0:
                    client.reset()
                else:
                    client.read_response()
        counts = worker.settled()

    assert 120 <= counts["eligible|orders"] <= 150
    assert counts["identical|orders|legacy"] > 10
    assert total(counts, "paired|orders") == sum(
        total(counts, f"{family}|orders|legacy{which}")
        for family, which in (
            ("identical", ""),
            ("unequal", ""),
            ("errored", "|primary"),
            ("errored", "|shadow"),
            ("errored", "|both"),
        )
    )
    assert holds_law(counts)


# --- parts ---


def test_tokens_come_back_with_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A rate of n per second lets n through per second, after a burst of at most one second's worth."""
    now = [100.0]
    monkeypatch.setattr("proxy.copies.monotonic", lambda: now[0])
    rate = Rate()
    taken = 0
    for _ in range(1_000):
        now[0] += 0.01
        taken += rate.take(5)

    assert 50 <= taken <= 56


def test_a_message_names_its_pair() -> None:
    """The pair's frame reads back as what was compared."""
    frame = link.frame(link.Verdict(sequence=7, verdict="divergent"))

    ((message, rest),) = link.FrameReader().feed(frame)

    assert message == link.Verdict(sequence=7, verdict="divergent")
    assert rest == b""


# --- bounds that must not wear out ---


def test_a_copy_given_up_costs_the_budget_nothing(legacy: Recorder, new: Recorder) -> None:
    """Copies skipped for their size leave the whole budget to the ones after them."""
    legacy.answer = answer(b"x" * 100_000)
    new.answer = answer(b"x" * 100_000)
    spec = route(shadow=shadow(reads=("POST",), max_body_bytes=100))
    large = b"POST /api/a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    large += b"%x\r\n%b\r\n0\r\n\r\n" % (200, b"x" * 200)
    with worker_of(legacy, new, spec=spec, limits=LimitsSpec(copy_bytes=1 << 20)) as worker, worker.client() as client:
        for _ in range(15):
            client.exchange(large)
        new.answer = answer(b"y" * 100_000)
        client.exchange(request_bytes(target="/api/a"))
        counts = worker.settled()

    assert counts["skipped|orders|oversize"] == 15
    assert [pair.whole for pair, _ in worker.pairs] == [True]
    assert holds_law(counts)


def test_an_answer_in_tiny_chunks_costs_what_it_holds(legacy: Recorder, new: Recorder) -> None:
    """A shadow that answers byte by byte costs about as much memory as its bytes."""
    gate = Gate()
    chunks = b"2\r\nxx\r\n" * 250_000
    new.answer = [answer(headers=(("Transfer-Encoding", "chunked"),), length=False) + chunks, gate, b"0\r\n\r\n"]
    with worker_of(legacy, new, spec=route(shadow=shadow(timeout_ns=120_000_000_000))) as worker:
        worker.ask(request_bytes("POST", "/api/warm", body=b"x"))
        before = worker.rss_bytes()
        for _ in range(4):
            worker.ask(request_bytes(target="/api/a"))
        for one in new.wait_connections(4):
            worker.wait(lambda one=one: one.sent_bytes >= len(chunks), "the chunks")  # type: ignore[misc]  # bound now
        for _ in range(4):
            worker.ask(request_bytes("OPTIONS", "*"))
        grown = worker.rss_bytes() - before
        gate.open()
        worker.settled()

    assert grown < 24 << 20
