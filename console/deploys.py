"""Deploys: which version a backend runs, said by whoever deploys it, so that evidence is kept per build.

A backend that names its build in every answer (``version_header``) needs none of this: what an answer says about
itself wins. Where it says nothing, the version deployed at that moment is taken.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Final

from config.spec import ConfigSpec
from console.change import Answer, Changing, Done, entry_for, key_for, on_newest_truth, pushed_now
from console.commits import Caller, commit
from console.problem import invalid, unknown
from console.shapes import deploy_as_json
from store.flags import KEEP_DEPLOYS, Commit, Deploy

MAX_VERSION: Final = 128
"""Characters of a version: a commit's hash has 40, an image's digest 71."""


class Deploys(Changing):
    """Take note of deploys."""

    @on_newest_truth
    async def deployed(self, backend: str, version: str, *, reason: str, caller: Caller) -> Answer:
        """Remember that a backend runs a version from now on; the version that it runs already changes nothing."""
        state = self.state
        if not 1 <= len(version) <= MAX_VERSION:
            found = f"{len(version)} characters" if version else "empty"
            raise invalid(
                [{"where": "version", "detail": f"version is {found}; expected 1 to {MAX_VERSION} characters."}]
            )
        async with state.turn:
            if (replay := await self.replay(caller)) is not None:
                return replay
            known = {spec.name: spec for spec in state.config.backends}
            if backend not in known:
                raise unknown("backend", backend, known)
            before = state.deploys.get(backend, ())
            done = Done(pushed=pushed_now(state), audit_id=None)
            if not before or before[0].version != version:
                done = await self._write(backend, version, before, reason, caller)
            if (header := known[backend].version_header) is not None:
                done = replace(done, notes=(f"an answer of {backend} that carries {header} says its version itself",))
        shown = deploy_as_json(state.deploys[backend][0])
        return await self.answer(replace(done, extra={"backend": backend, "deployed": shown}))

    async def _write(self, backend: str, version: str, before: tuple[Deploy, ...], reason: str, caller: Caller) -> Done:
        state = self.state
        deploy = Deploy(backend=backend, version=version, at=time.time(), actor=caller.actor)
        after = (deploy, *before[: KEEP_DEPLOYS - 1])
        routes = tuple(route.name for route in state.config.routes if backend in (route.legacy, route.new))
        entry = replace(
            entry_for("deployed", routes, reason, caller, state),
            before={backend: before[0].version if before else None},
            after={backend: version},
        )
        key = key_for(caller, state.revision, {}, {})
        number, pushed = await commit(
            state, Commit(revision=state.revision, entry=entry, deploys=after, key=key), state.spec
        )
        state.deploys[backend] = after
        return Done(pushed=pushed, audit_id=number)


def builds_of(
    config: ConfigSpec, deploys: Mapping[str, tuple[Deploy, ...]], route: str, said: Iterable[str], at: float
) -> tuple[str, str]:
    """Name legacy's and new's build of one comparison.

    Shape: *said* is what the two answers say of themselves; what is empty there is filled with the version that was
    deployed at the moment *at* (Unix time), and stays empty where nobody ever said one.
    """
    spec = next((spec for spec in config.routes if spec.name == route), None)
    backends = (None, None) if spec is None else (spec.legacy, spec.new)
    legacy, new = (
        own or version_at(deploys.get(backend, ()) if backend is not None else (), at)
        for own, backend in zip(said, backends, strict=True)
    )
    return legacy, new


def version_at(deploys: Iterable[Deploy], at: float) -> str:
    """Name the version that ran at a moment; empty: nobody said."""
    return next((deploy.version for deploy in deploys if deploy.at <= at), "")
