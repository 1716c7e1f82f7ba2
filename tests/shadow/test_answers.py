"""Rules of explaining two whole answers."""

from __future__ import annotations

import json
from typing import Any

import pytest

from shadow.answers import Answer, explain_answers
from shadow.difference import Proof
from shadow.json_value import Meaning
from shadow.pointer import pointer_of
from tests.shadow.made import JSON_TYPE, Headers, body_of, corpus_rows

TEXT: Headers = ((b"content-type", b"text/plain"),)


def answer(body: bytes, status: int = 200, headers: Headers = JSON_TYPE) -> Answer:
    """Make one answer."""
    return Answer(status=status, headers=headers, body=body)


def causes(legacy: Answer, new: Answer) -> list[str]:
    """Name the causes of two answers, in order."""
    return [difference.cause for difference in explain_answers(legacy, new)[0].differences]


def of_row(row: dict[str, Any], side: str) -> Answer:  # Any: JSON
    """Make one side's answer of a row of the corpus."""
    headers = tuple((name.encode(), value.encode()) for name, value in row[f"{side}_headers"].items())
    return Answer(status=row[f"{side}_status"], headers=headers, body=body_of(row, side))


def test_every_real_fault_is_named_at_its_place() -> None:
    """Of the labelled faults, those of heads and codings among them, at least 98 % have their cause and pointer."""
    labels = missed = 0
    for row in corpus_rows("semantic.jsonl.gz"):
        explanation, _ = explain_answers(of_row(row, "legacy"), of_row(row, "new"))
        found = {
            (one.cause, pointer_of(path))
            for one in explanation.differences
            for path in (one.legacy_path, one.new_path)
            if path is not None
        }
        for label in row["labels"]:
            labels += 1
            missed += (label["cause"], label["pointer"]) not in found

    assert labels > 500
    assert missed <= labels * 0.02


def test_noise_alone_names_no_fault() -> None:
    """A control pair has the causes of its encoders, and a charset that its heads do not share."""
    for row in corpus_rows("semantic.jsonl.gz"):
        if not row["labels"]:
            explanation, _ = explain_answers(of_row(row, "legacy"), of_row(row, "new"))
            assert explanation.causes <= {*row["cosmetic_causes"], "http.charset"}, row["id"]


@pytest.mark.parametrize(
    ("legacy", "new", "expected"),
    [
        (answer(b'{"id":1,"name":"a"}'), answer(b'{"error":"x"}', 500), ["http.status", "body.changed"]),
        (answer(b'{"id":1,"name":"a"}'), answer(b'{"id":2,"name":"a"}', 201), ["http.status", "value.changed"]),
        (answer(b"{}"), answer(b"", 204), ["http.status", "body.empty"]),
        (answer(b"[1]"), answer(b'{"error":"x"}', 404), ["http.status", "body.changed"]),
        (answer(b"[1]"), answer(b"<html>", 200, TEXT), ["http.content_type", "body.not_json"]),
        (answer(b"a", 200, TEXT), answer(b"b", 200, TEXT), ["body.changed"]),
        (answer(b"a", 200, TEXT), answer(b"", 200, TEXT), ["body.empty"]),
        (answer(b"[1]", 200, TEXT), answer(b"[2]", 200, TEXT), ["value.changed"]),
        (answer(b"[1]"), answer(b"[1]"), []),
    ],
)
def test_another_document_is_not_taken_apart(legacy: Answer, new: Answer, expected: list[str]) -> None:
    """With another status an error document is one difference, the same document with a change is explained."""
    assert causes(legacy, new) == expected


def test_what_is_not_json_is_told_by_length_place_and_digest() -> None:
    """Text, HTML and binary bodies say their lengths, the first differing byte and a digest of each."""
    found, _ = explain_answers(answer(b"<p>one</p>", 200, TEXT), answer(b"<p>two!</p>", 200, TEXT))

    (difference,) = found.differences
    assert difference.detail.startswith("byte 3; 10 -> 11 bytes; xxh3 ")
    assert (difference.legacy_span, difference.new_span) == ((3, 10), (3, 11))
    assert (found.meaning, found.proof) == (Meaning.NOT_JSON, Proof.NONE)


def test_equal_bodies_are_explained_by_their_heads_alone() -> None:
    """Where only heads differ, the bodies are proven to be the same."""
    found, _ = explain_answers(answer(b"[1]"), answer(b"[1]", 203))

    assert (found.meaning, found.proof, found.causes) == (Meaning.SAME, Proof.PROVEN, frozenset({"http.status"}))


def test_a_body_beyond_a_mebibyte_is_not_taken_apart() -> None:
    """Above 1 MiB only the value check looks: the cause is limit.size, and whether the values are the same is known."""
    rows = [{"id": number, "name": "a name"} for number in range(40_000)]
    legacy = json.dumps(rows).encode()
    compact, other = json.dumps(rows, separators=(",", ":")).encode(), legacy.replace(b"39999", b"40000")
    assert len(compact) > 1 << 20

    for new, meaning in ((compact, Meaning.SAME), (other, Meaning.DIFFERENT)):
        found, _ = explain_answers(answer(legacy), answer(new))
        assert (found.causes, found.meaning, found.proof) == (frozenset({"limit.size"}), meaning, Proof.NONE)
