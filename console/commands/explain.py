"""``matapalo explain``: how one request is decided, on the running server or from a file alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from config.errors import ConfigError
from config.loader import load
from console.commands.admin import Admin, JsonObject, segment
from console.commands.options import Header, admin_options
from console.commands.output import percent, print_json, standing_lines
from rules.explain import explain as explain_offline
from rules.snapshot import SnapshotError, SnapshotSpec, build


@click.command()
@click.argument("method", required=False)
@click.argument("path", required=False)
@click.option("-H", "--header", "headers", type=Header(), multiple=True, metavar="'K: V'", help="May be repeated.")
@click.option(
    "--ip", "--client-ip", "client_ip", default="127.0.0.1", show_default=True, help="For routes that are sticky by ip."
)
@click.option(
    "--request-id",
    metavar="ID",
    help="Its X-Request-Id: says whether it is copied. Without METHOD and PATH: a request that is kept as an example.",
)
@click.option(
    "-c", "--config", "config_path", help="Decide from this file, without a server: flags as at a first start."
)
@admin_options
def explain(
    method: str | None,
    path: str | None,
    headers: tuple[tuple[str, str], ...],
    client_ip: str,
    request_id: str | None,
    config_path: str | None,
    admin: Admin,
    as_json: bool,
) -> int:
    """Say which route takes a request, who answers it, and why.

    \b
    matapalo explain GET /api/orders/7 -H 'X-User-Id: 42'
    matapalo explain GET /api/orders/7 -c matapalo.yaml
    matapalo explain --request-id 7f3a…
    """
    kept: JsonObject | None = None
    if method is None or path is None:
        if method is not None or request_id is None or config_path is not None:
            raise click.UsageError("expected METHOD and PATH, or --request-id alone to look for it on the server")
        kept = _kept(admin, request_id)
        method, path = str(kept["request"]["method"]), str(kept["request"]["target"])
        headers += tuple((name, value) for name, value in kept["request"]["headers"])
    if not path.startswith("/"):
        raise click.UsageError(f"the path is {path!r}; expected one that begins with /, for example /api/orders/7")
    method = method.upper()
    found: Mapping[str, Any]  # the API's object, or the same one made here
    if config_path is None:
        lines = tuple(f"{name}:{value}" for name, value in headers)
        query = {"method": method, "path": path, "header": lines, "client_ip": client_ip, "request_id": request_id}
        found = admin.get("/api/v1/explain", query)
    else:
        found = _from_file(config_path, method, path, headers, client_ip, request_id or "")
    if as_json:
        print_json({**found, "kept": kept["id"]} if kept else dict(found))
        return 0
    if kept is not None:
        click.echo(_kept_line(kept))
        click.echo("Now such a request is decided so, as far as what is redacted or not kept does not matter:")
    for sentence in found["why"]:
        click.echo(sentence)
    click.echo(_answer_line(found))
    for line in standing_lines(found):
        click.echo(line)
    return 0


def _kept(admin: Admin, request_id: str) -> JsonObject:
    """Find a request by its id among the examples of divergences: of no other request anything is kept but a log line.

    Raises: ClickException with where to look instead.
    """
    for group in admin.get("/api/v1/divergences", {"request": request_id})["divergences"]:
        for example in admin.get(f"/api/v1/divergences/{segment(group['id'])}")["examples"]:
            if example["request_id"] == request_id:
                return admin.get(f"/api/v1/comparisons/{segment(example['id'])}")
    raise click.ClickException(
        f"no request {request_id} is kept: only the examples of divergences are. Its line in the access log has route, "
        f"side and reason; with its METHOD and PATH, explain says how it is decided now"
    )


def _kept_line(kept: JsonObject) -> str:
    """Say what is known of a request that was compared."""
    answers = " and ".join(
        f"{side} answered {kept[side]['status']}" + (f" (build {kept[side]['build']})" if kept[side]["build"] else "")
        for side in ("legacy", "new")
    )
    request = kept["request"]
    return (
        f"{request['method']} {request['target']} was compared on route {kept['route']} at {kept['at']}: {answers}, "
        f"{kept['verdict']}; `matapalo diff {kept['divergence']}`"
    )


def _from_file(
    config_path: str, method: str, path: str, headers: tuple[tuple[str, str], ...], client_ip: str, request_id: str
) -> Mapping[str, Any]:
    """Build the snapshot of a first start and ask it."""
    try:
        snapshot = build(SnapshotSpec(revision=0, config=load(config_path), flags={}))
    except (ConfigError, SnapshotError) as error:
        raise click.ClickException(str(error)) from error
    # Names are lower case on the wire's side of the rules.
    lower = [(name.lower(), value) for name, value in headers]
    return explain_offline(snapshot, method, path, lower, client_ip, request_id)


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
