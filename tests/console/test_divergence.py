"""Rules of how divergences and comparisons look as JSON."""

from __future__ import annotations

import contextlib
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from console.divergence import (
    comparison_as_json,
    cursor_of,
    divergence_as_json,
    folded_paths,
    json_path,
    sentence_of,
    standing_of,
    state_sentence,
)
from console.problem import ProblemError
from shadow.ranks import Rank
from store.divergences import Divergence
from store.triage import BuildSeen, State
from tests.console.made import finding, item

FOUND = Divergence(
    id="d-1",
    route="orders",
    status_legacy=200,
    status_new=200,
    rank=Rank.VALUE,
    causes=("key_order", "value.changed", "whitespace.separator"),
    places=(
        ("value.changed", "/items/*/price"),
        ("value.changed", "/total"),
        ("key_order", "/items/*"),
        ("whitespace.separator", ""),
    ),
    count=3,
    same=0,
    different=3,
    compared=200,
    first_seen=100.0,
    last_seen=200.0,
    state=State.OPEN,
    last_build="v1",
    fixed_build="",
    builds=(
        BuildSeen(build="v1", compared=100, count=3, first_seen=100.0, last_seen=200.0),
        BuildSeen(build="v2", compared=40, count=0, first_seen=0.0, last_seen=0.0),
    ),
    missed=40,
    enough=100,
    consumers=("app",),
    more_consumers=True,
    note="",
    ticket="",
    decided_by="",
    decided_at=0.0,
    noisy=False,
)


def test_a_sentence_says_the_worst_difference_and_names_the_rest() -> None:
    """The worst difference and its place come first; harmless causes are only named."""
    assert sentence_of(FOUND) == (
        "A value differs at /items/*/price and 1 more place; also key_order, whitespace.separator"
    )
    assert sentence_of(replace(FOUND, status_new=500)).startswith("legacy answers 200, new answers 500; also value")
    assert sentence_of(replace(FOUND, places=(), causes=())) == "the answers differ, nobody could say where"


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({}, "not seen on build v2 yet, in 40 comparisons; fixed after 100"),
        ({"last_build": "v2"}, "seen on the newest build, v2"),
        ({"builds": (), "last_build": ""}, "new does not name its build"),
        ({"state": State.FIXED, "fixed_build": "v2"}, "gone since build v2; last seen on v1"),
        ({"state": State.REGRESSED, "fixed_build": "v0"}, "was gone in build v0, is back on v1"),
        ({"state": State.ACCEPTED, "decided_by": "eve"}, "accepted by eve"),
    ],
    ids=str,
)
def test_each_state_says_why_and_what_would_change_it(changed: dict[str, object], words: str) -> None:
    """A state is a sentence with the builds and counts that it follows from."""
    assert words in state_sentence(replace(FOUND, **changed))  # type: ignore[arg-type]  # a bundle of keywords


def test_a_divergence_shows_share_meaning_and_builds() -> None:
    """Share is in percent of what was compared since; each build has its counts and its state."""
    shown = divergence_as_json(FOUND)

    assert (shown["share"], shown["same_meaning"], shown["severity"], shown["state"]) == (1.5, False, "value", "open")
    assert [(build["build"], build["count"], build["state"]) for build in shown["builds"]] == [
        ("v1", 3, "open"),
        ("v2", 0, "open"),
    ]
    assert divergence_as_json(replace(FOUND, different=0, same=3))["same_meaning"] is True
    assert divergence_as_json(replace(FOUND, different=0))["same_meaning"] is None


def test_a_comparison_shows_bodies_as_text_or_base64() -> None:
    """A body that is UTF-8 is shown as text, another one as base64, one that was not kept as neither."""
    shown = comparison_as_json("c-1", finding(legacy_body='{"ä":1}'.encode(), new_body=b"\xff"))

    assert (shown["legacy"]["body"], shown["legacy"]["body_base64"]) == ('{"ä":1}', None)
    assert (shown["new"]["body"], shown["new"]["body_base64"]) == (None, "/w==")
    assert (shown["request"]["body"], shown["request"]["body_base64"]) == (None, None)


def test_a_difference_says_everything_that_a_developer_acts_on() -> None:
    """Cause, severity, sentence, both pointers, both fragments, and a path that a tolerance takes."""
    (shown,) = comparison_as_json("c-1", finding(item(detail="x"), proof="proven"))["differences"]

    assert (shown["cause"], shown["severity"], shown["rank"]) == ("value.changed", "client-visible", "value")
    assert shown["sentence"] == "A value differs."
    assert (shown["path"], shown["tolerate_path"]) == ("/items/*/price", "$.items[*].price")
    assert (shown["legacy"], shown["new"], shown["proven"]) == ("12.50", "12.5", True)


@pytest.mark.parametrize(
    ("folded", "path"),
    [
        ("", "$"),
        ("/a/*/b", "$.a[*].b"),
        ("/a b/c~1d", '$["a b"]["c/d"]'),
        ("/*/~0x", '$[*]["~x"]'),
        ("/1st", '$["1st"]'),
    ],
)
def test_a_place_is_written_as_a_tolerance_takes_it(folded: str, path: str) -> None:
    """Every folded pointer becomes an RFC 9535 path that names the same place."""
    assert json_path(folded) == path


@pytest.mark.parametrize(
    ("path", "folded"),
    [
        ("/items/*/price", "/items/*/price"),
        ("/items/0/price", "/items/*/price"),
        ("$.items[*].price", "/items/*/price"),
        ("$.items[0].price", "/items/*/price"),
        ("$['items'][0][\"price\"]", "/items/*/price"),
        ("$", ""),
        ("items/price", "/items/price"),
    ],
)
def test_a_place_is_read_in_every_way_that_people_write_it(path: str, folded: str) -> None:
    """A pointer, a folded pointer and a JSON path lead to the same divergences."""
    assert folded in folded_paths(path)


@given(st.tuples(st.integers(0, 1), st.integers(0, 12), st.integers(0, 1), st.integers(1, 1 << 40), st.text()))
def test_a_cursor_leads_back_to_its_place(place: tuple[int, int, int, int, str]) -> None:
    """Every cursor that was handed out is read back exactly."""
    assert standing_of(cursor_of(place)) == place


@given(st.text())
def test_any_other_cursor_is_refused(text: str) -> None:
    """A made-up cursor is a problem, never a crash."""
    with contextlib.suppress(ProblemError):
        standing_of(text)


@pytest.mark.parametrize("text", ["W10", "WzEsMl0", "bnVsbA", "WzEsMiwzXQ", "é", "\x00", "WzEsdHJ1ZSwiYSJd"])
def test_a_cursor_of_another_shape_is_refused(text: str) -> None:
    """Valid base64 and JSON of another shape are no cursor."""
    with pytest.raises(ProblemError):
        standing_of(text)
