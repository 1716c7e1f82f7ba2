"""A snapshot made ready: what is taken over from the one before, what is closed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from config.spec import CohortSpec, MemberSpec, ShadowSpec
from rules.flag import CohortFlag, Stage
from tests.support.oneworker import OneWorker, flag, route
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


def test_a_connection_hears_the_fields_of_new_cohorts(legacy: Recorder) -> None:
    """Whoever is connected during a reload is asked for what the new cohorts ask for, and no more for the old ones."""
    cohorts = [
        (CohortSpec(name="staff", match=(MemberSpec(header=header),)),)
        for header in ("x-staff", "x-friend", "x-request-id")
    ]
    asked = [
        b"GET /api/a HTTP/1.1\r\nHost: a\r\n%b: 1\r\n\r\n" % name for name in (b"X-STAFF", b"x-Friend", b"X-Other")
    ]
    flags = {"orders": replace(flag(Stage.LEGACY), cohorts={"staff": CohortFlag(stage=Stage.LIVE)})}
    with (
        Recorder(answer(b"new")) as new,
        OneWorker(
            backends={"legacy": legacy.url, "new": new.url}, routes=[route()], flags=flags, cohorts=cohorts[0]
        ) as worker,
        worker.client() as client,
    ):
        bodies = []
        for one in cohorts:
            worker.push(config=replace(worker.config, cohorts=one))
            bodies.append([client.exchange(request).body for request in asked])
        worker.push({"orders": replace(flags["orders"], sample_bp=0)})
        named = client.exchange(asked[0].replace(b"X-STAFF", b"X-REQUEST-ID")).body

    assert bodies == [[b"new", b"ok", b"ok"], [b"ok", b"new", b"ok"], [b"ok", b"ok", b"ok"]]
    assert named == b"new"


def test_a_missing_secret_keeps_the_old_snapshot(legacy: Recorder) -> None:
    """A snapshot whose secret cannot be resolved is refused, and the previous one serves."""
    with OneWorker(backends={"legacy": legacy.url, "new": legacy.url}, routes=[route()]) as worker:
        broken = route(shadow=ShadowSpec(credentials="replace", replace_authorization="env:NOT_SET_ANYWHERE"))
        worker.push(config=replace(worker.config, routes=(broken,)))

        assert "NOT_SET_ANYWHERE" in worker.nacks[-1].reason
        assert worker.ask(request_bytes(target="/api/a")).status == 200
