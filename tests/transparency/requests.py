"""The corpus of requests: what clients send, with an id and the reason why it stands here.

Each one is sent direct to a backend and through the proxy. ``refused`` names the status with which the
proxy answers instead; such a request must not reach a backend at all (docs/wire.md).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """Keep one request of the corpus."""

    id: str
    why: str
    raw: bytes
    refused: int = 0
    """The status of the refusal; 0: it is forwarded."""

    @property
    def method(self) -> str:
        """Name the method, as the answer's reader needs it."""
        return self.raw.split(b" ", 1)[0].decode()


def of_target(name: str, target: bytes, why: str, refused: int = 0) -> Request:
    """Make a GET for a raw target."""
    return Request(
        id=f"target-{name}",
        why=why,
        raw=b"GET %b HTTP/1.1\r\nHost: shop.test\r\nAccept: */*\r\n\r\n" % target,
        refused=refused,
    )


def of_fields(name: str, lines: list[bytes], why: str, refused: int = 0) -> Request:
    """Make a GET with field lines behind Host."""
    raw = b"\r\n".join([b"GET /fields HTTP/1.1", b"Host: shop.test", *lines, b"", b""])
    return Request(id=f"field-{name}", why=why, raw=raw, refused=refused)


def of_method(method: bytes, why: str, body: bytes | None = None, refused: int = 0) -> Request:
    """Make a request by method, with a counted body if there is one."""
    head = b"%b /methods HTTP/1.1\r\nHost: shop.test\r\n" % method
    tail = b"\r\n" if body is None else b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
    name = method.decode() + ("" if body is None else "-body")
    return Request(id=f"method-{name}", why=why, raw=head + tail, refused=refused)


def of_body(name: str, head: bytes, body: bytes, why: str, refused: int = 0) -> Request:
    """Make a POST (or what *head* begins with) whose framing is spelled out."""
    line = b"" if head.startswith((b"GET", b"PUT", b"DELETE", b"PATCH", b"OPTIONS", b"HEAD")) else b"POST "
    first, _, rest = head.partition(b"\r\n")
    raw = b"%b%b HTTP/1.1\r\nHost: shop.test\r\n%b\r\n%b" % (line, first, rest, body)
    return Request(id=f"body-{name}", why=why, raw=raw, refused=refused)


def whole(name: str, raw: bytes, why: str, refused: int = 0) -> Request:
    """Make a request from all of its bytes."""
    return Request(id=name, why=why, raw=raw, refused=refused)


TARGETS: Final = [
    of_target("root", b"/", "the shortest one"),
    of_target("plain", b"/api/orders/7", "the usual one"),
    of_target("trailing-slash", b"/api/orders/", "a slash at the end is part of the name"),
    of_target("dot", b"/a/./b", "a dot segment is not removed: the backend reads it in its own way"),
    of_target("dot-dot", b"/public/../admin", "dot segments are not resolved"),
    of_target("dot-dot-end", b"/a/b/..", "nor at the end"),
    of_target("dot-dot-above", b"/../../etc/passwd", "nor above the root"),
    of_target("dots-encoded", b"/public/%2e%2e/admin", "encoded dots stay encoded"),
    of_target("dots-half-encoded", b"/public/.%2e/admin", "half encoded ones, too"),
    of_target("dots-upper", b"/public/%2E%2E/admin", "with the case of their digits"),
    of_target("dots-semicolon", b"/public/..;/admin", "a path parameter behind dots, as Tomcat reads it"),
    of_target("dots-encoded-slash", b"/public/..%2fadmin", "an encoded slash does not become one"),
    of_target("three-dots", b"/a/.../b", "three dots are a name"),
    of_target("slash-encoded", b"/a%2fb", "an encoded slash is data"),
    of_target("slash-encoded-upper", b"/a%2Fb", "and keeps its case"),
    of_target("slash-double-encoded", b"/a%252fb", "nothing is decoded once, let alone twice"),
    of_target("percent-encoded", b"/100%25", "an encoded percent sign"),
    of_target("double-slash", b"//evil.test/x", "an empty first segment is no authority"),
    of_target("double-slash-inside", b"/a//b", "empty segments stay"),
    of_target("triple-slash", b"///", "all of them"),
    of_target("double-slash-end", b"/a//", "at the end, too"),
    of_target("semicolon", b"/a;v=1/b;w", "path parameters stay"),
    of_target("semicolon-encoded", b"/a%3bv=1", "an encoded semicolon"),
    of_target("backslash", b"/a\\b", "a backslash is no slash"),
    of_target("backslash-encoded", b"/a%5cb", "nor an encoded one"),
    of_target("backslash-dots", b"/public\\..\\admin", "nor with dots"),
    of_target("nul-encoded", b"/a%00b", "an encoded NUL is passed on"),
    of_target("lf-encoded", b"/a%0ab", "an encoded line feed"),
    of_target("crlf-encoded", b"/a%0d%0aX-Injected:%201", "an encoded CRLF stays encoded"),
    of_target("bad-percent", b"/%zz", "a percent sign that encodes nothing"),
    of_target("lone-percent", b"/100%", "a percent sign at the end"),
    of_target("half-percent", b"/a%4", "one digit"),
    of_target("iis-unicode", b"/%u0041", "the old IIS form"),
    of_target("overlong-utf8", b"/%c0%ae%c0%ae/", "an overlong dot is no dot"),
    of_target("unreserved-encoded", b"/%41dmin", "what need not be encoded stays encoded"),
    of_target("tilde-encoded", b"/%7euser", "a tilde likewise"),
    of_target("lower-hex", b"/caf%c3%a9", "lower-case hex digits"),
    of_target("upper-hex", b"/caf%C3%A9", "upper-case hex digits"),
    of_target("raw-utf8", "/café".encode(), "raw UTF-8, as many clients send it"),
    of_target("raw-latin1", b"/caf\xe9", "raw Latin-1, which is no UTF-8"),
    of_target("raw-high", b"/\x80\xff", "any byte with the eighth bit"),
    of_target("case", b"/Api/ORDERS", "the case of a path"),
    of_target("plus", b"/a+b", "a plus sign is no blank"),
    of_target("blank-encoded", b"/a%20b", "an encoded blank"),
    of_target("colon", b"/a:b@c", "a colon and an at sign are legal"),
    of_target("sub-delims", b"/!$&'()*+,=", "every sub-delimiter"),
    of_target("brackets", b"/a[0]{1}", "brackets and braces, not legal and common"),
    of_target("angles", b"/<a>|^`", "angle brackets, bar, caret, backtick"),
    of_target("url-inside", b"/go/https://other.test/x", "a URL inside a path"),
    of_target("authority-like", b"/@other.test/", "what looks like user information"),
    of_target("star-path", b"/*", "a star behind a slash is a path"),
    of_target("dot-file", b"/.well-known/acme-challenge/x", "a name that begins with a dot"),
    of_target("many-segments", b"/a" * 400, "400 segments"),
    of_target("long-segment", b"/" + b"a" * 4_000, "a long segment"),
    of_target("8-kib", b"/" + b"a" * 8_150, "8 KiB with its request line"),
    of_target("query-empty", b"/a?", "a question mark without a query stays"),
    of_target("query-none", b"/a", "and none is added"),
    of_target("query-two", b"/a??", "the second one is data"),
    of_target("query-root", b"/?a=1", "a query at the root"),
    of_target("query-slash", b"/a?b=/c/../d", "dots and slashes in a query"),
    of_target("query-semicolon", b"/a?b=1;c=2", "semicolons do not separate"),
    of_target("query-duplicates", b"/a?b=1&b=2&b=1", "repeated parameters in order"),
    of_target("query-empty-parts", b"/a?&&b&=c&d=&", "empty names and values"),
    of_target("query-bad-percent", b"/a?b=%zz&c=%", "a query that cannot be decoded"),
    of_target("query-plus", b"/a?b=c+d%20e%2Bf", "plus signs and encoded ones"),
    of_target("query-brackets", b"/a?b[]=1&b[]=2&c[d]=3", "brackets, as PHP and Rails want them"),
    of_target("query-json", b"/a?f={%22b%22:[1,2]}", "JSON with encoded quotes"),
    of_target("query-url", b"/a?next=https://shop.test/b?c=d", "a URL with its own question mark"),
    of_target("query-utf8", "/a?b=ñandú".encode(), "raw UTF-8 in a query"),
    of_target("query-high", b"/a?b=\xff\xfe", "bytes that are no text"),
    of_target("query-nul", b"/a?b=%00", "an encoded NUL in a query"),
    of_target("query-8001", b"/a?" + b"&" * 8_000, "8,001 parameters, all empty"),
    of_target("query-10001", b"/a?" + b"&" * 10_000, "more than 8 KiB", refused=414),
    of_target("query-1000", b"/a?" + b"&".join(b"p%d=%d" % (n, n) for n in range(600)), "600 parameters in order"),
    of_target("query-pipe", b"/a?b=c|d^e`f", "characters that are not legal and common"),
    of_target("query-backslash", b"/a?b=\\c", "a backslash in a query"),
    of_target("fragment", b"/a#b", "a fragment never travels", refused=400),
    of_target("fragment-query", b"/a?b#c", "nor behind a query", refused=400),
    of_target("fragment-only", b"/#", "nor an empty one", refused=400),
    of_target("no-slash", b"a/b", "a target that is no path", refused=400),
    of_target("query-only", b"?a", "a query without a path", refused=400),
    of_target("star", b"*", "a star is for OPTIONS", refused=400),
    of_target("quote", b'/a?b="c"', "a quotation mark is not legal in a target", refused=400),
    of_target("control", b"/a\x01b", "a control character", refused=400),
    of_target("delete", b"/a\x7fb", "DEL is one, too", refused=400),
    of_target("tab", b"/a\tb", "a tab", refused=400),
    of_target("blank", b"/a b", "a blank ends the target", refused=400),
    of_target("absolute", b"http://shop.test/a?b=c", "absolute form becomes origin form"),
    of_target("absolute-case", b"HTTP://SHOP.test/a", "scheme and host have no case"),
    of_target("absolute-root", b"http://shop.test", "an empty path is the root"),
    of_target("absolute-query", b"http://shop.test?a=b", "a query behind an empty path"),
    of_target("absolute-dots", b"http://shop.test/a/../b", "dot segments stay in it as well"),
    of_target("absolute-https", b"https://shop.test/a", "the scheme says nothing about our connection"),
    of_target("absolute-other", b"http://other.test/a", "another authority than Host", refused=400),
    of_target("absolute-port", b"http://shop.test:81/a", "another port than Host", refused=400),
    of_target("absolute-user", b"http://u@shop.test/a", "user information", refused=400),
    of_target("absolute-ftp", b"ftp://shop.test/a", "another scheme", refused=400),
    of_target("absolute-empty", b"http:///a", "no authority", refused=400),
]

FIELDS: Final = [
    of_fields("none", [], "nothing is added that the client did not send"),
    of_fields("case", [b"x-LOWER-upper: A", b"X-lower-UPPER: a"], "names and values keep their case"),
    of_fields("order", [b"B: 1", b"A: 2", b"C: 3", b"A: 4"], "the order of fields, repetitions included"),
    of_fields("duplicates", [b"X-Tag: a", b"X-Tag: b", b"X-Tag: a"], "duplicates are never joined"),
    of_fields("duplicates-case", [b"X-Tag: a", b"x-tag: b"], "nor where their case differs"),
    of_fields("empty", [b"X-Empty:"], "an empty value is a value"),
    of_fields("empty-blank", [b"X-Empty:   "], "blanks alone are an empty value"),
    of_fields("empty-many", [b"X-A:", b"X-B:", b"X-A:"], "several of them"),
    of_fields("no-blank", [b"X-A:b"], "no blank behind the colon"),
    of_fields("blanks", [b"X-A: \t  b  \t"], "blanks around a value belong to nobody"),
    of_fields("blanks-inside", [b"X-A: b  \t c"], "blanks inside belong to it"),
    of_fields("comma", [b"X-A: a,b , c,,"], "lists are not normalised"),
    of_fields("quotes", [b'X-A: "a\\"b, c"; d'], "quoted strings neither"),
    of_fields("colon", [b"X-A: b: c:"], "colons inside a value"),
    of_fields("utf8", ["X-A: ñandú ☃".encode()], "UTF-8 in a value"),
    of_fields("latin1", [b"X-A: caf\xe9"], "Latin-1 in a value"),
    of_fields("high", [b"X-A: " + bytes(range(0x80, 0x100))], "every byte with the eighth bit"),
    of_fields("nbsp", [b"X-A: \xa0b\x85"], "what Python would strip is data"),
    of_fields("visible", [b"X-A: " + bytes(range(0x21, 0x7F))], "every visible character"),
    of_fields("odd-name", [b"!#$%&'*+-.^`|~9Az: x"], "every character that a name may have"),
    of_fields("short-name", [b"a: b"], "a name of one letter"),
    of_fields("digits-name", [b"123: 4"], "a name of digits"),
    of_fields("long-name", [b"X-" + b"n" * 300 + b": 1"], "a long name"),
    of_fields("long-value", [b"X-A: " + b"v" * 8_000], "a value of 8 KB"),
    of_fields("longer-value", [b"X-A: " + b"v" * 16_000], "one of 16 KB"),
    of_fields("ninety", [b"X-%d: %d" % (n, n) for n in range(90)], "more than 90 fields"),
    of_fields("ninety-same", [b"X-A: %d" % n for n in range(95)], "95 times the same name"),
    of_fields("big-head", [b"X-%d: %b" % (n, b"v" * 6_000) for n in range(10)], "a head of 60 KB"),
    of_fields("cookie", [b"Cookie: a=1; b=2"], "a cookie"),
    of_fields("cookies", [b"Cookie: a=1; b=2", b"Cookie: c=3", b"cookie: a=4"], "several Cookie fields stay several"),
    of_fields("cookie-odd", [b'Cookie: a="x y";b=;=c; ;d'], "a cookie that no grammar allows"),
    of_fields("cookie-8-bit", [b"Cookie: name=Jos\xe9"], "and one with 8-bit bytes"),
    of_fields("cookie-long", [b"Cookie: a=" + b"c" * 7_000], "a cookie of 7 KB"),
    of_fields("authorization", [b"Authorization: Basic YTpi"], "credentials reach the backend"),
    of_fields("bearer", [b"Authorization: Bearer " + b"x.y-z_" * 200], "a long token, too"),
    of_fields("accept", [b"Accept: text/html;q=0.9, */*;q=0.1"], "content negotiation is the backend's"),
    of_fields(
        "accept-encoding", [b"Accept-Encoding: gzip, br;q=0.5, zstd, *;q=0"], "codings are asked for by the client"
    ),
    of_fields("accept-encoding-empty", [b"Accept-Encoding:"], "an empty list of codings says something"),
    of_fields("accept-language", [b"Accept-Language: es-CR, es;q=0.9"], "languages"),
    of_fields("user-agent", [b"User-Agent: curl/8 (x; y)"], "the client's name"),
    of_fields("user-agent-empty", [b"User-Agent:"], "an empty one"),
    of_fields("referer", [b"Referer: https://shop.test/a?b#c"], "a referer"),
    of_fields("origin-null", [b"Origin: null"], "an opaque origin"),
    of_fields("range", [b"Range: bytes=0-99"], "a range"),
    of_fields("ranges", [b"Range: bytes=0-0,5-9,-3"], "several ranges"),
    of_fields("if-range", [b"Range: bytes=0-", b'If-Range: "v1"'], "a range with a condition"),
    of_fields("range-odd", [b"Range: items=1-2"], "a unit that nobody knows"),
    of_fields("if-none-match", [b'If-None-Match: "a", W/"b"'], "a condition"),
    of_fields("if-none-match-star", [b"If-None-Match: *"], "the condition for anything"),
    of_fields("if-modified", [b"If-Modified-Since: Sat, 21 Nov 2026 07:00:00 GMT"], "a condition by date"),
    of_fields("if-modified-junk", [b"If-Modified-Since: yesterday"], "a date that is none"),
    of_fields("if-match", [b'If-Match: "a"'], "a precondition"),
    of_fields("if-unmodified", [b"If-Unmodified-Since: Sat, 21 Nov 2026 07:00:00 GMT"], "a precondition by date"),
    of_fields("cache", [b"Cache-Control: no-cache", b"Pragma: no-cache"], "wishes about caches"),
    of_fields("traceparent", [b"traceparent: 00-" + b"a" * 32 + b"-" + b"b" * 16 + b"-01"], "a trace goes on"),
    of_fields("tracestate", [b"tracestate: a=1", b"tracestate: b=2"], "with its state"),
    of_fields("baggage", [b"baggage: a=1;p=2,b=%20"], "and its baggage"),
    of_fields("b3", [b"X-B3-TraceId: 1", b"b3: 1-2-1"], "and in the older forms"),
    of_fields("method-override", [b"X-HTTP-Method-Override: DELETE"], "an override is the backend's business"),
    of_fields("sec-fetch", [b"Sec-Fetch-Site: cross-site", b'sec-ch-ua: "Chromium";v="150"'], "what browsers add"),
    of_fields("upgrade-insecure", [b"Upgrade-Insecure-Requests: 1"], "a field that only begins with Upgrade"),
    of_fields("priority", [b"Priority: u=1, i"], "a priority"),
    of_fields("dnt", [b"DNT: 1", b"Save-Data: on"], "wishes"),
    of_fields("via", [b"Via: 1.1 edge"], "the path so far is passed on"),
    of_fields("max-forwards", [b"Max-Forwards: 3"], "counts for OPTIONS and TRACE only"),
    of_fields("idempotency", [b"Idempotency-Key: 7d0f"], "a key of the application"),
    of_fields("x-amz", [b"X-Amz-Date: 20261121T070000Z", b"x-amz-content-sha256: 0"], "signed fields of others"),
    of_fields(
        "client-ip", [b"True-Client-IP: 1.2.3.4", b"CF-Connecting-IP: 1.2.3.4"], "fields that are not ours to judge"
    ),
    of_fields("forwarded-like", [b"X-Forwarded-Ssl: on", b"X-Forwarded-User: a"], "names that only look like ours"),
    of_fields("matapalo-like", [b"X-Matapalo: 1", b"X-Matapal-Shadow: 1"], "names that only begin like ours"),
    of_fields("content-type-get", [b"Content-Type: application/json"], "a type without a body"),
    of_fields("trailer-get", [b"Trailer: X-Sum"], "trailers announced without a body"),
    of_fields("accept-stream", [b"Accept: text/event-stream"], "a stream of events"),
    # --- what is for this hop
    of_fields("connection-close", [b"Connection: close", b"X-A: 1"], "the end of a connection is for this hop"),
    of_fields("connection-keep-alive", [b"Connection: keep-alive", b"Keep-Alive: timeout=5"], "and so is its life"),
    of_fields("connection-empty", [b"Connection:"], "an empty list"),
    of_fields("connection-commas", [b"Connection: , ,keep-alive,,"], "a list with holes"),
    of_fields(
        "connection-lists", [b"Connection: X-Own, close", b"X-Own: 1", b"X-Other: 2"], "what it lists stays here"
    ),
    of_fields("connection-case", [b"CONNECTION: x-OWN", b"X-Own: 1", b"x-own: 2"], "whatever the case"),
    of_fields(
        "connection-twice",
        [b"Connection: X-One", b"X-One: 1", b"Connection: X-Two", b"X-Two: 2", b"X-Three: 3"],
        "several Connection fields count as one list",
    ),
    of_fields("connection-tabs", [b"Connection:\tX-Own\t,\tX-Two", b"X-Own: 1", b"X-Two: 2"], "with tabs in it"),
    of_fields("connection-malformed", [b"Connection: X-Own;q=1, (a), @", b"X-Own: 1"], "what is no name lists nothing"),
    of_fields(
        "connection-protected",
        [
            b"Connection: Host, Authorization, Cookie, Content-Length, X-Forwarded-For, X-Real-IP, X-Request-Id",
            b"Authorization: a",
            b"Cookie: b",
            b"X-Request-Id: mine",
        ],
        "nobody takes away what the backend relies on, or what we add",
    ),
    of_fields("connection-late", [b"X-Own: 1", b"Connection: X-Own"], "a list that comes behind its fields"),
    of_fields("keep-alive", [b"Keep-Alive: timeout=5, max=100"], "without a Connection field, too"),
    of_fields("proxy-connection", [b"Proxy-Connection: keep-alive"], "an old mistake of browsers"),
    of_fields("proxy-authorization", [b"Proxy-Authorization: Basic YTpi"], "credentials for this hop"),
    of_fields("proxy-authenticate", [b"Proxy-Authenticate: Basic"], "an answer's field in a request"),
    of_fields("te-trailers", [b"TE: trailers", b"Connection: TE"], "trailers are welcome on this hop and the next"),
    of_fields("te-list", [b"TE: gzip, trailers;q=0.5", b"Connection: TE"], "other codings are not"),
    of_fields("te-other", [b"TE: deflate", b"Connection: TE"], "they alone say nothing"),
    of_fields(
        "upgrade-h2c",
        [b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAMA"],
        "h2c ends here",
    ),
    of_fields("upgrade-other", [b"Connection: upgrade", b"Upgrade: irc/6.9"], "and so does any other protocol"),
    of_fields("upgrade-lone", [b"Upgrade: websocket"], "an Upgrade that Connection does not list"),
    of_fields("upgrade-two", [b"Connection: upgrade", b"Upgrade: websocket", b"Upgrade: h2c"], "two of them"),
    of_fields(
        "websocket",
        [
            b"Connection: keep-alive, Upgrade",
            b"Upgrade: WebSocket",
            b"Sec-WebSocket-Key: x",
            b"Sec-WebSocket-Version: 13",
        ],
        "a WebSocket is offered, with the client's spelling",
    ),
    # --- who asked, and what is ours
    of_fields("x-forwarded-for", [b"X-Forwarded-For: 1.2.3.4, 5.6.7.8"], "a stranger's word is replaced"),
    of_fields(
        "x-forwarded-all",
        [
            b"X-Forwarded-Host: evil.test",
            b"x-forwarded-proto: https",
            b"X-Forwarded-Port: 1",
            b"X-Forwarded-Prefix: /x",
            b"X-Forwarded-Server: y",
            b"X-Real-IP: 1.2.3.4",
            b"Forwarded: for=1.2.3.4;host=evil.test",
        ],
        "in all of its forms",
    ),
    of_fields("x-forwarded-twice", [b"X-Forwarded-For: 1.1.1.1", b"x-forwarded-for: 2.2.2.2"], "and repetitions"),
    of_fields("request-id", [b"X-Request-Id: 7d0f-4a.b_c:d/e"], "a client's request id is kept"),
    of_fields("request-id-case", [b"x-REQUEST-id: 7d0f"], "under our spelling"),
    of_fields("request-id-bad", [b"X-Request-Id: a b"], "one that cannot be logged or stored is replaced"),
    of_fields("request-id-empty", [b"X-Request-Id:"], "an empty one, too"),
    of_fields("request-id-long", [b"X-Request-Id: " + b"i" * 129], "and one of 129 characters"),
    of_fields("request-id-128", [b"X-Request-Id: " + b"i" * 128], "128 are fine"),
    of_fields("request-id-twice", [b"X-Request-Id: a", b"X-Request-Id: b"], "of two the last"),
    of_fields("matapalo", [b"X-Matapalo-Shadow: 1", b"x-matapalo-anything: 2"], "nobody speaks in our name"),
    # --- refused
    of_fields("nul", [b"X-A: a\0b"], "NUL", refused=400),
    of_fields("control", [b"X-A: a\x01b"], "a control character", refused=400),
    of_fields("delete", [b"X-A: a\x7fb"], "DEL", refused=400),
    of_fields("bare-cr", [b"X-A: a\rb"], "a bare CR", refused=400),
    of_fields("fold", [b"X-A: a", b" b"], "a folded line", refused=400),
    of_fields("blank-name", [b"X-A : a"], "a blank in front of the colon", refused=400),
    of_fields("no-colon", [b"X-A"], "no colon", refused=400),
    of_fields("no-name", [b": a"], "no name", refused=400),
    of_fields("bad-name", [b"X(A): a"], "a name that is no token", refused=400),
    of_fields("8-bit-name", [b"X-\xe9: a"], "a name with 8-bit bytes", refused=400),
    of_fields("101", [b"X-%d: 1" % n for n in range(101)], "more than 100 fields", refused=431),
    of_fields("17-kib", [b"X-A: " + b"v" * 17_000], "a line of more than 16 KiB", refused=431),
    of_fields("expectation", [b"Expect: 200-ok"], "an expectation that nobody knows", refused=417),
]

METHODS: Final = [
    of_method(b"GET", "the usual one"),
    of_method(b"HEAD", "an answer without a body"),
    of_method(b"OPTIONS", "a preflight is the backend's to answer"),
    of_method(b"POST", "without a body and without a length: none is added"),
    of_method(b"POST", "with one", b"a=1"),
    of_method(b"PUT", "a write", b"{}"),
    of_method(b"PATCH", "a write", b"[]"),
    of_method(b"DELETE", "without a body"),
    of_method(b"DELETE", "with one, as search engines want it", b'{"query":{}}'),
    of_method(b"GET", "with a body, as search engines want it", b'{"query":{}}'),
    of_method(b"OPTIONS", "with a body", b"x"),
    of_method(b"QUERY", "a new one", b"select 1"),
    of_method(b"PROPFIND", "WebDAV", b"<propfind/>"),
    of_method(b"REPORT", "CalDAV", b"<r/>"),
    of_method(b"MKCOL", "WebDAV without a body"),
    of_method(b"LOCK", "WebDAV"),
    of_method(b"PURGE", "caches"),
    of_method(b"LINK", "an old one"),
    of_method(b"M-SEARCH", "with a dash"),
    of_method(b"get", "methods have a case: this is another one"),
    of_method(b"Post", "and this", b"a"),
    of_method(b"!#$%&'*+-.^_`|~", "every character that a method may have"),
    of_method(b"X" * 60, "a long one"),
    of_method(b"CONNECT", "no tunnels to anywhere", refused=405),
    of_method(b"TRACE", "no echo of credentials", refused=405),
    of_method(b"G(T", "no token", refused=400),
]

GIF: Final = b"GIF89a\x01\0\x01\0\x80\0\0\xff\xff\xff\0\0\0!\xf9\x04\x01\0\0\0\0,\0\0\0\0\x01\0\x01\0\0\x02\x02D\x01\0;"

BODIES: Final = [
    of_body("empty", b"/body\r\nContent-Length: 0\r\n", b"", "a stated length of 0 stays stated"),
    of_body("none", b"/body\r\n", b"", "no length stays no length"),
    of_body("one", b"/body\r\nContent-Length: 1\r\n", b"x", "one byte"),
    of_body("leading-zeros", b"/body\r\nContent-Length: 0003\r\n", b"abc", "a length keeps its zeros"),
    of_body("length-blanks", b"/body\r\nContent-Length: \t3 \r\n", b"abc", "blanks around a length"),
    of_body("length-case", b"/body\r\ncontent-LENGTH: 3\r\n", b"abc", "a length keeps its spelling"),
    of_body("length-first", b"/body\r\nContent-Length: 3\r\nX-A: 1\r\n", b"abc", "and its place"),
    of_body("binary", b"/body\r\nContent-Length: 256\r\n", bytes(range(256)), "every byte"),
    of_body("gif", b"/body\r\nContent-Type: image/gif\r\nContent-Length: %d\r\n" % len(GIF), GIF, "a small picture"),
    of_body("newlines", b"/body\r\nContent-Length: 6\r\n", b"\r\n\n\r\r\n", "line ends in a body are data"),
    of_body(
        "like-request", b"/body\r\nContent-Length: 26\r\n", b"GET /b HTTP/1.1\r\nHost: a\r\n", "and so is a request"
    ),
    of_body(
        "gzip",
        b"/body\r\nContent-Encoding: gzip\r\nContent-Length: 5\r\n",
        b"\x1f\x8b\x08\x00x",
        "a coding is not looked at",
    ),
    of_body(
        "form",
        b"/body\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 7\r\n",
        b"a=1&b=%",
        "a form",
    ),
    of_body(
        "multipart",
        b"/body\r\nContent-Type: multipart/form-data; boundary=x\r\nContent-Length: 64\r\n",
        b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n12345678\r\n--x--',
        "a form in parts",
    ),
    of_body("64k", b"/body\r\nContent-Length: 65536\r\n", b"0123456789abcdef" * 4_096, "more than one read"),
    of_body("300k", b"/body\r\nContent-Length: 300000\r\n", b"0123456789" * 30_000, "many reads"),
    of_body("get", b"GET /body\r\nContent-Length: 2\r\n", b"{}", "GET with a body"),
    of_body("get-zero", b"GET /body\r\nContent-Length: 0\r\n", b"", "GET with a stated length of 0"),
    of_body("get-chunked", b"GET /body\r\nTransfer-Encoding: chunked\r\n", b"2\r\n{}\r\n0\r\n\r\n", "GET in chunks"),
    of_body("head-length", b"HEAD /body\r\nContent-Length: 2\r\n", b"{}", "HEAD with a body"),
    of_body(
        "delete-chunked", b"DELETE /body\r\nTransfer-Encoding: chunked\r\n", b"1\r\nx\r\n0\r\n\r\n", "DELETE in chunks"
    ),
    of_body("put-zero", b"PUT /body\r\nContent-Length: 0\r\n", b"", "PUT of nothing"),
    of_body(
        "chunked", b"/body\r\nTransfer-Encoding: chunked\r\n", b"5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n", "two chunks"
    ),
    of_body("chunked-empty", b"/body\r\nTransfer-Encoding: chunked\r\n", b"0\r\n\r\n", "no chunk"),
    of_body(
        "chunked-case", b"/body\r\ntransfer-encoding: CHUNKED\r\n", b"1\r\nx\r\n0\r\n\r\n", "the coding has no case"
    ),
    of_body("chunked-blanks", b"/body\r\nTransfer-Encoding:  chunked \r\n", b"1\r\nx\r\n0\r\n\r\n", "blanks around it"),
    of_body(
        "chunked-one-byte",
        b"/body\r\nTransfer-Encoding: chunked\r\n",
        b"1\r\nx\r\n" * 300 + b"0\r\n\r\n",
        "chunks of one byte",
    ),
    of_body(
        "chunked-upper", b"/body\r\nTransfer-Encoding: chunked\r\n", b"A\r\n0123456789\r\n0\r\n\r\n", "upper-case sizes"
    ),
    of_body(
        "chunked-zeros",
        b"/body\r\nTransfer-Encoding: chunked\r\n",
        b"0003\r\nabc\r\n000\r\n\r\n",
        "sizes with zeros in front",
    ),
    of_body(
        "chunked-extension",
        b"/body\r\nTransfer-Encoding: chunked\r\n",
        b"3;a=b;c\r\nabc\r\n0;d\r\n\r\n",
        "extensions end here",
    ),
    of_body(
        "chunked-quoted",
        b"/body\r\nTransfer-Encoding: chunked\r\n",
        b'3;a="b;c"\r\nabc\r\n0\r\n\r\n',
        "quoted ones, too",
    ),
    of_body(
        "chunked-binary",
        b"/body\r\nTransfer-Encoding: chunked\r\n",
        b"100\r\n" + bytes(range(256)) + b"\r\n0\r\n\r\n",
        "every byte",
    ),
    of_body(
        "chunked-like-end",
        b"/body\r\nTransfer-Encoding: chunked\r\n",
        b"5\r\n0\r\n\r\n\r\n0\r\n\r\n",
        "an end inside a chunk is data",
    ),
    of_body(
        "chunked-large",
        b"/body\r\nTransfer-Encoding: chunked\r\n",
        b"186a0\r\n" + b"z" * 100_000 + b"\r\n0\r\n\r\n",
        "a large chunk",
    ),
    of_body(
        "trailers",
        b"/body\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n",
        b"1\r\nx\r\n0\r\nX-Sum: 1\r\n\r\n",
        "announced trailers",
    ),
    of_body(
        "trailers-unannounced",
        b"/body\r\nTransfer-Encoding: chunked\r\n",
        b"1\r\nx\r\n0\r\nX-Sum: 1\r\nx-sum: 2\r\nA: \r\n\r\n",
        "trailers that nobody announced",
    ),
    of_body(
        "trailers-8-bit",
        b"/body\r\nTransfer-Encoding: chunked\r\n",
        b"0\r\nX-Sum: caf\xe9\r\n\r\n",
        "8-bit bytes in a trailer",
    ),
    of_body(
        "trailers-te",
        b"/body\r\nTE: trailers\r\nTransfer-Encoding: chunked\r\n",
        b"1\r\nx\r\n0\r\nX-Sum: 1\r\n\r\n",
        "trailers welcome as well",
    ),
    of_body(
        "trailers-listed",
        b"/body\r\nConnection: X-Own\r\nTransfer-Encoding: chunked\r\n",
        b"1\r\nx\r\n0\r\nX-Own: 1\r\nX-Sum: 2\r\n\r\n",
        "a trailer that Connection lists",
    ),
    of_body(
        "expect",
        b"/body\r\nExpect: 100-continue\r\nContent-Length: 3\r\n",
        b"abc",
        "an expectation, and a body all the same",
    ),
    of_body("expect-case", b"/body\r\nexpect: 100-Continue\r\nContent-Length: 3\r\n", b"abc", "it has no case"),
    of_body(
        "expect-empty", b"/body\r\nExpect: 100-continue\r\nContent-Length: 0\r\n", b"", "an expectation without a body"
    ),
    of_body(
        "two-lengths",
        b"/body\r\nContent-Length: 3\r\nContent-Length: 3\r\n",
        b"abc",
        "two lengths, even equal ones",
        refused=400,
    ),
    of_body("length-list", b"/body\r\nContent-Length: 3, 3\r\n", b"abc", "a list of lengths", refused=400),
    of_body("length-signed", b"/body\r\nContent-Length: +3\r\n", b"abc", "a sign", refused=400),
    of_body(
        "both-framings",
        b"/body\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        b"0\r\n\r\n",
        "two framings",
        refused=400,
    ),
]

OLD: Final = [
    whole("1.0", b"GET /old HTTP/1.0\r\nHost: shop.test\r\n\r\n", "HTTP/1.0 is raised to 1.1"),
    whole("1.0-no-host", b"GET /old HTTP/1.0\r\n\r\n", "it may have no Host"),
    whole(
        "1.0-keep-alive",
        b"GET /old HTTP/1.0\r\nHost: a\r\nConnection: Keep-Alive\r\n\r\n",
        "and may keep its connection",
    ),
    whole("1.0-post", b"POST /old HTTP/1.0\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc", "with a body"),
    whole(
        "1.0-expect",
        b"POST /old HTTP/1.0\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\nabc",
        "an expectation means nothing there",
    ),
    whole(
        "1.0-upgrade",
        b"GET /old HTTP/1.0\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        "nor does an upgrade",
    ),
    whole("1.0-head", b"HEAD /old HTTP/1.0\r\nHost: a\r\n\r\n", "HEAD"),
    whole(
        "1.0-chunked",
        b"POST /old HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "chunks do not exist there",
        400,
    ),
    whole("host-port", b"GET /host HTTP/1.1\r\nHost: shop.test:8080\r\n\r\n", "a Host with a port"),
    whole("host-case", b"GET /host HTTP/1.1\r\nhOST: SHOP.test\r\n\r\n", "a Host in capitals"),
    whole("host-blanks", b"GET /host HTTP/1.1\r\nHost:  shop.test \r\n\r\n", "blanks around it"),
    whole("host-ipv6", b"GET /host HTTP/1.1\r\nHost: [::1]:80\r\n\r\n", "an address"),
    whole("host-empty", b"GET /host HTTP/1.1\r\nHost:\r\n\r\n", "an empty Host is legal"),
    whole(
        "host-last", b"GET /host HTTP/1.1\r\nX-A: 1\r\nHost: shop.test\r\n\r\n", "a Host that comes last comes first"
    ),
    whole("host-percent", b"GET /host HTTP/1.1\r\nHost: caf%C3%A9.test\r\n\r\n", "an encoded one"),
    whole("host-underscore", b"GET /host HTTP/1.1\r\nHost: my_shop.test\r\n\r\n", "a name that DNS would not like"),
    whole("host-none", b"GET /host HTTP/1.1\r\n\r\n", "no Host", 400),
    whole("host-two", b"GET /host HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", "two of them", 400),
    whole("http-1.2", b"GET /a HTTP/1.2\r\nHost: a\r\n\r\n", "a version that does not exist", 505),
    whole("http-0.9", b"GET /a\r\n\r\n", "no version", 505),
]

CHAPTERS: Final = {"targets": TARGETS, "fields": FIELDS, "methods": METHODS, "bodies": BODIES, "old and hosts": OLD}
REQUESTS: Final = [request for chapter in CHAPTERS.values() for request in chapter]
