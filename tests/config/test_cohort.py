"""Rules of telling a cohort from everybody."""

from __future__ import annotations

import pytest

from config.cohort import is_everybody
from config.spec import CohortSpec, MemberSpec


@pytest.mark.parametrize(
    ("match", "everybody"),
    [
        (MemberSpec(cidr=("0.0.0.0/0",)), True),
        (MemberSpec(cidr=("0.0.0.0/1", "10.0.0.0/8", "128.0.0.0/1")), True),
        (MemberSpec(cidr=("::/0",)), True),
        (MemberSpec(cidr=("10.0.0.0/8", "fd00::/8")), False),
        (MemberSpec(header="x-staff", cidr=("0.0.0.0/0",)), False),
        (MemberSpec(cookie="staff"), False),
    ],
)
def test_a_cohort_of_every_address_is_everybody(match: MemberSpec, everybody: bool) -> None:
    """Blocks that hold every address of a network, alone or together, are everybody; one such matcher is enough."""
    some = MemberSpec(header="x-beta")

    assert is_everybody(CohortSpec(name="all", match=(some, match))) is everybody
