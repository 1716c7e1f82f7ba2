"""What to do about each cause: who produces it, and code in Go, Node and Python that was run.

The data stands in ``fixes.toml`` beside this file and is read when somebody asks: a comparer never does.
``docs/causes.md`` is written from it by ``python -m shadow.fixes``; tests run every piece of code.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Final

from shadow.causes import CAUSES, Severity
from shadow.redact import printable

LANGUAGES: Final = MappingProxyType(
    {"go": "Go", "go127": "Go 1.27 and newer", "node": "Node", "python": "Python"},
)
"""In the order in which fixes are shown."""

_FENCES: Final = MappingProxyType({"go": "go", "go127": "go", "node": "js", "python": "python"})

_GO_PACKAGES: Final = MappingProxyType(
    {
        "bytes": '"bytes"',
        "errors": '"errors"',
        "fmt": '"fmt"',
        "http": '"net/http"',
        "httptest": '"net/http/httptest"',
        "io": '"io"',
        "json": '"encoding/json"',
        "jsontext": '"encoding/json/jsontext"',
        "jsonv2": 'jsonv2 "encoding/json/v2"',
        "math": '"math"',
        "regexp": '"regexp"',
        "sort": '"sort"',
        "strconv": '"strconv"',
        "strings": '"strings"',
        "time": '"time"',
        "utf16": '"unicode/utf16"',
        "utf8": '"unicode/utf8"',
    }
)

_PYTHON_MODULES: Final = ("base64", "json", "math", "re", "struct", "unicodedata")
_PYTHON_NAMES: Final = MappingProxyType(
    {"UTC": "datetime", "datetime": "datetime", "timedelta": "datetime", "Decimal": "decimal", "Enum": "enum"}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fix:
    """Hold one way to take a cause away, in one language."""

    language: str
    """A name of :data:`LANGUAGES`."""
    does: str
    code: str
    """Declarations, without imports."""
    trial: str
    """What a test runs behind the code: in Go statements that write to ``w``, else an expression."""
    gives: str
    """What that writes."""
    before: str = ""
    """The usual way, that leads to the cause; may be empty."""
    was: str = ""
    """What was recorded from it."""

    @property
    def listing(self) -> str:
        """Give the code with its imports, ready to paste."""
        imports = imports_of(self.language, self.code)
        gap = "\n\n\n" if self.language == "python" else "\n\n"  # as each language's formatter has it
        return f"{imports}{gap}{self.code}" if imports else self.code


@dataclass(frozen=True, slots=True, kw_only=True)
class Remedy:
    """Hold what is known about one cause beyond its sentence."""

    producers: str
    advice: str
    """Empty: the code says it all."""
    fixes: tuple[Fix, ...]


@cache
def remedies() -> Mapping[str, Remedy]:
    """Give the remedy of every cause, by its name.

    Runs: reads a file of 50 KB at the first call, about 20 ms.
    """
    raw = tomllib.loads(Path(__file__).with_name("fixes.toml").read_text(encoding="utf-8"))
    return MappingProxyType({name: _remedy(table) for name, table in raw.items()})


def _remedy(table: Mapping[str, object]) -> Remedy:
    rows = table.get("fix", ())
    assert isinstance(rows, Iterable)
    fixes = (
        Fix(
            language=row["for"],
            does=row["does"],
            code=row["code"].rstrip("\n"),
            trial=row["try"].strip("\n"),
            gives=row["gives"],
            before=row.get("before", "").strip("\n"),
            was=row.get("was", ""),
        )
        for row in rows
    )
    order = list(LANGUAGES)
    return Remedy(
        producers=str(table["producers"]),
        advice=str(table.get("advice", "")),
        fixes=tuple(sorted(fixes, key=lambda fix: order.index(fix.language))),
    )


def imports_of(language: str, code: str) -> str:
    """Write the imports that a piece of code needs; empty: none."""
    if language == "node":
        return ""
    if language == "python":
        return _python_imports(code)
    packages = go_packages(code)
    if len(packages) == 1:
        return f"import {packages[0]}"
    return "import (\n" + "".join(f"\t{one}\n" for one in packages) + ")" if packages else ""


_GO_TEXTS: Final = re.compile(r"""//[^\n]*|"(?:[^"\\\n]|\\.)*"|`[^`]*`|'(?:[^'\\]|\\.)'""")


def go_packages(code: str) -> list[str]:
    """List the import specs of a piece of Go, sorted by path: every package that is named outside of texts."""
    bare = _GO_TEXTS.sub('""', code)
    found = {spec for name, spec in _GO_PACKAGES.items() if re.search(rf"(?<![\w.]){name}\.[A-Z]", bare)}
    return sorted(found, key=lambda spec: spec.partition('"')[2])


def _python_imports(code: str) -> str:
    lines = [f"import {name}" for name in _PYTHON_MODULES if re.search(rf"(?<![\w.]){name}\.", code)]
    modules: dict[str, list[str]] = {}
    for name, module in _PYTHON_NAMES.items():
        if re.search(rf"(?<![\w.]){name}\b", code):
            modules.setdefault(module, []).append(name)
    lines += [f"from {module} import {', '.join(sorted(names))}" for module, names in modules.items()]
    return "\n".join(lines)


# ---- the document --------------------------------------------------------------------------------------------------

_INTRODUCTION: Final = """\
# Causes: why two answers differ, and what to do about it

*Written from the code (`shadow/causes.py`, `shadow/fixes.toml`) by `python -m shadow.fixes`; a test compares them.*

The list is closed: every difference has one of these names. `matapalo causes NAME` shows one of them, and
`matapalo compare LEGACY NEW` finds them in recorded answers, without a server. Every piece of code below is run by a
test and writes the bytes that stand under it: Go with 1.27 and with an older one, Node, Python.

| severity | who sees it |
|---|---|
| client-visible | every client: it is another value |
| client-dependent | typed or strict parsers, caches, string compares |
| cosmetic | no conforming JSON parser; hashes and signatures all the same |
| noise | nobody: it differs between two answers of one service too |
| unknown | a limit stopped the explanation, or nothing in the table fits |

Go 1.27 has `encoding/json/v2` and `encoding/json/jsontext` without any experiment; encoding/json itself runs on them.
`jsonv2.Marshal(v, json.DefaultOptionsV1(), …)` is what `json.Marshal` does, with single switches turned and no struct
touched. Without `DefaultOptionsV1`, v2 writes nil slices as `[]`, escapes no HTML and has a random order of maps.
`matapalo encoding ROUTE --for go` puts together what one route needs, from what was recorded.
"""


def causes_markdown() -> str:
    """Write every cause with its fixes, as Markdown."""
    parts = [_INTRODUCTION]
    for severity in Severity:
        names = [name for name, cause in CAUSES.items() if cause.severity is severity]
        rows = [f"| [`{name}`](#{_anchor(name)}) | {_cell(CAUSES[name].sentence)} |" for name in names]
        parts.append("\n".join((f"## {severity.value.capitalize()}", "", "| cause | |", "|---|---|", *rows, "")))
        parts += [_section(name) for name in names]
    return "\n".join(parts)


def _section(name: str) -> str:
    remedy = remedies()[name]
    parts = [f"### {name}", CAUSES[name].sentence, f"**Who:** {remedy.producers}"]
    if remedy.advice:
        parts.append(remedy.advice)
    for fix in remedy.fixes:
        parts.append(f"**{LANGUAGES[fix.language]}:** {fix.does}")
        parts.append(f"```{_FENCES[fix.language]}\n{fix.listing}\n```")
        written = f"`{printable(fix.gives)}`" if fix.gives else "nothing"
        before = f" (before: {f'`{printable(fix.was)}`' if fix.was else 'nothing'})" if fix.before else ""
        parts.append(f"Writes {written}{before}.")
    return "\n\n".join(parts) + "\n"


def _anchor(name: str) -> str:
    """Name the heading as GitHub does: dots fall away."""
    return name.replace(".", "")


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    (Path(__file__).parents[1] / "docs" / "causes.md").write_text(causes_markdown(), encoding="utf-8")
