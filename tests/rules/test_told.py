"""Prove that nothing of a configuration is told that may be a secret, whatever field somebody adds."""

from __future__ import annotations

from collections.abc import Iterator

from config import table
from config.kinds import Key, Kind, Many, Section, Table
from config.spec import (
    BackendSpec,
    CohortSpec,
    ConfigSpec,
    MatchSpec,
    MemberSpec,
    OpenFeatureSpec,
)
from rules import diff
from rules.told import TEXTS, change_as_text, match_as_told
from tests.rules.made import config, route

SECRET = "hunter2-canary"


def holding(secret: str) -> ConfigSpec:
    """Make a configuration with *secret* wherever a file may bring one."""
    shop = BackendSpec(
        name="shop", scheme="http", host="shop", port=80, headers_set=(("Authorization", f"Bearer {secret}"),)
    )
    asked = MatchSpec(path="/a", headers=(("x-door", secret),), query=(("key", secret),))
    staff = CohortSpec(name="staff", match=(MemberSpec(header="x-staff", value=secret),))
    provider = OpenFeatureSpec(options=(("sdk_key", secret), ("pin", len(secret))), context=(("tenant", secret),))
    return config(
        route("a", match=[asked], redact=(f"pattern:{secret}", "$.email")),
        backends=(shop,),
        cohorts=(staff,),
        openfeature=provider,
        database=f"postgresql://u:{secret}@db/m",
    )


def test_the_diff_holds_no_value_that_may_be_a_secret() -> None:
    """A header that is set or matched, a parameter, an option of a provider: the diff says whose value changed, and
    never what it is, also where it stands in what is there for the first time.
    """
    bare, one, two = config(route("a")), holding("another"), holding(SECRET)

    lines = "\n".join(diff(one, two) + diff(two, one))

    assert SECRET not in lines + "\n".join(diff(bare, two) + diff(two, bare))
    assert str(len(SECRET)) not in lines
    for name in ("Authorization", "x-door", "key", "x-staff", "sdk_key", "pin", "tenant"):
        assert name in lines


def test_a_change_that_is_not_shown_is_still_said() -> None:
    """What may be a secret and was not there before is marked; what stayed beside it is not."""
    one = (("X-Env", "prod"), ("Authorization", "Bearer a"))
    two = (("X-Env", "prod"), ("Authorization", "Bearer b"))

    assert change_as_text("headers_set", one, two) == (
        "headers_set: [X-Env: …, Authorization: …] -> [X-Env: …, Authorization: … (changed)]"
    )
    assert change_as_text("url", "https://h/a", "https://h/b") == "url: https://h/… -> https://h/… (changed)"
    assert change_as_text("roles", (), (("ann", "admin"),)) == "roles: [] -> [ann: admin]"


def test_of_a_match_it_is_told_what_it_asks_for() -> None:
    """Path, methods and host of a match may be told, and the names of what it asks for."""
    match = MatchSpec(path="/a", host="h", headers=(("x-door", SECRET),), query=(("key", SECRET),))

    assert match_as_told(match) == MatchSpec(path="/a", host="h", headers=(("x-door", "…"),), query=(("key", "…"),))


def test_a_field_that_nobody_has_thought_of_is_not_told() -> None:
    """A text is told where its field is on the list, so that a new one is not told by accident."""
    assert change_as_text("brand_new", None, SECRET) == "brand_new: none -> … (changed)"


def test_the_list_keeps_back_what_the_table_of_keys_calls_secret() -> None:
    """A key that may hold a secret is not told as it stands, unless what stands there is where the secret is found."""
    found = {key.field or key.name for key in keys_of(table.ROOT) if is_secret_itself(key.kind)}

    assert {"headers_set", "headers", "query", "options", "context", "value", "url", "database"} <= found
    assert {name for name in found if name in TEXTS} == {"url", "database"}
    assert SECRET not in TEXTS["url"](f"https://h/{SECRET}?k={SECRET}") + TEXTS["database"](f"postgresql://h/{SECRET}")


def keys_of(kind: Kind) -> Iterator[Key]:
    """Yield every key below a kind."""
    if isinstance(kind, Section):
        for key in kind.keys:
            yield key
            yield from keys_of(key.kind)
    elif isinstance(kind, Many | Table):
        yield from keys_of(kind.of)


def is_secret_itself(kind: Kind) -> bool:
    """Say whether a secret may stand there, and not only a reference to one."""
    if isinstance(kind, Many | Table):
        return is_secret_itself(kind.of)
    return kind.secret and kind not in (table.SECRET, table.TOKEN_SECRET, table.PATH) and not isinstance(kind, Section)
