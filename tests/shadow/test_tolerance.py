"""A tolerance hides what it names, until its day, and nothing else."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.causes import NEVER_TOLERATED
from config.tolerate import parse_tolerance
from shadow import json_value
from shadow.causes import CAUSES
from shadow.changes import changes_between
from shadow.difference import Difference, Explanation, Proof, Span
from shadow.explain import explain
from shadow.json_value import Meaning
from shadow.pointer import Path
from shadow.tolerance import ORDERS, VALUES, Tolerances, asked_later, tolerances_of
from shadow.tree import Kind, Node, parse

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC).timestamp()
LAST_DAY = "2027-01-31"
SAID = {"reason": "clock", "owner": "shop", "expires": LAST_DAY}


def tolerances(*entries: dict[str, Any], **said: str) -> Tolerances:
    """Compile tolerances of one route."""
    return Tolerances(parse_tolerance({**entry, **SAID, **said}, "orders") for entry in entries)


def id_of(entry: dict[str, Any]) -> str:
    """Name a tolerance of that route."""
    return parse_tolerance({**entry, **SAID}, "orders").id


def span_of(body: bytes, path: Path | None) -> Span | None:
    """Find a value's bytes."""
    node: Node | None = parse(body).root
    for step in path or ():
        assert node is not None
        if node.kind is Kind.OBJECT:
            names = [json.loads(name) for name in node.names]
            node = node.children[names.index(step)] if step in names else None
        else:
            node = node.children[int(step)]
    return None if node is None or path is None else (node.start, node.end)


def differ(cause: str, legacy: bytes, new: bytes, path: Path, new_path: Path | None = ()) -> Difference:
    """Make one difference; missing and added things stand on one side only."""
    ours = None if cause in ("member.added", "array.extra_item") else path
    theirs = None if cause in ("member.missing", "array.missing_item") else path if new_path == () else new_path
    return Difference(
        cause=cause,
        legacy_path=ours,
        new_path=theirs,
        legacy_span=span_of(legacy, ours),
        new_span=span_of(new, theirs),
    )


def explained(*differences: Difference, proof: Proof = Proof.PROVEN, omitted: int = 0) -> Explanation:
    """Make an explanation of JSON bodies."""
    return Explanation(meaning=Meaning.DIFFERENT, differences=differences, proof=proof, omitted=omitted)


def is_hidden(entry: dict[str, Any], legacy: bytes, new: bytes, cause: str, path: Path, **more: Any) -> bool:
    """Say whether one tolerance hides one difference."""
    result = tolerances(entry).apply(explained(differ(cause, legacy, new, path, **more)), legacy, new, now=NOW)
    assert result.hits == ((id_of(entry),) if result.by[0] else ())
    assert result.is_whole == bool(result.by[0])
    return bool(result.by[0])


CLOCKS = (b'{"at":"2026-11-21T10:00:00Z","price":10}', b'{"at":"2026-11-21T10:00:01Z","price":12}')


def test_a_clock_is_hidden_and_the_wrong_price_beside_it_is_not() -> None:
    """A tolerance for a clock hides the clock; the price beside it stays, and so does the pair."""
    clock = differ("volatile.timestamp", *CLOCKS, ("at",))
    price = differ("value.changed", *CLOCKS, ("price",))
    hides = tolerances({"path": "$.at"})

    both = hides.apply(explained(clock, price), *CLOCKS, now=NOW)
    alone = hides.apply(explained(clock), *CLOCKS, now=NOW)

    assert both.by == (id_of({"path": "$.at"}), "")
    assert (both.hits, both.is_whole) == ((id_of({"path": "$.at"}),), False)
    assert (alone.hits, alone.is_whole) == ((id_of({"path": "$.at"}),), True)


def test_it_ends_with_its_last_day() -> None:
    """On its last day a tolerance hides, a second later it does not."""
    clock = explained(differ("volatile.timestamp", *CLOCKS, ("at",)))
    end = datetime(2027, 2, 1, tzinfo=UTC).timestamp()
    hides = tolerances({"path": "$.at"})

    assert hides.apply(clock, *CLOCKS, now=end - 1).is_whole
    assert hides.apply(clock, *CLOCKS, now=end).by == ("",)


@pytest.mark.parametrize("cause", sorted(CAUSES))
def test_a_path_alone_hides_other_values_only(cause: str) -> None:
    """By its path alone a tolerance hides another value of the same type, never that something is missing or odd."""
    hidden = is_hidden({"path": "$.at"}, *CLOCKS, cause, ("at",))

    assert hidden == (cause in VALUES | ORDERS)


@pytest.mark.parametrize("cause", sorted(CAUSES))
def test_a_cause_hides_that_cause_alone(cause: str) -> None:
    """By its cause a tolerance hides nothing else; what is never hidden cannot be named."""
    difference = differ(cause, *CLOCKS, ("at",))
    named = [name for name in CAUSES if name not in NEVER_TOLERATED]
    by = [tolerances({"cause": name}).apply(explained(difference), *CLOCKS, now=NOW).by != ("",) for name in named]

    assert [name for name, hides in zip(named, by, strict=True) if hides] == ([cause] if cause in named else [])


@pytest.mark.parametrize("cause", sorted(NEVER_TOLERATED))
def test_what_is_never_hidden_is_not_even_by_a_message_that_says_so(cause: str) -> None:
    """A tolerance that names another status, which no loader takes, hides it all the same not."""
    spec = parse_tolerance({"cause": "key_order", **SAID}, "orders")
    forged = Tolerances([spec.__class__(id="t-x", route="", cause=cause, reason="r", owner="o", expires=LAST_DAY)])

    assert forged.apply(explained(differ(cause, *CLOCKS, ())), *CLOCKS, now=NOW).by == ("",)


def test_path_and_cause_together_hide_that_cause_there() -> None:
    """A missing member is hidden where a tolerance says both."""
    legacy, new = b'{"a":1,"b":2}', b"{}"
    entry = {"path": "$.a", "cause": "member.missing"}

    assert is_hidden(entry, legacy, new, "member.missing", ("a",))
    assert not is_hidden(entry, legacy, new, "member.missing", ("b",))
    assert not is_hidden({"path": "$.a"}, legacy, new, "member.missing", ("a",))
    assert not is_hidden(entry, legacy, b'{"a":3}', "value.changed", ("a",))


@pytest.mark.parametrize(("legacy", "new"), [("1", '"1"'), ('"x"', "null"), ("true", "1"), ("[1]", '{"a":1}')])
def test_another_type_is_not_another_value(legacy: str, new: str) -> None:
    """A value of another JSON type stays, whatever cause it was given."""
    bodies = (f'{{"a":{legacy}}}'.encode(), f'{{"a":{new}}}'.encode())

    assert not is_hidden({"path": "$.a"}, *bodies, "value.changed", ("a",))


def test_what_lies_below_a_path_belongs_to_it() -> None:
    """A tolerance for an object hides values inside it, but not members that come or go."""
    legacy, new = b'{"debug":{"took":1,"host":"a"}}', b'{"debug":{"took":2}}'

    assert is_hidden({"path": "$.debug"}, legacy, new, "value.changed", ("debug", "took"))
    assert not is_hidden({"path": "$.debug"}, legacy, new, "member.missing", ("debug", "host"))


def test_the_path_is_the_one_that_reports_show() -> None:
    """Where both sides stand at different places, legacy's counts, as in the report."""
    legacy, new = b'{"a":"x"}', b'{"data":{"a":"y"}}'

    assert is_hidden({"path": "/a"}, legacy, new, "value.changed", ("a",), new_path=("data", "a"))
    assert not is_hidden({"path": "$.data.a"}, legacy, new, "value.changed", ("a",), new_path=("data", "a"))
    assert is_hidden({"path": "$.z", "cause": "member.added"}, b"{}", b'{"z":1}', "member.added", ("z",))


UUIDS = (b'{"id":"0b9e4a52-1c5d-4f8e-9a3b-2d7c6e5f4a3b"}', b'{"id":"f47ac10b-58cc-4372-a567-0e02b2c3d479"}')


@pytest.mark.parametrize(
    ("rule", "legacy", "new", "hidden"),
    [
        ("uuid", *UUIDS, True),
        ("uuid", UUIDS[0], b'{"id":"none"}', False),
        ("uuid", UUIDS[0], b'{"id":""}', False),
        ("opaque_id", b'{"id":"a1"}', b'{"id":"b2"}', True),
        ("opaque_id", b'{"id":"a1"}', b'{"id":"an error"}', False),
        ("counter", b'{"id":41}', b'{"id":42}', True),
        ("counter", b'{"id":41}', b'{"id":-1}', False),
        ({"counter": 3}, b'{"id":41}', b'{"id":45}', False),
        ({"within": "0.01"}, b'{"id":10.50}', b'{"id":10.51}', True),
        ({"within": "0.01"}, b'{"id":10.50}', b'{"id":10.52}', False),
        ({"within": "1%"}, b'{"id":200}', b'{"id":202}', True),
        ({"within": "1%"}, b'{"id":200}', b'{"id":203}', False),
        ({"timestamp": "5s"}, b'{"id":"2026-11-21T10:00:00Z"}', b'{"id":"2026-11-21T11:00:04.5+01:00"}', True),
        ({"timestamp": "5s"}, b'{"id":"2026-11-21T10:00:00Z"}', b'{"id":"2026-11-21T10:00:06Z"}', False),
        ({"timestamp": "5s"}, b'{"id":"2026-11-21T10:00:00Z"}', b'{"id":"0001-01-01T00:00:00Z"}', False),
        ({"timestamp": "5s"}, b'{"id":"2026-11-21T10:00:00Z"}', b'{"id":"soon"}', False),
        ({"timestamp": "5s"}, b'{"id":1795255200}', b'{"id":1795255203}', True),
        ({"timestamp": "5s"}, b'{"id":1795255200}', b'{"id":1795255203000}', False),
        ({"timestamp": "5s"}, b'{"id":1795255200}', b'{"id":1795255206}', False),
        ({"timestamp": "5s"}, b'{"id":1}', b'{"id":2}', False),
        ({"timestamp": "5s"}, b'{"id":"2026-11-21T10:00:00Z"}', b'{"id":"2026-11-21 10:00:01"}', False),
        ({"timestamp": "5s"}, b'{"id":"2026-11-21T10:00:00Z"}', b'{"id":"2026-11-21T10:00:01"}', False),
        ({"timestamp": "1d"}, b'{"id":"2026-11-21"}', b'{"id":"2026-11-22"}', True),
        ({"within": "5"}, b'{"id":NaN}', b'{"id":1}', False),
    ],
)
def test_a_rule_looks_at_both_values(rule: str | dict[str, Any], legacy: bytes, new: bytes, *, hidden: bool) -> None:
    """Values that obey the rule are hidden; a value that broke its shape stays visible."""
    assert is_hidden({"path": "$.id", "rule": rule}, legacy, new, "value.changed", ("id",)) is hidden
    assert not is_hidden({"path": "$.id", "rule": rule}, legacy, new, "type.changed", ("id",))
    assert not is_hidden({"path": "$.id", "rule": rule}, legacy, new, "member.missing", ("id",))
    assert not is_hidden({"path": "$.other", "rule": rule}, legacy, new, "value.changed", ("id",))


def sifted(entries: list[dict[str, Any]], legacy: bytes, new: bytes, now: float = NOW) -> tuple[list[str], list[str]]:
    """Say which folded places remain of the changes between two bodies, and which of the tolerances hit."""
    values = json_value.read(legacy), json_value.read(new)
    found = changes_between(*values)
    remaining = tolerances(*entries).sift(found.places, *values, now=now)
    names = {id_of(entry): entry.get("path", "") for entry in entries}
    return sorted(change.folded for change in remaining.changes), [names[name] for name in remaining.hits]


@pytest.mark.parametrize(
    ("entry", "legacy", "new", "remaining"),
    [
        ({"path": "$.at"}, *CLOCKS, ["/price"]),
        ({"path": "$.at", "rule": {"timestamp": "5s"}}, *CLOCKS, ["/price"]),
        ({"path": "$.at", "rule": "uuid"}, *CLOCKS, ["/at", "/price"]),
        ({"path": "$.price", "rule": {"within": "2"}}, *CLOCKS, ["/at"]),
        ({"path": "$.price", "rule": {"within": "1"}}, *CLOCKS, ["/at", "/price"]),
        ({"cause": "volatile.timestamp"}, *CLOCKS, ["/at", "/price"]),
        ({"path": "$.a"}, b'{"a":1}', b'{"a":"1"}', ["/a"]),
        ({"path": "$.a"}, b'{"a":1}', b'{"a":null}', ["/a"]),
        ({"path": "$.a"}, b'{"a":1}', b"{}", ["/a"]),
        ({"path": "$.a", "cause": "member.missing"}, b'{"a":1}', b"{}", []),
        ({"path": "$.a", "cause": "member.missing"}, b'{"a":null}', b"{}", ["/a"]),
        ({"path": "$.a", "cause": "member.added"}, b"{}", b'{"a":1}', []),
        ({"path": "$.a"}, b'{"a":{"b":1}}', b'{"a":{"b":2}}', []),
        ({"path": "$.a"}, b'{"a":{"b":1}}', b'{"a":[1]}', ["/a"]),
        ({"path": "$.a"}, b'{"a":[1,2]}', b'{"a":[2,1]}', []),
        ({"path": "$.a", "rule": "unordered"}, b'{"a":[1,2,3]}', b'{"a":[3,1,2]}', []),
        ({"path": "$.a", "rule": "unordered"}, b'{"a":[1,2,3]}', b'{"a":[3,1,4]}', ["/a/*", "/a/*", "/a/*"]),
        ({"path": "$.a", "rule": {"keyed_by": "k"}}, b'{"a":[{"k":1},{"k":2}]}', b'{"a":[{"k":2},{"k":1}]}', []),
        ({"path": "$..b"}, b'{"a":[1,{"b":1}]}', b'{"a":[1,{"b":2}]}', []),
    ],
)
def test_changes_are_sifted_without_an_explanation(
    entry: dict[str, Any], legacy: bytes, new: bytes, remaining: list[str]
) -> None:
    """What a path hides never reaches a fingerprint; what only a cause tells is left for the explanation."""
    rest, hits = sifted([entry], legacy, new)

    assert rest == remaining
    assert bool(hits) == (len(rest) < len(changes_between(json_value.read(legacy), json_value.read(new)).places))


def test_an_expired_tolerance_sifts_nothing() -> None:
    """After its last day a place is part of the fingerprint again."""
    assert sifted([{"path": "$.at"}], *CLOCKS, now=NOW + 10**9) == (["/at", "/price"], [])


def test_what_made_arrays_the_same_is_counted_too() -> None:
    """A keyed array whose items differ in a clock has hits of both tolerances."""
    legacy, new = b'{"a":[{"k":1,"at":1},{"k":2,"at":1}]}', b'{"a":[{"k":2,"at":2},{"k":1,"at":2}]}'
    keyed, clock = {"path": "$.a", "rule": {"keyed_by": "k"}}, {"path": "$.a[*].at"}

    assert sifted([keyed, clock], legacy, new)[0] == []
    assert sorted(sifted([keyed, clock], legacy, new)[1]) == ["$.a", "$.a[*].at"]
    assert sifted([keyed], legacy, new)[1] == []


def orders(*items: str) -> bytes:
    """Make a body with an array."""
    return f'{{"n":1,"items":[{",".join(items)}]}}'.encode()


def reordered(legacy: bytes, new: bytes) -> Explanation:
    """Make what an explanation of two orders may look like: it cannot know that order is free."""
    return explained(
        differ("array.reordered", legacy, new, ("items",)),
        differ("value.changed", legacy, new, ("items", 0, "sku")),
        differ("array.missing_item", legacy, new, ("items", 1)),
        differ("array.extra_item", legacy, new, ("items", 1)),
    )


def test_an_unordered_array_may_stand_in_any_order() -> None:
    """Where the items are the same, whatever follows from their order is hidden."""
    legacy, new = orders('{"sku":"a"}', '{"sku":"b"}'), orders('{"sku":"b"}', '{"sku":"a"}')
    entry = {"path": "$.items", "rule": "unordered"}

    result = tolerances(entry).apply(reordered(legacy, new), legacy, new, now=NOW)

    assert set(result.by) == {id_of(entry)}
    assert result.is_whole


def test_a_wrong_item_in_an_unordered_array_stays() -> None:
    """Where one item is not the same, nothing of the array is hidden."""
    legacy, new = orders('{"sku":"a"}', '{"sku":"b"}'), orders('{"sku":"b"}', '{"sku":"x"}')

    result = tolerances({"path": "$.items", "rule": "unordered"}).apply(reordered(legacy, new), legacy, new, now=NOW)

    assert set(result.by) == {""}
    assert result.hits == ()


def test_order_excuses_no_spelling_and_nothing_beside_the_array() -> None:
    """What is spelled otherwise, or stands elsewhere, follows from no order."""
    legacy, new = orders('{"sku":"a"}', '{"sku":"b"}'), orders('{"sku":"b"}', '{"sku":"a"}')
    hides = tolerances({"path": "$.items", "rule": "unordered"})

    result = hides.apply(
        explained(
            differ("whitespace.separator", legacy, new, ()),
            differ("key_order", legacy, new, ("items", 0)),
            differ("value.changed", legacy, new, ("n",)),
            differ("http.header", legacy, new, ()),
        ),
        legacy,
        new,
        now=NOW,
    )

    assert result.by == ("", "", "", "")


def test_items_told_apart_by_a_member_may_differ_in_what_is_tolerated() -> None:
    """An array keyed by a member is compared item by item, under the route's other tolerances, which are counted."""
    legacy = orders('{"sku":"a","at":1,"eur":5.00}', '{"sku":"b","at":1,"eur":6.00}')
    new = orders('{"sku":"b","at":3,"eur":6.01}', '{"sku":"a","at":2,"eur":5.00}')
    wrong = orders('{"sku":"b","at":3,"eur":7.01}', '{"sku":"a","at":2,"eur":5.00}')
    keyed = {"path": "$.items", "rule": {"keyed_by": "sku"}}
    clock, cents = {"path": "$.items[*].at"}, {"path": "$..eur", "rule": {"within": "0.01"}}

    whole = tolerances(keyed, clock, cents).apply(reordered(legacy, new), legacy, new, now=NOW)
    priced = tolerances(keyed, clock, cents).apply(reordered(legacy, wrong), legacy, wrong, now=NOW)
    alone = tolerances(keyed, clock).apply(reordered(legacy, new), legacy, new, now=NOW)

    assert whole.is_whole
    assert whole.hits == tuple(sorted((id_of(keyed), id_of(clock), id_of(cents))))
    assert (priced.hits, alone.hits) == ((), ())


def test_arrays_in_items_are_compared_only_where_it_is_certain_which_is_which() -> None:
    """Of an item that one side lacks, nobody knows which array it should be compared with."""
    legacy, new = b'[{"t":[1]},{"t":[2]}]', b'[{"t":[1]},{"t":[2]}]'
    entry = {"path": "$[*].t", "rule": "unordered"}
    both = differ("array.reordered", legacy, new, (0, "t"))
    apart = differ("array.reordered", legacy, new, (0, "t"), new_path=(1, "t"))
    one = differ("array.missing_item", legacy, new, (0, "t", 0))

    result = tolerances(entry).apply(explained(both, apart, one), legacy, new, now=NOW)

    assert [bool(by) for by in result.by] == [True, False, False]


@pytest.mark.parametrize("rule", ["unordered", {"keyed_by": "id"}])
def test_an_array_that_is_none_or_unreadable_is_not_hidden(rule: str | dict[str, str]) -> None:
    """A rule for arrays hides nothing of objects, of a body cut short, and of a path that leads nowhere."""
    entry = {"path": "$.items", "rule": rule}
    for legacy, new in ((b'{"items":{}}', b'{"items":[]}'), (b'{"items":[1', b'{"items":[1]}'), (b"[]", b"[]")):
        difference = Difference(cause="value.changed", legacy_path=("items",), new_path=("items",))
        assert tolerances(entry).apply(explained(difference), legacy, new, now=NOW).by == ("",)


def test_what_is_unknown_is_not_whole() -> None:
    """With omitted differences or an unproven rest, a pair is not tolerated even if all that is known is."""
    clock = differ("volatile.timestamp", *CLOCKS, ("at",))
    hides = tolerances({"path": "$.at"})

    assert not hides.apply(explained(clock, omitted=1), *CLOCKS, now=NOW).is_whole
    assert not hides.apply(explained(clock, proof=Proof.PARTLY), *CLOCKS, now=NOW).is_whole
    assert not hides.apply(explained(), *CLOCKS, now=NOW).is_whole
    assert hides.apply(explained(clock, proof=Proof.NONE), *CLOCKS, now=NOW).is_whole


def test_the_first_one_is_counted() -> None:
    """Where two tolerances would hide a difference, the first one has the hit."""
    clock = explained(differ("volatile.timestamp", *CLOCKS, ("at",)))
    first, second = {"path": "$.at"}, {"cause": "volatile.timestamp"}

    assert tolerances(first, second).apply(clock, *CLOCKS, now=NOW).hits == (id_of(first),)
    assert tolerances(second, first).apply(clock, *CLOCKS, now=NOW).hits == (id_of(second),)


def test_a_list_is_compiled_once() -> None:
    """Equal lists share their compiled form, and an empty one is nothing."""
    specs = (parse_tolerance({"path": "$.at", **SAID}, "orders"),)

    assert tolerances_of(specs) is tolerances_of(tuple(specs))
    assert tolerances_of(specs)
    assert not tolerances_of(())


@pytest.mark.parametrize(
    ("primary", "after_us", "later"),
    [
        ("legacy", 2_000_000, "new"),
        ("new", 2_000_000, "legacy"),
        ("legacy", -2_000_000, "legacy"),
        ("legacy", 999_999, ""),
        ("legacy", 0, ""),
    ],
)
def test_who_was_asked_later_is_said_only_when_it_is_certain(primary: str, after_us: int, later: str) -> None:
    """Two requests that were on their way together may have been answered in any order."""
    assert asked_later(primary, after_us) == later


def test_every_cause_is_either_a_value_an_order_or_has_to_be_named() -> None:
    """A cause that is new in the table is hidden by no path until somebody decides so here."""
    assert CAUSES.keys() >= VALUES
    assert CAUSES.keys() >= ORDERS
    assert not (VALUES | ORDERS) & set(NEVER_TOLERATED)


# ---- soundness -------------------------------------------------------------------------------------------------------

leaves = st.one_of(
    st.none(), st.booleans(), st.sampled_from([0, 1, 2, 1.5]), st.sampled_from(["", "x", "y", "2026-11-21T10:00:00Z"])
)
documents = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(["a", "b", "c"]), inner, max_size=3)
    ),
    max_leaves=6,
)


def masked(value: object, *, is_inside: bool = False) -> object:
    """Put its type in place of every value below a member ``a``, and the items of arrays there in one order."""
    if isinstance(value, dict):
        return {name: masked(child, is_inside=is_inside or name == "a") for name, child in value.items()}
    if isinstance(value, list):
        items = [masked(child, is_inside=is_inside) for child in value]
        return sorted(items, key=repr) if is_inside else items
    return type(value).__name__ if is_inside else value


@given(documents, documents, st.integers(0, 7))
def test_what_is_hidden_whole_differs_in_nothing_else(one: object, other: object, shape: int) -> None:
    """Whatever two answers are: if a path hides all of it, they differ in values at that path and nowhere else."""
    wrapped = ({"a": one, "b": [shape]}, {"a": other, "b": [shape]}) if shape % 2 else ({"c": one}, {"c": other})
    legacy, new = (json.dumps(document).encode() for document in wrapped)
    if legacy == new:
        return
    hides = tolerances({"path": "$..a"})
    values = json_value.read(legacy), json_value.read(new)

    whole = hides.apply(explain(legacy, new), legacy, new, now=NOW).is_whole
    rest = hides.sift(changes_between(*values).places, *values, now=NOW).changes

    if whole or not rest:
        assert masked(values[0]) == masked(values[1])
