"""A route's wishes arrive as the comparers read them."""

from __future__ import annotations

from config import load_text
from shadow.link import Policy
from shadow.wishes import policy_of


def test_a_route_tells_the_comparers_everything_that_decides_a_verdict() -> None:
    """Parity, what is kept, redacted, watched and tolerated, and where each side says its build."""
    (route,) = load_text(
        """
        backends: {old: {url: "http://old"}, new: {url: "http://new", version_header: X-Version}}
        defaults: {legacy: old, new: new}
        routes:
          - name: orders
            match: {path: /orders}
            parity: meaning
            keep: shapes
            redact: [$.email]
            shadow: {watch_headers: [ETag]}
            tolerate: {path: $.at, reason: clock, owner: shop, expires: 2027-01-31}
        """,
        environ={},
    ).routes

    policy = policy_of(route, {"new": "x-version"}, route.tolerate)

    assert policy == Policy(
        number=0,
        route="orders",
        parity="meaning",
        keep="shapes",
        redact=("$.email",),
        watch=("etag",),
        version_headers=("", "x-version"),
        tolerate=route.tolerate,
    )
    assert len(policy.tolerate) == 1
