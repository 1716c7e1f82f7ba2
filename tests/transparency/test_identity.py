"""Who asked: what a trusted proxy says is kept and extended, what anybody else says is replaced."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.oneworker import OneWorker
from tests.support.rawclient import request_bytes
from tests.support.recorder import Recorder
from tests.transparency import contract

HOPS = {
    "nothing": ([], [b"X-Forwarded-For: 127.0.0.1", b"X-Forwarded-Proto: http", b"X-Forwarded-Host: shop.test"]),
    "client": (
        ["X-Forwarded-For: 203.0.113.9"],
        [b"X-Forwarded-For: 203.0.113.9, 127.0.0.1", b"X-Forwarded-Proto: http", b"X-Forwarded-Host: shop.test"],
    ),
    "several lines": (
        ["X-Forwarded-For: 203.0.113.9, 10.0.0.1", "x-forwarded-for: 10.0.0.2"],
        [
            b"X-Forwarded-For: 203.0.113.9, 10.0.0.1, 10.0.0.2, 127.0.0.1",
            b"X-Forwarded-Proto: http",
            b"X-Forwarded-Host: shop.test",
        ],
    ),
    "everything": (
        [
            "Forwarded: for=203.0.113.9;proto=https",
            "X-Real-IP: 203.0.113.9",
            "X-Forwarded-For: 203.0.113.9",
            "X-Forwarded-Host: www.shop.test",
            "X-Forwarded-Port: 443",
            "X-Forwarded-Prefix: /shop",
            "X-Forwarded-Proto: https",
            "X-Forwarded-Server: edge-1",
        ],
        [
            b"X-Forwarded-For: 203.0.113.9, 127.0.0.1",
            b"X-Forwarded-Proto: https",
            b"X-Forwarded-Host: www.shop.test",
            b"X-Forwarded-Port: 443",
            b"X-Forwarded-Prefix: /shop",
            b"X-Forwarded-Server: edge-1",
            b"X-Real-IP: 203.0.113.9",
            b"Forwarded: for=203.0.113.9;proto=https, for=127.0.0.1;proto=http",
        ],
    ),
    "listed": (
        ["Connection: X-Forwarded-For, X-Real-IP, X-Forwarded-Host", "X-Forwarded-For: 203.0.113.9"],
        [b"X-Forwarded-For: 203.0.113.9, 127.0.0.1", b"X-Forwarded-Proto: http", b"X-Forwarded-Host: shop.test"],
    ),
    "junk": (
        ["X-Forwarded-For: unknown, _hidden"],
        [
            b"X-Forwarded-For: unknown, _hidden, 127.0.0.1",
            b"X-Forwarded-Proto: http",
            b"X-Forwarded-Host: shop.test",
        ],
    ),
}
"""What a trusted proxy sends, and the forwarding lines that the backend gets."""


@pytest.fixture
def legacy() -> Iterator[Recorder]:
    """Answer."""
    with Recorder() as recorder:
        yield recorder


def test_a_trusted_proxy_is_extended_and_a_stranger_replaced(legacy: Recorder) -> None:
    """The same fields are kept from a trusted peer and thrown away from any other, whatever Connection lists."""
    for trusted in ("127.0.0.0/8", "192.0.2.0/24"):
        with (
            OneWorker(backends={"legacy": legacy.url}, trusted_proxies=(trusted,)) as worker,
            worker.client() as client,
        ):
            for name, (sent, expected) in HOPS.items():
                headers = tuple((line.partition(": ")[0], line.partition(": ")[2]) for line in sent)
                assert client.exchange(request_bytes(headers=headers)).status == 200
                lines = legacy.requests[-1].raw_head[:-4].split(b"\r\n")
                got = [line for line in lines if line.partition(b":")[0].lower() in contract.IDENTITY]
                if trusted == "127.0.0.0/8":
                    assert got == expected, name
                else:
                    assert got == contract.added_lines(b"shop.test", b"", b"")[2:], name
