"""Carry what was decided about a route over to its new name (``was:``).

Rules of this file:

1. A name is *former* while the configuration has no route of it; whose ``was`` it is, is its *heir*.
2. A route takes its former name's things over once, when it has no flag of its own yet: a ``was`` that stays in the
   file does nothing afterwards.
3. A hold is always its heir's, also where a node still has it under the former name: whoever joins holds and routes
   asks :func:`followed`, so that no request falls between the two names.
4. Where nodes share a database the former name keeps its things beside its heir: a node with the older file still has
   that route.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from typing import TypeVar

from config.spec import ConfigSpec, ToleranceSpec
from config.tolerance import tolerance_id
from rules.flag import Hold

T = TypeVar("T")


def heirs_of(config: ConfigSpec) -> dict[str, str]:
    """Name the heir of every former name, where it has a legacy side that it can be held on."""
    names = {route.name for route in config.routes}
    return {
        route.was: route.name
        for route in config.routes
        if route.was is not None and route.was not in names and route.legacy is not None
    }


def formers_in(holds: Collection[str], config: ConfigSpec) -> dict[str, str]:
    """Name those of some held names that are former ones, each with its heir."""
    return {former: heir for former, heir in heirs_of(config).items() if former in holds}


def followed(holds: Mapping[str, Hold], config: ConfigSpec) -> dict[str, Hold]:
    """Give every hold under the name that its route has now; a route's own comes before its former name's."""
    formers = formers_in(holds.keys(), config) if holds else {}
    ours = {name: hold for name, hold in holds.items() if name not in formers}
    return {heir: replace(holds[former], route=heir) for former, heir in formers.items()} | ours


def renamed(known: Collection[str], config: ConfigSpec) -> dict[str, str]:
    """Give the former name of each route that takes its things over now (rule 2).

    Shape: *known* are the names that have a flag.
    """
    names = {route.name for route in config.routes}
    return {
        route.name: route.was
        for route in config.routes
        if route.was is not None and route.name not in known and route.was in known and route.was not in names
    }


def inherited(kept: Mapping[str, T], moved: Mapping[str, str], *, shared: bool) -> dict[str, T]:
    """Give what is kept by a route's name to the heirs; what an earlier route of their name left behind goes.

    Shape: *moved* as :func:`renamed` gives it; *shared*: the former names keep theirs, too (rule 4).
    """
    gone = {*moved, *(() if shared else moved.values())}
    left = {name: value for name, value in kept.items() if name not in gone}
    return left | {name: kept[former] for name, former in moved.items() if former in kept}


def inherited_tolerances(
    kept: Iterable[ToleranceSpec], moved: Mapping[str, str], *, shared: bool
) -> tuple[ToleranceSpec, ...]:
    """Give applied tolerances to the heirs, each under the name that it has there."""
    if not moved:
        return tuple(kept)
    by_route: dict[str, list[ToleranceSpec]] = {}
    for spec in kept:
        by_route.setdefault(spec.route, []).append(spec)
    given = inherited(by_route, moved, shared=shared)
    specs = [spec if spec.route == route else _given(spec, route) for route, held in given.items() for spec in held]
    return tuple(sorted(specs, key=lambda spec: spec.id))


def _given(spec: ToleranceSpec, route: str) -> ToleranceSpec:
    return replace(spec, route=route, id=tolerance_id(route, spec.path, spec.cause, spec.rule))
