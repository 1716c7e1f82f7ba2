"""A proxy as one writes it in an evening, wrong in the usual ways; the corpus must find it out.

It takes a lone LF for a line end, trims what ``str.strip`` trims, trusts ``int``, lets the last framing field win,
does not look at Host, method or target, passes heads and bodies on as they came, and believes every answer.
"""

from __future__ import annotations

import asyncio
import contextlib
import re

from tests.support.loopthread import LoopThread


async def _read_message(reader: asyncio.StreamReader) -> bytes | None:
    """Read a head and whatever body its fields seem to announce; ``None`` at the end."""
    lines = []
    while (line := await reader.readline()).strip():
        lines.append(line)
    if not lines:
        return None
    message = b"".join(lines) + line
    fields = dict(re.findall(r"(?mi)^\s*([\w-]+)\s*:\s*(.*?)\s*$", b"".join(lines).decode("latin-1").lower()))
    if "chunked" in fields.get("transfer-encoding", ""):
        size = 1
        while size:
            line = await reader.readline()
            size = abs(int(line.split(b";")[0].strip() or b"0", 16))
            message += line + await reader.readexactly(size)
            message += await reader.readline()
        return message
    return message + await reader.readexactly(abs(int(float(fields.get("content-length", "0") or 0))))


class NaiveProxy:
    """Serve on a loopback port until closed; forward everything to one backend over connections kept for ever."""

    def __init__(self, backend: tuple[str, int]) -> None:
        self._backend = backend
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
        self._serving: dict[asyncio.Task[None] | None, asyncio.StreamWriter] = {}
        self._loop = LoopThread("naive proxy")
        self._server = self._loop.call(self._listen())
        self.address: tuple[str, int] = self._server.sockets[0].getsockname()

    async def _listen(self) -> asyncio.Server:
        return await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=1 << 22, backlog=1_024)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        self._serving[task] = writer
        # ValueError: even int() has its limits; the connection just ends, as it does in an evening's work.
        with contextlib.suppress(OSError, ValueError, OverflowError, asyncio.IncompleteReadError):
            while (request := await _read_message(reader)) is not None:
                answer = await self._ask(request)
                if answer is None:
                    break
                writer.write(answer)
        writer.close()
        del self._serving[task]

    async def _ask(self, request: bytes) -> bytes | None:
        while self._idle and self._idle[-1][0].at_eof():
            self._idle.pop()[1].close()
        reader, writer = (
            self._idle.pop() if self._idle else await asyncio.open_connection(*self._backend, limit=1 << 22)
        )
        try:
            writer.write(request)
            answer = await _read_message(reader)
        except BaseException:
            writer.close()
            raise
        if answer is None or reader.at_eof():
            writer.close()
        else:
            self._idle.append((reader, writer))
        return answer

    async def _stop(self) -> None:
        self._server.close()
        for writer in (*self._serving.values(), *(writer for _, writer in self._idle)):
            writer.transport.abort()
        serving = [task for task in self._serving if task is not None]
        if serving:
            await asyncio.wait(serving, timeout=1.0)

    def close(self) -> None:
        """Stop listening and end every connection."""
        self._loop.close(self._stop)

    def __enter__(self) -> NaiveProxy:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
