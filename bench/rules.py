"""Measure what deciding one request costs, for 10, 100 and 1,000 routes.

Run ``python -m bench.rules`` from the repository root. Each figure is the median
of interleaved rounds, in microseconds of one ``Snapshot.decide`` call.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence

from config.spec import AddressSpec, AdminSpec, ConfigSpec, LimitsSpec, MatchSpec, RouteSpec
from rules import Flag, Snapshot, SnapshotSpec, Stage, build
from rules.flag import DEFAULT_SAMPLE_BP

ROUNDS = 15
REQUESTS = 2_000
STAGES = (Stage.LEGACY, Stage.SHADOW, Stage.CANARY, Stage.LIVE, Stage.COMPLETE)
PATHS = (
    "/api/v1/resource{n}",
    "/api/v1/resource{n}/{{id:int}}",
    "/api/v1/resource{n}/{{id:int}}/items/{{item}}",
    "/shop{n}/{{slug:slug}}/reviews",
    "/static{n}/**",
)
TARGETS = (
    "/api/v1/resource{n}?page=2&sort=-created",
    "/api/v1/resource{n}/48213",
    "/api/v1/resource{n}/48213/items/a-17?fields=name,price",
    "/shop{n}/blue-suede-shoes/reviews",
    "/static{n}/js/vendor/app.3f9a1c.js",
)


class Headers:
    """Look header fields up as zttp's block does, in one dictionary."""

    def __init__(self, fields: dict[bytes, bytes]) -> None:
        self.get: Callable[[bytes], bytes | None] = fields.get


def snapshot_of(routes: int) -> Snapshot:
    """Build a configuration of *routes* routes over every kind of path and stage."""
    specs = tuple(
        RouteSpec(
            name=f"route{n}",
            match=(MatchSpec(path=PATHS[n % len(PATHS)].format(n=n), methods=("GET", "HEAD")),),
            legacy="django",
            new="shop",
            sticky=("header:X-User-Id", "issued_cookie"),
        )
        for n in range(routes)
    )
    stages = {spec.name: STAGES[n // len(PATHS) % len(STAGES)] for n, spec in enumerate(specs)}
    flags = {
        name: Flag(stage=stage, percent_bp=2_500, sample_bp=DEFAULT_SAMPLE_BP[stage], salt=name)
        for name, stage in stages.items()
    }
    address = AddressSpec(host="127.0.0.1", port=0)
    config = ConfigSpec(
        listen=(address,),
        admin=AdminSpec(listen=address),
        health=address,
        state_dir="/nowhere",
        database="sqlite",
        flags="database",
        workers=1,
        comparers=1,
        watch=False,
        trusted_proxies=(),
        backends=(),
        routes=specs,
        undeclared="django",
        override=None,
        strict="refuse",
        access_log=True,
        limits=LimitsSpec(),
        digest="",
    )
    return build(SnapshotSpec(revision=1, config=config, flags=flags))


def requests_for(snapshot: Snapshot, *, keyed: bool) -> Sequence[tuple[bytes, bytes, Headers, str, bytes]]:
    """Make requests that spread over all routes; keyed ones meet only canaries."""
    names = [name for name, route in snapshot.routes.items() if (route.flag.stage is Stage.CANARY) is keyed]
    headers = Headers({b"host": b"shop.example", b"user-agent": b"bench"})
    with_key = Headers({b"host": b"shop.example", b"X-User-Id": b"user-48213", b"x-user-id": b"user-48213"})
    found = []
    for number in range(REQUESTS):
        n = int(names[number % len(names)].removeprefix("route"))
        target = TARGETS[n % len(TARGETS)].format(n=n).encode()
        found.append((b"GET", target, with_key if keyed else headers, "192.0.2.7", b"%032x" % (number * 7919)))
    return found


def cost_us(snapshot: Snapshot, requests: Sequence[tuple[bytes, bytes, Headers, str, bytes]]) -> float:
    """Time one pass over *requests*, without the loop's own cost, per request."""
    decide = snapshot.decide
    started = time.perf_counter_ns()
    for method, target, fields, client_ip, request_id in requests:
        decide(method, target, fields, client_ip, request_id)
    whole = time.perf_counter_ns() - started
    started = time.perf_counter_ns()
    for method, target, fields, client_ip, request_id in requests:  # noqa: B007 - the same loop, empty
        pass
    return (whole - (time.perf_counter_ns() - started)) / len(requests) / 1_000


def main() -> None:
    """Print the table."""
    sizes = (10, 100, 1_000)
    cases: dict[tuple[int, str], tuple[Snapshot, Sequence[tuple[bytes, bytes, Headers, str, bytes]]]] = {}
    builds = {}
    for size in sizes:
        started = time.perf_counter_ns()
        snapshot = snapshot_of(size)
        builds[size] = (time.perf_counter_ns() - started) / 1e6
        if size >= 25:  # fewer routes than that hold no canary
            cases[size, "with key (canary)"] = snapshot, requests_for(snapshot, keyed=True)
        cases[size, "without key"] = snapshot, requests_for(snapshot, keyed=False)
    figures: dict[tuple[int, str], list[float]] = {case: [] for case in cases}
    for _ in range(ROUNDS):
        for case, (snapshot, requests) in cases.items():
            figures[case].append(cost_us(snapshot, requests))
    print("routes  what                 median us    min us   build ms")
    for (size, what), values in sorted(figures.items(), key=lambda item: (item[0][1], item[0][0])):
        print(f"{size:6}  {what:20} {statistics.median(values):9.2f} {min(values):9.2f} {builds[size]:10.1f}")


if __name__ == "__main__":
    main()
