"""A tolerance is whole, and is named by its rule."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from config import load_text
from config.errors import ConfigError
from config.spec import RuleSpec, ToleranceSpec
from config.tolerance import as_mapping
from config.tolerate import MAX_TOLERANCES, parse_tolerance

BEGIN = "backends: {a: {url: 'http://a'}, b: {url: 'http://b'}}\ndefaults: {legacy: a, new: b}\n"
SAID = "reason: clock, owner: shop, expires: 2027-01-31"
TEXTS = {"reason": "clock", "owner": "shop", "expires": "2027-01-31"}


def on_route(*entries: str) -> tuple[ToleranceSpec, ...]:
    """Load a route with these tolerances."""
    lines = "\n".join(f"      - {{{entry}}}" for entry in entries)
    text = f"{BEGIN}routes:\n  - name: orders\n    match: {{path: /orders}}\n    tolerate:\n{lines}\n"
    return load_text(text).routes[0].tolerate


@pytest.mark.parametrize(
    ("entry", "rule"),
    [
        ("path: $.x", None),
        ("path: $.x, rule: uuid", RuleSpec(name="uuid")),
        ("path: $.x, rule: opaque_id", RuleSpec(name="opaque_id")),
        ("path: $.x, rule: counter", RuleSpec(name="counter")),
        ("path: $.x, rule: {counter: 5}", RuleSpec(name="counter", within="5")),
        ("path: $.x, rule: {timestamp: {within: 5s}}", RuleSpec(name="timestamp", within_ns=5 * 10**9)),
        ("path: $.x, rule: {timestamp: 5s}", RuleSpec(name="timestamp", within_ns=5 * 10**9)),
        ("path: $, rule: unordered", RuleSpec(name="unordered")),
        ("path: $.x, rule: {keyed_by: id}", RuleSpec(name="keyed_by", member="id")),
        ("path: $.x, rule: {within: 0.01}", RuleSpec(name="within", within="0.01")),
        ("path: $.x, rule: {within: 1 %}", RuleSpec(name="within", within="1%")),
    ],
)
def test_a_tolerance_is_read_and_can_be_written_again(entry: str, rule: RuleSpec | None) -> None:
    """Each rule has one form in the file, and what a tolerance says can be pasted back."""
    (spec,) = on_route(
        f"{entry.replace('$.x', chr(34) + '$.x' + chr(34)).replace('$,', chr(34) + '$' + chr(34) + ',')}, {SAID}"
    )

    assert (spec.route, spec.rule, spec.reason, spec.owner, spec.expires) == ("orders", rule, *TEXTS.values())
    assert parse_tolerance(as_mapping(spec), "orders") == spec


def test_one_for_every_route_stands_at_the_top() -> None:
    """A tolerance at the top level belongs to no route."""
    spec = load_text(f"{BEGIN}tolerate: {{cause: key_order, {SAID}}}")

    assert [(item.route, item.cause, item.path) for item in spec.tolerate] == [("", "key_order", None)]


def test_its_name_is_its_rule() -> None:
    """Reason, owner and day may change and the tolerance stays the same one; route, place, cause and rule may not."""
    first = parse_tolerance({"path": "$.x", **TEXTS}, "orders")
    later = parse_tolerance({"path": "$['x']", "reason": "r", "owner": "o", "expires": "2028-01-31"}, "orders")
    others = [
        parse_tolerance({"path": "$.x", **TEXTS}, ""),
        parse_tolerance({"path": "$.y", **TEXTS}, "orders"),
        parse_tolerance({"path": "$.x", "cause": "value.null", **TEXTS}, "orders"),
        parse_tolerance({"path": "$.x", "rule": "uuid", **TEXTS}, "orders"),
        parse_tolerance({"path": "$.x", "rule": {"within": "1"}, **TEXTS}, "orders"),
        parse_tolerance({"path": "$.x", "rule": {"within": "1%"}, **TEXTS}, "orders"),
    ]

    assert first.id == later.id
    assert len({spec.id for spec in others} | {first.id}) == 7
    assert first.id.startswith("t-")


@pytest.mark.parametrize(
    ("entry", "line"),
    [
        (SAID, "7:9: routes.orders.tolerate[0]: found neither path nor cause"),
        ("path: '$.x'", r"7:9: routes.orders.tolerate[0].reason: is missing"),
        ("path: '$.x'", r"7:9: routes.orders.tolerate[0].owner: is missing"),
        ("path: '$.x'", r"7:9: routes.orders.tolerate[0].expires: is missing"),
        ("path: '$.x', reason: '', owner: a, expires: 2027-01-31", "reason: found '', expected a text"),
        ("path: '$.x', reason: ' ', owner: a, expires: 2027-01-31", "expected a text of at most 200"),
        (f"path: '$.x', reason: {'r' * 201}, owner: a, expires: 2027-01-31", "expected a text of at most 200"),
        ("path: '$.x', reason: a, owner: a, expires: 2027-02-30", "no calendar has that day"),
        ("path: '$.x', reason: a, owner: a, expires: 31.1.2027", "expected a day such as 2027-01-31"),
        ("path: '$.x', reason: a, owner: a, expires: never", "expected a day such as 2027-01-31"),
        (f"path: '$x', {SAID}", "7:16: routes.orders.tolerate[0].path: found '$x', expected a place"),
        (f"path: '$', {SAID}", "which is everywhere"),
        (f"path: '$..*', {SAID}", "which is everywhere"),
        (f"path: '$.*', rule: uuid, {SAID}", "with uuid, expected a place with a name"),
        (f"rule: uuid, {SAID}", "found rule alone"),
        (f"path: '$.x', cause: value.null, rule: uuid, {SAID}", "found cause and rule, expected one of them"),
        (f"path: '$.x', rule: {{}}, {SAID}", "found nothing, expected exactly one rule"),
        (f"path: '$.x', rule: {{within: 1, counter: 1}}, {SAID}", "found within, counter, expected exactly one rule"),
        (f"path: '$.x', rule: {{timestamp: {{}}}}, {SAID}", "rule.timestamp.within: is missing"),
        (f"path: '$.x', rule: {{timestamp: 5}}, {SAID}", "expected a duration"),
        (f"path: '$.x', rule: {{within: 0}}, {SAID}", "more than 0"),
        (f"path: '$.x', rule: {{within: -1}}, {SAID}", "more than 0"),
        (f"path: '$.x', rule: {{within: 1e3}}, {SAID}", "more than 0"),
        (f"path: '$.x', rule: {{within: 101%}}, {SAID}", "at most 100%"),
        (f"path: '$.x', rule: {{counter: 0}}, {SAID}", "a whole number from 1"),
        (f"path: '$.x', rule: guid, {SAID}", "expected uuid or"),
        (f"cause: http.status, {SAID}", "it is never hidden: another status is another answer"),
        (f"cause: nonsense, {SAID}", "expected the name of a cause"),
        (f"path: '$.x', until: 2027-01-31, {SAID}", "found an unknown key"),
    ],
)
def test_a_wrong_one_is_refused_at_its_line(entry: str, line: str) -> None:
    """Reason, owner, expiry, a place or cause that exists: what is missing or wrong is named with its line."""
    with pytest.raises(ConfigError) as caught:
        on_route(entry)

    assert line in str(caught.value)


def test_each_stands_only_once() -> None:
    """Two tolerances with one rule on one route are refused: one of them would never be looked at."""
    with pytest.raises(ConfigError, match=r"8:9: routes\.orders\.tolerate\[1\]: found the same tolerance again"):
        on_route(f"path: '$.x', {SAID}", f"path: \"$['x']\", {SAID}")


def test_a_route_has_a_bounded_number() -> None:
    """More tolerances than anybody answers for are refused."""
    assert len(on_route(*(f"path: '$.x{n}', {SAID}" for n in range(MAX_TOLERANCES)))) == MAX_TOLERANCES
    with pytest.raises(ConfigError, match="found more than 200 tolerances"):
        on_route(*(f"path: '$.x{n}', {SAID}" for n in range(MAX_TOLERANCES + 1)))


def test_it_does_not_stand_in_defaults() -> None:
    """Who looks for it in defaults is told where it belongs."""
    with pytest.raises(ConfigError, match=r"defaults\.tolerate.*expected it elsewhere"):
        load_text(f"{BEGIN[:-2]}, tolerate: []}}\n")


@pytest.mark.parametrize(
    "values",
    [
        {"path": "$.x"},
        {"path": 3, **TEXTS},
        {"path": ["$.x"], **TEXTS},
        {"path": "$.x", "rule": {"within": {}}, **TEXTS},
        {"path": "$.x", "rule": 7, **TEXTS},
        {"path": "${HOME}", **TEXTS},
        {"path": "$.x", "route": "orders", **TEXTS},
        {"cause": None, **TEXTS},
        {"path": "$.\ud800", **TEXTS},
        {},
    ],
)
def test_values_from_outside_are_refused_by_the_same_rules(values: Mapping[str, object]) -> None:
    """A tolerance by the API is held to what the file is held to."""
    with pytest.raises(ConfigError) as caught:
        parse_tolerance(values, "orders")
    assert caught.value.problems
