"""Rules of the supervisor, on real processes: who dies is back, what is held stays held, ends are clean."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2
import pytest

from config.spec import AddressSpec, AdminSpec, LimitsSpec
from shadow import link
from tests.support.fakenode import FakeNode, is_alive, note, slow_request, spec_for
from tests.support.product import Node, Product, wait_until
from tests.support.recorder import Gate, Recorder, answer

pytestmark = pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="reads process states from /proc")


@pytest.fixture
def node() -> Iterator[FakeNode]:
    """Run a node with two workers, a comparer and control."""
    with FakeNode() as running:
        yield running


def all_pids(node: Node) -> list[int]:
    """Name every child."""
    return [pid for pids in node.pids().values() for pid in pids]


def standing(node: Node) -> tuple[int, list[str]]:
    """Ask whether it is ready, and what is not as it should be."""
    status, body = node.ready()
    return status, body.get("degraded", [])


# --- who dies is back ------------------------------------------------------------------------------------------------


@pytest.mark.alone
@pytest.mark.parametrize("role", ["worker", "comparer", "control"])
def test_a_killed_child_is_back_while_the_others_serve(node: FakeNode, role: str) -> None:
    """Killing a child with SIGKILL loses no new connection, and its successor is there within three seconds."""
    former = node.pids()[role]

    os.kill(former[0], signal.SIGKILL)
    answers = [node.ask() for _ in range(40)]
    began = time.monotonic()
    now = node.wait_replaced(role, former)

    assert all(answers)
    assert now[1:] == former[1:]
    assert time.monotonic() - began < 3
    assert node.wait_log("died")[0]["message"].endswith("signal SIGKILL")


def test_a_connection_made_while_a_worker_is_replaced_is_answered(node: FakeNode) -> None:
    """Connections that the kernel gave to a dead worker's socket wait there for its successor."""
    former = node.pids()["worker"]
    for pid in former:
        os.kill(pid, signal.SIGSTOP)

    with ThreadPoolExecutor(8) as pool:
        asking = [pool.submit(node.ask) for _ in range(8)]
        for pid in former:
            os.kill(pid, signal.SIGKILL)
        answers = [asked.result(60) for asked in asking]

    # One that a worker had accepted before it was stopped dies with it.
    assert sum(map(bool, answers)) >= 6
    assert not {answer["pid"] for answer in answers if answer} & set(former)


@pytest.mark.alone
def test_a_silent_worker_is_killed_and_replaced(node: FakeNode) -> None:
    """A worker that says nothing for five seconds is killed and replaced, and stops counting as ready after two."""
    former = node.pids()["worker"]

    os.kill(former[0], signal.SIGSTOP)
    began = time.monotonic()
    node.wait_replaced("worker", former)

    # A supervisor that stood still itself, as on a machine that its host takes away, begins to count anew.
    assert 4.5 < time.monotonic() - began < 15
    assert "the bound is 5 s" in node.wait_log("killed")[0]["message"]
    assert node.pids()["worker"][1] == former[1]


def test_a_suspended_supervisor_blames_nobody(node: FakeNode) -> None:
    """After the supervisor itself stood still, no child is killed for what it could not hear."""
    former = node.pids()
    assert node.process is not None

    os.kill(node.process.pid, signal.SIGSTOP)
    for pid in former["worker"]:
        os.kill(pid, signal.SIGSTOP)
    time.sleep(5.5)  # the rule is about this very span of wall-clock time
    os.kill(node.process.pid, signal.SIGCONT)
    node.wait_log("stood_still")
    for pid in former["worker"]:
        os.kill(pid, signal.SIGCONT)
    wait_until(lambda: node.ready()[1].get("degraded") == [], "all is well again")

    assert node.pids() == former
    assert node.logs("killed") == []


def test_a_crash_loop_is_slowed_down(node: FakeNode) -> None:
    """A child that dies again and again is restarted at once twice, then after growing pauses, and the rest serves."""
    (node.state_dir / "crash-worker-0").touch()
    os.kill(node.pids()["worker"][0], signal.SIGKILL)

    loops = node.wait_log("crash_loop", 3)
    wait_until(lambda: standing(node) == (200, ["worker 0 does not serve"]), "the rest serves")
    (node.state_dir / "crash-worker-0").unlink()
    pauses = [line["message"].rpartition(" in ")[2] for line in loops[:3]]

    assert pauses == ["0.5 s", "1 s", "2 s"]
    wait_until(lambda: node.ready()[1]["degraded"] == [], "worker 0 is back")


def test_a_child_of_another_version_is_replaced(node: FakeNode) -> None:
    """A child that introduces itself as something else is killed, not trusted."""
    (node.state_dir / "lie-comparer-0").touch()
    os.kill(node.pids()["comparer"][0], signal.SIGKILL)

    killed = node.wait_log("killed")

    assert "speaks another protocol" in killed[0]["message"]


# --- health ----------------------------------------------------------------------------------------------------------


def test_readiness_needs_one_serving_worker_and_nothing_else(node: FakeNode) -> None:
    """Dead control and a dead worker are reported as degraded; without any worker the node is not ready."""
    (node.state_dir / "crash-control-0").touch()
    (node.state_dir / "crash-worker-0").touch()
    first, second = node.pids()["worker"]
    os.kill(node.pids()["control"][0], signal.SIGKILL)
    os.kill(first, signal.SIGKILL)
    reported = (200, ["worker 0 does not serve", "control is down"])
    wait_until(lambda: standing(node) == reported, "both are reported, and the node is ready")

    (node.state_dir / "crash-worker-1").touch()
    os.kill(second, signal.SIGKILL)

    wait_until(lambda: node.ready()[0] == 503, "nobody serves")


# --- holds -----------------------------------------------------------------------------------------------------------


@pytest.mark.alone
def test_a_rollback_works_with_control_dead(node: FakeNode) -> None:
    """``rollback --local --all`` is in force on every worker within a second while control is dead."""
    (node.state_dir / "crash-control-0").touch()
    os.kill(node.pids()["control"][0], signal.SIGKILL)
    node.wait_log("crash_loop")
    template = link.HoldItem(route="", reason="3 am", actor="ops")

    for _ in range(3):  # the best counts: a host may take the whole machine away for longer than the bar
        node.change_holds(link.ChangeHolds(request="r0", remove=["orders"]))
        began = time.monotonic()
        changed = node.change_holds(link.ChangeHolds(request="r1", all_routes=True, template=template))
        took = time.monotonic() - began
        if took < 1:
            break

    assert (changed.ok, changed.routes, changed.acked, changed.missing) == (True, ["orders"], [0, 1], [])
    assert took < 1
    assert node.ask()["held"] == ["orders"]
    at_rest = note(node.state_dir / "holds")
    assert [(item["route"], item["reason"], item["actor"]) for item in at_rest["holds"]] == [("orders", "3 am", "ops")]
    assert (node.state_dir / "holds").stat().st_mode & 0o777 == 0o600
    assert (node.state_dir / "supervisor.sock").stat().st_mode & 0o777 == 0o600


def test_holds_survive_workers_and_supervisors(node: FakeNode) -> None:
    """A hold is known to a restarted worker before it serves, and to every worker after a restart of everything."""
    node.change_holds(link.ChangeHolds(request="r", add=[link.HoldItem(route="orders")]))
    former = node.pids()["worker"]
    for pid in former:
        os.kill(pid, signal.SIGKILL)
    after_death = wait_until(lambda: answer_but_of(former, node), "a new worker answers")

    node.stop()
    node.start()
    node.wait_ready()

    assert after_death["held"] == ["orders"]
    assert node.ask()["held"] == ["orders"]


def answer_but_of(former: list[int], node: FakeNode) -> dict[str, Any]:  # Any: JSON
    """Ask once; empty: nobody answered, or one of *former*."""
    answer = node.ask()
    return answer if answer and answer["pid"] not in former else {}


@pytest.mark.alone
def test_a_hung_worker_is_named_as_missing(node: FakeNode) -> None:
    """A hold that one worker does not acknowledge within a second is answered with that worker's slot."""
    os.kill(node.pids()["worker"][1], signal.SIGSTOP)
    began = time.monotonic()

    changed = node.change_holds(link.ChangeHolds(request="r", add=[link.HoldItem(route="orders")]))

    assert (changed.ok, changed.acked, changed.missing) == (True, [0], [1])
    assert time.monotonic() - began < 4  # a host may take the whole machine away for two
    os.kill(node.pids()["worker"][1], signal.SIGCONT)


@pytest.mark.parametrize(
    ("route", "sentence"),
    [("order", "did you mean 'orders'"), ("zebra", "known routes: orders, wishes"), ("wishes", "no legacy side")],
)
def test_a_hold_that_makes_no_sense_is_refused_in_one_sentence(node: FakeNode, route: str, sentence: str) -> None:
    """A hold of an unknown route, or of one without legacy, changes nothing and says why."""
    changed = node.change_holds(link.ChangeHolds(request="r", add=[link.HoldItem(route=route)]))

    assert not changed.ok
    assert sentence in changed.reason
    assert not (node.state_dir / "holds").exists()


def test_holds_that_cannot_be_read_are_set_aside_and_reported() -> None:
    """A corrupt holds file neither stops the start nor is forgotten: it is kept, and the node is degraded."""
    node = FakeNode()
    node.state_dir.mkdir()
    (node.state_dir / "holds").write_bytes(b"\x00garbage")

    with node:
        degraded = node.ready()[1]["degraded"]
        kept = list(node.state_dir.glob("holds.unreadable-*"))

    assert "NO ROUTE IS HELD" in " ".join(degraded)
    assert len(kept) == 1


# --- refusals at start -----------------------------------------------------------------------------------------------


def refusal(node: FakeNode) -> str:
    """Start a node that must not start, and return its one sentence."""
    node.start()
    assert node.process is not None
    try:
        assert node.process.wait(60) == 1
        (sentence,) = node.stderr().splitlines()
    finally:
        node.close()
    return sentence


@pytest.mark.parametrize("setting", ["listen", "health.listen", "admin.listen"])
def test_a_port_in_use_is_one_sentence(setting: str) -> None:
    """A taken address is named together with its setting and the next step; the exit code is 1."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = AddressSpec(host="127.0.0.1", port=taken.getsockname()[1])
        changes: dict[str, dict[str, Any]] = {  # Any: fields of ConfigSpec
            "listen": {"listen": (address,)},
            "health.listen": {"health": address},
            "admin.listen": {"admin": AdminSpec(listen=address)},
        }

        sentence = refusal(FakeNode(**changes[setting]))

    assert f"127.0.0.1:{address.port} (`{setting}`)" in sentence
    assert "in use; stop what listens there" in sentence


def test_two_nodes_never_share_a_port_silently(node: FakeNode) -> None:
    """A second Matapalo on the port of a running one is refused although both would allow it to the kernel."""
    port = AddressSpec(host="127.0.0.1", port=node.port)

    sentence = refusal(FakeNode(listen=(port,)))

    assert "the port is in use" in sentence
    assert all(node.ask() for _ in range(10))


def test_a_state_directory_in_use_names_its_owner(node: FakeNode) -> None:
    """A second supervisor on one state directory is refused with the process id of the first."""
    assert node.process is not None

    sentence = refusal(FakeNode(state_dir=str(node.state_dir)))

    assert f"in use by the Matapalo with process id {node.process.pid}" in sentence
    assert node.ready()[0] == 200


def test_an_unusable_state_directory_is_one_sentence(tmp_path: Path) -> None:
    """A state directory that is a file is refused by name, with what is expected of it."""
    (tmp_path / "file").touch()

    sentence = refusal(FakeNode(state_dir=str(tmp_path / "file")))

    assert f"{tmp_path / 'file'} cannot be used" in sentence
    assert "must be a directory" in sentence


def test_a_configuration_that_would_lose_a_flag_does_not_start() -> None:
    """A start whose configuration lacks a route with a flag beyond legacy is refused, as a reload would be."""
    node = FakeNode()
    with node:
        node.stop()
        first = node.stderr()
        node.configure(routes=spec_for("/").routes[:1])
        node.start()
        assert node.process is not None

        assert node.process.wait(60) == 1
        assert "route 'wishes' is in stage 'live'" in node.stderr().removeprefix(first)


# --- ends ------------------------------------------------------------------------------------------------------------


def test_in_flight_requests_finish_before_a_drained_node_ends(node: FakeNode) -> None:
    """SIGTERM lets a request in flight finish, refuses new connections, and exits with 0."""
    children = all_pids(node)
    with slow_request(node) as slow:
        assert node.process is not None
        node.process.send_signal(signal.SIGTERM)
        node.wait_log("draining")
        wait_until(lambda: not accepts(node.port), "new connections are refused")
        (node.state_dir / "go").touch()
        answer = read_all(slow)

    assert b"200 OK" in answer
    assert node.process.wait(60) == 0
    assert not any(map(is_alive, children))
    assert node.told("control-0")[-1] == "Drain"
    assert not (node.state_dir / "addresses.json").exists()


def test_a_lame_duck_answers_while_it_is_not_ready() -> None:
    """With ``lame_duck`` SIGTERM first turns readiness off and keeps answering, then drains."""
    with FakeNode(limits=LimitsSpec(lame_duck_ns=3_000_000_000)) as node:
        assert node.process is not None
        node.process.send_signal(signal.SIGTERM)
        wait_until(lambda: node.ready()[0] == 503, "readiness is off")
        wait_until(lambda: node.ask().get("lame_duck"), "a worker answers that knows of its end")
        code = node.process.wait(60)

    assert code == 0


def test_an_interrupt_skips_the_lame_duck() -> None:
    """Ctrl-C drains at once, however long the lame duck would answer."""
    with FakeNode(limits=LimitsSpec(lame_duck_ns=60_000_000_000)) as node:
        assert node.stop(signal.SIGINT) == 0


@pytest.mark.alone
def test_a_second_signal_ends_everything_now(node: FakeNode) -> None:
    """A second SIGTERM during a drain kills what is left; the exit code says that it was not clean."""
    children = all_pids(node)
    with slow_request(node):
        assert node.process is not None
        node.process.send_signal(signal.SIGTERM)
        node.wait_log("draining")
        began = time.monotonic()
        node.process.send_signal(signal.SIGTERM)

        assert node.process.wait(10) == 1

    assert time.monotonic() - began < 3
    assert not any(map(is_alive, children))


def test_what_outlives_its_deadline_is_killed() -> None:
    """A worker that does not end within the drain's deadline is killed, and the node still ends."""
    with FakeNode(limits=LimitsSpec(drain_ns=500_000_000)) as node, slow_request(node):
        assert node.stop() == 1
        assert "did not end within its deadline" in node.logs("killed")[0]["message"]


def test_children_end_when_their_supervisor_is_killed(node: FakeNode) -> None:
    """SIGKILL of the supervisor ends its children, and a new one starts right after them."""
    children = all_pids(node)
    assert node.process is not None
    node.process.kill()
    node.process.wait()

    node.start()
    wait_until(lambda: not any(map(is_alive, children)), "the children have ended")
    node.wait_ready()

    assert set(all_pids(node)).isdisjoint(children)


def test_a_new_supervisor_waits_for_the_children_of_a_killed_one(node: FakeNode) -> None:
    """While a killed supervisor's worker finishes its request, no second control touches the state directory."""
    children = all_pids(node)
    with slow_request(node) as slow:
        assert node.process is not None
        node.process.kill()
        node.process.wait()
        wait_until(lambda: sum(map(is_alive, children)) == 1, "only the busy worker is left")
        node.start()
        node.wait_log("waiting")
        with pytest.raises(AssertionError, match="a fifth start"):
            wait_until(lambda: len(node.logs("started")) > len(children), "a fifth start", 1.0)
        waiting = node.process.poll() is None and len(node.logs("waiting")) == 1
        (node.state_dir / "go").touch()
        answered = read_all(slow)
    node.wait_ready()

    assert waiting
    assert b"200 OK" in answered


def test_sighup_reaches_control_or_is_reported_as_lost(node: FakeNode) -> None:
    """SIGHUP asks control to read the configuration again; with control dead it says that nothing happened."""
    assert node.process is not None
    node.process.send_signal(signal.SIGHUP)
    wait_until(lambda: "Reload" in node.told("control-0"), "control is asked")

    (node.state_dir / "crash-control-0").touch()
    os.kill(node.pids()["control"][0], signal.SIGKILL)
    node.wait_log("crash_loop")
    node.process.send_signal(signal.SIGHUP)

    assert "nothing was reloaded" in node.wait_log("reload_lost")[0]["message"]


@pytest.mark.skipif(sys.platform != "linux", reason="needs prctl, as PID 1 of a container has it")
def test_orphans_are_reaped_as_pid_1_must() -> None:
    """A process that was left to us, as everything is to PID 1 of a container, does not stay a zombie."""
    with ReaperNode() as node:
        assert node.process is not None
        supervisor = node.process.pid
        before = children_of(supervisor)
        (node.state_dir / "stay").touch()
        assert node.ask("/orphan")
        adopted = wait_until(lambda: children_of(supervisor) - before, "the orphan is ours")
        (node.state_dir / "stay").unlink()
        wait_until(lambda: not children_of(supervisor) & adopted, "the orphan is reaped")

        assert node.ask()


# --- with the real children ------------------------------------------------------------------------------------------


def real(backend: Recorder, **changes: Any) -> Product:  # Any: YAML
    """Run the product in front of one backend."""
    return Product(
        {"backends": {"old": {"url": backend.url}}, "undeclared": {"backend": "old"}, "routes": [], **changes}
    )


def test_a_real_answer_in_flight_is_finished_before_the_end() -> None:
    """A response that streams while SIGTERM arrives reaches its client whole, and the product exits with 0."""
    gate, whole = Gate(), answer(b"x" * 100_000)
    with Recorder([whole[:50_000], gate, whole[50_000:]]) as backend, real(backend) as product:
        assert product.process is not None
        children = all_pids(product)
        with socket.create_connection(("127.0.0.1", product.port), timeout=30) as client:
            client.sendall(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
            got = client.recv(1_000)
            product.process.send_signal(signal.SIGTERM)
            product.wait_log("draining")
            gate.open()
            got += read_all(client)
        code = product.process.wait(60)

        assert got.endswith(b"x" * 100_000)
        assert code == 0
        assert not any(map(is_alive, children))


@pytest.mark.alone
def test_real_children_end_when_their_supervisor_is_killed() -> None:
    """Worker, comparer and control are gone five seconds after their supervisor, even with an idle client connected."""
    with Recorder(answer(b"hello")) as backend, real(backend) as product:
        children = all_pids(product)
        assert product.process is not None
        with socket.create_connection(("127.0.0.1", product.port), timeout=30) as client:
            client.sendall(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
            assert client.recv(100).startswith(b"HTTP/1.1 200")
            product.process.kill()
            product.process.wait()
            wait_until(lambda: not any(map(is_alive, children)), "the children have ended", 5)

        product.start()
        product.wait_ready()

        assert httpx2.get(product.url, trust_env=False).text == "hello"


def test_a_real_worker_that_hangs_is_replaced_while_the_other_serves() -> None:
    """A stopped worker is killed after five seconds; until then its neighbour answers its own connections."""
    with Recorder(answer(b"hello")) as backend, real(backend, workers=2) as product:
        former = product.pids()["worker"]
        with httpx2.Client(trust_env=False, timeout=60) as client:
            os.kill(former[0], signal.SIGSTOP)
            # A connection that the kernel gave to the hung worker's socket waits for its successor.
            answers = [client.get(product.url, headers={"connection": "close"}).text for _ in range(10)]
        now = product.wait_replaced("worker", former)

    assert answers == ["hello"] * 10
    assert now[1] == former[1]


class ReaperNode(FakeNode):
    """Run the supervisor as the process that inherits orphans."""

    def start(self) -> None:
        """Set PR_SET_CHILD_SUBREAPER, which survives exec, in the supervisor only."""
        libc = ctypes.CDLL(None)
        former = subprocess.Popen

        def adopting(*words: object, **named: object) -> object:
            return former(*words, preexec_fn=lambda: libc.prctl(36, 1, 0, 0, 0), **named)  # type: ignore[call-overload]

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(subprocess, "Popen", adopting)
            super().start()


def children_of(parent: int) -> set[int]:
    """List the children of a process, zombies too."""
    found = set()
    for name in os.listdir("/proc"):
        if name.isdigit():
            with contextlib.suppress(OSError):
                if int(Path(f"/proc/{name}/stat").read_text().rpartition(")")[2].split()[1]) == parent:
                    found.add(int(name))
    return found


def read_all(connection: socket.socket) -> bytes:
    """Read until the other side closes."""
    return b"".join(iter(lambda: connection.recv(65_536), b""))


def accepts(port: int) -> bool:
    """Say whether anybody listens on a port, even without answering."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except ConnectionRefusedError:
        return False
    except TimeoutError:  # its queue is full
        return True
    return True
