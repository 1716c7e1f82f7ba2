"""Prove that a new configuration never loses a flag by accident, and that its changes are told."""

from __future__ import annotations

import pickle
from dataclasses import replace

import pytest

from config.spec import (
    AddressSpec,
    BackendSpec,
    CohortSpec,
    CohortStageSpec,
    MatchSpec,
    MemberSpec,
    RouteSpec,
    RuleSpec,
    ShadowSpec,
    TokenSpec,
    ToleranceSpec,
    WebhookSpec,
)
from rules import CohortFlag, Flag, OrphanError, SnapshotSpec, Stage, carry_flags, diff, needs_restart
from rules.reload import undropped
from tests.rules.made import config, flag, route


def before(*routes: RouteSpec, **flags: Flag) -> SnapshotSpec:
    """Make the snapshot that is in force before a reload."""
    return SnapshotSpec(revision=1, config=config(*routes), flags=flags)


def test_a_reload_keeps_every_flag() -> None:
    """Routes that stay keep what operators decided; new ones start with their initial flag."""
    live = flag("live", salt="old-salt")

    flags = carry_flags(before(route("a"), a=live), config(route("a", initial_stage="shadow"), route("b")))

    assert flags == {"a": live, "b": Flag(stage=Stage.LEGACY, salt="b")}


def test_the_first_start_has_initial_flags() -> None:
    """Without anything in force every route starts with its initial flag."""
    assert carry_flags(None, config(route("a", initial_stage="shadow"))) == {"a": flag("shadow", salt="a")}


def test_was_moves_the_flag_with_its_salt() -> None:
    """A renamed route takes its flag along, and no client moves."""
    canary = flag("canary", 500, salt="orders")

    flags = carry_flags(before(route("orders"), orders=canary), config(route("purchases", was="orders")))

    assert flags == {"purchases": canary}


def test_was_is_spent_once_the_route_has_a_flag() -> None:
    """A ``was`` that stays in the file does nothing on the next reload, nor while the old route is still declared."""
    old = before(route("purchases"), purchases=flag("live"), orders=flag("legacy"))
    assert carry_flags(old, config(route("purchases", was="orders")))["purchases"].stage is Stage.LIVE

    both = before(route("orders"), orders=flag("live"))
    flags = carry_flags(both, config(route("orders"), route("copy", was="orders")))
    assert [flags[name].stage for name in ("orders", "copy")] == [Stage.LIVE, Stage.LEGACY]


@pytest.mark.parametrize("mode", ["database", "file"])
def test_a_flag_beyond_legacy_is_never_orphaned(mode: str) -> None:
    """Dropping routes that have moved on is refused in one sentence that names all of them and both ways out."""
    old = before(route("a"), route("b"), route("c"), a=flag("live"), b=flag("shadow"), c=flag("legacy"))

    with pytest.raises(OrphanError) as caught:
        carry_flags(old, config(route("aa"), flags=mode))

    assert caught.value.routes == ("a", "b")
    for part in (
        "'a' is in stage 'live'",
        "`was: a` in route 'aa'",
        "--drop a",
        "'b' is in stage 'shadow'",
        "--drop b",
    ):
        assert part in str(caught.value)
    assert pickle.loads(pickle.dumps(caught.value)).routes == ("a", "b")


def test_a_flag_may_be_dropped_on_purpose() -> None:
    """With the route's name in ``drop`` the flag may go; one on legacy goes without asking."""
    old = before(route("a"), route("b"), a=flag("gone"), b=flag("legacy"))

    assert carry_flags(old, config(), drop=["a"]) == {}


def test_a_name_that_drops_nothing_is_told() -> None:
    """A name that no route has, and one that is still in the file, are named with the reason; one that goes is not."""
    told = undropped(["order", "nix", "cart", "old"], {"orders", "cart", "old"}, config(route("orders"), route("cart")))

    assert told == [
        "--drop order did nothing: there is no route of this name; did you mean orders?",
        "--drop nix did nothing: there is no route of this name; it has gone already, or was never there",
        "--drop cart did nothing: the route is in the configuration and keeps its flag",
    ]


def test_a_flag_that_the_new_sides_cannot_carry_is_refused() -> None:
    """Taking away the new side of a canary, or the legacy side of a shadowed route, is refused."""
    old = before(route("a"), route("b"), a=flag("canary", 500), b=flag("shadow"))

    with pytest.raises(OrphanError) as caught:
        carry_flags(old, config(route("a", new=None), route("b", legacy=None)))

    assert "'a' is in stage 'canary' but has no new backend" in str(caught.value)
    assert "'b' is in stage 'shadow' but has no legacy backend" in str(caught.value)


def test_with_flags_in_the_file_the_file_rules_and_the_salt_stays() -> None:
    """With ``flags: file`` stage and shares come from the file, and clients keep their buckets."""
    spec = route("b", was="a", initial_stage="canary", initial_percent_bp=900, shadow=ShadowSpec(sample_bp=100))

    flags = carry_flags(before(route("a"), a=flag("live", salt="first")), config(spec, flags="file"))

    assert flags == {"b": flag("canary", 900, sample_bp=100, salt="first")}


def test_a_reload_says_what_needs_a_restart() -> None:
    """Listening addresses, process counts and files cannot change by reload; everything else can."""
    one = config(route("a"))
    address = AddressSpec(host="127.0.0.1", port=9)

    assert needs_restart(one, config(route("b"), undeclared=None, access_log=False)) == []
    assert needs_restart(one, config(listen=(address,), workers=2, state_dir="/x", database="postgresql://")) == [
        "listen",
        "state_dir",
        "database",
        "workers",
    ]


def test_the_diff_is_one_line_per_change() -> None:
    """Added, removed and changed things are listed by name, with the old and the new value."""
    shop = BackendSpec(name="shop", scheme="http", host="shop", port=80)
    old = config(route("a"), route("b", "/b"), backends=(shop,), digest="1")
    changed = route(
        "a", match=[MatchSpec(path="/a/{id}", methods=("GET",))], journey="j", shadow=ShadowSpec(sample_bp=5)
    )
    new = config(route("c", "/c", "/d"), changed, backends=(), undeclared=None, digest="2")

    assert diff(old, new) == [
        "- backend shop",
        "~ route a: match: [{path: /a}] -> [{path: /a/{id}, methods: [GET]}]",
        "~ route a: journey: none -> j",
        "~ route a: shadow.sample: none -> 0.05%",
        "~ route a: evidence for its gate begins anew",
        "- route b",
        "+ route c: /c, /d, legacy-app -> new-app",
        "~ undeclared: legacy-app -> none",
    ]


def test_the_diff_holds_no_part_of_a_url_that_may_be_secret() -> None:
    """Of a webhook's URL the diff, which stands in the audit for ever, names the host: the path is often a secret."""
    urls = (
        "https://hooks.example/T0/SEKRET?k=SEKRET",
        "https://new.example:8443",
        "https://u:SEKRET@x.example/SEKRET@y",
    )
    one, two, three = (config(route("a"), webhooks=(WebhookSpec(url=url, secret="env:HOOK"),)) for url in urls)

    assert diff(one, two) == [
        "~ webhooks: [{url: https://hooks.example/…, secret: env:HOOK}] -> "
        "[{url: https://new.example:8443, secret: env:HOOK}]"
    ]
    assert "SEKRET" not in "".join(diff(two, three) + diff(three, one))


def test_the_diff_holds_no_hash_of_a_token() -> None:
    """Who reads the audit holds no guesses against a token: its name and role stand there, its hash does not."""
    token = TokenSpec(name="boss", role="admin", token="sha256:" + "6" * 64)
    one = config(route("a"))
    two = replace(one, admin=replace(one.admin, tokens=(token,)))

    assert diff(one, two) == ["~ admin.tokens: [] -> [{name: boss, role: admin, token: sha256:… (changed)}]"]


@pytest.mark.parametrize(("flags", "prefix"), [("database", "initial_"), ("file", "")])
def test_the_diff_speaks_as_the_file_does(flags: str, prefix: str) -> None:
    """Keys and numbers stand in the diff as in the file: `percent: 5%` where it rules, durations with their unit."""
    old, new = (
        config(
            route("a", initial_stage=stage, initial_percent_bp=share, quiet_ns=quiet_s * 10**9),
            flags=flags,
            stuck_after_ns=quiet_s * 10**9,
        )
        for stage, share, quiet_s in (("shadow", 0, 86_400), ("canary", 550, 5_400))
    )

    assert diff(old, new) == [
        f"~ route a: {prefix}stage: shadow -> canary",
        f"~ route a: {prefix}percent: 0% -> 5.5%",
        "~ route a: quiet: 1d -> 90m",
        "~ stuck_after: 1d -> 90m",
    ]


def test_the_order_of_routes_is_no_change() -> None:
    """Moving a route within the file changes nothing."""
    assert diff(config(route("a"), route("b")), config(route("b"), route("a"))) == []


def test_tolerances_that_come_and_go_are_said_one_by_one() -> None:
    """A reload says which differences it permits from now on, which no longer, and who answers for each."""
    clock = ToleranceSpec(id="t-1", route="a", path="$.at", reason="clock", owner="shop", expires="2027-01-31")
    total = ToleranceSpec(
        id="t-2", route="a", path="$.x", rule=RuleSpec(name="uuid"), reason="ids", owner="web", expires="2027-01-31"
    )
    order = ToleranceSpec(id="t-3", route="", cause="key_order", reason="maps", owner="shop", expires="2027-01-31")
    old = config(route("a", tolerate=(clock, total)))
    new = config(route("a", tolerate=(replace(clock, expires="2028-01-31"),)), tolerate=(order,))

    assert diff(old, new) == [
        "~ route a: no longer tolerated: $.x with the rule uuid until 2027-01-31 (web: ids)",
        "~ route a: still tolerated: $.at until 2028-01-31 (shop: clock)",
        "~ tolerated: key_order until 2027-01-31 (shop: maps)",
    ]


STAFF = CohortSpec(name="staff", match=(MemberSpec(header="x-staff"),))
LIVE = CohortStageSpec(name="staff", stage="live")
OWN = {"staff": CohortFlag(stage=Stage.LIVE, sample_bp=100)}


def test_a_cohort_is_born_once_and_keeps_what_was_flipped() -> None:
    """A cohort that a route newly names begins with its first stage; later reloads leave the flag alone."""
    bare, named = route("a"), route("a", cohorts=(LIVE,))
    old = before(bare, a=flag("shadow"))

    born = carry_flags(old, config(named, cohorts=(STAFF,)))["a"]
    ended = carry_flags(
        SnapshotSpec(revision=1, config=config(named, cohorts=(STAFF,)), flags={"a": flag("shadow")}),
        config(named, cohorts=(STAFF,)),
    )["a"]
    late = carry_flags(before(bare, a=flag("complete")), config(named, cohorts=(STAFF,)))["a"]

    assert born == replace(flag("shadow"), cohorts=OWN)
    assert ended.cohorts == late.cohorts == {}
    assert carry_flags(None, config(named, cohorts=(STAFF,)))["a"].cohorts == OWN


def test_with_flags_in_the_file_the_file_rules_cohorts_too() -> None:
    """With ``flags: file`` a cohort has the stage that the file says, and none that it does not say."""
    held = replace(flag("shadow", salt="a"), cohorts={"beta": CohortFlag(stage=Stage.SHADOW)})

    flags = carry_flags(before(route("a"), a=held), config(route("a", cohorts=(LIVE,)), cohorts=(STAFF,), flags="file"))

    assert flags["a"].cohorts == OWN


def test_a_cohorts_stage_is_never_orphaned_or_stranded() -> None:
    """A route on legacy whose staff have moved on is not lost by accident, nor left without the side they are on."""
    old = before(route("a"), a=replace(flag("legacy"), cohorts=OWN))

    with pytest.raises(OrphanError, match="'a' is in stage 'legacy' with the cohort staff in 'live' and no longer in"):
        carry_flags(old, config(cohorts=(STAFF,)))
    with pytest.raises(OrphanError, match="but has no new backend"):
        carry_flags(old, config(route("a", new=None), cohorts=(STAFF,)))
