"""What a memory limit leaves."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PROBE = """
import resource, sys
from proxy.memory import MemoryLimit
resource.setrlimit(resource.RLIMIT_AS, (int(sys.argv[1]) << 20, resource.RLIM_INFINITY))
limit = MemoryLimit()
before = limit.used_share()
kept = bytearray(100 << 20)
print(before, limit.used_share())
"""


def test_the_address_space_fills_up() -> None:
    """Under a limit on the address space the used share grows with what is allocated."""
    done = subprocess.run(
        [sys.executable, "-c", PROBE, "1000"], cwd=ROOT, capture_output=True, text=True, timeout=30, check=True
    )
    before, after = map(float, done.stdout.split())

    assert 0 < before < after < 1
    assert 0.08 < after - before < 0.12
