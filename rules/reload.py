"""Carry flags over a new configuration, and say what the new one changes.

A flag is what operators decided at run time; a file must not lose it by
accident. So a flag beyond ``legacy`` whose route would vanish, or which the
route's new sides can no longer carry, refuses the whole reload.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import fields, is_dataclass, replace
from difflib import get_close_matches
from typing import Final

from config.errors import MatapaloError
from config.spec import ConfigSpec, RouteSpec, ToleranceSpec
from config.tolerance import rule_as_written
from rules.basis import bases_of
from rules.flag import FOR_EVERYBODY, Flag, Stage
from rules.rename import renamed
from rules.snapshot import SnapshotSpec
from rules.stage import can_carry, initial_cohorts, initial_flag, is_beyond_legacy
from rules.told import change_as_text

RESTART_FIELDS: Final = ("listen", "admin", "health", "state_dir", "database", "node", "workers", "comparers")
"""What only a new start can change: sockets, processes and files that are open."""

_UNTOLD: Final = frozenset(("digest", "files", "stamps"))
_BY_NAME: Final = ("backends", "routes")


class OrphanError(MatapaloError):
    """A new configuration would lose flags; the sentence names them all and the ways out."""

    def __init__(self, sentence: str, routes: tuple[str, ...]) -> None:
        super().__init__(sentence)
        self.routes = routes
        """Names in the old configuration whose flags would be lost, then names that cannot carry theirs."""

    def __reduce__(self) -> tuple[type[OrphanError], tuple[str, tuple[str, ...]]]:
        """Pickle by the parts that the constructor takes."""
        return type(self), (str(self), self.routes)


def carry_flags(old: SnapshotSpec | None, new: ConfigSpec, drop: Collection[str] = ()) -> dict[str, Flag]:
    """Give every route of *new* its flag: its own, that of the route it ``was``, or its initial one.

    Shape: ``drop`` names flags that may be lost. With ``flags: file`` the file rules stage and shares,
    and only the salt is carried, so that no client moves.
    Raises: OrphanError when a flag beyond ``legacy`` would be lost or cannot be carried.
    """
    known = {} if old is None else old.flags
    names = {route.name for route in new.routes}
    moved = renamed(known.keys(), new)
    origins = {name: name if name in known else moved.get(name) for name in names}
    orphans = tuple(
        name
        for name, flag in known.items()
        if is_beyond_legacy(flag) and name not in origins.values() and name not in drop
    )
    cohorts = [cohort.name for cohort in new.cohorts]
    declared = _declared(old)
    flags = {}
    for route in new.routes:
        origin = origins[route.name] or ""
        flags[route.name] = _carried(route, known.get(origin), new.flags, cohorts, declared.get(origin, ()))
    stranded = tuple(route.name for route in new.routes if not can_carry(route, flags[route.name]))
    if orphans or stranded:
        sentences = [_orphan_sentence(name, known[name], names - known.keys()) for name in orphans]
        sentences += [_stranded_sentence(route, flags[route.name]) for route in new.routes if route.name in stranded]
        raise OrphanError("; ".join(sentences), orphans + stranded)
    return flags


def undropped(drop: Collection[str], known: Collection[str], new: ConfigSpec) -> list[str]:
    """Say of each flag that may be lost why there was nothing to lose; no sentence: it goes.

    It refuses nothing, so that a reload may be said twice: a wrong name of a flag beyond ``legacy`` is refused by what
    it fails to name.
    """
    names = {route.name for route in new.routes}
    notes = []
    for name in drop:
        if name in names:
            notes.append(f"--drop {name} did nothing: the route is in the configuration and keeps its flag")
        elif name not in known:
            close = get_close_matches(name, sorted(known), n=1)
            guess = f"did you mean {close[0]}?" if close else "it has gone already, or was never there"
            notes.append(f"--drop {name} did nothing: there is no route of this name; {guess}")
    return notes


def _declared(old: SnapshotSpec | None) -> dict[str, Collection[str]]:
    """Name the cohorts that each route of the old configuration gave a first stage."""
    routes = () if old is None else old.config.routes
    return {route.name: {cohort.name for cohort in route.cohorts} for route in routes}


def _carried(
    route: RouteSpec, flag: Flag | None, flags: str, cohorts: Collection[str], declared: Collection[str]
) -> Flag:
    """Carry one flag over: its cohorts as far as they still exist, and the first stage of those that are new here."""
    initial = initial_flag(route)
    if flag is None:
        return initial
    if flags == "file":
        return replace(initial, salt=flag.salt)
    kept = {name: own for name, own in flag.cohorts.items() if name in cohorts}
    born = {} if flag.stage in FOR_EVERYBODY else initial_cohorts(route)
    return replace(flag, cohorts={name: own for name, own in born.items() if name not in declared} | kept)


def _standing(flag: Flag) -> str:
    """Say where a flag stands, in words; of a route on legacy, where its cohorts stand."""
    beyond = [f"{name} in {own.stage.value!r}" for name, own in flag.cohorts.items() if own.stage is not Stage.LEGACY]
    if flag.stage is Stage.LEGACY and beyond:
        return f"in stage 'legacy' with the cohort {', '.join(beyond)}"
    return f"in stage {flag.stage.value!r}"


def _orphan_sentence(name: str, flag: Flag, newcomers: Collection[str]) -> str:
    close = get_close_matches(name, sorted(newcomers), n=1) or sorted(newcomers)[:1]
    heir = (
        f"write `was: {name}` in route {close[0]!r}" if close else f"write `was: {name}` in the route that follows it"
    )
    return (
        f"route {name!r} is {_standing(flag)} and no longer in the configuration; {heir} "
        f"to keep its flag, or allow the loss with --drop {name}"
    )


def _stranded_sentence(route: RouteSpec, flag: Flag) -> str:
    missing = "legacy" if route.legacy is None else "new"
    way_out = "gone" if missing == "legacy" else "legacy"
    return (
        f"route {route.name!r} is {_standing(flag)} but has no {missing} backend in the new configuration; "
        f"name one as `{missing}:`, or take the route to {way_out} first"
    )


def needs_restart(old: ConfigSpec, new: ConfigSpec) -> list[str]:
    """Name the keys of a new configuration that a reload cannot apply; empty: a reload is enough."""
    return [name for name in RESTART_FIELDS if _opened(old, name) != _opened(new, name)]


def _opened(config: ConfigSpec, name: str) -> object:
    """Give what is open for a key; a listener may show another certificate, but not begin to show one."""
    if name == "listen":
        return [(address.host, address.port, address.tls is None) for address in config.listen]
    if name == "admin":  # who may call is looked at with each call
        return (config.admin.listen, config.admin.behind_tls)
    return getattr(config, name)


def diff(old: ConfigSpec, new: ConfigSpec) -> list[str]:
    """Say what a new configuration changes, one line for people per change.

    Shape: ``+`` added, ``-`` removed, ``~`` changed; a value that may be a secret is named, not shown
    (:mod:`rules.told`).
    Order: routes and backends by name, then the other keys as in the file. The order in the file is no change.
    """
    lines: list[str] = []
    bases = bases_of(old), bases_of(new)
    for kind in _BY_NAME:
        before = {item.name: item for item in getattr(old, kind)}
        after = {item.name: item for item in getattr(new, kind)}
        label = kind.removesuffix("s")
        for name in sorted(before.keys() | after.keys()):
            if name not in after:
                lines.append(f"- {label} {name}")
            elif name not in before:
                lines.append(f"+ {label} {name}{_summary(after[name])}")
            else:
                changes = _changes(before[name], after[name])
                # The key of a file that rules the flags is `stage`; the fields are those of a first value.
                ruled = (line.removeprefix("initial_") if new.flags == "file" else line for line in changes)
                lines += [f"~ {label} {name}: {line}" for line in ruled]
            if label == "route" and name in before and name in after and bases[0][name] != bases[1][name]:
                lines.append(f"~ route {name}: evidence for its gate begins anew")
    for name in (field.name for field in fields(new)):
        if name not in _UNTOLD and name not in _BY_NAME:
            lines += [f"~ {line}" for line in _change(name, getattr(old, name), getattr(new, name))]
    before_stamps = dict(old.stamps)
    lines += [f"~ {ref} was replaced" for ref, stamp in new.stamps if before_stamps.get(ref, stamp) != stamp]
    return lines


def _summary(item: object) -> str:
    if isinstance(item, RouteSpec):
        return f": {', '.join(match.path for match in item.match)}, {item.legacy} -> {item.new}"
    return ""


def _changes(before: object, after: object, prefix: str = "") -> Iterator[str]:
    assert is_dataclass(after), "only specs have fields to compare"
    for field in fields(after):
        yield from _change(prefix + field.name, getattr(before, field.name), getattr(after, field.name))


def _change(name: str, before: object, after: object) -> Iterator[str]:
    if before == after:
        return
    if name == "tolerate":
        yield from _tolerance_changes(before, after)
    elif is_dataclass(before) and type(before) is type(after):
        yield from _changes(before, after, f"{name}.")
    else:
        yield change_as_text(name, before, after)


def _tolerance_changes(before: object, after: object) -> Iterator[str]:
    """Say which tolerances come, go, or are answered for in another way."""
    assert isinstance(before, tuple)
    assert isinstance(after, tuple)
    held: dict[str, ToleranceSpec] = {spec.id: spec for spec in before}
    asked: dict[str, ToleranceSpec] = {spec.id: spec for spec in after}
    yield from (f"no longer tolerated: {_tolerance(spec)}" for name, spec in held.items() if name not in asked)
    for name, spec in asked.items():
        if name not in held:
            yield f"tolerated: {_tolerance(spec)}"
        elif spec != held[name]:
            yield f"still tolerated: {_tolerance(spec)}"


def _tolerance(spec: ToleranceSpec) -> str:
    rule = "" if spec.rule is None else f" with the rule {rule_as_written(spec.rule)}"
    what = " ".join(filter(None, (spec.path, spec.cause)))
    return f"{what}{rule} until {spec.expires} ({spec.owner}: {spec.reason})"
