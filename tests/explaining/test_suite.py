"""The public JSON conformance suite, each shape against others: nothing is called the same that is not."""

from __future__ import annotations

import itertools
import json
import random
import re
import time
from decimal import Decimal, InvalidOperation
from functools import cache

from shadow.encoding import COSMETIC, NOTHING, covers, learn
from shadow.explain import explain
from shadow.json_value import Meaning, check_meaning
from tests.shadow.made import body_of, corpus_rows

REFUSED = object()
"""Equal to nothing: the judge cannot read it."""

BROKEN_BYTE = re.compile("[\udc80-\udcff]")


@cache
def shapes() -> dict[str, bytes]:
    """Give every body of the suite by its name."""
    return {row["name"]: body_of(row, "body") for row in corpus_rows("json_suite.jsonl.gz")}


def number(text: str) -> object:
    """Keep a number exactly; one that no decimal can hold by its text."""
    try:
        return "number", Decimal(text)
    except InvalidOperation:
        return "number", text


def refuse(text: str) -> object:
    """Refuse NaN and its like."""
    raise ValueError(text)


@cache
def judged(body: bytes) -> object:
    """Read a body with Python's own module, strictly: a reading that shares no code with ours but its C scanner.

    Shape: a broken byte becomes a character that no body of the suite holds.
    """
    text = BROKEN_BYTE.sub(lambda found: chr(0x10FE00 + ord(found[0]) % 256), body.decode("utf-8", "surrogateescape"))
    try:
        return "value", json.loads(text, parse_int=number, parse_float=number, parse_constant=refuse)
    except (ValueError, RecursionError):
        return REFUSED


def is_same(one: bytes, two: bytes) -> bool:
    """Say whether two bodies are the same JSON value, or the same bytes."""
    values = judged(one), judged(two)
    return one == two or (REFUSED not in values and values[0] == values[1])


def spelled_again(body: bytes) -> list[bytes]:
    """Give a body with blanks, an item or a mark around it."""
    return [
        body + b"\n",
        b" " + body,
        b"\xef\xbb\xbf" + body,
        b"[" + body + b"]",
        body[:-1],
        body + b"\x00",
        body.strip(),
    ]


def pairs(count: int) -> list[tuple[bytes, bytes]]:
    """Give each shape with itself spelled again, each with its neighbours, and *count* drawn from all."""
    bodies = list(shapes().values())
    dice = random.Random(1)
    around = [(body, other) for body in bodies for other in spelled_again(body)]
    by_text = sorted(bodies, key=lambda body: body.strip(b"[] \n"))
    return [
        *around,
        *itertools.pairwise(by_text),
        *((dice.choice(bodies), dice.choice(bodies)) for _ in range(count)),
    ]


def test_the_suite_is_whole() -> None:
    """Every shape is there, and the judge takes each that must be taken and none that must not."""
    parsing = {name.rpartition("/")[2]: body for name, body in shapes().items() if "parsing" in name}
    assert len(parsing) == 318

    assert [name for name, body in parsing.items() if name[0] == "y" and judged(body) is REFUSED] == []
    assert [
        name for name, body in parsing.items() if name[0] == "n" and judged(body) is not REFUSED and body.isascii()
    ] == []


def test_the_value_check_says_same_of_what_is_the_same() -> None:
    """Of 20,000 pairs of shapes, the same value is said of exactly those that the judge calls so, limits aside."""
    wrong = []
    for one, two in pairs(20_000):
        meaning = check_meaning(one, two).meaning
        if meaning is not Meaning.LIMIT and (meaning is Meaning.SAME) != is_same(one, two):
            wrong.append((one, two, meaning))

    assert wrong == []


def test_no_shape_is_replayed_as_another() -> None:
    """No encoding covers two shapes that are not the same value."""
    assert [pair for pair in pairs(20_000) if covers(COSMETIC, *pair) and not is_same(*pair)] == []


def test_every_pair_of_shapes_is_explained_in_its_time() -> None:
    """Every pair gets an explanation within two seconds; harmless ones only where the judge calls both the same."""
    slow, wrong = [], []
    for one, two in pairs(1_500):
        started = time.process_time()
        found = explain(one, two)
        if time.process_time() - started > 2:
            slow.append((one, two))
        is_harmless = found.meaning is Meaning.SAME or not found.differences or learn(NOTHING, found)
        if is_harmless and not is_same(one, two):
            wrong.append((one, two, found.causes))

    assert (wrong, slow) == ([], [])
