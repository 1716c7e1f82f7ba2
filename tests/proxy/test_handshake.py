"""Rules of TLS towards clients: one worker with a clear and a TLS listener, real sockets, a throwaway authority."""

from __future__ import annotations

import contextlib
import hashlib
import os
import random
import socket
import ssl
import struct
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from config.spec import AddressSpec, LimitsSpec, TlsSpec
from config.tls import stamped
from proxy.handshake import reason_of
from rules.flag import Stage
from shadow import link
from tests.support.authority import Authority
from tests.support.load import Load
from tests.support.oneworker import WAIT_S, OneWorker, flag, route
from tests.support.rawclient import RawClient, request_bytes
from tests.support.recorder import Close, Echo, Gate, Hang, Recorder, Step, answer, forever

CLEAR = AddressSpec(host="127.0.0.1", port=0)
CLOSE = (("Connection", "close"),)
"""No test leaves a connection to the service behind for the next one."""

OK = answer(b"ok", headers=CLOSE)
HEAD_S = 4
"""A handshake may take as long as a head."""


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Vouch for everybody in this file."""
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def legacy() -> Iterator[Recorder]:
    """Answer as the only service."""
    with Recorder(OK, keep_bytes=64 << 10) as recorder:
        yield recorder


def worker_of(legacy: Recorder, pair: TlsSpec, *, send_buffer: int | None = None, **changes: object) -> OneWorker:
    """Start a worker with a clear and a TLS listener."""
    return OneWorker(
        backends={"legacy": legacy.url, "new": legacy.url},
        routes=[route()],
        listen=(CLEAR, replace(CLEAR, tls=pair)),
        send_buffer=send_buffer,
        limits=LimitsSpec(**{"header_read_timeout_ns": HEAD_S * 1_000_000_000, **changes}),  # type: ignore[arg-type]  # its fields
    )


@pytest.fixture(scope="module")
def worker(legacy: Recorder, authority: Authority) -> Iterator[OneWorker]:
    """Share one worker."""
    with worker_of(legacy, authority.issue("shared")) as running:
        running.settled("every link of the worker to be up")
        yield running


@pytest.fixture(autouse=True)
def plain_answer(legacy: Recorder) -> None:
    """Answer simply unless a test says otherwise."""
    legacy.answer = OK


def secure(worker: OneWorker, authority: Authority, **options: object) -> RawClient:
    """Open one TLS connection."""
    return RawClient(worker.addresses[1], tls=authority.client_context(), **options)  # type: ignore[arg-type]  # passed through


def fingerprint(client: RawClient) -> str:
    """Name the certificate that a connection was shown."""
    shown = client.tls_socket().getpeercert(binary_form=True)
    assert shown is not None
    return hashlib.sha256(shown).hexdigest()


def failures(worker: OneWorker, reason: str) -> int:
    """Count failed handshakes so far."""
    return worker.settled().get(f"handshake_failures|{reason}", 0)


def wait_failures(worker: OneWorker, reason: str, count: int) -> None:
    """Wait for a count of failed handshakes."""
    worker.totals(lambda counts: counts.get(f"handshake_failures|{reason}", 0) >= count, f"{count} {reason}")


def test_a_client_speaks_tls_and_the_backend_hears_of_it(
    worker: OneWorker, authority: Authority, legacy: Recorder
) -> None:
    """TLS 1.3, HTTP/1.1 by ALPN, X-Forwarded-Proto https; beside it the clear listener says http."""
    context = authority.client_context()
    context.set_alpn_protocols(["h2", "http/1.1"])
    with RawClient(worker.addresses[1], tls=context) as client:
        assert client.exchange(request_bytes(target="/api/a")).body == b"ok"
        spoken = client.tls_socket()
        assert (spoken.version(), spoken.selected_alpn_protocol()) == ("TLSv1.3", "http/1.1")
        assert client.exchange(request_bytes(target="/api/b")).body == b"ok"
    assert legacy.requests[-1].values("x-forwarded-proto") == [b"https"]

    assert worker.ask(request_bytes(target="/api/c")).status == 200
    assert legacy.requests[-1].values("x-forwarded-proto") == [b"http"]


def test_any_name_is_served(worker: OneWorker, authority: Authority) -> None:
    """The name that a client asks for is not checked: clients decide whether the certificate is the right one."""
    context = authority.client_context()
    context.check_hostname = False
    with RawClient(worker.addresses[1], tls=context, server_name="anything.test") as client:
        assert client.exchange(request_bytes(target="/api/a")).status == 200


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1 is deprecated:DeprecationWarning")
def test_old_versions_are_refused_and_counted(worker: OneWorker, authority: Authority) -> None:
    """TLS 1.2 is spoken, TLS 1.1 is not, and who asks for it is counted as unsupported."""
    before = failures(worker, "unsupported")
    context = authority.client_context()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with RawClient(worker.addresses[1], tls=context) as client:
        assert client.exchange(request_bytes(target="/api/a")).status == 200

    old = authority.client_context()
    old.set_ciphers("DEFAULT:@SECLEVEL=0")
    old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises((ssl.SSLError, ConnectionResetError)):
        RawClient(worker.addresses[1], tls=old)
    wait_failures(worker, "unsupported", before + 1)


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        (request_bytes(target="/api/a"), "plain_http"),
        (b"SSH-2.0-OpenSSH_9.9\r\n", "not_tls"),
        (b"", "closed"),
    ],
)
def test_what_is_no_tls_ends_and_is_counted(worker: OneWorker, sent: bytes, reason: str) -> None:
    """Clear text on a TLS port, garbage and silence end the connection, are counted by reason and are not logged."""
    before = failures(worker, reason)
    logged = worker.errors()
    with RawClient(worker.addresses[1]) as client:
        client.send(sent)
        if not sent:
            client.half_close()
        assert client.ending() != "open"
    wait_failures(worker, reason, before + 1)
    assert worker.errors() == logged


def test_tls_on_a_clear_port_is_a_bad_request(worker: OneWorker, authority: Authority) -> None:
    """TLS on the clear port is answered 400 at once, in clear text, and counted."""
    before = worker.settled().get("refused|tls", 0)
    with pytest.raises(ssl.SSLError):
        RawClient(worker.address, tls=authority.client_context())
    worker.totals(lambda counts: counts.get("refused|tls", 0) == before + 1)


def test_a_client_that_does_not_trust_us_is_counted(worker: OneWorker) -> None:
    """Who refuses our certificate in the handshake is counted as alert."""
    before = failures(worker, "alert")
    stranger = ssl.create_default_context()
    stranger.maximum_version = ssl.TLSVersion.TLSv1_2  # in 1.3 the handshake is over for us before the client says no
    with pytest.raises(ssl.SSLCertVerificationError):
        RawClient(worker.addresses[1], tls=stranger)
    wait_failures(worker, "alert", before + 1)


def test_handshakes_that_never_end_are_ended(worker: OneWorker, authority: Authority) -> None:
    """Forty clients that begin a handshake and stop are cut off like a head that never ends; others are served."""
    before = failures(worker, "timeout")
    attackers = [socket.create_connection(worker.addresses[1]) for _ in range(40)]
    for number, attacker in enumerate(attackers):
        attacker.sendall(b"\x16\x03\x01\x02\x00\x01"[: number % 7])
    began = time.monotonic()
    with secure(worker, authority) as client:
        while worker.tallies[-1].counts.get("handshake_failures|timeout", 0) < before + 40:
            assert client.exchange(request_bytes(target="/api/a")).status == 200
            assert time.monotonic() - began < WAIT_S
    for attacker in attackers:
        attacker.close()


def client_hello(authority: Authority) -> bytearray:
    """Write what a client says first."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    with contextlib.suppress(ssl.SSLWantReadError):
        authority.client_context().wrap_bio(incoming, outgoing, server_hostname="localhost").do_handshake()
    return bytearray(outgoing.read())


def test_hostile_handshakes_leave_nothing_behind(worker: OneWorker, authority: Authority) -> None:
    """Cut, spoilt and reset handshakes: each is counted once, no line is logged, no descriptor and no place is kept."""

    def counted(counts: dict[str, int]) -> int:
        return sum(count for key, count in counts.items() if key.startswith("handshake_failures|"))

    hello, chance = client_hello(authority), random.Random(8446)
    before, logged, descriptors = counted(worker.settled()), worker.errors(), worker.open_fds()
    for number in range(120):
        sent = bytearray(hello)
        if number % 3 == 0:
            del sent[chance.randrange(len(sent)) :]
        else:
            sent[chance.randrange(len(sent))] ^= 1 << chance.randrange(8)
        with socket.create_connection(worker.addresses[1]) as attacker:
            attacker.sendall(sent)
            if number % 3 == 1:
                attacker.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    with secure(worker, authority) as client:
        assert client.exchange(request_bytes(target="/api/a")).status == 200
    worker.totals(lambda counts: counted(counts) >= before + 120, "every one to be counted")
    worker.wait(lambda: not worker.tallies[-1].gauges.get("connections"), "every place to be free")

    assert counted(worker.settled()) == before + 120
    assert worker.errors() == logged
    worker.wait(lambda: worker.open_fds() <= descriptors, "every descriptor to come back")


def test_a_handshake_costs_a_place(legacy: Recorder, authority: Authority) -> None:
    """Clients and handshakes together stay below max_connections; who comes too many is closed and counted."""
    long = {"max_connections": 3, "header_read_timeout_ns": 60_000_000_000}
    with worker_of(legacy, authority.issue("few"), **long) as worker:
        silent = [socket.create_connection(worker.addresses[1]) for _ in range(3)]
        worker.wait(lambda: bool(worker.tallies) and worker.tallies[-1].gauges.get("connections") == 3, "3 places")
        with RawClient(worker.addresses[1]) as late:
            assert late.ending() == "eof"
        worker.totals(lambda counts: counts.get("refused|connections") == 1)
        for one in silent:
            one.close()
        worker.wait(lambda: not worker.tallies[-1].gauges.get("connections"), "free places")
        with secure(worker, authority) as client:
            assert client.exchange(request_bytes(target="/api/a")).status == 200


def test_large_bodies_pass_both_ways(worker: OneWorker, authority: Authority, legacy: Recorder) -> None:
    """8 MiB up and 8 MiB down over TLS arrive unchanged."""
    sent = os.urandom(1 << 20) * 8
    legacy.answer = answer(sent, headers=CLOSE)
    with secure(worker, authority) as client:
        response = client.exchange(request_bytes("POST", "/api/a", body=sent))

    assert response.body == sent
    assert legacy.requests[-1].body_bytes == len(sent)


def test_events_are_not_held_back(worker: OneWorker, authority: Authority, legacy: Recorder) -> None:
    """Over TLS, too, a client has each event before the backend writes the next."""
    gates = [Gate() for _ in range(3)]
    steps: list[Step] = [
        b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
    ]
    for gate in gates:
        steps += [b"9\r\ndata: 1\n\n\r\n", gate]
    legacy.answer = [*steps, b"0\r\n\r\n"]
    with secure(worker, authority) as client:
        client.send(request_bytes(target="/api/a"))
        client.read_head()
        for gate in gates:
            data = b""
            while b"data: 1\n\n\r\n" not in data:
                data += client.read_some()
            gate.open()
        assert client.read_exactly(5) == b"0\r\n\r\n"


@pytest.mark.alone
@pytest.mark.parametrize("leaves", ["close", "reset", "half_close"])
def test_a_client_that_leaves_takes_its_request_along(
    worker: OneWorker, authority: Authority, legacy: Recorder, leaves: str
) -> None:
    """However a TLS client leaves, its upstream request ends within 250 ms (best of nine): TLS knows no half."""
    times: list[float] = []
    while len(times) < 9 and not (times and times[-1] <= 0.25):
        legacy.answer = [Hang()]
        count = len(legacy.requests)
        client = secure(worker, authority)
        client.send(request_bytes(target="/api/a"))
        legacy.wait_requests(count + 1)
        began = time.monotonic()
        getattr(client, leaves)()
        legacy.wait_ended(legacy.requests[-1].connection)
        times.append(time.monotonic() - began)
        client.close()

    assert min(times) <= 0.25, times


def test_a_client_that_leaves_without_reading_takes_its_request_along(legacy: Recorder, authority: Authority) -> None:
    """A FIN ends the request of a TLS client that takes nothing any more: no service streams for nobody."""
    legacy.answer = lambda request: forever(b"x" * 8_192, 0.05)
    with (
        worker_of(legacy, authority.issue("leaver"), send_buffer=4_096) as worker,
        secure(worker, authority, receive_buffer=4_096) as client,
    ):
        client.send(request_bytes(target="/api/a"))
        assert client.read_head().status == 200
        connection = legacy.connections[legacy.requests[-1].connection]
        worker.wait(lambda: connection.sent_bytes > 65_536, "more than anybody takes")
        client.half_close()
        ending = legacy.wait_ended(connection.index).ending

    assert ending != "open"


def test_a_tunnel_runs_over_tls(worker: OneWorker, authority: Authority, legacy: Recorder) -> None:
    """An upgraded connection carries bytes both ways, and ends for both when either end is closed."""
    switch = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
    upgrade = request_bytes(target="/api/a", headers=(("Connection", "Upgrade"), ("Upgrade", "websocket")))
    legacy.answer = [switch, Echo()]
    with secure(worker, authority) as client:
        client.send(upgrade)
        assert client.read_head().status == 101
        client.send(b"ping")
        assert client.read_exactly(4) == b"ping"
        connection = legacy.requests[-1].connection
    assert legacy.wait_ended(connection).ending != "open"

    legacy.answer = [switch, Close()]
    with secure(worker, authority) as client:
        client.send(upgrade)
        assert client.read_head().status == 101
        assert client.ending() == "eof"
        client.tls_socket().unwrap()  # its close_notify comes when the other end is closed
    legacy.answer = OK
    assert worker.ask(request_bytes(target="/api/a")).status == 200
    assert "failed" not in worker.errors()
    assert "no effect" not in worker.errors()


def test_a_renewed_certificate_costs_no_request(legacy: Recorder, authority: Authority) -> None:
    """Twenty renewals under keep-alive load: no request fails, and each is shown from the next handshake on."""
    pair = authority.issue("renewed")
    with worker_of(legacy, pair) as worker, secure(worker, authority) as old:
        first = fingerprint(old)
        shown = {first}
        with Load(worker.addresses[1][1], tls=authority.client_context(), clients=2) as load:
            for _ in range(20):
                authority.issue("renewed")
                worker.push(config=stamped(worker.config))
                with secure(worker, authority) as client:
                    shown.add(fingerprint(client))
                    assert client.exchange(request_bytes(target="/api/a")).status == 200
            load.wait(50)
        assert old.exchange(request_bytes(target="/api/a")).status == 200
        assert fingerprint(old) == first

        assert worker.nacks == []
    assert load.failures == []
    assert len(shown) == 21


def test_a_broken_pair_leaves_the_last_good_one(legacy: Recorder, authority: Authority) -> None:
    """A pair that cannot be used is refused with its reason, and flips and holds go on with the last good one."""
    pair = authority.issue("broken")
    with worker_of(legacy, pair) as worker:
        with secure(worker, authority) as client:
            good = fingerprint(client)
        before = worker.config
        Path(pair.key.removeprefix("file:")).write_text("half")
        worker.push(config=stamped(before))
        assert "holds no private key" in worker.nacks[-1].reason

        worker.push({"orders": flag(Stage.LIVE)}, config=before)
        worker.hold(link.HoldItem(route="orders"))
        assert len(worker.nacks) == 1
        with secure(worker, authority) as client:
            assert fingerprint(client) == good
            assert client.exchange(request_bytes(target="/api/a")).status == 200

        authority.issue("broken")
        worker.push(config=stamped(before))
        with secure(worker, authority) as client:
            assert fingerprint(client) != good


def test_nobody_waits_for_a_client_to_say_goodbye(legacy: Recorder, authority: Authority) -> None:
    """An idle TLS client that does not read does not hold up a drain."""
    with worker_of(legacy, authority.issue("idle")) as worker, secure(worker, authority) as idle:
        assert idle.exchange(request_bytes(target="/api/a")).status == 200
        worker.parent(link.Drain(deadline_ns=30_000_000_000))
        assert worker.process.wait(WAIT_S) == 0
        assert idle.ending() == "eof"


def test_a_slow_reader_gets_its_last_answer_whole(worker: OneWorker, authority: Authority, legacy: Recorder) -> None:
    """The answer that ends a connection is delivered whole, however late the client reads it."""
    body = os.urandom(4 << 20)
    legacy.answer = answer(body, headers=CLOSE)
    with secure(worker, authority, receive_buffer=16_384) as client:
        client.send(request_bytes(target="/api/a", headers=(("Connection", "close"),)))
        legacy.wait_requests(len(legacy.requests))
        time.sleep(0.2)  # the buffers of both ends fill up; the rule holds whether or not they do
        assert client.read_response().body == body
        assert client.ending() == "eof"


def test_the_end_of_the_certificate_is_reported(worker: OneWorker) -> None:
    """The worker reports when the certificate that it shows ends, by listener; a clear one has none."""
    worker.settled()
    named = [key for key in worker.tallies[-1].gauges if key.startswith("certificate_expiry|")]

    assert named == [f"certificate_expiry|127.0.0.1:{worker.addresses[1][1]}"]
    assert worker.tallies[-1].gauges[named[0]] > time.time()


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (TimeoutError(), "timeout"),
        (ConnectionAbortedError("slow"), "timeout"),
        (ConnectionResetError(), "closed"),
        (ssl.SSLError(), "other"),
    ],
)
def test_reasons_are_a_closed_list(error: Exception, reason: str) -> None:
    """Whatever goes wrong has one of seven names, because it is a metric's label."""
    assert reason_of(error) == reason
