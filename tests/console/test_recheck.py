"""What a recheck asks, what it never asks, and what two answers mean."""

from __future__ import annotations

import itertools
from typing import Any

import msgspec
import pytest

from config import load_text
from config.spec import RouteSpec
from console.problem import ProblemError
from console.question import Answered
from console.recheck import check_method, judged, question_from, verdict_of
from shadow.link import AnswerHead, DifferenceItem, Finding, Verdict
from tests.support.installed import fetch
from tests.support.product import Product, wait_until
from tests.support.recorder import RecordedRequest, Recorder, answer

STORED = Finding(
    route="orders",
    request_id="r1",
    method="GET",
    target="/orders/1",
    at=1_700_000_000.0,
    verdict="divergent",
    same_meaning=False,
    statuses=(200, 200),
    divergence="d-1",
    causes=("number.value", "whitespace.trailing_newline"),
    request_headers=[
        ("Accept", "a"),
        ("Authorization", "[redacted 9]"),
        ("X-Token", "[redacted]"),
        ("Referer", "/?a=…"),
    ],
)


def route(extra: str = "") -> RouteSpec:
    """Load a route between two backends."""
    text = f"""
    backends: {{old: {{url: "http://old"}}, new: {{url: "http://new"}}}}
    defaults: {{legacy: old, new: new}}
    routes: [{{name: orders, match: {{path: "/orders/**"}}{extra}}}]
    """
    return load_text(text, environ={}).routes[0]


def stored(**changes: object) -> Finding:
    """Change what was stored."""
    return msgspec.structs.replace(STORED, **changes)


def answered(status: int, error: str = "") -> Answered:
    """Make an answer without a body."""
    return Answered(head=AnswerHead(status, [], 0, b"", "b"), body=b"", took_s=0.0, error=error)


@pytest.mark.parametrize(
    ("extra", "changes", "words"),
    [
        (", shadow: never", {}, "shadow: never"),
        ("", {"method": "DELETE"}, "may write"),
        (", reads: [POST]", {"method": "POST"}, "keep: bodies"),
        (", reads: [POST]", {"method": "POST", "request_body": b'{"a":"[redacted 3]"}'}, "redacted"),
        (", reads: [POST]", {"method": "POST", "request_body": "a=…".encode()}, "redacted"),
    ],
)
def test_what_is_never_asked_again(extra: str, changes: dict[str, object], words: str) -> None:
    """Writes, routes that are never copied, and bodies that nobody has whole are refused with the way out."""
    with pytest.raises(ProblemError, match=words):
        check_method(route(extra), stored(**changes))


def test_safe_methods_and_declared_reads_are_asked() -> None:
    """What a copy may be a recheck may be, too."""
    check_method(route(), STORED)
    check_method(route(", reads: [POST]"), stored(method="POST", request_body=b"{}"))


def test_redacted_headers_are_given_anew_or_left_out() -> None:
    """A mask is never sent as if it were a value; what is given stands in place of what was stored."""
    question, left_out = question_from(STORED, target=None, headers=[("authorization", "Bearer x"), ("accept", "b")])

    assert question.fields == ((b"authorization", b"Bearer x"), (b"accept", b"b"))
    assert left_out == ("x-token", "referer")
    assert question_from(STORED, target=None, headers=[])[1] == ("authorization", "x-token", "referer")
    assert question_from(stored(request_headers=[("Accept", "text(3)")]), target=None, headers=[])[1] == ("accept",)


def test_a_target_whose_query_is_hidden_is_given_anew() -> None:
    """Names of a query alone make another request; the whole target must have the stored path."""
    hidden = stored(target="/orders?page=…")

    with pytest.raises(ProblemError, match="--target"):
        question_from(hidden, target=None, headers=[])
    with pytest.raises(ProblemError, match="another path"):
        question_from(hidden, target="/carts?page=2", headers=[])
    with pytest.raises(ProblemError, match="ASCII"):
        question_from(hidden, target="/orders?page=é", headers=[])
    assert question_from(hidden, target="/orders?page=2", headers=[])[0].target == b"/orders?page=2"


@pytest.mark.parametrize(
    ("before", "now", "same", "outcome"),
    [
        ((200, 200), (200, 200), True, "fixed"),
        ((200, 500), (200, 200), True, "fixed"),
        ((200, 200), (200, 200), False, ""),
        ((200, 200), (404, 404), True, "different"),
        ((200, 200), (401, 401), True, "refused"),
        ((200, 200), (200, 403), False, "refused"),
        ((401, 200), (401, 401), True, "fixed"),
        ((200, 200), (0, 200), False, "unanswered"),
        ((200, 200), (0, 0), True, "unanswered"),
    ],
)
def test_two_answers_alike_are_a_fix_only_where_the_request_still_shows_it(
    before: tuple[int, int], now: tuple[int, int], same: bool, outcome: str
) -> None:
    """Missing credentials, a vanished resource and silence on both sides look alike, and fix nothing."""
    found, sentence = verdict_of(stored(statuses=before), answered(now[0]), answered(now[1]), same)

    assert found == outcome
    assert bool(sentence) == bool(outcome)


def test_the_comparers_verdict_is_held_against_the_divergence() -> None:
    """The same group again is STILL, another one is DIFFERENT and names what is gone, a tolerated one is FIXED."""
    divergent = Verdict(sequence=1, verdict="divergent")
    clock = DifferenceItem(cause="string.value", folded="/at")
    other = stored(divergence="d-2", causes=("whitespace.trailing_newline",), differences=(clock,))

    assert judged(STORED, divergent, STORED)[0] == "still"
    assert judged(STORED, divergent, stored(divergence="d-3"))[0] == "still"  # named otherwise, the same places
    assert judged(STORED, divergent, other) == (
        "different",
        "Another difference is there: whitespace.trailing_newline; gone: number.value.",
    )
    assert judged(STORED, Verdict(sequence=1, verdict="tolerated"), other)[0] == "fixed"
    assert judged(STORED, Verdict(sequence=1, verdict="undecided", reason="limit"), None)[0] == "undecided"


# --- the whole product ---


class Shop:
    """Answer a price to whoever has the token; each answer has another moment in it if that is wanted."""

    def __init__(self, price: str, *, ticks: bool = False) -> None:
        self.price, self.ticks = price, ticks
        self.moments = itertools.count()

    def __call__(self, request: RecordedRequest) -> bytes:
        """Answer one request."""
        fields = (("Content-Type", "application/json"), ("Connection", "close"))
        if request.values("authorization") != [b"Bearer t"]:
            return answer(b"{}", status=401, headers=fields)
        moment = next(self.moments) if self.ticks else 0
        return answer(b'{"at":%d,"price":%b}' % (moment, self.price.encode()), headers=fields)


def config(legacy: Recorder, new: Recorder, **more: object) -> dict[str, Any]:  # Any: YAML
    """Make a configuration with one route in shadow."""
    return {
        "backends": {"old": {"url": legacy.url}, "fresh": {"url": new.url, "version_header": "X-Version"}},
        "defaults": {"legacy": "old", "new": "fresh", "shadow": {"max_per_second": "off"}},
        "routes": [{"name": "orders", "match": {"path": "/orders/**"}, "initial_stage": "shadow", **more}],
    }


def ask(product: Product, times: int = 1) -> None:
    """Ask for the price as a client with the token does."""
    for _ in range(times):
        assert fetch(f"{product.url}/orders/7", {"Authorization": "Bearer t"})[0] == 200


def group(product: Product) -> dict[str, Any]:  # Any: JSON
    """Give the one divergence, when it is there."""

    def found() -> list[dict[str, Any]]:
        groups: list[dict[str, Any]] = product.admin("GET", "/api/v1/divergences")["divergences"]
        return groups

    return wait_until(found, "the divergence is stored")[0]


def test_a_price_is_still_wrong_then_fixed() -> None:
    """Without credentials nothing is called fixed; with them the wrong price is STILL there, and then FIXED.
    In complete legacy is never asked, by a recheck neither."""
    wrong, right = Shop("2"), Shop("1")
    with Recorder(right) as legacy, Recorder(wrong) as new, Product(config(legacy, new)) as product:
        product.admin("POST", "/api/v1/deploys", {"backend": "old", "version": "k1"})
        ask(product)
        name = group(product)["id"]
        call = f"/api/v1/comparisons/{name}/recheck"

        token = {"headers": ["Authorization:Bearer t"]}
        refused = product.admin("POST", call, {})
        still = product.admin("POST", call, token)
        comparison = still["comparison"]
        wrong.price = "1"
        fixed = product.admin(
            "POST", f"/api/v1/comparisons/{comparison}/recheck", {"headers": ["Authorization:Bearer t"]}
        )
        shown = product.admin("GET", f"/api/v1/divergences/{name}")
        metrics = fetch(f"{product.admin_url}/metrics")[1].decode()
        done = {"stage": "complete", "force": True, "reason": "signed off"}
        product.admin("POST", "/api/v1/routes/orders/flip", done)
        before, over = len(legacy.requests), product.admin("POST", call, token, status=409)
        asked = len(legacy.requests) - before

    assert (over["detail"].split(":")[0], asked) == ("Route 'orders' is complete", 0)
    assert (refused["outcome"], refused["left_out"]) == ("refused", ["authorization"])
    assert "-H 'Authorization" in refused["sentence"]
    assert (still["outcome"], still["legacy"]["status"], still["new"]["status"]) == ("still", 200, 200)
    assert [item["path"] for item in still["found"]["differences"]] == ["/price"]
    assert still["legacy"]["build"] == "k1"
    assert (fixed["outcome"], fixed["found"]) == ("fixed", None)
    assert (shown["recheck"]["outcome"], shown["recheck"]["comparison"]) == ("fixed", comparison)
    assert shown["count"] == 1, "a recheck is no comparison"
    assert 'matapalo_copies_total{purpose="recheck",route="orders",side="legacy"} 3.0' in metrics


def test_noise_and_repeats_stand_beside_a_divergence() -> None:
    """A clock that legacy changes by itself is noise, a wrong price beside it is none; asking again says it stays."""
    more = {"noise": {"sample": "100%", "max_per_second": "off"}, "ask_again": ["100ms"]}
    old, fresh = Shop("1", ticks=True), Shop("2", ticks=True)
    fresh.moments = itertools.count(1_000)  # never the other clock's moment, however often each is asked
    with Recorder(old) as legacy, Recorder(fresh) as new, Product(config(legacy, new, **more)) as product:
        ask(product, 30)

        def both() -> dict[str, Any]:
            groups = product.admin("GET", "/api/v1/divergences")["divergences"]
            known = [one for one in groups if {place["path"] for place in one["places"]} == {"/at", "/price"}]
            return known[0] if known and known[0]["again"] and known[0]["noise"]["asked"] == 30 else {}

        shown = wait_until(both, "noise and repeats are stored")
        product.wait_counts({"repeats|orders|noise|unequal": 30, "sent|orders": 30, "divergent|orders|legacy": 30})

    assert {place["path"]: place["rate"] for place in shown["noise"]["places"]} == {"/at": 100.0, "/price": 0.0}
    assert shown["noise"]["rate"] == 0.0
    assert shown["again"][0]["stays"] >= 1  # a pair is asked about again once a second
    assert shown["again"][0]["gone"] == 0
