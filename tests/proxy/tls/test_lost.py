"""The turn of the loop between TLS losing its socket and our hearing of it."""

from __future__ import annotations

import asyncio
import time
from functools import partial
from pathlib import Path

import uvloop

from config.spec import BackendSpec
from proxy.addresses import Addresses, system_lookup
from proxy.backend import BackendConnection
from proxy.client import ClientConnection
from proxy.pool import Pool
from proxy.worker import Worker
from tests.support.authority import Authority
from tests.support.recorder import Recorder, answer


async def until_lost(transport: asyncio.BaseTransport) -> None:
    """Wait for the very turn: TLS has no socket any more, and its protocol has not been told."""
    deadline = time.monotonic() + 60
    while transport.get_extra_info("socket") is not None and time.monotonic() < deadline:  # noqa: ASYNC110 - the turn counts
        await asyncio.sleep(0)


async def quiet(connection: BackendConnection) -> bool:
    """Wait until the connection holds nothing unread, and tell whether it came to that."""
    deadline = time.monotonic() + 60
    while not connection.is_quiet() and time.monotonic() < deadline:  # noqa: ASYNC110 - nothing tells when
        await asyncio.sleep(0.01)
    return connection.is_quiet()


async def live(recorder: Recorder, authority: Authority, directory: Path) -> tuple[bool, bool, bool]:
    """Lose the socket beneath a backend's connection and beneath a client, and ask both what they then are asked."""
    loop = asyncio.get_running_loop()
    addresses = Addresses("127.0.0.1", 1, lookup=system_lookup(loop), spawn=print, on_failure=print)
    pool = Pool(BackendSpec(name="a", scheme="http", host="a", port=1), addresses, loop=loop, spawn=print)
    connect = partial(
        loop.create_connection,
        host="127.0.0.1",
        port=recorder.port,
        ssl=authority.client_context(),
        server_hostname="localhost",
    )
    backend = BackendConnection(pool)
    await connect(lambda: backend)
    await asyncio.to_thread(recorder.wait_connections, 1)
    # The server's session tickets may come behind the handshake, and are read in a turn of their own.
    before = await quiet(backend)
    recorder.drop_connections()
    await until_lost(backend.transport)
    assert not backend.closed
    after = backend.is_quiet()

    async with asyncio.TaskGroup() as group:
        worker = Worker(str(directory), 0, loop, group)
        client = ClientConnection(worker)
        client.transport, _ = await connect(asyncio.Protocol)
        await asyncio.to_thread(recorder.wait_connections, 2)
        recorder.drop_connections()
        await until_lost(client.transport)
        client.pause_reading()
        client.check(1e9)
        client.abort()
        worker.departures.close()
    await asyncio.sleep(0)
    return before, after, client.closed


def test_nothing_fails_while_tls_has_lost_its_socket(tmp_path: Path) -> None:
    """A lost backend connection is not lent to a write, and a lost client can be paused, checked and aborted."""
    authority = Authority(tmp_path)
    with (
        Recorder(answer(b"ok"), tls=authority.server_context(authority.issue("a"))) as recorder,
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
    ):
        before, after, closed = runner.run(live(recorder, authority, tmp_path))

    assert before
    assert not after
    assert closed
