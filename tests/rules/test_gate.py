"""What a gate says: which evidence passes, which fails, and what is missing where it can do neither."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from math import log
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.spec import GateSpec
from rules.gate import GateEvidence, GateVerdict, about, judge
from rules.latency import BINS, bin_of
from rules.leg import leg_at

NOW = 1_800_000_000.0
DAY_S = 86_400.0
SPEC = GateSpec()


def latencies(count: int, seconds: float) -> list[int]:
    """Spread times as a queue does: exponentially, with this mean."""
    counts, steps = [0] * BINS, min(count, 400)
    for step in range(steps):
        counts[bin_of(-seconds * log(1 - (step + 0.5) / steps))] += (count + step) // steps
    return counts


def seen(count: int, *, divergent: int = 0, span_s: float = DAY_S, **others: Any) -> GateEvidence:  # any field
    """Make evidence of a route whose new side is twice as fast."""
    fields: dict[str, Any] = {
        "build": "v2",
        "since": NOW - span_s,
        "until": NOW - 1.0,
        "identical": count - divergent,
        "divergent": divergent,
        "eligible": count,
        "classes": {("GET", "2xx", "2xx"): count},
        "distinct": min(count, 5_000),
        "latency": {"legacy": latencies(count, 0.02), "new": latencies(count, 0.01)},
    }
    return GateEvidence(**fields | others)


def verdict(evidence: GateEvidence, spec: GateSpec = SPEC, **others: Any) -> GateVerdict:  # any argument of judge
    """Judge evidence of build v2 in the leg that counts now."""
    leg = leg_at(evidence.since or NOW, NOW, spec.over_ns / 1e9)
    return judge(spec, evidence, NOW, leg=leg, **{"build": "v2"} | others)


def result_of(found: GateVerdict, name: str) -> str:
    """Find one check's result."""
    return next(check.result for check in found.checks if check.name == name)


def test_much_good_evidence_passes_and_says_how_much() -> None:
    """12,480 pairs without a divergence pass, with the bound and the limit in the sentence."""
    found = verdict(seen(12_480))

    assert found.result == "pass"
    assert found.sentence == "0 divergent of 12,480: at most 0.032 % (limit 0.2 %), none tolerated"
    assert found.needs_s is None
    assert [check.name for check in found.checks] == [
        "fresh",
        "comparisons",
        "distinct",
        "divergence",
        "unseen",
        "errors",
        "latency",
        "coverage",
        "tolerances",
    ]


def test_what_is_missing_is_counted_and_timed() -> None:
    """A clean route with too few comparisons is told how many more it needs, and how long that takes at its rate."""
    found = verdict(seen(2_280))

    assert found.result == "inconclusive"
    assert found.sentence.startswith("needs 1,742 more clean, about 18 h at this rate (")
    assert found.needs_s == pytest.approx(1_742 * DAY_S / 2_280)
    assert verdict(seen(2_280 + 1_742)).result == "pass"


def test_a_rate_that_never_gets_there_is_said() -> None:
    """Where evidence would be too old before it is enough, the sentence says what to change, and no time."""
    found = verdict(seen(100, span_s=3 * DAY_S))

    assert found.needs_s is None
    assert "too slow at this rate: evidence counts for 7 days, so raise the sample or ask for less" in found.sentence


@given(st.floats(0, 1), st.booleans())
def test_no_traffic_is_neither_good_nor_bad(age: float, known: bool) -> None:
    """Without a comparison the gate is inconclusive whatever it asks for: never a pass, never a fail."""
    spec = replace(SPEC, comparisons=1, distinct_requests=1, divergent_max_bp=5_000)

    found = verdict(GateEvidence(build="v2" if known else "", since=NOW - age), spec)

    assert found.result == "inconclusive"
    assert "nothing of build v2 was compared yet" in found.sentence


def test_evidence_of_another_build_does_not_count() -> None:
    """What an older build proved says nothing about the one that runs now, and the sentence names both."""
    found = verdict(seen(50_000), build="v3")

    assert (found.result, found.sentence) == (
        "inconclusive",
        "the evidence is of build v2, and new runs v3; it has to be compared first",
    )
    assert verdict(seen(50_000), build="").result == "pass"


def test_old_evidence_does_not_count() -> None:
    """A route whose last comparison is two days old waits for a new one."""
    found = verdict(seen(50_000, span_s=4 * DAY_S, until=NOW - 2.5 * DAY_S))

    assert found.result == "inconclusive"
    assert found.sentence == "nothing was compared for 2 days; 24 h is as old as evidence may be"


def test_few_different_requests_prove_little() -> None:
    """One request repeated ten thousand times is inconclusive."""
    found = verdict(seen(50_000, distinct=3))

    assert (found.result, found.sentence) == ("inconclusive", "3 of 200 different requests")


@pytest.mark.parametrize(
    ("count", "bad", "result"),
    [(10_000, 0, "pass"), (10_000, 3, "pass"), (10_000, 15, "inconclusive"), (10_000, 60, "fail"), (400, 20, "fail")],
)
def test_the_divergence_rate_decides_when_it_is_shown(count: int, bad: int, result: str) -> None:
    """A rate shown to be below the limit passes, one shown to be above fails, and what may be chance is neither."""
    assert verdict(seen(count, divergent=bad)).result == result


def test_one_difference_in_a_few_is_no_fail() -> None:
    """A single divergent pair among the first ten may be chance: it fails nothing."""
    assert verdict(seen(10, divergent=1)).result == "inconclusive"


def test_undecided_counts_as_divergent() -> None:
    """Pairs that nobody could decide count against new, and the sentence shows them."""
    found = verdict(seen(10_000, divergent=2, identical=9_938, undecided=60))

    assert found.result == "fail"
    assert found.sentence == "2 divergent and 60 undecided of 10,000: too many (limit 0.2 %)"


def test_what_was_not_compared_makes_the_gate_wait() -> None:
    """More than 5 % of the eligible requests skipped or dropped is inconclusive, not a pass."""
    found = verdict(seen(10_000, eligible=11_000, skipped=500, dropped=100))

    assert found.result == "inconclusive"
    assert found.sentence.startswith("5% of the eligible requests were skipped or dropped")
    assert verdict(seen(10_000, eligible=20_000, skipped=500, dropped=100)).result == "pass"


CLASSES: list[tuple[Mapping[tuple[str, str, str], int], str]] = [
    ({("GET", "2xx", "2xx"): 20_000, ("GET", "2xx", "5xx"): 3}, "pass"),
    ({("GET", "2xx", "2xx"): 20_000, ("GET", "2xx", "none"): 100}, "fail"),
    ({("GET", "2xx", "2xx"): 20_000, ("GET", "2xx", "5xx"): 100}, "fail"),
    ({("GET", "2xx", "2xx"): 20_000, ("GET", "5xx", "none"): 900}, "pass"),
    ({("GET", "2xx", "2xx"): 20_000, ("GET", "5xx", "2xx"): 900}, "pass"),
    ({("GET", "2xx", "2xx"): 5_000, ("GET", "2xx", "5xx"): 9, ("GET", "none", "2xx"): 9}, "inconclusive"),
    ({("GET", "2xx", "2xx"): 20_000, ("GET", "4xx", "2xx"): 900}, "pass"),
]


@pytest.mark.parametrize(("classes", "result"), CLASSES)
def test_errors_are_new_against_legacy(classes: Mapping[tuple[str, str, str], int], result: str) -> None:
    """Only where new alone fails it gets worse; both failing alike, or legacy alone, never counts against it."""
    found = verdict(seen(20_000, classes=classes))

    assert result_of(found, "errors") == result


def test_a_request_that_fell_back_is_a_failure_of_new() -> None:
    """A request that new failed and legacy then answered counts, though no pair is left of it."""
    found = verdict(seen(20_000, fallbacks=200))

    assert (found.result, result_of(found, "errors")) == ("fail", "fail")


@pytest.mark.parametrize(
    ("count", "seconds", "result"),
    [
        (20_000, 0.010, "pass"),
        (20_000, 0.022, "inconclusive"),
        (20_000, 0.040, "fail"),
        (100, 0.015, "inconclusive"),
        (20, 0.010, "inconclusive"),
    ],
)
def test_new_may_not_be_slower(count: int, seconds: float, result: str) -> None:
    """The 95th percentiles of the same requests decide; a small sample, or a ratio at the limit, decides nothing."""
    evidence = seen(count, latency={"legacy": latencies(count, 0.02), "new": latencies(count, seconds)})

    assert result_of(verdict(evidence), "latency") == result


def test_a_method_that_is_never_copied_is_named() -> None:
    """A method whose requests could be copied and all were skipped makes the gate wait, also where skipped requests are
    few; one that was compared may be skipped at times."""
    only = verdict(seen(10_000, eligible=10_400, skipped=400, uncopied={"POST": 350, "GET": 50}))
    both = {("GET", "2xx", "2xx"): 9_000, ("POST", "2xx", "2xx"): 1_000}

    assert only.result == "inconclusive"
    assert only.sentence == "POST reached clients and was never compared (3.4 % of the requests)"
    assert verdict(seen(10_000, classes=both, eligible=10_400, skipped=400, uncopied={"POST": 400})).result == "pass"


def test_a_class_that_clients_are_answered_must_be_compared() -> None:
    """Clients that legacy answers with 4xx, where only 2xx was compared, make the gate wait, and with the methods that
    are not covered they are named at once, the most frequent first."""
    found = verdict(seen(10_000, eligible=10_100, uncopied={"HEAD": 100}, clients={"2xx": 9_500, "4xx": 500}))

    assert found.result == "inconclusive"
    assert found.sentence == "4xx, HEAD reached clients and was never compared (6 % of the requests)"


def test_what_is_rare_is_no_obstacle() -> None:
    """What is rarer than the limit of the divergence rate could not break it, so it is not asked for."""
    found = verdict(seen(10_000, eligible=10_010, uncopied={"HEAD": 10}, clients={"2xx": 100_000, "5xx": 20}))

    assert found.result == "pass"


def test_what_tolerances_hide_is_shown() -> None:
    """A pass says how many pairs were tolerated and by how many rules."""
    found = verdict(
        seen(10_000, identical=1_600, tolerated=8_400, tolerated_by={"t-1": 8_000, "t-2": 300, "t-3": 100}),
        tolerances={"t-1": "2027-01-31", "t-2": "2027-01-31", "t-3": "2027-01-31", "t-4": "2020-01-01"},
        today="2026-11-21",
    )

    assert found.result == "pass"
    assert found.sentence.startswith("0 divergent of 10,000")
    assert found.sentence.endswith(", 84 % tolerated by 3 rules")


def test_a_pass_says_for_how_many_requests_it_cannot_speak() -> None:
    """Writes are never compared: a pass names their share, also in what it covers, unless it is next to nothing."""
    found = verdict(seen(10_000, asked=60_000, comparable=10_200))
    covered = next(check.sentence for check in found.checks if check.name == "coverage")
    few = verdict(seen(10_000, asked=10_050, comparable=10_000))

    said = "83 % of the requests cannot be compared (writes, or a stage that copies nothing)"
    assert found.result == "pass"
    assert found.sentence.endswith(f", none tolerated, {said}")
    assert covered == f"covers GET, 2xx; {said}"
    assert few.sentence.endswith("none tolerated")


def test_an_expired_tolerance_fails() -> None:
    """Evidence that an expired tolerance made clean fails; one that hid nothing may expire in peace."""
    hidden = seen(10_000, identical=9_000, tolerated=1_000, tolerated_by={"t-1": 1_000})
    known = {"t-1": "2026-11-20", "t-2": "2020-01-01"}

    assert verdict(hidden, tolerances=known, today="2026-11-20").result == "pass"
    found = verdict(hidden, tolerances=known, today="2026-11-21")
    assert found.result == "fail"
    assert found.sentence == (
        "a tolerance that has expired hid differences: t-1 ended 2026-11-20; renew it or fix them"
    )


def test_a_tolerance_that_was_taken_away_permits_nothing() -> None:
    """Evidence that was clean by a tolerance which is gone has to be gathered anew."""
    hidden = seen(10_000, identical=9_000, tolerated=1_000, tolerated_by={"t-1": 1_000})

    found = verdict(hidden, tolerances={}, today="2026-11-21")

    assert found.result == "inconclusive"
    assert "t-1; begin anew with `matapalo evidence reset`" in found.sentence


def test_what_has_become_bad_lately_fails_though_the_week_was_good() -> None:
    """A good week does not outweigh a bad hour."""
    week, hour = seen(1_000_000, divergent=40, span_s=6 * DAY_S), seen(3_000, divergent=30, span_s=3_600)

    assert verdict(week).result == "pass"
    found = verdict(week, recent=(hour,))
    assert found.result == "fail"
    assert found.sentence == "30 of 3,000 were divergent in the last 1 h: too many (limit 0.2 %)"


def test_new_failing_lately_fails_though_the_week_was_good() -> None:
    """A good week does not outweigh an hour in which new alone failed; one in which both failed alike is no fault."""
    week, hour = seen(1_000_000, span_s=6 * DAY_S), seen(3_000, span_s=3_600)
    alone = replace(hour, classes={("GET", "2xx", "2xx"): 2_970, ("GET", "2xx", "5xx"): 30})
    alike = replace(hour, classes={("GET", "2xx", "2xx"): 2_970, ("GET", "5xx", "5xx"): 30})

    found = verdict(week, recent=(alone,))
    assert found.result == "fail"
    assert found.sentence == "30 of 3,000 went wrong in the last 1 h: too many (limit 0.1 %)"
    assert verdict(week, recent=(alike,)).result == "pass"


def test_every_reason_is_said_at_once() -> None:
    """Nobody meets the second reason after the first: all of them stand in one sentence."""
    found = verdict(seen(50_000, distinct=3, skipped=9_000, eligible=60_000))

    assert found.sentence.startswith("3 of 200 different requests; 15% of the eligible")


@given(
    count=st.integers(0, 30_000),
    bad=st.integers(0, 100),
    better=st.integers(0, 100),
    others=st.fixed_dictionaries({"skipped": st.integers(0, 5_000), "distinct": st.integers(0, 400)}),
)
def test_more_divergent_pairs_never_help(count: int, bad: int, better: int, others: dict[str, int]) -> None:
    """Turning divergent pairs into identical ones never makes a verdict worse, and a pass has every check passed."""
    order = ("fail", "inconclusive", "pass")
    bad, better = min(bad, count), min(better, bad, count)

    worse, now = (verdict(seen(count, divergent=some, **others)) for some in (bad, bad - better))

    assert order.index(worse.result) <= order.index(now.result)
    for found in (worse, now):
        assert (found.result == "pass") == all(check.result == "pass" for check in found.checks)
        assert (found.result == "fail") == any(check.result == "fail" for check in found.checks)
        assert found.sentence
        assert found.needs_s is None or found.result == "inconclusive"


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0, "0 s"), (59, "59 s"), (61, "1 min"), (3_600, "1 h"), (47 * 3_600, "47 h"), (3 * DAY_S, "3 days")],
)
def test_durations_are_said_as_people_do(seconds: float, said: str) -> None:
    """A time is rounded to the unit that people would use."""
    assert about(seconds) == said
