"""Replay what Matapalo forwards to other people's proxies and servers: all must read one and the same request."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import socket
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.process import BenchError, Program, free_port
from tests.conformance import peers
from tests.conformance.behaviour import Serve
from tests.conformance.legal import LEGAL, MAY
from tests.conformance.vectors import TAG, Legal, Vector
from tests.conformance.volley import Volley, read_answers, whole

_HERE = Path(__file__).resolve().parent
_SERVERS = {
    "uvicorn (h11)": ("uvicorn", "--app-dir", "{here}", "--http", "h11", "--port", "{port}", "readers:asgi"),
    "uvicorn (httptools)": (
        "uvicorn",
        "--app-dir",
        "{here}",
        "--http",
        "httptools",
        "--port",
        "{port}",
        "readers:asgi",
    ),
    "hypercorn": ("hypercorn", "--bind", "127.0.0.1:{port}", "readers:asgi"),
    "gunicorn": ("gunicorn", "--chdir", "{here}", "--bind", "127.0.0.1:{port}", "--threads", "4", "readers:wsgi"),
    "waitress": ("waitress", "--listen", "127.0.0.1:{port}", "readers:wsgi"),
}
"""Command lines behind ``python -m``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Forward:
    """Hold one request as it left us."""

    id: str
    raw: bytes
    body: bytes


def replay(serve: Serve, folder: str, names: Sequence[str], python: str | None) -> list[str]:
    """Collect our forwards, replay each to everybody, and say in one line per reader what came of it."""
    forwards = _forwards(serve)
    lines = []
    for name in filter(None, names):
        for peer in peers.found(name)[:1]:
            lines.append(_line(peer.title, len(forwards), *_to_peer(peer, folder, forwards)))
            print(lines[-1], file=sys.stderr)
    for title in (*_SERVERS, "aiohttp") if python else ():
        try:
            lines.append(_line(title, len(forwards), *_to_server(title, str(python), folder, forwards)))
            print(lines[-1], file=sys.stderr)
        except BenchError as error:
            print(f"{title}: left out: {error}"[:200], file=sys.stderr)
    return lines


def _line(title: str, count: int, fates: Counter[str], names: list[str]) -> str:
    text = f"{title}: {fates['same']} of {count} read as one request with the same body, {fates['refused']} refused"
    return (
        f"{text}, **{fates['other']} read otherwise** ({', '.join(names[:5])})" if names else f"{text}, none otherwise"
    )


def _forwards(serve: Serve) -> list[Forward]:
    vectors: tuple[Legal | Vector, ...] = (*LEGAL, *MAY)
    with Volley() as volley, serve(volley.backend) as address:
        outcomes = volley.fire(address, [whole(one.raw) for one in vectors], patience_s=1.0)
    found = []
    for vector, outcome in zip(vectors, outcomes, strict=True):
        for arrival in outcome.arrivals:
            tag = re.search(rb"tag[0-9]{5}", arrival.raw)
            if arrival.complete and tag is not None:
                raw = arrival.raw.replace(tag[0], TAG)
                found.append(Forward(id=vector.id, raw=raw, body=arrival.body))
    return found


def _to_peer(peer: peers.Peer, folder: str, forwards: Sequence[Forward]) -> tuple[Counter[str], list[str]]:
    fates: Counter[str] = Counter()
    names = []
    place = Path(tempfile.mkdtemp(prefix=peer.name, dir=folder))
    with Volley() as volley, peers.serving(peer, place, volley.backend) as address:
        shots = [whole(one.raw) for one in forwards]
        outcomes = volley.fire(address, shots, at_once=16, patience_s=2.5, close_s=0.05)
    for forward, outcome in zip(forwards, outcomes, strict=True):
        bodies = [arrival.body for arrival in outcome.arrivals if arrival.complete]
        if not bodies:
            fates["refused"] += 1
        elif bodies == [forward.body] and len(outcome.statuses) == 1:
            fates["same"] += 1
        else:
            fates["other"] += 1
            names.append(forward.id)
    return fates, names


def _to_server(title: str, python: str, folder: str, forwards: Sequence[Forward]) -> tuple[Counter[str], list[str]]:
    fates: Counter[str] = Counter()
    names = []
    with _running(title, python, folder) as address:
        for forward in forwards:
            statuses, answer = _ask(address, forward.raw)
            digest = hashlib.sha256(forward.body).hexdigest().encode()
            if statuses == [200] and answer.endswith(digest):
                fates["same"] += 1
            elif statuses and all(400 <= status < 500 or status == 501 for status in statuses):
                fates["refused"] += 1
            else:
                fates["other"] += 1
                names.append(f"{forward.id}: {statuses}")
    return fates, names


@contextlib.contextmanager
def _running(title: str, python: str, folder: str) -> Iterator[tuple[str, int]]:
    """Run one server under the other Python until it takes connections."""
    port = free_port()
    if title == "aiohttp":
        command = [python, str(_HERE / "readers.py"), str(port)]
    else:
        command = [python, "-m", *(part.format(here=_HERE, port=port) for part in _SERVERS[title])]
    place = Path(tempfile.mkdtemp(prefix="reader", dir=folder))
    environment = {"PYTHONPATH": str(_HERE), "PYTHONDONTWRITEBYTECODE": "1"}
    cores = sorted(os.sched_getaffinity(0))
    program = Program(command, log=place / "output.log", cores=cores, env=environment, cwd=place)
    try:
        deadline = time.monotonic() + 60.0
        while True:
            program.require_running()
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1.0):
                break
            if time.monotonic() > deadline:
                raise BenchError(f"{title} does not listen; its log is {program.log}")
            time.sleep(0.05)
        yield "127.0.0.1", port
    finally:
        program.stop()


def _ask(address: tuple[str, int], raw: bytes) -> tuple[list[int], bytes]:
    """Send one request and read what comes, a moment longer than the first answer takes."""
    data = b""
    with socket.create_connection(address, timeout=2.5) as client:
        client.sendall(raw)
        with contextlib.suppress(TimeoutError, ConnectionResetError):
            while part := client.recv(65_536):
                data += part
                if read_answers(data)[0]:
                    client.settimeout(0.02)
    return read_answers(data, ended=True)[0], data
