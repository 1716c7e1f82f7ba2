"""What may still be tried after a backend failed, as a table of cases."""

from __future__ import annotations

import pytest

from proxy.failure import answer_to


@pytest.mark.parametrize(
    ("phase", "late", "status"),
    [
        ("resolve", False, 502),
        ("connect", False, 502),
        ("connect", True, 504),
        ("tls", False, 502),
        ("pool", False, 503),
        ("send", False, 502),
        ("head", False, 502),
        ("timeout", True, 504),
    ],
)
def test_each_phase_has_its_status(phase: str, late: bool, status: int) -> None:
    """A backend that cannot be reached or lies is a 502, one that is too slow a 504, a full pool a 503."""
    assert answer_to(phase, late=late)[0] == status
