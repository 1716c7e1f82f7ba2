"""Tell others, signed, what the watchdog and the autopilot do; ask them before a step.

A message is a JSON object, sent by POST with

* ``X-Matapalo-Delivery``: the message's id, the same for every try, so that a receiver takes it once;
* ``X-Matapalo-Timestamp``: Unix time of this try in whole seconds; a receiver refuses what is older than some minutes;
* ``X-Matapalo-Signature``: ``v1=`` and the hexadecimal HMAC-SHA256, under the webhook's secret, of the timestamp, a
  full stop and the body.

Rules of this file:

1. Nobody waits for a message but a step up of the autopilot, which asks. What is told waits in a bounded queue, one
   for each receiver; what does not fit is dropped and counted.
2. Every try has a deadline; a message is tried :data:`TRIES` times, with growing pauses.
3. A receiver is told one thing after the other, in order: ``before`` never comes behind ``after``, and who is deaf
   holds nobody else up.
4. A redirect is never followed: it would carry a signed message to where nobody has decided to send it.
5. Neither secret nor URL is logged: the path of such a URL is often a secret, too. A webhook is named by its host.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import time
import uuid
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Final, Literal
from urllib.parse import urlsplit

from config.errors import SecretError
from config.secret import resolve
from config.spec import WebhookSpec
from console.journal import now_text
from console.state import ControlState

if TYPE_CHECKING:
    import httpx2

    from console.watchdog import Trip

Event = Literal["autopilot.before", "autopilot.after", "watchdog.tripped"]

TRY_S: Final = 5.0
TRIES: Final = 4
PAUSES_S: Final = (1.0, 5.0, 25.0)
"""Between the tries of one message; a receiver that restarts is back within half a minute."""

MAX_WAITING: Final = 256
"""Messages that wait for one receiver; a route has some ten of them a day."""

MAX_ANSWER: Final = 2_000
"""Bytes of a refusal that are looked at for its reason."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Message:
    """Hold one message to one webhook."""

    webhook: WebhookSpec
    id: str
    event: Event
    body: bytes


class Webhooks:
    """Send messages to the webhooks of the configuration in force.

    Runs: :meth:`run` as one task on control's loop; :meth:`tell` from anywhere on it.
    Bound: :data:`MAX_WAITING` messages wait for each receiver, one to each is under way.
    """

    def __init__(self, state: ControlState, *, pauses_s: tuple[float, ...] = PAUSES_S) -> None:
        self._state, self._pauses_s = state, pauses_s
        self._waiting: dict[str, deque[_Message]] = {}
        """By URL: what its receiver is still to be told; there is none to whom nothing is."""
        self._sending: set[str] = set()
        """The URLs that have a task which sends what waits."""
        self._news = asyncio.Event()
        self._client: httpx2.AsyncClient | None = None
        self.sent: Counter[tuple[str, str]] = Counter()
        """(event, outcome) to messages: delivered, refused, failed or dropped."""

    def tell(self, event: Event, body: Mapping[str, object]) -> None:
        """Say what has happened; returns at once."""
        for message in self._messages(event, body):
            waiting = self._waiting.setdefault(message.webhook.url, deque())
            if len(waiting) < MAX_WAITING:
                waiting.append(message)
                self._news.set()
            else:
                self.sent[event, "dropped"] += 1
                self._say("webhook.dropped", message, f"{MAX_WAITING} messages wait already")

    def has(self, event: Event) -> bool:
        """Tell whether anybody wants to hear of an event."""
        return any(event in webhook.events for webhook in self._state.config.webhooks)

    async def ask(self, event: Event, body: Mapping[str, object]) -> str:
        """Ask everybody who wants to be asked; the result is why not, empty: nobody objects.

        Bound: :data:`TRY_S` per webhook; whoever does not answer 2xx within it objects.
        """
        for message in self._messages(event, body):
            why = await self._try(message)
            self.sent[event, "refused" if why else "delivered"] += 1
            if why:
                self._say("webhook.refused", message, why)
                return f"the webhook of {_host(message.webhook)} does not agree: {why}"
        return ""

    async def run(self) -> None:
        """Send what waits, for ever, with a task for each receiver for whom something does."""
        self._sending.clear()
        try:
            async with asyncio.TaskGroup() as group:
                while True:
                    self._news.clear()
                    for url in self._waiting.keys() - self._sending:
                        self._sending.add(url)
                        group.create_task(self._send(url), name="webhook")
                    await self._news.wait()
        finally:
            await self.close()

    async def _send(self, url: str) -> None:
        """Send what waits for one receiver, in order."""
        waiting = self._waiting[url]
        while waiting:
            await self._deliver(waiting.popleft())
        del self._waiting[url]  # no await stands between: whoever tells now finds neither, and a new task is made
        self._sending.discard(url)

    async def close(self) -> None:
        """Close the connections; what waits is not sent any more."""
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    def _messages(self, event: Event, body: Mapping[str, object]) -> list[_Message]:
        wanted = [webhook for webhook in self._state.config.webhooks if event in webhook.events]
        if not wanted:
            return []
        number = uuid.uuid4().hex
        whole = json.dumps({"at": now_text(), **body, "id": number, "event": event}).encode()
        return [_Message(webhook=webhook, id=number, event=event, body=whole) for webhook in wanted]

    async def _deliver(self, message: _Message) -> None:
        """Try several times, then give up and say so."""
        why = ""
        for pause_s in (*self._pauses_s[: TRIES - 1], None):
            why = await self._try(message)
            if not why:
                self.sent[message.event, "delivered"] += 1
                return
            if pause_s is not None:
                await asyncio.sleep(pause_s)
        self.sent[message.event, "failed"] += 1
        self._say("webhook.failed", message, why)

    async def _try(self, message: _Message) -> str:
        """Send once; the result is why it was not taken."""
        import httpx2

        try:
            secret = await asyncio.to_thread(resolve, message.webhook.secret)
            if self._client is None:
                # No proxy and no certificate file out of the environment: where messages go is in the configuration.
                self._client = httpx2.AsyncClient(timeout=TRY_S, follow_redirects=False, trust_env=False)
            moment = str(int(time.time()))
            headers = {
                "Content-Type": "application/json",
                "X-Matapalo-Event": message.event,
                "X-Matapalo-Delivery": message.id,
                "X-Matapalo-Timestamp": moment,
                "X-Matapalo-Signature": signature(secret, moment, message.body),
            }
            async with (
                asyncio.timeout(TRY_S),
                self._client.stream("POST", message.webhook.url, content=message.body, headers=headers) as answer,
            ):
                if 200 <= answer.status_code < 300:
                    return ""
                return f"it answered {answer.status_code}{await _reason(answer)}"
        except SecretError as error:
            return str(error)
        except TimeoutError:
            return f"it did not answer within {TRY_S:g} s"
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError) as error:
            return f"it cannot be reached ({type(error).__name__})"

    def _say(self, event: str, message: _Message, why: str) -> None:
        self._state.journal.say(event, f"{message.event} to {_host(message.webhook)}: {why}", delivery=message.id)


def tell_of_trip(webhooks: Webhooks, trip: Trip) -> None:
    """Tell of a trip of the watchdog."""
    webhooks.tell("watchdog.tripped", asdict(trip))


def signature(secret: str, timestamp: str, body: bytes) -> str:
    """Sign a message as the header ``X-Matapalo-Signature`` carries it."""
    digest = hmac.new(secret.encode(), timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()
    return f"v1={digest}"


async def _reason(answer: httpx2.Response) -> str:
    """Read a JSON object's ``reason`` out of a refusal, if it is there and short."""
    body = b""
    async for piece in answer.aiter_raw():
        body += piece
        if len(body) > MAX_ANSWER:
            return ""
    try:
        reason = json.loads(body).get("reason")
    except (ValueError, AttributeError):
        return ""
    return f": {reason[:200]}" if isinstance(reason, str) and reason.isprintable() else ""


def _host(webhook: WebhookSpec) -> str:
    return urlsplit(webhook.url).hostname or "?"
