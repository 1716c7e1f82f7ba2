"""The figures of a comparison, and the page that shows them: docs/conformance.md."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from tests.conformance.answers import LIES
from tests.conformance.generated import GENERATED
from tests.conformance.legal import LEGAL, MAY
from tests.conformance.must_reject import MUST_REJECT
from tests.conformance.targets import TARGETS

NOTES = Path(__file__).with_name("notes.md")
"""What people wrote about the figures; stands below the table as it is."""


@dataclass(slots=True, kw_only=True)
class Result:
    """Keep the figures of one proxy."""

    title: str
    counts: dict[str, int] = field(default_factory=dict)
    details: dict[str, list[str]] = field(default_factory=dict)
    """Names of vectors under what became of them."""

    def note(self, key: str, name: str) -> None:
        """Count one vector under *key* and remember which."""
        self.counts[key] = self.counts.get(key, 0) + 1
        self.details.setdefault(key, []).append(name)


def _count(*keys: str) -> Callable[[dict[str, int]], str]:
    return lambda counts: f"{sum(counts.get(key, 0) for key in keys):,}"


def _event(counts: dict[str, int]) -> str:
    return f"{counts['event us'] / 1_000:.1f} ms"


def _abort(counts: dict[str, int]) -> str:
    return "not within 3 s" if counts["abort us"] < 0 else f"{counts['abort us'] / 1_000:.0f} ms"


def _orders(counts: dict[str, int]) -> str:
    return f"{counts['orders failed']} / {counts['orders twice']}"


def _authored(kind: str) -> int:
    return sum(kind == ("size" if one.size else "lenient" if one.lenient else "strict") for one in MUST_REJECT)


def _lies(kind: str) -> int:
    return sum(kind == ("size" if one.size else "lenient" if one.lenient else one.fate) for one in LIES)


_STRICT, _LENIENT, _SIZE = map(_authored, ("strict", "lenient", "size"))
_MADE_LENIENT = sum(one.lenient for one in GENERATED)
_MADE = len(GENERATED) - _MADE_LENIENT

_ROWS: tuple[tuple[str, Callable[[dict[str, int]], str]], ...] = (
    (f"**ambiguous forwards** of the authored ({len(MUST_REJECT) + len(MAY)})", _count("dirty", "may dirty")),
    (f"… of those made by rule ({len(GENERATED):,})", _count("made dirty")),
    (f"must be refused ({_STRICT}): refused", _count("strict rejected")),
    ("… accepted", _count("strict accepted")),
    ("… answered with another 5xx", _count("strict 5xx")),
    ("… no answer in time", _count("strict hang")),
    (f"made by rule ({_MADE:,}): refused", _count("made rejected")),
    (f"an RFC lets a proxy repair them ({_LENIENT} and {_MADE_LENIENT}): refused",
     _count("lenient rejected", "made lenient rejected")),
    (f"large ({_SIZE}): refused by default limits", _count("size rejected")),
    ("sent byte by byte: another verdict", _count("split differs")),
    ("framing refused, yet the next request of the connection answered", _count("third answered")),
    (f"legal ({len(LEGAL)}): accepted", _count("legal accepted")),
    ("… and arrived byte for byte", _count("legal exact")),
    (f"targets ({len(TARGETS)}): arrived byte for byte", _count("target same")),
    ("… refused", _count("target refused")),
    ("… **changed**", _count("target changed")),
    (f"broken answer heads ({_lies('refuse')}): passed on or repaired", _count("lie refuse passed on")),
    (f"broken answer bodies ({_lies('cut')}): ended well", _count("lie cut passed on")),
    (f"bytes behind the answer ({_lies('surplus')}): seen, or the connection used again",
     _count("lie surplus passed on")),
    (f"answers that an RFC lets a proxy repair ({_lies('lenient')}): passed on", _count("lie lenient passed on")),
    ("**the next client got another's bytes**", _count("lie poisoned")),
    ("a server-sent event arrives after (median of 20)", _event),
    ("a client left: its backend connection ends after (slowest of 10)", _abort),
    ("480 POSTs when idle backend connections close: failed / arrived twice", _orders),
)  # fmt: skip


def write_page(results: Sequence[Result], replayed: Sequence[str]) -> str:
    """Write the page: conditions, the table, what we miss, what people wrote about it."""
    lines = [
        "# Conformance",
        "",
        "Written by `scripts/conformance --write`; do not edit. The same bytes go to every proxy, one after the other,"
        " in one run; each has a backend end of its own that judges what arrives and shares no code with the product.",
        "",
        f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, {_machine()}. Every proxy runs with one worker or thread and the"
        " least configuration that makes it a proxy (`tests/conformance/peers.py`).",
        "",
        "| | " + " | ".join(one.title for one in results) + " |",
        "|---|" + "---|" * len(results),
    ]
    lines += [f"| {name} | " + " | ".join(figure(one.counts) for one in results) + " |" for name, figure in _ROWS]
    lines += ["", *_ours(results[0], replayed), "", NOTES.read_text().rstrip(), ""]
    return "\n".join(lines)


def _machine() -> str:
    model = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    cores = len(os.sched_getaffinity(0))
    name = model[1] if model else platform.machine()
    return f"{cores} cores ({name}), Linux {platform.release()}, Python {platform.python_version()}"


def _ours(ours: Result, replayed: Sequence[str]) -> list[str]:
    """Say what the table cannot: what exactly we miss, and what others make of what we forward."""
    missed = [
        f"{kind}: {name}"
        for kind in ("strict accepted", "strict hang", "strict 5xx", "lenient accepted", "size accepted",
                     "made accepted", "made hang", "dirty", "made dirty", "may dirty", "split differs", "cut missed",
                     "third answered", "legal refused", "legal altered", "target changed", "lie refuse passed on",
                     "lie cut passed on", "lie surplus passed on", "lie lenient passed on", "lie size passed on")
        for name in ours.details.get(kind, ())
    ]  # fmt: skip
    lines = ["## What we miss", ""]
    lines += [f"* `{one}`" for one in missed] or ["Nothing of this corpus."]
    if ours.counts.get("cuts"):
        lines += ["", f"Every vector was also sent to us in two writes, cut at every offset: {ours.counts['cuts']:,}"
                  f" connections, {ours.counts.get('cut missed', 0)} of them with another verdict."]  # fmt: skip
    if replayed:
        lines += ["", "## What others make of what we forward", "",
                  "Everything of the legal and the either-way corpus that Matapalo passed on, replayed byte for byte;"
                  " each reader must see exactly one request with the same body.", ""]  # fmt: skip
        lines += [f"* {one}" for one in replayed]
    return lines
