"""Start one child, hear it, and judge whether it still lives.

Rules of this file:

1. A child is exec'd, never forked from the loop: it shares nothing but what it is handed: its end of the
   parent link, the lock, and (a worker) its listening sockets.
2. A child runs in a session of its own: Ctrl-C reaches the supervisor alone, which drains.
3. Only a child's silence counts against it, never our own: after the supervisor itself stood still (a
   suspended machine, a frozen container) everybody gets a fresh chance.
"""

from __future__ import annotations

import asyncio
import os
import signal
import site
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final, cast

from shadow import link

SECOND: Final = 1_000_000_000

QUICK_NS: Final = 10 * SECOND
"""A child that dies younger than this counts towards a crash loop."""

FREE_RESTARTS: Final = 2
"""The first deaths are restarted at once: one crash must not cost a second of capacity."""

FIRST_PAUSE_NS: Final = SECOND // 2
LONGEST_PAUSE_NS: Final = 10 * SECOND

START_NS: Final = 20 * SECOND
"""Until the first word. Control takes about a second on an idle core; both cores may be busy."""

BUSY_NS: Final = 15 * SECOND
"""A comparer cuts a pair at its own limit (10 s); one that still sits on it cannot."""

MAX_UNREAD: Final = 1 << 20
"""A child that leaves this much unread has stopped: the link is cut, silence does the rest."""


class Role(str, Enum):
    """Name the kinds of children."""

    WORKER = "worker"
    COMPARER = "comparer"
    CONTROL = "control"


SILENT_NS: Final = {Role.WORKER: 5 * SECOND, Role.COMPARER: 20 * SECOND, Role.CONTROL: 20 * SECOND}
"""A worker never blocks, so 5 s mean that it hangs; a comparer and control may compute for long."""

Command = Callable[[Role], Sequence[str]]
"""The words that start a child; ``--state-dir`` and the like are added behind."""


def product_command(role: Role) -> Sequence[str]:
    """Start the child that belongs to this very installation, whatever directory we stand in."""
    return sys.executable, "-P", "-m", "matapalo", f"_{role.value}"


def child_environment() -> dict[str, str]:
    """Make ``matapalo`` importable under ``-P``: installed it is already, in a checkout it needs the path."""
    home = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
    environment = dict(os.environ)
    if home not in {os.path.realpath(place) for place in (*site.getsitepackages(), site.getusersitepackages())}:
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, (home, environment.get("PYTHONPATH"))))
    return environment


def restart_pause_ns(quick_deaths: int) -> int:
    """Say how long to wait before the next start after so many early deaths in a row."""
    if quick_deaths <= FREE_RESTARTS:
        return 0
    return min(FIRST_PAUSE_NS << (quick_deaths - FREE_RESTARTS - 1), LONGEST_PAUSE_NS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Signs:
    """Hold the signs of life of one child."""

    role: Role
    introduced: bool
    silent_ns: int
    busy_ns: int


def why_to_kill(signs: Signs) -> str:
    """Judge a child by its signs of life; nothing: let it live."""
    bound = SILENT_NS[signs.role] if signs.introduced else START_NS
    if signs.silent_ns > bound:
        said = "said nothing" if signs.introduced else "did not introduce itself"
        return f"{said} for {signs.silent_ns / SECOND:.1f} s, the bound is {bound // SECOND} s"
    if signs.role is Role.COMPARER and signs.busy_ns > BUSY_NS:
        return f"has one pair in hand for {signs.busy_ns / SECOND:.1f} s, the bound is {BUSY_NS // SECOND} s"
    return ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """Say how one process is started."""

    words: Sequence[str]
    """The command line; the number of its end of the parent link is added behind."""
    fds: Sequence[int]
    """What it inherits besides; the numbers stay the same."""


class ChildState:
    """Hold one slot of one role: the process in it now, and what is known about it."""

    def __init__(self, role: Role, slot: int) -> None:
        self.role = role
        self.slot = slot
        self.process: subprocess.Popen[bytes] | None = None
        self.link: ChildLink | None = None
        self.hello: link.Hello | None = None
        self.beat = link.Beat()
        self.ready: link.Ready | None = None
        self.started_ns = 0
        self.heard_ns = 0
        self.quick_deaths = 0
        self.restart: asyncio.TimerHandle | None = None
        self.is_kept = True
        """Started again when it ends; not so a successor on trial, and who leaves because its successor serves."""
        self.sentence: str = ""
        """Why the supervisor killed it, for the line that reports its death."""
        self.fate: str = ""
        """How its last process ended, or why it could not be started."""

    @property
    def name(self) -> str:
        """Name it as log lines do."""
        return "control" if self.role is Role.CONTROL else f"{self.role.value} {self.slot}"

    @property
    def pid(self) -> int | None:
        """Give its process id; ``None``: nobody is in the slot now."""
        return None if self.process is None else self.process.pid

    def signs(self, now_ns: int) -> Signs:
        """Sum up its signs of life."""
        return Signs(
            role=self.role,
            introduced=self.hello is not None,
            silent_ns=now_ns - self.heard_ns,
            busy_ns=self.beat.busy_ns,
        )

    def silent_s(self, now_ns: int) -> float | None:
        """Say how long ago it spoke; ``None``: it has not introduced itself."""
        return None if self.hello is None else round((now_ns - self.heard_ns) / SECOND, 3)

    def send(self, message: link.Message) -> bool:
        """Hand a message over, and say whether there was anybody to take it."""
        return self.hello is not None and self.link is not None and self.link.send(message)

    def signal(self, number: signal.Signals) -> None:
        """Signal the process; it is not reaped yet, so the id is certainly its own."""
        if self.process is not None:
            os.kill(self.process.pid, number)

    @property
    def complaint(self) -> str:
        """Say why it does not do its work now; nothing: it does."""
        if self.ready is None:
            return f"{self.name} is down"
        return "" if self.ready.ok else f"{self.name} cannot work: {self.ready.detail}"

    def begin(self, launch: Launch, now_ns: int) -> socket.socket:
        """Start a process in this slot, and return our end of its link, not yet opened.

        Raises: OSError when the process cannot be made; the slot stays empty then.
        Cost: about 2 ms; the exec is waited for.
        """
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                self.process = subprocess.Popen(  # noqa: S603 - our own interpreter and module, no shell
                    [*launch.words, "--parent-fd", str(theirs.fileno())],
                    stdin=subprocess.DEVNULL,
                    pass_fds=(theirs.fileno(), *launch.fds),
                    env=child_environment(),
                    start_new_session=True,
                )
        except BaseException:
            ours.close()
            raise
        ours.setblocking(False)
        self.hello, self.ready, self.beat, self.sentence = None, None, link.Beat(), ""
        self.started_ns = self.heard_ns = now_ns
        return ours

    def end(self, code: int, now_ns: int) -> None:
        """Empty the slot after its process was reaped, and count an early death."""
        assert self.process is not None
        self.process.returncode = code  # we reap for everybody, so Popen must not wait for it again
        self.process = None
        if self.link is not None:
            self.link.close()
            self.link = None
        self.hello = self.ready = None
        self.beat = link.Beat()
        self.count_death(now_ns - self.started_ns)

    def count_death(self, age_ns: int) -> None:
        """Count a death at this age towards a crash loop, or forget the earlier ones."""
        self.quick_deaths = self.quick_deaths + 1 if age_ns < QUICK_NS else 1


class ChildLink(asyncio.Protocol):
    """Be the supervisor's end of one parent link.

    Bound: 1 MiB unsent, 16 MiB per received frame.
    """

    def __init__(self, hear: Callable[[link.Any], None], broken: Callable[[str], None]) -> None:
        self._hear = hear
        self._broken = broken
        self._reader = link.FrameReader(16 << 20)
        self._transport: asyncio.Transport | None = None

    def send(self, message: link.Message) -> bool:
        """Hand one message over, and say whether the link still took it."""
        transport = self._transport
        if transport is None or transport.is_closing():
            return False
        if transport.get_write_buffer_size() > MAX_UNREAD:
            transport.abort()
            return False
        transport.write(link.frame(message))
        return True

    def close(self) -> None:
        """Close our end; idempotent."""
        transport, self._transport = self._transport, None
        if transport is not None:
            transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Hand every whole message on; whoever breaks the framing is reported."""
        try:
            for message, _ in self._reader.feed(data):
                if self._transport is None:
                    return
                self._hear(message)
        except link.LinkError as error:
            self._broken(str(error))

    def connection_lost(self, error: Exception | None) -> None:
        """Forget the transport; the process's end is what counts."""
        self._transport = None
