"""The one root error of Matapalo, and the errors of reading a configuration."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self


class MatapaloError(Exception):
    """Be the root of every error that Matapalo raises on purpose."""


@dataclass(frozen=True, slots=True)
class Problem:
    """Say what is wrong at one place of a configuration, and what to do about it."""

    file: str
    line: int
    """Counts from 1; 0 where only the whole configuration can be named."""
    column: int
    """Counts from 1; 0 together with the line."""
    where: str
    """The key's path, for example ``routes.orders.match.path``."""
    message: str
    """What was found, what was expected, and a hint."""

    def __str__(self) -> str:
        """Print as ``file:line:column: where: message``, the form that editors jump to."""
        spot = f"{self.file}:{self.line}:{self.column}" if self.line else self.file
        return f"{spot}: {self.where}: {self.message}"


class ConfigError(MatapaloError):
    """A configuration cannot be used; every problem of it is in ``problems``."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = problems

    def __reduce__(self) -> tuple[type[Self], tuple[tuple[Problem, ...]]]:
        """Pickle by the problems, because the finished text is not what the constructor takes."""
        return type(self), (self.problems,)


class UnfitError(MatapaloError, ValueError):
    """A text is not the kind of value that its place needs."""

    def __init__(self, found: str, expected: str, hint: str = "") -> None:
        super().__init__(f"found {found!r}, expected {expected}" + (f"; {hint}" if hint else ""))
        self.found, self.expected, self.hint = found, expected, hint

    def __reduce__(self) -> tuple[type[Self], tuple[str, str, str]]:
        """Pickle by the parts, because the finished sentence is not what the constructor takes."""
        return type(self), (self.found, self.expected, self.hint)


class SecretError(MatapaloError):
    """A secret reference cannot be resolved; the message never holds the value."""
