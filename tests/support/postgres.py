"""A real PostgreSQL for tests: a server of its own per session, a database of its own per test.

::

    with PostgresServer(bin_dir) as server:
        url = server.database()              # an empty database, in 50 ms
        server.kill()                        # as kill -9 of the machine's server would
        server.start()                       # the same address, the same data

The server runs as an unprivileged user (PostgreSQL refuses root), listens on loopback and on a Unix socket, and ends
with the process that started it, however that one ends. Its disk is not asked to be durable: tests kill processes,
not machines.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Final

import psycopg

from tests.support.ports import free_port

START_S: Final = 60.0
"""A server that recovers after ``kill -9``, on a machine that does something else, too."""

PASSWORD: Final = "s3cret-of-the-tests"
"""Of every user: a test that finds it anywhere else has found a leak."""

SETTINGS: Final = {
    "fsync": "off",
    "full_page_writes": "off",
    "shared_buffers": "16MB",
    "max_connections": "100",
    "max_wal_size": "256MB",
    "autovacuum": "off",
    "listen_addresses": "127.0.0.1",
    "logging_collector": "off",
    "timezone": "UTC",
}

# The server is no child of ours to be forgotten: it ends when its shell reads the end of our pipe.
_GUARD: Final = '"$@" >"$LOG" 2>&1 </dev/null & server=$!; read -r _; kill -INT $server 2>/dev/null; wait $server'


class PostgresServer:
    """Run one PostgreSQL from a directory that is deleted at the end."""

    def __init__(self, bin_dir: Path, **settings: str) -> None:
        self.bin_dir = bin_dir
        self.directory = Path(tempfile.mkdtemp(prefix="matapalo-pg-"))
        self.data = self.directory / "data"
        self.log = self.directory / "log"
        self.port = free_port()
        self._settings = SETTINGS | settings
        self._guard: subprocess.Popen[bytes] | None = None
        self._numbers = itertools.count()
        self._user: int | None = None
        self._group: int | None = None
        if os.getuid() == 0:
            self._user, self._group = unprivileged()
        try:
            self._make()
            self.start()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> PostgresServer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def url(self, database: str = "postgres", *, user: str = "matapalo", port: int | None = None) -> str:
        """Give the URL of a database; *port*: that of a proxy in front of the server."""
        return f"postgresql://{user}:{PASSWORD}@127.0.0.1:{port or self.port}/{database}"

    def database(self, template: str = "template0") -> str:
        """Make a database and give its name; *template*: the name of one that nobody is connected to."""
        name = f"test_{next(self._numbers)}"
        self.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        return name

    def execute(self, statement: str, database: str = "postgres") -> list[tuple[object, ...]]:
        """Run one statement as the owner of the server, and give its rows."""
        with psycopg.connect(self.url(database), autocommit=True, connect_timeout=10) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def start(self) -> None:
        """Start the server and wait until it answers."""
        settings = self._settings | {"port": str(self.port), "unix_socket_directories": str(self.directory)}
        words = [str(self.bin_dir / "postgres"), "-D", str(self.data)]
        words += [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        self._guard = subprocess.Popen(
            ["/bin/sh", "-c", _GUARD, "guard", *words],
            stdin=subprocess.PIPE,
            env={"LOG": str(self.log), "PATH": os.environ.get("PATH", ""), "LC_ALL": "C"},
            cwd=self.directory,
            start_new_session=True,
            user=self._user,
            group=self._group,
        )
        deadline = time.monotonic() + START_S
        while True:
            try:
                psycopg.connect(self.url(), connect_timeout=5).close()
                return
            except psycopg.OperationalError as error:
                if self._guard.poll() is not None or time.monotonic() > deadline:
                    said = self.log.read_text(errors="replace")[-2_000:] if self.log.exists() else ""
                    raise AssertionError(f"PostgreSQL did not start: {error}\n{said}") from error
            time.sleep(0.02)

    def kill(self) -> None:
        """Kill the server and everything it started, at once and without a word."""
        assert self._guard is not None
        server = int((self.data / "postmaster.pid").read_text().split()[0])
        os.kill(server, signal.SIGSTOP)  # from here on it starts nobody
        # Its children lead sessions of their own, and would finish what they are at before they miss it.
        children = Path(f"/proc/{server}/task/{server}/children").read_text().split()
        killed = (server, *map(int, children), self._guard.pid)
        for pid in killed:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        # On busy cores the last one may take its time to go, and the next server refuses its shared memory until then.
        deadline = time.monotonic() + START_S
        while any(map(_lives, killed)) and time.monotonic() < deadline:
            time.sleep(0.005)
        # Until somebody reaps it, the next server would take the dead one for living.
        for left in (self.data / "postmaster.pid", *self.directory.glob(".s.PGSQL.*")):
            left.unlink()
        self._end()

    def stop(self) -> None:
        """Shut the server down in order; every connection is closed."""
        if self._guard is not None:
            assert self._guard.stdin is not None
            self._guard.stdin.close()
            try:
                self._guard.wait(START_S)
            except subprocess.TimeoutExpired:
                os.killpg(self._guard.pid, signal.SIGKILL)
            self._end()

    def close(self) -> None:
        """Stop the server and delete its directory."""
        self.stop()
        shutil.rmtree(self.directory, ignore_errors=True)

    def _end(self) -> None:
        assert self._guard is not None
        assert self._guard.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._guard.stdin.close()
        self._guard.wait(START_S)
        self._guard = None

    def _make(self) -> None:
        if self._user is not None:
            os.chown(self.directory, self._user, -1)
        password = self.directory / "password"
        password.write_text(PASSWORD)
        password.chmod(0o644)  # read by the server's user; it protects nothing
        words = [str(self.bin_dir / "initdb"), "-D", str(self.data), "-U", "matapalo", "-A", "scram-sha-256"]
        words += ["--no-sync", "--locale=C.UTF-8", "--encoding=UTF8", f"--pwfile={password}"]
        made = subprocess.run(
            words, cwd=self.directory, capture_output=True, text=True, check=False, user=self._user, group=self._group
        )
        assert made.returncode == 0, f"initdb failed: {made.stderr}"


def _lives(pid: int) -> bool:
    """Tell whether a process still has anything; a dead one that nobody has reaped has nothing."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def unprivileged() -> tuple[int, int]:
    """Choose whom PostgreSQL runs as, because it refuses root."""
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            found = pwd.getpwnam(name)
            return found.pw_uid, found.pw_gid
    raise AssertionError("neither a user postgres nor nobody: PostgreSQL does not run as root")
