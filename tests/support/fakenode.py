"""Run a real supervisor over fake children: what it does to processes, without what they do."""

from __future__ import annotations

import contextlib
import json
import socket
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx2
import msgspec

from config.spec import AddressSpec, AdminSpec, BackendSpec, ConfigSpec, LimitsSpec, MatchSpec, RouteSpec
from shadow import link
from tests.support.product import PLAIN, Node

SERVE = Path(__file__).with_name("fakeserve.py")
ANY_PORT = AddressSpec(host="127.0.0.1", port=0)


def spec_for(state_dir: str, **changes: Any) -> ConfigSpec:  # Any: fields of ConfigSpec
    """Make a small valid configuration: route ``orders`` with a legacy side, route ``wishes`` without."""
    backend = BackendSpec(name="shop", scheme="http", host="127.0.0.1", port=9)
    fields: dict[str, Any] = {
        "listen": (ANY_PORT,),
        "admin": AdminSpec(listen=ANY_PORT),
        "health": ANY_PORT,
        "state_dir": state_dir,
        "database": "sqlite",
        "flags": "database",
        "workers": 2,
        "comparers": 1,
        "watch": False,
        "trusted_proxies": (),
        "backends": (backend,),
        "routes": (
            RouteSpec(name="orders", match=(MatchSpec(path="/orders"),), legacy="shop", new="shop", sticky=("ip",)),
            RouteSpec(
                name="wishes",
                match=(MatchSpec(path="/wishes"),),
                legacy=None,
                new="shop",
                sticky=("ip",),
                initial_stage="live",
            ),
        ),
        "undeclared": None,
        "override": None,
        "strict": "refuse",
        "access_log": False,
        "limits": LimitsSpec(),
        "digest": "",
    }
    return ConfigSpec(**{**fields, **changes})


class FakeNode(Node):
    """Run the supervisor with the children of ``fakechild.py``."""

    def __init__(self, **changes: Any) -> None:  # Any: fields of ConfigSpec
        super().__init__()
        self.spec_path = self.directory / "spec.json"
        self.configure(**changes)

    def configure(self, **changes: Any) -> None:  # Any: fields of ConfigSpec
        """Write another configuration for the next start."""
        spec = spec_for(**{"state_dir": str(self.state_dir), **changes})
        self.spec_path.write_bytes(msgspec.json.encode(spec))

    def command(self) -> Sequence[str]:
        """Start the script."""
        return sys.executable, "-P", str(SERVE), str(self.spec_path)

    def ask(self, path: str = "/") -> dict[str, Any]:  # Any: JSON
        """Ask whichever worker the kernel picks; empty: it died."""
        try:
            answer = httpx2.get(self.url + path, **PLAIN)
        except httpx2.TransportError:
            return {}
        content: dict[str, Any] = answer.json()
        return content

    def told(self, child: str) -> list[str]:
        """Read what a child was told, for example ``worker-0``."""
        path = self.state_dir / f"told-{child}"
        return path.read_text().split() if path.exists() else []

    def change_holds(self, change: link.ChangeHolds) -> link.HoldsChanged:
        """Do what ``rollback --local`` does."""
        return change_holds(self.state_dir, change)


def change_holds(state_dir: Path, change: link.ChangeHolds) -> link.HoldsChanged:
    """Ask a supervisor on its socket for a change of holds."""
    with socket.socket(socket.AF_UNIX) as caller:
        caller.settimeout(30)
        caller.connect(str(state_dir / "supervisor.sock"))
        caller.sendall(link.frame(change))
        reader = link.FrameReader()
        while data := caller.recv(65_536):
            for message, _ in reader.feed(data):
                assert isinstance(message, link.HoldsChanged)
                return message
    raise AssertionError("the supervisor hung up without an answer")


@contextlib.contextmanager
def slow_request(node: FakeNode) -> Iterator[socket.socket]:
    """Hold a request in flight: the worker has it, and answers when ``state_dir/go`` exists."""
    with socket.create_connection(("127.0.0.1", node.port), timeout=30) as slow:
        slow.sendall(b"GET /slow HTTP/1.1\r\nhost: x\r\n\r\n")
        assert slow.recv(100).startswith(b"HTTP/1.1 103")
        yield slow


def is_alive(pid: int) -> bool:
    """Say whether a process runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def note(path: Path) -> Any:  # Any: JSON
    """Read a JSON file."""
    return json.loads(path.read_bytes())
