"""How the database's truth and one node's configuration become what this node serves; where its holds belong.

Several nodes share the flags, each reads its own copy of the configuration, and the copies are never exchanged in one
moment. So the flags in the database are those of all routes that any node's configuration has.

Rules of this file:

1. The database rules every flag that it has. A database that is new takes what is in force here.
2. A route of ours that it does not have: the flag of the route that it ``was``, else what is in force here, else the
   initial one; and the database is told.
3. A flag of a route that our configuration lacks belongs to another node: it stays (:func:`tidied` says when it goes).
4. A flag that our configuration cannot follow is not followed, and that is said.
5. A revision is the database's; where the database went back (a backup, a failover), the next one after what was in
   force here: one number never stands for two things.
6. A hold that is only here is new, unless the database has heard of it: then it was released while we were away.
   A hold that is only in the database holds here, too. Nothing that is unknown is ever let go.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from config.spec import ConfigSpec, RouteSpec
from console.journal import now_text
from rules.flag import Flag, Hold, flag_as_json
from rules.reload import OrphanError, carry_flags
from rules.rename import renamed
from rules.snapshot import SnapshotSpec
from rules.stage import initial_flag, is_possible
from store.entries import Entry
from store.flags import Commit, Remembered, name_of_hold
from store.nodes import NodeSeen
from store.renames import renamed_truth, with_renames


@dataclass(frozen=True, slots=True, kw_only=True)
class Joined:
    """Hold what this node is to serve, and what it has to tell the database first."""

    spec: SnapshotSpec
    offered: Mapping[str, Flag]
    """Flags that the database does not have."""
    is_news: bool
    """The database has to be told: it lacks flags, is new, or went back."""
    complaint: str
    """Which flags this configuration cannot follow; empty: none."""
    truth: Remembered
    """What the database says once it was told."""
    moved: Mapping[str, str]
    """Routes that take their former name's things over, to that name."""


def join(config: ConfigSpec, truth: Remembered, before: SnapshotSpec | None, *, went_back: bool = False) -> Joined:
    """Give every route of *config* its flag, and the whole its revision.

    Shape: *before* is what was in force here until now, ``None`` on a node that is new. *went_back*: the database no
    longer has the entry that this rested on, and may have counted to its revision with something else.
    """
    at_rest = {} if before is None else before.flags
    moved = renamed(truth.flags.keys(), config)
    # What lies at rest under a new name is as old as the last start; the database knows what the former name is now.
    known = {**at_rest, **truth.flags, **{name: truth.flags[former] for name, former in moved.items()}}
    stranded = []
    for route in config.routes:
        if (flag := known.get(route.name)) is not None and not is_possible(route, flag.stage):
            stranded.append(f"{route.name} ({flag.stage.value})")
            known[route.name] = _possible(route, at_rest.get(route.name))
    flags = _carried(config, known)
    truth = renamed_truth(truth, config, shared=True)
    offered = {name: flag for name, flag in flags.items() if name not in truth.flags}
    is_new = truth.revision == 0
    in_force = 0 if before is None else before.revision
    if is_new:
        revision = max(1, in_force)
    else:
        revision = truth.revision if in_force + went_back <= truth.revision else in_force + 1
        revision += bool(offered) and revision == truth.revision
    rules = before is not None and is_new
    spec = SnapshotSpec(
        revision=revision,
        config=config,
        flags=flags,
        copying_off=before.copying_off if before is not None and rules else tuple(sorted(truth.copying_off)),
        tolerate=before.tolerate if before is not None and rules else truth.tolerate,
    )
    return Joined(
        spec=spec,
        offered=offered,
        is_news=revision != truth.revision,
        truth=truth,
        moved=moved,
        complaint=""
        if not stranded
        else f"this node's configuration has no backend for what was flipped elsewhere: {', '.join(stranded)}; "
        "give it the configuration of the other nodes and reload",
    )


def _possible(route: RouteSpec, flag: Flag | None) -> Flag:
    return flag if flag is not None and is_possible(route, flag.stage) else initial_flag(route)


def _carried(config: ConfigSpec, known: Mapping[str, Flag]) -> dict[str, Flag]:
    old = SnapshotSpec(revision=0, config=config, flags=dict(known))
    try:
        return carry_flags(old, config, drop=known.keys())
    except OrphanError as error:
        # Only a rename can still strand a flag; such a route begins anew.
        begun = {route.name: initial_flag(route) for route in config.routes if route.name in error.routes}
        return carry_flags(replace(old, flags={**known, **begun}), config, drop=known.keys())


def start_commit(joined: Joined, truth: Remembered) -> Commit:
    """Say what the database has to be told by a node that joins it."""
    spec = joined.spec
    is_new = truth.revision == 0
    lacks = "the database lacks what is in force on a node"
    went_back = "the database went back, as after a failover or a restored backup"
    why = "the database is new" if is_new else lacks if joined.offered else went_back
    change = Commit(
        revision=spec.revision,
        entry=_start_entry(spec.config, truth, joined.offered, why),
        set_flags=joined.offered,
        copying_off=frozenset(spec.copying_off) if is_new else None,
        tolerate=spec.tolerate if is_new else None,
        base=truth.base,
    )
    return with_renames(change, truth, joined.truth, joined.moved)


def announcement(config: ConfigSpec, truth: Remembered, node: str) -> Commit | None:
    """Say which configuration a node has started with; ``None``: the audit names it already.

    Of a roll-out to many nodes the first one says it: what the newest start or reload brought is no news.
    """
    if truth.config in ("", config.digest):
        return None
    why = f"node {node} started with another configuration"
    return Commit(revision=truth.revision, entry=_start_entry(config, truth, {}, why), base=truth.base)


def _start_entry(config: ConfigSpec, truth: Remembered, offered: Mapping[str, Flag], why: str) -> Entry:
    is_other = truth.config not in ("", config.digest)
    return Entry(
        kind="start",
        source="file",
        actor="matapalo",
        routes=tuple(offered),
        reason=why,
        at=now_text(),
        config=config.digest,
        builds={backend: deploys[0].version for backend, deploys in sorted(truth.deploys.items()) if deploys},
        before=({"digest": truth.config} if is_other else {}) | {"flags": {}},
        after={"digest": config.digest, "flags": {name: flag_as_json(flag) for name, flag in offered.items()}},
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class HoldPlan:
    """Say which holds this node puts in force, which it lets go, and which the database has to be told."""

    add: tuple[Hold, ...] = ()
    remove: tuple[str, ...] = ()
    bring: tuple[Hold, ...] = ()

    def __bool__(self) -> bool:
        """Say whether there is anything to do."""
        return bool(self.add or self.remove or self.bring)


def plan_holds(
    here: Mapping[str, Hold],
    written: Mapping[str, Hold],
    heard: Mapping[str, frozenset[str]],
    routes: Collection[str],
) -> HoldPlan:
    """Bring the holds of this node and those of the database together, for some routes (rule 6).

    Shape: *here* is the supervisor's, *written* the database's, *heard* the names of what was ever in it.
    """
    add, remove, bring = [], [], []
    for route in sorted((here.keys() | written.keys()) & set(routes)):
        mine, theirs = here.get(route), written.get(route)
        if mine == theirs:
            continue
        if mine is not None and name_of_hold(mine) not in heard.get(route, ()) and not _is_one(mine, theirs):
            bring.append(mine)
        elif theirs is not None:
            add.append(theirs)
        else:
            remove.append(route)
    return HoldPlan(add=tuple(add), remove=tuple(remove), bring=tuple(bring))


def _is_one(mine: Hold, theirs: Hold | None) -> bool:
    """Tell whether watchdogs of two nodes hold for the same reason, each in its own words: the database's count."""
    return theirs is not None and mine.actor == theirs.actor == "watchdog" and mine.keep_copying == theirs.keep_copying


def tidied(digest: str, foreign: Collection[str], nodes: Sequence[NodeSeen]) -> tuple[str, ...]:
    """Name the flags that nobody needs any more: every node that is known has our configuration, which lacks them.

    A node that is away counts: it comes back with the file that it had.
    """
    return tuple(sorted(foreign)) if all(node.config == digest for node in nodes) else ()
