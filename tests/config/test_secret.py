"""Secrets are resolved late, and never repeated in a message."""

from __future__ import annotations

from pathlib import Path

import pytest

from config import ConfigError, SecretError, UnfitError, load_text, missing_secrets, resolve
from config.secret import MAX_SECRET_BYTES, anchored, file_reference, reference, token_digest, token_reference


def test_a_variable_is_resolved() -> None:
    """env:NAME is the value of the environment variable NAME."""
    assert resolve("env:TOKEN", environ={"TOKEN": "s3cret"}) == "s3cret"


def test_a_file_is_resolved_without_its_last_newline(tmp_path: Path) -> None:
    """file:PATH is the file's text, relative to the given directory, without one newline at its end."""
    (tmp_path / "token").write_bytes(b" s3cret \r\n")

    assert resolve("file:token", base_dir=tmp_path) == " s3cret "


@pytest.mark.parametrize(
    ("ref", "said"),
    [
        ("env:TOKEN", "the environment variable TOKEN is not set"),
        ("env:EMPTY", "env:EMPTY is empty"),
        ("file:nowhere", "cannot be read: No such file or directory"),
        ("file:.", "cannot be read: Is a directory"),
        ("file:large", "larger than 1MiB"),
        ("file:binary", "not UTF-8"),
    ],
)
def test_what_cannot_be_resolved_is_named(tmp_path: Path, ref: str, said: str) -> None:
    """A reference that leads nowhere is named with the reason."""
    (tmp_path / "large").write_bytes(b"x" * (MAX_SECRET_BYTES + 1))
    (tmp_path / "binary").write_bytes(b"\xff\xfe")

    with pytest.raises(SecretError, match=said):
        resolve(ref, base_dir=tmp_path, environ={"EMPTY": ""})


@pytest.mark.parametrize("written", ["hunter2", "env:", "env:1X", "vault:x", "file:", "env:hunter2 ", "file:\0"])
def test_a_secret_in_place_of_a_reference_is_not_repeated(written: str) -> None:
    """Somebody who writes the secret itself does not find it in the log."""
    with pytest.raises(SecretError) as late:
        resolve(written, environ={})
    with pytest.raises(UnfitError) as early:
        reference(written)

    assert "hunter2" not in str(late.value) + str(early.value)


@pytest.mark.parametrize(
    "written",
    [
        "override: {header: X-Side, token: hunter2}",
        "override: hunter2",
        "pins: hunter2",
        "evidence: {keys: hunter2}",
        "admin: {tokens: [hunter2]}",
        "webhooks: 'https://hooks/hunter2'",
        "webhooks: ['https://hooks/hunter2']",
        "openfeature: {secrets: {sdk_key: hunter2}}",
        "openfeature: {secrets: 'sdk_key=hunter2'}",
        "openfeature: {options: {sdk_key: 'hunter2${NOT_SET}'}}",
        'openfeature: {context: {tenant: "hunter2\\n"}}',
        "backends: {b: 'http://svc:hunter2@shop'}",
        "backends: {b: {url: 'http://svc:hunter2@shop'}}",
        "backends: {b: {url: 'http://svc:hunter2#@shop'}}",
        "backends: {b: {url: 'http://svc:${PASSWORD}@shop'}}",
        "backends: {b: {url: 'svc:hunter2@shop'}}",
        "backends: {b: {url: 'http://svc:hunter2@${NOT_SET}'}}",
        "backends: {b: {url: 'http://b', headers: {set: {Authorization: \"Bearer hunter2\\n\"}}}}",
        "backends: {b: {url: 'http://b', headers: {set: 'Authorization: Bearer hunter2'}}}",
        "backends: {b: {url: 'http://b', headers: 'Authorization: Bearer hunter2'}}",
        'routes: [{name: o, match: {path: /o, headers: {X-Door: "hunter2\\n"}}}]',
        "routes: [{name: o, match: {path: /o, query: hunter2}}]",
        "cohorts: [{name: c, match: {header: X-Staff, value: ' hunter2'}}]",
    ],
)
def test_a_secret_in_the_file_is_not_repeated(written: str) -> None:
    """What stands where a secret may stand is refused without being shown: in the file, and out of the environment."""
    with pytest.raises(ConfigError, match="found a text, expected ") as caught:
        load_text(f"{written}\ndefaults: {{legacy: none}}", environ={"PASSWORD": "hunter2"})

    assert "hunter2" not in str(caught.value)


def test_a_refused_backend_says_what_to_do_about_its_password() -> None:
    """A URL with a password is refused with the way to send credentials."""
    with pytest.raises(ConfigError, match="remove user and password"):
        load_text("backends: {b: {url: 'http://svc:${PASSWORD}@shop'}}", environ={"PASSWORD": "hunter2"})


def test_a_file_reference_becomes_absolute() -> None:
    """A file means the same in every process, whatever its working directory."""
    assert anchored("file:ca.pem", "/etc/matapalo") == "file:/etc/matapalo/ca.pem"
    assert anchored("file:/ca.pem", "/etc/matapalo") == "file:/ca.pem"
    assert anchored("env:TOKEN", "/etc/matapalo") == "env:TOKEN"


def test_a_certificate_is_a_file() -> None:
    """A bare path gets the hint to write file: in front."""
    with pytest.raises(UnfitError, match=r"write file:ca\.pem"):
        file_reference("ca.pem")


def test_check_names_every_missing_secret(tmp_path: Path) -> None:
    """Each reference that cannot be resolved here is one problem that names its key."""
    spec = load_text(
        """
        admin: {tokens: [{name: ops, role: operator, token: "env:OPS"}, {name: dev, role: viewer, token: "env:DEV"}]}
        backends: {old: {url: "http://old"}, new: {url: "http://new"}}
        override: {header: X-Side, token: "file:side"}
        webhooks: [{url: "http://hook", secret: "env:HOOK"}]
        routes:
          - name: a
            match: {path: /a}
            legacy: old
            new: new
            shadow: {credentials: replace, replace_authorization: "env:COPY"}
        """,
        base_dir=tmp_path,
        environ={},
    )

    problems = missing_secrets(spec, environ={"DEV": "x"})

    assert [problem.where for problem in problems] == [
        "admin.tokens.ops.token",
        "override.token",
        "webhooks[0].secret",
        "routes.a.shadow.replace_authorization",
    ]
    assert missing_secrets(load_text("backends: {old: {url: 'http://old'}}")) == ()


NOTHING = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def test_the_hash_of_nothing_is_no_token() -> None:
    """A hash that was made of an unset variable would let in whoever shows an empty token: it is refused everywhere."""
    with pytest.raises(UnfitError, match="the variable that was hashed was empty"):
        token_reference(NOTHING)
    with pytest.raises(SecretError, match="what was hashed was empty"):
        token_digest(NOTHING)


@pytest.mark.parametrize("value", ["s3cret\n", " s3cret", "s3cret\r", "geh\u00e9im", "a\tb", " "], ids=ascii)
def test_a_token_that_nobody_could_show_is_named(value: str) -> None:
    """A token that cannot arrive as it is written, such as one with a line end behind it, is refused with the reason,
    not waited for in vain."""
    with pytest.raises(SecretError, match="no Authorization header carries") as caught:
        token_digest(value)

    assert value.strip() not in str(caught.value) or not value.strip()
