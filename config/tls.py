"""TLS as the configuration asks for it: whom we are, whom we trust, and which files say so.

Rules of this file:

1. The environment has no say: neither ``SSL_CERT_FILE`` nor ``SSLKEYLOGFILE``. Whom a proxy trusts must not depend on
   the shell that started it.
2. A certificate is loaded into a new context, never into one in use: what is refused leaves nothing behind, and what
   is replaced goes on for the connections that it serves.
3. A key leaves this module only inside OpenSSL's context.
"""

from __future__ import annotations

import os
import re
import ssl
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final

from config.errors import MatapaloError, Problem, SecretError
from config.secret import resolve
from config.spec import BackendTlsSpec, ConfigSpec, TlsSpec

PROTOCOLS: Final = ["http/1.1"]
"""What we offer by ALPN, in both roles."""

_CERTIFICATE: Final = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)
_ENCRYPTED: Final = re.compile(r"-----BEGIN ENCRYPTED PRIVATE KEY-----|^Proc-Type: *4, *ENCRYPTED", re.MULTILINE)
_MISMATCH: Final = ("KEY_VALUES_MISMATCH", "KEY_TYPE_MISMATCH")


class TlsError(MatapaloError):
    """Certificate, key or authorities cannot be used; the sentence names the file and never what is in it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Hold what we show to clients at one address, ready for handshakes."""

    context: ssl.SSLContext
    expires_at: int
    """Unix time at which the certificate ends."""


def identity(pair: TlsSpec) -> Identity:
    """Load a certificate and its key.

    Raises: TlsError.
    Runs: blocks on two small files. Cost: 0.5 ms with an elliptic key, 1.5 ms with RSA.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    _harden(context)
    return Identity(context=context, expires_at=_load_pair(context, pair))


def client_context(tls: BackendTlsSpec) -> ssl.SSLContext:
    """Make the context that verifies one backend.

    Raises: TlsError.
    Runs: blocks on small files; the system's authorities take about 10 ms.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    _harden(context)
    # Any certificate that the operator names is trusted, also one in the middle of a chain.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    if tls.ca is not None:
        try:
            context.load_verify_locations(cadata=_read(tls.ca))
        except ssl.SSLError as error:
            raise TlsError(f"{_path(tls.ca)} holds no certificates (PEM): {error.reason or error}") from error
    else:
        paths = ssl.get_default_verify_paths()
        file, directory = paths.openssl_cafile, paths.openssl_capath
        if os.path.isfile(file) or os.path.isdir(directory):
            context.load_verify_locations(
                file if os.path.isfile(file) else None, directory if os.path.isdir(directory) else None
            )
    if not tls.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if tls.identity is not None:
        _load_pair(context, tls.identity)
    return context


def pairs(config: ConfigSpec) -> Iterator[tuple[str, TlsSpec]]:
    """Name every certificate that a configuration shows to somebody, with the key that holds it."""
    for index, address in enumerate(config.listen):
        if address.tls is not None:
            # As it is written: one listener may stand there without the list.
            yield f"listen[{index}].tls", address.tls
    if config.admin.listen.tls is not None:
        yield "admin.tls", config.admin.listen.tls
    for backend in config.backends:
        if backend.tls is not None and backend.tls.identity is not None:
            yield f"backends.{backend.name}.tls", backend.tls.identity


def read_tls(config: ConfigSpec) -> tuple[tuple[Problem, ...], tuple[tuple[str, int], ...]]:
    """Load everything that TLS needs, for ``check``: problems without a line, and the end of each certificate.

    Runs: blocks on the files; not for loading, because another machine may hold them.
    """
    file = config.files[0] if config.files else "configuration"
    problems, ends = [], []
    for where, pair in pairs(config):
        try:
            ends.append((where, identity(pair).expires_at))
        except TlsError as error:
            problems.append(Problem(file, 0, 0, where, str(error)))
    for backend in config.backends:
        if backend.tls is not None and backend.tls.ca is not None:
            try:
                client_context(replace(backend.tls, identity=None))
            except TlsError as error:
                problems.append(Problem(file, 0, 0, f"backends.{backend.name}.tls.ca", str(error)))
    return tuple(problems), tuple(ends)


def stamped(config: ConfigSpec) -> ConfigSpec:
    """Give the configuration with the stamps that its TLS files have now.

    Runs: blocks on one stat per file, and follows links: Kubernetes and certbot replace a link.
    """
    # Not those of the admin API: control looks after them itself, and no worker reads them.
    refs = [ref for where, pair in pairs(config) if where != "admin.tls" for ref in (pair.cert, pair.key)]
    refs += [backend.tls.ca for backend in config.backends if backend.tls is not None and backend.tls.ca is not None]
    return replace(config, stamps=_stamps(refs))


def stamps(pair: TlsSpec) -> tuple[tuple[str, str], ...]:
    """Give the stamps that a certificate and its key have now.

    Runs: blocks on one stat per file.
    """
    return _stamps((pair.cert, pair.key))


def is_renewed(old: ConfigSpec, new: ConfigSpec, tls: TlsSpec | BackendTlsSpec | None) -> bool:
    """Say whether a file that *tls* names was replaced between two configurations."""
    if isinstance(tls, BackendTlsSpec):
        own = tls.identity
        refs = {tls.ca} | ({own.cert, own.key} if own is not None else set())
    else:
        refs = {tls.cert, tls.key} if tls is not None else set()
    return any(pair[0] in refs for pair in set(old.stamps) ^ set(new.stamps))


def _harden(context: ssl.SSLContext) -> None:
    # Compression is off and the ciphers are those with forward secrecy because Python's defaults are so since 3.10.
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(PROTOCOLS)


def _load_pair(context: ssl.SSLContext, pair: TlsSpec) -> int:
    """Load a certificate and its key into a context that nobody uses yet; gives the certificate's end."""
    cert, key = _read(pair.cert), _read(pair.key)
    first = _CERTIFICATE.search(cert)
    if first is None:
        raise TlsError(f"{_path(pair.cert)} holds no certificate, expected PEM (-----BEGIN CERTIFICATE-----)")
    if _ENCRYPTED.search(key):
        raise TlsError(
            f"the key {_path(pair.key)} is encrypted, expected one without a passphrase: nobody is there to type it; "
            "decrypt it (openssl pkey) and protect the file by its mode"
        )
    if "PRIVATE KEY-----" not in key:
        raise TlsError(f"{_path(pair.key)} holds no private key, expected PEM (-----BEGIN PRIVATE KEY-----)")
    try:
        # Without a password OpenSSL would ask on the terminal.
        context.load_cert_chain(_path(pair.cert), _path(pair.key), password="")
        return _end_of(ssl.PEM_cert_to_DER_cert(first[0]))
    except (OSError, ValueError, IndexError) as error:
        reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or str(error)
        if reason in _MISMATCH:
            raise TlsError(
                f"the key {_path(pair.key)} does not belong to the certificate {_path(pair.cert)}, expected its own; "
                "while they are being replaced this mends itself"
            ) from error
        both = " and ".join(dict.fromkeys((_path(pair.cert), _path(pair.key))))
        raise TlsError(f"{both} cannot be used: {reason}") from error


def _read(ref: str) -> str:
    try:
        return resolve(ref)
    except SecretError as error:
        raise TlsError(str(error)) from error


def _path(ref: str) -> str:
    return ref.removeprefix("file:")


def _stamps(refs: Iterable[str]) -> tuple[tuple[str, str], ...]:
    return tuple((ref, _stamp(ref)) for ref in dict.fromkeys(refs))


def _stamp(ref: str) -> str:
    try:
        found = os.stat(_path(ref))
    except OSError:
        return "missing"
    return f"{found.st_mtime_ns}-{found.st_ino}-{found.st_size}"


def _end_of(der: bytes) -> int:
    """Read ``notAfter`` out of a certificate (RFC 5280 section 4.1).

    The standard library shows it only of a verified peer's certificate.
    Raises: ValueError or IndexError for what is no certificate.
    """
    body = _element(der, _element(der, 0)[0])  # Certificate, tbsCertificate
    at = body[0]
    if der[at] == 0xA0:  # version, absent in the first
        at = _element(der, at)[1]
    for _ in range(3):  # serialNumber, signature, issuer
        at = _element(der, at)[1]
    begin = _element(der, at)[0]  # validity, notBefore
    start, end = _element(der, _element(der, begin)[1])
    text = der[start:end].decode("ascii")
    if len(text) == 13:  # UTCTime: section 4.1.2.5.1 says which century
        text = ("20" if text[:2] < "50" else "19") + text
    return int(datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC).timestamp())


def _element(der: bytes, at: int) -> tuple[int, int]:
    """Give where the content of the DER element at *at* begins and ends."""
    length, begin = der[at + 1], at + 2
    if length >= 0x80:
        begin += length - 0x80
        length = int.from_bytes(der[at + 2 : begin], "big")
    return begin, begin + length
