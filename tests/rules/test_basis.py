"""Rules of what evidence rests on."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from config.spec import BackendSpec, MatchSpec, ShadowSpec
from rules.basis import bases_of
from tests.rules.made import config, route

OLD = BackendSpec(name="legacy-app", scheme="http", host="old", port=80)
SHOP = BackendSpec(name="new-app", scheme="http", host="shop", port=80)


def basis(backends: tuple[BackendSpec, ...] = (OLD, SHOP), **changes: Any) -> str:  # any field of a route
    """Give the basis of one route."""
    return bases_of(config(route("orders", **changes), backends=backends))["orders"]


@pytest.mark.parametrize(
    "changed",
    [
        {"match": [MatchSpec(path="/orders/{id}", methods=("GET",))]},
        {"new": "legacy-app"},
        {"legacy": None},
        {"parity": "meaning"},
        {"backends": (OLD, replace(SHOP, port=81))},
        {"backends": (replace(OLD, host="older"), SHOP)},
        {"backends": (OLD, replace(SHOP, path_add="/v2"))},
        {"backends": (OLD, replace(SHOP, headers_set=(("X-Env", "prod"),)))},
    ],
    ids=lambda changed: "-".join(changed),
)
def test_other_requests_or_another_service_are_another_basis(changed: dict[str, Any]) -> None:
    """What a route takes, whom it asks, what they are sent, and what counts as equal: each makes evidence another."""
    assert basis(**changed) != basis()


def test_what_changes_no_answer_leaves_the_basis() -> None:
    """Limits, samples and the names of backends say nothing about answers, so evidence stays."""
    renamed = replace(SHOP, name="shop")

    assert basis(shadow=ShadowSpec(sample_bp=100), gate=None, journey="j") == basis()
    assert basis((OLD, replace(SHOP, max_connections=1, response_timeout_ns=1))) == basis()
    assert basis((OLD, renamed), new="shop") == basis()
