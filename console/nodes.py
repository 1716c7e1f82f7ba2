"""The nodes that share the database, as the admin API shows them; and how one that is gone for good is forgotten."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

from console.call import Asked, Reply
from console.change import entry_for
from console.commits import commit
from console.journal import moment_text
from console.problem import ProblemError, unknown
from console.shapes import Json
from console.state import ControlState
from store.database import StoreError
from store.flags import Commit
from store.nodes import NodeSeen, NodeStore


class Nodes:
    """Answer who is there with which revision.

    Raises: every method ProblemError.
    """

    def __init__(self, state: ControlState, version: str, address: Callable[[], str]) -> None:
        self._state, self._version, self._address = state, version, address

    async def nodes(self, _asked: Asked) -> Reply:
        """List every node; without the database as they were seen last."""
        state, replicas = self._state, self._state.replicas
        error = None
        if replicas is None:
            own = self._alone()
            alone = node_as_json(
                own, revision=state.revision, config=state.config.digest, own=own.name, leader=own.name
            )
            return Reply(body={"revision": state.revision, "shared": False, "database": None, "nodes": [alone]})
        try:
            nodes = replicas.nodes if state.flag_store is None else await NodeStore(state.flag_store.database).list()
        except StoreError as failure:
            nodes, error = replicas.nodes, str(failure)
        # Ours is known without the database, where it stands as of the last second.
        nodes = tuple(
            replace(node, revision=state.revision, config=state.config.digest, workers=state.worker_revisions())
            if node.name == replicas.name
            else node
            for node in nodes
        )
        shown = [
            node_as_json(
                node, revision=state.revision, config=state.config.digest, own=replicas.name, leader=replicas.leader
            )
            for node in nodes
        ]
        body = {"revision": state.revision, "shared": True, "database": error or replicas.away or None, "nodes": shown}
        return Reply(body=body)

    async def forget_node(self, asked: Asked) -> Reply:
        """Forget a node that will not come back: what it has not reported is lost, and nobody waits for it any more."""
        state, replicas = self._state, self._state.replicas
        known = {} if replicas is None else {node.name: node for node in replicas.others}
        node = known.get(asked.name)
        if node is None or replicas is None or state.flag_store is None:
            raise unknown("node", asked.name, known, where="among the other nodes")
        if not node.is_away:
            raise ProblemError(
                "refused", f"Node {asked.name!r} is alive; stop it first, then it leaves the list by itself."
            )
        entry = replace(
            entry_for("forget", (), asked.values["reason"], asked.caller, state),
            before={asked.name: {"address": node.address}},
            after={asked.name: None},
        )
        async with state.turn:
            number, _ = await commit(state, Commit(revision=state.revision, entry=entry), state.spec)
            try:
                await NodeStore(state.flag_store.database).forget(asked.name)
            except StoreError as error:
                raise ProblemError("database", f"The node is still listed: {error}.") from error
        await replicas.beat()
        return Reply(body={"changed": True, "node": asked.name, "audit_id": f"a-{number}"})

    def _alone(self) -> NodeSeen:
        state = self._state
        return NodeSeen(
            name=state.config.node,
            address=self._address(),
            version=self._version,
            started_at=0.0,
            revision=state.revision,
            config=state.config.digest,
            workers=state.worker_revisions(),
            seen_at=time.time(),
        )


def node_as_json(node: NodeSeen, *, revision: int, config: str, own: str, leader: str) -> Json:
    """Show one node: what it serves, how far behind that is, and when it was heard last."""
    served = min([node.revision, *(worker["revision"] for worker in node.workers)])
    return {
        "name": node.name,
        "self": node.name == own,
        "leader": node.name == leader and not node.is_away,
        "address": node.address,
        "version": node.version,
        "seen_at": moment_text(node.seen_at),
        "silent_s": round(node.age_s, 1),
        "away": node.is_away,
        "revision": served,
        "lag": max(0, revision - served),
        "config": node.config,
        "same_config": node.config == config,
        "workers": [dict(worker) for worker in node.workers],
        "reported_s": None if node.reported_age_s is None else round(node.reported_age_s + node.age_s, 1),
    }
