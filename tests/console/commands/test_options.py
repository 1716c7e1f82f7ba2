"""What several commands take."""

from __future__ import annotations

from pathlib import Path

import click
import pytest

from console.commands.options import Header, Share, TokenValue


@pytest.mark.parametrize(("text", "expected"), [("12.5%", 12.5), ("12.5", 12.5), ("0", 0.0), ("100%", 100.0)])
def test_a_share_is_percent_with_or_without_its_sign(text: str, expected: float) -> None:
    """12.5 and 12.5% are the same share."""
    assert Share().convert(text, None, None) == expected


@pytest.mark.parametrize("text", ["140", "-1", "half", "12.345%", ""])
def test_what_is_no_share_is_refused(text: str) -> None:
    """A share beyond 100 %, below 0 or finer than 0.01 % is a usage error."""
    with pytest.raises(click.BadParameter, match="expected a share"):
        Share().convert(text, None, None)


def test_a_header_is_a_name_and_a_value() -> None:
    """Blanks around name and value do not count; further colons belong to the value."""
    assert Header().convert("X-Time:  12:30 ", None, None) == ("X-Time", "12:30")
    with pytest.raises(click.BadParameter, match="expected 'Name: value'"):
        Header().convert("X-User-Id", None, None)


def test_a_token_is_itself_or_where_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``env:NAME`` and ``file:PATH`` stand for what is there, so that no list of processes shows a token."""
    kept = tmp_path / "token"
    kept.write_text("of the file\n")
    monkeypatch.setenv("OPS", "of the environment")

    found = [TokenValue().convert(text, None, None) for text in ("mtp_1", "env:OPS", f"file:{kept}")]

    assert found == ["mtp_1", "of the environment", "of the file"]


@pytest.mark.parametrize(("text", "said"), [("env:NOBODY_SET_IT", "is not set"), ("file:/nowhere/token", "nowhere")])
def test_a_token_that_cannot_be_fetched_is_a_usage_error(text: str, said: str) -> None:
    """A reference that leads to nothing says so before anybody is asked."""
    with pytest.raises(click.BadParameter, match=said):
        TokenValue().convert(text, None, None)
