"""Let a backend lie to a proxy and see what its clients get, and who gets the next answer."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from tests.conformance.answers import LIES, Lie
from tests.support.rawclient import ConnectionEndedError, MalformedResponseError, RawClient, RawResponse, request_bytes
from tests.support.recorder import Close, Pause, RecordedRequest, Recorder, Reset, Step, answer

LEAVE_S = 10.0
"""How long a proxy may take to leave a connection that it must not use again: at once, but machines are busy."""

END_S = 30.0
"""How long a backend that has said everything stays, if nobody leaves it."""

REFUSALS = frozenset({500, 502, 503, 504})
"""What a proxy says of a backend that it does not believe; of ours the tests ask for 502."""

BY_NUMBER = dict(enumerate(LIES))


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """Keep what clients heard of one lie and of the truth behind it."""

    status: int
    """Of the whole answer; 0: none came, or it broke off."""
    faults: tuple[str, ...]
    """What a client must not see; empty: all is well."""
    kept: bool
    """The proxy still holds the connection that was lied on."""


def liar(end_s: float = END_S) -> Recorder:
    """Make a backend that lies on ``/lie/NUMBER``, tells the truth on ``/truth/NUMBER``, and stays *end_s* longer."""

    def script(request: RecordedRequest) -> Iterable[Step]:
        _, kind, number = request.target.split(b"/")
        if kind == b"truth":
            return (answer(b"truth " + number),)
        steps = BY_NUMBER[int(number)].steps
        # Who takes a lie for a body up to the close is waiting now: even that comes to an end.
        return steps if isinstance(steps[-1], Close | Reset) else (*steps, Pause(seconds=end_s), Close())

    return Recorder(script)


def hear(
    address: tuple[str, int], backend: Recorder, number: int, *, patience_s: float = 5.0, leave_s: float = LEAVE_S
) -> Heard:
    """Ask for one lie, then for the truth, each over a client connection of its own."""
    lie = BY_NUMBER[number]
    before = len(backend.requests)
    status, faults = _hear_lie(address, lie, number, patience_s)
    told = [one for one in backend.requests[before:] if one.target.startswith(b"/lie/")]
    kept = not _left(backend, {one.connection for one in told}, leave_s)
    truth = _hear_truth(address, number, patience_s)
    if truth:
        faults.append(truth)
    used = {one.connection for one in told}
    # Not what was read of it as a request, but every byte: the liar may have stopped reading requests.
    if any(b"/truth/" in backend.connections[one].raw for one in used):
        faults.append("the backend connection was used again")
    return Heard(status=status, faults=tuple(faults), kept=kept)


def _left(backend: Recorder, connections: set[int], leave_s: float) -> bool:
    """Wait a moment for the proxy to leave; what comes late must have come before the next request is asked."""
    try:
        backend.wait_until(
            lambda: all(backend.connections[one].ending != "open" for one in connections), "end", timeout_s=leave_s
        )
    except TimeoutError:
        return False
    return True


def _hear_lie(address: tuple[str, int], lie: Lie, number: int, patience_s: float) -> tuple[int, list[str]]:
    response: RawResponse | None = None
    faults = []
    with RawClient(address, timeout_s=patience_s) as client:
        client.send(request_bytes(lie.method, f"/lie/{number}", host="shop.test"))
        try:
            response = client.read_response(lie.method)
            if client.leftover:
                faults.append(f"bytes behind the answer: {client.leftover[:40]!r}")
        except ConnectionEndedError:
            pass
        except MalformedResponseError as error:
            faults.append(f"malformed: {error}"[:80])
        except TimeoutError:
            faults.append("neither answer nor end")
    if response is None:
        return 0, faults
    if response.body.endswith(b"poison"):
        faults.append("poisoned")
    if response.status in REFUSALS or (lie.fate == "surplus" and response.status in (200, 204, 304)):
        return response.status, faults
    what = "repaired" if lie.fate == "refuse" else "ended well"
    return response.status, [*faults, f"{what}: {response.status} with {response.body[:20]!r}"]


def _hear_truth(address: tuple[str, int], number: int, patience_s: float) -> str:
    """Say what is wrong with the answer to the next request; empty: it is its own."""
    with RawClient(address, timeout_s=patience_s) as client:
        try:
            response = client.exchange(request_bytes(target=f"/truth/{number}", host="shop.test"))
        except (ConnectionEndedError, MalformedResponseError, TimeoutError) as error:
            return f"the next request got {type(error).__name__}"
    expected = b"truth %d" % number
    if response.body == expected:
        return ""
    return f"the next request got {response.status} with {response.body[:20]!r}"
