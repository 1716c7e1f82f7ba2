"""The comparison with peers: it finds them, starts them, judges them, and writes its page."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conformance import peers
from tests.conformance.compare import fate
from tests.conformance.legal import LEGAL
from tests.conformance.must_reject import MUST_REJECT
from tests.conformance.page import Result, write_page
from tests.conformance.volley import Volley, whole


@pytest.mark.needs("nginx")
def test_a_peer_is_measured_like_us(tmp_path: Path) -> None:
    """A peer in its least configuration passes a plain request on and refuses two framings."""
    plain = next(legal for legal in LEGAL if legal.id == "A3/plain")
    framed = next(vector for vector in MUST_REJECT if vector.id == "A4/cl-then-te")
    nginx = peers.found("nginx")[0]
    with Volley() as volley, peers.serving(nginx, tmp_path, volley.backend) as address:
        passed, refused = volley.fire(address, [whole(plain.raw), whole(framed.raw)], close_s=0.05)

    assert (passed.status, fate(passed), passed.findings) == (200, "accepted", [])
    assert fate(refused) == "rejected"


def test_the_page_shows_every_figure_and_what_we_miss() -> None:
    """Each proxy has a column, each row a figure for it, and a vector that got past us is named."""
    counts = {"event us": 1_234, "abort us": -1, "orders failed": 3, "orders twice": 0, "strict rejected": 377}
    ours = Result(title="Matapalo", counts=dict(counts), details={"strict accepted": ["A4/cl-then-te"]})

    page = write_page([ours, Result(title="peer 1.0", counts=dict(counts))], ["peer 1.0: all alike"])

    assert "| | Matapalo | peer 1.0 |" in page
    assert "| 377 | 377 |" in page
    assert "| 1.2 ms | 1.2 ms |" in page
    assert "| not within 3 s | not within 3 s |" in page
    assert "* `strict accepted: A4/cl-then-te`" in page
    assert "* peer 1.0: all alike" in page
