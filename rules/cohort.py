"""Find the cohort that a request belongs to: by a header, a cookie or the client's address.

Rules of this file:

1. The first cohort of the configuration that takes a request is its cohort, among those with a stage of their own.
2. A secret is compared in constant time, and both sides of it as bytes. A header or cookie without one is a claim
   that any client can make: good enough for a preview, never for a permission (decision 27).
3. An address is the resolved one (``trusted_proxies``), IPv4 in IPv6 clothes counts as what it is.
4. Nearly every request is in no cohort, and shows nothing that any asks for: that it does not is found out first, by
   what is asked for at the least (:class:`Clues`). Only who shows a clue is asked cohort by cohort.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from hmac import compare_digest
from ipaddress import IPv6Address, ip_address, ip_network
from typing import Final

from config.secret import resolve
from config.spec import CohortSpec, MemberSpec
from rules.sticky import Fields, cookie_value

Asked = Callable[[Fields, str], bool]
"""Says whether a request, by its fields and its client's address, is as somebody asks."""

MAX_ADDRESSES: Final = 4_096
"""Addresses that a worker remembers per matcher: reading one costs 3 microseconds, remembering it 100 bytes."""

MAX_SHARED: Final = 64
"""Sets of cohorts whose clues are one object; more are made anew, and cost what they cost."""

MAX_BLOCKS: Final = 8
"""Lists of blocks that are one object, and one memory of addresses, for all who ask for them; those of configurations
that are gone stay among them, with up to 400 KB each."""

_NOWHERE: Final = frozenset[str]().__contains__
"""Has no address in it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Clues:
    """Hold what a request must show one of to be in one of some cohorts."""

    headers: frozenset[bytes] = frozenset()
    """Lower-case names of fields; whether any is there is found out while the head is read."""
    cookies: tuple[bytes, ...] = ()
    """What their text begins with: name and ``=``."""
    blocks: tuple[str, ...] = ()
    is_inside: Callable[[str], bool] = _NOWHERE
    """Tells whether an address lies in any of the blocks."""

    def are_in(self, fields: Fields) -> bool:
        """Tell whether one of the cookies may be there; false alarms cost time, a no is certain."""
        raw_cookie = fields.get(b"cookie") or b""
        return any(raw_cookie.find(start) >= 0 for start in self.cookies)


@lru_cache(maxsize=MAX_SHARED)
def clues_of(cohorts: tuple[Cohort, ...]) -> Clues:
    """Join the clues of several cohorts, each thing once; one object for all routes that ask for the same ones."""
    clues = [cohort.clues for cohort in cohorts]
    blocks = tuple(dict.fromkeys(block for one in clues for block in one.blocks))
    return Clues(
        headers=frozenset(name for one in clues for name in one.headers),
        cookies=tuple(dict.fromkeys(start for one in clues for start in one.cookies)),
        blocks=blocks,
        is_inside=_inside(blocks) if blocks else _NOWHERE,
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Cohort:
    """Hold what says who belongs to one cohort."""

    takes: Asked
    clues: Clues


def cohorts_of(specs: Iterable[CohortSpec]) -> dict[str, Cohort]:
    """Compile every cohort, by name and in the order of the configuration.

    Raises: SecretError for a token that cannot be resolved.
    Runs: reads the secrets.
    """
    return {spec.name: _any_of(tuple(map(_member, spec.match))) for spec in specs}


def _any_of(members: tuple[Cohort, ...]) -> Cohort:
    if len(members) == 1:
        return members[0]
    return Cohort(
        takes=lambda fields, client_ip: any(member.takes(fields, client_ip) for member in members),
        clues=clues_of(members),
    )


def _member(spec: MemberSpec) -> Cohort:
    """Compile one matcher: everything that it names must be so; the cheapest question comes first, and is the clue."""
    asked: list[Asked] = []
    clues: list[Clues] = []
    token = None if spec.token is None else resolve(spec.token)
    wanted = spec.value if token is None else token
    raw_wanted = None if wanted is None else wanted.encode()
    if spec.header is not None:
        asked.append(_header(spec.header.encode(), raw_wanted))
        clues.append(Clues(headers=frozenset((spec.header.lower().encode(),))))
    if spec.cookie is not None:
        asked.append(_cookie(spec.cookie.encode(), raw_wanted))
        clues.append(Clues(cookies=(_start_of(spec.cookie),)))
    if spec.cidr:
        is_inside = _inside(spec.cidr)
        asked.append(lambda _fields, client_ip: is_inside(client_ip))
        clues.append(Clues(blocks=spec.cidr, is_inside=is_inside))
    if len(asked) == 1:
        return Cohort(takes=asked[0], clues=clues[0])
    return Cohort(takes=lambda fields, client_ip: all(one(fields, client_ip) for one in asked), clues=clues[0])


def _header(name: bytes, wanted: bytes | None) -> Asked:
    if wanted is None:
        return lambda fields, _client_ip: fields.get(name) is not None

    def has(fields: Fields, _client_ip: str) -> bool:
        value = fields.get(name)
        return value is not None and compare_digest(value, wanted)

    return has


def _start_of(cookie: str) -> bytes:
    return cookie.encode() + b"="


def _cookie(name: bytes, wanted: bytes | None) -> Asked:
    def has(fields: Fields, _client_ip: str) -> bool:
        raw_cookie = fields.get(b"cookie")
        value = None if raw_cookie is None else cookie_value(raw_cookie, name)
        return value is not None and (wanted is None or compare_digest(value, wanted))

    return has


@lru_cache(maxsize=MAX_BLOCKS)
def _inside(blocks: tuple[str, ...]) -> Callable[[str], bool]:
    """Compile blocks."""
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

    return is_inside
