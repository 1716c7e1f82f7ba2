"""Recheck: ask both sides again now, and say whether a divergence is fixed.

Rules of this file:

1. What is asked is what a copy might be: safe methods, or unsafe ones that the route declares to be reads; never on a
   route with ``shadow: never``.
2. The stored request is redacted. What is hidden there is given again by whoever asks, or not sent; an answer that
   only shows that credentials are missing is never taken for a fix.
3. The answers are looked into by a comparer, never here (:mod:`console.judging`).
"""

from __future__ import annotations

import asyncio
import re
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from config.spec import BackendSpec, RouteSpec
from console.call import Asked, Reply
from console.deploys import builds_of
from console.divergence import Json, comparison_as_json
from console.journal import moment_text
from console.judging import JudgingError, judge
from console.problem import ProblemError
from console.question import Answered, Question, ask, in_pair, is_same
from console.recorder import Recorder, decode_finding
from console.state import ControlState
from rules.decision import SAFE_METHODS
from rules.flag import FOR_EVERYBODY
from shadow import link
from shadow.wishes import policy_of
from store.database import StoreError
from store.repeats import Recheck

ASK_S: Final = 10.0
"""For one side's whole answer, unless the route's copies have longer (``shadow.timeout``)."""

MAX_ASK_S: Final = 30.0
"""Both sides, a waiting turn and the comparer fit into the 60 s of a call."""

MAX_AT_ONCE: Final = 4
"""Rechecks under way: each holds two answers, and a script may ask about every divergence there is."""

HIDDEN: Final = re.compile(r"…|\[redacted|^text\([0-9]+\)$")
"""What masking leaves of a target, a header or a body (:mod:`shadow.masking`)."""

REFUSALS: Final = (401, 403)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rechecked:
    """Say what a recheck has shown."""

    outcome: str
    """``fixed``, ``still``, ``different``, ``refused`` (credentials are missing), ``unanswered`` or ``undecided``."""
    sentence: str
    divergence: str
    at: float
    legacy: Answered
    new: Answered
    builds: tuple[str, str]
    finding: link.Finding | None
    """What differs now; ``None``: nothing, or nobody could look."""
    left_out: tuple[str, ...]
    """Names of redacted headers that were not sent."""


class Rechecks:
    """Ask again on demand.

    Raises: every method ProblemError.
    """

    def __init__(self, state: ControlState, recorder: Recorder) -> None:
        self._state, self._recorder = state, recorder
        self._turn = asyncio.Semaphore(MAX_AT_ONCE)

    async def recheck(self, asked: Asked) -> Reply:
        """Ask both sides again about a comparison, or about the newest one of a divergence."""
        name, stored = await self._stored(asked.name)
        found = await self.ask_again(stored, target=asked.values["target"], headers=asked.values["headers"])
        await self._remember(name, found, asked.caller.actor)
        return Reply(body=rechecked_as_json(name, found))

    async def _stored(self, name: str) -> tuple[str, link.Finding]:
        """Find the comparison of that name, or the newest one of the divergence of that name."""
        await self._recorder.flush()
        if self._state.evidence is None:
            raise ProblemError("evidence", f"The evidence cannot be read: {self._state.evidence_error}.")
        store = self._state.evidence.divergences
        try:
            if name.startswith("d-"):
                examples = await store.examples(name)
                if not examples:
                    raise ProblemError(
                        "unknown-comparison",
                        f"There is no example of {name[:100]!r} to ask again; `matapalo diffs` lists the divergences.",
                        extra={"known": [], "did_you_mean": None},
                    )
                name = examples[0].id
            found = await store.comparison(name)
        except StoreError as error:
            raise ProblemError("evidence", f"The evidence cannot be read: {error}.") from error
        if found is None:
            raise ProblemError(
                "unknown-comparison",
                f"There is no comparison {name[:100]!r}: of each divergence only the first, the newest and the smallest"
                " one are kept; `matapalo diff d-…` names them.",
                extra={"known": [], "did_you_mean": None},
            )
        try:
            return name, decode_finding(self._state.sealing.open(found[1]))
        except ValueError as error:
            raise ProblemError("evidence", f"The comparison {name} cannot be read: {error}.") from error

    async def _remember(self, name: str, found: Rechecked, actor: str) -> None:
        """Let the divergence remember its last recheck; who asked gets the answer also when that fails."""
        state = self._state
        state.journal.say("recheck", f"recheck of {found.divergence}: {found.outcome}", actor=actor, comparison=name)
        if state.evidence is None:
            return
        recheck = Recheck(
            divergence=found.divergence,
            comparison=name,
            at=found.at,
            outcome=found.outcome,
            sentence=found.sentence,
            actor=actor,
            build_legacy=found.builds[0],
            build_new=found.builds[1],
        )
        try:
            await state.evidence.repeats.remember(recheck)
        except StoreError as error:
            state.journal.say("evidence.failed", str(error))

    async def ask_again(
        self, stored: link.Finding, *, target: str | None, headers: Sequence[tuple[str, str]]
    ) -> Rechecked:
        """Ask both sides what a stored comparison asked, and compare."""
        route = self._state.route(stored.route)
        legacy, new = self._sides(route)
        check_method(route, stored)
        question, left_out = question_from(stored, target=target, headers=headers)
        async with self._turn:
            config = self._state.config
            stripped = () if config.override is None else (config.override.header.lower().encode(),)
            deadline_s = min(max(ASK_S, route.shadow.timeout_ns / 1e9), MAX_ASK_S)
            for side in ("legacy", "new"):
                self._state.rechecks[route.name, side] += 1
            at = time.time()
            answers = await asyncio.gather(
                *(ask(side, question, stripped=stripped, deadline_s=deadline_s) for side in (legacy, new))
            )
            return await self._compare(stored, route, question, (answers[0], answers[1]), left_out, at)

    def _sides(self, route: RouteSpec) -> tuple[BackendSpec, BackendSpec]:
        known = {backend.name: backend for backend in self._state.config.backends}
        if route.legacy is None or route.new is None:
            raise ProblemError("refused", f"Route {route.name!r} has one side only now; there is nothing to compare.")
        stage = self._state.flag(route).stage
        if stage in FOR_EVERYBODY and route.name not in self._state.holds:
            raise ProblemError(
                "refused",
                f"Route {route.name!r} is {stage.value}: legacy is never asked; flip it to live first.",
            )
        return known[route.legacy], known[route.new]

    async def _compare(
        self,
        stored: link.Finding,
        route: RouteSpec,
        question: Question,
        answers: tuple[Answered, Answered],
        left_out: tuple[str, ...],
        at: float,
    ) -> Rechecked:
        legacy, new = answers
        versions = {
            backend.name: backend.version_header.lower()
            for backend in self._state.config.backends
            if backend.version_header is not None
        }
        finding = None
        outcome, sentence = verdict_of(stored, legacy, new, is_same(legacy, new, route.shadow.watch_headers))
        if not outcome:
            whole = legacy.body is not None and new.body is not None
            pair = link.Pair(
                sequence=0,
                policy=0,
                request_id=question.request_id,
                method=question.method,
                target=question.target,
                request_headers=list(question.fields),
                primary="legacy",
                legacy=in_pair(legacy, whole=whole),
                new=in_pair(new, whole=whole),
                whole=whole,
                at=at,
                purpose="recheck",
            )
            bodies = (legacy.body or b"", new.body or b"") if whole else ()
            try:
                verdict, finding = await judge(
                    self._state.state_dir, self._state.config.comparers, policy_of(route, versions), pair, *bodies
                )
                outcome, sentence = judged(stored, verdict, finding)
            except JudgingError as error:
                outcome, sentence = "undecided", f"The answers differ, but {error}."
        said = tuple(_said(answer, versions) for answer in answers)
        return Rechecked(
            outcome=outcome,
            sentence=sentence,
            divergence=stored.divergence,
            at=at,
            legacy=legacy,
            new=new,
            builds=builds_of(self._state.config, self._state.deploys, route.name, said, at),
            finding=finding,
            left_out=left_out,
        )


def check_method(route: RouteSpec, stored: link.Finding) -> None:
    """Refuse what a copy would not be either.

    Raises: ProblemError ``refused``.
    """
    if route.shadow.mode == "never":
        raise ProblemError("refused", f"Route {route.name!r} has `shadow: never`: its requests are not asked twice.")
    if stored.method.encode() in SAFE_METHODS:
        return
    if stored.method not in route.shadow.reads:
        raise ProblemError(
            "refused",
            f"{stored.method} may write, so it is not asked again; a route whose {stored.method} only reads says so "
            f"with `reads: [{stored.method}]`.",
        )
    if stored.request_body is None:
        raise ProblemError(
            "refused",
            f"The body of this {stored.method} was not kept; with `keep: bodies` the next example can be asked again.",
        )
    if HIDDEN.search(stored.request_body.decode("utf-8", "replace")):
        raise ProblemError("refused", f"The body of this {stored.method} is redacted, so it cannot be asked again.")


def question_from(
    stored: link.Finding, *, target: str | None, headers: Sequence[tuple[str, str]]
) -> tuple[Question, tuple[str, ...]]:
    """Make the request that is asked, and name the redacted headers that it lacks.

    Shape: *headers* stand in place of stored ones of the same name; *target* in place of the stored one, which hides
    the values of its query: same path, or the same route could not be meant.
    Raises: ProblemError ``refused``.
    """
    if target is None:
        target = stored.target
        if HIDDEN.search(target):
            raise ProblemError(
                "refused",
                f"The stored target {target!r} hides values; give the whole one (`--target '/path?name=value'`).",
            )
    elif not HIDDEN.search(path := stored.target.partition("?")[0]) and target.partition("?")[0] != path:
        raise ProblemError("refused", f"The target {target[:200]!r} has another path than the stored {path!r}.")
    try:
        raw_target = target.encode("ascii")
    except UnicodeEncodeError as error:
        raise ProblemError("refused", "The target is not ASCII; write other characters as %XX.") from error
    given = {name.lower() for name, _ in headers}
    kept = [(name, value) for name, value in stored.request_headers if name.lower() not in given]
    hidden = [name.lower() for name, value in kept if HIDDEN.search(value)]
    fields = [(name, value) for name, value in kept if not HIDDEN.search(value)] + list(headers)
    question = Question(
        method=stored.method,
        target=raw_target,
        fields=tuple((name.encode("latin-1", "replace"), value.encode("latin-1", "replace")) for name, value in fields),
        body=stored.request_body or b"",
        request_id=f"recheck-{uuid.uuid4().hex[:16]}",
    )
    return question, tuple(dict.fromkeys(hidden))


def verdict_of(stored: link.Finding, legacy: Answered, new: Answered, is_identical: bool) -> tuple[str, str]:
    """Say what two answers show without looking into them; an empty outcome: they must be compared."""
    sides = (("legacy", legacy, stored.statuses[0]), ("new", new, stored.statuses[1]))
    silent = [f"{name} gave no answer ({answered.error})" for name, answered, _ in sides if not answered.status]
    if silent:
        return "unanswered", f"{' and '.join(silent)}."
    refused = [
        f"{name} answers {answered.status}"
        for name, answered, before in sides
        if answered.status in REFUSALS and answered.status != before
    ]
    is_refusal_meant = legacy.status in REFUSALS and legacy.status == stored.statuses[0]
    if refused and not is_refusal_meant:
        return (
            "refused",
            f"{' and '.join(refused)}: the stored request has no credentials; give them with -H 'Authorization: …'.",
        )
    if not is_identical:
        return "", ""
    if legacy.status != stored.statuses[0]:
        return (
            "different",
            f"Both answer the same, but legacy answers {legacy.status} now, not {stored.statuses[0]}: this request no "
            "longer shows the divergence.",
        )
    return "fixed", "Both sides answer the same bytes."


def judged(stored: link.Finding, verdict: link.Verdict, finding: link.Finding | None) -> tuple[str, str]:
    """Say what a comparer's verdict means for the divergence."""
    if verdict.verdict == "tolerated":
        return "fixed", "What differs is tolerated."
    if verdict.verdict != "divergent" or finding is None:
        return (
            "undecided",
            f"The answers differ; the comparer could not decide ({verdict.reason or 'no reason given'}).",
        )
    if finding.divergence == stored.divergence or _places(finding) == _places(stored):
        return "still", "The same difference is there."
    gone = sorted(set(stored.causes) - set(finding.causes))
    return (
        "different",
        f"Another difference is there: {', '.join(finding.causes)}" + (f"; gone: {', '.join(gone)}." if gone else "."),
    )


def _places(finding: link.Finding) -> set[tuple[str, str]]:
    return {(item.cause, item.folded) for item in finding.differences}


def _said(answered: Answered, versions: dict[str, str]) -> str:
    """Read what an answer says of its build."""
    name = versions.get(answered.head.backend, "")
    values = [value for field, value in answered.head.headers if name and field.lower() == name.encode()]
    return values[0].decode("latin-1")[:128] if values else ""


def rechecked_as_json(name: str, found: Rechecked) -> Json:
    """Show what a recheck has shown."""
    return {
        "comparison": name,
        "divergence": found.divergence,
        "outcome": found.outcome,
        "sentence": found.sentence,
        "at": moment_text(found.at),
        **{
            side: {
                "status": answered.status or None,
                "build": build,
                "bytes": answered.head.body_bytes,
                "took_ms": round(answered.took_s * 1e3, 1),
                "error": answered.error or None,
            }
            for side, answered, build in zip(("legacy", "new"), (found.legacy, found.new), found.builds, strict=True)
        },
        "left_out": list(found.left_out),
        "found": None if found.finding is None else {**comparison_as_json("", found.finding), "id": None},
    }
