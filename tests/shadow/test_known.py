"""Rules of what a comparer remembers, and of the time that explanations may take."""

from __future__ import annotations

from shadow import known
from shadow.findings import Group
from shadow.known import Kind, Memory, PolicyMemory, Purse, Ration
from tests.shadow.made import policy

SECOND = 1_000_000_000
GROUP = Group(id="d-1", causes=("value.changed",))


def test_a_kind_is_explained_ever_more_rarely() -> None:
    """The next example of a kind follows after 0.1 s, 0.2 s and so on, and in the end every 10 s."""
    kind = Kind(group=GROUP)
    now, waits = 0, []

    for _ in range(10):
        kind.put_off(now)
        waits.append(kind.due_ns - now)
        now = kind.due_ns

    assert waits[:3] == [SECOND // 10, SECOND // 5, SECOND * 2 // 5]
    assert waits[-1] == 10 * SECOND


def test_kinds_and_policies_are_bounded() -> None:
    """Beyond a thousand kinds per policy, and 2,000 policies, the oldest goes."""
    kinds, memory = PolicyMemory(), Memory()

    for number in range(known.MAX_KINDS + 5):
        kinds.learn(number, Kind(group=GROUP))
    first = memory.of(policy())
    for number in range(1, known.MAX_POLICIES + 1):
        memory.of(policy(number=number))

    assert len(kinds.kinds) == known.MAX_KINDS
    assert 0 not in kinds.kinds
    assert memory.of(policy()) is not first


def test_counts_are_handed_over_once_by_route_and_build() -> None:
    """Every pair counted stands in exactly one Seen, with the build of new that answered."""
    memory = Memory()
    for build, times in (("1.0", 3), ("1.1", 2)):
        for _ in range(times):
            memory.count("orders", build, "d-1")
    memory.count("users", "", "d-2")

    seen = {(one.route, one.build): one.counts for one in memory.take_counts(5.0)}

    assert seen == {("orders", "1.0"): {"d-1": 3}, ("orders", "1.1"): {"d-1": 2}, ("users", ""): {"d-2": 1}}
    assert list(memory.take_counts(6.0)) == []


def test_what_control_does_not_take_is_bounded_and_said_to_be_lost() -> None:
    """With control away for long, further divergences are lost, and how many pairs that costs is known."""
    memory = Memory()

    for number in range(known.MAX_COUNTED + 7):
        memory.count("orders", "", f"d-{number}")
    memory.count("orders", "", "d-0")

    assert memory.lost == 7
    (seen,) = memory.take_counts(5.0)
    assert sum(seen.counts.values()) == known.MAX_COUNTED + 1


def test_a_purse_pays_its_debt_before_it_opens_again() -> None:
    """One dear explanation is allowed, and afterwards none until its time has come in again."""
    purse = Purse(SECOND // 10)

    assert purse.is_open(SECOND)
    purse.take(SECOND)

    assert not purse.is_open(2 * SECOND)
    assert not purse.is_open(9 * SECOND)
    assert purse.is_open(11 * SECOND)


def test_a_route_gets_twenty_findings_a_second() -> None:
    """Another route's flood or the next second change nothing."""
    ration = Ration()

    for _ in range(known.PER_ROUTE):
        assert ration.has("a", 5)
        ration.take("a")

    assert not ration.has("a", SECOND - 1)
    assert ration.has("b", SECOND - 1)
    assert ration.has("a", SECOND)
