"""The house rules that a machine can hold us to."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench import soak
from bench.bars import BARS
from console.commands.group import COMMANDS
from matapalo import ROOMS

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())

WITHOUT_TESTS: frozenset[str] = frozenset()
"""Modules that no test file mirrors yet. This list may only shrink."""

MACHINE_PATHS = re.compile(rb"(?<![A-Za-z0-9_.$}~<])/(?:wor[k]|far[m]|roo[t]|hom[e]/[a-z]|User[s]/[a-z])(?:/|\b)")
"""A file that names a developer's machine works nowhere else; the brackets keep this line out of its own net."""


def tracked(*patterns: str) -> list[Path]:
    """List files that git knows, or would add; everything else on a developer's disk is their own."""
    done = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z", "--", *patterns],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return [path for name in done.stdout.split("\0") if name and (path := ROOT / name).is_file()]


def room_modules() -> list[Path]:
    """List the modules of the rooms, and the door; a migration is data with a date, not a module of the house."""
    modules = [path for path in tracked(*(f"{room}/*.py" for room in ROOMS)) if "migrations" not in path.parts]
    return [ROOT / "matapalo.py", *modules]


def public_definitions(tree: ast.Module) -> Iterator[tuple[str, ast.AST]]:
    """Yield every public class and function of a module, with the methods of its public classes."""
    for node in tree.body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and not node.name.startswith("_"):
            yield node.name, node
            if isinstance(node, ast.ClassDef):
                for inner in node.body:
                    if isinstance(inner, ast.FunctionDef | ast.AsyncFunctionDef) and not inner.name.startswith("_"):
                        yield f"{node.name}.{inner.name}", inner


def is_described(node: ast.AST) -> bool:
    """Say whether a definition has a docstring, or inherits or overloads one that stands elsewhere."""
    assert isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
    if ast.get_docstring(node):
        return True
    marks = {ast.unparse(one).split(".")[-1].split("(")[0] for one in node.decorator_list}
    return bool(marks & {"override", "overload", "setter"})


def test_every_public_module_class_and_function_has_a_docstring() -> None:
    """A reader finds out what a name is for where it is defined."""
    silent = []
    for path in room_modules():
        tree = ast.parse(path.read_text())
        if not ast.get_docstring(tree):
            silent.append(f"{path.relative_to(ROOT)}: the module")
        silent += [
            f"{path.relative_to(ROOT)}: {name}" for name, node in public_definitions(tree) if not is_described(node)
        ]

    assert silent == []


def test_every_test_states_its_rule() -> None:
    """Each test has a docstring: the rule that a user could hold us to."""
    silent = [
        f"{path.relative_to(ROOT)}: {node.name}"
        for path in tracked("tests/*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.name.startswith("test_")
        and not ast.get_docstring(node)
    ]

    assert silent == []


def test_every_module_has_its_test_file() -> None:
    """``<room>/<module>.py`` is tested by ``tests/<room>/test_<module>.py``."""
    missing = {
        str(path.relative_to(ROOT))
        for path in room_modules()
        if path.name != "__init__.py"
        and not (ROOT / "tests" / path.relative_to(ROOT).parent / f"test_{path.name}").exists()
    }

    assert missing == WITHOUT_TESTS


def test_tests_are_no_packages() -> None:
    """No ``__init__.py`` under tests: two tests of one name in two rooms are two tests."""
    assert tracked("tests/**/__init__.py", "tests/__init__.py") == []


def test_no_module_is_named_for_nothing() -> None:
    """There is no utils, helpers, common, misc or manager: a module says what it holds."""
    vague = {"utils", "util", "helpers", "helper", "common", "misc", "manager"}

    assert [str(path.relative_to(ROOT)) for path in tracked("*.py") if path.stem in vague] == []


def test_no_file_names_a_machine() -> None:
    """No tracked file holds the path of somebody's machine."""
    guilty = []
    for path in tracked():
        data = path.read_bytes()
        if b"\0" not in data[:8192]:  # a picture or an archive has no paths to follow
            found = MACHINE_PATHS.search(data)
            if found:
                guilty.append(f"{path.relative_to(ROOT)}: {found[0].decode()}")

    assert guilty == []


def test_imports_go_down_only() -> None:
    """The floors hold: config, rules, shadow and store, proxy and console; one module speaks zttp."""
    linter = Path(sys.executable).parent / "lint-imports"

    done = subprocess.run([str(linter)], cwd=ROOT, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout + done.stderr


def test_imports_are_absolute() -> None:
    """No relative import: a line says where a name comes from wherever it stands."""
    relative = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in tracked("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom) and node.level
    ]

    assert relative == []


def declared_dependencies() -> set[str]:
    """Name every dependency of pyproject.toml: of the product, its extras, its build and its development."""
    project, groups = PROJECT["project"], PROJECT["dependency-groups"]
    written = [
        *project["dependencies"],
        *(one for extra in project.get("optional-dependencies", {}).values() for one in extra),
        *(one for group in groups.values() for one in group if isinstance(one, str)),
    ]
    return {re.split(r"[\[<>=!~ ]", one, maxsplit=1)[0] for one in written}


def test_every_dependency_has_its_reason() -> None:
    """docs/dependencies.md gives each dependency one line with its reason, and no line to anything else."""
    lines = re.findall(r"^\| `([^`]+)` \| (.+) \|$", (ROOT / "docs/dependencies.md").read_text(), flags=re.MULTILINE)

    assert {name for name, _ in lines} == declared_dependencies()
    assert all(len(reason) > 20 for _, reason in lines)


def test_every_dependency_is_used() -> None:
    """Nothing is installed with the product that no room imports: unused code can only break or be attacked."""
    imported = {
        name.split(".")[0]
        for path in room_modules() + tracked("store/migrations/*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }
    module_of = {"prometheus-client": "prometheus_client", "pyyaml": "yaml"}
    needed = {re.split(r"[<>=]", one, maxsplit=1)[0] for one in PROJECT["project"]["dependencies"]}

    assert {name for name in needed if module_of.get(name, name) not in imported} == set()


def documents() -> list[Path]:
    """List the pages that tell people what to type."""
    return [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *tracked("docs/*.md")]


def test_the_documents_name_only_commands_that_exist() -> None:
    """Every ``matapalo …`` and ``scripts/…`` in a code span or block of README and docs can be typed."""
    unknown = []
    for path in documents():
        code = "\n".join(re.findall(r"```.*?```|`[^`\n]+`", path.read_text(), flags=re.DOTALL))
        commands = re.findall(r"(?:^|[\s`/])matapalo (?:-m )?([a-z]+)\b(?!:)", code, flags=re.MULTILINE)
        scripts = re.findall(r"(?<![\w/])(scripts/[a-z]+)", code)
        unknown += [f"{path.name}: matapalo {name}" for name in commands if name not in (*COMMANDS, "matapalo")]
        unknown += [f"{path.name}: {script}" for script in scripts if not (ROOT / script).is_file()]

    assert unknown == []


def test_links_between_documents_lead_somewhere() -> None:
    """A relative link of README or docs names a file that is there."""
    broken = [
        f"{path.relative_to(ROOT)}: {target}"
        for path in documents()
        for target in re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", path.read_text())
        if not (path.parent / target).exists()
    ]

    assert broken == []


def test_every_proof_of_reliability_exists() -> None:
    """Each test file, test and drill that docs/reliability.md names as a proof is there."""
    spans = re.findall(r"`([^`\n]+)`", (ROOT / "docs" / "reliability.md").read_text())
    proofs = [span.partition("::")[::2] for span in spans if span.partition("::")[0].endswith(".py")]
    drills = [span.split(" --only ") for span in spans if " --only " in span]
    known = {"scripts/bench": {bar.name for bar in BARS}, "scripts/soak": {bar.name for bar in soak.bars(1)}}

    missing = [
        f"{file}::{name}"
        for file, name in proofs
        if not (ROOT / "tests" / file).is_file() or (f"def {name}(" not in (ROOT / "tests" / file).read_text() and name)
    ]

    assert len(proofs) > 50
    assert missing == []
    assert [drill for drill in drills if drill[1] not in known[drill[0]]] == []


@pytest.mark.parametrize("script", sorted(path.name for path in (ROOT / "scripts").iterdir() if path.is_file()))
def test_scripts_are_runnable_and_parse(script: str) -> None:
    """Every script is executable, stops at the first error or says why not, and has no syntax error."""
    path = ROOT / "scripts" / script
    first = path.read_text().splitlines()[0]

    assert path.stat().st_mode & 0o111
    assert first in ("#!/usr/bin/env bash", "#!/usr/bin/env python3")
    if "bash" in first:
        bash = shutil.which("bash")
        assert bash is not None
        subprocess.run([bash, "-n", str(path)], check=True)
