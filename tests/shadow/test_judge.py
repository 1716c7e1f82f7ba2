"""Rules of judging many pairs: every verdict exact, every pair counted once, the rare one never hidden."""

from __future__ import annotations

import json
import tracemalloc
from collections import Counter
from collections.abc import Iterator

import msgspec
import pytest

from config.spec import ToleranceSpec
from shadow import judge as judging
from shadow import known, link
from shadow.judge import Judge
from tests.shadow.made import pair, policy

SECOND = 1_000_000_000
PAIRS = 10_000


class Judged:
    """Run one judge under a clock of its own, and keep what it reports."""

    def __init__(self, *, takes: bool = True) -> None:
        self.now_ns = SECOND
        self.takes = takes
        self.findings: list[link.Finding] = []
        self.verdicts: list[link.Verdict] = []
        self.judge = Judge(self.report, now_ns=lambda: self.now_ns)

    def report(self, finding: link.Finding) -> bool:
        """Take a finding, or refuse it."""
        if self.takes:
            self.findings.append(finding)
        return self.takes

    def pair(self, legacy: bytes, new: bytes, wishes: link.Policy | None = None, **parts: object) -> link.Verdict:
        """Judge one pair."""
        sent = pair(legacy, new, sequence=len(self.verdicts), **parts)  # type: ignore[arg-type]  # named parts of a pair
        verdict = self.judge.judge(wishes or policy(), sent, legacy + new).verdict
        self.verdicts.append(verdict)
        return verdict

    def counted(self) -> Counter[str]:
        """Count pairs by divergence: each Finding one, and what was only counted."""
        counted = Counter(finding.divergence for finding in self.findings)
        for seen in self.judge.take_counts():
            counted.update(seen.counts)
        return counted


def orders(wrong: int = -1) -> Iterator[tuple[bytes, bytes]]:
    """Make answers with a clock and a separator that always differ, and one wrong price."""
    for number in range(PAIRS):
        moment = f"2026-11-21T{number // 3_600:02d}:{number // 60 % 60:02d}:{number % 60:02d}.00"
        items = [{"id": item, "name": f"thing {number}", "price": 1.25 * item} for item in range(4)]
        legacy = json.dumps({"at": f"{moment}1Z", "items": items, "total": 7.5})
        if number == wrong:
            items[2] = {**items[2], "price": 2.51}
        new = json.dumps({"at": f"{moment}2Z", "items": items, "total": 7.5}, separators=(",", ":"))
        yield legacy.encode(), new.encode()


def test_one_wrong_price_in_ten_thousand_is_found_and_explained() -> None:
    """Behind a clock field and a separator that always differ, one wrong price gets a divergence of its own."""
    judged = Judged()
    for legacy, new in orders(wrong=7_777):
        judged.pair(legacy, new)
        judged.now_ns += 1_000_000

    counted = judged.counted()
    (price,) = [finding for finding in judged.findings if "value.changed" in finding.causes]
    assert price.differences[0].cause == "value.changed"
    assert price.differences[0].legacy_pointer == price.differences[0].new_pointer == "/items/2/price"
    assert (price.differences[0].legacy, price.differences[0].new, price.proof) == ("2.5", "2.51", "proven")
    assert counted[price.divergence] == 1
    assert sorted(counted.values()) == [1, PAIRS - 1]
    assert Counter(verdict.causes for verdict in judged.verdicts) == {
        ("volatile.timestamp", "whitespace.separator"): PAIRS - 1,
        ("value.changed", "volatile.timestamp", "whitespace.separator"): 1,
    }
    assert len(judged.findings) < 50


def test_every_pair_is_counted_by_one_divergence() -> None:
    """Whether explained, sampled, unexplained or refused by control: findings and counts add up to the pairs."""
    for takes in (True, False):
        judged = Judged(takes=takes)
        for number in range(300):
            judged.pair(b'{"a":1}', b'{"a":2}')
            judged.pair(b'{"a":1}', b'{"a":1}\n')
            judged.pair(b"<a>", b"<b>", statuses=(200, 200 + number % 3))
            judged.pair(b'{"m%d":1}' % number, b'{"m%d":2}' % number)
            judged.now_ns += 10_000_000
        assert sum(judged.counted().values()) == 1_200


def test_a_proven_encoding_is_replayed() -> None:
    """Once cosmetic causes are proven, pairs that differ in nothing else are counted as encoding, unexplained."""
    judged = Judged()

    causes = [judged.pair(b'{"a": %d}' % number, b'{"a":%d}\n' % number).causes for number in range(50)]

    assert causes[0] == ("whitespace.separator", "whitespace.trailing_newline")
    assert set(causes[2:]) == {("encoding",)}
    assert len(judged.counted()) == 1
    assert [item.replayed for item in judged.findings[-1].differences] == [True, True]


def test_an_encoding_in_parts_is_one_divergence() -> None:
    """Pairs that need different parts of a proven encoding are counted under it, and control gets its description."""
    judged = Judged()
    judged.pair(b'{"a": 1}', b'{"a":1}')
    judged.pair(b'{"a":1}', b'{"a":1}\n')
    for number in range(20):
        judged.pair(b'{"a": %d}' % number, b'{"a":%d}%b' % (number, b"\n" * (number % 2)))

    described = {finding.divergence: finding.causes for finding in judged.findings}
    counted = judged.counted()

    assert set(counted) <= set(described)
    both = [name for name, causes in described.items() if len(causes) == 2]
    assert len(both) == 1
    assert counted[both[0]] >= 19
    assert {verdict.divergence for verdict in judged.verdicts[2:]} == set(both)


@pytest.mark.parametrize(("parity", "verdict"), [("bytes", "divergent"), ("meaning", "tolerated")])
def test_a_replayed_pair_has_the_verdict_of_its_parity(parity: str, verdict: str) -> None:
    """Replaying is no excuse under parity bytes."""
    judged = Judged()

    verdicts = {judged.pair(b'{"a": %d}' % n, b'{"a":%d}' % n, policy(parity=parity)).verdict for n in range(20)}

    assert verdicts == {verdict}


def test_tolerated_is_never_taken_over_from_a_pair_like_it() -> None:
    """Every pair that may be excused is looked at for itself, however many like it were."""
    clock = ToleranceSpec(id="t-1", route="", path="$.at", reason="r", owner="o", expires="2099-12-31")
    judged, wishes = Judged(), policy(tolerate=(clock,))

    for number in range(100):
        assert judged.pair(b'{"at":"moment %d"}' % number, b'{"at":"a moment"}', wishes).verdict == "tolerated"
    assert judged.pair(b'{"at":"moment 1"}', b'{"at": "a moment"}', wishes).verdict == "divergent"
    assert judged.pair(b'{"at":"moment 1"}', b'{"at":7}', wishes).verdict == "divergent"
    assert judged.pair(b'{"at":"moment 1"}', b'{"at":"a moment","b":1}', wishes).verdict == "divergent"

    assert all(verdict.tolerated == ("t-1",) for verdict in judged.verdicts[:100])


def test_a_flood_of_the_common_leaves_time_for_the_rare() -> None:
    """Samples of known kinds and new kinds draw on different purses."""
    judged = Judged()
    for _ in range(100):
        judged.pair(b'{"a":1}', b'{"a":2}')
    judged.judge._samples.take(60 * SECOND)
    judged.now_ns += SECOND

    judged.pair(b'{"a":1}', b'{"a":2}')
    judged.pair(b'{"b":1}', b'{"b":2}')

    assert judged.verdicts[-1].causes == ("value.changed",)
    assert judged.findings[-1].differences[0].legacy_pointer == "/b"


def test_without_time_a_pair_is_divergent_and_unexplained() -> None:
    """What cannot be explained now is counted as unexplained, is not remembered, and is explained later."""
    judged = Judged()
    judged.judge._new.take(2 * judging.NEW_NS)

    early = judged.pair(b'{"a":1}', b'{"a":2}')
    judged.now_ns += 5 * SECOND
    late = judged.pair(b'{"a":1}', b'{"a":2}')

    assert (early.verdict, early.causes, early.divergence) == ("divergent", ("unexplained",), "")
    assert (late.verdict, late.causes) == ("divergent", ("value.changed",))
    assert late.divergence.startswith("d-")
    assert [finding.causes for finding in judged.findings] == [("unexplained",), ("value.changed",)]


def test_whoever_comes_back_gets_every_example_again() -> None:
    """A control that connects anew hears of every kind once more."""
    judged = Judged()
    for _ in range(10):
        judged.pair(b'{"a":1}', b'{"a":2}')
    judged.judge.memory.forget_examples()

    judged.pair(b'{"a":1}', b'{"a":2}')

    assert len(judged.findings) == 2


def test_what_was_asked_by_hand_teaches_nothing_and_counts_nowhere() -> None:
    """Noise is reported, a recheck answered, a repeat neither, and none of them is a compared pair."""
    judged = Judged()
    for purpose in ("noise", "again", "recheck"):
        sent = msgspec.structs.replace(pair(b'{"a": 1}', b'{"a":1}'), purpose=purpose)
        answer = judged.judge.judge(policy(), sent, b'{"a": 1}{"a":1}')
        assert (answer.finding is not None) == (purpose == "recheck")
        assert answer.verdict.divergence.startswith("d-")

    assert [finding.purpose for finding in judged.findings] == ["noise"]
    assert judged.judge.memory.encoding_of("orders") == frozenset()
    assert judged.judge.take_counts() == []


def test_verdicts_leave_before_anything_heavy() -> None:
    """The caller is warned before each explanation."""
    warned: list[int] = []
    judge = Judge(lambda finding: True, before_heavy=lambda: warned.append(1))

    judge.judge(policy(), pair(b"[1]", b"[2]"), b"[1][2]")

    assert warned == [1]


def test_random_names_of_members_do_not_fill_the_memory() -> None:
    """A map keyed by identifiers makes each pair another kind; what is remembered stays bounded."""
    judged = Judged()
    for number in range(known.MAX_KINDS + 200):
        judged.pair(b'{"k%d":1}' % number, b'{"k%d":2}' % number)
        judged.now_ns += SECOND // 10

    assert len(judged.judge.memory.of(policy()).kinds) <= known.MAX_KINDS
    assert sum(judged.counted().values()) == known.MAX_KINDS + 200


def test_long_names_and_texts_do_not_fill_the_memory() -> None:
    """What is remembered of a kind does not grow with its names, or hostile answers would use up the comparer."""
    judged = Judged()
    before = 0
    tracemalloc.start()
    try:
        for number in range(60):
            name = b"%d" % number * 25_000
            judged.pair(b'{"%s":1,"t":{},"u":"1"}' % name, b'{"%s":2,"t":"%s","u":1}' % (name, name))
            judged.now_ns += SECOND
            judged.findings.clear()
            before = tracemalloc.get_traced_memory()[0] if number == 9 else before
        grown = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()

    assert len(judged.judge.memory.of(policy()).kinds) == 60
    assert grown < 500_000


def test_a_tolerance_is_counted_in_every_pair_in_which_it_hid_something() -> None:
    """A tolerated clock beside a price that is always wrong has a hit in each pair, also where nothing is explained."""
    clock = ToleranceSpec(id="t-clock", route="", path="$.at", reason="clock", owner="shop", expires="2999-12-31")
    wishes = policy(tolerate=(clock,))
    judged = Judged()

    for number in range(5):
        legacy = json.dumps({"at": f"2026-11-21T10:00:0{number}Z", "price": 1.5}).encode()
        judged.pair(legacy, legacy.replace(b"T10:00", b"T10:01").replace(b"1.5", b"2.5"), wishes)

    assert [(verdict.verdict, verdict.tolerated) for verdict in judged.verdicts] == [("divergent", ("t-clock",))] * 5


def test_differences_beyond_those_that_are_kept_are_never_tolerated() -> None:
    """Where more places differ than are kept, nobody knows what the others are: such a pair stays divergent."""
    every = ToleranceSpec(
        id="t-all", route="", cause="number.integral_float", reason="r", owner="shop", expires="2999-12-31"
    )
    judged = Judged()
    for size, verdict in ((100, "tolerated"), (20_000, "divergent")):
        legacy, new = (b"[" + b",".join([number] * size) + b"]" for number in (b"1", b"1.0"))
        assert judged.pair(legacy, new, policy(tolerate=(every,))).verdict == verdict
