"""What one call of the admin API is: its line in the table, the question that reaches its handler, the answer."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from config.spec import Role
from console.asks import Field
from console.auth import Visitor
from console.commits import Caller

Json = dict[str, Any]  # Any: JSON


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """Hold one request as a handler needs it: who, what, about which name."""

    visitor: Visitor
    caller: Caller
    values: Mapping[str, Any]  # Any: the table of fields says which type each has
    name: str = ""
    """The path's parameter."""
    accept: str = ""
    if_none_match: str = ""
    last_event: str = ""
    """Where a stream that broke off is to go on; empty: it begins."""
    may_still: Callable[[], bool] = lambda: True
    """Ask, in a call that lasts, whether the visitor would still be let in."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """Hold one answer: JSON, or raw bytes with their own content type."""

    body: Json | bytes
    stream: AsyncIterator[bytes] | None = None
    """In place of the body: what is sent piece by piece."""
    status: int = 200
    content_type: str = "application/json"
    replayed: bool = False
    etag: str = ""


Handler = Callable[[Asked], Awaitable[Reply]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """Describe one call."""

    name: str
    """Of the handler and of the operation in OpenAPI."""
    method: Literal["GET", "POST", "PATCH"]
    path: str
    role: Role
    summary: str
    fields: tuple[Field, ...] = ()
    """Of the query (GET) or the body (POST, PATCH)."""
    partly: bool = False
    """May answer 202: done, but not every worker has acknowledged."""
    may_be_unchanged: bool = False
    """May answer 304 to If-None-Match."""
    content_type: str = "application/json"
    refuses: tuple[str, ...] = ()
    """Kinds of problem beside those that any call of its kind may answer (:mod:`console.openapi`)."""
