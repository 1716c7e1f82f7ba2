"""What a reload would change on a running server, and what that server knows: ``matapalo check --against``.

The admin API shows routes and flags, not backends and limits; the plan is about what it shows.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Final

from config.spec import ConfigSpec, MatchSpec, RouteSpec
from config.warnings import Warned, of_sticky, unlike_envoy
from console.commands.admin import Admin, JsonObject
from console.commands.output import flag_words
from rules.flag import Flag, flag_as_json, flag_from_json
from rules.reload import OrphanError, carry_flags, diff
from rules.snapshot import SnapshotSpec
from rules.stage import raises_new_share
from rules.told import match_as_told

IDLE_AFTER: Final = 1_000
"""Comparisons of its routes after which a tolerance that never hid anything is not needed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Hold what a reload would do."""

    lines: tuple[str, ...] = ()
    """One for each changed route, then one for each flip."""
    is_whole: bool = True
    """The file is the one in force; else keys that the admin API does not show may change, too."""
    refusal: str | None = None
    """With which sentence the server would refuse; ``None``: it would not."""
    warned: tuple[Warned, ...] = ()


def plan_against(spec: ConfigSpec, *, url: str, token: str | None, ca: str | None = None) -> Plan:
    """Compare *spec* with the server at *url*.

    Raises: OutOfReachError, RefusedError.
    """
    admin = Admin(url=url, token=token, ca=ca)
    status = admin.get("/api/v1/status")
    if status["config"]["digest"] == spec.digest:
        return Plan()
    answer = admin.get("/api/v1/routes")
    declared = {route.name: route for route in spec.routes}
    served = tuple(_route_from(one, declared.get(one["name"])) for one in answer["routes"])
    flags = {one["name"]: flag_from_json(one["flag"]) for one in answer["routes"]}
    old = SnapshotSpec(revision=answer["revision"], config=replace(spec, routes=served), flags=flags)
    lines = tuple(diff(old.config, spec))
    try:
        carried = carry_flags(old, spec)
    except OrphanError as error:
        return Plan(lines=lines, is_whole=False, refusal=str(error))
    if spec.flags != "file":
        return Plan(lines=lines, is_whole=False)
    flips = [one for one in answer["routes"] if carried.get(one["name"], flags[one["name"]]) != flags[one["name"]]]
    told = [_flip(one, carried[one["name"]]) for one in flips]
    return Plan(
        lines=(*lines, *(line for line, _ in told)),
        is_whole=False,
        warned=tuple(warned for _, warned in told if warned is not None),
    )


def _flip(shown: JsonObject, after: Flag) -> tuple[str, Warned | None]:
    """Say what a file does with the flag of one served route, and what its gate says where new gets more clients."""
    name, before, gate = shown["name"], flag_from_json(shown["flag"]), shown["gate"]
    line = f"~ flag {name}: {flag_words(flag_as_json(before))} -> {flag_words(flag_as_json(after))}"
    if shown["legacy"] is None or gate is None or not raises_new_share(before, after):
        return line, None
    if gate["result"] in ("pass", "off"):
        return f"{line}; its gate: {gate['result']}", None
    said = f"the file gives new more clients, though the gate is {gate['result']}: {gate['sentence']}; let the gate "
    warned = Warned(name="gate.not_passed", where=f"routes.{name}", message=f"{said}pass first", route=name)
    return f"{line}; its gate: {gate['result']}", warned


def standing(spec: ConfigSpec, *, url: str, token: str | None, ca: str | None = None) -> list[Warned]:
    """Name what the server at *url* has and that does no good: idle tolerances, routes that stay half way or whose
    canary no Envoy can follow.

    Shape: a tolerance that expired in the file is the file's own warning. Idle: not one hit in IDLE_AFTER comparisons.
    Raises: OutOfReachError, RefusedError.
    """
    admin = Admin(url=url, token=token, ca=ca)
    found = []
    for one in admin.get("/api/v1/tolerances")["tolerances"]:
        name = f"tolerance {one['id']} on {one['route'] or 'every route'} ({one['path'] or one['cause']})"
        message = ""
        if one["state"] == "expired":
            if one["source"] == "applied":
                message = f"it has expired on {one['expires']}; `matapalo tolerate --remove {one['id']}`"
        elif not one["hits"] and one["compared"] >= IDLE_AFTER:
            message = f"it has hidden nothing in {one['compared']} comparisons; remove it"
        if message:
            found.append(Warned(name="tolerance.idle", where=name, message=message, route=one["route"] or ""))
    declared = {route.name for route in spec.routes}
    stuck = [one for one in admin.get("/api/v1/status").get("stuck", ()) if one["route"] in declared]
    found += [
        Warned(name="stage.stuck", where=f"routes.{one['route']}", message=one["sentence"], route=one["route"])
        for one in stuck
    ]
    unlike = {route.name: warned for route in spec.routes if (warned := unlike_envoy(route)) is not None}
    known = {warned.route for route in spec.routes for warned in of_sticky(route)}
    served = admin.get("/api/v1/routes")["routes"] if unlike.keys() - known else ()
    canaries = {one["name"] for one in served if one["flag"]["stage"] == "canary"}
    return found + [warned for name, warned in unlike.items() if name in canaries - known]


def _route_from(shown: JsonObject, declared: RouteSpec | None) -> RouteSpec:
    """Rebuild a served route; what the API does not show is taken as unchanged."""
    name, legacy, new = shown["name"], shown["legacy"], shown["new"]
    base = declared or RouteSpec(name=name, match=(), legacy=legacy, new=new, sticky=())
    return replace(
        base,
        match=tuple(_matches_from(shown["match"], () if declared is None else declared.match)),
        legacy=legacy,
        new=new,
        sticky=tuple(shown["sticky"]),
        parity=shown["parity"],
        journey=shown["journey"],
    )


def _matches_from(shown: Iterable[JsonObject], declared: tuple[MatchSpec, ...]) -> Iterator[MatchSpec]:
    """Rebuild the matches of a served route; what a header or parameter must be is not shown, so taken as unchanged."""
    left = list(declared)
    for one in shown:
        served = MatchSpec(
            path=one["path"],
            methods=tuple(one["methods"]),
            trailing_slash=one["trailing_slash"],
            host=one["host"],
            headers=tuple(one["headers"].items()),
            query=tuple(one["query"].items()),
        )
        alike = next((match for match in left if match_as_told(match) == served), None)
        if alike is not None:
            left.remove(alike)
        yield alike or served
