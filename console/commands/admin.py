"""The commands' way to the admin API (docs/admin-api.md): one call, one answer or one sentence.

The only module of the command line that imports httpx2. The environment's proxies are not
used: a rollback must not depend on ``HTTPS_PROXY``.
"""

from __future__ import annotations

import json
import os
import ssl
import sys
import threading
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import click
import httpx2

from config.spec import BackendTlsSpec
from config.tls import TlsError, client_context

CONNECT_TIMEOUT_S = 3.0
READ_TIMEOUT_S = 15.0
"""The longest call waits 1 s for legacy's probe, 2 s for laggards and, on reload, for the first worker."""
PATIENCE_S = 2.0
"""After this an operator is told what the command waits for."""

JsonObject = dict[str, Any]  # an answer's shape is the API's contract, not a Python type


class UnansweredError(click.ClickException):
    """Nobody did what was asked; ``problem`` says why, as RFC 9457 has it."""

    def __init__(self, problem: JsonObject) -> None:
        super().__init__(_sentence(problem))
        self.problem = problem


class OutOfReachError(UnansweredError):
    """The server does not answer where it was looked for; the exit code is 3."""

    exit_code = 3

    def __init__(self, detail: str) -> None:
        super().__init__(
            {
                "type": "urn:matapalo:problem:out-of-reach",
                "title": "The server does not answer",
                "status": None,  # nobody gave one
                "detail": detail,
                "errors": [{"where": "", "detail": detail}],
            }
        )


class RefusedError(UnansweredError):
    """The admin API said no; ``problem`` is its whole body; the exit code is 1."""

    exit_code = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """Hold what the admin API answered."""

    status: int
    body: JsonObject

    @property
    def is_partial(self) -> bool:
        """Say whether some worker has not taken the change yet (202)."""
        return self.status == 202


@dataclass(frozen=True, slots=True, kw_only=True)
class Admin:
    """Name one admin API and who calls it."""

    url: str
    token: str | None
    ca: str | None = None
    """The file of the authorities that may vouch for an https URL; ``None``: the system's."""

    def get(self, path: str, query: Mapping[str, object] | None = None) -> JsonObject:
        """Ask for one object; ``None`` values are left out of the query.

        Raises: OutOfReachError, RefusedError.
        """
        return self._call("GET", path, query=query).body

    def post(self, path: str, body: Mapping[str, object]) -> Answer:
        """Change something; ``None`` values are left out of the body.

        Raises: OutOfReachError, RefusedError.
        """
        return self._call("POST", path, body={name: value for name, value in body.items() if value is not None})

    def patch(self, path: str, body: Mapping[str, object]) -> JsonObject:
        """Change single members of something; ``None`` values are left out of the body.

        Raises: OutOfReachError, RefusedError.
        """
        return self._call("PATCH", path, body={name: value for name, value in body.items() if value is not None}).body

    def _call(
        self, method: str, path: str, *, query: Mapping[str, object] | None = None, body: JsonObject | None = None
    ) -> Answer:
        headers = {"Accept": "application/json"}
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        if method == "POST":
            headers["Idempotency-Key"] = str(uuid.uuid4())
        parameters: list[tuple[str, str | int | float | bool | None]] = [
            (name, str(value))
            for name, given in (query or {}).items()
            for value in (given if isinstance(given, tuple) else (given,))
            if value is not None
        ]
        timeout = httpx2.Timeout(READ_TIMEOUT_S, connect=CONNECT_TIMEOUT_S)
        try:
            with (
                _patience(f"{self.url}{path}"),
                httpx2.Client(trust_env=False, timeout=timeout, verify=self._verified()) as client,
            ):
                response = client.request(
                    method, self.url.rstrip("/") + path, params=parameters, json=body, headers=headers
                )
        except UnicodeEncodeError as error:
            raise click.UsageError("an argument is not UTF-8, so it cannot be sent; write it anew") from error
        except (httpx2.RequestError, httpx2.InvalidURL, ValueError, TlsError) as error:
            is_unknown = method != "GET" and isinstance(error, (httpx2.ReadTimeout, httpx2.ReadError))
            raise OutOfReachError(self._unanswered(error) if is_unknown else self._out_of_reach(error)) from error
        return self._answer_from(response)

    def _verified(self) -> ssl.SSLContext | bool:
        """Say how the server is verified; clear text needs no certificates, and reading the system's takes time."""
        if not self.url.lower().startswith("https:"):
            return False
        ca = None if self.ca is None else f"file:{os.path.abspath(self.ca)}"
        return client_context(BackendTlsSpec(ca=ca))

    def _out_of_reach(self, error: Exception) -> str:
        reason = str(error) or type(error).__name__
        return (
            f"cannot reach the admin API at {self.url} ({reason}); is `matapalo serve` running, and is --url (or "
            "MATAPALO_URL) what its `admin.listen` says? `matapalo rollback --local` works without it"
        )

    def _unanswered(self, error: Exception) -> str:
        reason = str(error) or type(error).__name__
        return (
            f"the admin API at {self.url} took the call and did not answer ({reason}), so whether it was carried out "
            "is not known: look at `matapalo audit` before repeating it. `matapalo rollback --local` works without it"
        )

    def _answer_from(self, response: httpx2.Response) -> Answer:
        try:
            body = response.json()
        except ValueError:
            body = None
        if not isinstance(body, dict) or (response.status_code >= 400 and "detail" not in body):
            kind = response.headers.get("content-type", "no content type")
            raise OutOfReachError(
                f"what answers at {self.url} is not Matapalo's admin API (status {response.status_code}, {kind}); "
                "set --url (or MATAPALO_URL) to its `admin.listen` address"
            )
        if response.status_code >= 400:
            raise RefusedError(body)
        return Answer(status=response.status_code, body=body)


def segment(name: str) -> str:
    """Write a name as one segment of a path.

    Raises: UsageError for what can be none: no name has a slash, and a path is not climbed by one.
    """
    if name in ("", ".", "..") or "/" in name:
        raise click.UsageError(f"{name!r} is no name; expected one without a slash, such as orders")
    try:
        return quote(name, safe="")
    except UnicodeEncodeError as error:
        raise click.UsageError(f"{name!r} is not UTF-8; write it anew") from error


def _sentence(problem: JsonObject) -> str:
    """Join what is wrong into text: the detail, then every further error, then the nearest known name."""
    lines = [str(problem["detail"])]
    lines += [
        f"  {error.get('detail')}" for error in problem.get("errors") or () if error.get("detail") not in lines[0]
    ]
    guess = problem.get("did_you_mean")
    if guess and guess not in lines[0]:
        lines.append(f"Did you mean {guess}?")
    if problem.get("status") == 401:
        lines.append("Give a token with --token or MATAPALO_TOKEN.")
    return "\n".join(lines)


@contextmanager
def _patience(what: str) -> Iterator[None]:
    """Tell a person at a terminal what is waited for, once it takes long."""
    if not sys.stderr.isatty():
        yield
        return
    timer = threading.Timer(PATIENCE_S, lambda: click.echo(f"Waiting for {what} …", err=True))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def problem_text(problem: JsonObject) -> str:
    """Write a problem as the API sent it, for ``--json``."""
    return json.dumps(problem, indent=2, ensure_ascii=False)
