"""What differs before the body: status, media type, charset, content coding, and the headers that are compared.

Rules of this file:

1. Nothing here decides. Each difference is named, and beside it stands whether both heads *say the same*: another
   spelling of one media type, or another coding of one body that both sides declare.
2. Names are compared without case, values as they are but for the blanks around them (RFC 9110, section 5.5), and
   the number and order of equal names count.
3. Two headers are always compared, Content-Type and Content-Encoding. Which others are is the route's wish;
   :data:`EVERY` stands for all but the :data:`VOLATILE` ones. Of a validator it compares only whether there is one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from shadow import coding
from shadow.coding import Outcome
from shadow.difference import Difference

Headers = Sequence[tuple[bytes, bytes]]
"""As received: repeated names are repeated."""

EVERY: Final = "*"
"""In a list of headers to compare: every one that is not volatile."""

VOLATILE: Final = frozenset(
    (
        # Made anew for each answer, or by whatever stands between.
        *("age", "date", "expires", "via", "x-cache", "x-cache-hits", "x-served-by", "x-timer"),
        *("x-request-id", "x-correlation-id", "x-trace-id", "x-amzn-trace-id", "x-amzn-requestid", "cf-ray"),
        *("traceparent", "tracestate", "server-timing", "x-runtime", "x-response-time", "x-process-time"),
        *("x-ratelimit-remaining", "x-ratelimit-reset", "ratelimit-remaining", "ratelimit-reset"),
        # A session or a nonce of its own on each side.
        *("set-cookie", "content-security-policy-nonce", "x-csrf-token"),
        # The server's name: a migration changes it.
        *("server", "x-powered-by", "x-aspnet-version", "x-aspnetmvc-version", "x-generator"),
        # Of the connection, not of the answer; and what the body's comparison says better.
        *("connection", "keep-alive", "transfer-encoding", "te", "trailer", "upgrade", "proxy-connection"),
        *("alt-svc", "nel", "report-to", "reporting-endpoints"),
        *("content-length", "content-md5", "digest", "content-digest", "repr-digest"),
    )
)
"""Headers that differ between two answers of one service, or whatever two services do; compared only by name."""

_VALIDATORS: Final = frozenset(("etag", "last-modified"))
"""Each service has its own way to make them, but caches and conditional requests need one (RFC 9110, section 8.8)."""

_ALWAYS: Final = ("content-type", "content-encoding")


@dataclass(frozen=True, slots=True, kw_only=True)
class Bodies:
    """Hold both bodies as they are compared."""

    legacy: bytes
    new: bytes
    """Decoded on both sides, or as received on both where one could not be decoded."""
    outcomes: tuple[Outcome, Outcome] = (Outcome.PLAIN, Outcome.PLAIN)
    """How undoing legacy's codings ended, and new's."""

    @property
    def can_be_read(self) -> bool:
        """Say whether these are the bytes that a client reads in the end, so that they may be asked for meaning."""
        return coding.UNDONE.issuperset(self.outcomes)

    @property
    def is_limited(self) -> bool:
        """Say whether a cap stopped the decoding."""
        return not coding.LIMITS.isdisjoint(self.outcomes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Heads:
    """Hold what two heads differ in, and the bodies that they describe."""

    differences: tuple[Difference, ...]
    """Causes ``http.*``, at the root."""
    say_the_same: bool
    """Whoever reads them as the standard says learns the same from both."""
    is_json: bool
    """One side calls its body JSON."""
    is_lines: bool
    """One side calls its body a sequence of texts, in which a line feed is more than a blank."""
    bodies: Bodies


def compare_heads(
    *,
    statuses: tuple[int, int],
    headers: tuple[Headers, Headers],
    bodies: tuple[bytes, bytes],
    watch: tuple[str, ...],
) -> Heads:
    """Compare two heads, each pair given as legacy's and new's, and undo the bodies' codings.

    Cost: about 8 microseconds for ten headers each; decoding on top.
    """
    legacy, new = (compared(side, watch) for side in headers)
    found: list[Difference] = []
    if statuses[0] != statuses[1]:
        found.append(_at_root("http.status", f"{statuses[0]} -> {statuses[1]}"))
    types = legacy.get("content-type", ()), new.get("content-type", ())
    if types[0] != types[1]:
        found.append(_difference_of_types(*types))
    codings = tuple(coding.codings_of(side.get("content-encoding", ())) for side in (legacy, new))
    decoded = _undo_both(bodies, (codings[0], codings[1]))
    how = _difference_of_codings(bodies, decoded, (codings[0], codings[1]))
    if how:
        found.append(_at_root("http.content_encoding", how))
    names = sorted((legacy.keys() | new.keys()).difference(_ALWAYS))
    found += [_at_root("http.header", name) for name in names if legacy.get(name) != new.get(name)]
    return Heads(
        differences=tuple(found),
        say_the_same=all(_is_spelling(difference, types) for difference in found)
        and (not how or (decoded.can_be_read and Outcome.SNIFFED not in decoded.outcomes)),
        is_json=any(is_json_type(value) for side in types for value in side),
        is_lines=any(is_line_type(value) for side in types for value in side),
        bodies=decoded,
    )


def _at_root(cause: str, detail: str) -> Difference:
    return Difference(cause=cause, legacy_path=(), new_path=(), detail=detail)


def _is_spelling(difference: Difference, types: tuple[Sequence[bytes], Sequence[bytes]]) -> bool:
    if difference.cause in ("http.content_type", "http.charset"):
        return [fold_content_type(value) for value in types[0]] == [fold_content_type(value) for value in types[1]]
    return difference.cause == "http.content_encoding"


# ---- fields --------------------------------------------------------------------------------------------------------


def compared(headers: Headers, watch: tuple[str, ...]) -> dict[str, list[bytes]]:
    """Pick the fields that are compared, in order of appearance, without surrounding blanks."""
    names, every = _names(watch)
    found: dict[str, list[bytes]] = {}
    for field, value in headers:
        low = field.lower()
        name = names.get(low)
        if name is None and every:
            name = low.decode("latin-1")
            if name in _VALIDATORS:
                found[name] = [b"there"]
            name = None if name in VOLATILE or name in _VALIDATORS else name
        if name is not None:
            found.setdefault(name, []).append(value.strip())
    return found


@lru_cache(maxsize=1_024)
def _names(watch: tuple[str, ...]) -> tuple[dict[bytes, str], bool]:
    return {name.lower().encode(): name.lower() for name in (*_ALWAYS, *watch)}, EVERY in watch


def values_of(headers: Headers, name: str) -> list[bytes]:
    """Give every value of one header, in order of appearance, without surrounding blanks."""
    raw = name.encode()
    return [value.strip() for field, value in headers if field.lower() == raw]


# ---- content type --------------------------------------------------------------------------------------------------


def is_json_type(value: bytes) -> bool:
    """Say whether a Content-Type names a JSON type: ``application/json``, ``…+json``, or what people write for them."""
    return b"json" in value.partition(b";")[0].lower()


_LINE_TYPES: Final = (b"ndjson", b"jsonl", b"ldjson", b"json-lines", b"json-seq", b"stream+json", b"event-stream")


def is_line_type(value: bytes) -> bool:
    """Say whether a Content-Type names a sequence of JSON texts, or of events, that line feeds divide."""
    media = value.partition(b";")[0].lower()
    return any(word in media for word in _LINE_TYPES)


def fold_content_type(value: bytes) -> tuple[bytes, frozenset[tuple[bytes, bytes]]]:
    """Fold a media type to what it says: case of type, names and charset, quotes, blanks and order do not count.

    Shape: ``charset=utf-8`` of a JSON type is dropped, as it says nothing (RFC 8259, section 11).
    Source: RFC 9110, section 8.3.1.
    """
    media, parameters = _split_type(value)
    if media == b"application/json" or media.endswith(b"+json"):
        parameters -= {(b"charset", b"utf-8")}
    return media, parameters


def _split_type(value: bytes) -> tuple[bytes, frozenset[tuple[bytes, bytes]]]:
    media, *parameters = value.split(b";")
    folded = set()
    for parameter in parameters:
        name, _, text = parameter.strip().partition(b"=")
        name, text = name.lower(), text.strip(b'"')
        if name:
            folded.add((name, text.lower() if name == b"charset" else text))
    return media.strip().lower(), frozenset(folded)


def _difference_of_types(legacy: Sequence[bytes], new: Sequence[bytes]) -> Difference:
    """Say in what two unequal content types differ: the charset only, or more."""
    detail = f"{_shown(legacy)} -> {_shown(new)}"
    if len(legacy) == len(new) and all(map(_differ_in_charset_only, legacy, new)):
        return _at_root("http.charset", detail)
    return _at_root("http.content_type", detail)


def _differ_in_charset_only(legacy: bytes, new: bytes) -> bool:
    one, two = _split_type(legacy), _split_type(new)
    return one[0] == two[0] and {name for name, _ in one[1] ^ two[1]} <= {b"charset"}


def _shown(values: Iterable[bytes]) -> str:
    return b", ".join(values).decode("latin-1") or "(absent)"


# ---- content coding ------------------------------------------------------------------------------------------------


def _undo_both(bodies: tuple[bytes, bytes], codings: tuple[tuple[bytes, ...], tuple[bytes, ...]]) -> Bodies:
    legacy, new = (coding.undo(body, names) for body, names in zip(bodies, codings, strict=True))
    outcomes = (legacy.outcome, new.outcome)
    if coding.UNDONE.issuperset(outcomes):
        return Bodies(legacy=legacy.body, new=new.body, outcomes=outcomes)
    return Bodies(legacy=bodies[0], new=bodies[1], outcomes=outcomes)


def _difference_of_codings(
    received: tuple[bytes, bytes], decoded: Bodies, codings: tuple[tuple[bytes, ...], tuple[bytes, ...]]
) -> str:
    """Say how two codings differ; empty: they do not.

    Shape: other compressed bytes of one content, under one coding, are a difference too: the only one there is.
    """
    is_recompressed = received[0] != received[1] and decoded.legacy == decoded.new
    if codings[0] == codings[1] and decoded.outcomes[0] is decoded.outcomes[1] and not is_recompressed:
        return ""
    words = []
    for names, outcome in zip(codings, decoded.outcomes, strict=True):
        word = b", ".join(names).decode("latin-1") or "identity"
        words.append(f"{word} ({_NOTES[outcome]})" if outcome in _NOTES else word)
    return f"{words[0]} -> {words[1]}"


_NOTES: Final = {
    Outcome.SNIFFED: "compressed once more, undeclared",
    Outcome.BROKEN: "broken",
    Outcome.UNKNOWN: "not undone",
    Outcome.SIZE: "too large",
    Outcome.RATIO: "too large for its size",
    Outcome.MEMBERS: "too many members",
}
