"""Draw a divergence and a comparison for a person: the worst difference first, each with cause, sides and fix.

Rules of this file:

1. What a developer acts on stands at the top; cosmetic causes that are proven share one line at the end.
2. Everything is text that greps and pastes well without colours; colours only repeat what the words say.
3. Nothing of an answer reaches the terminal unescaped.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Final

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from config.tolerance import PROPOSED_DAYS
from console.commands.admin import JsonObject
from console.commands.bodies import Line, compared
from console.commands.output import percent
from shadow.fixes import Fix, remedies
from shadow.redact import printable

COLOURS: Final = {
    "new_5xx": "bold red",
    "status": "bold red",
    "content_type": "red",
    "invalid_body": "red",
    "type": "red",
    "member": "red",
    "value": "red",
    "unexplained": "magenta",
    "array_order": "yellow",
    "dependent": "yellow",
    "noise": "blue",
    "cosmetic": "green",
    "header": "green",
}
STATE_COLOURS: Final = {"open": "yellow", "regressed": "bold red", "accepted": "blue", "fixed": "green"}
_SIDES: Final = {"legacy": "yellow", "new": "cyan"}
_MARKS: Final = {"-": "yellow", "+": "cyan", "…": "dim", " ": "dim"}

MEANING: Final = {True: "the same", False: "another", None: "unknown"}

_QUIET: Final = ("cosmetic", "header")
"""Ranks that share one line."""


def list_row(group: JsonObject) -> list[str | Text]:
    """Give the cells of one divergence in the list."""
    return [
        group["id"],
        group["route"],
        Text(group["severity"], style=COLOURS.get(group["severity"], "")),
        Text(group["state"], style=STATE_COLOURS.get(group["state"], "")),
        str(group["count"]),
        percent(_short(group["share"])),
        percent(group["noise"]["rate"]),
        age(group["last_seen"]),
        printable(group["sentence"]),
    ]


LIST_TITLES: Final = ("ID", "ROUTE", "SEVERITY", "STATE", "COUNT", "SHARE", "NOISE", "LAST SEEN", "WHAT")


def divergence_sheet(group: JsonObject) -> Iterator[RenderableType]:
    """Draw what is known about one divergence, without its example."""
    title = Text.assemble(
        (group["id"], "bold"),
        "  ",
        (group["route"], "bold"),
        "  ",
        (group["severity"], COLOURS.get(group["severity"], "")),
        "  ",
        (group["state"], STATE_COLOURS.get(group["state"], "")),
    )
    yield title
    yield Text(printable(group["sentence"]))
    yield Text()
    yield _facts(_group_facts(group))


def comparison_sheet(comparison: JsonObject) -> Iterator[RenderableType]:
    """Draw one comparison: the request, every difference, what is left of the bodies, and what to do next."""
    yield Text.assemble(
        (comparison["id"], "bold"),
        f"  {comparison['request']['method']} {printable(comparison['request']['target'])}",
    )
    yield _facts(_comparison_facts(comparison))
    differences = comparison["differences"]
    loud = [one for one in differences if one["rank"] not in _QUIET or one["tolerated_by"]]
    quiet = [one for one in differences if one not in loud]
    if not loud:
        loud, quiet = differences, []
    for number, difference in enumerate(loud, start=1):
        yield Text()
        yield from _difference(number, difference)
    if quiet:
        yield Text()
        yield _quiet(quiet, comparison["proof"])
    if comparison["omitted"]:
        yield Text(f"{comparison['omitted']} further places were left out.", style="dim")
    yield from _bodies(comparison)
    yield from _fixes(differences)
    yield from _tolerance(comparison)


def raw_sheet(comparison: JsonObject) -> Iterator[RenderableType]:
    """Draw both bodies as they are, every blank and control character visible."""
    for side in ("legacy", "new"):
        answer = comparison[side]
        yield Text.assemble((side, f"bold {_SIDES[side]}"), f"  status {answer['status']}  {answer['bytes']} bytes")
        for name, value in answer["headers"]:
            yield Text(f"  {printable(name)}: {printable(value)}", style="dim")
        body = body_of(answer)
        if body is None:
            yield Text("  the body was not kept: the route keeps fragments or shapes (`keep: bodies` keeps them)")
            spans = f"{side}_span"
            for difference in comparison["differences"]:
                where = "" if difference[spans] is None else f"bytes {difference[spans][0]} to {difference[spans][1]}"
                yield Text(f"  {difference['cause']:<28} {where:<22} {blanks_visible(difference[side])}")
        else:
            yield from (Text(f"  {line}") for line in _raw_lines(body))
        yield Text()


def body_of(answer: JsonObject) -> bytes | None:
    """Give a kept body; ``None``: it was not kept."""
    if answer["body_base64"] is not None:
        return base64.b64decode(answer["body_base64"])
    return None if answer["body"] is None else str(answer["body"]).encode()


def blanks_visible(text: str) -> str:
    """Show spaces as ``·`` and every other blank or control character as an escape."""
    return printable(text).replace(" ", "·")


def age(moment: str) -> str:
    """Say how long ago a moment of the API was."""
    seconds = max(0.0, (datetime.now(UTC) - datetime.fromisoformat(moment)).total_seconds())
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit} ago"
    return f"{seconds:.0f} s ago"


# ---- facts ---------------------------------------------------------------------------------------------------------


def _facts(rows: Iterable[tuple[str, str]]) -> Table:
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for name, text in rows:
        table.add_row(name, Text(text))
    return table


def _group_facts(group: JsonObject) -> Iterator[tuple[str, str]]:
    yield (
        "seen",
        f"{group['count']} of {group['compared']} compared ({percent(_short(group['share']))}), "
        f"first {age(group['first_seen'])}, last {age(group['last_seen'])}",
    )
    yield "meaning", f"{MEANING[group['same_meaning']]} (the bytes differ)"
    legacy, new = group["statuses"]
    yield "status", f"{legacy} from both" if legacy == new else f"legacy {legacy}, new {new}"
    yield "state", f"{group['state']}: {group['state_sentence']}"
    named = [build for build in group["builds"] if build["build"]]
    for build in named[-3:]:
        yield "build", f"{build['build']}: {build['count']} of {build['compared']}, {build['state'] or 'not seen yet'}"
    consumers = group["consumers"]
    if consumers["names"]:
        yield "consumers", printable(", ".join(consumers["names"])) + (" and more" if consumers["more"] else "")
    yield "noise", printable(group["noise"]["sentence"])
    for repeat in group["again"]:
        words = ", ".join(f"{outcome} {repeat[outcome]}" for outcome in ("gone", "stays", "other") if repeat[outcome])
        yield "again", f"attempt {repeat['attempt']}: {words}"
    if group["recheck"] is not None:
        recheck = group["recheck"]
        yield (
            "recheck",
            f"{recheck['outcome']} {age(recheck['at'])} by {recheck['by']}: {printable(recheck['sentence'])}",
        )
    if group["ticket"]:
        yield "ticket", printable(group["ticket"])
    if group["note"]:
        yield "note", printable(group["note"])


def _comparison_facts(comparison: JsonObject) -> Iterator[tuple[str, str]]:
    words = [f"request {printable(comparison['request_id'])}", age(comparison["at"])]
    if comparison["consumer"]:
        words.append(f"by {printable(comparison['consumer'])}")
    after_us = comparison["copy_after_us"]
    order = "after" if after_us >= 0 else "before"
    words.append(f"the copy was sent {abs(after_us) / 1000:.1f} ms {order} the request that was answered")
    yield "when", " · ".join(words)
    builds = [f"{side} {comparison[side]['build']}" for side in ("legacy", "new") if comparison[side]["build"]]
    if builds:
        yield "builds", " · ".join(map(printable, builds))
    residual = comparison["residual"]
    proof = {
        "proven": "proven: legacy's bytes, changed by exactly these causes, are new's",
        "partly": f"in part: the first unexplained byte is {residual} of new's body",
    }.get(comparison["proof"], "not tried: not JSON on both sides, or a limit")
    yield "proof", proof
    verdict = comparison["verdict"]
    yield "verdict", f"{verdict}; the meaning is {MEANING[comparison['same_meaning']]}"


def _short(share: float) -> float:
    return float(f"{share:.3g}")


# ---- differences ---------------------------------------------------------------------------------------------------


def _difference(number: int, difference: JsonObject) -> Iterator[RenderableType]:
    colour = COLOURS.get(difference["rank"], "")
    pointer = difference["legacy_pointer"] if difference["legacy_pointer"] is not None else difference["new_pointer"]
    head = Text.assemble(
        (f"{number}  ", "dim"), (difference["cause"], colour), f" at {printable(pointer or 'the root')}"
    )
    if difference["count"] > 1:
        folded = f" ({printable(difference['path'])})" if difference["path"] else ""
        head.append(f" and {difference['count'] - 1} more like it{folded}", style="dim")
    if difference["detail"]:
        head.append(f"  [{printable(difference['detail'])}]", style="dim")
    yield head
    sentence = f"{difference['sentence']} ({difference['severity']})"
    if difference["tolerated_by"]:
        sentence += f" Hidden by the tolerance {difference['tolerated_by']}."
    yield Padding(Text(sentence, style="dim"), (0, 0, 0, 3))
    # Blanks everywhere have no place of their own: the detail says how they differ.
    if difference["legacy_span"] or difference["new_span"] or difference["legacy"] or difference["new"]:
        yield Padding(_sides(difference), (0, 0, 0, 3))


def _sides(difference: JsonObject) -> Table:
    """Show both fragments one below the other, what differs in them emphasised."""
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    texts = {side: _fragment(difference, side) for side in ("legacy", "new")}
    first, last = _common(texts["legacy"], texts["new"])
    for side, text in texts.items():
        colour = _SIDES[side]
        shown = Text(text, style=colour)
        shown.stylize(f"bold {colour} underline", first, len(text) - last)
        if difference[f"{side}_pointer"] is None:
            shown = Text("(absent)", style="dim")
        table.add_row(Text(side, style=colour), shown)
    return table


def _fragment(difference: JsonObject, side: str) -> str:
    text = str(difference[side])
    # Where blanks are all that differs they have to be seen.
    is_about_blanks = difference["cause"].startswith(("whitespace.", "framing.")) or text != text.strip()
    return (blanks_visible if is_about_blanks else printable)(text) or "(nothing)"


def _common(one: str, two: str) -> tuple[int, int]:
    """Count the characters that both have at the beginning and at the end."""
    shorter = min(len(one), len(two))
    first = next((place for place in range(shorter) if one[place] != two[place]), shorter)
    rest = shorter - first
    last = next((place for place in range(rest) if one[-1 - place] != two[-1 - place]), rest)
    return first, last


def _quiet(differences: list[JsonObject], proof: str) -> Text:
    """Name the differences that no client should see, in one line."""
    shown = Text(style="green")
    shown.append("cosmetic" + (", proven: " if proof == "proven" else ": "))
    places: dict[str, int] = {}
    for difference in differences:
        places[difference["cause"]] = places.get(difference["cause"], 0) + difference["count"]
    shown.append(", ".join(cause + (f" ({count} times)" if count > 1 else "") for cause, count in places.items()))
    return shown


# ---- bodies --------------------------------------------------------------------------------------------------------


def _bodies(comparison: JsonObject) -> Iterator[RenderableType]:
    """Show what is left of both bodies once legacy is written the way new writes."""
    legacy, new = body_of(comparison["legacy"]), body_of(comparison["new"])
    if legacy is None or new is None:
        return
    lines = compared(legacy, new)
    yield Text()
    if lines is None:
        yield Text("The bodies are too large to lay out; `--json` has them whole.", style="dim")
    elif not lines:
        yield Text("Written the same way, both bodies are the same.", style="green")
    else:
        title = Text.assemble(
            "What differs once legacy is written as new writes (", ("- legacy", "yellow"), ", ", ("+ new", "cyan"), ")"
        )
        yield title
        yield Padding(Group(*_painted(lines)), (0, 0, 0, 2))


def _painted(lines: list[Line]) -> Iterator[Text]:
    """Colour the lines; of a line that changed only the part that did is bold."""
    place = 0
    while place < len(lines):
        gone = _run(lines, place, "-")
        come = _run(lines, place + len(gone), "+")
        for number, line in enumerate((*gone, *come) if gone or come else (lines[place],)):
            text = Text(f"{line.mark} {line.text}", style=_MARKS[line.mark])
            if len(gone) == len(come) and gone:
                other = (come if number < len(gone) else gone)[number % len(gone)].text
                first, last = _common(line.text, other)
                text.stylize("bold underline", 2 + first, 2 + len(line.text) - last)
            yield text
        place += max(1, len(gone) + len(come))


def _run(lines: list[Line], place: int, mark: str) -> list[Line]:
    run: list[Line] = []
    while place + len(run) < len(lines) and lines[place + len(run)].mark == mark:
        run.append(lines[place + len(run)])
    return run


def _raw_lines(body: bytes) -> Iterator[str]:
    """Give a body in lines as it has them, each with its offset."""
    offset = 0
    for line in body.splitlines(keepends=True) or [b""]:
        yield f"{offset:>7}  {blanks_visible(line.decode('utf-8', 'backslashreplace'))}"
        offset += len(line)


# ---- what to do ----------------------------------------------------------------------------------------------------


def _fixes(differences: list[JsonObject]) -> Iterator[RenderableType]:
    """Say per cause what to change in a Go service, once each."""
    rows = []
    for cause in dict.fromkeys(one["cause"] for one in differences if not one["tolerated_by"]):
        remedy = remedies().get(cause)
        if remedy is None:
            continue
        fix = _go(remedy.fixes)
        if fix is not None:
            rows.append((cause, f"{fix.does} Code: matapalo causes {cause}"))
        elif remedy.advice:
            rows.append((cause, remedy.advice))
    if rows:
        yield Text()
        yield Text("Fix", style="bold")
        yield Padding(_facts(rows), (0, 0, 0, 2))


def _go(fixes: tuple[Fix, ...]) -> Fix | None:
    return next((fix for fix in fixes if fix.language.startswith("go")), None)


def _tolerance(comparison: JsonObject) -> Iterator[RenderableType]:
    """Offer the tolerance of the worst difference, ready to paste."""
    worst = next((one for one in comparison["differences"] if not one["tolerated_by"]), None)
    if worst is None or worst["cause"].startswith(("http.status", "body.", "limit.")):
        return
    day = (datetime.now(UTC) + timedelta(days=PROPOSED_DAYS)).date().isoformat()
    where = (
        {"cause": worst["cause"]} if worst["rank"] in _QUIET or not worst["path"] else {"path": worst["tolerate_path"]}
    )
    if "path" in where and worst["cause"] != "value.changed":
        where["cause"] = worst["cause"]
    fields = ", ".join(f"{name}: {json.dumps(value, ensure_ascii=False)}" for name, value in where.items())
    yield Text()
    yield Text.assemble(("Or tolerate it", "bold"), f" on route {comparison['route']}:")
    yield Text(f'  tolerate: [{{{fields}, reason: "why", owner: "who", expires: {day}}}]')
