"""``matapalo check``: everything that is wrong with a configuration, before it serves."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from config.errors import ConfigError, Problem
from config.loader import load
from config.places import located
from config.secret import missing_secrets
from config.spec import BackendSpec, BackendTlsSpec, ConfigSpec
from config.tls import TlsError, client_context, read_tls
from config.tolerance import WARN_DAYS, days_left
from config.warnings import Warned, sifted, warnings_of
from console.commands.options import ca_option, config_option, json_option, token_option
from console.commands.output import print_json
from rules.index import problems as route_problems
from rules.reach import unreachable

if TYPE_CHECKING:
    from console.commands.plan import Plan

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
@token_option("With --against: token of the admin API.")
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
    missing = missing_secrets(spec)
    unplaced = [*missing, *certificates]
    if all(one.where != "database" for one in missing):
        unplaced += _unreadable_database(config_path, spec)
    found = [*located(unplaced, spec), *(Problem(config_path, 0, 0, "routes", text) for text in route_problems(spec))]
    if probe:
        found += _probe_all(config_path, spec)
    plan: Plan | None = None
    seen: list[Warned] = []
    if against is not None:
        from console.commands.plan import plan_against, standing  # httpx2: not for a check without a network

        plan = plan_against(spec, url=against, token=token, ca=ca)
        if plan.refusal is not None:
            found.append(Problem(config_path, 0, 0, "reload", plan.refusal))
        seen = [*plan.warned, *standing(spec, url=against, token=token, ca=ca)]
    now = time.time()
    warned = [*warnings_of(spec, now), *_endings(ends)]
    if not found:
        warned += _unreachable(spec)
    warnings = _placed(sifted([*warned, *seen], spec, has_server=against is not None), spec)
    return _report(config_path, found, warnings, plan, notes=_tolerance_ends(spec, now), strict=strict, as_json=as_json)


def _report(
    path: str,
    found: list[Problem],
    warnings: Sequence[tuple[str, Problem]],
    plan: Plan | None,
    *,
    notes: Sequence[Problem] = (),
    strict: bool,
    as_json: bool,
) -> int:
    """Print problems, warnings, notes and plan; give the exit code, which notes never change."""
    ok = not found and not (strict and warnings)
    if as_json:
        print_json(
            {
                "ok": ok,
                "problems": [_as_json(one) for one in found],
                "warnings": [{"name": name, **_as_json(one)} for name, one in warnings],
                "notes": [_as_json(one) for one in notes],
                "plan": None if plan is None else plan.lines,
                "plan_is_whole": None if plan is None else plan.is_whole,
            }
        )
        return int(not ok)
    for problem in found:
        click.echo(str(problem), err=True)
    for name, one in warnings:
        click.echo(f"{_spot(one)}: warning: {one.where}: {one.message} [{name}]", err=True)
    for one in notes:
        click.echo(f"{_spot(one)}: note: {one.where}: {one.message}", err=True)
    if plan is not None:
        _print_plan(plan)
    if found:
        click.echo(f"{len(found)} problem{'s' if len(found) > 1 else ''} in {path}.", err=True)
    elif warnings:
        counted = f"{len(warnings)} warning{'s' if len(warnings) > 1 else ''}"
        click.echo(f"{path} is valid, with {counted}" + (", which --strict does not let pass." if strict else "."))
    else:
        click.echo(f"{path} is valid.")
    return int(not ok)


def _print_plan(plan: Plan) -> None:
    """Say what a reload would change, and whether that is all."""
    if plan.is_whole:
        click.echo("A reload would change nothing: this is the configuration in force.")
        return
    click.echo("\n".join(["A reload would change:", *plan.lines]) if plan.lines else "No route and no flag changes.")
    click.echo(
        "Keys that the admin API does not show (limits, backends, pins …) may change, too: the reload lists them."
    )


def _as_json(problem: Problem) -> dict[str, object]:
    return {
        "file": problem.file,
        "line": problem.line,
        "column": problem.column,
        "where": problem.where,
        "message": problem.message,
    }


def _spot(problem: Problem) -> str:
    return f"{problem.file}:{problem.line}:{problem.column}" if problem.line else problem.file


def _placed(warned: Sequence[Warned], spec: ConfigSpec) -> list[tuple[str, Problem]]:
    """Give each warning its file, line and column."""
    file = spec.files[0] if spec.files else "configuration"
    placed = located([Problem(file, 0, 0, one.where, one.message) for one in warned], spec)
    return [(one.name, place) for one, place in zip(warned, placed, strict=True)]


def _unreachable(spec: ConfigSpec) -> Iterator[Warned]:
    """Name the matches that no request can reach; only a configuration without a tie can be asked."""
    for one in unreachable(spec):
        taken = f"every request goes to {', '.join(one.takers)}" if one.takers else "what it asks for excludes itself"
        yield Warned(
            name="route.unreachable",
            where=f"routes.{one.route}.match[{one.match}]",
            message=f"found {one.path}, which no request can reach: {taken}; remove it, or make it more specific",
            route=one.route,
        )


def _endings(ends: Iterable[tuple[str, int]]) -> Iterator[Warned]:
    """Name the certificates that have ended or soon will."""
    now = time.time()
    for where, at in ends:
        day = datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M UTC")
        if at <= now:
            message = f"the certificate has ended on {day}; nobody will accept it, renew it"
            yield Warned(name="certificate.ended", where=f"{where}.cert", message=message)
        elif at <= now + ENDING_S:
            message = f"the certificate ends on {day}; renew it"
            yield Warned(name="certificate.ending", where=f"{where}.cert", message=message)


def _tolerance_ends(spec: ConfigSpec, now: float) -> tuple[Problem, ...]:
    """Name the tolerances that expire within a week."""
    lists = [("", spec.tolerate), *((f"routes.{route.name}.", route.tolerate) for route in spec.routes)]
    file = spec.files[0] if spec.files else "configuration"
    ending = []
    for where, tolerances in lists:
        for index, tolerance in enumerate(tolerances):
            if 0 < days_left(tolerance, now) <= WARN_DAYS:
                told = f"it ends on {tolerance.expires}; {tolerance.owner} answers for it ({tolerance.reason})"
                ending.append(Problem(file, 0, 0, f"{where}tolerate[{index}]", told))
    return located(ending, spec)


def _unreadable_database(path: str, spec: ConfigSpec) -> Iterator[Problem]:
    """Read the URL of the PostgreSQL as a node would, wherever it stands; nobody is connected to."""
    if spec.database == "sqlite":
        return
    from store.connecting import parameters_of  # psycopg: only where a PostgreSQL is named
    from store.database import StoreError

    try:
        parameters_of(spec.database)
    except StoreError as error:
        yield Problem(path, 0, 0, "database", str(error).removeprefix("database: "))


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
