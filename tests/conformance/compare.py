"""Fire the whole corpus at Matapalo and at every peer on this machine, and write the table of docs/conformance.md.

Everybody gets the same bytes from the same run, one after the other, each with a backend end of its own.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from functools import partial
from math import isfinite
from pathlib import Path
from random import Random

from bench.parts import ROOT
from tests.conformance import peers
from tests.conformance.answers import LIES
from tests.conformance.behaviour import Serve, abort_ms, event_delay_ms, stale_posts
from tests.conformance.fuzz import CRASHES, broken_head, volley_of
from tests.conformance.generated import GENERATED
from tests.conformance.legal import LEGAL, MAY
from tests.conformance.liar import hear, liar
from tests.conformance.must_reject import MUST_REJECT
from tests.conformance.mutate import strange
from tests.conformance.page import Result, write_page
from tests.conformance.replay import replay
from tests.conformance.targets import TARGETS
from tests.conformance.vectors import Vector, started
from tests.conformance.verdict import REFUSALS, alterations, faults
from tests.conformance.volley import Outcome, Shot, Volley, byte_by_byte, cut_at, second, whole
from tests.support.oneworker import OneWorker

PATIENCE_S = 2.5
"""Longer than any of them takes on a busy machine; what has no answer by then has none."""
FRAMING_GROUPS = frozenset({"A4", "A5", "A6", "A7", "A8", "A9", "A10"})
"""Where nobody can say where the refused request ends; behind a mere 404 the next request may be answered."""

CLOSE_S = 0.05
"""Many answer 400 and leave the connection open; that is no fault unless they then answer what comes behind."""


def fate(outcome: Outcome) -> str:
    """Say in one word what became of a must-reject vector."""
    if outcome.reached or 200 <= outcome.status < 400:
        return "accepted"
    if outcome.ending == "hang":
        return "hang"
    if outcome.status in REFUSALS or not outcome.statuses:
        return "rejected"
    return "5xx"


def measure_requests(result: Result, volley: Volley, address: tuple[str, int], *, quick: bool) -> None:
    """Fire every vector whole, as second request and byte by byte, and count."""

    def fire(vectors: Sequence[Vector], shape: Callable[[bytes], Shot]) -> list[Outcome]:
        shots = [shape(vector.raw) for vector in vectors]
        return volley.fire(address, shots, at_once=64, patience_s=PATIENCE_S, close_s=CLOSE_S)

    at_once = fire(MUST_REJECT, whole)
    for vector, outcome in zip(MUST_REJECT, at_once, strict=True):
        kind = "size" if vector.size else "lenient" if vector.lenient else "strict"
        result.note(f"{kind} {fate(outcome)}", vector.id)
        if outcome.findings:
            result.note("dirty", f"{vector.id}: {outcome.findings[0]}")
    for vector, outcome in zip(GENERATED, fire(GENERATED, whole), strict=True):
        kind = "made lenient" if vector.lenient else "made"
        result.note(f"{kind} {fate(outcome)}", vector.id)
        if outcome.findings:
            result.note("made dirty", f"{vector.id}: {outcome.findings[0]}")
    for vector, outcome in zip(MAY, fire(MAY, whole), strict=True):
        result.note("may accepted" if outcome.reached else "may refused", vector.id)
        if outcome.findings:
            result.note("may dirty", f"{vector.id}: {outcome.findings[0]}")
    for vector, outcome, before in zip(MUST_REJECT, fire(MUST_REJECT, second), at_once, strict=True):
        # Of those whose end is in doubt and that were refused alone: is what comes behind them answered?
        third = any(b"third-" in one.target for one in outcome.arrivals)
        if vector.group in FRAMING_GROUPS and fate(before) == "rejected" and third:
            result.note("third answered", vector.id)
    if not quick:
        for vector, outcome, before in zip(MUST_REJECT, fire(MUST_REJECT, byte_by_byte), at_once, strict=True):
            if fate(outcome) != fate(before):
                result.note("split differs", f"{vector.id}: {fate(before)}, then {fate(outcome)}")
    result.counts["strays"] = len(volley.sink.strays)


def measure_legal(result: Result, volley: Volley, address: tuple[str, int]) -> None:
    """Fire what must be passed on, and count what was, and what was changed."""
    outcomes = volley.fire(
        address, [whole(legal.raw) for legal in LEGAL], at_once=64, patience_s=PATIENCE_S, close_s=CLOSE_S
    )
    for legal, outcome in zip(LEGAL, outcomes, strict=True):
        accepted = outcome.status == 200 and outcome.reached
        result.note("legal accepted" if accepted else "legal refused", legal.id)
        wrong = alterations(legal, outcome)
        if accepted:
            result.note("legal altered" if wrong else "legal exact", f"{legal.id}: {wrong[:1]}" if wrong else legal.id)
    shots = [whole(started(b"GET " + target + b" HTTP/1.1")) for target in TARGETS]
    for target, outcome in zip(
        TARGETS, volley.fire(address, shots, patience_s=PATIENCE_S, close_s=CLOSE_S), strict=True
    ):
        name = target[:40].decode("latin-1")
        if not outcome.arrivals:
            result.note("target refused", f"{name}: {outcome.status}")
            continue
        arrived = outcome.arrivals[0]
        tag = next((value for key, value in arrived.fields if key.lower() == b"x-tag"), b"tag00000")
        same = arrived.target.replace(tag, b"tag00000") == target
        result.note("target same" if same else "target changed", f"{name}: {arrived.target[:40]!r}")


def measure_lies(result: Result, serve: Serve) -> None:
    """Let a backend lie, and count what reaches clients."""
    with liar(end_s=PATIENCE_S * 0.6) as backend, serve(backend.address) as address:
        for number, lie in enumerate(LIES):
            heard = hear(address, backend, number, patience_s=PATIENCE_S, leave_s=0.25)
            backend.drop_connections()
            kind = "size" if lie.size else "lenient" if lie.lenient else lie.fate
            result.note(f"lie {kind} {'passed on' if heard.faults else 'stopped'}", f"{lie.id}: {heard.faults[:1]}")
            text = "; ".join(heard.faults)
            if "next request got 200" in text:
                result.note("lie poisoned", lie.id)
            if "used again" in text:
                result.note("lie reused", lie.id)


def measure_habits(result: Result, serve: Serve) -> None:
    """Measure what no vector shows."""
    result.counts["event us"] = round(event_delay_ms(serve) * 1_000)
    slowest_ms = abort_ms(serve)
    result.counts["abort us"] = round(slowest_ms * 1_000) if isfinite(slowest_ms) else -1
    result.counts["orders"], result.counts["orders failed"], result.counts["orders twice"] = stale_posts(serve)


def measure_cuts(result: Result, volley: Volley, address: tuple[str, int]) -> None:
    """Send every vector in two writes, cut at every offset: the verdict must not depend on where."""
    shots: list[Shot] = []
    owners: list[Vector] = []
    for vector in (*MUST_REJECT, *GENERATED[::2]):
        offsets = range(1, len(vector.raw)) if len(vector.raw) < 2_000 else range(1, len(vector.raw), 1_999)
        shots += [cut_at(vector.raw, offset) for offset in offsets]
        owners += [vector] * len(offsets)
    begun = time.monotonic()
    for vector, outcome in zip(owners, volley.fire(address, shots, at_once=200, patience_s=PATIENCE_S), strict=True):
        wrong = faults(vector, outcome)
        if wrong:
            result.note("cut missed", f"{vector.id}: {wrong[0]}")
    result.counts["cuts"] = len(shots)
    print(f"  {len(shots)} cuts in {time.monotonic() - begun:.0f} s", file=sys.stderr)


# --- who is measured ---


@contextlib.contextmanager
def ours(backend: tuple[str, int]) -> Iterator[tuple[str, int]]:
    """Run one worker of Matapalo in front of one backend."""
    with OneWorker(backends={"legacy": "http://{}:{}".format(*backend)}, access_log=False) as worker:
        yield worker.address


def measure(title: str, serve: Serve, *, quick: bool, cuts: bool) -> Result:
    """Measure one proxy."""
    result = Result(title=title)
    begun = time.monotonic()
    with Volley() as volley, serve(volley.backend) as address:
        measure_requests(result, volley, address, quick=quick)
        measure_legal(result, volley, address)
        if cuts:
            measure_cuts(result, volley, address)
    measure_lies(result, serve)
    measure_habits(result, serve)
    result.counts["seconds"] = round(time.monotonic() - begun)
    print(f"{title}: {result.counts}", file=sys.stderr)
    return result


def _serve(
    peer: peers.Peer, folder: str, backend: tuple[str, int]
) -> contextlib.AbstractContextManager[tuple[str, int]]:
    """Run one peer in front of one backend, in a folder of its own."""
    return peers.serving(peer, Path(tempfile.mkdtemp(prefix=peer.name, dir=folder)), backend)


def our_misses() -> list[str]:
    """Say what is wrong with ours, vector by vector, stricter than the table."""
    with Volley() as volley, ours(volley.backend) as address:
        outcomes = volley.fire(address, [whole(vector.raw) for vector in MUST_REJECT], patience_s=PATIENCE_S)
    named = zip(MUST_REJECT, outcomes, strict=True)
    return [f"{vector.id}: {wrong[0]}" for vector, one in named if (wrong := faults(vector, one))]


def fuzz_for(seconds: float, seed: int) -> int:
    """Throw strange requests at the wire and at a worker, half of the time each, and keep what breaks a rule."""
    heads = connections = broken = 0
    until = time.monotonic() + seconds
    with Volley() as volley, ours(volley.backend) as address:
        while time.monotonic() < until:
            dice = Random(seed)
            found: dict[bytes, object] = {}
            for _ in range(20_000):
                raw = strange(dice)
                if rule := broken_head(raw):
                    found[raw] = rule
            heads += 20_000
            found |= volley_of(volley, address, seed, 1_000)
            connections += 1_000
            for raw, rules in found.items():
                broken += 1
                name = CRASHES / f"{hashlib.sha256(raw).hexdigest()[:16]}.http"
                name.write_bytes(raw)
                print(f"{name}: {rules}")
            seed += 1
    print(f"{heads:,} heads, {connections:,} connections, {broken} broke a rule; the next seed is {seed}")
    return bool(broken)


def main() -> int:
    """Run what the command line asks for; exit 1 if a must-reject vector got past us."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ours", action="store_true", help="only Matapalo: what it misses, in seconds")
    parser.add_argument("--quick", action="store_true", help="leave out the splits")
    parser.add_argument("--peers", metavar="NAMES", default=",".join(peers.NAMES), help="some of %(default)s")
    parser.add_argument("--json", metavar="FILE", help="write every figure with the names behind it")
    parser.add_argument("--readers", metavar="PYTHON", help="a Python with uvicorn, gunicorn, aiohttp… to replay to")
    parser.add_argument("--fuzz", metavar="SECONDS", type=float, help="only Matapalo: throw strange requests at it")
    parser.add_argument("--seed", metavar="N", type=int, default=0, help="where the dice of --fuzz begin")
    parser.add_argument("--write", action="store_true", help="write docs/conformance.md")
    options = parser.parse_args()
    if options.ours:
        missed = our_misses()
        print("\n".join(missed) or f"all {len(MUST_REJECT)} must-reject vectors are refused as they must be")
        return bool(missed)
    if options.fuzz is not None:
        return fuzz_for(options.fuzz, options.seed)
    results = [measure("Matapalo", ours, quick=options.quick, cuts=not options.quick)]
    with tempfile.TemporaryDirectory(prefix="conformance-") as folder:
        for name in filter(None, options.peers.split(",")):
            here = peers.found(name)
            if not here:
                print(f"{name}: not on this machine, left out", file=sys.stderr)
            for peer in here:
                serve = partial(_serve, peer, folder)
                results.append(measure(peer.title, serve, quick=options.quick, cuts=False))
        replayed = replay(ours, folder, options.peers.split(","), options.readers)
    if options.json:
        Path(options.json).write_text(json.dumps([asdict(one) for one in results], indent=1))
    page = write_page(results, replayed)
    if options.write:
        (ROOT / "docs/conformance.md").write_text(page)
    else:
        print(page)
    return any(results[0].counts.get(key) for key in ("strict accepted", "dirty", "made dirty", "cut missed"))


if __name__ == "__main__":
    sys.exit(main())
