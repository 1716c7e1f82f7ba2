"""What is measured: the scenarios, and what a target must be configured for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Body = Literal["1k", "100k", "gzip", "unequal"]

_PREFIX: dict[Body, str] = {"1k": "api", "100k": "l", "gzip": "z", "unequal": "u"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """Describe one kind of traffic."""

    name: str
    title: str
    routes: int
    body: Body
    mirror: bool = False
    """Every request is copied to the new backend."""

    @property
    def prefixes(self) -> list[str]:
        """Return the path prefix of every route, without a slash at the end."""
        return [f"/{_PREFIX[self.body]}/r{number:03d}" for number in range(self.routes)]

    @property
    def paths(self) -> list[str]:
        """Return one path per route; the load walks through them."""
        return [f"{prefix}/{1000 + number}" for number, prefix in enumerate(self.prefixes)]


SCENARIOS = (
    Scenario(name="plain", title="Plain proxying, 200 routes, 1 KB", routes=200, body="1k"),
    Scenario(name="plain-1", title="Plain proxying, 1 route, 1 KB", routes=1, body="1k"),
    Scenario(name="plain-100k", title="Plain proxying, 200 routes, 100 KB", routes=200, body="100k"),
    Scenario(name="plain-gzip", title="Plain proxying, 200 routes, gzip body", routes=200, body="gzip"),
    Scenario(name="shadow", title="100 % shadow, equal answers, 200 routes, 1 KB", routes=200, body="1k", mirror=True),
    Scenario(name="shadow-1", title="100 % shadow, equal answers, 1 route, 1 KB", routes=1, body="1k", mirror=True),
    Scenario(
        name="shadow-100k",
        title="100 % shadow, equal answers, 200 routes, 100 KB",
        routes=200,
        body="100k",
        mirror=True,
    ),
    Scenario(
        name="shadow-gzip",
        title="100 % shadow, equal answers, 200 routes, gzip body",
        routes=200,
        body="gzip",
        mirror=True,
    ),
    Scenario(
        name="unequal",
        title="100 % shadow, unequal answers, 200 routes, 1 KB",
        routes=200,
        body="unequal",
        mirror=True,
    ),
)
"""The full programme, the two that carry bars first of their kind."""

QUICK = ("plain", "shadow")
"""What a developer runs."""
