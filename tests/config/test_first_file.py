"""The file that init writes loads as it stands."""

from __future__ import annotations

import pytest

from config import ConfigError, load_text, starter


def test_the_first_file_loads_and_changes_nothing() -> None:
    """With both URLs: one route for reads at stage legacy, everything else to legacy; day one breaks nothing."""
    spec = load_text(starter("http://127.0.0.1:8000", "http://127.0.0.1:9000/v2"), environ={})

    assert [(backend.name, backend.port) for backend in spec.backends] == [("legacy", 8000), ("new", 9000)]
    assert spec.undeclared == "legacy"
    (route,) = spec.routes
    assert (route.legacy, route.new, route.initial_stage) == ("legacy", "new", "legacy")
    assert route.match[0].methods == ("GET", "HEAD")


def test_the_first_file_needs_no_new_service() -> None:
    """With the legacy URL alone, the file forwards everything and shows where the first route goes."""
    text = starter("http://127.0.0.1:8000")
    spec = load_text(text, environ={})

    assert (spec.undeclared, spec.routes) == ("legacy", ())
    assert "#   - name: orders" in text


def test_editors_find_the_schema() -> None:
    """The first line tells an editor which schema to use."""
    assert starter("http://a").startswith("# yaml-language-server: $schema=matapalo.schema.json\n")


@pytest.mark.parametrize(
    ("legacy", "new", "said"),
    [
        ("shop", None, "begins with http://"),
        ("http://a", "http://a", "which leads to the same place"),
        ('http://a"}\nworkers: 9', None, "backends.legacy.url"),
        ("http://${HOME}", None, "backends.legacy.url"),
        ("http://127.0.0.1:8080", None, "our own address"),
    ],
)
def test_a_wrong_url_writes_nothing(legacy: str, new: str | None, said: str) -> None:
    """A URL that cannot be a backend's is a ConfigError instead of a file that does not load."""
    with pytest.raises(ConfigError, match=said):
        starter(legacy, new)
