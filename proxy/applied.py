"""Hold one snapshot made ready for a worker: the pointer that a request pins."""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Callable, Iterable, Mapping
from copy import copy
from functools import partial
from time import time

from config.secret import resolve
from config.spec import BackendSpec, ConfigSpec, RouteSpec, ToleranceSpec
from config.tls import Identity, identity, is_renewed
from proxy.addresses import Addresses, system_lookup
from proxy.answers import watch_of
from proxy.circuit import Circuit
from proxy.copies import RouteState
from proxy.forward import Network
from proxy.pool import Pool
from proxy.tally import Counts
from proxy.wire import Names
from rules.flag import Hold
from rules.snapshot import Decision, Snapshot, SnapshotSpec, build
from rules.target import Target
from shadow import link
from shadow.redact import patterns_of
from shadow.wishes import policy_of

Spawn = Callable[[str, object], None]


class Lane:
    """Join a backend's policy with this worker's connections to it, one pool per purpose."""

    __slots__ = ("addresses", "circuit", "primary", "shadow", "spec", "target")

    def __init__(
        self,
        spec: BackendSpec,
        target: Target,
        addresses: Addresses,
        primary: Pool,
        shadow: Pool,
        circuit: Circuit,
    ) -> None:
        self.spec = spec
        self.target = target
        self.addresses = addresses
        self.primary = primary
        self.shadow = shadow
        self.circuit = circuit
        """Whether copies to it are worth sending."""


class RoutePolicy:
    """Hold what requests of one route need at every turn, looked up once per snapshot."""

    __slots__ = (
        "authorization",
        "counts",
        "legacy_counts",
        "new_counts",
        "new_version",
        "noise",
        "patterns",
        "per_second",
        "shadow",
        "spec",
        "state",
        "watch",
        "wishes",
    )

    def __init__(
        self,
        spec: RouteSpec,
        *,
        workers: int,
        counts: Counts,
        state: RouteState,
        version_headers: Mapping[str, str],
        tolerate: tuple[ToleranceSpec, ...],
    ) -> None:
        self.spec = spec
        self.shadow = shadow = spec.shadow
        self.noise = spec.noise
        self.state = state
        self.counts = counts.route(spec.name)
        self.legacy_counts = counts.primary(spec.name, "legacy")
        self.new_counts = counts.primary(spec.name, "new")
        self.per_second = None if shadow.max_per_second is None else shadow.max_per_second / workers
        """This worker's part of the route's rate."""
        self.wishes = link.policy_frame(policy_of(spec, version_headers, tolerate))
        """What the comparers are told about the route: its number, and the message."""
        self.new_version = version_headers.get(spec.new or "", "").encode()
        """The header in which new names its build; empty: in none."""
        self.patterns = patterns_of(spec.redact)
        """What a target is logged without."""
        self.watch = watch_of(shadow.watch_headers)
        reference = shadow.replace_authorization
        self.authorization = b"" if reference is None else resolve(reference).encode("latin-1")


class Applied:
    """Be everything that one request may read; never edited, only replaced."""

    def __init__(
        self,
        spec: SnapshotSpec,
        holds: Iterable[Hold],
        *,
        previous: Applied | None,
        counts: Counts,
        states: Callable[[str], RouteState],
        loop: asyncio.AbstractEventLoop,
        spawn: Spawn,
        circuit_changed: Callable[[Circuit], None],
    ) -> None:
        """Compile *spec*; connections of backends that did not change are taken over from *previous*.

        Raises: SnapshotError, SecretError, TlsError: nothing was changed then.
        Cost: about 5 ms for 200 routes.
        """
        config = spec.config
        self.spec = spec
        self.snapshot: Snapshot = build(spec, holds, None if previous is None else previous.snapshot, clock=time)
        asked = self.snapshot.asked
        names = None if previous is None else previous.names
        self.names: Names = names if names is not None and names.asked == asked else Names(asked)
        """What a field's name means; what was learnt of spellings outlives a flip."""
        self.no_decision = Decision(route="-", side="none", reason="local")
        self.networks: tuple[Network, ...] = tuple(
            ipaddress.ip_network(block, strict=False) for block in config.trusted_proxies
        )
        # Decision.index 0 is "no route"; routes count from 1 in file order.
        versions = {backend.name: (backend.version_header or "").lower() for backend in config.backends}
        self.policies: list[RoutePolicy] = [
            RoutePolicy(
                route,
                workers=config.workers,
                counts=counts,
                state=states(route.name),
                version_headers=versions,
                tolerate=spec.tolerances(route),
            )
            for route in (config.routes[:1] + config.routes)
        ]
        before = previous.spec.config if previous is not None else config
        # By place in `listen`, which no reload changes; None where clients speak clear text.
        self.identities: list[Identity | None] = [
            previous.identities[index]
            if previous is not None and before.listen[index] == address and not is_renewed(before, config, address.tls)
            else identity(address.tls)
            if address.tls is not None
            else None
            for index, address in enumerate(config.listen)
        ]
        stripped = _headers_of_ours(config)
        self.lanes: dict[str, Lane] = {}
        for backend in config.backends:
            old = previous.lanes.get(backend.name) if previous is not None else None
            if old is not None and old.spec == backend and not is_renewed(before, config, backend.tls):
                addresses, primary, shadow, circuit = old.addresses, old.primary, old.shadow, old.circuit
            else:
                addresses = Addresses(
                    backend.host,
                    backend.port,
                    lookup=system_lookup(loop),
                    spawn=spawn,
                    on_failure=partial(counts.add, "upstream_errors", backend.name, "resolve"),
                )
                primary = Pool(backend, addresses, loop=loop, spawn=spawn)
                shadow = Pool(backend, addresses, loop=loop, spawn=spawn)
                circuit = Circuit(backend.name, backend.circuit_bp, circuit_changed)
            self.lanes[backend.name] = Lane(backend, Target(backend, stripped), addresses, primary, shadow, circuit)

    def under(self, holds: Iterable[Hold]) -> Applied:
        """Give the same configuration under other holds.

        Nothing is read or opened anew: a rollback works although a secret's file or a certificate is gone.
        """
        changed = copy(self)
        changed.snapshot = build(self.spec, holds, self.snapshot, clock=time)
        return changed

    def pools(self) -> set[Pool]:
        """Name every pool in use."""
        return {pool for lane in self.lanes.values() for pool in (lane.primary, lane.shadow)}


def _headers_of_ours(config: ConfigSpec) -> tuple[bytes, ...]:
    """Name the headers that no backend may see, because they hold a secret of ours."""
    secret = [match.header for cohort in config.cohorts for match in cohort.match if match.token is not None]
    if config.override is not None:
        secret.append(config.override.header.lower())
    return tuple(name.encode() for name in secret if name is not None)
