"""A certificate authority that lives as long as a test: real files, made by the ``openssl`` of the machine.

::

    authority = Authority(tmp_path)
    pair = authority.issue("first")                # a TlsSpec; the same name again replaces the files
    context = authority.client_context()           # trusts nobody else
"""

from __future__ import annotations

import os
import ssl
import subprocess
from pathlib import Path

from config.spec import TlsSpec


class Authority:
    """Issue certificates for ``localhost`` and 127.0.0.1."""

    def __init__(self, directory: Path, name: str = "authority") -> None:
        self.directory = directory
        self._key = directory / f"{name}.key"
        self.file = directory / f"{name}.pem"
        """Its own certificate, to be trusted."""
        made = ("-keyout", self._key, "-out", self.file, "-subj", f"/CN={name}", "-addext", _SIGNS)
        _openssl("req", "-x509", *_NEW_KEY, *made)

    def issue(self, name: str, *, hosts: str = "DNS:localhost,IP:127.0.0.1", days: int = 30) -> TlsSpec:
        """Write ``name.pem`` and ``name.key``, each replaced whole; *days* -1 makes one that has ended."""
        cert, key = self.directory / f"{name}.pem", self.directory / f"{name}.key"
        request, extensions = self.directory / f"{name}.csr", self.directory / f"{name}.ext"
        extensions.write_text(f"subjectAltName={hosts}\nauthorityKeyIdentifier=keyid\n")
        _openssl("req", *_NEW_KEY, "-keyout", f"{key}.new", "-out", request, "-subj", f"/CN={name}")
        signing = ("-CA", self.file, "-CAkey", self._key, "-CAcreateserial", "-days", str(days))
        _openssl("x509", "-req", "-in", request, "-out", f"{cert}.new", *signing, "-extfile", extensions)
        os.replace(f"{cert}.new", cert)
        os.replace(f"{key}.new", key)
        return TlsSpec(cert=f"file:{cert}", key=f"file:{key}")

    def client_context(self) -> ssl.SSLContext:
        """Trust this authority only."""
        return ssl.create_default_context(cafile=str(self.file))

    def server_context(self, pair: TlsSpec) -> ssl.SSLContext:
        """Serve as a backend with a certificate."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pair.cert.removeprefix("file:"), pair.key.removeprefix("file:"))
        return context


_SIGNS = "keyUsage=critical,keyCertSign,cRLSign"
"""Python's own contexts are strict since 3.13: an authority says what its key is for, and whom it signed (RFC 5280)."""

_NEW_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")


def _openssl(*words: str | Path) -> None:
    subprocess.run(["openssl", *map(str, words)], check=True, capture_output=True, timeout=30)
