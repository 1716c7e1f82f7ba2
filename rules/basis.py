"""What evidence of a route rests on beside the build of new: the requests that it takes, and whom they are sent to.

Evidence for gates is kept per basis, as it is per build: what was compared of another service, or of other requests,
says nothing about those of now (docs/gates.md). A route that goes back to an earlier basis has that one's evidence
again.
"""

from __future__ import annotations

from hashlib import sha256
from operator import attrgetter
from typing import Final

from config.spec import ConfigSpec

_SENT: Final = attrgetter(
    "scheme", "host", "port", "host_header", "path_strip", "path_add", "headers_set", "headers_remove"
)
"""Of a backend: who it is, and what becomes of a request on the way; patience and limits change no answer."""


def bases_of(config: ConfigSpec) -> dict[str, str]:
    """Name the basis of every route: its matches, its parity and both its sides.

    Shape: 16 hexadecimal digits; the names of route and backends are no part of it.
    Cost: 15 microseconds per route.
    """
    sent = {backend.name: _SENT(backend) for backend in config.backends}
    bases = {}
    for route in config.routes:
        sides = [None if name is None else sent.get(name) for name in (route.legacy, route.new)]
        bases[route.name] = sha256(repr((route.match, route.parity, sides)).encode()).hexdigest()[:16]
    return bases


def takes_of(config: ConfigSpec) -> dict[str, str]:
    """Name which requests every route takes, alike."""
    return {route.name: sha256(repr(route.match).encode()).hexdigest()[:16] for route in config.routes}
