"""Every command against the real product: what operators type at it, answers in words and in JSON."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from console.commands.group import COMMANDS, Door, run
from tests.support.installed import fetch
from tests.support.product import Product, wait_until
from tests.support.recorder import Recorder, answer

CONFIG: dict[str, Any] = {
    "defaults": {"legacy": "old", "new": "fresh", "sticky": ["issued_cookie"]},
    "undeclared": {"backend": "old"},
    "routes": [
        {"name": "orders", "match": {"path": "/orders/{id}", "methods": ["GET"]}, "initial_stage": "shadow"},
        {"name": "carts", "match": {"path": "/carts/{id}", "methods": ["GET"]}, "journey": "checkout"},
    ],
}
# Closed after each answer: a kept connection would outlive the test that made it.
JSON_BODY = (("Content-Type", "application/json"), ("Connection", "close"))

Say = Callable[..., str]


@pytest.fixture(scope="module")
def product() -> Iterator[Product]:
    """Run the product between a legacy and a new that differ in one value."""
    with (
        Recorder(answer(b'{"price": 12.50}', headers=JSON_BODY)) as old,
        Recorder(answer(b'{"price": 12.51}', headers=JSON_BODY)) as fresh,
        Product({**CONFIG, "backends": {"old": {"url": old.url}, "fresh": {"url": fresh.url}}}) as running,
    ):
        wait_until(lambda: not running.admin("GET", "/api/v1/status")["degraded"], "the worker is linked to control")
        yield running


@pytest.fixture
def say(product: Product, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Say:
    """Run one command in this process; another exit code than expected fails the test with what it printed."""
    monkeypatch.setenv("MATAPALO_URL", product.admin_url)

    def call(*words: str, code: int = 0) -> str:
        capsys.readouterr()
        found = run(words, Door(serve=lambda *_: 0))
        captured = capsys.readouterr()
        assert found == code, captured.out + captured.err
        return captured.out + captured.err

    return call


def test_an_operators_day(product: Product, say: Say) -> None:
    """From the first look to canary, rollback, release and undo, every command does what it says, on every worker."""
    assert "nothing is degraded" in say("status")
    assert "orders: shadow (copies 100%) → canary 50% (copies 100%)" in say("flip", "orders", "canary", "--percent=50%")
    flipped = json.loads(say("audit", "--json"))["entries"][0]["id"]
    assert "=> answered by" in say("explain", "GET", "/orders/7", "-H", "Cookie: a=b")
    assert "canary 50%" in say("routes", "orders")
    assert "Held on legacy now: orders" in say("rollback", "orders", "--reason", "3 am")
    assert "held" in say("routes")
    assert "has changed since" in say("undo", flipped, code=1)
    say("release", "orders")
    say("undo", flipped, "--force", "--reason", "the former one was right")
    assert "carts: legacy → shadow" in say("flip", "--journey", "checkout", "shadow")
    assert "journey" in say("flip", "carts", "live", code=1)
    assert "switched off: carts" in say("shadow", "off", "carts")
    say("shadow", "on", "--all")
    say("hold", "orders")
    say("release", "--all")
    assert "3 am" in say("audit")
    assert "did you mean 'orders'" in say("flip", "order", "live", code=1)


def test_what_the_server_wrote_is_verified_without_it(
    say: Say, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A real trail, fractions and umlauts in it, is whole in the server and as a file that nobody serves; of a changed
    number in the file the first entry is named that has it."""
    trail, harmed = tmp_path / "trail.jsonl", tmp_path / "harmed.jsonl"
    say("flip", "orders", "canary", "--percent", "12.34", "--force", "--reason", "für Ann <ann@shop.test>")
    say("rollback", "orders")
    say("release", "orders")

    served = say("audit", "--verify")
    said = say("audit", "--export", str(trail))
    monkeypatch.setenv("MATAPALO_URL", "http://127.0.0.1:9")
    alone = say("audit", "--verify", str(trail))
    harmed.write_text(trail.read_text().replace("12.34", "12.35"))
    found = say("audit", "--verify", str(harmed), code=1)

    flip = next(json.loads(line) for line in trail.read_text().splitlines() if "12.34" in line)
    head = next(word for word in said.split() if word.startswith("a-") and ":" in word).rstrip(".")
    assert head in served
    assert head in alone
    assert flip["reason"] == "für Ann <ann@shop.test>"
    assert f"a-{flip['id']} was changed" in found


def test_a_divergence_is_found_and_shown(product: Product, say: Say) -> None:
    """One differing answer is a line of `diffs`, and `diff ID` shows both fragments."""
    say("flip", "orders", "shadow")
    fetch(f"{product.url}/orders/7")

    group = wait_until(lambda: json.loads(say("diffs", "orders", "--json"))["divergences"], "the divergence is stored")

    assert group[0]["id"] in say("diffs")
    shown = say("diff", group[0]["id"])
    assert "GET /orders/7" in shown
    assert "/price" in shown


def test_reload_and_plan_agree(product: Product, say: Say, tmp_path: Path) -> None:
    """`check --against` names what `reload` then changes; a wrong file is refused with its places."""
    good = product.config_path.read_text()
    changed = tmp_path / "changed.yaml"
    shutil.copy(product.config_path, changed)
    changed.write_text(good.replace("/carts/{id}", "/baskets/{id}"))

    plan = say("check", "-c", str(changed), "--against", product.admin_url)
    product.config_path.write_text(changed.read_text())
    done = say("reload")
    product.config_path.write_text(good.replace("journey: checkout", "jurney: checkout"))
    refused = say("reload", code=1)
    product.config_path.write_text(good)
    say("reload")

    assert "/baskets/{id}" in plan
    assert "/baskets/{id}" in done
    assert "jurney" in refused
    assert "matapalo.yaml:" in refused


@pytest.mark.parametrize(
    "words",
    [
        ["status"],
        ["routes"],
        ["routes", "orders"],
        ["explain", "GET", "/orders/7"],
        ["audit"],
        ["audit", "--verify"],
        ["nodes"],
        ["token", "list"],
        ["token", "create", "ci", "--role", "viewer"],
        ["evidence", "reset", "orders"],
        ["tolerate", "--list"],
        ["diffs"],
        ["flip", "orders", "shadow"],
        ["hold", "orders"],
        ["release", "orders"],
        ["rollback", "orders"],
        ["shadow", "on", "--all"],
        ["deployed", "fresh", "v1"],
        ["reload"],
    ],
    ids=lambda words: " ".join(words),
)
def test_every_command_answers_in_one_json_object(say: Say, words: list[str]) -> None:
    """--json prints one object and nothing beside it."""
    assert words[0] in COMMANDS

    assert isinstance(json.loads(say(*words, "--json")), dict)


@pytest.mark.alone
def test_rollback_local_takes_effect_within_a_second(product: Product, say: Say) -> None:
    """Through the supervisor's socket alone, traffic is on legacy within a second, and release undoes it."""
    say("release", "--all")
    say("flip", "orders", "live", "--sample", "0")

    for _ in range(3):  # the best counts: a host may take the whole machine away for longer than the bar
        assert b"12.51" in fetch(f"{product.url}/orders/7")[1]
        before = time.monotonic()
        say("rollback", "--all", "--local", "--state-dir", str(product.state_dir), "--url", "http://127.0.0.1:1")
        answered = fetch(f"{product.url}/orders/7")[1]
        took_s = time.monotonic() - before
        assert b"12.50" in answered
        say("release", "--all")
        if took_s < 1.0:
            break

    assert took_s < 1.0
