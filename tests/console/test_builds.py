"""New is asked which build it is with a request that changes nothing, and for a bounded time."""

from __future__ import annotations

from dataclasses import replace

import pytest

from config.spec import MatchSpec, RouteSpec
from console.builds import ask_new, unasked_note
from tests.rules.made import config
from tests.support.oneworker import backend
from tests.support.recorder import Hang, Recorder, answer

pytestmark = pytest.mark.anyio

ORDERS = RouteSpec(
    name="orders",
    match=(MatchSpec(path="/orders/{id:int}/**", host="shop.test", headers=(("x-tenant", "a"),)),),
    legacy="old",
    new="new",
    sticky=(),
)


async def test_new_is_asked_on_a_path_of_the_route(monkeypatch: pytest.MonkeyPatch) -> None:
    """The question is an OPTIONS that the route would match, with its Host, marked as a copy; any status will do."""
    monkeypatch.setattr("console.builds.ASK_S", 60.0)
    with Recorder(answer(b"no", status=405, headers=(("x-build", "v7"),))) as new:
        spec = backend("new", new.url, version_header="X-Build", path_strip="/orders")
        word = await ask_new(config(ORDERS, backends=(spec,)), ORDERS)

    (request,) = new.requests
    assert (word.build, word.outcome) == ("v7", "named")
    assert (request.method, request.target) == (b"OPTIONS", b"/918273645/witness!zq~7/below")
    assert request.values("host") == [b"shop.test"]
    assert request.values("x-tenant") == [b"a"]
    assert request.values("x-matapalo-shadow") == [b"1"]


async def test_what_new_does_not_say_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer without the header is a note, no answer is trouble, and without a `version_header` nobody is asked."""
    with Recorder(lambda request: [Hang()] if b"/slow" in request.target else answer(b"ok")) as new:
        spec = backend("new", new.url, version_header="X-Build")
        with monkeypatch.context() as patient:
            patient.setattr("console.builds.ASK_S", 60.0)
            mute = await ask_new(config(ORDERS, backends=(spec,)), ORDERS)
        slow_route = replace(ORDERS, match=(MatchSpec(path="/slow"),))
        slow = await ask_new(config(slow_route, backends=(spec,)), slow_route)
        unasked_route = replace(ORDERS, match=(MatchSpec(path="/unasked"),))
        unnamed = await ask_new(config(unasked_route, backends=(backend("new", new.url),)), unasked_route)

    assert [word.outcome for word in (mute, slow, unnamed)] == ["unnamed", "unanswered", ""]
    assert (mute.build, mute.trouble) == ("", "")
    assert mute.note == "new was asked which build it is and sent no X-Build"
    assert slow.trouble == "new could not be asked which build it is: no complete answer within 1 s"
    assert (unnamed.build, unnamed.trouble, unnamed.note) == ("", "", "")
    assert not any(request.target == b"/unasked" for request in new.requests)


def test_a_build_that_only_people_tell_is_called_so() -> None:
    """Where new is not asked, a pass says how the build is known, or that it is not."""
    named, unnamed = backend("new", "http://127.0.0.1:7", version_header="X"), backend("new", "http://127.0.0.1:7")

    assert unasked_note(named, "v1") == ""
    assert unasked_note(unnamed, "v1").startswith("build v1 by `matapalo deployed` alone")
    assert unasked_note(unnamed, "").startswith("no build is known")
