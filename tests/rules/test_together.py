"""What one node's counts and the sum over all nodes say together."""

from __future__ import annotations

import pytest

from config.spec import WatchdogSpec
from rules.flag import Flag, Stage
from rules.together import together
from rules.watch import Judgement, judge
from rules.window import Known, Window, summed

SPEC = WatchdogSpec()
CANARY = Flag(stage=Stage.CANARY, percent_bp=5_000, sample_bp=10_000, salt="s")
LIVE = Flag(stage=Stage.LIVE, sample_bp=100, salt="s")
HEALTHY = Known(requests=100_000, failed=100)


def seen(requests: int, *, new: float = 0.0, legacy: float = 0.0, of_legacy: int | None = None) -> Window:
    """Make what one node saw: the shares of its requests that both sides failed."""
    other = requests if of_legacy is None else of_legacy
    return Window(
        seconds=60, new=requests, new_failed=int(requests * new), legacy=other, legacy_failed=int(other * legacy)
    )


def decided(*nodes: Window, flag: Flag = CANARY) -> Judgement:
    """Decide on the first node, as all nodes would."""
    total = summed(nodes)
    own, all_ = (judge(SPEC, flag, (one,), known=HEALTHY) for one in (nodes[0], total))
    return together(SPEC, own, all_, (total,))


FINE, ALIKE = seen(40), seen(40, new=0.5, legacy=0.5)

CASES = {
    "little on each node, and new fails": ([seen(40, new=0.5)] * 3, "legacy"),
    "new fails on one node that has little": ([FINE, FINE, seen(40, new=0.5)], "legacy"),
    "both fail": ([ALIKE] * 3, ""),
    "both fail on one node": ([FINE, FINE, ALIKE], ""),
    "legacy fails on one node, new on another": ([FINE, seen(40, legacy=0.9), seen(40, new=0.9)], ""),
    "the same, seen by the one whose new fails, with much traffic": (
        [seen(2_000, new=0.9), seen(2_000, legacy=0.9), seen(2_000)],
        "",
    ),
    "new fails here, and others are well": ([seen(2_000, new=0.5), seen(2_000), seen(2_000)], "legacy"),
    "new fails here, and legacy a little elsewhere": (
        [seen(2_000, new=0.9), seen(2_000, legacy=0.1), seen(2_000)],
        "legacy",
    ),
    "new fails here, one of fifty nodes": ([seen(200, new=0.9), *[seen(200)] * 49], "legacy"),
    "the same, and legacy a little on another one": (
        [seen(2_000, new=0.4), seen(2_000, legacy=0.03), *[seen(2_000)] * 48],
        "legacy",
    ),
    "what legacy fails elsewhere was told a second ago": ([seen(250, new=0.38), seen(250, legacy=0.2), seen(250)], ""),
    "one node fails both sides, and hardly asks legacy": (
        [seen(90, new=1.0, legacy=1.0, of_legacy=1), *[seen(1, of_legacy=2_000)] * 2],
        "",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_what_the_nodes_see_decides(case: str) -> None:
    """New that fails more than legacy over all nodes, or certainly on one of them, is taken back; what both sides have,
    if on different nodes, never is."""
    nodes, to = CASES[case]

    found = decided(*nodes)

    assert found.to == to, found.sentence


def test_the_pairs_of_the_node_in_doubt_do_not_outvote_the_others() -> None:
    """In live the node whose new fails copies more than the one whose legacy fails; the sum of their pairs decides
    nothing against that."""
    doubt = {("2xx", "5xx"): 480}, {("5xx", "2xx"): 80}, {("2xx", "2xx"): 80}
    nodes = [
        Window(seconds=60, new=800, new_failed=800 if at == 0 else 0, pairs=pairs) for at, pairs in enumerate(doubt)
    ]
    total = summed([nodes[2], *nodes[:2]])

    own, all_ = (judge(SPEC, LIVE, (one,), known=HEALTHY) for one in (nodes[2], total))

    assert all_.to == "legacy"
    assert together(SPEC, own, all_, (total,)).state == "alert"


def test_harm_that_would_only_move_is_an_alert_that_says_so() -> None:
    """Where legacy fails elsewhere by as much as new does here, nobody is sent there."""
    found = decided(seen(2_000, new=0.9), seen(2_000, legacy=0.9))

    assert (found.state, found.rule) == ("alert", "errors")
    assert found.sentence == (
        "both sides fail, on different nodes: new failed 45 % of 4000 requests (5xx or no answer) within 60 s on 2 "
        "nodes, legacy 45 % of 4000; a rollback would only move that"
    )


@pytest.mark.parametrize(
    "found",
    [
        Judgement(state="tripped", sentence="new differs", to="shadow", rule="divergence"),
        Judgement(state="tripped", sentence="new is slow", to="legacy", rule="latency"),
        Judgement(state="suspicious", sentence="new fails", rule="errors"),
    ],
    ids=lambda found: found.rule,
)
def test_only_a_rollback_for_failures_is_kept_from_a_legacy_that_fails(found: Judgement) -> None:
    """What differs or is slow goes back although legacy fails elsewhere, and a doubt stays a doubt."""
    total = summed([seen(2_000, new=0.9), seen(2_000, legacy=0.9)])

    assert together(SPEC, found, found, (total,)) == found


def test_blindness_ends_where_the_sum_is_enough() -> None:
    """No node alone sees enough, all together do, and the sentence says over how many nodes."""
    assert judge(SPEC, CANARY, (FINE,), known=HEALTHY).state == "blind"
    assert decided(FINE, FINE).sentence == "blind: 80 of 100 requests within 60 s on 2 nodes"
    assert decided(FINE, FINE, FINE).sentence == (
        "new failed 0 % of 120 requests (5xx or no answer) within 60 s on 3 nodes, legacy 0 % of 120"
    )


def test_what_this_node_alone_has_to_say_is_shown() -> None:
    """An alert here is shown although the sum is calm."""
    found = decided(seen(200, new=0.5, legacy=0.5), *[seen(20_000)] * 2)

    assert found.state == "alert"
    assert "of 200 requests" in found.sentence


def test_a_node_whose_legacy_always_failed_accuses_nobody() -> None:
    """In live with few copies, the past is that of the nodes where new is asked."""
    spread = Known(requests=10_000, failed=1_000)
    total = summed([seen(400, new=0.1, of_legacy=0), seen(0, of_legacy=0)])

    assert judge(SPEC, LIVE, (total,), known=spread, suspicious_s=600).to == ""
