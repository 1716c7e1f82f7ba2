"""The table and the specs describe the same configuration."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import pytest

from config import table
from config.kinds import Many, Section, Table
from config.spec import (
    AdminSpec,
    BackendSpec,
    ConfigSpec,
    LimitsSpec,
    MatchSpec,
    RouteSpec,
    ShadowSpec,
    ToleranceSpec,
)


def sections(section: Section) -> Iterator[Section]:
    """Walk a section and everything below it."""
    yield section
    for key in section.keys:
        kind = key.kind.of if isinstance(key.kind, Many | Table) else key.kind
        if isinstance(kind, Section):
            yield from sections(kind)


@pytest.mark.parametrize(
    ("section", "spec", "made"),
    [
        (table.ROOT, ConfigSpec, {"digest", "files", "stamps"}),
        (table.ADMIN, AdminSpec, set()),
        (
            table.BACKEND,
            BackendSpec,
            {"name", "scheme", "host", "port", "path_strip", "path_add", "headers_set", "headers_remove"},
        ),
        (table.MATCH, MatchSpec, set()),
        (table.SHADOW, ShadowSpec, {"mode"}),
        (table.ROUTE, RouteSpec, set()),
        (table.LIMITS, LimitsSpec, set()),
        (table.TOLERANCE, ToleranceSpec, {"id", "route"}),
    ],
)
def test_every_attribute_of_a_spec_has_its_key(section: Section, spec: type, made: set[str]) -> None:
    """Whatever the specs can say, a file can say; nothing is out of reach."""
    reachable = {key.field or key.name for key in section.keys}

    assert {item.name for item in dataclasses.fields(spec)} - made <= reachable


def test_every_key_says_what_it_is() -> None:
    """Each key and section has a text that ends like a sentence, and no name stands twice in a section."""
    for section in sections(table.ROOT):
        names = [key.name for key in section.keys]
        assert len(set(names)) == len(names), section.title
        assert all(text.endswith(".") for text in (section.doc, *(key.doc for key in section.keys))), section.title
        assert not set(names) & (section.later.keys() | section.elsewhere.keys()), section.title


def test_every_default_reads_back() -> None:
    """What the reference shows as a default is what the key would be read as."""
    for section in sections(table.ROOT):
        for key in section.keys:
            default = section.default(key)
            parse = getattr(key.kind, "parse", None)
            if parse is not None and default is not None and default != "":
                assert parse(key.kind.show(default)) == default, f"{section.title}.{key.name}"


def test_sections_are_told_apart_by_their_titles() -> None:
    """A title names one section, because the reference links by it."""
    found: dict[str, Section] = {}
    for section in sections(table.ROOT):
        assert found.setdefault(section.title, section) is section
