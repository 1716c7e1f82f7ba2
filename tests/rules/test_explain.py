"""Prove that an explanation tells the decision that traffic gets, and why, in words."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.spec import CohortSpec, FallbackSpec, MatchSpec, MemberSpec, OverrideSpec, ShadowSpec, ToleranceSpec
from rules import (
    CohortFlag,
    FieldList,
    Flag,
    Hold,
    Side,
    Snapshot,
    SnapshotSpec,
    Stage,
    bucket_of,
    build,
    draw_of,
    explain,
)
from tests.rules.made import config, flag, route, snapshot

USER = (("X-User", "42"),)
BUCKET = bucket_of("salt", b"42")


def why(one: Snapshot, target: str, method: str = "GET", **values: Any) -> str:  # Any: keywords of explain
    """Join the sentences of an explanation."""
    return "\n".join(explain(one, method, target, **values)["why"])


def test_a_canary_is_explained_by_its_key_and_bucket() -> None:
    """The answer names route, template, key, bucket, side, backend and copy."""
    spec = route("orders", "/api/orders/{id:int}", fallback=FallbackSpec(connect=True))
    one = snapshot(spec, route("api", "/api/**"), flags={"orders": flag("canary", 10_000 - BUCKET)})

    told = explain(one, "GET", "/api/orders/7?x=1", USER)

    assert {
        name: told[name] for name in ("route", "stage", "key", "bucket", "primary", "backend", "shadow", "copied")
    } == {
        "route": "orders",
        "stage": "canary",
        "key": "header:x-user",
        "bucket": BUCKET,
        "primary": "new",
        "backend": "new-app",
        "shadow": "legacy",
        "copied": "always",
    }
    assert told["why"] == [
        "route orders matches /api/orders/{id:int}",
        "route api (/api/**) matches too, but is less specific",
        f"the key comes from header:x-user: bucket {BUCKET} of 10000",
        f"bucket {BUCKET} >= {BUCKET}: new (new has {(10_000 - BUCKET) / 100:g} % of the clients)",
        "when new fails, the request may fall back to legacy-app",
        "copied to legacy (legacy-app): the sample is 100 %",
        "the copy carries the client's credentials; examples keep fragments",
    ]
    assert told["policy"] == {
        "credentials": "pass",
        "keep": "fragments",
        "redact": [],
        "parity": "bytes",
        "tolerances": [],
    }


def test_a_missing_key_is_explained() -> None:
    """A canary without a key says what it looked for."""
    one = snapshot(route("orders"), flags={"orders": flag("canary", 500)})

    told = explain(one, "GET", "/orders")

    assert (told["key"], told["bucket"], told["primary"], told["reason"]) == (None, None, "legacy", "no_key")
    assert "no key is present (looked for header:x-user): legacy" in "\n".join(told["why"])


def test_an_issued_cookie_is_explained() -> None:
    """The first request of a client without a key says that its id becomes the cookie."""
    one = snapshot(route("orders", sticky=("issued_cookie",)), flags={"orders": flag("canary", 500)})

    told = explain(one, "GET", "/orders", request_id="abc")

    assert (told["key"], told["bucket"]) == ("issued_cookie", bucket_of("salt", b"abc"))
    assert "becomes the cookie matapalo_client" in "\n".join(told["why"])


def test_a_sampled_copy_is_explained_by_its_draw() -> None:
    """Between none and all, the share is told, and with a request id whether this one is copied."""
    one = snapshot(route("orders"), flags={"orders": flag("live", sample_bp=1_250)})

    told = explain(one, "GET", "/orders", request_id="abc")

    assert (told["copied"], told["sample"]) == ("sampled", 12.5)
    assert "12.5 % of such requests are copied to legacy" in "\n".join(told["why"])
    assert f"this request id draws {draw_of('salt', b'abc')}" in "\n".join(told["why"])
    assert "draws" not in why(one, "/orders")


@pytest.mark.parametrize(
    ("stage", "values", "method", "said"),
    [
        ("legacy", {}, "GET", "stage legacy copies nothing"),
        ("complete", {}, "GET", "stage complete copies nothing"),
        ("shadow", {}, "POST", "POST may change something"),
        ("shadow", {"shadow": ShadowSpec(mode="never")}, "GET", "the route says shadow: never"),
        ("live", {"legacy": None}, "GET", "the route has one side only"),
    ],
)
def test_no_copy_is_explained(stage: str, values: dict[str, Any], method: str, said: str) -> None:
    """Where nothing is copied, the rule that says so is named."""
    one = snapshot(route("orders", **values), flags={"orders": flag(stage)})

    told = explain(one, method, "/orders")

    assert (told["copied"], told["shadow"], told["sample"]) == ("never", None, 0.0)
    assert f"no copy: {said}" in "\n".join(told["why"])


def test_switches_and_zero_samples_are_explained() -> None:
    """Copying that is off, here or everywhere, and a sample of zero are told apart."""
    flags = {"a": flag("shadow")}

    assert "switched off on this route" in why(snapshot(route("a"), flags=flags, copying_off=("a",)), "/a")
    assert "switched off everywhere" in why(snapshot(route("a"), flags=flags, copying_off=("*",)), "/a")
    assert "the sample is 0 %" in why(snapshot(route("a"), flags={"a": flag("live", sample_bp=0)}), "/a")


def test_a_hold_is_explained_with_who_and_why() -> None:
    """A held route says who holds it, for what reason, and what the stage would say."""
    hold = Hold(route="orders", reason="errors after deploy", actor="ops")

    told = explain(snapshot(route("orders"), flags={"orders": flag("live")}, holds=[hold]), "GET", "/orders")

    assert told["held"]
    assert told["primary"] == "legacy"
    assert "held by ops (errors after deploy): legacy answers whatever the stage live says" in "\n".join(told["why"])
    assert "no copy: the hold stops copying" in told["why"]


def test_overrides_are_explained_and_tokens_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """A valid override is named, a wrong one is said to be ignored, and no token appears."""
    monkeypatch.setenv("TEST_SIDE_TOKEN", "s3cret")
    override = OverrideSpec(header="x-side", token="env:TEST_SIDE_TOKEN")
    one = snapshot(
        route("a"), route("held"), flags={"a": flag("legacy")}, holds=[Hold(route="held")], override=override
    )

    valid = explain(one, "GET", "/a", [("X-Side", "new s3cret")])

    assert valid["override"]
    assert valid["primary"] == "new"
    assert "the override header chose new" in valid["why"]
    assert "the override header is ignored: expected" in why(one, "/a", headers=[("x-side", "new wrong")])
    done = snapshot(route("a"), flags={"a": flag("complete")}, override=override)
    told = explain(done, "GET", "/a", [("X-Side", "legacy s3cret")])
    assert (told["primary"], told["override"]) == ("new", False)
    assert (
        "the override header is ignored: in stage complete legacy is never asked; rollback or flip to live"
        in told["why"]
    )
    assert "the override header is ignored: hold beats it" in why(one, "/held", headers=[("x-side", "new s3cret")])
    assert "s3cret" not in json.dumps(valid)


def test_undeclared_paths_say_what_nearly_matched() -> None:
    """Where no route matches, routes with the same path are named with what they ask for."""
    match = MatchSpec(path="/orders", methods=("GET", "HEAD"), host="shop.example", headers=(("x-v", "2"),))
    one = snapshot(route("orders", match=[match]))

    told = explain(one, "POST", "/orders", [("Host", "shop.example:80")])

    assert (told["route"], told["primary"], told["backend"]) == (None, "undeclared", "legacy-app")
    assert told["why"] == [
        "no route matches",
        "route orders has the path /orders, but asks for method GET or HEAD, header x-v as the file has it",
        "undeclared paths go to backend legacy-app",
    ]
    assert "answered 404" in why(snapshot(undeclared=None), "/x")


def test_an_ambiguous_target_shows_the_reading_that_differs() -> None:
    """A refused target says which other path a backend could read."""
    flags = {"public": flag("live"), "admin": flag("legacy")}
    routes = (route("public", "/public/**"), route("admin", "/admin/**"))

    told = explain(snapshot(*routes, flags=flags), "GET", "/public/..%2fadmin")
    reported = explain(snapshot(*routes, flags=flags, strict="report"), "GET", "/public/..%2fadmin")

    assert (told["status"], told["route"], told["primary"]) == (400, None, None)
    assert any(line.startswith("a backend could read the target as /") for line in told["why"])
    assert (reported["status"], reported["route"]) == (0, "public")
    assert "strict: report forwards it" in "\n".join(reported["why"])
    assert "more readings than are looked at" in why(snapshot(*routes, flags=flags), "/public/%" + "25" * 100)


def test_gone_and_missing_sides_are_explained() -> None:
    """What Matapalo answers itself is told with its status."""
    one = snapshot(route("gone"), route("torn", new=None), flags={"gone": flag("gone"), "torn": flag("live")})

    assert [explain(one, "GET", path)["status"] for path in ("/gone", "/torn")] == [410, 503]
    assert "answered 410" in why(one, "/gone")
    assert "no backend in the configuration" in why(one, "/torn")


FLAGS = st.builds(
    Flag,
    stage=st.sampled_from(Stage),
    percent_bp=st.integers(0, 10_000),
    sample_bp=st.integers(0, 10_000),
    salt=st.just("s"),
)


@given(
    FLAGS,
    st.none() | st.builds(Hold, route=st.just("a"), keep_copying=st.booleans()),
    st.booleans(),
    st.sampled_from(("GET", "POST")),
    st.booleans(),
)
def test_an_explanation_agrees_with_the_decision(
    state: Flag, hold: Hold | None, off: bool, method: str, keyed: bool
) -> None:
    """Side, backend, copy and status of an explanation are those of the decision, and it is never silent."""
    one = snapshot(
        route("a", sticky=("header:x-user", "issued_cookie")),
        flags={"a": state},
        holds=[hold] if hold else [],
        copying_off=("*",) if off else (),
    )
    headers = USER if keyed else ()
    raw_headers = FieldList((name.encode(), value.encode()) for name, value in headers)

    told = explain(one, method, "/a", headers, request_id="id")
    decision, bucket = one.decide(method.encode(), b"/a", raw_headers, "127.0.0.1", b"id")

    assert (told["primary"] or "none", told["backend"], told["status"]) == (
        decision.side,
        decision.backend,
        decision.status,
    )
    assert told["shadow"] == decision.copy_side
    assert bucket in (-1, told["bucket"])
    assert told["reason"] == decision.reason
    assert (told["copied"] == "never") or decision.eligible
    assert told["copied"] != "always" or (decision.sampled and not decision.skip)
    assert len(told["why"]) >= 2
    json.dumps(told)


def test_a_cohort_and_a_pin_are_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who is treated apart is told whose stage it is, and a pinned reader why it stays."""
    monkeypatch.setenv("TEST_PIN", "pinned")
    staff = CohortSpec(name="staff", match=(MemberSpec(header="x-staff"),))
    own = {"staff": CohortFlag(stage=Stage.LIVE, sample_bp=2_500)}
    made = config(route("orders", pin_ns=30 * 10**9), cohorts=(staff,), pins=("env:TEST_PIN",))
    spec = SnapshotSpec(revision=1, config=made, flags={"orders": replace(flag("shadow"), cohorts=own)})
    one = build(spec, clock=lambda: 1_000.0)
    pin = one.routes["orders"].pin
    assert pin is not None
    cookie = f"{pin.cookie.decode()}={pin.value(Side.LEGACY, 1_000.0).decode()}"

    theirs = explain(one, "GET", "/orders", [("X-Staff", "1")])
    others = explain(one, "GET", "/orders")
    kept = explain(one, "GET", "/orders", [("X-Staff", "1"), ("Cookie", cookie)])

    assert (theirs["cohort"], theirs["stage"], theirs["primary"], theirs["sample"]) == ("staff", "live", "new", 25.0)
    assert "the client belongs to cohort staff, which has a stage of its own here" in theirs["why"]
    assert (others["cohort"], others["stage"], others["primary"], others["pinned"]) == (None, "shadow", "legacy", False)
    assert (kept["primary"], kept["pinned"], kept["reason"]) == ("legacy", True, "pin")
    assert "the client wrote a moment ago and carries a pin: its reads stay on legacy until that ends" in kept["why"]


def test_a_near_miss_is_named_beside_the_route_that_won() -> None:
    """A route that has the path but asks for more says what it asks for, also where another route takes the request."""
    post = route("post", match=[MatchSpec(path="/orders", methods=("POST",))])

    told = why(snapshot(post, route("rest", "/**")), "/orders")

    assert "route post has the path /orders, but asks for method POST" in told


def test_the_tolerances_of_a_copy_are_named() -> None:
    """An explanation lists every tolerance that its comparison has, the route's, an operator's and the file's, by id
    and in words; those of another route are none of it."""
    one, two, three, four = (
        ToleranceSpec(id=name, route=of, path="$.at", reason="clocks", owner="shop", expires="2027-01-31")
        for name, of in (("t-1", "orders"), ("t-2", "orders"), ("t-3", ""), ("t-4", "cart"))
    )
    spec = SnapshotSpec(
        revision=7,
        config=config(route("orders", tolerate=(one,)), tolerate=(three,)),
        flags={"orders": flag("shadow")},
        tolerate=(two, four),
    )

    told = explain(build(spec), "GET", "/orders")

    assert told["policy"] is not None
    assert told["policy"]["tolerances"] == ["t-1", "t-2", "t-3"]
    said = ", ".join(f"{name} ($.at, until 2027-01-31)" for name in ("t-1", "t-2", "t-3"))
    assert told["why"][-1] == f"tolerated: {said}"
