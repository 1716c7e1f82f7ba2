"""Rules of TLS towards backends: whom a worker trusts, and what a failure is called."""

from __future__ import annotations

import contextlib
import shutil
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from config.spec import BackendSpec, BackendTlsSpec, TlsSpec
from config.tls import stamped
from tests.support.authority import Authority
from tests.support.oneworker import OneWorker, backend, route
from tests.support.rawclient import ConnectionEndedError, request_bytes
from tests.support.recorder import Recorder, answer

OK = answer(b"ok", headers=(("Connection", "close"),))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Hold every file."""
    return tmp_path_factory.mktemp("upstream")


@pytest.fixture(scope="module")
def authority(place: Path) -> Authority:
    """Vouch for the good ones; the worker trusts it."""
    return Authority(place)


@pytest.fixture(scope="module")
def stranger(place: Path) -> Authority:
    """Vouch for somebody else."""
    return Authority(place, "stranger")


@contextlib.contextmanager
def raw_server(serve: Callable[[socket.socket], None]) -> Iterator[str]:
    """Take each connection in turn; the URL says https whatever is spoken."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def run() -> None:
            with contextlib.suppress(OSError):
                while True:
                    serve(listening.accept()[0])

        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield f"https://localhost:{listening.getsockname()[1]}"
        finally:
            listening.shutdown(socket.SHUT_RDWR)
            thread.join()


def say_nothing(connection: socket.socket) -> None:
    """Listen until the other end has enough."""
    with connection:
        while connection.recv(65_536):
            pass


def close_at_once(connection: socket.socket) -> None:
    """Be there and want nothing."""
    connection.close()


@pytest.fixture(scope="module")
def worker(place: Path, authority: Authority, stranger: Authority) -> Iterator[OneWorker]:
    """Know one backend of each kind; a path's first segment names it."""
    trusted = BackendTlsSpec(ca=f"file:{authority.file}")
    own = authority.issue("client")
    self_signed = TlsSpec(cert=f"file:{stranger.file}", key=f"file:{place}/stranger.key")
    asks = authority.server_context(authority.issue("asks"))
    asks.verify_mode = ssl.CERT_REQUIRED
    asks.load_verify_locations(authority.file)
    old = authority.server_context(authority.issue("old"))
    old.set_ciphers("DEFAULT:@SECLEVEL=0")
    with pytest.deprecated_call():
        old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
    cut = authority.server_context(authority.issue("cut"))

    def half_an_answer(connection: socket.socket) -> None:
        with contextlib.suppress(OSError), cut.wrap_socket(connection, server_side=True) as secure:
            secure.recv(65_536)
            secure.sendall(b"HTTP/1.1 200 OK\r\n\r\nhalf of it")
            # Closed without close_notify: somebody on the way may have cut the rest.

    with contextlib.ExitStack() as stack:
        servers: dict[str, tuple[ssl.SSLContext, BackendTlsSpec]] = {
            "good": (authority.server_context(authority.issue("good")), trusted),
            "expired": (authority.server_context(authority.issue("expired", days=-1)), trusted),
            "wrong-host": (authority.server_context(authority.issue("other", hosts="DNS:other.test")), trusted),
            "self-signed": (stranger.server_context(self_signed), trusted),
            "unknown-authority": (stranger.server_context(stranger.issue("unknown")), trusted),
            "old-version": (old, trusted),
            "system": (authority.server_context(authority.issue("system")), BackendTlsSpec()),
            "named": (
                authority.server_context(authority.issue("named", hosts="DNS:other.test")),
                replace(trusted, server_name="other.test"),
            ),
            "unverified": (stranger.server_context(stranger.issue("any")), BackendTlsSpec(verify=False)),
            "asks": (asks, replace(trusted, identity=own)),
            "asks-in-vain": (asks, trusted),
        }
        specs: dict[str, str | BackendSpec] = {}
        for name, (context, tls) in servers.items():
            recorder = stack.enter_context(Recorder(OK, tls=context))
            specs[name] = backend(name, f"https://localhost:{recorder.port}", tls=tls)
        silent = stack.enter_context(raw_server(say_nothing))
        specs["silent"] = backend("silent", silent, tls=trusted, connect_timeout_ns=1_000_000_000)
        specs["closing"] = backend("closing", stack.enter_context(raw_server(close_at_once)), tls=trusted)
        specs["cut"] = backend("cut", stack.enter_context(raw_server(half_an_answer)), tls=trusted)
        running = stack.enter_context(
            OneWorker(
                backends=specs,
                routes=[route(name, f"/{name}/**", legacy=name, new=None) for name in specs],
                undeclared=None,
                environ={"SSL_CERT_FILE": str(authority.file), "SSL_CERT_DIR": str(place)},
            )
        )
        running.settled("every link of the worker to be up")
        yield running


@pytest.mark.parametrize("name", ["good", "named", "unverified", "asks"])
def test_who_is_trusted_is_spoken_to(worker: OneWorker, name: str) -> None:
    """A certificate for the host, or the configured name, by a trusted authority is enough; ours is shown if asked."""
    assert worker.ask(request_bytes(target=f"/{name}/")).status == 200


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("expired", "certificate has expired"),
        ("wrong-host", "not valid for 'localhost'"),
        ("self-signed", "self-signed certificate"),
        ("unknown-authority", "unable to get local issuer certificate"),
        ("old-version", "TLS handshake failed"),
        ("system", "unable to get local issuer certificate"),
        ("closing", "TLS handshake failed"),
    ],
)
def test_who_is_not_trusted_is_a_502_of_phase_tls(worker: OneWorker, name: str, said: str) -> None:
    """Whatever is wrong with a certificate: no byte of the request is sent, 502, phase tls, and the log says why.

    SSL_CERT_FILE trusts nobody: it is set here to the authority that `system` would need.
    """
    assert worker.ask(request_bytes("POST", f"/{name}/", body=b"x")).status == 502

    counts = worker.settled()
    assert {key for key in counts if key.startswith(f"upstream_errors|{name}|")} == {f"upstream_errors|{name}|tls"}
    assert said in worker.errors()
    assert "callback failed" not in worker.errors()


def test_a_handshake_that_never_ends_is_late_in_phase_tls(worker: OneWorker) -> None:
    """A backend that accepts and says nothing costs its connect timeout, and is 504 in phase tls."""
    assert worker.ask(request_bytes(target="/silent/")).status == 504

    assert worker.settled()["upstream_errors|silent|tls"] == 1
    assert "no TLS handshake within 1 s" in worker.errors()


def test_who_shows_no_certificate_where_one_is_asked_for_gets_502(worker: OneWorker) -> None:
    """Without a client certificate of ours such a backend refuses, which is a 502."""
    assert worker.ask(request_bytes(target="/asks-in-vain/")).status == 502


def test_an_answer_that_may_have_been_cut_is_not_whole(worker: OneWorker) -> None:
    """A body without length that ends without close_notify never ends well for the client."""
    with worker.client() as client, pytest.raises(ConnectionEndedError):
        client.exchange(request_bytes(target="/cut/"))


def test_replaced_authorities_are_trusted_from_then_on(place: Path, authority: Authority, stranger: Authority) -> None:
    """A new `ca` file counts from the reload on, for a backend that did not change otherwise."""
    trust = place / "trust.pem"
    shutil.copy(authority.file, trust)
    context = stranger.server_context(stranger.issue("moved"))
    with Recorder(OK, tls=context) as moved:
        spec = backend("legacy", f"https://localhost:{moved.port}", tls=BackendTlsSpec(ca=f"file:{trust}"))
        with OneWorker(backends={"legacy": spec, "new": spec}, routes=[route()]) as worker:
            worker.push(config=stamped(worker.config))
            assert worker.ask(request_bytes(target="/api/a")).status == 502

            shutil.copy(stranger.file, trust)
            worker.push(config=stamped(worker.config))

            assert worker.ask(request_bytes(target="/api/a")).status == 200
