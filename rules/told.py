"""What may be told of a configuration: what can hold no secret is written out, of anything else its name.

What a reload changed stands in its answer, in the log and, for ever, in the audit that every viewer reads. Files hold
secrets in places that nobody foresees: ``headers: {set: {Authorization: …}}``, a match on a header that few know, an
option of a provider; ``${VAR}`` brings them out of the environment. So this is a list of what may be told, and a field
that nobody has thought of is not told. No digest stands in place of a value: guesses could be held against it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import fields, is_dataclass, replace
from typing import Final

from config.spec import MatchSpec
from config.units import format_duration, format_share

UNTOLD: Final = "…"
"""Stands where a value is that may be a secret."""

_NUMBERS: Final[Mapping[str, Callable[[int], str]]] = {"_ns": format_duration, "_bp": format_share}
"""How files write what a field holds in the unit of its name's ending."""


def _nothing(_: str) -> str:
    return UNTOLD


def _machine(text: str) -> str:
    """Leave of a URL what names the machine: its path and query are often a secret, what stands before @ always is."""
    scheme, found, rest = text.partition("://")
    if not found:
        return text
    host = re.split("[/?#]", rest, maxsplit=1)[0]
    if "@" in rest:
        return f"{scheme}://{UNTOLD}"
    return f"{scheme}://{host}" + (f"/{UNTOLD}" if rest[len(host) :].strip("/") else "")


def _reference(text: str) -> str:
    """Leave of a token's hash that it is one: guesses can be held against it."""
    return f"sha256:{UNTOLD}" if text.startswith("sha256:") else text


def _redaction(text: str) -> str:
    """Leave of a pattern for secrets that it is one: somebody may have written the secret itself."""
    return f"pattern:{UNTOLD}" if text.startswith("pattern:") else text


_NO_SECRETS: Final = (
    # Names, and words of closed lists.
    "name node role roles groups legacy new undeclared journey was stage initial_stage parity mode credentials keep",
    "on_flip flags strict to events provider prefix warning",
    # Where somebody listens, is called, or comes from.
    "scheme host port server_name hosts sources cidr trusted_proxies host_header state_dir",
    # What a request looks like, but for what its header, cookie or parameter must be.
    "path path_strip path_add methods trailing_slash reads sticky header groups_header cookie headers_remove",
    "version_header watch_headers",
    # Where secrets are found, and files.
    "secret secrets keys pins replace_authorization ca cert key",
    # What people wrote for people.
    "reason",
)

TEXTS: Final[Mapping[str, Callable[[str], str]]] = {
    **{field: str for line in _NO_SECRETS for field in line.split()},
    "database": _machine,
    "url": _machine,
    "token": _reference,
    "redact": _redaction,
}
"""The fields of the configuration whose texts may be told, and what of them; numbers and switches may always be.

Of a pair (a header, an option) the first part is a name, and told.
"""


def match_as_told(match: MatchSpec) -> MatchSpec:
    """Leave of a match what may be told: which headers and parameters it asks for, without what they must be."""
    headers = tuple((name, UNTOLD) for name, _ in match.headers)
    return replace(match, headers=headers, query=tuple((name, UNTOLD) for name, _ in match.query))


def change_as_text(name: str, before: object, after: object) -> str:
    """Say that a field has another value now, as far as that may be told.

    Shape: behind the arrow, what is not shown and was not there before is marked as changed.
    """
    field = name.rpartition(".")[2]
    return f"{_key(name)}: {_text(field, before)} -> {_text(field, after, frozenset(_leaves(before)))}"


def _key(name: str) -> str:
    """Give the key of a field as files have it: without the unit that its name ends in."""
    return next((name.removesuffix(ending) for ending in _NUMBERS if name.endswith(ending)), name)


def _leaves(value: object) -> Iterator[object]:
    """Yield the single values and the pairs that a value is made of."""
    if is_dataclass(value):
        for field in fields(value):
            yield from _leaves(getattr(value, field.name))
    elif isinstance(value, tuple):
        yield value
        for part in value:
            yield from _leaves(part)
    else:
        yield value


def _text(name: str, value: object, known: Collection[object] | None = None) -> str:
    """Write what a field holds as people would; with what was there before in *known*, what is not shown is marked."""
    if value is None:
        return "none"
    if is_dataclass(value):
        given = ((field.name, part) for field in fields(value) if (part := getattr(value, field.name)) != field.default)
        return "{" + ", ".join(f"{_key(inner)}: {_text(inner, part, known)}" for inner, part in given) + "}"
    if isinstance(value, tuple):
        return "[" + ", ".join(_item(name, part, known) for part in value) + "]"
    if isinstance(value, str):
        return _told(name, value, known is None or value in known)
    written = next((how for ending, how in _NUMBERS.items() if name.endswith(ending)), None)
    return str(value) if written is None or not isinstance(value, int) else written(value)


def _item(name: str, part: object, known: Collection[object] | None) -> str:
    """Write an item of a list; of a pair the first part is a name, and the second may be a secret even as a number."""
    if isinstance(part, tuple):
        key, value = part
        return f"{key}: {_told(name, str(value), known is None or part in known)}"
    return _text(name, part, known)


def _told(name: str, text: str, is_known: bool) -> str:
    """Write of a text what may be told."""
    shown = TEXTS.get(name, _nothing)(text)
    return shown if shown == text or is_known else f"{shown} (changed)"
