"""Rules of who may call the admin API: every call, every role, every credential, as the table says."""

from __future__ import annotations

import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx2
import pytest
from starlette.datastructures import Headers

from config.spec import AddressSpec, AdminSpec, IdentitySpec, Role
from console.auth import ROLES, Doorkeeper, Visitor
from console.call import Call
from console.calls import CALLS
from console.guesses import AT_ONCE
from console.keyring import Keyring
from console.problem import ProblemError
from store.tokens import Token
from tests.support.controlnode import ROUTES, ControlNode, running

pytestmark = pytest.mark.anyio

VALUES = {"EYE": "viewer-token", "DEV": "developer-token", "OPS": "operator-token", "BOSS": "admin-token"}
ROLE_OF: dict[Role, str] = {"viewer": "EYE", "developer": "DEV", "operator": "OPS", "admin": "BOSS"}
TOKENS = (
    ", tokens: ["
    + ", ".join(f"{{name: {value.lower()}, role: {role}, token: env:{value}}}" for role, value in ROLE_OF.items())
    + "]"
)
Guarded = tuple[ControlNode, httpx2.AsyncClient]
ONE = httpx2.Limits(max_connections=1, keepalive_expiry=600)
STRANGER = "192.0.2.7"
PROXY = "10.1.2.3"


def bearer(value: str) -> dict[str, str]:
    """Carry one token."""
    return {"Authorization": f"Bearer {VALUES.get(value, value)}"}


@asynccontextmanager
async def guarded(tmp_path: Path, more: str = "") -> AsyncIterator[Guarded]:
    """Run a node with tokens of all roles, and one client for all calls."""
    node = ControlNode(tmp_path, admin=TOKENS + more)
    node.environment = dict(VALUES)
    try:
        await node.start()
        async with httpx2.AsyncClient(base_url=node.url, trust_env=False, timeout=60, limits=ONE) as client:
            await client.get("/")  # the connection is the fixture's, not the first test's
            yield node, client
    finally:
        await node.close()


async def ask(client: httpx2.AsyncClient, call: Call, headers: dict[str, str]) -> tuple[int, dict[str, str]]:
    """Make one call of the table with nothing in it; a stream is left at its head."""
    path = call.path.replace("{name}", "nobody")
    content: dict[str, Any] = {} if call.method == "GET" else {"json": {}}
    async with client.stream(call.method, path, headers=headers, **content) as answer:
        return answer.status_code, dict(answer.headers)


# --- the bar: calls by credentials ------------------------------------------------------------------------------------


async def test_every_cell_is_as_the_table_says(tmp_path: Path) -> None:
    """Each call by (no token, bad, expired, four roles, cross-origin with the highest role) is let in or refused as the
    table of calls says, and what is let in is let in for its role alone."""
    async with guarded(tmp_path) as (_, client):
        made = await client.post(
            "/api/v1/tokens", json={"name": "gone", "role": "admin", "expires": "1ms"}, headers=bearer("BOSS")
        )
        expired = made.json()["value"]
        evil = {"Origin": "https://evil.example"}
        credentials: dict[str, tuple[dict[str, str], int | None]] = {
            "no token": ({}, 401),
            "bad token": (bearer("mtp_nope"), 401),
            "expired token": (bearer(expired), 401),
            "two tokens": ({"Authorization": f"Bearer {VALUES['BOSS']}, Bearer {VALUES['BOSS']}"}, 401),
            "another scheme": ({"Authorization": f"Basic {VALUES['BOSS']}"}, 401),
            "cross-origin": ({**bearer("BOSS"), **evil}, 403),
            "cross-site": ({**bearer("BOSS"), "Sec-Fetch-Site": "cross-site"}, 403),
            "foreign host": ({**bearer("BOSS"), "Host": "evil.example"}, 403),
            **{role: (bearer(name), None) for role, name in ROLE_OF.items()},
        }
        wrong = []
        for call in CALLS:
            for who, (headers, expected) in credentials.items():
                status, _ = await ask(client, call, headers)
                if expected is None:
                    is_let_in = ROLES.index(who) >= ROLES.index(call.role)
                    is_right = status not in (401, 403, 429) and status < 500 if is_let_in else status == 403
                else:
                    is_right = status == expected
                if not is_right:
                    wrong.append((call.name, who, status))
        metrics = (await client.get("/metrics", headers=bearer("EYE"))).text

    assert wrong == []
    counted = dict(re.findall(r'matapalo_admin_refused_total\{reason="(\w+)"\} (\d+)', metrics))
    assert int(counted["no_token"]) == len(CALLS) + 1
    assert int(counted["bad_token"]) == 4 * len(CALLS)
    assert int(counted["cross_site"]) == 2 * len(CALLS)
    assert int(counted["host"]) == len(CALLS)
    assert int(counted["role"]) == sum(ROLES.index(call.role) for call in CALLS)


MAY_CALL: dict[Role, set[str]] = {
    "viewer": {
        *("metrics", "status", "nodes", "routes", "route", "gate", "share", "explain", "audit", "tolerances"),
        *("events", "ofrep_flag", "ofrep_flags", "totals", "openapi"),
    },
    "developer": {"divergences", "divergence", "comparison", "encoding", "triage", "recheck", "tolerate"},
    "operator": {
        *("flip", "flip_journey", "rollback", "rollback_many", "hold", "release", "release_many", "shadow"),
        *("autopilot", "undo", "deployed", "reset_evidence", "untolerate", "forget_node", "reload"),
    },
    "admin": {"tokens", "make_token", "rotate_token", "revoke_token"},
}
"""The lowest role of each call, written a second time: a new call, or another role, is decided here as well."""


def test_who_may_call_is_decided_twice() -> None:
    """No call exists whose role does not stand here and on the page too, and only viewers' calls change nothing."""
    page = (Path(__file__).resolve().parents[2] / "docs" / "admin-api.md").read_text()
    headings = [line for line in page.splitlines() if line.startswith("### `")]

    assert {call.name: call.role for call in CALLS} == {
        name: role for role, names in MAY_CALL.items() for name in names
    }
    for call in CALLS:
        said = [line for line in headings if re.search(rf"`{call.method} {re.escape(call.path)}[`?]", line)]
        assert call.name == "route" or [line.partition("` · ")[2].startswith(call.role) for line in said] == [True]
        assert call.role != "viewer" or call.method == "GET" or call.name.startswith("ofrep")


async def test_what_no_call_takes_tells_strangers_nothing(
    shared: Guarded,
) -> None:
    """An unknown path and a wrong method are 401 without a token; with one they are 404 and 405."""
    _, client = shared
    unknown = [(await client.get("/api/v1/nope", headers=one)).status_code for one in ({}, bearer("EYE"))]
    method = [(await client.delete("/api/v1/status", headers=one)).status_code for one in ({}, bearer("EYE"))]
    preflight = await client.options("/api/v1/status", headers={"Origin": "https://evil.example"})

    assert (unknown, method, preflight.status_code) == ([401, 404], [401, 405], 403)


async def test_every_answer_is_armoured(shared: Guarded) -> None:
    """Answers, problems and refusals alike forbid sniffing, storing and framing."""
    _, client = shared
    answers = [
        await client.get("/api/v1/status", headers=bearer("EYE")),
        await client.get("/metrics", headers=bearer("EYE")),
        await client.get("/api/v1/status"),
        await client.get("/nope", headers=bearer("EYE")),
        await client.post("/api/v1/undo", content=b"{", headers={**bearer("BOSS"), "content-type": "a/b"}),
    ]

    assert [answer.status_code for answer in answers] == [200, 200, 401, 404, 415]
    for answer in answers:
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cache-control"] == "no-store"
        assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
    assert answers[2].headers["www-authenticate"] == "Bearer"


async def test_metrics_may_be_public(tmp_path: Path) -> None:
    """metrics_public opens /metrics and nothing else, whatever token is shown, and not to pages of other sites."""
    async with guarded(tmp_path, ", metrics_public: true") as (_, client):
        answers = [
            await client.get("/metrics"),
            await client.get("/metrics", headers=bearer("mtp_nope")),
            await client.get("/api/v1/status"),
            await client.get("/metrics", headers={"Host": "evil.example"}),
            await client.get("/metrics", headers={"Origin": "https://evil.example"}),
        ]

    assert [answer.status_code for answer in answers] == [200, 200, 401, 403, 403]


async def test_the_actor_of_a_change_is_the_token(shared: Guarded) -> None:
    """The audit names the token that changed something and where it came from; its value stands nowhere."""
    node, client = shared
    await client.post("/api/v1/routes/orders/flip", json={"stage": "shadow"}, headers=bearer("OPS"))
    entry = (await client.get("/api/v1/audit?limit=1", headers=bearer("EYE"))).json()["entries"][0]
    written = node.log.read_bytes() + b"".join(file.read_bytes() for file in node.state_dir.glob("*.db*"))

    assert (entry["actor"], entry["source"], entry["address"]) == ("ops", "api", "127.0.0.1")
    assert VALUES["OPS"].encode() not in written


async def test_a_stream_ends_with_its_token(shared: Guarded) -> None:
    """Who listens with a token that is revoked meanwhile hears nothing of what happens afterwards."""
    _, client = shared
    boss = bearer("BOSS")
    made = (await client.post("/api/v1/tokens", json={"name": "ear", "role": "viewer"}, headers=boss)).json()
    async with (
        httpx2.AsyncClient(base_url=client.base_url, trust_env=False, timeout=60) as ear,
        ear.stream("GET", "/api/v1/events", headers=bearer(made["value"])) as answer,
    ):
        lines = answer.aiter_lines()
        began, heard = await anext(lines), ""
        revoked = await client.post("/api/v1/tokens/ear/revoke", json={}, headers=boss)
        await client.post("/api/v1/routes/orders/hold", json={"reason": "not for your ears"}, headers=boss)
        await client.post("/api/v1/routes/orders/release", json={}, headers=boss)
        while "not for your ears" not in heard and (line := await anext(lines, None)) is not None:
            heard += line

    assert (began, revoked.status_code) == ("retry: 2000", 200)
    assert "not for your ears" not in heard


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Host": "evil.example"},
        {"Host": "evil.example:8081"},
        {"Host": "127.0.0.1.evil.example"},
        {"Host": "localhost:80@evil.example"},
        {"Host": "[::1%25evil.example]"},
        {"Sec-Fetch-Site": "Cross-Site"},
    ],
    ids=str,
)
async def test_a_page_of_another_site_is_refused(open_node: ControlNode, headers: dict[str, str]) -> None:
    """Without tokens, what a browser sends for a page of another site is refused with 403."""
    get = await open_node.get("/api/v1/status", headers=headers)
    post = await open_node.post("/api/v1/routes/orders/flip", {"stage": "live"}, headers=headers)
    stage = (await open_node.get("/api/v1/routes/orders")).json()["flag"]["stage"]

    assert (get.status_code, post.status_code) == (403, 403)
    assert stage == "legacy"


async def test_our_own_page_and_programs_are_let_in(open_node: ControlNode) -> None:
    """Without tokens, loopback by any of its names and our own origin may call; a wrong token is refused even so."""
    port = open_node.url.rpartition(":")[2]
    answers = [
        await open_node.get("/api/v1/status", headers=headers)
        for headers in (
            {"Host": f"localhost:{port}"},
            {"Host": f"127.0.0.1:{port}", "Origin": f"http://127.0.0.1:{port}", "Sec-Fetch-Site": "same-origin"},
            {"Sec-Fetch-Site": "none"},
            {"Host": f"[::1]:{port}"},
            bearer("mtp_nope"),
        )
    ]

    assert [answer.status_code for answer in answers] == [200, 200, 200, 200, 401]


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    """Keep one loop for the whole file, so that one node can serve many cases."""
    return "asyncio"


@pytest.fixture(scope="module")
async def shared(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Guarded]:
    """Run one node with tokens."""
    async with guarded(tmp_path_factory.mktemp("tokens")) as pair:
        yield pair


@pytest.fixture(scope="module")
async def open_node(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ControlNode]:
    """Run one node without tokens."""
    async with running(tmp_path_factory.mktemp("open")) as node:
        yield node


async def test_a_reload_changes_who_may_call(tmp_path: Path) -> None:
    """Tokens, names and people of the configuration are taken over with a reload, the hash of a token too."""
    value = "a-token-that-only-its-owner-has"
    async with guarded(tmp_path) as (node, client):
        digest = sha256(value.encode()).hexdigest()
        node.write(
            ROUTES.replace("/cart", "/basket"),
            admin=f", tokens: [{{name: ci, role: admin, token: 'sha256:{digest}'}}], hosts: [matapalo.example]",
        )
        reloaded = await client.post("/-/reload", json={}, headers=bearer("OPS"))
        named = await client.get("/api/v1/nope", headers={"Host": "matapalo.example", **bearer("EYE")})
        deadline = time.monotonic() + 60
        seen: tuple[int, int] = (0, 0)
        while seen != (200, 401) and time.monotonic() < deadline:
            answers = [await client.get("/api/v1/status", headers=bearer(one)) for one in (value, "EYE")]
            seen = (answers[0].status_code, answers[1].status_code)

    assert reloaded.status_code in (200, 202), reloaded.text
    assert named.status_code != 403
    assert seen == (200, 401)


# --- the doorkeeper alone: addresses that a test cannot have ----------------------------------------------------------


def keyring() -> Keyring:
    """Hang up one valid and one expired token."""
    ring = Keyring()
    tokens = [
        Token(
            key=name, role="operator", digest=sha256(name.encode()).hexdigest(), made_at=0.0, made_by="", expires_at=end
        )
        for name, end in (("right", 0.0), ("over", 1.0))
    ]
    ring.hang(made=tokens)
    return ring


IDENTITY = IdentitySpec(
    header="x-forwarded-user",
    sources=("10.0.0.0/8",),
    roles=(("alice", "operator"), ("bob", "viewer"), ("\u00e9", "viewer")),
    groups_header="x-forwarded-groups",
    groups=(("sre", "operator"), ("heads", "admin")),
)
ADMIN = AdminSpec(
    listen=AddressSpec(host="0.0.0.0", port=8081), hosts=("matapalo.example", "*.svc.example"), identity=IDENTITY
)


def let_in(
    address: str, headers: dict[str, str], *, admin: AdminSpec = ADMIN, door: Doorkeeper | None = None
) -> Visitor | str:
    """Knock once; the visitor, or the kind of the refusal."""
    try:
        return (door or Doorkeeper(keyring())).admit(admin, Headers({"host": "192.0.2.1", **headers}), address)
    except ProblemError as problem:
        return problem.kind


@pytest.mark.parametrize(
    ("address", "headers", "expected"),
    [
        (PROXY, {"x-forwarded-user": "alice"}, ("alice", "operator", "identity")),
        ("::ffff:10.1.2.3", {"x-forwarded-user": "alice"}, ("alice", "operator", "identity")),
        (PROXY, {"x-forwarded-user": "bob"}, ("bob", "viewer", "identity")),
        (PROXY, {"x-forwarded-user": "bob", "x-forwarded-groups": "dev, heads"}, ("bob", "admin", "identity")),
        (PROXY, {"x-forwarded-user": "carol", "x-forwarded-groups": "sre"}, ("carol", "operator", "identity")),
        (PROXY, {"x-forwarded-user": "carol"}, "role"),
        (PROXY, {"x-forwarded-user": "Alice"}, "role"),
        (PROXY, {"x-forwarded-user": "a" * 200}, "identity"),
        (PROXY, {"x-forwarded-user": "\u00e9".encode().decode("latin-1")}, ("\u00e9", "viewer", "identity")),
        (PROXY, {"x-forwarded-user": "\u00e9"}, "identity"),
        (PROXY, {"x-forwarded-user": "\x9b2J", "x-forwarded-groups": "sre"}, "identity"),
        (PROXY, {"x-forwarded-user": "\u202e".encode().decode("latin-1"), "x-forwarded-groups": "sre"}, "identity"),
        (PROXY, {"x-forwarded-user": " "}, "no-token"),
        (PROXY, {"x-forwarded-groups": "heads"}, "no-token"),
        (PROXY, {}, "no-token"),
        (PROXY, {"authorization": "Bearer right"}, ("right", "operator", "api")),
        (STRANGER, {"x-forwarded-user": "alice"}, "identity"),
        (STRANGER, {"x-forwarded-user": "alice", "authorization": "Bearer right"}, "identity"),
        (STRANGER, {"x-forwarded-groups": "heads", "authorization": "Bearer right"}, "identity"),
        ("127.0.0.1", {"x-forwarded-user": "alice"}, "identity"),
        ("127.0.0.1", {}, "no-token"),
        ("", {"x-forwarded-user": "alice"}, "identity"),
        (STRANGER, {"authorization": "Bearer right"}, ("right", "operator", "api")),
        (STRANGER, {"authorization": "bearer  right"}, ("right", "operator", "api")),
        (STRANGER, {"authorization": "Bearer over"}, "bad-token"),
        (STRANGER, {"authorization": "Bearer "}, "bad-token"),
        (STRANGER, {"authorization": "right"}, "bad-token"),
        (STRANGER, {}, "no-token"),
    ],
    ids=str,
)
def test_people_count_from_named_proxies_only(
    address: str, headers: dict[str, str], expected: str | tuple[str, str, str]
) -> None:
    """A person's name counts from the configured proxies, has the highest role of person and groups, and none where
    none is given; from anywhere else the header is refused, with a right token too."""
    found = let_in(address, headers)

    shown = found if isinstance(found, str) else (found.name, found.role, found.source)
    assert shown == expected


@pytest.mark.parametrize("name", [b"forwarded", b"x-forwarded-for", b"x-real-ip", b"via"])
def test_without_tokens_what_a_proxy_hands_on_is_not_from_here(name: bytes) -> None:
    """A proxy on the same machine makes everybody loopback: without tokens only what no proxy handed on is let in."""
    admin = AdminSpec(listen=AddressSpec(host="127.0.0.1", port=8081))

    assert let_in("127.0.0.1", {}, admin=admin) == Visitor(name="local", role="admin")
    assert let_in("127.0.0.1", {name.decode(): "for=192.0.2.7"}, admin=admin) == "no-token"


@pytest.mark.parametrize(
    ("name", "values"),
    [
        (b"x-forwarded-groups", (b"dev", b"heads")),
        (b"origin", (b"http://10.0.0.1", b"https://evil.example")),
        (b"sec-fetch-site", (b"none", b"cross-site")),
    ],
)
def test_a_second_line_of_a_header_hides_nothing(name: bytes, values: tuple[bytes, bytes]) -> None:
    """What a client sent before a proxy added its own line, or after it, is looked at, too, and refused."""
    for order in (values, values[::-1]):
        own = [(b"host", b"10.0.0.1"), (b"x-forwarded-user", b"alice"), *((name, value) for value in order)]
        with pytest.raises(ProblemError) as caught:
            Doorkeeper(keyring()).admit(ADMIN, Headers(raw=own), PROXY)

        assert caught.value.kind in ("identity", "cross-site")


def test_two_people_in_one_request_are_nobody() -> None:
    """A header that a client sent and a proxy added to is refused, not chosen from."""
    headers = Headers(raw=[(b"host", b"10.0.0.1"), (b"x-forwarded-user", b"alice"), (b"x-forwarded-user", b"bob")])

    with pytest.raises(ProblemError) as caught:
        Doorkeeper(keyring()).admit(ADMIN, headers, PROXY)

    assert caught.value.kind == "identity"


@pytest.mark.parametrize(
    ("host", "is_ours"),
    [
        ("matapalo.example", True),
        ("MATAPALO.example.:8081", True),
        ("a.svc.example:8081", True),
        ("svc.example", False),
        ("evil-svc.example", False),
        ("matapalo.example.evil.example", False),
        ("localhost:8081", True),
        ("192.0.2.9:8081", True),
        ("[2001:db8::1]:8081", True),
        ("0x7f.1", False),
        ("", False),
    ],
)
def test_only_our_own_names_are_answered(host: str, is_ours: bool) -> None:
    """In every mode the Host must be an address, localhost or a configured name: a rebound name is refused."""
    found = let_in(STRANGER, {"host": host, "authorization": "Bearer right"})

    assert (found != "host") is is_ours


@pytest.mark.parametrize(
    ("origin", "host", "is_ours"),
    [
        ("https://matapalo.example", "matapalo.example", True),
        ("https://matapalo.example", "matapalo.example:443", True),
        ("http://matapalo.example:8081", "matapalo.example:8081", True),
        ("https://matapalo.example:8443", "matapalo.example", False),
        ("https://a.svc.example", "matapalo.example", False),
        ("null", "matapalo.example", False),
        ("https://matapalo.example:99999", "matapalo.example", False),
        ("file://matapalo.example", "matapalo.example", False),
    ],
)
def test_an_origin_must_be_the_host_that_was_called(origin: str, host: str, is_ours: bool) -> None:
    """A page may call the API that served it, with the port that its scheme implies or the one it names."""
    found = let_in(STRANGER, {"host": host, "origin": origin, "authorization": "Bearer right"})

    assert (found != "cross-site") is is_ours


def test_wrong_credentials_make_an_address_wait_but_not_loopback() -> None:
    """After twenty wrong tokens an address is told to wait, with a right one too; loopback, a named proxy and other
    addresses are let in; a request without a token makes nobody wait."""
    door = Doorkeeper(keyring())
    wrong, right = {"authorization": "Bearer nope"}, {"authorization": "Bearer right"}
    for _ in range(3 * AT_ONCE):
        let_in(STRANGER, {}, door=door)
    quiet = let_in(STRANGER, right, door=door)
    refused = [let_in(address, wrong, door=door) for address in (STRANGER, PROXY, "127.0.0.1") for _ in range(30)]

    with pytest.raises(ProblemError) as caught:
        door.admit(ADMIN, Headers({"host": "192.0.2.1", **right}), STRANGER)
    others = [let_in(address, right, door=door) for address in ("192.0.2.8", PROXY, "127.0.0.1", "::1")]

    assert isinstance(quiet, Visitor)
    assert refused == ["bad-token"] * AT_ONCE + ["rate-limited"] * 10 + ["bad-token"] * 60
    assert caught.value.kind == "rate-limited"
    assert 1 <= int(caught.value.headers["retry-after"]) <= 3
    assert all(isinstance(one, Visitor) for one in others)


@pytest.mark.parametrize(
    ("wrong", "kind"), [({"x-forwarded-user": "alice"}, "identity"), ({"authorization": "Bearer over"}, "bad-token")]
)
def test_whoever_guesses_names_waits_as_whoever_guesses_tokens(wrong: dict[str, str], kind: str) -> None:
    """A person's name from an address that may not give one is a wrong credential, like an expired token."""
    door = Doorkeeper(keyring())

    refused = [let_in(STRANGER, wrong, door=door) for _ in range(AT_ONCE + 1)]

    assert refused == [kind] * AT_ONCE + ["rate-limited"]


def test_without_tokens_only_loopback_may_call() -> None:
    """With neither tokens nor people configured, loopback is the admin and everybody else is nobody."""
    admin = AdminSpec(listen=AddressSpec(host="127.0.0.1", port=8081))

    assert let_in("127.0.0.1", {}, admin=admin) == Visitor(name="local", role="admin")
    assert let_in("::1", {}, admin=admin) == Visitor(name="local", role="admin")
    assert let_in(STRANGER, {}, admin=admin) == "no-token"
    assert let_in(STRANGER, {"authorization": "Bearer right"}, admin=admin) == Visitor(name="right", role="operator")
