"""``matapalo rollback --local`` against the supervisor's real socket and holds file, with everything else dead."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from config.spec import BackendSpec
from proxy.holds import HoldsKeeper
from proxy.localsocket import LocalServer
from rules.flag import Flag, Stage
from rules.snapshot import SnapshotSpec, encode
from shadow import link
from tests.console.commands.conftest import Cli
from tests.rules.made import config, flag, route
from tests.support.loopthread import LoopThread


async def no_restart(asked: link.RestartWorkers) -> AsyncIterator[link.RestartStep]:
    """Refuse: there are no workers here."""
    yield link.RestartStep(request=asked.request, done=True, reason="no workers")


class Supervisor:
    """Hold the part of a supervisor that answers ``rollback --local``; no worker is there to acknowledge."""

    def __init__(self, home: Path, routes: dict[str, bool]) -> None:
        self.home = home
        self._loop = LoopThread("supervisor")
        self._loop.call(self._open(routes))

    async def _open(self, routes: dict[str, bool]) -> None:
        keeper = HoldsKeeper(str(self.home / "holds"), routes=lambda: routes, tell=lambda _: {})
        self._task = asyncio.create_task(keeper.run())
        self._server = LocalServer(keeper.change, no_restart)
        await self._server.open(str(self.home / "supervisor.sock"))

    def held(self) -> dict[str, dict[str, object]]:
        """Read the fsynced file, as the next start would."""
        file = self.home / "holds"
        return {one["route"]: one for one in json.loads(file.read_bytes())["holds"]} if file.exists() else {}

    def close(self) -> None:
        """Stop answering."""
        self._loop.close(self._server.close)


@pytest.fixture
def supervisor(tmp_path: Path) -> Iterator[Supervisor]:
    """Run with three routes; ``fresh`` has no legacy side."""
    home = tmp_path / "s"
    home.mkdir()
    one = Supervisor(home, {"orders": True, "carts": True, "fresh": False})
    yield one
    one.close()


def lay_snapshot(home: Path, flags: dict[str, Flag] | None = None, legacy_port: int = 1) -> None:
    """Put a snapshot at rest, as control would have left it."""
    backends = tuple(
        BackendSpec(name=name, scheme="http", host="127.0.0.1", port=legacy_port) for name in ("legacy-app", "new-app")
    )
    spec = config(
        route("orders", journey="checkout"),
        route("carts", new="other"),
        route("fresh", legacy=None, initial_stage="live"),
        backends=(*backends, BackendSpec(name="other", scheme="http", host="127.0.0.1", port=2)),
    )
    (home / "snapshot").write_bytes(encode(SnapshotSpec(revision=3, config=spec, flags=flags or {})))


def test_one_route_is_held_and_on_disk(cli: Cli, supervisor: Supervisor) -> None:
    """The hold is fsynced with reason, actor and moment before the command says so; no snapshot is needed."""
    printed = cli("rollback", "orders", "--local", "--state-dir", str(supervisor.home), "--reason", "3 am")

    assert printed.code == 0
    assert "Held on legacy: orders." in printed.out
    assert set(supervisor.held()) == {"orders"}
    assert supervisor.held()["orders"]["reason"] == "3 am"
    assert supervisor.held()["orders"]["actor"]
    assert supervisor.held()["orders"]["keep_copying"] is False


def test_all_routes_are_held_by_the_supervisors_own_list(cli: Cli, supervisor: Supervisor) -> None:
    """--all holds every route that has a legacy side, --to shadow keeps the copies."""
    words = ("rollback", "--all", "--local", "--state-dir", str(supervisor.home), "--to", "shadow", "--json")

    printed = cli(*words)

    assert printed.json["routes"] == ["orders", "carts"]
    assert set(supervisor.held()) == {"orders", "carts"}
    assert all(one["keep_copying"] for one in supervisor.held().values())


def test_the_configuration_names_the_state_dir(cli: Cli, supervisor: Supervisor, tmp_path: Path) -> None:
    """Without --state-dir the usual configuration file says where the state is."""
    (tmp_path / "matapalo.yaml").write_text(
        'state_dir: ./s\nbackends: {a: {url: "http://127.0.0.1:1"}}\nundeclared: {backend: a}\nroutes: []\n'
    )

    assert cli("rollback", "--all", "--local").code == 0
    assert supervisor.held()


@pytest.mark.parametrize(
    ("words", "held"),
    [(["--journey", "checkout"], {"orders"}), (["--backend", "other"], {"carts"})],
)
def test_journeys_and_backends_come_from_the_snapshot_at_rest(
    cli: Cli, supervisor: Supervisor, words: list[str], held: set[str]
) -> None:
    """A journey or a backend means the routes that the server serves now."""
    lay_snapshot(supervisor.home)

    assert cli("rollback", *words, "--local", "--state-dir", str(supervisor.home)).code == 0
    assert set(supervisor.held()) == held


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["nosuch"], "there is no route 'nosuch'; the routes are: orders, carts, fresh"),
        (["--journey", "nosuch"], "no route belongs to journey 'nosuch'"),
        (["fresh"], "has no legacy side"),
    ],
)
def test_a_target_that_is_none_is_refused(cli: Cli, supervisor: Supervisor, words: list[str], part: str) -> None:
    """An unknown name is exit code 1 with the known ones; nothing is held."""
    lay_snapshot(supervisor.home)

    printed = cli("rollback", *words, "--local", "--state-dir", str(supervisor.home))

    assert printed.code == 1
    assert part in printed.err
    assert supervisor.held() == {}


def test_without_a_snapshot_the_supervisor_knows_the_routes(cli: Cli, supervisor: Supervisor) -> None:
    """An unreadable snapshot stops nothing but --journey and --backend, and says which targets work."""
    (supervisor.home / "snapshot").write_bytes(b"torn")
    place = ("--local", "--state-dir", str(supervisor.home))

    unknown, journey, route_ = (
        cli("rollback", "nosuch", *place),
        cli("rollback", "--journey", "checkout", *place),
        cli("rollback", "orders", *place),
    )

    assert (unknown.code, journey.code, route_.code) == (1, 1, 0)
    assert "nosuch" in unknown.err
    assert "use --all" in journey.err


def test_a_legacy_that_may_be_off_is_asked_first(cli: Cli, supervisor: Supervisor) -> None:
    """A complete route whose legacy does not accept a connection is refused, and goes back with --anyway."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        lay_snapshot(supervisor.home, {"orders": flag(Stage.COMPLETE)}, taken.getsockname()[1])
        words = ("rollback", "orders", "--local", "--state-dir", str(supervisor.home))

        refused, forced = cli(*words), cli(*words, "--anyway")

    assert refused.code == 1
    assert "legacy-app at 127.0.0.1" in refused.err
    assert "--anyway" in refused.err
    assert forced.code == 0


def test_no_supervisor_is_exit_code_3(cli: Cli, tmp_path: Path) -> None:
    """Where nobody listens the sentence names the socket and what to check."""
    printed = cli("rollback", "--all", "--local", "--state-dir", str(tmp_path))

    assert printed.code == 3
    assert os.path.join(tmp_path, "supervisor.sock") in printed.err
    assert "--state-dir" in printed.err


def test_a_supervisor_that_hangs_up_is_exit_code_3(cli: Cli, tmp_path: Path) -> None:
    """Somebody else's socket, or one of another version, is a sentence and never a hang."""
    home = tmp_path / "h"
    home.mkdir()

    async def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    loop = LoopThread("stranger")
    server = loop.call(asyncio.start_unix_server(hang_up, str(home / "supervisor.sock")))
    try:
        printed = cli("rollback", "--all", "--local", "--state-dir", str(home))
    finally:

        async def stop() -> None:
            server.close()

        with contextlib.suppress(TimeoutError):
            loop.close(stop)

    assert printed.code == 3


def test_no_configuration_asks_for_the_state_dir(cli: Cli) -> None:
    """Without a usable file the sentence says which option names the place."""
    printed = cli("rollback", "--all", "--local")

    assert printed.code == 1
    assert "--state-dir" in printed.err
