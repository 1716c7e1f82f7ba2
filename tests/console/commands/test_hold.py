"""``matapalo hold`` and ``matapalo release``."""

from __future__ import annotations

import pytest

from tests.console.commands.conftest import Cli, StandIn


def test_hold_keeps_one_route_on_legacy(cli: Cli, admin: StandIn) -> None:
    """A hold names its route, whether copies go on, and why."""
    assert cli("hold", "orders", "--keep-copying", "--reason", "errors", at=admin).code == 0

    assert admin.asked[0].call == "POST /api/v1/routes/orders/hold"
    assert admin.asked[0].body == {"reason": "errors", "keep_copying": True}


@pytest.mark.parametrize(
    ("words", "call", "body"),
    [
        (["orders"], "POST /api/v1/routes/orders/release", {}),
        (["--all"], "POST /api/v1/release", {"all": True}),
        (["--backend", "shop", "--reason", "ok"], "POST /api/v1/release", {"backend": "shop", "reason": "ok"}),
    ],
)
def test_release_takes_the_same_targets_as_rollback(
    cli: Cli, admin: StandIn, words: list[str], call: str, body: dict[str, object]
) -> None:
    """What was held together can be released together."""
    assert cli("release", *words, at=admin).code == 0

    assert (admin.asked[0].call, admin.asked[0].body) == (call, body)
