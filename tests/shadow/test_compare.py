"""Rules of one comparison: what is tolerated, what is divergent, and what nobody can tell."""

from __future__ import annotations

import gzip
import zlib

import msgspec
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from config.spec import ToleranceSpec
from shadow import link
from shadow.causes import CAUSES, Severity
from shadow.compare import Body, Case, open_case
from shadow.encoding import NOTHING, Encoding
from tests.shadow.made import JSON_TYPE, VALUES, Headers, body_of, compared, corpus_rows, pair, policy, spelled

GZIPPED = (*JSON_TYPE, (b"Content-Encoding", b"gzip"))
TEXT_TYPE = ((b"content-type", b"text/plain; charset=utf-8"),)


def tolerance(*, cause: str | None = None, path: str | None = None, name: str = "t-1") -> ToleranceSpec:
    """Make a tolerance that ends late."""
    return ToleranceSpec(id=name, route="", cause=cause, path=path, reason="r", owner="o", expires="2099-12-31")


def words(legacy: bytes, new: bytes, **parts: object) -> tuple[str, tuple[str, ...], bool | None]:
    """Compare and give verdict, causes and same_meaning."""
    verdict, finding = compared(legacy, new, **parts)
    assert finding.verdict == verdict.verdict
    assert finding.causes == verdict.causes
    return verdict.verdict, verdict.causes, finding.same_meaning


def looked_at(legacy: bytes, new: bytes, encoding: Encoding = NOTHING, **wishes: object) -> Case:
    """Take the cheap steps."""
    case = open_case(policy(**wishes), pair(legacy, new), legacy, new)  # type: ignore[arg-type]  # named parts of a policy
    case.look(encoding)
    return case


# ---- verdicts ------------------------------------------------------------------------------------------------------


def test_parity_bytes_excuses_nothing() -> None:
    """Under parity bytes any byte that differs is divergent, and the same meaning is still told apart."""
    assert words(b'{"a":1}', b'{"a":1}\n') == ("divergent", ("whitespace.trailing_newline",), True)
    assert words(b'{"a":1}', b'{"a":2}') == ("divergent", ("value.changed",), False)
    assert words(b"<a>", b"<b>") == ("divergent", ("body.changed",), None)


@pytest.mark.parametrize("media", ["application/x-ndjson", "application/jsonl", "text/event-stream; charset=utf-8"])
def test_where_lines_divide_texts_a_line_feed_is_no_blank(media: str) -> None:
    """Who reads one text per line cannot read one that takes two lines, so nothing says that both mean the same."""
    headers = ((b"content-type", media.encode()),)
    parts = {"parity": "meaning", "legacy_headers": headers, "new_headers": headers}

    assert words(b'{"a":1,"b":2}\n', b'{"a":1,\n"b":2}\n', **parts) == ("divergent", ("body.changed",), None)


def test_parity_meaning_tolerates_cosmetic_causes_and_nothing_else() -> None:
    """Under parity meaning cosmetic causes are tolerated; what a typed client may see is not."""
    assert words(b'{"a":1,"b":2}', b'{"b": 2, "a": 1}\n', parity="meaning")[0] == "tolerated"
    assert words(b'{"a":1}', b'{"a":1.0}', parity="meaning") == ("divergent", ("number.integral_float",), True)
    assert words(b'{"a":1}', b'{"a":"1"}', parity="meaning") == ("divergent", ("number.as_string",), False)
    assert words(b'{"a":1}', b"", parity="meaning") == ("divergent", ("body.empty",), None)
    assert words(b"<a>", b"<a> ", parity="meaning") == ("divergent", ("body.changed",), None)


def test_a_body_beyond_the_limits_is_undecided_only_where_something_could_be_excused() -> None:
    """A limit makes a pair undecided with reason limit under parity meaning, and divergent under parity bytes."""
    deep = b"[" * 600 + b"]" * 600

    verdict, finding = compared(deep, deep + b" ", parity="meaning")

    assert (verdict.verdict, verdict.reason, finding.same_meaning) == ("undecided", "limit", None)
    assert words(deep, deep + b" ") == ("divergent", ("limit.depth",), None)
    tolerate = (tolerance(cause="value.changed"),)
    assert words(deep, deep + b" ", tolerate=tolerate)[0] == "undecided"


@pytest.mark.parametrize("parity", ["bytes", "meaning"])
def test_another_status_is_divergent_whatever_the_bodies_say(parity: str) -> None:
    """A status that differs is divergent, even for one meaning."""
    body = b"[1]"

    assert words(body, body, statuses=(200, 201), parity=parity) == ("divergent", ("http.status",), True)
    assert words(body, body + b"\n", statuses=(200, 201), parity=parity)[0] == "divergent"


@pytest.mark.parametrize("parity", ["bytes", "meaning"])
@pytest.mark.parametrize(
    ("cause", "legacy", "new"),
    [
        ("http.content_type", JSON_TYPE, TEXT_TYPE),
        ("http.content_type", JSON_TYPE, ()),
        ("http.header", (*JSON_TYPE, (b"Location", b"/a")), (*JSON_TYPE, (b"location", b"/b"))),
        ("http.header", JSON_TYPE, (*JSON_TYPE, (b"Allow", b"GET"))),
    ],
)
def test_a_head_that_says_something_else_is_divergent(parity: str, cause: str, legacy: Headers, new: Headers) -> None:
    """Another content type or watched header is divergent under either parity, whatever the body's spelling."""
    found = words(b"[1]", b"[1]\n", parity=parity, legacy_headers=legacy, new_headers=new)

    assert found == ("divergent", (cause, "whitespace.trailing_newline"), True)


def test_the_spelling_of_a_content_type_is_excused_under_meaning() -> None:
    """A content type that only reads otherwise is named, never hides a difference of the body, and may be excused."""
    other = ((b"Content-Type", b'Application/JSON;charset="UTF-8"'),)

    assert words(b"[1]", b"[2]", new_headers=other)[1] == ("http.charset", "value.changed")
    assert words(b"[1]", b"[1]", new_headers=other)[:2] == ("divergent", ("http.charset",))
    assert words(b"[1]", b"[1]", new_headers=other, parity="meaning")[0] == "tolerated"
    assert words(b"[1]", b"[1]\n", new_headers=other, parity="meaning")[0] == "tolerated"
    assert words(b"[1]", b"[2]", new_headers=other, parity="meaning")[0] == "divergent"


def test_a_difference_that_nobody_finds_again_is_never_called_fine() -> None:
    """Where the worker saw a difference and the comparer sees none, the pair is divergent and unexplained."""
    for parity in ("bytes", "meaning"):
        assert words(b"[1]", b"[1]", parity=parity)[:2] == ("divergent", ("unexplained",))


# ---- codings -------------------------------------------------------------------------------------------------------


def test_another_declared_coding_is_excused_under_meaning() -> None:
    """Bodies equal once decoded, all codings declared, are tolerated under meaning and divergent under bytes."""
    body = b"x" * 500
    one, two = gzip.compress(body, 1, mtime=0), gzip.compress(body, 9, mtime=1)
    deflated = (*JSON_TYPE, (b"content-encoding", b"deflate"))

    for parity, verdict in (("bytes", "divergent"), ("meaning", "tolerated")):
        for first, second, legacy, new in (
            (one, two, GZIPPED, GZIPPED),
            (body, one, JSON_TYPE, GZIPPED),
            (body, zlib.compress(body), JSON_TYPE, deflated),
        ):
            found = words(first, second, legacy_headers=legacy, new_headers=new, parity=parity)
            assert found == (verdict, ("http.content_encoding",), True)


def test_compressed_bytes_that_nobody_declared_are_never_tolerated() -> None:
    """Compressed bytes without Content-Encoding are a fault that the client sees, under either parity."""
    body = b'{"a":1}'

    for parity in ("bytes", "meaning"):
        assert words(body, gzip.compress(body), parity=parity) == ("divergent", ("http.content_encoding",), True)
        assert words(body, gzip.compress(b'{"a": 1}'), parity=parity)[0] == "divergent"
        assert words(gzip.compress(body, 1, mtime=0), gzip.compress(body, 9, mtime=2), parity=parity)[0] == "divergent"
        assert words(gzip.compress(body), gzip.compress(b'{"a": 1}'), parity=parity)[0] == "divergent"


def test_places_are_those_of_the_decoded_bodies() -> None:
    """Offset, pointer and meaning are found behind the coding."""
    legacy, new = gzip.compress(b'{"a":1}'), b'{"a":2}'

    _, finding = compared(legacy, new, legacy_headers=GZIPPED, parity="meaning")

    item = finding.differences[0]
    assert (item.cause, item.legacy_pointer, item.legacy_span) == ("value.changed", "/a", (5, 6))
    assert (item.legacy, item.new, finding.same_meaning) == ("1", "2", False)


def test_a_bomb_is_undecided_where_meaning_matters() -> None:
    """A body that decodes beyond a cap is undecided{limit} under parity meaning, divergent under parity bytes."""
    bomb, other = gzip.compress(b"\0" * (4 << 20)), gzip.compress(b"\0" * (5 << 20))
    heads: dict[str, object] = {"legacy_headers": GZIPPED, "new_headers": GZIPPED}

    verdict, finding = compared(bomb, other, parity="meaning", **heads)

    assert (verdict.verdict, verdict.reason, finding.same_meaning) == ("undecided", "limit", None)
    assert words(bomb, other, **heads) == ("divergent", ("limit.size",), None)


def test_a_truncated_stream_is_divergent() -> None:
    """A stream that breaks off is compared as received and never tolerated."""
    body = gzip.compress(b"[1,2,3]")

    found = words(body, body[:-4], legacy_headers=GZIPPED, new_headers=GZIPPED, parity="meaning")

    assert found == ("divergent", ("body.changed", "http.content_encoding"), None)


# ---- digests, types ------------------------------------------------------------------------------------------------


def test_a_pair_by_digest_is_undecided_where_meaning_matters() -> None:
    """Bodies known by digest only are divergent under bytes, undecided{limit} under meaning, and say their lengths."""
    for parity, expected in (("bytes", "divergent"), ("meaning", "undecided")):
        sent = msgspec.structs.replace(
            pair(b"", b"", whole=False, digests=(b"1" * 16, b"2" * 16)),
            new=link.AnswerHead(200, list(JSON_TYPE), 7_000_000, b"2" * 16, "shop"),
        )
        case = open_case(policy(parity=parity), sent, b"", b"")
        case.look(NOTHING)
        explanation = case.explain()
        decision = case.decide(explanation, case.quick_verdict())
        assert (decision.verdict, explanation.causes, case.same_meaning) == (expected, frozenset({"limit.size"}), None)
        assert "7000000 bytes" in explanation.differences[0].detail


def test_equal_digests_are_equal_bodies() -> None:
    """Where only a header differs between two large answers, the finding says the header."""
    found = words(b"", b"", whole=False, digests=(b"1" * 16, b"1" * 16), new_headers=TEXT_TYPE)

    assert found[:2] == ("divergent", ("http.content_type",))


def test_a_coding_that_nobody_could_undo_is_never_excused() -> None:
    """Equal digests under two codings are not one content: one of the two is not what it says."""
    found = words(b"", b"", whole=False, digests=(b"1" * 16,) * 2, new_headers=GZIPPED, parity="meaning")

    assert found[:2] == ("divergent", ("http.content_encoding",))


def test_a_version_as_plain_text_is_no_number() -> None:
    """1.10 and 1.1 are one JSON number, but of type text/plain they are two texts."""
    text: dict[str, object] = {"legacy_headers": TEXT_TYPE, "new_headers": TEXT_TYPE}

    assert words(b"1.10", b"1.1", **text) == ("divergent", ("body.changed",), None)
    assert words(b"1.10", b"1.1") == ("divergent", ("number.decimal_spelling",), True)


# ---- tolerances ----------------------------------------------------------------------------------------------------


def test_a_pair_is_tolerated_only_where_every_difference_is() -> None:
    """Under parity bytes each difference needs a tolerance; under meaning cosmetic ones need none."""
    clock, newline = tolerance(path="$.at"), tolerance(cause="whitespace.trailing_newline", name="t-2")
    legacy, new = b'{"at":"10:01","total":1}', b'{"at":"10:02","total":1}\n'

    assert words(legacy, new, tolerate=(clock,))[0] == "divergent"
    assert words(legacy, new, tolerate=(clock, newline))[0] == "tolerated"
    assert words(legacy, new, tolerate=(clock,), parity="meaning")[0] == "tolerated"
    assert words(legacy, new.replace(b":1}", b":2}"), tolerate=(clock, newline), parity="meaning")[0] == "divergent"


def test_the_hits_of_tolerances_are_told() -> None:
    """A verdict names each tolerance that hid something, and the finding says which hid what."""
    clock, newline = tolerance(path="$.at"), tolerance(cause="whitespace.trailing_newline", name="t-2")

    verdict, finding = compared(b'{"at":"a"}', b'{"at":"b"}\n', tolerate=(clock, newline))

    assert verdict.tolerated == ("t-1", "t-2")
    assert {item.cause: item.tolerated_by for item in finding.differences} == {
        "value.changed": "t-1",
        "whitespace.trailing_newline": "t-2",
    }


def test_a_tolerated_place_leaves_the_key() -> None:
    """A clock under a tolerance never makes two kinds of pairs of one."""
    clock = (tolerance(path="$.at"),)

    one = looked_at(b'{"at":"a","total":1}', b'{"at":"b","total":2}', tolerate=clock)
    two = looked_at(b'{"at":"a","total":1}', b'{"at":"a","total":2}', tolerate=clock)
    three = looked_at(b'{"at":"a","total":1}', b'{"at":"b","total":1}', tolerate=clock)

    assert one.key == two.key
    assert one.key != three.key


# ---- laws ----------------------------------------------------------------------------------------------------------


def test_the_key_tells_places_apart_and_ignores_values() -> None:
    """Two differences at one place share a key whatever the values; another place or another habit has its own."""

    def key_of(legacy: bytes, new: bytes) -> object:
        return looked_at(legacy, new).key

    clock = key_of(b'{"id":1,"at":"x"}', b'{"id":1,"at":"y"}')

    assert clock == key_of(b'{"id":7,"at":"p"}', b'{"id":7,"at":"q"}')
    assert clock != key_of(b'{"id":1,"at":"x"}', b'{"id":2,"at":"x"}')
    assert clock != key_of(b'{"id":1,"at":"x"}', b'{"id":2,"at":"y"}')
    assert clock != key_of(b'{"id":1,"at":"x"}', b'{"id": 1, "at": "y"}')


def test_a_replayed_body_says_so() -> None:
    """What the route's encoding covers needs no other step."""
    case = looked_at(b'{"a":1}', b'{"a":1}\n', frozenset({"whitespace.trailing_newline"}))

    assert (case.body, case.same_meaning) == (Body.REPLAYED, True)


@given(VALUES, st.integers(0, 2**32), st.integers(0, 2**32))
def test_comparing_is_symmetric(value: object, seed: int, other: int) -> None:
    """Exchanging both sides changes no meaning, and no pair is tolerated that is another value the other way round.

    Blanks in no order at all may be proven in one direction only; then the other one is divergent.
    """
    one, two = spelled(value, seed), spelled([value] if seed % 2 else value, other)
    assume(one != two)

    for parity in ("bytes", "meaning"):
        left, right = words(one, two, parity=parity), words(two, one, parity=parity)
        assert left[2] == right[2]
        assert left[2] or {left[0], right[0]} == {"divergent"}
        assert parity == "meaning" or left[0] == right[0] == "divergent"


@given(st.binary(max_size=2_000), st.data())
def test_one_changed_bit_is_never_called_equal(body: bytes, data: st.DataObject) -> None:
    """Flipping any bit of any body is divergent under parity bytes."""
    assume(body)
    at = data.draw(st.integers(0, len(body) - 1))
    changed = bytearray(body)
    changed[at] ^= 1 << data.draw(st.integers(0, 7))

    verdict, _ = compared(body, bytes(changed))

    assert verdict.verdict == "divergent"


@given(st.binary(max_size=60), st.binary(max_size=60), st.sampled_from(["fragments", "shapes", "bodies"]))
def test_any_two_bodies_get_a_verdict_and_a_finding_that_travels(legacy: bytes, new: bytes, keep: str) -> None:
    """Whatever bytes two backends send, there is a verdict, and its finding can be framed."""
    assume(legacy != new)

    verdict, finding = compared(legacy, new, parity="meaning", keep=keep)

    assert verdict.verdict in {"tolerated", "divergent", "undecided"}
    assert link.frame(finding)


def test_the_corpus_gets_the_verdicts_of_its_labels() -> None:
    """Under parity meaning a pair of the corpus is tolerated exactly where all of its causes are cosmetic."""
    cosmetic = {name for name, cause in CAUSES.items() if cause.severity is Severity.COSMETIC}
    wrong = []
    for row in corpus_rows("pairs.jsonl.gz"):
        if not row["equal_bytes"]:
            legacy, new = body_of(row, "legacy"), body_of(row, "new")
            case = looked_at(legacy, new, parity="meaning")
            verdict = case.quick_verdict()
            if verdict is None:
                explanation = case.explain()
                verdict = case.decide(explanation, None).verdict
            assert verdict != "tolerated" or row["semantically_equal"], row
            if (verdict == "tolerated") != (set(row["causes"]) <= cosmetic):
                wrong.append((row["case"], row["legacy_encoder"], row["new_encoder"], verdict, tuple(row["causes"])))

    # U+FFFD raw and escaped are one value: whether it stands for a broken character nobody can tell from one pair.
    assert {causes for *_, causes in wrong} <= {("unicode.invalid",)}, wrong
