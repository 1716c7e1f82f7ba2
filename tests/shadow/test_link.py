"""Rules of the frames on the local sockets."""

from __future__ import annotations

import struct

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shadow import link
from tests.shadow.made import pair


@given(st.lists(st.tuples(st.integers(0, 2**31), st.binary(max_size=200)), max_size=6), st.integers(1, 64))
def test_frames_survive_any_cutting_of_the_stream(sent: list[tuple[int, bytes]], step: int) -> None:
    """However a stream is cut, every message arrives once, in order, with exactly its raw bytes."""
    stream = b"".join(link.frame(link.Ack(revision=revision), rest) for revision, rest in sent)
    reader = link.FrameReader()

    heard = [each for at in range(0, len(stream), step) for each in reader.feed(stream[at : at + step])]

    assert heard == [(link.Ack(revision=revision), rest) for revision, rest in sent]


def test_a_pair_carries_both_bodies_raw() -> None:
    """Bodies travel behind the head, legacy's first, and are never encoded."""
    frame = link.frame(pair(b"\x00legacy", b"new\xff"), b"\x00legacy", b"new\xff")

    ((message, rest),) = link.FrameReader().feed(frame)

    assert rest == b"\x00legacynew\xff"
    assert frame.endswith(rest)
    assert message == pair(b"\x00legacy", b"new\xff")


@pytest.mark.parametrize(
    "data",
    [
        struct.pack(">II", 0xFFFFFFFF, 4),
        struct.pack(">II", 8, 5),
        struct.pack(">II", 5, 1) + b"\xc1",
        link.frame(link.Reload()).replace(b"reload", b"reloaD"),
        b"GET / HTTP/1.1\r\n\r\n",
    ],
)
def test_a_frame_that_breaks_the_rules_raises_and_nothing_else(data: bytes) -> None:
    """An impossible length or an unknown message is a LinkError, before its bytes are waited for."""
    with pytest.raises(link.LinkError):
        list(link.FrameReader(1 << 20).feed(data))


def test_no_frame_beyond_the_readers_bound_is_buffered() -> None:
    """A reader refuses a frame over its bound as soon as the length is known."""
    frame = link.frame(link.Reload(), b"x" * 100)

    with pytest.raises(link.LinkError):
        list(link.FrameReader(50).feed(frame[:8]))


def test_a_field_with_a_default_may_be_missing() -> None:
    """An older sender that does not know a later field is understood: it has its default."""
    frame = link.frame(pair(b"1", b"2"))
    message = msgspec.msgpack.decode(frame[8:])
    del message["purpose"]
    head = msgspec.msgpack.encode(message)

    ((heard, _),) = link.FrameReader().feed(struct.pack(">II", 4 + len(head), len(head)) + head)

    assert isinstance(heard, link.Pair)
    assert heard.purpose == "compare"
