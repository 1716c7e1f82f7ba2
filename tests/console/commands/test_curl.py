"""Rules of the curl command of a comparison."""

from __future__ import annotations

import subprocess
from typing import Any

import pytest

from console.commands.curl import curl_of


def comparison(**changed: Any) -> dict[str, Any]:  # Any: JSON
    """Make a comparison with a request."""
    request: dict[str, Any] = {"method": "GET", "target": "/a", "headers": [], "body": None, "body_base64": None}
    return {"request": {**request, **changed}}


@pytest.mark.parametrize(
    "changed",
    [
        {"target": '/a"$(touch x)`id`\\'},
        {"target": "/a?b=$HOME&c=…"},
        {"headers": [["X-A", "'; exit 7; '"], ['X-"$(exit 7)', "[redacted]"]]},
        {"method": "G$(exit 7)"},
        {"body": "'\"$(exit 7)\n"},
        {"body_base64": "/w=="},
    ],
    ids=str,
)
def test_a_shell_runs_curl_and_nothing_else(changed: dict[str, Any]) -> None:
    """Whatever a client sent, the lines define variables and run one curl."""
    script = "curl() { printf 'ran\\n'; }\n" + curl_of(comparison(**changed)) + "\n"

    done = subprocess.run(["bash", "-euc", script], capture_output=True, text=True, timeout=10, check=False)

    assert (done.returncode, done.stdout, done.stderr) == (0, "ran\n", "")


def test_headers_of_one_connection_are_left_out() -> None:
    """Host, length, framing and our own headers are curl's business, not the request's."""
    names = ("Host", "Content-Length", "Connection", "X-Matapalo-Shadow", "Accept-Encoding")

    assert "-H" not in curl_of(comparison(headers=[[name, "x"] for name in names]))
