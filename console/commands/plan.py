"""What a reload would change on a running server: the plan of ``matapalo check --against``.

The admin API shows routes and flags, not backends and limits; the plan is about what it shows.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from config.spec import ConfigSpec, MatchSpec, RouteSpec
from config.warnings import Warned
from console.commands.admin import Admin, JsonObject
from rules.flag import Flag, Stage
from rules.reload import OrphanError, carry_flags, diff
from rules.snapshot import SnapshotSpec

IDLE_AFTER: Final = 1_000
"""Comparisons of its routes after which a tolerance that never hid anything is not needed."""


def plan_against(
    spec: ConfigSpec, *, url: str, token: str | None, ca: str | None = None
) -> tuple[list[str], str | None]:
    """Compare *spec* with the server at *url*.

    Shape: one line per changed route, then the sentence with which the server would refuse, or ``None``.
    Raises: OutOfReachError, RefusedError.
    """
    admin = Admin(url=url, token=token, ca=ca)
    status = admin.get("/api/v1/status")
    if status["config"]["digest"] == spec.digest:
        return [], None
    answer = admin.get("/api/v1/routes")
    declared = {route.name: route for route in spec.routes}
    served = tuple(_route_from(one, declared.get(one["name"])) for one in answer["routes"])
    flags = {one["name"]: _flag_from(one["flag"]) for one in answer["routes"]}
    old = SnapshotSpec(revision=answer["revision"], config=replace(spec, routes=served), flags=flags)
    try:
        carry_flags(old, spec)
    except OrphanError as error:
        return diff(old.config, spec), str(error)
    return diff(old.config, spec), None


def standing(spec: ConfigSpec, *, url: str, token: str | None, ca: str | None = None) -> list[Warned]:
    """Name what the server at *url* has and that does no good: idle tolerances, routes that stay half way.

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
    return found + [
        Warned(name="stage.stuck", where=f"routes.{one['route']}", message=one["sentence"], route=one["route"])
        for one in stuck
    ]


def _route_from(shown: JsonObject, declared: RouteSpec | None) -> RouteSpec:
    """Rebuild a served route; what the API does not show is taken as unchanged."""
    name, legacy, new = shown["name"], shown["legacy"], shown["new"]
    base = declared or RouteSpec(name=name, match=(), legacy=legacy, new=new, sticky=())
    return replace(
        base,
        match=tuple(_match_from(one) for one in shown["match"]),
        legacy=legacy,
        new=new,
        sticky=tuple(shown["sticky"]),
        parity=shown["parity"],
        journey=shown["journey"],
    )


def _match_from(shown: JsonObject) -> MatchSpec:
    return MatchSpec(
        path=shown["path"],
        methods=tuple(shown["methods"]),
        trailing_slash=shown["trailing_slash"],
        host=shown["host"],
        headers=tuple(shown["headers"].items()),
        query=tuple(shown["query"].items()),
    )


def _flag_from(shown: JsonObject) -> Flag:
    return Flag(
        stage=Stage(shown["stage"]),
        percent_bp=round(shown["percent"] * 100),
        sample_bp=round(shown["sample"] * 100),
        salt=shown["salt"],
    )
