"""Pointers: RFC 6901, and folded."""

from __future__ import annotations

from shadow.pointer import fold, pointer_of


def test_a_pointer_escapes_its_two_signs() -> None:
    """Tilde and slash inside a name are escaped, the tilde first (RFC 6901, section 3)."""
    assert pointer_of(("a/b", "m~n", 0, "")) == "/a~1b/m~0n/0/"
    assert pointer_of(()) == ""


def test_only_array_indexes_fold() -> None:
    """An array index becomes a star; a member whose name is a number stays."""
    assert fold(("rows", 12, "7", "x")) == "/rows/*/7/x"
