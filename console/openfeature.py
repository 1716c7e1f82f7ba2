"""``flags: openfeature``: a provider rules the flags; what it says is adopted like a flip.

Rules of this file:

1. A value that cannot be had, or cannot be used, changes nothing: the last good one stays, in the database and over
   restarts; a route that never had one is ``legacy``. ``degraded`` says so.
2. The provider's word is the operator's, so neither a gate nor the ledger stops it; what they said stands in the audit.
3. One flag rules one route, or one journey by the journey's name: its routes cannot come apart.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Final

from config.spec import OpenFeatureSpec, RouteSpec
from console.change import Changing, on_newest_truth
from console.commits import Caller
from console.judged import objections
from console.ledger import ask_ledger
from console.problem import ProblemError
from console.provider import Look, Provider, ProviderError, Question
from console.state import ControlState
from rules.provided import flags_from_value
from rules.stage import FlipError

IDLE_S: Final = 1.0
"""How long a configuration without a provider waits before it is looked at again."""

SHOWN: Final = 5
"""Complaints that ``degraded`` spells out; more are counted."""

TOPIC: Final = "openfeature"


class Provided(Changing):
    """Ask the provider, by poll and when it says that something changed, and adopt what it answers."""

    def __init__(self, state: ControlState) -> None:
        super().__init__(state)
        self._provider: Provider | None = None
        self._wanted = asyncio.Event()

    async def run(self) -> None:
        """Follow the provider of the configuration in force.

        Runs: as one task, until cancelled.
        """
        try:
            while True:
                self._wanted.clear()
                spec = self.state.config.openfeature
                if spec is None:
                    self._let_go()
                else:
                    await self._follow(spec)
                wait_s = IDLE_S if spec is None else spec.poll_ns / 1e9
                await self._pause(wait_s, spec)
        finally:
            self._let_go()

    async def _pause(self, wait_s: float, spec: OpenFeatureSpec | None) -> None:
        """Wait for the next poll, an event, or another configuration."""
        ends = asyncio.get_running_loop().time() + wait_s
        while self.state.config.openfeature == spec:
            left = ends - asyncio.get_running_loop().time()
            if left <= 0:
                return
            try:
                async with asyncio.timeout(min(left, IDLE_S)):
                    await self._wanted.wait()
                return
            except TimeoutError:
                continue

    def _let_go(self) -> None:
        if self._provider is not None:
            self._provider.close()
            self._provider = None
        self.state.complaints.pop(TOPIC, None)

    async def _follow(self, spec: OpenFeatureSpec) -> None:
        """Look once and adopt what was found."""
        if self._provider is None or self._provider.spec != spec:
            self._let_go()
            self._provider = Provider(spec, self._wanted.set)
        keys = keys_of(self.state.config.routes, spec.prefix)
        try:
            look = await self._provider.look([_asked(spec, key, routes) for key, routes in keys.items()])
        except ProviderError as error:
            self._complain([str(error)])
            return
        self._complain([*_unheard(look), *await self._adopt(spec, look)])

    async def _adopt(self, spec: OpenFeatureSpec, look: Look) -> list[str]:
        """Write every value that asks for something else than what is in force; say what is wrong with the others."""
        wrong = []
        for key, value in look.values.items():
            # Of several nodes one adopts: two that look at two moments would flip to and fro.
            if not self.state.is_leader:
                break
            try:
                await self._write(spec, key, value)
            except FlipError as error:
                wrong.append(f"its value of {key} is refused whole ({error})")
            except ProblemError as error:
                wrong.append(f"its value of {key} could not be written ({error.detail.rstrip('.')})")
        return wrong

    @on_newest_truth
    async def _write(self, spec: OpenFeatureSpec, key: str, value: object) -> None:
        state = self.state
        routes = keys_of(state.config.routes, spec.prefix).get(key, [])
        await state.gates.hear(flags_from_value(routes, state.spec.flags, value))
        async with state.turn:
            # A reload may have come meanwhile: a flag of a route that is gone rules nothing.
            if state.config.openfeature != spec:
                return
            routes = keys_of(state.config.routes, spec.prefix).get(key, [])
            planned = flags_from_value(routes, state.spec.flags, value)
            asked = await state.gates.ask(routes, state.spec.flags, planned)
            asked = replace(asked, ledger=await ask_ledger(state, planned))
            caller = asked.on(Caller(actor=spec.provider, source="openfeature"))
            await self.write_flags("flip", planned, f"the flag {key}", caller)
        for event, sentence in objections(asked, f"the flag {key}"):
            state.journal.say(event, sentence)

    def _complain(self, said: Sequence[str]) -> None:
        if not said:
            if self.state.complaints.pop(TOPIC, None):
                self.state.journal.say("openfeature.well", "the provider's values are in force again")
            return
        more = f"; and {len(said) - SHOWN} more" if len(said) > SHOWN else ""
        why = f"flags from the provider: {'; '.join(said[:SHOWN])}{more}; the last known values stay"
        if self.state.complaints.get(TOPIC) != why:
            self.state.journal.say("openfeature.failed", why)
        self.state.complaints[TOPIC] = why


def keys_of(routes: Iterable[RouteSpec], prefix: str) -> dict[str, list[RouteSpec]]:
    """Name the flag of every route, those of one journey under one key; in the order of the file."""
    keys: dict[str, list[RouteSpec]] = {}
    for route in routes:
        keys.setdefault(f"{prefix}{route.journey or route.name}", []).append(route)
    return keys


def _asked(spec: OpenFeatureSpec, key: str, routes: Sequence[RouteSpec]) -> Question:
    own = {"route": routes[0].name} if routes[0].journey is None else {"journey": routes[0].journey}
    return Question(key=key, attributes={**dict(spec.context), **own})


def _unheard(look: Look) -> Iterator[str]:
    """Say which flags have no value, the unknown ones together."""
    if look.complaint:
        yield look.complaint
    if unknown := [key for key, why in look.missing.items() if why == "FLAG_NOT_FOUND"]:
        more = f" and {len(unknown) - SHOWN} more" if len(unknown) > SHOWN else ""
        yield f"it has no flag {', '.join(unknown[:SHOWN])}{more}"
    yield from (f"{key}: {why}" for key, why in look.missing.items() if why != "FLAG_NOT_FOUND")
