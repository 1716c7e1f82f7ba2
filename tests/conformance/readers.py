"""Servers of other people that say how many requests they read and with which body.

Runs under a Python of its own that has them installed, so nothing of this project is imported here.
"""

from __future__ import annotations

import asyncio
import hashlib
import importlib
import sys
from collections.abc import Callable, Iterable
from typing import Any


async def asgi(scope: dict[str, Any], receive: Callable[[], Any], send: Callable[[dict[str, Any]], Any]) -> None:
    """Answer with the digest of the body (uvicorn, hypercorn)."""
    if scope["type"] != "http":
        return
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    digest = hashlib.sha256(body).hexdigest().encode()
    headers = [(b"content-type", b"text/plain"), (b"content-length", b"64")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": digest})


def wsgi(environ: dict[str, Any], start_response: Callable[[str, list[tuple[str, str]]], object]) -> Iterable[bytes]:
    """Answer with the digest of the body (gunicorn, waitress)."""
    digest = hashlib.sha256(environ["wsgi.input"].read()).hexdigest().encode()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "64")])
    return [digest]


async def _aiohttp(port: int) -> None:
    # By name: only the other Python has it.
    web = importlib.import_module("aiohttp.web")

    async def handle(request: Any) -> Any:
        return web.Response(text=hashlib.sha256(await request.read()).hexdigest())

    runner = web.ServerRunner(web.Server(handle))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_aiohttp(int(sys.argv[1])))
