"""A sick shadow: whatever it does, the client gets the primary's bytes and the count says what happened.

The section "Shadow isolation" of docs/reliability.md names the tests of the other rules.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from config.spec import ShadowSpec
from rules.flag import Stage
from tests.support.oneworker import OneWorker, backend, flag, route
from tests.support.rawclient import request_bytes
from tests.support.recorder import Gate, Hang, RecordedRequest, Recorder, Step, answer
from tests.support.sickness import SICK

TIMEOUT_NS = 300_000_000
WAIT_NS = 20_000_000_000
HEALTHY = answer(b'{"id":1}', headers=(("Content-Type", "application/json"), ("Set-Cookie", "own=1")))
UNREACHABLE = {"refuses": "connect", "black-hole": "connect"}
"""What happens before there is a connection."""


def name_of(request: RecordedRequest) -> str:
    """Read from the target who is to be sick."""
    return request.target.decode().split("/")[2]


def sick_answer(request: RecordedRequest) -> bytes | list[Step]:
    """Answer a copy as its target says."""
    script = SICK[name_of(request)].script
    return script(request) if callable(script) else script  # type: ignore[return-value]  # a generator is fine, too


@pytest.fixture(scope="module")
def legacy() -> Iterator[Recorder]:
    """Answer as the old service, which is well."""
    with Recorder(HEALTHY) as recorder:
        yield recorder


@pytest.fixture(scope="module")
def new() -> Iterator[Recorder]:
    """Answer as the new service, which is not."""
    with Recorder(sick_answer, keep_bytes=1 << 16) as recorder:
        yield recorder


@pytest.fixture(scope="module")
def refusing() -> Iterator[str]:
    """Have a port on which nobody listens, and which nobody else gets."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{bound.getsockname()[1]}"


@pytest.fixture(scope="module")
def black_hole() -> Iterator[str]:
    """Listen without ever accepting: once the backlog is full, connecting hangs."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(listening.getsockname())
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        for filler in fillers:
            filler.close()


def policy_for(name: str) -> ShadowSpec:
    """Give up soon where nothing else ends the copy; on a busy machine even an answer at once takes its time."""
    ends_by_itself = name in SICK and SICK[name].phase != "timeout"
    return ShadowSpec(max_per_second=None, timeout_ns=WAIT_NS if ends_by_itself else TIMEOUT_NS)


@pytest.fixture(scope="module")
def worker(legacy: Recorder, new: Recorder, refusing: str, black_hole: str) -> Iterator[OneWorker]:
    """Run a worker with one route per sickness, all in shadow, whose circuits stay closed."""
    urls = {"new": new.url, "refuses": refusing, "black-hole": black_hole}
    routes = [
        route(name, f"/api/{name}/**", shadow=policy_for(name), new=name if name in urls else "new")
        for name in (*SICK, *UNREACHABLE)
    ]
    with OneWorker(
        backends={"legacy": legacy.url, **{name: backend(name, url, circuit_bp=None) for name, url in urls.items()}},
        routes=[*routes, route("off", "/off/**")],
        flags={one.name: flag(Stage.SHADOW) for one in routes},
    ) as running:
        running.settled("the links")
        yield running


@pytest.fixture(autouse=True)
def nothing_stays_open(legacy: Recorder, new: Recorder) -> Iterator[None]:
    """Close what the shared worker keeps open to the backends between two tests."""
    yield
    legacy.drop_connections()
    new.drop_connections()


@pytest.mark.parametrize("name", [*SICK, *UNREACHABLE])
def test_a_sick_shadow_is_its_own_problem(worker: OneWorker, new: Recorder, name: str) -> None:
    """The client gets, byte by byte, what it gets without a shadow; each copy is counted with its reason, once."""
    phase = UNREACHABLE[name] if name in UNREACHABLE else SICK[name].phase
    before_bytes, before = worker.rss_bytes(), len([one for one in new.requests if name_of(one) == name])
    errors = worker.tallies[-1].counts if worker.tallies else {}
    backend_name = name if name in UNREACHABLE else "new"

    with worker.client() as client:
        asked = [("X-Request-Id", f"{name}-1"), ("Cookie", "s=1")]
        plain = client.exchange(request_bytes(target="/off/1", headers=tuple(asked)))
        answers = [client.exchange(request_bytes(target=f"/api/{name}/1", headers=tuple(asked))) for _ in range(3)]
    counts = worker.totals(
        lambda counts: counts.get(f"errored|{name}|legacy|shadow", 0) + counts.get(f"unequal|{name}|legacy", 0) == 3,
        f"three verdicts for a shadow that {name}",
    )

    assert {(one.head.lines, one.body) for one in answers} == {(plain.head.lines, plain.body)}
    assert counts[f"eligible|{name}"] == counts[f"sent|{name}"] == 3
    assert f"identical|{name}|legacy" not in counts
    if phase:
        key = f"upstream_errors|{backend_name}|{phase}"
        assert counts[key] - errors.get(key, 0) == counts[f"errored|{name}|legacy|shadow"] == 3
    else:
        assert counts[f"unequal|{name}|legacy"] == 3
    if name in SICK:
        assert len([one for one in new.requests if name_of(one) == name]) - before == 3  # none again, none elsewhere
    assert worker.rss_bytes() - before_bytes < 16 << 20


def test_a_hung_shadow_costs_a_bounded_part_of_memory(legacy: Recorder, new: Recorder) -> None:
    """With every copy hanging under 100 KiB answers, places and bytes are bounded, and both come back with it."""
    body = b"z" * 100_000
    legacy.answer = answer(body)
    healed: list[bool] = []
    new.answer = lambda request: answer(body) if healed else [Hang()]
    policy = ShadowSpec(max_per_second=None, max_in_flight=16, timeout_ns=1_000_000_000)
    with (
        OneWorker(
            backends={"legacy": legacy.url, "new": backend("new", new.url)},
            routes=[route(shadow=policy)],
            flags={"orders": flag(Stage.SHADOW)},
        ) as worker,
        worker.client() as client,
    ):
        client.exchange(request_bytes("POST", "/api/a", body=b"warm"))
        before = worker.rss_bytes()
        for _ in range(400):
            assert client.exchange(request_bytes(target="/api/a")).body == body
        grown = worker.rss_bytes() - before

        def has_paused() -> bool:
            client.exchange(request_bytes(target="/api/a"))
            return "copies paused" in worker.errors()

        worker.wait(has_paused, "the circuit to open")
        healed.append(True)

        def is_back() -> bool:
            client.exchange(request_bytes(target="/api/a"))
            return worker.tallies[-1].counts.get("identical|orders|legacy", 0) > 0

        worker.wait(is_back, "copies to come back")
        counts = worker.settled()

    assert grown < 32 << 20
    assert counts["skipped|orders|in_flight"] > 0
    assert counts["skipped|orders|circuit"] > 0
    legacy.answer, new.answer = HEALTHY, sick_answer


def test_a_failed_copy_gives_its_place_back_at_once(legacy: Recorder, new: Recorder) -> None:
    """While slow primaries go on, places in flight of copies that have failed are free for others."""
    gate = Gate()
    legacy.answer = lambda request: [gate, HEALTHY] if request.target.startswith(b"/api") else HEALTHY
    policy = ShadowSpec(max_per_second=None, max_in_flight=1, timeout_ns=WAIT_NS)
    with OneWorker(
        backends={"legacy": legacy.url, "new": backend("new", new.url, circuit_bp=None)},
        routes=[route(shadow=policy)],
        flags={"orders": flag(Stage.SHADOW)},
    ) as worker:
        clients = [worker.client() for _ in range(3)]
        for number, client in enumerate(clients):
            client.send(request_bytes(target="/api/resets/1"))
            worker.totals(lambda counts, n=number: counts.get("upstream_errors|new|head") == n + 1)  # type: ignore[misc]
        gate.open()
        for client in clients:
            assert client.read_response().status == 200
            client.close()
        counts = worker.settled()

    assert counts["errored|orders|legacy|shadow"] == counts["sent|orders"] == 3
    assert "skipped|orders|in_flight" not in counts
    legacy.answer = HEALTHY


def test_a_copy_does_not_wait_for_the_primary(worker: OneWorker, legacy: Recorder, new: Recorder) -> None:
    """A copy goes out beside the primary, before its answer, and the pair says how far apart the two were sent."""
    gate = Gate()
    legacy.answer = [gate, HEALTHY]
    seen = len(new.requests)
    with worker.client() as client:
        client.send(request_bytes(target="/api/500/1"))
        new.wait_requests(seen + 1)
        gate.open()
        assert client.read_response().status == 200
    worker.settled()
    pair, _ = worker.pairs[-1]
    legacy.answer = HEALTHY

    assert -5_000_000 < pair.copy_after_us < 5_000_000
    assert pair.copy_after_us != 0
