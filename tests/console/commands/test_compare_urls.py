"""``matapalo compare`` of two URLs: whole answers, within limits."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from console.commands import compare_urls
from tests.console.commands.conftest import Cli

BODY = b'{"id":7}'
ANSWERS: dict[str, tuple[int, dict[str, str], bytes]] = {
    "/ok": (200, {"Content-Type": "application/json"}, BODY),
    "/spaced": (200, {"Content-Type": "application/json; charset=utf-8"}, b'{"id": 7}'),
    "/gone": (410, {"Content-Type": "application/json", "X-Reason": "dropped"}, BODY),
    "/moved": (302, {"Location": "/ok"}, b""),
    "/gzip": (200, {"Content-Type": "application/json", "Content-Encoding": "gzip"}, gzip.compress(BODY, mtime=0)),
    "/hidden": (200, {"Content-Type": "application/json"}, gzip.compress(BODY, mtime=0)),
    "/text1": (200, {"Content-Type": "text/plain"}, b"1.10"),
    "/text2": (200, {"Content-Type": "text/plain"}, b"1.1"),
}


class Handler(BaseHTTPRequestHandler):
    """Answer from the table; ``/echo`` says which headers came, ``/short`` breaks off, ``/drip`` never ends."""

    def do_GET(self) -> None:
        if self.path == "/short":
            self.send_response(200)
            self.send_header("Content-Length", "100")
            self.end_headers()
            self.wfile.write(b"half")
            self.close_connection = True
            return
        if self.path == "/drip":
            self.send_response(200)
            self.end_headers()
            self.close_connection = True
            try:
                for _ in range(2_000):
                    self.wfile.write(b"." * 1_000)
            except OSError:
                return
            return
        status, headers, body = ANSWERS.get(self.path) or (200, {}, str(self.headers.get("X-Who")).encode())
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it
        """Stay quiet."""


@pytest.fixture
def base() -> Iterator[str]:
    """Listen on a free port."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = False
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize(
    ("legacy", "new", "causes", "same_meaning"),
    [
        ("/ok", "/ok", [], True),
        ("/ok", "/spaced", ["http.charset", "whitespace.separator"], True),
        ("/ok", "/gone", ["http.header", "http.status"], True),
        ("/ok", "/gzip", ["http.content_encoding"], True),
        ("/ok", "/hidden", ["http.content_encoding"], False),
        ("/text1", "/text2", ["body.changed"], False),
    ],
)
def test_whole_answers_are_compared(
    cli: Cli, base: str, legacy: str, new: str, causes: list[str], same_meaning: bool
) -> None:
    """Status, headers and body all count; declared compression is undone before bodies are compared."""
    printed = cli("compare", base + legacy, base + new, "--json")

    (pair,) = printed.json["pairs"]
    assert printed.code == bool(causes)
    assert (pair["causes"], pair["same_meaning"], pair["identical"]) == (causes, same_meaning, not causes)


def test_a_redirect_is_an_answer(cli: Cli, base: str) -> None:
    """It is compared, not followed."""
    (pair,) = cli("compare", base + "/ok", base + "/moved", "--json").json["pairs"]

    assert "http.status" in pair["causes"]


def test_headers_are_sent_to_both(cli: Cli, base: str) -> None:
    """``-H`` reaches both services."""
    printed = cli("compare", base + "/echo", base + "/echo", "-H", "X-Who: me", "--json")

    assert printed.json["pairs"][0]["identical"]


def test_half_an_answer_is_a_problem(cli: Cli, base: str) -> None:
    """A server that breaks off, or that is not there, gives nothing to compare: exit code 1 and the reason."""
    for url in (base + "/short", "http://127.0.0.1:1/"):
        printed = cli("compare", base + "/ok", url, "--json")
        assert printed.code == 1
        assert "no whole answer" in printed.json["pairs"][0]["problem"]


def test_an_endless_answer_is_cut_off(cli: Cli, base: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither more bytes than the limit nor more time are spent on one answer."""
    monkeypatch.setattr(compare_urls, "MAX_BODY_BYTES", 1 << 20)

    printed = cli("compare", base + "/ok", base + "/drip", "--json")

    assert printed.code == 1
    assert "more than 1 MiB" in printed.json["pairs"][0]["problem"]


def test_an_answer_that_takes_too_long_is_cut_off(cli: Cli, base: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that sends a byte now and then does not hold the command for ever."""
    monkeypatch.setattr(compare_urls, "ANSWER_TIMEOUT_S", 0.0)

    printed = cli("compare", base + "/ok", base + "/ok", "--json")

    assert "did not end its answer" in printed.json["pairs"][0]["problem"]
