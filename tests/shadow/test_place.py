"""A place takes the points that it names, and no other."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.errors import UnfitError
from shadow.place import matcher_of
from shadow.pointer import Path, fold, pointer_of

PATHS = st.lists(st.one_of(st.text(max_size=4), st.integers(0, 99)), max_size=6).map(tuple)


@pytest.mark.parametrize(
    ("written", "at", "below", "beside"),
    [
        ("$.a", ("a",), ("a", "b"), ("b",)),
        ("$.a.b", ("a", "b"), ("a", "b", 0), ("a",)),
        ("$.a[0]", ("a", 0), ("a", 0, "x"), ("a", "0")),
        ("$.a['0']", ("a", "0"), ("a", "0", 1), ("a", 0)),
        ("$.items[*].at", ("items", 7, "at"), ("items", 7, "at", "x"), ("items", 7, "by")),
        ("$.a.*", ("a", "x"), ("a", 3, "y"), ("a",)),
        ("/a/*/at", ("a", 3, "at"), ("a", 3, "at", 0), ("a", "x", "at")),
        ("/a/0", ("a", 0), ("a", "0", "b"), ("a", 1)),
        ("/a~1b/~0c", ("a/b", "~c"), ("a/b", "~c", 1), ("a", "b", "~c")),
        ("$..at", ("x", 1, "at"), ("at", "y"), ("x", "att")),
        ("$..at", ("at", "at"), ("at", "at", 1), ()),
        ("$..[2]", ("x", 2), (2, 3), ("2",)),
        ("$.a..b[*]..c", ("a", "x", "b", 0, "c"), ("a", "b", 0, 1, "c", "d"), ("b", 0, "c")),
        ("$.a..b[*]..c", ("a", "b", "b", 0, "c"), ("a", "b", 0, "c", "c", 1), ("a", "b", "c")),
        ("$..a..a", ("a", "a"), ("a", "x", "a", "y"), ("a", "x")),
        ("$", (), ("a",), None),
    ],
)
def test_a_place_takes_what_it_names(written: str, at: Path, below: Path, beside: Path | None) -> None:
    """A path is at a place, below it, or beside it; one that lies below is covered too."""
    matcher = matcher_of(written)

    assert matcher.is_at(at)
    assert matcher.covers(at)
    assert matcher.covers(below)
    if beside is not None:
        assert not matcher.covers(beside)
        assert not matcher.is_at(beside)


def test_below_is_not_at() -> None:
    """What lies below a place is not the place."""
    assert not matcher_of("$.a").is_at(("a", "b"))
    assert not matcher_of("$..at").is_at(("at", "y"))
    assert not matcher_of("$").is_at(("a",))


@given(PATHS)
def test_every_point_is_taken_by_its_own_pointers(path: Path) -> None:
    """What a report shows, exact or folded, can be pasted, and takes the difference that it was pasted from."""
    if not path:
        return
    assert matcher_of(pointer_of(path)).is_at(path)
    if "*" not in path:
        assert matcher_of(fold(path)).is_at(path)


def naive(run: list[list[str | int]], path: Path) -> bool:
    """Match runs of plain steps by trying every split."""
    if not run:
        return True
    head, *rest = run
    return any(
        list(path[at : at + len(head)]) == head and naive(rest, path[at + len(head) :]) for at in range(len(path) + 1)
    )


@given(
    st.lists(st.lists(st.sampled_from(["a", "b", 0]), min_size=1, max_size=2), min_size=1, max_size=3),
    st.lists(st.sampled_from(["a", "b", 0]), max_size=7).map(tuple),
)
def test_taking_the_first_fit_loses_nothing(runs: list[list[str | int]], path: Path) -> None:
    """With `..`, the answer is that of trying everything."""
    steps = ("".join(f"[{step}]" if step == 0 else f"['{step}']" for step in run) for run in runs)
    matcher = matcher_of("$.." + "..".join(steps))

    assert matcher.covers(path) == naive(runs, path)
    last = runs[-1]
    before = path[: len(path) - len(last)]
    fits_end = len(path) >= len(last) and list(path[len(path) - len(last) :]) == last
    assert matcher.is_at(path) == (fits_end and naive(runs[:-1], before))


def test_what_the_loader_refuses_is_refused() -> None:
    """Nothing that is no place is compiled to one."""
    with pytest.raises(UnfitError):
        matcher_of("$.a[-1]")
