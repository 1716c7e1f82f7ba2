"""Rules of server-sent events: everybody hears what changes, and nobody waits for a listener."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from console.events import MAX_LISTENERS, QUEUED, RECENT, Events
from console.problem import ProblemError
from tests.support.controlnode import running

pytestmark = pytest.mark.anyio


def read(raw: bytes) -> tuple[str, str, Any]:
    """Read one event: id, kind, data."""
    fields = dict(line.split(": ", 1) for line in raw.decode().splitlines() if line)
    return fields.get("id", ""), fields["event"], json.loads(fields["data"])


async def take(stream: AsyncIterator[bytes], count: int) -> list[tuple[str, str, Any]]:
    """Take some events of a stream."""
    return [read(await anext(stream)) for _ in range(count)]


def always() -> bool:
    """Be a token that never ends."""
    return True


async def begun(events: Events, last_event: str = "") -> AsyncIterator[bytes]:
    """Begin a stream; its first line says when to come back."""
    stream = events.listen(last_event, always)
    assert (await anext(stream)).startswith(b"retry: ")
    return stream


async def close(*streams: AsyncIterator[bytes]) -> None:
    """End streams as a client does."""
    for stream in streams:
        await stream.aclose()  # type: ignore[attr-defined]  # an async generator


async def test_a_slow_listener_is_told_what_it_missed_and_costs_nobody_else() -> None:
    """Beyond 256 waiting events the oldest are dropped and counted; the stream says how many, and others get all."""
    events = Events()
    slow, quick = await begun(events), await begun(events)
    got = []
    for number in range(QUEUED + 10):
        events.tell("revision", {"revision": number})
        got += await take(quick, 1)

    first = await take(slow, 2)
    await close(slow, quick)

    assert [data["revision"] for _, _, data in got] == list(range(QUEUED + 10))
    assert [(kind, data) for _, kind, data in first] == [("missed", {"events": 10}), ("revision", {"revision": 10})]
    assert events.dropped == 10
    assert events.listeners == 0


async def test_a_stream_goes_on_where_it_broke_off() -> None:
    """With Last-Event-ID the events since then come first; an id that is too old or of another process is said."""
    events = Events()
    for number in range(RECENT + 20):
        events.tell("revision", {"revision": number})
    (name, _, _) = read(events._recent[-3][1])
    epoch = name.partition("-")[0]

    recent = await begun(events, name)
    old, foreign = await begun(events, f"{epoch}-5"), await begun(events, "other-5")
    after = await take(recent, 2)
    lost, unknown = await take(old, 1), await take(foreign, 1)
    await close(recent, old, foreign)

    assert [data["revision"] for _, _, data in after] == [RECENT + 18, RECENT + 19]
    assert lost[0][1] == "missed"
    assert unknown[0][1:] == ("missed", {"events": None})


async def test_listeners_are_bounded_and_a_stream_ends_with_its_token(monkeypatch: pytest.MonkeyPatch) -> None:
    """The 65th stream is refused; a stream whose token has ended is closed with the next beat, a whole server's at its
    end."""
    monkeypatch.setattr("console.events.BEAT_S", 0.01)
    events = Events()
    ended = events.listen("", lambda: False)
    assert (await anext(ended)).startswith(b"retry: ")
    with pytest.raises(StopAsyncIteration):
        await anext(ended)
    beating = await begun(events)
    beat = await anext(beating)
    streams = [await begun(events) for _ in range(MAX_LISTENERS - 1)]
    with pytest.raises(ProblemError) as caught:
        events.listen("", always)
    events.close()
    with pytest.raises(StopAsyncIteration):
        await anext(beating)
    await close(*streams)

    assert beat == b": beat\n\n"
    assert caught.value.kind == "too-many"
    assert events.listeners == 0


async def test_nothing_is_told_after_the_end_of_a_token() -> None:
    """A stream whose token was revoked gets none of the events that come then, nor what waited for a slow reader."""
    events, tokens = Events(), {"ci"}
    stream = events.listen("", lambda: "ci" in tokens)
    assert (await anext(stream)).startswith(b"retry: ")
    for number in range(3):
        events.tell("change", {"number": number})
    first = await anext(stream)

    tokens.clear()
    rest = [piece async for piece in stream]

    assert b'"number": 0' in first
    assert rest == []
    assert events.listeners == 0


async def test_a_flip_is_heard_at_once(tmp_path: Path) -> None:
    """A listener hears who flipped what, the new revision and a hold; when it leaves, it is forgotten."""
    async with running(tmp_path) as node:
        await node.worker()
        async with httpx2.AsyncClient(base_url=node.url, trust_env=False, timeout=60) as client:
            async with client.stream("GET", "/api/v1/events") as answer:
                lines = answer.aiter_lines()
                assert (await anext(lines)).startswith("retry: ")
                await node.post("/api/v1/routes/orders/flip", {"stage": "shadow", "reason": "first look"})
                await node.post("/api/v1/routes/orders/hold", {})
                heard: dict[str, Any] = {}
                kind = ""
                while not {"change", "revision", "holds"} <= heard.keys():
                    line = await anext(lines)
                    if line.startswith("event: "):
                        kind = line.removeprefix("event: ")
                    elif line.startswith("data: "):
                        heard.setdefault(kind, json.loads(line.removeprefix("data: ")))
            content_type = answer.headers["content-type"]

        deadline = time.monotonic() + 60
        while "matapalo_admin_listeners 0.0" not in (await node.get("/metrics")).text:
            assert time.monotonic() < deadline, "the stream is not forgotten"

    assert content_type.startswith("text/event-stream")
    assert (heard["change"]["kind"], heard["change"]["routes"], heard["change"]["reason"]) == (
        "flip",
        ["orders"],
        "first look",
    )
    assert heard["holds"] == {"routes": ["orders"]}
