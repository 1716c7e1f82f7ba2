"""Write the result of ``matapalo compare`` as JUnit's XML, which every CI system shows."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final
from xml.sax.saxutils import escape, quoteattr

from shadow.causes import CAUSES
from shadow.pair_report import PairReport
from shadow.pointer import pointer_of

MAX_LINES: Final = 100
"""Differences listed in one failure."""

_NOT_XML: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What XML 1.0 does not allow even as a reference (section 2.2)."""


def junit_xml(reports: Sequence[PairReport], parity: str) -> str:
    """Write one test case per pair; a pair that does not pass is a failure with its causes."""
    cases = [_case(report, is_fine=report.is_fine(parity)) for report in reports]
    failed = sum(not report.is_fine(parity) for report in reports)
    head = f'<testsuite name="matapalo compare" tests="{len(reports)}" failures="{failed}" errors="0" skipped="0">'
    return "\n".join(('<?xml version="1.0" encoding="UTF-8"?>', "<testsuites>", head, *cases, "</testsuite>")) + (
        "\n</testsuites>\n"
    )


def _case(report: PairReport, *, is_fine: bool) -> str:
    start = f'<testcase classname="matapalo.compare" name={quoteattr(_legal(report.name))}'
    if is_fine:
        return f"{start}/>"
    message = report.problem or ", ".join(report.causes) or "unexplained"
    left = [shown for shown in report.differences if not shown.tolerated]
    lines = [
        f"{shown.difference.cause} at {pointer_of(shown.difference.path) or 'the whole answer'}: "
        f"{CAUSES[shown.difference.cause].sentence}\n  legacy  {shown.legacy}\n  new     {shown.new}"
        for shown in left[:MAX_LINES]
    ]
    if len(left) > MAX_LINES:
        lines.append(f"and {len(left) - MAX_LINES} more")
    text = escape(_legal("\n".join(lines)))
    return f"{start}><failure message={quoteattr(_legal(message))}>{text}</failure></testcase>"


def _legal(text: str) -> str:
    """Spell what XML cannot carry."""
    return _NOT_XML.sub(lambda match: f"\\u{ord(match[0]):04x}", text)
