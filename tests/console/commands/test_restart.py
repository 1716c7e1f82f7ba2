"""``matapalo restart --local`` as an operator sees it; what it does to processes: tests/proxy/test_rotation.py."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from proxy.localsocket import LocalServer
from shadow import link
from tests.console.commands.conftest import Cli
from tests.support.loopthread import LoopThread


class Supervisor:
    """Hold the part of a supervisor that answers ``restart --local``: two workers, the second may fail."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.reason = ""
        self._loop = LoopThread("supervisor")
        self._server = LocalServer(self._change, self._restart)
        self._loop.call(self._server.open(str(home / "supervisor.sock")))

    async def _change(self, change: link.ChangeHolds) -> link.HoldsChanged:
        return link.HoldsChanged(request=change.request, ok=False, reason="not asked here")

    async def _restart(self, asked: link.RestartWorkers) -> AsyncIterator[link.RestartStep]:
        yield link.RestartStep(request=asked.request, slot=0, former=11, within_s=5)
        yield link.RestartStep(request=asked.request, slot=0, former=11, pid=12, within_s=5)
        if not self.reason:
            yield link.RestartStep(request=asked.request, slot=1, former=0, pid=22, within_s=5)
        yield link.RestartStep(request=asked.request, done=True, reason=self.reason)

    def close(self) -> None:
        """Stop answering."""
        self._loop.close(self._server.close)


@pytest.fixture
def supervisor(tmp_path: Path) -> Iterator[Supervisor]:
    """Run one."""
    one = Supervisor(tmp_path)
    yield one
    one.close()


def test_each_step_is_told_as_it_happens(cli: Cli, supervisor: Supervisor) -> None:
    """The command names who was replaced by whom, slot by slot, and ends with 0 when all were."""
    printed = cli("restart", "--local", "--state-dir", str(supervisor.home))

    assert printed.code == 0
    assert printed.out.splitlines() == [
        "Worker 0: 12 serves; 11 finishes and ends.",
        "Worker 1: 22 serves; nobody finishes and ends.",
        "Every worker was replaced (2).",
    ]
    assert "Worker 0: starting a successor of 11." in printed.err


def test_a_restart_that_stops_half_way_says_why(cli: Cli, supervisor: Supervisor) -> None:
    """When a successor fails the command says so and ends with 1, also in JSON."""
    supervisor.reason = "the new worker 1 (22) ended with exit code 1; the former one stays"

    printed = cli("restart", "--local", "--state-dir", str(supervisor.home))
    in_json = cli("restart", "--local", "--state-dir", str(supervisor.home), "--json")

    assert printed.code == in_json.code == 1
    assert supervisor.reason in printed.err
    assert json.loads(in_json.out) == {
        "restarted": False,
        "workers": [{"slot": 0, "pid": 12, "former": 11}],
        "reason": supervisor.reason,
    }


def test_without_local_it_is_a_usage_error(cli: Cli) -> None:
    """There is no restart through the admin API, and the command says what to add."""
    printed = cli("restart")

    assert printed.code == 2
    assert "add --local" in printed.err
