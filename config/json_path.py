"""Read where in a JSON document something is: a JSONPath (RFC 9535, a subset) or the reports' pointer.

===================  ==================================================================
``$.a.b``            the member ``b`` of ``a``
``$['a b']``         a member whose name is no plain word, also ``["a b"]``
``$.a[0]``           the first item of an array
``$.a[*]``, ``$.*``  every item or member
``$..name``          a member of this name at any depth; ``$..[0]``, ``$..*`` likewise
``/a/b``             RFC 6901: the member ``b`` of ``a``; ``~1`` is ``/``, ``~0`` is ``~``
``/a/0``             the first item, or the member ``0``: a pointer does not tell them apart
``/a/*``             every item of an array, as reports fold them
===================  ==================================================================

A place names one point or many; whether what lies below belongs to it is for its user to say.
"""

from __future__ import annotations

import json
import re
from enum import Enum
from typing import Final

from config.errors import UnfitError

EXPECTED: Final = "a place such as $.items[*].at, $..at or /items/*/at"
PATTERN: Final = r"^(\$|/)"
MAX_TEXT: Final = 1_000
MAX_STEPS: Final = 64
"""Far deeper than a path that people write; what is compared with it may be deeper."""


class Step(Enum):
    """Stand for more than one child."""

    ANY = "*"
    """Every item and every member."""
    ITEM = "#"
    """Every item of an array."""


class IndexOrName(str):
    """A step of a pointer that is an index or a member's name: only the document knows."""

    __slots__ = ()


Run = tuple[str | int | Step, ...]
"""Steps straight below each other: a member's name, a :class:`IndexOrName`, an index, or a :class:`Step`."""

Place = tuple[Run, ...]
"""Runs with any number of levels between one and the next (``..``); the first stands at the root and may be empty."""

_NAME: Final = r"[A-Za-z_\u0080-\ud7ff\ue000-\U0010ffff][A-Za-z0-9_\u0080-\ud7ff\ue000-\U0010ffff]*"
_QUOTED: Final = r"'(?:[^'\\\x00-\x1f]|\\.)*'|\"(?:[^\"\\\x00-\x1f]|\\.)*\""
_SEGMENT: Final = re.compile(
    rf"(?P<dots>\.\.?)(?P<short>\*|{_NAME})"
    rf"|(?P<deep>\.\.)?\[[ \t]*(?P<inside>\*|0|[1-9][0-9]{{0,8}}|{_QUOTED})[ \t]*\]"
)
_ESCAPED_QUOTES: Final = re.compile(r"\\(.)|(\")", re.DOTALL)
_BAD_TILDE: Final = re.compile(r"~(?![01])")
_INDEX: Final = re.compile(r"0|[1-9][0-9]{0,8}", re.ASCII)


def read_place(written: str) -> Place:
    """Read one place, however it is spelled.

    Raises: UnfitError with what is not understood, and how to write it where that is known.
    """
    if len(written) > MAX_TEXT:
        raise UnfitError(f"{written[:60]}...", EXPECTED, f"at most {MAX_TEXT} characters")
    if written.startswith("/"):
        place: Place = (_pointer_steps(written),)
    elif written.startswith("$"):
        place = _path_runs(written)
    else:
        raise UnfitError(written, EXPECTED, f"write $.{written}" if _SEGMENT.match(f".{written}") else "")
    if sum(map(len, place)) > MAX_STEPS:
        raise UnfitError(written, EXPECTED, f"at most {MAX_STEPS} steps")
    return place


def written_place(written: str) -> str:
    """Take the text of a place as it is, once it is understood.

    Raises: UnfitError as :func:`read_place`.
    """
    read_place(written)
    return written


def canonical(place: Place) -> str:
    """Write a place so that two spellings of one place are one text."""
    return "$" + "..".join("".join(map(_canonical_step, run)) for run in place)


def names_something(place: Place) -> bool:
    """Say whether any step is a name or an index, so that the place is not simply everything."""
    return any(not isinstance(step, Step) for run in place for step in run)


def _canonical_step(step: str | int | Step) -> str:
    if isinstance(step, Step):
        return f"[{step.value}]"
    return f"[{step}]" if type(step) is int else f"[{'~' if isinstance(step, IndexOrName) else ''}{json.dumps(step)}]"


def _pointer_steps(written: str) -> Run:
    if _BAD_TILDE.search(written):
        raise UnfitError(written, EXPECTED, "in a pointer, ~ itself is written ~0 and / is ~1")
    return tuple(map(_pointer_step, written[1:].split("/")))


def _pointer_step(written: str) -> str | Step:
    if written == "*":
        return Step.ITEM
    name = written.replace("~1", "/").replace("~0", "~")
    return IndexOrName(name) if _INDEX.fullmatch(name) else name


def _path_runs(written: str) -> Place:
    runs: list[list[str | int | Step]] = [[]]
    at = 1
    while at < len(written):
        segment = _SEGMENT.match(written, at)
        if segment is None:
            raise UnfitError(written, EXPECTED, _hint(written[at:]))
        if segment["deep"] or segment["dots"] == "..":
            runs.append([])
        runs[-1].append(_path_step(written, segment))
        at = segment.end()
    return tuple(map(tuple, runs))


def _path_step(written: str, segment: re.Match[str]) -> str | int | Step:
    short, inside = segment["short"], segment["inside"]
    if short is not None:
        return Step.ANY if short == "*" else short
    if inside == "*":
        return Step.ANY
    if inside[0] not in "'\"":
        return int(inside)
    # A name in single quotes has its own escape for them; the others are JSON's (RFC 9535 section 2.3.1.1).
    text = inside[1:-1]
    if inside[0] == "'":
        text = _ESCAPED_QUOTES.sub(lambda found: "'" if found[1] == "'" else '\\"' if found[2] else found[0], text)
    try:
        return str(json.loads(f'"{text}"'))
    except ValueError:
        raise UnfitError(written, EXPECTED, f"{inside} has an escape that JSON does not know") from None


def _hint(rest: str) -> str:
    """Say what is wrong with a path from *rest* on."""
    if rest.startswith("[?"):
        return "filters are not supported; name the place, with [*] for every item"
    if re.match(r"\[-[0-9]", rest):
        return "an index counts from the front"
    if re.match(r"\[[^\]'\"]*:", rest) or re.match(r"\[[^\]]*,", rest):
        return "one name, one index or * inside brackets; write two entries"
    return f"{rest[:20]!r} is not understood; a name that is no plain word is written ['like-this']"
