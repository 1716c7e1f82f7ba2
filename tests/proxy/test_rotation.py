"""Rules of replacing workers while they serve: what a restart does to processes, and what it never does to clients."""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from config.spec import TlsSpec
from shadow import link
from tests.support.authority import Authority
from tests.support.fakenode import FakeNode, is_alive, slow_request
from tests.support.load import Load
from tests.support.product import Node, Product, wait_until
from tests.support.rawclient import RawClient, request_bytes
from tests.support.recorder import Recorder, answer


@pytest.fixture
def node() -> Iterator[FakeNode]:
    """Run a node with two fake workers."""
    with FakeNode() as running:
        yield running


def restart(state_dir: Path, *, seconds: float = 60.0) -> list[link.RestartStep]:
    """Do what ``restart --local`` does, and return every step."""
    steps = []
    with socket.socket(socket.AF_UNIX) as caller:
        caller.settimeout(seconds)
        caller.connect(str(state_dir / "supervisor.sock"))
        caller.sendall(link.frame(link.RestartWorkers(request="q")))
        reader = link.FrameReader()
        while data := caller.recv(65_536):
            for message, _ in reader.feed(data):
                assert isinstance(message, link.RestartStep)
                steps.append(message)
                if message.done:
                    return steps
    raise AssertionError(f"the supervisor hung up after {steps}")


@contextmanager
def restarting(node: Node) -> Iterator[list[link.RestartStep]]:
    """Ask for a restart, do something else meanwhile, and wait for its end; yields the steps, complete at the end."""
    steps: list[link.RestartStep] = []
    asking = threading.Thread(target=lambda: steps.extend(restart(node.state_dir)))
    asking.start()
    yield steps
    asking.join(60)


# --- processes -------------------------------------------------------------------------------------------------------


def test_every_worker_is_replaced_one_after_the_other(node: FakeNode) -> None:
    """A restart puts a fresh process in each slot, and the former one has ended before the next; each is guarded."""
    former = node.pids()["worker"]

    steps = restart(node.state_dir)

    now = node.pids()["worker"]
    node.wait_log("restarted")
    events = [(line["event"], line.get("pid")) for line in node.logs() if line.get("role") == "worker"]
    assert [(step.slot, step.former, step.pid) for step in steps if step.pid] == [
        (0, former[0], now[0]),
        (1, former[1], now[1]),
    ]
    assert steps[-1].reason == ""
    assert len({*former, *now}) == 4
    assert events.index(("ended", former[0])) < events.index(("started", now[1]))
    assert not any(map(is_alive, former))
    wait_until(lambda: node.ready()[1]["degraded"] == [], "nothing to complain about")
    assert node.logs("died") == []

    os.kill(now[0], signal.SIGKILL)

    assert node.wait_replaced("worker", now)[1] == now[1]


def test_a_signal_restarts_as_the_command_does(node: FakeNode) -> None:
    """SIGUSR2 to the supervisor replaces every worker, and says so."""
    former = node.pids()["worker"]
    assert node.process is not None

    node.process.send_signal(signal.SIGUSR2)
    node.wait_log("restarted")

    assert set(node.pids()["worker"]).isdisjoint(former)


def test_a_successor_that_fails_ends_the_restart(node: FakeNode) -> None:
    """When the first successor dies at its start nothing else is tried, everybody who served stays, and it is said."""
    former = node.pids()["worker"]
    (node.state_dir / "crash-worker-0").touch()

    steps = restart(node.state_dir)

    assert "exit code 7; the former one stays; 2 of 2 workers were not replaced" in steps[-1].reason
    assert node.pids()["worker"] == former
    wait_until(lambda: node.ready()[1]["degraded"] == [], "nothing to complain about")
    assert node.wait_log("restart_failed")[0]["message"] == steps[-1].reason
    assert len(node.logs("started")) == 5  # two workers, comparer, control and the successor, once


def test_a_successor_of_another_protocol_never_takes_over(node: FakeNode) -> None:
    """Code that speaks another protocol than the running supervisor is refused; the former workers stay."""
    former = node.pids()["worker"]
    (node.state_dir / "lie-worker-0").touch()

    steps = restart(node.state_dir)

    assert "speaks another protocol" in steps[-1].reason
    assert node.pids()["worker"] == former


@contextmanager
def half_replaced(node: FakeNode) -> Iterator[tuple[socket.socket, list[link.RestartStep]]]:
    """Stop in the middle: the only worker has a slow request and a successor; yields the request and later steps."""
    with slow_request(node) as slow, restarting(node) as steps:
        wait_until(lambda: len(node.pids()["worker"]) == 2 and node.logs("replaced"), "both serve")
        # It is told behind the line about it, and until it has heard so it takes new connections.
        wait_until(lambda: "Drain" in node.told("worker-0"), "the former one has stopped to accept")
        yield slow, steps


def finish(node: FakeNode, slow: socket.socket) -> bytes:
    """Let the slow request be answered, and read its answer."""
    (node.state_dir / "go").touch()
    return b"".join(iter(lambda: slow.recv(65_536), b""))


def test_a_request_in_flight_is_answered_beside_the_successor() -> None:
    """A worker stays for the request in its hands while its successor serves; a second restart is refused meanwhile."""
    with FakeNode(workers=1) as node:
        (former,) = node.pids()["worker"]
        with half_replaced(node) as (slow, steps):
            answered_by = node.ask()["pid"]
            second = restart(node.state_dir)
            ready, body = node.ready()
            whole = finish(node, slow)

        assert "running already" in second[-1].reason
        assert b"200 OK" in whole
        assert answered_by != former
        assert (ready, body["degraded"]) == (200, [])
        assert steps[-1].reason == ""
        assert node.pids()["worker"] == [answered_by]


def test_a_hold_in_the_middle_is_acknowledged_by_both() -> None:
    """A rollback while a worker is replaced reaches the former one and its successor, and names their slot once."""
    with FakeNode(workers=1) as node:
        with half_replaced(node) as (slow, steps):
            before = node.told("worker-0").count("Holds")
            changed = node.change_holds(link.ChangeHolds(request="r", add=[link.HoldItem(route="orders")]))
            # Each says so to us behind its acknowledgement.
            wait_until(lambda: node.told("worker-0").count("Holds") == before + 2, "both are told, once")
            finish(node, slow)

        assert (changed.acked, changed.missing) == ([0], [])
        assert node.ask()["held"] == ["orders"]
        assert steps[-1].reason == ""


def test_a_former_worker_that_hangs_is_missing_from_a_hold() -> None:
    """A slot counts as holding only when both its workers do."""
    with FakeNode(workers=1) as node:
        (former,) = node.pids()["worker"]
        with half_replaced(node) as (slow, _):
            os.kill(former, signal.SIGSTOP)
            changed = node.change_holds(link.ChangeHolds(request="r", add=[link.HoldItem(route="orders")]))
            os.kill(former, signal.SIGCONT)
            finish(node, slow)

        assert (changed.acked, changed.missing) == ([], [0])


def test_a_stop_in_the_middle_ends_everybody() -> None:
    """SIGTERM while a worker is replaced ends the restart and drains former and successor alike; the exit code is 0."""
    with FakeNode(workers=1) as node:
        with half_replaced(node) as (slow, steps):
            everybody = [pid for pids in node.pids().values() for pid in pids]
            assert node.process is not None
            node.process.send_signal(signal.SIGTERM)
            node.wait_log("draining")
            whole = finish(node, slow)
            code = node.process.wait(60)

        assert b"200 OK" in whole
        assert code == 0
        assert steps[-1].reason == "Matapalo is stopping"
        assert not any(map(is_alive, everybody))


# --- clients ---------------------------------------------------------------------------------------------------------


def config(backend: Recorder, pair: TlsSpec, **limits: str) -> dict[str, object]:
    """Configure two workers in front of one backend, with a clear and a TLS listener."""
    return {
        "listen": ["127.0.0.1:0", {"address": "127.0.0.1:0", "tls": {"cert": pair.cert, "key": pair.key}}],
        "backends": {"old": {"url": backend.url}},
        "undeclared": {"backend": "old"},
        "routes": [],
        "workers": 2,
        "limits": {"drain": "20s", **limits},
    }


def test_restarts_lose_no_request(tmp_path: Path) -> None:
    """Two restarts and two reloads under keep-alive clients that never retry lose none of 2,000; each is counted."""
    authority = Authority(tmp_path)
    pair = authority.issue("listener")
    with Recorder(answer(b"hello")) as backend, Product(config(backend, pair)) as product:
        tls_port = int(product.addresses()["listen"][1].rpartition(":")[2])
        former = product.pids()["worker"]
        # The kernel deals them out: that none is the first worker's happens once in a million times.
        idle = [RawClient(("127.0.0.1", product.port)) for _ in range(20)]
        for client in idle:
            assert client.exchange(request_bytes()).status == 200
        with (
            Load(product.port, clients=5, gap_s=0.001) as load,
            Load(tls_port, clients=2, tls=authority.client_context()) as secure,
        ):
            for number in range(2):
                with restarting(product) as steps:
                    product.configure(config(backend, pair, write_timeout=f"{50 + number}s"))
                    assert product.admin("POST", "/-/reload", {})["changed"]
                    if number == 0:
                        product.wait_log("replaced")
                        late = [client.exchange(request_bytes()) for client in idle]
                        for client in idle:
                            client.close()
                assert steps[-1].reason == ""
            load.wait(max(0, 2_000 - load.requests - secure.requests), 180)
        counted = wait_until(
            lambda: product.totals()["counts"]["requests|-|undeclared|old|2xx"] == load.requests + secure.requests + 40,
            "every count",
        )
        workers, replaced = product.pids()["worker"], product.wait_log("replaced", 4)

    assert load.failures == secure.failures == []
    assert load.requests + secure.requests >= 2_000
    assert [response.status for response in late] == [200] * 20
    assert b"close" in [response.value("connection") for response in late]
    assert counted
    assert set(workers).isdisjoint(former)
    assert len(replaced) == 4
