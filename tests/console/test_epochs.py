"""Rules of how epochs add up: what is open is counted once, as open or as lost, and joining loses nothing."""

from __future__ import annotations

import pytest

from console.epochs import FOLDED, KEPT_NAMES, Record, folded, joined_records, records_of, sum_up

OPEN = {"in_flight|orders|legacy": 3, "queued|orders|legacy": 2}


def record(epoch: str = "e1", *, ended: bool = False) -> Record:
    """Make an epoch that sent ten and has some of them open."""
    return Record(epoch=epoch, slot=0, counts={"sent|orders": 10}, gauges=dict(OPEN), ended=ended)


def test_what_is_open_is_open_until_its_epoch_has_ended_and_lost_afterwards() -> None:
    """Open copies and pairs of a living worker are gauges; those of a dead one are errored and undecided."""
    living, dead = sum_up([record()], {}), sum_up([record(ended=True)], {})

    assert (living.counts, living.gauges) == ({"sent|orders": 10}, OPEN)
    assert dead.counts == {"sent|orders": 10, "errored|orders|legacy|both": 3, "undecided|orders|legacy|lost": 2}
    assert dead.gauges == {}


def test_joined_epochs_say_what_they_said_apart() -> None:
    """Folding ended epochs into one, again and again, changes no sum, and the names inside stay bounded."""
    epochs = [record(f"e{number}", ended=True) for number in range(5)]

    one = folded([], ["e"] * (KEPT_NAMES + 9))
    for epoch in epochs:
        one = folded([one, epoch], [*one.members, epoch.epoch])

    assert sum_up([one], {}) == sum_up(epochs, {})
    assert len(one.members) == KEPT_NAMES
    assert one.members[-1] == "e4"


def test_what_a_node_left_open_is_open_while_it_lives() -> None:
    """Of what other nodes wrote down, only that of living nodes may still be open; a forgotten node is one record."""
    rows = [("a", record().written()), ("b", record().written())]

    found = records_of(rows, {"a"})
    (gone,) = records_of([("b", joined_records([body for _, body in rows]))], ())

    assert [one.ended for one in found] == [False, True]
    assert (gone.epoch, gone.gauges, gone.counts["sent|orders"]) == (FOLDED, {}, 20)


def test_a_record_of_another_version_is_refused() -> None:
    """What cannot be read as an epoch is an error, never an epoch that counted nothing."""
    with pytest.raises(ValueError, match="slot"):
        Record.read(b"\x81\xa5epoch\xa2e1")
