"""``matapalo compare``: two recorded answers, or two directories of them, in CI and without a server."""

from __future__ import annotations

import filecmp
import json
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import click

from config.causes import tolerable
from config.errors import UnfitError
from config.spec import ToleranceSpec
from console.commands.junit import junit_xml
from console.commands.options import Header, json_option
from shadow.causes import CAUSES
from shadow.pair_report import PairReport, problem_report, report_of, unexplained_report
from shadow.place import matcher_of
from shadow.plan import plan_of, sentence_of
from shadow.pointer import pointer_of
from shadow.ranks import rank_of_cause
from shadow.redact import printable
from shadow.tolerance import Tolerances

MAX_FILE_BYTES: Final = 64 << 20
"""A larger file is compared as a whole, without being read into memory: it is identical or beyond the limit."""
SHOWN_PAIRS: Final = 50
SHOWN_DIFFERENCES: Final = 10
"""What a person reads of one run and of one pair; --json and --junit have all of them."""


@click.command()
@click.argument("legacy")
@click.argument("new")
@click.option(
    "--parity",
    type=click.Choice(["bytes", "meaning"]),
    default="bytes",
    show_default=True,
    help="meaning: differences that no JSON parser sees are shown and pass.",
)
@click.option(
    "--tolerate",
    multiple=True,
    metavar="CAUSE|PATH",
    help="Let this cause pass, or values that differ at this place: $.at, /items/*/at. May be repeated.",
)
@click.option("--junit", metavar="FILE", help="Also write a JUnit report: one test case per pair.")
@click.option(
    "-H", "--header", "headers", type=Header(), multiple=True, help="Send 'Name: value' with both requests; URLs only."
)
@json_option
def compare(
    legacy: str,
    new: str,
    parity: str,
    tolerate: tuple[str, ...],
    junit: str | None,
    headers: tuple[tuple[str, str], ...],
    as_json: bool,
) -> int:
    """Compare two answers byte for byte and say why they differ.

    LEGACY and NEW are two files, two directories (files are paired by their relative names; one that stands on one
    side only is a problem) or two http URLs, which are asked with GET. What looks compressed is undone and named.
    Exit code 0: all pairs pass, 1: some do not, 2: usage.

    \b
    matapalo compare recorded/legacy recorded/new --json
    """
    tolerances = Tolerances(map(_tolerance, tolerate))
    reports = list(_reports(legacy, new, tolerances, headers))
    failed = [report for report in reports if not report.is_fine(parity)]
    if junit is not None:
        _write(junit, junit_xml(reports, parity))
    if as_json:
        _print_json(reports)
    else:
        _print(reports, failed)
    return 1 if failed else 0


# ---- what is compared ----------------------------------------------------------------------------------------------


def _reports(
    legacy: str, new: str, tolerances: Tolerances, headers: tuple[tuple[str, str], ...]
) -> Iterator[PairReport]:
    """Compare whatever the two arguments name.

    Raises: click.UsageError, if they are not two of one kind.
    """
    if _is_url(legacy) and _is_url(new):
        from console.commands.compare_urls import report_of_urls  # httpx2: files need no client

        yield report_of_urls(legacy, new, headers, tolerances)
        return
    if headers:
        raise click.UsageError("--header goes with two URLs; a file has no request")
    kinds = tuple(_kind(given) for given in (legacy, new))
    if kinds[0] != kinds[1]:
        raise click.UsageError(f"found {kinds[0]} ({legacy}) and {kinds[1]} ({new}), expected two of one kind")
    if kinds[0] == "a file":
        yield _report_of_files(Path(new).name, Path(legacy), Path(new), tolerances)
        return
    sides = _files_below(Path(legacy)), _files_below(Path(new))
    names = sorted(sides[0].keys() | sides[1].keys())
    if not names:
        raise click.UsageError(f"neither {legacy} nor {new} holds a file; there is nothing to compare")
    for name in names:
        legacy_file, new_file = (side.get(name) for side in sides)
        if legacy_file is None or new_file is None:
            side = "new" if new_file is None else "legacy"
            yield problem_report(name, f"there is no such file on {side}'s side")
        else:
            yield _report_of_files(name, legacy_file, new_file, tolerances)


def _is_url(given: str) -> bool:
    return given.lower().startswith(("http://", "https://"))


def _kind(given: str) -> str:
    if _is_url(given):
        return "a URL"
    path = Path(given)
    if path.is_dir():
        return "a directory"
    if path.is_file():
        return "a file"
    raise click.UsageError(f"{given} is no file, no directory and no http URL")


def _files_below(root: Path) -> dict[str, Path]:
    """Find every file below a directory by its relative name; links to directories are not followed."""
    found: dict[str, Path] = {}
    for directory, _, names in os.walk(root):
        for name in names:
            path = Path(directory, name)
            if path.is_file():  # a pipe would be waited for
                found[os.fsencode(path.relative_to(root).as_posix()).decode("utf-8", "backslashreplace")] = path
    return found


def _report_of_files(name: str, legacy: Path, new: Path, tolerances: Tolerances) -> PairReport:
    """Compare two files; one that cannot be read is a problem of its pair alone."""
    try:
        if max(legacy.stat().st_size, new.stat().st_size) > MAX_FILE_BYTES:
            return _report_of_huge_files(name, legacy, new)
        return checked_report(name, legacy.read_bytes(), new.read_bytes(), tolerances)
    except OSError as error:
        return problem_report(name, f"{error.filename} cannot be read: {error.strerror}")


def _report_of_huge_files(name: str, legacy: Path, new: Path) -> PairReport:
    if filecmp.cmp(legacy, new, shallow=False):
        return PairReport(name=name, identical=True, same_meaning=True, proven=True)
    return unexplained_report(name, "limit.size", f"larger than {MAX_FILE_BYTES >> 20} MiB")


def checked_report(name: str, legacy: bytes, new: bytes, tolerances: Tolerances) -> PairReport:
    """Compare two bodies; a fault of ours costs this pair its causes and never the run."""
    try:
        return report_of(name, legacy, new, tolerances)
    except Exception as error:
        click.echo(f"compare: {name} could not be explained ({type(error).__name__}: {error}); report it", err=True)
        return unexplained_report(name, "unexplained", type(error).__name__)


def _tolerance(written: str) -> ToleranceSpec:
    """Read one ``--tolerate``.

    Raises: click.UsageError.
    """
    is_path = written.startswith(("$", "/"))
    try:
        if is_path:
            matcher_of(written)
        else:
            tolerable(written)
    except UnfitError as error:
        raise click.UsageError(f"--tolerate: {error}") from error
    return ToleranceSpec(
        id=written,
        route="",
        path=written if is_path else None,
        cause=None if is_path else written,
        reason="--tolerate",
        owner="",
        expires="9998-12-31",
    )


# ---- how it is shown -----------------------------------------------------------------------------------------------


def _print_json(reports: list[PairReport]) -> None:
    """Print one object with a line per pair; escaped, as bodies may hold what no terminal or parser takes."""
    lines = ",\n".join(json.dumps(report.as_json()) for report in reports)
    click.echo(f'{{"pairs": [\n{lines}\n]}}')


def _write(file: str, text: str) -> None:
    try:
        Path(file).write_text(text, encoding="utf-8")
    except OSError as error:
        raise click.ClickException(f"{file} cannot be written: {error.strerror}") from error


def _print(reports: list[PairReport], failed: list[PairReport]) -> None:
    """Print what differs, worst first, then the sums."""
    unequal = sorted((report for report in reports if not report.identical), key=lambda one: (one.rank, one.name))
    passed = {report.name for report in unequal} - {report.name for report in failed}
    for report in unequal[:SHOWN_PAIRS]:
        _print_pair(report, is_fine=report.name in passed)
    if len(unequal) > SHOWN_PAIRS:
        click.echo(f"… and {len(unequal) - SHOWN_PAIRS} more pairs that differ; --json has all of them\n")
    if len(reports) > 1:
        _print_causes(unequal)
    same = sum(report.same_meaning for report in unequal)
    click.echo(
        f"{len(reports)} compared: {len(reports) - len(unequal)} identical, {same} of the same meaning, "
        f"{len(unequal) - same} of another; {len(failed)} do not pass"
    )


def _print_pair(report: PairReport, *, is_fine: bool) -> None:
    if report.problem:
        click.echo(f"{printable(report.name)}: {printable(report.problem)}\n")
        return
    facts = ["same meaning" if report.same_meaning else "another meaning", "proven" if report.proven else "not proven"]
    if is_fine:
        facts.append("passes")
    click.echo(f"{printable(report.name)}: {', '.join(facts)}")
    worst = sorted(report.differences, key=lambda shown: rank_of_cause(shown.difference.cause))
    for shown in worst[:SHOWN_DIFFERENCES]:
        one = shown.difference
        pointer = pointer_of(one.path) or "the whole answer"
        words = [one.cause, f"at {printable(pointer)}"]
        words += [f"({printable(one.detail)})"] if one.detail else []
        words += [f"in {one.count} places"] if one.count > 1 else []
        words += ["tolerated"] if shown.tolerated else []
        click.echo(f"  {' '.join(words)}")
        if shown.legacy or shown.new:
            click.echo(f"    legacy  {printable(shown.legacy)}\n    new     {printable(shown.new)}")
    beyond = len(report.differences) - SHOWN_DIFFERENCES
    if beyond > 0:
        click.echo(f"  … and {beyond + report.omitted} more differences")
    click.echo()


def _print_causes(unequal: list[PairReport]) -> None:
    """Count pairs by cause, worst first."""
    counts = Counter(cause for report in unequal for cause in report.causes)
    for cause in sorted(counts, key=lambda name: (rank_of_cause(name), -counts[name])):
        click.echo(f"{counts[cause]:6}x {cause}: {CAUSES[cause].sentence}")
    if not counts:
        return
    click.echo("`matapalo causes NAME` says what to do about one.")
    steps = sentence_of(plan_of(Counter(frozenset(report.causes) for report in unequal if report.causes)))
    if steps:
        click.echo(f"Identical, of these {len(unequal)}, once fixed: {steps}")
    click.echo()
