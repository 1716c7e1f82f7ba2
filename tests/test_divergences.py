"""Differences from end to end: two services with real bodies, the product between them, and what a developer reads."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from console.commands.group import Door, run
from tests.support.product import Product, wait_until
from tests.support.rawclient import RawClient, request_bytes
from tests.support.recorder import RecordedRequest, Recorder, answer

JSON = (("Content-Type", "application/json"),)
PAIRS = 60


def order(number: int, price: str) -> dict[str, Any]:  # Any: JSON
    """Make one order; the clock runs in every answer."""
    now = f"2026-01-31T02:00:{time.monotonic_ns() % 60:02}.{time.monotonic_ns() % 1_000_000:06}Z"
    items = [{"name": "café <small>", "price": price}, {"name": "tea", "price": "2.00"}]
    return {"id": number, "generatedAt": now, "items": items, "note": "a/b"}


def number_of(request: RecordedRequest) -> int:
    """Read which order was asked for."""
    return int(request.target.rpartition(b"/")[2])


def legacy_answer(request: RecordedRequest) -> bytes:
    """Write as a Python service does: blanks behind separators, everything in ASCII; from order 1,000 on nothing."""
    if number_of(request) >= 1_000:
        return answer(b"{}", headers=JSON)
    return answer(json.dumps(order(number_of(request), "12.50")).encode(), headers=JSON)


class New:
    """Write as another service does, with one wrong price until a build that has none."""

    def __init__(self) -> None:
        self.build = "v1"
        self.is_wrong = True

    def __call__(self, request: RecordedRequest) -> bytes:
        """Answer one order, and name the build; from ``v4`` on byte for byte as legacy does."""
        number = number_of(request)
        if self.build == "v4":
            return answer(b"{}", headers=(*JSON, ("X-App", self.build)))
        made = order(number, "12.40" if self.is_wrong and number == 17 else "12.50")
        text = json.dumps(dict(reversed(made.items())), ensure_ascii=False, separators=(",", ":"))
        return answer(text.encode() + b"\n", headers=(*JSON, ("X-App", self.build)))


@pytest.fixture
def new() -> New:
    """Begin with the faulty service."""
    return New()


@pytest.fixture
def product(new: New) -> Iterator[Product]:
    """Run the product between both; examples keep their bodies."""
    with Recorder(legacy_answer) as old, Recorder(new) as fresh:
        config = {
            "backends": {"old": {"url": old.url}, "fresh": {"url": fresh.url, "version_header": "X-App"}},
            "defaults": {"legacy": "old", "new": "fresh", "sticky": ["issued_cookie"], "keep": "bodies"},
            "undeclared": {"backend": "old"},
            "routes": [
                {
                    "name": "orders",
                    "match": {"path": "/orders/{id}"},
                    "initial_stage": "shadow",
                    "shadow": {"max_per_second": "off"},
                }
            ],
        }
        with Product(config) as running:
            yield running


def ask(product: Product, numbers: range) -> None:
    """Ask for orders, and wait until all pairs are decided."""
    before = compared(product)
    with RawClient(("127.0.0.1", product.port)) as client:
        for number in numbers:
            client.exchange(request_bytes(target=f"/orders/{number}", headers=(("Authorization", "Bearer s3cret"),)))
    wait_until(lambda: compared(product) - before == len(numbers), "all pairs are decided")


def compared(product: Product) -> int:
    """Count the pairs that were decided."""
    counts = product.totals()["counts"]
    return sum(
        count for key, count in counts.items() if key.partition("|")[0] in ("identical", "tolerated", "divergent")
    )


def listed(product: Product, query: str = "") -> list[dict[str, Any]]:  # Any: JSON
    """List divergences by the API."""
    groups: list[dict[str, Any]] = product.admin("GET", f"/api/v1/divergences?{query}")["divergences"]
    return groups


def wait_fixed(product: Product, name: str, numbers: range) -> None:
    """Ask until enough was compared without a divergence; how many count for the newer build is a matter of moments."""

    def is_fixed() -> bool:
        ask(product, numbers)
        return name in [one["id"] for one in listed(product, "state=fixed")]

    wait_until(is_fixed, f"{name} is fixed")


@pytest.fixture
def say(product: Product, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Run one command in this process."""
    monkeypatch.setenv("MATAPALO_URL", product.admin_url)

    def call(*words: str) -> str:
        capsys.readouterr()
        code = run(words, Door(serve=lambda *_: 0))
        captured = capsys.readouterr()
        assert code == 0, captured.err
        return captured.out

    return call


def test_a_wrong_price_behind_noise_is_read_found_fixed_and_regressed(
    product: Product, new: New, say: Callable[..., str]
) -> None:
    """One wrong price in sixty answers that all differ is first in `diffs`, stands alone in `diff`, and has a life."""
    ask(product, range(PAIRS))
    wait_until(lambda: sum(one["count"] for one in listed(product)) == PAIRS, "all are stored")
    groups = listed(product)
    worst = groups[0]
    assert (worst["severity"], worst["count"], worst["state"]) == ("value", 1, "open")
    assert {"cause": "value.changed", "path": "/items/*/price"} in worst["places"]
    assert all(one["severity"] != "value" for one in groups[1:])

    sheet = say("diff", worst["id"])
    assert sheet.index("value.changed at /items/0/price") < sheet.index("volatile.timestamp at")
    marked = [" ".join(line.split()) for line in sheet.splitlines() if line.strip()[:2] in ("- ", "+ ")]
    assert '- "price": "12.50"' in marked
    assert '+ "price": "12.40"' in marked
    assert len(marked) == 4, "the price and the clock"
    example = product.admin("GET", f"/api/v1/divergences/{worst['id']}")["example"]
    curl = say("diff", example["id"], "--curl")
    assert "$AUTH" in curl
    assert "s3cret" not in curl + sheet
    assert "root['items'][0]['price']" in say("diff", example["id"], "--structure")
    narrowed = say("diffs", "orders", "--request", example["request_id"], "--path", "/items/0/price")
    assert worst["id"] in narrowed
    assert groups[-1]["id"] not in narrowed

    new.build, new.is_wrong = "v2", False
    wait_fixed(product, worst["id"], range(100, 100 + PAIRS))
    new.build, new.is_wrong = "v3", True
    ask(product, range(17, 18))
    wait_until(lambda: [one["id"] for one in listed(product, "state=regressed")] == [worst["id"]], "it is back")
    assert "was gone in build v2, is back on v3" in say("diff", worst["id"])
    new.build = "v4"
    wait_fixed(product, worst["id"], range(1_000, 1_000 + PAIRS))

    say("diff", groups[-1]["id"], "--accept", "--note", "a clock")
    assert listed(product, "state=accepted")[0]["note"] == "a clock"
