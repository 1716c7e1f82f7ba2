"""Answers: kept within a budget, compared exactly, written as a pair."""

from __future__ import annotations

from proxy.answers import Answer, Budget, is_identical, is_stream, watch_of
from proxy.wire import read_response


def made(budget: Budget, *chunks: bytes, head: bytes = b"Content-Type: a\r\n") -> Answer:
    """Make a complete answer."""
    result = Answer(budget)
    result.status = 200
    result.fields = read_response(b"HTTP/1.1 200 OK\r\n" + head + b"\r\n").fields
    for chunk in chunks:
        result.add(chunk)
    return result


def test_answers_compare_over_chunk_borders_and_digests() -> None:
    """Two answers are identical exactly if their bytes are, however they came and whether kept or digested."""
    roomy, tight = Budget(1 << 20), Budget(3)

    assert is_identical(made(roomy, b"ab", b"cd"), made(roomy, b"abcd"), watch_of(()))
    assert is_identical(made(roomy, b"ab", b"cd"), made(tight, b"abcd"), watch_of(()))
    assert not is_identical(made(roomy, b"abce"), made(tight, b"abcd"), watch_of(()))
    assert not is_identical(made(roomy, b"a"), made(roomy, b"a", head=b"Content-Type: b\r\n"), watch_of(()))


def test_every_field_of_a_watched_name_is_compared() -> None:
    """Answers whose first field of a watched name is the same and whose second is not are unequal; type is watched."""
    budget = Budget(99)
    for name in ("Location", "Content-Type", "Content-Encoding"):
        one, other = (made(budget, b"a", head=f"{name}: x\r\n{name}: {last}\r\n".encode()) for last in "yz")
        assert is_identical(one, one, watch_of(("location",)))
        assert not is_identical(one, other, watch_of(("location",)))


def test_a_star_watches_every_header_that_is_not_volatile() -> None:
    """With ``*`` any header that differs makes two answers unequal, but for those that differ by nature."""
    plain, other = made(Budget(99), b"a"), made(Budget(99), b"a", head=b"Content-Type: a\r\nX-Page: 2\r\n")
    volatile = made(Budget(99), b"a", head=b"Content-Type: a\r\nDate: now\r\nServer: x\r\n")

    assert is_identical(plain, other, watch_of(()))
    assert not is_identical(plain, other, watch_of(("*",)))
    assert is_identical(plain, volatile, watch_of(("*",)))


def test_a_budget_gets_everything_back() -> None:
    """What an answer kept is given back once, also when it became a digest half-way."""
    budget = Budget(10)
    kept, digested = made(budget, b"12345"), made(budget, b"1234", b"5678")

    assert budget.used == 5
    kept.release()
    kept.release()
    digested.release()

    assert budget.used == 0


def test_only_what_has_no_end_is_a_stream() -> None:
    """Events without a length are a stream; with one, or of another type, an answer has an end."""
    head = b"HTTP/1.1 200 OK\r\nContent-Type: Text/Event-Stream\r\n"

    assert is_stream(read_response(head + b"\r\n"))
    assert not is_stream(read_response(head + b"Content-Length: 3\r\n\r\n"))
    assert not is_stream(read_response(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n"))
