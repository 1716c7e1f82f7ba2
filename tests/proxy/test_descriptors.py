"""A worker that runs out of descriptors: copies stop, then new clients are told, and it comes back."""

from __future__ import annotations

import contextlib
import resource
import time

from bench.process import own_cpu_s
from proxy.descriptors import CLIENTS, ENOUGH, Descriptors
from rules.flag import Stage
from tests.support.oneworker import OneWorker, flag, route
from tests.support.rawclient import ConnectionEndedError, request_bytes
from tests.support.recorder import Gate, RecordedRequest, Recorder, Step, answer

LIMIT = 256
SERVED = LIMIT // 8
"""Who comes in is served. Each has a descriptor, one to its backend and one for its copy, while there are copies."""
ASKED = request_bytes(target="/api/wait")


def test_a_client_is_refused_beyond_its_share() -> None:
    """Clients may use half of the limit; an unlimited process counts as one with a million."""
    descriptors = Descriptors()

    assert 0 < descriptors.limit <= ENOUGH
    assert descriptors.has_room_for_client(int(descriptors.limit * CLIENTS) - 1)
    assert not descriptors.has_room_for_client(int(descriptors.limit * CLIENTS))


def test_a_copy_counts_those_who_are_about_to_connect() -> None:
    """Copies may use two fifths of the limit, connections that are being opened included."""
    descriptors = Descriptors()
    descriptors.limit = 1000

    assert descriptors.has_room_for_copy(0)
    assert not descriptors.has_room_for_copy(400)


def test_whoever_is_accepted_is_served_and_the_others_are_told() -> None:
    """With 256 descriptors and 300 clients at once, those who are in get their answers, the others a 503 at once."""
    gate = Gate()

    def script(request: RecordedRequest) -> list[Step]:
        return [gate, answer(b"ok")] if request.target == b"/api/wait" else [answer(b"ok")]

    with (
        Recorder(script) as legacy,
        Recorder(script) as new,  # a copy that were answered at once would leave its descriptor to the next one
        OneWorker(
            backends={"legacy": legacy.url, "new": new.url},
            routes=[route()],
            flags={"orders": flag(Stage.SHADOW)},
            open_files=LIMIT,
        ) as worker,
        contextlib.ExitStack() as stack,
    ):
        worker.settled()
        worker.wait(lambda: "limit of open files" in worker.errors(), "the line about the limit")
        clients = [stack.enter_context(worker.client()) for _ in range(300)]
        for client in clients:
            with contextlib.suppress(OSError):
                client.send(ASKED)
        worker.wait(lambda: len(legacy.requests) > SERVED, "the requests of those who are in")
        spent = own_cpu_s(worker.process.pid)
        since = time.monotonic()
        worker.totals(lambda counts: counts.get("refused|descriptors", 0) >= 300 - LIMIT * CLIENTS)
        gate.open()
        statuses = []
        for client in clients:
            with contextlib.suppress(ConnectionEndedError, OSError):
                statuses.append(client.read_response().status)
        busy = (own_cpu_s(worker.process.pid) - spent) / (time.monotonic() - since)

        assert statuses.count(200) > SERVED
        assert set(statuses) <= {200, 503}
        assert statuses.count(200) == len([one for one in legacy.requests if one.complete])
        assert busy < 0.9
        stack.close()
        counts = worker.settled()
        assert counts["skipped|orders|descriptors"] > 0
        assert not any(key.startswith("upstream_errors|legacy") for key in counts)
        assert [worker.ask(request_bytes(target="/api/a")).status for _ in range(20)] == [200] * 20


def test_a_worker_without_any_descriptor_waits_and_comes_back() -> None:
    """While accepting fails, open connections are served, no processor time is burnt, and afterwards all is well."""
    with Recorder() as legacy, OneWorker(backends={"legacy": legacy.url}) as worker, worker.client() as inside:
        worker.settled()
        assert inside.exchange(ASKED).status == 200
        pid = worker.process.pid
        limits = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (worker.open_fds() - 2, limits[1]))
        try:
            spent, since = own_cpu_s(pid), time.monotonic()
            with contextlib.ExitStack() as stack:
                outside = [stack.enter_context(worker.client(timeout_s=0.2)) for _ in range(20)]
                for client in outside:
                    with contextlib.suppress(OSError):
                        client.send(ASKED)
                assert {client.ending(0.05) for client in outside} <= {"eof", "reset", "open"}
                assert inside.exchange(ASKED).status == 200
            time.sleep(max(0.0, since + 0.5 - time.monotonic()))
            busy = (own_cpu_s(pid) - spent) / (time.monotonic() - since)
        finally:
            resource.prlimit(pid, resource.RLIMIT_NOFILE, limits)

        assert busy < 0.5
        assert worker.ask(ASKED).status == 200
        assert inside.exchange(ASKED).status == 200
