"""uvicorn in control's own loop, on a socket that we bind: an address that is taken is a sentence, not an exit."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Iterator
from typing import Final

import uvicorn
from starlette.types import ASGIApp

from config.spec import AddressSpec
from console.journal import Journal

BACKLOG: Final = 256
MAX_CONNECTIONS: Final = 256
"""People, scripts and one scraper; beyond it uvicorn answers 503."""

KEEP_ALIVE_S: Final = 75
STOP_S: Final = 2


class _Server(uvicorn.Server):
    """Leave the process's signals to control."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Take none."""
        yield


class Admin:
    """Serve the admin API on one socket.

    Runs: on control's loop.
    """

    def __init__(self, app: ASGIApp, journal: Journal) -> None:
        self._app, self._journal = app, journal
        self._server: _Server | None = None
        self._task: asyncio.Task[None] | None = None

    def open(self, address: AddressSpec) -> str:
        """Listen and serve; returns the address as ``host:port``.

        Raises: OSError when the address cannot be had.
        """
        family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
        listener = socket.socket(family, socket.SOCK_STREAM)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((address.host, address.port))
            listener.listen(BACKLOG)
            listener.setblocking(False)
        except BaseException:
            listener.close()
            raise
        _speak_through(self._journal)
        config = uvicorn.Config(
            self._app,
            http="h11",
            ws="none",
            loop="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            limit_concurrency=MAX_CONNECTIONS,
            timeout_keep_alive=KEEP_ALIVE_S,
            timeout_graceful_shutdown=STOP_S,
        )
        self._server = _Server(config)
        self._task = asyncio.get_running_loop().create_task(self._server.serve(sockets=[listener]), name="admin")
        host, port = listener.getsockname()[:2]
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    async def close(self) -> None:
        """Stop within two seconds."""
        if self._server is None or self._task is None:
            return
        self._server.should_exit = True
        try:
            async with asyncio.timeout(2 * STOP_S):
                await self._task
        except TimeoutError:
            self._server.force_exit = True
            self._task.cancel()


class _JournalHandler(logging.Handler):
    """Write what uvicorn warns of into the journal."""

    def __init__(self, journal: Journal) -> None:
        super().__init__(logging.WARNING)
        self._journal = journal

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record."""
        self._journal.say("admin." + record.levelname.lower(), record.getMessage())


def _speak_through(journal: Journal) -> None:
    logger = logging.getLogger("uvicorn.error")
    logger.handlers = [_JournalHandler(journal)]
    logger.propagate = False
    logger.setLevel(logging.WARNING)
