"""What no single key can know: names that must exist, sides that must differ, addresses that must not loop."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from config.document import Place
from config.forms import format_address
from config.kinds import Filled
from config.reader import REFUSED, Reader
from config.spec import AddressSpec, BackendSpec, ConfigSpec, MatchSpec, RouteSpec
from config.units import format_share

MAX_LISTENERS: Final = 64
"""Each worker slot holds a socket for each address; every address is held against every other."""


_THIS_MACHINE: Final = (ipaddress.IPv4Address("127.0.0.1"), ipaddress.IPv4Address(0))
"""Connecting to 0.0.0.0 reaches the same listener as 127.0.0.1."""


def check_stage_keys(filled: Filled, flags: str, reader: Reader) -> None:
    """Refuse the stage keys that another flag source uses."""
    wrong, right, why = _STAGE_KEYS[flags]
    for prefix in wrong:
        for name in ("stage", "percent"):
            if f"{prefix}{name}" in filled.places:
                expected = "nothing" if right is None else f"{right}{name}"
                message = f"found {prefix}{name}, expected {expected}; with flags: {flags}, {why}"
                reader.report(filled.places[f"{prefix}{name}"], f"{filled.where}.{prefix}{name}", message)


_STAGE_KEYS: Final[Mapping[str, tuple[tuple[str, ...], str | None, str]]] = {
    "database": (("",), "initial_", "flips rule the flag, the file only its first value"),
    "file": (("initial_",), "", "this file rules the flags"),
    "openfeature": (("", "initial_"), None, "the provider rules the flags, and without its word a route is legacy"),
}
"""By source of flags: prefixes of stage keys that it does not know, the one that it does, and why."""


def check_backend_names(
    root: Filled, defaults: Filled, routes: Iterable[Filled], known: Sequence[str], reader: Reader
) -> None:
    """Refuse every name of a backend that no file defines."""
    if root.refused("backends"):
        return
    undeclared = root.given.get("undeclared")
    users = [
        (defaults, "legacy"),
        (defaults, "new"),
        *((route, side) for route in routes for side in ("legacy", "new")),
    ]
    if isinstance(undeclared, Filled):
        users.append((undeclared, "backend"))
    defined = {*known, "none"}
    for filled, key in users:
        name = filled.given.get(key)
        if name is not None and name not in defined:
            there = ", ".join(known[:20]) or "none"
            message = (
                f"found the backend {name!r}, which is not defined; {reader.near(name, known)}the backends are {there}"
            )
            reader.report(filled.places[key], f"{filled.where}.{key}", message)


def check_addresses(root: Filled, spec: ConfigSpec, named: Iterable[tuple[str, Any]], reader: Reader) -> None:
    """Refuse two listeners on one address, an open admin API, and backends that lead back to ourselves."""
    admin, health = root.given.get("admin"), root.given.get("health")
    if len(spec.listen) > MAX_LISTENERS:
        message = f"found {len(spec.listen)} addresses, expected at most {MAX_LISTENERS}"
        reader.report(root.places["listen"], "listen", message)
        return
    mine: list[tuple[AddressSpec, str, Place]] = [
        *((address, "listen", root.places.get("listen", root.place)) for address in spec.listen),
        (spec.admin.listen, "admin.listen", admin.places.get("listen", admin.place) if admin else root.place),
        (spec.health, "health.listen", health.places.get("listen", health.place) if health else root.place),
    ]
    for index, (address, where, place) in enumerate(mine):
        for other, there, _ in mine[:index]:
            if address.port and address.port == other.port and _overlap(address.host, other.host):
                message = f"found {format_address(address)}, which {there} uses too; expected an address of its own"
                reader.report(place, where, message)
    _check_admin(spec, mine[len(spec.listen)][2], admin, reader)
    by_name = {backend.name: backend for backend in spec.backends}
    for name, filled in named:
        if filled is REFUSED or name not in by_name:
            continue
        backend = by_name[name]
        for address, there, _ in mine:
            if address.port and address.port == backend.port and _leads_to(backend.host, address.host):
                message = f"found our own address ({there}), expected another service; requests would go in circles"
                reader.report(filled.places["url"], f"{filled.where}.url", message)


def _check_admin(spec: ConfigSpec, place: Place, admin: Filled | None, reader: Reader) -> None:
    """Refuse an admin API that others can reach without tokens or in clear text."""
    if ipaddress.ip_address(spec.admin.listen.host).is_loopback:
        return
    missing = []
    if not spec.admin.tokens and (admin is None or not {"tokens", "identity"} & admin.places.keys()):
        missing.append("tokens")
    if spec.admin.listen.tls is None and not spec.admin.behind_tls and (admin is None or "tls" not in admin.places):
        missing.append("tls: {cert: PATH, key: PATH} (or behind_tls: true where something in front speaks TLS)")
    if missing:
        message = (
            f"found {format_address(spec.admin.listen)}, which other machines can reach, "
            f"expected {' and '.join(missing)} beside it, or a loopback address such as 127.0.0.1:8081"
        )
        reader.report(place, "admin.listen", message)


def _overlap(one: str, other: str) -> bool:
    """Tell whether two listeners with the same port would be in each other's way."""
    return one == other or any(ipaddress.ip_address(host).is_unspecified for host in (one, other))


def _leads_to(host: str, listened: str) -> bool:
    """Tell, without a resolver, whether connecting to *host* reaches a listener on *listened*."""
    listener = ipaddress.ip_address(listened)
    if _is_localhost(host):
        return listener.is_loopback or listener.is_unspecified
    target = _as_address(host)
    if target is None:
        return False
    local = target.is_loopback or target.is_unspecified
    return target == listener or (
        local and (listener.is_unspecified or (target.is_unspecified and listener.is_loopback))
    )


def _is_localhost(host: str) -> bool:
    """Tell whether a name means this machine wherever it is resolved (RFC 6761 section 6.3)."""
    name = host.lower().rstrip(".")
    return name == "localhost" or name.endswith(".localhost")


def _as_address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """Read a host that is an address, an IPv4 one in IPv6 clothes as what it is; ``None``: it is a name."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def check_member(filled: Filled, reader: Reader) -> None:
    """Refuse a way to belong to a cohort that asks for nothing, or for a value of nothing in particular."""
    names, wants = {"header", "cookie"} & filled.places.keys(), {"value", "token"} & filled.places.keys()
    message = ""
    if not names and "cidr" not in filled.places:
        message = "found nothing to ask, expected header, cookie or cidr; everybody would belong to it"
    elif len(wants) > 1:
        message = "found value and token, expected one of them"
    elif wants and len(names) != 1:
        there = " and ".join(sorted(names)) or "neither"
        message = f"found {wants.pop()} with {there}, expected it with one of header and cookie"
    if message:
        reader.report(filled.place, filled.where, message)


def check_audiences(
    root: Filled,
    defaults: Filled,
    written: Sequence[Filled],
    routes: Sequence[RouteSpec | None],
    spec: ConfigSpec,
    reader: Reader,
) -> None:
    """Refuse stages of cohorts that nobody defines or that a route cannot have, and pins that nothing signs."""
    known = [cohort.name for cohort in spec.cohorts]
    for filled in (defaults, *written):
        for name, stage in filled.given.get("cohorts", ()):
            where = f"{filled.where}.cohorts.{name}"
            if name not in known and not root.refused("cohorts"):
                there = ", ".join(known[:20]) or "none"
                message = f"found the cohort {name!r}, which is not defined; {reader.near(name, known)}known: {there}"
                reader.report(stage.place, where, message)
            is_canary = stage.given.get("stage") == "canary"
            if is_canary != ("percent" in stage.places):
                expected = "percent beside it" if is_canary else "percent with canary only"
                reader.report(stage.place, where, f"found the stage {stage.given.get('stage')}, expected {expected}")
        if filled.given.get("pin") is not None and "pins" not in root.places:
            message = "found a pin, expected pins: {secret: env:NAME} at the top level, which signs it"
            reader.report(filled.places["pin"], f"{filled.where}.pin", message)
    for filled, route in zip(written, routes, strict=True):
        if route is None or not route.cohorts:
            continue
        beyond = [cohort.name for cohort in route.cohorts if cohort.stage != "legacy"]
        place = filled.places.get("cohorts", filled.place)
        if route.legacy is None:
            message = "found cohorts with legacy: none, expected none: there is no other side to be on"
            reader.report(place, f"{filled.where}.cohorts", message)
        elif route.new is None and beyond:
            message = f"found a stage for {beyond[0]}, expected new beside it, which would answer or be copied to"
            reader.report(place, f"{filled.where}.cohorts", message)


def check_routes(
    written: Sequence[Filled],
    defaults: Filled,
    routes: Sequence[RouteSpec | None],
    backends: Mapping[str, BackendSpec],
    flags: str,
    reader: Reader,
) -> None:
    """Hold each route against itself and against the others."""
    names: dict[str, Place] = {}
    formers: dict[str, str] = {}
    journeys: dict[str, RouteSpec] = {}
    matches: dict[tuple[object, ...], list[tuple[frozenset[str], str]]] = {}
    for filled, route in zip(written, routes, strict=True):
        if route is None:
            continue
        if route.name in names:
            there = f"{names[route.name].file}:{names[route.name].line}"
            message = f"found {route.name!r} again, expected each name once; see {there}"
            reader.report(filled.places["name"], f"{filled.where}.name", message)
        names.setdefault(route.name, filled.places["name"])
        if route.was is not None:
            if route.was in formers or route.was == route.name:
                message = (
                    f"found {route.was!r}, which {formers.get(route.was, route.name)} is or was, expected a former name"
                )
                reader.report(filled.places["was"], f"{filled.where}.was", message)
            formers[route.was] = route.name
        _check_sides(filled, defaults, route, backends, reader)
        _check_journey(filled, route, journeys, reader)
        _check_matches(filled, route, matches, reader)
        _check_autopilot(filled, defaults, route, flags, reader)
    for filled, route in zip(written, routes, strict=True):
        if route is not None and route.was in names and route.was != route.name:
            message = f"found {route.was!r}, which is still a route, expected a former name; remove was"
            reader.report(filled.places["was"], f"{filled.where}.was", message)


def _check_sides(
    filled: Filled, defaults: Filled, route: RouteSpec, backends: Mapping[str, BackendSpec], reader: Reader
) -> None:
    """Refuse sides that are missing or the same, and stages that the sides cannot serve."""
    if any(layer.refused(key) for layer in (filled, defaults) for key in ("legacy", "new", "stage", "initial_stage")):
        return
    has_legacy = any("legacy" in layer.given for layer in (filled, defaults))
    stage, where = route.initial_stage, filled.where
    spot = next((filled.places[key] for key in ("stage", "initial_stage") if key in filled.places), filled.place)
    if not has_legacy:
        message = "is missing, expected the name of a backend here or in defaults; none for a feature it never had"
        reader.report(filled.place, f"{where}.legacy", message)
    elif route.legacy is None and stage in ("legacy", "shadow", "canary"):
        reader.report(spot, where, f"found the stage {stage} with legacy: none, expected live, complete or gone")
    if route.new is None and stage not in ("legacy", "gone"):
        message = f"is missing, expected the name of a backend, because the stage is {stage}"
        reader.report(filled.places.get("new", filled.place), f"{where}.new", message)
    if stage == "canary" and not {"percent", "initial_percent"} & filled.places.keys():
        percent = "percent" if "stage" in filled.places else "initial_percent"
        reader.report(spot, where, f"found the stage canary alone, expected {percent} beside it, such as {percent}: 5")
    if route.legacy is not None and route.new is not None and _same(route.legacy, route.new, backends):
        layer = next((layer for layer in (filled, defaults) if "new" in layer.given), filled)
        same = (
            route.new if route.new == route.legacy else f"{route.new}, which leads to the same place as {route.legacy}"
        )
        message = f"found {same} on both sides, expected two services; a copy would ask the same one twice"
        reader.report(layer.places["new"], f"{layer.where}.new", message)


def _same(legacy: str, new: str, backends: Mapping[str, BackendSpec]) -> bool:
    """Tell whether two sides are one service: one name, or two names for the same requests."""
    if legacy == new:
        return True
    if legacy not in backends or new not in backends:
        return False
    return _target(backends[legacy]) == _target(backends[new])


def _target(backend: BackendSpec) -> BackendSpec:
    """Keep of a backend only what decides who gets which request, this machine under one name."""
    address = _as_address(backend.host)
    is_here = _is_localhost(backend.host) or (address is not None and address in _THIS_MACHINE)
    return BackendSpec(
        name="",
        scheme=backend.scheme,
        host="localhost" if is_here else backend.host.lower(),
        port=backend.port,
        host_header=backend.host_header,
        path_strip=backend.path_strip,
        path_add=backend.path_add,
        headers_set=backend.headers_set,
        headers_remove=backend.headers_remove,
    )


def _check_journey(filled: Filled, route: RouteSpec, journeys: dict[str, RouteSpec], reader: Reader) -> None:
    """Refuse routes of one journey that start apart: they could never flip together."""
    if route.journey is None:
        return
    first = journeys.setdefault(route.journey, route)
    if (first.initial_stage, first.initial_percent_bp) != (route.initial_stage, route.initial_percent_bp):
        message = (
            f"found the stage {route.initial_stage} in the journey {route.journey}, expected {first.initial_stage} "
            f"and the same percent as {first.name}; routes of one journey flip together"
        )
        reader.report(filled.places["journey"], f"{filled.where}.journey", message)
    if first.autopilot != route.autopilot:
        message = (
            f"found another autopilot than that of {first.name}, expected the same in the journey {route.journey}; "
            "its routes flip together"
        )
        reader.report(filled.places["journey"], f"{filled.where}.journey", message)
    if first.cohorts != route.cohorts:
        message = (
            f"found other cohorts than those of {first.name}, expected the same in the journey {route.journey}; "
            "routes of one journey flip together, for every cohort"
        )
        reader.report(filled.places["journey"], f"{filled.where}.journey", message)
    if first.sticky != route.sticky:
        message = (
            f"found another sticky than that of {first.name}, expected the same in the journey {route.journey}; "
            "otherwise its clients are split between the sides"
        )
        reader.report(filled.places["journey"], f"{filled.where}.journey", message)


def _check_autopilot(filled: Filled, defaults: Filled, route: RouteSpec, flags: str, reader: Reader) -> None:
    """Refuse an autopilot that may not flip, steps that do not rise, and a number of bake times that fits no step."""
    pilot = route.autopilot
    if pilot is None:
        return
    layer = filled if "autopilot" in filled.places else defaults
    place, where = layer.places["autopilot"], f"{layer.where}.autopilot"
    if flags != "database":
        ruler = "file" if flags == "file" else "provider"
        message = f"found an autopilot, expected off; with flags: {flags} the {ruler} rules the flags, it cannot flip"
        reader.report(place, where, message)
    if list(pilot.steps_bp) != sorted(set(pilot.steps_bp)):
        shown = ", ".join(map(format_share, pilot.steps_bp))
        reader.report(place, f"{where}.steps", f"found {shown}, expected rising shares, such as 1%, 5%, 25%")
    if len(pilot.bake_ns) not in (1, len(pilot.steps_bp)):
        message = f"found {len(pilot.bake_ns)} durations, expected one, or one for each of {len(pilot.steps_bp)} steps"
        reader.report(place, f"{where}.bake", message)


def _check_matches(
    filled: Filled,
    route: RouteSpec,
    matches: dict[tuple[object, ...], list[tuple[frozenset[str], str]]],
    reader: Reader,
) -> None:
    """Refuse two matches that take the same requests; closer ties are refused where routes are compiled."""
    for match in route.match:
        methods = frozenset(match.methods)
        others = matches.setdefault(_shape(match), [])
        for theirs, name in others[:50]:
            if methods == theirs or methods & theirs:
                other = "this route already takes" if name == route.name else f"{name!r} takes too"
                message = f"found {match.path}, which {other}, expected one match for each request"
                reader.report(filled.places["match"], f"{filled.where}.match", message)
                break
        others.append((methods, route.name))


def _shape(match: MatchSpec) -> tuple[object, ...]:
    """Give what two matches share when they differ in nothing but the names of parameters."""
    path = re.sub(r"\{[^{}:]*", "{", match.path)
    bare = replace(match, path=path, methods=(), trailing_slash="strict")
    return (bare.path, bare.host, frozenset(bare.headers), frozenset(bare.query))
