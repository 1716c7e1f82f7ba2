"""The generated Go code, compiled and run: it writes what the recorded encoders wrote."""

from __future__ import annotations

import base64
import gzip
import json
import re
import subprocess
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from shadow.gocode import go_code
from shadow.style import FRAMEWORKS, Style
from tests.support.goprogram import run_go

ROOT = Path(__file__).resolve().parents[2]
CORPUS = Path(__file__).with_name("corpus") / "encoders.jsonl.gz"

ENCODERS = {
    "express": "express-json",
    "django": "django-jsonresponse",
    "flask": "flask-jsonify",
    "fastapi": "fastapi-return-dict",
    "php": "php-json_encode",
    "orjson": "py-orjson",
    "pydantic": "pydantic-model-json",
    "aiohttp": "aiohttp-json-response",
}
"""Frameworks with recorded bodies, and the encoder's name in the corpus."""

NO_STYLE = {
    "express": {
        # integer-like names come first, whatever the order of declaration
        *("ko-intlike", "ko-typed-int-keys", "ko-typed-int-keys-neg"),
        # number.precision_loss: JavaScript has no such integers
        *("int-snowflake", "int-minint64", "int-maxuint64", "real-order"),
        "undef-member",  # null.omitted
    },
    "flask": {"ko-typed-int-keys", "ko-typed-int-keys-neg"},  # native integers as names, sorted as numbers
    "fastapi": {"dec-0.10", "dec-integral", "dec-30digits", "dec-neg"},  # decimals as floats
    "pydantic": {"bool-from-db", "duration-90m", "duration-1.5s"},
    "php": {
        *("ws-empty-object", "ko-typed-int-keys-list", "norows-map", "empty-object-member"),  # object_as_array
        *("duration-90m", "duration-1.5s", "int-maxuint64"),
        *("real-user", "real-order", "real-calendar"),  # moments, which are objects in PHP
    },
}
"""Cases whose difference no style takes away: another value, or another type."""


@cache
def bodies() -> dict[str, dict[str, bytes]]:
    """Give the recorded bodies, by case and encoder."""
    found: dict[str, dict[str, bytes]] = {}
    for line in gzip.decompress(CORPUS.read_bytes()).splitlines():
        row = json.loads(line)
        found.setdefault(row["case"], {})[row["encoder"]] = base64.b64decode(row["body_b64"])
    return found


MOMENT = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d+)?[+-]\d\d:\d\d")
FIELD = re.compile(r"[\w!#$%&()*+\-./:;<=>?@\[\]^{|}~ ]+")
"""What may stand in a struct's tag with every Go."""

DURATION = re.compile(r"(\d+):(\d\d):(\d\d(?:\.\d+)?)")


def typed(case: str) -> Any:
    """Read one logical value with its types, from what Python wrote of it.

    Raises: ValueError, where Go has no such value.
    """
    recorded = bodies()[case]
    is_plain = "py-json" in recorded

    def text_of(text: str) -> list[str]:
        if not is_plain and MOMENT.fullmatch(text):
            return ["moment", text.replace(" ", "T").replace("+00:00", "Z")]
        if not is_plain and (found := DURATION.fullmatch(text)):
            return ["duration", f"{found[1]}h{found[2]}m{found[3]}s"]
        if not is_plain and re.fullmatch(r"\d{4}-\d\d-\d\d( \d\d:\d\d:\d\d)?|b'.*'", text):
            raise ValueError("a date, a moment without a zone, or bytes")
        if any("\ud800" <= one <= "\udfff" for one in text):
            raise ValueError("a lone surrogate")
        return ["string", text]

    def value_of(value: Any) -> Any:
        if isinstance(value, bool):
            return [str(value).lower()]
        if isinstance(value, str):
            return text_of(value)
        if isinstance(value, list):
            return ["array", *map(value_of, value)]
        if isinstance(value, Members):
            names = [name for name, _ in value.pairs]
            if len(set(names)) < len(names) or not all(map(FIELD.fullmatch, names)):
                raise ValueError("a name that no Go struct can have")
            return ["object", *([name, value_of(one)] for name, one in value.pairs)]
        return ["null"] if value is None else value

    class Members:
        def __init__(self, pairs: list[tuple[str, Any]]) -> None:
            self.pairs = pairs

    def refuse(text: str) -> Any:
        raise ValueError(text)

    # Numbers come out as a list already, and a list of JSON comes out through value_of.
    return value_of(
        json.loads(
            recorded["py-json"] if is_plain else recorded["py-json-default-str"],
            object_pairs_hook=Members,
            parse_int=lambda text: Number("integer", text),
            parse_float=lambda text: Number("float", text),
            parse_constant=refuse,
        )
    )


class Number(tuple[str, ...]):
    """A number with its type, which JSON writes as a list."""

    def __new__(cls, *parts: str) -> Number:
        return super().__new__(cls, parts)


def rows_of_the_corpus() -> list[tuple[str, str, Any]]:
    """List (framework, case, typed value) for all that was recorded and that Go can hold."""
    rows = []
    for case, recorded in bodies().items():
        try:
            value = typed(case)
        except ValueError:
            continue
        rows += [(name, case, value) for name, encoder in ENCODERS.items() if encoder in recorded]
    return rows


def unequal(go: Path, place: Path, *, modern: bool) -> dict[str, set[str]]:
    """Name by framework the cases in which Go wrote other bytes than were recorded."""
    rows = rows_of_the_corpus()
    styles = {name: FRAMEWORKS[name] for name in ENCODERS}
    assert len(rows) > 1_000
    written = run_go(go, place, styles, [(name, value) for name, _, value in rows], modern=modern)
    wrong: dict[str, set[str]] = {}
    for (name, case, _), body in zip(rows, written, strict=True):
        if body != bodies()[case][ENCODERS[name]] and not (name == "php" and case.startswith("t-")):
            wrong.setdefault(name, set()).add(case)
    return wrong


@pytest.mark.needs("go")
def test_it_writes_what_the_recorded_encoders_wrote(part_path: Callable[[str], Path], tmp_path: Path) -> None:
    """With Go 1.27, options alone make Go write byte for byte like Express, Django, Flask, FastAPI and four more."""
    assert unequal(part_path("go"), tmp_path, modern=True) == NO_STYLE


@pytest.mark.parametrize("part", [pytest.param(one, marks=pytest.mark.needs(one)) for one in ("go", "go-older")])
def test_the_variant_for_older_go_writes_the_same(part: str, part_path: Callable[[str], Path], tmp_path: Path) -> None:
    """The variant with types of its own does the same, with an old Go and with the newest."""
    assert unequal(part_path(part), tmp_path, modern=False) == NO_STYLE


@pytest.mark.needs("go")
@pytest.mark.parametrize("modern", [True, False])
def test_the_code_is_formatted(modern: bool, part_path: Callable[[str], Path], tmp_path: Path) -> None:
    """gofmt changes nothing, so that pasted code passes a team's own checks."""
    gofmt = next(part_path("go").resolve().parents[1].glob("lib/python*/site-packages/go/bin/gofmt"), None)
    if gofmt is None:
        pytest.skip("this Go brings no gofmt")
    odd = {"gson": Style(html="<>&='", upper_hex=True), "spaced": Style(comma=True, is_sorted=False, null_maps=False)}
    for name, style in {**FRAMEWORKS, **odd}.items():
        (tmp_path / f"{name}.go").write_text(go_code(style, modern=modern, origin=name), encoding="utf-8")

    done = subprocess.run([str(gofmt), "-l", str(tmp_path)], capture_output=True, text=True, check=True)

    assert done.stdout == ""


def test_what_no_code_can_do_is_said() -> None:
    """The order of a struct's fields and an empty slice are the service's own to change; the file says so."""
    style = Style(is_sorted=False, null_slices=False, null_maps=True)

    older, modern = (go_code(style, modern=modern, origin="x") for modern in (False, True))

    assert "declare the fields of structs in the order" in older
    assert "keep a slice that holds nothing empty, not nil," in older
    assert "FormatNilSliceAsNull(false)" in modern
    assert "keep a map that holds nothing nil before" in modern


def test_no_code_uses_the_format_tag() -> None:
    """Go 1.27 refuses it."""
    assert not any("format:" in go_code(style, modern=True, origin=name) for name, style in FRAMEWORKS.items())
