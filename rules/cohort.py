"""Find the cohort that a request belongs to: by a header, a cookie or the client's address.

Rules of this file:

1. The first cohort of the configuration that takes a request is its cohort, among those with a stage of their own.
2. A secret is compared in constant time, and both sides of it as bytes. A header or cookie without one is a claim
   that any client can make: good enough for a preview, never for a permission (decision 27).
3. An address is the resolved one (``trusted_proxies``), IPv4 in IPv6 clothes counts as what it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache
from hmac import compare_digest
from ipaddress import IPv6Address, ip_address, ip_network
from typing import Final

from config.secret import resolve
from config.spec import CohortSpec, MemberSpec
from rules.sticky import Fields, cookie_value

Member = Callable[[Fields, str], bool]
"""Says whether a request, by its fields and its client's address, is somebody's."""

MAX_ADDRESSES: Final = 4_096
"""Addresses that a worker remembers per matcher: reading one costs 3 microseconds, remembering it 100 bytes."""


def members_of(cohorts: Iterable[CohortSpec]) -> dict[str, Member]:
    """Compile every cohort, by name and in the order of the configuration.

    Raises: SecretError for a token that cannot be resolved.
    Runs: reads the secrets.
    """
    return {cohort.name: _any_of(tuple(map(_member, cohort.match))) for cohort in cohorts}


def _any_of(members: tuple[Member, ...]) -> Member:
    if len(members) == 1:
        return members[0]
    return lambda fields, client_ip: any(member(fields, client_ip) for member in members)


def _member(spec: MemberSpec) -> Member:
    """Compile one matcher: everything that it names must be so; the cheapest question comes first."""
    asked: list[Member] = []
    token = None if spec.token is None else resolve(spec.token)
    wanted = spec.value if token is None else token
    raw_wanted = None if wanted is None else wanted.encode()
    if spec.header is not None:
        asked.append(_header(spec.header.encode(), raw_wanted))
    if spec.cookie is not None:
        asked.append(_cookie(spec.cookie.encode(), raw_wanted))
    if spec.cidr:
        asked.append(_address(spec.cidr))
    if len(asked) == 1:
        return asked[0]
    return lambda fields, client_ip: all(member(fields, client_ip) for member in asked)


def _header(name: bytes, wanted: bytes | None) -> Member:
    if wanted is None:
        return lambda fields, _client_ip: fields.get(name) is not None

    def has(fields: Fields, _client_ip: str) -> bool:
        value = fields.get(name)
        return value is not None and compare_digest(value, wanted)

    return has


def _cookie(name: bytes, wanted: bytes | None) -> Member:
    start = name + b"="

    def has(fields: Fields, _client_ip: str) -> bool:
        raw_cookie = fields.get(b"cookie")
        if raw_cookie is None or raw_cookie.find(start) < 0:  # `in` would first raise and forget a TypeError
            return False
        value = cookie_value(raw_cookie, name)
        return value is not None and (wanted is None or compare_digest(value, wanted))

    return has


def _address(blocks: tuple[str, ...]) -> Member:
    networks = tuple(ip_network(block, strict=False) for block in blocks)

    @lru_cache(maxsize=MAX_ADDRESSES)
    def is_inside(client_ip: str) -> bool:
        try:
            address = ip_address(client_ip)
        except ValueError:
            return False  # a client on a Unix socket has none
        if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        return any(address in network for network in networks)  # of another version: not in it

    return lambda _fields, client_ip: is_inside(client_ip)
