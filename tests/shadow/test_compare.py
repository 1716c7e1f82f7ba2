"""Rules of one comparison: verdict, cause, meaning, and where the first difference stands."""

from __future__ import annotations

import gzip
import json
import zlib

import msgspec
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from shadow import link
from shadow.compare import compare, first_difference, fold_content_type
from shadow.json_value import Meaning, check_meaning
from tests.shadow.made import JSON_TYPE, VALUES, Headers, body_of, compared, corpus_rows, decided, pair, policy, spelled

GZIPPED = (*JSON_TYPE, (b"Content-Encoding", b"gzip"))
TEXT_TYPE = ((b"content-type", b"text/plain; charset=utf-8"),)


def words(legacy: bytes, new: bytes, **given_parts: object) -> tuple[str, str, str, bool | None]:
    """Compare and give verdict, cause, kind and same_meaning."""
    verdict, finding = compared(legacy, new, **given_parts)
    assert finding.verdict == verdict.verdict
    return verdict.verdict, verdict.causes[0], decided(legacy, new, **given_parts).kind, finding.same_meaning


# ---- verdicts ------------------------------------------------------------------------------------------------------


def test_parity_bytes_excuses_nothing() -> None:
    """Under parity bytes any byte that differs is divergent, and the same meaning is still told apart."""
    assert words(b'{"a":1}', b'{"a":1}\n') == ("divergent", "unexplained", "body", True)
    assert words(b'{"a":1}', b'{"a":2}') == ("divergent", "unexplained", "body", False)
    assert words(b"<a>", b"<b>") == ("divergent", "unexplained", "body", None)


def test_parity_meaning_tolerates_another_spelling_and_nothing_else() -> None:
    """Under parity meaning the same JSON value is tolerated, any other body is divergent."""
    assert words(b'{"a":1}', b'{"a": 1.0}\n', parity="meaning") == ("tolerated", "unexplained", "body", True)
    assert words(b'{"a":1}', b'{"a":"1"}', parity="meaning") == ("divergent", "unexplained", "body", False)
    assert words(b'{"a":1}', b"", parity="meaning") == ("divergent", "unexplained", "body", None)
    assert words(b"<a>", b"<a> ", parity="meaning") == ("divergent", "unexplained", "body", None)


def test_a_body_beyond_the_limits_is_undecided_only_where_meaning_matters() -> None:
    """A limit makes a pair undecided with reason limit under parity meaning, and divergent under parity bytes."""
    deep = b"[" * 600 + b"]" * 600

    verdict, finding = compared(deep, deep + b" ", parity="meaning")

    assert (verdict.verdict, verdict.reason, finding.same_meaning) == ("undecided", "limit", None)
    assert words(deep, deep + b" ") == ("divergent", "unexplained", "body", None)


@pytest.mark.parametrize("parity", ["bytes", "meaning"])
def test_another_status_is_divergent_whatever_the_bodies_say(parity: str) -> None:
    """A status that differs decides first, even for one meaning."""
    body = b"[1]"

    assert words(body, body, statuses=(200, 201), parity=parity) == ("divergent", "http.status", "status", True)
    _, finding = compared(body, body, statuses=(200, 500))
    assert (finding.statuses, finding.differences[0].legacy, finding.differences[0].new) == ((200, 500), "200", "500")


@pytest.mark.parametrize("parity", ["bytes", "meaning"])
@pytest.mark.parametrize(
    ("name", "legacy", "new"),
    [
        ("content-type", JSON_TYPE, TEXT_TYPE),
        ("content-type", JSON_TYPE, ()),
        ("location", (*JSON_TYPE, (b"Location", b"/a")), (*JSON_TYPE, (b"location", b"/b"))),
        ("allow", JSON_TYPE, (*JSON_TYPE, (b"Allow", b"GET"))),
        ("allow", (*JSON_TYPE, (b"Allow", b"GET"), (b"Allow", b"PUT")), (*JSON_TYPE, (b"Allow", b"GET"))),
    ],
)
def test_a_watched_header_that_differs_is_divergent(parity: str, name: str, legacy: Headers, new: Headers) -> None:
    """Another content type or watched header is divergent with cause header, and the finding names it."""
    found = words(b"[1]", b"[1]\n", parity=parity, legacy_headers=legacy, new_headers=new)

    assert found == (
        "divergent",
        {"content-type": "http.content_type"}.get(name, "http.header"),
        f"header:{name}",
        True,
    )


def test_headers_that_nobody_watches_do_not_count() -> None:
    """Headers outside the watch list never decide."""
    legacy, new = (*JSON_TYPE, (b"date", b"1"), (b"x-a", b"1")), (*JSON_TYPE, (b"date", b"2"))

    assert words(b"[1]", b"[1 ]", legacy_headers=legacy, new_headers=new)[1:3] == ("unexplained", "body")


def test_the_spelling_of_a_content_type_ranks_below_the_body() -> None:
    """A content type that only reads otherwise never hides a difference of the body, and parity meaning excuses it."""
    other = ((b"Content-Type", b'Application/JSON;charset="UTF-8"'),)

    assert words(b"[1]", b"[2]", new_headers=other)[1:3] == ("unexplained", "body")
    assert words(b"[1]", b"[1]", new_headers=other)[:3] == ("divergent", "http.content_type", "header:content-type")
    assert words(b"[1]", b"[1]", new_headers=other, parity="meaning")[0] == "tolerated"


def test_content_types_fold_as_their_standards_say() -> None:
    """Case, quotes, blanks and order of parameters do not count, a charset does unless the type is JSON."""
    assert fold_content_type(b"text/html; Charset=UTF-8") == fold_content_type(b'text/HTML;charset="utf-8"')
    assert fold_content_type(b"a/b; x=1; y=2") == fold_content_type(b"a/b;y=2 ;x=1")
    assert fold_content_type(b"application/problem+json; charset=utf-8") == fold_content_type(
        b"application/problem+json"
    )
    assert fold_content_type(b"text/html; charset=utf-8") != fold_content_type(b"text/html")
    assert fold_content_type(b"application/json; charset=latin1") != fold_content_type(b"application/json")
    assert fold_content_type(b"multipart/x; boundary=A") != fold_content_type(b"multipart/x; boundary=a")


# ---- codings -------------------------------------------------------------------------------------------------------


def test_equal_bodies_under_declared_codings_have_the_cause_encoding() -> None:
    """Bodies equal once decoded, all codings declared, are tolerated under meaning and divergent under bytes."""
    body = b"x" * 500
    one, two = gzip.compress(body, 1, mtime=0), gzip.compress(body, 9, mtime=1)
    deflated = (*JSON_TYPE, (b"content-encoding", b"deflate"))

    assert words(one, two, legacy_headers=GZIPPED, new_headers=GZIPPED)[:3] == (
        "divergent",
        "http.content_encoding",
        "body",
    )
    same = words(one, two, legacy_headers=GZIPPED, new_headers=GZIPPED, parity="meaning")
    assert same == ("tolerated", "http.content_encoding", "body", True)
    for coded, headers in ((one, GZIPPED), (zlib.compress(body), deflated)):
        found = words(body, coded, new_headers=headers, parity="meaning")
        assert found == ("tolerated", "http.content_encoding", "header:content-encoding", True)


def test_gzip_that_nobody_declared_is_never_tolerated() -> None:
    """Compressed bytes without Content-Encoding are a fault that the client sees, under either parity."""
    body = b'{"a":1}'

    for parity in ("bytes", "meaning"):
        found = words(body, gzip.compress(body), parity=parity)
        assert found == ("divergent", "http.content_encoding", "header:content-encoding", True)
        assert words(body, gzip.compress(b'{"a":1.0}'), parity=parity)[0] == "divergent"
        assert words(gzip.compress(body, 1, mtime=0), gzip.compress(body, 9, mtime=2), parity=parity)[0] == "divergent"


def test_meaning_and_places_are_those_of_the_decoded_bodies() -> None:
    """Offset, pointer and meaning are found behind the coding."""
    legacy, new = gzip.compress(b'{"a":1}'), b'{"a":2}'

    verdict, finding = compared(legacy, new, legacy_headers=GZIPPED, parity="meaning")

    assert verdict.verdict == "divergent"
    first = finding.differences[0]
    assert (first.cause, first.legacy_span, first.legacy_pointer) == ("unexplained", (5, 5), "/a")
    assert (first.legacy, first.new, finding.same_meaning) == ("1", "2", False)


@pytest.mark.parametrize("coding", [b"br", b"zstd"])
def test_a_coding_that_cannot_be_undone_has_no_meaning(coding: bytes) -> None:
    """Brotli and zstd bodies are compared as received: unequal is divergent and the meaning unknown."""
    headers = (*JSON_TYPE, (b"content-encoding", coding))

    found = words(b"abc", b"abd", legacy_headers=headers, new_headers=headers, parity="meaning")

    assert found == ("divergent", "unexplained", "body", None)


def test_a_bomb_is_undecided_where_meaning_matters() -> None:
    """A body that decodes beyond a cap is undecided{limit} under parity meaning, divergent under parity bytes."""
    bomb, other = gzip.compress(b"\0" * (4 << 20)), gzip.compress(b"\0" * (5 << 20))
    parts = {"legacy_headers": GZIPPED, "new_headers": GZIPPED}

    verdict, finding = compared(bomb, other, parity="meaning", **parts)

    assert (verdict.verdict, verdict.reason, finding.same_meaning) == ("undecided", "limit", None)
    assert words(bomb, other, **parts)[0] == "divergent"


def test_a_truncated_stream_is_divergent() -> None:
    """A stream that breaks off is compared as received and never tolerated."""
    body = gzip.compress(b"[1,2,3]")

    found = words(body, body[:-4], legacy_headers=GZIPPED, new_headers=GZIPPED, parity="meaning")

    assert found == ("divergent", "unexplained", "body", None)


# ---- digests, types ------------------------------------------------------------------------------------------------


def test_a_pair_by_digest_is_undecided_where_meaning_matters() -> None:
    """Bodies known by digest only are divergent under bytes, undecided{limit} under meaning, and say their lengths."""
    for parity, expected in (("bytes", "divergent"), ("meaning", "undecided")):
        sent = msgspec.structs.replace(
            pair(b"", b"", whole=False, digests=(b"1" * 16, b"2" * 16)),
            new=link.AnswerHead(200, list(JSON_TYPE), 7_000_000, b"2" * 16, "shop"),
        )
        verdict, finding = compare(policy(parity=parity), sent, b"", b"")
        assert (verdict.verdict, finding.differences[0].new) == (expected, "7000000 bytes")
        assert finding.same_meaning is None


def test_equal_digests_are_equal_bodies() -> None:
    """Where only a header differs between two large answers, the finding says the header."""
    found = words(b"", b"", whole=False, digests=(b"1" * 16, b"1" * 16), new_headers=TEXT_TYPE)

    assert found[:3] == ("divergent", "http.content_type", "header:content-type")


def test_a_version_as_plain_text_is_no_number() -> None:
    """1.10 and 1.1 are one JSON number, but of type text/plain they are two texts."""
    text = {"legacy_headers": TEXT_TYPE, "new_headers": TEXT_TYPE, "parity": "meaning"}

    assert words(b"1.10", b"1.1", **text)[0] == "divergent"
    assert words(b"1.10", b"1.1", parity="meaning")[0] == "tolerated"
    assert words(b'{"a":1.10}', b'{"a":1.1}', **text)[0] == "tolerated"


# ---- laws ----------------------------------------------------------------------------------------------------------


@given(VALUES, st.integers(0, 2**32), st.integers(0, 2**32))
def test_comparing_is_symmetric(value: object, seed: int, other: int) -> None:
    """Exchanging both sides changes neither verdict, cause, kind, meaning nor offset."""
    one, two = spelled(value, seed), spelled([value] if seed % 2 else value, other)
    assume(one != two)

    for parity in ("bytes", "meaning"):
        assert words(one, two, parity=parity) == words(two, one, parity=parity)
    assert first_difference(one, two) == first_difference(two, one)


@given(st.binary(max_size=10_000), st.data())
def test_one_changed_bit_is_found_at_its_byte(body: bytes, data: st.DataObject) -> None:
    """Flipping any bit of any body is never called equal, and is found at exactly that byte."""
    assume(body)
    at = data.draw(st.integers(0, len(body) - 1))
    changed = bytearray(body)
    changed[at] ^= 1 << data.draw(st.integers(0, 7))

    verdict, finding = compared(body, bytes(changed))

    assert verdict.verdict == "divergent"
    assert finding.differences[0].legacy_span == (at, at) or finding.causes != (
        "unexplained",
    )  # a body may begin like gzip
    assert first_difference(body, bytes(changed)) == at


@given(st.binary(max_size=9_000), st.binary(min_size=1, max_size=20))
def test_a_beginning_differs_where_it_ends(body: bytes, tail: bytes) -> None:
    """Where one body is the beginning of the other, the first difference is the shorter one's length."""
    assert first_difference(body, body + tail) == first_difference(body + tail, body) == len(body)
    assert first_difference(body, body) == -1


@given(VALUES, st.integers(0, 2**32), st.data())
def test_an_edited_value_is_found_with_its_pointer(value: object, seed: int, data: st.DataObject) -> None:
    """Replacing any one scalar by another is divergent under meaning, and the pointer leads to that scalar."""
    document: object = {"list": [value, {"x~/y": value}], "last": value}
    paths = scalar_paths(document)
    path = data.draw(st.sampled_from(paths)) if paths else []
    assume(path)
    edited = json.loads(json.dumps(document))
    parent = edited
    for step in path[:-1]:
        parent = parent[step]
    parent[path[-1]] = {"edited": "\u0001"}
    legacy, new = json.dumps(document).encode(), json.dumps(edited).encode()
    assert seed >= 0

    verdict, finding = compared(legacy, new, parity="meaning")

    assert (verdict.verdict, finding.same_meaning) == ("divergent", False)
    pointer = "".join("/" + str(step).replace("~", "~0").replace("/", "~1") for step in path)
    assert finding.differences[0].legacy_pointer in {pointer, json.dumps(pointer)[1:-1]} or not pointer.isprintable()


def scalar_paths(document: object) -> list[list[str | int]]:
    """List the paths of all scalars."""
    if isinstance(document, dict):
        return [[name, *path] for name, child in document.items() for path in scalar_paths(child)]
    if isinstance(document, list):
        return [[index, *path] for index, child in enumerate(document) for path in scalar_paths(child)]
    return [[]]


@given(st.binary(max_size=60), st.binary(max_size=60), st.sampled_from(["fragments", "shapes", "bodies"]))
def test_any_two_bodies_get_a_verdict_and_a_finding_that_travels(legacy: bytes, new: bytes, keep: str) -> None:
    """Whatever bytes two backends send, there is a verdict, and its finding can be framed."""
    assume(legacy != new)

    verdict, finding = compared(legacy, new, parity="meaning", keep=keep)

    assert verdict.verdict in {"tolerated", "divergent", "undecided"}
    assert link.frame(finding)


# ---- corpus --------------------------------------------------------------------------------------------------------


def test_the_corpus_gets_the_verdicts_of_its_labels() -> None:
    """Under parity meaning every unequal pair of the corpus is tolerated exactly where it is the same value."""
    wrong = []
    for row in corpus_rows("pairs.jsonl.gz"):
        legacy, new = body_of(row, "legacy"), body_of(row, "new")
        assert (legacy == new) == row["equal_bytes"]
        if not row["equal_bytes"]:
            verdict = decided(legacy, new, parity="meaning").verdict
            if (verdict == "tolerated") != row["semantically_equal"]:
                wrong.append((row["case"], row["legacy_encoder"], row["new_encoder"], verdict))

    assert wrong == []


SOMEWHERE_ELSE = {
    "member_missing_nested": "the comma behind the last member that stayed differs first",
    "member_added": "the closing bracket differs first",
    "member_added_nested": "the closing bracket differs first",
    "array_swapped": "the first member of the first item differs first",
    "array_scalars_reordered": "the first item differs first",
    "array_item_missing_first": "the first member of the first item differs first",
    "truncated_mid_utf8": "the value that breaks off differs first",
    "truncated_mid_escape": "the value that breaks off differs first",
}
"""Faults whose first differing byte stands beside the labelled place, and why."""


def test_every_real_fault_is_divergent_and_found_at_its_place() -> None:
    """Each real fault without noise is divergent, and is found at the labelled pointer or a known neighbour."""
    found = misplaced = 0
    for row in corpus_rows("semantic.jsonl.gz"):
        if row["cosmetic_causes"] or not row["labels"]:
            continue
        legacy, new = body_of(row, "legacy"), body_of(row, "new")
        sent = pair(
            legacy,
            new,
            statuses=(row["legacy_status"], row["new_status"]),
            legacy_headers=fields(row["legacy_headers"]),
            new_headers=fields(row["new_headers"]),
        )
        verdict, finding = compare(policy(parity="meaning"), sent, legacy, new)
        causes = {label["cause"] for label in row["labels"]}
        # The last of two equal names is the value; what the first one said means nothing to a client.
        assert (verdict.verdict == "tolerated") == (causes == {"key.duplicate"} and bool(finding.same_meaning)), row[
            "id"
        ]
        found += 1
        if finding.differences[0].legacy_pointer not in {label["pointer"] for label in row["labels"]}:
            assert row["kind"] in SOMEWHERE_ELSE, (row["id"], finding.differences[0].legacy_pointer)
            misplaced += 1
    assert found >= 35
    assert misplaced <= 10


def test_noise_alone_is_tolerated() -> None:
    """A control pair that differs by its encoders' habits only is the same value."""
    spellings = ("escape.", "whitespace.", "key_order", "number.integral_float")
    controls = 0
    for row in corpus_rows("semantic.jsonl.gz"):
        if row["kind"] == "control_no_change" and all(cause.startswith(spellings) for cause in row["cosmetic_causes"]):
            legacy, new = body_of(row, "legacy"), body_of(row, "new")
            assert check_meaning(legacy, new).meaning is Meaning.SAME, row["id"]
            controls += 1
    assert controls >= 4


def fields(headers: dict[str, str]) -> Headers:
    """Turn the corpus' headers into wire form."""
    return tuple((name.encode(), value.encode()) for name, value in headers.items())


# ---- findings ------------------------------------------------------------------------------------------------------


def test_a_finding_names_the_innermost_legacy_value_and_shows_both() -> None:
    """Pointer, folded pointer, offset and both raw values stand in the finding."""
    legacy, new = b'{"rows":[{"id":1},{"id":"a"}]}', b'{"rows":[{"id":1},{"id":null}]}'

    _, finding = compared(legacy, new, target=b"/orders?token=s3cret")

    assert (
        finding.differences[0].legacy_pointer,
        finding.differences[0].folded,
        finding.differences[0].legacy_span,
    ) == (
        "/rows/1/id",
        "/rows/*/id",
        (24, 24),
    )
    assert (finding.differences[0].legacy, finding.differences[0].new, finding.target) == (
        '"a"',
        "null",
        "/orders?token=…",
    )


def test_where_legacy_is_no_json_new_gives_the_pointer() -> None:
    """The pointer comes from legacy if it is JSON, else from new, else it is empty."""
    legacy, new = b'{"a":[1,', b'{"a":[2]}'

    _, finding = compared(legacy, new)
    _, neither = compared(b"[1", b"[2")

    assert (finding.differences[0].legacy_pointer, finding.same_meaning) == ("/a/0", None)
    assert (neither.differences[0].legacy_pointer, neither.differences[0].legacy_span) == ("", (1, 1))


def test_no_redacted_value_leaves_the_comparer() -> None:
    """Wherever the first difference falls, no byte of a redacted value is in the finding."""
    secret = "S3CRET"
    legacy = json.dumps({"a": 1, "card": {"no": secret, "x": [secret]}, "b": [1, 2], "z": "t"}).encode()
    entries = ("$.card",)

    for at in range(len(legacy)):
        for new in (legacy[:at], legacy[:at] + b"#" + legacy[at + 1 :], legacy[:at] + b" " + legacy[at:]):
            for keep in ("fragments", "shapes"):
                _, finding = compared(legacy, new, redact=entries, keep=keep)
                shown = finding.differences[0].legacy + finding.differences[0].new
                assert not any(secret[start : start + 3] in shown for start in range(4)), (at, new, finding)


def test_a_redacted_value_and_header_print_as_redacted() -> None:
    """A covered value or header reads [redacted] on both sides, and its place is still told."""
    legacy, new = b'{"email":"a@x"}', b'{"email":"b@x"}'
    headers: Headers = (*JSON_TYPE, (b"location", b"/in?t=1"))

    _, body = compared(legacy, new, redact=("$.email",))
    _, header = compared(b"", b"", redact=("header:Location",), legacy_headers=headers)
    _, shown = compared(b"", b"", legacy_headers=headers)

    assert (body.differences[0].legacy_pointer, body.differences[0].legacy, body.differences[0].new) == (
        "/email",
        "[redacted]",
        "[redacted]",
    )
    assert (header.differences[0].detail, header.differences[0].legacy, header.differences[0].new) == (
        "location",
        "[redacted]",
        "(absent)",
    )
    assert shown.differences[0].legacy == "/in?t=…"


def test_a_route_that_keeps_shapes_shows_types_and_lengths_only() -> None:
    """With keep: shapes a finding holds no byte of a value, in bodies as in headers."""
    legacy, new = b'{"name":"Ana Maria"}', b'{"name":12}'
    headers: Headers = (*JSON_TYPE, (b"location", b"/secret"))

    _, finding = compared(legacy, new, keep="shapes")
    _, header = compared(b"", b"", keep="shapes", legacy_headers=headers)

    assert (finding.differences[0].legacy, finding.differences[0].new) == ("string(9)", "number(2)")
    assert header.differences[0].legacy == "text(7)"


def test_fragments_are_safe_text() -> None:
    """Control characters, broken bytes and bidirectional marks are escaped before they reach a terminal."""
    legacy, new = b"\x1b[2J\xff\n", "\u202e".encode()

    _, finding = compared(legacy, new)

    assert (finding.differences[0].legacy, finding.differences[0].new) == ("\\x1b[2J\\xff\\n", "\\u202e")


def test_names_with_lone_surrogates_travel() -> None:
    """A pointer that cannot be UTF-8 is escaped, so its finding can be sent."""
    legacy, new = b'{"\\ud800":1,"\xff":1}', b'{"\\ud800":2,"\xff":1}'

    _, finding = compared(legacy, new)

    assert finding.differences[0].legacy_pointer == "/\\ud800"
    assert link.frame(finding)
