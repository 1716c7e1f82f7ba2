"""Every answer of the corpus, direct and through the proxy: the same bytes but for what docs/wire.md lists.

One live worker carries the whole corpus, many answers per connection, on a route in ``shadow``: the new side
answers every copy with the same bytes, so what must reach the client is what legacy sent, and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import pytest

from rules.flag import Stage
from tests.support.oneworker import OneWorker, flag, route
from tests.support.rawclient import RawClient, RawHead, RawResponse
from tests.support.recorder import RecordedRequest, Recorder, Step
from tests.transparency import contract
from tests.transparency.responses import ANSWERS, CHAPTERS, HEAD, UPGRADE, Answer

CORPUS: Final = {one.id: one for one in ANSWERS}
PASSED: Final = [one.id for one in ANSWERS if not one.refused]


@dataclass(slots=True, kw_only=True)
class Arrival:
    """Keep what a client got for one answer."""

    response: RawResponse | None = None
    failure: str = ""


def reply(request: RecordedRequest) -> Iterable[Step]:
    """Send the answer that the target names."""
    return CORPUS[request.target[1:].decode()].steps


def receive(address: tuple[str, int], answers: list[Answer]) -> dict[str, Arrival]:
    """Get the answers one after the other; a new connection only where the last one ended the old one."""
    arrivals = {}
    client: RawClient | None = None
    for one in answers:
        client = client or RawClient(address)
        arrivals[one.id] = arrival = Arrival()
        try:
            arrival.response = client.exchange(one.asked, one.method)
        except Exception as error:  # recorded: the test of this one answer fails, not all of them
            arrival.failure = repr(error)
        response = arrival.response
        if response is None or b"close" in response.values("connection") or client.leftover or one.closes:
            client.close()
            client = None
    if client is not None:
        client.close()
    return arrivals


@dataclass(slots=True, kw_only=True)
class Arrivals:
    """Keep what clients got, on both ways, and what was counted."""

    direct: dict[str, Arrival]
    through: dict[str, Arrival]
    counts: dict[str, int]
    connections: int
    """How many the proxy opened to legacy for all of them."""


@pytest.fixture(scope="module")
def arrivals() -> Arrivals:
    """Send the corpus direct and through the proxy."""
    with (
        Recorder(reply) as backend,
        Recorder(reply) as legacy,
        Recorder(reply) as new,
        OneWorker(
            backends={"legacy": legacy.url, "new": new.url},
            routes=[route(path="/**")],
            flags={"orders": flag(Stage.SHADOW)},
        ) as worker,
    ):
        return Arrivals(
            direct=receive(backend.address, [one for one in ANSWERS if not (one.refused or one.lawless)]),
            through=receive(worker.address, ANSWERS),
            counts=worker.settled(),
            connections=len(legacy.connections),
        )


def own_line(request: bytes, answer: RawHead | None, got: RawHead) -> list[bytes]:
    """List what we add to an answer: a request id, where the backend gave none."""
    if answer is not None and answer.values("x-request-id"):
        return []
    line = got.lines[-1]
    if b"X-Request-Id: mine" in request:
        return [b"X-Request-Id: mine"]
    assert line.startswith(b"X-Request-Id: ")
    assert contract.NEW_ID.fullmatch(line[14:])
    return [line]


def lines_of(raw: bytes) -> tuple[bytes, ...]:
    """Take the lines of the last head in front of a body."""
    return tuple(raw.split(b"\r\n\r\n", 1)[0].split(b"\r\n"))


@pytest.mark.parametrize("chapter", [name for name in CHAPTERS if name != "refused"])
def test_an_answer_arrives_as_it_was_sent(arrivals: Arrivals, chapter: str) -> None:
    """An answer reaches the client with the bytes that it would have had direct, but for what docs/wire.md lists."""

    def check(name: str) -> None:
        one = CORPUS[name]
        here = arrivals.through[name]
        assert here.response is not None, here.failure
        got = here.response
        there = arrivals.direct.get(name)
        sent = None if there is None else there.response
        assert one.lawless or sent is not None, there
        head = lines_of(one.raw) if sent is None else sent.head.lines
        old = b" HTTP/1.0\r\n" in one.request
        keeps = b"close" not in one.request if not old else b"keep-alive" in one.request
        bodiless = one.request == HEAD or head[0].split(b" ")[1] in (b"204", b"304")
        in_chunks = any(line.lower().startswith(b"transfer-encoding:") for line in head)
        until_end = (
            not bodiless and not in_chunks and not any(line.lower().startswith(b"content-length:") for line in head)
        )
        chunked = not old and (in_chunks or until_end) and not one.lawless
        ends = not keeps or (old and (in_chunks or until_end) and not bodiless)

        assert got.head.lines == contract.answer_lines(
            head,
            chunked=chunked,
            connection=b"close" if ends else b"keep-alive" if old else b"",
            own=own_line(one.request, None if sent is None else sent.head, got.head),
        )
        assert got.body == (b"" if sent is None else sent.body)
        assert got.framing == (
            "none" if bodiless else "chunked" if chunked else "close" if in_chunks or until_end else "length"
        )
        if sent is not None:
            fields = sent.head.headers
            expected = () if old else contract.kept_trailers(sent.trailers, fields, contract.ANSWER_HOP)
            assert got.trailers == expected
            assert [interim.lines for interim in got.interim] == [
                contract.answer_lines(interim.lines, chunked=False, connection=b"", own=())
                for interim in (() if old else sent.interim)
            ]

    assert contract.broken({one.id: one.why for one in CHAPTERS[chapter]}, check) == {}


def test_an_answer_with_two_readings_is_502(arrivals: Arrivals) -> None:
    """An answer that is not passed on becomes a 502; the client's connection goes on."""

    def check(name: str) -> None:
        here = arrivals.through[name]

        assert here.response is not None, here.failure
        assert here.response.status == 502
        assert here.response.value("content-type") == b"application/problem+json"
        assert here.response.value("connection") is None

    assert contract.broken({one.id: one.why for one in CHAPTERS["refused"]}, check) == {}


def test_equal_answers_are_identical_in_every_form(arrivals: Arrivals) -> None:
    """Two sides that send the same bytes are never reported as different, whatever the bytes are."""
    counts = arrivals.counts

    assert {key: value for key, value in counts.items() if key.startswith(("unequal|", "undecided|"))} == {}
    assert counts["identical|orders|legacy"] > 0.8 * len(PASSED)


def test_answers_share_their_connections(arrivals: Arrivals) -> None:
    """A backend's connection is used again behind every answer that leaves no doubt about its end."""
    doubtful = [one for one in ANSWERS if one.closes or one.refused or one.lawless or one.request == UPGRADE]

    assert arrivals.connections <= len(doubtful) * 2 + 2


def test_the_corpus_is_large_and_says_why() -> None:
    """At least 100 answers, each with an id of its own and a reason, and one for each field that we remove."""
    raws = b"".join(one.raw for one in ANSWERS).lower()

    assert len(CORPUS) == len(ANSWERS) >= 100
    assert all(one.why for one in ANSWERS)
    assert {name for name in contract.ANSWER_HOP if b"\r\n" + name + b":" not in raws} == set()
