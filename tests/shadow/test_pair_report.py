"""The verdict on two recorded bodies."""

from __future__ import annotations

import base64
import gzip
import json
from pathlib import Path

from shadow.difference import Difference, Explanation, Proof
from shadow.json_value import Meaning
from shadow.pair_report import MAX_FRAGMENT, explained_report, problem_report, report_of, unexplained_report
from shadow.ranks import Rank

CORPUS = Path(__file__).with_name("corpus") / "semantic.jsonl.gz"
IN_THE_HEAD = ("http.status", "http.content_type", "http.charset", "http.header")


def test_every_real_fault_is_named_at_its_place() -> None:
    """Each labelled fault of the corpus is found under its cause at its pointer; the control has none of them."""
    rows = [json.loads(line) for line in gzip.decompress(CORPUS.read_bytes()).splitlines()]
    missed = []
    for row in rows:
        report = report_of(row["id"], base64.b64decode(row["legacy_b64"]), base64.b64decode(row["new_b64"])).as_json()
        found = {
            (one["cause"], one[side]) for one in report["differences"] for side in ("legacy_pointer", "new_pointer")
        }
        missed += [
            (row["id"], label)
            for label in row["labels"]
            if label["cause"] not in IN_THE_HEAD and (label["cause"], label["pointer"]) not in found
        ]
        if row["kind"] == "control_no_change":
            assert report["causes"] == sorted(row["cosmetic_causes"])

    assert len(rows) > 150
    assert missed == []


def test_the_worst_difference_ranks_the_pair() -> None:
    """What is tolerated does not count; what cannot be compared stands first."""
    report = report_of("x", b'{"a": 1}', b'{"a":2}')

    assert report.rank is Rank.VALUE
    assert problem_report("x", "missing").rank < report.rank


def test_fragments_are_bounded() -> None:
    """A long value is cut, broken bytes are spelled."""
    (one,) = report_of("x", b'"' + b"a" * 1_000 + b'"', b'"' + b"b" * 1_000 + b'"').differences
    broken = report_of("x", b'"\xff"', b'"\xfe"').differences[0]

    assert len(one.legacy) == MAX_FRAGMENT
    assert broken.legacy == '"\\xff"'


def test_what_nobody_explained_never_passes() -> None:
    """A pair beyond a limit, without differences, or with more than were kept fails under both parities."""
    blank = Difference(cause="whitespace.separator", legacy_path=(), new_path=())
    more = Explanation(meaning=Meaning.SAME, differences=(blank,), proof=Proof.PROVEN, omitted=1)
    nothing = Explanation(meaning=Meaning.SAME, differences=(), proof=Proof.NONE)
    for report in (
        unexplained_report("x", "limit.size", ""),
        problem_report("x", "missing"),
        explained_report("x", nothing, b"1", b"2"),
        explained_report("x", more, b"1 ", b"1"),
    ):
        assert not report.is_fine("bytes")
        assert not report.is_fine("meaning")
