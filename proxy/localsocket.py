"""Take ``rollback --local`` and ``restart --local`` on ``state_dir/supervisor.sock``: it needs nothing else alive."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final

from shadow import link

MAX_FRAME: Final = 1 << 20
"""A change that names every route of a large configuration has a few hundred KiB."""

IDLE_S: Final = 30.0
MAX_CONNECTIONS: Final = 32


class LocalServer:
    """Answer each ChangeHolds with a HoldsChanged, in order, and RestartWorkers with RestartSteps until one is done.

    Shape: whoever speaks another protocol, or breaks the framing, is hung up on.
    Bound: 32 connections, 1 MiB per frame, 30 s of silence.
    """

    def __init__(
        self,
        change: Callable[[link.ChangeHolds], Awaitable[link.HoldsChanged]],
        restart: Callable[[link.RestartWorkers], AsyncIterator[link.RestartStep]],
    ) -> None:
        self._change = change
        self._restart = restart
        self._open = 0
        self._server: asyncio.Server | None = None
        self._path = ""

    async def open(self, path: str) -> None:
        """Listen on *path*, which only this user may open; a leftover of a killed supervisor is replaced."""
        self._path = path
        _unlink(path)
        former = os.umask(0o177)  # between bind and chmod the socket would be open to others
        try:
            self._server = await asyncio.start_unix_server(self._serve, path)
        finally:
            os.umask(former)

    async def close(self) -> None:
        """Stop answering, and take the socket away."""
        if self._server is not None:
            self._server.close()
            self._server = None
            _unlink(self._path)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open += 1
        try:
            if self._open <= MAX_CONNECTIONS:
                await self._answer(reader, writer)
        except (OSError, TimeoutError, link.LinkError):
            pass  # the caller sees a closed socket, and says so itself
        finally:
            self._open -= 1
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        frames = link.FrameReader(MAX_FRAME)
        while data := await asyncio.wait_for(reader.read(65_536), IDLE_S):
            for message, _ in frames.feed(data):
                match message:
                    case link.Hello(protocol=link.PROTOCOL):
                        continue
                    case link.ChangeHolds():
                        writer.write(link.frame(await self._change(message)))
                        await asyncio.wait_for(writer.drain(), IDLE_S)
                    case link.RestartWorkers():
                        async for step in self._restart(message):
                            writer.write(link.frame(step))
                            await asyncio.wait_for(writer.drain(), IDLE_S)
                    case _:
                        return


def _unlink(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        return
