"""How commands name several routes at once."""

from __future__ import annotations

from console.commands.target import Target


def test_a_target_becomes_the_selector_that_the_admin_api_takes() -> None:
    """Each way to name routes is one member of the request's body."""
    assert Target(everything=True).selector() == {"all": True}
    assert Target(journey="checkout").selector() == {"journey": "checkout"}
    assert Target(backend="shop").selector() == {"backend": "shop"}
    assert Target(route="orders").selector() == {"routes": ["orders"]}
