"""Find a cohort to which every client belongs."""

from __future__ import annotations

import ipaddress

from config.spec import CohortSpec, MemberSpec


def whole_networks(member: MemberSpec) -> list[str]:
    """Name the networks of which a matcher takes every address, whatever else a request says; empty: of none.

    Shape: ``0.0.0.0/0`` and ``::/0``, also where smaller blocks add up to them.
    """
    if member.header is not None or member.cookie is not None:
        return []
    networks = [ipaddress.ip_network(block, strict=False) for block in member.cidr]
    v4 = ipaddress.collapse_addresses(one for one in networks if isinstance(one, ipaddress.IPv4Network))
    v6 = ipaddress.collapse_addresses(one for one in networks if isinstance(one, ipaddress.IPv6Network))
    return [str(one) for one in v4 if not one.prefixlen] + [str(one) for one in v6 if not one.prefixlen]


def is_everybody(cohort: CohortSpec) -> bool:
    """Say whether a cohort is no few people but all clients of some network."""
    return any(whole_networks(member) for member in cohort.match)
