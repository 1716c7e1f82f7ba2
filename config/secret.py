"""Secrets: the configuration names them, and whoever needs one resolves it at the last moment."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from config.errors import Problem, SecretError, UnfitError
from config.spec import ConfigSpec

EXPECTED: Final = "a secret reference: env:NAME or file:PATH"
PATTERN: Final = r"^(env:[A-Za-z_][A-Za-z0-9_]*|file:.+)$"
OR_HASH_EXPECTED: Final = "env:NAME, file:PATH, or sha256: and the 64 hex digits of a token's hash"
OR_HASH_PATTERN: Final = r"^(env:[A-Za-z_][A-Za-z0-9_]*|file:.+|sha256:[0-9a-f]{64})$"
MAX_SECRET_BYTES: Final = 1 << 20
"""The largest secret file: a bundle of authorities has 250 KiB, a wrong path may have any size."""

EMPTY_DIGEST: Final = hashlib.sha256(b"").hexdigest()
"""What hashing a variable that was not set gives; as a token's hash it would let everybody in who shows none."""

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SHOWABLE: Final = re.compile(r"[\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?")


def resolve(ref: str, base_dir: str | Path | None = None, environ: Mapping[str, str] | None = None) -> str:
    """Fetch the value that *ref* names; one newline at the end of a file is not part of it.

    Raises: SecretError naming the reference, never the value.
    Runs: blocks on one small file for ``file:``; not for the event loop of a worker.
    """
    scheme, _, name = ref.partition(":")
    if scheme == "env" and _NAME.fullmatch(name):
        value = (os.environ if environ is None else environ).get(name)
        if value is None:
            raise SecretError(f"the environment variable {name} is not set; set it before the start")
    elif scheme == "file" and name and "\0" not in name:
        value = _read(Path(base_dir or ".") / name)
    else:
        # The text may be a secret that somebody wrote in place of a reference.
        raise SecretError(f"found a text that is not {EXPECTED}")
    if not value:
        raise SecretError(f"{ref} is empty; give it a value")
    return value


def reference(written: str) -> str:
    """Check that a text is a reference; it is not resolved.

    Raises: UnfitError that does not repeat the text, because people do write secrets there.
    """
    if not re.fullmatch(PATTERN, written) or not written.isprintable():
        raise UnfitError("a text", EXPECTED)
    return written


def token_reference(written: str) -> str:
    """Check what stands for a token: a reference, or its hash; a hash of 256 random bits gives nothing away.

    Raises: UnfitError that does not repeat the text, because people do write tokens there.
    """
    if not re.fullmatch(OR_HASH_PATTERN, written) or not written.isprintable():
        raise UnfitError("a text", OR_HASH_EXPECTED)
    if written == f"sha256:{EMPTY_DIGEST}":
        raise UnfitError("the hash of nothing", OR_HASH_EXPECTED, "the variable that was hashed was empty")
    return written


def token_digest(value: str) -> str:
    """Give the hex SHA-256 of a token; a value that is ``sha256:`` and a hash already is that hash.

    Raises: SecretError for ``sha256:`` before anything else, for the hash of nothing, and for a value that no request
    could show.
    """
    scheme, colon, digest = value.partition(":")
    if not (colon and scheme == "sha256"):
        if not _SHOWABLE.fullmatch(value):
            raise SecretError(
                "it has a blank or line end at one of its ends, or a character beyond ASCII, which no Authorization "
                "header carries: write it anew, for example with `printf %s` in place of `echo`"
            )
        return hashlib.sha256(value.encode()).hexdigest()
    if not re.fullmatch(r"[0-9a-f]{64}", digest):
        raise SecretError("a hash is sha256: and 64 hex digits; `matapalo token hash` writes it")
    if digest == EMPTY_DIGEST:
        raise SecretError("this is the hash of nothing: what was hashed was empty; `matapalo token hash` writes one")
    return digest


def file_reference(written: str) -> str:
    """Check a reference that may only be a file."""
    if not written.startswith("file:") or len(written) == len("file:") or not written.isprintable():
        hint = "" if written.startswith(("env:", "file:")) else f"write file:{written}"
        raise UnfitError(written, "a file: file:PATH", hint)
    return written


def file_path(written: str) -> str:
    """Check the path of a file, with or without ``file:`` in front; the result is a reference.

    Raises: UnfitError that does not repeat the text: somebody may have pasted the key itself.
    """
    path = written.removeprefix("file:")
    if not path or not path.isprintable() or path.startswith(("env:", "-----BEGIN")):
        raise UnfitError("a text", "the path of a file")
    return f"file:{path}"


def anchored(ref: str, base_dir: str | Path) -> str:
    """Make the path of a ``file:`` reference absolute, so that it means the same in every process."""
    scheme, _, path = ref.partition(":")
    return f"file:{Path(base_dir).absolute() / path}" if scheme == "file" else ref


def missing_secrets(spec: ConfigSpec, environ: Mapping[str, str] | None = None) -> tuple[Problem, ...]:
    """Try every reference of *spec* and say which ones cannot be resolved here.

    Order: as in the file. The line is 0: values of the configuration no longer know where they stood.
    Runs: blocks on the files; for ``check``, not for loading, because another machine may hold the secrets.
    """
    file = spec.files[0] if spec.files else "configuration"
    problems = []
    for where, ref in _references(spec):
        try:
            resolve(ref, environ=environ)
        except SecretError as error:
            problems.append(Problem(file, 0, 0, where, str(error)))
    return tuple(problems)


def _references(spec: ConfigSpec) -> Iterator[tuple[str, str]]:
    """Yield every reference of a configuration with the key that holds it."""
    if spec.database.startswith(("env:", "file:")):
        yield "database", spec.database
    for token in spec.admin.tokens:
        if token.token.startswith("sha256:"):
            continue
        yield f"admin.tokens.{token.name}.token", token.token
    if spec.override is not None:
        yield "override.token", spec.override.token
    for cohort in spec.cohorts:
        for number, match in enumerate(cohort.match):
            if match.token is not None:
                yield f"cohorts.{cohort.name}.match[{number}].token", match.token
    for number, key in enumerate(spec.pins):
        yield f"pins.secret[{number}]", key
    for number, key in enumerate(spec.evidence.keys):
        yield f"evidence.keys[{number}]", key
    for number, webhook in enumerate(spec.webhooks):
        yield f"webhooks[{number}].secret", webhook.secret
    for name, ref in spec.openfeature.secrets if spec.openfeature is not None else ():
        yield f"openfeature.secrets.{name}", ref
    for route in spec.routes:
        if route.shadow.replace_authorization is not None:
            yield f"routes.{route.name}.shadow.replace_authorization", route.shadow.replace_authorization


def _read(path: Path) -> str:
    """Read one secret file whole."""
    try:
        with path.open("rb") as file:
            raw_value = file.read(MAX_SECRET_BYTES + 1)
    except OSError as error:
        raise SecretError(
            f"the file {path} cannot be read: {error.strerror or error}; check its path and mode"
        ) from error
    if len(raw_value) > MAX_SECRET_BYTES:
        raise SecretError(f"the file {path} is larger than 1MiB, which no secret is; check its path")
    try:
        return raw_value.decode().removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError as error:
        raise SecretError(f"the file {path} is not UTF-8 text; check its path") from error
