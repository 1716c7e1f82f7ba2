"""Rules of undoing content codings on bytes that a backend chose."""

from __future__ import annotations

import gzip
import tracemalloc
import zlib

import brotli  # type: ignore[import-untyped]  # ships no types
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from shadow import coding
from shadow.coding import Outcome, codings_of, undo

NOISE = bytes((index * 7919 >> 3) & 0xFF for index in range(5_000))


def gzipped(body: bytes, level: int = 9) -> bytes:
    """Compress without the time of day: what a test is called by must be the same in every process."""
    return gzip.compress(body, level, mtime=0)


def wide_zstd() -> bytes:
    """Compress with a window of 128 MiB, sixteen times what the standard lets a sender ask of us."""
    stream = zstandard.ZstdCompressor(
        compression_params=zstandard.ZstdCompressionParameters(window_log=27)
    ).compressobj()
    return stream.compress(NOISE) + stream.flush()


def bare_deflate(body: bytes) -> bytes:
    """Compress without zlib's head and sum, as some servers do."""
    stream = zlib.compressobj(wbits=-15)
    return stream.compress(body) + stream.flush()


@given(st.binary(max_size=2_000), st.integers(0, 9))
def test_what_was_coded_comes_back_whole(body: bytes, level: int) -> None:
    """A gzip, deflate, brotli or zstd body, at any level, decodes to exactly the bytes that went in."""
    coded = {
        b"gzip": gzipped(body, level),
        b"deflate": zlib.compress(body, level),
        b"br": brotli.compress(body, quality=level),
        b"zstd": zstandard.ZstdCompressor(level=level).compress(body),
    }

    for name, received in coded.items():
        assert undo(received, (name,)) == coding.Decoded(body=body, outcome=Outcome.DECODED)
    assert undo(bare_deflate(body), (b"deflate",)).body == body
    assert undo(zlib.compress(gzipped(body)), (b"gzip", b"deflate")).body == body


def test_codings_are_read_as_the_standard_says() -> None:
    """Coding names are case-insensitive, lists may be split over fields, and identity says nothing."""
    assert codings_of([b"X-GZip, identity", b" Deflate "]) == (b"gzip", b"deflate")
    assert codings_of([]) == ()


def test_gzip_without_a_header_is_undone_and_said_to_be_undeclared() -> None:
    """A body that is gzip or zstd but does not say so, also inside another coding, is decoded and marked as sniffed."""
    zipped = gzipped(b"hello")

    assert undo(zipped, ()) == coding.Decoded(body=b"hello", outcome=Outcome.SNIFFED)
    assert undo(zstandard.compress(b"hello"), ()) == coding.Decoded(body=b"hello", outcome=Outcome.SNIFFED)
    assert undo(gzipped(zipped), (b"gzip",)) == coding.Decoded(body=b"hello", outcome=Outcome.SNIFFED)
    assert undo(brotli.compress(zipped), (b"br",)) == coding.Decoded(body=b"hello", outcome=Outcome.SNIFFED)


def test_a_body_that_only_begins_like_gzip_is_left_as_it_is() -> None:
    """Bytes that merely start with gzip's magic are compared as received."""
    body = coding.GZIP_MAGIC + b"not a stream"

    assert undo(body, ()) == coding.Decoded(body=body, outcome=Outcome.PLAIN)
    assert undo(gzipped(body), (b"gzip",)) == coding.Decoded(body=body, outcome=Outcome.DECODED)


def test_an_answer_to_head_may_name_a_coding_and_have_no_body() -> None:
    """An empty body is an empty body whatever coding is declared."""
    assert undo(b"", (b"gzip",)) == coding.Decoded(body=b"", outcome=Outcome.PLAIN)


@pytest.mark.parametrize(
    ("received", "codings"),
    [
        (gzipped(NOISE)[:-1], (b"gzip",)),
        (gzipped(NOISE)[:-6] + b"\0\0\0\0\0\0", (b"gzip",)),
        (gzipped(NOISE) + b"tail", (b"gzip",)),
        (b"plain text", (b"gzip",)),
        (b"plain text", (b"deflate",)),
        (zlib.compress(NOISE)[:-3], (b"deflate",)),
        (zlib.compress(NOISE) + b"tail", (b"deflate",)),
        (bare_deflate(NOISE)[:-2], (b"deflate",)),
        (brotli.compress(NOISE)[:-1], (b"br",)),
        (brotli.compress(NOISE) + b"tail", (b"br",)),
        (b"plain text", (b"br",)),
        (zstandard.compress(NOISE)[:-1], (b"zstd",)),
        (zstandard.compress(NOISE) + b"tail", (b"zstd",)),
        (b"plain text", (b"zstd",)),
        (wide_zstd(), (b"zstd",)),
    ],
)
def test_a_broken_stream_is_never_half_decoded(received: bytes, codings: tuple[bytes, ...]) -> None:
    """A truncated, damaged or overlong stream is compared as received and called broken."""
    assert undo(received, codings) == coding.Decoded(body=received, outcome=Outcome.BROKEN)


@pytest.mark.parametrize("codings", [(b"compress",), (b"gzip", b"dcb"), (b"gzip",) * 5])
def test_a_coding_that_is_not_undone_here_is_named_unknown(codings: tuple[bytes, ...]) -> None:
    """Codings that nobody sends, and stacks deeper than four, are compared as received."""
    assert undo(b"abc", codings) == coding.Decoded(body=b"abc", outcome=Outcome.UNKNOWN)


def test_a_bomb_stops_at_the_ratio() -> None:
    """An output over 200 times its input is refused as soon as it is also over 1 MiB."""
    fair = gzipped(b"\0" * coding.RATIO_FLOOR)
    bomb = gzipped(b"\0" * (coding.RATIO_FLOOR + 1))

    assert undo(fair, (b"gzip",)).outcome is Outcome.DECODED
    assert undo(bomb, (b"gzip",)) == coding.Decoded(body=bomb, outcome=Outcome.RATIO)
    assert undo(bomb, ()).outcome is Outcome.RATIO
    assert undo(zlib.compress(b"\0" * (2 << 20)), (b"deflate",)).outcome is Outcome.RATIO
    assert undo(gzipped(bomb), (b"gzip", b"gzip")).outcome is Outcome.RATIO
    assert undo(gzipped(bomb), (b"gzip",)).outcome is Outcome.RATIO


@pytest.mark.parametrize("coding_name", [b"br", b"zstd"])
def test_a_bomb_of_a_hundred_megabytes_costs_neither_memory_nor_time(coding_name: bytes) -> None:
    """Brotli and zstd reach ratios of a million; their output is bounded while it grows."""
    zeros = b"\0" * (100 << 20)
    bomb = brotli.compress(zeros, quality=5) if coding_name == b"br" else zstandard.compress(zeros)
    del zeros
    assert len(bomb) < 16 << 10

    tracemalloc.start()
    found = undo(bomb, (coding_name,))
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert found == coding.Decoded(body=bomb, outcome=Outcome.RATIO)
    assert peak_bytes < 16 << 20


def test_frames_of_zstd_are_joined_up_to_sixteen() -> None:
    """Zstd frames one after the other are one body; a seventeenth is refused."""
    frame = zstandard.compress(b"ab")

    assert undo(frame * coding.MAX_MEMBERS, (b"zstd",)).body == b"ab" * coding.MAX_MEMBERS
    assert undo(frame * (coding.MAX_MEMBERS + 1), (b"zstd",)).outcome is Outcome.MEMBERS


def test_an_output_over_16_mib_is_refused() -> None:
    """No body is decoded beyond 16 MiB, however fair its ratio."""
    row = NOISE[:200]
    large = gzipped(row * ((coding.MAX_OUTPUT + len(row)) // len(row)), 1) + b""
    padded = large if len(large) * coding.MAX_RATIO > coding.MAX_OUTPUT else gzipped(large)

    assert undo(padded, (b"gzip",)).outcome in (Outcome.SIZE, Outcome.RATIO)
    assert undo(gzipped(row * ((coding.MAX_OUTPUT + len(row)) // len(row)), 0), (b"gzip",)).outcome is Outcome.SIZE


def test_members_are_joined_up_to_sixteen() -> None:
    """Gzip streams one after the other are one body; a seventeenth is refused."""
    member = gzipped(b"ab")

    assert undo(member * coding.MAX_MEMBERS, (b"gzip",)).body == b"ab" * coding.MAX_MEMBERS
    assert undo(member * (coding.MAX_MEMBERS + 1), (b"gzip",)).outcome is Outcome.MEMBERS
    assert undo(member + b"\0" * 512, (b"gzip",)).body == b"ab"
