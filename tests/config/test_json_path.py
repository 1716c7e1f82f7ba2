"""Both spellings of a place are read, and what is not understood is refused with the way out."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.errors import UnfitError
from config.json_path import MAX_TEXT, IndexOrName, Place, Step, canonical, names_something, read_place, written_place

ANY, ITEM = Step.ANY, Step.ITEM


@pytest.mark.parametrize(
    ("written", "place"),
    [
        ("$", ((),)),
        ("$.a.b[*].c", (("a", "b", ANY, "c"),)),
        ("$.a.*", (("a", ANY),)),
        ("$['x']", (("x",),)),
        ('$["x y"][0]', (("x y", 0),)),
        ("$[ 'x' ][ 0 ]", (("x", 0),)),
        (r"$['it\'s \"\u00e9\ud83d\ude00\\/']", (("it's \"é😀\\/",),)),
        ("""$['say "x"']""", (('say "x"',),)),
        (r"""$["it's"]""", (("it's",),)),
        ("$.größe", (("größe",),)),
        ("$..name", ((), ("name",))),
        ("$.a..b[*]..['c']", (("a",), ("b", ANY), ("c",))),
        ("$..*", ((), (ANY,))),
        ("$..[3]", ((), (3,))),
        ("/a/b", (("a", "b"),)),
        ("/items/*/at", (("items", ITEM, "at"),)),
        ("/a~1b/~0c/~01", (("a/b", "~c", "~1"),)),
        ("/a/0", (("a", IndexOrName("0")),)),
        ("/a/00", (("a", "00"),)),
        ("/", (("",),)),
        ("/a.b[0]", (("a.b[0]",),)),
    ],
)
def test_a_place_is_read(written: str, place: Place) -> None:
    """A JSONPath and a pointer lead to the same steps."""
    assert read_place(written) == place
    assert [[type(step) for step in run] for run in read_place(written)] == [
        [type(step) for step in run] for run in place
    ]
    assert written_place(written) == written


@pytest.mark.parametrize(
    ("written", "hint"),
    [
        ("generatedAt", r"write \$\.generatedAt"),
        ("$.a-b", r"\['like-this'\]"),
        ("$.a.", "not understood"),
        ("$a", "not understood"),
        ("$.a[-1]", "counts from the front"),
        ("$.a[1:2]", "two entries"),
        ("$.a[0,1]", "two entries"),
        ("$['a','b']", "two entries"),
        ("$.a[?@.b == 1]", "filters"),
        ("$.a[01]", "not understood"),
        ("$['a", "not understood"),
        (r"$['\x41']", "JSON does not know"),
        ("$...a", "not understood"),
        ("$.a ", "not understood"),
        ("/a~2", "~ itself is written ~0"),
        ("/a~", "~ itself is written ~0"),
        ("$" + ".a" * 65, "at most 64 steps"),
        ("$." + "a" * MAX_TEXT, "at most 1000 characters"),
        ("", "such as"),
    ],
)
def test_what_is_not_understood_is_refused(written: str, hint: str) -> None:
    """No place is half understood: a path beyond the subset is an error that says how to write it."""
    with pytest.raises(UnfitError, match=hint):
        read_place(written)


def test_two_spellings_of_one_place_are_one_text() -> None:
    """A place keeps its identity however its names are quoted, and two places never share one."""
    same = {
        canonical(read_place(written)) for written in ("$.a.b[*]", "$['a']['b'].*", '$["a"].b[*]', "$.a['\\u0062'].*")
    }
    other = ["$.a.b", "/a/b/*", "$.a..b", "$..a.b", "$['a.b']", "$.a[0]", "/a/0", "$.a['0']", "$..*", "$.*", "$"]

    assert len(same) == 1
    assert len({canonical(read_place(written)) for written in other} | same) == len(other) + 1
    assert canonical(read_place("/a/b")) == canonical(read_place("$.a.b"))


@pytest.mark.parametrize(("written", "is_named"), [("$", False), ("$..*", False), ("$.*[*]", False), ("$..[0]", True)])
def test_a_place_that_is_everything_is_told(written: str, *, is_named: bool) -> None:
    """A place without any name or index is recognised as everything."""
    assert names_something(read_place(written)) is is_named


@given(st.text(max_size=40))
def test_any_text_is_read_or_refused(text: str) -> None:
    """Whatever people write, the answer is a place or a sentence."""
    for written in (text, f"${text}", f"$.{text}", f"$[{text}]", f"$['{text}']", f"/{text}"):
        with suppress(UnfitError):
            assert canonical(read_place(written)).startswith("$")


@given(st.lists(st.text(max_size=8), min_size=1, max_size=5))
def test_every_member_has_a_pointer(names: list[str]) -> None:
    """Any member's name can be said by its pointer."""
    pointer = "".join("/" + name.replace("~", "~0").replace("/", "~1") for name in names)

    (run,) = read_place(pointer)

    assert [ITEM if name == "*" else name for name in names] == list(run)
