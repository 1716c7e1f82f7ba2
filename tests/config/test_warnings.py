"""Rules of warnings: what the file shows, what it silences, and the words that make a GET look like a write."""

from __future__ import annotations

from pathlib import Path

import pytest

from config.loader import load_text
from config.spec import MatchSpec
from config.warnings import WARNINGS, reference_markdown, sifted, warnings_of, writing_word

ROOT = Path(__file__).resolve().parents[2]
NOW = 1_800_000_000.0
HEAD = 'backends: {old: {url: "http://old"}, fresh: {url: "http://fresh"}}\ndefaults: {legacy: old, new: fresh}\n'
QUIET = HEAD + "routes:\n  - {name: orders, match: {path: /orders}}\n"


def names(text: str) -> list[str]:
    """Name every warning of a configuration that its text does not silence."""
    config = load_text(text, environ={})
    return [warned.name for warned in sifted(warnings_of(config, NOW), config, has_server=False)]


def route(more: str, path: str = "/orders") -> str:
    """Write a configuration with one route."""
    return HEAD + f"routes:\n  - {{name: orders, match: {{path: {path}}}, {more}}}\n"


EXPIRED = "{path: $.at, reason: clock, owner: shop, expires: 2020-01-31}"
FOUND = {
    "admin.open": "listen: 0.0.0.0:8080\n" + QUIET,
    "admin.public_metrics": "admin: {listen: 0.0.0.0:1, behind_tls: true, metrics_public: true, "
    "tokens: [{name: a, role: viewer, token: 'env:A'}]}\n" + QUIET,
    "admin.shared_token": "admin: {tokens: [{name: a, role: viewer, token: 'env:A'}, "
    "{name: b, role: admin, token: 'env:A'}]}\n" + QUIET,
    "backend.unused": QUIET.replace("fresh: {", 'idle: {url: "http://idle"}, fresh: {', 1),
    "cohort.everybody": "cohorts: [{name: all, match: {cidr: [128.0.0.0/1, 0.0.0.0/1]}}]\n" + QUIET,
    "copy.writes": route("reads: [POST]"),
    "get.writes": route("legacy: old", "/session/logout"),
    "ignore.idle": route("ignore: {warning: get.writes, reason: none}"),
    "routes.no_legacy": QUIET.replace("legacy: old", "legacy: none") + "undeclared: {backend: old}\n",
    "sticky.envoy": route("initial_stage: canary, initial_percent: 5"),
    "tls.unverified": QUIET.replace('"http://fresh"', '"https://fresh", tls: {verify: false}'),
    "tolerance.expired": route(f"tolerate: {EXPIRED}"),
    "watch.off": "flags: file\n" + QUIET,
}


@pytest.mark.parametrize("name", FOUND)
def test_each_warning_is_found_where_it_belongs(name: str) -> None:
    """Each warning that a file alone can show is found in a file that has it, and nothing else is."""
    assert names(FOUND[name]) == [name]


def test_a_quiet_file_has_no_warning() -> None:
    """The base of these tests warns of nothing."""
    assert names(QUIET) == []


def test_the_rest_needs_a_server_a_certificate_or_the_rules() -> None:
    """Every name of the closed list is found here, by check itself, or by a server."""
    elsewhere = {"certificate.ended", "certificate.ending", "route.unreachable"}

    assert set(WARNINGS) - set(FOUND) - elsewhere == {name for name, one in WARNINGS.items() if one.needs_server}


@pytest.mark.parametrize("place", ["route", "top"])
def test_a_warning_is_silenced_with_a_reason(place: str) -> None:
    """`ignore` on the route or at the top silences one warning, and needs a reason."""
    ignore = "{warning: get.writes, reason: it shows a page}"
    text = route("legacy: old" if place == "top" else f"ignore: {ignore}", "/logout")

    assert names(text + (f"ignore: {ignore}\n" if place == "top" else "")) == []


@pytest.mark.parametrize("name", ["stage.stuck", "sticky.envoy"])
def test_a_warning_of_a_server_may_be_silenced_without_one(name: str) -> None:
    """What a server alone can find, or may find more of, is not called idle when none was asked."""
    text = route(f"ignore: {{warning: {name}, reason: frozen until May}}")
    config = load_text(text, environ={})

    assert names(text) == []
    assert [one.name for one in sifted([], config, has_server=True)] == ["ignore.idle"]


WRITES = """
/logout /log-out /users/{id}/delete /deleteUser /unsubscribe /newsletter/unsubscribe.php /confirm/{token}
/confirmEmail /cart/add /orders/{id}/cancel /sign_out /feature/toggle /password/reset /users/{id}/activate
/opt-out /invites/{id}/accept /jobs/{id}/remove.json /posts/{id}/like /session/destroy /cache/flush /verify/{code}
"""
READS = """
/addresses /updates /confirmations/{id} /deleted-items /cancellations /toggles /feature-toggles /add-ons
/subscribers /subscriptions /likes /help/how-to-delete-your-account /activation /removals /payments /paypal
/votes /resets /settings /sendgrid /clearance /dropdown /acceptance-tests /rejections /orders/{delete}
/logouts /confirmed /disabled /reset-css /buyers /submissions /verification /approvals /restored /updates.json
"""


@pytest.mark.parametrize("path", WRITES.split())
def test_a_path_that_writes_is_recognised(path: str) -> None:
    """A verb as a segment, or at the head of a short one, says that a GET writes."""
    assert writing_word(MatchSpec(path=path))


@pytest.mark.parametrize("path", READS.split())
def test_a_noun_is_no_write(path: str) -> None:
    """Nouns, titles and names of parameters are not taken for verbs."""
    assert not writing_word(MatchSpec(path=path))


def test_a_query_can_say_that_a_get_writes() -> None:
    """`?action=delete` writes whatever the path says."""
    assert writing_word(MatchSpec(path="/orders", query=(("action", "delete"),)))


def test_a_post_that_says_it_reads_may_be_copied() -> None:
    """A search by POST warns of nothing; GraphQL, PUT and plain paths do; `shadow: never` copies nothing."""
    assert names(route("reads: [POST]", "/orders/search")) == []
    assert names(route("reads: [POST]", "/graphql")) == ["copy.writes"]
    assert names(route("reads: [PUT]", "/orders/search")) == ["copy.writes"]
    assert names(route("shadow: never", "/logout")) == []


def test_the_page_is_written_from_the_table() -> None:
    """docs/checks.md says exactly what the table says."""
    assert (ROOT / "docs/checks.md").read_text() == reference_markdown()
