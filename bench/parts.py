"""The programs that a benchmark needs or compares with: where they are and which version."""

from __future__ import annotations

import functools
import os
import re
import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

_VERSION = {
    "nginx": ("-v",),
    "haproxy": ("-v",),
    "envoy": ("--version",),
    "traefik": ("version",),
    "caddy": ("version",),
    "wrk": ("-v",),
}


def find(name: str) -> str | None:
    """Return the path of a program: ``MATAPALO_<NAME>``, then ``.cache/parts/bin``, then PATH.

    Shape: ``None`` when it is nowhere; nothing is downloaded here (``.ci/run`` installs the parts).
    """
    named = os.environ.get(f"MATAPALO_{name.upper()}")
    if named:
        return shutil.which(named)
    path = os.pathsep.join((str(ROOT / ".cache/parts/bin"), os.environ.get("PATH", ""), "/usr/sbin", "/sbin"))
    return shutil.which(name, path=path)


@functools.cache
def version(name: str) -> str:
    """Return the version that a program reports, ``unknown`` if it reports none."""
    program = find(name)
    if program is None:
        return "missing"
    run = subprocess.run([program, *_VERSION[name]], capture_output=True, text=True, timeout=20, check=False)
    text = run.stdout + run.stderr
    # Envoy prints a commit first: take the first thing that looks like a version of three numbers, then of two.
    for pattern in (r"(?<![\w.])v?(\d+\.\d+\.\d+)", r"(?<![\w.])v?(\d+\.\d+)"):
        if match := re.search(pattern, text):
            return match[1]
    return "unknown"
