"""What a route wants of a comparison, as the comparers are told it."""

from __future__ import annotations

from collections.abc import Mapping

from config.spec import RouteSpec, ToleranceSpec
from shadow.link import Policy


def policy_of(route: RouteSpec, version_headers: Mapping[str, str], tolerate: tuple[ToleranceSpec, ...] = ()) -> Policy:
    """Write down a route's wishes, not numbered yet.

    Shape: *version_headers* maps a backend to the lower-case header in which it says its build; *tolerate*
    holds every tolerance of the route (:meth:`rules.snapshot.SnapshotSpec.tolerances`).
    """
    return Policy(
        number=0,
        route=route.name,
        parity=route.parity,
        keep=route.keep,
        redact=route.redact,
        watch=route.shadow.watch_headers,
        version_headers=(version_headers.get(route.legacy or "", ""), version_headers.get(route.new or "", "")),
        tolerate=tolerate,
    )
