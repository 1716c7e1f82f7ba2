"""Rules of the OpenAPI document: it is valid, says every status and shape, and the running server keeps to it."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import pytest

from console.calls import CALLS
from console.openapi import openapi, problems_of
from console.problem import KINDS
from tests.support.controlnode import running

pytestmark = pytest.mark.anyio

EXAMPLES = int(os.environ.get("MATAPALO_SCHEMATHESIS_EXAMPLES", "2"))
"""Per call; scripts/schemathesis asks for more."""

CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "negative_data_rejection",
    "missing_required_header",
    "unsupported_method",
    "allow_header_conformance",
)
"""All but those that do not fit: what a schema allows may still be refused (`positive_data_acceptance`: a key that
stands for another call, a stale revision), names are the configuration's and not made by calls (`use_after_free`,
`ensure_resource_availability`), and who may call is asked for every cell in test_auth.py (`ignored_auth`)."""


def test_every_status_is_documented() -> None:
    """Each call names every status that it may answer, with every kind of problem behind it, and no catch-all."""
    for path, methods in openapi("0")["paths"].items():
        for method, operation in methods.items():
            (call,) = (one for one in CALLS if (one.path, one.method.lower()) == (path, method))
            said = set(operation["responses"])
            expected = {str(KINDS[kind][0]) for kind in problems_of(call)} | {"200"}
            expected |= ({"202"} if call.partly else set()) | ({"304"} if call.may_be_unchanged else set())
            assert said == expected, call.name
            assert {"401", "403", "422", "429", "500"} <= said
    assert {kind for call in CALLS for kind in call.refuses} <= set(KINDS)


async def test_the_running_server_keeps_to_its_document(tmp_path: Path) -> None:
    """Asked with everything that the document allows and forbids, the server answers what the document says, refuses
    what it forbids and never breaks."""
    command = Path(sys.executable).with_name("schemathesis")
    words = [str(command), "run", "--seed", "1", "--max-examples", str(EXAMPLES), "--phases", "coverage,fuzzing"]
    words += ["--exclude-path", "/api/v1/events"]  # it never ends
    words += ["--checks", ",".join(CHECKS), "--no-color", "--workers", "2", "--warnings", "off"]
    async with running(tmp_path) as node:
        await node.worker()
        process = await asyncio.create_subprocess_exec(
            *words,
            f"{node.url}/api/v1/openapi.json",
            cwd=tmp_path,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        printed, _ = await process.communicate()
        said = printed.decode()
        log = node.log.read_text()

    if "-s" in sys.argv:
        print(said)
    assert process.returncode == 0, said[-20_000:]
    assert f"Tested: {len(CALLS) - 2}" in said  # the document itself is where it begins
    assert "api.failed" not in log
