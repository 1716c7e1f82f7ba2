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
import shlex
import signal
import sys
import tempfile
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# Started as a script, not with -m: the checkout is not on the path yet.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from rich.console import Console
from rich.live import Live

from demo import evidence, seed, services, traffic, view
from demo.product import Product, RefusedError
from demo.services import DemoError
from demo.watch import Watch

WALKED = "product"
DEFAULT_WALK_S = 45.0
SETTLE_TIMEOUT_S = 60.0  # comparers give way to everybody else on a busy machine
GATE_TIMEOUT_S = 60.0
POLL_S = 0.5
FRAME_S = 0.25
LINE_S = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """Describe one stop of the walk."""

    label: str
    flip: tuple[str, ...]
    """The arguments behind ``matapalo flip ROUTE``; empty: the route is born there."""
    share: float
    """Of the time of the whole walk."""
    gated: bool = True
    """It gives new more clients, so the route's gate has to pass first."""


STEPS = (
    Step(label="legacy", flip=(), share=0.1, gated=False),
    Step(label="shadow", flip=("shadow", "--reason", "is it the same?"), share=0.25, gated=False),
    Step(label="canary 10 %", flip=("canary", "--percent", "10", "--reason", "identical so far"), share=0.25),
    Step(label="canary 50 %", flip=("canary", "--percent", "50", "--reason", "still identical"), share=0.2),
    # More than the default 1 %, so that a demo of seconds shows the reverse shadow at work.
    Step(label="live", flip=("live", "--sample", "20", "--reason", "new answers everybody"), share=0.2),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Hold what was asked for on the command line."""

    seconds: float | None
    """How long traffic is sent; ``None``: until Ctrl-C."""
    as_json: bool
    picture: Path | None


def main(arguments: list[str] | None = None) -> int:
    """Run the demo; exit 0 when every number agreed and no request failed, 1 when not."""
    parser = argparse.ArgumentParser(prog="scripts/demo", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--for", dest="seconds", type=_seconds, metavar="20s", help="end after this time of traffic")
    parser.add_argument("--json", dest="as_json", action="store_true", help="print one JSON object at the end")
    parser.add_argument("--picture", type=Path, metavar="FILE", help="save the view of the 50 %% step as SVG")
    options = Options(**vars(parser.parse_args(arguments)))
    try:
        return asyncio.run(Demo(options).run())
    except DemoError as error:
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
            # Short: sockets live in it, and macOS starts with 60 of the 103 bytes that a socket's path may have.
            scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="demo-")))
            product = await self._start(stack, scratch)
            try:
                totals, seconds = await self._walk(product)
            except BaseExceptionGroup as group:
                # One failure ends the other tasks; the first one tells why.
                raise _first_leaf(group) from None
            return self._finish(totals, seconds)

    async def _start(self, stack: AsyncExitStack, scratch: Path) -> Product:
        data = scratch / "shop.json"
        seed.write(data)
        keeper = await services.Keeper.start()
        stack.push_async_callback(keeper.stop)
        legacy = await services.start_legacy(data, scratch)
        stack.push_async_callback(services.stop, legacy)
        keeper.keep(legacy)
        new, self._board.new_service = await services.start_new(data, scratch, self._say)
        stack.push_async_callback(services.stop, new)
        keeper.keep(new)
        self._say(f"the shops are up (legacy: python, new: {self._board.new_service}); starting Matapalo")
        product = await Product.start(legacy, new, scratch)
        stack.push_async_callback(product.stop)
        keeper.keep(product.service)
        self._board.url, self._board.admin = product.url, product.admin_url
        self._say(f"Matapalo serves {product.url}, its admin API {product.admin_url}")
        return product

    async def _walk(self, product: Product) -> tuple[evidence.Totals, float]:
        """Send traffic and flip until the time is over; then read the settled totals."""
        self._started = time.monotonic()
        watch, leave = Watch(product, self._board), asyncio.Event()
        async with asyncio.TaskGroup() as group:
            clients = group.create_task(traffic.run(product.port, self._traffic, self._stop), name="traffic")
            group.create_task(self._keep_looking(watch, leave), name="watch")
            group.create_task(self._show(leave), name="show")
            await self._flip_along(product)
            self._stop.set()
            await clients
            seconds = time.monotonic() - self._started
            totals = await self._settle(product)
            await self._look(watch)
            leave.set()
        self._board.elapsed_s = seconds
        return totals, seconds

    async def _flip_along(self, product: Product) -> None:
        """Walk the route with the commands that an operator would type."""
        whole = self._options.seconds or DEFAULT_WALK_S
        due = self._started
        for number, step in enumerate(STEPS):
            if step.flip:
                words = ("flip", WALKED, *step.flip)
                if not await self._flip(product, words, gated=step.gated):
                    return
                self._board.command = shlex.join(("matapalo", *words))
            self._board.step = number
            due += step.share * whole
            endless = step is STEPS[-1] and self._options.seconds is None
            if await _happens(self._stop, None if endless else max(0.0, due - time.monotonic())):
                return
            if self._options.picture and step.label == "canary 50 %":
                self._save_picture(self._options.picture)

    async def _flip(self, product: Product, words: tuple[str, ...], *, gated: bool) -> bool:
        """Flip once the gate passes; ``False``: the demo was ended meanwhile.

        Shape: a gate may pass and refuse the flip behind it, where new is too busy to say which build it is.
        Raises: DemoError.
        """
        deadline = time.monotonic() + GATE_TIMEOUT_S
        while not gated or await self._gate_passes(product, deadline):
            try:
                await product.command(*words)
            except RefusedError:
                if not gated or time.monotonic() > deadline:
                    raise
            else:
                return True
        return False

    async def _gate_passes(self, product: Product, deadline: float) -> bool:
        """Wait until new may have more clients; ``False``: the demo was ended meanwhile.

        Raises: DemoError with the gate's sentence when it takes too long.
        """
        while (gate := await product.get(f"/api/v1/routes/{WALKED}/gate"))["result"] != "pass":
            if time.monotonic() > deadline:
                raise DemoError(f"the gate of {WALKED} did not pass within {GATE_TIMEOUT_S:.0f} s: {gate['sentence']}")
            if await _happens(self._stop, POLL_S):
                return False
        return True

    async def _settle(self, product: Product) -> evidence.Totals:
        """Wait until every pair has its verdict and the last tally is in, or nothing more comes for a minute.

        Shape: the last totals read; what does not agree by then is reported by ``_finish``.
        """
        before, deadline = None, 0.0
        while True:
            totals = await product.get("/api/v1/totals")
            if (now := evidence.by_route(totals)) != before:
                before, deadline = now, time.monotonic() + SETTLE_TIMEOUT_S
            agreed = not evidence.mismatches(totals, self._traffic.answered) and evidence.law_holds(totals)
            if (agreed and evidence.is_settled(totals)) or time.monotonic() > deadline:
                return totals
            await asyncio.sleep(0.1)

    async def _keep_looking(self, watch: Watch, leave: asyncio.Event) -> None:
        while not await _happens(leave, POLL_S):
            await self._look(watch)

    async def _look(self, watch: Watch) -> None:
        await watch.look()
        self._board.elapsed_s = time.monotonic() - self._started
        self._board.requests = sum(self._traffic.answered.values())
        self._board.failed = self._traffic.failed

    async def _show(self, leave: asyncio.Event) -> None:
        if not self._console.is_terminal:
            while not await _happens(leave, LINE_S):
                self._print(view.lines(self._board))
            return
        with Live(console=self._console, screen=True, auto_refresh=False) as live:
            while not await _happens(leave, FRAME_S):
                live.update(view.screen(self._board, self._console.height), refresh=True)

    def _save_picture(self, path: Path) -> None:
        with open(os.devnull, "w", encoding="utf-8") as nowhere:
            canvas = Console(record=True, width=118, file=nowhere, force_terminal=True)
            canvas.print(view.screen(self._board, 100))
            picture = canvas.export_svg(title="scripts/demo")
        # Without the fonts that rich would fetch from a CDN: whoever looks at a README need not be told to others.
        path.write_text(re.sub(r"@font-face \{.*?\}\s*", "", picture, flags=re.DOTALL), encoding="utf-8")

    def _finish(self, totals: evidence.Totals, seconds: float) -> int:
        complaints = evidence.mismatches(totals, self._traffic.answered)
        law = evidence.law_holds(totals) and evidence.is_settled(totals)
        if not law:
            complaints.append("the law of counting does not hold; compare /api/v1/totals with docs/architecture.md")
        if self._traffic.failed:
            complaints.append(f"{self._traffic.failed} requests failed; the first: {self._traffic.first_failure}")
        if self._options.as_json:
            print(json.dumps(self._result(totals, seconds, law=law), ensure_ascii=False), flush=True)
        else:
            self._print(view.summary(self._board))
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
                "gate": row.gate,
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

    def _print(self, lines: list[str]) -> None:
        for line in lines:
            self._console.print(line, highlight=False, markup=False, soft_wrap=True)

    def _say(self, text: str) -> None:
        print(f"demo: {text}", file=sys.stderr, flush=True)


def _first_leaf(error: BaseException) -> BaseException:
    return _first_leaf(error.exceptions[0]) if isinstance(error, BaseExceptionGroup) else error


async def _happens(event: asyncio.Event, seconds: float | None) -> bool:
    """Wait for an event; ``False`` when the time is over first, ``None`` waits for ever."""
    try:
        await asyncio.wait_for(event.wait(), seconds)
    except TimeoutError:
        return False
    return True


if __name__ == "__main__":
    sys.exit(main())
