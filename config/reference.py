"""The reference of the configuration, written from the table that the loader reads."""

from __future__ import annotations

from typing import Final

from config.kinds import Key, Kind, Many, Section, Table
from config.table import ROOT

_INTRODUCTION: Final = """\
# Configuration

*Written from the code (`config/table.py`) by `config.reference_markdown()`; a test holds the two together.*

`matapalo init --legacy URL --new URL` writes a first file; `matapalo check -c FILE` reads one and says everything
that is wrong with it as `file:line:column: where: what was found, what was expected, hint`. A wrong file never starts
and never replaces a good one.

* **Units.** Durations `250ms` `30s` `5m` `2h` `7d`; sizes `512B` `64KiB` `10MiB` `1GiB`; shares `12.5%`, in
  steps of 0.01 %. A number without its unit is refused.
* **Variables.** `${NAME}` is the environment's value and must be set. `${NAME:-default}` and `${NAME:?message}` step in
  where it is unset or empty; `$$` is a dollar sign. They work in values, not in keys.
  Inside `{ }` and `[ ]`, YAML needs quotes around them: `{url: "${SHOP_URL}"}`.
* **Secrets** are never values here, only references: `env:NAME` or `file:PATH`. `matapalo check` says which
  ones cannot be found.
* **Paths** of files and directories are relative to the main file.
* **Unknown keys** are errors. Keys that begin with `x-` are ignored, for anchors and for other tools; not so where keys
  are names of headers or parameters.
* **Anchors**, aliases and `<<` work; tags do not. A word is a word: `off` and `no` need no quotes where words belong.
* **More files**: `include: [routes/*.yaml]`. An included file holds `routes` and `backends`.
* **Reload** on SIGHUP, on `POST /-/reload`, or with `watch: true`: read whole, swapped at once, the last good one kept.
"""


def reference_markdown() -> str:
    """Write every section with its keys, their defaults and what they mean, as Markdown."""
    places: dict[str, list[str]] = {}
    sections: dict[str, Section] = {}
    _collect(ROOT, "", sections, places)
    return "\n".join((_INTRODUCTION, *(_section(sections[title], places[title]) for title in sections)))


def _collect(section: Section, path: str, sections: dict[str, Section], places: dict[str, list[str]]) -> None:
    """Find every section below one, in the order of its keys, and where it stands."""
    sections.setdefault(section.title, section)
    places.setdefault(section.title, []).append(path)
    for key in section.keys:
        inner, suffix = _inside(key.kind)
        if inner is not None:
            _collect(inner, f"{path}.{key.name}{suffix}".lstrip("."), sections, places)


def _inside(kind: Kind) -> tuple[Section | None, str]:
    """Find the section that a kind leads to, and how its place is written."""
    if isinstance(kind, Section):
        return kind, ""
    if isinstance(kind, Many) and isinstance(kind.of, Section):
        return kind.of, "[]"
    if isinstance(kind, Table) and isinstance(kind.of, Section):
        return kind.of, ".NAME"
    return None, ""


def _section(section: Section, places: list[str]) -> str:
    """Write one section."""
    shown = ", ".join(f"`{place}`" for place in places if place)
    lines = [f"## {section.title.capitalize()}", "", section.doc + (f" Stands at {shown}." if shown else ""), ""]
    lines += [f"* `{word}` in its place: {meaning}." for word, meaning in section.instead.items()]
    lines += [""] if section.instead else []
    lines += ["| key | value | default | meaning |", "|---|---|---|---|"]
    lines += [
        f"| `{key.name}` | {_cell(_words(key.kind))} | {_default(section, key)} | {_cell(key.doc)} |"
        for key in section.keys
    ]
    if section.later:
        said = "; ".join(f"`{name}` ({meaning})" for name, meaning in section.later.items())
        lines += ["", f"Not yet: {said}."]
    return "\n".join((*lines, ""))


def _words(kind: Kind) -> str:
    """Say what a key takes, and name the section where it is a mapping."""
    inner, _ = _inside(kind)
    if inner is None:
        return kind.words
    link = f"[{inner.title}](#{inner.title.replace(' ', '-')})"
    if inner.alone:
        link = f"{inner.key(inner.alone).kind.words}, or a {link}"
    if isinstance(kind, Section):
        return " or ".join((*(f"`{word}`" for word in kind.instead), link))
    return f"names, each with its {link}" if isinstance(kind, Table) else f"{link}, or a list of them"


def _default(section: Section, key: Key) -> str:
    """Show what a missing key stands for."""
    if key.required:
        return "required"
    default = section.default(key)
    hidden = default is None or default == () or (isinstance(key.kind, Section) and not isinstance(default, str))
    shown = "" if hidden else key.kind.show(default)
    return f"`{_cell(shown)}`" if shown else ""


def _cell(text: str) -> str:
    """Keep a text inside its cell."""
    return text.replace("|", "\\|")
