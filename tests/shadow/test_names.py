"""Rules of names: what a member is called may make noise of its value, and nothing else may."""

from __future__ import annotations

import pytest

from shadow import names


@pytest.mark.parametrize(
    "name", ["took", "elapsedMs", "query_time", "responseTime", "uptime", "latency_ms", "durationMs"]
)
def test_a_stopwatch_is_known_by_its_name(name: str) -> None:
    """What an answer says about its own making is noise, in every way of spelling names."""
    assert names.is_stopwatch(name)


@pytest.mark.parametrize(
    "name", ["duration", "price", "total", "stock", "totalTime", "bookkeeping", "mistook", "id", ""]
)
def test_data_is_no_stopwatch(name: str) -> None:
    """A film's duration, a price or a name that only contains such a word is data."""
    assert not names.is_stopwatch(name)


@pytest.mark.parametrize("name", ["updatedAt", "created_at", "timestamp", "ts", "serverTime", "iat", "generated-on"])
def test_a_clock_is_known_by_its_name(name: str) -> None:
    """A number under one of these names may be a moment."""
    assert names.is_clock(name)


def test_a_number_of_an_order_is_no_clock() -> None:
    """Identifiers are never taken for moments."""
    assert not any(map(names.is_clock, ("orderId", "id", "number", "format", "station")))


def test_only_a_request_counts_its_own_identifiers() -> None:
    """An identifier of the request or of its trace is noise even when it is counted; one of an order is data."""
    assert all(map(names.is_of_request, ("requestId", "trace_id", "X-Correlation-Id", "nonce")))
    assert not any(map(names.is_of_request, ("id", "orderId", "customer_id", "requester")))
