"""The YAML tree: places, duplicates, bounds, aliases, variables."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config import UnfitError
from config.document import ListNode, MapNode, Node, Place, TextNode, interpolated, read_document


def plain(node: Node | None) -> object:
    """Turn nodes into what they hold."""
    if isinstance(node, MapNode):
        return {key.text: plain(value) for key, value in node.entries}
    if isinstance(node, ListNode):
        return [plain(item) for item in node.items]
    return node.text if node is not None else None


def problem_of(raw_text: bytes) -> str:
    """Read a document that has exactly one problem, and print it."""
    _, problems = read_document(raw_text, "f.yaml")
    assert len(problems) == 1, problems
    return str(problems[0])


def test_every_node_knows_its_place() -> None:
    """Lines and columns count from 1, for keys and values."""
    node, problems = read_document(b"a: 1\nb:\n  - 'x'\n", "f.yaml")

    assert not problems
    assert isinstance(node, MapNode)
    (a, one), (_b, items) = node.entries
    assert a.place == Place("f.yaml", 1, 1)
    assert one == TextNode(Place("f.yaml", 1, 4), "1", True)
    assert isinstance(items, ListNode)
    assert items.items == (TextNode(Place("f.yaml", 3, 5), "x", False),)


def test_anchors_and_merges_give_what_they_stand_for() -> None:
    """Aliases repeat their anchor; << gives what the map itself does not say, the first one strongest."""
    node, problems = read_document(b"x: &x {a: 1, b: 2}\ny: {<<: *x, b: 3}\nz: {<<: [{a: 9}, *x]}\nw: *x", "f.yaml")

    assert not problems
    assert plain(node) == {
        "x": {"a": "1", "b": "2"},
        "y": {"b": "3", "a": "1"},
        "z": {"a": "9", "b": "2"},
        "w": {"a": "1", "b": "2"},
    }


@pytest.mark.parametrize(
    ("raw_text", "said"),
    [
        (b"", "f.yaml:1:1: yaml: found nothing"),
        (b"# only words\n", "f.yaml:1:1: yaml: found nothing"),
        (b"a: 1\na: 2\n", "f.yaml:2:1: yaml: found 'a' again, expected each key once; it is on line 1"),
        (b"a: [1\nb: 2", "found broken YAML"),
        (b"a: {url: ${X}}", "inside { } or [ ], a value with braces needs quotes"),
        (b"a:\n\tb: 1", "f.yaml:2:1: yaml: found broken YAML"),
        (b"a: \xff", "f.yaml:1:4: yaml: found the byte 0xff, expected UTF-8 text"),
        (b"a: 1\n---\nb: 2\n", "found a second document"),
        (b"a: !!python/object/apply:os.system [ls]", "f.yaml:1:4: yaml: found a tag, expected a plain value"),
        (b"a: *x", "found an alias, expected its anchor complete before it"),
        (b"a: &x [*x]", "found an alias, expected its anchor complete before it"),
        (b"[a]: 1", "found a list or map as a key"),
        (b"a: {<<: 1}", "found a << that is not a map"),
        (b"a: \x01", "found text that YAML does not allow"),
        (b'a: "\\UFFFFFFFF"', "f.yaml:1"),
        (b"[" * 100, "found more than 32 levels"),
    ],
)
def test_broken_text_is_one_problem_with_its_place(raw_text: bytes, said: str) -> None:
    """Whatever is wrong with the YAML itself is said once, where it is."""
    assert said in problem_of(raw_text)


@pytest.mark.parametrize(
    "written", ["!hunter2", "*hunter2", "!!hunter2", "!hunter2! x", "@hunter2", "%hunter2", "`hunter2"]
)
def test_a_password_that_yaml_reads_is_not_repeated(written: str) -> None:
    """A text that begins with a sign of YAML may be a password without quotes, and is refused without being shown."""
    assert "hunter2" not in problem_of(f"a: {written}\n".encode())


def test_an_alias_bomb_is_refused_before_it_unfolds() -> None:
    """Nine levels of nine aliases are refused by their weight, at once."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 9)}]" for level in range(1, 12)]

    assert "found more than 1000000 values" in problem_of("\n".join(lines).encode())


def test_a_byte_order_mark_is_no_part_of_the_text() -> None:
    """A file that an editor began with a UTF-8 mark reads like any other."""
    assert plain(read_document(b"\xef\xbb\xbfa: 1", "f.yaml")[0]) == {"a": "1"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("${A}", "1"),
        ("x${A}y${A}", "x1y1"),
        ("${B:-two}", "two"),
        ("${EMPTY:-two}", "two"),
        ("${EMPTY}", ""),
        ("${A:-two}", "1"),
        ("${A:?why}", "1"),
        ("$$", "$"),
        ("$${A}", "${A}"),
        ("$.email", "$.email"),
        ("$A", "$A"),
        ("${B:-}", ""),
    ],
)
def test_variables_are_put_in(text: str, expected: str) -> None:
    """${VAR}, ${VAR:-default}, ${VAR:?message} and $$ mean what a shell means; any other dollar is a dollar."""
    assert interpolated(text, {"A": "1", "EMPTY": ""}) == expected


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("${B}", "the environment variable B to be set; set it, or give a default"),
        ("${B:?ask the shop team}", "ask the shop team"),
        ("${EMPTY:?why}", "why"),
        ("${", "write $$ for a dollar sign"),
        ("${1}", "write $$ for a dollar sign"),
        ("${B:-${A}}", "write $$ for a dollar sign"),
    ],
)
def test_a_variable_that_is_not_set_is_named(text: str, said: str) -> None:
    """An unset variable and an unfinished ${ are errors that name it and say what to write."""
    with pytest.raises(UnfitError) as caught:
        interpolated(text, {"A": "1", "EMPTY": ""})

    assert said in str(caught.value)


@given(st.binary(max_size=200) | st.text(alphabet="ab:{}[]&*<>!|'\"#- \n\t$%?,", max_size=80).map(str.encode))
def test_any_bytes_give_a_tree_or_problems(raw_text: bytes) -> None:
    """No bytes make the reader raise; without a tree there is at least one problem."""
    node, problems = read_document(raw_text, "f.yaml")

    assert node is not None or problems


@given(st.text(max_size=60))
def test_any_text_is_interpolated_or_refused(text: str) -> None:
    """Putting in variables gives text or an UnfitError, nothing else."""
    with contextlib.suppress(UnfitError):
        interpolated(text, {"A": "1"})
