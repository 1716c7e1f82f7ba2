"""The messages of the local sockets, and how they are framed.

Three links use this module. *Control*: workers connect to ``control.sock`` and
receive snapshots; they send acknowledgements and tallies; comparers send
findings on the same socket. *Pairs*: each comparer listens on
``pairs-<slot>.sock``; workers send pairs and receive verdicts. *Parent*: every
child inherits one end of a socket pair from the supervisor.

Rules of this file:

1. A frame is ``u32 length``, ``u32 head length``, head, raw rest (big endian;
   the length counts everything behind itself). The head is one msgpack message;
   bodies travel raw behind it and are never encoded.
2. A message is a tagged msgspec struct: adding a field with a default is
   compatible, anything else raises :data:`PROTOCOL`.
3. Nobody trusts a length: a frame over the reader's bound closes the link.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final

import msgspec

PROTOCOL: Final = 1
"""Said in every Hello; two ends that differ part at once."""

MAX_PAIR_BODIES: Final = 1 << 20
"""Both bodies of a pair together; a larger pair travels as digests and lengths (docs/architecture.md)."""

MAX_FRAME: Final = 64 << 20
"""No frame may be larger: the largest is a snapshot of a few thousand routes (about 3 MB)."""

_LENGTHS: Final = struct.Struct(">II")


class LinkError(Exception):
    """The other end of a local socket broke the framing or speaks another protocol."""


class Message(msgspec.Struct, frozen=True, tag_field="t", kw_only=True):
    """Be the common root of every message."""


class Hello(Message, frozen=True, kw_only=True, tag="hello"):
    """Open a link: who I am."""

    protocol: int
    role: str
    """``worker``, ``comparer``, ``control`` or ``supervisor``."""
    slot: int
    epoch: str
    """Unique per process start; totals are cumulative within one epoch."""
    pid: int


class Push(Message, frozen=True, kw_only=True, tag="push"):
    """Control to worker: the snapshot to serve from now on; ``rest`` holds its bytes."""

    revision: int


class Ack(Message, frozen=True, kw_only=True, tag="ack"):
    """Worker to control: every request from now on is decided by this revision."""

    revision: int


class Nack(Message, frozen=True, kw_only=True, tag="nack"):
    """Worker to control: this snapshot cannot be used, and why; the previous one stays."""

    revision: int
    reason: str


class Tally(Message, frozen=True, kw_only=True, tag="tally"):
    """Worker to control: cumulative totals of this epoch.

    Shape: keys join a family and its label values with ``|``, for example
    ``requests|orders|new|shop|2xx``. A missing key is zero.
    """

    epoch: str
    sequence: int
    counts: dict[str, int]
    gauges: dict[str, int]
    histograms: dict[str, list[int]]
    """Per key: one count per bound of :data:`DURATION_BOUNDS_S`, the overflow count, then the sum in microseconds."""
    last_legacy: dict[str, float]
    """Route to the Unix time of the last request that legacy answered."""
    final: bool = False


class Beat(Message, frozen=True, kw_only=True, tag="beat"):
    """Child to supervisor, at least each second: I am alive, this is my state."""

    accepting: bool = False
    revision: int = 0
    requests: int = 0
    busy_ns: int = 0
    """Comparer: how long the pair in hand has taken."""


class Ready(Message, frozen=True, kw_only=True, tag="ready"):
    """Child to supervisor: listening; ``detail`` names the address or says why not."""

    ok: bool
    detail: str = ""


class HoldItem(Message, frozen=True, kw_only=True, tag="hold"):
    """Carry one hold (see :class:`rules.flag.Hold`)."""

    route: str
    keep_copying: bool = False
    reason: str = ""
    actor: str = ""
    at: str = ""


class Holds(Message, frozen=True, kw_only=True, tag="holds"):
    """Supervisor to children: the whole set of holds of this node, fsynced before it is sent."""

    revision: int
    holds: list[HoldItem]


class HoldsAck(Message, frozen=True, kw_only=True, tag="holds_ack"):
    """Worker to supervisor: every request from now on respects this set."""

    revision: int


class ChangeHolds(Message, frozen=True, kw_only=True, tag="change_holds"):
    """Control or ``rollback --local`` to supervisor: add and remove holds as one change."""

    request: str
    add: list[HoldItem] = []
    remove: list[str] = []
    all_routes: bool = False
    """Hold every route of the configuration (the supervisor knows them)."""
    template: HoldItem | None = None
    """With ``all_routes``: the reason, actor and kind of each hold."""


class HoldsChanged(Message, frozen=True, kw_only=True, tag="holds_changed"):
    """Supervisor to whoever asked: done, and which workers have acknowledged."""

    request: str
    ok: bool
    revision: int = 0
    routes: list[str] = []
    acked: list[int] = []
    missing: list[int] = []
    reason: str = ""


class Reload(Message, frozen=True, kw_only=True, tag="reload"):
    """Supervisor to control: read the configuration again (SIGHUP)."""


class LameDuck(Message, frozen=True, kw_only=True, tag="lame_duck"):
    """Supervisor to worker: keep answering, but say ``Connection: close`` on every answer."""


class Drain(Message, frozen=True, kw_only=True, tag="drain"):
    """Supervisor to child: stop accepting, finish what is in flight, exit within ``deadline_ns``."""

    deadline_ns: int
    patience_ns: int = 0
    """Worker: so long before that, connections stay open until an answer has told them ``Connection: close``."""


class RestartWorkers(Message, frozen=True, kw_only=True, tag="restart_workers"):
    """``restart --local`` to supervisor: replace every worker by a fresh process, one after the other."""

    request: str


class RestartStep(Message, frozen=True, kw_only=True, tag="restart_step"):
    """Supervisor to whoever asked: one worker was replaced, or the restart is done, or why it is not."""

    request: str
    slot: int = -1
    pid: int = 0
    """Who serves in this slot now."""
    former: int = 0
    """Whom it replaced; 0: the slot was empty."""
    done: bool = False
    """Nothing follows; ``reason`` is empty if every worker was replaced."""
    reason: str = ""
    within_s: float = 0.0
    """The next step comes within so many seconds."""


class AnswerHead(msgspec.Struct, frozen=True, array_like=True):
    """Describe one side's complete answer inside a pair."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body_bytes: int
    digest: bytes
    """xxh3-128 of the body when the bodies do not travel, else empty."""
    backend: str


class Pair(Message, frozen=True, kw_only=True, tag="pair"):
    """Worker to comparer: two unequal answers to one request; ``rest`` is legacy's body, then new's."""

    sequence: int
    route: str
    request_id: str
    method: str
    target: bytes
    primary: str
    legacy: AnswerHead
    new: AnswerHead
    whole: bool
    """Both bodies follow; otherwise only digests and lengths are known."""
    parity: str
    keep: str
    redact: tuple[str, ...]
    at: float
    watch: tuple[str, ...] = ()
    """Lower-case names of the response headers that must be equal, beside type and coding."""
    copy_after_us: int = 0
    """From sending the primary's request to sending the copy's; negative: the copy went first."""


class Verdict(Message, frozen=True, kw_only=True, tag="verdict"):
    """Comparer to worker: one decision per pair, in the order of the pairs."""

    sequence: int
    verdict: str
    """``tolerated``, ``divergent`` or ``undecided``."""
    reason: str = ""
    """For ``undecided``: ``limit``."""
    cause: str = ""
    """Bounded label for ``divergences_total``: ``unexplained``, ``encoding``, ``status``, ``header``."""


class Finding(Message, frozen=True, kw_only=True, tag="finding"):
    """Comparer to control: the first difference of one unequal pair, already redacted."""

    route: str
    request_id: str
    method: str
    target: str
    at: float
    verdict: str
    same_meaning: bool | None
    """``None``: at least one body is not JSON, or too large to tell."""
    statuses: tuple[int, int]
    """Legacy's, then new's."""
    kind: str
    """``status``, ``header:<name>``, ``body`` or ``digest``."""
    offset: int
    """First differing byte of the decoded bodies; -1 outside the body."""
    pointer: str
    """RFC 6901 pointer of the innermost legacy value around ``offset``; empty is the root."""
    folded: str
    """The pointer with array indexes as ``*``: what findings are grouped by."""
    legacy: str
    new: str
    """What stands there, cut and redacted as the route's ``keep`` and ``redact`` say."""
    copy_after_us: int = 0
    """As in :class:`Pair`: what was written between the two may be the difference."""
    skipped: int = 0
    """Unequal pairs of this route since its last Finding from this comparer that got none: rate or full queue."""


Any = (
    Hello
    | Push
    | Ack
    | Nack
    | Tally
    | Beat
    | Ready
    | HoldItem
    | Holds
    | HoldsAck
    | ChangeHolds
    | HoldsChanged
    | Reload
    | LameDuck
    | Drain
    | RestartWorkers
    | RestartStep
    | Pair
    | Verdict
    | Finding
)

DURATION_BOUNDS_S: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Upper bounds of both duration histograms, in seconds."""

_encoder: Final = msgspec.msgpack.Encoder()
_decoder: Final = msgspec.msgpack.Decoder(Any)


def frame(message: Message, *rest: bytes) -> bytes:
    """Encode one message, with raw bytes behind it, as one frame.

    Cost: about 2 microseconds and one copy of ``rest``.
    """
    head = _encoder.encode(message)
    size = len(head)
    return b"".join((_LENGTHS.pack(4 + size + sum(map(len, rest)), size), head, *rest))


class FrameReader:
    """Cut a byte stream back into messages."""

    __slots__ = ("_bound", "_buffer")

    def __init__(self, bound: int = MAX_FRAME) -> None:
        self._buffer = bytearray()
        self._bound = bound

    def feed(self, data: bytes) -> Iterator[tuple[Any, bytes]]:
        """Take bytes in and yield every whole message with its raw rest.

        Bound: one frame may not exceed the reader's bound.
        Raises: LinkError for an impossible length or an unknown message.
        """
        buffer = self._buffer
        buffer += data
        start = 0
        try:
            while len(buffer) - start >= 8:
                length, head_length = _LENGTHS.unpack_from(buffer, start)
                if length > self._bound or head_length > length - 4:
                    raise LinkError(f"a frame of {length} bytes with a head of {head_length} breaks the bound")
                end = start + 4 + length
                if len(buffer) < end:
                    break
                head_end = start + 8 + head_length
                try:
                    message = _decoder.decode(memoryview(buffer)[start + 8 : head_end])
                except msgspec.MsgspecError as error:
                    raise LinkError(f"a message that this version does not know: {error}") from error
                rest = bytes(memoryview(buffer)[head_end:end])
                start = end
                yield message, rest
        finally:
            if start:
                del buffer[:start]
