"""Who may call the admin API: tokens with roles, people whom a proxy names, and no page of another site.

Rules of this file:

1. Deny by default: a call without a role does not exist, a request that nothing speaks for is nobody.
2. What is shown must be right: a wrong token is refused, also where none would be needed. Public metrics look at none:
   a monitor must not go blind because its token has ended.
3. Loopback is not authentication: a page in the operator's browser also comes from loopback, so a foreign host (DNS
   rebinding), a foreign origin and a foreign site are refused in every mode, before anything else is looked at.
4. Who a person is counts from the proxies that the configuration names; from anywhere else the header is refused,
   whatever else the request carries. Two lines of such a header are refused: one may be the client's.
5. Too many wrong credentials make an address wait, with a right one too: otherwise it could go on guessing. Loopback
   and such a proxy never wait: nobody at another address must be able to stop a rollback.
6. Token values are never logged, never stored, never answered.
"""

from __future__ import annotations

import ipaddress
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final
from urllib.parse import urlsplit

from starlette.datastructures import Headers

from config.spec import AdminSpec, IdentitySpec, Role
from console.asks import UNSHOWABLE
from console.guesses import Guesses
from console.keyring import Keyring
from console.problem import ProblemError
from store.tokens import Token

ROLES: Final[tuple[Role, ...]] = ("viewer", "developer", "operator", "admin")
"""Lowest first; each may do what the ones before it may."""

_FOREIGN_SITES: Final = frozenset(("cross-site", "same-site"))
_GUESSED: Final = frozenset(("bad-token", "identity"))
"""Problems that a wrong credential causes. A missing one is none: health checks and people without a token guess
nothing, and must not make others at their address wait."""

_HOST: Final = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^\[\]:@/?#%\s]+)(?::([0-9]{1,5}))?")

_FORWARDED: Final = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip", "via")
"""What a proxy says of the request that it hands on: then its own address is loopback, not its client's."""

MAX_PERSON: Final = 128
"""Characters of a person's name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Visitor:
    """Say who a request comes from."""

    name: str
    role: Role
    source: str = "api"
    """``identity``: a proxy named the person; as :attr:`store.entries.Entry.source`."""


class Doorkeeper:
    """Recognise visitors, and refuse everybody else with the reason.

    Runs: on control's loop; *admin* is looked at with every request, so that a reload counts at once.
    """

    def __init__(self, keyring: Keyring) -> None:
        self._keyring = keyring
        self._guesses = Guesses()

    def admit(self, admin: AdminSpec, headers: Headers, address: str) -> Visitor:
        """Say who is calling; *address* is the peer's own, never one from a header.

        Raises: ProblemError ``host``, ``cross-site``, ``identity``, ``no-token``, ``bad-token`` or ``rate-limited``.
        """
        refuse_foreign(admin, headers)
        if _never_waits(admin, address):
            return self._recognise(admin, headers, address)
        if wait_s := self._guesses.wait_s(address, time.monotonic()):
            raise ProblemError(
                "rate-limited",
                f"Too many wrong credentials came from this address; try again in {wait_s} s with a right one.",
                headers={"retry-after": str(wait_s)},
            )
        try:
            return self._recognise(admin, headers, address)
        except ProblemError as problem:
            if problem.kind in _GUESSED:
                self._guesses.note(address, time.monotonic())
            raise

    def _recognise(self, admin: AdminSpec, headers: Headers, address: str) -> Visitor:
        identity = admin.identity
        if identity is not None:
            names = [name for raw in headers.getlist(identity.header) if (name := raw.strip(" \t"))]
            if _shows_identity(identity, headers):
                _refuse_impostor(identity, address)
            if names:
                return _person(identity, names, headers)
        shown = headers.getlist("authorization")
        if shown:
            return self._owner(shown)
        if admin.tokens or identity is not None:
            raise ProblemError("no-token", "The request carries no token; expected `Authorization: Bearer <token>`.")
        if not _is_loopback(address):
            raise ProblemError(
                "no-token", "No tokens are configured, so only loopback may call; configure admin.tokens."
            )
        if passed := next((name for name in _FORWARDED if name in headers), ""):
            raise ProblemError(
                "no-token",
                f"The request came through a proxy (it carries {passed}), so that it comes from loopback says nothing; "
                "configure admin.tokens, or admin.identity if that proxy asks people who they are.",
            )
        return Visitor(name="local", role="admin")

    def _owner(self, shown: Sequence[str]) -> Visitor:
        """Say whose token it is.

        Raises: ProblemError ``bad-token``.
        """
        scheme, _, value = shown[0].partition(" ")
        now = time.time()
        found = self._keyring.find(value.strip(" \t"), now) if scheme.lower() == "bearer" and len(shown) == 1 else None
        if found is None:
            raise ProblemError(
                "bad-token",
                "The token is not known: it was mistyped, revoked, or belongs to another server; expected "
                "`Authorization: Bearer <token>` with one of admin.tokens or of `matapalo token list`.",
            )
        if isinstance(found, Token) and found.is_over(now):
            at = datetime.fromtimestamp(found.expires_at, UTC).isoformat(timespec="seconds")
            raise ProblemError(
                "bad-token",
                f"The token {found.name!r} was valid until {at}; an admin makes a new value with "
                f"`matapalo token rotate {found.name}`.",
            )
        return Visitor(name=found.name, role=found.role)


def require(visitor: Visitor, role: Role) -> None:
    """Refuse a visitor whose role is too low.

    Raises: ProblemError ``role``.
    """
    if ROLES.index(visitor.role) < ROLES.index(role):
        who = "person" if visitor.source == "identity" else "token"
        raise ProblemError(
            "role",
            f"The {who} {visitor.name!r} has the role {visitor.role}; expected {role} or higher.",
            extra={"needs": role},
        )


def refuse_foreign(admin: AdminSpec, headers: Headers) -> None:
    """Refuse what a browser sends for a page of another site, and names that are not ours.

    Raises: ProblemError ``host`` or ``cross-site``.
    """
    host = headers.get("host", "")
    if not _is_our_host(admin, host_name(host)):
        raise ProblemError(
            "host",
            f"The Host {host[:100]!r} is not a name of this API; call it by localhost, by its IP address, or put the "
            "name into admin.hosts.",
        )
    for origin in headers.getlist("origin"):
        if not _is_same_host(origin, host):
            raise ProblemError(
                "cross-site",
                f"The request comes from a page of {origin[:100]!r}; only programs and our own may call.",
            )
    if not _FOREIGN_SITES.isdisjoint(site.lower() for site in headers.getlist("sec-fetch-site")):
        raise ProblemError(
            "cross-site", "The request comes from a page of another site; only programs and our own may call."
        )


def _is_our_host(admin: AdminSpec, name: str) -> bool:
    """Say whether a host is ours. An IP address is: rebinding needs a name that its owner can point elsewhere."""
    if name == "localhost" or _is_address(name):
        return True
    return any(name.endswith(own[1:]) if own.startswith("*.") else name == own for own in admin.hosts)


def _is_same_host(origin: str, host: str) -> bool:
    """Say whether an Origin names the host that was called; a port that its scheme implies may stand on one side."""
    try:
        parts = urlsplit(origin)
        port = parts.port
    except ValueError:
        return False
    implied = {"http": 80, "https": 443}.get(parts.scheme)
    if implied is None or not parts.hostname:
        return False
    return (parts.hostname.lower(), port or implied) == (host_name(host), _port(host) or implied)


def host_name(host: str) -> str:
    """Take the port off a Host header; lower case, without the brackets of IPv6. Empty: it is no host and port."""
    found = _HOST.fullmatch(host)
    return found[1].strip("[]").lower().removesuffix(".") if found else ""


def _port(host: str) -> int | None:
    found = _HOST.fullmatch(host)
    return int(found[2]) if found and found[2] else None


def _shows_identity(identity: IdentitySpec, headers: Headers) -> bool:
    return identity.header in headers or (identity.groups_header is not None and identity.groups_header in headers)


def _refuse_impostor(identity: IdentitySpec, address: str) -> None:
    if not _is_within(address, identity.sources):
        raise ProblemError(
            "identity",
            f"The request names a person in {identity.header}, but comes from {address or 'nowhere'}, which is not in "
            "admin.identity.from; only the proxies there may say who somebody is.",
        )


def _person(identity: IdentitySpec, names: Sequence[str], headers: Headers) -> Visitor:
    """Say what a person whom a proxy names may do: the highest role of the person and the groups.

    Raises: ProblemError ``identity`` for two lines of a header, ``role`` for somebody who has no role.
    """
    raw_groups = headers.getlist(identity.groups_header) if identity.groups_header is not None else []
    for name, lines in ((identity.header, names), (identity.groups_header, raw_groups)):
        if len(lines) > 1:
            # One is the proxy's, the other may be what the client sent and the proxy let through.
            raise ProblemError("identity", f"{name} stands in the request {len(lines)} times; expected one line.")
    person = _text(names[0])
    if person is None or len(person) > MAX_PERSON:
        raise ProblemError(
            "identity",
            f"{identity.header} names nobody: expected UTF-8 text without control characters, at most {MAX_PERSON} "
            "characters.",
        )
    groups = {group.strip() for raw in raw_groups for group in (_text(raw) or "").split(",")}
    roles = [role for name, role in identity.roles if name == person]
    roles += [role for group, role in identity.groups if group in groups]
    if not roles:
        raise ProblemError(
            "role",
            f"{person!r} has no role here; expected one in admin.identity, by name or group.",
            extra={"needs": "viewer"},
        )
    return Visitor(name=person, role=max(roles, key=ROLES.index), source="identity")


def _text(raw: str) -> str | None:
    """Read a header's value as the UTF-8 that proxies send; ``None``: it is none, or cannot be shown in an audit."""
    try:
        text = raw.encode("latin-1").decode()
    except UnicodeError:
        return None
    return None if UNSHOWABLE.search(text) else text


def _never_waits(admin: AdminSpec, address: str) -> bool:
    return _is_loopback(address) or (admin.identity is not None and _is_within(address, admin.identity.sources))


@lru_cache(maxsize=256)
def _is_within(address: str, networks: tuple[str, ...]) -> bool:
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return False
    if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped is not None:
        found = found.ipv4_mapped
    return any(found in ipaddress.ip_network(network) for network in networks)


def _is_loopback(address: str) -> bool:
    return _is_within(address, ("127.0.0.0/8", "::1/128"))


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
