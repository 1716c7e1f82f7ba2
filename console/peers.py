"""``state_dir/control.sock``: the workers and comparers that are linked to control.

Rules of this file:

1. A link that breaks the framing, speaks another protocol or does not read is closed; the other end connects again.
2. Pushes are whole snapshots, so a peer never needs an older one: whoever links gets the current one at once.
3. Nobody here waits for a peer without a deadline.
"""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from config.errors import MatapaloError
from shadow import link

HELLO_S: Final = 5.0
MAX_LINKS: Final = 512
"""Workers and comparers of one node; far more than it has cores."""

MAX_INCOMING: Final = 32 << 20
"""The largest tally: 1,000 routes with every key take about 3 MB."""

MAX_UNSENT: Final = 64 << 20
"""A peer that leaves this much unread (some twenty snapshots of 3,000 routes) is cut off."""

READ_BYTES: Final = 256 << 10


class PeersError(MatapaloError):
    """The socket cannot be listened on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """Say how far one revision has come."""

    acked: tuple[int, ...]
    missing: tuple[int, ...]
    """Linked when it was pushed, and neither acknowledged nor refused in time."""
    refused: tuple[tuple[int, str], ...] = ()
    lost: tuple[int, ...] = ()
    """Slots whose link closed meanwhile; what comes back in them gets the current revision."""


class Peer:
    """Hold one linked worker or comparer."""

    __slots__ = ("_writer", "acked", "hello", "refusal")

    def __init__(self, hello: link.Hello, writer: asyncio.StreamWriter) -> None:
        self.hello = hello
        self.acked = 0
        """The revision that it serves."""
        self.refusal: tuple[int, str] | None = None
        """The newest revision that it refused, and why."""
        self._writer = writer

    @property
    def is_linked(self) -> bool:
        """Say whether the link still stands."""
        return not self._writer.transport.is_closing()

    def push(self, revision: int, raw_snapshot: bytes) -> None:
        """Send one snapshot; a peer that does not read is cut off."""
        if self._writer.transport.get_write_buffer_size() > MAX_UNSENT:
            self._writer.transport.abort()
            return
        self._writer.write(link.frame(link.Push(revision=revision), raw_snapshot))

    def look_closer(self, copies: Mapping[str, int]) -> None:
        """Ask a worker to copy some requests that its samples leave out; who does not read is not asked."""
        if not self._writer.transport.get_write_buffer_size():
            self._writer.write(link.frame(link.Closer(copies=dict(copies))))

    def cut(self) -> None:
        """Close the link at once."""
        self._writer.transport.abort()


class Peers:
    """Listen for peers, push to workers, hand tallies and findings on.

    Runs: on control's loop; the callbacks run there and must not block.
    """

    def __init__(
        self,
        *,
        current: Callable[[], tuple[int, bytes]],
        on_worker: Callable[[Peer], None],
        on_lost: Callable[[Peer], None],
        on_tally: Callable[[link.Tally], None],
        on_finding: Callable[[link.Finding], None],
        on_seen: Callable[[link.Seen], None],
        on_repeated: Callable[[link.Repeated], None],
        on_error: Callable[[Exception], None],
    ) -> None:
        self._current = current
        self._on_worker, self._on_lost = on_worker, on_lost
        self._on_tally, self._on_error = on_tally, on_error
        self._on_finding, self._on_seen, self._on_repeated = on_finding, on_seen, on_repeated
        self._peers: dict[int, Peer] = {}
        self._server: asyncio.Server | None = None
        self._changed = asyncio.Event()
        self._links: set[asyncio.StreamWriter] = set()
        self._path = ""

    async def open(self, path: str) -> None:
        """Listen on the socket at *path*, mode 0600; what a dead control left there is removed.

        Raises: PeersError.
        """
        try:
            if stat.S_ISSOCK(os.lstat(path).st_mode):
                os.unlink(path)
        except FileNotFoundError:
            pass
        try:
            # Nobody else is between bind and chmod: the mask closes the socket to others from the first moment.
            mask = os.umask(0o177)
            try:
                self._server = await asyncio.start_unix_server(self._serve, path, limit=READ_BYTES)
            finally:
                os.umask(mask)
        except OSError as error:
            raise PeersError(
                f"{path} cannot be listened on ({error.strerror or error}); expected a directory that Matapalo may "
                "write and a path below 100 characters"
            ) from error
        self._path = path

    def workers(self) -> list[Peer]:
        """List the linked workers by slot; a slot has two while one is replaced, the older first."""
        return self._by_role("worker")

    def comparers(self) -> list[Peer]:
        """List the linked comparers by slot."""
        return self._by_role("comparer")

    def push(self, revision: int, raw_snapshot: bytes, to: Iterable[Peer] | None = None) -> list[Peer]:
        """Send one snapshot to all workers, or to some, and say to whom."""
        peers = self.workers() if to is None else list(to)
        for peer in peers:
            peer.push(revision, raw_snapshot)
        return peers

    def look_closer(self, copies: Mapping[str, int]) -> None:
        """Ask every worker to copy so many of the next requests of some routes, whatever their samples."""
        for peer in self.workers():
            peer.look_closer(copies)

    async def spread(self, revision: int, peers: Iterable[Peer], timeout: float) -> Spread:
        """Wait until every peer has acknowledged *revision* or a newer one, refused it, or is gone.

        Bound: *timeout* seconds; who has not answered then is missing.
        """
        waiting = list(peers)
        await self._until(lambda: not any(_is_open(peer, revision) for peer in waiting), timeout)
        acked = _slots(peer for peer in waiting if peer.acked >= revision)
        missing = _slots(peer for peer in waiting if _is_open(peer, revision))
        lost = _slots(peer for peer in waiting if peer.acked < revision and not peer.is_linked)
        # A slot has two workers while one is replaced: it has acknowledged when both have, or one and the other left.
        return Spread(
            acked=tuple(slot for slot in acked if slot not in missing),
            missing=missing,
            refused=tuple(
                (peer.hello.slot, peer.refusal[1])
                for peer in waiting
                if peer.acked < revision and peer.refusal is not None and peer.refusal[0] >= revision
            ),
            lost=tuple(slot for slot in lost if slot not in acked and slot not in missing),
        )

    async def some_worker(self, timeout: float) -> None:
        """Wait until a worker is linked, at most *timeout* seconds."""
        await self._until(lambda: bool(self.workers()), timeout)

    async def joined(self, slots: Collection[int], timeout: float) -> list[Peer]:
        """Wait until a worker is linked in each of *slots*, at most *timeout* seconds; give those that are."""

        def found() -> list[Peer]:
            return [peer for peer in self.workers() if peer.hello.slot in slots]

        await self._until(lambda: {peer.hello.slot for peer in found()} >= set(slots), timeout)
        return found()

    async def no_worker(self, timeout: float) -> None:
        """Wait until no worker is linked, at most *timeout* seconds."""
        await self._until(lambda: not self.workers(), timeout)

    async def _until(self, is_so: Callable[[], bool], timeout: float) -> None:
        try:
            async with asyncio.timeout(timeout):
                while not is_so():
                    await self._changed.wait()
        except TimeoutError:
            return

    async def survives(self, peer: Peer, seconds: float) -> bool:
        """Say whether a peer's link still stands after some seconds; answers as soon as it is known."""
        try:
            async with asyncio.timeout(seconds):
                while peer.is_linked and id(peer) in self._peers:
                    await self._changed.wait()
        except TimeoutError:
            return True
        return False

    async def close(self) -> None:
        """Stop listening and close every link."""
        server, self._server = self._server, None
        if server is None:
            return
        server.close()
        for writer in list(self._links):
            writer.transport.abort()
        try:
            async with asyncio.timeout(2):
                while self._links:
                    await self._changed.wait()
        except TimeoutError:
            pass

    def _by_role(self, role: str) -> list[Peer]:
        found = (peer for peer in self._peers.values() if peer.hello.role == role and peer.is_linked)
        return sorted(found, key=lambda peer: peer.hello.slot)  # stable, and the dictionary knows who came first

    def _tell(self) -> None:
        """Wake whoever waits for a peer."""
        self._changed.set()
        self._changed = asyncio.Event()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._links) >= MAX_LINKS or self._server is None:
            writer.transport.abort()
            return
        self._links.add(writer)
        frames = link.FrameReader(MAX_INCOMING)
        peer: Peer | None = None
        try:
            while data := await asyncio.wait_for(reader.read(READ_BYTES), HELLO_S if peer is None else None):
                for message, _ in frames.feed(data):
                    if peer is None:
                        peer = self._greet(message, writer)
                    else:
                        self._hear(peer, message)
        except (link.LinkError, OSError, TimeoutError):
            pass  # the other end connects again; what it counted comes with its next tally
        except Exception as error:  # the border of one link: a message that we cannot take must not end the others
            self._on_error(error)
        finally:
            writer.transport.abort()
            self._links.discard(writer)
            if peer is not None:
                self._peers.pop(id(peer), None)
                self._on_lost(peer)
            self._tell()

    def _greet(self, message: link.Any, writer: asyncio.StreamWriter) -> Peer:
        """Take the first message of a link.

        Raises: LinkError when it is no Hello of our protocol.
        """
        if not isinstance(message, link.Hello) or message.protocol != link.PROTOCOL:
            raise link.LinkError("the first message is no Hello of this protocol")
        if message.role not in ("worker", "comparer"):
            raise link.LinkError(f"role {message.role!r} has no business here")
        peer = Peer(message, writer)
        self._peers[id(peer)] = peer
        if message.role == "worker":
            self._on_worker(peer)
            peer.push(*self._current())
        self._tell()
        return peer

    def _hear(self, peer: Peer, message: link.Any) -> None:
        match message:
            case link.Tally() if peer.hello.role == "worker" and message.epoch == peer.hello.epoch:
                self._on_tally(message)
            case link.Finding() if peer.hello.role == "comparer":
                self._on_finding(message)
            case link.Seen() if peer.hello.role == "comparer":
                self._on_seen(message)
            case link.Repeated() if peer.hello.role == "worker":
                self._on_repeated(message)
            case link.Ack(revision=revision):
                peer.acked = revision
                self._tell()
            case link.Nack(revision=revision, reason=reason):
                peer.refusal = (revision, reason[:1_000])
                self._tell()
            case _:
                raise link.LinkError(f"{peer.hello.role} sent {type(message).__name__}")


def _is_open(peer: Peer, revision: int) -> bool:
    refused = peer.refusal is not None and peer.refusal[0] >= revision
    return peer.acked < revision and not refused and peer.is_linked


def _slots(peers: Iterable[Peer]) -> tuple[int, ...]:
    return tuple(sorted({peer.hello.slot for peer in peers}))
