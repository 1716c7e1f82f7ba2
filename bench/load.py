"""Closed-loop load: wrk with a fixed number of keep-alive connections over a list of paths."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.parts import find
from bench.process import BenchError, pinned

CONNECTIONS = 16
"""Enough to keep one proxy worker busy, few enough that p99 is not only the queue."""

HEADERS = (
    ("User-Agent", "matapalo-bench/1"),
    ("Accept", "application/json"),
    ("Accept-Encoding", "gzip"),
    ("X-User-Id", "user-4711"),
    ("Cookie", "session=0123456789abcdef0123456789abcdef; theme=dark"),
)
"""What every request carries: about what an API client sends."""

# The request texts are made once: what wrk itself costs must not depend on the number of paths.
_SCRIPT = """
local requests, count, turn = {}, 0, 0
local headers = {}
%(headers)s
init = function(args)
  for line in io.lines("%(paths)s") do
    count = count + 1
    requests[count] = wrk.format("GET", line, headers)
  end
end
request = function()
  turn = turn %% count + 1
  return requests[turn]
end
done = function(summary, latency, all)
  io.write(string.format(
    '\\nRESULT {"requests":%%d,"duration_us":%%d,"bad":%%d,"p50_us":%%d,"p99_us":%%d,"max_us":%%d}\\n',
    summary.requests, summary.duration,
    summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.status +
    summary.errors.timeout, latency:percentile(50), latency:percentile(99), latency.max))
end
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """Report one run of wrk."""

    requests: int
    duration_us: int
    bad: int
    """Socket errors, timeouts and answers that are not 2xx or 3xx."""
    p50_us: int
    p99_us: int
    max_us: int

    @property
    def rate(self) -> float:
        """Return requests per second."""
        return self.requests / self.duration_us * 1e6


def drive(
    port: int,
    paths: Sequence[str],
    *,
    seconds: float,
    folder: Path,
    cores: tuple[int, ...],
    connections: int = CONNECTIONS,
) -> Load:
    """Send GETs for *paths* in turn, as fast as the target answers.

    Bound: whole seconds, at least one (wrk knows no other).
    Raises: BenchError when wrk is missing or cannot reach the port.
    """
    wrk = find("wrk")
    if wrk is None:
        raise BenchError("the load comes from wrk, which is not on PATH: apt install wrk")
    listed = folder / "paths.txt"
    listed.write_text("\n".join(paths) + "\n")
    script = folder / "load.lua"
    headers = "\n".join(f'headers["{name}"] = "{value}"' for name, value in HEADERS)
    script.write_text(_SCRIPT % {"headers": headers, "paths": listed})
    whole = max(1, round(seconds))
    command = [wrk, "-t1", f"-c{connections}", f"-d{whole}s", "--timeout", "10s", "-s", str(script)]
    run = subprocess.run(
        pinned([*command, f"http://127.0.0.1:{port}"], cores),
        capture_output=True,
        text=True,
        timeout=whole + 30,
        check=False,
    )
    for line in run.stdout.splitlines():
        if line.startswith("RESULT "):
            return Load(**json.loads(line.removeprefix("RESULT ")))
    raise BenchError(f"wrk gave no result for port {port}: {run.stdout[-500:]}{run.stderr[-500:]}")
