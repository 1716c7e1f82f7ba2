"""Rules of TLS: which files are taken, which are refused and in which words, and who is trusted."""

from __future__ import annotations

import os
import ssl
import subprocess
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from config.loader import load_text
from config.spec import BackendTlsSpec, ConfigSpec, TlsSpec
from config.tls import TlsError, client_context, identity, is_renewed, read_tls, stamped
from tests.support.authority import Authority


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Vouch for everybody in this file."""
    return Authority(tmp_path_factory.mktemp("authority"))


def path_of(ref: str) -> Path:
    """Give the file behind a reference."""
    return Path(ref.removeprefix("file:"))


def test_a_certificate_is_ready_for_handshakes_and_says_when_it_ends(authority: Authority) -> None:
    """A pair gives a context for TLS 1.2 and 1.3 that offers HTTP/1.1, and the end that openssl reads, too."""
    pair = authority.issue("good", days=20)

    loaded = identity(pair)

    assert loaded.context.minimum_version is ssl.TLSVersion.TLSv1_2
    assert loaded.context.options & (ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION)
    assert abs(loaded.expires_at - time.time() - 20 * 86_400) < 120


def test_one_file_may_hold_both(authority: Authority, tmp_path: Path) -> None:
    """Certificate and key may stand in one file, in either order."""
    pair = authority.issue("joined")
    both = tmp_path / "both.pem"
    both.write_text(path_of(pair.key).read_text() + path_of(pair.cert).read_text())

    assert identity(TlsSpec(cert=f"file:{both}", key=f"file:{both}")).expires_at == identity(pair).expires_at


def test_an_end_after_2049_is_read(authority: Authority) -> None:
    """Beyond 2049 a certificate writes its years with four digits (RFC 5280 section 4.1.2.5)."""
    loaded = identity(authority.issue("old", days=40 * 365))

    assert abs(loaded.expires_at - time.time() - 40 * 365 * 86_400) < 120


def spoil_with(cert: Callable[[str], str] = str, key: Callable[[str], str] = str) -> Callable[[TlsSpec], None]:
    """Change what the files of a pair hold."""

    def spoil(pair: TlsSpec) -> None:
        for path, change in ((path_of(pair.cert), cert), (path_of(pair.key), key)):
            path.write_text(change(path.read_text()))

    return spoil


def encrypt(pair: TlsSpec) -> None:
    """Protect the key by a passphrase."""
    path = path_of(pair.key)
    command = ["openssl", "pkey", "-in", str(path), "-aes256", "-passout", "pass:secret"]
    path.write_bytes(subprocess.run(command, check=True, capture_output=True, timeout=30).stdout)


SPOILT: dict[str, tuple[Callable[[TlsSpec], None], str]] = {
    "no certificate file": (lambda pair: path_of(pair.cert).unlink(), "cannot be read"),
    "no key file": (lambda pair: path_of(pair.key).unlink(), "cannot be read"),
    "half a certificate": (spoil_with(cert=lambda text: text[: len(text) // 2]), "holds no certificate"),
    "no key in it": (spoil_with(key=lambda _: "hello"), "holds no private key"),
    "garbage inside": (
        spoil_with(cert=lambda text: text.replace(text[100:140], "A" * 40)),
        "cannot be used",
    ),
    "half a key": (spoil_with(key=lambda text: text[:60] + text[100:]), "cannot be used"),
    "an encrypted key": (encrypt, "encrypted"),
}


@pytest.mark.parametrize(("spoil", "said"), SPOILT.values(), ids=SPOILT.keys())
def test_what_cannot_be_used_is_said(authority: Authority, spoil: Callable[[TlsSpec], None], said: str) -> None:
    """A pair that cannot be used is one sentence that names the file, and never what is in it."""
    pair = authority.issue("spoilt")
    secret = path_of(pair.key).read_text().splitlines()[1]
    spoil(pair)

    with pytest.raises(TlsError, match=said) as raised:
        identity(pair)

    assert "spoilt" in str(raised.value)
    assert secret not in str(raised.value)


def test_a_key_of_another_certificate_is_refused(authority: Authority) -> None:
    """A key that does not belong to the certificate is refused before anybody uses it."""
    one, other = authority.issue("one"), authority.issue("other")

    with pytest.raises(TlsError, match="does not belong to the certificate"):
        identity(TlsSpec(cert=one.cert, key=other.key))


def test_the_environment_does_not_say_whom_we_trust(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    """SSL_CERT_FILE, SSL_CERT_DIR and SSLKEYLOGFILE change nothing; what the configuration names is all."""
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
    monkeypatch.setenv("SSL_CERT_DIR", str(authority.directory))
    monkeypatch.setenv("SSLKEYLOGFILE", str(authority.directory / "keys"))

    by_system, by_file = client_context(BackendTlsSpec()), client_context(BackendTlsSpec(ca=f"file:{authority.file}"))

    assert not any("authority" in str(known["subject"]) for known in by_system.get_ca_certs())
    assert [known["subject"] for known in by_file.get_ca_certs()] == [((("commonName", "authority"),),)]
    assert [context.keylog_filename for context in (by_system, by_file)] == [None, None]
    assert by_system.check_hostname
    assert by_system.verify_mode == ssl.CERT_REQUIRED


def test_authorities_that_are_none_are_refused(tmp_path: Path) -> None:
    """A `ca` without a certificate in it is refused: trusting nobody is never meant."""
    (tmp_path / "ca.pem").write_text("nothing here")

    with pytest.raises(TlsError, match="holds no certificates"):
        client_context(BackendTlsSpec(ca=f"file:{tmp_path}/ca.pem"))


def configuration(authority: Authority, pair: TlsSpec) -> ConfigSpec:
    """Use a pair on a listener and towards a backend."""
    own = f"{{cert: '{path_of(pair.cert)}', key: '{pair.key}'}}"
    text = f"""
        listen: [127.0.0.1:80, {{address: 127.0.0.1:443, tls: {own}}}]
        admin: {{tls: {own}}}
        backends:
          old: {{url: "https://old", tls: {{ca: "file:{authority.file}", cert: "{pair.cert}", key: "{pair.key}"}}}}
          new: {{url: "http://new"}}
        """
    return load_text(text)


def test_a_file_reads_as_its_path_with_or_without_file(authority: Authority) -> None:
    """`cert: PATH` and `key: file:PATH` are the same kind of reference, absolute once read."""
    pair = authority.issue("written")

    config = configuration(authority, pair)

    assert config.listen[0].tls is None
    assert config.listen[1].tls == config.admin.listen.tls == pair
    assert config.backends[0].tls is not None
    assert config.backends[0].tls.identity == pair
    assert read_tls(config)[0] == ()
    assert [where for where, _ in read_tls(config)[1]] == ["listen[1].tls", "admin.tls", "backends.old.tls"]


def test_a_replaced_file_makes_another_configuration(authority: Authority) -> None:
    """A replaced certificate is seen by its stamp, also behind a link, and only by those who use it."""
    pair = authority.issue("linked")
    place = path_of(pair.cert)
    place.rename(place.with_suffix(".v1"))
    place.symlink_to(place.with_suffix(".v1"))
    before = configuration(authority, pair)
    assert stamped(before) == before

    place.with_suffix(".v2").write_bytes(place.read_bytes())
    place.with_suffix(".tmp").symlink_to(place.with_suffix(".v2"))
    os.replace(place.with_suffix(".tmp"), place)
    after = stamped(before)

    assert after != before
    assert is_renewed(before, after, before.listen[1].tls)
    assert is_renewed(before, after, before.backends[0].tls)
    assert not is_renewed(before, after, before.listen[0].tls)
    assert not is_renewed(before, after, BackendTlsSpec(ca=f"file:{authority.file}"))
    assert replace(after, stamps=before.stamps) == before
