"""A real supervisor over fake children: ``python fakeserve.py SPEC.json`` (a ConfigSpec as JSON)."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec

from config.spec import ConfigSpec
from proxy.children import Role
from proxy.supervisor import run

CHILD = os.path.join(os.path.dirname(os.path.abspath(__file__)), "fakechild.py")


def command(role: Role) -> Sequence[str]:
    """Start a fake child in place of the real one."""
    return sys.executable, "-P", CHILD, f"_{role.value}"


def main() -> int:
    """Supervise until told to stop."""
    path = sys.argv[1]
    return run(path, msgspec.json.decode(Path(path).read_bytes(), type=ConfigSpec), command=command)


if __name__ == "__main__":
    sys.exit(main())
