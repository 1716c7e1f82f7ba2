"""Answers in our own name."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from proxy.problem import DETAILS, TITLES, problem_bytes

DOCS = Path(__file__).resolve().parents[2] / "docs"


@pytest.mark.parametrize("status", sorted(TITLES))
def test_a_problem_is_a_whole_http_answer(status: int) -> None:
    """A problem has a status line, its exact length, a request id and a body as RFC 9457 says."""
    raw = problem_bytes(status, "timeout", b"r-1", close=True)
    head, _, body = raw.partition(b"\r\n\r\n")
    parsed = json.loads(body)

    assert head.startswith(b"HTTP/1.1 %d " % status)
    assert b"Content-Length: %d\r\n" % len(body) in head + b"\r\n"
    assert b"\r\nConnection: close" in head
    assert parsed["status"] == status
    assert parsed["request_id"] == "r-1"
    assert parsed["detail"] == DETAILS["timeout"]


def test_head_gets_no_body() -> None:
    """A problem for HEAD has the length and no body."""
    assert problem_bytes(502, "timeout", b"r", close=False, head_only=True).endswith(b"\r\n\r\n")


def test_every_reason_is_documented() -> None:
    """Whatever reason an answer of ours names stands in the page of the wire or of operations."""
    pages = (DOCS / "wire.md").read_text() + (DOCS / "operations.md").read_text()

    assert [reason for reason in DETAILS if f"`{reason}`" not in pages] == []
