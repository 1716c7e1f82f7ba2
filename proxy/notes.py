"""Leave notes in the state directory: where this node really listens, and which processes it has.

For people, scripts and tests; no part of the product reads them to decide anything.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence

from proxy.children import ChildState
from proxy.events import EventLog
from proxy.statedir import StateDir, write_whole


class Notes:
    """Write ``addresses.json`` and ``children.json``, each whole or not at all."""

    def __init__(self, state: StateDir, log: EventLog) -> None:
        self._state = state
        self._log = log
        self.remove()  # those of a killed predecessor would mislead

    def addresses(self, *, listen: Sequence[str], admin: str | None, health: str) -> None:
        """Say where the node listens: port 0 has become the kernel's choice; no ``admin`` while control is down."""
        self._write("addresses.json", {"listen": listen, "admin": admin, "health": health})

    def children(self, children: Iterable[ChildState]) -> None:
        """Say which processes live."""
        living = [
            {"role": child.role.value, "slot": child.slot, "pid": child.pid}
            for child in children
            if child.pid is not None
        ]
        self._write("children.json", {"supervisor": os.getpid(), "children": living})

    def remove(self) -> None:
        """Take the notes away."""
        for name in ("addresses.json", "children.json"):
            try:
                os.unlink(self._state.place(name))
            except FileNotFoundError:
                continue
            except OSError as error:
                self._log.say("note_kept", f"{name} cannot be removed: {error.strerror or error}")

    def _write(self, name: str, content: Mapping[str, object]) -> None:
        try:
            write_whole(self._state.place(name), json.dumps(content).encode() + b"\n", durable=False)
        except OSError as error:  # a full disk must not end the supervisor
            self._log.say("note_lost", f"{name} cannot be written: {error.strerror or error}")
