"""Values that the tests of this room share: pairs, the corpus, and JSON spelled at random."""

from __future__ import annotations

import base64
import gzip
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from config.spec import ToleranceSpec
from shadow import link
from shadow.judge import Judge

CORPUS = Path(__file__).parent / "corpus"
WATCH = ("location", "www-authenticate", "content-disposition", "allow")
JSON_TYPE = ((b"content-type", b"application/json"),)

Headers = tuple[tuple[bytes, bytes], ...]

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**20), 10**20),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=8),
    st.text(st.characters(categories=["Cs"]), max_size=2),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=4), inner, max_size=4)),
    max_leaves=12,
)


def pair(
    legacy: bytes,
    new: bytes,
    *,
    sequence: int = 1,
    statuses: tuple[int, int] = (200, 200),
    legacy_headers: Headers = JSON_TYPE,
    new_headers: Headers = JSON_TYPE,
    whole: bool = True,
    digests: tuple[bytes, bytes] = (b"", b""),
    target: bytes = b"/orders",
    policy: int = 0,
) -> link.Pair:
    """Make one pair as a worker sends it."""
    return link.Pair(
        sequence=sequence,
        policy=policy,
        request_id=f"r{sequence}",
        method="GET",
        target=target,
        request_headers=[],
        primary="legacy",
        legacy=link.AnswerHead(statuses[0], list(legacy_headers), len(legacy), digests[0], "django"),
        new=link.AnswerHead(statuses[1], list(new_headers), len(new), digests[1], "shop"),
        whole=whole,
        at=1_700_000_000.0,
    )


def policy(
    *,
    number: int = 0,
    route: str = "orders",
    parity: str = "bytes",
    keep: str = "fragments",
    redact: tuple[str, ...] = (),
    watch: tuple[str, ...] = WATCH,
    tolerate: tuple[ToleranceSpec, ...] = (),
    version_headers: tuple[str, str] = ("", ""),
) -> link.Policy:
    """Make what a route wants of its comparisons."""
    return link.Policy(
        number=number,
        route=route,
        parity=parity,
        keep=keep,
        redact=redact,
        watch=watch,
        tolerate=tolerate,
        version_headers=version_headers,
    )


def wishes_of(parts: dict[str, Any]) -> link.Policy:
    """Take what belongs to the policy out of named parts of a pair and a policy; they are of many types, hence Any."""
    wishes = {
        name: parts.pop(name)
        for name in ("route", "parity", "keep", "redact", "watch", "tolerate", "version_headers")
        if name in parts
    }
    return policy(**wishes)


def compared(legacy: bytes, new: bytes, **parts: Any) -> tuple[link.Verdict, link.Finding]:
    """Judge two bodies under named parts of a pair and a policy, as the first pair that a comparer gets."""
    wishes = wishes_of(parts)
    found: list[link.Finding] = []

    def report(finding: link.Finding) -> bool:
        found.append(finding)
        return True

    judge = Judge(report)
    sent = pair(legacy, new, **parts)
    verdict = judge.judge(wishes, sent, legacy + new if sent.whole else b"").verdict
    return verdict, found[0]


def corpus_rows(name: str) -> Iterator[dict[str, Any]]:
    """Read one file of the corpus; rows are what JSON holds, hence Any."""
    with gzip.open(CORPUS / name, "rt", encoding="utf-8") as lines:
        yield from map(json.loads, lines)


def body_of(row: dict[str, Any], side: str) -> bytes:
    """Decode one side's body."""
    return base64.b64decode(row[f"{side}_b64"] or "")


def spelled(value: object, seed: int) -> bytes:
    """Write a value as JSON in a way drawn from *seed*: blanks, order of members, escapes and number spelling vary."""
    dice = random.Random(seed)
    return _spell(value, dice).encode()


def _spell(value: object, dice: random.Random) -> str:
    def gap() -> str:
        return dice.choice(("", "", " ", "\n", "\t \r"))

    if isinstance(value, list):
        items = ",".join(gap() + _spell(item, dice) + gap() for item in value)
        return f"[{items or gap()}]"
    if isinstance(value, dict):
        members = list(value.items())
        dice.shuffle(members)
        text = ",".join(
            f"{gap()}{_text(name, dice)}{gap()}:{gap()}{_spell(item, dice)}{gap()}" for name, item in members
        )
        return f"{{{text or gap()}}}"
    if isinstance(value, str):
        return _text(value, dice)
    if isinstance(value, int) and not isinstance(value, bool) and dice.random() < 0.3:
        return f"{value}{dice.choice(('.0', 'e0', '.000', 'E+00'))}"
    return json.dumps(value)


def _text(value: str, dice: random.Random) -> str:
    # A lone surrogate cannot be written raw in UTF-8.
    quoted = "".join(
        json.dumps(char)[1:-1] if dice.random() < 0.3 or "\ud800" <= char <= "\udfff" else _raw(char) for char in value
    )
    return f'"{quoted}"'


def _raw(char: str) -> str:
    return json.dumps(char, ensure_ascii=False)[1:-1]
