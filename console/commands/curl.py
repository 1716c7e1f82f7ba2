"""Write the request of a comparison as a curl command, with variables in place of what was redacted."""

from __future__ import annotations

import base64
import re
import shlex
from collections.abc import Iterator
from typing import Final

from console.commands.admin import JsonObject

LEFT_OUT: Final = frozenset(
    ("accept-encoding", "connection", "content-length", "host", "keep-alive", "te", "transfer-encoding", "upgrade")
)
"""Headers of one connection, or that curl writes itself."""

_AUTH: Final = frozenset(("authorization", "proxy-authorization"))
_HIDDEN: Final = re.compile(r"\[redacted[^\]]*\]|…")
"""What a comparer leaves in place of a value (shadow/redact.py), and of a query's values."""

_NO_VARIABLE: Final = re.compile(r"[^A-Z0-9]+")


def curl_of(comparison: JsonObject) -> str:
    """Give lines to paste: first the variables to set, then one curl command.

    Shape: ``BASE`` is the service that is asked; ``AUTH`` and others stand for what was redacted.
    """
    request = comparison["request"]
    variables: dict[str, str] = {"BASE": "http://legacy-or-new:port"}
    target = _target(request["target"], variables)
    words = [f'curl -sS -i -X {shlex.quote(request["method"])} "$BASE{target}"']
    words += list(_headers(request["headers"], variables))
    body, raw = request["body"], request["body_base64"]
    if body is not None:
        words.append(f"--data-binary {shlex.quote(body)}")
    elif raw is not None:
        words.append(f'--data-binary "@-" < <(printf %s {shlex.quote(_checked(raw))} | base64 -d)')
    sets = [f"{name}={shlex.quote(example)}" for name, example in variables.items()]
    return "\n".join((*sets, " \\\n  ".join(words)))


def _target(target: str, variables: dict[str, str]) -> str:
    """Write the target for double quotes; a masked value of the query becomes a variable."""
    path, mark, query = target.partition("?")
    parts = []
    for part in query.split("&") if mark else ():
        name, equals, value = part.partition("=")
        shown = value
        if _HIDDEN.search(value):
            shown = "$" + _variable(f"query {name}", variables)
            parts.append(f"{_quoted(name)}{equals}{shown}")
        else:
            parts.append(_quoted(part))
    return _quoted(path) + mark + "&".join(parts)


def _headers(headers: list[list[str]], variables: dict[str, str]) -> Iterator[str]:
    for name, value in headers:
        if name.lower() in LEFT_OUT or name.lower().startswith("x-matapalo-"):
            continue
        if not _HIDDEN.search(value):
            yield f"-H {shlex.quote(f'{name}: {value}')}"
            continue
        variable = _variable("auth" if name.lower() in _AUTH else name, variables)
        yield f'-H "{_quoted(name)}: ${variable}"'


def _variable(name: str, variables: dict[str, str]) -> str:
    """Name the variable of a redacted value."""
    variable = _NO_VARIABLE.sub("_", name.upper()).strip("_") or "SECRET"
    variable = f"_{variable}" if variable[0].isdigit() else variable
    variables.setdefault(variable, "...")
    return variable


def _quoted(text: str) -> str:
    """Escape what double quotes of a shell leave special."""
    return re.sub(r'([$`"\\])', r"\\\1", text)


def _checked(raw: str) -> str:
    return base64.b64encode(base64.b64decode(raw)).decode()
