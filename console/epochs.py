"""What the workers' counters were in one epoch (one start of one worker), and how epochs add up.

Nothing here is remembered: :mod:`console.totals` follows the epochs of this node, and those of others are read as they
were written.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Final

import msgspec

from rules.latency import added

FOLDED: Final = ""
"""The epoch that holds all folded ones."""

KEPT_NAMES: Final = 4_096
"""Folded epochs whose names are remembered; a name takes 20 bytes."""


class Record(msgspec.Struct, kw_only=True):
    """Hold one epoch as it is remembered across restarts of control."""

    epoch: str
    slot: int
    sequence: int = -1
    counts: dict[str, int] = {}
    gauges: dict[str, int] = {}
    histograms: dict[str, list[int]] = {}
    final: bool = False
    ended: bool = False
    members: list[str] = []
    """Of the folded record: the names inside, the youngest :data:`KEPT_NAMES`."""

    @staticmethod
    def read(body: bytes) -> Record:
        """Read a record as it was written.

        Raises: ValueError for one of another version.
        """
        return _decoder.decode(body)

    def written(self) -> bytes:
        """Write the record down."""
        return _encoder.encode(self)


class Sums(msgspec.Struct, frozen=True, kw_only=True):
    """Hold the sums over all epochs; keys as in :class:`shadow.link.Tally`."""

    counts: dict[str, int]
    gauges: dict[str, int]
    histograms: dict[str, list[int]]
    last_legacy: dict[str, float]


def records_of(rows: Iterable[tuple[str, bytes]], alive: Collection[str]) -> list[Record]:
    """Read what other nodes reported; of one that is not alive nothing is open any more.

    Shape: the name of the node and the record as a batch wrote it.
    Raises: ValueError for a record of another version.
    Runs: in a thread.
    """
    records = []
    for node, body in rows:
        record = Record.read(body)
        record.ended = record.ended or node not in alive
        records.append(record)
    return records


def joined_records(bodies: Iterable[bytes]) -> bytes:
    """Join the records of a node that is gone into one, as they are written."""
    return folded(records_of([("", body) for body in bodies], ())).written()


def folded(records: Iterable[Record], members: Iterable[str] = ()) -> Record:
    """Join ended epochs into one; *members* are the names inside, the youngest last."""
    sums = sum_up(records, {})
    return Record(
        epoch=FOLDED,
        slot=-1,
        counts=sums.counts,
        histograms=sums.histograms,
        ended=True,
        final=True,
        members=[*members][-KEPT_NAMES:],
    )


def sum_up(records: Iterable[Record], last_legacy: Mapping[str, float]) -> Sums:
    """Add epochs up; what an epoch left open when it ended is settled as :func:`left_open` says.

    Runs: anywhere; pure.
    """
    counts: dict[str, int] = {}
    gauges: dict[str, int] = {}
    histograms: dict[str, list[int]] = {}
    for record in records:
        for key, count in record.counts.items():
            counts[key] = counts.get(key, 0) + count
        if not record.ended:
            for key, value in record.gauges.items():
                gauges[key] = gauges.get(key, 0) + value
        else:
            for key, count in left_open(record.gauges):
                counts[key] = counts.get(key, 0) + count
        for key, buckets in record.histograms.items():
            held = histograms.get(key)
            histograms[key] = list(buckets) if held is None else added(held, buckets)
    return Sums(counts=counts, gauges=gauges, histograms=histograms, last_legacy=dict(last_legacy))


def left_open(gauges: Mapping[str, int]) -> Iterable[tuple[str, int]]:
    """Name what a dead epoch's open copies and pairs count as from now on."""
    for key, count in gauges.items():
        family, _, labels = key.partition("|")
        if family == "in_flight" and count:
            yield f"errored|{labels}|both", count
        elif family == "queued" and count:
            yield f"undecided|{labels}|lost", count


_encoder: Final = msgspec.msgpack.Encoder()
_decoder: Final = msgspec.msgpack.Decoder(Record)
