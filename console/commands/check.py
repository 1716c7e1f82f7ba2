"""``matapalo check``: everything that is wrong with a configuration, before it serves."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import click

from config.errors import ConfigError, Problem
from config.loader import load
from config.places import located
from config.secret import missing_secrets
from config.spec import BackendSpec, BackendTlsSpec, ConfigSpec
from config.tls import TlsError, client_context, read_tls
from config.tolerance import WARN_DAYS, days_left
from console.commands.options import ca_option, config_option, json_option
from console.commands.output import print_json
from rules.index import problems as route_problems

PROBE_TIMEOUT_S = 3.0
MAX_PROBES = 32
"""Backends asked at once."""
ENDING_S = 14 * 86_400
"""How long before its end a certificate is warned of: half of what ACME clients leave themselves."""


@click.command()
@config_option
@click.option("--probe", is_flag=True, help="Connect to every backend, with TLS where it has TLS.")
@click.option("--strict", is_flag=True, help="Warnings are problems too.")
@click.option("--against", metavar="URL", help="Print what a reload of the server at this admin URL would change.")
@click.option("--token", envvar="MATAPALO_TOKEN", show_envvar=True, help="With --against: token of the admin API.")
@ca_option
@json_option
def check(
    config_path: str,
    probe: bool,
    strict: bool,
    against: str | None,
    token: str | None,
    ca: str | None,
    as_json: bool,
) -> int:
    """Say everything that is wrong with a configuration.

    Problems go to stderr as file:line:column: where: what, and the exit code is 1.
    """
    try:
        spec = load(config_path)
    except ConfigError as error:
        return _report(config_path, list(error.problems), [], None, strict=strict, as_json=as_json)
    certificates, ends = read_tls(spec)
    unplaced = [*missing_secrets(spec), *certificates]
    found = [*located(unplaced, spec), *(Problem(config_path, 0, 0, "routes", text) for text in route_problems(spec))]
    if probe:
        found += _probe_all(config_path, spec)
    plan = None
    if against is not None:
        from console.commands.plan import idle_tolerances, plan_against  # httpx2: not for a check without a network

        plan, refusal = plan_against(spec, url=against, token=token, ca=ca)
        if refusal:
            found.append(Problem(config_path, 0, 0, "reload", refusal))
    expired, ending = _tolerance_ends(spec)
    warnings = [*_warnings(spec), *_endings(ends), *expired]
    if against is not None:
        warnings += idle_tolerances(url=against, token=token, ca=ca)
    return _report(config_path, found, warnings, plan, notes=ending, strict=strict, as_json=as_json)


def _report(
    path: str,
    found: list[Problem],
    warnings: list[str],
    plan: list[str] | None,
    *,
    notes: Sequence[str] = (),
    strict: bool,
    as_json: bool,
) -> int:
    """Print problems, warnings, notes and plan; give the exit code, which notes never change."""
    ok = not found and not (strict and warnings)
    if as_json:
        problems = [
            {"file": one.file, "line": one.line, "column": one.column, "where": one.where, "message": one.message}
            for one in found
        ]
        print_json({"ok": ok, "problems": problems, "warnings": warnings, "notes": [*notes], "plan": plan})
        return int(not ok)
    for problem in found:
        click.echo(str(problem), err=True)
    for warning in warnings:
        click.echo(f"{path}: warning: {warning}", err=True)
    for note in notes:
        click.echo(f"{path}: note: {note}", err=True)
    if plan is not None:
        click.echo("\n".join(["A reload would change:", *plan]) if plan else "A reload would change nothing.")
    if found:
        click.echo(f"{len(found)} problem{'s' if len(found) > 1 else ''} in {path}.", err=True)
    else:
        click.echo(f"{path} is valid.")
    return int(not ok)


def _warnings(spec: ConfigSpec) -> Iterator[str]:
    """Name what is allowed and rarely meant."""
    used = {name for route in spec.routes for name in (route.legacy, route.new)} | {spec.undeclared}
    for backend in spec.backends:
        if backend.name not in used:
            yield f"backends.{backend.name}: no route uses it; name it in a route or remove it"
        if backend.tls is not None and not backend.tls.verify:
            yield f"backends.{backend.name}.tls.verify: anybody can play this backend; give its certificate as `ca`"
    if spec.routes and all(route.legacy is None for route in spec.routes):
        yield "routes: no route has a legacy side, so nothing is compared; name `legacy` in `defaults`"


def _endings(ends: Iterable[tuple[str, int]]) -> Iterator[str]:
    """Name the certificates that have ended or soon will."""
    now = time.time()
    for where, at in ends:
        day = datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M UTC")
        if at <= now:
            yield f"{where}.cert: the certificate has ended on {day}; nobody will accept it, renew it"
        elif at <= now + ENDING_S:
            yield f"{where}.cert: the certificate ends on {day}; renew it"


def _tolerance_ends(spec: ConfigSpec) -> tuple[list[str], list[str]]:
    """Name the tolerances that have expired, and those that will within a week, each with its line."""
    now = time.time()
    lists = [("", spec.tolerate), *((f"routes.{route.name}.", route.tolerate) for route in spec.routes)]
    expired, ending = [], []
    for where, tolerances in lists:
        for index, tolerance in enumerate(tolerances):
            left = days_left(tolerance, now)
            place = f"{where}tolerate[{index}]"
            if not left:
                told = f"it has expired on {tolerance.expires} and hides nothing; remove it, or let {tolerance.owner} "
                expired.append(Problem(spec.files[0] if spec.files else "", 0, 0, place, f"{told}renew it"))
            elif left <= WARN_DAYS:
                told = f"it ends on {tolerance.expires}; {tolerance.owner} answers for it ({tolerance.reason})"
                ending.append(Problem(spec.files[0] if spec.files else "", 0, 0, place, told))
    return [_with_line(one) for one in located(expired, spec)], [_with_line(one) for one in located(ending, spec)]


def _with_line(problem: Problem) -> str:
    return f"{problem.where} (line {problem.line}): {problem.message}"


def _probe_all(path: str, spec: ConfigSpec) -> Iterator[Problem]:
    """Connect to every backend at once and name those that do not answer."""
    with ThreadPoolExecutor(MAX_PROBES, thread_name_prefix="probe") as pool:
        for backend, refusal in zip(spec.backends, pool.map(_probe, spec.backends), strict=True):
            if refusal:
                yield Problem(path, 0, 0, f"backends.{backend.name}", refusal)


def _probe(backend: BackendSpec) -> str | None:
    """Connect once, with the backend's own idea of TLS; say what failed."""
    place = f"{backend.scheme}://{backend.host}:{backend.port}"
    try:
        with socket.create_connection((backend.host, backend.port), timeout=PROBE_TIMEOUT_S) as plain:
            if backend.scheme == "https":
                context = client_context(backend.tls or BackendTlsSpec())
                with context.wrap_socket(plain, server_hostname=_server_name(backend)):
                    pass
    except (OSError, ValueError, TlsError) as error:
        reason = getattr(error, "verify_message", None) or getattr(error, "strerror", None) or str(error)
        return f"{place} does not accept a connection ({reason}); start it, or correct its url"
    return None


def _server_name(backend: BackendSpec) -> str:
    return (backend.tls and backend.tls.server_name) or backend.host
