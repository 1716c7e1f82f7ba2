"""Rules of the rows that hold what gates judge."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rules.distinct import BITS
from store.evidence import Batch, EvidenceStore
from store.gatehours import HOUR_S, Key, Part, decode_parts, encode_parts, this_hour
from store.groups import Groups

pytestmark = pytest.mark.anyio

PARTS = st.builds(
    Part,
    began=st.floats(0, 2e9),
    first=st.floats(0, 2e9),
    last=st.floats(0, 2e9),
    counts=st.dictionaries(st.sampled_from(("identical", "paired|GET|2xx|5xx")), st.integers(-5, 2**40)),
    bins=st.dictionaries(st.sampled_from(("legacy", "new")), st.lists(st.integers(0, 2**40), max_size=9)),
    bits=st.integers(0, 2**BITS - 1)
    | st.sets(st.integers(0, BITS - 1)).map(lambda bits: sum(1 << bit for bit in bits)),
)


def shown(part: Part) -> tuple[object, ...]:
    """Give what a part says; parts themselves are never equal."""
    return part.began, part.first, part.last, part.counts, part.bins, part.bits


@given(st.lists(PARTS, max_size=3))
def test_parts_are_read_as_they_were_written(parts: list[Part]) -> None:
    """What is written of an hour is read back bit by bit."""
    assert [shown(part) for part in decode_parts(encode_parts(parts))] == [shown(part) for part in parts]


def test_an_hour_of_one_route_takes_little_room() -> None:
    """A busy route's hour takes about a kilobyte, a quiet one's a tenth."""
    counts = {f"family-{number}|label": 100_000 for number in range(20)}
    busy = Part(began=1.7e9, counts=counts, bins={"legacy": [90] * 80, "new": [90] * 80}, bits=(1 << BITS) - 1)
    quiet = Part(began=1.7e9, counts={"requests|legacy|2xx": 3})

    assert len(encode_parts([busy])) < 1_300
    assert len(encode_parts([quiet])) < 100


async def test_a_row_is_replaced_whole_and_ends_with_its_age(place: str) -> None:
    """Writing a row again counts nothing twice; rows beyond their age are forgotten, those of other nodes as well."""
    store = await EvidenceStore.open(place)
    hour = this_hour()

    async def write(hour: int, count: int, build: str = "v1") -> None:
        key: Key = ("orders", build, hour)
        part = Part(began=float(hour * HOUR_S), counts={"identical": count})
        await store.write(Batch(gate_hours={key: encode_parts([part])}), Groups())

    for node in ("a", "b"):
        store.gate_hours.node = node
        await write(hour, 1)
        await write(hour, 5)
        await write(hour - 30 * 24 - 1, 100)
    await write(hour - 1, 7, "v0")
    before = await store.gate_hours.parts("orders", None, "", (0, hour + 1))
    newest = await store.gate_hours.newest_builds()
    await write(hour, 1, "v2")
    unclear = await store.gate_hours.newest_builds()
    await store.forget(time.time())
    after = await store.gate_hours.parts("orders", "v1", "", (0, hour + 1))
    mine = await store.gate_hours.mine(hour)
    await store.close()

    assert sorted(part.counts["identical"] for part in before) == [5, 5, 7, 100, 100]
    assert [part.counts["identical"] for part in after] == [5, 5]
    assert sorted(mine) == [("orders", "v1", hour), ("orders", "v2", hour)]
    assert newest == {"orders": (float(hour * HOUR_S), "v1")}
    assert unclear == {"orders": (float(hour * HOUR_S), "")}


async def test_a_full_file_loses_its_oldest_hours(place: str) -> None:
    """At the cap the oldest twentieth of the time goes; the newest hour stays whatever happens."""
    store = await EvidenceStore.open(place)
    body = encode_parts([Part(began=0.0)])
    now = this_hour()
    await store.write(Batch(gate_hours={("orders", "", now - age): body for age in range(100)}), Groups())
    async with store.database.transaction() as tx:
        await store.gate_hours.forget_oldest(tx, 0.05)
    left = await store.gate_hours.mine(0)
    async with store.database.transaction() as tx:
        for _ in range(200):
            await store.gate_hours.forget_oldest(tx, 0.05)
    last = await store.gate_hours.mine(0)
    await store.close()

    assert sorted(now - hour for _, _, hour in left) == list(range(96))
    assert [hour for _, _, hour in last] == [now]
