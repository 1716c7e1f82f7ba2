"""Rules of taking a new configuration over: one worker first, the last good one kept."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest
from msgspec.structs import replace

from rules.snapshot import decode
from shadow import link
from tests.support.controlnode import ROUTES, ControlNode, FakeWorker, running, until

pytestmark = pytest.mark.anyio

BASKET = ROUTES.replace("path: /cart", "path: /basket")


async def test_a_reload_is_taken_over_and_audited_with_its_diff(tmp_path: Path) -> None:
    """A good configuration reaches every worker, first one alone, and its diff stands in the answer and the audit."""
    async with running(tmp_path, workers=2) as node:
        first, second = await node.worker(0), await node.worker(1)
        node.write(BASKET)

        asked = time.monotonic()
        answer = await node.post("/-/reload")
        entry = (await node.get("/api/v1/audit?limit=1")).json()["entries"][0]
        alone = first.pushes[1][2]
        together = second.pushes[1][2]

    body = answer.json()
    assert answer.status_code == 200
    assert body["changed"]
    assert body["workers"]["acked"] == [0, 1]
    assert any("/basket" in line for line in body["diff"])
    assert entry["kind"] == "reload"
    assert entry["after"]["diff"] == body["diff"]
    assert alone < together
    assert together - asked > 0.9  # a second's trial; not since `alone`, which this process may have been late to see
    assert len(first.pushes) == 3
    assert len(second.pushes) == 2


async def test_a_wrong_file_is_refused_with_every_problem(tmp_path: Path) -> None:
    """A wrong configuration answers 422 with all problems by line; the previous one stays and metrics say so."""
    async with running(tmp_path) as node:
        worker = await node.worker()
        node.write(ROUTES.replace("legacy: none", "legacy: nobody").replace("path: /pay", "pth: /pay"))

        answer = await node.post("/-/reload")
        metrics = (await node.get("/metrics")).text
        status = (await node.get("/api/v1/status")).json()
        node.write(ROUTES)
        good = await node.post("/-/reload")
        after = (await node.get("/metrics")).text

    assert answer.status_code == 422
    assert len(answer.json()["errors"]) >= 2
    assert all("matapalo.yaml:" in fault["detail"] for fault in answer.json()["errors"])
    assert "matapalo_config_last_reload_successful 0.0" in metrics
    assert status["config"]["last_reload"]["ok"] is False
    assert len(worker.pushes) == 1
    assert good.status_code == 200
    assert "matapalo_config_last_reload_successful 1.0" in after


async def test_no_secret_of_the_file_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a header is set to or must be, out of the file or the environment, stands in no answer, log or audit, nor
    does the password of a refused URL; of what a node writes only the snapshot holds it, for its own user.
    """
    monkeypatch.setenv("CANARY", "k4n4r1-set")
    asked = 'path: /cart, headers: {X-Door: k4n4r1-door}, query: {key: "${CANARY}"}'
    secretive = ROUTES.replace("path: /cart", asked).replace("path: /pay", "path: /pay, headers: {X-Door: k4n4r1}")
    backend = '{url: "http://%s127.0.0.1:7", headers: {set: {Authorization: "Bearer ${CANARY}"}}}'
    async with running(tmp_path) as node:
        worker = await node.worker()
        node.write(secretive, fresh=backend % "")
        taken = await node.post("/-/reload")
        node.write(secretive, fresh=backend % "svc:k4n4r1-password@")
        refused = await node.post("/-/reload")
        queries = ("status", "routes", "routes/cart", "audit", "explain?method=GET&path=/cart", "totals")
        shown = [(await node.get(f"/api/v1/{query}")).text for query in queries]
        pushed = worker.spec.config
        told = "\n".join([taken.text, refused.text, *shown, node.log.read_text()])
        holders = {path for path in node.state_dir.iterdir() if path.is_file() and b"k4n4r1" in path.read_bytes()}
        modes = {path.name: path.stat().st_mode & 0o777 for path in holders}

    assert (taken.status_code, refused.status_code) == (200, 422)
    assert next(one for one in pushed.backends if one.name == "fresh").headers_set[0][1] == "Bearer k4n4r1-set"
    assert "k4n4r1" not in told
    assert "Authorization: … (changed)" in taken.json()["diff"][0]
    assert "remove user and password" in refused.json()["errors"][0]["detail"]
    assert modes == {"snapshot": 0o600}


async def test_a_worker_that_refuses_keeps_the_previous_configuration(tmp_path: Path) -> None:
    """When the first worker refuses the configuration, nobody else gets it and the answer carries its reason."""
    async with running(tmp_path, workers=2) as node:
        first, second = await node.worker(0), await node.worker(1)
        first.refuse = "the override has no token here"
        node.write(BASKET)

        answer = await node.post("/-/reload")
        path = (await node.get("/api/v1/routes/cart")).json()["match"][0]["path"]

    assert answer.status_code == 409
    assert answer.json()["type"].endswith(":worker-refused")
    assert "the override has no token here" in answer.json()["detail"]
    assert len(second.pushes) == 1
    assert path == "/cart"


async def test_a_worker_that_dies_of_it_keeps_the_previous_configuration(tmp_path: Path) -> None:
    """When the first worker dies within a second of the configuration, the others never see it."""
    async with running(tmp_path, workers=2) as node:
        first, second = await node.worker(0), await node.worker(1)
        first.dies_on_push = True
        node.write(BASKET)

        answer = await node.post("/-/reload")
        heir = await node.worker(0)

    assert answer.status_code == 409
    assert "went away" in answer.json()["detail"]
    assert len(second.pushes) == 1
    assert heir.spec.config.routes[1].match[0].path == "/cart"


async def test_a_flag_is_never_orphaned_by_accident(tmp_path: Path) -> None:
    """A reload that drops a route beyond legacy answers 409 with the ways out; drop allows the loss, and
    a name that drops nothing, or nothing any more, is told in the notes."""
    without = ROUTES.replace("name: orders", "name: purchases")
    async with running(tmp_path) as node:
        await node.post("/api/v1/routes/orders/flip", {"stage": "canary", "percent": 5})
        node.write(without)

        refused = await node.post("/-/reload")
        kept = await node.get("/api/v1/routes/orders")
        dropped = await node.post("/-/reload", {"drop": ["orders", "nix"]})
        again = await node.post("/-/reload", {"drop": ["orders"]})
        gone = await node.get("/api/v1/routes/orders")

    assert refused.status_code == 409
    assert refused.json()["orphans"] == ["orders"]
    assert "was: orders" in refused.json()["detail"]
    assert kept.status_code == 200
    assert dropped.status_code == again.status_code == 200
    assert [note.partition(":")[0] for note in dropped.json()["notes"]][:1] == ["--drop nix did nothing"]
    assert [note.partition(":")[0] for note in again.json()["notes"]] == ["--drop orders did nothing"]
    assert gone.status_code == 404


NAMED = ROUTES.replace("  - name: orders\n", "  - name: orders\n    autopilot: {steps: 10%}\n")
RENAMED = NAMED.replace("- name: orders", "- name: purchases\n    was: orders")


async def test_a_renamed_route_keeps_its_hold_its_pause_and_its_switch(tmp_path: Path) -> None:
    """A rename takes over what was decided: the hold until it is released, the paused autopilot, the copying switch;
    the audit names both routes, and a supervisor that missed it is told at control's next start."""
    async with running(tmp_path, routes=NAMED) as node:
        await node.post("/api/v1/routes/orders/flip", {"stage": "live"})
        await node.post("/api/v1/routes/orders/hold", {"reason": "broken"})
        held = node.holds["orders"]
        await node.post("/api/v1/routes/orders/autopilot", {"on": False, "reason": "friday"})
        await node.post("/api/v1/shadow", {"on": False, "route": "orders"})
        node.write(RENAMED)

        answer = await node.post("/-/reload")
        status = (await node.get("/api/v1/status")).json()
        shown = (await node.get("/api/v1/routes/purchases")).json()
        entry = (await node.get("/api/v1/audit?limit=1")).json()["entries"][0]
        followed = dict(node.holds)

        node.kill()
        await node.ended()
        node.holds = {"orders": held}
        await node.start()
        await until(lambda: node.holds.keys() == {"purchases"}, "the supervisor has the hold under the new name")
        again = (await node.get("/api/v1/routes/purchases")).json()
        newest = (await node.get("/api/v1/audit?limit=1")).json()["entries"][0]
        released = await node.post("/api/v1/routes/purchases/release")

    assert answer.status_code == 200
    assert any(
        note.startswith("purchases took over from orders: its flag, its hold") for note in answer.json()["notes"]
    )
    assert followed == {"purchases": replace(held, route="purchases")}
    assert [hold["route"] for hold in status["holds"]] == ["purchases"]
    assert status["copying"] == {"on": True, "off": ["purchases"]}
    assert shown["hold"]["reason"] == again["hold"]["reason"] == "broken"
    assert shown["autopilot"]["phase"] == again["autopilot"]["phase"] == "paused"
    assert (entry["kind"], entry["after"]["renamed"]) == ("reload", {"purchases": "orders"})
    assert entry["after"]["holds"]["purchases"]["reason"] == "broken"
    assert newest["id"] == entry["id"]
    assert released.status_code == 200
    assert node.holds == {}


async def test_a_held_route_cannot_lose_its_legacy(tmp_path: Path) -> None:
    """A reload that leaves a held route no legacy side is refused with the way out, also when it renames the route."""
    async with running(tmp_path) as node:
        await node.post("/api/v1/routes/orders/flip", {"stage": "live"})
        await node.post("/api/v1/routes/orders/hold", {"reason": "broken"})
        refused = []
        for name in ("orders", "purchases\n    was: orders"):
            node.write(ROUTES.replace("- name: orders", f"- name: {name}\n    legacy: none"))
            refused.append(await node.post("/-/reload"))

    assert [answer.status_code for answer in refused] == [409, 409]
    assert all("`matapalo release orders` first" in answer.json()["detail"] for answer in refused)


async def test_a_renamed_route_keeps_its_flag(tmp_path: Path) -> None:
    """was: moves the flag to the new name, stage, share and salt unchanged, also over a restart."""
    async with running(tmp_path) as node:
        await node.post("/api/v1/routes/orders/flip", {"stage": "canary", "percent": 5})
        node.write(ROUTES.replace("- name: orders", "- name: purchases\n    was: orders"))

        answer = await node.post("/-/reload")
        flag = (await node.get("/api/v1/routes/purchases")).json()["flag"]
        node.kill()
        await node.ended()
        await node.start()
        again = (await node.get("/api/v1/routes/purchases")).json()["flag"]

    assert answer.status_code == 200
    assert (
        flag
        == again
        == {
            "stage": "canary",
            "percent": 5.0,
            "sample": 100.0,
            "salt": "orders",
            "cohorts": {},
        }
    )


async def test_what_needs_a_restart_is_refused(tmp_path: Path) -> None:
    """A reload that changes the workers answers 409 and names the key."""
    async with running(tmp_path) as node:
        node.config.write_text(node.config.read_text().replace("workers: 1", "workers: 3"))

        answer = await node.post("/-/reload")

    assert answer.status_code == 409
    assert answer.json()["type"].endswith(":needs-restart")
    assert "workers" in answer.json()["detail"]


async def test_the_same_file_changes_nothing(tmp_path: Path) -> None:
    """A reload of unchanged files answers 200 with changed false and pushes nothing."""
    async with running(tmp_path) as node:
        worker = await node.worker()

        answer = await node.post("/-/reload")

    assert answer.json()["changed"] is False
    assert len(worker.pushes) == 1


async def test_sighup_reloads_through_the_supervisor(tmp_path: Path) -> None:
    """The supervisor's Reload message reads the configuration again."""
    async with running(tmp_path) as node:
        worker = await node.worker()
        node.write(BASKET)

        node.tell(link.Reload())
        await until(lambda: len(worker.pushes) == 3, "the new configuration")
        deadline = time.monotonic() + 60
        while (await node.get("/api/v1/audit?limit=1")).json()["entries"][0]["source"] != "signal":
            assert time.monotonic() < deadline


async def test_a_storm_of_reloads_ends_with_the_last_valid_file(tmp_path: Path) -> None:
    """A hundred reloads in a second, of files good, bad and half written, become a few; workers see whole ones only."""
    good = [ROUTES.replace("path: /cart", f"path: /basket-{number}") for number in range(100)]
    async with running(tmp_path) as node:
        worker = await node.worker()

        began = time.monotonic()
        for number, text in enumerate(good):
            node.write(text if number % 4 else "routes: [", top="" if number % 8 else "listen: nowhere")
            if number % 4 == 2:
                node.config.write_bytes(node.config.read_bytes()[:-30])
            node.tell(link.Reload())
            await asyncio.sleep(0.01)
        took = time.monotonic() - began
        await until(lambda: worker.spec.config.routes[1].match[0].path == "/basket-99", "the last file")
        answer = await node.post("/-/reload")
        seen = {spec.config.routes[1].match[0].path for spec in map(decode, (push[1] for push in worker.pushes))}
        entries = (await node.get("/api/v1/audit?limit=100")).json()["entries"]

    assert not answer.json()["changed"]
    assert seen <= {"/cart", *(f"/basket-{number}" for number in range(100))}
    assert len([entry for entry in entries if entry["kind"] == "reload"]) < 5 + took  # each tries for a second


async def test_watch_reloads_when_the_files_change(tmp_path: Path) -> None:
    """With watch: true a changed file is taken over within a few seconds without anybody asking."""
    async with running(tmp_path, top="watch: true") as node:
        worker = await node.worker()
        node.write(BASKET)

        await until(lambda: len(worker.pushes) == 3, "the new configuration")

    assert worker.spec.config.routes[1].match[0].path == "/basket"


@pytest.mark.alone
async def test_a_flip_during_a_reload_is_not_lost(tmp_path: Path) -> None:
    """A flip while the first worker tries a new configuration is in force at once (best of three) and after the
    reload."""
    async with running(tmp_path) as node:
        worker = await node.worker()
        took: list[float] = []
        while len(took) < 3 and min(took, default=9.0) >= 0.5:
            took.append(await flip_during_reload(node, worker, 5 + len(took)))

    assert min(took) < 0.5


async def flip_during_reload(node: ControlNode, worker: FakeWorker, percent: int) -> float:
    """Flip to a share while another configuration is tried, look that neither is lost, and say how long it took."""
    pushed = len(worker.pushes)
    node.write(BASKET.replace("/basket", f"/basket-{percent}"))
    reload = asyncio.create_task(node.post("/-/reload"))
    await until(lambda: len(worker.pushes) > pushed, "the trial")
    began = time.monotonic()
    flip = await node.post("/api/v1/routes/orders/flip", {"stage": "canary", "percent": percent})
    took = time.monotonic() - began
    answer = await reload

    assert (flip.status_code, answer.status_code) == (200, 200)
    assert worker.spec.flags["orders"].percent_bp == 100 * percent
    assert worker.spec.config.routes[1].match[0].path == f"/basket-{percent}"
    return took


async def test_a_reload_says_where_new_answers_what_no_gate_has_seen(tmp_path: Path) -> None:
    """A live route that takes other requests goes on, and the reload says that no gate has seen them, also when it is
    renamed with it; a route on legacy, one with `gate: off`, and a mere new name say nothing of it."""
    wider = ROUTES.replace('"/orders/{id:int}"', "/orders/**").replace("/cart", "/carts")
    named = wider.replace("- name: orders", "- name: buys\n    was: orders")
    moved = named.replace("- name: buys\n    was: orders", "- name: sales\n    was: buys").replace(
        "/orders/**", "/sales/**"
    )
    async with running(tmp_path, gate="{comparisons: 1}") as node:
        await node.worker()
        forced = {"stage": "live", "force": True, "reason": "test"}
        await node.post("/api/v1/routes/orders/flip", forced)
        notes = []
        last = moved.replace("/sales/**", "/s/**")
        for routes, gate in ((wider, node.gate), (named, node.gate), (moved, node.gate), (last, "off")):
            node.write(routes, gate=gate)
            notes.append((await node.post("/-/reload")).json()["notes"])

    assert [len(said) for said in notes] == [1, 1, 2, 0]
    assert notes[1][0].startswith("buys took over from orders: its flag, copying switch, ")
    assert notes[0][0].startswith("orders: new goes on answering 100 % of its clients, but ")
    assert notes[2][1].startswith("sales: new goes on answering 100 % of its clients, but ")
