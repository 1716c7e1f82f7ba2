"""What a member's name says about its value: a clock, a stopwatch, a length of time, an identifier.

A name decides only what values cannot: whether two of them that differ are noise, and whether a power of ten is a unit.
So a list is short and its words are plain: ``took`` is a stopwatch, ``duration`` may be a film's.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

_TIME_NAME: Final = re.compile(
    r"(?:^|_)(?:at|on|ts|now|time|date|timestamp|created|updated|modified|expires|exp|iat|nbf|since|until|epoch)(?:_ms)?$"
)
_DURATION_NAME: Final = re.compile(
    r"(?:^|_)(?:ttl|took|elapsed|latency|duration|timeout|interval|delay|period|age|lifetime|uptime|expires_in"
    r"|ms|millis|milliseconds|seconds|secs|nanos)(?:_ms|_s|_ns|_us)?$|_time$"
)
_STOPWATCH_NAME: Final = re.compile(
    r"(?:^|_)(?:took|elapsed|latency|uptime|runtime)(?:_(?:ms|millis|milliseconds|seconds|secs|s|ns|us|time))?$"
    r"|(?:^|_)(?:response|query|processing|request|execution|exec|render|process|server|duration|elapsed)"
    r"_(?:time|duration|latency|ms|millis|milliseconds)(?:_(?:ms|seconds|s|ns|us))?$"
)
_ID_NAME: Final = re.compile(
    r"(?:^|_)(?:id|uuid|guid|token|nonce|csrf|trace|span|session|jti|etag|cursor|secret|signature|idempotency_key)$"
    r"|^(?:request|correlation|trace|transaction|session)_"
)
_REQUEST_NAME: Final = re.compile(
    r"(?:^|_)(?:nonce|csrf|jti)$|(?:^|_)(?:request|correlation|trace|span|transaction)_(?:id|uuid|key|token)$"
)


def is_clock(name: str) -> bool:
    """Say whether the member tells when something happened."""
    return _TIME_NAME.search(snake(name)) is not None


def is_length(name: str) -> bool:
    """Say whether the member tells a length of time."""
    return _DURATION_NAME.search(snake(name)) is not None


def is_stopwatch(name: str) -> bool:
    """Say whether the member tells how long this answer took."""
    return _STOPWATCH_NAME.search(snake(name)) is not None


def is_identifier(name: str) -> bool:
    """Say whether the member identifies something, maybe by chance."""
    return _ID_NAME.search(snake(name)) is not None


def is_of_request(name: str) -> bool:
    """Say whether the member identifies this request or its trace."""
    return _REQUEST_NAME.search(snake(name)) is not None


@lru_cache(maxsize=4096)
def snake(name: str) -> str:
    """Fold a member's name to words between underscores."""
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name[:128])
    return re.sub(r"[^0-9A-Za-z]+", "_", spaced).lower()
