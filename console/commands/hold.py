"""``matapalo hold`` and ``matapalo release``: keep routes on legacy whatever their flags say."""

from __future__ import annotations

import click

from console.commands.admin import Admin, segment
from console.commands.options import admin_options, reason_option
from console.commands.output import print_change
from console.commands.target import Target, target_options


@click.command()
@click.argument("route")
@click.option("--keep-copying", is_flag=True, help="Legacy answers, new still gets its copies.")
@reason_option
@admin_options
def hold(route: str, keep_copying: bool, reason: str | None, admin: Admin, as_json: bool) -> int:
    """Keep a route on legacy until released; its flag is not touched."""
    answer = admin.post(f"/api/v1/routes/{segment(route)}/hold", {"reason": reason, "keep_copying": keep_copying})
    return print_change(answer, as_json=as_json)


@click.command()
@target_options
@reason_option
@admin_options
def release(target: Target, reason: str | None, admin: Admin, as_json: bool) -> int:
    """Let the flag decide again: take holds away."""
    if target.route is not None:
        answer = admin.post(f"/api/v1/routes/{segment(target.route)}/release", {"reason": reason})
    else:
        answer = admin.post("/api/v1/release", {**target.selector(), "reason": reason})
    return print_change(answer, as_json=as_json)
