"""The corpus of answers: what backends send, with an id and the reason why it stands here.

Each one is given to a client direct and through the proxy, over connections that carry many of them. ``refused``
marks the ones that become a 502 because they have no single reading (docs/wire.md).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from tests.support.recorder import Close, Pause, Sliced, Step

PLAIN: Final = b"GET /answer HTTP/1.1\r\nHost: shop.test\r\n\r\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """Keep one answer of the corpus, and what the client asks to get it."""

    id: str
    why: str
    steps: tuple[Step, ...]
    request: bytes = PLAIN
    refused: bool = False
    lawless: bool = False
    """A strict reader does not take it as it is sent: it is not read direct."""

    @property
    def raw(self) -> bytes:
        """Join what the backend sends."""
        return b"".join(
            step.data if isinstance(step, Sliced) else step for step in self.steps if isinstance(step, bytes | Sliced)
        )

    @property
    def asked(self) -> bytes:
        """Write the request with this answer's id in its target, by which the backend knows what to send."""
        return self.request.replace(b"/answer", b"/" + self.id.encode(), 1)

    @property
    def method(self) -> str:
        """Name the request's method."""
        return self.request.split(b" ", 1)[0].decode()

    @property
    def closes(self) -> bool:
        """Tell whether the backend ends its connection behind the answer."""
        return any(isinstance(step, Close) for step in self.steps)


HEAD: Final = b"HEAD /answer HTTP/1.1\r\nHost: shop.test\r\n\r\n"
OLD: Final = b"GET /answer HTTP/1.0\r\nHost: shop.test\r\n\r\n"
OLD_KEPT: Final = b"GET /answer HTTP/1.0\r\nHost: shop.test\r\nConnection: keep-alive\r\n\r\n"
ENDING: Final = b"GET /answer HTTP/1.1\r\nHost: shop.test\r\nConnection: close\r\n\r\n"
TRAILERS: Final = b"GET /answer HTTP/1.1\r\nHost: shop.test\r\nTE: trailers\r\nConnection: TE\r\n\r\n"
EXPECTING: Final = b"POST /answer HTTP/1.1\r\nHost: shop.test\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\nabc"
CONDITIONAL: Final = b'GET /answer HTTP/1.1\r\nHost: shop.test\r\nIf-None-Match: "v1"\r\n\r\n'
RANGED: Final = b"GET /answer HTTP/1.1\r\nHost: shop.test\r\nRange: bytes=0-1\r\n\r\n"
UPGRADE: Final = b"GET /answer HTTP/1.1\r\nHost: shop.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
WITH_ID: Final = b"GET /answer HTTP/1.1\r\nHost: shop.test\r\nX-Request-Id: mine\r\n\r\n"


def of_status(line: bytes, why: str, name: str = "") -> Answer:
    """Make an answer with a body of two bytes by its status and reason."""
    return Answer(
        id=f"status-{name or line[:3].decode()}",
        why=why,
        steps=(b"HTTP/1.1 " + line + b"\r\nContent-Length: 2\r\n\r\nok",),
    )


def of_fields(name: str, lines: list[bytes], why: str, refused: bool = False) -> Answer:
    """Make a 200 with field lines."""
    raw = b"\r\n".join([b"HTTP/1.1 200 OK", *lines, b"Content-Length: 2", b"", b"ok"])
    return Answer(id=f"field-{name}", why=why, steps=(raw,), refused=refused)


def whole(
    name: str, raw: bytes, why: str, *, request: bytes = PLAIN, closes: bool = False, lawless: bool = False
) -> Answer:
    """Make an answer from all of its bytes."""
    return Answer(
        id=name,
        why=why,
        steps=(raw, Close()) if closes else (raw,),
        request=request,
        lawless=lawless,
    )


def refused(name: str, raw: bytes, why: str) -> Answer:
    """Make an answer that becomes a 502."""
    return Answer(id=f"refused-{name}", why=why, steps=(raw,), refused=True)


STATUSES: Final = [
    of_status(b"200 OK", "the usual one"),
    of_status(b"201 Created", "created"),
    of_status(b"202 Accepted", "accepted"),
    of_status(b"203 Non-Authoritative Information", "a proxy's own word, from somewhere behind"),
    of_status(b"207 Multi-Status", "WebDAV"),
    of_status(b"299 Whatever", "a status that nobody registered"),
    of_status(b"300 Multiple Choices", "choices"),
    of_status(b"400 Bad Request", "a backend's own refusal"),
    of_status(b"401 Unauthorized", "a challenge"),
    of_status(b"402 Payment Required", "a price"),
    of_status(b"403 Forbidden", "a refusal"),
    of_status(b"404 Not Found", "nothing there"),
    of_status(b"405 Method Not Allowed", "not so"),
    of_status(b"407 Proxy Authentication Required", "another proxy's challenge"),
    of_status(b"408 Request Timeout", "the backend's clock"),
    of_status(b"409 Conflict", "a conflict"),
    of_status(b"410 Gone", "gone by its own account"),
    of_status(b"413 Content Too Large", "its own limit"),
    of_status(b"418 I'm a teapot", "an apostrophe in a reason"),
    of_status(b"421 Misdirected Request", "the wrong place"),
    of_status(b"422 Unprocessable Content", "a validation"),
    of_status(b"429 Too Many Requests", "its own rate"),
    of_status(b"431 Request Header Fields Too Large", "its own head limit"),
    of_status(b"451 Unavailable For Legal Reasons", "a law"),
    of_status(b"499 Client Closed Request", "a status that our log uses, from a backend"),
    of_status(b"500 Internal Server Error", "its own fault"),
    of_status(b"502 Bad Gateway", "a gateway's fault behind it"),
    of_status(b"503 Service Unavailable", "its own load"),
    of_status(b"511 Network Authentication Required", "a captive portal"),
    of_status(b"599 Whatever", "the last one that the standard knows"),
    of_status(b"600 Whatever", "one beyond it"),
    of_status(b"999 Request denied", "and the last one of three digits"),
    of_status(b"200 ", "an empty reason", "reason-empty"),
    of_status(b"404  two  blanks ", "blanks in a reason are its own", "reason-blanks"),
    of_status(b"200 a\tb", "a tab in a reason", "reason-tab"),
    of_status(b"404 No encontrad\xf3", "8-bit bytes in a reason", "reason-8-bit"),
    of_status("404 Nicht gefunden ☃".encode(), "UTF-8 in a reason", "reason-utf8"),
    of_status(b"500 " + b"x" * 2_000, "a long reason", "reason-long"),
    of_status(b"200 HTTP/1.1 404 Not Found", "a reason like a status line", "reason-like-status"),
]

FIELDS: Final = [
    of_fields("none", [], "nothing is added but a request id"),
    of_fields("case", [b"x-LOWER-upper: A", b'ETAG: W/"v1"', b"content-TYPE: text/plain"], "names keep their case"),
    of_fields("order", [b"B: 1", b"A: 2", b"C: 3", b"A: 4"], "the order of fields"),
    of_fields(
        "set-cookie",
        [b"Set-Cookie: a=1; Path=/", b"set-cookie: b=2; Expires=Sat, 21 Nov 2026 07:00:00 GMT", b"SET-COOKIE: c=3"],
        "several cookies are never joined, whatever their case",
    ),
    of_fields("set-cookie-same", [b"Set-Cookie: a=1", b"Set-Cookie: a=1", b"Set-Cookie: a="], "not even equal ones"),
    of_fields("set-cookie-8-bit", [b"Set-Cookie: a=caf\xe9; Secure"], "nor ones with 8-bit bytes"),
    of_fields("www-authenticate", [b'WWW-Authenticate: Basic realm="a, b"', b"WWW-Authenticate: Bearer"], "challenges"),
    of_fields("link", [b"Link: </a>; rel=next", b"Link: </b>; rel=prev, </c>; rel=last"], "links"),
    of_fields("warning", [b'Warning: 199 - "a"', b'Warning: 299 - "b"'], "warnings"),
    of_fields("vary", [b"Vary: Accept", b"vary: Accept-Encoding"], "Vary twice"),
    of_fields("cache-control", [b"Cache-Control: public", b"Cache-Control: max-age=1"], "Cache-Control twice"),
    of_fields("date", [b"Date: Sat, 21 Nov 2026 07:00:00 GMT"], "a date is not added to"),
    of_fields("date-old", [b"Date: Saturday, 21-Nov-26 07:00:00 GMT"], "nor brought up to date"),
    of_fields("server", [b"Server: gunicorn"], "a server is not replaced"),
    of_fields("powered-by", [b"X-Powered-By: Express"], "nor is anything hidden"),
    of_fields("via", [b"Via: 1.1 varnish"], "the way so far"),
    of_fields("age", [b"Age: 7"], "an age"),
    of_fields("empty", [b"X-Empty:", b"X-Blank:   "], "empty values, blanks included"),
    of_fields("no-blank", [b"X-A:b"], "no blank behind the colon"),
    of_fields("blanks", [b"X-A: \t b \t "], "blanks around a value stay"),
    of_fields("8-bit", [b"X-A: caf\xe9 \x80\xff"], "8-bit bytes"),
    of_fields("utf8", ["Content-Disposition: attachment; filename=ñ.pdf".encode()], "UTF-8"),
    of_fields("visible", [b"X-A: " + bytes(range(0x20, 0x7F))], "every visible character"),
    of_fields("odd-name", [b"!#$%&'*+-.^_`|~9Az: x"], "every character that a name may have"),
    of_fields("underscore", [b"X_Under_Score: 1"], "an underscore"),
    of_fields("long-value", [b"Content-Security-Policy: " + b"p" * 12_000], "a long policy"),
    of_fields("ninety", [b"X-%d: %d" % (n, n) for n in range(90)], "more than 90 fields"),
    of_fields("big-head", [b"X-%d: %b" % (n, b"v" * 6_000) for n in range(10)], "a head of 60 KB"),
    of_fields("ninety-cookies", [b"Set-Cookie: c%d=%d" % (n, n) for n in range(95)], "95 cookies"),
    of_fields("hsts", [b"Strict-Transport-Security: max-age=1; preload"], "a promise about TLS"),
    of_fields("cors", [b"Access-Control-Allow-Origin: *", b"Access-Control-Expose-Headers: X-A, X-B"], "CORS"),
    of_fields("alt-svc", [b'Alt-Svc: h3=":443"'], "another service, as the backend says"),
    of_fields("retry-after", [b"Retry-After: 120"], "patience"),
    of_fields("refresh", [b"Refresh: 5; url=/x"], "an old redirect"),
    of_fields("sourcemap", [b"SourceMap: /x.map", b"Server-Timing: db;dur=53"], "what developers add"),
    of_fields("accel", [b"X-Accel-Redirect: /x", b"X-Sendfile: /y"], "instructions for other proxies are not obeyed"),
    of_fields("request-id", [b"X-Request-Id: theirs"], "a request id of the backend stays the only one"),
    of_fields("request-id-case", [b"x-request-ID: theirs"], "whatever its case"),
    of_fields("gzip", [b"Content-Encoding: gzip"], "a coding is not looked at, even where the body has none"),
    of_fields("coding-unknown", [b"Content-Encoding: x-secret, br"], "nor known"),
    of_fields("type-odd", [b'Content-Type: text/html;charset="x"; a=b'], "a type"),
    of_fields("type-twice", [b"Content-Type: a/b", b"Content-Type: c/d"], "two types"),
    of_fields("keep-alive", [b"Connection: keep-alive", b"Keep-Alive: timeout=5"], "this hop's life"),
    of_fields("connection-close", [b"Connection: close"], "the backend's end is not the client's"),
    of_fields(
        "connection-lists", [b"X-Own: 1", b"Connection: x-own, keep-alive", b"X-Other: 2"], "what it lists stays here"
    ),
    of_fields(
        "connection-two", [b"Connection: X-One", b"X-One: 1", b"connection: X-Two", b"X-Two: 2"], "in several fields"
    ),
    of_fields("connection-protected", [b"Connection: Content-Length"], "but never the framing"),
    of_fields("connection-empty", [b"Connection: ,", b"X-A: 1"], "an empty list"),
    of_fields("proxy", [b"Proxy-Authenticate: Basic", b"Proxy-Connection: close"], "for another proxy"),
    of_fields("te", [b"TE: trailers"], "a request's field in an answer"),
    of_fields("upgrade-offer", [b"Upgrade: h2,h2c", b"Connection: Upgrade"], "an offer of Apache that we cannot keep"),
    of_fields("matapalo", [b"X-Matapalo-Side: new", b"x-matapalo-x: 1"], "nobody speaks in our name"),
    of_fields("matapalo-like", [b"X-Matapalo: 1"], "a name that only begins like ours"),
]

CHUNKED: Final = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
GZIP: Final = bytes.fromhex("1f8b08000000000000034bcc4a04004ab14a1a03000000")

FRAMINGS: Final = [
    whole("length-0", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "no body"),
    whole("length-zeros", b"HTTP/1.1 200 OK\r\nContent-Length: 0002\r\n\r\nok", "a length keeps its zeros"),
    whole("length-case", b"HTTP/1.1 200 OK\r\ncontent-LENGTH:2\r\n\r\nok", "and its spelling"),
    whole("binary", b"HTTP/1.1 200 OK\r\nContent-Length: 256\r\n\r\n" + bytes(range(256)), "every byte"),
    whole(
        "like-answer",
        b"HTTP/1.1 200 OK\r\nContent-Length: 19\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
        "an answer in a body is data",
    ),
    whole("200k", b"HTTP/1.1 200 OK\r\nContent-Length: 200000\r\n\r\n" + b"0123456789" * 20_000, "many reads"),
    whole(
        "gzip",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%b" % (len(GZIP), GZIP),
        "gzip stays gzip",
    ),
    whole(
        "br",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: br\r\nContent-Length: 4\r\n\r\n\x0b\x00\x80x",
        "and Brotli what it is",
    ),
    whole("bom", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n\xef\xbb\xbf{}", "a mark in front"),
    whole("chunked", CHUNKED + b"5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n", "two chunks"),
    whole("chunked-empty", CHUNKED + b"0\r\n\r\n", "no chunk"),
    whole(
        "chunked-case",
        b"HTTP/1.1 200 OK\r\ntransfer-ENCODING: Chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        "the coding has no case",
    ),
    whole("chunked-extension", CHUNKED + b'2;a=b;c="d"\r\nok\r\n0;e\r\n\r\n', "extensions end here"),
    whole("chunked-zeros", CHUNKED + b"0002\r\nok\r\n0000\r\n\r\n", "sizes with zeros in front"),
    whole("chunked-upper", CHUNKED + b"A\r\n0123456789\r\n0\r\n\r\n", "upper-case sizes"),
    whole("chunked-one-byte", CHUNKED + b"1\r\nx\r\n" * 400 + b"0\r\n\r\n", "chunks of one byte"),
    whole("chunked-large", CHUNKED + b"186A0\r\n" + b"z" * 100_000 + b"\r\n0\r\n\r\n", "a large chunk"),
    whole("chunked-binary", CHUNKED + b"100\r\n" + bytes(range(256)) + b"\r\n0\r\n\r\n", "every byte"),
    whole("chunked-like-end", CHUNKED + b"5\r\n0\r\n\r\n\r\n0\r\n\r\n", "an end inside a chunk is data"),
    whole(
        "chunked-gzip",
        CHUNKED[:-2] + b"Content-Encoding: gzip\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(GZIP), GZIP),
        "a coding in chunks",
    ),
    Answer(
        id="chunked-sliced",
        why="chunks cut anywhere",
        steps=(Sliced(data=CHUNKED + b"3\r\nabc\r\n2\r\nde\r\n0\r\nX-Sum: 1\r\n\r\n"),),
    ),
    Answer(
        id="head-sliced",
        why="a head cut anywhere",
        steps=(Sliced(data=b"HTTP/1.1 200 OK\r\nX-A: b\r\nContent-Length: 2\r\n\r\nok"),),
    ),
    Answer(
        id="paused",
        why="a body with a pause",
        steps=(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab", Pause(seconds=0.01), b"cd"),
    ),
    whole(
        "trailers",
        CHUNKED[:-2] + b"Trailer: X-Sum\r\n\r\n2\r\nok\r\n0\r\nX-Sum: 1\r\n\r\n",
        "announced trailers",
        request=TRAILERS,
    ),
    whole("trailers-unwelcome", CHUNKED + b"2\r\nok\r\n0\r\nX-Sum: 1\r\n\r\n", "trailers that nobody asked for"),
    whole(
        "trailers-many",
        CHUNKED + b"0\r\nX-A: 1\r\nx-a: 2\r\nX-B:\r\nGrpc-Status: 0\r\n\r\n",
        "several trailers, in order",
    ),
    whole("trailers-8-bit", CHUNKED + b"0\r\nX-A: caf\xe9\r\n\r\n", "8-bit bytes in a trailer"),
    whole(
        "trailers-head",
        CHUNKED + b"0\r\nSet-Cookie: a=1\r\nCache-Control: x\r\nX-Sum: 1\r\n\r\n",
        "fields that belong into a head",
    ),
    whole(
        "trailers-listed",
        CHUNKED[:-2] + b"Connection: X-Own\r\n\r\n0\r\nX-Own: 1\r\nX-Sum: 1\r\n\r\n",
        "a trailer that Connection lists",
    ),
    whole("trailers-old", CHUNKED + b"2\r\nok\r\n0\r\nX-Sum: 1\r\n\r\n", "an HTTP/1.0 client gets none", request=OLD),
    whole("close", b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nuntil the end", "a body until the end", closes=True),
    whole("close-unsaid", b"HTTP/1.1 200 OK\r\n\r\nuntil the end", "without saying so", closes=True),
    whole("close-empty", b"HTTP/1.1 200 OK\r\n\r\n", "of nothing", closes=True),
    whole("close-length", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", "an end behind a length", closes=True),
    whole("old", b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", "HTTP/1.0 is raised to 1.1", closes=True),
    whole("old-close", b"HTTP/1.0 200 OK\r\nServer: old\r\n\r\nuntil the end", "the way of CGI", closes=True),
    whole(
        "old-keep-alive",
        b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok",
        "an old one that stays",
    ),
    whole("old-404", b"HTTP/1.0 404 Not Found\r\nContent-Length: 0\r\n\r\n", "another status", closes=True),
    whole("to-old", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", "an HTTP/1.0 client", request=OLD),
    whole("to-old-kept", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", "one that stays", request=OLD_KEPT),
    whole("to-old-chunked", CHUNKED + b"2\r\nok\r\n0\r\n\r\n", "no chunks for it", request=OLD),
    whole("to-old-kept-chunked", CHUNKED + b"2\r\nok\r\n0\r\n\r\n", "whatever it asked for", request=OLD_KEPT),
    whole("to-old-close", b"HTTP/1.1 200 OK\r\n\r\nuntil the end", "an end for an end", request=OLD, closes=True),
    whole("to-ending", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", "a client that wants to end", request=ENDING),
    whole("to-ending-chunked", CHUNKED + b"2\r\nok\r\n0\r\n\r\n", "with chunks", request=ENDING),
    whole("with-id", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", "the client's request id", request=WITH_ID),
    whole(
        "with-two-ids",
        b"HTTP/1.1 200 OK\r\nX-Request-Id: theirs\r\nContent-Length: 2\r\n\r\nok",
        "the backend's wins",
        request=WITH_ID,
    ),
]

BODILESS: Final = [
    whole(
        "head-length",
        b'HTTP/1.1 200 OK\r\nContent-Length: 1000\r\nETag: "v"\r\n\r\n',
        "HEAD with a length",
        request=HEAD,
    ),
    whole("head-none", b"HTTP/1.1 200 OK\r\nX-A: 1\r\n\r\n", "HEAD without one", request=HEAD),
    whole(
        "head-chunked",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HEAD of something in chunks",
        request=HEAD,
    ),
    whole("head-404", b"HTTP/1.1 404 Not Found\r\nContent-Length: 9\r\n\r\n", "HEAD of nothing", request=HEAD),
    whole(
        "head-old", b"HTTP/1.0 200 OK\r\nContent-Length: 9\r\n\r\n", "HEAD of an old backend", request=HEAD, closes=True
    ),
    whole("204", b"HTTP/1.1 204 No Content\r\n\r\n", "no content"),
    whole("204-length-0", b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n", "with a length of 0"),
    whole("204-length-5", b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n", "with a length that lies"),
    whole("204-etag", b'HTTP/1.1 204 No Content\r\nETag: "v2"\r\n\r\n', "with an entity tag"),
    whole(
        "204-chunked",
        b"HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n",
        "with a coding and no chunk",
        lawless=True,
    ),
    whole(
        "204-chunked-end",
        b"HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "with the last chunk",
        lawless=True,
    ),
    whole("204-close", b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n", "and the end", closes=True),
    whole("205", b"HTTP/1.1 205 Reset Content\r\nContent-Length: 0\r\n\r\n", "reset"),
    whole(
        "205-chunked", b"HTTP/1.1 205 Reset Content\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "reset in chunks"
    ),
    whole("304", b'HTTP/1.1 304 Not Modified\r\nETag: "v1"\r\n\r\n', "not modified", request=CONDITIONAL),
    whole(
        "304-length",
        b'HTTP/1.1 304 Not Modified\r\nETag: "v1"\r\nContent-Length: 1000\r\n\r\n',
        "with what the length would be",
        request=CONDITIONAL,
    ),
    whole(
        "304-chunked",
        b"HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n",
        "with what the coding would be",
        request=CONDITIONAL,
    ),
    whole("304-unasked", b"HTTP/1.1 304 Not Modified\r\nVary: Accept\r\n\r\n", "without a condition"),
    whole(
        "304-old",
        b"HTTP/1.0 304 Not Modified\r\nExpires: 0\r\n\r\n",
        "from an old backend",
        request=CONDITIONAL,
        closes=True,
    ),
    whole(
        "206",
        b"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0-1/9\r\nContent-Length: 2\r\n\r\nok",
        "a range",
        request=RANGED,
    ),
    whole(
        "206-parts",
        b"HTTP/1.1 206 Partial Content\r\nContent-Type: multipart/byteranges; boundary=x\r\nContent-Length: 83\r\n\r\n"
        b"--x\r\nContent-Range: bytes 0-0/9\r\n\r\na\r\n--x\r\nContent-Range: bytes 2-2/9\r\n\r\nc\r\n--x--\r\n",
        "several ranges",
        request=RANGED,
    ),
    whole(
        "416",
        b"HTTP/1.1 416 Range Not Satisfiable\r\nContent-Range: bytes */9\r\nContent-Length: 0\r\n\r\n",
        "no such range",
        request=RANGED,
    ),
    whole(
        "412",
        b"HTTP/1.1 412 Precondition Failed\r\nContent-Length: 0\r\n\r\n",
        "a condition that failed",
        request=CONDITIONAL,
    ),
    whole(
        "301",
        b"HTTP/1.1 301 Moved Permanently\r\nLocation: http://legacy.internal:8000/a b\r\nContent-Length: 0\r\n\r\n",
        "a redirect to the backend's own name is not rewritten",
    ),
    whole("302", b"HTTP/1.1 302 Found\r\nLocation: ../b?c=d#e\r\nContent-Length: 0\r\n\r\n", "nor a relative one"),
    whole("303", b"HTTP/1.1 303 See Other\r\nLocation: /\r\nContent-Length: 4\r\n\r\nseen", "nor followed"),
    whole(
        "307",
        b"HTTP/1.1 307 Temporary Redirect\r\nLocation: //other.test/\r\nContent-Length: 0\r\n\r\n",
        "wherever it leads",
    ),
    whole(
        "308",
        b"HTTP/1.1 308 Permanent Redirect\r\nLocation: caf\xe9\r\nContent-Length: 0\r\n\r\n",
        "with whatever bytes",
    ),
    whole(
        "201-location",
        b"HTTP/1.1 201 Created\r\nLocation: /orders/7\r\nContent-Location: x\r\nContent-Length: 0\r\n\r\n",
        "a new place",
    ),
    whole(
        "426",
        b"HTTP/1.1 426 Upgrade Required\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nContent-Length: 0\r\n\r\n",
        "which protocol is required",
    ),
    whole(
        "426-two",
        b"HTTP/1.1 426 Upgrade Required\r\nupgrade: TLS/1.0\r\nContent-Length: 2\r\nUpgrade:  IRC/6.9\r\n\r\nno",
        "several of them, not listed",
    ),
    whole("426-none", b"HTTP/1.1 426 Upgrade Required\r\nContent-Length: 0\r\n\r\n", "none"),
    whole(
        "426-close",
        b"HTTP/1.1 426 Upgrade Required\r\nUpgrade: websocket\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
        "with the end",
        closes=True,
    ),
    whole(
        "403-upgrade", b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno", "a refused upgrade", request=UPGRADE
    ),
    whole("200-upgrade", CHUNKED + b"2\r\nok\r\n0\r\n\r\n", "an upgrade that nobody took up", request=UPGRADE),
]

FINAL: Final = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
HINTS: Final = b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\nLink: </b.js>; rel=preload\r\n\r\n"

INTERIM: Final = [
    whole("100", b"HTTP/1.1 100 Continue\r\n\r\n" + FINAL, "asked for", request=EXPECTING),
    whole("100-unasked", b"HTTP/1.1 100 Continue\r\n\r\n" + FINAL, "not asked for"),
    whole(
        "100-fields",
        b"HTTP/1.1 100 Go on\r\nX-A: 1\r\nKeep-Alive: x\r\nX-B:2\r\n\r\n" + FINAL,
        "with fields",
        request=EXPECTING,
    ),
    whole("102", b"HTTP/1.1 102 Processing\r\n\r\n" + FINAL, "WebDAV at work"),
    whole("103", HINTS + FINAL, "hints"),
    whole("103-twice", HINTS + HINTS + FINAL, "more hints"),
    whole(
        "1xx-several",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n" + HINTS + FINAL,
        "one after the other",
        request=EXPECTING,
    ),
    whole("1xx-unknown", b"HTTP/1.1 199 Whatever\r\nX-A: 1\r\n\r\n" + FINAL, "one that nobody knows"),
    whole("1xx-204", HINTS + b"HTTP/1.1 204 No Content\r\n\r\n", "in front of no content"),
    whole("1xx-chunked", HINTS + CHUNKED + b"2\r\nok\r\n0\r\n\r\n", "in front of chunks"),
    whole("1xx-head", HINTS + b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", "in answer to HEAD", request=HEAD),
    whole("1xx-to-old", HINTS + FINAL, "HTTP/1.0 clients get none", request=OLD),
    whole("1xx-ten", b"HTTP/1.1 102 Processing\r\n\r\n" * 10 + FINAL, "ten of them"),
    whole(
        "417",
        b"HTTP/1.1 417 Expectation Failed\r\nContent-Length: 0\r\n\r\n",
        "an expectation refused",
        request=EXPECTING,
    ),
    Answer(id="1xx-sliced", why="cut anywhere", steps=(Sliced(data=HINTS + FINAL),)),
    Answer(id="1xx-paused", why="well before the answer", steps=(HINTS, Pause(seconds=0.01), FINAL)),
]

REFUSED: Final = [
    refused(
        "two-lengths",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok",
        "two lengths, even equal ones",
    ),
    refused(
        "both-framings",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "two framings",
    ),
    refused(
        "204-both",
        b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        "nor of no content",
    ),
    refused(
        "codings",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        "a coding that we do not know",
    ),
    refused("fold", b"HTTP/1.1 200 OK\r\nX-A: a\r\n b\r\nContent-Length: 0\r\n\r\n", "a folded line"),
    refused("nul", b"HTTP/1.1 200 OK\r\nX-A: a\0b\r\nContent-Length: 0\r\n\r\n", "NUL"),
    refused("delete", b"HTTP/1.1 200 OK\r\nX-A: a\x7fb\r\nContent-Length: 0\r\n\r\n", "DEL"),
    refused("bare-cr", b"HTTP/1.1 200 OK\r\nX-A: a\rb\r\nContent-Length: 0\r\n\r\n", "a bare CR"),
    refused("many-fields", b"HTTP/1.1 200 OK\r\n" + b"X-A: 1\r\n" * 101 + b"\r\n", "more than 100 fields"),
    refused(
        "long-line",
        b"HTTP/1.1 200 OK\r\nX-A: " + b"v" * 17_000 + b"\r\nContent-Length: 0\r\n\r\n",
        "a line of more than 16 KiB",
    ),
    refused(
        "1xx-length",
        b"HTTP/1.1 103 Early Hints\r\nContent-Length: 0\r\n\r\n" + FINAL,
        "an interim answer with a framing",
    ),
    refused("status-99", b"HTTP/1.1 099 Whatever\r\nContent-Length: 0\r\n\r\n", "a status below 100"),
    refused("status-1000", b"HTTP/1.1 1000 Whatever\r\nContent-Length: 0\r\n\r\n", "one of four digits"),
    refused(
        "101",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
        "a switch that nobody asked for",
    ),
]

CHAPTERS: Final = {
    "statuses": STATUSES,
    "fields": FIELDS,
    "framings": FRAMINGS,
    "bodiless": BODILESS,
    "interim": INTERIM,
    "refused": REFUSED,
}
ANSWERS: Final = [answer for chapter in CHAPTERS.values() for answer in chapter]
