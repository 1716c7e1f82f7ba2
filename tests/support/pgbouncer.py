"""A real PgBouncer in front of the tests' PostgreSQL.

::

    with PgBouncer(part_path("pgbouncer"), server, "transaction") as pooler:
        url = server.url(database, port=pooler.port)
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Final

from tests.support.ports import free_port
from tests.support.postgres import PASSWORD, PostgresServer, unprivileged

START_S: Final = 60.0

_SETTINGS: Final = """[databases]
* = host=127.0.0.1 port={server}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = scram-sha-256
auth_file = {directory}/users
pool_mode = {mode}
"""


class PgBouncer:
    """Run one pooler from a directory that is deleted at the end."""

    def __init__(self, program: Path, server: PostgresServer, mode: str) -> None:
        self._program, self._server, self._mode = program, server, mode
        self.port = free_port()
        self._directory = Path(tempfile.mkdtemp(prefix="matapalo-pgbouncer-"))
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> PgBouncer:
        """Start it, and wait until it listens."""
        self._directory.chmod(0o755)
        (self._directory / "users").write_text(f'"matapalo" "{PASSWORD}"\n')
        settings = self._directory / "settings"
        settings.write_text(
            _SETTINGS.format(server=self._server.port, port=self.port, directory=self._directory, mode=self._mode)
        )
        user, group = unprivileged() if os.geteuid() == 0 else (None, None)
        words = [str(self._program), "-q", str(settings)]
        self._process = subprocess.Popen(words, stderr=subprocess.DEVNULL, user=user, group=group)
        deadline = time.monotonic() + START_S
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return self
            except OSError:
                assert self._process.poll() is None, "PgBouncer ended at its start"
                assert time.monotonic() < deadline, "PgBouncer does not listen"
                time.sleep(0.02)

    def __exit__(self, *_: object) -> None:
        """End it."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        shutil.rmtree(self._directory, ignore_errors=True)
