"""What a backend gets: its own path and Host."""

from __future__ import annotations

import pytest

from rules.target import Target
from tests.support.oneworker import backend


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        (b"/api/a", b"/v2/a"),
        (b"/api", b"/v2/"),
        (b"/api?q", b"/v2/?q"),
        (b"/apiary", b"/v2/apiary"),
        (b"/other", b"/v2/other"),
        (b"/api//x", b"/v2//x"),
    ],
)
def test_a_prefix_is_stripped_at_segment_borders(target: bytes, expected: bytes) -> None:
    """``strip`` takes whole segments, and ``add`` puts its prefix in front."""
    policy = Target(backend("b", "http://h:80", path_strip="/api", path_add="/v2"))

    assert policy.path(target) == expected


def test_a_v6_backend_is_named_in_brackets() -> None:
    """The Host of an IPv6 backend stands in brackets, with the port where it is not the scheme's own."""
    assert Target(backend("b", "http://[::1]:8000", host_header="backend")).host == b"[::1]:8000"
    assert Target(backend("b", "http://h:80", host_header="backend")).host == b"h"
    assert Target(backend("b", "http://h:80", host_header="fixed.test")).host == b"fixed.test"
