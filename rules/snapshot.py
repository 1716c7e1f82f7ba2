"""Everything that one request may read: routes, flags, holds, limits, one revision; immutable.

A :class:`SnapshotSpec` travels and rests on disk; a :class:`Snapshot` is what a
worker builds from it, joins with this node's holds, and swaps in with one
assignment. One request uses one snapshot from start to end.

Rules of this file:

1. :meth:`Snapshot.decide` is the hot path: no allocation that can be made at
   build time, no work for features that the configuration does not use.
2. Whatever bytes a client sends, a decision comes back and nothing is raised.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from hmac import compare_digest
from types import MappingProxyType
from typing import Final

import msgspec
from xxhash import xxh64_intdigest

from config.errors import MatapaloError, SecretError
from config.secret import resolve
from config.spec import ConfigSpec, RouteSpec, ToleranceSpec
from config.tolerance import joined
from rules.cohort import Cohort, cohorts_of
from rules.decision import (
    AMBIGUOUS,
    NO_BUCKET,
    Ambiguity,
    Decision,
    FixedChoice,
    Outcome,
    Route,
    at_no_time,
    compile_route,
)
from rules.flag import BUCKETS, Flag, Hold
from rules.index import Index, candidates_of, problems
from rules.path import PLAIN, canonical, is_suspicious, path_of, readings
from rules.pin import PIN_COOKIE, keys_of, pins_in
from rules.rename import followed
from rules.stage import initial_flag
from rules.sticky import Fields, Source

__all__ = [
    "AMBIGUOUS",
    "EVERYWHERE",
    "SCHEMA",
    "Decision",
    "Fields",
    "Outcome",
    "Override",
    "Route",
    "Snapshot",
    "SnapshotError",
    "SnapshotSpec",
    "build",
    "decode",
    "encode",
]

SCHEMA: Final = 1
"""Rises with every change of what :class:`SnapshotSpec` holds that an older worker could not read."""

_UNDERSCORE: Final = ord("_")
"""Stands in the name of every pin, and in no field of many clients: one byte is found in a seventh of the time."""

EVERYWHERE: Final = "*"
"""Stands in ``copying_off`` for all routes."""


class SnapshotError(MatapaloError):
    """A snapshot cannot be read or built; the sentence says what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotSpec:
    """Hold what control decided, as it is pushed to workers and kept in ``state_dir/snapshot``."""

    schema: int = SCHEMA
    revision: int
    config: ConfigSpec
    flags: dict[str, Flag]
    """By route name; a route without one has its initial flag."""
    copying_off: tuple[str, ...] = ()
    """Names of routes whose copying is switched off; ``*``: all of them."""
    tolerate: tuple[ToleranceSpec, ...] = ()
    """Tolerances that operators applied, beside those of the configuration."""

    def tolerances(self, route: RouteSpec) -> tuple[ToleranceSpec, ...]:
        """Give a route's tolerances, its own before those for every route."""
        applied = {name: [spec for spec in self.tolerate if spec.route == name] for name in (route.name, "")}
        return joined(route.tolerate, applied[route.name], self.config.tolerate, applied[""])


class _Version(msgspec.Struct):
    """Read only the schema of an encoded snapshot, whatever else it holds."""

    schema: int


_encoder: Final = msgspec.msgpack.Encoder()
_decoder: Final = msgspec.msgpack.Decoder(SnapshotSpec)
_version: Final = msgspec.msgpack.Decoder(_Version)


def encode(spec: SnapshotSpec) -> bytes:
    """Write a snapshot as bytes for the link and for the file."""
    return _encoder.encode(spec)


def decode(raw: bytes) -> SnapshotSpec:
    """Read what :func:`encode` wrote.

    Raises: SnapshotError for another schema and for anything that is no snapshot.
    """
    try:
        schema = _version.decode(raw).schema
    except (msgspec.MsgspecError, RecursionError) as error:
        raise SnapshotError(
            f"{len(raw)} bytes are not a snapshot ({error}); remove the file `snapshot` in state_dir: "
            "the start then reads the configuration instead"
        ) from error
    if schema != SCHEMA:
        raise SnapshotError(
            f"the snapshot has schema {schema}, this version reads schema {SCHEMA}; start all processes from one "
            "version, or remove the file `snapshot` in state_dir so that the start reads the configuration"
        )
    try:
        return _decoder.decode(raw)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise SnapshotError(
            f"the snapshot says schema {SCHEMA} but cannot be read ({error}); remove the file `snapshot` in "
            "state_dir: the start then reads the configuration instead"
        ) from error


Clock = Callable[[], float]
"""Gives the Unix time; asked only when a client shows a pin."""


def build(
    spec: SnapshotSpec, holds: Iterable[Hold] = (), previous: Snapshot | None = None, *, clock: Clock = at_no_time
) -> Snapshot:
    """Compile a snapshot and join it with the holds of this node; without a *clock* it hears no pin.

    Shape: a hold on an unknown route is ignored: it may belong to a configuration that is still on its way. One on the
    former name of a route is that route's (:mod:`rules.rename`). A flip or a hold leaves the configuration alone: what
    it does not touch is taken over from *previous*.
    Raises: SnapshotError when routes tie, a path or key is malformed, or a secret is missing.
    Runs: reads the secrets of cohorts and pins with a new configuration and the override's with a new *spec*; a change
    of holds alone is computation.
    Cost: about 40 microseconds per route, a third of that where routes are taken over.
    """
    known = previous.routes if previous is not None and previous.spec.config == spec.config else None
    if known is None and (found := problems(spec.config)):
        raise SnapshotError("the routes cannot be used: " + "; ".join(found))
    secrets = previous.secrets if previous is not None and known is not None else _secrets_of(spec.config)
    held = followed({hold.route: hold for hold in holds}, spec.config)
    off = frozenset(spec.copying_off)
    routes: dict[str, Route] = {}
    for number, route in enumerate(spec.config.routes, start=1):
        flag = spec.flags.get(route.name) or initial_flag(route)
        hold = held.get(route.name) if route.legacy is not None else None
        copying = EVERYWHERE not in off and route.name not in off
        old = known[route.name] if known is not None else None
        if old is None or (old.flag, old.hold, old.copying) != (flag, hold, copying):
            overrides = spec.config.override is not None
            old = compile_route(
                route,
                flag,
                hold,
                index=number,
                copying=copying,
                overrides=overrides,
                cohorts=secrets.cohorts,
                pin_keys=secrets.pin_keys,
                before=None if previous is None else previous.routes.get(route.name),
                clock=clock,
            )
        routes[route.name] = old
    is_same = previous is not None and previous.spec is spec
    override = previous.override if previous is not None and is_same else _override_of(spec.config)
    return Snapshot(spec, routes, override, secrets, clock)


@dataclass(frozen=True, slots=True, kw_only=True)
class Secrets:
    """Hold what was compiled with secrets of the configuration; it lives as long as the configuration."""

    cohorts: Mapping[str, Cohort]
    """By cohort, in the order of the configuration."""
    pin_keys: tuple[bytes, ...]


def _secrets_of(config: ConfigSpec) -> Secrets:
    try:
        cohorts = cohorts_of(config.cohorts)
    except SecretError as error:
        raise SnapshotError(f"a cohort has no token: {error}") from error
    try:
        return Secrets(cohorts=cohorts, pin_keys=keys_of(config.pins))
    except SecretError as error:
        raise SnapshotError(f"pins cannot be signed: {error}") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Override:
    """Hold the header that chooses a side, and the only two values that do."""

    header: bytes
    legacy: bytes
    new: bytes

    def side(self, value: bytes) -> str | None:
        """Say which side *value* chooses; ``None``: its token is wrong.

        Cost: both comparisons always run, in time that does not depend on where they differ.
        """
        is_legacy = compare_digest(value, self.legacy)
        is_new = compare_digest(value, self.new)
        return "legacy" if is_legacy else "new" if is_new else None


def _override_of(config: ConfigSpec) -> Override | None:
    if config.override is None:
        return None
    try:
        token = resolve(config.override.token).encode()
    except SecretError as error:
        raise SnapshotError(f"the override header {config.override.header!r} has no token: {error}") from error
    return Override(header=config.override.header.lower().encode(), legacy=b"legacy " + token, new=b"new " + token)


class Snapshot:
    """Decide requests; made by :func:`build`, then never changed."""

    __slots__ = (
        "_ambiguous",
        "_clock",
        "_ends",
        "_index",
        "_override",
        "_reports",
        "_undeclared",
        "_uniform",
        "asked",
        "revision",
        "routes",
        "secrets",
        "spec",
    )

    def __init__(
        self, spec: SnapshotSpec, routes: Mapping[str, Route], override: Override | None, secrets: Secrets, clock: Clock
    ) -> None:
        self.revision: Final = spec.revision
        self.spec: Final = spec
        self.routes: Final[Mapping[str, Route]] = MappingProxyType(dict(routes))
        self.secrets: Final = secrets
        self.asked: Final = frozenset(() if override is None else (override.header,)).union(
            *(cohort.clues.headers for cohort in secrets.cohorts.values())
        )
        """Lower-case names of the fields that may put a request on another side than its route's stage."""
        self._override: Final = override
        self._clock: Final = clock
        self._reports: Final = spec.config.strict == "report"
        self._undeclared: Final[Outcome] = (_undeclared_decision(spec.config), NO_BUCKET)
        self._ambiguous: Final[Outcome] = (
            Decision(status=400, reason="ambiguous_target", ambiguous=True),
            NO_BUCKET,
        )
        self._index: Final[Index[Route]] = Index(
            entry for route in routes.values() for entry in candidates_of(route.spec, route)
        )
        self._ends: Final = self._index.ends
        answers = frozenset[tuple[int, str | None]]().union(
            self._answers_of(None), *(route.answers for route in routes.values())
        )
        self._uniform: Final = len(answers) == 1
        """Every request has the same answering backend, so no reading can make a difference."""

    @property
    def override(self) -> Override | None:
        """Give the override header, ``None`` when none is configured."""
        return self._override

    def match(self, method: bytes, target: bytes, fields: Fields) -> Route | Ambiguity | None:
        """Say which route takes a request: ``None`` when none does, AMBIGUOUS when it is refused."""
        route, ambiguous = self.locate(method, target, fields)
        return AMBIGUOUS if ambiguous and not self._reports else route

    def locate(self, method: bytes, target: bytes, fields: Fields) -> tuple[Route | None, bool]:
        """Find the route of the raw reading, and say whether another reading has another answer."""
        plain = PLAIN.match(target)
        if plain is not None:
            return self._index.find(plain[1], method, target, fields), False
        path = path_of(target)
        route = self._index.find(canonical(path), method, target, fields)
        if self._uniform or not is_suspicious(path):
            return route, False
        return route, self.rival(route, method, target, fields) is not None

    def rival(
        self, route: Route | None, method: bytes, target: bytes, fields: Fields
    ) -> tuple[bytes, Route | None] | None:
        """Find a reading of *target* that another backend could answer than *route*, its raw reading.

        Shape: the reading and its route; an empty reading when there are more than are looked at;
        ``None``: every reading has the same answer. Overrides are left out: who holds the token may
        choose the side anyway.
        """
        found = readings(path_of(target))
        if found is None:
            return b"", None
        answers = self._answers_of(route)
        for reading in found:
            other = self._index.find(reading, method, target, fields)
            if other is not route and (len(answers) > 1 or self._answers_of(other) != answers):
                return reading, other
        return None

    def _answers_of(self, route: Route | None) -> frozenset[tuple[int, str | None]]:
        if route is not None:
            return route.answers
        decision = self._undeclared[0]
        return frozenset(((decision.status, decision.backend),))

    def decide(
        self,
        method: bytes,
        target: bytes,
        fields: Fields,
        client_ip: str,
        request_id: bytes,
        text: bytes = PIN_COOKIE,
        is_asked: bool = True,
    ) -> Outcome:
        """Decide one request, with the client's bucket or -1 where none was needed.

        Shape: *text* and *is_asked* spare looking into *fields*: pins that are not in *text*, which holds the Cookie
        fields as they came and whatever else, and the fields of ``asked`` unless *is_asked*. Who knows nothing of a
        request leaves both out.
        Cost: 0.3 to 2 microseconds whatever the number of routes (bench/rules.py).
        """
        ambiguous = False
        before, _, last = target.rpartition(b"/")
        end = self._ends.get(before)
        route: Route | None
        if end is not None and (last.isalnum() or last.replace(b"-", b"").isalnum()) and last not in end[1]:
            route = end[0]
        elif (plain := PLAIN.match(target)) is not None:
            route = self._index.find(plain[1], method, target, fields)
        else:
            route, ambiguous = self.locate(method, target, fields)
            if ambiguous and not self._reports:
                return self._ambiguous
        if route is None:
            outcome, pins = self._undeclared, b""
        else:
            # For bytes `in` would first raise and forget a TypeError; for one byte, asked first, it just looks.
            shows_none = not route.pins or _UNDERSCORE not in text or text.find(PIN_COOKIE) < 0
            pins = b"" if shows_none else pins_in(fields)
            outcome = self._decide_on(route, method, target, fields, client_ip, request_id, is_asked, pins)
        if ambiguous or pins:
            decision, bucket = outcome
            return replace(decision, ambiguous=ambiguous, shows_pins=pins != b""), bucket
        return outcome

    def decide_for(self, route: Route, target: bytes, fields: Fields, client_ip: str) -> Outcome:
        """Decide a GET that is known to be one route's: what somebody asks who has no request (OFREP)."""
        return self._decide_on(route, b"GET", target, fields, client_ip, b"", True, pins_in(fields))

    def _decide_on(
        self,
        route: Route,
        method: bytes,
        target: bytes,
        fields: Fields,
        client_ip: str,
        request_id: bytes,
        is_asked: bool,
        pins: bytes,
    ) -> Outcome:
        """Pick the finished decision of a route for one request; *pins* is what :func:`rules.pin.pins_in` gave."""
        fixed = None
        if is_asked and self._override is not None:
            fixed = self._overridden(self._override, route, fields)
        if fixed is None:
            clues = route.clues
            if clues is not None and (
                is_asked or clues.is_inside(client_ip) or (clues.cookies and clues.are_in(fields))
            ):
                route = route.audience(fields, client_ip)
            fixed = route.fixed
        if fixed is not None:
            if method not in route.copied_methods:
                return fixed[0]
            return fixed[2] if self._samples(route, request_id) else fixed[1]
        canary = route.canary
        assert canary is not None, "a route without a fixed choice is a canary"
        choice = None
        bucket = NO_BUCKET
        reads = canary.reads
        if reads is not None:
            if method not in reads:
                canary = canary.writing or canary
            elif pins and route.pin is not None and (side := route.pin.side(pins, self._clock)) is not None:
                choice = canary.pinned.get(side)
        if choice is None:
            key = fields.get(canary.header) or _first_key(canary.sources, target, fields, client_ip)
            if key is not None:
                bucket = xxh64_intdigest(canary.salt + key) % BUCKETS
                choice = canary.new if bucket >= canary.threshold else canary.legacy
            elif canary.issued is None:
                choice = canary.no_key
            else:
                bucket = xxh64_intdigest(canary.salt + request_id) % BUCKETS
                choice = canary.issued[bucket >= canary.threshold]
        if method not in route.copied_methods:
            return choice[0], bucket
        return choice[2] if self._samples(route, request_id) else choice[1], bucket

    @staticmethod
    def _overridden(override: Override, route: Route, fields: Fields) -> FixedChoice | None:
        value = fields.get(override.header)
        if value is None:
            return None
        side = override.side(value)
        if side is None:
            return None
        return route.override_new if side == "new" else route.override_legacy

    @staticmethod
    def _samples(route: Route, request_id: bytes) -> bool:
        sample_bp = route.sample_bp
        if sample_bp <= 0 or sample_bp >= BUCKETS:
            return sample_bp > 0
        return xxh64_intdigest(route.sample_salt + request_id) % BUCKETS < sample_bp


def _first_key(sources: tuple[Source, ...], target: bytes, fields: Fields, client_ip: str) -> bytes | None:
    for source in sources:
        key = source(target, fields, client_ip)
        if key is not None:
            return key
    return None


def _undeclared_decision(config: ConfigSpec) -> Decision:
    if config.undeclared is None:
        return Decision(status=404, reason="undeclared")
    return Decision(side="undeclared", backend=config.undeclared, reason="undeclared")
