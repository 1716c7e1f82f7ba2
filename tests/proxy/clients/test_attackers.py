"""Clients that mean harm by being slow: they are thrown out, and the honest ones are served meanwhile."""

from __future__ import annotations

import time

from bench.attackers import KINDS, Attackers
from config.spec import LimitsSpec
from tests.support.oneworker import OneWorker
from tests.support.rawclient import request_bytes
from tests.support.recorder import RecordedRequest, Recorder, answer

SHORT_NS = 1_000_000_000


def script(request: RecordedRequest) -> bytes:
    """Answer much to those who ask for it."""
    return answer(bytes(8 << 20) if request.target == b"/large" else b"ok")


def test_slow_attackers_are_thrown_out_and_honest_clients_served() -> None:
    """Slow heads, stopped bodies, silent sockets and deaf readers end at their deadlines; honest requests pass."""
    limits = LimitsSpec(
        header_read_timeout_ns=SHORT_NS,
        keep_alive_timeout_ns=SHORT_NS,
        body_read_timeout_ns=SHORT_NS,
        write_timeout_ns=SHORT_NS,
    )
    with (
        Recorder(script) as legacy,
        OneWorker(backends={"legacy": legacy.url}, limits=limits) as worker,
        Attackers(worker.address[1], 48, path=b"/small", upload=b"/small", large=b"/large", gap_s=1.5) as attackers,
    ):
        honest = 0
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and min(attackers.thrown_out[kind] for kind in KINDS) < 12:
            assert worker.ask(request_bytes(target="/small")).status == 200
            honest += 1
            time.sleep(0.01)
        attackers.close()
        worker.wait(lambda: worker.tallies[-1].gauges.get("connections", 0) == 0, "the last attacker to be gone")
        counts = worker.settled()

    assert min(attackers.thrown_out[kind] for kind in KINDS) >= 12, attackers.thrown_out
    assert counts["refused|head_timeout"] >= 12
    assert counts["refused|body_timeout"] >= 12
    assert honest > 5, "each of them was answered"
