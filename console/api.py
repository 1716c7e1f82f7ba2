"""The admin API as an ASGI application: every request through one door, every answer JSON.

Rules of this file:

1. A request is admitted, its role checked and its fields read before its handler sees it; a handler that is not in
   :data:`console.calls.CALLS` cannot be reached.
2. Whatever a client sends, the answer is JSON or a problem; an unexpected error is logged here and answered 500.
3. Bodies are bounded in size and time.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from console.asks import read
from console.auth import Doorkeeper, Visitor, refuse_foreign, require
from console.call import Asked, Call, Handler, Reply
from console.calls import CALLS
from console.change import Answer
from console.commits import Caller
from console.deploys import Deploys
from console.flips import FlipAsk, Flips
from console.holds import Chosen, Holds, RollbackAsk
from console.problem import ProblemError, unknown
from console.reloads import Reloads
from console.resets import Resets
from console.state import ControlState
from store.database import patience

MAX_BODY: Final = 64 << 10
BODY_S: Final = 10.0
READ_S: Final = 2.0
"""How long a call that only reads waits for a database: who looks at 3 am would rather know that it is silent."""

CALL_S: Final = 60.0
"""The longest call is a reload: 20 s to read the files, 3 s for the first worker, 2 s for the others."""

SAFE_HEADERS: Final = (
    (b"cache-control", b"no-store"),
    (b"x-content-type-options", b"nosniff"),
    # No answer is a page: one that a browser is made to show as one runs nothing and stands in no frame.
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
)

REFUSALS: Final = frozenset(("no-token", "bad-token", "role", "host", "identity", "cross-site", "rate-limited"))
"""Kinds of problem with which somebody was not let in; counted in ``matapalo_admin_refused_total``."""

_KEY: Final = re.compile(r"[\x21-\x7e]{1,200}")

_ODD_ESCAPE: Final = re.compile(rb"%(?:2f|5c|7f|[01][0-9a-f])", re.IGNORECASE)
"""An escaped slash, backslash or control character in a path: no name here has one, and a proxy that permits calls by
their path reads another path than we would."""


class Handlers:
    """Carry out the changing calls: turn fields into what flips, holds, deploys and reloads take."""

    def __init__(self, flips: Flips, holds: Holds, deploys: Deploys, reloads: Reloads, resets: Resets) -> None:
        self._flips, self._holds, self._deploys, self._reloads = flips, holds, deploys, reloads
        self._resets = resets

    async def flip(self, asked: Asked) -> Reply:
        """Flip one route."""
        return _reply(await self._flips.flip(asked.name, _flip(asked), asked.caller))

    async def flip_journey(self, asked: Asked) -> Reply:
        """Flip one journey."""
        return _reply(await self._flips.flip_journey(asked.name, _flip(asked), asked.caller))

    async def rollback(self, asked: Asked) -> Reply:
        """Roll one route back."""
        return _reply(await self._holds.rollback(self._holds.choose(asked.name), _rollback(asked), asked.caller))

    async def rollback_many(self, asked: Asked) -> Reply:
        """Roll several routes back."""
        return _reply(await self._holds.rollback(self._chosen(asked), _rollback(asked), asked.caller))

    async def hold(self, asked: Asked) -> Reply:
        """Hold one route."""
        return _reply(
            await self._holds.hold(
                self._holds.choose(asked.name),
                reason=asked.values["reason"],
                keep_copying=asked.values["keep_copying"],
                caller=asked.caller,
            )
        )

    async def release(self, asked: Asked) -> Reply:
        """Release one route."""
        chosen = self._holds.choose(asked.name)
        return _reply(await self._holds.release(chosen, reason=asked.values["reason"], caller=asked.caller))

    async def release_many(self, asked: Asked) -> Reply:
        """Release several routes."""
        return _reply(
            await self._holds.release(self._chosen(asked), reason=asked.values["reason"], caller=asked.caller)
        )

    async def shadow(self, asked: Asked) -> Reply:
        """Switch copying."""
        values = asked.values
        return _reply(
            await self._flips.shadow(values["on"], values["route"], reason=values["reason"], caller=asked.caller)
        )

    async def undo(self, asked: Asked) -> Reply:
        """Undo one audit entry."""
        values = asked.values
        return _reply(
            await self._flips.undo(
                values["audit_id"],
                reason=values["reason"],
                force=values["force"],
                if_revision=values["if_revision"],
                caller=asked.caller,
            )
        )

    async def deployed(self, asked: Asked) -> Reply:
        """Take note of a deploy."""
        values = asked.values
        return _reply(
            await self._deploys.deployed(
                values["backend"], values["version"], reason=values["reason"], caller=asked.caller
            )
        )

    async def reset_evidence(self, asked: Asked) -> Reply:
        """Let a route's evidence begin anew."""
        return _reply(await self._resets.reset(asked.name, reason=asked.values["reason"], caller=asked.caller))

    async def reload(self, asked: Asked) -> Reply:
        """Read the configuration again."""
        status, body = await self._reloads.reload(asked.caller, asked.values["drop"])
        return Reply(status=status, body=body)

    def _chosen(self, asked: Asked) -> Chosen:
        values = asked.values
        return self._holds.choose_many(
            all_routes=values["all"], journey=values["journey"], backend=values["backend"], routes=values["routes"]
        )


class Api:
    """Admit requests and hand them to their handlers: the methods of *parts* that are named like a call."""

    def __init__(self, state: ControlState, doorkeeper: Doorkeeper, parts: Sequence[object]) -> None:
        self._state, self._doorkeeper = state, doorkeeper
        self._handlers: dict[str, Handler] = {
            call.name: next(getattr(part, call.name) for part in parts if hasattr(part, call.name)) for call in CALLS
        }
        self.routes = [Route(call.path, self._endpoint(call), methods=[call.method]) for call in CALLS]
        starlette = Starlette(
            routes=self.routes,
            exception_handlers={HTTPException: self._not_found, Exception: self._broken},
        )
        # A redirect would lead past the role check of what it redirects to.
        starlette.router.redirect_slashes = False
        self.app = armoured(starlette)

    def _endpoint(self, call: Call) -> Any:  # Any: what Starlette takes as an endpoint
        async def endpoint(request: Request) -> Response:
            try:
                return await self._serve(call, request)
            except ProblemError as problem:
                return self._refused(problem)
            except ClientDisconnect:
                return Response(status_code=499)
            except TimeoutError:
                return problem_response(
                    ProblemError(
                        "internal", f"{call.method} {call.path} was not done in time; look at the log and status."
                    )
                )

        return endpoint

    async def _serve(self, call: Call, request: Request) -> Response:
        visitor = self._admit(call, request)
        if _ODD_ESCAPE.search(request.scope.get("raw_path", b"")):
            raise _no_call(request)
        require(visitor, call.role)
        async with asyncio.timeout(BODY_S):
            raw_body = b"" if call.method == "GET" else await _body(request)
        values = read(call.fields, _query(call, request) if call.method == "GET" else _object(raw_body))
        name = str(request.path_params.get("name", ""))
        asked = Asked(
            visitor=visitor,
            caller=_caller(visitor, call, request, values),
            values=values,
            name=name,
            accept=request.headers.get("accept", ""),
            if_none_match=request.headers.get("if-none-match", ""),
            last_event=request.headers.get("last-event-id", ""),
            may_still=lambda: self._may_still(call, request),
        )
        with patience(READ_S if call.method == "GET" else math.inf):
            async with asyncio.timeout(CALL_S):
                reply = await self._handlers[call.name](asked)
        return _response(reply)

    def _admit(self, call: Call, request: Request) -> Visitor:
        admin = self._state.config.admin
        if call.name == "metrics" and admin.metrics_public:
            refuse_foreign(admin, request.headers)
            return Visitor(name="public", role="viewer")
        return self._doorkeeper.admit(admin, request.headers, _peer(request))

    def _may_still(self, call: Call, request: Request) -> bool:
        """Say whether a call that was begun long ago would still be allowed: tokens end."""
        try:
            require(self._admit(call, request), call.role)
        except ProblemError:
            return False
        return True

    def _refused(self, problem: ProblemError) -> Response:
        """Answer with a problem; who was not let in is counted by why."""
        if problem.kind in REFUSALS:
            self._state.refusals[problem.kind] += 1
        return problem_response(problem)

    async def _not_found(self, request: Request, error: Exception) -> Response:
        """Answer what no call takes, but only to somebody who may ask."""
        try:
            self._doorkeeper.admit(self._state.config.admin, request.headers, _peer(request))
        except ProblemError as problem:
            return self._refused(problem)
        if isinstance(error, HTTPException) and error.status_code == 405:
            allowed = ", ".join(sorted({call.method for call in CALLS if _matches(call, request.url.path)}))
            return problem_response(
                ProblemError(
                    "method",
                    f"{request.method} is not taken by {request.url.path}; expected {allowed}.",
                    headers={"allow": allowed},
                )
            )
        return problem_response(_no_call(request))

    async def _broken(self, request: Request, error: Exception) -> Response:
        self._state.journal.say("api.failed", f"{request.method} {request.url.path} failed: {error!r}")
        return problem_response(
            ProblemError(
                "internal", f"{request.method} {request.url.path} failed inside ({type(error).__name__}); see the log."
            )
        )


def armoured(app: ASGIApp) -> ASGIApp:
    """Put :data:`SAFE_HEADERS` on every answer, whoever wrote it."""

    async def wrapped(scope: Scope, receive: Receive, send: Send) -> None:
        async def sent(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *SAFE_HEADERS]
            await send(message)

        await app(scope, receive, sent)

    return wrapped


def problem_response(problem: ProblemError) -> Response:
    """Answer with a problem."""
    return Response(
        json.dumps(problem.body()),
        status_code=problem.status,
        media_type="application/problem+json",
        headers=problem.headers,
    )


def _response(reply: Reply) -> Response:
    headers = {"content-type": reply.content_type}
    if reply.replayed:
        headers["idempotency-replayed"] = "true"
    if reply.etag:
        headers["etag"] = reply.etag
    if reply.stream is not None:
        return StreamingResponse(reply.stream, status_code=reply.status, headers=headers)
    body = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body).encode()
    return Response(body, status_code=reply.status, headers=headers)


def _reply(answer: Answer) -> Reply:
    return Reply(status=answer.status, body=answer.body, replayed=answer.replayed)


def _flip(asked: Asked) -> FlipAsk:
    values = asked.values
    return FlipAsk(
        cohort=asked.values["cohort"],
        stage=values["stage"],
        percent_bp=values["percent"],
        sample_bp=values["sample"],
        reason=values["reason"],
        force=values["force"],
        if_revision=values["if_revision"],
    )


def _rollback(asked: Asked) -> RollbackAsk:
    return RollbackAsk(to=asked.values["to"], reason=asked.values["reason"], anyway=asked.values["anyway"])


async def _body(request: Request) -> bytes:
    """Read a body that may only be JSON.

    Raises: ProblemError ``content-type`` and ``too-large``.
    """
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > MAX_BODY:
            raise ProblemError("too-large", f"The body has more than {MAX_BODY} bytes; no call needs as many.")
        parts.append(part)
    # A page of another site can post forms and plain text, but not JSON, without asking first.
    content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if content_type != "application/json":
        raise ProblemError(
            "content-type",
            f"The Content-Type is {content_type or 'missing'}; expected application/json, with {{}} for nothing.",
        )
    return b"".join(parts)


def _object(raw_body: bytes) -> Mapping[str, object]:
    """Read a JSON object.

    Raises: ProblemError ``bad-json``.
    """
    if not raw_body.strip():
        return {}
    try:
        found = json.loads(raw_body.decode(), object_pairs_hook=_once_each, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise ProblemError("bad-json", f"The body is not JSON ({error}); expected an object.") from error
    if not isinstance(found, dict):
        raise ProblemError("bad-json", f"The body is a JSON {type(found).__name__}; expected an object.")
    return found


def _once_each(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """Make an object whose names are all different: of two, whoever reads the body elsewhere may take the other one.

    Raises: ValueError for a name that stands twice.
    """
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = next(name for name, count in Counter(name for name, _ in pairs).items() if count > 1)
        raise ValueError(f"{twice[:100]!r} stands in it twice")
    return found


def _no_number(text: str) -> object:
    """Refuse what Python's reader would take beyond JSON.

    Raises: ValueError.
    """
    raise ValueError(f"{text} is no number of JSON")


def _query(call: Call, request: Request) -> Mapping[str, object]:
    """Read a query; a field that may repeat becomes a list."""
    repeated = {field.name for field in call.fields if field.kind in ("headers", "names")}
    query: dict[str, object] = {}
    for name, value in request.query_params.multi_items():
        if name in repeated:
            held = query.setdefault(name, [])
            assert isinstance(held, list)
            held.append(value)
        else:
            query[name] = value
    return query


def _caller(visitor: Visitor, call: Call, request: Request, values: Mapping[str, Any]) -> Caller:
    """Say who asks; under a key the call is what was read of it: `20`, `20.0` and `"20%"` are one share.

    What says the same as nothing is left out, so that a field that another version adds makes no other call of it.
    """
    caller = Caller(actor=visitor.name, source=visitor.source, address=_peer(request))
    key = request.headers.get("idempotency-key")
    if key is None or call.method != "POST":
        return caller
    if not _KEY.fullmatch(key):
        raise ProblemError(
            "invalid-request",
            "Idempotency-Key is not one; expected 1 to 200 visible ASCII characters.",
            faults=[{"where": "Idempotency-Key", "detail": "Expected 1 to 200 visible ASCII characters."}],
        )
    asked = {field.name: values[field.name] for field in call.fields if values[field.name] != field.default}
    digest = hashlib.sha256(f"{request.url.path}\n{json.dumps(asked, sort_keys=True)}".encode()).hexdigest()
    return replace(caller, key=key, digest=digest)


def _no_call(request: Request) -> ProblemError:
    known = unknown("route", request.url.path, {call.path for call in CALLS})
    return ProblemError(
        "not-found",
        f"There is no call {request.url.path[:200]!r}; GET /api/v1/openapi.json lists all.",
        extra=known.extra,
    )


def _peer(request: Request) -> str:
    """Name the address that the connection comes from; what headers say about it is not asked."""
    return request.client.host if request.client else ""


def _matches(call: Call, path: str) -> bool:
    pattern = re.escape(call.path).replace(r"\{name\}", "[^/]+")
    return re.fullmatch(pattern, path) is not None
