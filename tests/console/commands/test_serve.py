"""``matapalo serve`` as a command line; the server itself is tested in tests/proxy and tests/test_matapalo.py."""

from __future__ import annotations

from collections.abc import Sequence

from tests.console.commands.conftest import Cli


def test_serve_hands_over_to_the_door_and_returns_its_code(cli: Cli) -> None:
    """The file, and the flags that may be lost, reach the supervisor; its exit code is ours."""
    seen: list[tuple[str, tuple[str, ...]]] = []

    def serve(path: str, drop: Sequence[str]) -> int:
        seen.append((path, tuple(drop)))
        return 1

    assert cli("serve", "-c", "m.yaml", "--drop", "a", "--drop", "b", serve=serve).code == 1
    assert seen == [("m.yaml", ("a", "b"))]
