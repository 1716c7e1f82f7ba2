"""Flags, holds, switches, tolerances, deployed versions, the revision and the append-only audit.

Rules of this file:

1. A change and its audit entry are one transaction: neither exists without the other.
2. What :meth:`FlagStore.commit` has returned survives a crash of the process and of the machine: SQLite's
   ``synchronous=FULL``, PostgreSQL's ``synchronous_commit``.
3. The audit only grows; triggers in the file itself refuse everything else.
4. Each entry carries the hash of the one before it (:mod:`store.chain`), so that a change behind our back shows.
5. The newest entry, by number and hash, is the *position* of the truth: every change moves it, none is planned on
   another one, and a reader who knows that entry knows everything. The number alone would do, were there no failover:
   a database that lost entries counts on to the same number (docs/decisions/0022-replicas.md).
6. A hold that was ever written here is *heard* (``meta``, :data:`_HEARD`): a node that still has it, though it is no
   longer written here, missed its release; one that was never heard is new, and must not be lost.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Final, NamedTuple

import msgspec
from sqlalchemy import Select, Table, bindparam, delete, func, insert, select

from config.spec import ToleranceSpec
from rules.flag import Flag, Hold, Stage, cohorts_from_json, flag_as_json
from store.database import Database, Row, StoreError, Transaction, open_database
from store.dialect import upsert
from store.entries import Entry, append, entry_from_row
from store.notices import announced
from store.schema import audit, audit_routes, copying_off, flags, holds, idempotency, meta
from store.tokens import Token, write_tokens

KEEP_KEYS_S: Final = 24 * 3600
"""How long an Idempotency-Key is remembered: a retry comes within minutes, a script's re-run within a day."""

KEEP_DEPLOYS: Final = 16
"""Versions of one backend that are remembered: evidence that comes late belongs to the version before the last."""

_DEPLOYED: Final = "deployed:"
"""Before a backend's name, as a key of ``meta``: its deploys as JSON, the newest first."""

_TOLERANCE: Final = "tolerance:"
"""Before a tolerance's name, as a key of ``meta``: the whole tolerance as JSON."""

_HEARD: Final = "heard:"
"""Before a route's name, as a key of ``meta``: the names of the last holds of it that were written, as JSON."""

_CONFIG: Final = "config"
"""The key of ``meta`` with the digest of the configuration that the newest start or reload brought."""

KEEP_HEARD: Final = 64
"""Holds of one route that are remembered by name: more than a node can miss between two looks."""

NOTES: Final = ("watchdog:", "autopilot:", "evidence:", "source:")
"""Before the keys of ``meta`` under which parts of control keep their own small JSON values."""

_FLIPS: Final = ("flip", "rollback", "undo")
_BEGINNINGS: Final = ("start", "reload")

Json = Mapping[str, Any]  # Any: JSON


class StaleRevisionError(StoreError):
    """A change was planned on another truth than the database has; nothing was written."""

    def __init__(self, expected: int, found: int) -> None:
        why = "another node was faster" if expected < found else "the database lost what it had and counts on"
        super().__init__(
            f"the change was planned after an entry a-{expected} that is not the newest, which is a-{found}: {why}; "
            "look at the routes again, then repeat it"
        )
        self.expected, self.found = expected, found

    def __reduce__(self) -> tuple[type[StaleRevisionError], tuple[int, int]]:
        """Pickle by the parts that the constructor takes."""
        return type(self), (self.expected, self.found)


Base = tuple[int, str]
"""Number and hash of the newest audit entry when a change was planned; 0 and empty: there was none."""


class Position(NamedTuple):
    """Say how new the truth is."""

    number: int
    """Of the newest audit entry; 0: nothing was ever committed."""
    revision: int
    head: str
    """The hash of that entry; empty: there is none."""

    @property
    def base(self) -> Base:
        """Name it as what a change was planned on."""
        return self.number, self.head


@dataclass(frozen=True, slots=True, kw_only=True)
class Deploy:
    """Say that a backend runs a version from a moment on."""

    backend: str
    version: str
    at: float
    """Unix time."""
    actor: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Remembered:
    """Hold everything that the file says at start."""

    revision: int
    """0: nothing was ever committed."""
    flags: Mapping[str, Flag]
    holds: Mapping[str, Hold]
    copying_off: frozenset[str]
    deploys: Mapping[str, tuple[Deploy, ...]] = field(default_factory=dict)
    """By backend, the newest first."""
    tolerate: tuple[ToleranceSpec, ...] = ()
    """Applied ones, sorted by name."""
    notes: Mapping[str, str] = field(default_factory=dict)
    """Key to JSON, for keys that begin with one of :data:`NOTES`."""
    number: int = 0
    """The position: of the newest audit entry."""
    head: str = ""
    """That entry's hash."""
    config: str = ""
    """The digest of the configuration that the newest start or reload in the audit brought; empty: none says."""
    heard: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """Route to the names of the holds that were ever written (:func:`name_of_hold`)."""

    @property
    def base(self) -> Base:
        """Name the position as what a change was planned on."""
        return self.number, self.head


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """Remember an Idempotency-Key together with the change that it stands for."""

    key: str
    actor: str
    digest: str
    """Of the call; the same key with another digest is a mistake of the caller."""
    answer: Json = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Commit:
    """Say what one transaction writes."""

    revision: int
    entry: Entry
    set_flags: Mapping[str, Flag] = field(default_factory=dict)
    drop_flags: tuple[str, ...] = ()
    hold: tuple[Hold, ...] = ()
    """New holds, each in place of an older one of its route."""
    release: tuple[str, ...] = ()
    """Routes that are held no longer."""
    copying_off: frozenset[str] | None = None
    """The whole new set; ``None``: unchanged."""
    deploys: tuple[Deploy, ...] = ()
    """What is remembered of one backend from now on, the newest first; empty: unchanged."""
    tolerate: tuple[ToleranceSpec, ...] | None = None
    """The whole new set of applied tolerances; ``None``: unchanged."""
    put_tokens: tuple[Token, ...] = ()
    """Tokens of the admin API to write, in place of those with the same key."""
    drop_tokens: tuple[str, ...] = ()
    """Keys of tokens that end."""
    remember: Mapping[str, str | None] = field(default_factory=dict)
    """Notes to keep, by a key that begins with one of :data:`NOTES`; ``None`` forgets one."""
    key: Key | None = None
    base: Base | None = None
    """The position on which the change was planned; ``None``: it holds on any."""
    more: tuple[Entry, ...] = ()
    """Further entries of the same change, behind ``entry``: the flips that a reload makes."""


class FlagStore:
    """Read and change flags, holds, audit and what belongs to them."""

    def __init__(self, database: Database) -> None:
        self.database = database

    @classmethod
    async def open(cls, where: str) -> FlagStore:
        """Open a file, made if there is none, or a PostgreSQL, which may be away and come back.

        Raises: StoreError.
        """
        return cls(await open_database(where, "flags"))

    async def load(self) -> Remembered:
        """Read everything, as it stood at one position.

        Raises: StoreError, also for a stage that this version does not know.
        """
        async with self.database.reading() as tx:
            return await self._load(tx)

    async def position(self) -> Position:
        """Say how new the truth is, with one query.

        Raises: StoreError.
        """
        return _position(await self.database.rows(_POSITION))

    async def has(self, base: Base) -> bool:
        """Say whether an entry is still there: a database that went back may count to its number with another one.

        Raises: StoreError.
        """
        number, head = base
        found = await self.database.rows(select(audit.c.hash).where(audit.c.id == number))
        return number <= 0 or found == [(head,)]

    async def _load(self, tx: Transaction) -> Remembered:
        position = _position(await tx.rows(_POSITION))
        try:
            return Remembered(
                revision=position.revision,
                number=position.number,
                head=position.head,
                flags={
                    route: Flag(
                        stage=Stage(stage),
                        percent_bp=percent_bp,
                        sample_bp=sample_bp,
                        salt=salt,
                        cohorts=cohorts_from_json(json.loads(cohorts)),
                    )
                    for route, stage, percent_bp, sample_bp, salt, cohorts in await tx.rows(
                        select(
                            flags.c.route,
                            flags.c.stage,
                            flags.c.percent_bp,
                            flags.c.sample_bp,
                            flags.c.salt,
                            flags.c.cohorts,
                        )
                    )
                },
                holds={
                    route: Hold(route=route, keep_copying=bool(keep), reason=reason, actor=actor, at=at)
                    for route, keep, reason, actor, at in await tx.rows(
                        select(holds.c.route, holds.c.keep_copying, holds.c.reason, holds.c.actor, holds.c.at)
                    )
                },
                copying_off=frozenset(route for (route,) in await tx.rows(select(copying_off.c.route))),
                deploys={
                    key.removeprefix(_DEPLOYED): tuple(Deploy(**deploy) for deploy in json.loads(value))
                    for key, value in await tx.rows(_kept_under(_DEPLOYED))
                },
                tolerate=tuple(
                    msgspec.json.decode(value, type=ToleranceSpec)
                    for _, value in sorted(await tx.rows(_kept_under(_TOLERANCE)))
                ),
                heard={
                    key.removeprefix(_HEARD): frozenset(json.loads(value))
                    for key, value in await tx.rows(_kept_under(_HEARD))
                },
                config=(await tx.rows(_BEGUN_WITH))[0][0],
                notes={key: value for prefix in NOTES for key, value in await tx.rows(_kept_under(prefix))},
            )
        except (ValueError, TypeError, msgspec.MsgspecError) as error:
            raise StoreError(
                f"{self.database.name} holds a value that this version cannot read ({error}); "
                "start the version that wrote it"
            ) from error

    async def commit(self, change: Commit) -> tuple[Entry, ...]:
        """Write one change with its audit entries, durably, and return these as they stand now: numbered and hashed.

        Raises: StaleRevisionError when its base is not the newest position, else StoreError; nothing is then written.
        """
        async with self.database.transaction() as tx:
            position = _position(await tx.rows(_POSITION))
            if change.base is not None and change.base != position.base:
                raise StaleRevisionError(change.base[0], position.number)
            # A change without a base comes from who may not know the newest revision: it must not take it back.
            change = replace(change, revision=max(change.revision, position.revision))
            await _write(tx, change)
            written = await _append(tx, change)
            await tx.rows(select(announced(str(written[-1].id))))
        return written

    async def recall(self, key: str, actor: str) -> Key | None:
        """Find the answer that was given under an Idempotency-Key in the last 24 hours.

        Raises: StoreError.
        """
        rows = await self.database.rows(
            select(idempotency.c.digest, idempotency.c.answer).where(
                idempotency.c.key == key,
                idempotency.c.actor == actor,
                idempotency.c.at > time.time() - KEEP_KEYS_S,
            )
        )
        return Key(key=key, actor=actor, digest=rows[0][0], answer=json.loads(rows[0][1])) if rows else None

    async def entry(self, number: int) -> Entry | None:
        """Find one audit entry.

        Raises: StoreError.
        """
        rows = await self.database.rows(select(audit).where(audit.c.id == number))
        return entry_from_row(rows[0]) if rows else None

    async def entries(self, *, before: int | None, limit: int, route: str | None = None) -> list[Entry]:
        """List audit entries, older than number *before* if that is given.

        Order: newest first.
        Raises: StoreError.
        """
        query = select(audit).order_by(audit.c.id.desc()).limit(limit)
        if before is not None:
            query = query.where(audit.c.id < before)
        if route is not None:
            query = query.join(audit_routes, audit_routes.c.audit_id == audit.c.id).where(audit_routes.c.route == route)
        return [entry_from_row(row) for row in await self.database.rows(query)]

    async def head(self) -> tuple[int, str] | None:
        """Give number and hash of the newest audit entry; ``None``: there is none yet.

        Raises: StoreError.
        """
        rows = await self.database.rows(select(audit.c.id, audit.c.hash).order_by(audit.c.id.desc()).limit(1))
        return (rows[0][0], rows[0][1]) if rows else None

    async def last_flips(self) -> dict[str, Entry]:
        """Find the newest flip, rollback or undo of every route.

        Raises: StoreError.
        """
        return await self._newest(_FLIPS)

    async def last_moves(self) -> dict[str, Entry]:
        """Find what last gave each route a flag: a flip, or the start or reload that brought it.

        Raises: StoreError.
        """
        return await self._newest((*_FLIPS, *_BEGINNINGS))

    async def _newest(self, kinds: Sequence[str]) -> dict[str, Entry]:
        """Read each entry once: the one of a start names every route, and is as long as all of them together."""
        newest = (
            select(audit_routes.c.route, func.max(audit.c.id))
            .join(audit, audit.c.id == audit_routes.c.audit_id)
            .where(audit.c.kind.in_(kinds))
            .group_by(audit_routes.c.route)
        )
        numbers = {row[0]: row[1] for row in await self.database.rows(newest)}
        rows = await self.database.rows(select(audit).where(audit.c.id.in_(sorted(set(numbers.values())))))
        entries = {entry.id: entry for entry in map(entry_from_row, rows)}
        return {route: entries[number] for route, number in numbers.items()}

    async def flip_counts(self) -> dict[tuple[str, str], int]:
        """Count flips, rollbacks and undos per (route, source).

        Raises: StoreError.
        """
        rows = await self.database.rows(
            select(audit_routes.c.route, audit.c.source, func.count())
            .join(audit, audit.c.id == audit_routes.c.audit_id)
            .where(audit.c.kind.in_(_FLIPS))
            .group_by(audit_routes.c.route, audit.c.source)
        )
        return {(route, source): count for route, source, count in rows}

    async def close(self) -> None:
        """Close the file."""
        await self.database.close()


def hold_as_json(hold: Hold) -> dict[str, object]:
    """Show a hold as the admin API and the audit do."""
    return {
        "route": hold.route,
        "keep_copying": hold.keep_copying,
        "reason": hold.reason,
        "actor": hold.actor,
        "at": hold.at,
    }


async def _write(tx: Transaction, change: Commit) -> None:
    noted = {"revision": str(change.revision)}
    if change.entry.kind in _BEGINNINGS and change.entry.config:
        noted[_CONFIG] = change.entry.config
    if change.deploys:
        kept = [asdict(deploy) for deploy in change.deploys[:KEEP_DEPLOYS]]
        noted[f"{_DEPLOYED}{change.deploys[0].backend}"] = json.dumps(kept)
    await tx.run_many(_PUT_FLAG, [{"route": route, **_flag_row(flag)} for route, flag in change.set_flags.items()])
    await tx.run_many(_DROP_FLAG, [{"of": route} for route in change.drop_flags])
    if change.tolerate is not None:
        await tx.run(delete(meta).where(meta.c.key.startswith(_TOLERANCE, autoescape=True)))
        noted |= {f"{_TOLERANCE}{spec.id}": msgspec.json.encode(spec).decode() for spec in change.tolerate}
    await write_tokens(tx, change.put_tokens, change.drop_tokens)
    await tx.run_many(_FORGET, [{"of": note} for note, value in change.remember.items() if value is None])
    await remember(tx, noted | {note: value for note, value in change.remember.items() if value is not None})
    await tx.run_many(
        _PUT_HOLD, [{**hold_as_json(hold), "keep_copying": int(hold.keep_copying)} for hold in change.hold]
    )
    await _hear(tx, change.hold)
    await tx.run_many(_DROP_HOLD, [{"of": route} for route in change.release])
    if change.copying_off is not None:
        await tx.run(delete(copying_off))
        await tx.run_many(_STOP_COPYING, [{"route": route} for route in sorted(change.copying_off)])


def _kept_under(prefix: str) -> Select[tuple[str, str]]:
    """Ask for the rows of ``meta`` whose keys begin with *prefix*."""
    return select(meta.c.key, meta.c.value).where(meta.c.key.startswith(prefix, autoescape=True))


async def remember(tx: Transaction, values: Mapping[str, str]) -> None:
    """Keep values of ``meta``, by their keys."""
    await tx.run_many(_REMEMBER, [{"key": key, "value": value} for key, value in values.items()])


async def _hear(tx: Transaction, written: Sequence[Hold]) -> None:
    """Remember the names of holds, the youngest :data:`KEEP_HEARD` of each route."""
    keys = {f"{_HEARD}{hold.route}" for hold in written}
    if not keys:
        return
    found = await tx.rows(select(meta.c.key, meta.c.value).where(meta.c.key.in_(keys)))
    heard: dict[str, list[str]] = {key: json.loads(value) for key, value in found}
    for hold in written:
        names = [*heard.get(f"{_HEARD}{hold.route}", ()), name_of_hold(hold)]
        heard[f"{_HEARD}{hold.route}"] = list(dict.fromkeys(reversed(names)))[:KEEP_HEARD][::-1]
    await remember(tx, {key: json.dumps(names) for key, names in heard.items()})


def name_of_hold(hold: Hold) -> str:
    """Name one hold by everything that it says."""
    return hashlib.sha256(json.dumps(hold_as_json(hold)).encode()).hexdigest()[:16]


async def _append(tx: Transaction, change: Commit) -> tuple[Entry, ...]:
    """Write every entry of a change; returns them as written."""
    entries = (change.entry, *change.more)
    written = tuple([await append(tx, replace(entry, revision=change.revision)) for entry in entries])
    if change.key is not None:
        now = time.time()
        await tx.run(delete(idempotency).where(idempotency.c.at <= now - KEEP_KEYS_S))
        answer = json.dumps({**change.key.answer, "audit_id": f"a-{written[0].id}"})
        await tx.run(
            insert(idempotency).values(
                key=change.key.key, actor=change.key.actor, digest=change.key.digest, answer=answer, at=now
            )
        )
    return written


def _flag_row(flag: Flag) -> dict[str, object]:
    return {
        "stage": flag.stage.value,
        "percent_bp": flag.percent_bp,
        "sample_bp": flag.sample_bp,
        "salt": flag.salt,
        "cohorts": json.dumps(flag_as_json(flag)["cohorts"]),
    }


_BEGUN_WITH: Final = select(
    func.coalesce(
        select(meta.c.value).where(meta.c.key == _CONFIG).scalar_subquery(),
        # What versions that did not keep it have left.
        select(audit.c.config).where(audit.c.config != "").order_by(audit.c.id.desc()).limit(1).scalar_subquery(),
        "",
    )
)

_POSITION: Final = select(
    select(func.max(audit.c.id)).scalar_subquery(),
    select(meta.c.value).where(meta.c.key == "revision").scalar_subquery(),
    select(audit.c.hash).order_by(audit.c.id.desc()).limit(1).scalar_subquery(),
)


def _position(rows: list[Row]) -> Position:
    number, revision, head = rows[0]
    return Position(number=number or 0, revision=int(revision or 0), head=head or "")


def _put(table: Table, key: str) -> Any:  # Any: SQLAlchemy's statement, for parameters by the columns' names
    """Write whole rows, in place of those with the same key."""
    inserted = upsert(table).values({name: bindparam(name) for name in table.c.keys()})  # noqa: SIM118 - not a dict
    rest = {name: inserted.excluded[name] for name in table.c.keys() if name != key}  # noqa: SIM118
    return inserted.on_conflict_do_update(index_elements=[key], set_=rest)


_PUT_FLAG: Final = _put(flags, "route")
_DROP_FLAG: Final = delete(flags).where(flags.c.route == bindparam("of"))
_PUT_HOLD: Final = _put(holds, "route")
_DROP_HOLD: Final = delete(holds).where(holds.c.route == bindparam("of"))
_STOP_COPYING: Final = insert(copying_off).values(route=bindparam("route"))
_REMEMBER: Final = _put(meta, "key")
_FORGET: Final = delete(meta).where(meta.c.key == bindparam("of"))
