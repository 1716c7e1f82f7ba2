"""Rules of why two values differ: what is named, at which pair, and how it is proven."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shadow.causes import CAUSES
from shadow.kinds import classify, respell

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
    ('"café"', '"cafe\u0301"', "unicode.normalization"),
    ('"café"', '"cafÃ©"', "unicode.mojibake"),
    ("1.0", "1", "number.integral_float"),
    ("0", "-0.0", "number.integral_float number.negative_zero"),
    ("1e+16", "10000000000000000", "number.exponent_threshold"),
    ("1.0E-7", "1e-07", "number.exponent_spelling"),
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
    ('"0.1e0"', '"0.10"', "number.decimal_spelling"),
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


@given(st.binary(max_size=40), st.binary(max_size=40), st.text(max_size=8))
def test_any_two_values_get_known_causes(legacy: bytes, new: bytes, name: str) -> None:
    """Whatever the bytes are, unequal ones get at least one cause of the table and equal ones none."""
    reasons = classify(legacy, new, name=name)

    assert bool(reasons) == (legacy != new)
    assert {reason.cause for reason in reasons} <= set(CAUSES)
    respell(legacy, new, frozenset(reason.cause for reason in reasons))
