"""OFREP, the OpenFeature Remote Evaluation Protocol: services ask which side a user is on.

A flag is a route or a journey; its value is true where new answers. The answer comes from the snapshot that workers
serve, asked as a request would ask it: the context becomes the header fields, cookies and address of that request.

Source: https://github.com/open-feature/protocol (service/openapi.yaml, 0.2.0).
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from console.call import Asked, Reply
from console.problem import ProblemError
from console.shapes import Json
from console.state import ControlState
from rules.decision import Decision, Route
from rules.snapshot import Snapshot, SnapshotError
from rules.sticky import ISSUED_COOKIE, FieldList

_REASONS: Final = {
    "bucket": "SPLIT",
    "cohort": "TARGETING_MATCH",
    "override": "TARGETING_MATCH",
    "pin": "TARGETING_MATCH",
    "no_key": "DEFAULT",
    "gone": "DISABLED",
}
"""Why, in OpenFeature's words; everything else is STATIC."""

_NAME: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}")
_COOKIE: Final = re.compile(rf"cookie:{_NAME.pattern}")
# Half of a surrogate pair is text in JSON, and in no request.
_VALUE: Final = re.compile(
    r"[^\x00-\x20\x7f\ud800-\udfff]([^\x00-\x1f\x7f\ud800-\udfff]*[^\x00-\x20\x7f\ud800-\udfff])?"
)
_IN_COOKIE: Final = re.compile(r"[^;\s\ud800-\udfff]+")
_IN_QUERY: Final = re.compile(r"[^&#\s\ud800-\udfff]+")
NOWHERE: Final = "0.0.0.0"  # noqa: S104 - an address that no client has, not one to listen on
MAX_ATTRIBUTES: Final = 100
MAX_CONTEXT: Final = 16 << 10
"""Characters of all names and values: what the head of a request may have, and each route reads them."""

ROUTES_AT_ONCE: Final = 20
"""Flags that are evaluated before others on this loop have their turn: a few milliseconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """Hold a context as it was read, once for all routes."""

    key: str | None
    """The targeting key."""
    given: Mapping[str, str]
    """Its other attributes, names in lower case."""
    cookies: Mapping[str, str]
    """Those of them that are named ``cookie:NAME``."""
    fields: tuple[tuple[bytes, bytes], ...]
    """Those of them that are header fields."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """Hold the request that a context stands for."""

    target: bytes
    fields: FieldList
    client_ip: str


class Ofrep:
    """Answer OFREP's two calls.

    Raises: every method ProblemError; its body has OFREP's members beside ours.
    """

    def __init__(self, state: ControlState) -> None:
        self._state = state

    async def ofrep_flag(self, asked: Asked) -> Reply:
        """Evaluate one flag."""
        context = read_context(asked.name, asked.values["context"] or {})
        return Reply(body=self._evaluate(self._snapshot(asked.name), asked.name, context))

    async def ofrep_flags(self, asked: Asked) -> Reply:
        """Evaluate every flag; a flag that cannot be evaluated has its error in its place."""
        snapshot, context = self._snapshot(""), read_context("", asked.values["context"] or {})
        flags: list[Json] = []
        for number, name in enumerate(_names(snapshot)):
            if number % ROUTES_AT_ONCE == 0:
                await asyncio.sleep(0)
            try:
                flags.append(self._evaluate(snapshot, name, context))
            except ProblemError as error:
                flags.append({name: error.extra[name] for name in ("key", "errorCode", "errorDetails")})
        raw = json.dumps({"flags": flags}).encode()
        tag = f'"{hashlib.sha256(raw).hexdigest()[:32]}"'
        is_same = tag in (part.strip().removeprefix("W/") for part in asked.if_none_match.split(","))
        return Reply(body=b"" if is_same else raw, status=304 if is_same else 200, etag=tag)

    def _snapshot(self, key: str) -> Snapshot:
        try:
            return self._state.snapshot()
        except SnapshotError as error:
            raise _failure(
                "refused", key, "GENERAL", f"This process cannot decide as a worker does: {error}."
            ) from error

    def _evaluate(self, snapshot: Snapshot, key: str, context: Context) -> Json:
        """Evaluate a route, or a journey: it is on new where all its routes are."""
        routes = [snapshot.routes[key]] if key in snapshot.routes else _journey(snapshot, key)
        if not routes:
            raise _failure("unknown-flag", key, "FLAG_NOT_FOUND", f"There is no route and no journey {key[:100]!r}.")
        found = [_decided(snapshot, route, key, context) for route in routes]
        decision, bucket, route = next((one for one in found if one[0].side != "new"), found[0])
        metadata: Json = {"revision": snapshot.revision, "stage": route.flag.stage.value}
        if bucket >= 0:
            metadata["bucket"] = bucket
        if route.hold is not None:
            metadata["held"] = True
        if decision.cohort:
            metadata["cohort"] = decision.cohort
        answer: Json = {
            "key": key,
            "reason": _REASONS.get(decision.reason, "STATIC"),
            "variant": decision.side if decision.side != "none" else decision.reason,
            "metadata": metadata,
        }
        if decision.status == 0 or decision.reason == "gone":
            answer["value"] = decision.side == "new"
            return answer
        raise _failure("refused", key, "GENERAL", f"Route {route.name!r} has no backend for this side.")


def read_context(key: str, context: Mapping[str, object]) -> Context:
    """Read the context of a question about the flag *key*; what no header could carry is left out.

    Raises: ProblemError ``flag-context`` for one that is too large.
    """
    if len(context) > MAX_ATTRIBUTES:
        raise _invalid(key, f"the context has {len(context)} attributes; expected at most {MAX_ATTRIBUTES}")
    given = {str(name).lower(): str(value) for name, value in context.items() if isinstance(value, (str, int, float))}
    size = sum(len(name) + len(value) for name, value in given.items())
    if size > MAX_CONTEXT:
        raise _invalid(key, f"the context has {size} characters; expected at most {MAX_CONTEXT}")
    return Context(
        key=given.pop("targetingkey", None),
        given=given,
        cookies={name: value for name, value in given.items() if _COOKIE.fullmatch(name)},
        fields=tuple(
            (name.encode(), value.encode())
            for name, value in given.items()
            if name not in ("cookie", "host", "ip") and _NAME.fullmatch(name) and _VALUE.fullmatch(value)
        ),
    )


def request_of(route: Route, key: str, context: Context) -> Request:
    """Make the request that a context stands for: its sticky key where the route looks for it, the rest as headers.

    Raises: ProblemError ``flag-context`` for a value that no request could carry.
    """
    given = context.given
    places = {text.lower(): text for text in route.spec.sticky}
    held = {place: given[name] for place in places for name in (place, place.partition(":")[2]) if name in given}
    if not held and context.key is not None and places:
        held[next(iter(places))] = context.key
    cookies: list[str] = []
    query: list[str] = []
    headers: list[tuple[bytes, bytes]] = []
    client_ip = held.pop("ip", given.get("ip", NOWHERE))
    own = {name: value for name, value in context.cookies.items() if name not in held}
    for place, value in {**held, **own}.items():
        kind, _, name = places.get(place, place).partition(":")
        if kind == "header":
            headers.append((name.encode(), _checked(key, place, value, _VALUE)))
        elif kind == "query":
            query.append(f"{name}={_checked(key, place, value, _IN_QUERY).decode()}")
        else:
            cookies.append(f"{name or ISSUED_COOKIE}={_checked(key, place, value, _IN_COOKIE).decode()}")
    headers += context.fields
    if cookies:
        headers.append((b"cookie", "; ".join(cookies).encode()))
    target = "/" + ("?" + "&".join(query) if query else "")
    return Request(target=target.encode(), fields=FieldList(headers), client_ip=client_ip)


def _checked(key: str, place: str, value: str, pattern: re.Pattern[str]) -> bytes:
    if pattern.fullmatch(value):
        return value.encode()
    raise _invalid(key, f"the value of {place} is {value[:50]!r}, which no request can carry there")


def _decided(snapshot: Snapshot, route: Route, key: str, context: Context) -> tuple[Decision, int, Route]:
    request = request_of(route, key, context)
    decision, bucket = snapshot.decide_for(route, request.target, request.fields, request.client_ip)
    if decision.issue_cookie:
        said = f"Route {route.name!r} places clients by {', '.join(route.spec.sticky)}; give one, or the targetingKey."
        raise _failure("flag-context", key, "TARGETING_KEY_MISSING", said)
    return decision, bucket, route


def _names(snapshot: Snapshot) -> Iterator[str]:
    yield from snapshot.routes
    journeys = {route.spec.journey for route in snapshot.routes.values() if route.spec.journey}
    yield from sorted(journeys - snapshot.routes.keys())


def _journey(snapshot: Snapshot, name: str) -> Sequence[Route]:
    return [route for route in snapshot.routes.values() if route.spec.journey == name]


def _invalid(key: str, said: str) -> ProblemError:
    return _failure("flag-context", key, "INVALID_CONTEXT", f"{said[0].upper()}{said[1:]}.")


def _failure(kind: str, key: str, code: str, said: str) -> ProblemError:
    """Make a problem that is OFREP's failure, too."""
    return ProblemError(kind, said, extra={"key": key, "errorCode": code, "errorDetails": said})
