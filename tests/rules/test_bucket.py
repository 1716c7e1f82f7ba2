"""Prove the two hashes: frozen, fair, monotone, independent, and the same as Envoy's."""

from __future__ import annotations

import http.client
import json
import math
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rules import BUCKETS, bucket_of, draw_of, is_new

VECTORS = json.loads((Path(__file__).parent / "bucket_vectors.json").read_text())
DOCUMENT = (Path(__file__).parents[2] / "docs" / "buckets.md").read_text()
SHARES = st.integers(0, BUCKETS)


@pytest.mark.parametrize("vector", VECTORS["buckets"], ids=lambda vector: vector["salt"] + ":" + vector["key_hex"][:16])
def test_the_published_vectors_hold(vector: dict[str, str | int]) -> None:
    """A client is in the published bucket, in this version and in every later one."""
    bucket = bucket_of(str(vector["salt"]), bytes.fromhex(str(vector["key_hex"])))

    assert bucket == vector["bucket"]


@pytest.mark.parametrize("vector", VECTORS["draws"], ids=lambda vector: vector["salt"] + ":" + vector["request_id"])
def test_the_published_draws_hold(vector: dict[str, str | int]) -> None:
    """Whether a request is copied follows from its id, the same way in every version."""
    assert draw_of(str(vector["salt"]), str(vector["request_id"]).encode()) == vector["draw"]


def test_the_document_shows_the_vectors_that_are_tested() -> None:
    """Every row of the table in docs/buckets.md is a tested vector."""
    rows = {(one["salt"], one["key"], one["bucket"]) for one in VECTORS["buckets"] if "key" in one}

    cells = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in DOCUMENT.splitlines() if line[:3] == "| `"
    ]
    shown = {(salt.strip("`"), key.strip("`"), int(bucket)) for salt, key, bucket in cells}

    assert shown
    assert shown <= rows


@given(st.text(max_size=20), st.binary(max_size=40), SHARES, SHARES)
def test_a_raised_percent_never_moves_a_client_back(salt: str, key: bytes, one: int, other: int) -> None:
    """A client who is on new at some percent is on new at every higher one."""
    lower, higher = sorted((one, other))
    bucket = bucket_of(salt, key)

    assert not is_new(bucket, lower) or is_new(bucket, higher)


@given(st.integers(0, BUCKETS - 1))
def test_shares_are_half_open(bucket: int) -> None:
    """Zero percent takes nobody and a hundred percent takes everybody."""
    assert not is_new(bucket, 0)
    assert is_new(bucket, BUCKETS)


def test_one_basis_point_is_exactly_one_bucket() -> None:
    """Each basis point adds one bucket, from the top down."""
    for percent_bp in (0, 1, 2_500, 9_999, 10_000):
        taken = [bucket for bucket in range(BUCKETS) if is_new(bucket, percent_bp)]
        assert taken == list(range(BUCKETS - percent_bp, BUCKETS))


@given(st.text(max_size=20), st.sampled_from((50, 500, 1_000, 5_000, 9_000)))
def test_the_realised_share_is_the_asked_one(salt: str, percent_bp: int) -> None:
    """Among many clients new gets the asked share, within what chance allows (4.5 sigma over all runs)."""
    clients = 5_000
    share = percent_bp / BUCKETS

    taken = sum(is_new(bucket_of(salt, b"user-%d" % number), percent_bp) for number in range(clients))

    # 3 sigma would fail one run in 400, and this property runs 60 times: 4.5 is 3 sigma for all of them together.
    assert abs(taken - clients * share) <= 4.5 * math.sqrt(clients * share * (1 - share)) + 1


def test_the_realised_share_is_within_three_sigma_for_a_fixed_population() -> None:
    """For 100,000 numbered users new's share is within three sigma at every percent, and raising moves nobody back."""
    buckets = [bucket_of("orders", b"%d" % number) for number in range(100_000)]
    before: set[int] = set()
    for percent_bp in (50, 100, 500, 1_000, 2_500, 5_000, 9_500):
        share = percent_bp / BUCKETS
        taken = {number for number, bucket in enumerate(buckets) if is_new(bucket, percent_bp)}
        assert abs(len(taken) - 100_000 * share) <= 3 * math.sqrt(100_000 * share * (1 - share))
        assert before < taken
        before = taken


def test_buckets_of_two_salts_are_independent() -> None:
    """The first users of one route are not the first users of the next one."""
    keys = [b"%d" % number for number in range(20_000)]

    both = sum(is_new(bucket_of("orders", key), 1_000) and is_new(bucket_of("cart", key), 1_000) for key in keys)

    assert abs(both - 200) <= 3 * math.sqrt(200)


def test_the_sample_is_independent_of_the_bucket() -> None:
    """Even where the request id is the key, the copied requests are a fair mix of both sides."""
    ids = [b"%032x" % (number * 7919) for number in range(20_000)]

    both = sum(is_new(bucket_of("orders", one), 5_000) and draw_of("orders", one) < 1_000 for one in ids)

    assert abs(both - 1_000) <= 3 * math.sqrt(1_000)


USERS = 2_000
TYPES = "type.googleapis.com/envoy.extensions.filters"


@pytest.mark.needs("envoy")
def test_envoy_places_the_same_clients_on_new(part_path: Callable[[str], Path], tmp_path: Path) -> None:
    """For a single-valued header key a real Envoy picks the same side, for 2,000 users at several percents."""
    shares = (50, 500, 2_500, 5_000, 9_000)
    keys = [f"user-{number * 7919}" for number in range(USERS - 4)] + ["a:b", "a b", "0", ""]

    with running_envoy(part_path("envoy"), tmp_path, shares) as port:
        for percent_bp in shares:
            expected = ["new" if is_new(bucket_of("orders", key.encode()), percent_bp) else "legacy" for key in keys]
            assert sides_of(port, f"/{percent_bp}", keys) == expected


def sides_of(port: int, path: str, keys: list[str]) -> list[str]:
    """Ask Envoy for each user over one connection, and read which side answered."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        sides = []
        for key in keys:
            connection.request("GET", path, headers={"x-user": key})
            answer = connection.getresponse()
            answer.read()
            sides.append(answer.getheader("x-side") or str(answer.status))
        return sides
    finally:
        connection.close()


@contextmanager
def running_envoy(envoy: Path, folder: Path, shares: tuple[int, ...]) -> Iterator[int]:
    """Run Envoy with one canary route per share and two clusters that answer their names."""
    file = folder / "envoy.json"
    addresses = folder / "listeners"
    file.write_text(json.dumps(envoy_config(shares)))
    log = folder / "envoy.log"
    command = [str(envoy), "-c", str(file), "--concurrency", "1", "--use-dynamic-base-id", "--log-level", "warn"]
    command += ["--admin-address-path", str(addresses)]
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output)
    try:
        yield proxy_port(process, addresses, log)
    finally:
        process.terminate()
        process.wait(timeout=60)


def proxy_port(process: subprocess.Popen[bytes], addresses: Path, log: Path) -> int:
    """Wait until Envoy listens, and ask its admin page on which port."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        assert process.poll() is None, log.read_text()
        if addresses.exists() and (written := addresses.read_text()):
            host, _, port = written.rpartition(":")
            connection = http.client.HTTPConnection(host, int(port), timeout=60)
            try:
                connection.request("GET", "/listeners?format=json")
                found = json.loads(connection.getresponse().read()).get("listener_statuses", [])
            finally:
                connection.close()
            ports = {one["name"]: one["local_address"]["socket_address"]["port_value"] for one in found}
            if ports:
                return int(ports["proxy"])
        time.sleep(0.05)  # polling another program's start: there is nothing to wait on
    raise AssertionError(f"Envoy did not listen within a minute: {log.read_text()}")


def envoy_config(shares: tuple[int, ...]) -> dict[str, object]:
    """Write the same canary as Envoy says it: legacy first, hash policy with the salt in front."""
    routes: list[object] = [
        {
            "match": {"path": f"/{percent_bp}"},
            "route": {
                "weighted_clusters": {
                    "clusters": [
                        {
                            "name": side,
                            "weight": weight,
                            # No upstream is needed to see the choice: the chosen entry marks the answer.
                            "response_headers_to_add": [{"header": {"key": "x-side", "value": side}}],
                        }
                        for side, weight in (("legacy", BUCKETS - percent_bp), ("new", percent_bp))
                    ],
                    "use_hash_policy": True,
                },
                "hash_policy": [
                    {
                        "header": {
                            "header_name": "x-user",
                            "regex_rewrite": {"pattern": {"regex": "^(.*)$"}, "substitution": "orders:\\1"},
                        }
                    }
                ],
            },
        }
        for percent_bp in shares
    ]
    return {
        "admin": {"address": address(0)},
        "static_resources": {
            "listeners": [listener("proxy", routes)],
            "clusters": [
                {"name": side, "type": "STATIC", "load_assignment": {"cluster_name": side}}
                for side in ("legacy", "new")
            ],
        },
    }


def address(port: int) -> dict[str, object]:
    """Name a port on loopback; 0 lets the kernel choose."""
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def listener(name: str, routes: list[object]) -> dict[str, object]:
    """Make an HTTP listener with one virtual host."""
    manager = {
        "@type": f"{TYPES}.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": name,
        "route_config": {"virtual_hosts": [{"name": name, "domains": ["*"], "routes": routes}]},
        "http_filters": [
            {
                "name": "envoy.filters.http.router",
                "typed_config": {"@type": f"{TYPES}.http.router.v3.Router"},
            }
        ],
    }
    chain = {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}
    return {"name": name, "address": address(0), "filter_chains": [chain]}
