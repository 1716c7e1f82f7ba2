"""``matapalo compare``: files and directories, what is printed, and the exit code."""

from __future__ import annotations

import base64
import gzip
import json
import os
import time
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest

from tests.console.commands.conftest import Cli

CORPUS = Path(__file__).resolve().parents[2] / "shadow" / "corpus" / "pairs.jsonl.gz"


def write(place: Path, bodies: dict[str, bytes]) -> str:
    """Write files below a directory that is made for them."""
    for name, body in bodies.items():
        path = place / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body)
    return str(place)


def two(tmp_path: Path, legacy: bytes, new: bytes) -> tuple[str, str]:
    """Write one file per side."""
    sides = tmp_path / "legacy.json", tmp_path / "new.json"
    for path, body in zip(sides, (legacy, new), strict=True):
        path.write_bytes(body)
    return str(sides[0]), str(sides[1])


def test_equal_files_pass(cli: Cli, tmp_path: Path) -> None:
    """Byte-equal files are identical, of one meaning and proven, and the exit code is 0."""
    printed = cli("compare", *two(tmp_path, b'{"a":1}', b'{"a":1}'), "--json")

    assert printed.code == 0
    assert printed.json == {
        "pairs": [
            {
                "name": "new.json",
                "identical": True,
                "same_meaning": True,
                "proven": True,
                "causes": [],
                "differences": [],
            }
        ]
    }


def test_a_difference_has_its_cause_and_place_on_both_sides(cli: Cli, tmp_path: Path) -> None:
    """Each difference names cause, severity, both pointers, both fragments and how many places it has."""
    printed = cli("compare", *two(tmp_path, b'{"a": {"n": 1.0}}', b'{"a":{"n":1}}\n'), "--json")

    (pair,) = printed.json["pairs"]
    assert printed.code == 1
    assert (pair["identical"], pair["same_meaning"], pair["proven"]) == (False, True, True)
    assert pair["causes"] == ["number.integral_float", "whitespace.separator", "whitespace.trailing_newline"]
    (number,) = [one for one in pair["differences"] if one["cause"] == "number.integral_float"]
    assert {name: number[name] for name in ("legacy_pointer", "new_pointer", "severity", "legacy", "new", "count")} == {
        "legacy_pointer": "/a/n",
        "new_pointer": "/a/n",
        "severity": "client-dependent",
        "legacy": "1.0",
        "new": "1",
        "count": 1,
    }


def test_a_pointer_is_null_where_a_side_lacks_the_place(cli: Cli, tmp_path: Path) -> None:
    """A missing member has no place in new; names in pointers are escaped as RFC 6901 says."""
    (pair,) = cli("compare", *two(tmp_path, b'{"a/b~":1,"c":2}', b'{"c":2}'), "--json").json["pairs"]

    (one,) = pair["differences"]
    assert (one["cause"], one["legacy_pointer"], one["new_pointer"]) == ("member.missing", "/a~1b~0", None)


def test_directories_are_paired_by_relative_name(cli: Cli, tmp_path: Path) -> None:
    """Files pair up wherever they stand below; one on a single side is named, and makes the exit code 1."""
    legacy = write(tmp_path / "l", {"x/a.json": b"{}", "b.json": b"[1]", "only.json": b"1"})
    new = write(tmp_path / "n", {"x/a.json": b"{}", "b.json": b"[1]", "other.json": b"1"})

    printed = cli("compare", legacy, new, "--json")

    pairs = {pair["name"]: pair for pair in printed.json["pairs"]}
    assert printed.code == 1
    assert sorted(pairs) == ["b.json", "only.json", "other.json", "x/a.json"]
    assert pairs["x/a.json"]["identical"]
    assert pairs["b.json"]["identical"]
    assert "no such file on new's side" in pairs["only.json"]["problem"]
    assert "no such file on legacy's side" in pairs["other.json"]["problem"]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("missing", "missing"), "is no file"),
        (("here", "file"), "two of one kind"),
        (("file", "http://127.0.0.1:1/"), "two of one kind"),
        (("empty", "empty"), "nothing to compare"),
        (("file", "file", "--tolerate", "escape.htm"), "escape.html"),
        (("file", "file", "--tolerate", "$..["), "--tolerate"),
        (("file", "file", "--tolerate", "http.status"), "never hidden"),
        (("file", "file", "-H", "A: b"), "two URLs"),
        (("file",), "NEW"),
    ],
)
def test_what_cannot_be_compared_is_a_usage_error(
    cli: Cli, tmp_path: Path, words: tuple[str, ...], sentence: str
) -> None:
    """Exit code 2, and a sentence that says what was expected: a run that compares nothing must not look green."""
    write(tmp_path, {"file": b"1", "here/file": b"1"})
    (tmp_path / "empty").mkdir()

    printed = cli("compare", *words)

    assert printed.code == 2
    assert sentence in " ".join(printed.err.split())


def test_parity_meaning_lets_cosmetic_differences_pass(cli: Cli, tmp_path: Path) -> None:
    """Under parity meaning a separator passes and 1.0 for 1 does not."""
    spaced = two(tmp_path, b'{"a": 1}', b'{"a":1}')
    assert (cli("compare", *spaced).code, cli("compare", *spaced, "--parity", "meaning").code) == (1, 0)

    float_too = two(tmp_path, b'{"a": 1.0}', b'{"a":1}')
    assert cli("compare", *float_too, "--parity", "meaning").code == 1


def test_a_duplicate_never_passes_as_the_same_meaning(cli: Cli, tmp_path: Path) -> None:
    """What some clients read otherwise is not cosmetic, whatever most of them read."""
    assert cli("compare", *two(tmp_path, b'{"a":1,"a":2}', b'{"a":2}'), "--parity", "meaning").code == 1


def test_tolerated_differences_pass_and_are_shown(cli: Cli, tmp_path: Path) -> None:
    """A cause or a place can be let through; the difference is still listed, and another one still fails."""
    files = two(tmp_path, b'{"at":1,"v":[{"at":3}]}', b'{"at":2,"v":[{"at":4}]}\n')

    few = cli("compare", *files, "--tolerate", "$.at", "--tolerate", "/v/*/at", "--json")
    all_of_them = cli(
        *("compare", *files, "--tolerate", "$.at", "--tolerate", "/v/*/at"),
        *("--tolerate", "whitespace.trailing_newline", "--json"),
    )

    assert (few.code, all_of_them.code) == (1, 0)
    assert [one["tolerated"] for one in few.json["pairs"][0]["differences"]].count(False) == 1
    assert all(one["tolerated"] for one in all_of_them.json["pairs"][0]["differences"])


@pytest.mark.parametrize("layers", [1, 2])
def test_compressed_files_without_a_header_are_named_and_looked_into(cli: Cli, tmp_path: Path, layers: int) -> None:
    """gzip on one side is a cause of its own beside those of the content, and never the same meaning."""
    new = b'{"a":1}'
    for _ in range(layers):
        new = gzip.compress(new, mtime=0)

    (pair,) = cli("compare", *two(tmp_path, b'{"a": 1}', new), "--json").json["pairs"]

    assert pair["causes"] == ["http.content_encoding", "whitespace.separator"]
    assert pair["same_meaning"] is False


def test_other_compression_of_one_content_is_all_that_differs(cli: Cli, tmp_path: Path) -> None:
    """Two levels of gzip around the same bytes differ in nothing else, and mean the same."""
    body = b'{"a":[' + b",".join(b"%d" % n for n in range(500)) + b"]}"
    files = two(tmp_path, gzip.compress(body, 1, mtime=0), gzip.compress(body, 9, mtime=0))

    (pair,) = cli("compare", *files, "--json").json["pairs"]

    assert pair["causes"] == ["http.content_encoding"]
    assert pair["same_meaning"] is True


HOSTILE = {
    "deep": (b"[" * 100_000, b"[" * 100_001),
    "number": (b"1" * 100_000, b"1" * 100_000 + b"2"),
    "exponent": (b"1e999999999", b"1e999999998"),
    "invalid": (b'"\xff\xfe\xfd"' * 100, b'"\xff\xfe\xfc"' * 100),
    "cut": (b'{"a":"' + b"x" * 100_000, b'{"a":"' + b"y" * 100_000),
    "bomb": (gzip.compress(b"\0" * (40 << 20), mtime=0), b"{}"),
    "surrogate": (b'{"\\ud800":1}', b'{"\\ud800":2}'),
    "control": (b"\x1b[31m<html>", b"\x1b[32m<html>"),
    "names": (b'{"a' + b"\\u0007" * 10 + b'":1}', b'{"a' + b"\\u0007" * 10 + b'":2}'),
    "empty": (b"", b"null"),
    "reversed": (
        b"[" + b",".join(b"%d" % n for n in range(20_000)) + b"]",
        b"[" + b",".join(b"%d" % n for n in reversed(range(20_000))) + b"]",
    ),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_get_a_verdict(cli: Cli, tmp_path: Path, name: str) -> None:
    """Whatever stands in the files: no crash, a cause, never identical; and nothing of it moves a terminal's cursor."""
    files = two(tmp_path, *HOSTILE[name])

    in_json, for_people = cli("compare", *files, "--json"), cli("compare", *files)

    (pair,) = in_json.json["pairs"]
    assert (in_json.code, for_people.code) == (1, 1)
    assert pair["causes"]
    assert (pair["identical"], pair["same_meaning"]) == (False, False)
    assert in_json.err == for_people.err == ""
    assert "\x1b" not in for_people.out + in_json.out


def test_a_file_that_cannot_be_read_is_a_problem_of_its_pair(cli: Cli, tmp_path: Path) -> None:
    """The other pairs are compared all the same."""
    legacy = write(tmp_path / "l", {"a": b"1", "b": b"1"})
    new = write(tmp_path / "n", {"b": b"1"})
    os.mkfifo(Path(new) / "a")

    printed = cli("compare", legacy, new, "--json")

    assert printed.code == 1
    assert [("problem" in pair, pair["identical"]) for pair in printed.json["pairs"]] == [(True, False), (False, True)]


def test_people_read_the_worst_first(cli: Cli, tmp_path: Path) -> None:
    """The pair with the wrong price stands before those with a line feed; sums, causes and plan stand at the end."""
    legacy = {f"{n}.json": b'{"price":1,"n":%d}' % n for n in range(5)}
    new = {name: body + b"\n" for name, body in legacy.items()} | {"3.json": b'{"price":2,"n":3}\n'}

    printed = cli("compare", write(tmp_path / "l", legacy), write(tmp_path / "n", new))

    assert printed.out.startswith("3.json: another meaning")
    assert printed.out.index("value.changed at /price") < printed.out.index("whitespace.trailing_newline")
    assert "5x whitespace.trailing_newline" in printed.out
    assert "once fixed: trailing newline 80 %" in printed.out
    assert "5 compared: 0 identical, 4 of the same meaning, 1 of another; 5 do not pass" in printed.out


def test_junit_has_one_case_per_pair(cli: Cli, tmp_path: Path) -> None:
    """CI shows each pair, and a failure with its causes."""
    legacy = write(tmp_path / "l", {"a.json": b"1", "b.json": b'{"x":1}'})
    new = write(tmp_path / "n", {"a.json": b"1", "b.json": b'{"x":2}'})

    printed = cli("compare", legacy, new, "--junit", "report.xml")

    suite = ET.parse(tmp_path / "report.xml").getroot()[0]
    assert printed.code == 1
    assert (suite.get("tests"), suite.get("failures")) == ("2", "1")
    failure = suite.find("testcase[@name='b.json']/failure")
    assert failure is not None
    assert failure.get("message") == "value.changed"
    assert "/x" in (failure.text or "")


def test_the_recorded_pairs_are_explained_quickly(cli: Cli, tmp_path: Path) -> None:
    """Over 2,000 pairs of real encoders: causes exact in 99 %, meaning and identity in all, thousands a minute."""
    rows: list[dict[str, Any]] = [json.loads(line) for line in gzip.decompress(CORPUS.read_bytes()).splitlines()[::9]]
    for side in ("legacy", "new"):
        write(tmp_path / side, {f"{n:05}": base64.b64decode(row[f"{side}_b64"]) for n, row in enumerate(rows)})

    begun = time.process_time()
    pairs = cli("compare", "legacy", "new", "--json").json["pairs"]
    spent = time.process_time() - begun

    assert len(pairs) == len(rows) > 2_000
    assert [pair["identical"] for pair in pairs] == [row["equal_bytes"] for row in rows]
    assert [pair["same_meaning"] for pair in pairs] == [row["semantically_equal"] for row in rows]
    exact = sum(pair["causes"] == sorted(row["causes"]) for pair, row in zip(pairs, rows, strict=True))
    assert exact / len(rows) > 0.99
    assert spent < 20  # far above what it takes: a second
