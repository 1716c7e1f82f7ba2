"""Faults of our own: an exception at any line of the copy's code is the copy's problem alone."""

from __future__ import annotations

import ast
import json
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import proxy
from config.spec import ShadowSpec
from rules.flag import Stage
from tests.support.oneworker import OneWorker, backend, flag, route
from tests.support.rawclient import RawResponse, request_bytes
from tests.support.recorder import Close, RecordedRequest, Recorder, Reset, Step, answer
from tests.support.sickness import SICK

FILES = ("copies.py", "offer.py", "circuit.py")
ROOM = Path(next(iter(proxy.__path__)))

BODY = b'{"q":1}'
ASKED: dict[str, bytes] = {
    name: request_bytes(target=f"/api/{name}", headers=(("X-Request-Id", "r-1"),))
    for name in ("same", "differs", "resets", "unasked-101", "primary-fails", "chunked", "large")
} | {
    "posts": request_bytes("POST", "/api/same", headers=(("X-Request-Id", "r-1"),), body=BODY),
    "posts-too-much": request_bytes("POST", "/api/same", headers=(("X-Request-Id", "r-1"),), body=b"x" * 2_000),
    "ranges": request_bytes(target="/api/same", headers=(("X-Request-Id", "r-1"), ("Range", "bytes=0-1"))),
    "condition": request_bytes(target="/api/same", headers=(("X-Request-Id", "r-1"), ("If-None-Match", '"1"'))),
    "condition-holds": request_bytes(target="/api/304", headers=(("X-Request-Id", "r-1"), ("If-None-Match", '"1"'))),
    "unsampled": request_bytes(target="/unsampled/same", headers=(("X-Request-Id", "r-1"),)),
    "paused": request_bytes(target="/paused/resets", headers=(("X-Request-Id", "r-1"),)),
    "falls-back": request_bytes(target="/canary/fails", headers=(("X-Request-Id", "r-1"), ("X-User-Id", "u"))),
}
"""One request for each way through the copy's code."""


def answers(request: RecordedRequest) -> bytes | list[Step]:
    """Answer as both services do."""
    name, is_copy = request.target.decode().split("/")[2], bool(request.values("x-matapalo-shadow"))
    if name == "304":
        return answer(b"", status=304, reason="Not Modified", length=False)
    if name == "primary-fails" and not is_copy:
        return [b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf", Close()]
    if name == "fails" and b"canary" in request.target:
        return [Reset()] if not is_copy and request.values("x-new") else answer(b"fallback")
    if name == "differs" and is_copy:
        return answer(b"other")
    if name == "resets" and is_copy:
        return [Reset()]
    if name == "unasked-101" and is_copy:
        return SICK[name].script  # type: ignore[return-value]  # this one is steps
    if name == "chunked":
        return [answer(headers=(("Transfer-Encoding", "chunked"),), length=False), b"2\r\nab\r\n1\r\nc\r\n0\r\n\r\n"]
    return answer(b"z" * 600_000 if name == "large" else b"same")


@pytest.fixture(scope="module")
def legacy() -> Iterator[Recorder]:
    """Answer as the old service."""
    with Recorder(answers) as recorder:
        yield recorder


@pytest.fixture(scope="module")
def new() -> Iterator[Recorder]:
    """Answer as the new service."""
    with Recorder(answers) as recorder:
        yield recorder


@pytest.fixture(scope="module")
def worker(legacy: Recorder, new: Recorder) -> Iterator[OneWorker]:
    """Run a worker that can be made to raise at any line."""
    policy = ShadowSpec(max_per_second=None, timeout_ns=400_000_000, reads=("POST",), max_body_bytes=1_000)
    routes = [route(name, f"/{name}/**", shadow=policy) for name in ("api", "unsampled", "paused")]
    with OneWorker(
        backends={
            "legacy": legacy.url,
            "new": backend("new", new.url, circuit_bp=None),
            "sick": backend("sick", new.url, circuit_bp=0),
        },
        routes=[*routes[:2], route("paused", "/paused/**", shadow=policy, new="sick")],
        flags={
            "api": flag(Stage.SHADOW),
            "paused": flag(Stage.SHADOW),
            "unsampled": flag(Stage.SHADOW, sample_bp=0),
        },
        program=(str(Path(__file__).parents[2] / "support" / "faultyworker.py"),),
        environ={"PYTHONPATH": str(ROOM.parent)},
    ) as running:
        running.settled("the links")
        yield running


class Injector:
    """Tell the worker where to raise."""

    def __init__(self, worker: OneWorker) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(60)
        self._socket.connect(os.path.join(worker.state_dir, "faults.sock"))
        self._lines = self._socket.makefile("r")

    def ask(self, **message: object) -> Any:  # Any: JSON
        """Send one message and read its answer."""
        self._socket.sendall(json.dumps(message).encode() + b"\n")
        return json.loads(self._lines.readline())

    def wait(self, limit_s: float = 1.0) -> int:
        """Wait until the fault has happened, or no further line runs; tell how many did."""
        before, count, deadline = -1, 0, time.monotonic() + limit_s
        while (count == 0 or count != before) and time.monotonic() < deadline:
            time.sleep(0.03)
            before, count = count, self.ask(count=True)
        return count

    def close(self) -> None:
        """Hang up."""
        self._lines.close()
        self._socket.close()


def seen(worker: OneWorker, raw: bytes) -> RawResponse | str:
    """Ask, and give all that the client sees of the answer."""
    try:
        return worker.ask(raw)
    except Exception as error:  # whatever the client sees is compared
        return type(error).__name__


def body_lines(name: str) -> set[int]:
    """Name the lines of a module's functions, docstrings left out."""
    tree = ast.parse((ROOM / name).read_text())
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    return {
        child.lineno
        for function in functions
        for statement in function.body
        for child in ast.walk(statement)
        if isinstance(child, ast.stmt) and not (isinstance(child, ast.Expr) and isinstance(child.value, ast.Constant))
    }


def test_an_exception_at_any_line_of_the_copy_leaves_the_primary_alone(
    worker: OneWorker, legacy: Recorder, new: Recorder
) -> None:
    """Whatever line of copies, offers and circuits raises, the client sees the same answer, and copying goes on."""
    injector = Injector(worker)
    expected: dict[str, RawResponse | str] = {}
    ways: dict[tuple[str, int], str] = {}
    for name, raw in ASKED.items():
        assert injector.ask(trace=FILES)
        expected[name] = seen(worker, raw)
        injector.wait()
        for place in injector.ask(stop=True):
            ways.setdefault((place[0], place[1]), name)

    wrong, hits = [], 0
    for (file, line), name in sorted(ways.items()):
        assert injector.ask(file=file, line=line)
        if seen(worker, ASKED[name]) != expected[name]:
            wrong.append(f"{file}:{line} ({name})")
        hits += injector.ask(count=True) or injector.wait(0.2)
        injector.ask(stop=True)
    injector.close()
    before = worker.tallies[-1].counts["identical|api|legacy"]
    healthy = [worker.ask(ASKED["same"]) for _ in range(20)]
    worker.totals(lambda counts: counts["identical|api|legacy"] >= before + 20, "copies to be made as before")
    legacy.drop_connections()
    new.drop_connections()

    assert wrong == []
    assert hits > 0.95 * len(ways)
    reachable = {(file, line) for file in FILES for line in body_lines(file)}
    assert len(ways) > 0.75 * len(reachable), sorted(reachable - set(ways))
    assert healthy == [expected["same"]] * 20
    assert '"copy failed"' in worker.errors()


def first_line(name: str, function: str) -> int:
    """Give the line of a function's first statement behind its docstring."""
    tree = ast.parse((ROOM / name).read_text())
    found = next(one for one in ast.walk(tree) if isinstance(one, ast.FunctionDef) and one.name == function)
    has_docstring = isinstance(found.body[0], ast.Expr)
    return found.body[int(has_docstring)].lineno


def test_an_exception_behind_an_answer_ends_its_connection(worker: OneWorker, legacy: Recorder) -> None:
    """A request that was sent ahead and meets an error of ours is not left without an answer and without an end."""
    injector = Injector(worker)
    with worker.client() as client:
        assert injector.ask(file="client.py", line=first_line("client.py", "_resume"))
        client.send(ASKED["unsampled"] * 2)
        first = client.read_response()
        ending = client.ending()
    injector.ask(stop=True)
    injector.close()
    legacy.drop_connections()

    assert first.body == b"same"
    assert ending in ("eof", "reset")
    assert "Authorization" not in worker.errors()
    assert "fields=" not in worker.errors()


def test_an_exception_in_the_work_of_a_second_stops_no_deadline(worker: OneWorker) -> None:
    """The sweep that enforces every deadline goes on after an error in what it does for pools."""
    line = first_line("pool.py", "close_idle")
    injector = Injector(worker)
    assert injector.ask(file="pool.py", line=line)
    worker.wait(lambda: injector.ask(count=True) == 1, "the fault")
    assert injector.ask(trace=("pool.py",))
    worker.wait(lambda: injector.ask(count=True) > 0, "the next second")
    lines = injector.ask(stop=True)
    injector.close()

    assert ["pool.py", line] in lines
    worker.wait(lambda: "deadline failed" in worker.errors(), "the line about it")
