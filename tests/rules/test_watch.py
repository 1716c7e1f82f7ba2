"""The watchdog's decision: every stage against everything that can happen, chance, and words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from math import comb
from random import Random

import pytest

from config.spec import WatchdogSpec
from rules.flag import CohortFlag, Flag, Stage
from rules.watch import (
    CHANCE,
    SURE_S,
    Judgement,
    Known,
    Window,
    at_least,
    excess,
    judge,
    looks,
    looks_closer,
    sure,
)

SPEC = WatchdogSpec(divergent_max_bp=100, p95_ratio_max=2.0)
BOUNDS = (0.01, 0.02, 0.05, 0.1)
FINE = {("2xx", "2xx"): 1_000}
HEALTHY = Known(requests=100_000, failed=100)

FLAGS = {
    "legacy": Flag(stage=Stage.LEGACY, salt="s"),
    "shadow": Flag(stage=Stage.SHADOW, sample_bp=10_000, salt="s"),
    "canary 0": Flag(stage=Stage.CANARY, percent_bp=0, sample_bp=10_000, salt="s"),
    "canary": Flag(stage=Stage.CANARY, percent_bp=500, sample_bp=10_000, salt="s"),
    "canary 100": Flag(stage=Stage.CANARY, percent_bp=10_000, sample_bp=10_000, salt="s"),
    "live": Flag(stage=Stage.LIVE, sample_bp=100, salt="s"),
    "live 0": Flag(stage=Stage.LIVE, sample_bp=0, salt="s"),
    "complete": Flag(stage=Stage.COMPLETE, salt="s"),
    "gone": Flag(stage=Stage.GONE, salt="s"),
}
STAFF = Flag(stage=Stage.SHADOW, sample_bp=10_000, salt="s", cohorts={"staff": CohortFlag(stage=Stage.LIVE)})


@dataclass(frozen=True, kw_only=True)
class Event:
    """Say what happens on a route, whatever its stage."""

    new: float = 0.0
    """The share of its requests that new fails."""
    legacy: float = 0.0
    """The share of its requests that legacy fails."""
    requests: int = 2_000
    known: Known | None = HEALTHY
    divergent: int = 0
    slow: bool = False
    suspicious_s: float = 0.0
    pairs: Mapping[tuple[str, str], int] | None = field(default=None)


EVENTS = {
    "all is well": Event(),
    "new fails": Event(new=0.5),
    "both fail": Event(new=0.5, legacy=0.5),
    "legacy fails": Event(legacy=0.5),
    "too few": Event(new=0.5, requests=60),
    "nobody comes": Event(requests=0),
    "new differs": Event(divergent=300),
    "new is slow": Event(slow=True),
    "new says 404": Event(pairs={("2xx", "4xx"): 300, ("2xx", "2xx"): 700}),
    "both say 404": Event(pairs={("4xx", "4xx"): 300, ("2xx", "2xx"): 700}),
    "legacy unknown": Event(new=0.5, known=None),
}

W, B, N, A = "watching", "blind", "idle", "alert"
L, S = "tripped legacy", "tripped shadow"
TABLE = {
    #                 legacy shadow canary 0 canary canary 100 live live 0 complete gone
    "all is well": (N, N, N, W, W, W, W, W, N),
    "new fails": (N, A, N, L, L, L, L, L, N),
    "both fail": (N, N, N, A, A, A, L, L, N),
    "legacy fails": (N, N, N, W, W, W, W, W, N),
    "too few": (N, N, N, B, B, B, B, B, N),
    "nobody comes": (N, N, N, B, B, B, B, B, N),
    "new differs": (N, A, N, S, S, S, W, W, N),
    "new is slow": (N, A, N, L, L, L, W, W, N),
    "new says 404": (N, A, N, L, L, L, W, W, N),
    "both say 404": (N, N, N, W, W, W, W, W, N),
    "legacy unknown": (N, A, N, L, L, L, A, A, N),
}


def window(flag: Flag, event: Event) -> Window:
    """Make what the counts of one minute are when *event* happens to a route at this stage."""
    share = {Stage.CANARY: flag.percent_bp, Stage.LIVE: 10_000, Stage.COMPLETE: 10_000}.get(flag.stage, 0) / 10_000
    new = int(event.requests * (share if share in (0.0, 1.0) else 0.5))
    legacy = event.requests - new if flag.stage is not Stage.GONE else 0
    pairs: Mapping[tuple[str, str], int] = {}
    is_copied = flag.sample_bp and event.requests
    if is_copied:
        pairs = event.pairs or _pairs(event.requests // 2, event)
    times = (600, 360, 40, 0, 0)
    return Window(
        seconds=60,
        new=new,
        new_failed=int(new * event.new),
        legacy=legacy,
        legacy_failed=int(legacy * event.legacy),
        pairs=pairs,
        compared=event.requests // 2 if is_copied else 0,
        divergent=event.divergent if is_copied else 0,
        latency={"legacy": times, "new": (0, 100, 500, 400, 0) if event.slow else times} if is_copied else {},
    )


def _pairs(total: int, event: Event) -> Mapping[tuple[str, str], int]:
    """Pair independent failures of both sides."""
    both = int(total * event.new * event.legacy)
    new, legacy = int(total * event.new) - both, int(total * event.legacy) - both
    return {
        ("5xx", "5xx"): both,
        ("2xx", "5xx"): new,
        ("5xx", "2xx"): legacy,
        ("2xx", "2xx"): total - both - new - legacy,
    }


def judged(flag: Flag, event: Event) -> Judgement:
    """Judge one event at one stage."""
    seen = window(flag, event)
    return judge(SPEC, flag, (seen,), known=event.known, suspicious_s=event.suspicious_s, bounds=BOUNDS)


@pytest.mark.parametrize("stage", FLAGS)
@pytest.mark.parametrize("event", EVENTS)
def test_every_stage_answers_every_event(stage: str, event: str) -> None:
    """Wherever new answers clients a harm is taken back, elsewhere it is an alert, and what is not known is said."""
    found = judged(FLAGS[stage], EVENTS[event])

    assert f"{found.state} {found.to}".strip() == TABLE[event][list(FLAGS).index(stage)], found.sentence
    assert found.sentence


def test_the_sentence_of_a_trip_has_the_value_that_failed() -> None:
    """Who reads the audit sees what was measured, of how many, against what, and the limit."""
    seen = Window(seconds=60, new=412, new_failed=195, fallbacks=4, legacy=1_000, legacy_failed=2)

    found = judge(SPEC, FLAGS["canary"], (seen,), known=HEALTHY)

    assert found.sentence == (
        "new failed 47.3 % of 412 requests (5xx or no answer, 4 of them answered by legacy) within 60 s against 0.2 % "
        "of 1000 of legacy, limit 1 % more"
    )
    assert found.value == pytest.approx(195 / 412)
    assert (found.against, found.limit) == (0.002, 0.01)


def test_a_cohort_that_new_answers_is_watched_like_a_canary() -> None:
    """Staff on live while everybody else is in shadow: what new fails for staff takes the route back."""
    seen = Window(seconds=60, new=200, new_failed=100, legacy=10_000)

    assert judge(SPEC, STAFF, (seen,), known=HEALTHY).to == "legacy"


def test_blindness_says_how_much_is_missing() -> None:
    """With too little traffic to judge, the watchdog says how much it has and how much it needs."""
    seen = Window(seconds=60, new=30, new_failed=30, legacy=570)

    found = judge(SPEC, FLAGS["canary"], (seen,), known=HEALTHY)

    assert (found.state, found.to) == ("blind", "")
    assert found.sentence == "blind: 30 of 100 requests within 60 s"


def test_no_single_sample_triggers() -> None:
    """Whatever the shares, fewer failures than min_errors never trip."""
    seen = Window(seconds=60, new=100, new_failed=9, legacy=1_000_000)

    assert judge(SPEC, FLAGS["canary"], (seen,), known=HEALTHY).state == "watching"


def test_a_difference_that_chance_explains_does_not_trip() -> None:
    """12 failures of 100 against 3 of 100 is more than 1 % apart, and may be chance."""
    chance = Window(seconds=60, new=100, new_failed=12, legacy=100, legacy_failed=3)
    sure = Window(seconds=60, new=1_000, new_failed=120, legacy=1_000, legacy_failed=30)

    assert judge(SPEC, FLAGS["canary"], (chance,), known=Known(requests=1_000, failed=30)).state != "tripped"
    assert judge(SPEC, FLAGS["canary"], (sure,), known=Known(requests=1_000, failed=30)).state == "tripped"


def test_the_newest_seconds_are_looked_at_alone() -> None:
    """A failure of some seconds trips although the minute before thins it below the limit."""
    short = Window(seconds=5, new=1_000, new_failed=100, legacy=1_000)
    whole = Window(seconds=60, new=12_000, new_failed=100, legacy=12_000)

    assert judge(SPEC, FLAGS["canary"], (short, whole), known=HEALTHY).to == "legacy"
    assert judge(SPEC, FLAGS["canary"], (whole,), known=HEALTHY).to == ""


def test_in_live_the_past_accuses_and_the_present_absolves() -> None:
    """With few copies new is suspicious at once, taken back when the copies say that legacy is well, or after a
    window; never while the copies say that legacy fails, too."""
    few, enough = {("2xx", "2xx"): 4}, {("2xx", "2xx"): 8, ("2xx", "5xx"): 7}
    failing = {("5xx", "5xx"): 5, ("2xx", "2xx"): 4}

    def found(pairs: Mapping[tuple[str, str], int], suspicious_s: float = 0.0) -> Judgement:
        seen = Window(seconds=5, new=1_000, new_failed=500, pairs=pairs)
        return judge(SPEC, FLAGS["live"], (seen,), known=HEALTHY, suspicious_s=suspicious_s)

    assert (found(few).state, found(few).to) == ("suspicious", "")
    assert found(few).sentence.endswith("waiting for legacy's answers to copies: 0 of 4 failed")
    assert (found(few, 60).state, found(few, 60).to) == ("tripped", "legacy")
    assert found(enough).state == "tripped"
    assert found(enough).sentence.endswith(
        "against 0.1 % of legacy so far (100000 requests), 0 of 15 now, limit 1 % more"
    )
    assert found(failing, 60).state == "alert"
    assert "a rollback would not help" in found(failing, 60).sentence


def test_in_doubt_more_is_copied_unless_somebody_wants_no_copies() -> None:
    """A suspicious route is looked at closer, any other is not, nor one where a sample is zero."""
    seen = Window(seconds=5, new=1_000, new_failed=500, pairs={("2xx", "2xx"): 4})
    live = FLAGS["live"]
    doubt, calm = (judge(SPEC, live, (one,), known=HEALTHY) for one in (seen, replace(seen, new_failed=0)))
    staff = CohortFlag(stage=Stage.LIVE, sample_bp=0)

    assert (doubt.state, calm.state) == ("suspicious", "watching")
    assert looks_closer(live, doubt)
    assert not looks_closer(live, calm)
    assert not looks_closer(replace(live, sample_bp=0), doubt)
    assert not looks_closer(replace(live, cohorts={"staff": staff}), doubt)


def test_a_shared_failure_does_not_trip_however_long_it_lasts_and_though_new_is_a_little_worse() -> None:
    """While legacy clearly fails more than it ever did, waiting decides nothing: only a sure difference trips."""
    seen = Window(seconds=60, new=300, new_failed=165, legacy=5_700, legacy_failed=2_700)
    worse = Window(seconds=60, new=300, new_failed=290, legacy=5_700, legacy_failed=2_700)

    assert judge(SPEC, FLAGS["canary"], (seen,), known=HEALTHY, suspicious_s=600).state == "alert"
    assert judge(SPEC, FLAGS["canary"], (worse,), known=HEALTHY).state == "tripped"


def test_a_legacy_that_always_failed_so_often_is_no_alert() -> None:
    """Both sides failing as often as legacy ever did is how this route is, not news."""
    seen = Window(seconds=60, new=1_000, new_failed=50, legacy=1_000, legacy_failed=50)

    usual = judge(SPEC, FLAGS["canary"], (seen,), known=Known(requests=100_000, failed=5_000))
    news = judge(SPEC, FLAGS["canary"], (seen,), known=HEALTHY)

    assert (usual.state, news.state) == ("watching", "alert")


def test_legacy_that_is_hardly_known_makes_suspicious_not_calm() -> None:
    """Where new fails by half and legacy answered a dozen times so far, nobody may read that all is well."""
    seen = Window(seconds=5, new=1_000, new_failed=500, pairs={("2xx", "2xx"): 5, ("2xx", "5xx"): 5})

    found = judge(SPEC, FLAGS["live"], (seen,), known=Known(requests=12, failed=0))

    assert (found.state, found.to) == ("suspicious", "")
    assert "which is 12 requests: too few to tell" in found.sentence


@pytest.mark.parametrize("stage", ["shadow", "canary", "live"])
def test_failures_on_both_sides_are_no_divergence(stage: str) -> None:
    """A pair of which one side failed differs for certain; when both sides fail alike that trips no budget of
    divergence, and answers that differ still do."""
    flag = FLAGS[stage]
    failing = {("2xx", "2xx"): 500, ("2xx", "5xx"): 250, ("5xx", "2xx"): 250, ("5xx", "5xx"): 250, ("none", "2xx"): 50}

    def found(divergent: int) -> Judgement:
        seen = Window(
            seconds=60,
            new=1_000 if stage != "shadow" else 0,
            new_failed=400 if stage != "shadow" else 0,
            legacy=1_000,
            legacy_failed=400,
            pairs=failing,
            compared=1_250,
            divergent=divergent,
        )
        return judge(SPEC, flag, (seen,), known=HEALTHY)

    assert found(750).to == ""
    assert found(750).rule != "divergence"
    assert found(850).rule == "divergence"
    assert found(850).sentence.startswith("20 % of 500 comparisons of answers without 5xx were divergent")


TRIP = Judgement(state="tripped", sentence="new fails", to="legacy", rule="errors")
MINUTE = Window(seconds=60, covers_s=60, new=12_000, new_failed=300, legacy=12_000)


@pytest.mark.parametrize(
    ("newest", "goes"),
    [
        (Window(seconds=SURE_S, new=300, legacy=300), True),  # both are asked as ever
        (Window(seconds=SURE_S, new=3_000, legacy=300), True),  # new fails fast and is asked again and again
        (Window(seconds=SURE_S, new=150, legacy=150), True),  # half of all clients have gone
        (Window(seconds=SURE_S, new=300, legacy=0), False),  # legacy hangs
        (Window(seconds=SURE_S, new=300, legacy=150), False),  # legacy hangs by half
        (Window(seconds=SURE_S, new=3, legacy=0), False),  # everybody waits for legacy
    ],
)
def test_a_legacy_that_has_gone_silent_is_waited_for(newest: Window, goes: bool) -> None:
    """New says 503 at once where legacy hangs, as both do without their database: nothing goes back to a legacy that
    answers less than usual, one window long; less traffic, or more to new alone, is no silence."""
    found = sure(SPEC, TRIP, newest, MINUTE, suspicious_s=10, settled_s=3_600)

    assert (found.state, found.to) == (("tripped", "legacy") if goes else ("suspicious", ""))
    assert ("it may have the same trouble" in found.sentence) is not goes
    assert sure(SPEC, TRIP, newest, MINUTE, suspicious_s=60, settled_s=3_600).to == "legacy"


def test_what_was_usual_before_a_flip_is_no_silence() -> None:
    """A flip takes legacy's clients away by itself, and right after it rollbacks are needed most."""
    newest = Window(seconds=SURE_S, new=300, legacy=0)

    assert sure(SPEC, TRIP, newest, MINUTE, suspicious_s=3, settled_s=20).to == "legacy"


def test_silence_of_copies_counts_where_legacy_has_no_clients() -> None:
    """In live legacy's answers are those to copies."""
    whole = Window(seconds=60, covers_s=60, new=12_000, new_failed=300, pairs={("2xx", "2xx"): 2_400})
    answers = Window(seconds=SURE_S, new=300, pairs={("2xx", "2xx"): 60})
    silent = Window(seconds=SURE_S, new=300)

    assert sure(SPEC, TRIP, answers, whole, suspicious_s=3, settled_s=3_600).to == "legacy"
    assert sure(SPEC, TRIP, silent, whole, suspicious_s=3, settled_s=3_600).to == ""


def test_what_is_found_has_to_last() -> None:
    """A first look takes nothing back; one that comes to the same after a second and a half does."""
    newest = Window(seconds=SURE_S, new=300, legacy=300)

    first = sure(SPEC, TRIP, newest, MINUTE, suspicious_s=0, settled_s=3_600)

    assert (first.state, first.to) == ("suspicious", "")
    assert first.sentence == "new fails; it goes back if that lasts 1.5 s"
    assert sure(SPEC, TRIP, newest, MINUTE, suspicious_s=SURE_S, settled_s=3_600).to == "legacy"


def test_the_windows_are_the_newest_part_and_the_whole() -> None:
    """A twelfth of the window is looked at alone, but never less than five seconds."""
    assert looks(WatchdogSpec()) == (5.0, 60.0)
    assert looks(WatchdogSpec(window_ns=10_000_000_000)) == (5.0, 10.0)
    assert looks(WatchdogSpec(window_ns=600_000_000_000)) == (50.0, 600.0)


@pytest.mark.parametrize("counts", [(3, 10, 1, 30), (0, 5, 0, 5), (5, 5, 0, 5), (40, 100, 20, 300), (2, 9, 2, 9)])
def test_excess_is_the_exact_tail_of_fisher_s_test(counts: tuple[int, int, int, int]) -> None:
    """The chance of an excess is the sum of all tables with the same margins that are as bad or worse."""
    failed, total, other_failed, other_total = counts
    everything, all_failed = total + other_total, failed + other_failed

    exact = sum(
        comb(total, k) * comb(other_total, all_failed - k) for k in range(failed, min(total, all_failed) + 1)
    ) / comb(everything, all_failed)

    wanted = exact if failed * other_total > other_failed * total else 1.0
    assert excess(*counts) == pytest.approx(wanted, rel=1e-9)
    assert excess(total, total, 0, 0) == 1.0, "without the other side nothing is known"


def test_at_least_is_the_exact_tail_of_the_binomial() -> None:
    """The chance of so many hits, or more, is the sum of the binomial's upper tail."""
    exact = sum(comb(40, k) * 0.1**k * 0.9 ** (40 - k) for k in range(9, 41))

    assert at_least(9, 40, 0.1) == pytest.approx(exact, rel=1e-9)
    assert at_least(4, 40, 0.1) == 1.0
    assert at_least(1, 40, 0.0) == 0.0


def test_equal_sides_never_trip() -> None:
    """Sides that fail alike, at any rate and share of traffic, are taken back less often than chance allows."""
    random, trips = Random(5), 0
    for _ in range(4_000):
        rate, share = random.choice((0.001, 0.01, 0.05, 0.3)), random.choice((0.01, 0.05, 0.5, 0.99))
        new, legacy = int(2_000 * share), int(2_000 * (1 - share))
        seen = Window(
            seconds=60,
            new=new,
            new_failed=_drawn(random, new, rate),
            legacy=legacy,
            legacy_failed=_drawn(random, legacy, rate),
        )
        trips += judge(SPEC, FLAGS["canary"], (seen,), known=None).state == "tripped"

    assert trips == 0
    assert CHANCE <= 1e-8


def _drawn(random: Random, total: int, rate: float) -> int:
    """Draw from the binomial by the normal, which is close enough for a count of failures here."""
    return min(total, max(0, round(random.gauss(total * rate, (total * rate * (1 - rate)) ** 0.5))))
