"""The specs are plain frozen data that a worker can be sent."""

from __future__ import annotations

import dataclasses

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from config import ConfigSpec, load_text, units

FULL = """
listen: [127.0.0.1:8080, "[::1]:8080"]
admin: {listen: 127.0.0.1:9081, tokens: [{name: ops, role: operator, token: env:OPS}], metrics_public: true}
trusted_proxies: [10.0.0.0/8]
backends:
  old: {url: "http://old:8000", headers: {set: {X-Env: prod}, remove: [X-Debug]}}
  new: {url: "https://new/base", tls: {server_name: shop}}
defaults: {legacy: old, new: new, sticky: ip, redact: [$.email]}
undeclared: {backend: old}
override: {header: X-Side, token: env:SIDE}
routes:
  - name: orders
    match: [{path: "/orders/{id:int}", headers: {X-Tenant: a}, query: {v: 2}}, {path: /orders/**, methods: [GET]}]
    initial_stage: canary
    initial_percent: 12.5
    fallback: {on: [connect, 503]}
    shadow: {max_per_second: off, sample: 10%}
"""


def test_a_whole_configuration_travels_as_msgpack() -> None:
    """Encoding a configuration and decoding it as ConfigSpec gives the same configuration."""
    spec = load_text(FULL)

    assert msgspec.msgpack.decode(msgspec.msgpack.encode(spec), type=ConfigSpec) == spec


@given(st.integers(0, units.MAX_DURATION_NS), st.integers(0, 10_000), st.none() | st.integers(1, 10**9))
def test_every_quantity_travels_as_msgpack(time_ns: int, share_bp: int, thousandths: int | None) -> None:
    """Durations, shares and rates of any size come back from the file and from msgpack as they were."""
    rate = None if thousandths is None else thousandths / 1_000
    spec = load_text(
        f"""
        backends: {{old: {{url: "http://old"}}}}
        routes:
          - name: a
            match: {{path: /a}}
            legacy: old
            timeout: {units.format_duration(time_ns)}
            shadow: {{sample: {units.format_share(share_bp)}, max_per_second: {units.format_rate(rate)}}}
        """
    )

    assert msgspec.msgpack.decode(msgspec.msgpack.encode(spec), type=ConfigSpec) == spec
    assert spec.routes[0].timeout_ns == time_ns
    assert (spec.routes[0].shadow.sample_bp, spec.routes[0].shadow.max_per_second) == (share_bp, rate)


def test_a_configuration_is_hashable_and_frozen() -> None:
    """A configuration is a value: it can be a key, and nobody can change it."""
    spec = load_text(FULL)

    assert hash(spec) == hash(load_text(FULL))
    assert dataclasses.is_dataclass(spec)
    assert spec.__dataclass_params__.frozen  # type: ignore[attr-defined]  # the standard library does not declare it
