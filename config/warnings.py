"""What a valid configuration may hold and rarely means: the closed list of warnings, and those that the file shows.

A warning names the thing, says why it hurts and what to do. Who knows better silences it where it stands, with a
reason: ``ignore: [{warning: get.writes, reason: "…"}]``.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from config.cohort import whole_networks
from config.spec import AdminSpec, ConfigSpec, IgnoreSpec, MatchSpec, RouteSpec
from config.tolerance import days_left


@dataclass(frozen=True, slots=True, kw_only=True)
class Described:
    """Describe one kind of warning: why it is one, and what it needs to be found."""

    why: str
    needs_server: bool = False
    """Only ``check --against URL`` can find it."""
    asks_server: bool = False
    """``check --against URL`` finds it in more places than the file alone shows."""


WARNINGS: Final[dict[str, Described]] = {
    "admin.open": Described(
        why="Clients come from other machines, and every process of this one may flip routes without a token."
    ),
    "admin.public_metrics": Described(
        why="Other machines read `/metrics` without a token: names of routes and backends, and how much they carry."
    ),
    "admin.shared_token": Described(
        why="Two names have one secret, so the audit cannot tell them apart and one cannot be revoked alone."
    ),
    "backend.unused": Described(why="A backend that no route names is a left-over or a misspelt name."),
    "certificate.ended": Described(why="Nobody accepts a certificate that has ended."),
    "certificate.ending": Described(why="A certificate that ends within 14 days stops every client on that day."),
    "cohort.everybody": Described(why="A cohort that takes every client is the route's stage under another name."),
    "copy.writes": Described(why="A copy of a request that writes writes twice: two orders, two mails, two payments."),
    "gate.not_passed": Described(
        why="This file or provider gives new more clients than the evidence allows so far.", needs_server=True
    ),
    "get.writes": Described(
        why="GETs are copied because they should change nothing; one that logs out, confirms or deletes does it twice."
    ),
    "ignore.idle": Described(why="A warning is silenced that is not there; it would stay silent when it comes."),
    "route.unreachable": Described(why="Every request that the match could take goes to other, more specific matches."),
    "routes.no_legacy": Described(why="Without a legacy side on any route nothing is compared."),
    "stage.stuck": Described(
        why="Two services are paid for and kept alike while a route stays half way (`stuck_after`).", needs_server=True
    ),
    "sticky.envoy": Described(
        why="Envoy can salt only header keys, so it would put clients of this canary on other sides than we do.",
        asks_server=True,
    ),
    "tls.unverified": Described(why="Anybody on the way can play a backend whose certificate is not verified."),
    "tolerance.expired": Described(why="An expired tolerance hides nothing, and fails every gate of its route."),
    "tolerance.idle": Described(
        why="A tolerance that never hid anything, or has expired, is a hole without a use.", needs_server=True
    ),
    "watch.off": Described(
        why="With `flags: file` and `watch: false` a merged change does nothing until somebody asks for a reload."
    ),
}
"""Every warning there is; ``docs/checks.md`` and the key ``ignore`` know the same names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Warned:
    """Hold one warning: which one, where, and what to do."""

    name: str
    """A key of :data:`WARNINGS`."""
    where: str
    """The key's path, as problems have it: ``routes.orders.match[0]``."""
    message: str
    route: str = ""
    """Whose ``ignore`` may silence it; empty: the top level's only."""


def warnings_of(config: ConfigSpec, now: float) -> list[Warned]:
    """Name what the file alone shows; whether a match can be reached only the rules know (:mod:`rules.reach`).

    Order: the whole file first, then backends, then routes as in the file.
    """
    found = [*_of_admin(config), *_of_file(config), *_of_backends(config), *_expired(config, now)]
    found += _of_cohorts(config)
    for route in config.routes:
        found += of_sticky(route)
        if is_copied(route):
            found += _of_reads(route)
            found += _of_gets(route)
    return found


def sifted(found: Iterable[Warned], config: ConfigSpec, *, has_server: bool) -> list[Warned]:
    """Leave out what the file silences, and name what it silences for nothing.

    Shape: ``has_server`` says that the warnings that need a server were looked for, too.
    """
    lists = {"": config.ignore, **{route.name: route.ignore for route in config.routes}}
    used: set[tuple[str, str]] = set()
    kept = []
    for warned in found:
        owner = next(
            (owner for owner in dict.fromkeys((warned.route, "")) if warned.name in _names(lists.get(owner, ()))), None
        )
        if owner is None:
            kept.append(warned)
        else:
            used.add((owner, warned.name))
    for owner, ignored in lists.items():
        for index, spec in enumerate(ignored):
            known = WARNINGS[spec.warning]
            if (owner, spec.warning) in used or ((known.needs_server or known.asks_server) and not has_server):
                continue
            where = f"routes.{owner}.ignore[{index}]" if owner else f"ignore[{index}]"
            message = f"found {spec.warning}, which does not warn here; remove it"
            kept.append(Warned(name="ignore.idle", where=where, message=message, route=owner))
    return kept


def _names(ignored: Iterable[IgnoreSpec]) -> set[str]:
    return {spec.warning for spec in ignored}


def is_copied(route: RouteSpec) -> bool:
    """Say whether a stage exists in which the route's requests are copied."""
    return route.legacy is not None and route.new is not None and route.shadow.mode != "never"


# --- the whole file ---------------------------------------------------------------------------------------------------


def _of_admin(config: ConfigSpec) -> Iterator[Warned]:
    admin = config.admin
    serves_others = any(not _is_loopback(address.host) for address in config.listen)
    if not admin.tokens and serves_others:
        message = "found no tokens, though clients come from other machines; name who may call as `tokens`"
        yield Warned(name="admin.open", where="admin", message=message)
    if admin.metrics_public and not _is_loopback(admin.listen.host):
        message = "found true beyond this machine; give the scraper a token with the role viewer instead"
        yield Warned(name="admin.public_metrics", where="admin.metrics_public", message=message)
    yield from _shared_tokens(admin)


def _shared_tokens(admin: AdminSpec) -> Iterator[Warned]:
    first: dict[str, str] = {}
    for index, token in enumerate(admin.tokens):
        other = first.setdefault(token.token, token.name)
        if other != token.name:
            message = f"found the secret of {other!r} again; give {token.name!r} one of its own"
            yield Warned(name="admin.shared_token", where=f"admin.tokens[{index}].token", message=message)


def _is_loopback(host: str) -> bool:
    return ipaddress.ip_address(host).is_loopback


def _of_file(config: ConfigSpec) -> Iterator[Warned]:
    if config.flags == "file" and not config.watch:
        message = "found flags: file without watch: true; set it, or let the deployment call `matapalo reload`"
        yield Warned(name="watch.off", where="flags", message=message)
    if config.routes and all(route.legacy is None for route in config.routes):
        message = "no route has a legacy side, so nothing is compared; name `legacy` in `defaults`"
        yield Warned(name="routes.no_legacy", where="routes", message=message)


def _of_backends(config: ConfigSpec) -> Iterator[Warned]:
    used = {name for route in config.routes for name in (route.legacy, route.new)} | {config.undeclared}
    for backend in config.backends:
        where = f"backends.{backend.name}"
        if backend.name not in used:
            message = "no route uses it; name it in a route or remove it"
            yield Warned(name="backend.unused", where=where, message=message)
        if backend.tls is not None and not backend.tls.verify:
            message = "anybody can play this backend; give its certificate as `ca`"
            yield Warned(name="tls.unverified", where=f"{where}.tls.verify", message=message)


def _expired(config: ConfigSpec, now: float) -> Iterator[Warned]:
    lists = [("", config.tolerate), *((route.name, route.tolerate) for route in config.routes)]
    for owner, tolerances in lists:
        for index, tolerance in enumerate(tolerances):
            if not days_left(tolerance, now):
                where = f"routes.{owner}.tolerate[{index}]" if owner else f"tolerate[{index}]"
                told = f"it has expired on {tolerance.expires} and hides nothing; remove it, or let {tolerance.owner} "
                yield Warned(name="tolerance.expired", where=where, message=f"{told}renew it", route=owner)


# --- one route --------------------------------------------------------------------------------------------------------


def _of_cohorts(config: ConfigSpec) -> Iterator[Warned]:
    """Warn of a cohort to which every client belongs by its address."""
    for cohort in config.cohorts:
        for number, match in enumerate(cohort.match):
            if all_of := whole_networks(match):
                yield Warned(
                    name="cohort.everybody",
                    where=f"cohorts.{cohort.name}.match[{number}].cidr",
                    message=f"found blocks that hold every address of {all_of[0]}, expected those of the cohort "
                    "(10.0.0.0/8); for everybody, flip the route itself",
                )


def of_sticky(route: RouteSpec) -> list[Warned]:
    """Name what an Envoy cannot follow of a route that begins as a canary."""
    warned = unlike_envoy(route)
    return [] if warned is None or route.initial_stage != "canary" else [warned]


def unlike_envoy(route: RouteSpec) -> Warned | None:
    """Say what an Envoy cannot follow while a route is a canary; ``None``: it can."""
    others = [text for text in route.sticky if not text.startswith("header:")]
    if not others:
        return None
    message = (
        f"found {', '.join(others)} on a canary, which an Envoy cannot follow; use header:NAME alone, or silence this "
        "where no Envoy will serve the route"
    )
    return Warned(name="sticky.envoy", where=f"routes.{route.name}", message=message, route=route.name)


def _of_reads(route: RouteSpec) -> Iterator[Warned]:
    for method in route.shadow.reads:
        for index, match in enumerate(route.match):
            if match.methods and method not in match.methods:
                continue
            if said := _may_write(method, match):
                message = f"{said}; take {method} out of `reads`, or silence this where it only reads"
                where = f"routes.{route.name}.match[{index}]"
                yield Warned(name="copy.writes", where=where, message=message, route=route.name)


def _may_write(method: str, match: MatchSpec) -> str:
    """Say why copies of an unsafe method may write; empty: the path says that it reads."""
    words = {word for segment in _literals(match.path) for word in _words(segment)}
    if "graphql" in words:
        return f"found copies of {method} {match.path}, where GraphQL takes mutations, too"
    if method == "POST" and words & READING:
        return ""
    return f"found copies of {method} {match.path}, which does not look like a search"


def _of_gets(route: RouteSpec) -> Iterator[Warned]:
    for index, match in enumerate(route.match):
        if match.methods and not {"GET", "HEAD"} & {*match.methods}:
            continue
        if word := writing_word(match):
            message = (
                f"found {word!r} in what looks like a GET that writes; set `shadow: never`, or silence this where it "
                "only reads"
            )
            where = f"routes.{route.name}.match[{index}]"
            yield Warned(name="get.writes", where=where, message=message, route=route.name)


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


READING: Final = _set(
    "autocomplete batchget calculate check compare complete count diff estimate export fetch filter find graphql list "
    "lookup match preview price query quote read report search select suggest translate validate"
)
"""Words in a path that say that a POST only reads."""

WRITING: Final = _set(
    "accept activate approve cancel confirm deactivate decline delete destroy disable dismiss downvote flush logoff "
    "logout optout purge redeem reject remove resend revoke signoff signout subscribe toggle unblock undelete unfollow "
    "unlink unsubscribe upvote"
)
"""Words that begin a segment of one or two words, or a query, where a GET writes."""

WRITING_ALONE: Final = _set("add buy clear drop like pay reset restore send submit unlike update verify vote")
"""Words that say it only as a whole segment: ``/cart/add`` adds, ``/add-ons`` does not."""

_WORD: Final = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|[0-9]+")


def writing_word(match: MatchSpec) -> str:
    """Find what in a path or query says that a GET writes; empty: nothing."""
    asked = (text for pair in match.query for text in pair)
    return next((text for text in (*_literals(match.path), *asked) if _writes(text)), "")


def _writes(text: str) -> bool:
    words = _words(text)
    joined = "".join(words)
    if joined in WRITING or joined in WRITING_ALONE:
        return True
    # Longer texts are titles of pages: /help/delete-your-account explains.
    return 0 < len(words) <= 2 and words[0] in WRITING


def _literals(path: str) -> list[str]:
    return [segment for segment in path.split("/") if segment and not segment.startswith(("{", "*"))]


def _words(segment: str) -> list[str]:
    """Split ``confirmEmail``, ``sign-out`` and ``reset_password.php`` into words, an ending like ``.php`` left out."""
    return [word.lower() for word in _WORD.findall(re.sub(r"\.[a-z]{1,4}$", "", segment))]


# --- the page ---------------------------------------------------------------------------------------------------------

_INTRODUCTION: Final = """\
# What `matapalo check` warns of

*Written from the code (`config/warnings.py`); a test holds the two together.*

`matapalo check` prints each warning as `file:line:column: warning: where: what, and what to do [name]`. Warnings leave
the exit code alone; with `--strict` they make it 1. Some need a running server: `matapalo check --against URL`.

A warning that somebody has looked at is silenced where it stands, with a reason; at the top level for the whole file:

```yaml
routes:
  - name: basket
    match: {path: /cart/add}
    ignore: [{warning: get.writes, reason: "shows the form; the POST adds"}]
```

| name | why it hurts | needs |
|---|---|---|
"""


def reference_markdown() -> str:
    """Write the page of all warnings."""
    rows = (f"| `{name}` | {warning.why} | {_needs(warning)} |" for name, warning in WARNINGS.items())
    return _INTRODUCTION + "\n".join(rows) + "\n"


def _needs(warning: Described) -> str:
    if warning.needs_server:
        return "a server"
    return "the file; with a server, every canary" if warning.asks_server else "the file"


if __name__ == "__main__":
    import sys

    sys.stdout.write(reference_markdown())
