"""The authored corpus of requests that are legal: a proxy accepts them and changes no byte that is not its own.

Unusual on purpose: what is common is tested everywhere. ``MAY`` holds what a proxy may refuse or accept, as
long as nothing that two readers read differently reaches a backend.
"""
# One line per vector, however long: a column of names and reasons reads better than any wrapping.
# ruff: noqa: E501
# fmt: off

from __future__ import annotations

from collections.abc import Iterator

from tests.conformance.vectors import Legal, Rows, Vector, ask, chunked, get, hosted, rejected, started

FIVE = b"hello"
LAST = b"0\r\n\r\n"
THREE = b"3\r\nabc\r\n"

_NOT_END_TO_END = (b"host", b"connection", b"keep-alive", b"proxy-connection", b"te", b"upgrade", b"transfer-encoding", b"http2-settings", b"expect", b"trailer", b"content-length")
"""Host is looked at by the judge; an expectation may be fulfilled on the way; framing is written anew and proven by the body."""

_FIELDS = [
    ("plain", "nothing unusual", get()),
    ("value-empty", "RFC 9110 5.5: a value may be empty", get(b"X-A:", b"X-B: ")),
    ("value-no-blank", "the blank behind the colon is optional", get(b"X-A:a")),
    ("value-blanks", "blanks around a value are not part of it", get(b"X-A:  \t a \t ")),
    ("value-blanks-inside", "blanks inside a value are part of it", get(b"X-A: a  b\tc")),
    ("value-8-bit", "RFC 9110 5.5: obs-text", get(b"X-A: \xe9\xff\x80")),
    ("value-utf8", "obs-text", get(b"X-A: caf\xc3\xa9 \xe2\x82\xac")),
    ("value-colons", "colons in a value", get(b"X-A: a: b:: c")),
    ("value-punctuation", "every visible character", get(b"X-A: !\"#$%&'()*+,-./09:;<=>?@AZ[\\]^_`az{|}~")),
    ("value-long", "4 KiB in one value", get(b"X-A: " + b"a" * 4_096)),
    ("name-token", "every character of a token", get(b"!#$%&'*+-.^`|~09AZaz: a")),
    ("name-digits", "a name of digits", get(b"123: a")),
    ("name-one", "a name of one letter", get(b"a: b")),
    ("name-case", "the case of a name stays", get(b"x-lOWER-uPPER: a", b"X-UPPER: b", b"x-lower: c")),
    ("name-underscore", "an underscore without a dashed twin", get(b"X_A: a", b"X_Request_Tag: b")),
    ("repeated", "a field three times, in order", get(b"X-A: 1", b"X-B: 2", b"X-A: 3", b"x-a: 4")),
    ("cookies", "two Cookie fields", get(b"Cookie: a=1", b"Cookie: b=2; c=\"3\"")),
    ("fields-80", "eighty fields", get(*(b"X-%d: %d" % (n, n) for n in range(80)))),
    ("accept", "what browsers send", get(b"Accept: text/html,application/xhtml+xml;q=0.9,*/*;q=0.8", b"Accept-Encoding: gzip, deflate, br, zstd", b"Accept-Language: es-CR,es;q=0.9")),
    ("conditional", "conditions and a range", get(b"If-None-Match: \"a\", W/\"b\"", b"If-Modified-Since: Sat, 21 Nov 2026 00:00:00 GMT", b"Range: bytes=0-1,-5", b"If-Range: \"a\"")),
    ("connection-lists", "a listed field is for this hop only", get(b"Connection: keep-alive, X-Hop", b"X-Hop: 1", b"X-End: 2")),
    ("connection-close", "the client's last request", get(b"Connection: close")),
    ("connection-empty", "empty members of a list", get(b"Connection: ,, keep-alive,")),
    ("te-trailers", "RFC 9110 10.1.4", get(b"TE: trailers", b"Connection: TE")),
    ("h2c", "an upgrade that we do not do is passed over", get(b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABkAAQAAP__")),
    ("content-fields-get", "fields of a content that is not there", get(b"Content-Type: text/plain", b"Content-Language: es")),
    ("via", "a proxy before us", get(b"Via: 1.1 edge", b"Max-Forwards: 5")),
    ("host-upper", "the case of a host", hosted(b"SHOP.Test")),
    ("host-port", "a port", hosted(b"shop.test:8080")),
    ("host-port-leading-zero", "a port of five digits", hosted(b"shop.test:00080")),
    ("host-ip4", "an address", hosted(b"192.0.2.1:80")),
    ("host-ip6", "an address in brackets", hosted(b"[2001:db8::1]")),
    ("host-ip6-port", "an address in brackets with a port", hosted(b"[::ffff:192.0.2.1]:8080")),
    ("host-label", "one label", hosted(b"shop")),
    ("host-underscore", "an underscore, as inside clusters", hosted(b"shop_a.test")),
    ("host-dot", "a name that ends with the root", hosted(b"shop.test.")),
    ("host-punycode", "an international name", hosted(b"xn--caf-dma.test")),
    ("host-last", "Host need not come first", b"GET /tag00000 HTTP/1.1\r\nX-A: a\r\nhOST: shop.test\r\n\r\n"),
]

_TARGETS = [
    ("query", "a query", started(b"GET /tag00000?a=1&b=2&a=3 HTTP/1.1")),
    ("query-empty", "an empty query", started(b"GET /tag00000? HTTP/1.1")),
    ("query-odd", "what a query may hold", started(b"GET /tag00000?a=%20+/?:@!$&'()*,;=-._~ HTTP/1.1")),
    ("query-questions", "question marks in a query", started(b"GET /tag00000??a? HTTP/1.1")),
    ("path-odd", "what a path may hold", started(b"GET /tag00000/-._~!$&'()*+,=:@ HTTP/1.1")),
    ("path-escapes", "escapes stay as they are", started(b"GET /tag00000/%41%c3%A9%20%7e HTTP/1.1")),
    ("path-slash", "a slash at the end", started(b"GET /tag00000/ HTTP/1.1")),
    ("path-long", "4 KiB of path", started(b"GET /tag00000/" + b"a" * 4_096 + b" HTTP/1.1")),
    ("absolute", "RFC 9112 3.2.2: absolute form", started(b"GET http://shop.test/tag00000?a=1 HTTP/1.1")),
    ("absolute-upper", "scheme and host have no case", started(b"GET HTTP://SHOP.test/tag00000 HTTP/1.1")),
]

_METHODS = [
    ("delete", "no body", ask(start=b"DELETE /tag00000 HTTP/1.1")),
    ("delete-body", "a body that few expect", ask(b"Content-Length: 5", start=b"DELETE /tag00000 HTTP/1.1", body=FIVE)),
    ("get-body", "a body that few expect", ask(b"Content-Length: 5", start=b"GET /tag00000 HTTP/1.1", body=FIVE)),
    ("options", "of one resource", ask(start=b"OPTIONS /tag00000 HTTP/1.1")),
    ("patch", "a body", ask(b"Content-Length: 5", start=b"PATCH /tag00000 HTTP/1.1", body=FIVE)),
    ("propfind", "WebDAV", ask(b"Depth: 1", start=b"PROPFIND /tag00000 HTTP/1.1")),
    ("m-search", "a dash in a method", ask(start=b"M-SEARCH /tag00000 HTTP/1.1")),
    ("brew", "a method that nobody registered", ask(start=b"BREW /tag00000 HTTP/1.1")),
    ("lower-case", "methods have a case: this is not GET", ask(start=b"get /tag00000 HTTP/1.1")),
    ("query-method", "a safe method with a body", ask(b"Content-Length: 5", start=b"QUERY /tag00000 HTTP/1.1", body=FIVE)),
]

_BODIES = [
    ("length", "a length", ask(b"Content-Length: 5", body=FIVE)),
    ("length-zero", "a length of zero", ask(b"Content-Length: 0")),
    ("length-case", "names have no case", ask(b"cONTENT-lENGTH: 5", body=FIVE)),
    ("length-blanks", "blanks around a length", ask(b"Content-Length: \t 5 \t", body=FIVE)),
    ("length-none", "RFC 9112 6.3: without either there is no body", ask()),
    ("binary", "a body of every byte", ask(b"Content-Length: 256", body=bytes(range(256)))),
    ("looks-like-a-request", "a body that looks like a request", ask(b"Content-Length: 40", body=b"GET /inside HTTP/1.1\r\nHost: shop.test\r\n\r")),
    ("looks-chunked", "a body that looks chunked", ask(b"Content-Length: 13", body=THREE + LAST)),
    ("expect", "RFC 9110 10.1.1: the body comes without waiting", ask(b"Expect: 100-continue", b"Content-Length: 5", body=FIVE)),
    ("expect-case", "expectations have no case", ask(b"Expect: 100-Continue", b"Content-Length: 5", body=FIVE)),
    ("http10-length", "HTTP/1.0 with a length", ask(b"Content-Length: 5", start=b"POST /tag00000 HTTP/1.0", body=FIVE)),
]
_CHUNKED = [
    ("chunks", "three chunks", chunked(b"1\r\na\r\n2\r\nbc\r\n2\r\n\r\n\r\n" + LAST), b"abc\r\n"),
    ("chunks-none", "only the last chunk", chunked(LAST), b""),
    ("chunked-case", "codings have no case", ask(b"tRANSFER-eNCODING: cHUNKED", body=THREE + LAST), b"abc"),
    ("chunked-blanks", "blanks around a coding", ask(b"Transfer-Encoding:   chunked  ", body=THREE + LAST), b"abc"),
    ("size-case", "hex digits have no case", chunked(b"A\r\n0123456789\r\na\r\n0123456789\r\n" + LAST), b"0123456789" * 2),
    ("size-zeros", "leading zeros of a size", chunked(b"0003\r\nabc\r\n" + LAST), b"abc"),
    ("last-zeros", "many zeros", chunked(THREE + b"0000\r\n\r\n"), b"abc"),
    ("extension", "RFC 9112 7.1.1: an extension is ignored", chunked(b"3;a\r\nabc\r\n" + LAST), b"abc"),
    ("extension-value", "with a value", chunked(b"3;a=b;c=d\r\nabc\r\n" + LAST), b"abc"),
    ("extension-quoted", "with a quoted value", chunked(b"3;a=\"b c\"\r\nabc\r\n" + LAST), b"abc"),
    ("extension-last", "on the last chunk", chunked(THREE + b"0;a=b\r\n\r\n"), b"abc"),
    ("trailer", "an announced trailer", chunked(THREE + b"0\r\nX-T: 1\r\n\r\n", b"Trailer: X-T"), b"abc"),
    ("trailers", "two that nobody announced", chunked(THREE + b"0\r\nX-T: 1\r\nx-u:2\r\n\r\n"), b"abc"),
    ("chunk-of-framing", "a chunk that looks like the last", chunked(b"5\r\n0\r\n\r\n\r\n" + LAST), b"0\r\n\r\n"),
    ("chunks-of-one", "fifty chunks of one byte", chunked(b"1\r\nz\r\n" * 50 + LAST), b"z" * 50),
    ("chunk-64k", "a chunk of 64 KiB", chunked(b"10000\r\n" + b"k" * 65_536 + b"\r\n" + LAST), b"k" * 65_536),
    ("get-chunked", "the method does not matter", ask(b"Transfer-Encoding: chunked", start=b"GET /tag00000 HTTP/1.1", body=THREE + LAST), b"abc"),
]

_HTTP10 = [
    ("http10", "HTTP/1.0", started(b"GET /tag00000 HTTP/1.0")),
    ("http10-no-host", "HTTP/1.0 needs no Host", b"GET /tag00000 HTTP/1.0\r\n\r\n"),
    ("http10-keep-alive", "the old keep-alive", ask(b"Connection: Keep-Alive", start=b"GET /tag00000 HTTP/1.0")),
    ("http10-close", "said again", ask(b"Connection: close", start=b"GET /tag00000 HTTP/1.0")),
]


def _read(rows: Rows, body: bytes | None = None) -> Iterator[Legal]:
    for name, why, raw in rows:
        head, _, rest = raw.partition(b"\r\n\r\n")
        first, *lines = head.split(b"\r\n")
        method, target, _ = first.split(b" ")
        if target[:4].lower() == b"http":
            target = b"/" + target.split(b"/", 3)[3]
        yield Legal(
            id=f"A3/{name}",
            raw=raw,
            method=method,
            target=target,
            body=rest if body is None else body,
            fields=tuple(_end_to_end(lines)),
            why=why,
        )


def _end_to_end(lines: list[bytes]) -> Iterator[bytes]:
    for line in lines:
        name, _, value = line.partition(b":")
        if name.lower() not in (*_NOT_END_TO_END, b"x-hop"):
            yield name + b":" + value.strip(b" \t")


LEGAL: tuple[Legal, ...] = (
    *_read(_FIELDS),
    *_read(_TARGETS),
    *_read(_METHODS),
    *_read(_BODIES),
    *_read(_HTTP10),
    *(legal for name, why, raw, body in _CHUNKED for legal in _read([(name, why, raw)], body)),
)
"""All that must be accepted."""

_EITHER = [
    ("crlf-first", "RFC 9112 2.2: an empty line before a request is to be ignored", b"\r\nGET /tag00000 HTTP/1.1\r\nHost: shop.test\r\n\r\n"),
    ("crlf-first-many", "several of them", b"\r\n\r\n\r\nGET /tag00000 HTTP/1.1\r\nHost: shop.test\r\n\r\n"),
    ("coding-tab", "a tab behind a coding is a blank", ask(b"Transfer-Encoding: chunked\t", body=THREE + LAST)),
    ("length-leading-zero", "leading zeros of a length", ask(b"Content-Length: 005", body=FIVE)),
    ("length-20-zeros", "many leading zeros", ask(b"Content-Length: " + b"0" * 20 + b"5", body=FIVE)),
    ("expect-empty", "an empty expectation", ask(b"Expect:", b"Content-Length: 5", body=FIVE)),
    ("expect-twice", "a known one twice", ask(b"Expect: 100-continue", b"Expect: 100-continue", b"Content-Length: 5", body=FIVE)),
    ("expect-http10", "RFC 9110 10.1.1: to be ignored in HTTP/1.0", ask(b"Expect: 100-continue", b"Content-Length: 5", start=b"POST /tag00000 HTTP/1.0", body=FIVE)),
    ("host-empty", "RFC 9112 3.2: an empty Host", hosted(b"")),
    ("host-empty-port", "a colon and no port", hosted(b"shop.test:")),
    ("host-escape", "an escape in a reg-name", hosted(b"sh%6fp.test")),
    ("host-dots", "an empty label", hosted(b"shop..test")),
    ("host-dot-first", "an empty label", hosted(b".test")),
    ("host-sub-delims", "what a reg-name may hold", hosted(b"shop!$&'()*+;=~.test")),
    ("host-http10-bad", "a bad Host in HTTP/1.0", b"GET /tag00000 HTTP/1.0\r\nHost: a/b\r\n\r\n"),
    ("absolute-https", "another scheme than that of the connection", started(b"GET https://shop.test/tag00000 HTTP/1.1")),
    ("absolute-no-path", "an absolute target without a path", started(b"GET http://shop.test HTTP/1.1")),
    ("absolute-query", "an absolute target with a query only", started(b"GET http://shop.test?tag00000 HTTP/1.1")),
    ("absolute-port-80", "the default port, said on one side", started(b"GET http://shop.test:80/tag00000 HTTP/1.1")),
    ("target-8-bit", "raw 8-bit bytes in a path, as old clients send", started(b"GET /tag00000/\xe9 HTTP/1.1")),
    ("target-quotes", "characters that no path may hold", started(b"GET /tag00000/\"<>^`{|}[] HTTP/1.1")),
    ("target-percent-bad", "an escape that is none", started(b"GET /tag00000/%zz HTTP/1.1")),
    ("target-nul-escape", "an escaped control byte", started(b"GET /tag00000/%00 HTTP/1.1")),
    ("target-dots", "dot segments", started(b"GET /tag00000/../%2e%2e/..%2f HTTP/1.1")),
    ("target-two-slashes", "a path that looks like an authority", started(b"GET //other.test/tag00000 HTTP/1.1")),
    ("options-star", "answered here or passed on", started(b"OPTIONS * HTTP/1.1")),
    ("underscore-te", "an underscored framing without a dashed one", get(b"Transfer_Encoding: chunked")),
    ("underscore-cl", "an underscored length beside a coding", chunked(THREE + LAST, b"Content_Length: 5")),
    ("underscore-te-cl", "an underscored coding beside a length", ask(b"Transfer_Encoding: chunked", b"Content-Length: 5", body=FIVE)),
    ("underscore-forwarded", "the twin of a field that proxies write", get(b"X_Forwarded_For: 10.0.0.1")),
    ("underscore-forwarded-twin", "both are the proxy's to write", get(b"X-Forwarded-For: 10.0.0.1", b"X_Forwarded_For: 10.0.0.2")),
    ("upgrade-body", "an upgrade with a body", ask(b"Connection: Upgrade", b"Upgrade: websocket", b"Content-Length: 5", body=FIVE)),
    ("upgrade-two", "two upgrades", get(b"Connection: Upgrade", b"Upgrade: websocket, h2c")),
    ("connection-lists-host", "a client that strips what the backend needs", get(b"Connection: Host, Content-Length, Transfer-Encoding")),
    ("connection-lists-cl", "a length that is listed", ask(b"Connection: Content-Length", b"Content-Length: 5", body=FIVE)),
    ("connection-bad", "no list of tokens", get(b"Connection: \"close\"; (x)")),
    ("extension-bad", "an extension that is no token", chunked(b"3;=;\r\nabc\r\n" + LAST)),
    ("extension-blank", "RFC 9112 7.1.1: blanks around an extension", chunked(b"3 ; a = b\r\nabc\r\n" + LAST)),
    ("size-64-bits", "as much as 64 bits hold: to wait for it is right, to take it for -1 is not", chunked(b"ffffffffffffffff\r\nabc\r\n" + LAST)),
    ("size-16-digits", "sixteen digits, most of them zeros", chunked(b"0000000000000003\r\nabc\r\n" + LAST)),
    ("size-17-digits", "seventeen digits, most of them zeros", chunked(b"00000000000000003\r\nabc\r\n" + LAST)),
]

MAY: tuple[Vector, ...] = tuple(rejected("may", {400, 405, 413, 417, 431, 501, 505}, _EITHER))
"""What may be refused or accepted; only a forward that is itself ambiguous is a fault."""
