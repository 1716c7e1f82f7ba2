"""Run a command in this process, against a server that answers what docs/admin-api.md promises."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from socketserver import ThreadingMixIn
from typing import Any

import pytest

from console.commands.group import Door, run

FLAG = {"stage": "shadow", "percent": 0.0, "sample": 100.0, "salt": "orders"}
CHANGE: dict[str, Any] = {
    "changed": True,
    "revision": 13,
    "audit_id": "a-42",
    "routes": [{"route": "orders", "before": FLAG, "after": {**FLAG, "stage": "canary", "percent": 5.0}}],
    "workers": {"acked": [0], "missing": []},
    "held": [],
    "gate": None,
    "flags_written": True,
    "notes": [],
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Printed:
    """Hold what a command printed and its exit code."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        """Read stdout as the one JSON object that it must be."""
        value = json.loads(self.out)
        assert isinstance(value, dict)
        return value


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """Hold one request that reached the stand-in."""

    call: str
    """Method and target as sent."""
    body: Any
    headers: dict[str, str]


@dataclass(slots=True)
class StandIn:
    """Answer admin calls with prepared objects; the answer for ``*`` stands for any call."""

    url: str = ""
    answers: dict[str, tuple[int, Any]] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)


class _Server(ThreadingMixIn, HTTPServer):
    daemon_threads = False  # server_close waits for them


@pytest.fixture
def admin() -> Iterator[StandIn]:
    """Listen as an admin API on a free port."""
    stand_in = StandIn(answers={"*": (200, CHANGE)})

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            length = int(self.headers.get("content-length", 0))
            raw = self.rfile.read(length)
            call = f"{self.command} {self.path}"
            stand_in.asked.append(
                Asked(
                    call=call,
                    body=json.loads(raw) if raw else None,
                    headers={name.lower(): value for name, value in self.headers.items()},
                )
            )
            status, answer = stand_in.answers.get(call.partition("?")[0]) or stand_in.answers["*"]
            data = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("content-type", "application/problem+json" if status >= 400 else "application/json")
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_POST = do_PATCH = do_GET

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it
            """Stay quiet."""

    server = _Server(("127.0.0.1", 0), Handler)
    stand_in.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield stand_in
    server.shutdown()
    thread.join()
    server.server_close()


Cli = Callable[..., Printed]


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Cli:
    """Run ``matapalo WORDS…`` in an empty directory, with nothing of the developer's environment."""
    for name in ("MATAPALO_URL", "MATAPALO_TOKEN", "HTTP_PROXY", "http_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)

    def call(*words: str, at: StandIn | None = None, serve: Callable[..., int] = lambda *_: 0) -> Printed:
        if at is not None:
            monkeypatch.setenv("MATAPALO_URL", at.url)
        capsys.readouterr()
        code = run(words, Door(serve=serve))
        captured = capsys.readouterr()
        return Printed(code=code, out=captured.out, err=captured.err)

    return call
