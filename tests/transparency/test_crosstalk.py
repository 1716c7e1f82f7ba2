"""A thousand clients at once: nobody gets what belongs to another."""

from __future__ import annotations

import asyncio
import json
import re

from config.spec import ShadowSpec
from rules.flag import Stage
from tests.support.oneworker import OneWorker, flag, route
from tests.support.recorder import Close, RecordedRequest, Recorder, Step, answer

CLIENTS = 1_000
ROUNDS = 2
"""Requests of one client, over one connection."""


def reply(request: RecordedRequest) -> list[Step]:
    """Answer with what the request says of itself; every ninth connection ends behind its answer, unannounced."""
    parts = (request.target[5:], request.values("x-own")[0], request.values("cookie")[0][4:], request.body)
    told = answer(b"|".join(parts), headers=(("X-Own", request.values("x-own")[0].decode()),))
    return [told, Close()] if sum(request.target) % 9 == 0 else [told]


async def visit(address: tuple[str, int], who: int, outcomes: dict[str, int], wrong: list[str]) -> None:
    """Ask with one name in target, field, cookie and body, and look for it in the answer; every tenth client leaves."""
    reader, writer = await asyncio.open_connection(*address)
    try:
        for number in range(ROUNDS):
            name = f"{who}-{number}"
            head = f"Host: a\r\nX-Own: {name}\r\nCookie: own={name}\r\nX-Request-Id: {name}\r\n"
            body = name if who % 2 else ""
            line = f"{'POST' if body else 'GET'} /api/{name} HTTP/1.1\r\n"
            length = f"Content-Length: {len(body)}\r\n" if body else ""
            writer.write(f"{line}{head}{length}\r\n{body}".encode())
            if who % 10 == 0:
                await writer.drain()
                if who % 20 == 0:
                    await reader.read(1)
                writer.transport.abort()
                outcomes["left"] += 1
                return
            answer_head = (await reader.readuntil(b"\r\n\r\n")).decode()
            size = re.search(r"(?i)content-length: (\d+)", answer_head)
            assert size is not None
            got = (await reader.readexactly(int(size[1]))).decode()
            if answer_head.startswith("HTTP/1.1 200 "):
                outcomes["answered"] += 1
                if got != f"{name}|{name}|{name}|{body}" or f"X-Own: {name}\r\n" not in answer_head:
                    wrong.append(f"{name} got {got}")
            else:
                # A POST over a connection that ended under it: an honest 502, and it, too, is this client's own.
                outcomes["refused"] += 1
                if json.loads(got)["request_id"] != name:
                    wrong.append(f"{name} got {got}")
            if f"X-Request-Id: {name}\r\n" not in answer_head:
                wrong.append(f"{name} got {answer_head}")
    finally:
        writer.close()


def test_a_thousand_clients_get_their_own_answers() -> None:
    """With copies, retries and cancels at work, every answer carries the name of the request that it belongs to."""
    outcomes, wrong = {"answered": 0, "left": 0, "refused": 0}, list[str]()
    spec = route(shadow=ShadowSpec(max_per_second=None, reads=("POST",)))

    with (
        Recorder(reply) as legacy,
        Recorder(reply) as new,
        OneWorker(
            backends={"legacy": legacy.url, "new": new.url}, routes=[spec], flags={"orders": flag(Stage.SHADOW)}
        ) as worker,
    ):

        async def everybody() -> None:
            async with asyncio.timeout(240), asyncio.TaskGroup() as group:
                for who in range(CLIENTS):
                    group.create_task(visit(worker.address, who, outcomes, wrong))

        asyncio.run(everybody())
        counts = worker.settled()

    assert wrong == []
    assert outcomes["left"] == CLIENTS // 10
    assert outcomes["answered"] > 0.9 * ROUNDS * (CLIENTS - outcomes["left"])
    assert counts["copies|orders|new|compare"] > 0
    assert counts.get("unequal|orders|legacy", 0) == 0
