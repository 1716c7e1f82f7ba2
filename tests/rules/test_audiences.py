"""Prove who gets what where clients are treated apart: cohorts, pins, and what beats them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import partial

import pytest

from config.spec import CohortSpec, ConfigSpec, MemberSpec, OverrideSpec, RouteSpec, ShadowSpec
from rules import CohortFlag, Decision, Flag, Hold, Snapshot, SnapshotError, SnapshotSpec, Stage, bucket_of, build
from rules.decision import COPYING_STAGES
from rules.flag import Side
from rules.pin import keys_of, pin_of
from rules.sticky import FieldList
from tests.rules.made import config, fields, flag, route

ID = b"0000000000000000000000000000002a"
NOW = 1_795_000_000.0
STAFF = CohortSpec(name="staff", match=(MemberSpec(header="x-staff"),))
BETA = CohortSpec(name="beta", match=(MemberSpec(cookie="beta"), MemberSpec(cidr=("10.0.0.0/8",))))
OVERRIDE = OverrideSpec(header="x-side", token="env:TEST_SIDE_TOKEN")
COPIED = {"legacy": None, "shadow": "new", "live": "legacy"}


@pytest.fixture(autouse=True)
def secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give the secrets that the configurations of this file name."""
    monkeypatch.setenv("TEST_SIDE_TOKEN", "s3cret")
    monkeypatch.setenv("TEST_PIN", "pinned")


def apart(everybody: Flag, **cohorts: str | CohortFlag) -> Flag:
    """Make a flag whose cohorts have stages of their own, with the stages' samples."""
    own = {
        name: stage
        if isinstance(stage, CohortFlag)
        else CohortFlag(stage=Stage(stage), sample_bp=flag(stage).sample_bp)
        for name, stage in cohorts.items()
    }
    return dataclasses.replace(everybody, cohorts=own)


def snapshot(
    one: Flag, spec: RouteSpec | None = None, holds: tuple[Hold, ...] = (), clock: Callable[[], float] = lambda: NOW
) -> Snapshot:
    """Build a snapshot of one route, ``orders``, with two cohorts, pins and an override."""
    made = config(spec or route("orders", pin_ns=30 * 10**9), cohorts=(STAFF, BETA), pins=("env:TEST_PIN",))
    made = dataclasses.replace(made, override=OVERRIDE)
    return build(SnapshotSpec(revision=7, config=made, flags={"orders": one}), holds, clock=clock)


def decide(
    one: Snapshot, headers: FieldList | None = None, method: str = "GET", client_ip: str = "192.0.2.7"
) -> Decision:
    """Decide a request as a worker does, which has seen its head; without that nothing is decided otherwise."""
    headers = headers or fields()
    text = b"".join(b"Cookie: %b\r\n" % raw_cookie for raw_cookie in headers.getall(b"cookie"))
    is_asked = any(headers.get(name) is not None for name in one.asked)
    found = one.decide(method.encode(), b"/orders", headers, client_ip, ID, text, is_asked)
    assert one.decide(method.encode(), b"/orders", headers, client_ip, ID) == found
    return found[0]


def pinned(side: Side, salt: str = "salt", **more: str) -> FieldList:
    """Write the request of a client that is pinned to a side."""
    pin = pin_of(salt, 30 * 10**9, keys_of(["env:TEST_PIN"]))
    return fields(cookie=f"{pin.cookie.decode()}={pin.value(side, NOW - 10).decode()}", **more)


def key_on(side: str, percent_bp: int, salt: str = "salt") -> str:
    """Find a user whom a canary places on *side*."""
    wanted = side == "new"
    return next(str(n) for n in range(10_000) if (bucket_of(salt, b"%d" % n) >= 10_000 - percent_bp) is wanted)


@pytest.mark.parametrize("everybody", ["legacy", "shadow", "live"])
@pytest.mark.parametrize("theirs", ["legacy", "shadow", "live"])
def test_a_cohort_has_a_stage_of_its_own(everybody: str, theirs: str) -> None:
    """Staff get their stage with its copies, everybody else theirs; the reason says which rule decided."""
    one = snapshot(apart(flag(everybody), staff=theirs))

    for headers, stage, reason, cohort in (
        (fields(x_staff="1"), theirs, "cohort", "staff"),
        (fields(), everybody, "stage", ""),
    ):
        decision = decide(one, headers)
        assert decision.side == ("new" if stage == "live" else "legacy")
        assert (decision.reason, decision.cohort) == (reason, cohort)
        assert decision.copy_side == COPIED[stage]
        assert decision.eligible is (Stage(stage) in COPYING_STAGES)
        assert not decide(one, headers, "POST").eligible


def test_the_sample_is_the_cohorts() -> None:
    """A cohort's copies follow its own sample, also where everybody else's are never made."""
    own = CohortFlag(stage=Stage.SHADOW, sample_bp=10_000)
    one = snapshot(apart(flag("shadow", sample_bp=0), staff=own))

    assert decide(one, fields(x_staff="1")).sampled
    assert not decide(one).sampled


def test_a_cohort_may_be_a_canary() -> None:
    """In a canary of a cohort its members are placed by the route's own buckets, and only they."""
    one = snapshot(apart(flag("legacy"), staff=CohortFlag(stage=Stage.CANARY, percent_bp=3_000)))

    for side in ("new", "legacy"):
        decision = decide(one, fields(x_staff="1", x_user=key_on(side, 3_000)))
        assert (decision.side, decision.reason, decision.cohort) == (side, "bucket", "staff")
    assert decide(one, fields(x_user=key_on("new", 3_000))).side == "legacy"


def test_the_first_cohort_of_the_configuration_counts() -> None:
    """Who is in two cohorts gets the first one's stage; a cohort without a stage of its own is passed over."""
    both = fields(x_staff="1", cookie="beta=1")

    assert decide(snapshot(apart(flag("legacy"), beta="live", staff="shadow")), both).cohort == "staff"
    assert decide(snapshot(apart(flag("legacy"), beta="live")), both).cohort == "beta"
    assert decide(snapshot(apart(flag("legacy"), beta="live")), client_ip="10.1.2.3").cohort == "beta"


def test_a_cohort_by_cookie_reads_the_first_cookie_field() -> None:
    """What a second Cookie line or another field holds makes no member; an empty value and a cookie alone do."""
    one = snapshot(apart(flag("legacy"), beta="live"))

    for pairs, cohort in (
        ([(b"Cookie", b"beta=")], "beta"),
        ([(b"COOKIE", b"a=1; beta=1"), (b"cookie", b"b=2")], "beta"),
        ([(b"cookie", b"a=1"), (b"cookie", b"beta=1")], ""),
        ([(b"cookie", b""), (b"x-cookie", b"beta=1")], ""),
        ([(b"cookie", b"alphabeta=1")], ""),
    ):
        assert decide(one, FieldList(pairs)).cohort == cohort, pairs


def test_a_snapshot_names_the_fields_that_put_a_request_elsewhere() -> None:
    """Override and cohorts ask for fields by name, in lower case, and for no others; cookies and pins are none."""
    odd = CohortSpec(name="odd", match=(MemberSpec(header="X-Odd", cidr=("11.0.0.0/8",)), MemberSpec(header="x-even")))
    made = dataclasses.replace(config(PINNING, cohorts=(STAFF, BETA, odd)), override=OVERRIDE)
    loud = dataclasses.replace(made, override=dataclasses.replace(OVERRIDE, header="X-SIDE"))

    for spec in (made, loud):
        assert snapshot_of(spec).asked == {b"x-side", b"x-staff", b"x-odd", b"x-even"}
    assert snapshot_of(config(PINNING)).asked == frozenset()


def snapshot_of(spec: ConfigSpec) -> Snapshot:
    """Build the snapshot of a configuration whose routes are as they begin."""
    return build(SnapshotSpec(revision=1, config=spec, flags={}))


def test_a_cohort_that_nobody_defines_is_nobody() -> None:
    """A flag may still name a cohort that the configuration has lost; everybody then gets the route's stage."""
    assert decide(snapshot(apart(flag("legacy"), ghosts="live")), fields(x_staff="1")).reason == "stage"


@pytest.mark.parametrize("stage", ["complete", "gone"])
def test_complete_and_gone_are_for_everybody(stage: str) -> None:
    """Where legacy is never asked, or nobody is answered, no cohort has it otherwise."""
    decision = decide(snapshot(apart(flag(stage), staff="legacy")), fields(x_staff="1"))

    assert (decision.side, decision.status) == (("new", 0) if stage == "complete" else ("none", 410))


PINNING = route("orders", pin_ns=30 * 10**9)


@pytest.mark.parametrize("side", list(Side))
def test_a_pin_keeps_reads_on_the_side_that_answered_the_write(side: Side) -> None:
    """In a canary a pinned client reads from its side whatever its bucket says; its writes follow the bucket."""
    one = snapshot(flag("canary", 3_000))
    other = "legacy" if side is Side.NEW else "new"
    client = pinned(side, x_user=key_on(other, 3_000))

    read, write = decide(one, client), decide(one, client, "POST")

    assert (read.side, read.reason, read.copy_side) == (side.value, "pin", other)
    assert (write.side, write.reason) == (other, "bucket")
    assert write.issue_pin
    assert not read.issue_pin


def walked(*steps: Flag | Hold, before: Snapshot | None = None) -> Snapshot:
    """Build one snapshot after the other, as a worker does, five seconds before each other; the last one at NOW."""
    one = before or snapshot(flag("canary", 5_000))
    for number, step in enumerate(steps, start=1):
        now = NOW - 5 * (len(steps) - number)
        flags = one.spec.flags if isinstance(step, Hold) else {"orders": step}
        spec = dataclasses.replace(one.spec, flags=flags, revision=one.revision + 1)
        one = build(spec, (step,) if isinstance(step, Hold) else (), one, clock=partial(float, now))
    return one


@pytest.mark.parametrize(
    ("steps", "side", "heard"),
    [
        ((flag("legacy"), flag("canary", 5_000)), Side.NEW, False),
        ((flag("legacy"), flag("canary", 5_000)), Side.LEGACY, True),
        ((flag("shadow"), flag("canary", 5_000), flag("canary", 6_000)), Side.NEW, False),
        ((flag("canary", 0), flag("canary", 5_000)), Side.NEW, False),
        ((flag("canary", 0), flag("canary", 5_000)), Side.LEGACY, True),
        ((Hold(route="orders"), flag("canary", 5_000)), Side.NEW, False),
        ((Hold(route="orders", keep_copying=True), flag("canary", 5_000)), Side.NEW, False),
        ((flag("complete"), flag("canary", 5_000)), Side.LEGACY, False),
        ((flag("complete"), flag("canary", 5_000)), Side.NEW, True),
        ((flag("gone"), flag("canary", 5_000)), Side.NEW, False),
        ((flag("canary", 1), flag("canary", 10_000)), Side.NEW, True),
        ((flag("canary", 10_000), flag("live")), Side.LEGACY, True),
        ((flag("live"), flag("canary", 5_000)), Side.NEW, True),
        ((apart(flag("canary", 5_000), staff="shadow"), flag("canary", 5_000)), Side.NEW, False),
        ((apart(flag("canary", 5_000), staff="live"), flag("canary", 6_000)), Side.NEW, True),
    ],
)
def test_whoever_is_taken_from_a_side_leaves_its_pins_behind(
    steps: tuple[Flag | Hold, ...], side: Side, heard: bool
) -> None:
    """A rollback or a hold ends what was pinned to new for good; raised percents, live and its way back end nothing."""
    one = walked(*steps)

    assert (decide(one, pinned(side, x_staff="1")).reason == "pin") is heard


def test_a_pin_that_is_issued_after_a_rollback_counts() -> None:
    """A new canary pins its writers again, and what else changes then, such as switched-off copies, ends nothing."""
    old = walked(flag("legacy"), before=snapshot(flag("canary", 5_000)))
    again = build(dataclasses.replace(old.spec, flags={"orders": flag("canary", 1)}), (), old, clock=lambda: NOW + 1)
    last = build(dataclasses.replace(again.spec, copying_off=("orders",)), (), again, clock=lambda: NOW + 3)
    pin = last.routes["orders"].pin
    assert pin is not None

    for issued, heard in ((NOW - 1, False), (NOW, False), (NOW + 1, True), (NOW + 2, True)):
        client = fields(cookie=f"{pin.cookie.decode()}={pin.value(Side.NEW, issued).decode()}")
        assert (decide(last, client).reason == "pin") is heard, issued - NOW


def test_a_worker_that_begins_in_legacy_hears_no_pin_from_before() -> None:
    """A worker that was started after the rollback and before the new canary knows what it has not seen."""
    one = walked(flag("canary", 5_000), before=snapshot(flag("legacy")))
    staffed = walked(flag("canary", 5_000), before=snapshot(apart(flag("legacy"), staff="live")))

    assert decide(one, pinned(Side.NEW)).reason != "pin"
    assert decide(staffed, pinned(Side.NEW)).reason == "pin"


def test_a_declared_read_follows_a_pin() -> None:
    """A search by POST that the route declares to be a read is a read for pins, too."""
    spec = dataclasses.replace(PINNING, shadow=ShadowSpec(reads=("POST",)))
    one = snapshot(flag("canary", 0), spec)

    assert decide(snapshot(flag("canary", 1), spec), pinned(Side.NEW), "POST").reason == "pin"
    assert decide(one, pinned(Side.LEGACY), "POST").reason == "pin"


@pytest.mark.parametrize(
    ("one", "side", "heard"),
    [
        (flag("canary", 1), Side.NEW, True),
        (flag("canary", 0), Side.NEW, False),
        (flag("canary", 0), Side.LEGACY, True),
        (flag("canary", 10_000), Side.LEGACY, True),
        (flag("live"), Side.LEGACY, True),
        (flag("live"), Side.NEW, False),
        (flag("shadow"), Side.NEW, False),
        (flag("legacy"), Side.NEW, False),
        (flag("complete"), Side.LEGACY, False),
        (flag("gone"), Side.LEGACY, False),
        (apart(flag("live"), staff="shadow"), Side.NEW, False),
        (apart(flag("shadow"), staff="live"), Side.LEGACY, True),
    ],
)
def test_a_pin_is_heard_only_where_its_side_still_answers(one: Flag, side: Side, heard: bool) -> None:
    """A raised percent and live keep who wrote to legacy; a step back to 0 %, shadow or legacy keeps nobody on new."""
    staff = pinned(side, x_staff="1")

    decision = decide(snapshot(one), staff)

    assert (decision.reason == "pin") is heard
    if not heard and decision.status == 0:
        assert decision.side == ("new" if decide(snapshot(one), fields(x_staff="1")).side == "new" else "legacy")


@pytest.mark.parametrize("value", ["", "n.9999999999.AAAAAAAAAAAAAAAAAAAAAA", "n", "l.1.x"])
def test_a_forged_pin_is_no_pin(value: str) -> None:
    """What we did not sign is ignored, without an error; so is a pin of another journey, and one that has ended."""
    one = snapshot(flag("canary", 5_000))
    name = pin_of("salt", 1, ()).cookie.decode()

    assert decide(one, fields(cookie=f"{name}={value}")).reason == "no_key"
    assert decide(one, pinned(Side.NEW, salt="cart")).reason == "no_key"
    late = snapshot(flag("canary", 5_000), clock=lambda: NOW + 20)
    assert decide(late, pinned(Side.NEW)).reason == "no_key"
    timeless = build(one.spec)
    assert decide(timeless, pinned(Side.NEW)).reason == "no_key"


def test_a_pin_falls_back_as_its_canary_does() -> None:
    """A read that is pinned to new goes to legacy when new fails, if the route allows it."""
    from config.spec import FallbackSpec

    spec = dataclasses.replace(PINNING, fallback=FallbackSpec(connect=True))

    assert decide(snapshot(flag("canary", 500), spec), pinned(Side.NEW)).fallback_backend == "legacy-app"
    assert decide(snapshot(flag("canary", 500), spec), pinned(Side.LEGACY)).fallback_backend is None


def test_pins_are_set_in_a_canary_only_and_stripped_wherever_the_route_pins() -> None:
    """Only a canary has two sides to write to; but every stage of the route keeps pins from its backends."""
    for stage in Stage:
        decision = decide(snapshot(flag(stage, 500)), fields(x_user="1"), "POST")
        assert (decision.issue_pin is not None) is (stage is Stage.CANARY)
        assert not decision.shows_pins
        for method in ("GET", "POST"):
            assert decide(snapshot(flag(stage, 500)), pinned(Side.NEW, salt="anybody's"), method).shows_pins
    bare = decide(snapshot(flag("canary", 500), route("orders")), pinned(Side.NEW, x_user="1"), "POST")
    assert bare.issue_pin is None
    assert not bare.shows_pins


ORDER = [
    # hold, gone, override, pin, cohort, stage: the first that is there decides.
    ({"hold"}, "hold"),
    ({"hold", "gone"}, "hold"),
    ({"hold", "override", "pin", "cohort"}, "hold"),
    ({"gone", "override", "pin", "cohort"}, "gone"),
    ({"override", "pin", "cohort"}, "override"),
    ({"override", "pin"}, "override"),
    ({"pin", "cohort"}, "pin"),
    ({"pin"}, "pin"),
    ({"cohort"}, "cohort"),
    (set(), "bucket"),
]


@pytest.mark.parametrize(
    ("there", "decides"), ORDER, ids=lambda value: value if isinstance(value, str) else "+".join(sorted(value))
)
def test_the_order_of_what_rules_a_request(there: set[str], decides: str) -> None:
    """A hold beats gone, gone an override, an override a pin, a pin a cohort, and a cohort the stage."""
    everybody = flag("gone") if "gone" in there else flag("canary", 3_000)
    headers = {"x_user": key_on("new", 3_000)}
    if "override" in there:
        headers["x_side"] = "new s3cret"
    if "cohort" in there:
        headers["x_staff"] = "1"
    asked = pinned(Side.LEGACY, **headers) if "pin" in there else fields(**headers)
    held = (Hold(route="orders"),) if "hold" in there else ()

    decision = decide(snapshot(apart(everybody, staff="live"), holds=held), asked)

    assert decision.reason == decides
    sides = {"hold": "legacy", "gone": "none", "override": "new", "pin": "legacy", "cohort": "new", "bucket": "new"}
    assert decision.side == sides[decides]


@pytest.mark.parametrize("value", ["new wrong", "new", "legacy", "s3cret", "new s3cret "])
def test_a_wrong_override_changes_nothing_for_cohorts_and_pins(value: str) -> None:
    """Without the exact token the header is as good as absent, whatever else the request shows."""
    one = snapshot(apart(flag("shadow"), staff="live"))

    assert decide(one, fields(x_side=value, x_staff="1")).reason == "cohort"
    assert decide(one, fields(x_side=value)).reason == "stage"


def test_a_held_route_has_no_cohorts_and_no_pins() -> None:
    """A hold sends everybody to legacy, and with copies kept it copies for everybody alike."""
    one = snapshot(apart(flag("canary", 9_000), staff="live"), holds=(Hold(route="orders", keep_copying=True),))

    for headers in (fields(), fields(x_staff="1"), pinned(Side.NEW)):
        decision = decide(one, headers)
        assert (decision.side, decision.reason, decision.copy_side) == ("legacy", "hold", "new")


def test_every_side_that_may_answer_counts_for_ambiguous_targets() -> None:
    """A route whose staff are elsewhere has two answers, so readings onto it are told apart."""
    apart_route = snapshot(apart(flag("legacy"), staff="live")).routes["orders"]
    pinned_route = snapshot(flag("live")).routes["orders"]
    plain = snapshot(flag("live"), route("orders")).routes["orders"]

    assert apart_route.answers == pinned_route.answers == {(0, "legacy-app"), (0, "new-app")}
    assert plain.answers == {(0, "new-app")}


def test_a_request_that_nobody_treats_apart_costs_no_more() -> None:
    """Without cohorts and pins a decision is the same shared object as ever."""
    one = snapshot(flag("live"), route("orders"))

    assert decide(one) is decide(one)
    assert one.routes["orders"].fixed is not None
    assert one.routes["orders"].audiences == ()
    assert one.routes["orders"].clues is None


def test_secrets_are_read_with_the_configuration_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """A flip needs no secret of cohorts and pins anew; a configuration without its secret is refused by name."""
    one = snapshot(apart(flag("canary", 500), staff="live"))
    monkeypatch.delenv("TEST_PIN")
    changed = dataclasses.replace(one.spec, revision=8, flags={"orders": flag("canary", 1_000)})

    flipped = build(changed, (), one, clock=lambda: NOW)

    monkeypatch.setenv("TEST_PIN", "pinned")
    assert decide(flipped, pinned(Side.LEGACY)).reason == "pin"
    monkeypatch.delenv("TEST_PIN")
    with pytest.raises(SnapshotError, match="pins cannot be signed"):
        build(one.spec)
