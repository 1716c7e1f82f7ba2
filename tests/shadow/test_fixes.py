"""Every fix does what it says: its code is run, and writes the bytes that stand beside it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from shadow.causes import CAUSES
from shadow.fixes import LANGUAGES, Fix, causes_markdown, go_packages, imports_of, remedies
from tests.support.goprogram import build
from tests.support.installed import build_wheel

ROOT = Path(__file__).resolve().parents[2]
ALL = [(name, fix) for name, remedy in remedies().items() for fix in remedy.fixes]


def fixes_for(*languages: str) -> list[tuple[str, Fix]]:
    """Pick the fixes of some languages, each with its cause."""
    return [(name, fix) for name, fix in ALL if fix.language in languages]


def test_every_cause_has_its_remedy() -> None:
    """The table of fixes and the table of causes name the same causes, in the same order."""
    assert list(remedies()) == list(CAUSES)


def test_what_no_code_can_fix_has_advice() -> None:
    """A cause without code says what to do, and every cause says who produces it."""
    assert [name for name, remedy in remedies().items() if not remedy.fixes and len(remedy.advice) < 20] == []
    assert [name for name, remedy in remedies().items() if len(remedy.producers) < 20] == []


def test_every_cosmetic_cause_has_code_for_go() -> None:
    """What an encoding may hold can be written by Go, old and new."""
    without = [
        name
        for name, cause in CAUSES.items()
        if cause.severity.value == "cosmetic" and not any(fix.language == "go" for fix in remedies()[name].fixes)
    ]

    assert without == []


def test_no_fix_uses_the_format_tag() -> None:
    """Go 1.27 refuses the ``format:`` tag that blog posts praise."""
    assert [name for name, fix in ALL if re.search(r"`[^`]*json:\"[^\"`]*format:", fix.code)] == []


def test_the_document_in_the_repository_is_the_generated_one() -> None:
    """docs/causes.md says exactly what the tables say."""
    written = (ROOT / "docs/causes.md").read_text(encoding="utf-8")

    assert written == causes_markdown(), "write it with python -m shadow.fixes"


def test_imports_are_found_outside_of_texts_and_comments() -> None:
    """A package that only a comment or a text names is not imported."""
    code = 'json.Marshal(1) // time.Now\nx := "http.Get" + `io.EOF`'

    assert go_packages(code) == ['"encoding/json"']
    assert imports_of("python", "json.dumps(Decimal(1))") == "import json\nfrom decimal import Decimal"


# ---- Go ------------------------------------------------------------------------------------------------------------


def go_results(go: Path, fixes: list[Fix], place: Path, version: str) -> list[tuple[str, str]]:
    """Build one program with every fix as a package of its own, and run it: what each wrote, and wrote before."""
    calls = []
    for number, fix in enumerate(fixes):
        source = (
            f"{fix.code}\n\nfunc Try(w io.Writer) {{\n{fix.trial}\n}}\n\n"
            f"func Before(w io.Writer) {{\n{fix.before}\n}}\n"
        )
        package = place / f"f{number}"
        package.mkdir()
        imports = "\n".join(go_packages(source))
        (package / "fix.go").write_text(f"package f{number}\n\nimport (\n{imports}\n)\n\n{source}", encoding="utf-8")
        calls.append(f"{{f{number}.Try, f{number}.Before}},")
    imports = "\n".join(f'"fixes/f{number}"' for number in range(len(fixes)))
    (place / "go.mod").write_text(f"module fixes\n\ngo {version}\n")
    (place / "main.go").write_text(MAIN.format(imports=imports, calls="\n".join(calls)))
    program = build(go, place)
    done = subprocess.run([str(program)], capture_output=True, check=True)
    rows: list[list[str]] = json.loads(done.stdout)
    return [(bytes.fromhex(tried).decode(), bytes.fromhex(before).decode()) for tried, before in rows]


MAIN = """package main

import (
"bytes"
"encoding/json"
"fmt"
"io"
"os"
{imports}
)

func main() {{
	fixes := [][2]func(io.Writer){{
{calls}
	}}
	var rows [][2]string
	for _, fix := range fixes {{
		var row [2]string
		for i, run := range fix {{
			var b bytes.Buffer
			run(&b)
			row[i] = fmt.Sprintf("%x", b.Bytes())
		}}
		rows = append(rows, row)
	}}
	json.NewEncoder(os.Stdout).Encode(rows)
}}
"""


@pytest.mark.needs("go")
def test_the_fixes_for_go_write_what_they_say(part_path: Callable[[str], Path], tmp_path: Path) -> None:
    """With Go 1.27 every fix writes the wanted bytes, and the usual way writes the recorded wrong ones."""
    named = fixes_for("go", "go127")

    results = go_results(part_path("go"), [fix for _, fix in named], tmp_path, "1.27")

    assert len(named) > 60
    assert_all(named, results)


@pytest.mark.needs("go-older")
def test_the_fixes_for_go_need_no_new_go(part_path: Callable[[str], Path], tmp_path: Path) -> None:
    """What is not marked for Go 1.27 does the same with an older one."""
    named = fixes_for("go")

    results = go_results(part_path("go-older"), [fix for _, fix in named], tmp_path, "1.21")

    assert_all(named, results)


def assert_all(named: list[tuple[str, Fix]], results: list[tuple[str, str]]) -> None:
    """Compare what was written with what was promised, and name every fix that breaks its promise."""
    assert len(results) == len(named)
    wrong = [
        (name, fix.does, tried, fix.gives)
        for (name, fix), (tried, _) in zip(named, results, strict=True)
        if tried != fix.gives
    ]
    assert wrong == []
    unlike = [
        (name, fix.does, before, fix.was)
        for (name, fix), (_, before) in zip(named, results, strict=True)
        if fix.before and before != fix.was
    ]
    assert unlike == []


# ---- Node and Python -----------------------------------------------------------------------------------------------


@pytest.mark.needs("node")
def test_the_fixes_for_node_write_what_they_say(part_path: Callable[[str], Path], tmp_path: Path) -> None:
    """Every fix for Node writes the wanted bytes, and the usual way writes the recorded wrong ones."""
    named = fixes_for("node")
    empty = "''"
    rows = ",\n".join(f"(() => {{\n{fix.code}\nreturn [{fix.trial}, {fix.before or empty}];\n}})()" for _, fix in named)
    script = tmp_path / "fixes.js"
    script.write_text(f'"use strict";\nconsole.log(JSON.stringify([\n{rows}\n]));\n', encoding="utf-8")

    done = subprocess.run([str(part_path("node")), str(script)], capture_output=True, check=True)

    assert len(named) > 35
    assert_all(named, [(str(tried), str(before)) for tried, before in json.loads(done.stdout)])


def test_the_fixes_for_python_write_what_they_say(tmp_path: Path) -> None:
    """Every fix for Python writes the wanted bytes, and the usual way writes the recorded wrong ones."""
    named = fixes_for("python")
    lines = ["import json as _json", "rows = []"]
    for _, fix in named:
        imports = imports_of("python", "\n".join((fix.code, fix.trial, fix.before)))
        source = f"{imports}\n{fix.code}"
        lines += [
            f"names = {{}}\nexec({source!r}, names)",
            f"rows.append([eval({fix.trial!r}, names), eval({fix.before or repr('')!r}, names)])",
        ]
    lines.append("text = lambda one: one.decode() if isinstance(one, bytes) else one")
    lines.append("print(_json.dumps([[text(one) for one in row] for row in rows]))")

    script = tmp_path / "fixes.py"
    script.write_text("\n".join(lines), encoding="utf-8")

    done = subprocess.run([sys.executable, str(script)], stdout=subprocess.PIPE, check=True)

    assert len(named) > 40
    assert_all(named, [(tried, before) for tried, before in json.loads(done.stdout)])


def test_the_wheel_brings_the_fixes(tmp_path: Path) -> None:
    """An installed Matapalo has the table that ``matapalo causes`` reads."""
    with zipfile.ZipFile(build_wheel(tmp_path)) as wheel:
        assert wheel.read("shadow/fixes.toml") == (ROOT / "shadow/fixes.toml").read_bytes()


def test_every_language_is_known() -> None:
    """A fix is for one of the languages that the document explains."""
    assert {fix.language for _, fix in ALL} == set(LANGUAGES)
