"""Compare pairs with other people's tools: runs in a Python of its own, where they are installed.

Reads one JSON object per line (``tool``, ``legacy``, ``new`` in base64) and answers one per line: ``different``
(``null`` where the tool could not read a body), ``places`` as lists of steps, ``seconds`` of processor time.
"""

from __future__ import annotations

import base64
import json
import sys
import time
from collections.abc import Callable, Iterator
from importlib import metadata
from typing import Any

Place = list[Any]
"""Names and indexes from the root down."""


def by_deepdiff(legacy: bytes, new: bytes, **options: bool) -> list[Place]:
    """List what DeepDiff finds."""
    from deepdiff import DeepDiff

    found = DeepDiff(json.loads(legacy), json.loads(new), view="tree", **options)
    return [level.path(output_format="list") for kind in found.values() for level in kind]


def by_jsondiff(legacy: bytes, new: bytes) -> list[Place]:
    """List what jsondiff finds: the places where its answer stops being a plain object."""
    import jsondiff

    def places(answer: object, path: Place) -> Iterator[Place]:
        if not isinstance(answer, dict) or not answer:
            yield path
            return
        for name, below in answer.items():
            if not isinstance(name, jsondiff.Symbol):
                yield from places(below, [*path, name])
            elif isinstance(below, dict) and str(name) != "$replace":
                for inner, value in below.items():
                    yield from places(value, [*path, inner])
            elif isinstance(below, list):
                yield from ([*path, one[0] if isinstance(one, (list, tuple)) else one] for one in below)
            else:
                yield path

    one, two = json.loads(legacy), json.loads(new)
    found = jsondiff.diff(one, two)
    is_same = found == {} and type(one) is type(two)
    return [] if is_same else list(places(found, []))


def by_diffy(legacy: bytes, new: bytes) -> list[Place]:
    """List what Diffy's comparison finds, as its documentation and sources describe it; no code of it is used.

    Shape: whole numbers are 64-bit longs, all others doubles; a list of the same items in another order is one
    difference, so is one of another size.
    """
    try:
        one, two = (json.loads(body, parse_int=_long) for body in (legacy, new))
    except ValueError:
        return [] if legacy.decode("utf-8", "replace") == new.decode("utf-8", "replace") else [[]]
    found: list[Place] = []
    stack: list[tuple[Any, Any, Place]] = [(one, two, [])]
    while stack:
        left, right, path = stack.pop()
        if type(left) is not type(right):
            found.append(path)
        elif isinstance(left, dict):
            found += ([*path, name] for name in left.keys() ^ right.keys())
            stack += ((left[name], right[name], [*path, name]) for name in left.keys() & right.keys())
        elif isinstance(left, list) and len(left) == len(right) and sorted(map(repr, left)) != sorted(map(repr, right)):
            stack += ((a, b, [*path, at]) for at, (a, b) in enumerate(zip(left, right, strict=True)))
        elif left != right:
            found.append(path)
    return found


def _long(text: str) -> int:
    return (int(text) + 2**63) % 2**64 - 2**63


TOOLS: dict[str, Callable[[bytes, bytes], list[Place]]] = {
    "deepdiff": by_deepdiff,
    "deepdiff, ignore_order": lambda legacy, new: by_deepdiff(legacy, new, ignore_order=True),
    "jsondiff": by_jsondiff,
    "Diffy's rule": by_diffy,
}


def main() -> None:
    """Answer every line."""
    print(json.dumps({name: metadata.version(name) for name in ("deepdiff", "jsondiff")}), flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        legacy, new = base64.b64decode(asked["legacy"]), base64.b64decode(asked["new"])
        started = time.process_time()
        try:
            places = TOOLS[asked["tool"]](legacy, new)
            answer = {"different": bool(places), "places": places[:1_000]}
        except (ValueError, TypeError, RecursionError, OverflowError) as error:
            answer = {"different": None, "places": [], "error": f"{type(error).__name__}: {error}"[:200]}
        print(json.dumps({**answer, "seconds": time.process_time() - started}, default=str), flush=True)


if __name__ == "__main__":
    main()
