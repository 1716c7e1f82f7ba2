"""Checks across keys: names, sides, stages, addresses, journeys, matches."""

from __future__ import annotations

import pytest

from config import ConfigError, load_text
from config.spec import ConfigSpec

HEAD = """
backends: {old: {url: "http://old"}, new: {url: "http://new"}, twin: {url: "http://old:80/"}}
defaults: {legacy: old, new: new}
"""


def problems_of(text: str) -> list[str]:
    """Load a wrong configuration and print its problems."""
    with pytest.raises(ConfigError) as caught:
        load_text(text, environ={})
    return [str(problem) for problem in caught.value.problems]


@pytest.mark.parametrize(
    ("routes", "said"),
    [
        ("- {name: a, match: {path: /a}, new: nwe}", "the backend 'nwe', which is not defined; did you mean 'new'?"),
        ("- {name: a, match: {path: /a}, new: old}", "routes.a.new: found old on both sides"),
        ("- {name: a, match: {path: /a}, new: twin}", "found twin, which leads to the same place as old on both sides"),
        (
            "- {name: a, match: {path: /a}, new: none, initial_stage: shadow}",
            "routes.a.new: is missing, expected the name",
        ),
        ("- {name: a, match: {path: /a}, new: none, initial_stage: live}", "because the stage is live"),
        (
            "- {name: a, match: {path: /a}, legacy: none, initial_stage: canary, initial_percent: 5}",
            "with legacy: none",
        ),
        ("- {name: a, match: {path: /a}, initial_stage: canary}", "expected initial_percent beside it"),
        ("- {name: a, match: {path: /a}, stage: live}", "found stage, expected initial_stage; with flags: database"),
        ("- {name: a, match: {path: /a}, percent: 5}", "found percent, expected initial_percent"),
        ("- {name: a, match: {path: /a}}\n- {name: a, match: {path: /b}}", "found 'a' again, expected each name once"),
        ("- {name: a, match: {path: /a}, was: a}", "routes.a.was: found 'a'"),
        ("- {name: a, match: {path: /a}, was: b}\n- {name: b, match: {path: /b}}", "which is still a route"),
        ("- {name: a, match: {path: /a}, was: c}\n- {name: b, match: {path: /b}, was: c}", "routes.b.was: found 'c'"),
        ("- {name: a, match: {path: '/x/{id}'}}\n- {name: b, match: {path: '/x/{n}'}}", "which 'a' takes too"),
        (
            "- {name: a, match: {path: /x, methods: [GET, HEAD]}}\n- {name: b, match: {path: /x, methods: [GET, PUT]}}",
            "which 'a' takes too",
        ),
        ("- {name: a, match: [{path: /a}, {path: /a}]}", "which this route already takes"),
        (
            "- {name: a, match: {path: /a}, journey: j}\n"
            "- {name: b, match: {path: /b}, journey: j, initial_stage: live}",
            "routes of one journey flip together",
        ),
        (
            "- {name: a, match: {path: /a}, journey: j}\n- {name: b, match: {path: /b}, journey: j, sticky: ip}",
            "its clients are split between the sides",
        ),
        (
            "- {name: a, match: {path: /a}, journey: j}\n- {name: b, match: {path: /b}, journey: j, autopilot: {}}",
            "found another autopilot than that of a",
        ),
        ("- {name: a, match: {path: /a}, autopilot: {steps: [5%, 1%]}}", "a.autopilot.steps: found 5%, 1%, expected"),
        ("- {name: a, match: {path: /a}, autopilot: {bake: [1h, 2h]}}", "one for each of 5 steps"),
    ],
)
def test_a_route_that_cannot_work_is_refused(routes: str, said: str) -> None:
    """A route that names what is not there, or contradicts itself or its neighbours, is one problem at its line."""
    problems = problems_of(f"{HEAD}routes:\n{routes}")

    assert len(problems) == 1, problems
    assert said in problems[0]


def test_with_flags_in_the_file_the_stage_is_the_file_s() -> None:
    """flags: file takes stage and percent, and refuses their initial_ forms."""
    route = "routes: [{name: a, match: {path: /a}, %s}]"
    spec = load_text(f"flags: file{HEAD}{route % 'stage: canary, percent: 5'}")

    assert (spec.routes[0].initial_stage, spec.routes[0].initial_percent_bp) == ("canary", 500)
    assert "found initial_stage, expected stage" in problems_of(f"flags: file{HEAD}{route % 'initial_stage: live'}")[0]


@pytest.mark.parametrize("place", ["defaults", "route"])
@pytest.mark.parametrize("flags", ["file", "openfeature"])
def test_an_autopilot_that_may_not_flip_is_refused(flags: str, place: str) -> None:
    """Where a file or a provider rules the flags an autopilot could make no step: that is said before it serves."""
    pilot = "autopilot: {}"
    head = HEAD.replace("defaults: {", f"defaults: {{{pilot}, ") if place == "defaults" else HEAD
    routes = "".join(
        f"- {{name: {name}, match: {{path: /{name}}}{f', {pilot}' if place == 'route' else ''}}}\n" for name in "ab"
    )
    problems = problems_of(f"flags: {flags}{head}routes:\n{routes}")

    assert len(problems) == (1 if place == "defaults" else 2)
    assert f"autopilot: found an autopilot, expected off; with flags: {flags} the" in problems[0]


def test_a_route_without_a_legacy_side_is_asked_for_one() -> None:
    """Nobody is left without an answer by a forgotten key."""
    problems = problems_of("backends: {new: {url: 'http://new'}}\nroutes: [{name: a, match: {path: /a}, new: new}]")

    assert problems == [
        "matapalo.yaml:2:10: routes.a.legacy: is missing, expected the name of a backend here or in defaults; "
        "none for a feature it never had"
    ]


def test_one_wrong_default_is_one_problem() -> None:
    """A default that a thousand routes share is reported once, where it stands."""
    routes = "\n".join(f"- {{name: r{number}, match: {{path: /r{number}}}}}" for number in range(50))
    problems = problems_of(f"backends: {{old: {{url: 'http://old'}}}}\ndefaults: {{legacy: odl}}\nroutes:\n{routes}")

    assert len(problems) == 1
    assert problems[0].startswith("matapalo.yaml:2:20: defaults.legacy: found the backend 'odl'")


def test_different_methods_hosts_and_values_are_different_matches() -> None:
    """Routes that share a path are told apart by methods, host, headers and query."""
    spec = load_text(
        HEAD
        + """routes:
- {name: a, match: {path: /a, methods: [GET]}}
- {name: b, match: {path: /a, methods: [POST]}}
- {name: c, match: {path: /a}}
- {name: d, match: {path: /a, host: shop}}
- {name: e, match: {path: /a, headers: {X-T: 1}}}
- {name: f, match: {path: /a, query: {t: 1}}}
- {name: g, match: {path: "/{x:int}"}}
- {name: h, match: {path: "/{x}"}}
"""
    )

    assert len(spec.routes) == 8


@pytest.mark.parametrize("other", ["localhost:90", "LocalHost:90", "[::ffff:127.0.0.1]:90", "0.0.0.0:90"])
def test_this_machine_under_another_name_is_the_same_place(other: str) -> None:
    """A route between two names of one address is refused: a copy would ask the same service twice."""
    text = f'backends: {{old: {{url: "http://127.0.0.1:90"}}, new: {{url: "http://{other}"}}}}\n'
    routes = "defaults: {legacy: old, new: new}\nroutes: [{name: a, match: {path: /a}}]\n"

    assert "found new, which leads to the same place as old on both sides" in problems_of(text + routes)[0]


def load_listening(listen: str, backend: str, rest: str = "") -> ConfigSpec:
    """Load a configuration with one listener and one backend."""
    return load_text(f'listen: "{listen}"\nbackends: {{a: {{url: "{backend}"}}}}\n{rest}')


@pytest.mark.parametrize(
    ("listen", "backend"),
    [
        ("127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("127.0.0.1:8080", "http://localhost:8080/api"),
        ("0.0.0.0:8080", "http://127.0.0.1:8080"),
        ("[::]:8080", "http://[::1]:8080"),
        ("10.0.0.1:80", "http://10.0.0.1"),
        ("127.0.0.1:8000", "http://127.0.0.1:8081"),
        ("127.0.0.1:8000", "http://localhost:8082"),
        ("127.0.0.1:8080", "http://LocalHost:8080"),
        ("127.0.0.1:8080", "http://a.localhost:8080"),
        ("127.0.0.1:8080", "http://[::ffff:127.0.0.1]:8080"),
        ("[::]:8080", "http://127.0.0.1:8080"),
    ],
)
def test_a_backend_that_is_matapalo_itself_is_refused(listen: str, backend: str) -> None:
    """Requests never go in circles: a backend cannot be one of our own addresses."""
    with pytest.raises(ConfigError, match=r"backends\.a\.url: found our own address"):
        load_listening(listen, backend)


@pytest.mark.parametrize(
    ("listen", "backend"),
    [
        ("127.0.0.1:8080", "http://127.0.0.1:9000"),
        ("127.0.0.1:8080", "http://10.0.0.1:8080"),
        ("127.0.0.1:8080", "http://shop:8080"),
        ("127.0.0.1:0", "http://127.0.0.1:9000"),
    ],
)
def test_another_address_is_no_circle(listen: str, backend: str) -> None:
    """Another host or port is another service, and names are not resolved to decide it."""
    assert load_listening(listen, backend).backends


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("listen: [127.0.0.1:8080, 0.0.0.0:8080]", "listen: found 0.0.0.0:8080, which listen uses too"),
        ("listen: 127.0.0.1:8081", "admin.listen: found 127.0.0.1:8081, which listen uses too"),
        (
            f"listen: [{', '.join(f'127.0.0.1:{port}' for port in range(1, 66))}]",
            "found 65 addresses, expected at most 64",
        ),
        ("health: {listen: 127.0.0.1:8080}", "health.listen: found 127.0.0.1:8080, which listen uses too"),
    ],
)
def test_two_listeners_need_two_addresses(text: str, said: str) -> None:
    """An address that is taken twice is refused before anything is bound."""
    assert said in problems_of(HEAD + text)[0]


@pytest.mark.parametrize(
    ("admin", "said"),
    [
        ("", "expected tokens and tls: {cert: PATH, key: PATH}"),
        (", behind_tls: true", "expected tokens beside it"),
        (", tokens: [{name: ops, role: operator, token: env:OPS}]", "expected tls: {cert: PATH, key: PATH}"),
    ],
)
def test_an_open_admin_api_is_refused(admin: str, said: str) -> None:
    """Beyond this machine, the admin API needs tokens and TLS, its own or in front."""
    problems = problems_of(f"{HEAD}admin: {{listen: 0.0.0.0:8081{admin}}}")

    assert len(problems) == 1
    assert said in problems[0]


def test_a_wrong_token_does_not_also_count_as_missing() -> None:
    """One mistake is one problem, not two."""
    admin = "admin: {listen: 0.0.0.0:8081, behind_tls: true, tokens: [{name: ops, role: boss, token: env:OPS}]}"

    assert len(problems_of(HEAD + admin)) == 1


def test_an_undeclared_backend_must_exist() -> None:
    """What no route matches goes to a backend that is defined, or to nobody."""
    assert "undeclared.backend: found the backend 'nwe'" in problems_of(f"{HEAD}undeclared: {{backend: nwe}}")[0]
    assert load_text(f"{HEAD}undeclared: none").undeclared is None


COHORTS = "cohorts: [{name: staff, match: {header: X-Staff}}]\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("cohorts: [{name: a, match: {}}]", "found nothing to ask, expected header, cookie or cidr"),
        ("cohorts: [{name: a, match: {value: x, cidr: 10.0.0.0/8}}]", "expected it with one of header and cookie"),
        ("cohorts: [{name: a, match: {header: A, cookie: b, value: c}}]", "found value with cookie and header"),
        ("cohorts: [{name: a, match: {header: A, value: c, token: 'env:T'}}]", "found value and token"),
        ("cohorts: [{name: a, match: {header: A}}, {name: a, match: {header: B}}]", "found 'a' again"),
        ("cohorts: [{name: a, match: {cidr: 10.0.0.1/8}}]", "write 10.0.0.0/8"),
        (COHORTS + "routes: [{name: o, match: {path: /o}, cohorts: {stuff: live}}]", "did you mean 'staff'?"),
        (
            COHORTS + "routes: [{name: o, match: {path: /o}, cohorts: {staff: gone}}]",
            "expected legacy, shadow, canary or",
        ),
        (COHORTS + "routes: [{name: o, match: {path: /o}, cohorts: {staff: canary}}]", "expected percent beside it"),
        (
            COHORTS + "routes: [{name: o, match: {path: /o}, cohorts: {staff: {stage: live, percent: 5}}}]",
            "expected percent with canary only",
        ),
        (
            COHORTS + "routes: [{name: o, match: {path: /o}, legacy: none, cohorts: {staff: live}}]",
            "found cohorts with legacy: none",
        ),
        (
            COHORTS + "routes: [{name: o, match: {path: /o}, new: none, cohorts: {staff: shadow}}]",
            "expected new beside it",
        ),
        (
            COHORTS + "routes: [{name: o, match: {path: /o}, journey: j}, "
            "{name: p, match: {path: /p}, journey: j, cohorts: {staff: live}}]",
            "found other cohorts than those of o",
        ),
        ("routes: [{name: o, match: {path: /o}, pin: 30s}]", "expected pins: {secret: env:NAME} at the top level"),
        ("pins: {secret: hunter2}", "expected a secret reference"),
        ("pins: {secret: 'env:A'}\nroutes: [{name: o, match: {path: /o}, pin: 2h}]", "a duration from 1s to 1h"),
    ],
)
def test_cohorts_and_pins_that_cannot_be_are_refused(text: str, said: str) -> None:
    """A cohort is asked for something that exists, has a stage that its route can have, and a pin has its key."""
    problems = problems_of(HEAD + text)

    assert len(problems) == 1, problems
    assert said in problems[0]
    assert "hunter2" not in problems[0]


def test_cohorts_and_pins_are_joined_with_the_defaults() -> None:
    """A route takes the defaults' cohorts and pin, changes single ones, and may want no pin."""
    spec = load_text(
        HEAD.replace("new: new}", "new: new, pin: 30s, quiet: 7d, cohorts: {staff: live, beta: shadow}}")
        + "cohorts: [{name: staff, match: {header: X-Staff}}, {name: beta, match: [{cookie: b}, {cidr: 10.0.0.0/8}]}]\n"
        + "pins: {secret: ['env:A', 'file:b']}\n"
        + "routes: [{name: o, match: {path: /o}}, {name: p, match: {path: /p}, pin: off, quiet: 1h, "
        + "cohorts: {beta: {stage: canary, percent: 5, sample: 1%}}}]",
        environ={},
        base_dir="/etc/matapalo",
    )
    first, second = spec.routes

    assert [(one.name, one.stage) for one in first.cohorts] == [("staff", "live"), ("beta", "shadow")]
    assert [(one.stage, one.percent_bp, one.sample_bp) for one in second.cohorts] == [
        ("live", 0, None),
        ("canary", 500, 100),
    ]
    assert (first.pin_ns, second.pin_ns) == (30 * 10**9, None)
    assert (first.quiet_ns, second.quiet_ns) == (7 * 24 * 3_600 * 10**9, 3_600 * 10**9)
    assert spec.pins == ("env:A", "file:/etc/matapalo/b")
    assert [len(cohort.match) for cohort in spec.cohorts] == [1, 2]
