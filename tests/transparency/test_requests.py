"""Every request of the corpus, direct and through the proxy: the same bytes but for what docs/wire.md lists.

One live worker carries the whole corpus, many requests per connection: once on a route in ``legacy``, once in
``shadow`` with a copy of whatever may be copied. The tests then look at what was recorded.
"""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

import pytest

from config.spec import ShadowSpec
from rules.flag import Stage
from tests.support.oneworker import OneWorker, flag, route
from tests.support.rawclient import RawClient, RawResponse
from tests.support.recorder import RecordedRequest, Recorder, Step, answer
from tests.transparency import contract
from tests.transparency.requests import CHAPTERS, REQUESTS, Request

READS: Final = ("POST", "QUERY", "DELETE")
"""Declared to be reads, so that their bodies are copied."""


@dataclass(slots=True, kw_only=True)
class Passage:
    """Keep what one request came to on one way."""

    response: RawResponse | None = None
    failure: str = ""
    arrived: list[RecordedRequest] = field(default_factory=list)
    copies: list[RecordedRequest] = field(default_factory=list)
    raw_body: bytes = b""


@dataclass(slots=True)
class Way:
    """Send the corpus over one way, on few connections."""

    address: tuple[str, int]
    backend: Recorder
    shadow: Recorder | None = None
    _client: RawClient | None = None

    def send(self, request: Request) -> Passage:
        """Send one request; a new connection only where the last answer ended the old one."""
        client, self._client = self._client or RawClient(self.address), None
        passage = Passage()
        before = len(self.backend.requests)
        copies = len(self.shadow.requests) if self.shadow else 0
        try:
            passage.response = response = client.exchange(request.raw, request.method)
        except Exception as error:  # recorded: the test of this one request fails, not all of them
            passage.failure = repr(error)
            response = None
        passage.arrived = self.backend.requests[before:]
        if self.shadow and passage.arrived and is_copied(passage.arrived[0]):
            with suppress(TimeoutError):
                self.shadow.wait_until(lambda: [one.complete for one in self.shadow_requests(copies)] == [True], "copy")
            passage.copies = self.shadow_requests(copies)
        if response is None or response.status == 101 or response.value("connection") == b"close" or client.leftover:
            client.close()
        else:
            self._client = client
        return passage

    def shadow_requests(self, start: int) -> list[RecordedRequest]:
        """List the copies since *start*."""
        assert self.shadow is not None
        return self.shadow.requests[start:]

    def close(self) -> None:
        """End the connection."""
        if self._client is not None:
            self._client.close()


def is_copied(primary: RecordedRequest) -> bool:
    """Say whether a request that arrived so has a copy: a read, no range, no stream, no upgrade."""
    return (
        primary.method in {b"GET", b"HEAD", b"OPTIONS", *(one.encode() for one in READS)}
        and not primary.values("range")
        and not primary.values("if-range")
        and not primary.values("upgrade")
        and b"text/event-stream" not in b"".join(primary.values("accept"))
    )


def reply(request: RecordedRequest) -> bytes | list[Step]:
    """Answer every request alike; an upgrade is declined."""
    whole = answer(b"ok")
    return whole[:-2] if request.method == b"HEAD" else whole


Passages = dict[str, dict[str, Passage]]
CORPUS: Final = {request.id: request for request in REQUESTS}
FORWARDED: Final = [request.id for request in REQUESTS if not request.refused]


def told(chapter: str, *, refused: bool) -> dict[str, str]:
    """Name the cases of a chapter that are forwarded, or refused, with their reasons."""
    return {request.id: request.why for request in CHAPTERS[chapter] if bool(request.refused) == refused}


@pytest.fixture(scope="module")
def passages() -> Passages:
    """Send the corpus direct, through a route in ``legacy``, and through a route in ``shadow``."""
    spec = route(path="/**", shadow=ShadowSpec(max_per_second=None, reads=READS))
    with (
        Recorder(reply) as direct,
        Recorder(reply) as legacy,
        Recorder(reply) as new,
        OneWorker(
            backends={"legacy": legacy.url, "new": new.url}, routes=[spec], flags={"orders": flag(Stage.LEGACY)}
        ) as worker,
    ):
        found: Passages = {request.id: {} for request in REQUESTS}
        ways = {
            "direct": Way(direct.address, direct),
            "legacy": Way(worker.address, legacy),
            "shadow": Way(worker.address, legacy, new),
        }
        for name, way in ways.items():
            if name == "shadow":
                worker.push({"orders": flag(Stage.SHADOW)})
            for request in REQUESTS:
                if name != "direct" or not request.refused:
                    found[request.id][name] = way.send(request)
            way.close()
        worker.settled()
        found["all"] = {"shadow": Passage(copies=list(new.requests))}
    return found


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_a_request_arrives_as_it_was_sent(passages: Passages, chapter: str) -> None:
    """A request reaches the backend with the bytes that it would have had direct, but for what docs/wire.md lists."""

    def check(name: str) -> None:
        there = passages[name]["direct"]
        assert there.response is not None, there.failure
        (sent,) = there.arrived
        for way in ("legacy", "shadow"):
            here = passages[name][way]
            assert here.response is not None, here.failure
            assert len(here.arrived) == 1
            got = here.arrived[0]
            new_id, node = b"".join(got.values("x-request-id")), b"".join(got.values("x-matapalo-via"))

            assert got.raw_head == contract.forwarded_head(
                sent.method, sent.target, sent.version, sent.headers, new_id=new_id, node=node
            )
            assert contract.request_id(sent.headers) == new_id or contract.NEW_ID.fullmatch(new_id)
            assert contract.NODE.fullmatch(node)
            assert got.body == sent.body
            assert bool(got.chunks) == bool(sent.chunks)
            assert got.trailers == contract.kept_trailers(sent.trailers, sent.headers, contract.HOP)
            assert (here.response.status, here.response.body) == (there.response.status, there.response.body)

    assert contract.broken(told(chapter, refused=False), check) == {}


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_a_copy_differs_by_its_marks_only(passages: Passages, chapter: str) -> None:
    """A copy has the primary's bytes but for the marks that docs/wire.md lists; what may not be copied has none."""
    trace = re.compile(rb"(?i)(traceparent: ..-.{32}-)(.{16})(-..)")

    def check(name: str) -> None:
        passage = passages[name]["shadow"]
        assert len(passage.arrived) == 1
        primary = passage.arrived[0]
        assert len(passage.copies) == is_copied(primary)
        for copy in passage.copies:
            assert trace.sub(rb"\1SPAN\3", copy.raw_head) == contract.copied_head(primary.raw_head, primary.body)
            assert copy.values("traceparent") != primary.values("traceparent") or not copy.values("traceparent")
            assert copy.body == primary.body
            assert copy.trailers == ()

    assert contract.broken(told(chapter, refused=False), check) == {}


def test_nothing_else_is_copied(passages: Passages) -> None:
    """The shadow gets one copy of each request that may be copied, and not one request more."""
    expected = [one for name in FORWARDED for one in passages[name]["shadow"].copies]

    assert [one.raw_head for one in passages["all"]["shadow"].copies] == [one.raw_head for one in expected]


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_a_refused_request_reaches_nobody(passages: Passages, chapter: str) -> None:
    """A request that is not forwarded gets the documented status, and no backend sees a byte of it."""

    def check(name: str) -> None:
        for way in ("legacy", "shadow"):
            passage = passages[name][way]

            assert passage.response is not None, passage.failure
            assert passage.response.status == CORPUS[name].refused
            assert passage.response.value("content-type") == b"application/problem+json"
            assert passage.arrived == []

    assert contract.broken(told(chapter, refused=True), check) == {}


def test_the_corpus_is_large_and_says_why() -> None:
    """At least 250 requests, each with an id of its own and a reason, and one for each field that we touch."""
    raws = b"".join(request.raw for request in REQUESTS).lower()
    touched = contract.HOP | contract.IDENTITY | contract.NEVER_LISTED | {b"x-request-id", b"x-matapalo-shadow"}

    assert len(CORPUS) == len(REQUESTS) >= 250
    assert all(request.why for request in REQUESTS)
    assert {name for name in touched if b"\r\n" + name + b":" not in raws} == set()
