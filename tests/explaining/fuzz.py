"""Random values through two random encoders: what an explanation must say of every one of them.

The reference encoder (``tests/shadow/styles.py``) knows which of its switches lie between two bodies, and which
value was changed. ``scripts/fuzz`` runs this for as long as one likes; ``test_fuzz.py`` for a moment.
"""

from __future__ import annotations

import argparse
import copy
import re
import secrets
import sys
import time
from dataclasses import dataclass

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from shadow.causes import CAUSES, Severity
from shadow.changes import changes_between
from shadow.difference import Difference, Proof
from shadow.encoding import COSMETIC, covers
from shadow.explain import explain
from shadow.json_value import Meaning, check_meaning, read
from shadow.pointer import Path
from tests.shadow.styles import STYLES, VALUES, Style, causes_between, written

_EXPONENT = re.compile(rb"[0-9][eE][-+0-9]")
_HARMLESS = (Severity.COSMETIC, Severity.DEPENDENT)


def doubtful(legacy: bytes, new: bytes) -> frozenset[str]:
    """Name the causes of which one pair cannot tell the one from the other, or whether they count.

    Shape: why U+2028 is escaped; whose gap it is where both sides have several lines; the case of hexadecimal digits
    where no character is escaped on both sides, and the spelling of exponents where no number has one on both.
    """
    both = (legacy + new).lower()
    doubts: set[str] = set()
    if any(text in both for text in ("\u2028".encode(), "\u2029".encode(), b"\\u2028", b"\\u2029")):
        doubts |= {"escape.line_separator", "escape.non_ascii"}
    if b"\n" in legacy.strip() and b"\n" in new.strip():
        doubts |= {"whitespace.separator", "whitespace.indent"}
    if b"\\u" in legacy and b"\\u" in new:
        doubts |= {"escape.hex_case"}
    if _EXPONENT.search(legacy) and _EXPONENT.search(new):
        doubts |= {"number.exponent_spelling"}
    return frozenset(doubts)


def judge_spelling(value: object, legacy: Style, new: Style) -> None:
    """Hold an explanation of one value in two styles against the switches between them.

    Raises: AssertionError.
    """
    one, two = written(value, legacy), written(value, new)
    found = explain(one, two)

    assert found.meaning is Meaning.SAME, f"{one!r} and {two!r} are one value"
    assert found.proof is Proof.PROVEN, f"{one!r} -> {two!r}: {found.causes} prove it up to {found.residual} only"
    said = causes_between(value, legacy, new)
    if said is not None:
        wrong = (found.causes ^ said) - doubtful(one, two)
        assert not wrong, f"{one!r} -> {two!r}: {set(found.causes)} where the switches say {set(said)}"


def judge_replay(value: object, legacy: Style, new: Style, encoding: frozenset[str]) -> None:
    """Hold a replay against the explanation: it covers no cause that it does not hold.

    Raises: AssertionError.
    """
    one, two = written(value, legacy), written(value, new)
    causes = explain(one, two).causes

    for tried in (encoding, COSMETIC - encoding, COSMETIC):
        if covers(tried, one, two):
            assert causes <= tried, f"{one!r} -> {two!r} is covered by {set(tried)} but differs by {set(causes)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """Hold a value with one fault, and where it is."""

    value: object
    path: Path
    kind: str
    """``changed``, ``dropped`` or ``added``."""


def judge_fault(value: object, fault: Fault, legacy: Style, new: Style) -> None:
    """Hold an explanation of one fault behind two encoders against the place where it was made.

    Raises: AssertionError.
    """
    one, two = written(value, legacy), written(fault.value, new)
    found = explain(one, two)

    assert check_meaning(one, two).meaning is Meaning.DIFFERENT, f"{one!r} is not {two!r}"
    assert found.meaning is Meaning.DIFFERENT
    assert not covers(COSMETIC, one, two)
    assert changes_between(read(one), read(two)).places
    grave = [each for each in found.differences if CAUSES[each.cause].severity not in _HARMLESS]
    assert grave, f"{one!r} -> {two!r}: nothing but {set(found.causes)}"
    assert any(_stands_at(each, fault.path) for each in grave), (
        f"{one!r} -> {two!r}: {fault.kind} at {fault.path}, found {[(each.cause, each.path) for each in grave]}"
    )


def _stands_at(difference: Difference, path: Path) -> bool:
    """Say that a difference stands at a place, around it or in it, or beside it in the same list."""
    # Equal items cannot be told apart, and a list's items may be paired in more than one way.
    lists = [depth for depth, step in enumerate(path) if isinstance(step, int)]
    place = path[: lists[-1]] if lists else path
    paths = [found for found in (difference.legacy_path, difference.new_path) if found is not None]
    return any(found == path[: len(found)] or found[: len(place)] == place for found in paths)


def places_in(value: object) -> list[Path]:
    """List the paths of everything in a value."""
    paths: list[Path] = []
    stack: list[tuple[object, Path]] = [(value, ())]
    while stack:
        inner, path = stack.pop()
        paths.append(path)
        if isinstance(inner, dict):
            stack += [(below, (*path, name)) for name, below in inner.items()]
        elif isinstance(inner, list):
            stack += [(below, (*path, at)) for at, below in enumerate(inner)]
    return paths


@st.composite
def faults(draw: st.DrawFn) -> tuple[object, Fault]:
    """Draw a value and the same value with one fault in it."""
    value = draw(VALUES)
    path = draw(st.sampled_from(places_in(value)))
    kind = draw(st.sampled_from(("changed", "dropped", "added"))) if path else "changed"
    broken = copy.deepcopy(value)
    strange = draw(st.sampled_from(("a fault", 424_242, 4.2421, ["a fault"], {"fault": "here"})))
    if not path:
        return value, Fault(value=strange, path=(), kind=kind)
    parent = broken
    for step in path[:-1]:
        parent = parent[step]  # type: ignore[index]  # the path was found in this very value
    assert isinstance(parent, (dict, list))
    if kind == "dropped":
        del parent[path[-1]]  # type: ignore[arg-type]  # its own kind of key
    elif kind == "added" and isinstance(parent, dict):
        path = (*path[:-1], "a new member")
        parent["a new member"] = strange
    else:
        parent[path[-1]] = strange  # type: ignore[index]  # its own kind of key
        kind = "changed"
    return value, Fault(value=broken, path=path, kind=kind)


def run(seconds: float) -> int:
    """Draw values and styles until the time is up; print what broke a rule. Gives the exit code."""
    until, count = time.monotonic() + seconds, 0
    while time.monotonic() < until:
        number = secrets.randbits(32)

        @seed(number)
        @settings(
            max_examples=1_000,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
            phases=[Phase.generate, Phase.shrink],
        )
        @given(faults(), VALUES, STYLES, STYLES, st.frozensets(st.sampled_from(sorted(COSMETIC))))
        def one_round(
            drawn: tuple[object, Fault], value: object, legacy: Style, new: Style, encoding: frozenset[str]
        ) -> None:
            judge_spelling(value, legacy, new)
            judge_replay(value, legacy, new, encoding)
            judge_fault(*drawn, legacy, new)

        try:
            one_round()
        except AssertionError as error:
            print(f"fuzz: seed {number}: {error}", file=sys.stderr)
            return 1
        count += 1_000
        print(f"fuzz: {count:,} values, no rule broken", file=sys.stderr)
    return 0


def main() -> int:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(prog="scripts/fuzz", description="Explain random values of two random encoders.")
    parser.add_argument("seconds", nargs="?", type=float, default=60.0, help="how long (60)")
    return run(parser.parse_args().seconds)


if __name__ == "__main__":
    sys.exit(main())
