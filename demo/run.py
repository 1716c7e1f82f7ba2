"""Run the demo: two shops, Matapalo between them and their customers, one route from legacy to live.

The composition root of the demo, started by ``scripts/demo``; it is no part of the
installed product. Everything that changes Matapalo's state goes through the real
command line, everything shown comes from the admin API.

    scripts/demo                    until Ctrl-C, live on a terminal
    scripts/demo --for 20s          ends by itself
    scripts/demo --for 20s --json   one JSON object on stdout, the rest on stderr
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import signal
import socket
import sys
import tempfile
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import httpx2
from rich.console import Console
from rich.live import Live

from demo import evidence, seed, services, traffic, view

WALKED = "product"
DEFAULT_WALK_S = 45.0
READY_TIMEOUT_S = 40.0
FLIP_TIMEOUT_S = 30.0
SETTLE_TIMEOUT_S = 15.0
ADMIN_TIMEOUT_S = 15.0
POLL_S = 0.5
LINE_S = 3.0


class DemoError(Exception):
    """The demo cannot go on; the sentence says what failed and where to look."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """Describe one stop of the walk."""

    label: str
    flip: tuple[str, ...]
    """The arguments behind ``matapalo flip ROUTE``; empty: the route is born there."""
    share: float
    """Of the time of the whole walk."""


STEPS = (
    Step(label="legacy", flip=(), share=0.1),
    Step(label="shadow", flip=("shadow", "--reason", "is it the same?"), share=0.25),
    Step(label="canary 10 %", flip=("canary", "--percent", "10", "--reason", "identical so far"), share=0.25),
    Step(label="canary 50 %", flip=("canary", "--percent", "50", "--reason", "still identical"), share=0.2),
    # More than the default 1 %, so that a demo of seconds shows the reverse shadow at work.
    Step(label="live", flip=("live", "--sample", "20", "--reason", "new answers everybody"), share=0.2),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Hold what was asked for on the command line."""

    seconds: float | None
    as_json: bool
    picture: Path | None


def main(arguments: list[str] | None = None) -> int:
    """Run the demo; exit 0 when every number agreed and no request failed, 1 when not."""
    parser = argparse.ArgumentParser(prog="scripts/demo", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--for", dest="seconds", type=_seconds, metavar="20s", help="end after this time of traffic")
    parser.add_argument("--json", dest="as_json", action="store_true", help="print one JSON object at the end")
    parser.add_argument("--picture", type=Path, metavar="FILE", help="save the view at the 50 %% step as SVG")
    options = Options(**vars(parser.parse_args(arguments)))
    try:
        return asyncio.run(Demo(options).run())
    except (DemoError, services.ServiceError) as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    except asyncio.CancelledError:
        print("demo: stopped before it was ready", file=sys.stderr)
        return 130


def _seconds(text: str) -> float:
    found = re.fullmatch(r"(\d+(?:\.\d+)?)(ms|s|m|h)?", text)
    if not found or not float(found[1]):
        raise argparse.ArgumentTypeError(f"{text!r} is not a duration; expected for example 20s or 2m")
    return float(found[1]) * {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}[found[2] or "s"]


class Demo:
    """Own everything that lives during one demo."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._console = Console(stderr=options.as_json)
        self._stop = asyncio.Event()
        self._traffic = traffic.TrafficState()
        self._started = 0.0
        self._flipped: dict[str, int] = {}
        self._examples: dict[str, dict[str, Any]] = {}
        self._board = view.Board(walked=WALKED, steps=tuple(step.label for step in STEPS))

    async def run(self) -> int:
        """Start everything, walk, end everything, and give the exit code."""
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task is not None

        def end() -> None:
            if self._started:
                self._stop.set()
            else:
                task.cancel()

        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, end)
        async with AsyncExitStack() as stack:
            scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="matapalo-demo-")))
            proxy, admin = await self._start(stack, scratch)
            try:
                totals, seconds = await self._walk(proxy, admin)
            except* DemoError as group:
                # One failure ends the others; the first one tells why.
                raise _first_leaf(group) from None
            return self._finish(totals, seconds)

    def _say(self, text: str) -> None:
        print(f"demo: {text}", file=sys.stderr, flush=True)

    # Start ------------------------------------------------------------------

    async def _start(self, stack: AsyncExitStack, scratch: Path) -> tuple[services.Service, httpx2.AsyncClient]:
        data = scratch / "shop.json"
        seed.write(data)
        legacy = await services.start_legacy(data, scratch)
        stack.push_async_callback(services.stop, legacy)
        new, self._board.new_service = await services.start_new(data, scratch, self._say)
        stack.push_async_callback(services.stop, new)
        port, admin_port, health_port = _free_ports(3)
        self._board.url, self._board.admin = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{admin_port}"
        self._say(f"shops are up (Python, {self._board.new_service}); starting Matapalo on {self._board.url}")
        environment = {
            **os.environ,
            "DEMO_PORT": str(port),
            "DEMO_ADMIN_PORT": str(admin_port),
            "DEMO_HEALTH_PORT": str(health_port),
            "DEMO_STATE_DIR": str(scratch / "state"),
            "DEMO_LEGACY_PORT": str(legacy.port),
            "DEMO_NEW_PORT": str(new.port),
        }
        proxy = await services.start(
            "matapalo",
            [*_matapalo(), "serve", "-c", str(services.DEMO / "matapalo.yaml")],
            scratch,
            announces=False,
            environment=environment,
        )
        stack.push_async_callback(services.stop, proxy)
        admin = await stack.enter_async_context(
            httpx2.AsyncClient(base_url=self._board.admin, timeout=ADMIN_TIMEOUT_S, trust_env=False)
        )
        await self._until_up(proxy, admin, f"http://127.0.0.1:{health_port}/readyz", "is not ready")
        await self._until_up(proxy, admin, "/api/v1/routes", "does not answer on its admin API")
        return proxy, admin

    async def _until_up(self, proxy: services.Service, admin: httpx2.AsyncClient, url: str, complaint: str) -> None:
        deadline = time.monotonic() + READY_TIMEOUT_S
        while time.monotonic() < deadline and proxy.process.returncode is None:
            try:
                if (await admin.get(url)).status_code == 200:
                    return
            except httpx2.HTTPError:
                pass
            await asyncio.sleep(0.05)
        ended = f"ended with {proxy.process.returncode}" if proxy.process.returncode is not None else complaint
        raise DemoError(f"matapalo {ended} (waited for {url}); it wrote: {services.tail(proxy)}")

    # Walk -------------------------------------------------------------------

    async def _walk(self, proxy: services.Service, admin: httpx2.AsyncClient) -> tuple[evidence.Totals, float]:
        """Send traffic and flip until the time is over; then read the settled totals."""
        self._started = time.monotonic()
        if self._options.seconds is None:
            self._board.ending = "Ctrl-C ends the demo"
        port = int(self._board.url.rsplit(":", 1)[1])
        leave = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            clients = group.create_task(traffic.run(port, self._traffic, self._stop), name="traffic")
            group.create_task(self._watch(proxy, admin, leave), name="watch")
            group.create_task(self._show(leave), name="show")
            await self._flip_along()
            self._stop.set()
            await clients
            seconds = time.monotonic() - self._started
            totals = await self._settle(admin)
            await self._look(admin)
            leave.set()
        return totals, seconds

    async def _flip_along(self) -> None:
        whole = self._options.seconds or DEFAULT_WALK_S
        due = self._started
        for number, step in enumerate(STEPS):
            if step.flip:
                await self._flip(step)
            self._board.step = number
            due += step.share * whole
            last = number == len(STEPS) - 1
            wait = None if last and self._options.seconds is None else max(0.0, due - time.monotonic())
            if await _happens(self._stop, wait):
                return
            if self._options.picture and step.label == "canary 50 %":
                self._save_picture(self._options.picture)

    async def _flip(self, step: Step) -> None:
        """Flip the walked route with the command that an operator would type."""
        words = ["flip", WALKED, *step.flip]
        process = await asyncio.create_subprocess_exec(
            *_matapalo(),
            *words,
            env={**os.environ, "MATAPALO_URL": self._board.admin},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            output, _ = await asyncio.wait_for(process.communicate(), FLIP_TIMEOUT_S)
        except TimeoutError as error:
            process.kill()
            await process.wait()
            raise DemoError(f"matapalo {' '.join(words)} did not end within {FLIP_TIMEOUT_S:.0f} s") from error
        if process.returncode:
            raise DemoError(f"matapalo {' '.join(words)} failed: {output.decode(errors='replace').strip()}")
        self._board.command = "matapalo " + " ".join(f"'{word}'" if " " in word else word for word in words)
        self._flipped = dict(self._board.rows[WALKED].sides) if WALKED in self._board.rows else {}

    async def _settle(self, admin: httpx2.AsyncClient) -> evidence.Totals:
        """Wait until every pair has its verdict and the last tally is in, or the deadline passes.

        Shape: the last totals read; what does not agree by then is reported by ``_finish``.
        """
        deadline = time.monotonic() + SETTLE_TIMEOUT_S
        while True:
            totals: evidence.Totals = await _get(admin, "/api/v1/totals")
            agreed = not evidence.mismatches(totals, self._traffic.answered)
            if (agreed and evidence.is_settled(totals)) or time.monotonic() > deadline:
                return totals
            await asyncio.sleep(0.1)

    # Look and show ----------------------------------------------------------

    async def _watch(self, proxy: services.Service, admin: httpx2.AsyncClient, leave: asyncio.Event) -> None:
        while not await _happens(leave, POLL_S):
            if proxy.process.returncode is not None:
                raise DemoError(f"matapalo ended with {proxy.process.returncode}; it wrote: {services.tail(proxy)}")
            await self._look(admin)

    async def _look(self, admin: httpx2.AsyncClient) -> None:
        """Bring the board up to date from the admin API."""
        board = self._board
        for route in (await _get(admin, "/api/v1/routes"))["routes"]:
            counts = route["counts"]
            row = board.rows.setdefault(route["name"], view.RouteRow(name=route["name"]))
            row.stage, row.asked = route["flag"]["stage"], route["share"]["asked"]
            row.sides = {side: counts["requests"].get(side, 0) for side in ("legacy", "new")}
            row.verdicts = {name: _added(counts[name]) for name in evidence.VERDICTS}
            row.skipped = counts["skipped"]
            before = self._flipped if row.name == WALKED else {}
            fresh = {side: count - before.get(side, 0) for side, count in row.sides.items()}
            row.actual = 100 * fresh["new"] / sum(fresh.values()) if any(fresh.values()) else None
        board.elapsed_s = time.monotonic() - self._started
        board.requests, board.failed = sum(self._traffic.answered.values()), self._traffic.failed
        await self._look_at_differences(admin)

    async def _look_at_differences(self, admin: httpx2.AsyncClient) -> None:
        groups = (await _get(admin, "/api/v1/divergences?limit=500"))["divergences"]
        worst: dict[str, dict[str, Any]] = {}
        for group in groups:  # most severe first
            worst.setdefault(group["route"], group)
        for name, group in worst.items():
            known = self._examples.get(name)
            if known is None or known["id"] != group["id"]:
                known = await _get(admin, f"/api/v1/divergences/{group['id']}")
                self._examples[name] = known
            if name in self._board.rows:
                self._board.rows[name].difference = _first_difference(group, known["example"])

    async def _show(self, leave: asyncio.Event) -> None:
        if not self._console.is_terminal:
            while not await _happens(leave, LINE_S):
                for line in view.lines(self._board):
                    self._console.print(line, highlight=False, markup=False, soft_wrap=True)
            return
        with Live(console=self._console, screen=True, auto_refresh=False) as live:
            while not await _happens(leave, 0.25):
                live.update(view.screen(self._board, self._console.height), refresh=True)

    def _save_picture(self, path: Path) -> None:
        canvas = Console(record=True, width=118, file=open(os.devnull, "w"), force_terminal=True)  # noqa: SIM115
        with canvas.file:
            canvas.print(view.screen(self._board, 100))
            canvas.save_svg(str(path), title="scripts/demo")

    # Finish -----------------------------------------------------------------

    def _finish(self, totals: evidence.Totals, seconds: float) -> int:
        complaints = evidence.mismatches(totals, self._traffic.answered)
        law = evidence.law_holds(totals) and evidence.is_settled(totals)
        if not law:
            complaints.append(
                "the law of counting does not hold; see /api/v1/totals and docs/architecture.md, Counting"
            )
        if self._traffic.failed:
            complaints.append(f"{self._traffic.failed} requests failed; the first: {self._traffic.first_failure}")
        if self._options.as_json:
            print(json.dumps(self._result(totals, seconds, law=law), ensure_ascii=False), flush=True)
        else:
            for line in view.summary(self._board):
                self._console.print(line, highlight=False, markup=False, soft_wrap=True)
        for complaint in complaints:
            self._say(complaint)
        return 1 if complaints else 0

    def _result(self, totals: evidence.Totals, seconds: float, *, law: bool) -> dict[str, Any]:
        added = evidence.by_route(totals)
        routes = {
            name: {
                "stage": row.stage,
                "sides": {side: added[name][f"requests.{side}"] for side in ("legacy", "new")},
                "verdicts": {verdict: added[name][verdict] for verdict in evidence.VERDICTS},
                "first_difference": row.difference,
            }
            for name, row in self._board.rows.items()
        }
        return {
            "seconds": round(seconds, 1),
            "new_service": self._board.new_service,
            "routes": routes,
            "undeclared_requests": added["-"]["requests.undeclared"],
            "failed_requests": self._traffic.failed,
            "law_holds": law,
        }


def _first_difference(group: dict[str, Any], example: dict[str, Any]) -> dict[str, Any]:
    of_group = ("id", "kind", "statuses", "severity", "count", "sentence")
    of_example = ("method", "target", "pointer", "offset", "legacy", "new", "same_meaning")
    return {name: group[name] for name in of_group} | {name: example[name] for name in of_example}


def _first_leaf(error: BaseException) -> BaseException:
    return _first_leaf(error.exceptions[0]) if isinstance(error, BaseExceptionGroup) else error


async def _get(admin: httpx2.AsyncClient, path: str) -> dict[str, Any]:
    """Ask the admin API; its refusals and its absence are the demo's errors."""
    try:
        answer: dict[str, Any] = (await admin.get(path)).raise_for_status().json()
    except (httpx2.HTTPError, ValueError) as error:
        raise DemoError(f"GET {admin.base_url}{path} failed: {type(error).__name__} {error}") from error
    return answer


def _added(count: int | dict[str, int]) -> int:
    return sum(count.values()) if isinstance(count, dict) else count


def _matapalo() -> list[str]:
    return [sys.executable, "-P", "-m", "matapalo"]


def _free_ports(count: int) -> list[int]:
    """Find free ports of loopback; all are held at once, so that they differ."""
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in held]
    for one in held:
        one.close()
    return ports


async def _happens(event: asyncio.Event, seconds: float | None) -> bool:
    """Wait for an event; ``False`` when the time is over first, ``None`` waits for ever."""
    try:
        await asyncio.wait_for(event.wait(), seconds)
    except TimeoutError:
        return False
    return True


if __name__ == "__main__":
    sys.exit(main())
