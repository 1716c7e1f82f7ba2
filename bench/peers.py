"""The peers: nginx, HAProxy, Envoy, Traefik and Caddy, each told to do the same work.

One worker or thread each, keep-alive to the backend, an access log to a file,
their metrics on, one route per prefix in whatever form that program matches
fastest. Mirrors are the program's own; they throw the second answer away.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.parts import find
from bench.process import BenchError, Program, answer_of, free_port, tail, wait_until
from bench.scenario import Scenario

_ENVOY = "type.googleapis.com/envoy.extensions"

Writer = Callable[[Scenario, Path, int, str, str], "Launch"]
"""From scenario, folder, port, legacy address and new address to what must be started."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """Say how a configured program is started."""

    command: tuple[str, ...]
    env: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """Describe one program to compare with."""

    name: str
    write: Writer
    mirrors: bool
    """It can copy traffic by itself."""
    note: str
    """What is on, for the report."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """Hold one target that serves."""

    name: str
    port: int
    program: Program
    folder: Path


def _nginx(scenario: Scenario, folder: Path, port: int, legacy: str, new: str) -> Launch:
    mirror = "mirror /-mirror; " if scenario.mirror else ""
    locations = "\n".join(
        f"    location {prefix}/ {{ {mirror}proxy_pass http://legacy; }}" for prefix in scenario.prefixes
    )
    (folder / "nginx.conf").write_text(
        f"""daemon off; worker_processes 1; pid {folder}/pid; error_log {folder}/error.log;
events {{ worker_connections 4096; }}
http {{
  access_log {folder}/access.log combined; client_body_temp_path {folder}; proxy_temp_path {folder};
  fastcgi_temp_path {folder}; uwsgi_temp_path {folder}; scgi_temp_path {folder};
  keepalive_requests 1000000000; keepalive_timeout 1h; tcp_nodelay on;
  upstream legacy {{ server {legacy}; keepalive 256; keepalive_requests 1000000000; keepalive_timeout 1h; }}
  upstream new {{ server {new}; keepalive 256; keepalive_requests 1000000000; keepalive_timeout 1h; }}
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host $host;
    proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; proxy_buffers 32 8k;
    location = /-/status {{ stub_status; }}
    location = /-mirror {{ internal; proxy_pass http://new$request_uri; }}
{locations}
  }}
}}
"""
    )
    return Launch(command=(_program("nginx"), "-p", str(folder), "-c", str(folder / "nginx.conf")))


def _haproxy(scenario: Scenario, folder: Path, port: int, legacy: str, new: str) -> Launch:
    (folder / "routes.map").write_text("".join(f"{prefix}/ legacy\n" for prefix in scenario.prefixes))
    (folder / "haproxy.cfg").write_text(
        f"""global
  nbthread 1
  log stdout format raw local0
defaults
  mode http
  log global
  option httplog
  option forwardfor
  timeout connect 5s
  timeout client 1h
  timeout server 1h
  timeout http-keep-alive 1h
frontend front
  bind 127.0.0.1:{port}
  http-request use-service prometheus-exporter if {{ path /-/metrics }}
  use_backend %[path,map_beg({folder}/routes.map,none)]
backend legacy
  http-reuse always
  server one {legacy} pool-max-conn 256
backend none
  http-request return status 404
"""
    )
    return Launch(command=(_program("haproxy"), "-db", "-f", str(folder / "haproxy.cfg")))


def _envoy(scenario: Scenario, folder: Path, port: int, legacy: str, new: str) -> Launch:
    action: dict[str, object] = {"cluster": "legacy", "timeout": "0s"}
    if scenario.mirror:
        action["request_mirror_policies"] = [
            {"cluster": "new", "runtime_fraction": {"default_value": {"numerator": 100, "denominator": "HUNDRED"}}}
        ]
    manager = {
        "@type": f"{_ENVOY}.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "front",
        "codec_type": "HTTP1",
        "use_remote_address": True,
        "access_log": [
            {
                "name": "envoy.access_loggers.file",
                "typed_config": {
                    "@type": f"{_ENVOY}.access_loggers.file.v3.FileAccessLog",
                    "path": str(folder / "access.log"),
                },
            }
        ],
        "route_config": {
            "virtual_hosts": [
                {
                    "name": "all",
                    "domains": ["*"],
                    "routes": [{"match": {"prefix": f"{prefix}/"}, "route": action} for prefix in scenario.prefixes],
                }
            ]
        },
        "http_filters": [
            {
                "name": "envoy.filters.http.router",
                "typed_config": {"@type": f"{_ENVOY}.filters.http.router.v3.Router"},
            }
        ],
    }
    configuration = {
        "admin": {"address": _envoy_address(f"127.0.0.1:{free_port()}")},
        "static_resources": {
            "listeners": [
                {
                    "name": "front",
                    "address": _envoy_address(f"127.0.0.1:{port}"),
                    "filter_chains": [
                        {
                            "filters": [
                                {"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}
                            ]
                        }
                    ],
                }
            ],
            "clusters": [_envoy_cluster("legacy", legacy), _envoy_cluster("new", new)],
        },
    }
    (folder / "envoy.json").write_text(json.dumps(configuration))
    command = (_program("envoy"), "-c", str(folder / "envoy.json"), "--concurrency", "1", "--disable-hot-restart")
    return Launch(command=(*command, "--log-level", "warning"))


def _envoy_address(address: str) -> dict[str, object]:
    host, _, port = address.rpartition(":")
    return {"socket_address": {"address": host, "port_value": int(port)}}


def _envoy_cluster(name: str, address: str) -> dict[str, object]:
    return {
        "name": name,
        "type": "STATIC",
        "connect_timeout": "5s",
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": _envoy_address(address)}}]}],
        },
    }


def _traefik(scenario: Scenario, folder: Path, port: int, legacy: str, new: str) -> Launch:
    # JSON is YAML: no writer of our own is needed.
    service = "both" if scenario.mirror else "legacy"
    services: dict[str, object] = {
        name: {"loadBalancer": {"servers": [{"url": f"http://{address}"}], "passHostHeader": True}}
        for name, address in (("legacy", legacy), ("new", new))
    }
    if scenario.mirror:
        services["both"] = {"mirroring": {"service": "legacy", "mirrors": [{"name": "new", "percent": 100}]}}
    routers = {
        f"r{number}": {"rule": f"PathPrefix(`{prefix}/`)", "service": service, "entryPoints": ["front"]}
        for number, prefix in enumerate(scenario.prefixes)
    }
    (folder / "routes.yaml").write_text(json.dumps({"http": {"routers": routers, "services": services}}))
    (folder / "traefik.yaml").write_text(
        json.dumps(
            {
                "global": {"checkNewVersion": False, "sendAnonymousUsage": False},
                "log": {"level": "ERROR"},
                "accessLog": {"filePath": str(folder / "access.log")},
                "entryPoints": {
                    "front": {"address": f"127.0.0.1:{port}"},
                    "metrics": {"address": f"127.0.0.1:{free_port()}"},
                },
                "metrics": {"prometheus": {"entryPoint": "metrics"}},
                "providers": {"file": {"filename": str(folder / "routes.yaml"), "watch": False}},
                "serversTransport": {"maxIdleConnsPerHost": 256},
            }
        )
    )
    command = (_program("traefik"), f"--configfile={folder}/traefik.yaml")
    return Launch(command=command, env=(("GOMAXPROCS", "1"),))


def _caddy(scenario: Scenario, folder: Path, port: int, legacy: str, new: str) -> Launch:
    proxy = {
        "handler": "reverse_proxy",
        "upstreams": [{"dial": legacy}],
        "transport": {"protocol": "http", "keep_alive": {"max_idle_conns_per_host": 256}, "compression": False},
    }
    routes = [
        {"match": [{"path": [f"{prefix}/*"]}], "handle": [proxy], "terminal": True} for prefix in scenario.prefixes
    ]
    configuration = {
        "admin": {"listen": f"127.0.0.1:{free_port()}", "config": {"persist": False}},
        "logging": {
            "logs": {
                "default": {"level": "ERROR", "exclude": ["http.log.access"]},
                "access": {
                    "writer": {"output": "file", "filename": str(folder / "access.log"), "roll": False},
                    "include": ["http.log.access"],
                },
            }
        },
        "apps": {
            "http": {
                "servers": {
                    "front": {
                        "listen": [f"127.0.0.1:{port}"],
                        "routes": routes,
                        "logs": {},
                        "metrics": {},
                        "automatic_https": {"disable": True},
                        "protocols": ["h1"],
                    }
                }
            }
        },
    }
    (folder / "caddy.json").write_text(json.dumps(configuration))
    env = (("GOMAXPROCS", "1"), ("XDG_DATA_HOME", str(folder)), ("XDG_CONFIG_HOME", str(folder)), ("HOME", str(folder)))
    return Launch(command=(_program("caddy"), "run", "--config", str(folder / "caddy.json")), env=env)


def _program(name: str) -> str:
    program = find(name)
    assert program is not None, "only peers that were found are started"
    return program


PEERS = (
    Peer(
        name="nginx", write=_nginx, mirrors=True, note="worker_processes 1, prefix locations, access_log, stub_status"
    ),
    Peer(
        name="haproxy",
        write=_haproxy,
        mirrors=False,
        note="nbthread 1, one map_beg look-up, httplog, Prometheus exporter",
    ),
    Peer(name="envoy", write=_envoy, mirrors=True, note="--concurrency 1, prefix routes, file access log, stats"),
    Peer(
        name="traefik",
        write=_traefik,
        mirrors=True,
        note="GOMAXPROCS=1, PathPrefix routers, access log, Prometheus metrics",
    ),
    Peer(name="caddy", write=_caddy, mirrors=False, note="GOMAXPROCS=1, path matchers, access log, metrics"),
)
"""Everybody that may be on the machine; whoever is missing is left out and named."""


def start(peer: Peer, scenario: Scenario, folder: Path, addresses: Sequence[str], cores: tuple[int, ...]) -> Running:
    """Configure and start a peer and wait until it listens.

    Raises: BenchError when it ends or does not listen.
    """
    folder.mkdir(parents=True)
    port = free_port()
    launch = peer.write(scenario, folder, port, *addresses)
    program = Program(launch.command, log=folder / "output.log", cores=cores, env=dict(launch.env), cwd=folder)

    def serves() -> bool:
        program.require_running()
        answer = answer_of(port, scenario.paths[-1])
        return answer is not None and answer.backend == "legacy"

    # A listening port is not enough: Traefik listens before it knows its routes.
    try:
        wait_until(serves, f"a first answer through {peer.name}")
    except BenchError as error:
        program.stop()
        raise BenchError(f"{error}\n{tail(program.log)}") from error
    return Running(name=peer.name, port=port, program=program, folder=folder)
