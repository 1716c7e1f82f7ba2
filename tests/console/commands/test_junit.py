"""JUnit's XML of a comparison."""

from __future__ import annotations

import xml.etree.ElementTree as ET

from console.commands.junit import junit_xml
from shadow.pair_report import problem_report, report_of


def test_what_xml_cannot_carry_is_spelled() -> None:
    """A body with control characters, surrogates and markup still gives XML that every CI reads."""
    reports = [report_of("a\x01<b>", b'{"v":"<\\ud800&\\u0001]]>"}', b'{"v":"\x7f"}'), problem_report("c", "gone")]

    suite = ET.fromstring(junit_xml(reports, "bytes"))[0]

    assert [case.get("name") for case in suite] == ["a\\u0001<b>", "c"]
    assert suite.get("failures") == "2"
    assert "value.changed at /v" in (suite[0][0].text or "")


def test_long_reports_are_bounded() -> None:
    """A pair with thousands of differences lists a hundred, and says how many more there are."""
    legacy = b"[" + b",".join(b'{"p":%d}' % n for n in range(500)) + b"]"
    new = b"[" + b",".join(b'{"p":%d}' % (n + 1_000) for n in range(500)) + b"]"

    text = ET.fromstring(junit_xml([report_of("x", legacy, new)], "bytes"))[0][0][0].text or ""

    assert text.count("value.changed") == 100
    assert text.endswith("and 400 more")
