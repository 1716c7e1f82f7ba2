"""A child process that speaks the supervisor's protocol and misbehaves on request.

The worker's part is a tiny HTTP server on the inherited sockets. What it does is in the request's path:

=========  ====================================================================
``/``      answers ``{"slot", "pid", "held", "lame_duck"}``
``/slow``  announces itself with a 103 head, answers once ``state_dir/go`` exists
``/exit``  dies with exit code 3 without an answer
``/orphan``  answers, and leaves an orphan behind that ends with ``state_dir/stay``
=========  ====================================================================

A file ``state_dir/crash-<role>-<slot>`` makes that child die at start, ``lie-…`` introduces it as somebody else.
Every child writes what it was told to ``state_dir/told-<role>-<slot>``, one name per line, once it obeys.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Final

from shadow import link
from shadow.parent import ParentLink

HOLDS_S: Final = 30.0
"""How long a worker waits to be told of the holds; a supervisor tells nothing to a child that lies about itself, and
kills it."""

ORPHAN: Final = """
import os, sys, time
if not os.fork():
    while os.path.exists(sys.argv[1]):
        time.sleep(0.01)
"""
"""A process whose child outlives it."""


class FakeChild:
    """Be one child of any role."""

    def __init__(self, flags: argparse.Namespace) -> None:
        self.flags = flags
        self.role: str = flags.role.removeprefix("_")
        self.state_dir = Path(flags.state_dir)
        self.held: list[str] = []
        self.lame_duck = False
        self.end = asyncio.Event()
        self.holds_known = asyncio.Event()
        self.busy: set[asyncio.Task[None]] = set()
        lies = (self.state_dir / f"lie-{self.role}-{flags.slot}").exists()
        self.listening: list[socket.socket] = []
        self.parent = ParentLink(
            flags.parent_fd,
            "stranger" if lies else self.role,
            flags.slot,
            f"{self.role}{os.getpid()}",
            self.hear,
            self.end.set,
            beat_state=lambda: link.Beat(accepting=self.role == "worker" and bool(self.listening), revision=0),
        )

    def hear(self, message: link.Any) -> None:
        """Obey what the supervisor says, and note it."""
        self.obey(message)
        with (self.state_dir / f"told-{self.role}-{self.flags.slot}").open("a") as file:
            file.write(type(message).__name__ + "\n")

    def obey(self, message: link.Any) -> None:
        """Do at once what one message asks for."""
        match message:
            case link.Holds(revision=revision, holds=holds):
                self.held = sorted(item.route for item in holds)
                self.holds_known.set()
                if self.role == "worker":
                    self.parent.send(link.HoldsAck(revision=revision))
            case link.LameDuck():
                self.lame_duck = True
            case link.Drain():
                self.stop_accepting()
                self.end.set()
            case _:
                return

    async def live(self) -> int:
        """Serve until told to drain, or until the supervisor is gone."""
        await self.parent.open()
        if self.role == "worker":  # as a real one: no request is answered without the holds
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.holds_known.wait(), HOLDS_S)
        for fd in self.flags.listen_fd or ():
            one = socket.socket(fileno=fd)
            one.setblocking(False)
            self.listening.append(one)
            asyncio.get_running_loop().add_reader(one, self.accept, one)
        self.parent.ready(ok=True, detail="127.0.0.1:1" if self.role == "control" else "")
        await self.end.wait()
        self.stop_accepting()
        await asyncio.gather(*self.busy)
        self.parent.close()
        await asyncio.sleep(0)
        return 0

    def stop_accepting(self) -> None:
        """Leave whoever connects from now on to others in the slot; idempotent."""
        while self.listening:
            one = self.listening.pop()
            asyncio.get_running_loop().remove_reader(one)
            one.close()

    def accept(self, listening: socket.socket) -> None:
        """Take a connection; at once, because asyncio's server loses those that it has taken when it is closed."""
        with contextlib.suppress(BlockingIOError):  # somebody else in the slot was first
            task = asyncio.create_task(self.serve(listening.accept()[0]))
            self.busy.add(task)
            task.add_done_callback(self.busy.discard)

    async def serve(self, connection: socket.socket) -> None:
        """Answer one request per connection."""
        reader, writer = await asyncio.open_connection(sock=connection)
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            await self.answer(head.split(b" ")[1].decode(), writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def answer(self, path: str, writer: asyncio.StreamWriter) -> None:
        """Do what the path says."""
        if path == "/exit":
            os._exit(3)
        if path == "/orphan":
            # The middle process ends first, so the grandchild is left to whoever reaps for us.
            subprocess.run(  # noqa: ASYNC221 - a fake may block
                [sys.executable, "-c", ORPHAN, str(self.state_dir / "stay")], check=True
            )
        if path == "/slow":
            writer.write(b"HTTP/1.1 103 Early Hints\r\n\r\n")
            while not (self.state_dir / "go").exists():  # noqa: ASYNC110 - a fake may poll
                await asyncio.sleep(0.01)
        body = json.dumps(
            {"slot": self.flags.slot, "pid": os.getpid(), "held": self.held, "lame_duck": self.lame_duck}
        ).encode()
        writer.write(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body))
        await writer.drain()


def main() -> int:
    """Read the supervisor's arguments and live."""
    parser = argparse.ArgumentParser()
    parser.add_argument("role")
    parser.add_argument("--state-dir", required=True)
    parser.add_argument("--parent-fd", type=int, required=True)
    parser.add_argument("--slot", type=int, default=0)
    parser.add_argument("--listen-fd", type=int, action="append")
    parser.add_argument("--config")
    parser.add_argument("--node")
    flags = parser.parse_args()
    if os.path.exists(os.path.join(flags.state_dir, f"crash-{flags.role.removeprefix('_')}-{flags.slot}")):
        return 7

    async def live() -> int:
        return await FakeChild(flags).live()

    return asyncio.run(live())


if __name__ == "__main__":
    sys.exit(main())
