"""Which routes a command means: one by name, all, a journey's or a backend's."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import click

from console.commands.options import Command


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Hold exactly one way to name routes."""

    route: str | None = None
    everything: bool = False
    journey: str | None = None
    backend: str | None = None

    def selector(self) -> dict[str, object]:
        """Write the target as the admin API takes it beside a single route."""
        if self.everything:
            return {"all": True}
        if self.journey is not None:
            return {"journey": self.journey}
        if self.backend is not None:
            return {"backend": self.backend}
        return {"routes": [self.route]}


def target_options(command: Command) -> Command:
    """Add ``[ROUTE]``, ``--all``, ``--journey`` and ``--backend``; the command receives ``target``."""

    @functools.wraps(command)
    def call(
        *args: object,
        route: str | None,
        everything: bool,
        journey: str | None,
        backend: str | None,
        **rest: object,
    ) -> object:
        if sum((route is not None, everything, journey is not None, backend is not None)) != 1:
            raise click.UsageError("name exactly one target: ROUTE, --all, --journey NAME or --backend NAME")
        target = Target(route=route, everything=everything, journey=journey, backend=backend)
        return command(*args, target=target, **rest)

    decorated: Command = call
    for option in (
        click.option("--backend", help="Every route with this backend on either side."),
        click.option("--journey", help="Every route of this journey."),
        click.option("--all", "everything", is_flag=True, help="Every route."),
        click.argument("route", required=False),
    ):
        decorated = option(decorated)
    return decorated
