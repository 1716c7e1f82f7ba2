"""Targets with several readings: refused or reported where they lead to different services, else passed on raw."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from rules.flag import Stage
from tests.support.oneworker import OneWorker, flag, route
from tests.support.rawclient import request_bytes
from tests.support.recorder import Recorder, answer

SPLIT = (
    "/public/../admin/x",
    "/public/%2e%2e/admin/x",
    "/public/%2E%2E/admin/x",
    "/public/.%2e/admin/x",
    "/public/%2e./admin/x",
    "/public/..%2fadmin/x",
    "/public/..%2Fadmin/x",
    "/public/%2e%2e%2fadmin/x",
    "/public/..%5cadmin/x",
    "/public/..\\admin/x",
    "/public\\..\\admin\\x",
    "/public/..;/admin/x",
    "/public/..;a=1/admin/x",
    "/public/..%3b/admin/x",
    "/public/%252e%252e/admin/x",
    "/public/..%252fadmin/x",
    "/public/%25252e%25252e/admin/x",
    "/public/x/../../admin/x",
    "/public/./../admin/x",
    "/public//../admin/x",
    "/public/..//admin/x",
    "/public/../../admin/x",
    "/public/..%00/../admin/x",
    "//admin/x",
    "///admin/x",
    "/./admin/x",
    "/%2e/admin/x",
    "/%2fadmin/x",
    "/%5cadmin/x",
    "/\\admin/x",
    "/;/admin/x",
    "/admin;/x",
    "/admin;a=1/x",
    "/admin%3b/x",
    "/admin%2fx",
    "/admin%5cx",
    "/admin\\x",
    "/admin%252fx",
    "/admin//..//public/x",
    "/admin/x%00/../../public/x",
    "/x/..;/admin/x",
    "/admin/../x",
    "/publicity/../public/x",
)
"""Paths of one service, or of none, that some read as another one's."""

ALIKE = {
    "/public/a/../b": "new",
    "/public/./a": "new",
    "/public//a": "new",
    "/public/a;b=1": "new",
    "/public/a%2fb": "new",
    "/public/a%5cb": "new",
    "/public/a\\b": "new",
    "/public/a%00b": "new",
    "/public/a%252fb": "new",
    "/public/...": "new",
    "/public/%zz": "new",
    "/admin/a/../b": "legacy",
    "/admin//a;b/%2e": "legacy",
    "/other/../elsewhere": "",
    "/other//%2e%2e;x/%00": "",
    "/publicity/../other": "",
    "/%70ublic/a": "new",
    "/Public/a": "",
    "/publicity": "",
    "/public/a?b=/../admin/x": "new",
    "/public/a?b=%2e%2e%2f;\\": "new",
}
"""Every reading leads to the same service, or to none (404)."""


def owner(target: str) -> str:
    """Name the service of a target's raw reading, empty: nobody's."""
    return {"public": "new", "admin": "legacy"}.get(target.split("/")[1], "")


@pytest.fixture(scope="module")
def services() -> Iterator[dict[str, Recorder]]:
    """Run the two services; a connection ends with its answer, so none is some test's leftover."""
    close = (("Connection", "close"),)
    with Recorder(answer(b"legacy", headers=close)) as legacy, Recorder(answer(b"new", headers=close)) as new:
        yield {"legacy": legacy, "new": new}


def worker_of(services: dict[str, Recorder], strict: str) -> OneWorker:
    """Start a worker where /public is new's, /admin is legacy's, and the rest nobody's."""
    return OneWorker(
        backends={name: service.url for name, service in services.items()},
        routes=[route("public", "/public/**"), route("admin", "/admin/**")],
        flags={"public": flag(Stage.LIVE, sample_bp=0), "admin": flag(Stage.LEGACY)},
        undeclared=None,
        strict=strict,
    )


@pytest.fixture(scope="module")
def refusing(services: dict[str, Recorder]) -> Iterator[OneWorker]:
    """Hold a worker with ``strict: refuse``."""
    with worker_of(services, "refuse") as worker:
        worker.settled()
        yield worker


@pytest.fixture(scope="module")
def reporting(services: dict[str, Recorder]) -> Iterator[OneWorker]:
    """Hold a worker with ``strict: report``."""
    with worker_of(services, "report") as worker:
        worker.settled()
        yield worker


def test_targets_that_lead_to_two_services_are_refused(refusing: OneWorker, services: dict[str, Recorder]) -> None:
    """A target whose readings lead to different services is answered 400, counted, and seen by no service."""
    before = {name: len(service.requests) for name, service in services.items()}
    with refusing.client() as client:
        answers = {target: client.exchange(request_bytes(target=target)) for target in SPLIT}
    counts = refusing.settled()

    assert {target: one.status for target, one in answers.items() if one.status != 400} == {}
    assert {json.loads(one.body)["reason"] for one in answers.values()} == {"ambiguous_target"}
    assert counts["refused|ambiguous_target"] == len(SPLIT)
    assert {name: len(service.requests) for name, service in services.items()} == before


def test_targets_that_lead_to_two_services_are_reported(reporting: OneWorker, services: dict[str, Recorder]) -> None:
    """With ``strict: report`` such a target passes raw to the service of its raw reading, and is counted."""
    seen = {name: len(service.requests) for name, service in services.items()}
    with reporting.client() as client:
        answers = {target: client.exchange(request_bytes(target=target)) for target in SPLIT}
    counts = reporting.settled()

    assert counts["refused|ambiguous_target_reported"] == len(SPLIT)
    assert "refused|ambiguous_target" not in counts
    expected = {target: owner(target) for target in SPLIT}
    assert {target: one.body.decode() if one.status == 200 else "" for target, one in answers.items()} == expected
    arrived = [one.target for name, service in services.items() for one in service.requests[seen[name] :]]
    assert sorted(arrived) == sorted(target.encode() for target in SPLIT if owner(target))


@pytest.mark.parametrize("strict", ["refuse", "report"])
def test_targets_that_lead_to_one_service_pass(
    request: pytest.FixtureRequest, services: dict[str, Recorder], strict: str
) -> None:
    """However odd a target looks, it passes byte for byte where all its readings have the same answer."""
    worker: OneWorker = request.getfixturevalue("refusing" if strict == "refuse" else "reporting")
    before = worker.settled()
    seen = {name: len(service.requests) for name, service in services.items()}
    with worker.client() as client:
        answers = {target: client.exchange(request_bytes(target=target)) for target in ALIKE}
    after = worker.settled()

    assert {target: one.body.decode() if one.status == 200 else "" for target, one in answers.items()} == ALIKE
    arrived = [one.target for name, service in services.items() for one in service.requests[seen[name] :]]
    assert sorted(arrived) == sorted(target.encode() for target, service in ALIKE.items() if service)
    grown = {key for key in after if key.startswith("refused|") and after[key] != before.get(key, 0)}
    assert grown == {"refused|undeclared"}
