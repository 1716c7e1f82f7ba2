"""``matapalo diffs`` and ``matapalo diff``."""

from __future__ import annotations

import json
from typing import Any

from console.divergence import comparison_as_json
from tests.console.commands.conftest import Cli, StandIn
from tests.console.made import finding, item

GROUP: dict[str, Any] = {
    "id": "d-5f0c2a91b3",
    "route": "orders",
    "statuses": [200, 200],
    "severity": "value",
    "sentence": "A value differs at /items/*/price; also whitespace.separator",
    "causes": ["value.changed", "whitespace.separator"],
    "places": [{"cause": "value.changed", "path": "/items/*/price"}],
    "count": 79,
    "compared": 1200,
    "share": 6.5833,
    "same_meaning": False,
    "first_seen": "2026-01-31T01:00:00Z",
    "last_seen": "2026-01-31T02:00:00Z",
    "state": "open",
    "state_sentence": "seen on the newest build, v2",
    "builds": [{"build": "v2", "count": 79, "compared": 1200, "state": "open", "first_seen": "", "last_seen": ""}],
    "noise": {"sentence": "legacy differs from itself here in 7.5 % of 40 answers", "rate": 7.5},
    "again": [{"attempt": 1, "gone": 3, "stays": 0, "other": 2}],
    "recheck": {"at": "2026-01-31T03:00:00.000Z", "outcome": "still", "sentence": "There.", "by": "dev"},
    "consumers": {"names": ["app", "web"], "more": True},
    "note": "ask Eve",
    "ticket": "SHOP-17",
    "decided": None,
}


def comparison(**changed: Any) -> dict[str, Any]:  # Any: JSON
    """Make one comparison as the API shows it: a wrong price and a separator."""
    made = finding(
        item(legacy="12.50", new="12.40"),
        item("whitespace.separator", "", legacy=", ", new=",", count=7),
        **{"proof": "proven", "copy_after_us": -1_500, "builds": ("", "v2"), **changed},
    )
    return comparison_as_json("c-09ab12cd34", made)


def whole(**changed: Any) -> dict[str, Any]:  # Any: JSON
    """Make the whole answer about one divergence."""
    examples = [
        {"id": "c-09ab12cd34", "at": "", "request_id": "r1", "bytes": 200, "roles": ["newest"]},
        {"id": "c-1111111111", "at": "", "request_id": "r0", "bytes": 100, "roles": ["smallest", "first"]},
    ]
    return {**GROUP, "examples": examples, "example": comparison(**changed)}


def test_divergences_are_listed_most_severe_first(cli: Cli, admin: StandIn) -> None:
    """Each group is one line; the command for the next page and the next step are printed with all that was asked."""
    admin.answers["*"] = (200, {"divergences": [GROUP], "next": "c1"})

    printed = cli("diffs", "orders", "--cause", "value.changed", at=admin)

    line = next(line for line in printed.out.splitlines() if "d-5f0c2a91b3" in line)
    assert line.split()[:6] == ["d-5f0c2a91b3", "orders", "value", "open", "79", "6.58%"]
    assert line.endswith(GROUP["sentence"])
    assert "matapalo diffs orders --cause value.changed --cursor c1" in printed.out
    assert "matapalo diff d-5f0c2a91b3" in printed.out
    assert "cause=value.changed" in admin.asked[0].call


def test_nothing_seen_is_said_so(cli: Cli, admin: StandIn) -> None:
    """An empty list is a sentence that repeats the question, not an empty screen."""
    admin.answers["*"] = (200, {"divergences": [], "next": None})

    assert "No divergence has been seen on orders." in cli("diffs", "orders", at=admin).out
    assert "at /a in state fixed." in cli("diffs", "--path", "/a", "--state", "fixed", at=admin).out


def test_one_divergence_shows_what_a_developer_acts_on(cli: Cli, admin: StandIn) -> None:
    """State, builds, noise, consumers, cause, both sides, proof, fix, a tolerance and the next commands are there."""
    answer = whole()
    admin.answers["*"] = (200, answer)

    printed = cli("diff", "d-5f0c2a91b3", at=admin)

    for part in (
        "79 of 1200 compared (6.58%)",
        "open: seen on the newest build, v2",
        "v2: 79 of 1200, open",
        "app, web and more",
        "legacy differs from itself here in 7.5 % of 40 answers",
        "attempt 1: gone 3, other 2",
        "by dev: There.",
        "SHOP-17",
        "ask Eve",
        "GET /orders/7",
        "1  value.changed at /items/0/price",
        "legacy  12.50",
        "new     12.40",
        "cosmetic, proven: whitespace.separator (7 times)",
        "the copy was sent 1.5 ms before the request that was answered",
        "matapalo causes whitespace.separator",
        'tolerate: [{path: "$.items[*].price", reason: "why", owner: "who", expires: 2',
        "matapalo diff c-1111111111 (smallest, first)",
    ):
        assert part in printed.out, part
    assert printed.out.index("value.changed at") < printed.out.index("whitespace.separator (7")
    assert cli("diff", "d-5f0c2a91b3", "--json", at=admin).json == json.loads(json.dumps(answer))


def test_legacy_is_shown_as_new_writes_so_that_only_the_price_is_left(cli: Cli, admin: StandIn) -> None:
    """With kept bodies key order, escapes and blanks are undone on both sides: one line differs, the wrong price."""
    legacy = b'{"items": [{"price": 12.50, "name": "caf\\u00e9"}], "total": 1e2}\n'
    new = b'{"total":100,"items":[{"name":"caf\xc3\xa9","price":12.40}]}'
    admin.answers["*"] = (200, whole(legacy_body=legacy, new_body=new))

    printed = cli("diff", "d-5f0c2a91b3", at=admin)

    marked = [line.strip() for line in printed.out.splitlines() if line.strip()[:2] in ("- ", "+ ")]
    assert [" ".join(line.split()) for line in marked] == ['- "price": 12.50', '+ "price": 12.40']


def test_raw_shows_every_blank_and_control_character(cli: Cli, admin: StandIn) -> None:
    """Spaces, tabs, line feeds and escape sequences of an answer are visible, and none reaches the terminal."""
    admin.answers["*"] = (200, comparison(legacy_body=b'{"a": "\x1b[31m"}\t\n', new_body=b'{"a":""}'))

    printed = cli("diff", "c-09ab12cd34", "--raw", at=admin)

    assert r'{"a":·"\x1b[31m"}\t\n' in printed.out
    assert "\x1b" not in printed.out


def test_without_bodies_raw_shows_fragments(cli: Cli, admin: StandIn) -> None:
    """Where only fragments are kept, raw says so and shows them with their offsets."""
    admin.answers["*"] = (200, comparison())

    printed = cli("diff", "c-09ab12cd34", "--raw", at=admin)

    assert "keep: bodies" in printed.out
    assert "bytes 3 to 8" in printed.out
    assert ",·" in printed.out


def test_a_request_can_be_repeated_with_curl(cli: Cli, admin: StandIn) -> None:
    """--curl prints a command in which $AUTH stands for what was redacted, and nothing a shell would run."""
    headers = [("Authorization", "[redacted]"), ("X-Note", "a'b $(id)"), ("Host", "shop"), ("X-Key", "[redacted 9]")]
    answer = comparison(
        target="/orders/7?q=1&token=…", method="POST", request_headers=headers, request_body=b'{"it\'s": 1}'
    )
    admin.answers["*"] = (200, answer)

    printed = cli("diff", "c-09ab12cd34", "--curl", at=admin)

    assert '-X POST "$BASE/orders/7?q=1&token=$QUERY_TOKEN"' in printed.out
    assert '-H "Authorization: $AUTH"' in printed.out
    assert '-H "X-Key: $X_KEY"' in printed.out
    assert """-H 'X-Note: a'"'"'b $(id)'""" in printed.out
    assert "shop" not in printed.out
    assert "--data-binary '{\"it'\"'\"'s\": 1}'" in printed.out


def test_structure_is_said_by_deepdiff(cli: Cli, admin: StandIn) -> None:
    """--structure says how the two values differ."""
    admin.answers["*"] = (200, comparison(legacy_body=b'{"__a": 1.50, "b": []}', new_body=b'{"__a": 1.5, "b": [2]}'))

    printed = cli("diff", "c-09ab12cd34", "--structure", at=admin)

    assert "root['b'][0]" in printed.out


def test_a_decision_is_sent_with_its_reason(cli: Cli, admin: StandIn) -> None:
    """--accept and --reopen change the state, with a note and a ticket; a comparison cannot be decided about."""
    admin.answers["*"] = (200, {**GROUP, "state": "accepted", "state_sentence": "accepted by eve", "audit_id": "a-9"})

    printed = cli("diff", "d-5f0c2a91b3", "--accept", "--note", "a clock", at=admin)

    assert admin.asked[0].call == "PATCH /api/v1/divergences/d-5f0c2a91b3"
    assert admin.asked[0].body == {"state": "accepted", "note": "a clock"}
    assert "accepted by eve · audit a-9" in printed.out
    assert cli("diff", "c-1", "--accept", at=admin).code == 2
    assert cli("diff", "d-1", "--accept", "--reopen", at=admin).code == 2


def test_a_divergence_without_an_example_says_so(cli: Cli, admin: StandIn) -> None:
    """When retention has taken the examples, what is counted is still shown."""
    admin.answers["*"] = (200, {**GROUP, "examples": [], "example": None})

    printed = cli("diff", "d-5f0c2a91b3", at=admin)

    assert "79 of 1200 compared" in printed.out
    assert "No example is kept any more." in printed.out
