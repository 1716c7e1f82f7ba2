"""The circuit in a worker: copies to a backend that answers none pause, are counted, and come back."""

from __future__ import annotations

import time

import pytest

from config.spec import ShadowSpec
from proxy.circuit import LONGEST_PAUSE_S
from rules.flag import Stage
from tests.support.oneworker import OneWorker, flag, route
from tests.support.rawclient import request_bytes
from tests.support.recorder import Recorder, Reset, answer

SAME = answer(b"same")


@pytest.mark.alone
def test_copies_pause_and_come_back() -> None:
    """Copies to a backend without answers stop but for single ones at growing pauses; its first answer ends that."""
    spec = route(shadow=ShadowSpec(max_per_second=None))
    with (
        Recorder(SAME) as legacy,
        Recorder([Reset()]) as new,
        OneWorker(
            backends={"legacy": legacy.url, "new": new.url},
            routes=[spec, route("other", "/other/**", shadow=spec.shadow)],
            flags={"orders": flag(Stage.SHADOW), "other": flag(Stage.SHADOW)},
        ) as worker,
        worker.client() as client,
    ):

        def ask(target: str = "/api/a") -> None:
            assert client.exchange(request_bytes(target=target)).body == b"same"

        def has_paused() -> bool:
            ask()
            return worker.tallies[-1].counts.get("skipped|orders|circuit", 0) > 0

        worker.settled("the links")
        worker.wait(has_paused, "the circuit to open")
        paused = worker.settled()
        gauge = worker.tallies[-1].gauges["circuit_open|new"]
        seen, opened = len(new.requests), time.monotonic()
        while time.monotonic() < opened + 1.5:
            ask("/other/a")
        probes = len(new.requests) - seen

        new.answer = SAME
        healed = time.monotonic()

        def is_back() -> bool:
            ask()
            return "circuit_open|new" not in worker.tallies[-1].gauges

        worker.wait(is_back, "the circuit to close")
        took = time.monotonic() - healed
        ask("/other/a")
        counts = worker.settled()
        lines = worker.errors()

    assert gauge == 1
    assert paused["errored|orders|legacy|shadow"] >= 20
    assert probes <= 3  # of hundreds of requests; the other route shares the backend and so its circuit
    assert took < LONGEST_PAUSE_S + 3
    assert counts["identical|other|legacy"] >= 1
    for name in ("orders", "other"):
        skipped = sum(count for key, count in counts.items() if key.startswith(f"skipped|{name}|"))
        assert counts[f"eligible|{name}"] == skipped + counts[f"sent|{name}"]
    assert lines.count('"copies paused"') == lines.count('"copies resumed"') == 1
    assert '"backend": "new", "failed": 20, "of": 20' in lines


def test_an_error_page_is_an_answer() -> None:
    """A shadow that answers 500 to everything is compared, not paused."""
    with (
        Recorder(SAME) as legacy,
        Recorder(answer(b"no", status=500, reason="Error")) as new,
        OneWorker(
            backends={"legacy": legacy.url, "new": new.url}, routes=[route()], flags={"orders": flag(Stage.SHADOW)}
        ) as worker,
        worker.client() as client,
    ):
        for _ in range(60):
            client.exchange(request_bytes(target="/api/a"))
        counts = worker.settled()

    assert counts["unequal|orders|legacy"] == 60
    assert "skipped|orders|circuit" not in counts
