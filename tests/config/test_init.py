"""The door: what it offers, and how little it costs a worker."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import config

ROOT = Path(__file__).resolve().parents[2]


def test_the_door_offers_what_it_lists() -> None:
    """Every name in __all__ is there, and nothing else is promised."""
    assert all(getattr(config, name) is not None for name in config.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = config.nothing


def test_the_specs_cost_a_worker_no_yaml_parser() -> None:
    """Importing config.spec loads neither the YAML parser nor the loader."""
    code = "import sys, config.spec; print(sorted(set(sys.modules) & {'yaml', 'config.loader', 'pydantic', 'difflib'}))"

    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, timeout=30, check=True
    )

    assert done.stdout.strip() == "[]"


def test_the_door_opens_within_sixty_milliseconds() -> None:
    """Importing the room, specs included, takes less than 60 ms of CPU, the best of five."""
    code = "import time; t = time.process_time(); import config.spec; print(time.process_time() - t)"

    times = [
        float(
            subprocess.run(
                [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, timeout=30, check=True
            ).stdout
        )
        for _ in range(5)
    ]

    assert min(times) < 0.060
