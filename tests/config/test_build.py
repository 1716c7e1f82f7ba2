"""From the file to the specs: defaults, joins, and what each key becomes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from config import ConfigError, load_text
from config.build import MAX_ROUTES
from config.spec import (
    AddressSpec,
    AdminSpec,
    AutopilotSpec,
    BackendSpec,
    BackendTlsSpec,
    FallbackSpec,
    GateSpec,
    LimitsSpec,
    NoiseSpec,
    OverrideSpec,
    RouteSpec,
    ShadowSpec,
    TokenSpec,
    WatchdogSpec,
    WebhookSpec,
)

BACKENDS = 'backends: {old: {url: "http://old"}, new: {url: "http://new"}}\n'


def routes_of(text: str) -> tuple[RouteSpec, ...]:
    """Load routes between two backends."""
    return load_text(BACKENDS + text, environ={}).routes


def problem_of(text: str) -> str:
    """Load a configuration that has exactly one problem, and print it."""
    with pytest.raises(ConfigError) as caught:
        load_text(BACKENDS + text, environ={})
    assert len(caught.value.problems) == 1, str(caught.value)
    return str(caught.value)


def test_a_small_file_has_every_default(tmp_path: Path) -> None:
    """A file that names one backend is whole: everything else has a safe default."""
    spec = load_text('backends: {old: {url: "http://old"}}', base_dir=tmp_path, environ={})

    assert spec.listen == (AddressSpec(host="127.0.0.1", port=8080),)
    assert spec.admin == AdminSpec(listen=AddressSpec(host="127.0.0.1", port=8081))
    assert spec.health == AddressSpec(host="127.0.0.1", port=8082)
    assert spec.state_dir == str(tmp_path / ".matapalo")
    assert (spec.database, spec.flags, spec.workers, spec.comparers) == ("sqlite", "database", 1, 1)
    assert (spec.watch, spec.strict, spec.access_log) == (False, "refuse", True)
    assert (spec.undeclared, spec.override, spec.routes, spec.trusted_proxies) == (None, None, (), ())
    assert spec.backends == (BackendSpec(name="old", scheme="http", host="old", port=80),)
    assert spec.limits == LimitsSpec()


def test_every_key_arrives(tmp_path: Path) -> None:
    """What the file says is what the spec holds, in the spec's units."""
    spec = load_text(
        """
        listen: [0.0.0.0:80, "[::1]:81"]
        admin:
          listen: 0.0.0.0:9081
          behind_tls: true
          metrics_public: true
          tokens: [{name: ops, role: operator, token: file:ops.token}]
        health: {listen: 0.0.0.0:9082}
        state_dir: /var/lib/matapalo
        flags: file
        workers: 4
        comparers: 2
        watch: true
        trusted_proxies: [10.0.0.0/8, "::1"]
        backends:
          shop:
            url: https://shop:8443/base/
            connect_timeout: 1s
            response_timeout: 30s
            idle_timeout: 2s
            read_timeout: 10s
            max_connections: 8
            host: shop.example.com:8443
            path: {strip: /api, add: /v2}
            headers: {set: {X-Env: prod, X-Number: 7}, remove: [X-Debug]}
            version_header: X-App-Version
            tls: {ca: file:ca.pem, server_name: Shop, verify: false}
          old: {url: "http://old"}
        undeclared: {backend: old}
        override: {header: X-Side, token: env:SIDE}
        strict: report
        access_log: false
        limits:
          header_read_timeout: 1s
          keep_alive_timeout: 2s
          body_read_timeout: 3s
          write_timeout: 4s
          max_connections: 5
          copy_bytes: 6MiB
          drain: 7s
          lame_duck: 8s
          tunnel_idle_timeout: 9s
        routes:
          - name: a
            match: {path: /a, methods: [POST], host: Shop.Example.com, headers: {X-Tenant: 1}, query: {v: 2}}
            legacy: old
            new: shop
            stage: canary
            percent: 12.5
            sticky: ["cookie:Session", ip]
            parity: meaning
            journey: checkout
            was: b
            reads: POST
            keep: shapes
            fallback: {on: [timeout, 502]}
            timeout: 60s
            max_body: 1MiB
            on_flip: keep
        """,
        base_dir=tmp_path,
        environ={},
    )

    assert spec.listen == (AddressSpec(host="0.0.0.0", port=80), AddressSpec(host="::1", port=81))
    assert spec.admin.tokens == (TokenSpec(name="ops", role="operator", token=f"file:{tmp_path}/ops.token"),)
    assert (spec.admin.behind_tls, spec.admin.metrics_public) == (True, True)
    assert (spec.state_dir, spec.flags, spec.workers, spec.comparers) == ("/var/lib/matapalo", "file", 4, 2)
    assert (spec.watch, spec.strict, spec.access_log) == (True, "report", False)
    assert spec.trusted_proxies == ("10.0.0.0/8", "::1/128")
    assert spec.backends[0] == BackendSpec(
        name="shop",
        scheme="https",
        host="shop",
        port=8443,
        host_header="shop.example.com:8443",
        path_strip="/api",
        path_add="/base/v2",
        headers_set=(("X-Env", "prod"), ("X-Number", "7")),
        headers_remove=("X-Debug",),
        connect_timeout_ns=1_000_000_000,
        response_timeout_ns=30_000_000_000,
        idle_timeout_ns=2_000_000_000,
        read_timeout_ns=10_000_000_000,
        max_connections=8,
        version_header="x-app-version",
        tls=BackendTlsSpec(ca=f"file:{tmp_path}/ca.pem", server_name="shop", verify=False),
    )
    assert spec.override == OverrideSpec(header="x-side", token="env:SIDE")
    assert spec.undeclared == "old"
    assert spec.limits == LimitsSpec(
        header_read_timeout_ns=1_000_000_000,
        keep_alive_timeout_ns=2_000_000_000,
        body_read_timeout_ns=3_000_000_000,
        write_timeout_ns=4_000_000_000,
        max_connections=5,
        copy_bytes=6 << 20,
        drain_ns=7_000_000_000,
        lame_duck_ns=8_000_000_000,
        tunnel_idle_timeout_ns=9_000_000_000,
    )
    (route,) = spec.routes
    (match,) = route.match
    assert (match.path, match.methods, match.host) == ("/a", ("POST",), "shop.example.com")
    assert (match.headers, match.query) == ((("x-tenant", "1"),), (("v", "2"),))
    assert (route.legacy, route.new, route.initial_stage, route.initial_percent_bp) == ("old", "shop", "canary", 1_250)
    assert (route.sticky, route.parity, route.journey, route.was) == (
        ("cookie:Session", "ip"),
        "meaning",
        "checkout",
        "b",
    )
    assert (route.shadow, route.keep) == (ShadowSpec(reads=("POST",)), "shapes")
    assert route.fallback == FallbackSpec(timeout=True, statuses=(502,))
    assert (route.timeout_ns, route.max_body_bytes, route.on_flip) == (60_000_000_000, 1 << 20, "keep")


def test_defaults_stand_in_for_what_a_route_leaves_out() -> None:
    """A route's own value wins, shadow is joined key by key, and redact only ever grows."""
    own, inherited = routes_of(
        """
defaults:
  legacy: old
  new: new
  sticky: ip
  timeout: 9s
  parity: meaning
  keep: bodies
  redact: [$.email]
  fallback: {on: connect}
  shadow: {timeout: 1s, sample: 10%, reads: POST}
routes:
  - name: own
    match: {path: /own}
    sticky: "header:X-User"
    timeout: 1s
    parity: bytes
    keep: shapes
    redact: [$.name, $.email]
    fallback: {on: 503}
    shadow: {sample: 20%, max_per_second: off}
  - name: inherited
    match: {path: /inherited}
"""
    )

    assert (own.legacy, own.new, own.sticky, own.timeout_ns) == ("old", "new", ("header:x-user",), 1_000_000_000)
    assert (own.parity, own.keep, own.redact) == ("bytes", "shapes", ("$.email", "$.name"))
    assert own.fallback == FallbackSpec(statuses=(503,))
    assert own.shadow == ShadowSpec(timeout_ns=10**9, sample_bp=2_000, reads=("POST",), max_per_second=None)
    assert (inherited.sticky, inherited.timeout_ns) == (("ip",), 9_000_000_000)
    assert (inherited.parity, inherited.keep, inherited.redact) == ("meaning", "bodies", ("$.email",))
    assert inherited.fallback == FallbackSpec(connect=True)
    assert inherited.shadow == ShadowSpec(timeout_ns=10**9, sample_bp=1_000, reads=("POST",))


def test_never_replaces_and_is_replaced() -> None:
    """shadow: never switches a route's copies off, and a route's own mapping switches them on again."""
    off, on = routes_of(
        """
defaults: {legacy: old, new: new, shadow: never}
routes:
  - {name: "off", match: {path: /off}}
  - {name: "on", match: {path: /on}, shadow: {sample: 5%}}
"""
    )

    (never,) = routes_of(
        "defaults: {legacy: old, shadow: {sample: 5%}}\nroutes: [{name: a, match: {path: /a}, shadow: never}]"
    )

    assert off.shadow == never.shadow == ShadowSpec(mode="never")
    assert on.shadow == ShadowSpec(sample_bp=500)


def test_a_new_feature_is_born_live() -> None:
    """legacy: none means no legacy side, and the stage live unless another is said."""
    born, dropped = routes_of(
        """
defaults: {legacy: none, new: new}
routes:
  - {name: born, match: {path: /born}}
  - {name: dropped, match: {path: /dropped}, new: none, initial_stage: gone}
"""
    )

    assert (born.legacy, born.new, born.initial_stage) == (None, "new", "live")
    assert (dropped.legacy, dropped.new, dropped.initial_stage) == (None, None, "gone")


def test_an_https_backend_is_verified_without_being_asked() -> None:
    """https alone means the system's trust store and the URL's name."""
    spec = load_text('backends: {new: {url: "https://new"}}')

    assert spec.backends[0].tls == BackendTlsSpec()
    assert spec.backends[0].port == 443


ROUTE = "routes: [{name: a, match: {path: /a}, legacy: old, new: new, "


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("x: {y: 1}", "x: found an unknown key"),
        (
            "admin: {tokens: [{name: a, role: viewer, token: env:A}, {name: a, role: admin, token: env:B}]}",
            "found the name 'a' again",
        ),
        (ROUTE + "reads: POST, shadow: {reads: PUT}}]", "found reads here and in shadow, expected one of them"),
        (ROUTE + "shadow: {credentials: replace}}]", "expected replace_authorization beside it"),
        (ROUTE + 'shadow: {replace_authorization: "env:X"}}]', "expected credentials: replace beside it"),
    ],
)
def test_parts_that_do_not_fit_are_reported(text: str, said: str) -> None:
    """What only makes sense together is asked for together."""
    assert said in problem_of(text)


def test_tls_on_http_is_refused() -> None:
    """Somebody who configures TLS never gets clear text."""
    with pytest.raises(ConfigError, match="found tls on an http backend"):
        load_text('backends: {a: {url: "http://a", tls: {verify: false}}}')


def test_a_configuration_without_backends_is_refused() -> None:
    """A proxy without a backend is a mistake, not a configuration."""
    with pytest.raises(ConfigError, match="backends: is missing, expected at least one"):
        load_text("workers: 1")


def test_more_than_ten_thousand_routes_are_refused() -> None:
    """A generator that runs away is stopped before it reaches a worker."""
    route = "  - {name: r%d, match: {path: /r%d}, legacy: old}\n"
    text = "routes:\n" + "".join(route % (number, number) for number in range(MAX_ROUTES + 1))

    assert "found 10001 routes, expected at most 10000" in problem_of(text)


def test_a_gate_stands_unless_it_is_switched_off_and_is_joined_key_by_key() -> None:
    """Every route has a gate; a route's keys win over the defaults', and `off` takes the gate away."""
    text = "defaults: {legacy: old, new: new, gate: {divergent_max: 0.5%, over: 2d}}\nroutes:\n"
    lines = ["", ", gate: {divergent_max: 1%, p95_ratio_max: 2}", ", gate: off", ", gate: {}"]
    routes = "".join(f"  - {{name: r{n}, match: {{path: /r{n}}}{line}}}\n" for n, line in enumerate(lines))

    joined = [route.gate for route in routes_of(text + routes)]
    alone = [route.gate for route in routes_of("defaults: {legacy: old, new: new}\nroutes:\n" + routes)]

    given = GateSpec(divergent_max_bp=50, over_ns=2 * 86_400_000_000_000)
    assert joined == [given, replace(given, divergent_max_bp=100, p95_ratio_max=2.0), None, given]
    assert alone == [GateSpec(), GateSpec(divergent_max_bp=100, p95_ratio_max=2.0), None, GateSpec()]


def test_the_watchdog_stands_unless_it_is_switched_off() -> None:
    """Every route is watched with safe defaults; a route's keys win over the defaults', and `off` ends it."""
    text = "defaults: {legacy: old, new: new, watchdog: {window: 30s}}\nroutes:\n"
    lines = ["", ", watchdog: {divergent_max: 1%, p95_ratio_max: 2}", ", watchdog: off"]
    routes = "".join(f"  - {{name: r{n}, match: {{path: /r{n}}}{line}}}\n" for n, line in enumerate(lines))

    joined = [route.watchdog for route in routes_of(text + routes)]
    alone = routes_of("defaults: {legacy: old, new: new}\nroutes:\n  - {name: a, match: {path: /a}}")

    given = WatchdogSpec(window_ns=30_000_000_000)
    assert joined == [given, replace(given, divergent_max_bp=100, p95_ratio_max=2.0), None]
    assert alone[0].watchdog == WatchdogSpec(
        window_ns=60_000_000_000, error_delta_max_bp=100, min_requests=100, min_errors=10
    )


def test_the_autopilot_is_off_until_asked() -> None:
    """Without `autopilot` nobody but people flips; an empty section walks 1, 5, 25, 50, 100 % and then to live."""
    text = "defaults: {legacy: old, new: new}\nroutes:\n"
    lines = ["", ", autopilot: {}", ", autopilot: {steps: 10%, bake: 5m, to: canary}"]
    routes = "".join(f"  - {{name: r{n}, match: {{path: /r{n}}}{line}}}\n" for n, line in enumerate(lines))

    assert [route.autopilot for route in routes_of(text + routes)] == [
        None,
        AutopilotSpec(steps_bp=(100, 500, 2_500, 5_000, 10_000), bake_ns=(3_600_000_000_000,), to="live"),
        AutopilotSpec(steps_bp=(1_000,), bake_ns=(300_000_000_000,), to="canary"),
    ]


def test_a_webhook_has_a_url_a_secret_and_events(tmp_path: Path) -> None:
    """A webhook hears of everything unless it says what; its secret stays a reference, and its URL has no password."""
    text = BACKENDS + "webhooks: [{url: 'http://h/%s', secret: 'file:s'%s}]"

    first = load_text(text % ("a", ""), base_dir=tmp_path, environ={}).webhooks
    second = load_text(text % ("b?c=1", ", events: watchdog.tripped"), base_dir=tmp_path, environ={}).webhooks

    secret = f"file:{tmp_path / 's'}"
    assert first == (WebhookSpec(url="http://h/a", secret=secret),)
    assert second == (WebhookSpec(url="http://h/b?c=1", secret=secret, events=("watchdog.tripped",)),)
    assert "hunter2" not in problem_of("webhooks: [{url: 'http://u:hunter2@h/', secret: 'env:A'}]")


def test_noise_is_off_until_asked_and_joined_key_by_key() -> None:
    """Without `noise` legacy is asked once; a route's keys win over the defaults', and `off` takes all of them back."""
    text = "defaults: {legacy: old, new: new, noise: {sample: 5%, max_per_second: 2}}\nroutes:\n"
    lines = ["", ", noise: {sample: 50%}", ", noise: off", ", noise: {}"]
    routes = "".join(f"  - {{name: r{n}, match: {{path: /{n}}}{line}}}\n" for n, line in enumerate(lines))

    joined = [route.noise for route in routes_of(text + routes)]
    alone = routes_of("defaults: {legacy: old, new: new}\nroutes:\n" + routes)

    assert joined == [
        NoiseSpec(sample_bp=500, max_per_second=2.0),
        NoiseSpec(sample_bp=5000, max_per_second=2.0),
        None,
        NoiseSpec(sample_bp=500, max_per_second=2.0),
    ]
    assert [route.noise for route in alone] == [None, NoiseSpec(sample_bp=5000), None, NoiseSpec()]


def test_asking_again_is_off_until_asked_bounded_and_in_order() -> None:
    """`ask_again` holds at most three waits between 100 ms and a minute, taken in rising order; none by default."""
    text = "defaults: {legacy: old, new: new}\nroutes: [{name: a, match: {path: /a}, ask_again: %s}]"

    assert routes_of(text % "[10s, 1s]")[0].ask_again_ns == (1_000_000_000, 10_000_000_000)
    assert routes_of(text % "[]")[0].ask_again_ns == ()
    assert RouteSpec(name="a", match=(), legacy=None, new=None, sticky=()).ask_again_ns == ()
    assert "from 100ms to 1m" in problem_of(text % "[2m]")
    assert "at most 3" in problem_of(text % "[1s, 2s, 3s, 4s]")


def test_a_provider_of_flags_stands_with_its_source() -> None:
    """flags: openfeature takes a provider with typed options; without that source it is refused."""
    backends = 'backends: {old: {url: "http://old"}}\n'
    section = (
        "openfeature: {provider: flagd, prefix: shop., poll: 1s, context: {env: production}, "
        "options: {resolver: file, offline_flag_source_path: flags.json, port: 8013, tls: true, name: '8'}, "
        "secrets: {sdk_key: 'env:FLAGS_KEY'}}\n"
    )
    spec = load_text("flags: openfeature\n" + section + backends, base_dir="/etc/shop").openfeature

    assert spec is not None
    assert dict(spec.options) == {
        "resolver": "file",
        "offline_flag_source_path": "/etc/shop/flags.json",
        "port": 8013,
        "tls": True,
        "name": "8",
    }
    assert (spec.prefix, spec.poll_ns, spec.secrets) == ("shop.", 10**9, (("sdk_key", "env:FLAGS_KEY"),))
    assert load_text("flags: openfeature\n" + backends).openfeature is not None
    with pytest.raises(ConfigError, match="expected flags: openfeature beside it"):
        load_text(section + backends)
    with pytest.raises(ConfigError, match="expected each argument once"):
        load_text("flags: openfeature\nopenfeature: {options: {key: 1}, secrets: {key: 'env:K'}}\n" + backends)
    route = "routes: [{name: a, match: {path: /a}, legacy: old, new: b, initial_stage: legacy}]\n"
    with pytest.raises(ConfigError, match="the provider rules the flags"):
        load_text("flags: openfeature\n" + backends.replace("}}", '}, b: {url: "http://b"}}') + route)
