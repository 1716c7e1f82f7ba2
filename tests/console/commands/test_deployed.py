"""``matapalo deployed``."""

from __future__ import annotations

from tests.console.commands.conftest import CHANGE, Cli, StandIn


def test_a_deploy_names_backend_and_version(cli: Cli, admin: StandIn) -> None:
    """The command says which backend runs which version, and why, and prints since when."""
    told = {"version": "v2", "at": "2026-01-31T03:00:00.000Z", "actor": "ci"}
    admin.answers["*"] = (200, {**CHANGE, "routes": [], "deployed": told})

    done = cli("deployed", "shop", "v2", "--reason", "release", at=admin)

    assert done.code == 0
    assert admin.asked[0].body == {"backend": "shop", "version": "v2", "reason": "release"}
    assert "shop runs v2 since 2026-01-31T03:00:00.000Z." in done.out
    assert "a-42" in done.out
