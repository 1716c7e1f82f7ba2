"""``matapalo explain``."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.console.commands.conftest import Cli, StandIn
from tests.console.commands.test_check import VALID, write


def test_a_file_explains_itself_without_a_server(cli: Cli, tmp_path: Path) -> None:
    """With -c the decision comes from the file alone, with the flags of a first start."""
    text = VALID.replace("methods: [GET]}}", "methods: [GET]}, initial_stage: canary, initial_percent: 100%}")
    write(tmp_path, text)

    printed = cli("explain", "get", "/api/orders/7", "-c", "matapalo.yaml")

    assert printed.code == 0
    assert "route orders matches /api/orders/{id} with method GET" in printed.out
    assert "=> answered by new (fresh), every such request is copied to legacy" in printed.out


def test_headers_and_client_address_decide(cli: Cli, tmp_path: Path) -> None:
    """-H and --client-ip are the request's own; a header's name is the same in any case."""
    text = VALID.replace("sticky: [ip]", 'sticky: ["header:X-User-Id", ip]').replace(
        "methods: [GET]}}", "methods: [GET]}, initial_stage: canary, initial_percent: 50%}"
    )
    write(tmp_path, text)
    words = ("explain", "GET", "/api/orders/7", "-c", "matapalo.yaml", "--json")

    by_header = cli(*words, "-H", "x-user-ID: 42").json
    by_address = cli(*words, "--client-ip", "192.0.2.1").json

    assert by_header["key"].lower() == "header:x-user-id"
    assert by_address["key"] == "ip"
    assert by_header["bucket"] != by_address["bucket"]


def test_the_server_explains_what_it_serves(cli: Cli, admin: StandIn) -> None:
    """Without -c the running server is asked, with every header of the command line."""
    admin.answers["*"] = (
        200,
        {
            "primary": "new",
            "backend": "shop",
            "shadow": "legacy",
            "copied": "sampled",
            "sample": 1.0,
            "why": ["because"],
        },
    )

    printed = cli("explain", "GET", "/a?b=1", "-H", "X-A: 1", "-H", "X-B: 2", at=admin)

    assert printed.out.splitlines() == [
        "because",
        "=> answered by new (shop), 1% of such requests are copied to legacy",
    ]
    call = admin.asked[0].call
    assert "path=%2Fa%3Fb%3D1" in call
    assert "header=X-A%3A1&header=X-B%3A2" in call


@pytest.mark.parametrize(
    ("words", "code", "part"),
    [
        (["GET", "api"], 2, "begins with /"),
        (["GET", "/x", "-H", "nonsense"], 2, "expected 'Name: value'"),
        (["GET", "/x", "-c", "nowhere.yaml"], 1, "nowhere.yaml"),
    ],
)
def test_what_cannot_be_explained_is_one_sentence(cli: Cli, words: list[str], code: int, part: str) -> None:
    """A path without its slash, half a header or a missing file is refused with the reason."""
    printed = cli("explain", *words)

    assert printed.code == code
    assert part in printed.err
