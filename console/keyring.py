"""Every token that opens the admin API, by its hash: those of the configuration and those that were made.

Rules of this file:

1. Values are hashed on arrival and looked up by hash: nothing is compared that an answer's time could give away, and
   no value is kept.
2. What was read last stays when the database cannot be read; what the configuration names never needs one.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256

from config.errors import SecretError
from config.secret import resolve, token_digest
from config.spec import AdminSpec, Role
from store.tokens import Token


@dataclass(frozen=True, slots=True, kw_only=True)
class FileToken:
    """Hold one token of the configuration, resolved."""

    name: str
    role: Role
    digest: str


def read_file_tokens(admin: AdminSpec) -> tuple[tuple[FileToken, ...], list[str]]:
    """Resolve the tokens of the configuration; what cannot be used is said in sentences.

    Runs: blocks on small files.
    """
    found: dict[str, FileToken] = {}
    complaints = []
    for token in admin.tokens:
        try:
            value = token.token if token.token.startswith("sha256:") else resolve(token.token)
            digest = token_digest(value)
        except SecretError as error:
            complaints.append(f"the admin token {token.name!r} cannot be used: {error}")
            continue
        if other := found.get(digest):
            complaints.append(f"the admin token {token.name!r} cannot be used: it has the value of {other.name!r}")
            continue
        found[digest] = FileToken(name=token.name, role=token.role, digest=digest)
    return tuple(found.values()), complaints


class Keyring:
    """Know who a token belongs to, and remember which were used."""

    def __init__(self) -> None:
        self.of_file: tuple[FileToken, ...] = ()
        self.made: tuple[Token, ...] = ()
        self.uses: dict[str, float] = {}
        """Key of a made token to the Unix time of its last use."""
        self._by_digest: dict[str, FileToken | Token] = {}

    def hang(self, *, of_file: Iterable[FileToken] | None = None, made: Iterable[Token] | None = None) -> None:
        """Take over what was read; ``None``: as before. A value that both know is the configuration's."""
        self.of_file = self.of_file if of_file is None else tuple(of_file)
        self.made = self.made if made is None else tuple(made)
        self._by_digest = {token.digest: token for token in self.made}
        self._by_digest |= {token.digest: token for token in self.of_file}
        known = {token.key for token in self.made}
        self.uses = {key: at for key, at in self.uses.items() if key in known}

    def find(self, value: str, now: float) -> FileToken | Token | None:
        """Find the token with this value, an expired one too; a valid one that was made is noted as used."""
        token = self._by_digest.get(sha256(value.encode("utf-8", "surrogateescape")).hexdigest())
        if isinstance(token, Token) and not token.is_over(now):
            self.uses[token.key] = now
        return token
