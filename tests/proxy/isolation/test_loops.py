"""Loops: a request that has been here is ended here, whatever leads it back."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from rules.flag import Stage
from tests.support.oneworker import OneWorker, backend, flag, route
from tests.support.rawclient import request_bytes
from tests.support.recorder import RecordedRequest, Recorder, answer

SAME = answer(b"old", headers=(("Connection", "close"),))
"""No test leaves a connection to a service behind, not even that of a copy on its way."""


@pytest.fixture(scope="module")
def legacy() -> Iterator[Recorder]:
    """Answer as the old service."""
    with Recorder(SAME) as recorder:
        yield recorder


@pytest.fixture(scope="module")
def new() -> Iterator[Recorder]:
    """Answer as the new service."""
    with Recorder(SAME) as recorder:
        yield recorder


@pytest.fixture(scope="module")
def worker(legacy: Recorder, new: Recorder) -> Iterator[OneWorker]:
    """Run a worker that copies everything, and whose backend ``mirror`` is its own address."""
    routes = (route(), route("circle", "/circle/**", legacy="mirror"))
    flags = {"orders": flag(Stage.SHADOW)}
    with OneWorker(
        backends={"legacy": legacy.url, "new": new.url, "mirror": legacy.url}, routes=routes, flags=flags
    ) as running:
        mirror = backend("mirror", "http://{}:{}".format(*running.address))
        others = [one for one in running.config.backends if one.name != "mirror"]
        running.push(config=replace(running.config, backends=(*others, mirror)))
        running.settled()  # its links are up
        yield running


def asked(worker: OneWorker, recorder: Recorder, *via: str) -> RecordedRequest:
    """Send one request that has passed *via*, and give what the backend got."""
    count = len(recorder.requests)
    response = worker.ask(request_bytes(target="/api/a", headers=tuple(("X-Matapalo-Via", one) for one in via)))
    assert response.status == 200
    return recorder.wait_requests(count + 1)[count]


def test_every_request_names_the_node_that_it_passed(worker: OneWorker, legacy: Recorder, new: Recorder) -> None:
    """Primary and copy carry this node's name in X-Matapalo-Via, the same each time."""
    first, second = asked(worker, legacy), asked(worker, legacy)
    worker.settled()

    (name,) = first.values("x-matapalo-via")
    assert name.isalnum()
    assert second.values("x-matapalo-via") == [name]
    assert {tuple(copy.values("x-matapalo-via")) for copy in new.requests} == {(name,)}


def test_the_nodes_before_us_stay_in_front(worker: OneWorker, legacy: Recorder) -> None:
    """What other nodes wrote is passed on, in order, before our own name."""
    (own,) = asked(worker, legacy).values("x-matapalo-via")

    assert b", ".join(asked(worker, legacy, "a1, b2", "c3").values("x-matapalo-via")) == b"a1, b2, c3, " + own


def test_a_request_that_was_here_is_answered_508(worker: OneWorker, legacy: Recorder, new: Recorder) -> None:
    """A head that carries our own name, wherever in the list, is refused, counted and neither forwarded nor copied."""
    own = asked(worker, legacy).values("x-matapalo-via")[0].decode()
    before = worker.settled()
    seen = len(legacy.requests), len(new.requests)

    answers = [
        worker.ask(request_bytes(target="/api/a", headers=(("X-Matapalo-Via", f"{ahead}{own}"),)))
        for ahead in ("", "a1, ", "a1,b2,")
    ]
    after = worker.settled()

    assert [one.status for one in answers] == [508] * 3
    assert all(b'"reason": "loop"' in one.body for one in answers)
    assert after["refused|loop"] - before.get("refused|loop", 0) == 3
    assert (len(legacy.requests), len(new.requests)) == seen


@pytest.mark.parametrize(("count", "status"), [(8, 200), (9, 508)])
def test_a_long_way_is_a_loop(worker: OneWorker, count: int, status: int) -> None:
    """Eight nodes may lie before us; a request with more is refused, whoever they are."""
    way = ", ".join(f"n{number}" for number in range(count))

    assert worker.ask(request_bytes(target="/api/a", headers=(("X-Matapalo-Via", way),))).status == status


def test_a_circle_ends_at_its_second_turn(worker: OneWorker) -> None:
    """A backend that leads back to the worker gets one request, and the client its 508: no storm."""
    before = worker.settled()

    response = worker.ask(request_bytes("POST", "/circle/a", body=b"once"))
    after = worker.settled()

    assert response.status == 508
    assert after["refused|loop"] - before.get("refused|loop", 0) == 1
    assert after["requests|circle|legacy|mirror|5xx"] == 1


def test_two_nodes_in_a_circle_end_it(legacy: Recorder) -> None:
    """Where A leads to B and B to A, A refuses what comes back to it."""
    with OneWorker(backends={"legacy": legacy.url}) as first:
        second_url = "http://{}:{}".format(*first.address)
        with OneWorker(backends={"legacy": second_url}) as second:
            back = backend("legacy", "http://{}:{}".format(*second.address))
            first.push(config=replace(first.config, backends=(back,)))

            response = first.ask(request_bytes(target="/x"))

            assert response.status == 508
            assert first.settled()["refused|loop"] == 1
            assert "refused|loop" not in second.settled()
