"""Several nodes over one PostgreSQL on one machine, each behind a network of its own that can be cut.

::

    with Cluster(server, backends, count=3) as cluster:
        a, b, c = cluster.nodes
        c.network.cut()                    # c has no database now

Each node is the whole product with its own state directory; the text of the configuration is the same for all, what
differs comes from the environment, as it would from a container's.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

from tests.support.faultproxy import FaultProxy, Faults
from tests.support.postgres import PostgresServer
from tests.support.product import Product, wait_until

CONNECTIONS: int = 8
"""Per node: the kernel deals them out to its two workers, and all to one once in 128 times."""

PAUSE_S: float = 0.005
"""Between two rounds: a crowd that never rests takes the CPU from the nodes whose haste it measures."""


class Network(FaultProxy):
    """Be the way from one node to the database."""

    def cut(self) -> None:
        """Let nothing through: open connections are reset, new ones refused."""
        self.accept = "reset"  # whoever was accepted just now
        self.refuse()
        self.end_all(reset=True)

    def silence(self) -> None:
        """Take what comes and answer nothing, as a stopped server does."""
        self.to_client, self.accept = Faults(cut_after=0, cut="blackhole"), "blackhole"

    def heal(self) -> None:
        """Let everything through again."""
        self.to_client, self.accept = Faults(), "connect"
        self.resume()


class Follower(Product):
    """Be one node that can be flipped."""

    def stage(self, route: str = "orders") -> str:
        """Say where a route stands here."""
        stage: str = self.admin("GET", f"/api/v1/routes/{route}")["flag"]["stage"]
        return stage

    def flip(self, stage: str, route: str = "orders", *, status: int | None = 200, **more: object) -> dict[str, Any]:
        """Flip a route here."""
        asked = {"stage": stage, "force": True, "reason": "test", **more}
        return self.admin("POST", f"/api/v1/routes/{route}/flip", asked, status=status)

    def revisions(self) -> list[int]:
        """Say which revision each of its workers serves."""
        return [worker["revision"] for worker in self.admin("GET", "/api/v1/status")["workers"]]

    def well(self) -> bool:
        """Say whether nothing is degraded here."""
        reasons: list[str] = self.admin("GET", "/api/v1/status")["degraded"]
        return not reasons


class ClusterNode(Follower):
    """Be one of several nodes over a database."""

    def __init__(self, name: str, network: Network, database: str, config: Mapping[str, Any]) -> None:  # Any: YAML
        super().__init__(config, as_shipped=True)
        self.name, self.network = name, network
        self._environment |= {"MP_STATE": str(self.state_dir), "MP_DATABASE": database, "MP_NODE": name}

    def configure(self, config: Mapping[str, Any]) -> None:  # Any: YAML
        """Write the file, whose text is the same on every node."""
        super().configure(
            {**config, "state_dir": "${MP_STATE}", "database": "${MP_DATABASE}", "node": "${MP_NODE}"},
        )

    def set_clock(self, environment: Mapping[str, str]) -> None:
        """Give it another clock, from its next start on."""
        self._environment |= environment

    def murder(self) -> None:
        """Kill every process of the node at once, as a power cut would, and forget it."""
        if self.process is None:
            return
        pids = [self.process.pid, *(pid for pids in self.pids().values() for pid in pids)]
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()


class Cluster:
    """Run nodes named a, b, c, … over one database."""

    def __init__(self, server: PostgresServer, config: Mapping[str, Any], count: int = 3) -> None:  # Any: YAML
        from store.migrate import upgrade_postgres

        self.config, self.server = dict(config), server
        self.database = database = server.database()
        upgrade_postgres(server.url(database))
        self.nodes: list[ClusterNode] = []
        for number in range(count):
            network = Network(("127.0.0.1", server.port))
            url = server.url(database, port=network.port)
            self.nodes.append(ClusterNode(chr(ord("a") + number), network, url, config))

    def __enter__(self) -> Self:
        """Start all nodes, and wait until each lists all of them and nothing is degraded."""
        try:
            for node in self.nodes:  # one after the other: together they would wait for each other's imports
                node.start()
                node.wait_ready()
            self.wait_well()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End everything."""
        self.close()

    def close(self) -> None:
        """End every node and its network, without the ceremony that other tests look at."""
        for node in self.nodes:
            node.murder()
            node.close()
            node.network.close()

    def wait_well(self) -> None:
        """Wait until every node sees all, all are well, and all workers serve one revision."""

        def is_well() -> bool:
            found = [node.admin("GET", "/api/v1/nodes") for node in self.nodes]
            return (
                all(len(one["nodes"]) == len(self.nodes) for one in found)
                and all(not node["lag"] and not node["away"] for one in found for node in one["nodes"])
                and len({one["revision"] for one in found}) == 1
                and all(node.well() for node in self.nodes)
            )

        wait_until(is_well, "all nodes are well")

    def sessions(self, what: str, which: str) -> list[tuple[object, ...]]:
        """Ask something about some of the nodes' sessions on the server."""
        return self.server.execute(f"SELECT {what} FROM pg_stat_activity WHERE datname = '{self.database}' AND {which}")

    def wait_stage(self, stage: str, route: str = "orders") -> None:
        """Wait until every node has a route in a stage."""
        wait_until(lambda: {node.stage(route) for node in self.nodes} == {stage}, f"{route} is {stage} everywhere")


class Crowd:
    """Ask every worker of one node again and again over connections that are kept, and know when all have changed."""

    def __init__(self, port: int, path: str) -> None:
        self._sockets = [socket.create_connection(("127.0.0.1", port), timeout=60) for _ in range(CONNECTIONS)]
        self._request = f"GET {path} HTTP/1.1\r\nHost: test\r\n\r\n".encode()
        self.asked = 0

    def ask(self, number: int) -> bytes:
        """Ask once over one connection."""
        return self._ask([number])[number]

    def until_all(self, body: bytes, deadline: float) -> float:
        """Ask until every connection has answered *body*; give the moment at which the last one had."""
        waiting = list(range(len(self._sockets)))
        while waiting:
            assert time.monotonic() < deadline, f"{len(waiting)} connections still get the former side"
            answers = self._ask(waiting)
            waiting = [number for number in waiting if answers[number] != body]
            if waiting:
                time.sleep(PAUSE_S)
        return time.monotonic()

    def close(self) -> None:
        """Close every connection."""
        for one in self._sockets:
            one.close()

    def _ask(self, numbers: Sequence[int]) -> dict[int, bytes]:
        """Ask over some connections at once: what is measured is the node, not a client that asks in turn."""
        for number in numbers:
            self._sockets[number].sendall(self._request)
        self.asked += len(numbers)
        return {number: _body(self._sockets[number]) for number in numbers}


def _body(sock: socket.socket) -> bytes:
    """Read one answer that has a Content-Length, and give its body."""
    data = b""
    while True:
        head, end, body = data.partition(b"\r\n\r\n")
        if end:
            (length,) = (int(line[15:]) for line in head.split(b"\r\n") if line[:15].lower() == b"content-length:")
            if len(body) >= length:
                return body
        read = sock.recv(65_536)
        assert read, "the node closed a connection in the middle of an answer"
        data += read


@contextlib.contextmanager
def crowds(nodes: Sequence[Product], path: str) -> Iterator[list[Crowd]]:
    """Have a crowd at each of some nodes."""
    found = [Crowd(node.port, path) for node in nodes]
    try:
        yield found
    finally:
        for crowd in found:
            crowd.close()


def seconds_to_everybody(flipping: Follower, crowds: list[Crowd], stage: str, body: bytes) -> float:
    """Flip, and measure from the sending of the call to the first moment at which every worker answers so."""
    ends: list[float] = []
    deadline = time.monotonic() + 60
    threads = [
        threading.Thread(target=lambda one=crowd: ends.append(one.until_all(body, deadline))) for crowd in crowds
    ]
    began = time.monotonic()
    for thread in threads:
        thread.start()
    flipping.flip(stage)
    for thread in threads:
        thread.join()
    assert len(ends) == len(crowds), "a node never followed"
    return max(ends) - began
