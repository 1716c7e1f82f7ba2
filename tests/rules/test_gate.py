"""What a gate says: which evidence passes, which fails, and what is missing where it can do neither."""

from __future__ import annotations

from rules.gate import GateEvidence


def test_no_evidence_is_evidence_of_nothing() -> None:
    """Evidence without a comparison has no moments, no pairs and no build."""
    nothing = GateEvidence()

    assert (nothing.since, nothing.until, nothing.identical, nothing.build) == (0.0, 0.0, 0, "")
