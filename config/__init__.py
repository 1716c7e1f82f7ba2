"""What was asked for: the configuration as frozen values, its loader, its schema and its reference.

The door is lazy: a worker needs only :mod:`config.spec`, and should not pay
for a YAML parser in time and memory on every start.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from config.errors import ConfigError, MatapaloError, Problem, SecretError, UnfitError
    from config.first_file import starter
    from config.loader import load, load_text
    from config.reference import reference_markdown
    from config.schema import json_schema
    from config.secret import missing_secrets, resolve
    from config.spec import ConfigSpec
    from config.watch import files_of

__all__ = [
    "ConfigError",
    "ConfigSpec",
    "MatapaloError",
    "Problem",
    "SecretError",
    "UnfitError",
    "files_of",
    "json_schema",
    "load",
    "load_text",
    "missing_secrets",
    "reference_markdown",
    "resolve",
    "starter",
]

_HOMES = {
    "ConfigError": "errors",
    "ConfigSpec": "spec",
    "MatapaloError": "errors",
    "Problem": "errors",
    "SecretError": "errors",
    "UnfitError": "errors",
    "files_of": "watch",
    "json_schema": "schema",
    "load": "loader",
    "load_text": "loader",
    "missing_secrets": "secret",
    "reference_markdown": "reference",
    "resolve": "secret",
    "starter": "first_file",
}


def __getattr__(name: str) -> Any:  # the door hands on whatever the home defines
    """Fetch a public name from its home on first use."""
    if name not in _HOMES:
        raise AttributeError(f"module 'config' has no attribute {name!r}")
    value = getattr(import_module(f"config.{_HOMES[name]}"), name)
    globals()[name] = value
    return value
