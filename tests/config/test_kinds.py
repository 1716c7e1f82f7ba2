"""Kinds report instead of raising, and say what was found, what was expected and what to write."""

from __future__ import annotations

import pytest

from config import forms, units
from config.document import Node, read_document
from config.forms import text
from config.kinds import Filled, Key, Many, Section, Table, Word, boolean, choice, whole
from config.reader import REFUSED, Reader

DURATION = Word(words=units.DURATION, parse=units.duration_ns, show=units.format_duration)
TEXT = Word(words="a text on one line", parse=text)
SECTION = Section(
    title="thing",
    doc="A thing.",
    keys=(Key(name="timeout", kind=DURATION, doc="Its time."), Key(name="size", kind=whole(1, 9), doc="Its size.")),
    later={"gate": "gates"},
    elsewhere={"path": "it stands inside match"},
    instead={"never": "no thing"},
)


def node_of(written: str) -> Node:
    """Compose one value."""
    node, problems = read_document(written.encode(), "f.yaml")
    assert node is not None
    assert not problems
    return node


def test_a_right_value_is_read() -> None:
    """Each kind gives the value that its place needs, whatever YAML would have made of it."""
    reader = Reader({"T": "30s", "N": "7"})

    assert DURATION.read(node_of("250ms"), "t", reader) == 250_000_000
    assert DURATION.read(node_of("${T}"), "t", reader) == 30_000_000_000
    assert whole(1, 9).read(node_of('"${N}"'), "n", reader) == 7
    assert choice("on", "off").read(node_of("off"), "c", reader) == "off"
    assert boolean().read(node_of("True"), "b", reader) is True
    assert Many(of=TEXT, or_one=True).read(node_of("a"), "m", reader) == ("a",)
    assert Table(key=TEXT, of=TEXT, words="pairs").read(node_of("{a: b}"), "t", reader) == (("a", "b"),)
    assert SECTION.read(node_of("never"), "s", reader) == "never"
    assert reader.problems == ()


@pytest.mark.parametrize(
    ("kind", "written", "said"),
    [
        (DURATION, "30", "found the number 30, expected a duration such as 250ms, 30s or 7d; say the unit"),
        (DURATION, "", "found nothing"),
        (DURATION, "~", "found nothing, expected a duration such as 250ms, 30s or 7d; give it a value"),
        (DURATION, "[1s]", "found a list, expected a duration"),
        (DURATION, "{a: 1s}", "found a mapping, expected a duration"),
        (TEXT, "12", "found the number 12, expected a text on one line; put it in quotes"),
        (TEXT, "true", "found the boolean true, expected a text on one line; put it in quotes"),
        (TEXT, "${NOPE}", "found '${NOPE}', expected the environment variable NOPE to be set"),
        (whole(1, 9), '"3"', "found '3', expected a whole number from 1 to 9; write it without quotes"),
        (whole(1, 9), "10", "found the number 10, expected a whole number from 1 to 9"),
        (whole(1, 9), "1.5", "found the number 1.5, expected a whole number"),
        (boolean(), "yes", "found 'yes', expected true or false"),
        (choice("strict", "either"), "strikt", "found 'strikt', expected strict or either; did you mean 'strict'?"),
        (choice("file", later={"open": "providers"}), "openx", "expected file; not yet: providers"),
        (Many(of=TEXT), "a", "found 'a', expected a list, each a text on one line"),
        (Many(of=TEXT, at_least=1), "[]", "found an empty list"),
        (Many(of=TEXT), "[a, a]", "found 'a' again, expected each value once"),
        (Table(key=TEXT, of=TEXT, words="pairs"), "[a]", "found a list, expected pairs"),
        (
            SECTION,
            "{timeot: 1s}",
            "timeot: found an unknown key; did you mean 'timeout'? the keys here are timeout, size",
        ),
        (SECTION, "{gate: 1}", "gate: not yet: gates; remove the key for now"),
        (SECTION, "{path: /}", "expected it elsewhere: it stands inside match"),
        (SECTION, "[a]", "found a list, expected never or a mapping (thing)"),
    ],
)
def test_a_wrong_value_is_reported(kind: Word | Many | Table | Section, written: str, said: str) -> None:
    """A wrong value is one problem that says what was found, what was expected, and what to write."""
    reader = Reader({})
    node, _ = read_document(b"k: " + written.encode(), "f.yaml")
    value = node.entries[0][1]  # type: ignore[union-attr]  # the text above is a mapping

    kind.read(value, "", reader)

    assert len(reader.problems) == 1
    assert said in str(reader.problems[0])


def test_a_value_from_the_environment_is_not_shown() -> None:
    """What a variable holds stays out of messages: it may be a secret."""
    reader = Reader({"T": "hunter2"})

    assert DURATION.read(node_of("${T}"), "t", reader) is REFUSED
    assert choice("a").read(node_of("${T}"), "c", reader) is REFUSED
    assert Word(words=forms.TEMPLATE, parse=forms.template).read(node_of("${T}"), "p", reader) is REFUSED
    assert "hunter2" not in str(reader.problems)
    assert "found '${T}'" in str(reader.problems[0])


def test_all_problems_of_a_mapping_are_found_in_one_pass() -> None:
    """A wrong key does not hide the next one, and right keys are still read."""
    reader = Reader({})

    filled = SECTION.read(node_of("x-note: {any: [thing]}\nsize: 0\ntimeout: 1s\nsise: 3"), "s", reader)

    assert isinstance(filled, Filled)
    assert filled.given == {"timeout": 1_000_000_000}
    assert filled.refused("size")
    assert not filled.refused("timeout")
    assert [problem.where for problem in reader.problems] == ["s.size", "s.sise"]


def test_names_of_headers_may_begin_with_x() -> None:
    """x- keys are ignored among our keys, but are content where keys are names of headers."""
    reader = Reader({})
    written = node_of("{x-env: prod}")

    assert Table(key=TEXT, of=TEXT, words="pairs").read(written, "t", reader) == (("x-env", "prod"),)
    assert Table(key=TEXT, of=TEXT, words="pairs", extensions=True).read(written, "t", reader) == ()
