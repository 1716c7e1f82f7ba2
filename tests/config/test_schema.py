"""The JSON Schema is valid, agrees with the loader on examples, and lies in the repository as generated."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from config import ConfigError, json_schema, load_text, starter

ROOT = Path(__file__).resolve().parents[2]

BACKENDS = 'backends: {old: {url: "http://old"}, new: {url: "${NEW:-http://new}"}}\n'
RIGHT = {
    "small": BACKENDS,
    "starter": starter("http://127.0.0.1:8000", "http://127.0.0.1:9000"),
    "first": starter("http://127.0.0.1:8000"),
    "words": BACKENDS
    + "undeclared: none\ndefaults: {legacy: old, new: none, shadow: never, noise: off, ask_again: []}",
    "rates": BACKENDS + "defaults: {legacy: old, shadow: {max_per_second: off}}\nx-anything: {at: [all]}",
    "variables": 'workers: ${N:-2}\naccess_log: ${LOG:-true}\nlisten: ["127.0.0.1:${PORT:-80}"]\n' + BACKENDS,
    "merge": 'x-b: &b {idle_timeout: 2s}\nbackends: {old: {<<: *b, url: "http://old", x-note: 1}}',
    "route": BACKENDS
    + """
routes:
  - name: a
    match: [{path: "/a/{id:int}", methods: [GET], headers: {X-Tenant: 7}, query: {on: true}}, {path: /b/**}]
    legacy: old
    new: new
    initial_stage: canary
    initial_percent: 12.5
    sticky: ["header:X-User", ip]
    shadow: {sample: 10%, max_per_second: 0.5, reads: POST}
    fallback: {on: [connect, 503]}
    noise: {sample: 2%, max_per_second: off}
    ask_again: [1s, 10s]
    gate: {comparisons: 500, divergent_max: 0.5%, p95_ratio_max: 2, error_delta_max: 1%, over: 2d}
    watchdog: {window: 30s, error_delta_max: 2%, min_requests: 50, min_errors: 5, p95_ratio_max: 2, divergent_max: 1%}
    autopilot: {steps: [1%, 10%], bake: [1h, 2h], to: canary}
    redact: [$.a.*.b, "header:X-Token"]
webhooks: [{url: "https://ci.example.com/hook", secret: env:HOOK, events: watchdog.tripped}]
""",
}
WRONG = {
    "unknown": BACKENDS + "lisen: 127.0.0.1:80",
    "inner": "backends: {old: {url: 'http://old', timeout: 3s}}",
    "url": "backends: {old: {url: 'shop'}}",
    "unit": BACKENDS + "limits: {drain: 30}",
    "range": BACKENDS + "workers: 140",
    "word": BACKENDS + "strict: maybe",
    "missing": BACKENDS + "routes: [{name: a}]",
    "later": BACKENDS + "defaults: {shadow: {writes: marked}}",
    "secret": BACKENDS + "override: {header: X-Side, token: hunter2}",
    "name": BACKENDS + "routes: [{name: 'a|b', match: {path: /a}, legacy: old}]",
    "type": BACKENDS + "routes: {name: a}",
}


def check(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run check-jsonschema, without the network."""
    command = [sys.executable, "-m", "check_jsonschema", "--output-format", "json", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture(scope="module")
def schema_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write the schema where the checker finds it."""
    path = tmp_path_factory.mktemp("schema") / "matapalo.schema.json"
    path.write_text(json.dumps(json_schema()))
    return path


def test_the_schema_is_a_schema_of_both_drafts(tmp_path: Path, schema_file: Path) -> None:
    """Editors that know draft-07 and tools that know 2020-12 read the same schema."""
    newer = tmp_path / "newer.json"
    newer.write_text(json.dumps(json_schema() | {"$schema": "https://json-schema.org/draft/2020-12/schema"}))

    done = check("--check-metaschema", schema_file, newer)

    assert done.returncode == 0, done.stdout


def test_what_the_loader_takes_the_schema_takes(tmp_path: Path, schema_file: Path) -> None:
    """An editor never underlines what Matapalo accepts."""
    for name, text in RIGHT.items():
        load_text(text, environ={})
        (tmp_path / f"{name}.yaml").write_text(text)

    done = check("--schemafile", schema_file, *sorted(tmp_path.glob("*.yaml")))

    assert done.returncode == 0, done.stdout


def test_what_the_schema_refuses_the_loader_refuses(tmp_path: Path, schema_file: Path) -> None:
    """Unknown keys, wrong types, missing and later keys are underlined while typing."""
    for name, text in WRONG.items():
        with pytest.raises(ConfigError):
            load_text(text, environ={})
        (tmp_path / f"{name}.yaml").write_text(text)

    done = check("--schemafile", schema_file, *sorted(tmp_path.glob("*.yaml")))

    refused = {Path(error["filename"]).stem for error in json.loads(done.stdout)["errors"]}
    assert refused == WRONG.keys()


def test_no_reference_has_a_neighbour() -> None:
    """A $ref stands alone, because draft-07 ignores what stands beside it."""

    def walk(value: object) -> None:
        if isinstance(value, dict):
            assert "$ref" not in value or len(value) == 1
            for item in value.values():
                walk(item)
        elif isinstance(value, list):
            for item in value:
                walk(item)

    walk(json_schema())


def test_the_schema_in_the_repository_is_the_generated_one() -> None:
    """matapalo.schema.json is what `matapalo schema` prints."""
    written = (ROOT / "matapalo.schema.json").read_text()

    assert json.loads(written) == json_schema(), "run: matapalo schema > matapalo.schema.json"
