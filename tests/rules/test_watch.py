"""The watchdog's decision: every stage against everything that can happen, chance, and words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from random import Random

import pytest

from config.spec import WatchdogSpec
from rules.chance import CHANCE
from rules.flag import CohortFlag, Flag, Stage
from rules.watch import Judgement, judge, looks_closer
from rules.window import Known, Window

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
    "both fail": (N, N, N, A, A, A, L, L, N),  # nobody asks legacy in the last two: its past is all there is
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


def test_a_few_answers_as_bad_as_new_s_are_no_leave_to_go_back() -> None:
    """Where legacy always failed a tenth and new fails by half, one failed copy of two may be the same trouble."""
    seen = Window(seconds=5, new=1_000, new_failed=500, pairs={("5xx", "5xx"): 1, ("2xx", "5xx"): 1})

    found = judge(SPEC, FLAGS["live"], (seen,), known=Known(requests=100_000, failed=10_000), suspicious_s=600)

    assert (found.state, found.to) == ("alert", "")


@pytest.mark.parametrize(
    ("failed", "pairs", "past"),
    [
        (900, {("5xx", "5xx"): 1, ("2xx", "5xx"): 3}, 5_000),  # one of four, where one of twenty is usual, is chance
        (50, {("5xx", "2xx"): 3, ("2xx", "2xx"): 297}, 100),  # no chance, but within `error_delta_max`
    ],
    ids=["chance", "little"],
)
def test_a_legacy_that_is_hardly_worse_than_ever_keeps_nothing_back(
    failed: int, pairs: Mapping[tuple[str, str], int], past: int
) -> None:
    """What legacy fails by chance, or by less than is allowed, is no trouble of its own: new goes back in a window."""
    seen = Window(seconds=5, new=1_000, new_failed=failed, pairs=pairs)

    found = judge(SPEC, FLAGS["live"], (seen,), known=Known(requests=100_000, failed=past), suspicious_s=60)

    assert (found.state, found.to) == ("tripped", "legacy"), found.sentence


def test_a_route_whose_legacy_nobody_ever_heard_is_blind() -> None:
    """A new that fails nobody is not called well where nothing is known of legacy to hold it against."""
    found = judge(SPEC, FLAGS["live"], (Window(seconds=60, new=1_000),), known=None)

    assert (found.state, found.sentence.partition(";")[0]) == (
        "blind",
        "blind: nothing is known of legacy on this route",
    )


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
