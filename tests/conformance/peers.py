"""The peers of a comparison: nginx, HAProxy, Envoy, Traefik and Caddy, each with the least that makes it a proxy.

One listener, one backend, keep-alive to it, defaults for everything else: what a team has on its first day. nginx
gets the three lines that its own documentation gives for a keep-alive upstream.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.parts import ROOT
from bench.process import Program, free_port

START_S = 20.0

Command = tuple[str, ...]
Address = tuple[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """Describe one program of one version."""

    name: str
    program: str
    version: str

    @property
    def title(self) -> str:
        """Name it as a column of the table."""
        return f"{self.name} {self.version}"


def _nginx(program: str, folder: Path, port: int, backend: str) -> Command:
    temporary = " ".join(f"{kind}_temp_path {folder};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    # Started by root, its worker would be nobody, who may not write bodies into our folder.
    user = "" if os.geteuid() else "user root; "
    (folder / "nginx.conf").write_text(
        f"""{user}daemon off; worker_processes 1; pid {folder}/pid; error_log {folder}/error.log;
events {{ }}
http {{
  access_log off; {temporary}
  upstream app {{ server {backend}; keepalive 32; }}
  server {{
    listen 127.0.0.1:{port} backlog=1024;
    location / {{
      proxy_pass http://app; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host $host;
    }}
  }}
}}
"""
    )
    return (program, "-p", str(folder), "-c", str(folder / "nginx.conf"))


def _haproxy(program: str, folder: Path, port: int, backend: str) -> Command:
    (folder / "haproxy.cfg").write_text(
        f"""global
  nbthread 1
defaults
  mode http
  timeout connect 5s
  timeout client 30s
  timeout server 30s
frontend front
  bind 127.0.0.1:{port}
  default_backend app
backend app
  server one {backend}
"""
    )
    return (program, "-db", "-f", str(folder / "haproxy.cfg"))


def _envoy(program: str, folder: Path, port: int, backend: str) -> Command:
    def at(host: str, number: int) -> dict[str, object]:
        return {"socket_address": {"address": host, "port_value": number}}

    kinds = "type.googleapis.com/envoy.extensions.filters"
    host, _, number = backend.rpartition(":")
    manager = {
        "@type": f"{kinds}.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "front",
        "codec_type": "HTTP1",
        "use_remote_address": True,
        "route_config": {
            "virtual_hosts": [
                {"name": "all", "domains": ["*"], "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "app"}}]}
            ]
        },
        "http_filters": [
            {"name": "envoy.filters.http.router", "typed_config": {"@type": f"{kinds}.http.router.v3.Router"}}
        ],
    }
    filters = [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]
    endpoint = {"endpoint": {"address": at(host, int(number))}}
    cluster = {
        "name": "app",
        "type": "STATIC",
        "load_assignment": {"cluster_name": "app", "endpoints": [{"lb_endpoints": [endpoint]}]},
    }
    listener = {"name": "front", "address": at("127.0.0.1", port), "filter_chains": [{"filters": filters}]}
    configuration = {"static_resources": {"listeners": [listener], "clusters": [cluster]}}
    (folder / "envoy.json").write_text(json.dumps(configuration))
    command = (program, "-c", str(folder / "envoy.json"), "--concurrency", "1", "--disable-hot-restart")
    return (*command, "--log-level", "warning")


def _traefik(program: str, folder: Path, port: int, backend: str) -> Command:
    # JSON is YAML: no writer of our own is needed.
    router = {"rule": "PathPrefix(`/`)", "service": "app", "entryPoints": ["front"]}
    service = {"loadBalancer": {"servers": [{"url": f"http://{backend}"}]}}
    (folder / "routes.yaml").write_text(
        json.dumps({"http": {"routers": {"all": router}, "services": {"app": service}}})
    )
    (folder / "traefik.yaml").write_text(
        json.dumps(
            {
                "global": {"checkNewVersion": False, "sendAnonymousUsage": False},
                "entryPoints": {"front": {"address": f"127.0.0.1:{port}"}},
                "providers": {"file": {"filename": str(folder / "routes.yaml"), "watch": False}},
            }
        )
    )
    return (program, f"--configfile={folder}/traefik.yaml")


def _caddy(program: str, folder: Path, port: int, backend: str) -> Command:
    server = {
        "listen": [f"127.0.0.1:{port}"],
        "routes": [{"handle": [{"handler": "reverse_proxy", "upstreams": [{"dial": backend}]}]}],
        "automatic_https": {"disable": True},
    }
    configuration = {"admin": {"disabled": True}, "apps": {"http": {"servers": {"front": server}}}}
    (folder / "caddy.json").write_text(json.dumps(configuration))
    return (program, "run", "--config", str(folder / "caddy.json"))


_WRITERS: dict[str, tuple[Callable[[str, Path, int, str], Command], tuple[str, ...]]] = {
    "nginx": (_nginx, ("-v",)),
    "haproxy": (_haproxy, ("-v",)),
    "envoy": (_envoy, ("--version",)),
    "traefik": (_traefik, ("version",)),
    "caddy": (_caddy, ("version",)),
}

NAMES = tuple(_WRITERS)


def found(name: str) -> list[Peer]:
    """Find every version of one program: ``MATAPALO_<NAME>``, ``.cache/parts/bin``, then PATH."""
    places = [str(ROOT / ".cache/parts/bin"), *os.environ.get("PATH", "").split(os.pathsep), "/usr/sbin", "/sbin"]
    programs = [shutil.which(os.environ.get(f"MATAPALO_{name.upper()}") or name)]
    programs += [shutil.which(name, path=place) for place in places]
    peers: dict[str, Peer] = {}
    for program in filter(None, programs):
        version = _version(program, _WRITERS[name][1])
        peers.setdefault(version, Peer(name=name, program=program, version=version))
    return list(peers.values())


def _version(program: str, arguments: tuple[str, ...]) -> str:
    run = subprocess.run([program, *arguments], capture_output=True, text=True, timeout=20, check=False)
    match = re.search(r"(?<![\w.])v?(\d+\.\d+\.\d+)", run.stdout + run.stderr)
    return match[1] if match else "unknown"


@contextlib.contextmanager
def serving(peer: Peer, folder: Path, backend: Address) -> Iterator[Address]:
    """Run one peer in front of one backend and give its address.

    Raises: BenchError when it ends; TimeoutError when it does not answer a plain request in time.
    """
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    command = _WRITERS[peer.name][0](peer.program, folder, port, "{}:{}".format(*backend))
    homes = {name: str(folder) for name in ("HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME")}
    cores = sorted(os.sched_getaffinity(0))
    program = Program(command, log=folder / "output.log", cores=cores, env=homes, cwd=folder)
    try:
        deadline = time.monotonic() + START_S
        while not _answers(port):
            program.require_running()
            if time.monotonic() > deadline:
                raise TimeoutError(f"{peer.title} did not answer within {START_S} s; its log is {program.log}")
            time.sleep(0.05)
        yield "127.0.0.1", port
    finally:
        program.stop()


def _answers(port: int) -> bool:
    """Tell whether a plain request is answered by the backend."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1.0) as client:
            client.sendall(b"GET /truth/0 HTTP/1.1\r\nHost: shop.test\r\nX-Tag: tag99998\r\nConnection: close\r\n\r\n")
            return client.recv(64).startswith(b"HTTP/1.1 200")
    except OSError:
        return False
