"""Rules of certificates that are replaced while the whole product runs, and of the admin API over TLS."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from tests.support.authority import Authority
from tests.support.product import Product, wait_until
from tests.support.rawclient import RawClient, request_bytes
from tests.support.recorder import Recorder, answer

OK = answer(b"ok", headers=(("Connection", "close"),))


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Vouch for listener and admin API."""
    return Authority(tmp_path_factory.mktemp("authority"))


def configuration(authority: Authority, backend: str) -> dict[str, object]:
    """Serve over TLS, clients and operators."""
    pairs = {name: authority.issue(name) for name in ("listener", "admin")}
    tls = {name: {"cert": pair.cert, "key": pair.key} for name, pair in pairs.items()}
    return {
        "listen": [{"address": "127.0.0.1:0", "tls": tls["listener"]}, "127.0.0.1:0"],
        "admin": {"listen": "127.0.0.1:0", "tls": tls["admin"]},
        "backends": {"old": {"url": backend}},
        "routes": [{"name": "orders", "match": {"path": "/api/**"}, "legacy": "old"}],
    }


@pytest.fixture(scope="module")
def product(authority: Authority) -> Iterator[Product]:
    """Run one product for all rules."""
    with Recorder(OK) as legacy, Product(configuration(authority, legacy.url)) as running:
        yield running


def shown(port: int, authority: Authority) -> str:
    """Shake hands and name the certificate."""
    with RawClient(("127.0.0.1", port), tls=authority.client_context()) as client:
        der = client.tls_socket().getpeercert(binary_form=True)
    assert der is not None
    return hashlib.sha256(der).hexdigest()


def admin_port(product: Product) -> int:
    """Name the admin API's port now."""
    return int(product.addresses()["admin"].rpartition(":")[2])


def ask(product: Product, authority: Authority, method: str, path: str) -> httpx2.Response:
    """Call the admin API over TLS."""
    with httpx2.Client(timeout=60, trust_env=False, verify=authority.client_context()) as client:
        return client.request(
            method, f"https://localhost:{admin_port(product)}{path}", json={} if method == "POST" else None
        )


def counted(product: Product, authority: Authority, result: str) -> str:
    """Wait until a renewal with this result is counted, and give the metrics."""

    def metrics() -> str:
        text = ask(product, authority, "GET", "/metrics").text
        return text if f'matapalo_certificate_renewals_total{{result="{result}"}}' in text else ""

    return wait_until(metrics, f"a renewal that is {result}, in the metrics")


def test_a_replaced_certificate_is_taken_over_by_itself(product: Product, authority: Authority) -> None:
    """Nobody asks for it, nothing restarts: new connections see the new certificate, the old connection goes on."""
    first, workers = shown(product.port, authority), product.pids()["worker"]
    with RawClient(("127.0.0.1", product.port), tls=authority.client_context()) as client:
        assert client.exchange(request_bytes(target="/api/a")).status == 200
        authority.issue("listener")
        wait_until(lambda: shown(product.port, authority) != first, "the new certificate")
        assert client.exchange(request_bytes(target="/api/a")).status == 200
    metrics = counted(product, authority, "taken")
    assert f'matapalo_certificate_expiry_timestamp_seconds{{listener="127.0.0.1:{product.port}"}}' in metrics
    assert product.pids()["worker"] == workers


def test_a_reload_takes_a_certificate_over_before_it_answers(product: Product, authority: Authority) -> None:
    """When POST /-/reload answers 200, the next handshake shows what lies on the disk."""
    before = shown(product.port, authority)
    authority.issue("listener")

    answered = ask(product, authority, "POST", "/-/reload")

    assert answered.status_code == 200
    assert shown(product.port, authority) != before


def test_a_broken_pair_is_said_and_the_former_stays(product: Product, authority: Authority) -> None:
    """A key that does not fit is refused, degraded and counted; flips go on; the right one mends it by itself."""
    before = shown(product.port, authority)
    key = Path(authority.directory, "listener.key")
    good = key.read_bytes()
    key.write_bytes(Path(authority.directory, "admin.key").read_bytes())

    def degraded() -> str:
        return " ".join(ask(product, authority, "GET", "/api/v1/status").json()["degraded"])

    wait_until(lambda: "does not belong to the certificate" in degraded(), "the refusal in the status")
    assert counted(product, authority, "refused")
    assert shown(product.port, authority) == before
    held = product.run(
        "rollback", "orders", "--url", f"https://127.0.0.1:{admin_port(product)}", "--ca", _ca(authority)
    )
    assert held.returncode == 0, held.stderr

    key.write_bytes(good)
    wait_until(lambda: not degraded(), "all to be well again")
    assert shown(product.port, authority) == before


def test_the_admin_api_shows_its_new_certificate(product: Product, authority: Authority) -> None:
    """The admin API's certificate is replaced in the same way, and a wrong one leaves the former."""
    before = shown(admin_port(product), authority)
    key = Path(authority.directory, "admin.key")
    key.write_text("half")
    product.wait_log("admin.certificate_refused")
    assert shown(admin_port(product), authority) == before

    authority.issue("admin")
    wait_until(lambda: shown(admin_port(product), authority) != before, "the new certificate of the admin API")


def test_commands_verify_the_admin_api(product: Product, authority: Authority) -> None:
    """--ca (MATAPALO_CA) says whom to trust; without it a private authority is exit code 3 with the reason."""
    url = f"https://localhost:{admin_port(product)}"

    assert product.run("status", "--url", url, "--ca", _ca(authority)).returncode == 0
    stranger = product.run("status", "--url", url)

    assert stranger.returncode == 3
    assert "unable to get local issuer certificate" in stranger.stderr


def test_a_wrong_pair_never_starts(authority: Authority) -> None:
    """A certificate that cannot be used ends a start at once with one sentence; check says it with its line."""
    node = Product(configuration(authority, "http://127.0.0.1:9"))
    other = authority.issue("other")
    node.configure(
        {
            **configuration(authority, "http://127.0.0.1:9"),
            "listen": {
                "address": "127.0.0.1:0",
                "tls": {"cert": other.cert, "key": str(Path(authority.directory, "admin.key"))},
            },
        }
    )
    try:
        started, checked = (node.run(*words, "-c", str(node.config_path)) for words in (("serve",), ("check",)))
    finally:
        node.close()

    assert (started.returncode, checked.returncode) == (1, 1)
    assert "does not belong to the certificate" in started.stderr
    assert "matapalo.yaml:4:5: listen[0].tls: the key" in checked.stderr


def _ca(authority: Authority) -> str:
    return str(authority.file)
