"""``matapalo rollback --local``: holds through the supervisor's own socket.

For the night when nothing else works: no admin API, no token, no database, no valid
configuration file. Whoever may write ``state_dir`` may do this. The supervisor keeps the holds,
fsynced; flags stay as they are and decide again after ``matapalo release``.
"""

from __future__ import annotations

import getpass
import os
import socket
import uuid
from collections.abc import Iterable
from datetime import UTC, datetime

import click

from config.spec import RouteSpec
from console.commands.output import print_json
from console.commands.supervisor import ask, state_dir_of
from console.commands.target import Target
from rules.flag import Stage
from rules.snapshot import SnapshotError, SnapshotSpec, decode
from shadow import link

PROBE_TIMEOUT_S = 1.0


def rollback_locally(
    target: Target,
    *,
    keep_copying: bool,
    anyway: bool,
    reason: str | None,
    state_dir: str | None,
    config_path: str | None,
    as_json: bool,
) -> int:
    """Hold the target's routes on legacy, and print which workers obey; the result is the exit code."""
    home = state_dir_of(state_dir, config_path)
    snapshot = _snapshot_in(home)
    names = None if target.everything else _names(target, snapshot)
    if not anyway and snapshot is not None:
        _refuse_dead_legacy(snapshot, names)
    template = link.HoldItem(
        route="",
        keep_copying=keep_copying,
        reason=reason or "",
        actor=_actor(),
        at=datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
    )
    request = link.ChangeHolds(
        request=str(uuid.uuid4()),
        add=[_for_route(template, name) for name in names or ()],
        all_routes=names is None,
        template=template if names is None else None,
    )
    changed = next(ask(home, request, link.HoldsChanged))
    if not changed.ok:
        raise click.ClickException(changed.reason or "the supervisor refused without a reason; see its log")
    _print(changed, as_json=as_json)
    return int(bool(changed.missing))


def _snapshot_in(home: str) -> SnapshotSpec | None:
    """Read what the server serves; ``None`` when it cannot be read, which must not stop a rollback."""
    try:
        with open(os.path.join(home, "snapshot"), "rb") as file:
            return decode(file.read())
    except (OSError, SnapshotError):
        return None


def _names(target: Target, snapshot: SnapshotSpec | None) -> list[str]:
    """Name the target's routes, as far as the snapshot at rest knows them."""
    if snapshot is None:
        if target.route is not None:
            return [target.route]  # the supervisor knows the routes and will say if this is none
        raise click.ClickException("the snapshot in state_dir cannot be read, so only ROUTE and --all work; use --all")
    if target.route is not None:
        found = [route for route in snapshot.config.routes if route.name == target.route]
        kind, name = "route", target.route
    elif target.journey is not None:
        found = [route for route in snapshot.config.routes if route.journey == target.journey]
        kind, name = "journey", target.journey
    else:
        found = [route for route in snapshot.config.routes if target.backend in (route.legacy, route.new)]
        kind, name = "backend", target.backend or ""
    if not found:
        known = ", ".join(route.name for route in snapshot.config.routes) or "none"
        belongs = f"there is no route {name!r}" if kind == "route" else f"no route belongs to {kind} {name!r}"
        raise click.ClickException(f"{belongs}; the routes are: {known}")
    names = [route.name for route in found if route.legacy is not None]
    if not names:
        raise click.ClickException(
            f"{kind} {name!r} has no legacy side to roll back to; stop copying with `matapalo shadow off`"
        )
    return names


def _refuse_dead_legacy(snapshot: SnapshotSpec, names: Iterable[str] | None) -> None:
    """Refuse where legacy may be switched off already and does not accept a connection.

    Raises: click.ClickException naming route and backend.
    """
    chosen = None if names is None else frozenset(names)
    backends = {backend.name: backend for backend in snapshot.config.backends}
    for route in snapshot.config.routes:
        if (chosen is not None and route.name not in chosen) or not _may_be_off(route, snapshot):
            continue
        backend = backends[route.legacy or ""]
        try:
            socket.create_connection((backend.host, backend.port), timeout=PROBE_TIMEOUT_S).close()
        except OSError as error:
            raise click.ClickException(
                f"route {route.name!r} would go back to {backend.name} at {backend.host}:{backend.port}, which "
                f"does not accept a connection ({error.strerror or error}); start it, or add --anyway"
            ) from error


def _may_be_off(route: RouteSpec, snapshot: SnapshotSpec) -> bool:
    flag = snapshot.flags.get(route.name)
    return route.legacy is not None and flag is not None and flag.stage in (Stage.COMPLETE, Stage.GONE)


def _actor() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user id without a name
        return f"uid {os.getuid()}"


def _for_route(template: link.HoldItem, name: str) -> link.HoldItem:
    return link.HoldItem(
        route=name,
        keep_copying=template.keep_copying,
        reason=template.reason,
        actor=template.actor,
        at=template.at,
    )


def _print(changed: link.HoldsChanged, *, as_json: bool) -> None:
    if as_json:
        holds = {"acked": changed.acked, "missing": changed.missing}
        print_json({"changed": True, "routes": changed.routes, "revision": changed.revision, "holds": holds})
        return
    click.echo(f"Held on legacy: {', '.join(changed.routes) or 'no route has a legacy side'}.")
    click.echo(f"In force on worker {', '.join(map(str, changed.acked)) or 'none yet'}.")
    click.echo("The flags were not touched: `matapalo release` lets them decide again.")
    if changed.missing:
        late = ", ".join(map(str, changed.missing))
        click.echo(f"Not everywhere yet: worker {late} has not acknowledged; it obeys before its next start.", err=True)
