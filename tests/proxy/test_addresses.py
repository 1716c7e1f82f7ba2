"""Names and addresses of a backend: what a change, a dead half or a dead name service costs.

The name service is a function of the test; sockets, pools and addresses (127.0.0.2, 127.0.0.3, ::1) are real.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from dataclasses import dataclass, field

import pytest
import uvloop

from config.spec import BackendSpec
from proxy import wire
from proxy.addresses import REFRESH_S, Addresses
from proxy.backend import BackendConnection
from proxy.pool import FRESH, Pool
from tests.support.recorder import Gate, Recorder, answer

REQUEST = b"GET / HTTP/1.1\r\nHost: shop.test\r\n\r\n"
CONNECT_S = 5.0


@dataclass(eq=False)
class Ask:
    """Be one request: a sink that only remembers how it ended."""

    ended: asyncio.Future[str] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    sent: asyncio.Future[None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    address: str = ""

    def on_connection(self, connection: BackendConnection) -> None:
        self.sent.set_result(None)
        self.address = connection.address
        connection.send(REQUEST, head_only=False, whole=True)

    def on_informational(self, head: wire.ResponseHead) -> None: ...

    def on_switch(self, head: wire.ResponseHead, connection: BackendConnection, tail: bytes) -> None: ...

    def on_head(self, head: wire.ResponseHead) -> None: ...

    def on_body(self, data: bytes) -> None: ...

    def on_flush(self) -> None: ...

    def on_writable(self, writable: bool) -> None: ...

    def on_end(self, trailers: wire.Trailers) -> None:
        self.ended.set_result("answered")

    def on_failure(self, phase: str, reason: str, *, late: bool = False) -> None:
        self.ended.set_result(phase)


class Place:
    """Hold one backend called shop.test, its pool and the name service."""

    def __init__(self, port: int, group: asyncio.TaskGroup, *names: str, host: str = "shop.test") -> None:
        loop = asyncio.get_running_loop()
        self.names: Sequence[str] | OSError = names
        self.lookups = 0
        self.failures = 0
        self.asks: list[Ask] = []

        def spawn(name: str, coroutine: object) -> None:
            assert isinstance(coroutine, Coroutine)
            group.create_task(coroutine, name=name)

        def on_failure() -> None:
            self.failures += 1

        self.addresses = Addresses(host, port, lookup=self._look_up, spawn=spawn, on_failure=on_failure)
        spec = BackendSpec(name="shop", scheme="http", host=host, port=port, connect_timeout_ns=int(CONNECT_S * 1e9))
        self.pool = Pool(spec, self.addresses, loop=loop, spawn=spawn)

    async def _look_up(self, host: str, port: int) -> Sequence[str]:
        self.lookups += 1
        await asyncio.sleep(0)
        if isinstance(self.names, OSError):
            raise self.names
        return self.names

    async def refreshed(self) -> None:
        """Let the answer grow old and be asked for again."""
        self.addresses.refresh(time.monotonic() + REFRESH_S + 1)
        assert self.addresses._looking is not None
        await asyncio.shield(self.addresses._looking)

    def start(self, *, idle_s: float = FRESH) -> Ask:
        """Begin one request, over a new connection unless told otherwise."""
        ask = Ask()
        self.asks.append(ask)
        connection = self.pool.lease(ask, idle_s=idle_s)
        if connection is not None:
            ask.on_connection(connection)
        return ask

    async def ask(self, *, idle_s: float = FRESH) -> str:
        """Ask once; give the address that answered, or the phase of the failure."""
        ask = self.start(idle_s=idle_s)
        end = await asyncio.wait_for(ask.ended, 2 * CONNECT_S)
        return ask.address if end == "answered" else end


def run(scenario: Callable[[asyncio.TaskGroup], Awaitable[Place]]) -> Place:
    """Run one scenario and close what it opened."""

    async def main() -> Place:
        async with asyncio.TaskGroup() as group:
            place = await scenario(group)
            place.pool.retire()
        await asyncio.sleep(0.01)
        return place

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main())


@pytest.fixture
def two() -> Iterator[tuple[Recorder, Recorder]]:
    """Answer on one port of two addresses."""
    with (
        Recorder(answer(b"ok"), host="127.0.0.2") as one,
        Recorder(answer(b"ok"), host="127.0.0.3", port=one.port) as other,
    ):
        yield one, other


@contextlib.contextmanager
def black_hole(host: str, port: int) -> Iterator[None]:
    """Take no connection and refuse none: a listener whose queue is full."""
    with socket.socket() as full:
        full.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        full.bind((host, port))
        full.listen(0)
        with contextlib.ExitStack() as stack:
            for _ in range(3):
                filler = stack.enter_context(socket.socket())
                filler.setblocking(False)
                filler.connect_ex((host, port))
            time.sleep(0.05)
            yield


def test_a_changed_answer_moves_the_connections(two: tuple[Recorder, Recorder]) -> None:
    """When a name changes new connections go to the new address; those to the old one end after their exchange."""
    one, other = two
    gate = Gate()

    async def scenario(group: asyncio.TaskGroup) -> Place:
        place = Place(one.port, group, "127.0.0.2")
        assert await place.ask() == "127.0.0.2"  # left idle
        one.answer = [gate, answer(b"ok")]
        busy = place.start()
        await busy.sent
        place.names = ("127.0.0.3",)
        await place.refreshed()
        assert await place.ask(idle_s=CONNECT_S) == "127.0.0.3"
        gate.open()
        assert await busy.ended == "answered"
        assert len(place.pool.open) == 1
        return place

    run(scenario)

    assert [one.wait_ended(number).ending for number in (0, 1)] == ["eof", "eof"]
    assert len(other.requests) == 1


def test_addresses_take_turns(two: tuple[Recorder, Recorder]) -> None:
    """A name with two addresses has its connections on both."""

    async def scenario(group: asyncio.TaskGroup) -> Place:
        place = Place(two[0].port, group, "127.0.0.2", "127.0.0.3")
        assert {await place.ask() for _ in range(4)} == {"127.0.0.2", "127.0.0.3"}
        return place

    assert run(scenario).lookups == 1


@pytest.mark.alone
def test_a_dead_half_is_skipped(two: tuple[Recorder, Recorder]) -> None:
    """Of four addresses one refuses and one is silent: everybody is served, and the silent one holds up one request."""
    one = two[0]

    async def scenario(group: asyncio.TaskGroup) -> Place:
        place = Place(one.port, group, "127.0.0.5", "127.0.0.2", "127.0.0.4", "127.0.0.3")
        times = []
        for _ in range(12):
            start = time.monotonic()
            assert await place.ask() in ("127.0.0.2", "127.0.0.3")
            times.append(time.monotonic() - start)
        assert sorted(times)[-1] < CONNECT_S
        assert sorted(times)[-3] < 0.25
        return place

    with black_hole("127.0.0.4", one.port):
        run(scenario)


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="needs IPv6 on the loopback")
def test_ipv6_only_is_enough() -> None:
    """A backend that has only an IPv6 address is reached."""
    with Recorder(answer(b"ok"), host="::1") as six:

        async def scenario(group: asyncio.TaskGroup) -> Place:
            place = Place(six.port, group, "::1")
            assert await place.ask() == "::1"
            return place

        run(scenario)


def test_a_dead_name_service_costs_nothing(two: tuple[Recorder, Recorder]) -> None:
    """While the name cannot be resolved any more the last answer serves, and the failure is counted."""

    async def scenario(group: asyncio.TaskGroup) -> Place:
        place = Place(two[0].port, group, "127.0.0.2")
        await place.ask()
        place.names = socket.gaierror("no name service")
        await place.refreshed()
        assert await place.ask() == "127.0.0.2"
        return place

    place = run(scenario)

    assert (place.lookups, place.failures) == (2, 1)


def test_one_look_up_serves_everybody(two: tuple[Recorder, Recorder]) -> None:
    """Any number of requests for a name that is not known yet ask the name service once."""

    async def scenario(group: asyncio.TaskGroup) -> Place:
        place = Place(two[0].port, group, "127.0.0.2")
        assert set(await asyncio.gather(*(place.ask() for _ in range(20)))) == {"127.0.0.2"}
        return place

    assert run(scenario).lookups == 1


def test_an_unknown_name_is_asked_for_again(two: tuple[Recorder, Recorder]) -> None:
    """A name that does not exist fails in phase resolve, and the next request asks again."""

    async def scenario(group: asyncio.TaskGroup) -> Place:
        place = Place(two[0].port, group)
        place.names = socket.gaierror("no such name")
        assert await place.ask() == "resolve"
        place.names = ("127.0.0.2",)
        assert await place.ask() == "127.0.0.2"
        return place

    assert run(scenario).failures == 0


def test_when_all_addresses_are_dead_the_name_is_asked_soon() -> None:
    """If no address takes a connection the request fails in phase connect; a second later the name is asked again."""

    async def scenario(group: asyncio.TaskGroup) -> Place:
        place = Place(1, group, "127.0.0.2", "127.0.0.3")
        assert await place.ask() == "connect"
        place.addresses.refresh(time.monotonic() + 0.5)
        await asyncio.sleep(0.01)
        assert place.lookups == 1
        place.addresses.refresh(time.monotonic() + 1.5)
        return place

    assert run(scenario).lookups == 2


def test_a_literal_address_is_never_looked_up(two: tuple[Recorder, Recorder]) -> None:
    """A backend that is configured by address needs no name service."""

    async def scenario(group: asyncio.TaskGroup) -> Place:
        place = Place(two[0].port, group, host="127.0.0.2")
        assert await place.ask() == "127.0.0.2"
        place.addresses.refresh(time.monotonic() + REFRESH_S + 1)
        return place

    assert run(scenario).lookups == 0
