"""Rules of changing, keeping and reading holds."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.holds import NOTHING_HELD, Held, HoldsError, HoldsKeeper, read_holds
from shadow import link

ROUTES = {"orders": True, "carts": True, "wishes": False}


def change(*add: str, remove: tuple[str, ...] = (), everything: bool = False) -> link.ChangeHolds:
    """Make a change of holds."""
    items = [link.HoldItem(route=name, reason="r") for name in add]
    return link.ChangeHolds(request="q", add=items, remove=list(remove), all_routes=everything)


def test_all_routes_means_those_with_a_legacy_side() -> None:
    """Holding everything leaves out what has no legacy to be held on."""
    held, touched = NOTHING_HELD.after(change(everything=True), ROUTES)

    assert touched == ["orders", "carts"]
    assert set(held.items) == {"orders", "carts"}


def test_releasing_what_is_not_held_changes_nothing() -> None:
    """A release is idempotent, and works for a route that has left the configuration."""
    held = Held(revision=4, items={"former": link.HoldItem(route="former")})

    released, touched = held.after(change(remove=("former", "orders")), ROUTES)

    assert (dict(released.items), touched, released.revision) == ({}, ["former"], 5)


@given(st.lists(st.tuples(st.booleans(), st.sampled_from(["orders", "carts"])), max_size=20))
def test_holds_are_the_last_word_on_each_route(steps: list[tuple[bool, str]]) -> None:
    """After any sequence of holds and releases exactly those routes are held whose last change was a hold."""
    held = NOTHING_HELD
    expected: set[str] = set()
    for is_hold, name in steps:
        held, _ = held.after(change(name) if is_hold else change(remove=(name,)), ROUTES)
        expected = expected | {name} if is_hold else expected - {name}

    assert set(held.items) == expected
    assert held.revision == len(steps)


@pytest.mark.parametrize("name", ["nobody", "wishes"])
def test_a_hold_without_a_legacy_side_is_refused(name: str) -> None:
    """A hold on an unknown route, or on one without legacy, is an error and not a silent success."""
    with pytest.raises(HoldsError, match=name):
        NOTHING_HELD.after(change("orders", name), ROUTES)


def run(
    path: Path,
    tell: Callable[[link.Holds], Mapping[object, int]],
    body: Callable[[HoldsKeeper], Coroutine[Any, Any, None]],
) -> None:
    """Run a test body beside a keeper."""

    async def main() -> None:
        keeper = HoldsKeeper(str(path), routes=lambda: ROUTES, tell=tell)
        task = asyncio.create_task(keeper.run())
        try:
            await asyncio.wait_for(body(keeper), 60)
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    asyncio.run(main())


def test_a_hold_is_on_disk_before_anybody_hears_of_it(tmp_path: Path) -> None:
    """When workers are told of a hold, the file already holds it."""
    at_rest: list[set[str]] = []

    def tell(_: link.Holds) -> Mapping[object, int]:
        held, _complaint = read_holds(str(tmp_path / "holds"))
        at_rest.append(set(held.items))
        return {}

    async def body(keeper: HoldsKeeper) -> None:
        changed = await keeper.change(change("orders"))
        assert (changed.ok, changed.revision, changed.routes) == (True, 1, ["orders"])

    run(tmp_path / "holds", tell, body)

    assert at_rest == [{"orders"}]


def test_changes_are_acknowledged_by_revision(tmp_path: Path) -> None:
    """A change waits for the workers that were told; one that dies meanwhile is not waited for."""

    async def body(keeper: HoldsKeeper) -> None:
        asking = asyncio.create_task(keeper.change(change("orders")))
        while keeper.held.revision < 1:  # noqa: ASYNC110 - the keeper tells nobody but workers
            await asyncio.sleep(0.001)
        keeper.acknowledge(0, 0)
        await asyncio.sleep(0.01)
        assert not asking.done()
        keeper.acknowledge(0, 1)
        keeper.forget(1)
        changed = await asking

        assert changed.missing == []

    run(tmp_path / "holds", lambda _: {0: 0, 1: 1}, body)


def test_many_changes_at_once_all_count(tmp_path: Path) -> None:
    """Changes that arrive together are made one after the other, none is lost."""

    async def body(keeper: HoldsKeeper) -> None:
        answers = await asyncio.gather(
            keeper.change(change("orders")), keeper.change(change("carts")), keeper.change(change(remove=("orders",)))
        )

        assert [answer.revision for answer in answers] == [1, 2, 3]
        assert set(keeper.held.items) == {"carts"}

    run(tmp_path / "holds", lambda _: {}, body)


def test_a_hold_on_a_full_disk_holds_and_says_that_it_will_be_forgotten(tmp_path: Path) -> None:
    """A hold that cannot be written is in force, but answered as not ok; a release does not happen."""
    path = tmp_path / "gone" / "holds"

    async def body(keeper: HoldsKeeper) -> None:
        held = await keeper.change(change("orders"))
        released = await keeper.change(change(remove=("orders",)))

        assert not held.ok
        assert "a restart would forget it" in held.reason
        assert "a restart would forget it" in keeper.complaint
        assert not released.ok
        assert "nothing was released" in released.reason
        assert set(keeper.held.items) == {"orders"}

        path.parent.mkdir()
        assert (await keeper.change(change("carts"))).ok
        assert keeper.complaint == ""
        assert set(read_holds(str(path))[0].items) == {"orders", "carts"}

    run(path, lambda _: {}, body)


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff", b'{"t":"holds","revision":1,"holds":[{"t":"hold"}]}'])
def test_an_unreadable_file_is_set_aside(tmp_path: Path, content: bytes) -> None:
    """Whatever stands in the holds file, reading it neither raises nor loses it."""
    (tmp_path / "holds").write_bytes(content)

    held, complaint = read_holds(str(tmp_path / "holds"))

    assert held == NOTHING_HELD
    assert "NO ROUTE IS HELD" in complaint
    assert [name.partition("-")[0] for name in os.listdir(tmp_path)] == ["holds.unreadable"]
