"""``matapalo db``: migrate, check and fill the PostgreSQL that several nodes share."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

import click

from config.errors import ConfigError
from config.loader import load
from config.spec import ConfigSpec
from console.commands.options import config_option, json_option
from console.commands.output import print_json
from store.database import StoreError, is_elsewhere

T = TypeVar("T")


@click.group()
def db() -> None:
    """Migrate, check and fill the PostgreSQL that several nodes share.

    Files of SQLite need none of this: they are migrated when they are opened.
    """


@db.command()
@config_option
@json_option
def migrate(config_path: str, as_json: bool) -> int:
    """Bring the schema of the PostgreSQL to this version.

    Nodes go on serving meanwhile; those of the version before can use the new schema, so migrate first, then replace
    them one by one.
    """
    where = _place(config_path)
    before, after = _ask(_in_thread(_upgrade, where))
    if as_json:
        print_json({"ok": True, "before": before or None, "after": after})
    elif before == after:
        click.echo(f"Nothing to do: the schema is {after}.")
    else:
        click.echo(f"The schema is {after} now (before: {before or 'none'}).")
    return 0


@db.command()
@config_option
@json_option
def check(config_path: str, as_json: bool) -> int:
    """Look at the PostgreSQL as a node would use it: reachable, schema, rights, pooler, clock, durability."""
    from store.inspection import inspect  # psycopg: only where a PostgreSQL is looked at

    findings = _ask(inspect(_place(config_path)))
    ok = all(one.ok for one in findings)
    if as_json:
        shown = [{"name": one.name, "ok": one.ok, "says": one.says} for one in findings]
        print_json({"ok": ok, "findings": shown})
        return int(not ok)
    for one in findings:
        click.echo(f"{'ok ' if one.ok else 'BAD'}  {one.name}: {one.says}")
    return int(not ok)


@db.command()
@click.option("--from", "source", metavar="sqlite|PLACE", default="sqlite", show_default=True, help="Where from.")
@click.option("--to", "target", metavar="PLACE", help="Where to. [default: `database` of the configuration]")
@config_option
@json_option
def copy(source: str, target: str | None, config_path: str, as_json: bool) -> int:
    """Copy flags, audit, holds, tolerances, tokens and evidence into an empty database.

    A PLACE is postgresql://…, env:NAME, file:PATH, or the directory with the SQLite files. Stop every node before,
    start them after; the audit keeps its numbers and hashes.
    """
    from store.copying import copy_all

    state_dir = _load(config_path).state_dir
    from_ = state_dir if source == "sqlite" else source
    to = state_dir if target == "sqlite" else target or _place(config_path)
    copied = _ask(copy_all(from_, to))
    if as_json:
        print_json({"ok": True, "rows": copied})
        return 0
    for table, count in copied.items():
        click.echo(f"{count:>9,}  {table}")
    click.echo("Copied, counted again there, and the same.")
    return 0


def _place(config_path: str) -> str:
    """Give the PostgreSQL that the configuration names."""
    spec = _load(config_path)
    if not is_elsewhere(spec.database):
        raise click.ClickException(
            f"{config_path} keeps everything in SQLite files, which need no command: they are migrated when they are "
            "opened. Write `database: postgresql://…` (or env:NAME, file:PATH) to share one among nodes."
        )
    return spec.database


def _load(config_path: str) -> ConfigSpec:
    try:
        return load(config_path)
    except ConfigError as error:
        raise click.ClickException(
            f"{config_path} has problems, `matapalo check` lists them; first: {error.problems[0]}"
        ) from error


def _upgrade(where: str) -> tuple[str, str]:
    from store.migrate import upgrade_postgres  # Alembic: 0.4 s

    return upgrade_postgres(where)


async def _in_thread(work: Any, *words: str) -> Any:  # Any: whatever the work gives
    return await asyncio.to_thread(work, *words)


def _ask(work: Coroutine[Any, Any, T]) -> T:
    """Run it; what a database refuses is the command's message."""
    try:
        return asyncio.run(work)
    except StoreError as error:
        raise click.ClickException(str(error)) from error
