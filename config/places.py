"""Find where a key stands in the files, for problems that only the finished configuration shows."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from config.document import ListNode, MapNode, Node, TextNode, read_document
from config.errors import Problem
from config.spec import ConfigSpec


def located(problems: Iterable[Problem], config: ConfigSpec) -> tuple[Problem, ...]:
    """Give problems their file, line and column, where the files still have the key.

    Shape: a key that is not found, because a default or another file's anchor made it, keeps line 0.
    Runs: blocks on reading the configuration's files again, when there is a problem.
    """
    problems = tuple(problems)
    roots = [root for file in config.files for root in _root(file)] if problems else []
    return tuple(_located(problem, roots) for problem in problems)


def _root(file: str) -> Iterable[Node]:
    try:
        node, _ = read_document(Path(file).read_bytes(), file)
    except OSError:
        return
    if node is not None:
        yield node


def _located(problem: Problem, roots: Iterable[Node]) -> Problem:
    names = re.findall(r"\[(\d+)\]|([^.\[\]]+)", problem.where)
    for root in roots:
        node: Node | None = root
        for index, name in names:
            node = _below(node, index, name)
        if node is not None:
            return replace(problem, file=node.place.file, line=node.place.line, column=node.place.column)
    return problem


def _below(node: Node | None, index: str, name: str) -> Node | None:
    """Go one step down: by key, by place in a list, or by the name that an item gives itself."""
    if isinstance(node, MapNode):
        if index == "0":
            return node  # one item that stands there without its list
        return next((value for key, value in node.entries if key.text == name), None)
    if isinstance(node, ListNode):
        if index:
            return node.items[int(index)] if int(index) < len(node.items) else None
        return next((item for item in node.items if _own_name(item) == name), None)
    return None


def _own_name(item: Node) -> str | None:
    name = _below(item, "", "name") if isinstance(item, MapNode) else None
    return name.text if isinstance(name, TextNode) else None
