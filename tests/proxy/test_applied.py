"""A snapshot made ready: what is taken over from the one before, what is closed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from config.spec import ShadowSpec
from tests.support.oneworker import OneWorker, route
from tests.support.rawclient import request_bytes
from tests.support.recorder import Recorder, answer


@pytest.fixture
def legacy() -> Iterator[Recorder]:
    """Answer as the only service."""
    with Recorder(answer(b"ok")) as recorder:
        yield recorder


def test_connections_of_an_unchanged_backend_are_kept(legacy: Recorder) -> None:
    """A reload that does not touch a backend does not touch its connections."""
    with OneWorker(backends={"legacy": legacy.url, "new": legacy.url}, routes=[route()]) as worker:
        worker.ask(request_bytes(target="/api/a"))
        worker.push(config=replace(worker.config, digest="other"))
        worker.ask(request_bytes(target="/api/a"))

    assert len(legacy.connections) == 1


def test_connections_of_a_changed_backend_are_retired(legacy: Recorder) -> None:
    """A reload that changes a backend closes its idle connections and opens new ones."""
    with OneWorker(backends={"legacy": legacy.url, "new": legacy.url}, routes=[route()]) as worker:
        worker.ask(request_bytes(target="/api/a"))
        changed = tuple(replace(spec, headers_set=(("X-New", "1"),)) for spec in worker.config.backends)
        worker.push(config=replace(worker.config, backends=changed))
        worker.ask(request_bytes(target="/api/a"))

        assert legacy.wait_ended(0).ending == "eof"

    assert legacy.requests[1].values("x-new") == [b"1"]


def test_a_missing_secret_keeps_the_old_snapshot(legacy: Recorder) -> None:
    """A snapshot whose secret cannot be resolved is refused, and the previous one serves."""
    with OneWorker(backends={"legacy": legacy.url, "new": legacy.url}, routes=[route()]) as worker:
        broken = route(shadow=ShadowSpec(credentials="replace", replace_authorization="env:NOT_SET_ANYWHERE"))
        worker.push(config=replace(worker.config, routes=(broken,)))

        assert "NOT_SET_ANYWHERE" in worker.nacks[-1].reason
        assert worker.ask(request_bytes(target="/api/a")).status == 200
