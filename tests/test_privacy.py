"""Nothing that a route redacts is stored, logged, counted or shown, whatever part of a request it came in."""

from __future__ import annotations

import base64
import contextlib
import json
import os
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.product import Product, wait_until
from tests.support.rawclient import RawClient, request_bytes
from tests.support.recorder import Recorder, answer

SECRET = "k4n4r1"
"""Stands in every canary, with a word that says where it was planted."""

NUMBER = "4111222233334444"
KEEPS = ("bodies", "fragments", "shapes")


def canary(place: str) -> str:
    """Make the secret of one place."""
    return f"{SECRET}-{place}"


def body_of(side: str) -> bytes:
    """Answer with secrets that differ per side, beside a difference that everybody may see."""
    return json.dumps(
        {
            "password": canary(f"answer-{side}"),
            "accounts": {canary(f"name-{side}"): 1, "b": side},
            "rows": [{"card": {"no": canary(f"row-{side}"), "note": f"{NUMBER} of {side}"}}],
            "price": 12.5 if side == "legacy" else 13,
        }
    ).encode()


def service(side: str) -> Recorder:
    """Run one side."""
    headers = (
        ("Content-Type", "application/json"),
        ("Set-Cookie", f"sid={canary('set-cookie-' + side)}"),
        ("X-Tenant", canary(f"tenant-{side}")),
        ("Location", f"/next?token={canary('location-' + side)}"),
    )
    return Recorder(answer(body_of(side), headers=headers), keep_bytes=0)


def route(keep: str) -> dict[str, Any]:  # Any: YAML
    """Configure one route that keeps *keep*."""
    return {
        "name": keep,
        "match": {"path": f"/{keep}/**"},
        "initial_stage": "shadow",
        "keep": keep,
        "shadow": {"max_per_second": "off", "reads": ["POST"], "watch_headers": ["x-tenant", "location", "set-cookie"]},
        "redact": [
            "$.password",
            "$.accounts",
            "$.rows[*].card.no",
            "header:X-Tenant",
            "pattern:[0-9]{16}",
            "pattern:(?<=/reset/)[^/?]+",
        ],
    }


def requests(keep: str) -> list[bytes]:
    """Make requests with a canary in every part that may hold one."""
    fields = (
        ("Authorization", f"Bearer {canary('authorization')}"),
        ("Cookie", f"sid={canary('cookie')}"),
        ("X-Api-Key", canary("api-key")),
        ("X-Tenant", canary("tenant")),
        ("Referer", f"http://shop/?token={canary('referer')}"),
        ("X-Note", f"card {NUMBER}"),
    )
    target = f"/{keep}/reset/{canary('path')}?token={canary('query')}&page={canary('page')}"
    whole = json.dumps({"password": canary("request-body"), "note": NUMBER}).encode()
    form = f"user=ana&password={canary('form')}".encode()
    return [
        request_bytes(target=target, headers=fields),
        request_bytes("POST", target=target, headers=(*fields, ("Content-Type", "application/json")), body=whole),
        request_bytes(
            "POST",
            target=target,
            headers=(*fields, ("Content-Type", "application/x-www-form-urlencoded")),
            body=form,
        ),
        request_bytes("POST", target=target, headers=fields, body=canary("no-json").encode()),
    ]


def everything(product: Product) -> dict[str, bytes]:
    """Collect what the product has written anywhere, and what it shows to those who may see the most."""
    found = {}
    for path in product.directory.rglob("*"):
        with contextlib.suppress(FileNotFoundError):  # written under another name and renamed since it was listed
            if path.is_file():
                found[str(path)] = path.read_bytes()
    found.pop(str(product.config_path))
    found["/metrics"] = product.text("/metrics").encode()
    paths = ["/api/v1/status", "/api/v1/routes", "/api/v1/totals", "/api/v1/divergences?limit=500"]
    for group in product.admin("GET", "/api/v1/divergences?limit=500")["divergences"]:
        paths.append(f"/api/v1/divergences/{group['id']}")
        paths += [
            f"/api/v1/comparisons/{one['id']}"
            for one in product.admin("GET", f"/api/v1/divergences/{group['id']}")["examples"]
        ]
    found.update({path: product.text(path).encode() for path in paths})
    return found


def planted(product: Product) -> None:
    """Send every request to every route until all that differs has been written down, and explained on each route.

    A comparer has a part of each second for kinds of pairs that it does not know, and a busy machine takes that away.
    """
    sent = [request for keep in KEEPS for request in requests(keep)]
    rounds = 0

    def groups() -> list[dict[str, Any]]:  # Any: JSON
        found: list[dict[str, Any]] = product.admin("GET", "/api/v1/divergences?limit=500")["divergences"]
        return found

    def explained() -> set[str]:
        found = [product.admin("GET", f"/api/v1/divergences/{group['id']}") for group in groups()]
        prices = ("12.5", "number(4)")
        return {one["route"] for one in found if any(i["legacy"] in prices for i in one["example"]["differences"])}

    def is_told() -> bool:
        nonlocal rounds
        rounds += 1
        with RawClient(("127.0.0.1", product.port)) as client:
            for request in sent:
                client.send(request)
                assert client.read_response(request.split(b" ")[0].decode()).status == 200
        wait_until(lambda: sum(int(one["count"]) for one in groups()) == rounds * len(sent), "every pair is written")
        return explained() == set(KEEPS)

    wait_until(is_told, "what differs is explained on each route")


@pytest.fixture(scope="module")
def product() -> Iterator[Product]:
    """Run one route per way of keeping, with secrets on both sides."""
    with (
        service("legacy") as legacy,
        service("new") as new,
        Product(
            {
                "backends": {"old": {"url": legacy.url}, "shop": {"url": new.url}},
                "defaults": {"legacy": "old", "new": "shop"},
                "undeclared": {"backend": "old"},
                "routes": [route(keep) for keep in KEEPS],
            }
        ) as product,
    ):
        planted(product)
        yield product


def test_no_canary_is_found_anywhere(product: Product) -> None:
    """Secrets in target, headers and bodies of request and answers are on no disk, in no log, metric or answer."""
    places = everything(product)

    found = {
        place: content[max(0, at - 60) : at + 60]
        for place, content in places.items()
        for word in (SECRET, NUMBER)
        if (at := content.find(word.encode())) >= 0
    }

    assert found == {}


def test_what_is_not_redacted_is_still_there(product: Product) -> None:
    """The difference that everybody may see is kept as its route asks: the search above looked in the right places."""
    written = b"".join(everything(product).values())
    groups = product.admin("GET", "/api/v1/divergences?limit=500")["divergences"]

    assert b"12.5" in written
    assert {group["route"] for group in groups} == set(KEEPS)
    shown = [
        item
        for group in groups
        for item in product.admin("GET", f"/api/v1/divergences/{group['id']}")["example"]["differences"]
    ]
    assert any("[redacted" in item["legacy"] and "equal" in item["legacy"] for item in shown)
    assert any(item["legacy"] == "number(4)" and item["new"] == "number(2)" for item in shown)
    assert any(item["legacy"] == "12.5" and item["new"] == "13" for item in shown)


def test_with_a_key_examples_are_unreadable_on_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """evidence.keys encrypts examples: the file shows no fragment, the API does."""
    key = base64.b64encode(os.urandom(32)).decode()
    with (
        service("legacy") as legacy,
        service("new") as new,
        Product(
            {
                "backends": {"old": {"url": legacy.url}, "shop": {"url": new.url}},
                "defaults": {"legacy": "old", "new": "shop"},
                "undeclared": {"backend": "old"},
                "evidence": {"keys": ["env:EVIDENCE_KEY"]},
                "routes": [route(keep) for keep in KEEPS],
            },
            environment={"EVIDENCE_KEY": key},
        ) as product,
    ):
        planted(product)
        shown = everything(product)
        on_disk = b"".join(content for place, content in shown.items() if "evidence.db" in place)
        answers = b"".join(content for place, content in shown.items() if place.startswith("/api/v1/comparisons/"))

    assert b"12.5" in answers
    assert b"sealed" in on_disk
    assert b"12.5" not in on_disk
    assert key.encode() not in b"".join(shown.values())
