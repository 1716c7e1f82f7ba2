"""What repeats have shown: counted per day and place, bounded, and kept when it cannot be written."""

from __future__ import annotations

from store.repeats import DAY_S, MAX_PENDING, RepeatLog, place_of


def test_a_second_question_counts_each_place_once() -> None:
    """However often one answer differs at a place, legacy was asked once and differed there once."""
    log = RepeatLog()
    log.ask("orders", ["/at", "/at", "/items/*/id"], 3.5 * DAY_S)
    log.ask("orders", [], 3.9 * DAY_S)

    found = log.take()

    assert found.asked == {("orders", 3): 2}
    assert found.noisy == {("orders", 3, "/at"): 1, ("orders", 3, "/items/*/id"): 1}
    assert not log.take()


def test_what_is_pending_is_bounded_and_counted() -> None:
    """Beyond the bound new places and divergences are dropped and counted; known ones go on."""
    log = RepeatLog()
    log.repeat("d-1", 1, "gone")
    log.ask("orders", [f"/{number}" for number in range(MAX_PENDING)], 0.0)
    log.repeat("d-2", 1, "gone")
    log.repeat("d-1", 1, "gone")

    assert log.dropped == 2
    found = log.take()
    assert len(found.noisy) + len(found.again) == MAX_PENDING
    assert found.again == {("d-1", 1, "gone"): 2}


def test_what_could_not_be_written_is_added_to_what_came_since() -> None:
    """A batch that failed is joined with the next one, count by count."""
    log = RepeatLog()
    log.ask("orders", ["/at"], 0.0)
    log.repeat("d-1", 1, "stays")
    taken = log.take()
    log.ask("orders", ["/at"], 0.0)
    log.repeat("d-1", 1, "stays")

    log.put_back(taken)
    found = log.take()

    assert found.asked == {("orders", 0): 2}
    assert found.noisy == {("orders", 0, "/at"): 2}
    assert found.again == {("d-1", 1, "stays"): 2}


def test_what_stands_in_no_body_is_placed_by_its_cause() -> None:
    """A status or header has no pointer: two causes at the root are two places."""
    assert place_of("http.status", "") == "http.status"
    assert place_of("http.header", "") == "http.header"
    assert place_of("number.value", "/a/*/b") == "/a/*/b"
