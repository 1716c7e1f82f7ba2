"""Ask two URLs the same question and compare the whole answers: status, headers, body."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import httpx2

from console.commands.admin import CONNECT_TIMEOUT_S
from shadow.answers import Answer, explain_answers
from shadow.coding import Outcome
from shadow.json_value import Meaning
from shadow.pair_report import PairReport, explained_report, problem_report, unexplained_report
from shadow.tolerance import Tolerances

READ_TIMEOUT_S: Final = 10.0
"""Longest silence of a server."""
ANSWER_TIMEOUT_S: Final = 60.0
"""Longest whole answer: a server that sends a byte now and then must end as well."""
MAX_BODY_BYTES: Final = 64 << 20


class _NoAnswerError(Exception):
    """There is no whole answer to compare; the text says why."""


def report_of_urls(legacy: str, new: str, headers: Sequence[tuple[str, str]], tolerances: Tolerances) -> PairReport:
    """Ask both URLs with GET, one after the other, and compare their answers; redirects are answers, not followed.

    Bound: MAX_BODY_BYTES and ANSWER_TIMEOUT_S for each.
    """
    try:
        one, two = _ask(legacy, headers), _ask(new, headers)
    except _NoAnswerError as error:
        return problem_report(new, str(error))
    found, bodies = explain_answers(one, two)
    if bodies.outcomes[0] is not bodies.outcomes[1] and Outcome.SNIFFED in bodies.outcomes:
        # Who cannot undo what nobody declares does not read a JSON value.
        found = replace(found, meaning=Meaning.NOT_JSON)
    if found.differences:
        return explained_report(new, found, bodies.legacy, bodies.new, tolerances)
    if one.body == two.body:
        return PairReport(name=new, identical=True, same_meaning=True, proven=True)
    return unexplained_report(new, "unexplained", "the bytes differ, and no difference was found")


def _ask(url: str, headers: Sequence[tuple[str, str]]) -> Answer:
    """Get one answer as it was sent, compressed if it was."""
    # What a client of a service asks for is its own choice: -H 'Accept-Encoding: gzip' asks for compressed answers.
    sent = {"accept-encoding": "identity", "accept": "*/*", **{name.lower(): value for name, value in headers}}
    timeout = httpx2.Timeout(READ_TIMEOUT_S, connect=CONNECT_TIMEOUT_S)
    deadline = time.monotonic() + ANSWER_TIMEOUT_S
    body = bytearray()
    try:
        with (
            httpx2.Client(trust_env=False, timeout=timeout, follow_redirects=False) as client,
            client.stream("GET", url, headers=sent) as response,
        ):
            for chunk in response.iter_raw():
                body += chunk
                if len(body) > MAX_BODY_BYTES:
                    raise _NoAnswerError(f"{url} sends more than {MAX_BODY_BYTES >> 20} MiB; compare a smaller answer")
                if time.monotonic() > deadline:
                    raise _NoAnswerError(f"{url} did not end its answer within {ANSWER_TIMEOUT_S:.0f} s")
            return Answer(status=response.status_code, headers=tuple(response.headers.raw), body=bytes(body))
    except (httpx2.HTTPError, httpx2.InvalidURL, ValueError) as error:
        raise _NoAnswerError(f"{url} gave no whole answer ({str(error) or type(error).__name__})") from error
