"""Everything that is stored under a route's name, and what becomes of it when the route is renamed (``was:``).

What people and the product *decided* about a route goes with it; what was *seen* of it stays under the name that it was
seen under, and is gathered anew. :data:`MOVES` and :data:`STAYS` together name every place (a test holds them against
the tables), so whoever stores something new under a route's name says here what a rename does with it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any, Final

from config.spec import ConfigSpec
from rules.rename import inherited, inherited_tolerances, renamed
from store.flags import NOTES, Commit, Remembered, hold_as_json

MOVES: Final[Mapping[str, str]] = {
    "flags.route": "rules.reload.carry_flags carries it, with its salt",
    "holds.route": "a hold lasts until it is released",
    "copying_off.route": "copying stays off until it is switched on",
    "meta tolerance:": "each under the name that it has with its new route",
    "meta watchdog:": "the last trip: its cool-down goes on",
    "meta autopilot:": "a pause, a halt, and since when a step bakes",
    "meta evidence:": "evidence from before a reset does not count under the former name either, should it come back",
}
"""Place to how it moves, or why: ``table.column``, or a prefix of keys in ``meta`` and ``evidence_meta``."""

STAYS: Final[Mapping[str, str]] = {
    "audit_routes.route": "the audit is never rewritten; the reload's entry names both",
    "meta heard:": "names of holds that were written; the moved one is written anew, and heard with that",
    "answered.route": "seen, per hour, for people",
    "last_legacy.route": "quiet begins anew: a route is live since its own first entry in the audit",
    "evidence_meta takes:": "quiet begins anew",
    "evidence_meta lost:": "quiet begins anew",
    "gate_hours.route": "a gate's evidence begins anew",
    "compared.route": "seen",
    "divergences.route": "seen; a divergence is named by its route, and is triaged anew",
    "noise_asked.route": "seen",
    "noise_places.route": "seen",
}
"""Place to why what is there stays under the former name."""

NO_ROUTE: Final = ("meta deployed:", "meta source:")
"""Keys that name something else."""

_NOTES: Final = tuple(prefix for prefix in NOTES if f"meta {prefix}" in MOVES)
_AUTOPILOT: Final = "autopilot:"


def renamed_truth(truth: Remembered, config: ConfigSpec, *, shared: bool) -> Remembered:
    """Give what was decided about routes to their heirs in a configuration, but for the flags themselves.

    Shape: *shared*: other nodes may still have the former names, which keep theirs until nobody has them.
    """
    moved = renamed(truth.flags.keys(), config)
    if not moved:
        return truth
    holds = inherited(truth.holds, moved, shared=shared)
    off = inherited(dict.fromkeys(truth.copying_off), moved, shared=shared)
    return replace(
        truth,
        holds={name: replace(hold, route=name) for name, hold in holds.items()},
        copying_off=frozenset(off),
        tolerate=inherited_tolerances(truth.tolerate, moved, shared=shared),
        notes=_notes(truth.notes, config, moved, shared=shared),
    )


def _notes(notes: Mapping[str, str], config: ConfigSpec, moved: Mapping[str, str], *, shared: bool) -> dict[str, str]:
    kept = dict(notes)
    journeys = {route.journey for route in config.routes}
    for prefix in _NOTES:
        # What a journey's autopilot does stands under the journey's name, which may be a route's former one, too.
        ours = moved if prefix != _AUTOPILOT else {n: f for n, f in moved.items() if not {n, f} & journeys}
        under = {name: f"{prefix}{former}" for name, former in ours.items()}
        kept = inherited(kept, {f"{prefix}{name}": key for name, key in under.items()}, shared=shared)
    return kept


def with_renames(change: Commit, before: Remembered, after: Remembered, moved: Mapping[str, str]) -> Commit:
    """Have a change write what :func:`renamed_truth` moved, and say so in its audit entry."""
    if not moved:
        return change
    change = with_difference(change, before, after)
    told: dict[str, Any] = {"renamed": dict(moved)}  # Any: JSON
    if change.hold:
        told["holds"] = {hold.route: hold_as_json(hold) for hold in change.hold}
    return replace(change, entry=replace(change.entry, after={**change.entry.after, **told}))


def forgotten(truth: Remembered, config: ConfigSpec, names: Collection[str]) -> Remembered:
    """Leave out what was decided about routes that no configuration has any more, but for the flags themselves."""
    journeys = {route.journey for route in config.routes}
    notes = {f"{prefix}{name}" for prefix in _NOTES for name in names if prefix != _AUTOPILOT or name not in journeys}
    return replace(
        truth,
        holds={name: hold for name, hold in truth.holds.items() if name not in names},
        copying_off=truth.copying_off - set(names),
        tolerate=tuple(spec for spec in truth.tolerate if spec.route not in names),
        notes={key: value for key, value in truth.notes.items() if key not in notes},
    )


def with_difference(change: Commit, before: Remembered, after: Remembered) -> Commit:
    """Have a change write all that is decided otherwise afterwards, but for the flags."""
    keys = before.notes.keys() | after.notes.keys()
    notes = {key: after.notes.get(key) for key in keys if before.notes.get(key) != after.notes.get(key)}
    held = tuple(hold for name, hold in after.holds.items() if before.holds.get(name) != hold)
    return replace(
        change,
        hold=(*change.hold, *held),
        release=(*change.release, *(name for name in before.holds if name not in after.holds)),
        copying_off=after.copying_off if change.copying_off is None else change.copying_off,
        tolerate=after.tolerate,
        remember={**change.remember, **notes},
    )


def moved_words(before: Remembered, after: Remembered, moved: Mapping[str, str]) -> list[str]:
    """Say of each rename what went with it, and what did not."""
    return [
        f"{name} took over from {former}: its flag{', its hold' if name in after.holds else ''}, copying switch, "
        "tolerances, autopilot and cool-down; what was seen under the former name stays there, so evidence for its "
        "gate, divergences and the quiet before complete begin anew"
        for name, former in moved.items()
    ]
