"""``matapalo audit`` and ``matapalo undo``: who changed what and why, whether that is whole, and taking it back."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import click

from console.commands.admin import Admin, JsonObject
from console.commands.options import admin_options, reason_option
from console.commands.output import flag_words, print_change, print_json, print_table

PAGE = 500
_HEAD = re.compile(r"(?:a-([0-9]{1,15})[:=])?([0-9a-f]{64})")
_NO_EXPORT: Final = (
    "expected the whole trail, a JSON object per line and a-1 first, as `matapalo audit --export FILE` writes it: name "
    "that file, or keep this one and export anew"
)


@click.command()
@click.option("--route", help="Only entries that touch this route.")
@click.option("--limit", type=click.IntRange(1, 500), default=50, show_default=True)
@click.option("--cursor", help="Where the previous page ended (its `next`).")
@click.option("--export", metavar="FILE", help="Write the whole trail as JSON lines, oldest first; - is stdout.")
@click.option(
    "--verify",
    metavar="[FILE]",
    is_flag=False,
    flag_value="",
    help="Check the chain of hashes: of an export, without any server, or of the server's own trail.",
)
@click.option("--head", metavar="[a-ID:]HASH", help="With --verify: an entry that is known to have been there.")
@admin_options
def audit(
    route: str | None,
    limit: int,
    cursor: str | None,
    export: str | None,
    verify: str | None,
    head: str | None,
    admin: Admin,
    as_json: bool,
) -> int:
    """Show who changed what, newest first."""
    if sum((export is not None, verify is not None, route is not None)) > 1:
        raise click.UsageError("--export, --verify and --route exclude each other: a part of a chain proves nothing")
    if head is not None and verify is None:
        raise click.UsageError("--head belongs to --verify")
    if export is not None:
        return _export(admin, export, as_json=as_json)
    if verify is not None:
        return _verify(admin, verify, head, as_json=as_json)
    page = admin.get("/api/v1/audit", {"route": route, "limit": limit, "cursor": cursor})
    if as_json:
        print_json(page)
        return 0
    print_table(
        ["ID", "AT", "WHO", "KIND", "WHAT", "WHY"],
        [
            [entry["id"], entry["at"], _who(entry), entry["kind"], _what(entry), _why(entry)]
            for entry in page["entries"]
        ],
    )
    if page["next"]:
        click.echo(f"Older entries: matapalo audit --cursor {page['next']}")
    return 0


@click.command()
@click.argument("audit_id")
@click.option(
    "--force", is_flag=True, help="Although a flag has changed since, or a gate does not pass; needs --reason."
)
@click.option("--if-revision", type=int, help="Only if nothing else has changed since this revision.")
@reason_option
@admin_options
def undo(audit_id: str, force: bool, if_revision: int | None, reason: str | None, admin: Admin, as_json: bool) -> int:
    """Take the change of an audit entry (a-…) back; holds stay."""
    body = {"audit_id": audit_id, "reason": reason, "force": force or None, "if_revision": if_revision}
    return print_change(admin.post("/api/v1/undo", body), as_json=as_json)


def _export(admin: Admin, path: str, *, as_json: bool) -> int:
    """Write the whole trail; what is left behind by an error is no file that looks whole."""
    entries = _trail(admin)
    lines = "".join(json.dumps(entry, sort_keys=True, ensure_ascii=False) + "\n" for entry in entries)
    if path == "-":
        click.echo(lines, nl=False)
        return 0
    try:
        with open(path, "w", encoding="utf-8") as file:
            file.write(lines)
    except OSError as error:
        raise click.ClickException(f"{path} cannot be written: {error.strerror or error}") from error
    head = {"id": f"a-{entries[-1]['id']}", "hash": entries[-1]["hash"]} if entries else None
    if as_json:
        print_json({"file": path, "entries": len(entries), "head": head})
    else:
        named = "" if head is None else f"; keep its head elsewhere: {head['id']}:{head['hash']}"
        click.echo(f"{len(entries)} entries written to {path}{named}")
    return 0


def _verify(admin: Admin, path: str, head: str | None, *, as_json: bool) -> int:
    """Check a trail and say how far it is whole."""
    from store.verify import verify  # with the store's tables, which no other command loads

    known = _read_head(head)
    found = verify(_lines(path) if path else _trail(admin), known)
    is_nothing = bool(path) and found.head is None and found.broken is None
    why = f"{path} has no entries, and nothing proves nothing; export anew with --export" if is_nothing else found.why
    if path and found.broken == 1:
        why += f"; {_NO_EXPORT}"
    is_whole = found.broken is None and not is_nothing
    if as_json:
        shown = None if found.head is None else {"id": f"a-{found.head[0]}", "hash": found.head[1]}
        broken = None if found.broken is None else f"a-{found.broken}"
        print_json({"whole": is_whole, "entries": found.count, "head": shown, "broken": broken, "why": why})
    elif found.broken is not None:
        click.echo(f"BROKEN: {why}." + (f" The {found.count} entries before it are whole." if found.count else ""))
    elif is_nothing:
        click.echo(f"NOTHING: {why}.")
    elif found.head is None:
        click.echo("There are no entries yet.")
    else:
        end = "" if known else " Whether newer ones were cut off shows only against a head that was kept (--head)."
        click.echo(f"Whole: {found.count} entries, up to a-{found.head[0]}:{found.head[1]}.{end}")
    return int(not is_whole)


def _trail(admin: Admin) -> list[JsonObject]:
    """Fetch every entry as an export holds it, oldest first."""
    entries: list[JsonObject] = []
    cursor = None
    while not entries or cursor is not None:
        page = admin.get("/api/v1/audit", {"limit": PAGE, "cursor": cursor})
        entries += [{**entry, "id": int(entry["id"].removeprefix("a-"))} for entry in page["entries"]]
        cursor = page["next"]
        if not page["entries"]:
            break
    return entries[::-1]


def _lines(path: str) -> Iterator[JsonObject]:
    """Read an export; a line that is no entry, not even text, counts as a broken one."""
    try:
        with sys.stdin.buffer if path == "-" else open(path, "rb") as file:
            for line in file:
                try:
                    entry = json.loads(line.decode(), object_pairs_hook=_once_each)
                except (ValueError, RecursionError):
                    entry = {}
                yield entry if isinstance(entry, dict) else {}
    except OSError as error:
        raise click.ClickException(
            f"{path} cannot be read ({error.strerror or error}); expected what `matapalo audit --export FILE` wrote"
        ) from error


def _once_each(pairs: list[tuple[str, object]]) -> JsonObject:
    """Make an object of names that are all different: of two, people see the first and a hash covers the last.

    Raises: ValueError.
    """
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name stands twice")
    return found


def _read_head(head: str | None) -> tuple[int, str] | None:
    if head is None:
        return None
    found = _HEAD.fullmatch(head.strip())
    if found is None:
        raise click.UsageError(f"--head is {head!r}; expected a-42:HASH or the 64 hex digits of a hash alone")
    return int(found[1] or 0), found[2]


def _who(entry: JsonObject) -> str:
    """Say who it was, from where, and on what grounds they were taken for that."""
    who = str(entry["actor"])
    if entry["source"] not in ("api", who):
        who += f" ({entry['source']})"
    address = entry.get("address")
    return f"{who} from {address}" if address else who


def _why(entry: JsonObject) -> str:
    """Give the reason, what it rests on, and whether a gate or the ledger was overridden, by force or by who rules the
    flags."""
    said = [str(entry["reason"])] if entry["reason"] else []
    evidence = entry.get("evidence") or {}
    if rests_on := _sentence(evidence) or _values(evidence):
        said.append(f"[{rests_on}]")
    over = ["GATE NOT PASSED"] if evidence.get("result") in ("fail", "inconclusive") else []
    if any(not one["quiet"] for one in evidence.get("ledger", {}).values()):
        over.append("LEGACY NOT QUIET")
    return " ".join([*(["FORCED"] if entry.get("forced") else over), *said])


def _sentence(evidence: object) -> str:
    """Find the sentence for people in what a change rests on."""
    if not isinstance(evidence, dict):
        return ""
    if isinstance(evidence.get("sentence"), str):
        return str(evidence["sentence"])
    return next((found for value in evidence.values() if (found := _sentence(value))), "")


def _values(evidence: JsonObject) -> str:
    """Name the plain values that a change without a sentence rests on: ``rule errors, value 0.105, limit 0.01``."""
    return ", ".join(f"{name} {value}" for name, value in evidence.items() if isinstance(value, (str, int, float)))


def _what(entry: JsonObject) -> str:
    """Say in a few words what an entry changed."""
    before, after = entry.get("before") or {}, entry.get("after") or {}
    if words := _WORDS.get(entry["kind"]):
        return "; ".join(f"{name}: {words(before.get(name), now)}" for name, now in after.items())
    changes = [
        f"{route}: {flag_words(before[route])} → {flag_words(flag)}"
        for route, flag in after.items()
        if isinstance(flag, dict) and "stage" in flag and isinstance(before.get(route), dict)
    ]
    diff = after.get("diff")
    if copying := after.get("copying"):
        off = ", ".join(copying["off"]) or "nowhere"
        return f"copying off: {off if copying['on'] else 'everywhere'}"
    return "; ".join(changes or diff or entry.get("routes") or ())


def _token_words(before: JsonObject | None, after: JsonObject | None) -> str:
    if after is None:
        return "revoked"
    until = f", until {after['expires_at']}" if after["expires_at"] else ""
    return f"{'made' if before is None else 'rotated'} ({after['role']}{until})"


def _tolerance_words(before: JsonObject | None, after: JsonObject | None) -> str:
    spec = after or before or {}
    place = spec.get("path") or spec.get("cause")
    return f"{place} is not tolerated any more" if after is None else f"{place} until {spec.get('expires')}"


_WORDS: Final[Mapping[str, Callable[[Any, Any], str]]] = {  # Any: JSON
    "token": _token_words,
    "deployed": lambda _, version: f"runs {version}",
    "triage": lambda _, decided: str(decided["state"]),
    "tolerate": _tolerance_words,
    "untolerate": _tolerance_words,
}
"""Kind of entry to how one thing that it changed is told, from before and after; other kinds change flags."""
