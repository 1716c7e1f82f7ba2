"""Rules of logs that nobody reads, on the whole product: they cost lines, never a request."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.load import Load
from tests.support.product import Product, wait_until
from tests.support.recorder import Recorder, answer


class Piped(Product):
    """Run the product with stdout and stderr in one pipe that the test holds, as a container's log driver does."""

    def __init__(self, config: dict[str, Any]) -> None:  # Any: YAML
        super().__init__(config)
        self.reader, self._writer = os.pipe()
        self.is_nonblocking = False

    def start(self) -> None:
        """Start with both streams in the pipe."""
        original = subprocess.Popen

        def piped(*words: Any, **named: Any) -> Any:  # Any: passed through
            return original(*words, **{**named, "stdout": self._writer, "stderr": self._writer})

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(subprocess, "Popen", piped)
            super().start()
        os.close(self._writer)

    def close(self) -> None:
        """End everything, and the pipe."""
        super().close()
        if self.reader >= 0:
            os.close(self.reader)

    def hang_up(self) -> None:
        """Close the reader's end."""
        os.close(self.reader)
        self.reader = -1


@pytest.fixture
def dead() -> Iterator[int]:
    """Hold a port that refuses, so that every request writes a line on stderr, too."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]


def config(backend: Recorder, dead: int) -> dict[str, Any]:  # Any: YAML
    """Configure a good route, and one whose backend refuses."""
    return {
        "backends": {"old": {"url": backend.url}, "dead": {"url": f"http://127.0.0.1:{dead}"}},
        "undeclared": {"backend": "old"},
        "routes": [{"name": "lost", "match": {"path": "/lost/{id}"}, "legacy": "dead", "sticky": ["ip"]}],
        "workers": 1,
    }


def flood(product: Product, count: int) -> None:
    """Let every process log more than any pipe holds: access lines, upstream failures, events of the supervisor."""
    assert product.process is not None
    long = "/lost/" + "x" * 4_000
    with Load(product.port, clients=2, target=long, gap_s=0) as losing:
        losing.wait(count, 60)
    for _ in range(20):
        product.process.send_signal(signal.SIGHUP)
        time.sleep(0.002)  # equal signals that wait are one signal


def is_well(product: Product) -> bool:
    """Say whether one look shows it ready with nothing degraded."""
    status, body = product.ready()
    return status == 200 and body["degraded"] == []


@pytest.mark.parametrize("ending", ["blocked", "closed"])
def test_a_log_that_nobody_reads_stops_nothing(dead: int, ending: str) -> None:
    """With stdout and stderr full or closed requests are answered, control works, and SIGTERM ends it with 0."""
    with Recorder(answer(b"hello")) as backend, Piped(config(backend, dead)) as product:
        pids = product.pids()
        if ending == "closed":
            product.hang_up()
        with Load(product.port, clients=2) as load:
            flood(product, 80)
            load.wait(20)
        flipped = product.admin("POST", "/api/v1/routes/lost/hold", {"reason": "still there"})
        # A worker says with its next beat, within half a second, that it has taken what control gave it.
        wait_until(lambda: is_well(product), "every part to be well")
        after = product.pids()
        dropped = wait_until(lambda: product.totals()["counts"].get("log_dropped", 0) or ending == "blocked", "a count")
        product.stderr = lambda: ""  # type: ignore[method-assign]  # nothing can be read any more
        code = product.stop()

    assert load.failures == []
    assert flipped
    assert after == pids
    assert dropped
    assert code == 0
