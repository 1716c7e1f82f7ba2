"""Prove who belongs to a cohort."""

from __future__ import annotations

import pytest

from config.errors import SecretError
from config.spec import CohortSpec, MemberSpec
from rules.cohort import MAX_ADDRESSES, Clues, clues_of, cohorts_of
from rules.sticky import FieldList
from tests.rules.made import fields


def is_shown(clues: Clues, headers: FieldList, client_ip: str) -> bool:
    """Look for every clue there is."""
    has_field = any(headers.get(name) is not None for name in clues.headers)
    return has_field or clues.is_inside(client_ip) or clues.are_in(headers)


def takes(match: MemberSpec | tuple[MemberSpec, ...], headers: FieldList, client_ip: str = "192.0.2.7") -> bool:
    """Ask one cohort about one request."""
    matches = match if isinstance(match, tuple) else (match,)
    cohort = cohorts_of([CohortSpec(name="staff", match=matches)])["staff"]
    taken = cohort.takes(headers, client_ip)
    assert is_shown(cohort.clues, headers, client_ip) or not taken, "who is taken has shown a clue"
    return taken


@pytest.mark.parametrize(
    ("match", "headers", "expected"),
    [
        (MemberSpec(header="x-staff"), fields(x_staff="no"), True),
        (MemberSpec(header="x-staff"), fields(x_staff=""), True),
        (MemberSpec(header="x-staff"), fields(x_other="1"), False),
        (MemberSpec(header="x-staff", value="yes"), fields(x_staff="yes"), True),
        (MemberSpec(header="x-staff", value="yes"), fields(x_staff="YES"), False),
        (MemberSpec(header="x-staff", value="yes"), fields(x_staff="yes "), False),
        (MemberSpec(header="x-staff", value="jä"), fields(x_staff="jä"), True),
        (MemberSpec(cookie="beta"), fields(cookie="a=1; beta=; c=2"), True),
        (MemberSpec(cookie="beta"), fields(cookie="Beta=1; alpha=beta=1"), False),
        (MemberSpec(cookie="beta", value="1"), fields(cookie="beta=1; beta=2"), True),
        (MemberSpec(cookie="beta", value="2"), fields(cookie="beta=1; beta=2"), False),
        (MemberSpec(cookie="beta"), fields(x_beta="1"), False),
    ],
)
def test_a_header_or_cookie_names_a_member(match: MemberSpec, headers: FieldList, expected: bool) -> None:
    """A header or cookie makes a member by being there, or by its exact first value where one is wanted."""
    assert takes(match, headers) is expected


@pytest.mark.parametrize("value", ["s3cret", "wrong", "", "s3cre", "s3crets", "s3cr\u00e9t"])
def test_a_token_must_be_the_secret(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    """With a token only its exact value makes a member; anything else is as good as nothing."""
    monkeypatch.setenv("TEST_STAFF", "s3cret")

    assert takes(MemberSpec(header="x-staff", token="env:TEST_STAFF"), fields(x_staff=value)) is (value == "s3cret")
    assert takes(MemberSpec(cookie="s", token="env:TEST_STAFF"), fields(cookie=f"s={value}")) is (value == "s3cret")


def test_a_missing_token_is_said() -> None:
    """A cohort whose secret is missing is not compiled: it would take everybody or nobody."""
    with pytest.raises(SecretError, match="TEST_STAFF_MISSING"):
        cohorts_of([CohortSpec(name="staff", match=(MemberSpec(header="x-staff", token="env:TEST_STAFF_MISSING"),))])


@pytest.mark.parametrize(
    ("client_ip", "expected"),
    [
        ("10.1.2.3", True),
        ("10.255.255.255", True),
        ("11.0.0.0", False),
        ("2001:db8::1", True),
        ("2001:db9::1", False),
        ("::ffff:10.1.2.3", True),
        ("::ffff:11.1.2.3", False),
        ("", False),
        ("unix", False),
    ],
)
def test_an_address_is_inside_one_of_the_blocks(client_ip: str, expected: bool) -> None:
    """A client belongs by its address if one block holds it; IPv4 in IPv6 clothes is IPv4, no address is outside."""
    match = MemberSpec(cidr=("10.0.0.0/8", "2001:db8::/32"))

    assert takes(match, fields(), client_ip) is expected
    assert takes(match, fields(), client_ip) is expected  # remembered


def test_addresses_that_are_remembered_are_bounded() -> None:
    """However many clients there are, an answer stays right and only so many of them are remembered."""
    match = CohortSpec(name="near", match=(MemberSpec(cidr=("10.0.0.0/9",)),))
    takes = cohorts_of([match])["near"].takes

    found = [takes(fields(), f"10.{number >> 8}.{number & 255}.1") for number in range(0, 65_536, 8)]

    assert len(found) > MAX_ADDRESSES
    assert sum(found) == len(found) // 2


def test_everything_in_one_match_must_be_so_and_one_match_is_enough() -> None:
    """Inside a match all parts are needed; of several matches one."""
    near = MemberSpec(header="x-staff", cidr=("10.0.0.0/8",))
    beta = MemberSpec(cookie="beta")

    assert takes(near, fields(x_staff="1"), "10.0.0.1")
    assert not takes(near, fields(x_staff="1"), "11.0.0.1")
    assert not takes(near, fields(), "10.0.0.1")
    assert takes((near, beta), fields(cookie="beta=1"), "11.0.0.1")
    assert not takes((near, beta), fields(x_staff="1"), "11.0.0.1")


@pytest.mark.parametrize(
    ("headers", "client_ip", "shown"),
    [
        (fields(), "192.0.2.7", False),
        (fields(x_other="1", cookie="session=1; alphabeta"), "192.0.2.7", False),
        (fields(x_staff="wrong"), "192.0.2.7", True),
        (fields(cookie="beta=wrong"), "192.0.2.7", True),
        (fields(), "10.0.0.1", True),
        (fields(x_staff_too="1"), "11.0.0.1", False),
    ],
)
def test_who_shows_nothing_that_any_cohort_asks_for_is_in_none(headers: FieldList, client_ip: str, shown: bool) -> None:
    """Of several cohorts each asks for one thing at the least; who shows none of them is asked no more."""
    asked = [
        CohortSpec(name="staff", match=(MemberSpec(header="x-staff", value="yes", cidr=("11.0.0.0/8",)),)),
        CohortSpec(name="beta", match=(MemberSpec(cookie="beta", value="1"), MemberSpec(cidr=("10.0.0.0/8",)))),
    ]

    assert is_shown(clues_of(tuple(cohorts_of(asked).values())), headers, client_ip) is shown


def test_cohorts_that_ask_for_the_same_blocks_share_what_is_remembered() -> None:
    """However many cohorts and routes ask about the same blocks, an address is read once."""
    specs = [CohortSpec(name=name, match=(MemberSpec(cidr=("10.0.0.0/8",)),)) for name in ("near", "close")]
    near, close = cohorts_of(specs).values()

    assert near.clues.is_inside is close.clues.is_inside is clues_of((near, close)).is_inside
