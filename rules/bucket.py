"""Place clients and requests: the two hashes that every share rests on.

Rules of this file:

1. Both functions are frozen. Changing one moves clients between the services
   of everybody who upgrades; the published vectors of docs/buckets.md fail first.
2. *New takes the top*: a client is on new when ``bucket >= BUCKETS - percent_bp``,
   so a raised percent only ever adds clients to new. Shares are half-open:
   0 takes nobody, 10,000 takes everybody.
3. The sample has its own salt, so whether a request is copied says nothing
   about where its client stands.
"""

from __future__ import annotations

from typing import Final

from xxhash import xxh64_intdigest

from rules.flag import BUCKETS

_SAMPLE_SALT: Final = b"sample:"


def bucket_salt(salt: str) -> bytes:
    """Spell the bytes that stand before a key when its bucket is computed."""
    return salt.encode() + b":"


def sample_salt(salt: str) -> bytes:
    """Spell the bytes that stand before a request id when its draw is computed."""
    return _SAMPLE_SALT + salt.encode() + b":"


def bucket_of(salt: str, key: bytes) -> int:
    """Place *key* in one of 10,000 equal buckets, the same one for ever.

    Shape: ``key`` is the raw bytes of the sticky header, cookie or parameter; an empty key is a key.
    Unit: a basis-point position, 0 <= bucket < 10_000.
    Cost: one xxh64 of ``len(salt) + 1 + len(key)`` bytes, about 0.15 microseconds.
    Source: docs/decisions/0004-buckets.md (why xxh64, why new takes the top).
    """
    return xxh64_intdigest(bucket_salt(salt) + key) % BUCKETS


def is_new(bucket: int, percent_bp: int) -> bool:
    """Say whether the client in *bucket* is on new when new has *percent_bp* of the buckets."""
    return bucket >= BUCKETS - percent_bp


def draw_of(salt: str, request_id: bytes) -> int:
    """Draw a number for one request; it is copied when the draw is below the sample.

    Unit: a basis-point position, 0 <= draw < 10_000, independent of any bucket.
    """
    return xxh64_intdigest(sample_salt(salt) + request_id) % BUCKETS
