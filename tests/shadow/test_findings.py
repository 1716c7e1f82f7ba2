"""Rules of writing down an explained pair: folded, ranked, grouped, redacted."""

from __future__ import annotations

import json

import msgspec
import pytest

from shadow import link
from shadow.findings import consumer_of
from tests.shadow.made import JSON_TYPE, compared


def doc(value: object) -> bytes:
    """Write JSON without blanks."""
    return json.dumps(value, separators=(",", ":")).encode()


def finding(legacy: object, new: object, **parts: object) -> link.Finding:
    """Write the finding of two values."""
    return compared(doc(legacy), doc(new), **parts)[1]


def test_places_fold_over_an_array() -> None:
    """One cause at one member of many items is one difference with its first place, its fragments and a count."""
    legacy = [{"price": number, "id": number} for number in range(20)]
    new = [{"price": number + 0.5, "id": number} for number in range(20)]

    found = finding(legacy, new)

    (item,) = found.differences
    assert (item.cause, item.folded, item.count) == ("value.changed", "/*/price", 20)
    assert (item.legacy_pointer, item.new_pointer, item.legacy, item.new) == ("/0/price", "/0/price", "0", "0.5")
    assert (found.proof, found.omitted) == ("proven", 0)


def test_the_worst_difference_stands_first() -> None:
    """A wrong status, then a missing member, then a wrong value, then a clock, then separators."""
    legacy = b'{"at": "2026-11-21T10:00:00Z", "total": 1, "name": "a"}'
    new = b'{"at":"2026-11-21T10:00:01Z","total":2}'

    _, found = compared(legacy, new, statuses=(200, 201))

    assert [item.cause for item in found.differences] == [
        "http.status",
        "member.missing",
        "value.changed",
        "volatile.timestamp",
        "whitespace.separator",
    ]


def test_differences_are_bounded_and_counted() -> None:
    """A finding has at most 64 differences and says how many places it leaves out."""
    legacy = {f"m{number}": number for number in range(200)}

    found = finding(legacy, {name: value + 1 for name, value in legacy.items()})

    assert len(found.differences) == link.MAX_ITEMS
    assert found.omitted == 200 - link.MAX_ITEMS


def test_a_divergence_is_named_by_causes_and_places() -> None:
    """Values, and how often a cosmetic cause occurs, change no name; a cause, a place or a header does."""
    first = finding({"a": 1, "b": "é<"}, {"a": 2, "b": "é<"}).divergence

    assert first == finding({"a": 5, "b": "x"}, {"a": 7, "b": "x"}).divergence
    assert first != finding({"a": 1, "b": 1}, {"a": 1, "b": 2}).divergence
    assert first != finding({"a": 1, "b": 1}, {"a": "1", "b": 1}).divergence
    one = compared(b'{"a":"<","b":"c"}', b'{"a":"\\u003c","b":"c"}')[1].divergence
    assert one == compared(b'{"a":"c","b":"<"}', b'{"a":"c","b":"\\u003c"}')[1].divergence
    headers = [(*JSON_TYPE, (name, b"1")) for name in (b"allow", b"location")]
    names = {compared(b"1", b"1", new_headers=one)[1].divergence for one in headers}
    assert len(names) == 2


def test_a_finding_shows_both_heads_and_who_answered() -> None:
    """Headers of both answers, builds by their version header, lengths and the target without its query's values."""
    _, found = compared(
        b"[1]",
        b"[2]",
        legacy_headers=(*JSON_TYPE, (b"X-Version", b"7"), (b"Set-Cookie", b"s3cret")),
        new_headers=(*JSON_TYPE, (b"x-build", b"abc")),
        version_headers=("x-version", "x-build"),
        target=b"/orders?token=s3cret",
    )

    assert found.builds == ("7", "abc")
    assert found.target == "/orders?token=…"
    assert dict(found.legacy_headers)["content-type"] == "application/json"
    assert "s3cret" not in repr(found)
    assert (found.legacy_bytes, found.new_bytes) == (3, 3)


def test_bodies_are_kept_only_where_the_route_keeps_them() -> None:
    """keep: bodies adds both decoded bodies, masked; fragments and shapes do not."""
    kept = finding({"a": 1, "card": "4111"}, {"a": 2, "card": "4111"}, keep="bodies", redact=("$.card",))
    cut = finding({"a": 1}, {"a": 2}, keep="fragments")

    assert kept.legacy_body is not None
    assert b'"a":1' in kept.legacy_body
    assert b"4111" not in kept.legacy_body
    assert (cut.legacy_body, cut.new_body) == (None, None)


@pytest.mark.parametrize("keep", ["fragments", "shapes", "bodies"])
def test_no_redacted_value_leaves_the_comparer(keep: str) -> None:
    """Wherever the difference falls, no part of a redacted value is in the finding."""
    secret = "S3CRET"
    legacy = doc({"a": 1, "card": {"no": secret, "x": [secret]}, "b": [1, 2], "z": "t"})

    for at in range(0, len(legacy), 3):
        for new in (legacy[:at], legacy[:at] + b"#" + legacy[at + 1 :], legacy[:at] + b" " + legacy[at:]):
            if b'"card":' not in new:
                continue  # under another name it is another value
            _, found = compared(legacy, new, redact=("$.card",), keep=keep)
            shown = repr(found)
            assert not any(secret[start : start + 3] in shown for start in range(4)), (at, new, found)


def test_shapes_show_no_value() -> None:
    """keep: shapes shows types and lengths."""
    found = finding({"a": "Ana"}, {"a": "Bo"}, keep="shapes")

    assert (found.differences[0].legacy, found.differences[0].new) == ("string(3)", "string(2)")


def test_text_that_cannot_be_utf8_still_travels() -> None:
    """A member name that cannot be UTF-8 is escaped, so its finding can be sent."""
    _, found = compared(b'{"\\ud800":1,"\xff":1}', b'{"\\ud800":2,"\xff":1}')

    assert found.differences[0].legacy_pointer == "/\\ud800"
    assert link.frame(found)


def test_a_consumer_is_the_clients_program_without_its_version() -> None:
    """The first product of the User-Agent names who asked."""
    assert consumer_of(((b"User-Agent", b"okhttp/4.9.3"),)) == "okhttp"
    assert consumer_of(((b"user-agent", b"billing-job (linux)"),)) == "billing-job"
    assert consumer_of(()) == consumer_of(((b"user-agent", b"\xff"),)) == ""


CARD = "4111222233334444"
PLAIN = ((b"content-type", b"text/plain"),)
CARD_TYPE = ((b"content-type", f"application/json; x={CARD}".encode()),)


@pytest.mark.parametrize(
    ("legacy", "new", "parts"),
    [
        ({"by": {CARD: 1}}, {"by": {CARD: 2}}, {}),
        ({"by": {}}, {"by": {CARD: 2}}, {}),
        ({CARD: "a", "x": 1}, {"x": 2}, {}),
        ({CARD: {"a": 1, "b": 2, "c": 3}}, {"a": 1, "b": 2, "c": 3}, {}),
        ({"a": 1, "b": 2, "c": 3}, {CARD: {"a": 1, "b": 2, "c": 3}}, {}),
        (1, 2, {"legacy_headers": CARD_TYPE}),
        (1, 2, {"legacy_headers": CARD_TYPE, "redact": ("header:content-type",)}),
        (1, 2, {"legacy_headers": CARD_TYPE, "keep": "shapes", "redact": ()}),
    ],
)
def test_a_pattern_holds_in_names_and_details(legacy: object, new: object, parts: dict[str, object]) -> None:
    """What a route redacts by pattern stands in no pointer, no detail and no head that a finding tells of."""
    found = finding(legacy, new, **{"redact": ("pattern:[0-9]{16}",), **parts})

    assert found.differences
    assert CARD.encode() not in msgspec.json.encode(found)


@pytest.mark.parametrize("parts", [{"redact": ("$.x",)}, {"redact": ("pattern:[0-9]{4}",)}, {"keep": "shapes"}])
def test_no_digest_tells_a_short_secret(parts: dict[str, object]) -> None:
    """Where anything is redacted, a body of four digits is not identified by a digest that can be searched for."""
    _, found = compared(b"1234", b"1235", legacy_headers=PLAIN, new_headers=PLAIN, **parts)

    assert "xxh3" not in found.differences[0].detail
    assert found.differences[0].detail.startswith("byte 3; 4 -> 4 bytes")
