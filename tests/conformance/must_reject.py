"""The authored corpus of requests that a proxy must refuse before a backend hears of them.

Written for this project from RFC 9110, RFC 9112 and the classes of bugs that the proxies and servers of
this world have published; no vector is copied. Groups are rows of docs/conformance.md:

A4 two framings · A5 Transfer-Encoding · A6 Content-Length · A7 chunk sizes · A8 chunk ends · A9 framing that outweighs
the body · A10 field lines · A11 underscored twins · A12 request lines · A13 Host · A14 methods · A16 expectations ·
B5 trailers · E7 sizes
"""
# One line per vector, however long: a column of names and reasons reads better than any wrapping.
# ruff: noqa: E501
# fmt: off

from __future__ import annotations

from tests.conformance.vectors import Vector, ask, chunked, get, hosted, rejected, started

FIVE = b"hello"
LAST = b"0\r\n\r\n"
THREE = b"3\r\nabc\r\n"
INSIDE = b"GET /inside-tag00000 HTTP/1.1\r\nHost: shop.test\r\n\r\n"
"""A request hidden in what one reader takes for a body."""

_TWO_FRAMINGS = [
    ("cl-then-te", "RFC 9112 6.1, 6.3: both framings in one head", ask(b"Content-Length: 5", b"Transfer-Encoding: chunked", body=LAST)),
    ("te-then-cl", "the same in the other order", ask(b"Transfer-Encoding: chunked", b"Content-Length: 5", body=LAST)),
    ("cl-covers-a-request", "CL.TE: the length covers a second request", ask(b"Content-Length: %d" % len(LAST + INSIDE), b"Transfer-Encoding: chunked", body=LAST + INSIDE)),
    ("te-covers-a-request", "TE.CL: the chunk holds a second request", ask(b"Content-Length: 4", b"Transfer-Encoding: chunked", body=b"%x\r\n%b\r\n0\r\n\r\n" % (len(INSIDE), INSIDE))),
    ("lower-case", "names are compared without case", ask(b"content-length: 5", b"transfer-encoding: chunked", body=LAST)),
    ("mixed-case", "names and values are compared without case", ask(b"CoNtEnT-LeNgTh: 5", b"tRaNsFeR-eNcOdInG: cHuNkEd", body=LAST)),
    ("cl-zero", "a length of zero is a length", ask(b"Content-Length: 0", b"Transfer-Encoding: chunked", body=LAST)),
    ("get", "the method does not matter", get(b"Content-Length: 5", b"Transfer-Encoding: chunked") + LAST),
    ("te-identity", "identity is no coding since RFC 7230", ask(b"Content-Length: 5", b"Transfer-Encoding: identity", body=FIVE)),
    ("te-unknown", "an unknown coding beside a length", ask(b"Content-Length: 5", b"Transfer-Encoding: cow", body=FIVE)),
    ("te-empty", "an empty coding beside a length", ask(b"Content-Length: 5", b"Transfer-Encoding:", body=FIVE)),
    ("far-apart", "ten fields between the two", ask(b"Content-Length: 5", *(b"X-%d: 1" % n for n in range(10)), b"Transfer-Encoding: chunked", body=LAST)),
    ("http10", "RFC 9112 6.1: Transfer-Encoding in HTTP/1.0", ask(b"Content-Length: 5", b"Transfer-Encoding: chunked", start=b"POST /tag00000 HTTP/1.0", body=LAST)),
    ("two-different", "RFC 9110 8.6: two lengths", ask(b"Content-Length: 5", b"Content-Length: 6", body=FIVE + b"!")),
    ("two-zero-five", "the first says there is no body", ask(b"Content-Length: 0", b"Content-Length: 5", body=FIVE)),
    ("two-and-empty", "one of two is empty", ask(b"Content-Length: 5", b"Content-Length:", body=FIVE)),
    ("two-leading-zero", "equal as numbers, not as text", ask(b"Content-Length: 5", b"Content-Length: 05", body=FIVE)),
    ("two-in-two-cases", "two lengths under two spellings", ask(b"Content-Length: 5", b"CONTENT-LENGTH: 6", body=FIVE + b"!")),
    ("list-different", "a list of two lengths", ask(b"Content-Length: 5, 6", body=FIVE + b"!")),
    ("list-open", "a list with an empty member", ask(b"Content-Length: 5,", body=FIVE)),
    ("list-empty-first", "a list that begins with nothing", ask(b"Content-Length: ,5", body=FIVE)),
]
_EQUAL_LENGTHS = [
    ("two-equal", "RFC 9110 8.6 lets a recipient merge equal lengths", ask(b"Content-Length: 5", b"Content-Length: 5", body=FIVE)),
    ("list-equal", "the same in one line", ask(b"Content-Length: 5, 5", body=FIVE)),
    ("three-equal", "three of them, apart", ask(b"Content-Length: 5", b"X-A: 1", b"Content-Length: 5", b"X-B: 1", b"Content-Length: 5", body=FIVE)),
]

_CODINGS = [
    (name, why, ask(b"Transfer-Encoding: " + value, body=THREE + LAST))
    for name, why, value in (
        ("identity", "RFC 9112 7: not a coding any more", b"identity"),
        ("gzip", "RFC 9112 6.1: chunked must be the last coding of a request", b"gzip"),
        ("gzip-chunked", "a coding that we do not undo", b"gzip, chunked"),
        ("chunked-gzip", "chunked is not last", b"chunked, gzip"),
        ("chunked-twice", "RFC 9112 6.1: chunked must not be applied twice", b"chunked, chunked"),
        ("identity-chunked", "readers differ on identity", b"identity, chunked"),
        ("chunked-identity", "readers differ on identity", b"chunked, identity"),
        ("compress-chunked", "a list", b"compress, chunked"),
        ("unknown", "an unknown coding", b"cow"),
        ("unknown-chunked", "an unknown coding first", b"cow, chunked"),
        ("prefix", "ends with chunked", b"xchunked"),
        ("suffix", "begins with chunked", b"chunkedx"),
        ("dashed", "contains chunked", b"x-chunked"),
        ("parameter", "chunked has no parameters", b"chunked;q=1"),
        ("parameter-blank", "chunked has no parameters", b"chunked; a=b"),
        ("semicolon", "chunked has no parameters", b"chunked;"),
        ("double-quotes", "a quoted string is no token", b'"chunked"'),
        ("single-quotes", "a token, but not this one", b"'chunked'"),
        ("brackets", "no token", b"[chunked]"),
        ("blank-inside", "two words", b"chunked chunked"),
        ("cut", "not the whole word", b"chunke"),
        ("nul-behind", "a control byte behind the word", b"chunked\0"),
        ("nul-inside", "a control byte inside the word", b"chunk\0ed"),
        ("vt-before", "a vertical tab is no blank", b"\x0bchunked"),
        ("vt-behind", "a vertical tab is no blank", b"chunked\x0b"),
        ("ff-behind", "a form feed is no blank", b"chunked\x0c"),
        ("nbsp-behind", "0xa0 is a blank for str.strip", b"chunked\xa0"),
        ("nel-behind", "0x85 is a blank for str.strip", b"chunked\x85"),
        ("nbsp-before", "0xa0 is a blank for str.strip", b"\xa0chunked"),
        ("kelvin", "U+212A is a k for str.lower", b"chun\xe2\x84\xaaed"),
        ("cr-behind", "a bare CR in the value", b"chunked\r\r"),
        ("colon", "a second colon", b": chunked"),
        ("equals", "a first character too many", b"=chunked"),
        ("trailers", "a word of another field", b"trailers"),
        ("two-fields-in-one", "another framing as a value", b"chunked Content-Length: 5"),
    )
] + [
    ("empty", "no coding at all", ask(b"Transfer-Encoding:", body=THREE + LAST)),
    ("blank", "only blanks", ask(b"Transfer-Encoding:  \t ", body=THREE + LAST)),
    ("two-lines", "chunked twice in two lines", ask(b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked", body=THREE + LAST)),
    ("two-lines-identity-last", "the last line wins for some", ask(b"Transfer-Encoding: chunked", b"Transfer-Encoding: identity", body=THREE + LAST)),
    ("two-lines-identity-first", "the first line wins for some", ask(b"Transfer-Encoding: identity", b"Transfer-Encoding: chunked", body=THREE + LAST)),
    ("two-lines-unknown-last", "chunked is not last", ask(b"Transfer-Encoding: chunked", b"Transfer-Encoding: cow", body=THREE + LAST)),
    ("two-lines-empty-last", "an empty line behind", ask(b"Transfer-Encoding: chunked", b"Transfer-Encoding:", body=THREE + LAST)),
    ("http10", "RFC 9112 6.1: HTTP/1.0 has no codings", ask(b"Transfer-Encoding: chunked", start=b"POST /tag00000 HTTP/1.0", body=THREE + LAST)),
    ("http10-kept", "the same with keep-alive", ask(b"Connection: keep-alive", b"Transfer-Encoding: chunked", start=b"POST /tag00000 HTTP/1.0", body=THREE + LAST)),
]
_CODING_LISTS = [
    ("comma-before", "RFC 9110 5.6.1 lets a recipient skip empty members", ask(b"Transfer-Encoding: ,chunked", body=THREE + LAST)),
    ("comma-behind", "the same behind", ask(b"Transfer-Encoding: chunked,", body=THREE + LAST)),
]

_LENGTHS = [
    (name, why, ask(b"Content-Length: " + value, body=FIVE))
    for name, why, value in (
        ("plus", "RFC 9110 8.6: digits only; int() takes a sign", b"+5"),
        ("minus", "a negative length", b"-5"),
        ("minus-zero", "a signed zero", b"-0"),
        ("plus-blank", "a sign apart", b"+ 5"),
        ("hex", "another base", b"0x5"),
        ("hex-digits", "another base without its mark", b"a"),
        ("octal", "another base", b"0o5"),
        ("binary", "another base", b"0b101"),
        ("underscore", "int() takes it", b"0_5"),
        ("point", "a fraction", b"5.0"),
        ("exponent", "a power", b"5e0"),
        ("quoted", "a string", b'"5"'),
        ("brackets", "a list", b"[5]"),
        ("blank-inside", "two numbers", b"5 5"),
        ("tab-inside", "two numbers", b"5\t5"),
        ("letter-behind", "strtol stops here", b"5a"),
        ("semicolon", "a parameter", b"5;"),
        ("suffix", "a long", b"5L"),
        ("word", "no number", b"five"),
        ("nan", "float() takes it", b"NaN"),
        ("nul", "a control byte", b"5\0"),
        ("vt-before", "a vertical tab is no blank", b"\x0b5"),
        ("vt-behind", "a vertical tab is no blank", b"5\x0b"),
        ("ff-behind", "a form feed is no blank", b"5\x0c"),
        ("nbsp-behind", "0xa0 is a blank for str.strip", b"5\xa0"),
        ("nel-before", "0x85 is a blank for str.strip", b"\x855"),
        ("superscript", "U+00B9 is a digit for str.isdigit", b"\xb9"),
        ("fullwidth", "U+FF15 is a five for int()", b"\xef\xbc\x95"),
        ("arabic", "U+0665 is a five for int()", b"\xd9\xa5"),
        ("thirty-digits", "overflows every integer type", b"1" * 30),
        ("two-to-the-64-plus-5", "is 5 after an overflow of 64 bits", b"18446744073709551621"),
        ("two-to-the-64", "is 0 after an overflow of 64 bits", b"18446744073709551616"),
        ("two-to-the-64-less-one", "is -1 after an overflow of 64 bits", b"18446744073709551615"),
        ("thousand-digits", "costs a bignum", b"9" * 1_000),
    )
] + [
    ("empty", "no length at all", ask(b"Content-Length:", body=FIVE)),
    ("blank", "only blanks", ask(b"Content-Length: \t ", body=FIVE)),
]

_SIZES = [
    (name, why, chunked(size + b"\r\nabc\r\n" + LAST))
    for name, why, size in (
        ("0x", "RFC 9112 7.1: hex digits only", b"0x3"),
        ("0X", "hex digits only", b"0X3"),
        ("plus", "int() takes a sign", b"+3"),
        ("minus", "a negative size", b"-3"),
        ("underscore", "int() takes it", b"0_3"),
        ("empty", "no size at all", b""),
        ("blank-before", "a blank first", b" 3"),
        ("tab-before", "a tab first", b"\t3"),
        ("vt-before", "a vertical tab first", b"\x0b3"),
        ("nul-behind", "a control byte", b"3\0"),
        ("vt-behind", "a vertical tab behind", b"3\x0b"),
        ("nbsp-behind", "0xa0 is a blank for str.strip", b"3\xa0"),
        ("letter", "no hex digit", b"g"),
        ("letter-behind", "strtol stops here", b"3g"),
        ("word-behind", "two words", b"3 3"),
        ("comma", "a list", b"3,"),
        ("point", "a fraction", b"3.0"),
        ("quoted", "a string", b'"3"'),
        ("arabic", "U+0663 is a three for int()", b"\xd9\xa3"),
        ("17-digits", "is 3 after an overflow of 64 bits", b"10000000000000003"),
        ("hundred-digits", "costs a bignum", b"f" * 100),
    )
] + [
    ("last-plus", "a signed last chunk", chunked(THREE + b"+0\r\n\r\n")),
    ("last-minus", "a signed last chunk", chunked(THREE + b"-0\r\n\r\n")),
    ("last-0x", "a last chunk in another spelling", chunked(THREE + b"0x0\r\n\r\n")),
    ("last-empty", "an empty size for the last", chunked(THREE + b"\r\n\r\n")),
    ("last-letter", "no hex digit", chunked(THREE + b"0g\r\n\r\n")),
]
_BLANK_SIZES = [
    ("blank-behind", "many readers trim it", chunked(b"3 \r\nabc\r\n" + LAST)),
    ("tab-behind", "many readers trim it", chunked(b"3\t\r\nabc\r\n" + LAST)),
]

_CHUNK_ENDS = [
    ("cr-behind-size", "a bare CR ends no line", chunked(b"3\rabc\r\n" + LAST)),
    ("cr-cr-lf-behind-size", "one CR too many", chunked(b"3\r\r\nabc\r\n" + LAST)),
    ("cr-x-behind-size", "a CR that no LF follows", chunked(b"3\rX\r\nabc\r\n" + LAST)),
    ("nothing-behind-data", "RFC 9112 7.1: CRLF ends the data", chunked(b"3\r\nabc0\r\n\r\n")),
    ("junk-behind-data", "two bytes that nobody looked at (h11, 2025)", chunked(b"3\r\nabcXX" + LAST)),
    ("cr-behind-data", "a bare CR behind the data", chunked(b"3\r\nabc\r" + LAST)),
    ("cr-junk-behind-data", "a CR that no LF follows", chunked(b"3\r\nabc\rX" + LAST)),
    ("one-byte-more", "the data is longer than its size", chunked(b"3\r\nabcd\r\n" + LAST)),
    ("one-byte-less", "the data is shorter than its size", chunked(b"4\r\nabc\r\n" + LAST + LAST)),
    ("last-junk", "no line end behind the last chunk", chunked(THREE + b"0\r\nXX\r\n\r\n")),
    ("last-cr-x", "a CR that no LF follows", chunked(THREE + b"0\r\n\rX\r\n\r\n")),
    ("last-cr-cr", "a bare CR behind the last chunk", chunked(THREE + b"0\r\n\r\r\n\r\n")),
    ("cr-in-extension", "a bare CR in an extension", chunked(b"3;a\rb\r\nabc\r\n" + LAST)),
    ("nul-in-extension", "a control byte in an extension", chunked(b"3;a=\0\r\nabc\r\n" + LAST)),
    ("soh-in-extension", "a control byte in an extension", chunked(b"3;a=\x01\r\nabc\r\n" + LAST)),
    ("del-in-extension", "a control byte in an extension", chunked(b"3;a=\x7f\r\nabc\r\n" + LAST)),
    ("vt-in-extension", "a control byte in an extension", chunked(b"3;\x0ba\r\nabc\r\n" + LAST)),
    ("lf-hides-a-request", "a bare LF in an extension hides a request (Kestrel, 2025)", chunked(b"3;\nabc\r\n" + b"%x\r\n%b\r\n" % (len(INSIDE), INSIDE) + LAST)),
    ("lf-in-extension", "the extension ends at LF for some", chunked(b"3;a\nb\r\nabc\r\n" + LAST)),
    ("trailer-no-colon", "RFC 9112 5.1: no field line", chunked(THREE + b"0\r\nX-T\r\n\r\n")),
    ("trailer-empty-name", "a field without a name", chunked(THREE + b"0\r\n: 1\r\n\r\n")),
    ("trailer-blank-before-colon", "RFC 9112 5.1: no blank before the colon", chunked(THREE + b"0\r\nX-T : 1\r\n\r\n")),
    ("trailer-nul", "a control byte in a trailer", chunked(THREE + b"0\r\nX-T: a\0b\r\n\r\n")),
    ("trailer-cr", "a bare CR in a trailer", chunked(THREE + b"0\r\nX-T: a\rb\r\n\r\n")),
    ("trailer-fold", "a folded trailer", chunked(THREE + b"0\r\nX-T: a\r\n b\r\n\r\n")),
    ("trailer-bad-name", "a name that is no token", chunked(THREE + b"0\r\nX(T): a\r\n\r\n")),
    ("trailer-blank-first", "a line that continues nothing", chunked(THREE + b"0\r\n X-T: a\r\n\r\n")),
]
_CHUNK_LINE_FEEDS = [
    ("lf-behind-size", "RFC 9112 2.2 knows a lone LF in heads only", chunked(b"3\nabc\r\n" + LAST)),
    ("lf-behind-data", "a lone LF behind the data", chunked(b"3\r\nabc\n" + LAST)),
    ("lf-everywhere", "all lines end with a lone LF", chunked(b"3\nabc\n0\n\n")),
    ("last-lf", "a lone LF behind the last chunk", chunked(THREE + b"0\n\r\n")),
    ("last-empty-line-lf", "a lone LF as the empty line", chunked(THREE + b"0\r\n\n")),
    ("lf-behind-extension", "a lone LF behind an extension", chunked(b"3;a=b\nabc\r\n" + LAST)),
    ("trailer-lf", "a lone LF behind a trailer", chunked(THREE + b"0\r\nX-T: a\n\r\n")),
]

_HEAVY_FRAMING = [
    ("extension-20k", "one extension of 20 KiB for three bytes", chunked(b"3;a=" + b"x" * 20_480 + b"\r\nabc\r\n" + LAST)),
    ("extension-64k", "one extension of 64 KiB", chunked(b"3;a=" + b"x" * 65_536 + b"\r\nabc\r\n" + LAST)),
    ("extension-on-last", "20 KiB on the last chunk", chunked(THREE + b"0;a=" + b"x" * 20_480 + b"\r\n\r\n")),
    ("extensions-many", "two hundred bytes, each with 1 KiB of extension", chunked((b"1;a=" + b"x" * 1_024 + b"\r\nz\r\n") * 200 + LAST)),
    ("zeros-20k", "20,000 zeros before the size", chunked(b"0" * 20_000 + b"3\r\nabc\r\n" + LAST)),
]

_FIELD_LINES = [
    (name, why, get(line))
    for name, why, line in (
        ("value-nul", "RFC 9110 5.5: no NUL in a value", b"X-A: a\0b"),
        ("value-cr", "no bare CR in a value", b"X-A: a\rb"),
        ("value-cr-end", "a bare CR before the line end", b"X-A: a\r"),
        ("value-soh", "a control byte in a value", b"X-A: a\x01b"),
        ("value-bs", "a control byte in a value", b"X-A: a\x08b"),
        ("value-vt", "a control byte in a value", b"X-A: a\x0bb"),
        ("value-ff", "a control byte in a value", b"X-A: a\x0cb"),
        ("value-esc", "a control byte in a value", b"X-A: a\x1b[2Jb"),
        ("value-us", "a control byte in a value", b"X-A: a\x1fb"),
        ("value-del", "a control byte in a value", b"X-A: a\x7fb"),
        ("value-cr-te", "a bare CR begins a line for some", b"X-A: a\rTransfer-Encoding: chunked"),
        ("name-blank-behind", "RFC 9112 5.1: no blank before the colon", b"X-A : a"),
        ("name-tab-behind", "no tab before the colon", b"X-A\t: a"),
        ("name-vt-behind", "no control byte before the colon", b"X-A\x0b: a"),
        ("name-nul", "a control byte in a name", b"X\0A: a"),
        ("name-nul-behind", "a control byte behind a name", b"X-A\0: a"),
        ("name-nul-first", "a control byte before a name", b"\0X-A: a"),
        ("name-del", "a control byte in a name", b"X\x7fA: a"),
        ("name-cr", "a bare CR in a name", b"X\rA: a"),
        ("name-8-bit", "a name is a token", b"X-\xe9: a"),
        ("name-utf8", "a name is a token", b"X-\xc3\xa9: a"),
        ("name-blank-inside", "a name is a token", b"X A: a"),
        ("name-parenthesis", "a name is a token", b"X(A): a"),
        ("name-comma", "a name is a token", b"X,A: a"),
        ("name-slash", "a name is a token", b"X/A: a"),
        ("name-at", "a name is a token", b"X@A: a"),
        ("name-quotes", "a name is a token", b'"X-A": a'),
        ("name-brackets", "a name is a token", b"[X-A]: a"),
        ("name-braces", "a name is a token", b"{X-A}: a"),
        ("name-backslash", "a name is a token", b"X\\A: a"),
        ("name-equals", "a name is a token", b"X=A: a"),
        ("name-semicolon", "a name is a token", b"X;A: a"),
        ("name-less-than", "a name is a token", b"<X-A>: a"),
        ("name-question", "a name is a token", b"X?A: a"),
        ("name-empty", "HAProxy, 2023: an empty name cut the list short", b": a"),
        ("name-empty-blank", "a blank name", b" : a"),
        ("no-colon", "no field line", b"X-A"),
        ("no-colon-words", "no field line", b"one two three"),
        ("only-colon", "nothing at all", b":"),
        ("request-line-again", "a request line among the fields", b"GET /inside-tag00000 HTTP/1.1"),
        ("blank-line", "a line of one blank", b" "),
        ("te-blank-behind", "a framing that one reader sees", b"Transfer-Encoding : chunked"),
        ("te-tab-behind", "a framing that one reader sees", b"Transfer-Encoding\t: chunked"),
        ("te-nul-behind", "a framing that one reader sees", b"Transfer-Encoding\0: chunked"),
        ("te-vt-behind", "a framing that one reader sees", b"Transfer-Encoding\x0b: chunked"),
        ("te-nul-before", "a framing that one reader sees", b"\0Transfer-Encoding: chunked"),
        ("te-8-bit-behind", "0xa0 is a blank for str.strip", b"Transfer-Encoding\xa0: chunked"),
        ("te-no-colon", "a framing without its colon", b"Transfer-Encoding chunked"),
        ("te-equals", "an equals sign for the colon", b"Transfer-Encoding=chunked"),
        ("cl-blank-behind", "a length that one reader sees", b"Content-Length : 5"),
        ("cl-tab-behind", "a length that one reader sees", b"Content-Length\t: 5"),
        ("cl-nul-behind", "a length that one reader sees", b"Content-Length\0: 5"),
        ("cl-blank-inside", "a length that one reader sees", b"Content Length: 5"),
        ("host-blank-behind", "a second Host that one reader sees", b"Host : other.test"),
    )
] + [
    ("first-line-blank", "RFC 9112 2.2: a blank before the first field", b"GET /tag00000 HTTP/1.1\r\n Host: shop.test\r\n\r\n"),
    ("first-line-te", "a framing that continues nothing", b"GET /tag00000 HTTP/1.1\r\n Transfer-Encoding: chunked\r\nHost: shop.test\r\n\r\n"),
    ("cr-cr-lf", "one CR too many at a line end", b"GET /tag00000 HTTP/1.1\r\nHost: shop.test\r\nX-A: a\r\r\n\r\n"),
    ("cr-only", "all lines end with a bare CR", b"GET /tag00000 HTTP/1.1\rHost: shop.test\r\r\r\n\r\n"),
    ("lf-cr", "line ends the wrong way round", b"GET /tag00000 HTTP/1.1\n\rHost: shop.test\n\r\n\r\r\n\r\n"),
    ("empty-line-cr-cr", "one CR too many in the empty line", b"GET /tag00000 HTTP/1.1\r\nHost: shop.test\r\n\r\r\n\r\n"),
]
_FOLDS = [
    ("fold", "RFC 9112 5.2: a server may refuse a folded line or replace it by blanks", get(b"X-A: a\r\n b")),
    ("fold-tab", "folded with a tab", get(b"X-A: a\r\n\tb")),
    ("fold-empty", "folded from nothing", get(b"X-A:\r\n b")),
    ("fold-blank", "folded to nothing", get(b"X-A: a\r\n ")),
    ("fold-te", "a folded framing", ask(b"Transfer-Encoding:\r\n chunked", body=LAST)),
    ("fold-te-list", "a folded list of codings", ask(b"Transfer-Encoding: identity,\r\n chunked", body=LAST)),
    ("fold-cl", "a folded length", ask(b"Content-Length:\r\n 5", body=FIVE)),
    ("fold-hides-te", "a framing that some see folded away", get(b"X-A: a\r\n Transfer-Encoding: chunked")),
    ("fold-host", "a folded Host", b"GET /tag00000 HTTP/1.1\r\nHost:\r\n shop.test\r\n\r\n"),
    ("fold-host-behind", "a Host that goes on", b"GET /tag00000 HTTP/1.1\r\nHost: shop.test\r\n .other\r\n\r\n"),
]
_LINE_FEEDS = [
    ("lf-all", "RFC 9112 2.2 lets a recipient take a lone LF for a line end", b"GET /tag00000 HTTP/1.1\nHost: shop.test\n\n"),
    ("lf-request-line", "one lone LF", b"GET /tag00000 HTTP/1.1\nHost: shop.test\r\n\r\n"),
    ("lf-field", "one lone LF", b"GET /tag00000 HTTP/1.1\r\nHost: shop.test\nX-A: a\r\n\r\n"),
    ("lf-last-field", "a lone LF before the empty line", b"GET /tag00000 HTTP/1.1\r\nHost: shop.test\n\r\n"),
    ("lf-empty-line", "a lone LF as the empty line", b"GET /tag00000 HTTP/1.1\r\nHost: shop.test\r\n\n\r\n\r\n"),
    ("lf-te", "a framing behind a lone LF", ask(b"X-A: a\nTransfer-Encoding: chunked", body=LAST)),
    ("lf-cl", "a length behind a lone LF", ask(b"X-A: a\nContent-Length: 5", body=FIVE)),
    ("lf-host", "a second Host behind a lone LF", get(b"X-A: a\nHost: other.test")),
    ("lf-two-requests", "two lone LFs end the head for some", get(b"X-A: a\n\nGET /inside-tag00000 HTTP/1.1\nHost: shop.test\n")),
]

_TWINS = [
    ("cl", "CGI, WSGI and PHP read both as one", ask(b"Content-Length: 5", b"Content_Length: 6", body=FIVE)),
    ("cl-first", "the underscored one first", ask(b"Content_Length: 6", b"Content-Length: 5", body=FIVE)),
    ("cl-upper", "in capitals, as CGI spells it", ask(b"CONTENT_LENGTH: 6", b"content-length: 5", body=FIVE)),
    ("te", "a framing's twin", chunked(LAST, b"Transfer_Encoding: identity")),
    ("te-half", "one dash of two", get(b"X-User-Id: 1", b"X_User-Id: 2")),
    ("te-other-half", "the other dash of two", get(b"X-User-Id: 1", b"X-User_Id: 2")),
    ("user", "an identity's twin", get(b"X-User-Id: 1", b"X_User_Id: 2")),
    ("user-first", "an identity's twin, first", get(b"X_USER_ID: 2", b"x-user-id: 1")),
    ("type", "a content type's twin", ask(b"Content-Type: text/plain", b"Content_Type: text/html", b"Content-Length: 5", body=FIVE)),
    ("two-twins", "two spellings with underscores, one with dashes", get(b"X_A-B: 1", b"X-A_B: 2", b"X-A-B: 3")),
]

_REQUEST_LINES = [
    (name, why, started(line))
    for name, why, line in (
        ("word-behind", "nothing behind the version", b"GET /tag00000 HTTP/1.1 x"),
        ("nul-before", "a control byte before the method", b"\0GET /tag00000 HTTP/1.1"),
        ("nul-behind", "a control byte behind the version", b"GET /tag00000 HTTP/1.1\0"),
        ("method-nul", "a method is a token", b"GE\0T /tag00000 HTTP/1.1"),
        ("method-8-bit", "a method is a token", b"G\xc9T /tag00000 HTTP/1.1"),
        ("method-parenthesis", "a method is a token", b"G(T /tag00000 HTTP/1.1"),
        ("method-quotes", "a method is a token", b'"GET" /tag00000 HTTP/1.1'),
        ("method-colon", "a method is a token", b"GET: /tag00000 HTTP/1.1"),
        ("method-slash", "a method is a token", b"GET/ /tag00000 HTTP/1.1"),
        ("method-comma", "a method is a token", b"GET, /tag00000 HTTP/1.1"),
        ("method-empty", "no method", b"/tag00000 HTTP/1.1"),
        ("target-empty", "no target", b"GET HTTP/1.1"),
        ("target-blank", "a blank in the target", b"GET /tag00000 /b HTTP/1.1"),
        ("target-nul", "a control byte in the target", b"GET /tag00000\0 HTTP/1.1"),
        ("target-soh", "a control byte in the target", b"GET /tag00000\x01 HTTP/1.1"),
        ("target-vt", "a control byte in the target", b"GET /tag00000\x0bx HTTP/1.1"),
        ("target-esc", "a control byte in the target", b"GET /tag00000\x1b[2J HTTP/1.1"),
        ("target-del", "a control byte in the target", b"GET /tag00000\x7f HTTP/1.1"),
        ("target-tab", "a tab in the target", b"GET /tag00000\tx HTTP/1.1"),
        ("target-fragment", "RFC 9112 3.2: no fragment", b"GET /tag00000#top HTTP/1.1"),
        ("target-fragment-query", "no fragment behind a query", b"GET /tag00000?a=1#top HTTP/1.1"),
        ("target-hash-only", "no empty fragment", b"GET /tag00000# HTTP/1.1"),
        ("target-hash-first", "no fragment as a path", b"GET #tag00000 HTTP/1.1"),
        ("target-no-slash", "RFC 9112 3.2.1: begins with a slash", b"GET tag00000 HTTP/1.1"),
        ("target-dots", "begins with a slash", b"GET ../tag00000 HTTP/1.1"),
        ("target-query-only", "begins with a slash", b"GET ?tag00000 HTTP/1.1"),
        ("target-backslash", "begins with a slash", b"GET \\tag00000 HTTP/1.1"),
        ("target-percent", "begins with a slash", b"GET %2ftag00000 HTTP/1.1"),
        ("target-authority", "RFC 9112 3.2.3: for CONNECT only", b"GET shop.test:80 HTTP/1.1"),
        ("target-host-path", "neither path nor URL", b"GET shop.test/tag00000 HTTP/1.1"),
        ("target-star-path", "neither path nor star", b"GET */tag00000 HTTP/1.1"),
    )
] + [
    ("no-parts", "only a method", b"GET\r\n\r\n"),
    ("response", "an answer, not a request", b"HTTP/1.1 200 OK\r\nHost: shop.test\r\nX-Tag: tag00000\r\n\r\n"),
    ("tls", "a TLS greeting", b"\x16\x03\x01\x00\x0ctag00000\r\n\r\n"),
    ("ssh", "an SSH greeting", b"SSH-2.0-tag00000\r\n\r\n"),
    ("proxy-v1", "a PROXY line that nobody expects", b"PROXY TCP4 10.0.0.1 10.0.0.2 1 2\r\nGET /tag00000 HTTP/1.1\r\nHost: shop.test\r\n\r\n"),
    ("proxy-v2", "a PROXY preface that nobody expects", b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0GET /tag00000 HTTP/1.1\r\nHost: shop.test\r\n\r\n"),
]
_WORD_BOUNDARIES = [
    (name, "RFC 9112 3 lets a recipient split at any white space: " + why, started(line))
    for name, why, line in (
        ("two-blanks-first", "one blank between the parts", b"GET  /tag00000 HTTP/1.1"),
        ("two-blanks-second", "one blank between the parts", b"GET /tag00000  HTTP/1.1"),
        ("tab-first", "a blank, not a tab", b"GET\t/tag00000 HTTP/1.1"),
        ("tab-second", "a blank, not a tab", b"GET /tag00000\tHTTP/1.1"),
        ("vt", "a blank, not a vertical tab", b"GET\x0b/tag00000 HTTP/1.1"),
        ("blank-behind", "nothing behind the version", b"GET /tag00000 HTTP/1.1 "),
        ("tab-behind", "nothing behind the version", b"GET /tag00000 HTTP/1.1\t"),
        ("blank-before", "nothing before the method", b" GET /tag00000 HTTP/1.1"),
        ("tab-before", "nothing before the method", b"\tGET /tag00000 HTTP/1.1"),
        ("cr-behind", "a bare CR behind the version", b"GET /tag00000 HTTP/1.1\r"),
        ("cr-inside", "a bare CR between the parts", b"GET /tag00000\rHTTP/1.1"),
    )
] + [
    ("lf-first", "a lone LF before the request", b"\nGET /tag00000 HTTP/1.1\r\nHost: shop.test\r\n\r\n"),
    ("cr-first", "a bare CR before the request", b"\rGET /tag00000 HTTP/1.1\r\nHost: shop.test\r\n\r\n"),
]
_VERSIONS = [
    (f"version-{name}", why, started(b"GET /tag00000 " + version))
    for name, why, version in (
        ("0.9", "HTTP/0.9 has no version", b"HTTP/0.9"),
        ("2.0", "HTTP/2 begins otherwise", b"HTTP/2.0"),
        ("3.0", "there is no such text", b"HTTP/3.0"),
        ("9.9", "there is no such version", b"HTTP/9.9"),
        ("one-part", "RFC 9112 2.3: two digits with a point", b"HTTP/1"),
        ("no-minor", "two digits with a point", b"HTTP/1."),
        ("no-major", "two digits with a point", b"HTTP/.1"),
        ("two-digits", "one digit each", b"HTTP/1.10"),
        ("two-digits-major", "one digit each", b"HTTP/11.1"),
        ("leading-zero", "one digit each", b"HTTP/01.1"),
        ("leading-zero-minor", "one digit each", b"HTTP/1.01"),
        ("three-parts", "two digits with a point", b"HTTP/1.1.1"),
        ("no-point", "two digits with a point", b"HTTP/11"),
        ("comma", "two digits with a point", b"HTTP/1,1"),
        ("minus", "no sign", b"HTTP/-1.1"),
        ("plus", "no sign", b"HTTP/+1.1"),
        ("lower-case", "RFC 9112 2.3: the name has a case", b"http/1.1"),
        ("mixed-case", "the name has a case", b"Http/1.1"),
        ("blank-before-slash", "no blank inside", b"HTTP /1.1"),
        ("blank-behind-slash", "no blank inside", b"HTTP/ 1.1"),
        ("no-slash", "a slash between name and number", b"HTTP1.1"),
        ("backslash", "a slash between name and number", b"HTTP\\1.1"),
        ("https", "no such name", b"HTTPS/1.1"),
        ("icy", "no such name", b"ICY/1.1"),
        ("letter", "a digit", b"HTTP/1.x"),
        ("arabic", "an ASCII digit", b"HTTP/1.\xd9\xa1"),
    )
] + [
    ("version-none", "HTTP/0.9: no version at all", b"GET /tag00000\r\n\r\n"),
    ("version-none-fields", "no version, but fields", started(b"GET /tag00000")),
    ("version-none-blank", "a blank and no version", b"GET /tag00000 \r\n\r\n"),
    ("http2-preface-cut", "a preface with fields", started(b"PRI * HTTP/2.0")),
]
_HIGHER_MINOR = [
    ("http2-preface", "HTTP/2 with prior knowledge: who speaks it may answer so", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0"),
    ("version-1.2", "RFC 9110 2.5 reads it as 1.1; there is none", started(b"GET /tag00000 HTTP/1.2")),
    ("version-1.9", "the same", started(b"GET /tag00000 HTTP/1.9")),
]

_HOSTS = [
    (name, why, hosted(value))
    for name, why, value in (
        ("list", "one Host, not two", b"shop.test, other.test"),
        ("comma", "one Host, not two", b"shop.test,other.test:80/"),
        ("blank-inside", "RFC 9110 7.2: uri-host and port", b"shop .test"),
        ("tab-inside", "uri-host and port", b"shop\t.test"),
        ("slash", "no path", b"shop.test/a"),
        ("query", "no query", b"shop.test?a"),
        ("fragment", "no fragment", b"shop.test#a"),
        ("bad-host", "Starlette, 2026: the Host became part of the path", b"a/x?y=#"),
        ("backslash", "no backslash", b"shop.test\\other.test"),
        ("user", "no user", b"user@shop.test"),
        ("user-password", "no user", b"user:secret@shop.test"),
        ("scheme", "no URL", b"http://shop.test"),
        ("nul", "no control byte", b"shop\0.test"),
        ("soh", "no control byte", b"shop\x01.test"),
        ("del", "no control byte", b"shop\x7f.test"),
        ("8-bit", "no 8-bit byte", b"sh\xf6p.test"),
        ("utf8", "no 8-bit byte", b"sh\xc3\xb6p.test"),
        ("quotes", "no character of a reg-name", b'"shop.test"'),
        ("less-than", "no character of a reg-name", b"<shop.test>"),
        ("braces", "no character of a reg-name", b"{shop}.test"),
        ("pipe", "no character of a reg-name", b"shop|test"),
        ("caret", "no character of a reg-name", b"shop^test"),
        ("backtick", "no character of a reg-name", b"`shop`.test"),
        ("percent-open", "an escape of one digit", b"shop%4.test"),
        ("percent-bad", "an escape that is none", b"shop%zz.test"),
        ("port-word", "a port is digits", b"shop.test:http"),
        ("port-letter", "a port is digits", b"shop.test:80a"),
        ("port-minus", "a port is digits", b"shop.test:-1"),
        ("port-plus", "a port is digits", b"shop.test:+80"),
        ("port-blank", "a port is digits", b"shop.test: 80"),
        ("port-65536", "there is no such port", b"shop.test:65536"),
        ("port-99999", "there is no such port", b"shop.test:99999"),
        ("port-long", "there is no such port", b"shop.test:800000000000"),
        ("port-twice", "one port", b"shop.test:80:80"),
        ("port-only", "RFC 9110 4.2.1: an empty host is invalid", b":80"),
        ("ip6-bare", "an IPv6 address stands in brackets", b"::1"),
        ("ip6-open", "a bracket that stays open", b"[::1"),
        ("ip6-closed", "a bracket that was never open", b"::1]"),
        ("ip6-behind", "nothing between bracket and port", b"[::1]x"),
        ("ip6-bad", "no address", b"[shop.test]"),
        ("ip6-empty", "no address", b"[]"),
        ("ip6-colons", "no address", b"[:::::]"),
        ("ip6-port-behind", "a port is digits", b"[::1]:x"),
    )
] + [
    ("none", "RFC 9112 3.2: HTTP/1.1 has a Host", b"GET /tag00000 HTTP/1.1\r\nX-A: a\r\n\r\n"),
    ("no-fields", "HTTP/1.1 has a Host", b"GET /tag00000 HTTP/1.1\r\n\r\n"),
    ("two", "RFC 9112 3.2: one Host", get(b"Host: other.test")),
    ("two-equal", "one Host", get(b"Host: shop.test")),
    ("two-cases", "one Host, whatever its spelling", get(b"HOST: other.test")),
    ("two-apart", "one Host, however far apart", get(b"X-A: a", b"X-B: b", b"Host: other.test")),
    ("two-and-empty", "one Host", get(b"Host:")),
    ("two-http10", "one Host in HTTP/1.0 too", ask(b"Host: other.test", start=b"GET /tag00000 HTTP/1.0")),
    ("absolute-none", "an absolute target needs a Host too", b"GET http://shop.test/tag00000 HTTP/1.1\r\n\r\n"),
    ("absolute-two", "one Host", ask(b"Host: shop.test", start=b"GET http://shop.test/tag00000 HTTP/1.1")),
    ("absolute-empty", "RFC 9110 4.2.1: an empty host is invalid", started(b"GET http:///tag00000 HTTP/1.1")),
    ("absolute-user", "RFC 9110 4.2.4: no user", started(b"GET http://user@shop.test/tag00000 HTTP/1.1")),
    ("absolute-at", "a user that looks like a host", started(b"GET http://shop.test@other.test/tag00000 HTTP/1.1")),
    ("absolute-backslash", "no backslash in an authority", started(b"GET http://shop.test\\@other.test/tag00000 HTTP/1.1")),
    ("absolute-port-word", "a port is digits", started(b"GET http://shop.test:http/tag00000 HTTP/1.1")),
    ("absolute-fragment", "no fragment", started(b"GET http://shop.test/tag00000#top HTTP/1.1")),
    ("absolute-one-slash", "no authority", started(b"GET http:/tag00000 HTTP/1.1")),
    ("absolute-no-slash", "no authority", started(b"GET http:tag00000 HTTP/1.1")),
    ("absolute-ftp", "a scheme that we do not serve", started(b"GET ftp://shop.test/tag00000 HTTP/1.1")),
    ("absolute-file", "a scheme that we do not serve", started(b"GET file:///tag00000 HTTP/1.1")),
    ("absolute-javascript", "no hierarchical URL", started(b"GET javascript:tag00000 HTTP/1.1")),
    ("absolute-percent", "an escaped scheme", started(b"GET http%3a//shop.test/tag00000 HTTP/1.1")),
]
_ABSOLUTE_MISMATCH = [
    ("absolute-other", "RFC 9112 3.2.2 lets the target win over Host", started(b"GET http://other.test/tag00000 HTTP/1.1")),
    ("absolute-other-port", "another port is another authority", started(b"GET http://shop.test:8080/tag00000 HTTP/1.1")),
    ("absolute-upper-other", "schemes have no case", started(b"GET HTTP://other.test/tag00000 HTTP/1.1")),
    ("absolute-host-empty", "an empty Host beside an authority", b"GET http://shop.test/tag00000 HTTP/1.1\r\nHost:\r\n\r\n"),
]

_METHODS = [
    ("connect", "no tunnels for clients", b"CONNECT shop.test:443 HTTP/1.1\r\nHost: shop.test:443\r\nX-Tag: tag00000\r\n\r\n"),
    ("connect-other", "no tunnels for clients", b"CONNECT tag00000:443 HTTP/1.1\r\nHost: shop.test\r\n\r\n"),
    ("connect-path", "a tunnel to a path", started(b"CONNECT /tag00000 HTTP/1.1")),
    ("connect-absolute", "a tunnel to a URL", started(b"CONNECT http://shop.test/tag00000 HTTP/1.1")),
    ("connect-no-port", "a tunnel without a port", started(b"CONNECT shop.test HTTP/1.1")),
    ("connect-body", "a tunnel with a body", b"CONNECT shop.test:443 HTTP/1.1\r\nHost: shop.test:443\r\nX-Tag: tag00000\r\nContent-Length: 5\r\n\r\nhello"),
    ("trace", "TRACE shows a backend's credentials", started(b"TRACE /tag00000 HTTP/1.1")),
    ("trace-absolute", "TRACE in absolute form", started(b"TRACE http://shop.test/tag00000 HTTP/1.1")),
    ("trace-body", "RFC 9110 9.3.8: TRACE has no body", ask(b"Content-Length: 5", start=b"TRACE /tag00000 HTTP/1.1", body=FIVE)),
    ("trace-star", "TRACE of everything", started(b"TRACE * HTTP/1.1")),
]
_STARS = [
    ("star-get", "RFC 9112 3.2.4: a star is for OPTIONS", started(b"GET * HTTP/1.1")),
    ("star-head", "a star is for OPTIONS", started(b"HEAD * HTTP/1.1")),
    ("star-post", "a star is for OPTIONS", b"POST * HTTP/1.1\r\nHost: shop.test\r\nX-Tag: tag00000\r\nContent-Length: 5\r\n\r\nhello"),
    ("star-delete", "a star is for OPTIONS", started(b"DELETE * HTTP/1.1")),
    ("star-unknown", "a star is for OPTIONS", started(b"BREW * HTTP/1.1")),
    ("star-lower-options", "methods have a case", started(b"options * HTTP/1.1")),
    ("star-twice", "no such target", started(b"OPTIONS ** HTTP/1.1")),
    ("star-query", "no such target", started(b"OPTIONS *?tag00000 HTTP/1.1")),
    ("star-slash", "no such target", started(b"OPTIONS */ HTTP/1.1")),
]

_EXPECTATIONS = [
    ("unknown", "RFC 9110 10.1.1: 417", ask(b"Expect: 200-ok", b"Content-Length: 5", body=FIVE)),
    ("word", "417", ask(b"Expect: cookies", b"Content-Length: 5", body=FIVE)),
    ("list", "one known, one not", ask(b"Expect: 100-continue, cookies", b"Content-Length: 5", body=FIVE)),
    ("two-lines", "one known, one not", ask(b"Expect: 100-continue", b"Expect: cookies", b"Content-Length: 5", body=FIVE)),
    ("prefix", "begins with a known one", ask(b"Expect: 100-continued", b"Content-Length: 5", body=FIVE)),
    ("suffix", "ends with a known one", ask(b"Expect: x100-continue", b"Content-Length: 5", body=FIVE)),
    ("cut", "the number alone", ask(b"Expect: 100", b"Content-Length: 5", body=FIVE)),
    ("quoted", "a string", ask(b'Expect: "100-continue"', b"Content-Length: 5", body=FIVE)),
    ("parameter", "a parameter that nobody defined", ask(b"Expect: 100-continue;a=b", b"Content-Length: 5", body=FIVE)),
    ("get", "the method does not matter", get(b"Expect: cookies")),
]

_TRAILERS = [
    (name, why, chunked(THREE + b"0\r\n" + line + b"\r\n\r\n"))
    for name, why, line in (
        ("content-length", "RFC 9110 6.5.1: framing", b"Content-Length: 5"),
        ("transfer-encoding", "framing", b"Transfer-Encoding: chunked"),
        ("transfer-encoding-case", "framing, in another case", b"tRANSFER-eNCODING: identity"),
        ("host", "routing", b"Host: other.test"),
        ("connection", "the connection", b"Connection: close"),
        ("trailer", "RFC 9110 6.6.2: announces, does not follow", b"Trailer: X-T"),
        ("authorization", "who asks", b"Authorization: Basic dTpw"),
        ("second", "behind a harmless one", b"X-T: 1\r\nContent-Length: 5"),
    )
]

_LARGE = [
    ("value-70k", "a field of 70 KiB", get(b"X-A: " + b"a" * 71_680)),
    ("value-1m", "a field of 1 MiB", get(b"X-A: " + b"a" * 1_048_576)),
    ("name-70k", "a name of 70 KiB", get(b"X" * 71_680 + b": a")),
    ("head-128k", "128 KiB of fields", get(*(b"X-%d: %b" % (n, b"a" * 2_048) for n in range(64)))),
    ("fields-200", "200 fields", get(*(b"X-%d: a" % n for n in range(200)))),
    ("fields-2000", "2,000 fields", get(*(b"X-%d: a" % n for n in range(2_000)))),
    ("cookies-70k", "70 KiB of cookies", get(*(b"Cookie: c%d=%b" % (n, b"a" * 1_000) for n in range(70)))),
    ("target-70k", "a target of 70 KiB", started(b"GET /tag00000" + b"a" * 71_680 + b" HTTP/1.1")),
    ("query-70k", "a query of 70 KiB", started(b"GET /tag00000?" + b"a" * 71_680 + b" HTTP/1.1")),
    ("method-70k", "a method of 70 KiB", started(b"M" * 71_680 + b" /tag00000 HTTP/1.1")),
]
_LARGE_TRAILERS = [
    ("trailers-1000", "1,000 trailers", chunked(THREE + b"0\r\n" + b"".join(b"X-%d: a\r\n" % n for n in range(1_000)) + b"\r\n")),
    ("trailer-70k", "a trailer of 70 KiB", chunked(THREE + b"0\r\nX-T: " + b"a" * 71_680 + b"\r\n\r\n")),
]

MUST_REJECT: tuple[Vector, ...] = (
    *rejected("A4", {400, 501}, _TWO_FRAMINGS),
    *rejected("A4", {400}, _EQUAL_LENGTHS, lenient=True),
    *rejected("A5", {400, 501}, _CODINGS),
    *rejected("A5", {400, 501}, _CODING_LISTS, lenient=True),
    *rejected("A6", {400, 413}, _LENGTHS),
    *rejected("A7", {400}, _SIZES, late=True),
    *rejected("A7", {400}, _BLANK_SIZES, late=True, lenient=True),
    *rejected("A8", {400}, _CHUNK_ENDS, late=True),
    *rejected("A8", {400}, _CHUNK_LINE_FEEDS, late=True),
    *rejected("A9", {400, 413}, _HEAVY_FRAMING, late=True),
    *rejected("A10", {400}, _FIELD_LINES),
    *rejected("A10", {400}, _FOLDS, lenient=True),
    *rejected("A10", {400}, _LINE_FEEDS, lenient=True),
    *rejected("A11", {400}, _TWINS, lenient=True),
    *rejected("A12", {400, 505}, _REQUEST_LINES),
    *rejected("A12", {400, 505}, _WORD_BOUNDARIES, lenient=True),
    *rejected("A12", {400, 505}, _VERSIONS),
    *rejected("A12", {400, 505}, _HIGHER_MINOR, lenient=True),
    *rejected("A13", {400}, _HOSTS),
    *rejected("A13", {400}, _ABSOLUTE_MISMATCH, lenient=True),
    *rejected("A14", {400, 405}, _METHODS),
    *rejected("A14", {400, 405}, _STARS),
    *rejected("A16", {417}, _EXPECTATIONS, lenient=True),
    *rejected("B5", {400}, _TRAILERS, late=True, lenient=True),
    *rejected("E7", {414, 431, 400}, _LARGE, size=True),
    *rejected("E7", {400, 431}, _LARGE_TRAILERS, late=True, size=True),
)
"""All of them; the order is that of the table."""
