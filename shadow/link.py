"""The messages of the local sockets, and how they are framed.

Three links use this module. *Control*: workers connect to ``control.sock`` and
receive snapshots; they send acknowledgements and tallies; comparers send
findings and counts of divergences on the same socket. *Pairs*: each comparer listens on
``pairs-<slot>.sock``; workers send policies and pairs and receive verdicts. *Parent*: every
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

import hashlib
import struct
from collections.abc import Iterable, Iterator
from typing import Final

import msgspec
import xxhash

from config.spec import ToleranceSpec

PROTOCOL: Final = 2
"""Said in every Hello; two ends that differ part at once."""

MAX_PAIR_BODIES: Final = 1 << 20
"""Both bodies of a pair together; a larger pair travels as digests and lengths (docs/architecture.md)."""

MAX_REQUEST_BODY: Final = 64 << 10
"""Of a request that travels in a pair; a longer one does not."""

MAX_ITEMS: Final = 64
"""Differences in one Finding, folded: more than a developer reads of one pair."""

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


class Closer(Message, frozen=True, kw_only=True, tag="closer"):
    """Control to worker: copy so many of the next requests that the sample leaves out; the watchdog is in doubt."""

    copies: dict[str, int]
    """Route to requests; it replaces what is left of the last one."""


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
    """Per key: one count per bound of :data:`DURATION_BOUNDS_S`, the overflow count, then the sum in microseconds;
    of ``paired_head`` the counts of :mod:`rules.latency`."""
    last_legacy: dict[str, float]
    """Route to the Unix time of the last request that legacy answered."""
    builds: dict[str, str] = {}
    """Route to the build that new named in an answer identical to legacy's since the last tally: no pair tells it."""
    distinct: dict[str, bytes] = {}
    """Route to the bits of :mod:`rules.distinct` that compared requests have named since the last tally, two bytes
    each; a bit may come again."""
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


class Policy(Message, frozen=True, kw_only=True, tag="policy"):
    """Worker to comparer: what a route wants of a comparison.

    Order: stands on a link before the first pair that names it, and again when the route's wishes changed.
    """

    number: int
    """Names the content (:func:`policy_frame`): equal wishes have equal numbers, in every worker and for ever."""
    route: str
    parity: str
    """``bytes`` or ``meaning``."""
    keep: str
    """``bodies``, ``fragments`` or ``shapes``."""
    redact: tuple[str, ...] = ()
    watch: tuple[str, ...] = ()
    """Lower-case names of the response headers that must be equal, beside type and coding."""
    version_headers: tuple[str, str] = ("", "")
    """Lower-case names of the headers in which legacy's and new's backend say their builds; empty: in none."""
    tolerate: tuple[ToleranceSpec, ...] = ()
    """The route's own first, then those for every route."""


class Pair(Message, frozen=True, kw_only=True, tag="pair"):
    """Worker to comparer: two answers to one request; ``rest`` is legacy's body, new's, then the request's."""

    sequence: int
    policy: int
    """The number of the policy that this pair is compared under."""
    request_id: str
    method: str
    target: bytes
    request_headers: list[tuple[bytes, bytes]]
    request_body_bytes: int = 0
    """Of the request's body behind the two others: only on routes that declare unsafe methods to be reads, at most
    :data:`MAX_REQUEST_BODY`."""
    primary: str
    legacy: AnswerHead
    new: AnswerHead
    whole: bool
    """Both bodies follow; otherwise only digests and lengths are known."""
    at: float
    copy_after_us: int = 0
    """From sending the primary's request to sending the copy's; negative: the copy went first."""
    purpose: str = "compare"
    """``compare``, ``noise`` (both answers are legacy's), ``again`` (an unequal pair asked once more), or ``recheck``
    (control asked for somebody who waits: the Finding comes back on this link, before the Verdict)."""
    attempt: int = 0
    """With ``again``: 1, 2 and so on."""


class Verdict(Message, frozen=True, kw_only=True, tag="verdict"):
    """Comparer to worker: one decision per pair, in the order of the pairs."""

    sequence: int
    verdict: str
    """``tolerated``, ``divergent`` or ``undecided``."""
    reason: str = ""
    """For ``undecided``: ``limit``."""
    causes: tuple[str, ...] = ()
    """Each is counted once in ``divergences_total``: names of :data:`shadow.causes.CAUSES`, or ``encoding`` where a
    proven encoding was replayed."""
    tolerated: tuple[str, ...] = ()
    """Identifiers of the tolerances that hid something."""
    divergence: str = ""
    """For ``divergent``: the group's name, as in :class:`Finding`; empty: nobody looked."""


class DifferenceItem(msgspec.Struct, frozen=True, kw_only=True):
    """Describe the places of one pair that share a cause and a folded pointer, with the first one's fragments."""

    cause: str
    folded: str
    """The pointer with array indexes as ``*``: legacy's, or new's where legacy has none."""
    legacy_pointer: str | None = ""
    """RFC 6901; empty is the root, ``None``: absent on this side."""
    new_pointer: str | None = ""
    legacy_span: tuple[int, int] | None = None
    """Offsets into the decoded body: first byte, and the byte behind the last one."""
    new_span: tuple[int, int] | None = None
    detail: str = ""
    count: int = 1
    """Places folded into this item."""
    legacy: str = ""
    new: str = ""
    """What stands there: one printable line, cut and redacted as the route's ``keep`` and ``redact`` say."""
    tolerated_by: str = ""
    """The tolerance that hides it; empty: none does."""
    replayed: bool = False
    """Undone by the route's proven encoding before the pair was explained."""


class Finding(Message, frozen=True, kw_only=True, tag="finding"):
    """Comparer to control: one unequal pair explained, already redacted; it counts as one pair of its divergence."""

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
    divergence: str
    """The group's name (:func:`divergence_id`)."""
    causes: tuple[str, ...]
    """All of the pair's causes, sorted."""
    differences: tuple[DifferenceItem, ...] = ()
    """Most severe first, at most :data:`MAX_ITEMS`."""
    omitted: int = 0
    """Places that stand in no item."""
    proof: str = "none"
    """``proven``, ``partly`` or ``none``, as in :class:`shadow.difference.Proof`."""
    residual: int = -1
    """With ``partly``: offset of the first unexplained byte in new's decoded body."""
    builds: tuple[str, str] = ("", "")
    """What legacy and new say they are (``version_header``); empty: nothing."""
    copy_after_us: int = 0
    """As in :class:`Pair`: what was written between the two may be the difference."""
    purpose: str = "compare"
    attempt: int = 0
    request_headers: list[tuple[str, str]] = []
    legacy_headers: list[tuple[str, str]] = []
    new_headers: list[tuple[str, str]] = []
    request_body: bytes | None = None
    legacy_body: bytes | None = None
    new_body: bytes | None = None
    """Decoded and redacted; only where the route keeps ``bodies``."""
    legacy_bytes: int = 0
    new_bytes: int = 0
    """Lengths of the bodies as received."""
    consumer: str = ""
    """Who asked, in a few words; empty: nobody knows."""


class Seen(Message, frozen=True, kw_only=True, tag="seen"):
    """Comparer to control, each second: pairs of divergences it has reported, and not explained again."""

    route: str
    counts: dict[str, int]
    """Divergence to the pairs since the last Seen."""
    at: float
    build: str = ""
    """What new said it was (``version_header``) in all of these pairs; empty: nothing."""


class Repeated(Message, frozen=True, kw_only=True, tag="repeated"):
    """Worker to control: what asking a request again has shown."""

    route: str
    purpose: str
    """``noise`` or ``again``, as in :class:`Pair`."""
    divergence: str = ""
    """With ``again``: the group of the pair that was asked again; empty: nobody named it."""
    attempt: int = 0
    outcome: str
    """``noise``: ``identical`` (what differs comes as a Finding). ``again``: the difference is ``gone``, ``stays``, or
    another one (``other``) stands there."""
    at: float


Any = (
    Hello
    | Push
    | Closer
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
    | Policy
    | Pair
    | Verdict
    | Finding
    | Seen
    | Repeated
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


def policy_frame(policy: Policy) -> tuple[int, bytes]:
    """Number a policy by its content, and encode it once for every link that needs it.

    Unit: 63 bits of a hash; two policies of one worker that meet are less likely than a broken disk.
    """
    content = _encoder.encode(msgspec.structs.replace(policy, number=0))
    number = xxhash.xxh3_64_intdigest(content) >> 1
    return number, frame(msgspec.structs.replace(policy, number=number))


def divergence_id(
    route: str, statuses: tuple[int, int], causes: Iterable[str], folded: Iterable[str], *, purpose: str = "compare"
) -> str:
    """Name a group of differing pairs by what it is, so that every comparer gives it the same name.

    Shape: ``d-`` and ten hexadecimal digits; causes and folded pointers are sets, their order does not count.
    """
    content = _encoder.encode((route, statuses, sorted(set(causes)), sorted(set(folded)), purpose))
    return "d-" + hashlib.blake2b(content, digest_size=5).hexdigest()


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
