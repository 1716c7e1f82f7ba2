"""Which eligible requests get no copy, and that the count says why."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from config.spec import LimitsSpec, ShadowSpec
from rules.flag import Stage
from tests.support.oneworker import OneWorker, flag, route
from tests.support.rawclient import request_bytes
from tests.support.recorder import Recorder, answer

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def legacy() -> Iterator[Recorder]:
    """Answer as the old service."""
    with Recorder(answer(b"same")) as recorder:
        yield recorder


@pytest.fixture
def new() -> Iterator[Recorder]:
    """Answer as the new service, with the same bytes."""
    with Recorder(answer(b"same")) as recorder:
        yield recorder


def skipped(counts: dict[str, int]) -> dict[str, int]:
    """Give what was not copied, by reason."""
    start = "skipped|orders|"
    return {key.removeprefix(start): count for key, count in counts.items() if key.startswith(start)}


def test_requests_outside_the_sample_are_copied_when_control_is_in_doubt(legacy: Recorder, new: Recorder) -> None:
    """So many requests as control asks for are copied though the sample leaves them out, and counted as sent; what is
    left of them is forgotten with the next snapshot."""
    with (
        OneWorker(
            backends={"legacy": legacy.url, "new": new.url},
            routes=[route()],
            flags={"orders": replace(flag(Stage.LIVE), sample_bp=0)},
        ) as worker,
        worker.client() as client,
    ):

        def ask() -> int:
            assert client.exchange(request_bytes(target="/api/a")).body == b"same"
            return len(legacy.requests)

        worker.look_closer({"orders": 3, "unknown": 9})
        worker.wait(lambda: ask() > 0, "the first copy")
        for _ in range(10):
            ask()
        first = worker.settled()
        worker.look_closer({"orders": 100})
        worker.wait(lambda: ask() > 3, "another copy")
        worker.push()
        before = worker.settled()
        for _ in range(10):
            ask()
        last = worker.settled()

    assert first["sent|orders"] == first["identical|orders|new"] == 3
    assert first["eligible|orders"] == 3 + first["unsampled|orders"]
    assert last["sent|orders"] == before["sent|orders"]
    assert last["unsampled|orders"] == before["unsampled|orders"] + 10


@pytest.mark.alone  # a worker that gets no processor time gives copies up as well
def test_copies_give_way_before_anybody_is_refused(legacy: Recorder, new: Recorder) -> None:
    """A worker whose client connections run out copies less, answers everybody, and copies again with room."""
    limits = LimitsSpec(max_connections=10)
    with (
        OneWorker(
            backends={"legacy": legacy.url, "new": new.url},
            routes=[route()],
            flags={"orders": flag(Stage.SHADOW)},
            limits=limits,
        ) as worker,
        worker.client() as client,
    ):

        def asked_until(key: str, more_than: int) -> int:
            def is_there() -> bool:
                assert client.exchange(request_bytes(target="/api/a")).body == b"same"
                return worker.tallies[-1].counts.get(key, 0) > more_than

            worker.wait(is_there, key)
            return worker.tallies[-1].counts[key]

        worker.settled("the links")
        copied = asked_until("identical|orders|legacy", 0)
        with contextlib.ExitStack() as others:
            for _ in range(8):
                others.enter_context(worker.client())
            asked_until("skipped|orders|shed", 5)
            gauges = worker.tallies[-1].gauges
            crowded = worker.tallies[-1].counts
        copied = max(copied, crowded["identical|orders|legacy"])
        asked_until("identical|orders|legacy", copied + 5)
        counts = worker.settled()
        lines = worker.errors()

    assert gauges["shedding"] == 1
    assert '"copies shed"' in lines
    assert "refused|connections" not in counts
    assert counts["eligible|orders"] == counts["sent|orders"] + sum(skipped(counts).values())


def test_shedding_can_be_switched_off(legacy: Recorder, new: Recorder) -> None:
    """With `shed_copies: off` every copy is made, however little room is left."""
    limits = LimitsSpec(max_connections=1, shed_copies_bp=None)
    with (
        OneWorker(
            backends={"legacy": legacy.url, "new": new.url},
            routes=[route()],
            flags={"orders": flag(Stage.SHADOW)},
            limits=limits,
        ) as worker,
        worker.client() as client,
    ):
        count = len(worker.beats)
        worker.wait(lambda: len(worker.beats) > count + 4, "two seconds to pass")
        for _ in range(30):
            client.exchange(request_bytes(target="/api/a"))
        counts = worker.settled()

    assert skipped(counts) == {}


def test_what_is_outside_the_sample_is_not_copied(legacy: Recorder, new: Recorder) -> None:
    """Reads outside the sample are counted as such and get no copy."""
    policy = ShadowSpec(max_per_second=None)
    with OneWorker(
        backends={"legacy": legacy.url, "new": new.url},
        routes=[route(shadow=policy)],
        flags={"orders": flag(Stage.SHADOW, sample_bp=0)},
    ) as worker:
        for _ in range(3):
            worker.ask(request_bytes(target="/api/a"))
        counts = worker.settled()

    assert new.requests == []
    assert counts["unsampled|orders"] == counts["eligible|orders"] == 3


def test_every_reason_for_no_copy_is_documented() -> None:
    """Each reason of ``matapalo_shadow_skipped_total`` stands in the page of operations."""
    sources = [(ROOT / "proxy" / name).read_text() for name in ("offer.py", "copies.py", "exchange.py")]
    named = re.findall(r'skip\(.*?"(\w+)"(?: if .* else "(\w+)")?|copy\.skip, "(\w+)"', "\n".join(sources))
    reasons = {reason for found in named for reason in found if reason}
    reasons |= set(re.findall(r'return "(\w+)"', sources[0]))
    page = (ROOT / "docs" / "operations.md").read_text()

    assert {"rate", "oversize", "client", "primary_failed", "fallback"} < reasons
    assert [reason for reason in sorted(reasons) if f"`{reason}`" not in page] == []
