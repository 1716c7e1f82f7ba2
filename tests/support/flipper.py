"""Processes that flip and acknowledge, to be killed at any instant.

One mother process has everything imported; each flipper is a fork of it, so that a round costs milliseconds::

    with Flippers(place) as flippers:
        assert flippers.lost(50) == 0
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]

_MOTHER: Final = """
import asyncio, os, sys
from rules.flag import Flag, Stage
from store.entries import Entry
from store.flags import Commit, FlagStore
import store.sqlite
if "://" in sys.argv[1]:
    import store.postgres

def say(text):
    os.write(1, (text + "\\n").encode())

async def flip(place):
    flags = await FlagStore.open(place)
    found = await flags.load()
    say(f"began {found.revision} {found.flags['orders'].percent_bp if found.flags else 0}")
    revision, base = found.revision, found.base
    while True:
        revision += 1
        entry = Entry(kind="flip", source="api", actor="", routes=("orders",), reason="", at="", before={}, after={})
        flag = Flag(stage=Stage.CANARY, percent_bp=revision, sample_bp=0, salt="orders")
        written = await flags.commit(Commit(revision=revision, entry=entry, set_flags={"orders": flag}, base=base))
        base = written[-1].id, written[-1].hash
        say(f"flipped {revision}")

for _ in sys.stdin:
    pid = os.fork()
    if not pid:
        try:
            asyncio.run(flip(sys.argv[1]))
        except BaseException as error:
            say(f"failed {type(error).__name__}: {error}")
        os._exit(1)
    say(f"pid {pid}")
    os.waitpid(pid, 0)
    say("ended")
"""


class Flippers:
    """Start flippers on one place, one after the other."""

    def __init__(self, place: str) -> None:
        self._mother = subprocess.Popen(
            [sys.executable, "-c", _MOTHER, place],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.began: list[tuple[int, int]] = []
        """Revision and flag as each flipper found them."""
        self.acknowledged = 0
        """The newest revision that a flipper was told is written."""
        self.flips = 0

    def __enter__(self) -> Flippers:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._mother.stdin is not None
        assert self._mother.stdout is not None
        self._mother.stdin.close()
        self._mother.wait(30)
        self._mother.stdout.close()

    def round(self, seconds: float, kill: Callable[[], None] | None = None) -> list[str]:
        """Start one, kill it so long after its first flip, and give what it said of failures.

        Shape: *kill* kills something else; the flipper then ends by itself.
        """
        assert self._mother.stdin is not None
        self._mother.stdin.write("go\n")
        self._mother.stdin.flush()
        pid, is_killed, failed = 0, False, []
        for word, rest in self._said():
            if word == "pid":
                pid = int(rest)
            elif word == "began":
                revision, flag = rest.split()
                self.began.append((int(revision), int(flag)))
            elif word == "flipped":
                self.acknowledged, self.flips = int(rest), self.flips + 1
            elif word == "failed":
                failed.append(rest)
            elif word == "ended":
                break
            if pid and word == "flipped" and not is_killed:
                is_killed = True
                time.sleep(seconds)  # the random instant; nothing is waited for
                if kill is None:
                    os.kill(pid, signal.SIGKILL)
                else:
                    kill()
        return failed

    def lost(self, kills: int, seed: int = 7, kill: Callable[[], None] | None = None) -> int:
        """Kill so often at random instants, and count after how many of them an acknowledged flip is missing."""
        chance, count = random.Random(seed), 0
        for _ in range(kills + 1):  # the last one only looks
            before = self.acknowledged
            self.round(chance.uniform(0.0, 0.05), kill)
            revision, flag = self.began[-1]
            count += revision < before or flag != revision
        return count

    def _said(self) -> Iterator[tuple[str, str]]:
        assert self._mother.stdout is not None
        for line in self._mother.stdout:
            word, _, rest = line.strip().partition(" ")
            yield word, rest
