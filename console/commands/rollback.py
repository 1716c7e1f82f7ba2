"""``matapalo rollback``: back to legacy, now; also with the control process and the database dead."""

from __future__ import annotations

import click

from console.commands.admin import Admin, segment
from console.commands.options import admin_options, reason_option
from console.commands.output import print_change
from console.commands.target import Target, target_options


@click.command()
@target_options
@click.option(
    "--to",
    type=click.Choice(["legacy", "shadow"]),
    default="legacy",
    help="shadow: legacy answers and new keeps getting copies, so that the evidence goes on.",
)
@click.option("--anyway", is_flag=True, help="Although legacy does not accept a connection.")
@click.option("--local", is_flag=True, help="Talk to the supervisor on this machine: no admin API, no database.")
@click.option("--state-dir", type=click.Path(), help="With --local: the server's state_dir.")
@click.option("-c", "--config", "config_path", type=click.Path(), help="With --local: the file that names state_dir.")
@reason_option
@admin_options
def rollback(
    target: Target,
    to: str,
    anyway: bool,
    local: bool,
    state_dir: str | None,
    config_path: str | None,
    reason: str | None,
    admin: Admin,
    as_json: bool,
) -> int:
    """Send routes back to legacy on every worker, and keep them there until released.

    \b
    matapalo rollback orders
    matapalo rollback --all --reason "checkout is slow"
    matapalo rollback --all --local --state-dir /var/lib/matapalo
    """
    if local:
        from console.commands.local import rollback_locally  # reads snapshots: not for the usual case

        return rollback_locally(
            target,
            keep_copying=to == "shadow",
            anyway=anyway,
            reason=reason,
            state_dir=state_dir,
            config_path=config_path,
            as_json=as_json,
        )
    if state_dir is not None or config_path is not None:
        raise click.UsageError("--state-dir and -c belong to --local; add it, or leave them out")
    body = {"to": to, "reason": reason, "anyway": anyway or None}
    if target.route is not None:
        answer = admin.post(f"/api/v1/routes/{segment(target.route)}/rollback", body)
    else:
        answer = admin.post("/api/v1/rollback", {**target.selector(), **body})
    return print_change(answer, as_json=as_json)
