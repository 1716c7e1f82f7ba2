"""The client that counts failures counts every one, and only failures."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.openloop import OpenLoop, Outcome
from tests.support.recorder import Answer, Close, Pause, RecordedRequest, Recorder, Reset, answer, chunked_answer

NAMED = (("X-Backend", "legacy"),)


def _run(script: Answer, folder: Path, *, rate: float = 200, seconds: float = 0.5, connections: int = 4) -> Outcome:
    with Recorder(script) as backend:
        client = OpenLoop(
            backend.port,
            ["/a", "/b"],
            rate=rate,
            seconds=seconds,
            connections=connections,
            folder=folder,
            cores=(0,),
        )
        try:
            return client.wait()
        finally:
            client.abandon()


@pytest.mark.parametrize("good", [answer(b"x", headers=NAMED), chunked_answer([b"x"], headers=NAMED)])
def test_good_answers_are_no_failures(good: bytes, tmp_path: Path) -> None:
    """Every request sent on schedule and answered 200 is done, under its backend's name."""
    outcome = _run(good, tmp_path)

    assert (outcome.failed, outcome.backends) == (0, {"legacy": outcome.done})
    assert 90 <= outcome.done <= 101


@pytest.mark.parametrize(
    ("bad", "kind"),
    [
        ((Reset(),), "reset"),
        ((Close(),), "eof"),
        ((answer(b"half")[:-1], Close()), "eof"),
        (answer(status=503), "status 503"),
    ],
)
def test_each_bad_end_is_one_failure(bad: Answer, kind: str, tmp_path: Path) -> None:
    """A reset, a FIN, half an answer and a 503 are each counted once, without a retry."""

    def script(request: RecordedRequest) -> Answer:
        return bad if request.target == b"/b" else answer(b"x", headers=NAMED)

    outcome = _run(script, tmp_path)  # type: ignore[arg-type]  # a function to steps is what the recorder takes

    assert {failure.kind for failure in outcome.failures} == {kind}
    assert abs(outcome.failed - outcome.done) <= 4


def test_a_connection_closed_between_requests_is_no_failure(tmp_path: Path) -> None:
    """A server that announces the close of a keep-alive connection costs a connection, not a request."""
    outcome = _run((answer(b"x", headers=(*NAMED, ("Connection", "close"))), Close()), tmp_path)

    assert outcome.failed == 0
    assert outcome.reopened >= outcome.done - 4


def test_latency_counts_from_the_moment_a_request_was_due(tmp_path: Path) -> None:
    """One slow answer on the only connection makes the requests behind it late, and that is reported."""

    def script(request: RecordedRequest) -> Answer:
        return (Pause(seconds=0.3), answer(b"x", headers=NAMED)) if request.target == b"/a" else answer(b"x")

    outcome = _run(script, tmp_path, rate=20, connections=1)  # type: ignore[arg-type]  # as above

    assert outcome.p50_us > 300_000


def test_a_stopped_client_reports_what_it_did(tmp_path: Path) -> None:
    """Stopping early ends the schedule and keeps the figures."""
    with Recorder(answer(b"x", headers=NAMED)) as backend:
        client = OpenLoop(backend.port, ["/"], rate=100, folder=tmp_path, cores=(0,), connections=2)
        backend.wait_requests(10)

        outcome = client.stop()

    assert outcome.failed == 0
    assert outcome.done >= 10
