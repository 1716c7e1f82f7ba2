"""Encrypt what is kept of two answers, with keys that the configuration names.

The first key closes, every key opens: a new key goes in front, and the former one leaves when the examples that it
closed are forgotten (``evidence.max_age``).

Rules of this file:

1. Where a key is asked for and cannot be had, nothing readable is written: the example is left out, and ``status``
   says why.
2. What was closed with no known key stays closed, and says so; nothing else of the evidence suffers.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from config.errors import MatapaloError, SecretError
from config.secret import resolve

KEY_BYTES: Final = 32
MADE_BY: Final = "openssl rand -base64 32"

_MARK: Final = b"\x00sealed\x00"
"""No message that control writes begins like this: an open example and a closed one are told apart by it."""


class SealedError(MatapaloError, ValueError):
    """An example cannot be opened; the sentence says which key is missing or that none was there."""


class _Box(Protocol):
    def encrypt(self, data: bytes) -> bytes: ...
    def decrypt(self, token: bytes) -> bytes: ...


class Sealing:
    """Close and open examples with the keys in force.

    Shape: *wanted* gives the configuration's digest and its keys; another digest and they are read again.
    Runs: blocks on small files when the configuration has changed, else never.
    """

    def __init__(self, wanted: Callable[[], tuple[str, tuple[str, ...]]]) -> None:
        self._wanted = wanted
        self._followed: tuple[str, tuple[str, ...]] = "", ()
        self._complaint = ""
        self._box: _Box | None = None

    @property
    def complaint(self) -> str:
        """Say why examples are left out; empty: they are not."""
        self._follow()
        return self._complaint

    def close(self, body: bytes) -> bytes:
        """Encrypt one example; empty: it must not be kept.

        Cost: about 20 microseconds and 3 per KB (AES-128-CBC and HMAC-SHA256, as Fernet does).
        """
        if self.complaint:
            return b""
        return body if self._box is None else _MARK + self._box.encrypt(body)

    def open(self, kept: bytes) -> bytes:
        """Give an example back as it was before :meth:`close`.

        Raises: SealedError.
        """
        self._follow()
        if not kept:
            raise SealedError("it was not kept, because `evidence.keys` could not be read at that time")
        if not kept.startswith(_MARK):
            return kept
        if self._box is None:
            raise SealedError(self._complaint or "it is encrypted, and `evidence.keys` names no key")
        try:
            return self._box.decrypt(kept[len(_MARK) :])
        except ValueError as error:
            raise SealedError(str(error)) from None

    def _follow(self) -> None:
        """Take over the keys that are wanted now."""
        wanted = self._wanted()
        if wanted == self._followed:
            return
        self._followed, self._complaint, self._box = wanted, "", None
        keys = wanted[1]
        try:
            self._box = _box([_key(reference) for reference in keys]) if keys else None
        except SecretError as error:
            self._complaint = f"examples are left out of the evidence, because they cannot be encrypted: {error}"


def _key(reference: str) -> bytes:
    """Fetch one key: 32 bytes in base64, in either alphabet.

    Raises: SecretError that never holds the value.
    """
    text = resolve(reference).strip()
    try:
        key = base64.b64decode(text.replace("-", "+").replace("_", "/"), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) != KEY_BYTES:
        raise SecretError(f"{reference} is no key; expected {KEY_BYTES} bytes in base64, as `{MADE_BY}` makes them")
    return key


def _box(keys: Sequence[bytes]) -> _Box:
    """Make what encrypts with the first key and opens with any.

    Cost: the first call imports the library, 0.1 s; who needs no keys never pays it.
    """
    from cryptography.fernet import Fernet, InvalidToken, MultiFernet

    box = MultiFernet([Fernet(base64.urlsafe_b64encode(key)) for key in keys])

    class Box:
        def encrypt(self, data: bytes) -> bytes:
            return box.encrypt(data)

        def decrypt(self, token: bytes) -> bytes:
            try:
                return box.decrypt(token)
            except InvalidToken:
                raise ValueError("it was encrypted with a key that `evidence.keys` does not name") from None

    return Box()
