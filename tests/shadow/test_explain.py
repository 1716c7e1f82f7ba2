"""Rules of explaining: the right causes at the right places, proven, bounded, and never a wrong "same"."""

from __future__ import annotations

import gc
import json
import random
import time
from functools import cache
from itertools import combinations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shadow import json_grammar as grammar
from shadow.difference import MAX_DIFFERENCES, Explanation, Proof
from shadow.explain import MAX_EXPLAINED, explain, first_difference
from shadow.json_value import Meaning, check_meaning
from shadow.pointer import pointer_of
from shadow.walk import COSMETIC
from tests.shadow.corpus_run import Score, run_pairs, run_semantic
from tests.shadow.made import VALUES, body_of, corpus_rows, spelled


def places(explanation: Explanation) -> list[tuple[str, str | None, str | None]]:
    """Give cause and both pointers of each difference."""
    return [
        (
            one.cause,
            None if one.legacy_path is None else pointer_of(one.legacy_path),
            None if one.new_path is None else pointer_of(one.new_path),
        )
        for one in explanation.differences
    ]


# ---- the corpus ----------------------------------------------------------------------------------------------------


@cache
def pairs_score() -> Score:
    """Explain all pairs of the corpus once."""
    return run_pairs(corpus_rows("pairs.jsonl.gz"))


def test_the_causes_of_real_pairs_are_found_exactly() -> None:
    """Of over 19,000 pairs of real encoders, at least 99.5 % get exactly the causes that ablation found."""
    score = pairs_score()

    assert score.rows > 19_000
    assert score.share >= 0.995, score.invented


def test_explained_pairs_are_proven() -> None:
    """Applying the causes to legacy's bytes gives new's bytes, for at least 99 % of cosmetic and of all pairs."""
    score = pairs_score()

    assert score.proven_cosmetic >= 0.99
    assert score.proven[Proof.PROVEN] >= 0.99 * score.rows


def test_the_meaning_of_real_pairs_is_never_wrong() -> None:
    """Same meaning is said of exactly the pairs that have it."""
    assert pairs_score().wrong_meaning == 0


def test_real_faults_are_found_at_their_place() -> None:
    """At least 98 % of the planted faults get their cause at their pointer, and nothing is invented beside them."""
    score = run_semantic(corpus_rows("semantic.jsonl.gz"))

    assert score.rows > 450
    assert score.share >= 0.98, score.missed
    assert sum(score.invented.values()) == 0


SEEN_FROM_THE_OTHER_SIDE = {
    "member.missing": "member.added",
    "array.missing_item": "array.extra_item",
    "envelope.wrapped": "envelope.unwrapped",
    "value.null": "value.changed",
}


def one_way(causes: frozenset[str]) -> frozenset[str]:
    """Name causes as they are called from either side."""
    names = {**SEEN_FROM_THE_OTHER_SIDE, **{two: two for two in SEEN_FROM_THE_OTHER_SIDE.values()}}
    return frozenset(names.get(cause, cause) for cause in causes)


def test_pairings_that_nobody_labelled_are_proven_and_read_the_same_from_both_sides() -> None:
    """Encoders that no label pairs: every pair is proven, and its causes do not depend on who is legacy."""
    written_by: dict[str, set[bytes]] = {}
    for row in corpus_rows("pairs.jsonl.gz"):
        if row["case"] != "ws-scalar-string":  # a bare text beside a JSON string: explained, but nothing to prove
            written_by.setdefault(row["case"], set()).update((body_of(row, "legacy"), body_of(row, "new")))
    pairs = [pair for bodies in written_by.values() for pair in combinations(sorted(bodies), 2)]
    pairs = random.Random(13).sample(pairs, 3_000)

    odd = []
    for one, two in pairs:
        explanation, back = explain(one, two), explain(two, one)
        proofs = {explanation.proof, back.proof}
        if proofs != {Proof.PROVEN} or one_way(explanation.causes) != one_way(back.causes):
            odd.append((one, two))

    assert odd == []


# ---- one cause at a time -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("legacy", "new", "expected"),
    [
        (b'{"a": 1}', b'{"a":1}\n', [("whitespace.separator", "", ""), ("whitespace.trailing_newline", "", "")]),
        (b" [1]", b"[1]", [("whitespace.indent", "", "")]),
        (b'{"b":1,"a":2}', b'{"a":2,"b":1}', [("key_order", "", "")]),
        (b'{"x":{"b":1,"a":2}}', b'{"x":{"a":2,"b":1}}', [("key_order", "/x", "/x")]),
        (b'{"userId":1}', b'{"user_id":1}', [("key.name", "/userId", "/user_id")]),
        (b'{"a":1,"b":2}', b'{"a":1}', [("member.missing", "/b", None)]),
        (b'{"a":1}', b'{"a":1,"b":2}', [("member.added", None, "/b")]),
        (b'{"a":1,"b":null}', b'{"a":1}', [("null.omitted", "/b", None)]),
        (b'{"a":1}', b'{"a":1,"b":{}}', [("zero.omitted", None, "/b")]),
        (b'{"a":1,"b":{"c":null,"d":[]}}', b'{"a":1}', [("zero.omitted", "/b", None)]),
        (b'{"a":1}', b'{"a":9,"a":1}', [("key.duplicate", None, "/a")]),
        (
            b'{"a":1}',
            b'{"a":1,"a":9}',
            [("key.duplicate", None, "/a"), ("value.changed", "/a", "/a")],
        ),
        (b'["a","b","c"]', b'["b","c"]', [("array.missing_item", "/0", None)]),
        (b'["a","b"]', b'["a","x","b"]', [("array.extra_item", None, "/1")]),
        (b'["a","b"]', b'["b","a"]', [("array.reordered", "", "")]),
        (
            b'[{"id":1,"v":1},{"id":2,"v":2}]',
            b'[{"id":2,"v":5}]',
            [("array.missing_item", "/0", None), ("value.changed", "/1/v", "/0/v")],
        ),
        (
            b'{"a":1,"b":2}',
            b'{"data":{"a":1,"b":3}}',
            [("envelope.wrapped", "", ""), ("value.changed", "/b", "/data/b")],
        ),
        (b'{"data":[{"a":1}],"n":1}', b'[{"a":1}]', [("envelope.unwrapped", "", "")]),
        (b'{"a":1}', b'[{"a":1}]', [("envelope.wrapped", "", "")]),
        (b'{"0":"a","1":"b"}', b'["a","c"]', [("container.object_as_array", "", ""), ("value.changed", "/1", "/1")]),
        (b'{"a":[]}', b'{"a":{}}', [("container.object_as_array", "/a", "/a")]),
        (
            b'["a","b","c"]',
            b'{"0":"a","2":"c"}',
            [("container.object_as_array", "", ""), ("array.missing_item", "/1", None)],
        ),
        (b'{"data":{"a":1},"m":2,"n":3}', b'{"data":{"data":{"a":1},"m":2,"n":3}}', [("envelope.wrapped", "", "")]),
        (
            b'[{"q":"2","s":"b"},{"q":"3","s":"b"}]',
            b'[{"q":3,"s":"b"}]',
            [("array.missing_item", "/0", None), ("number.as_string", "/1/q", "/0/q")],
        ),
        (b'{"title":"Item"}', b'{"title":null}', [("value.null", "/title", "/title")]),
        (b'{"a":1,"b":2}', b'{"error":"x"}', [("body.changed", "", "")]),
        (b"\xef\xbb\xbf[1]", b"[1]", [("framing.bom", "", "")]),
        (b"[1]", b"while(1);[1]", [("framing.prefix", "", "")]),
        ('["é"]'.encode("latin-1"), '["é"]'.encode(), [("framing.charset", "", "")]),
        (b"", b"null", [("framing.empty_body", "", "")]),
        (b"ok", b'"ok"\n', [("framing.raw_string", "", "")]),
        (b"{}", b"", [("body.empty", "", "")]),
        (b"{}", b"<html>", [("body.not_json", "", "")]),
        (b"<p>", b"<html>", [("body.changed", "", "")]),
        (b"[1]", b"[1]\n[1]", [("body.trailing_data", "", "")]),
        (b"[1]", b"[" * 600, [("limit.depth", "", "")]),
    ],
)
def test_a_cause_stands_at_its_place(
    legacy: bytes, new: bytes, expected: list[tuple[str, str | None, str | None]]
) -> None:
    """Each cause is found alone, with its pointer on both sides."""
    explanation = explain(legacy, new)

    assert places(explanation) == expected
    assert explanation.proof is not Proof.PARTLY


def test_equal_bytes_need_no_explanation() -> None:
    """Nothing differs, and that is proven."""
    explanation = explain(b"<html>", b"<html>")

    assert (explanation.differences, explanation.proof) == ((), Proof.PROVEN)


def test_spans_are_the_bytes_that_differ() -> None:
    """The offsets of a difference cut exactly the values, and of an absent member its name and value."""
    legacy, new = b'{"a": "x", "b": {"c": 1}, "d": 5}', b'{"a": "x", "b": {"c": 22}}'

    found = {
        one.cause: (one.legacy_span and legacy[slice(*one.legacy_span)], one.new_span and new[slice(*one.new_span)])
        for one in explain(legacy, new).differences
    }

    assert found == {"value.changed": (b"1", b"22"), "member.missing": (b'"d": 5', None)}


def test_a_truncated_body_is_compared_as_far_as_it_goes() -> None:
    """What stands before the cut is explained; what the cut took is not called missing."""
    explanation = explain(b'{"a":1,"b":[1,2,3],"c":4}', b'{"a":7,"b":[1,2')

    assert places(explanation) == [("body.truncated", "", ""), ("value.changed", "/a", "/a")]
    assert explanation.proof is Proof.NONE


def test_one_wrong_price_is_found_behind_noise_that_always_differs() -> None:
    """A separator and a clock in every answer hide nothing."""
    rows = [{"id": number, "price": number + 0.5, "at": "2024-01-02T03:04:05.100Z"} for number in range(50)]
    changed = [dict(row, at="2024-01-02T03:04:05.1Z") for row in rows]
    changed[31]["price"] = 99.5

    explanation = explain(json.dumps(rows).encode(), json.dumps(changed, separators=(",", ":")).encode())

    assert ("value.changed", "/31/price", "/31/price") in places(explanation)
    assert explanation.causes == {"whitespace.separator", "time.fraction", "value.changed"}
    assert explanation.proof is Proof.PROVEN


# ---- properties ----------------------------------------------------------------------------------------------------


def written(value: object, seed: int) -> bytes:
    """Write a value in the style of an encoder drawn from *seed*: regular, as encoders are."""
    dice = random.Random(seed)
    layout = dice.choice(
        (
            {"separators": (",", ":")},
            {"separators": (", ", ": ")},
            {"indent": 2},
            {"indent": 4},
            {"indent": "\t"},
        )
    )
    text = json.dumps(value, ensure_ascii=dice.random() < 0.5, sort_keys=dice.random() < 0.5, **layout)
    if dice.random() < 0.5:
        for char in "<>&":
            text = text.replace(char, f"\\u{ord(char):04x}")
    if dice.random() < 0.3:
        text = text.replace("\x7f", "\\u007f")
    return (text + dice.choice(("", "\n"))).encode("utf-8", "surrogatepass")


@given(VALUES, st.integers(0, 2**32), st.integers(0, 2**32))
@example({"0": "\ud800<", "b": [{}, [], 1.5]}, 1, 2)
def test_two_styles_of_one_value_are_explained_and_proven(value: object, one: int, two: int) -> None:
    """One value in two encoders' styles has cosmetic causes only, and applying them to one gives the other."""
    legacy, new = written(value, one), written(value, two)

    explanation = explain(legacy, new)

    assert explanation.proof is Proof.PROVEN
    if check_meaning(legacy, new).meaning is Meaning.SAME:
        assert explanation.causes <= COSMETIC


@given(VALUES, VALUES, st.integers(0, 2**32), st.integers(0, 2**32))
@example({"": None}, [{"": None}], 0, 0)  # one more level, so another indent
def test_two_values_are_explained_and_proven(one: object, two: object, seed: int, other: int) -> None:
    """Whatever differs, each unequal pair gets a cause, and what is written with the causes is new's body."""
    legacy, new = written([one, {"a": one, "b": two}], seed), written([two, {"b": one, "a": two}], other)

    explanation = explain(legacy, new)

    assert explanation.proof is Proof.PROVEN
    assert (legacy == new) == (explanation.differences == ())
    if explanation.causes <= COSMETIC:
        assert explanation.meaning is Meaning.SAME


@given(VALUES, st.integers(0, 2**32), st.integers(0, 2**32))
def test_blanks_without_a_rule_never_pass_for_proven_by_chance(value: object, one: int, two: int) -> None:
    """Blanks strewn at random give a difference each time, and a proof only if the written body is new's."""
    legacy, new = spelled(value, one), spelled(value, two)

    explanation = explain(legacy, new)

    assert (legacy == new) == (explanation.differences == ())
    assert (explanation.proof is Proof.PARTLY) == (explanation.residual >= 0)


def test_the_proof_fails_where_the_causes_are_not_the_whole_truth() -> None:
    """Blanks that follow no rule are found but not proven, and the first unexplained byte is told."""
    explanation = explain(b"[1,2,3,4]", b"[1, 2, 3,4]")

    assert explanation.causes == {"whitespace.separator"}
    assert (explanation.proof, explanation.residual) == (Proof.PARTLY, 9)


def test_blanks_at_other_places_are_a_difference_though_their_shapes_are_the_same() -> None:
    """Two bodies with the same two shapes of blanks, strewn otherwise, are not left without a cause."""
    explanation = explain(b"[1, 2,3]", b"[1,2, 3]")

    assert places(explanation) == [("whitespace.separator", "", "")]
    assert (explanation.proof, explanation.residual) == (Proof.PARTLY, 3)


@given(st.binary(max_size=20), st.binary(max_size=20))
def test_any_two_bodies_get_a_verdict(legacy: bytes, new: bytes) -> None:
    """No bytes crash the explanation, and unequal ones are never without a difference."""
    explanation = explain(legacy, new)

    assert (legacy == new) == (not explanation.differences)


@given(st.binary(max_size=50), st.binary(max_size=50))
def test_the_first_difference_is_the_first(one: bytes, two: bytes) -> None:
    """The offset found by halving is the one found byte by byte."""
    at = first_difference(one, two)

    assert (at == -1) == (one == two)
    assert one == two or (one[:at] == two[:at] and one[at : at + 1] != two[at : at + 1])


# ---- bounds --------------------------------------------------------------------------------------------------------


def test_a_body_beyond_the_limit_is_not_explained() -> None:
    """Above 1 MiB only the value check looks, and says what it means."""
    body = b"[" + b" " * MAX_EXPLAINED + b"1]"

    explanation = explain(body, b"[1]")

    assert explanation.causes == {"limit.size"}
    assert explanation.meaning is Meaning.SAME


def test_too_many_values_are_not_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the number of values that are read the cause is a limit, whichever side it is."""
    monkeypatch.setattr(grammar, "MAX_TOKENS", 1_000)
    many, few = b"[" + b"1," * 2_000 + b"1]", b"[1]"

    assert places(explain(many, few)) == places(explain(few, many)) == [("limit.size", "", "")]


def test_differences_are_capped_and_counted_and_no_cause_is_lost() -> None:
    """Beyond the cap differences are counted, but the first one of each cause is kept."""
    count = MAX_DIFFERENCES + 500
    legacy = json.dumps([*range(count), True], separators=(",", ":")).encode()
    new = json.dumps([*(str(number) for number in range(count)), "x"], separators=(",", ":")).encode()

    explanation = explain(legacy, new)

    assert explanation.causes == {"number.as_string", "type.changed"}
    assert len(explanation.differences) == MAX_DIFFERENCES + 1
    assert explanation.omitted == 500


NUMBERED = b"[" + b",".join(b'{"id":%d}' % number for number in range(30_000)) + b"]"

HOSTILE = {
    "deep": (b"[" * 100_000, b"[" * 99_999),
    "deep and different": (
        b'{"x":1,"a":' * 500 + b"1" + b',"y":1}' * 500,
        b'{"x":2,"a":' * 500 + b"1" + b',"y":2}' * 500,
    ),
    "truncated": (NUMBERED, NUMBERED[: len(NUMBERED) // 2]),
    "long string": (b'["%ba"]' % (b"x" * 1_000_000), b'["%bb"]' % (b"x" * 1_000_000)),
    "one of many equal items": (b"[1" + b",1" * 100_000 + b"]", b"[1" + b",1" * 99_999 + b"]"),
    "reversed": (
        b"[" + b",".join(b"%d" % number for number in range(100_000)) + b"]",
        b"[" + b",".join(b"%d" % number for number in reversed(range(100_000))) + b"]",
    ),
    "duplicates": (b'{"a":0' + b',"a":1' * 100_000 + b"}", b'{"a":0' + b',"a":2' * 100_000 + b"}"),
    "renamed": (
        b"{" + b",".join(b'"a_%d":1' % number for number in range(50_000)) + b"}",
        b"{" + b",".join(b'"A%d":1' % number for number in range(50_000)) + b"}",
    ),
    "huge exponent": (b"[1e999999999]", b"[1e999999998]"),
    "million digits": (b"[%b]" % (b"1" * 1_000_000), b"[%b]" % (b"2" * 1_000_000)),
    "invalid UTF-8": (b'["%b"]' % (b"\xff" * 100_000), b'["%b"]' % (b"\xfe" * 100_000)),
    "unterminated": (b'["' + b"a" * 500_000, b'["' + b"b" * 500_000),
    "wrapped lists": (b"[" * 500 + b"1" + b"]" * 500, b"[" * 505 + b"2" + b"]" * 505),
    "many chains": (
        b"[" + b",".join([b"[" * 250 + b"1" + b"]" * 250] * 150) + b"]",
        b"[" + b",".join([b"[" * 250 + b"2" + b"]" * 250] * 150) + b"]",
    ),
    "quotes and backslashes": (b'["' + b"\\\\" * 300_000 + b'"]', b'["' + b"\\/" * 300_000 + b'"]'),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_body_gets_a_verdict_in_time(name: str) -> None:
    """Each hostile shape is explained or stopped by a limit within seconds, never called the same."""
    legacy, new = HOSTILE[name]
    started = time.process_time()

    explanation = explain(legacy, new)

    assert time.process_time() - started < 8
    assert explanation.differences
    assert explanation.meaning is not Meaning.SAME


def listing(count: int) -> tuple[bytes, bytes]:
    """Make a list of products as Django and as Go write it, with one price changed."""
    rows: list[dict[str, object]] = [
        {
            "id": number,
            "sku": f"SKU-{number:05d}",
            "title": f"Item <{number}> & café",
            "price": number * 1.1,
            "stock": float(number),
            "tags": ["a", "b"],
            "supplier": {"id": number % 7, "name": "ACME"},
            "created_at": f"2023-05-06T07:08:09.{number % 900 + 100}000+00:00",
            "note": None,
        }
        for number in range(1, count + 1)
    ]
    legacy = json.dumps(rows).encode()
    for row in rows:
        row["stock"] = int(str(row["stock"])[:-2])
        row["created_at"] = str(row["created_at"]).replace("000+00:00", "Z").replace("0Z", "Z").replace("0Z", "Z")
    rows[-1]["price"] = 1
    text = json.dumps(rows, separators=(",", ":"), ensure_ascii=False, sort_keys=True)
    for char in "<>&":
        text = text.replace(char, f"\\u{ord(char):04x}")
    return legacy, text.encode() + b"\n"


@pytest.mark.alone
@pytest.mark.parametrize(
    ("count", "size", "milliseconds"), [(4, 1_000, 2), (390, 100_000, 120), (4_000, 1 << 20, 1_500)]
)
def test_explaining_keeps_its_time(count: int, size: int, milliseconds: int) -> None:
    """A full explanation takes at most 2 ms of CPU at 1 KB, 120 ms at 100 KB and 1.5 s at 1 MiB."""
    legacy, new = listing(count)
    assert 0.85 * size < len(legacy) < 1.05 * size
    best = float("inf")
    # A comparer's heap is small. That of a process with every test in it is not, and the collector would walk it.
    gc.collect()
    gc.freeze()
    try:
        for _ in range(30):
            started = time.process_time()
            explanation = explain(legacy, new)
            best = min(best, time.process_time() - started)
            if best * 1_000 <= milliseconds:
                break
    finally:
        gc.unfreeze()

    assert "value.changed" in explanation.causes
    assert explanation.proof is Proof.PROVEN
    assert best * 1_000 <= milliseconds


def test_numbers_have_the_limits_of_the_grammar() -> None:
    """A number too long to be read is compared as text and still gets a cause."""
    explanation = explain(b"[" + b"9" * (grammar.MAX_NUMBER_CHARS + 1) + b"]", b"[1]")

    assert explanation.differences


@pytest.mark.parametrize(
    ("legacy", "new"),
    [
        (b'[\n{\n\t\t"b": 1\n}\n]', b'[\n\t{\n\t\t"b": 1\n}\n]'),
        (b'{\n"b":9,\n\t"":[\n\t\tfalse\n\t]\n}', b'{\n\t"b":9,\n\t"":[\n\t\tfalse\n\t]\n}'),
    ],
)
def test_a_single_line_without_its_indent_is_never_passed_over(legacy: bytes, new: bytes) -> None:
    """Blanks that follow no rule on legacy's side are a difference like any others, so nothing can excuse them."""
    assert explain(legacy, new).causes == {"whitespace.indent"}
    assert "whitespace.indent" in explain(legacy.replace(b"9", b"8").replace(b"1", b"2"), new).causes
