"""Tokens made at run time: made, listed, rotated, revoked; each change audited, each value shown once.

Rules of this file:

1. A value leaves this process in the answer that makes it, and nowhere else: the database, the audit and the log have
   its hash or its name.
2. What the configuration names is changed there; a name stands for one of the two, never for both.
3. Tokens are read again every :data:`REFRESH_S`, and as soon as another node has changed anything: a revocation counts
   here at once, on other nodes within three seconds. Without a database what was read last stays.
"""

from __future__ import annotations

import asyncio
import secrets
import string
import time
from contextlib import suppress
from dataclasses import replace
from typing import Final

from config import forms
from config.errors import UnfitError
from config.secret import token_digest
from console.call import Asked, Reply
from console.change import Changing, entry_for
from console.commits import Caller, commit
from console.journal import moment_text
from console.keyring import Keyring, read_file_tokens
from console.problem import Fault, ProblemError, invalid, unknown
from console.shapes import Json
from console.state import ControlState
from store.database import StoreError
from store.flags import Commit
from store.tokens import FORMER, Token, note_uses, read_tokens

REFRESH_S: Final = 2.0
HOUR_S: Final = 3600.0
"""How exactly it is kept when a token was last used: whoever clears up wants to know the month."""

PREFIX: Final = "mtp_"
"""In front of every value that was made here, so that scanners find one that was committed or posted by mistake."""

LETTERS: Final = 43
"""62 to the 43rd is more than 2 to the 256th."""

MAX_TOKENS: Final = 500
"""Former values included; each request looks one up by its hash, but all of them travel every two seconds."""

RESERVED: Final = frozenset(("local", "public", "start", "watch", "watchdog", "autopilot", "matapalo"))
"""Actors in the audit that are no token."""

_ALPHABET: Final = string.ascii_letters + string.digits


def new_value() -> str:
    """Make a value: :data:`PREFIX` and 256 random bits in letters and digits, which a double click selects whole."""
    return PREFIX + "".join(secrets.choice(_ALPHABET) for _ in range(LETTERS))


class Tokens(Changing):
    """Answer the calls about tokens, and keep the keyring as the database and the files say."""

    def __init__(self, state: ControlState, keyring: Keyring) -> None:
        super().__init__(state)
        self._keyring = keyring
        self._written = 0
        """How often tokens were changed here: what was read meanwhile may be from before a change."""

    async def tokens(self, _asked: Asked) -> Reply:
        """List every token: those of the configuration, then those that were made."""
        of_file = [
            {**dict.fromkeys(_DATES), "name": token.name, "role": token.role, "source": "file", "state": "valid"}
            for token in self._keyring.of_file
        ]
        now = time.time()
        made = [
            _shown(token, now, self._keyring.uses.get(token.key, 0.0))
            for token in sorted(self._keyring.made, key=_standing)
        ]
        return Reply(body={"tokens": of_file + made})

    async def make_token(self, asked: Asked) -> Reply:
        """Make a token and show its value this once."""
        values = asked.values
        name = _fit_name(values["name"])
        async with self.state.turn:
            held = await self._of_name(name)
            if held:
                raise ProblemError(
                    "token",
                    f"There is a token {name!r} already; choose another name, or give it a new value with "
                    f"`matapalo token rotate {name}`.",
                )
            if len(self._keyring.made) >= MAX_TOKENS:
                raise ProblemError("token", f"There are {MAX_TOKENS} tokens, the most there may be; revoke some first.")
            token, value = _made(name, values["role"], values["expires"], asked.caller)
            number = await self._write((token,), (), values["reason"], asked.caller, before=None, after=token)
        return _answer(token, number, value)

    async def rotate_token(self, asked: Asked) -> Reply:
        """Give a token a new value; the former one ends after the overlap, and with an overlap of nothing all do."""
        values = asked.values
        async with self.state.turn:
            held = await self._of_name(asked.name, must_be=True)
            now = time.time()
            former = next(token for token in held if not token.is_former)
            lasts_ns = values["expires"]
            if lasts_ns is None and former.expires_at:
                lasts_ns = round((former.expires_at - former.made_at) * 1e9)
            token, value = _made(asked.name, former.role, lasts_ns, asked.caller)
            until = now + values["overlap"] / 1e9
            kept = replace(
                former,
                key=f"{asked.name}{FORMER}{former.made_at:.3f}",
                expires_at=min(until, former.expires_at or until),
            )
            over = tuple(one.key for one in held if one.is_former and (one.is_over(now) or not values["overlap"]))
            number = await self._write(
                (token, kept) if values["overlap"] else (token,),
                over,
                values["reason"],
                asked.caller,
                before=former,
                after=token,
            )
        return _answer(token, number, value)

    async def revoke_token(self, asked: Asked) -> Reply:
        """End a token and all its former values now."""
        async with self.state.turn:
            held = await self._of_name(asked.name, must_be=True)
            token = next(one for one in held if not one.is_former)
            number = await self._write(
                (), tuple(one.key for one in held), asked.values["reason"], asked.caller, before=token, after=None
            )
        return _answer(token, number, None)

    async def run(self) -> None:
        """Read the tokens again and again, and keep when they were used.

        Runs: as one task, until cancelled.
        """
        while True:
            self.state.learned.clear()
            await self.refresh()
            await self._keep_uses()
            with suppress(TimeoutError):
                async with asyncio.timeout(REFRESH_S):
                    await self.state.learned.wait()

    async def refresh(self) -> None:
        """Read the tokens of the configuration and of the database; what cannot be read stays as it was."""
        state = self.state
        of_file, complaints = await asyncio.to_thread(read_file_tokens, state.config.admin)
        if complaints:
            state.complaints["tokens"] = "; ".join(complaints)
        else:
            state.complaints.pop("tokens", None)
        self._keyring.hang(of_file=of_file)
        if state.flag_store is not None:
            written = self._written
            try:
                made = await read_tokens(state.flag_store.database)
            except StoreError:
                return  # status says that the database is away; known tokens go on
            if written == self._written:
                self._keyring.hang(made=made)

    async def _keep_uses(self) -> None:
        store = self.state.flag_store
        kept = {token.key: token.last_used_at for token in self._keyring.made}
        due = {key: at for key, at in self._keyring.uses.items() if at - kept.get(key, at) >= HOUR_S}
        if store is not None and due:
            try:
                await note_uses(store.database, due)
            except StoreError:
                return  # it is tried again, with a later moment

    async def _of_name(self, name: str, *, must_be: bool = False) -> list[Token]:
        """Find a token with its former values, as the database has them now.

        Raises: ProblemError ``token`` for one of the configuration, ``unknown-token`` where *must_be* one is not.
        """
        await self.refresh()
        if any(token.name == name for token in self._keyring.of_file):
            raise ProblemError(
                "token", f"The token {name!r} stands in {self.state.config_path}; change it there and reload."
            )
        held = [token for token in self._keyring.made if token.name == name]
        if must_be and not any(not token.is_former for token in held):
            raise unknown("token", name, {token.name for token in self._keyring.made}, where="among the made tokens")
        return held

    async def _write(
        self,
        put: tuple[Token, ...],
        drop: tuple[str, ...],
        reason: str,
        caller: Caller,
        *,
        before: Token | None,
        after: Token | None,
    ) -> int:
        state = self.state
        name = (before or after or put[0]).name
        entry = replace(
            entry_for("token", (), reason, caller, state),
            before={name: None if before is None else _audited(before)},
            after={name: None if after is None else _audited(after)},
        )
        change = Commit(revision=state.revision, entry=entry, put_tokens=put, drop_tokens=drop)
        number, _ = await commit(state, change, state.spec)
        # What was committed counts here even if it cannot be read back.
        self._written += 1
        gone = {*drop, *(token.key for token in put)}
        self._keyring.hang(made=(*(token for token in self._keyring.made if token.key not in gone), *put))
        what = "revoked" if after is None else "made" if before is None else "rotated"
        state.journal.say(f"token.{what}", f"token {name} {what} by {caller.actor}")
        return number


_DATES: Final = ("made_at", "made_by", "expires_at", "last_used_at")


def _made(name: str, role: str, lasts_ns: int | None, caller: Caller) -> tuple[Token, str]:
    value, now = new_value(), time.time()
    token = Token(
        key=name,
        role=role,  # type: ignore[arg-type]  # the table of calls lets nothing else through
        digest=token_digest(value),
        made_at=now,
        made_by=caller.actor,
        expires_at=0.0 if lasts_ns is None else now + lasts_ns / 1e9,
    )
    return token, value


def _fit_name(name: str) -> str:
    try:
        forms.name(name)
    except UnfitError as error:
        raise invalid([Fault(where="name", detail=f"name is {name[:100]!r}; expected {error.expected}.")]) from error
    if name in RESERVED:
        raise invalid([Fault(where="name", detail=f"name is {name!r}, which the audit uses for something else.")])
    return name


def _standing(token: Token) -> tuple[str, bool, float]:
    return token.name, token.is_former, -token.made_at


def _shown(token: Token, now: float, used_at: float) -> Json:
    last = max(token.last_used_at, used_at)
    return {
        "name": token.name,
        "role": token.role,
        "source": "made",
        "state": "expired" if token.is_over(now) else "former" if token.is_former else "valid",
        "made_at": moment_text(token.made_at),
        "made_by": token.made_by,
        "expires_at": moment_text(token.expires_at) if token.expires_at else None,
        "last_used_at": moment_text(last) if last else None,
    }


def _audited(token: Token) -> Json:
    return {
        "role": token.role,
        "made_at": moment_text(token.made_at),
        "expires_at": moment_text(token.expires_at) if token.expires_at else None,
    }


def _answer(token: Token, number: int, value: str | None) -> Reply:
    return Reply(
        body={
            "changed": True,
            "audit_id": f"a-{number}",
            "token": _shown(token, time.time(), 0.0),
            **({} if value is None else {"value": value}),
        }
    )
