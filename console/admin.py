"""uvicorn in control's own loop, on a socket that we bind: an address that is taken is a sentence, not an exit."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any, Final

import uvicorn
from starlette.types import ASGIApp

from config.spec import AddressSpec, TlsSpec
from config.tls import Identity, TlsError, identity, stamps
from console.connection import MAX_CONNECTIONS, Connection
from console.greeting import Greeting
from console.journal import Journal

BACKLOG: Final = 256
KEEP_ALIVE_S: Final = 75
STOP_S: Final = 2
QUIET_S: Final = 10.0
"""Between two lines about the same."""

RENEW_S: Final = 1.0
"""Between two looks at the certificate's files."""


class _Server(uvicorn.Server):
    """Leave the process's signals to control."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Take none."""
        yield


class Admin:
    """Serve the admin API on one socket.

    Shape: *complaints* holds under ``admin_certificate`` why a replaced certificate is not in use.
    Runs: on control's loop.
    """

    def __init__(self, app: ASGIApp, journal: Journal, *, complaints: dict[str, str], refusals: Counter[str]) -> None:
        self._app, self._journal = app, journal
        self._complaints, self._refusals = complaints, refusals
        self._server: _Server | None = None
        self._task: asyncio.Task[None] | None = None
        self._identity: Identity | None = None
        self._greetings: dict[Greeting, None] = {}

    def open(self, address: AddressSpec) -> str:
        """Listen and serve; returns the address as ``host:port``.

        Raises: OSError when the address cannot be had, TlsError when its certificate cannot be used.
        """
        self._identity = identity(address.tls) if address.tls is not None else None
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
            http=self._answer,  # type: ignore[arg-type]  # called like the class
            ws="none",
            loop="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            limit_concurrency=MAX_CONNECTIONS + 1,
            timeout_keep_alive=KEEP_ALIVE_S,
            timeout_graceful_shutdown=STOP_S,
        )
        config.load()
        self._server = _Server(config)
        self._task = asyncio.get_running_loop().create_task(self._server.serve(sockets=[listener]), name="admin")
        host, port = listener.getsockname()[:2]
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    def _answer(self, **given: Any) -> asyncio.Protocol:  # Any: uvicorn's own
        """Receive one connection; uvicorn itself would give a handshake a minute."""
        connection = Connection(self._refusals, **given)
        if self._identity is None:
            return connection
        return Greeting(connection, self._identity.context, self._greetings, self._refusals)

    async def renew(self, pair: TlsSpec) -> None:
        """Use the certificate again whenever its files are replaced; what cannot be used is said, the former stays.

        Runs: as one task, until cancelled.
        """
        seen = await asyncio.to_thread(stamps, pair)
        while True:
            await asyncio.sleep(RENEW_S)
            if (now := await asyncio.to_thread(stamps, pair)) == seen:
                continue
            seen = now
            try:
                self._identity = await asyncio.to_thread(identity, pair)
            except TlsError as error:
                self._complaints["admin_certificate"] = f"the admin API shows its former certificate: {error}"
                self._journal.say("admin.certificate_refused", str(error))
            else:
                self._complaints.pop("admin_certificate", None)
                self._journal.say("admin.certificate_taken", "the admin API shows its new certificate")

    async def close(self) -> None:
        """Stop within two seconds."""
        if self._server is None or self._task is None:
            return
        self._server.should_exit = True
        for greeting in list(self._greetings):
            greeting.end()
        try:
            async with asyncio.timeout(2 * STOP_S):
                await self._task
        except TimeoutError:
            self._server.force_exit = True
            self._task.cancel()


class _JournalHandler(logging.Handler):
    """Write what uvicorn warns of into the journal: nobody who sends it garbage fills a disk.

    Bound: each of uvicorn's messages once in :data:`QUIET_S`, with the number of those that were left out.
    """

    def __init__(self, journal: Journal) -> None:
        super().__init__(logging.WARNING)
        self._journal = journal
        self._said: dict[str, tuple[float, int]] = {}

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record, or count it."""
        now, kind = time.monotonic(), str(record.msg)
        at, more = self._said.get(kind, (-QUIET_S, 0))
        if now - at < QUIET_S:
            self._said[kind] = at, more + 1
            return
        self._said[kind] = now, 0
        text = record.getMessage().strip() + (f" ({more} more since the last line)" if more else "")
        self._journal.say("admin." + record.levelname.lower(), text)


def _speak_through(journal: Journal) -> None:
    logger = logging.getLogger("uvicorn.error")
    logger.handlers = [_JournalHandler(journal)]
    logger.propagate = False
    logger.setLevel(logging.WARNING)
