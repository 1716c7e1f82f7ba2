"""Tokens of the admin API that were made at run time: their hashes, roles and ends; the values are nowhere.

A token is 256 random bits, so its plain SHA-256 can neither be reversed nor guessed: the slow hashes that passwords
need would cost each call milliseconds and add nothing (docs/decisions/0029-admin-doors.md).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Final

from sqlalchemy import delete, insert, select, update

from config.spec import Role
from store.database import Database, Transaction
from store.schema import tokens

FORMER: Final = "~"
"""Between a token's name and the moment at which a former value of it was made: ``ci~1769828398``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """Describe one value that opens the admin API."""

    key: str
    """The name; of a former value, which ends with its overlap, ``name~moment``."""
    role: Role
    digest: str
    """Hex SHA-256 of the value."""
    made_at: float
    """Unix time."""
    made_by: str
    expires_at: float = 0.0
    """Unix time; 0: never."""
    last_used_at: float = 0.0
    """Unix time, to the hour; 0: never."""

    @property
    def name(self) -> str:
        """Name who uses it; stands in the audit."""
        return self.key.partition(FORMER)[0]

    @property
    def is_former(self) -> bool:
        """Say whether a rotation has put another value in its place."""
        return FORMER in self.key

    def is_over(self, now: float) -> bool:
        """Say whether it has expired."""
        return 0 < self.expires_at <= now


async def read_tokens(database: Database) -> tuple[Token, ...]:
    """List every token, former values too, sorted by key.

    Raises: StoreError.
    """
    columns = (tokens.c.name, *(tokens.c[name] for name in _KEPT))
    rows = await database.rows(select(*columns).order_by(tokens.c.name))
    return tuple(Token(key=row[0], **dict(zip(_KEPT, row[1:], strict=True))) for row in rows)


async def note_uses(database: Database, uses: Mapping[str, float]) -> None:
    """Keep when tokens were last used; an older moment than the one that is kept changes nothing.

    Raises: StoreError.
    """
    async with database.transaction() as tx:
        for key, at in uses.items():
            later = (tokens.c.name == key) & (tokens.c.last_used_at < at)
            await tx.run(update(tokens).where(later).values(last_used_at=at))


async def write_tokens(tx: Transaction, put: tuple[Token, ...], drop: tuple[str, ...]) -> None:
    """Put tokens in place of those with the same key, and take others away."""
    for key in (*drop, *(token.key for token in put)):
        await tx.run(delete(tokens).where(tokens.c.name == key))
    for token in put:
        row = asdict(token)
        await tx.run(insert(tokens).values(name=row.pop("key"), **row))


_KEPT: Final = ("role", "digest", "made_at", "made_by", "expires_at", "last_used_at")
