"""Rules of "the same JSON value": exact, strict, bounded, and the same on both readers."""

from __future__ import annotations

import itertools
import json
import random
import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shadow import json_grammar, json_value
from shadow.json_grammar import NotJsonError, OverLimitError
from shadow.json_value import Meaning, check_meaning, plain_number, read, read_slowly
from tests.shadow.made import VALUES, body_of, corpus_rows, spelled


def answer(reader: object, body: bytes) -> object:
    """Give what a reader answers: a value, or the kind of its refusal."""
    assert callable(reader)
    try:
        return ("value", reader(body))
    except NotJsonError:
        return "not json"
    except OverLimitError as error:
        return f"limit {error.limit}"


def test_every_pair_of_the_corpus_means_what_its_label_says() -> None:
    """Over 19,000 pairs of real encoders, same meaning is exactly what the corpus says."""
    wrong = [
        (row["case"], row["legacy_encoder"], row["new_encoder"])
        for row in corpus_rows("pairs.jsonl.gz")
        if (check_meaning(body_of(row, "legacy"), body_of(row, "new")).meaning is Meaning.SAME)
        != row["semantically_equal"]
    ]

    assert wrong == []


def test_both_readers_agree_on_the_corpus() -> None:
    """The quick reader is never wrong about a body that a real encoder wrote."""
    bodies = {body_of(row, side) for row in corpus_rows("pairs.jsonl.gz") for side in ("legacy", "new")}
    assert len(bodies) > 1_500

    assert [body for body in bodies if answer(read, body) != answer(read_slowly, body)] == []


def slow_meaning(one: bytes, two: bytes) -> Meaning:
    """Decide by the slow reader alone."""
    answers = [answer(read_slowly, body) for body in (one, two)]
    if one == two or (answers[0] == answers[1] and isinstance(answers[0], tuple)):
        return Meaning.SAME
    if "not json" in answers:
        return Meaning.NOT_JSON
    return Meaning.DIFFERENT if all(isinstance(one, tuple) for one in answers) else Meaning.LIMIT


def test_the_check_is_the_slow_readers_on_bodies_that_have_nothing_to_do_with_each_other() -> None:
    """Any two bodies of the corpus, thrown together, mean the same exactly where the slow reader says so."""
    bodies = sorted({body_of(row, side) for row in corpus_rows("pairs.jsonl.gz") for side in ("legacy", "new")})
    dice = random.Random(1)
    # Neighbours in order are alike, so that many of them mean the same.
    pairs = [*itertools.pairwise(bodies), *((one, dice.choice(bodies)) for one in bodies)]

    assert [pair for pair in pairs if check_meaning(*pair).meaning is not slow_meaning(*pair)] == []


NUMBERS = st.builds(
    lambda sign, whole, fraction, exponent: sign + whole + fraction + exponent,
    st.sampled_from(("", "-")),
    st.sampled_from(("0", "1", "10", "100", "12", "9007199254740993", "1" + "0" * 20)),
    st.sampled_from(("", ".0", ".5", ".50", ".05", ".25", ".000", "." + "0" * 20 + "1")),
    st.sampled_from(("", "e0", "E+2", "e-1", "e-02", "e20", "e-20", "e400", "E-400", "e401")),
)


@given(NUMBERS, NUMBERS)
@example("1E2", "100")
@example("1e400", "1" + "0" * 400)
@example("-0", "0.0")
@example("1e-400", "0." + "0" * 399 + "1")
def test_two_numbers_are_the_same_where_the_slow_reader_says_so(one: str, two: str) -> None:
    """However a number is spelled, it is its exact decimal value, and nothing beyond the limits is guessed."""
    bodies = f"[{one}]".encode(), f"[{two}]".encode()

    assert check_meaning(*bodies).meaning is slow_meaning(*bodies)


@given(VALUES, st.integers(0, 2**32), st.integers(0, 2**32))
def test_spelling_never_changes_the_meaning(value: object, seed: int, other: int) -> None:
    """Blanks, escapes, order of members and spelling of numbers leave the meaning alone, whichever side they are on."""
    one, two = spelled(value, seed), spelled(value, other)

    assert check_meaning(one, two).meaning is Meaning.SAME
    assert check_meaning(two, one).meaning is Meaning.SAME


@given(VALUES, VALUES, st.integers(0, 2**32))
def test_two_values_are_the_same_in_both_directions_or_in_none(one: object, two: object, seed: int) -> None:
    """Comparing is symmetric, and says same exactly where both values are."""
    left, right = spelled(one, seed), spelled(two, seed)

    meaning = check_meaning(left, right).meaning

    assert meaning is check_meaning(right, left).meaning
    assert (meaning is Meaning.SAME) == (read_slowly(left) == read_slowly(right))


@given(VALUES, st.integers(0, 2**32), st.data())
def test_both_readers_agree_on_damaged_json(value: object, seed: int, data: st.DataObject) -> None:
    """Whatever byte is changed, dropped or added, the quick reader gives the slow reader's answer."""
    body = bytearray(spelled(value, seed))
    at = data.draw(st.integers(0, len(body)))
    body[at : at + data.draw(st.integers(0, 2))] = data.draw(
        st.one_of(
            st.binary(max_size=2),
            st.sampled_from([b"\\", b'"', b"NaN", b"-0", b",", b"\xff", b"\\ud800", b"]", b"1e9"]),
        )
    )

    assert answer(read, bytes(body)) == answer(read_slowly, bytes(body))
    whole = spelled(value, seed + 1)
    assert check_meaning(bytes(body), whole).meaning is slow_meaning(bytes(body), whole)
    assert check_meaning(whole, bytes(body)).meaning is slow_meaning(whole, bytes(body))


@given(st.text("0123456789+-.eE[], ", max_size=24))
@example("[-0,0]")
@example("-0")
@example("[1e400,1e401]")
def test_both_readers_agree_on_anything_that_looks_like_numbers(text: str) -> None:
    """Both readers take the same spellings for numbers and give them the same value."""
    assert answer(read, text.encode()) == answer(read_slowly, text.encode())


@pytest.mark.parametrize(
    ("one", "two"),
    [
        (b"1", b"1.0"),
        (b"1", b"1e0"),
        (b"100", b"1E+2"),
        (b"0.1", b"1e-1"),
        (b"-0", b"0"),
        (b"-0.0e7", b"0"),
        (b"1.50", b"15e-1"),
        (b"1e400", b"1" + b"0" * 400),
        (b'{"a":1,"b":2}', b'{"b":2,"a":1}'),
        (b'{"a":9,"a":1}', b'{"a":1}'),
        (b'"\\u00e9"', '"é"'.encode()),
        (b'"\\ud83d\\ude00"', '"😀"'.encode()),
        (b'"\\/"', b'"/"'),
        (b'{"\\u0061":1}', b'{"a":1}'),
        (b'"\xff\\n"', b'"\xff\\u000A"'),
        (b'"\xff\\u005cn"', b'"\xff\\\\n"'),
        (b'"\xff\\ud83d\\ude00"', b'"\xff\xf0\x9f\x98\x80"'),
        (b" [ ] ", b"[]"),
    ],
)
def test_two_spellings_of_one_value_are_the_same(one: bytes, two: bytes) -> None:
    """Numbers are compared as decimals, strings by their text, objects by their members."""
    assert check_meaning(one, two).meaning is Meaning.SAME


@pytest.mark.parametrize(
    ("one", "two"),
    [
        (b"9007199254740993", b"9007199254740992"),
        (b"0.1", b"0.10000000000000000001"),
        (b"1", b"true"),
        (b"0", b"false"),
        (b"1", b'"1"'),
        (b"null", b'""'),
        (b"[]", b"{}"),
        (b"[1,2]", b"[2,1]"),
        (b'{"a":1,"a":9}', b'{"a":1}'),
        (b'{"__typename":"A"}', b'{"__typename":"B"}'),
        (b'{"a~/b":1}', b'{"a/~b":1}'),
        (b'"\\ud800"', b'"\\udc00"'),
        (b'"\\ud800"', b'"\xed\xa0\x80"'),
        (b'"\xff"', b'"\xfe"'),
        (b'"\xff"', '"\ufffd"'.encode()),
        (b'"\xff\\\\n"', b'"\xff\\n"'),
        (b'"\xff\\u005cn"', b'"\xff\\n"'),
        (b'"\xff\\u005cud800"', b'"\xff\\ud800"'),
        (b'"\xff\\\\ud800"', b'"\xff\\ud800"'),
        (b'"e\xcc\x81"', '"é"'.encode()),
    ],
)
def test_two_values_are_never_called_the_same(one: bytes, two: bytes) -> None:
    """Rounding, types, order of items, duplicates, ill-formed text and normalisation all count."""
    assert check_meaning(one, two).meaning is Meaning.DIFFERENT


@pytest.mark.parametrize(
    "body",
    [
        b"", b" ", b"\xef\xbb\xbf{}", b"NaN", b"[Infinity]", b"-Infinity", b"[1,]", b"[,1]", b"{,}", b'{"a":1,}',
        b'"a', b'"\t"', b'"\\x41"', b'"\\u12g4"', b"tru", b"nul", b"[1 2]", b'{"a" 1}', b"{} {}", b"{}x", b"[1]]",
        b"\x00", "{}".encode("utf-16"), b"[01]", b"\xc2\xa01", b'{"a":}', b"[\x0b1]", b"while(1);[]", b"<html>",
        b"'a'", b"// c\n1", b"[0,-]", b"{1:2}",
    ],
)  # fmt: skip
def test_a_body_that_is_not_json_equals_only_itself(body: bytes) -> None:
    """What RFC 8259 does not have is no JSON for either reader, and the same as nothing but its own bytes."""
    assert answer(read, body) == answer(read_slowly, body) == "not json"
    assert check_meaning(body, body + b" ").meaning is Meaning.NOT_JSON
    assert check_meaning(body, b"{}").meaning is Meaning.NOT_JSON
    assert check_meaning(body, body).meaning is Meaning.SAME


def test_every_limit_is_an_outcome_of_its_own() -> None:
    """Depth, tokens, numbers and size beyond the bound give their limit: no crash, and never the same."""
    limits = {
        "depth": b"[" * 513 + b"]" * 513,
        "tokens": b"[" + b"1," * json_grammar.MAX_TOKENS + b"1]",
        "number": b"[" + b"1" * 1_001 + b"]",
        "size": b'"' + b"a" * json_grammar.MAX_BYTES + b'"',
    }

    for limit, body in limits.items():
        check = check_meaning(body, body + b" ")
        assert (check.meaning, check.limit) == (Meaning.LIMIT, limit)
        assert check_meaning(body, b"<html>").meaning is Meaning.NOT_JSON


def test_what_is_just_within_the_limits_is_read() -> None:
    """The deepest, longest and largest body within each limit still gets its answer."""
    within = [
        b"[" * 512 + b"]" * 512,
        b'{"a":' * 511 + b"{}" + b"}" * 511,
        b"[" + b"1," * (json_grammar.MAX_TOKENS - 2) + b"1]",
        b"1" * 1_000,
        b"1e400",
        b"1e-400",
        b'["' + b"1," * json_grammar.MAX_TOKENS + b'"]',
        b'"' + b"[" * 5_000 + b'"',
        b'"' + b"7" * 5_000 + b'"',
    ]

    assert [check_meaning(body, body + b"\n").meaning for body in within] == [Meaning.SAME] * len(within)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"1e999999999", "limit number"),
        (b"-1.5E-999999999999999999", "limit number"),
        (b"1e401", "limit number"),
        (b"[" * 100_000, "limit depth"),
        (b'{"a":' * 100_000, "limit depth"),
        (b"[" * 700 + b"]" * 700, "limit depth"),
        (b"[" + b"[]," * 600 + b"[" * 600, "limit depth"),
        (b"1" * 1_000_000, "limit number"),
        (b'["' + b"a" * 1_000_000, "not json"),
        (b"\xff" * 100_000, "not json"),
        (b"[" + b'{"a":1},' * 20_000, "not json"),
    ],
)
def test_a_hostile_body_gets_an_answer_soon(body: bytes, expected: str) -> None:
    """Bombs of depth, digits and exponents, and large truncated bodies, are answered within a second."""
    started = time.process_time()

    assert answer(read, body) == expected
    assert time.process_time() - started < 1.0


def test_a_string_of_broken_bytes_costs_no_more_than_its_size() -> None:
    """Four megabytes of ill-formed UTF-8 with escapes between are read in under two seconds."""
    body = b'"' + b"\xff\\n" * (1 << 20) + b'"'
    started = time.process_time()

    assert check_meaning(body, body + b" ").meaning is Meaning.SAME
    assert time.process_time() - started < 2.0


@given(st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**30), max_value=10**30, places=6))
def test_a_number_has_one_plain_spelling(number: object) -> None:
    """Every spelling of a decimal has the same plain one, which is itself a spelling of it."""
    text = json.dumps(float(0)) if number == 0 else format(number, "f")

    plain = plain_number(text)

    assert plain_number(text + "0" if "." in text else text + ".0") == plain
    assert plain_number(plain.decode()) == plain


def test_the_quick_ways_are_in_use() -> None:
    """An ordinary body of 1 KB is compared and read by C code: the cost of the value check depends on it."""
    body = json.dumps([{"id": index, "price": index / 4, "at": "2024-01-02"} for index in range(20)]).encode()

    assert json_value._read_quickly(body) is not json_value._UNSURE
    assert json_value._canonical(body)
