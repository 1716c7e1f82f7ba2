"""Who may call the admin API: bearer tokens with roles, and no browser page of another site.

Rules of this file:

1. Deny by default: a call without a role does not exist, a request without a known token is nobody.
2. Loopback is not authentication: a page in the operator's browser also comes from loopback, so without tokens a
   request that names a foreign origin or a foreign host is refused (DNS rebinding).
3. Token values are compared in constant time, never logged, never stored.
"""

from __future__ import annotations

import hmac
import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from config.errors import SecretError
from config.secret import resolve
from config.spec import AdminSpec, Role
from console.problem import ProblemError

ROLES: Final[tuple[Role, ...]] = ("viewer", "developer", "operator", "admin")
"""Lowest first; each may do what the ones before it may."""

_FOREIGN_SITES: Final = frozenset(("cross-site", "same-site"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Visitor:
    """Say who a request comes from."""

    name: str
    role: Role


class Doorkeeper:
    """Recognise visitors by the tokens of one configuration."""

    def __init__(self, admin: AdminSpec) -> None:
        self._admin = admin
        self._tokens: list[tuple[bytes, Visitor]] = []
        self.complaints: list[str] = []
        """Tokens that could not be resolved: nobody can use them."""
        for token in admin.tokens:
            try:
                value = resolve(token.token).encode()
            except SecretError as error:
                self.complaints.append(f"the admin token {token.name!r} cannot be used: {error}")
            else:
                self._tokens.append((value, Visitor(name=token.name, role=token.role)))

    def admit(self, headers: Mapping[str, str], client_host: str) -> Visitor:
        """Say who is calling.

        Shape: *headers* maps lower-case names to values.
        Raises: ProblemError ``no-token`` or ``cross-site``.
        """
        if not self._admin.tokens:
            self._refuse_foreign(headers)
            if not _is_loopback(client_host):
                raise ProblemError(
                    "no-token", "No tokens are configured, so only loopback may call; configure admin.tokens."
                )
            return Visitor(name="local", role="admin")
        scheme, _, value = headers.get("authorization", "").partition(" ")
        raw_value = value.strip().encode("utf-8", "surrogateescape")
        found: Visitor | None = None
        if scheme.lower() == "bearer":
            for known, visitor in self._tokens:
                if hmac.compare_digest(known, raw_value):
                    found = visitor
        if found is None:
            raise ProblemError(
                "no-token",
                "The request carries no token that is known; expected `Authorization: Bearer <token>` with one of "
                "admin.tokens.",
            )
        return found

    def _refuse_foreign(self, headers: Mapping[str, str]) -> None:
        host = headers.get("host", "")
        if not self._is_our_host(host):
            raise ProblemError(
                "cross-site",
                f"The Host {host!r} is neither loopback nor the listen address; call it by that, or configure tokens.",
            )
        origin = headers.get("origin")
        if origin is not None and urlsplit_host(origin) != host.lower():
            raise ProblemError(
                "cross-site", f"The request comes from a page of {origin!r}; configure tokens to allow other programs."
            )
        if headers.get("sec-fetch-site") in _FOREIGN_SITES:
            raise ProblemError(
                "cross-site", "The request comes from a page of another site; configure tokens to allow other programs."
            )

    def _is_our_host(self, host: str) -> bool:
        name = host_name(host)
        listen = self._admin.listen.host
        return _is_loopback(name) or name == "localhost" or (name == listen and not _is_wildcard(listen))


def require(visitor: Visitor, role: Role) -> None:
    """Refuse a visitor whose role is too low.

    Raises: ProblemError ``role``.
    """
    if ROLES.index(visitor.role) < ROLES.index(role):
        raise ProblemError(
            "role",
            f"The token {visitor.name!r} has the role {visitor.role}; expected {role} or higher.",
            extra={"needs": role},
        )


def host_name(host: str) -> str:
    """Take the port off a Host header; lower case, without the brackets of IPv6."""
    if host.startswith("["):
        return host[1:].partition("]")[0].lower()
    return host.partition(":")[0].lower()


def urlsplit_host(origin: str) -> str:
    """Take host and port out of an Origin header; empty if it has none."""
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return ""


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _is_wildcard(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_unspecified
    except ValueError:
        return False
