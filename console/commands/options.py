"""What several commands take: the admin API's address, ``--json``, shares, headers, targets."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import click

from config.errors import SecretError, UnfitError
from config.secret import resolve
from config.units import percent_bp
from console.commands.admin import Admin, UnansweredError, problem_text

DEFAULT_URL = "http://127.0.0.1:8081"
DEFAULT_CONFIG = "matapalo.yaml"

# click hands parameters over by name, so a command's own signature is the only precise type there is.
Command = Callable[..., Any]


class Share(click.ParamType[float]):
    """Read ``12.5%`` or ``12.5`` as percent."""

    name = "percent"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Read the share; what does not fit is a usage error with the sentence why."""
        try:
            return percent_bp(str(value)) / 100
        except UnfitError as error:
            self.fail(str(error), param, ctx)


class Header(click.ParamType[tuple[str, str]]):
    """Read ``Name: value`` as the pair that the admin API takes."""

    name = "header"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, str]:
        """Split at the first colon; without one it is a usage error."""
        if isinstance(value, tuple):
            return value[0], value[1]
        name, colon, text = str(value).partition(":")
        if not colon or not name.strip():
            self.fail(f"found {value!r}, expected 'Name: value', for example 'X-User-Id: 42'", param, ctx)
        return name.strip(), text.strip()


class TokenValue(click.ParamType[str]):
    """Read a token: itself, or ``env:NAME`` or ``file:PATH``, as the configuration names secrets."""

    name = "token"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Fetch what is only named; what cannot be fetched is a usage error that shows no token."""
        text = str(value)
        if not text.startswith(("env:", "file:")):
            return text
        try:
            return resolve(text)
        except SecretError as error:
            self.fail(str(error), param, ctx)


def token_option(what: str) -> Callable[[Command], Command]:
    """Add ``--token``."""
    return click.option(
        "--token",
        type=TokenValue(),
        envvar="MATAPALO_TOKEN",
        show_envvar=True,
        metavar="env:NAME|file:PATH|TOKEN",
        help=f"{what} Others on this machine see a TOKEN given here in `ps`: name where it is, or use the variable.",
    )


def json_option(command: Command) -> Command:
    """Add ``--json``; the command receives ``as_json``.

    With it a refusal, or that nobody answers, is printed as the problem object: a script has one thing to parse.
    """

    @functools.wraps(command)
    def call(*args: object, as_json: bool, **rest: object) -> object:
        try:
            return command(*args, as_json=as_json, **rest)
        except UnansweredError as error:
            if not as_json:
                raise
            click.echo(problem_text(error.problem))
            return error.exit_code

    return click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")(call)


def config_option(command: Command) -> Command:
    """Add ``-c/--config`` with the usual file name."""
    return click.option(
        "-c", "--config", "config_path", default=DEFAULT_CONFIG, show_default=True, help="The configuration file."
    )(command)


def drop_option(command: Command) -> Command:
    """Add ``--drop ROUTE``, which may be repeated."""
    return click.option(
        "--drop", multiple=True, metavar="ROUTE", help="Let this route's flag go although it is beyond legacy."
    )(command)


def ca_option(command: Command) -> Command:
    """Add ``--ca FILE``."""
    return click.option(
        "--ca",
        envvar="MATAPALO_CA",
        show_envvar=True,
        metavar="FILE",
        help="With an https URL: the certificates to trust, as PEM; without it the system's.",
    )(command)


def reason_option(command: Command) -> Command:
    """Add ``--reason``."""
    return click.option("--reason", help="Why; kept in the audit trail.")(command)


def admin_options(command: Command) -> Command:
    """Add ``--url``, ``--ca``, ``--token`` and ``--json``; the command receives ``admin`` and ``as_json``."""

    @functools.wraps(command)
    def call(*args: object, url: str, ca: str | None, token: str | None, **rest: object) -> object:
        return command(*args, admin=Admin(url=url, token=token, ca=ca), **rest)

    decorated: Command = call
    for option in (
        json_option,
        token_option("Token of the admin API."),
        ca_option,
        click.option(
            "--url",
            envvar="MATAPALO_URL",
            show_envvar=True,
            default=DEFAULT_URL,
            show_default=True,
            help="The admin API.",
        ),
    ):
        decorated = option(decorated)
    return decorated
