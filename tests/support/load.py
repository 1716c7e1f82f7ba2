"""Keep-alive clients that never retry: whatever fails is a failed request.

::

    with Load(product.port) as load:
        ...                                   # break something
    assert load.failures == []
"""

from __future__ import annotations

import ssl
import threading
import time
from collections import Counter
from types import TracebackType
from typing import Self

from tests.support.rawclient import ConnectionEndedError, MalformedResponseError, RawClient, request_bytes


class Load:
    """Send requests one after the other over a few connections until told to stop.

    Shape: :attr:`answered` counts by status and body; :attr:`failures` says what a client saw instead of an answer
    with status 200. A connection that an answer has ended politely is opened anew; that is no failure.
    Bound: one thread per client; about 200 requests per second and client.
    """

    def __init__(
        self,
        port: int,
        *,
        clients: int = 4,
        target: str = "/api/orders/1",
        gap_s: float = 0.005,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.answered: Counter[tuple[int, bytes]] = Counter()
        self.failures: list[str] = []
        self._address = ("127.0.0.1", port)
        self._target = target
        self._tls = tls
        self._gap_s = gap_s
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(who,), name=f"load {who}") for who in range(clients)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        self.wait(10)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(60)

    @property
    def requests(self) -> int:
        """How many requests were answered or failed."""
        with self._lock:
            return sum(self.answered.values()) + len(self.failures)

    def wait(self, count: int, seconds: float = 60.0) -> None:
        """Wait until *count* more requests are done."""
        goal = self.requests + count
        deadline = time.monotonic() + seconds
        while self.requests < goal:
            if time.monotonic() > deadline:
                raise AssertionError(f"only {self.requests} of {goal} requests after {seconds} s: {self.failures[:3]}")
            time.sleep(0.01)

    def _run(self, who: int) -> None:
        sent = request_bytes(target=self._target, headers=(("X-User-Id", f"user-{who}"),))
        client: RawClient | None = None
        while not self._stop.is_set():
            try:
                client = client or RawClient(self._address, tls=self._tls)
                response = client.exchange(sent)
            except (OSError, ConnectionEndedError, MalformedResponseError) as error:
                with self._lock:
                    self.failures.append(repr(error))
                client = self._drop(client)
                continue
            with self._lock:
                self.answered[response.status, response.body] += 1
                if response.status != 200:
                    self.failures.append(f"status {response.status}: {response.body[:200]!r}")
            if (response.value("connection") or b"").lower() == b"close":
                client = self._drop(client)
            self._stop.wait(self._gap_s)
        self._drop(client)

    @staticmethod
    def _drop(client: RawClient | None) -> None:
        if client is not None:
            client.close()
