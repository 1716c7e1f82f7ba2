"""The command line's table of contents: every command, its module and its one line of help.

A command is imported when it is called (click's documented "lazy group"): the table below
carries the help lines, so ``matapalo --help`` costs click alone and stays under a third of a
second, while ``status`` may use rich and ``check`` may use PyYAML.
"""

from __future__ import annotations

import errno
import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import click


@dataclass(frozen=True, slots=True, kw_only=True)
class Door:
    """Carry what the commands need from rooms that the console does not know."""

    serve: Callable[[str, Sequence[str]], int]
    """Load the configuration file of this name and run the supervisor; the result is the exit code.

    The second argument names flags that may be lost because their routes have left the file.
    """


_IN = "console.commands"
COMMANDS: dict[str, tuple[str, str]] = {
    "serve": (f"{_IN}.serve:serve", "Start the supervisor, its workers, comparers and the control process, and stay."),
    "demo": (f"{_IN}.demo:demo", "Run the main job on two real services: one route from legacy to live."),
    "init": (f"{_IN}.init:init", "Write a first configuration for your two services."),
    "check": (f"{_IN}.check:check", "Say everything that is wrong with a configuration."),
    "schema": (f"{_IN}.schema:schema", "Print the JSON Schema of the configuration."),
    "explain": (f"{_IN}.explain:explain", "Say which route takes a request, who answers it, and why."),
    "status": (f"{_IN}.status:status", "Show revision, workers, holds and drift; exit 1 when anything is degraded."),
    "routes": (f"{_IN}.status:routes", "List the routes with stage, shares and counts, or show one."),
    "nodes": (f"{_IN}.nodes:nodes", "List the nodes that share the database, with their revisions."),
    "flip": (f"{_IN}.flip:flip", "Move a route to another stage, on every worker at once."),
    "rollback": (
        f"{_IN}.rollback:rollback",
        "Send routes back to legacy on every worker, and keep them there until released.",
    ),
    "hold": (f"{_IN}.hold:hold", "Keep a route on legacy until released; its flag is not touched."),
    "release": (f"{_IN}.hold:release", "Let the flag decide again: take holds away."),
    "shadow": (
        f"{_IN}.copying:shadow",
        "Switch the copies of a route, or of all routes, on or off; who answers does not change.",
    ),
    "autopilot": (f"{_IN}.autopilot:autopilot", "Let a route's autopilot go on from where the route is, or pause it."),
    "undo": (f"{_IN}.audit:undo", "Take the change of an audit entry (a-…) back; holds stay."),
    "deployed": (
        f"{_IN}.deployed:deployed",
        "Say which version a backend runs from now on, so that evidence is kept per build.",
    ),
    "gate": (f"{_IN}.gate:gate", "Say whether a route's gate passes, and what is missing; exit 1 when it does not."),
    "evidence": (f"{_IN}.evidence:evidence", "Let the evidence of a route begin anew."),
    "audit": (f"{_IN}.audit:audit", "Show who changed what, newest first."),
    "token": (
        f"{_IN}.token:token",
        "Make, list, rotate and revoke tokens of the admin API, or hash one for the configuration.",
    ),
    "db": (f"{_IN}.db:db", "Migrate, check and fill the PostgreSQL that several nodes share."),
    "diffs": (
        f"{_IN}.diffs:diffs",
        "List the divergences, of one route or of all: what needs work first.",
    ),
    "diff": (
        f"{_IN}.diffs:diff",
        "Show one divergence (d-…) or comparison (c-…): what differs, why, and the fix.",
    ),
    "compare": (f"{_IN}.compare:compare", "Compare two answers byte for byte and say why they differ."),
    "causes": (
        f"{_IN}.causes:causes",
        "List the causes of differences, or show one with who produces it and how to fix it.",
    ),
    "encoding": (
        f"{_IN}.encoding:encoding",
        "Say which encoder settings make a route's answers identical, in the best order, and print the code.",
    ),
    "recheck": (
        f"{_IN}.recheck:recheck",
        "Ask both sides again about a comparison (c-…) or a divergence (d-…): FIXED, STILL or DIFFERENT.",
    ),
    "tolerate": (
        f"{_IN}.tolerate:tolerate",
        "Permit a difference on a route, by path or cause, with a reason, an owner and a last day.",
    ),
    "reload": (
        f"{_IN}.reload:reload",
        "Read the configuration again; a bad one never replaces the one that serves.",
    ),
    "restart": (
        f"{_IN}.restart:restart",
        "Replace every worker by a fresh process, one after the other, without losing a request.",
    ),
}
"""Name to (``module:object``, help line), in the order of ``--help``."""


class LazyGroup(click.Group):
    """Look commands up in :data:`COMMANDS` and import one when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Name every command in the table's order."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command of this name; ``None`` when there is none."""
        if cmd_name not in COMMANDS:
            return None
        module, _, name = COMMANDS[cmd_name][0].partition(":")
        command = getattr(importlib.import_module(module), name)
        assert isinstance(command, click.Command), f"{module}:{name} is not a click command"
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the table without importing a single command."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])


def _show_version(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:
    """Print the installed version and leave."""
    if not wanted or ctx.resilient_parsing:
        return
    from importlib.metadata import PackageNotFoundError, version  # 20 ms that only --version needs

    try:
        click.echo(f"matapalo {version('matapalo')}")
    except PackageNotFoundError:
        raise click.ClickException(
            "the version is unknown because Matapalo is not installed here; run scripts/install in the checkout"
        ) from None
    ctx.exit()


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog="Exit codes: 0 fine, 1 a problem was found, 2 usage, 3 cannot reach the admin API.",
)
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_show_version, help="Show the version."
)
def cli() -> None:
    """Matapalo: a reverse proxy for strangler migrations."""


def run(arguments: Sequence[str], door: Door) -> int:
    """Run one command line and give the exit code.

    Shape: ``arguments`` stand without the program's name.
    """
    try:
        result = cli.main(args=list(arguments), prog_name="matapalo", standalone_mode=False, obj=door)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except click.Abort:
        click.echo("Stopped.", err=True)
        return 130  # 128 + SIGINT, what a shell expects
    except OSError as error:
        # A file that a command writes by name it reports by name; what is left is what it prints.
        if error.errno != errno.ENOSPC or error.filename is not None:
            raise
        click.echo(
            "Error: no space is left where this prints to; free some, and look at `matapalo status` before repeating a "
            "change: it may have been made",
            err=True,
        )
        return 1
    return result if isinstance(result, int) else 0
