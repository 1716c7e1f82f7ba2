"""The demo's two shops differ where they say so and nowhere else, and the demo counts to the last request."""

from __future__ import annotations

import asyncio
import gzip
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from config.loader import load
from demo import evidence, seed, services

ROOT = services.ROOT


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """Hold one whole answer of a shop."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes


def ask(
    service: services.Service,
    target: str,
    method: str = "GET",
    body: bytes | None = None,
    *,
    headers: dict[str, str] | None = None,
) -> Answer:
    """Ask one shop directly."""
    connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=30)
    try:
        connection.request(method, target, body, headers or {})
        answer = connection.getresponse()
        return Answer(status=answer.status, headers=answer.headers, body=answer.read())
    finally:
        connection.close()


@pytest.fixture(scope="module")
def runner() -> Iterator[asyncio.Runner]:
    """Run what starts and ends the shops."""
    with asyncio.Runner() as one:
        yield one


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write the shop's data once."""
    path = tmp_path_factory.mktemp("shop") / "shop.json"
    seed.write(path)
    return path


@pytest.fixture(scope="module")
def legacy(runner: asyncio.Runner, data: Path) -> Iterator[services.Service]:
    """Serve the Python shop."""
    service = runner.run(services.start_legacy(data, data.parent))
    yield service
    runner.run(services.stop(service))


@pytest.fixture(scope="module")
def new(runner: asyncio.Runner, data: Path) -> Iterator[services.Service]:
    """Serve the Go shop, built by the real toolchain."""
    service, kind = runner.run(services.start_new(data, data.parent, print))
    assert kind == "go"
    yield service
    runner.run(services.stop(service))


@pytest.fixture(scope="module")
def fallback(runner: asyncio.Runner, data: Path) -> Iterator[services.Service]:
    """Serve the Python stand-in of the Go shop."""
    service = runner.run(services.start_stand_in(data, data.parent))
    yield service
    runner.run(services.stop(service))


CLEAN = (
    [f"/api/products/{number}" for number in range(1, seed.PRODUCTS + 2)]
    + [f"/api/prices/{number}" for number in range(1, seed.PRODUCTS + 2) if number % 5]
    + ["/api/stock?ids=1,2,3", "/api/stock?ids=", "/api/stock?ids=7,999", "/api/report"]
)

DIVERGENT = (
    ("newline at the end", "/api/products?page=21", b'"items":[]}', b'"items":null}\n'),
    ("nil slice", "/api/products?category=toys", b'"items":[]', b'"items":null'),
    ("html escape", "/api/products?page=1", b"Black & White", rb"Black \u0026 White"),
    ("html escape of a bracket", "/api/products?category=living", b"Size <M>", rb"Size \u003cM\u003e"),
    ("float without fraction", "/api/products?page=1", b'"price":51.0,', b'"price":51,'),
    ("time zone", "/api/orders/1001", b"08:00:00+00:00", b"08:00:00Z"),
    ("time fraction", "/api/orders/1002", b".123400+00:00", b".1234Z"),
    ("omitted member", "/api/orders/1002", b'"note":"","lines"', b'Z","lines"'),
    ("non-ascii escape", "/api/customers/8", rb"Jos\u00e9 M\u00fcller", "José Müller".encode()),
    ("key order", "/api/customers/1", b'{"newsletter":false,"currency"', b'{"account":90071992547409940,"currency"'),
    ("integer through float64", "/api/customers/1", b"90071992547409932", b"90071992547409940"),
    ("separators", "/api/search?q=oak", b'{"q": "oak", "hits": [{', b'{"q":"oak","hits":[{'),
    ("large exponent", "/api/search?q=oak", b'"score": 1e+16', b'"score":10000000000000000'),
    ("small exponent", "/api/search?q=caf%C3%A9%20kettle", b'"score": 1e-05', b'"score":0.00001'),
    ("price", "/api/prices/5", b'"final":54.7}', b'"final":54.69}'),
)


@pytest.mark.needs("go")
def test_the_careful_routes_are_byte_identical(legacy: services.Service, new: services.Service) -> None:
    """Products, stock, the report and prices without a discount are the same bytes from both shops."""
    for target in CLEAN:
        old, fresh = ask(legacy, target), ask(new, target)

        assert (old.status, old.body) == (fresh.status, fresh.body), target
        assert old.headers["content-type"] == fresh.headers["content-type"], target


@pytest.mark.needs("go")
@pytest.mark.parametrize(("name", "target", "there", "here"), DIVERGENT, ids=[row[0] for row in DIVERGENT])
def test_each_declared_divergence_is_really_there(
    legacy: services.Service, new: services.Service, name: str, target: str, there: bytes, here: bytes
) -> None:
    """Each divergence that the shops' comments declare can be seen in their answers."""
    old, fresh = ask(legacy, target), ask(new, target)

    assert old.status == fresh.status == 200
    assert there in old.body
    assert there not in fresh.body
    assert here in fresh.body
    assert here not in old.body


@pytest.mark.needs("go")
def test_a_closed_account_is_found_by_one_shop_only(legacy: services.Service, new: services.Service) -> None:
    """A closed account is 200 in Python and 404 in Go."""
    assert (ask(legacy, "/api/customers/12").status, ask(new, "/api/customers/12").status) == (200, 404)


@pytest.mark.needs("go")
def test_the_price_fault_touches_reduced_products_only(legacy: services.Service, new: services.Service) -> None:
    """Only some reduced products have another price in Go, and it is one cent too low."""
    wrong = {}
    for number in range(1, seed.PRODUCTS + 1):
        old, fresh = (json.loads(ask(shop, f"/api/prices/{number}").body)["final"] for shop in (legacy, new))
        if old != fresh:
            wrong[number] = round(old - fresh, 2)

    assert 5 < len(wrong) < seed.PRODUCTS // 5
    assert all(number % 5 == 0 for number in wrong)
    assert set(wrong.values()) == {0.01}


@pytest.mark.needs("go")
def test_the_report_differs_on_the_wire_only(legacy: services.Service, new: services.Service) -> None:
    """The gzip bytes of the report differ, what they unpack to does not; the download's file name does."""
    old, fresh = (ask(shop, "/api/report", headers={"Accept-Encoding": "gzip"}) for shop in (legacy, new))

    assert old.headers["content-encoding"] == fresh.headers["content-encoding"] == "gzip"
    assert old.body != fresh.body
    assert gzip.decompress(old.body) == gzip.decompress(fresh.body)
    assert 50_000 < len(gzip.decompress(old.body)) < 70_000
    names = [ask(shop, "/api/report?download=1").headers["content-disposition"] for shop in (legacy, new)]
    assert names == ['attachment; filename="report.json"', "attachment; filename=report.json"]


@pytest.mark.needs("go")
def test_orders_are_taken_and_the_forgotten_endpoint_is_not(legacy: services.Service, new: services.Service) -> None:
    """Both shops take an order with 201; only the Python shop knows /api/legacy-only."""
    order = json.dumps({"customer_id": 1, "lines": [{"product_id": 3, "quantity": 1}]}).encode()

    for shop in (legacy, new):
        taken = ask(shop, "/api/orders", "POST", order, headers={"Content-Type": "application/json"})

        assert taken.status == 201
        assert taken.headers["location"] == f"/api/orders/{json.loads(taken.body)['id']}"
    assert [ask(shop, "/api/legacy-only").status for shop in (legacy, new)] == [200, 404]


@pytest.mark.needs("go")
def test_the_stand_in_answers_like_go(new: services.Service, fallback: services.Service) -> None:
    """Where Go is missing, the Python stand-in shows the same answers, byte for byte."""
    targets = [*CLEAN, *(row[1] for row in DIVERGENT), "/api/customers/12", "/api/orders/1", "/api/products?page=x"]
    targets += [f"/api/prices/{number}" for number in range(5, seed.PRODUCTS, 5)]
    targets += [f"/api/orders/{seed.FIRST_ORDER + index}" for index in range(0, seed.ORDERS, 7)]
    for target in targets:
        real, played = ask(new, target), ask(fallback, target)

        assert (real.status, real.body) == (played.status, played.body), target
        assert real.headers["content-type"] == played.headers["content-type"], target


def test_a_count_that_disagrees_is_named() -> None:
    """A side that Matapalo and the clients count differently is named with both numbers."""
    totals = {"counts": {"requests|price|legacy|shop|2xx": 3, "requests|-|undeclared|shop|2xx": 2}, "gauges": {}}

    assert evidence.mismatches(totals, {("price", "legacy"): 3, ("-", "legacy"): 2}) == []
    assert evidence.mismatches(totals, {("price", "legacy"): 4, ("-", "legacy"): 2}) == [
        "route 'price', side legacy: Matapalo counted 3 requests, the clients 4"
    ]


def test_a_broken_law_of_counting_is_seen() -> None:
    """A copy that was sent and never accounted for breaks the law."""
    counts = {"eligible|price": 3, "skipped|price|rate": 1, "sent|price": 2, "identical|price|legacy": 1}

    assert not evidence.law_holds({"counts": counts, "gauges": {}})
    assert evidence.law_holds({"counts": counts, "gauges": {"in_flight|price|legacy": 1}})


def test_the_demos_configuration_is_valid_by_hand() -> None:
    """demo/matapalo.yaml can be read and served without the demo around it."""
    spec = load(ROOT / "demo" / "matapalo.yaml")

    assert [route.name for route in spec.routes if route.initial_stage == "legacy"] == ["product"]
    assert spec.undeclared == "shop-python"


def test_the_readmes_first_file_is_valid(tmp_path: Path) -> None:
    """The YAML of the README is a whole configuration, in ten lines."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    first = re.search(r"```yaml\n(.*?)```", readme, re.DOTALL)
    assert first is not None
    assert first[1].count("\n") == 10
    file = tmp_path / "matapalo.yaml"
    file.write_text(first[1], encoding="utf-8")

    (route,) = load(file).routes

    assert (route.name, route.legacy, route.new, route.initial_stage) == ("orders", "old", "fresh", "shadow")


def test_the_readme_links_to_what_exists() -> None:
    """Every relative link of the README leads somewhere."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    targets = set(re.findall(r"\]\((?!https?:)([^)#]+)\)", readme))

    assert targets
    assert [target for target in sorted(targets) if not (ROOT / target).exists()] == []


@pytest.fixture(scope="module")
def shown() -> dict[str, Any]:
    """Run the whole demo once: two shops, Matapalo, traffic, four flips."""
    done = subprocess.run(
        [str(ROOT / "scripts" / "demo"), "--for", "8s", "--json"],
        env={**os.environ, "MATAPALO_VENV": sys.prefix},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    assert done.stdout.count("\n") == 1, "the object stands on one line, alone"
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def test_the_demo_loses_nothing(shown: dict[str, Any]) -> None:
    """No request of the demo fails, every copy is accounted for, and the demo ends by itself."""
    assert shown["failed_requests"] == 0
    assert shown["law_holds"] is True
    assert 8 <= shown["seconds"] < 120
    assert shown["new_service"] in ("go", "python")


def test_the_demo_walks_one_route_to_live(shown: dict[str, Any]) -> None:
    """The walked route ends live, answered by both sides on its way, and identical everywhere."""
    product = shown["routes"]["product"]

    assert product["stage"] == "live"
    assert product["sides"]["legacy"] > 0
    assert product["sides"]["new"] > 0
    assert product["verdicts"]["identical"] > 50
    assert product["verdicts"]["divergent"] == product["verdicts"]["errored"] == 0
    assert product["first_difference"] is None
    assert product["gate"] == "pass", "each of its flips waited for it"


def test_the_demo_finds_the_faults(shown: dict[str, Any]) -> None:
    """The demo finds the wrong price where it stands, and copies no write."""
    routes = shown["routes"]

    assert routes["price"]["first_difference"]["pointer"] == "/final"
    assert routes["price"]["verdicts"]["identical"] > routes["price"]["verdicts"]["divergent"] > 0
    assert routes["stock"]["verdicts"]["divergent"] == 0
    assert routes["customer"]["first_difference"]["statuses"] == [200, 404]
    assert sum(routes["create-order"]["verdicts"].values()) == 0
    assert routes["create-order"]["sides"]["legacy"] > 0
    assert all(route["sides"]["new"] == 0 for name, route in routes.items() if name != "product")


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """Hold a demo that was started without an end."""

    process: subprocess.Popen[str]
    ports: tuple[int, int]
    """Where its Matapalo listens: clients, admin API."""
    scratch: Path
    """Where it makes its directory of files."""


@pytest.fixture
def scratch() -> Iterator[Path]:
    """Make a directory with a path short enough for sockets, which pytest's is not."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as path:
        yield Path(path)


@pytest.fixture
def running(scratch: Path) -> Iterator[Running]:
    """Start a demo without an end and wait until it serves."""
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "demo" / "run.py")],
        env={**os.environ, "TMPDIR": str(scratch)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    try:
        told = ""
        for line in process.stderr:
            told += line
            if serves := re.search(r"serves http://127\.0\.0\.1:(\d+), its admin API http://127\.0\.0\.1:(\d+)", line):
                yield Running(process=process, ports=(int(serves[1]), int(serves[2])), scratch=scratch)
                break
        else:
            pytest.fail(f"the demo did not come up: {told}")
    finally:
        process.kill()
        process.wait()
        process.stderr.close()


def served(ports: tuple[int, ...]) -> list[int]:
    """Name the ports of loopback on which somebody accepts connections."""
    found = []
    for port in ports:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                found.append(port)
    return found


def test_ctrl_c_ends_everything_cleanly(running: Running) -> None:
    """Ctrl-C ends the demo with exit code 0 and leaves no process and no file behind."""
    assert served(running.ports) == [*running.ports]

    running.process.send_signal(signal.SIGINT)

    assert running.process.wait(timeout=60) == 0
    assert served(running.ports) == []
    assert list(running.scratch.iterdir()) == []


def test_a_killed_demo_leaves_no_process_behind(running: Running) -> None:
    """Even kill -9 of the demo ends the services and the proxy that it started."""
    assert served(running.ports) == [*running.ports]

    running.process.kill()

    deadline = time.monotonic() + 60
    while served(running.ports) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert served(running.ports) == []
