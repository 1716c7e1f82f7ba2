"""Advice from recorded differences, down to code that makes the recorded pairs identical."""

from __future__ import annotations

import base64
import gzip
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from shadow.advise import Advice, Group, advise
from shadow.difference import Difference
from shadow.explain import explain
from shadow.pointer import fold
from shadow.style import FRAMEWORKS, Seen, Style

CORPUS = Path(__file__).with_name("corpus") / "pairs.jsonl.gz"


def recorded(legacy: str, new: str) -> list[dict[str, Any]]:
    """List the corpus' pairs of two encoders."""
    rows = map(json.loads, gzip.decompress(CORPUS.read_bytes()).splitlines())
    return [row for row in rows if (row["legacy_encoder"], row["new_encoder"]) == (legacy, new)]


def advice_on(rows: list[dict[str, Any]], like: str = "") -> Advice:
    """Explain pairs as a route's, and advise."""
    groups, seen = [], []
    for row in rows:
        legacy, new = base64.b64decode(row["legacy_b64"]), base64.b64decode(row["new_b64"])
        differences = explain(legacy, new).differences
        if differences:
            places = tuple((one.cause, fold(one.path)) for one in differences)
            groups.append(Group(causes=frozenset(one.cause for one in differences), count=1, places=places))
            seen += [seen_of(one, legacy, new) for one in differences]
    return advise("orders", groups, seen, like)


def seen_of(one: Difference, legacy: bytes, new: bytes) -> Seen:
    """Cut the fragments out, as a report does."""
    parts = [
        b"" if span is None else body[slice(*span)] for body, span in ((legacy, one.legacy_span), (new, one.new_span))
    ]
    return Seen(cause=one.cause, detail=one.detail, legacy=parts[0].decode(), new=parts[1].decode())


ENCODERS = {
    "express": ("express-json", "go-encoder-struct"),
    "django": ("django-jsonresponse", "go-marshal-map"),
    "fastapi": ("fastapi-return-dict", "go-encoder-struct"),
    "flask": ("flask-jsonify", "go-encoder-struct"),
}
PAIRINGS = Counter(
    (row["legacy_encoder"], row["new_encoder"])
    for row in map(json.loads, gzip.decompress(CORPUS.read_bytes()).splitlines())
)


def test_places_of_what_is_left_are_named() -> None:
    """A wrong value is left, with its place; the plan says what the encoder can do before."""
    groups = [
        Group(causes=frozenset({"whitespace.separator"}), count=9, places=(("whitespace.separator", ""),)),
        Group(
            causes=frozenset({"whitespace.separator", "value.changed"}), count=1, places=(("value.changed", "/total"),)
        ),
    ]
    shown = advise("orders", groups, [Seen(cause="whitespace.separator", detail="', ' -> ','", legacy="", new="")])

    page = shown.as_json()
    assert page["sentence"] == "separator 90 %"
    assert page["left"] == [{"cause": "value.changed", "pairs": 1, "places": ["/total"]}]
    assert "jsontext.SpaceAfterComma(true)" in page["code"]["go"]
    assert "func spaced(" in page["code"]["go-older"]


def test_without_evidence_there_is_no_code() -> None:
    """Nothing recorded, nothing to imitate; a framework can still be asked for."""
    assert advise("orders", [], []).as_json()["code"] == {}
    assert "like django in what was not" in advise("orders", [], [], "django").as_json()["code"]["go"]


@pytest.mark.parametrize("name", [name for name, pairing in ENCODERS.items() if PAIRINGS[pairing] > 50])
def test_the_style_is_learned_from_explained_pairs(name: str) -> None:
    """From nothing but differences between a framework and Go, the framework fits, and nothing seen contradicts it."""
    advice = advice_on(recorded(*ENCODERS[name]))

    assert advice.style.agrees(FRAMEWORKS[name]), (advice.style, FRAMEWORKS[name])
    assert advice.style != Style()
    assert name in advice.fits
