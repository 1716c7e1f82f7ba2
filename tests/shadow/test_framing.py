"""Rules of framing: what stands around a JSON text is found, and nothing inside is taken for it."""

from __future__ import annotations

import pytest

from shadow.framing import from_latin, unframe


@pytest.mark.parametrize(
    ("body", "text", "prefix"),
    [
        (b'{"a":1}', b'{"a":1}', ""),
        (b"while(1);[1]", b"[1]", "while(1);"),
        (b"for(;;);{}", b"{}", "for(;;);"),
        (b")]}',\n{}", b"{}", ")]}',\n"),
        (b"throw 1; <dont be evil> {}", b"{}", "throw 1; <dont be evil> "),
        (b'cb({"a":1});\n', b'{"a":1}', "cb("),
        (b"/**/ jQuery.x[0]([1])", b"[1]", "/**/ jQuery.x[0]("),
        (b"cb(1", b"cb(1", ""),
        (b'"while(1);"', b'"while(1);"', ""),
    ],
)
def test_guards_and_callbacks_are_found(body: bytes, text: bytes, prefix: str) -> None:
    """A guard in front or a callback around is known, and the JSON text inside is what is compared."""
    framed = unframe(body)

    assert (framed.body[framed.begin : framed.stop], framed.prefix) == (text, prefix)


@pytest.mark.parametrize("charset", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_wide_charsets_are_decoded(charset: str) -> None:
    """A body in UTF-16 or UTF-32 is compared as text, with a mark or without."""
    framed = unframe('{"a":"é"}'.encode(charset))

    assert framed.body == '{"a":"é"}'.encode()
    assert framed.charset.startswith(charset[:6])


def test_a_mark_of_utf_8_is_skipped() -> None:
    """Behind a byte order mark stands the text."""
    framed = unframe(b"\xef\xbb\xbf[1]")

    assert (framed.bom, framed.begin) == (True, 3)


def test_latin_1_is_told_from_broken_utf_8() -> None:
    """Bytes that are no UTF-8 are Latin-1 only if the other side shows the same characters."""
    latin = unframe('{"a":"café"}'.encode("latin-1"))

    assert from_latin(latin, unframe('{"a":"café"}'.encode())).charset == "windows-1252"
    assert from_latin(latin, unframe(rb'{"a":"caf\u00e9"}')).charset == "windows-1252"
    assert from_latin(latin, unframe('{"a":"caf\ufffd"}'.encode())) is latin
    assert from_latin(unframe('"é"'.encode()), latin).charset == ""
