"""Prove how one request is decided, and that snapshots travel whole."""

from __future__ import annotations

import dataclasses
import math

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.spec import MatchSpec, OverrideSpec, ToleranceSpec
from rules import (
    AMBIGUOUS,
    Decision,
    FieldList,
    Hold,
    Snapshot,
    SnapshotError,
    SnapshotSpec,
    Stage,
    bucket_of,
    build,
    decode,
    draw_of,
    encode,
)
from tests.rules.made import NO_FIELDS, config, fields, flag, route, snapshot

ID = b"0000000000000000000000000000002a"
OVERRIDE = OverrideSpec(header="x-matapalo-side", token="env:TEST_SIDE_TOKEN")


def decide(
    one: Snapshot, target: str, headers: FieldList = NO_FIELDS, method: str = "GET", request_id: bytes = ID
) -> tuple[Decision, int]:
    """Decide a request as a worker does."""
    return one.decide(method.encode(), target.encode(), headers, "192.0.2.7", request_id)


def test_a_request_is_decided_by_its_route() -> None:
    """A matched request gets its route's decision, with the route's name, number and policy."""
    one = snapshot(route("cart"), route("orders"), flags={"orders": flag("shadow")})

    decision, bucket = decide(one, "/orders?x=1")

    assert (decision.route, decision.index, decision.side, decision.sampled) == ("orders", 2, "legacy", True)
    assert decision.spec == one.routes["orders"].spec
    assert bucket == -1


def test_a_repeated_decision_is_the_same_object() -> None:
    """Deciding allocates nothing where no bucket is involved: equal requests share one decision."""
    one = snapshot(route("orders"), flags={"orders": flag("shadow")})

    assert decide(one, "/orders") is decide(one, "/orders")


def test_undeclared_paths_go_where_the_configuration_says() -> None:
    """What no route matches goes raw to the undeclared backend, or is answered 404 without one."""
    forwarded, _ = decide(snapshot(route("orders")), "/else")
    refused, _ = decide(snapshot(route("orders"), undeclared=None), "/else")

    assert (forwarded.route, forwarded.index, forwarded.side, forwarded.backend) == ("-", 0, "undeclared", "legacy-app")
    assert (refused.status, refused.side, refused.reason) == (404, "none", "undeclared")
    assert not forwarded.eligible


def test_a_canary_follows_the_bucket() -> None:
    """In a canary the client's bucket decides, and the bucket is told."""
    one = snapshot(route("orders"), flags={"orders": flag("canary", 3_000, salt="orders")})

    for number in range(200):
        key = str(number)
        decision, bucket = decide(one, "/orders", fields(x_user=key))
        assert bucket == bucket_of("orders", key.encode())
        assert decision.side == ("new" if bucket >= 7_000 else "legacy")
        assert decision.reason == "bucket"


def test_without_a_key_a_canary_stays_on_legacy() -> None:
    """A client without any key of the list is answered by legacy, even at 100 percent."""
    one = snapshot(route("orders"), flags={"orders": flag("canary", 10_000)})

    decision, bucket = decide(one, "/orders")

    assert (decision.side, decision.reason, bucket) == ("legacy", "no_key", -1)


def test_the_first_present_source_is_the_key() -> None:
    """The sticky list is tried in order, and later sources only count when earlier ones are absent."""
    spec = route("orders", sticky=("header:x-user", "cookie:sid", "ip"))
    one = snapshot(spec, flags={"orders": flag("canary", 5_000, salt="s")})

    assert decide(one, "/orders", fields(x_user="1", cookie="sid=2"))[1] == bucket_of("s", b"1")
    assert decide(one, "/orders", fields(cookie="sid=2"))[1] == bucket_of("s", b"2")
    assert decide(one, "/orders")[1] == bucket_of("s", b"192.0.2.7")


def test_an_issued_cookie_places_the_request_that_gets_it() -> None:
    """The cookie's value is the request id, and the client's next request lands in the same bucket."""
    spec = route("orders", sticky=("header:x-user", "issued_cookie"))
    one = snapshot(spec, flags={"orders": flag("canary", 5_000)})

    for number in range(50):
        request_id = b"%032x" % number
        first, bucket = decide(one, "/orders", request_id=request_id)
        cookie = fields(cookie=f"a=b; matapalo_client={request_id.decode()}")
        second, later = decide(one, "/orders", cookie, request_id=b"another")
        assert first.issue_cookie
        assert not second.issue_cookie
        assert (first.side, bucket) == (second.side, later)
    assert not decide(one, "/orders", fields(x_user="1"))[0].issue_cookie


def test_no_cookie_is_issued_outside_a_canary() -> None:
    """Only a canary needs to know its clients, so only a canary sets the cookie."""
    spec = route("orders", sticky=("issued_cookie",))
    for stage in Stage:
        decision, _ = decide(snapshot(spec, flags={"orders": flag(stage, 5_000)}), "/orders")
        assert decision.issue_cookie is (stage is Stage.CANARY)


def test_the_sample_is_half_open_and_fair() -> None:
    """A request is copied when its draw is below the sample: 0 none, 100 percent all, between as asked."""
    ids = [b"%032x" % (number * 7919) for number in range(4_000)]
    for sample_bp in (0, 1, 2_500, 10_000):
        one = snapshot(route("orders"), flags={"orders": flag("shadow", sample_bp=sample_bp, salt="orders")})
        sampled = [decide(one, "/orders", request_id=request_id)[0].sampled for request_id in ids]
        assert sampled == [draw_of("orders", request_id) < sample_bp for request_id in ids]
        share = sample_bp / 10_000
        assert abs(sum(sampled) - 4_000 * share) <= 3 * math.sqrt(4_000 * share * (1 - share)) + 1


def test_a_draw_equal_to_the_sample_is_not_copied() -> None:
    """The sample is half-open at the top: the request whose draw equals it stays uncopied."""
    draw = draw_of("orders", ID)

    for sample_bp, copied in ((draw, False), (draw + 1, True)):
        one = snapshot(route("orders"), flags={"orders": flag("shadow", sample_bp=sample_bp, salt="orders")})
        assert decide(one, "/orders")[0].sampled is copied


def test_unsafe_methods_are_never_copied() -> None:
    """A POST is forwarded like everything else, but never eligible for a copy."""
    one = snapshot(route("orders"), flags={"orders": flag("shadow")})

    for method in ("POST", "PUT", "PATCH", "DELETE", "PURGE", "get"):
        assert not decide(one, "/orders", method=method)[0].eligible
    for method in ("GET", "HEAD", "OPTIONS", "TRACE"):
        assert decide(one, "/orders", method=method)[0].sampled


def test_copying_is_switched_off_for_one_route_or_everywhere() -> None:
    """``shadow off`` reaches the named routes, and the star all of them."""
    flags = {"a": flag("shadow"), "b": flag("shadow")}

    one = snapshot(route("a"), route("b"), flags=flags, copying_off=("a",))
    everywhere = snapshot(route("a"), route("b"), flags=flags, copying_off=("*",))

    assert [decide(one, path)[0].skip for path in ("/a", "/b")] == ["off", ""]
    assert [decide(everywhere, path)[0].skip for path in ("/a", "/b")] == ["off", "off"]


def test_the_override_beats_the_stage_and_the_hold_beats_the_override(monkeypatch: pytest.MonkeyPatch) -> None:
    """A valid override chooses the side; a hold, a complete and a gone route do not hear it."""
    monkeypatch.setenv("TEST_SIDE_TOKEN", "s3cret")
    flags = {"orders": flag("legacy"), "held": flag("live"), "gone": flag("gone"), "complete": flag("complete")}
    one = snapshot(*map(route, flags), flags=flags, holds=[Hold(route="held")], override=OVERRIDE)
    new = fields(x_matapalo_side="new s3cret")

    assert (decide(one, "/orders", new)[0].side, decide(one, "/orders", new)[0].reason) == ("new", "override")
    assert (decide(one, "/held", new)[0].side, decide(one, "/held", new)[0].reason) == ("legacy", "hold")
    assert decide(one, "/gone", new)[0].status == 410
    for side in ("legacy", "new"):
        complete = decide(one, "/complete", fields(x_matapalo_side=f"{side} s3cret"))[0]
        assert (complete.side, complete.reason) == ("new", "stage")
    assert decide(one, "/else", new)[0].side == "undeclared"


@pytest.mark.parametrize(
    "value", ["new", "new ", "new wrong", "NEW s3cret", "new s3cretx", "s3cret", "", "n\u00e9w s3cret"]
)
def test_an_override_needs_the_exact_token(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    """A header with a wrong token or side is as good as none."""
    monkeypatch.setenv("TEST_SIDE_TOKEN", "s3cret")
    one = snapshot(route("orders"), flags={"orders": flag("legacy")}, override=OVERRIDE)

    assert decide(one, "/orders", fields(x_matapalo_side=value))[0].reason == "stage"


def test_an_override_works_in_a_canary_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a canary the override decides before any key is looked for."""
    monkeypatch.setenv("TEST_SIDE_TOKEN", "s3cret")
    one = snapshot(route("orders"), flags={"orders": flag("canary", 0)}, override=OVERRIDE)

    decision, bucket = decide(one, "/orders", fields(x_matapalo_side="new s3cret", x_user="1"))

    assert (decision.side, decision.copy_side, bucket) == ("new", "legacy", -1)


def test_a_missing_override_token_is_said_when_building() -> None:
    """Without the override's secret there is no snapshot, and the sentence names the reference."""
    with pytest.raises(SnapshotError, match="TEST_SIDE_TOKEN_MISSING"):
        snapshot(route("a"), override=OverrideSpec(header="x-side", token="env:TEST_SIDE_TOKEN_MISSING"))


def test_a_hold_needs_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    """A snapshot is joined with other holds although the override's token has gone; the override goes on."""
    monkeypatch.setenv("TEST_SIDE_TOKEN", "s3cret")
    one = snapshot(route("orders"), flags={"orders": flag("live")}, override=OVERRIDE)
    monkeypatch.delenv("TEST_SIDE_TOKEN")

    held = build(one.spec, [Hold(route="orders")], one)

    assert decide(held, "/orders")[0].side == "legacy"
    assert held.override is one.override


def test_a_flip_compiles_what_it_touches_only() -> None:
    """Routes whose flag, hold and switch stay are taken over; the result is the one that is built from nothing."""
    one = snapshot(*map(route, ("a", "b", "c", "d")), flags={"a": flag("shadow"), "b": flag("live")})
    changed = dataclasses.replace(one.spec, revision=9, flags={**one.spec.flags, "a": flag("live")}, copying_off=("b",))

    flipped, anew = build(changed, [Hold(route="c")], one), build(changed, [Hold(route="c")])

    assert [name for name in "abcd" if flipped.routes[name] is one.routes[name]] == ["d"]
    assert dict(flipped.routes) == dict(anew.routes)
    assert flipped.revision == 9
    assert [decide(flipped, f"/{name}") for name in "abcd"] == [decide(anew, f"/{name}") for name in "abcd"]


def test_another_configuration_takes_nothing_over() -> None:
    """After a reload every route is compiled anew, and a configuration that ties is refused as ever."""
    one = snapshot(route("a"), route("b"))
    tied = dataclasses.replace(one.spec, config=config(route("a"), route("b", "/a")))

    with pytest.raises(SnapshotError, match="the routes cannot be used"):
        build(tied, (), one)


MIXED = {"admin": flag("legacy"), "public": flag("live")}


def test_an_ambiguous_target_is_refused_where_its_readings_differ() -> None:
    """A target that the backend could read onto another backend's route is refused with 400."""
    one = snapshot(route("public", "/public/**"), route("admin", "/admin/**"), flags=MIXED)

    for target in (
        "/public/../admin/x",
        "/public/..%2fadmin",
        "/public/%2e%2e/admin/",
        "/public\\..\\admin",
        "/public//../../admin",
    ):
        decision, _ = decide(one, target)
        assert (decision.status, decision.reason, decision.backend) == (400, "ambiguous_target", None)
        assert one.match(b"GET", target.encode(), NO_FIELDS) is AMBIGUOUS


def test_an_odd_target_is_served_where_every_reading_has_the_same_answer() -> None:
    """Dot segments, double slashes and escapes inside one route, or between routes of one backend, are forwarded."""
    one = snapshot(
        route("public", "/public/**"),
        route("files", "/files/**"),
        route("admin", "/admin/**"),
        flags={"public": flag("live"), "files": flag("live"), "admin": flag("legacy")},
    )

    for target in ("/public/a/../b", "/public/a;v=1/b", "/public/a%2Fb", "/public/x//y", "/public/../files/x"):
        decision, _ = decide(one, target)
        assert (decision.route, decision.ambiguous) == ("public", False)


def test_two_canaries_differ_even_on_the_same_backends() -> None:
    """One client may be on different sides of two canaries, so their readings count as different."""
    flags = {"a": flag("canary", 5_000), "b": flag("canary", 5_000)}
    one = snapshot(route("a", "/a/**"), route("b", "/b/**"), flags=flags)

    assert decide(one, "/a/../b/x")[0].status == 400
    assert decide(one, "/a/x/../y", fields(x_user="1"))[0].status == 0


def test_day_one_breaks_nothing() -> None:
    """While legacy answers everything, no target is refused, however odd."""
    one = snapshot(route("a", "/a/**"), route("b", "/b/{id:int}"), flags={"a": flag("legacy"), "b": flag("shadow")})

    for target in ("/a/../b/1", "//b/1", "/a%2f..%2fb", "/a;x/../\\b%00", "/%" + "25" * 3_000, "/" + ";" * 9_000):
        assert decide(one, target)[0].backend == "legacy-app"


def test_report_counts_what_would_be_refused() -> None:
    """With ``strict: report`` an ambiguous target is served by its raw reading and marked."""
    one = snapshot(route("public", "/public/**"), route("admin", "/admin/**"), flags=MIXED, strict="report")

    odd, _ = decide(one, "/public/../admin/x")
    plain, _ = decide(one, "/public/x")

    assert (odd.route, odd.backend, odd.ambiguous, odd.status) == ("public", "new-app", True, 0)
    assert not plain.ambiguous
    assert one.match(b"GET", b"/public/../admin/x", NO_FIELDS) is one.routes["public"]


TARGETS = st.one_of(
    st.binary(max_size=60),
    st.lists(
        st.sampled_from(
            (b"/", b"..", b".", b"public", b"admin", b"%2f", b"%5c", b"%252e", b";", b"\\", b"%00", b"?", b"%", b"\xff")
        ),
        max_size=10,
    ).map(lambda parts: b"/" + b"".join(parts)),
)


@given(st.binary(max_size=8), TARGETS, st.lists(st.tuples(st.binary(max_size=8), st.binary(max_size=30)), max_size=4))
def test_no_bytes_of_a_client_raise(method: bytes, target: bytes, pairs: list[tuple[bytes, bytes]]) -> None:
    """Whatever a client sends as method, target and fields, a decision comes back."""
    matches = [MatchSpec(path="/public/{x}", host="h", query=(("a", "b"),)), MatchSpec(path="/public/**")]
    sticky = ("cookie:sid", "query:a", "header:x", "issued_cookie")
    routes = (route("public", match=matches, sticky=sticky), route("admin", "/admin/**"))
    headers = FieldList([*pairs, (b"cookie", target), (b"host", method)])
    for strict in ("refuse", "report"):
        one = snapshot(*routes, flags={"public": flag("canary", 5_000)}, strict=strict)

        decision, bucket = one.decide(method, target, headers, "192.0.2.7", ID)

        assert isinstance(decision, Decision)
        assert -1 <= bucket < 10_000


@pytest.mark.parametrize(
    ("target", "name"),
    [
        ("/files/7", "file"),
        ("/files/0f1e2d3c-4b5a", "file"),
        ("/files/7?next=/files/search", "file"),
        ("/files/search", "search"),
        ("/files/search?a=/7", "search"),
        ("/files/1.txt", "file"),
        ("/files/", "-"),
        ("/files/7/", "-"),
        ("/files/caf%C3%A9", "file"),
        ("/files/..", "ambiguous"),
        ("/files/%2e%2e", "ambiguous"),
        ("/files/..;7", "ambiguous"),
        ("/numbers/7", "number"),
        ("/numbers/x7", "word"),
        ("/7", "top"),
        ("/-", "top"),
    ],
)
def test_a_path_that_ends_in_a_parameter_is_read_as_any_other(target: str, name: str) -> None:
    """The short way for ``/files/{name}`` takes no literal sibling, and nothing that has a second reading."""
    one = snapshot(
        route("file", "/files/{name}"),
        route("search", "/files/search"),
        route("number", "/numbers/{n:int}"),
        route("word", "/numbers/{word}"),
        route("top", "/{any}"),
        route("root", "/", legacy="other"),
        strict="refuse",
    )

    decision = decide(one, target)[0]
    matched = one.match(b"GET", target.encode(), NO_FIELDS)

    assert ("ambiguous" if decision.ambiguous else decision.route) == name
    assert (AMBIGUOUS if name == "ambiguous" else one.routes.get(name)) is matched


ESCAPED = st.lists(
    st.sampled_from((b"/", b"public", b"admin", b"%70ublic", b"a%2Fb", b"%7e", b"%7E", b"%C3%A9")), max_size=6
)


@given(ESCAPED.map(lambda parts: b"/" + b"/".join(parts)))
def test_the_match_of_a_target_is_the_match_of_the_forwarded_target(target: bytes) -> None:
    """The backend gets the raw target; a next proxy that makes it canonical first matches the same route."""
    one = snapshot(route("public", "/public/**"), route("admin", "/admin/{x}"), flags=MIXED)
    forwarded = target.replace(b"%70", b"p").replace(b"%7e", b"~").replace(b"%7E", b"~")

    assert one.match(b"GET", target, NO_FIELDS) is one.match(b"GET", forwarded, NO_FIELDS)


def test_a_snapshot_travels_whole() -> None:
    """What is encoded is decoded equal: configuration, flags, switches and revision."""
    spec = SnapshotSpec(
        revision=42,
        config=config(
            route("a", match=[MatchSpec(path="/a", methods=("GET",), headers=(("x", "1"),))]), override=OVERRIDE
        ),
        flags={"a": flag("canary", 250, sample_bp=77, salt="caf\u00e9")},
        copying_off=("*",),
        tolerate=(tolerance("t-1", "a"),),
    )

    assert decode(encode(spec)) == spec


def tolerance(name: str, route_name: str, expires: str = "2027-01-31") -> ToleranceSpec:
    """Make a tolerance."""
    return ToleranceSpec(id=name, route=route_name, path="$.at", reason="clock", owner="shop", expires=expires)


def test_a_routes_tolerances_come_from_the_file_and_from_operators() -> None:
    """A route has its own tolerances, then those for all; an applied one that the file has too may end later."""
    own, applied, everywhere = tolerance("t-1", "a"), tolerance("t-2", "a"), tolerance("t-3", "")
    longer, other = tolerance("t-1", "a", "2028-01-31"), tolerance("t-4", "b")
    first = route("a", tolerate=(own,))
    spec = SnapshotSpec(
        revision=1, config=config(first, tolerate=(everywhere,)), flags={}, tolerate=(other, applied, longer)
    )

    assert spec.tolerances(first) == (longer, applied, everywhere)
    assert spec.tolerances(route("c")) == (everywhere,)


@pytest.mark.parametrize(
    "raw", [b"", b"junk", b"\x81" * 200_000, encode(SnapshotSpec(revision=1, config=config(), flags={}))[:-1]]
)
def test_junk_is_refused_with_the_way_out(raw: bytes) -> None:
    """Bytes that are no snapshot are refused by a sentence that says which file to remove."""
    with pytest.raises(SnapshotError, match="remove the file `snapshot` in state_dir"):
        decode(raw)


def test_another_schema_is_refused_by_number() -> None:
    """A snapshot of another version is refused naming both schemas, even where its fields are unknown."""
    with pytest.raises(SnapshotError, match="has schema 99, this version reads schema 1"):
        decode(msgspec.msgpack.encode({"schema": 99, "surprise": True}))


def test_a_route_without_a_flag_starts_with_its_initial_one() -> None:
    """A route that nobody flipped yet is in its configured initial stage."""
    one = snapshot(route("a", initial_stage="shadow"), route("b", legacy=None))

    assert [one.routes[name].flag.stage for name in ("a", "b")] == [Stage.SHADOW, Stage.LIVE]


def test_holds_of_unknown_routes_do_not_stop_a_snapshot() -> None:
    """A hold may name a route of a configuration that is still on its way."""
    assert snapshot(route("a"), holds=[Hold(route="later")]).routes["a"].hold is None


def test_a_snapshot_cannot_be_edited() -> None:
    """Routes and decisions of a snapshot are read-only."""
    one = snapshot(route("a"))

    with pytest.raises(TypeError):
        one.routes["b"] = one.routes["a"]  # type: ignore[index]  # the point of the test
    with pytest.raises(dataclasses.FrozenInstanceError):
        decide(one, "/a")[0].side = "new"  # type: ignore[misc]  # the point of the test


def test_an_empty_configuration_decides() -> None:
    """Without any route everything is undeclared."""
    assert decide(build(SnapshotSpec(revision=1, config=config(), flags={})), "/x/../y")[0].side == "undeclared"
