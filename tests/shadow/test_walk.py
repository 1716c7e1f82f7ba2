"""Rules of the walk: what meets what, and what is written for it."""

from __future__ import annotations

import pytest

from shadow.difference import MAX_DIFFERENCES, Proof
from shadow.explain import explain
from shadow.pointer import pointer_of
from shadow.walk import Found, path_of


def met(legacy: bytes, new: bytes) -> list[tuple[str, str]]:
    """Give cause and pointer of each difference, of a proven explanation."""
    explanation = explain(legacy, new)
    assert explanation.proof is Proof.PROVEN
    return [(one.cause, pointer_of(one.path)) for one in explanation.differences]


def test_a_linked_path_is_spelled_out_from_the_root() -> None:
    """A path is its steps from the root down; the root has none."""
    assert path_of(None) == ()
    assert path_of((((None, "a"), 3), "b")) == ("a", 3, "b")


def test_what_is_found_beyond_the_limit_is_counted_and_each_cause_kept_once() -> None:
    """The first difference of a cause is kept even behind the limit."""
    found = Found()
    for cause in ("value.changed",) * (MAX_DIFFERENCES + 2) + ("key_order", "key_order"):
        found.note(cause, (None, (0, 1)), None)

    assert len(found.differences) == MAX_DIFFERENCES + 1
    assert (found.omitted, found.causes) == (3, {"value.changed", "key_order"})


@pytest.mark.parametrize(
    ("legacy", "new", "expected"),
    [
        (b'{"0":"a","1":"b"}', b'["a","b"]', [("container.object_as_array", "")]),
        (b'["a","b","c"]', b'{"1":"b","2":"c","0":"a"}', [("container.object_as_array", "")]),
        (b'{"2":"c","0":"a","1":"b"}', b'["a","b","c"]', [("container.object_as_array", "")]),
        (b'["a","b"]', b'{"x":"a","y":"b"}', [("type.changed", "")]),
        (b'{"0":"a","2":"c"}', b'["a","b","c"]', [("container.object_as_array", ""), ("array.extra_item", "/1")]),
        (b'["a","b"]', b'{"5":"b","7":"a"}', [("container.object_as_array", ""), ("array.reordered", "")]),
    ],
)
def test_a_list_meets_an_object_of_numbered_members(legacy: bytes, new: bytes, expected: list[tuple[str, str]]) -> None:
    """PHP writes a list that lost an item as an object: its values meet the list's."""
    assert met(legacy, new) == expected


@pytest.mark.parametrize(
    ("legacy", "new", "expected"),
    [
        (b'{"a":1,"b":2}', b'{"ok":true,"data":{"a":1,"b":2}}', [("envelope.wrapped", "")]),
        (b'[{"a":1,"b":2}]', b'{"a":1,"b":3}', [("envelope.unwrapped", ""), ("value.changed", "/0/b")]),
        (b'{"x":{"a":1,"b":2}}', b'{"x":{"item":{"a":1,"b":2}}}', [("envelope.wrapped", "/x")]),
        (b'{"a":1,"b":2}', b'{"data":{"c":1,"d":2}}', [("body.changed", "")]),
        (b'{"a":1,"b":2}', b'{"x":{"a":1,"b":2},"y":{"a":1,"b":2}}', [("body.changed", "")]),
        (b'{"page":{"a":1},"n":1}', b'{"page":{"a":1,"n":1}}', [("member.missing", "/n"), ("member.added", "/page/n")]),
    ],
)
def test_an_envelope_holds_one_value_that_resembles(legacy: bytes, new: bytes, expected: list[tuple[str, str]]) -> None:
    """One more level is an envelope only if a single value in it looks like the other side."""
    assert met(legacy, new) == expected


def test_names_are_explained_like_texts() -> None:
    """A name in another spelling has the causes of that spelling, at the member."""
    assert met('{"é/":1}'.encode(), b'{"\\u00e9\\/":1}') == [
        ("escape.non_ascii", "/é~1"),
        ("escape.solidus", "/é~1"),
    ]
    assert met('{"né":1}'.encode(), b'{"N\\u00e9":1}') == [("key.name", "/né"), ("escape.non_ascii", "/né")]
