"""Play the shop's customers: a bounded number of keep-alive clients at a fixed total rate.

A client speaks raw HTTP/1.1, so that what it counts owes nothing to the proxy under
show: it knows which side answered from ``X-App-Version``, which the services write
themselves. Each client finishes the request in hand before it leaves, so that its
counts and the proxy's can be equal to the last one.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import quote

from demo import seed

CLIENTS = 12
REQUESTS_PER_SECOND = 150.0
USERS = 2_000
# The slowest answer of the demo takes about 20 ms; a machine that is busy elsewhere may need seconds.
REQUEST_TIMEOUT_S = 15.0
SIDES = {"shop-legacy": "legacy", "shop-new": "new"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """Describe one request that a client is about to send."""

    route: str
    """The route that should take it; ``-`` for what no route declares."""
    method: str
    target: str
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    expected: tuple[int, ...] = (200,)


@dataclass(slots=True)
class TrafficState:
    """Count what the clients saw."""

    answered: Counter[tuple[str, str]] = field(default_factory=Counter)
    """(route, side) to answers."""
    failed: int = 0
    first_failure: str = ""


def _product(random: random.Random) -> int:
    # A few products are looked at much more often than the others, and some are gone.
    return min(int(random.paretovariate(0.7)), seed.PRODUCTS + 2)


def _products(random: random.Random) -> Ask:
    category = random.choice(("", "kitchen", "living", "garden", "office", "toys"))
    query = f"category={category}&page=1" if category else f"page={random.randint(1, 21)}"
    return Ask(route="products", method="GET", target=f"/api/products?{query}")


def _report(random: random.Random) -> Ask:
    headers = (("Accept-Encoding", "gzip, deflate"),) if random.random() < 0.5 else ()
    target = "/api/report?download=1" if random.random() < 0.2 else "/api/report"
    return Ask(route="report", method="GET", target=target, headers=headers)


def _search(random: random.Random) -> Ask:
    words = random.choice(("ca", "oak", "tin", "café kettle", "müller", "lamp", "black"))
    if random.random() < 0.5:
        return Ask(route="search", method="GET", target=f"/api/search?q={quote(words)}")
    return _post("search", "/api/search", {"q": words}, 200)


def _create(random: random.Random) -> Ask:
    lines = [{"product_id": _product(random), "quantity": random.randint(1, 3)}]
    return _post("create-order", "/api/orders", {"customer_id": random.randint(1, 60), "lines": lines}, 201)


def _post(route: str, target: str, value: object, status: int) -> Ask:
    headers = (("Content-Type", "application/json"),)
    return Ask(
        route=route, method="POST", target=target, headers=headers, body=json.dumps(value).encode(), expected=(status,)
    )


def _get(route: str, target: str) -> Ask:
    return Ask(route=route, method="GET", target=target, expected=(200, 404))


# Shares of the traffic in percent; writes are 5 %.
MIX: tuple[tuple[int, Callable[[random.Random], Ask]], ...] = (
    (24, lambda random: _get("product", f"/api/products/{_product(random)}")),
    (15, _products),
    (13, lambda random: _get("price", f"/api/prices/{_product(random)}")),
    (
        10,
        lambda random: _get("stock", "/api/stock?ids=" + ",".join(str(_product(random)) for _ in range(3))),
    ),
    (11, lambda random: _get("order", f"/api/orders/{random.randint(seed.FIRST_ORDER, 1_430)}")),
    (9, lambda random: _get("customer", f"/api/customers/{random.randint(1, seed.CUSTOMERS)}")),
    (7, _search),
    (3, _report),
    (3, lambda random: _get("-", "/api/legacy-only")),
    (5, _create),
)


def next_ask(random: random.Random) -> Ask:
    """Draw the next request of the mix, with the identity of a random user."""
    (draw,) = random.choices([ask for _, ask in MIX], [share for share, _ in MIX])
    ask = draw(random)
    user = random.randint(1, USERS)
    # Most users are known by a header that the edge sets, the others by their session.
    who = ("X-User-Id", str(user)) if user % 5 else ("Cookie", f"theme=dark; session=s{user:05d}")
    return Ask(
        route=ask.route,
        method=ask.method,
        target=ask.target,
        headers=(*ask.headers, who),
        body=ask.body,
        expected=ask.expected,
    )


def request_bytes(ask: Ask) -> bytes:
    """Write one request as bytes."""
    lines = [f"{ask.method} {ask.target} HTTP/1.1", "Host: shop.example"]
    lines += [f"{name}: {value}" for name, value in ask.headers]
    if ask.body:
        lines.append(f"Content-Length: {len(ask.body)}")
    return "\r\n".join([*lines, "", ""]).encode() + ask.body


class AnswerError(Exception):
    """An answer is not what HTTP/1.1 or the shop allows."""


async def read_answer(reader: asyncio.StreamReader) -> tuple[int, dict[str, str], bytes]:
    """Read one whole answer: status, headers with lower-case names, body.

    Bound: bodies are delimited by length or chunks; an answer that ends with the
    connection is an error here, because neither shop sends one.
    """
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    version, status, *_ = head[0].split(" ", 2)
    if version != "HTTP/1.1":
        raise AnswerError(f"the answer starts with {head[0]!r}")
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:-2])}
    if headers.get("transfer-encoding", "").lower() == "chunked":
        parts = []
        while size := int((await reader.readline()).split(b";")[0], 16):
            parts.append(await reader.readexactly(size))
            await reader.readexactly(2)
        while (await reader.readline()) not in (b"\r\n", b""):
            pass
        return int(status), headers, b"".join(parts)
    if "content-length" not in headers:
        raise AnswerError(f"an answer {status} without a length")
    return int(status), headers, await reader.readexactly(int(headers["content-length"]))


class Client:
    """Keep one connection to the proxy and send one request at a time over it."""

    __slots__ = ("_port", "_reader", "_writer")

    def __init__(self, port: int) -> None:
        self._port = port
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def ask(self, ask: Ask) -> tuple[int, dict[str, str], bytes]:
        """Send one request and read its answer, on the connection at hand or a new one.

        Raises: OSError, EOFError, TimeoutError, AnswerError; the connection is then gone.
        """
        try:
            async with asyncio.timeout(REQUEST_TIMEOUT_S):
                if self._reader is None or self._writer is None or self._reader.at_eof():
                    await self.close()
                    self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)
                self._writer.write(request_bytes(ask))
                answer = await read_answer(self._reader)
        except BaseException:
            await self.close()
            raise
        if answer[1].get("connection", "").lower() == "close":
            await self.close()
        return answer

    async def close(self) -> None:
        """Close the connection, if there is one."""
        writer, self._writer, self._reader = self._writer, None, None
        if writer is not None:
            writer.close()


async def run(port: int, state: TrafficState, stop: asyncio.Event) -> None:
    """Send traffic to ``port`` until ``stop`` is set, then let every client finish.

    Bound: CLIENTS connections with one request each; a slow proxy lowers the rate
    instead of piling requests up.
    """
    async with asyncio.TaskGroup() as group:
        for number in range(CLIENTS):
            group.create_task(_play(number, port, state, stop), name=f"client {number}")


async def _play(number: int, port: int, state: TrafficState, stop: asyncio.Event) -> None:
    loop = asyncio.get_running_loop()
    chance = random.Random(number)
    client = Client(port)
    every = CLIENTS / REQUESTS_PER_SECOND
    due = loop.time() + every * number / CLIENTS
    try:
        while not stop.is_set():
            try:
                await asyncio.wait_for(stop.wait(), max(0.0, due - loop.time()))
                break
            except TimeoutError:
                pass
            # After a pause of the whole machine the clients go on; they do not catch up.
            due = max(due + every, loop.time() - 5 * every)
            await _one(client, next_ask(chance), state)
    finally:
        await client.close()


async def _one(client: Client, ask: Ask, state: TrafficState) -> None:
    try:
        status, headers, _ = await client.ask(ask)
    except (OSError, EOFError, ValueError, AnswerError) as error:
        _fail(state, ask, f"{type(error).__name__} {error}")
        return
    side = SIDES.get(headers.get("x-app-version", "").partition("/")[0], "none")
    state.answered[ask.route, side] += 1
    if status not in ask.expected or side == "none":
        _fail(state, ask, f"status {status} from {headers.get('x-app-version', 'no service')}")


def _fail(state: TrafficState, ask: Ask, why: str) -> None:
    state.failed += 1
    state.first_failure = state.first_failure or f"{ask.method} {ask.target}: {why}"
