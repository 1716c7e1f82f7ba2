"""``matapalo explain``: how one request is decided, on the running server or from a file alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from config.errors import ConfigError
from config.loader import load
from console.commands.admin import Admin
from console.commands.options import Header, admin_options
from console.commands.output import percent, print_json
from rules.explain import explain as explain_offline
from rules.snapshot import SnapshotError, SnapshotSpec, build


@click.command()
@click.argument("method")
@click.argument("path")
@click.option("-H", "--header", "headers", type=Header(), multiple=True, metavar="'K: V'", help="May be repeated.")
@click.option(
    "--ip", "--client-ip", "client_ip", default="127.0.0.1", show_default=True, help="For routes that are sticky by ip."
)
@click.option(
    "-c", "--config", "config_path", help="Decide from this file, without a server: flags as at a first start."
)
@admin_options
def explain(
    method: str,
    path: str,
    headers: tuple[tuple[str, str], ...],
    client_ip: str,
    config_path: str | None,
    admin: Admin,
    as_json: bool,
) -> int:
    """Say which route takes a request, who answers it, and why.

    \b
    matapalo explain GET /api/orders/7 -H 'X-User-Id: 42'
    matapalo explain GET /api/orders/7 -c matapalo.yaml
    """
    if not path.startswith("/"):
        raise click.UsageError(f"the path is {path!r}; expected one that begins with /, for example /api/orders/7")
    method = method.upper()
    found: Mapping[str, Any]  # the API's object, or the same one made here
    if config_path is None:
        lines = tuple(f"{name}:{value}" for name, value in headers)
        query = {"method": method, "path": path, "header": lines, "client_ip": client_ip}
        found = admin.get("/api/v1/explain", query)
    else:
        found = _from_file(config_path, method, path, headers, client_ip)
    if as_json:
        print_json(dict(found))
        return 0
    for sentence in found["why"]:
        click.echo(sentence)
    click.echo(_answer_line(found))
    return 0


def _from_file(
    config_path: str, method: str, path: str, headers: tuple[tuple[str, str], ...], client_ip: str
) -> Mapping[str, Any]:
    """Build the snapshot of a first start and ask it."""
    try:
        snapshot = build(SnapshotSpec(revision=0, config=load(config_path), flags={}))
    except (ConfigError, SnapshotError) as error:
        raise click.ClickException(str(error)) from error
    # Names are lower case on the wire's side of the rules.
    return explain_offline(snapshot, method, path, [(name.lower(), value) for name, value in headers], client_ip)


def _answer_line(found: Mapping[str, Any]) -> str:
    """Sum the decision up in one line."""
    if found["primary"] is None:
        line = f"=> answered by Matapalo itself ({found.get('status') or 'no backend'})"
    else:
        line = f"=> answered by {found['primary']} ({found['backend']})"
    if found["copied"] == "always":
        line += f", every such request is copied to {found['shadow']}"
    elif found["copied"] == "sampled":
        line += f", {percent(found['sample'])} of such requests are copied to {found['shadow']}"
    return line
