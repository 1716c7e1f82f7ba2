"""The two backends of every measurement: nginx with one worker each and constant answers.

They must cost little and the same for every target, so that what differs is
the proxy. Answers of 1 KB come from the configuration, larger ones from a file
in memory. Each backend names itself in ``X-Backend`` and counts its requests
(``stub_status``), which shows how many copies a mirror really sent.
"""

from __future__ import annotations

import gzip
import json
import os
import signal
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from bench.parts import find
from bench.process import BenchError, Program, accepts, free_port, wait_until


def _orders(count: int) -> list[dict[str, object]]:
    return [
        {
            "id": 1000 + number,
            "sku": f"fig-{number % 97:04d}",
            "title": f"Strangler fig no. {number}, potted",
            "price": 19.5 + number % 40,
            "in_stock": number % 3 != 0,
            "note": None,
            "tags": ["garden", "tropical"],
        }
        for number in range(count)
    ]


SMALL = json.dumps({"items": _orders(7), "next": "/api/orders?page=2&size=7"}).encode()
"""About 1 KB, with the separators of Python's json."""

SMALL_UNEQUAL = json.dumps(
    {"items": [{**order, "price": f"{order['price']:.2f}"} for order in _orders(7)], "next": None},
    separators=(",", ":"),
).encode()
"""The same as another service writes it: no blanks, prices as text, one member null."""

LARGE = json.dumps({"items": _orders(660)}).encode()
"""About 100 KB."""

ZIPPED = gzip.compress(LARGE, mtime=0)
"""The large body in gzip, as it travels; nobody undoes it on the way."""

BODIES = {"1k": SMALL, "100k": LARGE, "gzip": ZIPPED}


@dataclass(frozen=True, slots=True, kw_only=True)
class Upstream:
    """Hold one running backend."""

    name: str
    port: int
    program: Program

    @property
    def address(self) -> str:
        """Return host and port as configurations write them."""
        return f"127.0.0.1:{self.port}"

    def requests(self) -> int:
        """Return how many requests it has answered, without the question itself."""
        with urllib.request.urlopen(f"http://{self.address}/-/status", timeout=10) as answer:
            lines = answer.read().decode().splitlines()
        return int(lines[2].split()[2])

    def freeze(self) -> None:
        """Make it hang: connections are still accepted by the kernel, nothing is answered."""
        for pid in self.program.tree():
            os.kill(pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it answer again."""
        for pid in self.program.tree():
            os.kill(pid, signal.SIGCONT)


def _quoted(body: bytes) -> str:
    text = body.decode()
    # nginx bounds a parameter at 4,096 bytes and has no escape for a dollar sign.
    if "'" in text or "$" in text or "\\" in text or len(text) > 4000:
        raise BenchError("nginx cannot hold this body in its configuration")
    return f"'{text}'"


def start(name: str, folder: Path, cores: tuple[int, ...]) -> Upstream:
    """Start the backend called *name* (``legacy`` or ``new``) in a folder of its own.

    Shape: ``/u/…`` is 1 KB that differs between the two, ``/l/…`` 100 KB, ``/z/…`` gzip,
    anything else the equal 1 KB.
    Raises: BenchError without nginx.
    """
    nginx = find("nginx")
    if nginx is None:
        raise BenchError("the backends need nginx, which is not on PATH: apt install nginx-light")
    folder.mkdir(parents=True)
    (folder / "large.json").write_bytes(LARGE)
    (folder / "large.gz").write_bytes(ZIPPED)
    port = free_port()
    unequal = SMALL if name == "legacy" else SMALL_UNEQUAL
    configuration = folder / "nginx.conf"
    configuration.write_text(
        f"""daemon off; worker_processes 1; pid {folder}/pid; error_log {folder}/error.log;
events {{ worker_connections 4096; }}
http {{
  access_log off; client_body_temp_path {folder}; proxy_temp_path {folder}; fastcgi_temp_path {folder};
  uwsgi_temp_path {folder}; scgi_temp_path {folder};
  keepalive_requests 1000000000; keepalive_timeout 1h; tcp_nodelay on; open_file_cache max=10 inactive=1h;
  open_file_cache_valid 1h; sendfile on; default_type application/json; etag off;
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    add_header X-Backend {name};
    location = /-/status {{ stub_status; }}
    location /u/ {{ return 200 {_quoted(unequal)}; }}
    location /l/ {{ root {folder}; try_files /large.json =404; }}
    location /z/ {{ root {folder}; try_files /large.gz =404; add_header Content-Encoding gzip;
                    add_header X-Backend {name}; }}
    location / {{ return 200 {_quoted(SMALL)}; }}
  }}
}}
"""
    )
    program = Program([nginx, "-p", str(folder), "-c", str(configuration)], log=folder / "output.log", cores=cores)
    wait_until(lambda: accepts(port) or not program.is_running(), f"start of the {name} backend")
    program.require_running()
    return Upstream(name=name, port=port, program=program)
