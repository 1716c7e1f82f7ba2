"""Sign and read the cookie that keeps a client, after a write, on the side that it wrote to.

The value is ``n.1795273230123.<22 letters>``: the side, the millisecond it ends, and a
keyed hash over both and the scope. It says nothing about the client, so there is
nothing in it to steal but the right to read from one side for some seconds.

Rules of this file:

1. What is forged, changed, expired or made for another scope is as good as no cookie: nothing is raised.
2. The first key signs, all of them are accepted: a key is replaced by putting the new one in front.
3. The scope is the flag's salt, so the routes of a journey share a pin, and two journeys do not touch each other's:
   each scope has a cookie of its own name.
4. Whoever is taken from a side leaves its pins behind: what was pinned to new until a rollback is void, also when a
   canary begins again within its seconds, in every worker that was there. Raising a percent takes nobody from a side
   that a pin may name.
"""

from __future__ import annotations

from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from hmac import compare_digest, digest
from math import inf
from types import MappingProxyType
from typing import Final

from config.secret import resolve
from rules.flag import Flag, Hold, Side, Stage
from rules.sticky import Fields, cookie_value

PIN_COOKIE: Final = b"matapalo_pin"
"""What the name of every pin begins with; behind it stands a hash of the scope."""

_LETTERS: Final = {Side.LEGACY: b"l", Side.NEW: b"n"}
_SIDES: Final = {letter: side for side, letter in _LETTERS.items()}

_MAX_DIGITS: Final = 15
"""Of the millisecond: more is no time that anybody signed."""

_MAC_LETTERS: Final = 22
"""128 bits in base64, unpadded: what is guessed in 30 seconds is not one of 2 to the 128."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pin:
    """Hold what one route needs to pin its clients; the keys are the snapshot's."""

    scope: bytes
    cookie: bytes
    """The name of its cookie."""
    lasts_s: int
    keys: tuple[bytes, ...]
    ended: Mapping[Side, float] = field(default_factory=dict)
    """Side to the Unix time when clients were last taken from it; a side that is missing: never, as far as is known."""

    def value(self, side: Side, now: float) -> bytes:
        """Sign a pin to *side* that begins at the Unix time *now*.

        Cost: one HMAC, about 1.5 microseconds.
        """
        signed = b"%b.%d" % (_LETTERS[side], int((now + self.lasts_s) * 1_000))
        return b"%b.%b" % (signed, _mac(self.keys[0], self.scope, signed))

    def side(self, raw_cookie: bytes, clock: Callable[[], float]) -> Side | None:
        """Say which side a request's Cookie field pins its client to; ``None``: to neither.

        Cost: one search; *clock* and an HMAC per key only for a value that looks like a pin.
        """
        value = cookie_value(raw_cookie, self.cookie)
        if value is None:
            return None
        letter, _, rest = value.partition(b".")
        digits, _, mac = rest.partition(b".")
        side = _SIDES.get(letter)
        if side is None or len(mac) != _MAC_LETTERS or len(digits) > _MAX_DIGITS or not digits.isdigit():
            return None
        ends = int(digits) / 1_000
        if ends <= clock() or ends - self.lasts_s <= self.ended.get(side, -inf):
            return None
        signed = b"%b.%b" % (letter, digits)
        good = [compare_digest(_mac(key, self.scope, signed), mac) for key in self.keys]
        return side if any(good) else None


def pin_of(
    scope: str,
    lasts_ns: int,
    keys: tuple[bytes, ...],
    ended: Mapping[Side, float] = MappingProxyType({}),
) -> Pin:
    """Make the pin of one scope."""
    raw_scope = scope.encode()
    name = b"%b_%b" % (PIN_COOKIE, sha256(b"pin:" + raw_scope).hexdigest()[:8].encode())
    lasts_s = max(1, lasts_ns // 10**9)
    return Pin(scope=raw_scope, cookie=name, lasts_s=lasts_s, keys=keys, ended=ended)


Standing = tuple[Flag, Hold | None]
"""How a route stands: its flag, and the hold that is in force."""

_KEPT: Final = {
    Stage.LEGACY: frozenset((Side.LEGACY,)),
    Stage.SHADOW: frozenset((Side.LEGACY,)),
    Stage.CANARY: frozenset(Side),
    Stage.LIVE: frozenset(Side),  # new has everybody, but who is pinned to legacy
    Stage.COMPLETE: frozenset((Side.NEW,)),
    Stage.GONE: frozenset[Side](),
}
"""Stage to the sides on which it leaves a client that is pinned to them."""


def ended_after(
    ended: Mapping[Side, float], before: Standing | None, after: Standing, now: float
) -> Mapping[Side, float]:
    """Say when clients were last taken from each side, once a route stands otherwise.

    Shape: without *before*, as in a worker that has just begun, a side that nobody is on counts as ended now.
    Source: docs/decisions/0033-proof-of-quiet.md.
    """
    names = {"", *after[0].cohorts, *(() if before is None else before[0].cohorts)}
    if before is None:
        lost = frozenset(Side).difference(*(_kept(after, name) for name in names))
    else:
        lost = frozenset[Side]().union(*(_kept(before, name) - _kept(after, name) for name in names))
    return {**ended, **dict.fromkeys(lost, now)}


def _kept(standing: Standing, cohort: str) -> frozenset[Side]:
    """Name the sides on which a route leaves clients of a cohort that are pinned to them; empty name: everybody."""
    flag, hold = standing
    own = flag.cohorts.get(cohort, flag)
    is_off = hold is not None or (own.stage is Stage.CANARY and not own.percent_bp)
    return _KEPT[Stage.LEGACY] if is_off else _KEPT[own.stage]


def keys_of(references: Iterable[str]) -> tuple[bytes, ...]:
    """Resolve the keys that sign pins, the signing one first.

    Raises: SecretError.
    Runs: reads the secrets.
    """
    return tuple(sha256(resolve(reference).encode()).digest() for reference in references)


def pins_in(fields: Fields) -> bytes:
    """Give the Cookie fields of a request that shows a pin, anybody's, as one; empty where it shows none.

    Nearly always empty: who has a pin has just written.
    Cost: one look-up and one search, 0.3 microseconds.
    Source: RFC 9113 section 8.2.3 (how several fields become one).
    """
    raw_cookies = fields.getall(b"cookie")
    for raw_cookie in raw_cookies:
        if raw_cookie.find(PIN_COOKIE) >= 0:  # `in` would first raise and forget a TypeError
            return b"; ".join(raw_cookies)
    return b""


def without_pins(raw_cookie: bytes) -> bytes:
    """Take every pin out of a Cookie field: no backend has any use for one.

    Shape: empty when nothing else was in it; without a pin the very same bytes.
    """
    if PIN_COOKIE not in raw_cookie:
        return raw_cookie
    kept = [pair for pair in raw_cookie.split(b";") if not pair.lstrip(b" \t").startswith(PIN_COOKIE + b"_")]
    return b";".join(kept).lstrip(b" \t")


def _mac(key: bytes, scope: bytes, signed: bytes) -> bytes:
    raw_mac = digest(key, b"matapalo pin 1|%b|%b" % (scope, signed), "sha256")[:16]
    return urlsafe_b64encode(raw_mac)[:_MAC_LETTERS]
