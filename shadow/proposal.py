"""Say what a proposed tolerance would have hidden of comparisons that were reported, by what their reports kept.

A report keeps fragments, not bodies: what a rule needs and the report does not have is *unknown*, never guessed. The
verdict of a live pair is :mod:`shadow.tolerance`'s alone.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum

from config.causes import NEVER_TOLERATED
from config.spec import ToleranceSpec
from shadow import json_value
from shadow.json_grammar import NotJsonError, OverLimitError
from shadow.likeness import SCALAR_RULES, are_alike
from shadow.link import DifferenceItem
from shadow.place import PlaceMatcher, matcher_of
from shadow.pointer import Path
from shadow.tolerance import ORDERS, VALUES


class Foresight(str, Enum):
    """Say what a tolerance would do to a difference, or to a pair."""

    HIDDEN = "hidden"
    """It would hide it; of a pair: all of it."""
    PARTLY = "partly"
    """Of a pair: it would hide some differences, and others stay."""
    STAYS = "stays"
    UNKNOWN = "unknown"
    """What was kept does not tell."""


def foresee(spec: ToleranceSpec, items: Iterable[DifferenceItem], *, omitted: int = 0) -> Foresight:
    """Say what a tolerance would do to a reported pair; *omitted* counts the places that stand in no item."""
    matcher = None if spec.path is None else matcher_of(spec.path)
    seen = {Foresight.HIDDEN if item.tolerated_by else foresee_item(spec, item, matcher) for item in items}
    if Foresight.UNKNOWN in seen:
        return Foresight.UNKNOWN
    if Foresight.HIDDEN not in seen:
        return Foresight.STAYS
    return Foresight.PARTLY if Foresight.STAYS in seen or omitted else Foresight.HIDDEN


def foresee_item(spec: ToleranceSpec, item: DifferenceItem, matcher: PlaceMatcher | None) -> Foresight:
    """Say what a tolerance would do to one reported difference.

    Shape: an item stands for several places; its first one is looked at.
    """
    cause, pointer = item.cause, item.legacy_pointer if item.legacy_pointer is not None else item.new_pointer or ""
    if cause in NEVER_TOLERATED or (matcher is not None and not matcher.covers(path_of(pointer))):
        return Foresight.STAYS
    if spec.cause is not None:
        return _known(spec.cause == cause)
    if spec.rule is None:
        return _known(cause in VALUES or cause in ORDERS)
    if spec.rule.name not in SCALAR_RULES:
        return Foresight.UNKNOWN
    if cause not in VALUES:
        return Foresight.STAYS
    try:
        legacy, new = (json_value.read(text.encode()) for text in (item.legacy, item.new))
    except (NotJsonError, OverLimitError, UnicodeEncodeError):
        return Foresight.UNKNOWN  # cut, redacted, or only its shape was kept
    return _known(are_alike(spec.rule, legacy, new))


def path_of(pointer: str) -> Path:
    """Read a pointer of a report; digits are taken for an index, which they nearly always are."""
    steps = (step.replace("~1", "/").replace("~0", "~") for step in pointer.split("/")[1:])
    return tuple(int(step) if step.isascii() and step.isdigit() and len(step) < 10 else step for step in steps)


def _known(is_hidden: bool) -> Foresight:
    return Foresight.HIDDEN if is_hidden else Foresight.STAYS
