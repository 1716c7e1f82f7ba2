"""Rules of why two values differ: what is named, at which pair, and how it is proven."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shadow.causes import CAUSES, Severity
from shadow.json_value import Meaning, check_meaning
from shadow.kinds import classify, respell

COSMETIC = frozenset(name for name, cause in CAUSES.items() if cause.severity is Severity.COSMETIC)
WITHOUT_RULE = {
    "value.changed",
    "value.null",
    "type.changed",
    "type.enum",
    "volatile.id",
    "volatile.timestamp",
    "number.nonfinite",
    "container.object_as_array",
}
ROWS = [
    ('"a<b"', '"a\\u003cb"', "escape.html"),
    ('"a\\/b<"', '"a/b\\u003c"', "escape.html escape.solidus"),
    ('"\\u00E9"', '"é"', "escape.non_ascii"),
    ('"\\u001B"', '"\\u001b"', "escape.hex_case"),
    ('"a\\b"', '"a\\u0008"', "escape.control"),
    ('"a\u2028"', '"a\\u2028"', "escape.line_separator"),
    ('"é\u2028"', '"\\u00e9\\u2028"', "escape.non_ascii"),
    ('"😀"', '"\\u1f600"', "escape.non_ascii escape.surrogate_pair"),
    ('"a\\ud83db"', '"a\ufffdb"', "unicode.invalid"),
    ('"ab\\udce2\\udc82"', '"ab\ufffd\ufffd"', "unicode.invalid"),
    ('"ab\\udce2"', '"ab"', "unicode.invalid"),
    ('"café"', '"caf?"', "unicode.invalid"),
    ('"café"', '"caf\ufffd"', "unicode.invalid"),
    ('"cafe"', '"caf?"', "value.changed"),
    ('"café"', '"cafe\u0301"', "unicode.normalization"),
    ('"café"', '"cafÃ©"', "unicode.mojibake"),
    ("1.0", "1", "number.integral_float"),
    ("0", "-0.0", "number.integral_float number.negative_zero"),
    ("1e+16", "10000000000000000", "number.exponent_threshold"),
    ("1.0E-7", "1e-07", "number.exponent_spelling"),
    ("1e020", "1e20", "number.exponent_spelling"),
    ("10.50", "10.5", "number.decimal_spelling"),
    ("0.105e2", "10.50", "number.decimal_spelling"),
    ("0.1", "0.10000000149011612", "number.float32"),
    ("19.989999999999998", "19.99", "number.float_digits"),
    ("0.3333333333333333", "0.333333", "number.float_digits"),
    ("1234567890123456789", "1234567890123456800", "number.precision_loss"),
    ("344.98", "344.99", "value.changed"),
    ("344.98", "34498", "value.changed"),
    ("16777217", "16777216", "value.changed"),
    ('"45000"', "45000", "number.as_string"),
    ('"1e310"', "1e309", "type.changed"),
    ('"5"', "5000", "type.changed"),
    ('"0.1e0"', '"0.10"', "number.decimal_spelling"),
    ('"007"', '"7"', "value.changed"),
    ("NaN", "null", "number.nonfinite"),
    ("5400.0", "5400000000000", "type.duration"),
    ('"1:30:00"', '"PT1H30M"', "type.duration"),
    ('"P0DT01H30M00S"', "5400", "type.duration"),
    ('"2024-01-02T03:04:05.120Z"', '"2024-01-02T03:04:05.12Z"', "time.fraction"),
    ('"2024-01-02T05:04:05+02:00"', '"2024-01-02T03:04:05Z"', "time.zone"),
    ('"2024-01-02 03:04:05"', '"2024-01-02T03:04:05Z"', "time.format time.zone"),
    ('"Tue, 02 Jan 2024 03:04:05 GMT"', '"2024-01-02T03:04:05.5Z"', "time.format"),
    ("1704164645123", '"2024-01-02T03:04:05.123456Z"', "time.format"),
    ('{"date":"2024-01-02 05:04:05.0","timezone_type":1,"timezone":"+02:00"}', '"2024-01-02T03:04:05Z"', "time.format"),
    ('"2024-01-02T03:04:05Z"', '"2024-01-02T03:05:04Z"', "volatile.timestamp"),
    ('"2024-01-02T03:04:05.123Z"', '"2024-01-02T03:04:05.456Z"', "volatile.timestamp"),
    ('"2024-01-02T03:04:05.1Z"', '"2024-01-02T03:04:05.123Z"', "volatile.timestamp"),
    ('"2024-01-02T03:04:05.123Z"', '"2024-01-02T03:04:05.123456Z"', "time.fraction"),
    ('"2024-01-02T03:04:05Z"', '"2024-01-02T04:04:05Z"', "value.changed"),
    ('"1990-02-28"', '"1990-02-27"', "value.changed"),
    ('"123e4567-e89b-12d3-a456-426614174000"', '"7d444840-9dc0-41d1-b245-5ffdce74fad2"', "volatile.id"),
    ('"paid"', '"PAID"', "type.enum"),
    ('"active"', "1", "type.enum"),
    ("1", "true", "type.bool"),
    ("true", '"true"', "type.changed"),
    ('{"type":"Buffer","data":[104,105]}', '"aGk="', "type.bytes"),
    ("[104,-1]", '"aP8="', "type.bytes"),
    ('"b\'hi\'"', '"aGk="', "type.bytes"),
    ("null", "[]", "null.empty_array"),
    ("null", "{ }", "null.empty_object"),
    ("null", '"0001-01-01T00:00:00Z"', "null.zero_value"),
    ('"jdoe"', "null", "value.null"),
    ("[]", "{}", "container.object_as_array"),
    ('["a","b"]', '{"0":"a","1":"b"}', "container.object_as_array"),
    ('["a","b"]', '"a,b"', "type.changed"),
]  # fmt: skip


@pytest.mark.parametrize(("legacy", "new", "causes"), ROWS)
def test_a_pair_of_values_has_exactly_these_causes(legacy: str, new: str, causes: str) -> None:
    """Each pair is explained by its row's causes, no more and no less, and in both directions."""
    found = {reason.cause for reason in classify(legacy.encode(), new.encode())}
    back = {reason.cause for reason in classify(new.encode(), legacy.encode())}

    assert found == set(causes.split())
    assert back == found or "value.null" in found


@pytest.mark.parametrize(("legacy", "new", "causes"), ROWS)
def test_a_cause_with_a_rule_is_proven_and_every_other_stands_for_itself(legacy: str, new: str, causes: str) -> None:
    """Rewritten by its causes, legacy's value is new's; where a cause has no rule, nobody pretends to compute it."""
    before, after = legacy.encode(), new.encode()

    assert respell(before, after, frozenset(causes.split())) in (after, None)
    assert (respell(before, after, frozenset(causes.split())) is None) == bool(WITHOUT_RULE & set(causes.split()))
    assert respell(before, after, frozenset()) != after


NAMED = [
    ('"1.10"', '"1.1"', "price", "number.decimal_spelling"),
    ('"1.10"', '"1.1"', "apiVersion", "value.changed"),
    ("1001", "1002", "requestId", "volatile.id"),
    ('"8f3a22c1"', '"09be7d54"', "request_id", "volatile.id"),
    ('"8f3a22c1"', '"09be7d54"', "id", "value.changed"),
    ("12", "9", "took", "volatile.duration"),
    ("12", "9", "stock", "value.changed"),
    ("120", "121", "duration", "value.changed"),
    ("1704164645", "1704164646", "updatedAt", "volatile.timestamp"),
    ("1704164645", "1704164646", "orderId", "value.changed"),
    ("1704164645", "1704164645000", "created", "time.format"),
    ("5", "5000", "ttl", "type.duration"),
    ("5", "5000", "weight", "value.changed"),
    ('"4bf92f3577b34da6a3ce929d0e0e4736"', '"0af7651916cd43dd8448eb211c80319c"', "traceId", "volatile.id"),
    ('"4bf92f3577b34da6a3ce929d0e0e4736"', '"0af7651916cd43dd8448eb211c80319c"', "sha", "value.changed"),
    ('"ORD-2024-000000017"', '"ORD-2024-000000018"', "id", "value.changed"),
    ('"123e4567-e89b-12d3-a456-426614174000"', '"123e4567-e89b-12d3-a456-426614174001"', "id", "value.changed"),
]


@pytest.mark.parametrize(("legacy", "new", "name", "cause"), NAMED)
def test_a_name_decides_between_noise_and_a_change(legacy: str, new: str, name: str, cause: str) -> None:
    """Stopwatches, clocks and random identifiers are noise under a name that says so; counted ones are data."""
    assert [reason.cause for reason in classify(legacy.encode(), new.encode(), name=name)] == [cause]


@pytest.mark.parametrize(
    ("legacy", "new"),
    [
        (b'"' + b"x" * (1 << 20) + b'a"', b'"' + b"x" * (1 << 20) + b'b"'),
        (b'"' + b"<" * (1 << 20) + b'"', b'"' + b"\\u003c" * (1 << 20) + b'"'),
        (b'"' + b"a\xff" * (1 << 19) + b'"', b'"' + b"b\xff" * (1 << 19) + b'"'),
        (b'"' + b"\\\\" * (1 << 19) + b'"', b'"' + b"\\\\" * (1 << 19) + b'x"'),
        (b"1" * (1 << 20), b"1" * (1 << 20) + b"2"),
        (b"1e999999999", b"1e999999998"),
        (b"[" + b"1," * (1 << 19) + b"1]", b'"x"'),
        (b"[" * 5_000 + b"]" * 5_000, b"{}"),
    ],
    ids=["end", "escapes", "broken", "backslashes", "digits", "exponent", "list", "nesting"],
)
def test_hostile_values_cost_what_their_bytes_cost(legacy: bytes, new: bytes) -> None:
    """A megabyte in one value is judged and proven in about a second of a slow machine, whatever is in it."""
    started = time.process_time()

    causes = frozenset(reason.cause for reason in classify(legacy, new))
    respell(legacy, new, causes)

    assert time.process_time() - started < 5


LEXEMES = st.sampled_from(sorted({side.encode() for row in ROWS for side in row[:2] if side[0] not in "[{N"}))
EDITS = st.lists(st.tuples(st.integers(0, 80), st.sampled_from([bytes((c,)) for c in b'0159.eE+-"\\u<&/aZ:T'])))


def edited(lexeme: bytes, edits: list[tuple[int, bytes]]) -> bytes:
    """Replace or drop some bytes."""
    for at, byte in edits[:2]:
        lexeme = lexeme[:at] + byte + lexeme[at + 1 :]
    return lexeme


@given(LEXEMES, LEXEMES | st.none(), EDITS, EDITS)
def test_a_cosmetic_cause_is_never_given_to_two_values(
    one: bytes, other: bytes | None, edits: list[tuple[int, bytes]], other_edits: list[tuple[int, bytes]]
) -> None:
    """Only values that the value check calls the same have cosmetic causes alone; none of those has a visible one."""
    legacy, new = edited(one, edits), edited(other or one, other_edits)
    meaning = check_meaning(legacy, new).meaning
    if legacy == new or meaning in (Meaning.NOT_JSON, Meaning.LIMIT):
        return

    causes = frozenset(reason.cause for reason in classify(legacy, new))

    severities = {CAUSES[cause].severity for cause in causes}
    if meaning is Meaning.SAME:
        assert severities <= {Severity.COSMETIC, Severity.DEPENDENT}
        assert respell(legacy, new, causes) == new
    else:
        assert severities != {Severity.COSMETIC}
        assert respell(legacy, new, COSMETIC) != new


@given(st.binary(max_size=40), st.binary(max_size=40), st.text(max_size=8))
def test_any_two_values_get_known_causes(legacy: bytes, new: bytes, name: str) -> None:
    """Whatever the bytes are, unequal ones get at least one cause of the table and equal ones none."""
    reasons = classify(legacy, new, name=name)

    assert bool(reasons) == (legacy != new)
    assert {reason.cause for reason in reasons} <= set(CAUSES)
    respell(legacy, new, frozenset(reason.cause for reason in reasons))
