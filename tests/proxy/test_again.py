"""Repeats: what is asked a second time, what never is, and that no comparison is counted for it."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace

import msgspec
import pytest

from config.spec import LimitsSpec, MatchSpec, NoiseSpec, RouteSpec, ShadowSpec
from proxy.again import MAX_REMEMBERED
from rules.flag import Flag, Stage
from shadow import link
from tests.support.oneworker import OneWorker, backend, flag, holds_law, route
from tests.support.rawclient import request_bytes
from tests.support.recorder import Hang, RecordedRequest, Recorder, Reset, answer
from tests.support.sickness import SICK

SAME = answer(b'{"id":1}')
SHADOW = {"orders": flag(Stage.SHADOW)}
LIVE = {"orders": flag(Stage.LIVE, sample_bp=10_000)}
NOISE = NoiseSpec(sample_bp=10_000, max_per_second=None)
SOON = (100_000_000, 200_000_000)
"""Moments for tests; people ask again after seconds."""


@pytest.fixture
def legacy() -> Iterator[Recorder]:
    """Answer as the old service."""
    with Recorder(SAME) as recorder:
        yield recorder


@pytest.fixture
def new() -> Iterator[Recorder]:
    """Answer as the new service."""
    with Recorder(SAME) as recorder:
        yield recorder


def worker_of(
    legacy: Recorder, new: Recorder, spec: RouteSpec, flags: dict[str, Flag] | None = None, **options: object
) -> OneWorker:
    """Start a worker with one route, and circuits that stay closed."""
    backends = {"legacy": legacy.url, "new": new.url}
    return OneWorker(
        backends={name: backend(name, url, circuit_bp=None) for name, url in backends.items()},
        routes=[spec],
        flags=flags or SHADOW,
        **options,  # type: ignore[arg-type]  # the caller names parameters of OneWorker
    )


def shadow(**changes: object) -> ShadowSpec:
    """Make a shadow policy without a rate limit."""
    return ShadowSpec(max_per_second=None, **changes)  # type: ignore[arg-type]  # the caller names fields


def by_turns(*bodies: bytes) -> Callable[[RecordedRequest], bytes]:
    """Answer each request with the next body, and then with the last one for ever."""
    lock, left = threading.Lock(), list(bodies)

    def script(_: RecordedRequest) -> bytes:
        with lock:
            return answer(left.pop(0) if len(left) > 1 else left[0])

    return script


def repeats(counts: dict[str, int], purpose: str) -> dict[str, int]:
    """Pick what became of the repeats of one purpose."""
    start = f"repeats|orders|{purpose}|"
    return {key.removeprefix(start): count for key, count in counts.items() if key.startswith(start)}


def purposes(worker: OneWorker) -> Counter[tuple[str, int]]:
    """Count the pairs by purpose and attempt."""
    return Counter((pair.purpose, pair.attempt) for pair, _ in worker.pairs)


# --- noise ---


@pytest.mark.parametrize(("flags", "primary"), [(SHADOW, "legacy"), (LIVE, "new")], ids=["shadow", "live"])
def test_noise_is_legacy_against_itself(legacy: Recorder, new: Recorder, flags: dict[str, Flag], primary: str) -> None:
    """Whoever answers the client, legacy's two answers make the pair, and no comparison is counted for it."""
    legacy.answer = by_turns(b'{"at":1}', b'{"at":2}')
    new.answer = answer(b'{"at":1}')
    with worker_of(legacy, new, route(noise=NOISE), flags) as worker:
        worker.ask(request_bytes(target="/api/a?b=c", headers=(("Authorization", "secret"),)))
        worker.totals(lambda counts: "repeats|orders|noise|unequal" in counts)
        counts = worker.settled()

    ((pair, rest),) = worker.pairs
    assert (pair.purpose, pair.attempt, pair.legacy.backend, pair.new.backend) == ("noise", 0, "legacy", "legacy")
    assert rest == b'{"at":1}{"at":2}'
    first, second = legacy.requests
    assert second.target == first.target == b"/api/a?b=c"
    assert second.values("x-matapalo-shadow") == [b"1"]
    assert second.values("authorization") == [b"secret"]
    assert len(new.requests) == 1
    assert repeats(counts, "noise") == {"unequal": 1}
    assert counts["copies|orders|legacy|noise"] == 1
    assert counts[f"identical|orders|{primary}"] == counts["sent|orders"] == 1
    assert not any(key.startswith(("divergent|", "divergences|", "unequal|")) for key in counts)
    assert holds_law(counts)


def test_a_legacy_that_repeats_itself_is_told_to_control(legacy: Recorder, new: Recorder) -> None:
    """An identical second answer makes no pair; control hears of it, so that a rate has its whole."""
    new.answer = answer(b'{"id":2}')
    with worker_of(legacy, new, route(noise=NOISE)) as worker:
        worker.ask(request_bytes(target="/api/a"))
        worker.wait(lambda: bool(worker.repeated), "the word of an identical answer")
        counts = worker.settled()

    (told,) = worker.repeated
    assert (told.route, told.purpose, told.outcome) == ("orders", "noise", "identical")
    assert purposes(worker) == {("compare", 0): 1}
    assert repeats(counts, "noise") == {"identical": 1}
    assert counts["divergent|orders|legacy"] == 1


ASKED_ONCE = {
    "off": (route(), request_bytes(target="/off")),
    "unsampled": (route(noise=replace(NOISE, sample_bp=0)), request_bytes(target="/unsampled")),
    "never": (route(noise=NOISE, shadow=ShadowSpec(mode="never")), request_bytes(target="/never")),
    "read": (route(noise=NOISE, shadow=shadow(reads=("POST",))), request_bytes("POST", "/read", body=b"q")),
    "write": (route(noise=NOISE), request_bytes("DELETE", "/write")),
    "body": (route(noise=NOISE), request_bytes(target="/body", body=b"q")),
}


def test_what_is_not_asked_twice(legacy: Recorder, new: Recorder) -> None:
    """Legacy hears a request once if noise is off, out of the sample, or anything but a safe request without a body."""
    specs = [replace(spec, name=name, match=(MatchSpec(path=f"/{name}"),)) for name, (spec, _) in ASKED_ONCE.items()]
    flags = {name: flag(Stage.SHADOW, salt=name) for name in ASKED_ONCE}
    backends = {"legacy": legacy.url, "new": new.url}
    with OneWorker(backends=backends, routes=specs, flags=flags) as worker:
        for _, request in ASKED_ONCE.values():
            worker.ask(request)
        counts = worker.settled()

    assert sorted(request.target for request in legacy.requests) == sorted(f"/{name}".encode() for name in ASKED_ONCE)
    assert not any(key.startswith("repeats|") for key in counts)


def test_noise_stays_within_its_rate(legacy: Recorder, new: Recorder) -> None:
    """No more second questions per second than asked for; the others are counted."""
    with worker_of(legacy, new, route(noise=replace(NOISE, max_per_second=1.0))) as worker, worker.client() as client:
        began = time.monotonic()
        for _ in range(40):
            client.exchange(request_bytes(target="/api/a"))
        worker.totals(lambda counts: sum(repeats(counts, "noise").values()) == 40)
        took = time.monotonic() - began
        counts = worker.settled()

    found = repeats(counts, "noise")
    assert found["rate"] >= 40 - 2 - took
    assert len(legacy.requests) == 40 + found["identical"]


def test_noise_needs_a_place_in_flight(legacy: Recorder, new: Recorder) -> None:
    """A second question takes the place of a copy: with the last one taken by it, the next request is not copied."""
    legacy.answer = lambda request: [Hang()] if request.values("x-matapalo-shadow") else SAME
    with worker_of(legacy, new, route(noise=NOISE, shadow=shadow(max_in_flight=1))) as worker:
        worker.ask(request_bytes(target="/api/a"))
        legacy.wait_requests(2)
        worker.ask(request_bytes(target="/api/a"))
        counts = worker.totals(lambda counts: "skipped|orders|in_flight" in counts)

    assert counts["copies|orders|legacy|noise"] == 1
    assert holds_law(counts)


def test_a_question_without_an_answer_is_counted_and_lets_go(legacy: Recorder, new: Recorder) -> None:
    """A second question that hangs ends at the copies' deadline, gives its place back, and is no error of a copy."""
    legacy.answer = lambda request: [Hang()] if request.values("x-matapalo-shadow") else SAME
    spec = route(noise=NOISE, shadow=shadow(max_in_flight=1, timeout_ns=1_000_000_000))
    with worker_of(legacy, new, spec) as worker:
        for number in (1, 2):
            worker.ask(request_bytes(target="/api/a"))
            worker.totals(lambda counts, number=number: repeats(counts, "noise") == {"failed": number})  # type: ignore[misc]  # bound now
        counts = worker.settled()

    assert counts["upstream_errors|legacy|timeout"] == 2
    assert counts["identical|orders|legacy"] == counts["sent|orders"] == 2


def test_credentials_that_would_not_travel_are_not_missed(
    legacy: Recorder, new: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A request whose credentials its copies lose is not asked again: another user's answer is no noise."""
    monkeypatch.setenv("TOKEN_OF_COPIES", "shadow")
    new.answer = answer(b"other")
    stripped = shadow(credentials="strip")
    replaced = shadow(credentials="replace", replace_authorization="env:TOKEN_OF_COPIES")
    routes = [
        route(shadow=stripped, noise=NOISE, ask_again_ns=SOON),
        route("other", "/other", shadow=replaced, noise=NOISE, ask_again_ns=SOON),
    ]
    flags = {**SHADOW, "other": flag(Stage.SHADOW, salt="other")}
    backends = {"legacy": legacy.url, "new": new.url}
    with OneWorker(backends=backends, routes=routes, flags=flags) as worker:
        for target in ("/api/a", "/other"):
            worker.ask(request_bytes(target=target, headers=(("Authorization", "secret"),)))
        counts = worker.settled()

    found = {key: count for key, count in counts.items() if key.startswith("repeats|")}
    reasons = [
        f"repeats|{name}|{purpose}|credentials" for name in ("orders", "other") for purpose in ("noise", "again")
    ]
    assert found == dict.fromkeys(reasons, 1)
    assert len(legacy.requests) == 2


# --- again ---


def verdicts(*names: str, divergence: str = "d-1") -> Callable[[link.Pair], link.Verdict]:
    """Judge each pair with the next verdict, and then with the last one for ever."""
    left = list(names)

    def verdict(pair: link.Pair) -> link.Verdict:
        name = left.pop(0) if len(left) > 1 else left[0]
        verdict, _, group = name.partition(" ")
        return link.Verdict(sequence=pair.sequence, verdict=verdict, divergence=group or divergence)

    return verdict


def test_a_difference_that_stays_is_asked_about_twice(legacy: Recorder, new: Recorder) -> None:
    """Each moment asks both sides once, makes a pair with its attempt, and tells control what it showed."""
    new.answer = answer(b'{"id":2}')
    with worker_of(legacy, new, route(ask_again_ns=SOON)) as worker:
        worker.verdict = verdicts("divergent", "divergent d-2", "divergent")
        worker.ask(request_bytes(target="/api/a?b=c"))
        worker.wait(lambda: len(worker.repeated) == 2, "two words of repeats")
        counts = worker.settled()

    assert purposes(worker) == {("compare", 0): 1, ("again", 1): 1, ("again", 2): 1}
    assert [(told.divergence, told.attempt, told.outcome) for told in worker.repeated] == [
        ("d-1", 1, "other"),
        ("d-1", 2, "stays"),
    ]
    for side in (legacy, new):
        assert [request.target for request in side.requests] == [b"/api/a?b=c"] * 3
        assert side.requests[-1].values("x-matapalo-shadow") == [b"1"]
    again = worker.pairs[-1][0]
    assert (again.legacy.backend, again.new.backend, again.request_id) == (
        "legacy",
        "new",
        worker.pairs[0][0].request_id,
    )
    assert repeats(counts, "again") == {"unequal": 2}
    assert (counts["copies|orders|legacy|again"], counts["copies|orders|new|again"]) == (2, 2)
    assert (counts["sent|orders"], counts["divergent|orders|legacy"]) == (1, 1)
    assert holds_law(counts)


@pytest.mark.parametrize("how", ["identical", "tolerated"])
def test_a_race_is_told_from_a_fault(legacy: Recorder, new: Recorder, how: str) -> None:
    """A difference that is gone, or tolerated, at the first moment is a race, and nobody is asked any more."""
    new.answer = by_turns(b'{"id":2}', b'{"id":1}' if how == "identical" else b'{"id":1 }')
    with worker_of(legacy, new, route(ask_again_ns=SOON)) as worker:
        worker.verdict = verdicts("divergent", "tolerated")
        worker.ask(request_bytes(target="/api/a"))
        worker.wait(lambda: len(worker.repeated) == 1, "the word of the repeat")
        counts = worker.settled()

    (told,) = worker.repeated
    assert (told.divergence, told.attempt, told.outcome) == ("d-1", 1, "gone")
    assert len(legacy.requests) == len(new.requests) == 2
    assert repeats(counts, "again") == {"identical" if how == "identical" else "unequal": 1}


def test_only_what_is_divergent_is_asked_again(legacy: Recorder, new: Recorder) -> None:
    """A tolerated pair has nothing to find out, of an undecided one nobody knows what, and spelling is no race."""
    new.answer = answer(b'{"id":2}')
    with worker_of(legacy, new, route(ask_again_ns=SOON)) as worker:
        judge = verdicts("divergent", "divergent", "tolerated", "undecided")
        causes = iter((("encoding",), ("key_order", "whitespace.separator")))
        worker.verdict = lambda pair: msgspec.structs.replace(judge(pair), causes=next(causes, ()))
        for _ in range(4):
            worker.ask(request_bytes(target="/api/a"))
        worker.totals(lambda counts: "undecided|orders|legacy|limit" in counts)
        counts = worker.settled()

    assert (counts["divergent|orders|legacy"], counts["tolerated|orders|legacy"]) == (2, 1)
    assert len(legacy.requests) == 4
    assert repeats(counts, "again") == {}


def test_divergent_pairs_are_asked_again_once_a_second(legacy: Recorder, new: Recorder) -> None:
    """A route that always differs is asked again about one pair in a second, and of one divergence ever more rarely."""
    new.answer = answer(b'{"id":2}')
    with worker_of(legacy, new, route(ask_again_ns=SOON)) as worker:
        worker.verdict = verdicts("divergent")
        began = time.monotonic()
        with worker.client() as client:
            for _ in range(70):
                client.exchange(request_bytes(target="/api/a"))
        worker.totals(lambda counts: counts.get("divergent|orders|legacy") == 70)
        took = time.monotonic() - began
        counts = worker.settled()

    found = repeats(counts, "again")
    assert found["known"] == 70 - 20 - 2  # the first twenty, the 32nd and the 64th
    assert 22 - 2 - took <= found["rate"] <= 21
    assert holds_law(counts)


def test_what_waits_is_within_the_budget_of_copies(legacy: Recorder, new: Recorder) -> None:
    """Requests that wait take from the budget of all copies; one that it has no room for is not remembered."""
    new.answer = answer(b'{"id":2}')
    request = request_bytes(target="/api/a", headers=(("X-Large", "x" * 2_500),))
    limits = LimitsSpec(copy_bytes=20_000, shed_copies_bp=None)
    with worker_of(legacy, new, route(ask_again_ns=SOON), limits=limits) as worker:
        worker.verdict = lambda _: None
        for _ in range(3):
            worker.ask(request)
        worker.totals(lambda counts: repeats(counts, "again") == {"budget": 1})
        worker.verdict = verdicts("tolerated")
        worker.break_pair_links()  # the oldest is lost with its link, the others are sent again
        # Until they are judged they hold their part of the budget.
        worker.totals(lambda counts: counts.get("tolerated|orders|legacy") == 2)
        worker.ask(request)
        counts = worker.settled()

    assert repeats(counts, "again") == {"budget": 1}
    assert counts["undecided|orders|legacy|killed"] == 1
    assert counts["sent|orders"] == 4


def test_no_more_requests_wait_than_the_bound(legacy: Recorder, new: Recorder) -> None:
    """Requests whose verdicts do not come are remembered up to the bound; the others are counted as full."""
    new.answer = answer(b'{"id":2}')
    spec = route(ask_again_ns=SOON, shadow=shadow(max_in_flight=2_000))
    with worker_of(legacy, new, spec, comparers=2) as worker:
        worker.verdict = lambda _: None
        with worker.client() as client:
            for _ in range(MAX_REMEMBERED + 10):
                client.exchange(request_bytes(target="/api/a"))
        worker.totals(lambda counts: counts.get("unequal|orders|legacy") == MAX_REMEMBERED + 10)
        counts = worker.totals(lambda counts: repeats(counts, "again") == {"full": 10})

    assert counts["sent|orders"] == MAX_REMEMBERED + 10


def test_a_route_that_is_not_copied_any_more_is_not_asked_again(legacy: Recorder, new: Recorder) -> None:
    """What waits for its moment when copying is switched off, or the backend changes, is dropped and counted."""
    new.answer = answer(b'{"id":2}')
    with worker_of(legacy, new, route(ask_again_ns=(3_000_000_000,))) as worker:
        worker.ask(request_bytes(target="/api/a"))
        worker.totals(lambda counts: counts.get("divergent|orders|legacy") == 1)
        worker.push({"orders": flag(Stage.LEGACY)})
        counts = worker.totals(lambda counts: repeats(counts, "again") == {"changed": 1})

    assert len(new.requests) == 1
    assert holds_law(counts)


def test_a_drain_waits_for_nobody(legacy: Recorder, new: Recorder) -> None:
    """A worker that drains forgets what it would have asked again, and says so in its last tally."""
    new.answer = answer(b'{"id":2}')
    with worker_of(legacy, new, route(ask_again_ns=(60_000_000_000,))) as worker:
        worker.ask(request_bytes(target="/api/a"))
        worker.totals(lambda counts: counts.get("divergent|orders|legacy") == 1)
        worker.parent(link.Drain(deadline_ns=5_000_000_000))
        counts = worker.final().counts

    assert repeats(counts, "again") == {"drain": 1}


def test_repeats_leave_the_counting_law_alone(legacy: Recorder, new: Recorder) -> None:
    """With sides that die and lie, every eligible request is counted once, and no repeat among the comparisons."""
    scripts = [*(one.script for one in SICK.values() if not callable(one.script)), *[SAME] * 8, answer(b"other")]
    calls = iter(range(10_000))
    new.answer = lambda _: scripts[next(calls) % len(scripts)]
    legacy.answer = lambda request: [Reset()] if next(calls) % 5 == 0 and request.values("x-matapalo-shadow") else SAME
    spec = route(noise=NOISE, ask_again_ns=SOON, shadow=shadow(timeout_ns=200_000_000, max_in_flight=20))
    with worker_of(legacy, new, spec) as worker:
        with worker.client() as client:
            for _ in range(100):
                client.exchange(request_bytes(target="/api/a"))
        worker.settled()
        worker.totals(lambda counts: bool(repeats(counts, "noise").get("failed")))
        counts = worker.settled()

    noise = repeats(counts, "noise")
    assert counts["eligible|orders"] == 100
    assert sum(noise.values()) == counts.get("identical|orders|legacy", 0) + counts.get("unequal|orders|legacy", 0)
    assert holds_law(counts)
