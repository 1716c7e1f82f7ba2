"""Rules of the patterns that read a backend's bytes."""

from __future__ import annotations

import pickle
import re
import time

import pytest

from shadow.json_grammar import NUMBER, STRING, NotJsonError, OverLimitError


@pytest.mark.parametrize("pattern", [STRING, NUMBER])
@pytest.mark.parametrize("unit", [b'"', b'"\\u00', b'"\\n\\', b"1", b"-1.0", b"1e+", b"\\\\"])
def test_a_hostile_body_cannot_make_a_pattern_backtrack(pattern: bytes, unit: bytes) -> None:
    """Matching a megabyte that nearly fits takes time in proportion to its length only."""
    body = unit + unit[-1:] * (1 << 20)
    started = time.process_time()

    re.compile(pattern).match(body)

    assert time.process_time() - started < 1.0


@pytest.mark.parametrize("text", [b"0", b"-0", b"10", b"1.5", b"-1.50e+07", b"1E9", b"0e0"])
def test_a_number_of_the_standard_is_a_number(text: bytes) -> None:
    """Every spelling of RFC 8259, section 6, is read whole."""
    assert re.fullmatch(NUMBER, text)


@pytest.mark.parametrize(
    "text", [b"", b"-", b"01", b"+1", b".5", b"1.", b"1e", b"1e+", b"0x1", b"NaN", b"Infinity", b"1_0"]
)
def test_what_looks_like_a_number_to_others_is_none(text: bytes) -> None:
    """Spellings that some parsers take but RFC 8259 does not have are refused."""
    assert not re.fullmatch(NUMBER, text)


def test_errors_say_what_was_found_and_survive_pickling() -> None:
    """The errors name the byte or the limit in one sentence."""
    error = NotJsonError(7)

    assert "byte 7" in str(error)
    assert error.offset == 7
    assert "depth" in str(OverLimitError("depth"))
    assert isinstance(pickle.loads(pickle.dumps(error)), NotJsonError)
