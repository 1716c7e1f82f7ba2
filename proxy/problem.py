"""Answer in Matapalo's own name: RFC 9457 problems on the traffic port."""

from __future__ import annotations

import json
from email.utils import formatdate
from typing import Final

TITLES: Final = {
    400: "Bad Request",
    404: "Not Found",
    405: "Method Not Allowed",
    408: "Request Timeout",
    410: "Gone",
    413: "Content Too Large",
    414: "URI Too Long",
    417: "Expectation Failed",
    431: "Request Header Fields Too Large",
    500: "Internal Server Error",
    501: "Not Implemented",
    502: "Bad Gateway",
    503: "Service Unavailable",
    504: "Gateway Timeout",
    505: "HTTP Version Not Supported",
    508: "Loop Detected",
}

DETAILS: Final = {
    "ambiguous_target": "The request target has several readings, and they lead to different services.",
    "chunk_overhead": "The body's chunks cost many times more than what they carry.",
    "connections": "This proxy has no room for another connection. Try again later.",
    "content_length": "Content-Length must be one run of digits.",
    "descriptors": "This proxy has no room for another connection. Try again later.",
    "expectation": "The only expectation that is understood is 100-continue.",
    "framing": "The message's length is stated in two ways.",
    "gone": "This endpoint was retired and has no successor.",
    "grammar": "The request is not well-formed HTTP/1.1.",
    "head_too_large": "The request head is larger than is accepted here.",
    "head_timeout": "The request head did not arrive in time.",
    "body_timeout": "The request body did not arrive in time.",
    "host": "Exactly one valid Host field is required.",
    "http_version": "Only HTTP/1.1 and HTTP/1.0 are spoken here.",
    "lookalike": "A field name stands here with an underscore in the place of a hyphen.",
    "internal": "The request met a fault in the proxy; it was not sent again.",
    "loop": "This request has passed this proxy before, or too many others: the services lead in a circle.",
    "method": "This method cannot be forwarded.",
    "target": "The request target must be a path, or a URL of the named host.",
    "target_too_long": "The request target is longer than is accepted here.",
    "tls": "This address speaks clear text; use http here, or the address that speaks TLS.",
    "too_large": "The request body is larger than this route accepts.",
    "too_many_fields": "The request head has more fields than are accepted here.",
    "trailer": "A trailer section may not hold fields that frame or route a message, or say who sends it.",
    "transfer_coding": "The only transfer coding that is understood is chunked.",
    "undeclared": "No route is declared for this path.",
    "unreachable": "The service behind this proxy could not be reached.",
    "broken_answer": "The service behind this proxy did not send a usable answer.",
    "overloaded": "The service behind this proxy has no free connection.",
    "timeout": "The service behind this proxy did not answer in time.",
    "no_backend": "No service is configured to answer this path.",
}


def problem_bytes(status: int, reason: str, request_id: bytes, *, close: bool, head_only: bool = False) -> bytes:
    """Write a whole answer: head and problem body.

    Shape: *reason* is a key of :data:`DETAILS`; the body names it, and the request id, and nothing of the inside.
    """
    title = TITLES.get(status, "Error")
    body = (
        json.dumps(
            {
                "type": "about:blank",
                "title": title,
                "status": status,
                "detail": DETAILS.get(reason, title),
                "reason": reason,
                "request_id": request_id.decode("latin-1"),
            }
        ).encode()
        + b"\n"
    )
    head = (
        f"HTTP/1.1 {status} {title}\r\n"
        "Content-Type: application/problem+json\r\n"
        f"Content-Length: {len(body)}\r\n"
        f"Date: {formatdate(usegmt=True)}\r\n"
        "Cache-Control: no-store\r\n"
    ).encode()
    head += b"X-Request-Id: " + request_id + b"\r\n"
    if status == 405:
        head += b"Allow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS\r\n"
    if status == 503:
        head += b"Retry-After: 1\r\n"
    if close:
        head += b"Connection: close\r\n"
    return head + b"\r\n" + (b"" if head_only else body)
