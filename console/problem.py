"""What is said when something cannot be done: RFC 9457 problems, each kind with its status and title."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import Final, TypedDict

from config.errors import MatapaloError

PREFIX: Final = "urn:matapalo:problem:"

KINDS: Final[Mapping[str, tuple[int, str]]] = {
    "bad-json": (400, "The body is not a JSON object"),
    "bad-cursor": (400, "The cursor is not one of this server"),
    "no-token": (401, "A token is needed"),
    "bad-token": (401, "The token is not valid"),
    "role": (403, "The role is too low"),
    "host": (403, "The name is not one of this API"),
    "identity": (403, "Nobody there may say who somebody is"),
    "cross-site": (403, "Requests from pages of other sites are refused"),
    "unknown-route": (404, "There is no such route"),
    "unknown-journey": (404, "There is no such journey"),
    "unknown-cohort": (404, "There is no such cohort"),
    "unknown-backend": (404, "There is no such backend"),
    "unknown-node": (404, "There is no such other node"),
    "unknown-divergence": (404, "There is no such divergence"),
    "unknown-comparison": (404, "There is no such comparison"),
    "unknown-tolerance": (404, "There is no such applied tolerance"),
    "unknown-token": (404, "There is no such token"),
    "unknown-audit": (404, "There is no such audit entry"),
    "not-found": (404, "There is no such call"),
    "method": (405, "The call takes another method"),
    "gate": (409, "New may not have more clients yet"),
    "ledger": (409, "Legacy is not quiet yet"),
    "journey": (409, "The route belongs to a journey"),
    "refused": (409, "That cannot be done with this route"),
    "legacy-unreachable": (409, "Legacy does not answer"),
    "orphan": (409, "A flag would be lost"),
    "needs-restart": (409, "That needs a restart"),
    "worker-refused": (409, "A worker refused the configuration"),
    "flag-context": (400, "The context of a flag cannot be used"),
    "unknown-flag": (404, "No such flag"),
    "flags-in-file": (409, "The file rules the flags"),
    "flags-in-provider": (409, "A provider rules the flags"),
    "tolerance": (409, "That tolerance cannot be changed here"),
    "undo": (409, "That entry cannot be undone"),
    "token": (409, "That token cannot be made or changed here"),
    "overtaken": (409, "Other nodes were faster"),
    "stale-revision": (412, "The revision is stale"),
    "too-large": (413, "The body is too large"),
    "content-type": (415, "The body must be JSON"),
    "invalid-request": (422, "The request is not valid"),
    "config": (422, "The configuration is not valid"),
    "rate-limited": (429, "Too many wrong credentials"),
    "internal": (500, "Something broke inside"),
    "database": (503, "The database cannot be used"),
    "evidence": (503, "The evidence cannot be read"),
    "supervisor": (503, "The supervisor does not answer"),
    "too-many": (503, "Too many listen already"),
}
"""Every kind of problem: its status and title; docs/admin-api.md lists them."""


_HEADERS: Final[Mapping[str, Mapping[str, str]]] = {
    "no-token": {"www-authenticate": "Bearer"},
    "bad-token": {"www-authenticate": 'Bearer error="invalid_token"'},  # RFC 6750, 3.1
}


class Fault(TypedDict):
    """Say one thing that is wrong."""

    where: str
    detail: str


class ProblemError(MatapaloError):
    """A call cannot be answered as asked; carries the whole problem."""

    def __init__(
        self,
        kind: str,
        detail: str,
        *,
        faults: Sequence[Fault] = (),
        extra: Mapping[str, object] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.kind, self.detail = kind, detail
        self.faults = tuple(faults) or (Fault(where="", detail=detail),)
        self.extra = dict(extra or {})
        self.headers = {**_HEADERS.get(kind, {}), **(headers or {})}
        self.status, self.title = KINDS[kind]

    def __reduce__(self) -> tuple[type[ProblemError], tuple[str, str]]:
        """Pickle by kind and sentence."""
        return type(self), (self.kind, self.detail)

    def body(self) -> dict[str, object]:
        """Show the problem as RFC 9457 says."""
        return {
            "type": PREFIX + self.kind,
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
            "errors": list(self.faults),
            **self.extra,
        }


def invalid(faults: Sequence[Fault]) -> ProblemError:
    """Report everything that is wrong with a request."""
    return ProblemError("invalid-request", " ".join(fault["detail"] for fault in faults), faults=faults)


def unknown(what: str, name: str, known: Iterable[str], *, where: str = "in the configuration") -> ProblemError:
    """Report a name that the configuration, or something else, does not have, with the nearest one that it has."""
    names = sorted(known)
    close = get_close_matches(name, names, n=1)
    shown = ", ".join(names[:20]) + (f" and {len(names) - 20} more" if len(names) > 20 else "")
    hint = f"did you mean {close[0]!r}? " if close else ""
    return ProblemError(
        f"unknown-{what}",
        f"{what} {name!r} is not {where}; {hint}known: {shown or 'none'}.",
        extra={"known": names, "did_you_mean": close[0] if close else None},
    )
