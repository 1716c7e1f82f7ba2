"""Ask new which build it is: a flip may be faster than the first comparison after a deploy.

Rules of this file:

1. Only a backend with a ``version_header`` is asked; what others run is known from ``matapalo deployed`` at best.
2. The question is ``OPTIONS`` on a path of the route: a gateway hands it to the service that will answer, and no
   framework runs a handler for it. It is marked as every copy is, carries nothing of any client, and is never repeated.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Final, Literal

from config.spec import BackendSpec, ConfigSpec, RouteSpec
from console.question import Question, ask
from rules.reach import witness_of
from shadow.redact import build as shown_build

ASK_S: Final = 1.0
"""How long whoever flips waits for new to say its build: any service that is up answers an OPTIONS by then."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Word:
    """Hold what new said when it was asked."""

    outcome: Literal["", "named", "unnamed", "unanswered"] = ""
    """Of the question, as metrics count it; empty: it was not asked."""
    build: str = ""
    """Empty: it was not asked, could not be reached, or does not say."""
    trouble: str = ""
    """Why it could not be reached; empty: it was, or nobody asked."""
    note: str = ""
    """What whoever reads a pass should know of the build; empty: nothing."""


async def ask_new(config: ConfigSpec, route: RouteSpec) -> Word:
    """Ask a route's new side which build it is.

    Bound: :data:`ASK_S`.
    """
    backend = next((one for one in config.backends if one.name == route.new), None)
    if backend is None or backend.version_header is None:
        return Word()
    target, fields = witness_of(route)
    question = Question(method="OPTIONS", target=target, fields=fields, body=b"", request_id=uuid.uuid4().hex)
    answered = await ask(backend, question, stripped=(), deadline_s=ASK_S)
    if answered.error:
        return Word(
            outcome="unanswered", trouble=f"{backend.name} could not be asked which build it is: {answered.error}"
        )
    if said := _named(answered.head.headers, backend.version_header):
        return Word(outcome="named", build=said, note=f"{backend.name} says {said} when asked")
    return Word(
        outcome="unnamed", note=f"{backend.name} was asked which build it is and sent no {backend.version_header}"
    )


def _named(headers: list[tuple[bytes, bytes]], name: str) -> str:
    wanted = name.lower().encode()
    return next((shown_build(value) for field, value in headers if field.lower() == wanted), "")


def unasked_note(backend: BackendSpec | None, build: str) -> str:
    """Say how a build is known where new is not asked; empty: it says so itself."""
    if backend is None or backend.version_header is not None:
        return ""
    known = f"build {build} by `matapalo deployed` alone" if build else "no build is known"
    return f"{known}, so a deploy that nobody tells of is not seen (`version_header`)"
