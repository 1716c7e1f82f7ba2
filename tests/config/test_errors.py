"""Errors carry their data, print as editors expect, and survive a process border."""

from __future__ import annotations

import pickle

from config import ConfigError, MatapaloError, Problem, SecretError, UnfitError

PROBLEM = Problem("shop.yaml", 3, 7, "workers", "found 0, expected more")


def test_a_problem_prints_the_way_editors_jump_to() -> None:
    """A problem prints as file:line:column: where: message."""
    assert str(PROBLEM) == "shop.yaml:3:7: workers: found 0, expected more"


def test_a_problem_without_a_line_names_the_file_only() -> None:
    """A problem of the whole configuration prints without a line."""
    assert str(Problem("shop.yaml", 0, 0, "override.token", "is empty")) == "shop.yaml: override.token: is empty"


def test_errors_survive_pickling() -> None:
    """Every error of this room crosses a process border with its data."""
    config = pickle.loads(pickle.dumps(ConfigError((PROBLEM,))))
    unfit = pickle.loads(pickle.dumps(UnfitError("140%", "a share", "at most 100%")))

    assert config.problems == (PROBLEM,)
    assert str(config) == str(PROBLEM)
    assert str(unfit) == "found '140%', expected a share; at most 100%"


def test_every_error_has_the_one_root() -> None:
    """Whoever catches MatapaloError catches everything this room raises."""
    assert all(issubclass(error, MatapaloError) for error in (ConfigError, SecretError, UnfitError))
