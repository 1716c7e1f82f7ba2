"""Webhooks: signed, bounded, never in anybody's way, and without a word too many in the log."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from types import SimpleNamespace

import pytest

from config.spec import WebhookSpec
from console.journal import Journal
from console.webhooks import MAX_WAITING, Webhooks, signature
from tests.support.recorder import Gate, Recorder, answer

pytestmark = pytest.mark.anyio

EVENTS = ("autopilot.before", "autopilot.after", "watchdog.tripped")


class Kept:
    """Keep what is logged."""

    dropped = 0

    def __init__(self) -> None:
        self.text = ""

    def write(self, raw_lines: bytes) -> bool:
        """Take a line."""
        self.text += raw_lines.decode()
        return True


class Node:
    """Be as much of control's state as a webhook needs."""

    def __init__(self, *webhooks: WebhookSpec) -> None:
        self._lines = Kept()
        self.journal = Journal(self._lines)  # type: ignore[arg-type]  # all that is asked of lines
        self.config = SimpleNamespace(webhooks=webhooks)

    def log(self) -> str:
        """Read what was logged."""
        return self._lines.text


@pytest.fixture
def hook(monkeypatch: pytest.MonkeyPatch) -> Iterator[Recorder]:
    """Listen as a receiver, and know the secret."""
    monkeypatch.setenv("HOOK_SECRET", "hunter2")
    with Recorder(answer(b"", status=204, reason="No Content")) as recorder:
        yield recorder


def spec(url: str, *events: str) -> WebhookSpec:
    """Name one webhook."""
    return WebhookSpec(url=f"{url}/secret-path", secret="env:HOOK_SECRET", events=events or EVENTS)


@asynccontextmanager
async def sending(node: Node) -> AsyncIterator[Webhooks]:
    """Send until the test is done."""
    webhooks = Webhooks(node, pauses_s=(0.01, 0.01, 0.01))  # type: ignore[arg-type]  # all that it needs of a state
    task = asyncio.create_task(webhooks.run())
    try:
        yield webhooks
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def until_sent(webhooks: Webhooks, **outcomes: int) -> None:
    """Wait until messages have ended so."""
    deadline = time.monotonic() + 60
    while {outcome: sum(n for (_, o), n in webhooks.sent.items() if o == outcome) for outcome in outcomes} != outcomes:
        assert time.monotonic() < deadline, webhooks.sent
        await asyncio.sleep(0.005)


async def test_a_message_is_signed_with_time_and_id(hook: Recorder) -> None:
    """Whoever knows the secret can check who sent a message, when, and that it is not a second copy."""
    node = Node(spec(hook.url))
    async with sending(node) as webhooks:
        webhooks.tell("watchdog.tripped", {"routes": ["orders"]})
        await until_sent(webhooks, delivered=1)

    (request,) = hook.requests
    stamp = request.values("x-matapalo-timestamp")[0]
    digest = hmac.new(b"hunter2", stamp + b"." + request.body, hashlib.sha256).hexdigest()
    body = json.loads(request.body)
    assert request.values("x-matapalo-signature") == [f"v1={digest}".encode()]
    assert request.values("x-matapalo-event") == [b"watchdog.tripped"]
    assert abs(int(stamp) - time.time()) < 60
    assert (body["event"], body["routes"]) == ("watchdog.tripped", ["orders"])
    assert request.values("x-matapalo-delivery") == [body["id"].encode()]
    assert signature("key", "1", b"{}") == "v1=1ba6b8171186efc613e8bcc0cbdab2748f24984d7c5a84faa2637afa0e40d224"


async def test_a_message_that_is_not_taken_is_tried_again_with_the_same_id_then_given_up(hook: Recorder) -> None:
    """Four tries under one id; a redirect is no answer and is not followed; the log names the host, never the path or
    the secret."""
    hook.answer = answer(b"", status=307, reason="Temporary Redirect", headers=(("Location", f"{hook.url}/other"),))
    node = Node(spec(hook.url))
    async with sending(node) as webhooks:
        webhooks.tell("autopilot.after", {})
        await until_sent(webhooks, failed=1)
    log = node.log()

    assert len(hook.requests) == 4
    assert {request.target for request in hook.requests} == {b"/secret-path"}
    assert len({request.values("x-matapalo-delivery")[0] for request in hook.requests}) == 1
    assert "webhook.failed" in log
    assert "it answered 307" in log
    assert "secret-path" not in log
    assert "hunter2" not in log


async def test_a_before_that_is_not_agreed_to_holds_the_step_back(hook: Recorder) -> None:
    """Only 2xx agrees; a refusal with a reason, silence in person or a missing secret all say why not."""
    node = Node(spec(hook.url))
    webhooks = Webhooks(node)  # type: ignore[arg-type]  # all that it needs of a state

    agreed = await webhooks.ask("autopilot.before", {})
    hook.answer = answer(b'{"reason": "freeze until monday"}', status=423, reason="Locked")
    locked = await webhooks.ask("autopilot.before", {})
    gone = Webhooks(Node(spec("http://127.0.0.1:9")))  # type: ignore[arg-type]  # as above
    unreachable = await gone.ask("autopilot.before", {})
    node.config.webhooks = (WebhookSpec(url=hook.url, secret="env:NO_SUCH_SECRET"),)
    unknown = await webhooks.ask("autopilot.before", {})
    node.config.webhooks = (spec(hook.url, "watchdog.tripped"),)
    unasked = await webhooks.ask("autopilot.before", {})
    await webhooks.close()
    await gone.close()

    assert agreed == unasked == ""
    assert locked == "the webhook of 127.0.0.1 does not agree: it answered 423: freeze until monday"
    assert "it cannot be reached (ConnectError)" in unreachable
    assert "NO_SUCH_SECRET is not set" in unknown


async def test_each_receiver_hears_in_order_and_a_deaf_one_holds_nobody_else_up(
    hook: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What comes after is not sent to a receiver before what comes first has arrived or is given up, and waits for no
    other receiver."""
    monkeypatch.setattr("console.webhooks.TRY_S", 600.0)  # whoever waits for the deaf one waits for good
    deaf = Gate()
    with Recorder([deaf, answer(b"", status=204, reason="No Content")]) as other:
        answers = iter([answer(b"", status=503, reason="Busy")] * 2)
        hook.answer = lambda _: next(answers, answer(b"", status=204, reason="No Content"))
        async with sending(Node(spec(other.url), spec(hook.url))) as webhooks:
            webhooks.tell("autopilot.before", {})
            webhooks.tell("autopilot.after", {})
            await until_sent(webhooks, delivered=2)
            waiting = len(other.requests)
            deaf.open()
            await until_sent(webhooks, delivered=4)

    told = [request.values("x-matapalo-event")[0] for request in hook.requests]
    assert told == [b"autopilot.before"] * 3 + [b"autopilot.after"]
    assert waiting <= 1
    assert [request.values("x-matapalo-event")[0] for request in other.requests][-1] == b"autopilot.after"


async def test_what_does_not_fit_the_queue_is_dropped_and_counted(hook: Recorder) -> None:
    """Telling never waits: beyond the bound a message is dropped, counted and said."""
    webhooks = Webhooks(node := Node(spec(hook.url)))  # type: ignore[arg-type]  # all that it needs of a state

    for _ in range(MAX_WAITING + 3):
        webhooks.tell("watchdog.tripped", {})

    assert webhooks.sent == {("watchdog.tripped", "dropped"): 3}
    assert "webhook.dropped" in node.log()
    assert hook.requests == []
