"""The written forms of addresses, paths, headers and the like, read from text.

Every function takes one text and gives its value, or raises UnfitError with
what was expected and a hint. The patterns are shared with the JSON Schema.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from datetime import date
from typing import Final
from urllib.parse import urlsplit

from config.errors import UnfitError
from config.spec import AddressSpec

NAME: Final = "a name of a-z, 0-9, _, . and -, at most 100 long"
NAME_PATTERN: Final = r"^[a-z0-9][a-z0-9_.-]{0,99}$"
ADDRESS: Final = "an IP address and a port, such as 127.0.0.1:8080 or [::1]:8080"
ADDRESS_PATTERN: Final = r"^(\[[0-9A-Fa-f:.]+\]|[0-9.]+):[0-9]{1,5}$"
NETWORK: Final = "a network such as 10.0.0.0/8"
DATABASE: Final = "sqlite, postgresql://USER@HOST/NAME, or where such a URL is found: env:NAME or file:PATH"
DATABASE_PATTERN: Final = r"^(sqlite|postgres(ql)?://\S+|env:[A-Za-z_][A-Za-z0-9_]*|file:.+)$"
URL: Final = "a URL such as http://shop:8080"
URL_PATTERN: Final = r"^https?://[^/?#@]+(/[^?#]*)?$"
TEMPLATE: Final = "a path such as /orders, /orders/{id:int} or /api/**"
TEMPLATE_PATTERN: Final = r"^/[^?#\s]*$"
PREFIX: Final = "a path such as /api, without a slash at its end"
PREFIX_PATTERN: Final = r"^(/[A-Za-z0-9._~!$&'()*+,;=:@%-]+)+$"
METHOD: Final = "a method in capitals, such as GET"
METHOD_PATTERN: Final = r"^[A-Z][A-Z0-9_-]{0,30}$"
HEADER_PATTERN: Final = r"^[A-Za-z0-9!#$%&'*+.^_`|~-]+$"
HEADER: Final = "a header name such as X-Env"
COOKIE: Final = "a cookie name"
STICKY: Final = "header:NAME, cookie:NAME, query:NAME, issued_cookie or ip"
STICKY_PATTERN: Final = r"^((header|cookie|query):.+|issued_cookie|ip)$"
HOST: Final = "a host name without port, such as shop.example.com"
HOST_PATTERN: Final = (
    r"^(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?(\.[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?)*)$"
)
HOSTS: Final = "a host name without port, such as matapalo.example.com or *.example.com"
HOST_HEADER: Final = "preserve, backend, or a host such as shop.example.com"
FAILURE: Final = "connect, timeout, or a status from 400 to 599"
FACTORY_PATTERN: Final = r"^(flagd|[A-Za-z_][A-Za-z0-9_.]*:[A-Za-z_][A-Za-z0-9_]*)$"
FACTORY: Final = "flagd, or module:factory"
ARGUMENT_PATTERN: Final = "^[A-Za-z_][A-Za-z0-9_]*$"
ARGUMENT: Final = "the name of an argument"
MAX_SHORT_TEXT: Final = 200
SHORT_TEXT: Final = f"a text of at most {MAX_SHORT_TEXT} characters on one line"
DAY: Final = "a day such as 2027-01-31"
DAY_PATTERN: Final = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$"
HOOK: Final = "a URL such as https://ci.example.com/hook"
HOOK_PATTERN: Final = r"^https?://[^/?#@]+(/[^#]*)?$"
RATIO: Final = "a number from 0.1 to 100, such as 1.1"
MIN_RATIO: Final = 0.1
MAX_RATIO: Final = 100.0
APART: Final = "a number such as 0.01, or a share of legacy's such as 1%"
APART_PATTERN: Final = r"^(0|[1-9][0-9]{0,14})(\.[0-9]{1,15})? ?%?$"
STEPS: Final = "a whole number from 1 to 1000000000"

CONNECTION_HEADERS: Final = frozenset(
    {
        "connection",
        "content-length",
        "host",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
"""Headers of one connection (RFC 9110 section 7.6.1) and of its framing: Matapalo writes them itself."""

_TOKEN: Final = re.compile(HEADER_PATTERN)
_HOST: Final = re.compile(HOST_PATTERN)
_PARAMETER: Final = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)(?::([^{}]*))?\}")
# Letters beyond ASCII are matched by their UTF-8 escapes. Left out is what backends read differently: ";", dot
# segments, and escapes of "%", "/", "\\", ".", ";" and NUL (rules.path refuses them too).
_LITERAL: Final = re.compile(
    r"(?!\.\.?(?:%|[^\x00-\x7f]))"
    r"(?:[A-Za-z0-9._~!$&'()+,=:@-]|[^\x00-\xa0\u2028\u2029\ud800-\udfff]|%(?!2[5eEfF]|5[cC]|3[bB]|00)[0-9A-Fa-f]{2})+"
)
_TEXT: Final = re.compile(r"[^\x00-\x1f\x7f-\x9f\ud800-\udfff]*")
_PREFIX: Final = re.compile(PREFIX_PATTERN)
_APART: Final = re.compile(APART_PATTERN, re.ASCII)
PARAMETER_TYPES: Final = ("int", "uuid", "slug")


@dataclass(frozen=True, slots=True, kw_only=True)
class UrlParts:
    """Hold the parts of a backend's URL."""

    scheme: str
    host: str
    """Lower case, without brackets."""
    port: int
    path: str
    """Without a slash at the end; empty for the root."""


def text(written: str) -> str:
    """Take any text on one line.

    Raises: UnfitError for an empty one and for control characters.
    """
    if not written or not _TEXT.fullmatch(written):
        raise UnfitError(written, "a text on one line", "no control characters" if written else "")
    return written


def short_text(written: str) -> str:
    """Take a text that a list shows on one line.

    Raises: UnfitError as :func:`text`, and for a long one.
    """
    if len(text(written)) > MAX_SHORT_TEXT or not written.strip():
        raise UnfitError(f"{written[:40]}...", SHORT_TEXT, "say it in a line")
    return written


def name(written: str) -> str:
    """Take the name of a route, backend, token or journey.

    Raises: UnfitError for anything that a metric label, a URL or a shell would have to quote.
    """
    if not re.fullmatch(NAME_PATTERN, written) or written.endswith("\n"):
        lower = re.sub(r"[^a-z0-9_.-]+", "-", written.lower()).strip("-_.")[:100]
        raise UnfitError(written, NAME, f"for example {lower}" if lower else "")
    if written == "none":
        raise UnfitError(written, NAME, "none is the word for no backend")
    return written


def address(written: str) -> AddressSpec:
    """Read ``127.0.0.1:8080`` or ``[::1]:8080``.

    Raises: UnfitError for names: what is listened on must not depend on a resolver.
    """
    host, colon, port = written.rpartition(":")
    hint = ""
    if not colon or not host:
        number = port if port.isascii() and port.isdigit() else "8080"
        hint = f"127.0.0.1:{number} is this machine only, 0.0.0.0:{number} every interface"
    elif host == "localhost":
        hint = f"write 127.0.0.1:{port}"
    elif ":" in host and not host.startswith("["):
        hint = "put an IPv6 address in brackets"
    if hint or not (port.isascii() and port.isdigit() and len(port) <= 5 and int(port) <= 65_535):
        raise UnfitError(written, ADDRESS, hint or "a port is 0 to 65535")
    try:
        literal = str(ipaddress.ip_address(host[1:-1] if host.startswith("[") and host.endswith("]") else host))
    except ValueError as error:
        raise UnfitError(written, ADDRESS) from error
    return AddressSpec(host=literal, port=int(port))


def format_address(value: AddressSpec) -> str:
    """Write an address the way :func:`address` reads it."""
    return f"[{value.host}]:{value.port}" if ":" in value.host else f"{value.host}:{value.port}"


def network(written: str) -> str:
    """Read ``10.0.0.0/8``; a bare address is a network of one.

    Raises: UnfitError, with the network meant where host bits are set.
    """
    try:
        return str(ipaddress.ip_network(written))
    except ValueError:
        try:
            hint = f"write {ipaddress.ip_network(written, strict=False)}"
        except ValueError:
            hint = ""
        raise UnfitError(written, NETWORK, hint) from None


def database(written: str) -> str:
    """Check where flags, audit and evidence are kept; what the URL says is read when it is used.

    Raises: UnfitError that does not repeat the text, because it may hold a password.
    """
    if not re.fullmatch(DATABASE_PATTERN, written) or not written.isprintable():
        raise UnfitError("a text", DATABASE)
    return written


def url(written: str) -> UrlParts:
    """Read the URL of a backend.

    Raises: UnfitError for credentials, a query or a fragment, which have no place there. It repeats nothing that may
    be a password, and its hints repeat nothing at all.
    """
    # Any @, also behind the authority: a / or # in a password moves the borders.
    told = "a URL with credentials" if "@" in written else written
    try:
        parts = urlsplit(written)
        port = parts.port
    except ValueError:  # its text has parts of ours
        raise UnfitError(told, URL, "the host is a name or an IP address, and a port is 1 to 65535") from None
    host = parts.hostname or ""
    hint = ""
    if parts.scheme not in ("http", "https"):
        hint = "it begins with http:// or https://"
    elif parts.username is not None or parts.password is not None:
        hint = "remove user and password; headers.set can send a header"
    elif "?" in written or "#" in written:
        hint = "without a query or fragment"
    elif not _is_host(f"[{host}]" if ":" in host else host):
        hint = "the host is a name or an IP address"
    elif port == 0 or parts.netloc.endswith(":"):
        hint = "a port is 1 to 65535"
    elif parts.path.rstrip("/") and not _PREFIX.fullmatch(parts.path.rstrip("/")):
        hint = "a path without empty segments and spaces"
    if hint:
        raise UnfitError(told, URL, hint)
    return UrlParts(
        scheme=parts.scheme,
        host=host,
        port=port or (443 if parts.scheme == "https" else 80),
        path=parts.path.rstrip("/"),
    )


def host(written: str) -> str:
    """Read a host name without port, in lower case.

    Raises: UnfitError for a port or a wildcard.
    """
    if not _is_host(written):
        hint = "without the port" if ":" in written else "the whole name, without wildcards" if "*" in written else ""
        raise UnfitError(written, HOST, hint)
    return written.lower()


def hosts(written: str) -> str:
    """Read a host name, in lower case, or with ``*.`` in front every name below it.

    Raises: UnfitError for a port or another wildcard.
    """
    if not _is_host(written.removeprefix("*.")):
        raise UnfitError(written, HOSTS, "without the port" if ":" in written else "")
    return written.lower()


def host_header(written: str) -> str:
    """Read what a backend gets as Host: ``preserve``, ``backend`` or a literal, which may have a port."""
    bare = re.sub(r":[0-9]{1,5}$", "", written)
    if not _is_host(bare):
        raise UnfitError(written, HOST_HEADER)
    return written


def _is_host(written: str) -> bool:
    """Tell whether *written* is a name or an address that a Host header may carry."""
    if len(written) > 253 or not _HOST.fullmatch(written):
        return False
    if written.startswith("["):
        try:
            ipaddress.IPv6Address(written[1:-1])
        except ValueError:
            return False
    return True


def template(written: str) -> str:
    """Check a path template, segment by segment.

    Raises: UnfitError naming the segment that is wrong.
    """
    if not written.startswith("/"):
        raise UnfitError(written, TEMPLATE, f"write /{written}" if _LITERAL.fullmatch(written) else "it starts with /")
    segments = written[1:].split("/")
    names: list[str] = []
    for index, segment in enumerate(segments):
        last = index == len(segments) - 1
        hint = _segment_hint(segment, last=last, names=names)
        if hint:
            raise UnfitError(written, TEMPLATE, hint)
    return written


def _segment_hint(segment: str, *, last: bool, names: list[str]) -> str:
    """Say what is wrong with one segment, and remember its parameter in *names*."""
    found = _PARAMETER.fullmatch(segment)
    if found:
        if found[1] in names:
            return f"{{{found[1]}}} stands there twice"
        names.append(found[1])
        if found[2] is not None and found[2] not in PARAMETER_TYPES:
            return f"{found[2]!r} is not a type; the types are {', '.join(PARAMETER_TYPES)}"
        return ""
    if segment == "**":
        return "" if last else "** stands only at the end"
    if not segment:
        return "" if last else "without empty segments"
    if segment in (".", ".."):
        return "without . and .. segments"
    if _LITERAL.fullmatch(segment):
        return ""
    if "{" in segment or "}" in segment:
        return f"a parameter is a whole segment, {{name}} or {{name:int}}, not {segment!r}"
    if "*" in segment:
        return f"the only wildcards are a whole segment {{name}} and /** at the end, not {segment!r}"
    if "?" in segment or "#" in segment:
        return "a query is matched with query:, and a fragment never reaches a server"
    if "%" in segment:
        return f"{segment!r} has an escape that is broken or that backends read differently; match it with {{name}}"
    return f"{segment!r} has a character that backends read differently; match it with {{name}}"


def prefix(written: str) -> str:
    """Read the path that is taken off or put in front on the way to a backend."""
    if not _PREFIX.fullmatch(written) or written.endswith("\n"):
        stripped = written.rstrip("/")
        raise UnfitError(written, PREFIX, f"write {stripped}" if _PREFIX.fullmatch(stripped) else "")
    return written


def method(written: str) -> str:
    """Read one HTTP method.

    Raises: UnfitError for small letters: methods are case-sensitive (RFC 9110 section 9.1).
    """
    if not re.fullmatch(METHOD_PATTERN, written) or written.endswith("\n"):
        capitals = written.upper()
        raise UnfitError(written, METHOD, f"write {capitals}" if re.fullmatch(METHOD_PATTERN, capitals) else "")
    if written == "CONNECT":
        raise UnfitError(written, METHOD, "CONNECT has no path and is never routed")
    return written


def header(written: str) -> str:
    """Read a header name, in lower case."""
    if not _TOKEN.fullmatch(written) or written.endswith("\n"):
        raise UnfitError(written, HEADER, "letters, digits and -")
    return written.lower()


def cookie(written: str) -> str:
    """Read a cookie name; its case counts."""
    if not _TOKEN.fullmatch(written) or written.endswith("\n"):
        raise UnfitError(written, COOKIE, "letters, digits and -")
    return written


def own_header(written: str) -> str:
    """Read the name of a header that a backend's rules may set or remove, as written.

    Raises: UnfitError for headers of one connection, for framing and for Matapalo's own.
    """
    lower = header(written)
    if lower == "host":
        raise UnfitError(written, HEADER, "say host: on the backend")
    if lower in CONNECTION_HEADERS:
        raise UnfitError(written, HEADER, "that one belongs to the connection, and Matapalo writes it")
    if lower.startswith("x-matapalo-"):
        raise UnfitError(written, HEADER, "that one is Matapalo's own")
    return written


def header_value(written: str) -> str:
    """Read a header value: visible ASCII, blanks inside."""
    if not re.fullmatch(r"[\x21-\x7e]([\x20-\x7e\t]*[\x21-\x7e])?", written):
        raise UnfitError(written, "a header value of visible ASCII", "without line breaks and blanks around it")
    return written


def sticky(written: str) -> str:
    """Read one source of the sticky key."""
    kind, colon, rest = written.partition(":")
    if not colon and kind in ("issued_cookie", "ip"):
        return written
    if kind == "header" and _TOKEN.fullmatch(rest):
        return f"header:{rest.lower()}"
    if kind == "cookie" and _TOKEN.fullmatch(rest) and not rest.endswith("\n"):
        return written
    if kind == "query" and rest and _TEXT.fullmatch(rest):
        return written
    hint = f"write {kind}:NAME" if kind in ("header", "cookie", "query") else ""
    if not colon and not hint and _TOKEN.fullmatch(kind):
        hint = f"for a header, write header:{kind}"
    raise UnfitError(written, STICKY, hint)


def failure(written: str) -> str | int:
    """Read one failure that fallback reacts to."""
    if written in ("connect", "timeout"):
        return written
    if written.isascii() and written.isdigit() and len(written) == 3 and 400 <= int(written) <= 599:
        return int(written)
    raise UnfitError(written, FAILURE)


def day(written: str) -> str:
    """Read ``2027-01-31``.

    Raises: UnfitError for another form, and for a day that no calendar has.
    """
    try:
        if re.fullmatch(DAY_PATTERN, written, re.ASCII) and date.fromisoformat(written):
            return written.rstrip("\n")
    except ValueError:
        raise UnfitError(written, DAY, "no calendar has that day") from None
    raise UnfitError(written, DAY, "the year, the month and the day, with two digits each")


def apart(written: str) -> str:
    """Read how far two numbers may be apart: ``0.01``, or ``1%`` of the first.

    Raises: UnfitError for nothing at all, and for more than everything.
    """
    bare = written.removesuffix("%").rstrip(" ")
    if not _APART.fullmatch(written) or written.endswith("\n") or not bare.strip("0."):
        raise UnfitError(written, APART, "more than 0, without a sign or an exponent")
    if written.endswith("%") and float(bare) > 100:
        raise UnfitError(written, APART, "at most 100%")
    return f"{bare}%" if written.endswith("%") else bare


def hook(written: str) -> str:
    """Check the URL of a webhook.

    Raises: UnfitError that does not repeat the text: a path of such a URL is often a secret.
    """
    parts = urlsplit(written) if written.isascii() and written.isprintable() and " " not in written else None
    try:
        is_whole = parts is not None and parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_whole = False
    if parts is None or not is_whole or "@" in parts.netloc or parts.fragment:
        raise UnfitError("a text", HOOK, "no user, no password, no fragment")
    return written


def ratio(written: str) -> float:
    """Read ``1.1``: how many times as much.

    Raises: UnfitError for what is not written as a plain decimal number, and out of bounds.
    """
    if not re.fullmatch(r"[0-9]{1,3}(\.[0-9]{1,9})?", written, re.ASCII) or written.endswith("\n"):
        raise UnfitError(written, RATIO)
    if not MIN_RATIO <= float(written) <= MAX_RATIO:
        raise UnfitError(written, RATIO)
    return float(written)


def steps(written: str) -> str:
    """Read how far two counters may be apart."""
    if not re.fullmatch(r"[1-9][0-9]{0,9}", written, re.ASCII) or int(written) > 10**9:
        raise UnfitError(written, STEPS)
    return written.rstrip("\n")


def factory(written: str) -> str:
    """Read who makes an OpenFeature provider: ``flagd``, or ``module:factory``.

    Raises: UnfitError for anything else; whether it can be imported shows only where it is used.
    """
    if not re.fullmatch(FACTORY_PATTERN, written, re.ASCII) or written.endswith("\n"):
        raise UnfitError(written, FACTORY, "for example my_flags.provider:make")
    return written


def argument(written: str) -> str:
    """Read the name of a keyword argument."""
    if not re.fullmatch(ARGUMENT_PATTERN, written, re.ASCII) or written.endswith("\n"):
        raise UnfitError(written, ARGUMENT, "letters, digits and _")
    return written
