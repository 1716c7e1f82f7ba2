"""Read what a route masks before anything is kept: a place, a header, or a pattern."""

from __future__ import annotations

import re
from typing import Final

from config.errors import UnfitError
from config.json_path import read_place

EXPECTED: Final = "a place such as $.items[*].email or $..password, header:NAME, or pattern:REGEX"
PATTERN: Final = r"^(\$|/|header:[A-Za-z0-9!#$%&'*+.^_`|~-]+$|pattern:.)"
MAX_PATTERN: Final = 500
"""Characters: longer ones are generated, and slow on every body."""

_HEADER: Final = re.compile(r"header:([A-Za-z0-9!#$%&'*+.^_`|~-]+)")


def redaction(written: str) -> str:
    """Take one entry as it is, a header's name in lower case.

    Raises: UnfitError with what is not understood.
    """
    if written.startswith("header:"):
        if not _HEADER.fullmatch(written):
            raise UnfitError(written, EXPECTED, "a header's name has neither blanks nor colons")
        return written.lower()
    if written.startswith("pattern:"):
        _check_pattern(written)
        return written
    if not written.startswith(("$", "/")):
        raise UnfitError(written, EXPECTED, f"write $.{written} for a member, header:{written} for a header")
    read_place(written)
    return written


def _check_pattern(written: str) -> None:
    text = written.removeprefix("pattern:")
    if len(text) > MAX_PATTERN:
        raise UnfitError(f"{written[:60]}...", EXPECTED, f"at most {MAX_PATTERN} characters")
    try:
        # Bodies are bytes; so is what they are searched with.
        found = re.compile(text.encode())
    except (re.error, RecursionError) as error:
        raise UnfitError(written, EXPECTED, f"not a regular expression: {error}") from None
    if found.match(b"") is not None:
        raise UnfitError(written, EXPECTED, "the pattern fits nothing at all, so it would mask nothing or everything")
