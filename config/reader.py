"""What every kind reads with: the environment, the type that YAML gives a text, and the list of problems."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from enum import Enum
from typing import Final, Literal

from config.document import ListNode, MapNode, Node, Place, TextNode, has_variable, interpolated
from config.errors import Problem


class Refused(Enum):
    """Stand in for a value that was wrong and has been reported."""

    REFUSED = "refused"


REFUSED: Final = Refused.REFUSED
MAX_PROBLEMS: Final = 1_000
"""After so many, nobody reads on; the rest is not collected."""

_CORE: Final = (
    # YAML 1.2.2 section 10.3.2, the core schema: what editors and JSON Schema checkers assume.
    ("null", re.compile(r"~|null|Null|NULL|")),
    ("boolean", re.compile(r"true|True|TRUE|false|False|FALSE")),
    ("integer", re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")),
    ("number", re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")),
)
_ARTICLE: Final = {"null": "nothing", "boolean": "the boolean", "integer": "the number", "number": "the number"}


class Reader:
    """Collect the problems of one load, and know the environment that variables come from."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self._problems: dict[Problem, None] = {}
        self._guesses = 50_000

    @property
    def problems(self) -> tuple[Problem, ...]:
        """Every problem once, by file in reading order, then by line."""
        files = {problem.file: index for index, problem in enumerate(reversed(self._problems))}
        order = sorted(self._problems, key=lambda problem: (-files[problem.file], problem.line, problem.column))
        return tuple(order)

    def add(self, problems: Iterable[Problem]) -> None:
        """Take problems that somebody else found."""
        self._problems |= dict.fromkeys(problems)

    def report(self, place: Place, where: str, message: str) -> Literal[Refused.REFUSED]:
        """Remember one problem; its kind then answers REFUSED."""
        if len(self._problems) < MAX_PROBLEMS:
            self._problems[Problem(place.file, place.line, place.column, where or "top level", message)] = None
        return REFUSED

    def near(self, word: str, known: Sequence[str]) -> str:
        """Say which known word was probably meant, or nothing.

        Bound: 50,000 comparisons per load, so that ten thousand wrong names cost seconds, not minutes.
        """
        self._guesses -= len(known)
        if self._guesses < 0 or len(word) > 100:
            return ""
        close = difflib.get_close_matches(word, known, n=1)
        return f"did you mean {close[0]!r}? " if close else ""

    def written(self, node: TextNode) -> tuple[str, str]:
        """Put the variables into a text, and tell which core type it then has.

        Shape: a text with variables may have any type, because quotes around it are often needed.
        Raises: UnfitError for a variable that is not set.
        """
        if has_variable(node.text):
            return interpolated(node.text, self._environ), "any"
        return node.text, core_type(node)


def core_type(node: TextNode) -> str:
    """Name the JSON type that YAML 1.2 gives a scalar."""
    if not node.plain:
        return "string"
    return next((name for name, pattern in _CORE if pattern.fullmatch(node.text)), "string")


def found(node: Node, *, secret: bool = False) -> str:
    """Describe a node as people see it in the file; where a secret may stand, a text is not repeated."""
    if isinstance(node, MapNode):
        return "a mapping"
    if isinstance(node, ListNode):
        return "a list"
    kind = core_type(node)
    if secret and kind != "null":
        return "a text"
    shown = node.text if len(node.text) <= 80 else f"{node.text[:77]}..."
    return "nothing" if kind == "null" else f"{_ARTICLE[kind]} {shown}" if kind in _ARTICLE else repr(shown)
