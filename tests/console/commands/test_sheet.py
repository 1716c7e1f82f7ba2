"""Rules of how a divergence and a comparison are drawn."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from console.commands.sheet import age, blanks_visible, comparison_sheet
from console.divergence import comparison_as_json
from shadow import link
from tests.console.made import finding, item


def drawn(*items: link.DifferenceItem, width: int = 100, **changed: Any) -> str:
    """Draw one comparison on a terminal of this width, without colours."""
    console = Console(width=width, no_color=True, force_terminal=False)
    with console.capture() as captured:
        for part in comparison_sheet(comparison_as_json("c-1", finding(*items, **changed))):
            console.print(part)
    return captured.get()


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0 s ago"), (100, "100 s ago"), (200, "3 min ago"), (8_000, "2 h ago"), (9e5, "10 d ago")],
)
def test_moments_are_told_as_ages(monkeypatch: pytest.MonkeyPatch, seconds: float, words: str) -> None:
    """A moment is said in the largest unit that it has twice."""
    now = datetime.now(UTC)
    monkeypatch.setattr(
        "console.commands.sheet.datetime", SimpleNamespace(now=lambda _: now, fromisoformat=datetime.fromisoformat)
    )

    assert age((now - timedelta(seconds=seconds)).isoformat()) == words


def test_a_moment_in_the_future_is_now() -> None:
    """A server whose clock is ahead does not lead to a negative age."""
    assert age((datetime.now(UTC) + timedelta(hours=1)).isoformat()) == "0 s ago"


def test_blanks_are_visible_where_they_are_all_that_differs() -> None:
    """A separator, a line feed and a byte order mark can be seen in their fragments."""
    assert blanks_visible(" \t\n\ufeff") == "·\\t\\n\\ufeff"
    assert ",·" in drawn(item("whitespace.separator", "", legacy=", ", new=","))


def test_what_one_side_does_not_have_is_said() -> None:
    """A missing member shows legacy's value, and that new has none."""
    shown = drawn(item("member.missing", "/a", new_pointer=None, new_span=None, legacy="1", new=""))

    assert "new     (absent)" in shown


def test_cosmetic_differences_do_not_bury_the_wrong_price() -> None:
    """A hundred cosmetic places are one line below the price."""
    shown = drawn(
        item(legacy="12.50", new="12.40"),
        *(item("key_order", f"/a{number}") for number in range(20)),
        item("whitespace.separator", "", count=80),
        proof="proven",
    )

    assert shown.index("12.40") < shown.index("cosmetic, proven: key_order (20 times), whitespace.separator (80 times)")
    assert shown.count("key_order (") == 1


def test_where_all_is_cosmetic_each_cause_is_shown_with_its_places() -> None:
    """A comparison without a louder difference shows the cosmetic ones in full."""
    shown = drawn(item("key_order", "/a", legacy="a, b", new="b, a"))

    assert "1  key_order at /a" in shown
    assert "Same members" in shown or "same members" in shown


def test_what_a_tolerance_hides_says_so() -> None:
    """A tolerated difference names its tolerance, and no further one is offered for it."""
    shown = drawn(item(tolerated_by="t-1"))

    assert "Hidden by the tolerance t-1." in shown
    assert "Or tolerate it" not in shown


@pytest.mark.parametrize("cause", ["http.status", "body.truncated", "limit.size"])
def test_no_tolerance_is_offered_for_what_none_can_hide(cause: str) -> None:
    """Another status, a broken body and a limit are not tolerable, so nothing is offered for pasting."""
    assert "Or tolerate it" not in drawn(item(cause, ""))


def test_a_difference_without_a_place_is_told_by_its_detail() -> None:
    """Blanks behind every comma have no fragment: nothing is shown as legacy's or new's."""
    blanks = item(
        "whitespace.separator", "", legacy="", new="", legacy_span=None, new_span=None, count=3, detail="x -> y"
    )

    shown = drawn(blanks)

    assert "whitespace.separator at the root and 2 more like it  [x -> y]" in shown
    assert "(nothing)" not in shown


@pytest.mark.parametrize("width", [30, 60, 100, 200])
def test_a_sheet_fits_its_terminal(width: int) -> None:
    """No line is wider than the terminal, however long the values are."""
    shown = drawn(item(legacy="x" * 190, new="y" * 190), width=width, target="/" + "a" * 300)

    assert all(len(line) <= width for line in shown.splitlines())


def test_nothing_of_an_answer_reaches_the_terminal_unescaped() -> None:
    """Escape sequences in targets, values, consumers and bodies are shown, not run."""
    evil = "\x1b[2J"
    shown = drawn(
        item(legacy=evil, new=evil, detail=evil, folded=f"/{evil}"),
        target=f"/{evil}",
        request_id=evil,
        consumer=evil,
        builds=(evil, evil),
        legacy_body=evil.encode(),
        new_body=b"{}",
    )

    assert "\x1b" not in shown
