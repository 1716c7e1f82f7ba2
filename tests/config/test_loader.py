"""Loading files: includes, places, digest, bounds, and no input that crashes it."""

from __future__ import annotations

import contextlib
import hashlib
import json
import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config import ConfigError, ConfigSpec, load, load_text
from config.loader import MAX_FILE_BYTES

MAIN = """\
include: [routes/*.yaml]
backends: {old: {url: "http://old"}}
defaults: {legacy: old}
"""
ROUTES = "x-note: kept apart\nbackends: {%s: {url: 'http://%s'}}\nroutes: [{name: %s, match: {path: /%s}}]\n"


def write(directory: Path, **files: str) -> Path:
    """Write files, ``__`` in a name standing for a slash, and name the main one."""
    for name, text in files.items():
        path = directory / f"{name.replace('__', '/')}.yaml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    return directory / "main.yaml"


def problems_of(path: Path) -> list[str]:
    """Load a wrong configuration and print its problems, without the directory."""
    with pytest.raises(ConfigError) as caught:
        load(path, environ={})
    return [str(problem).replace(f"{path.parent}/", "") for problem in caught.value.problems]


def test_included_files_add_routes_and_backends(tmp_path: Path) -> None:
    """Files of a pattern are read in the order of their names, and the digest covers all bytes in that order."""
    path = write(tmp_path, main=MAIN, routes__b=ROUTES % (("b",) * 4), routes__a=ROUTES % (("a",) * 4))

    spec = load(path, environ={})

    assert [route.name for route in spec.routes] == ["a", "b"]
    assert [backend.name for backend in spec.backends] == ["old", "a", "b"]
    assert spec.files == (str(path), str(tmp_path / "routes/a.yaml"), str(tmp_path / "routes/b.yaml"))
    whole = b"".join(Path(file).read_bytes() for file in spec.files)
    assert spec.digest == hashlib.sha256(whole).hexdigest()


def test_a_problem_in_an_included_file_stands_there(tmp_path: Path) -> None:
    """A problem names the file that it is in, and the problems of all files come together, main file first."""
    path = write(
        tmp_path, main=MAIN + "workers: 0\n", routes__a="routes:\n  - {name: A, match: {path: /a}}\nlisten: x\n"
    )

    assert [problem.partition(": found")[0] for problem in problems_of(path)] == [
        "main.yaml:4:10: workers",
        "routes/a.yaml:2:12: routes.A.name",
        "routes/a.yaml:3:1: listen",
    ]


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        ("nowhere/*.yaml", "main.yaml:1:10: include[0]: found no file for 'nowhere/*.yaml'"),
        ("nowhere.yaml", "include[0]: found no file for 'nowhere.yaml'"),
        ("*.yaml", "include[0]: found '*.yaml', which includes this file itself"),
        ("routes/**", "include[0]: found 'routes/**', expected one directory"),
        ("routes", "routes:1:1: file: cannot be read (Is a directory)"),
    ],
)
def test_an_include_that_leads_nowhere_is_a_problem(tmp_path: Path, pattern: str, said: str) -> None:
    """A missing file, a circle and a directory are problems at the include's place."""
    (tmp_path / "routes").mkdir()
    path = write(tmp_path, main=MAIN.replace("routes/*.yaml", f'"{pattern}"'))

    assert any(said in problem for problem in problems_of(path))


def test_a_file_that_two_patterns_name_is_read_once(tmp_path: Path) -> None:
    """Overlapping patterns do not make duplicates."""
    main = MAIN.replace("routes/*.yaml", "routes/a.yaml, routes/*.yaml")
    path = write(tmp_path, main=main, routes__a=ROUTES % (("a",) * 4))

    assert len(load(path, environ={}).routes) == 1


def test_a_name_that_two_files_use_is_refused(tmp_path: Path) -> None:
    """Duplicate names are found across files, and the first place is named."""
    path = write(tmp_path, main=MAIN, routes__a=ROUTES % ("a", "a", "r", "a"), routes__b=ROUTES % ("a", "b", "r", "b"))

    problems = problems_of(path)

    assert len(problems) == 2
    assert problems[0].startswith("routes/b.yaml:2:15: backends.a: found 'a' again")
    assert "routes/a.yaml:2" in problems[0]
    assert problems[1].startswith("routes/b.yaml:3:17: routes.r.name: found 'r' again")


@pytest.mark.parametrize("name", ["nowhere.yaml", ".", "nul\0.yaml"])
def test_a_file_that_cannot_be_read_is_a_problem(tmp_path: Path, name: str) -> None:
    """A missing file and a directory are said in one line, like every other problem."""
    with pytest.raises(ConfigError, match="file: cannot be read"):
        load(tmp_path / name)


def test_more_than_ten_megabytes_are_refused(tmp_path: Path) -> None:
    """A file of any size costs no more than reading ten megabytes of it."""
    path = write(tmp_path, main="#" * (MAX_FILE_BYTES + 1))

    assert problems_of(path) == ["main.yaml:1:1: file: found more than 10MiB of configuration, expected less"]


def test_variables_come_from_the_given_environment() -> None:
    """A value may come from the environment, quoted or not; keys and x- sections are left alone."""
    spec = load_text(
        """
        x-unused: ${NOT_SET}
        workers: ${WORKERS}
        listen: "127.0.0.1:${PORT:-8000}"
        backends: {old: {url: "http://${HOST}"}}
        """,
        environ={"WORKERS": "3", "HOST": "old"},
    )

    assert (spec.workers, spec.listen[0].port, spec.backends[0].host) == (3, 8000, "old")


def test_the_process_environment_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without an environment of its own, a load uses the process's."""
    monkeypatch.setenv("MATAPALO_TEST_HOST", "from-outside")

    assert load_text('backends: {old: {url: "http://${MATAPALO_TEST_HOST}"}}').backends[0].host == "from-outside"


def test_text_from_elsewhere_has_no_files(tmp_path: Path) -> None:
    """A configuration from standard input is named as the caller says and watches only what it includes."""
    write(tmp_path, routes__a=ROUTES % (("a",) * 4))

    spec = load_text(MAIN, name="<stdin>", base_dir=tmp_path, environ={})

    assert spec.files == (str(tmp_path / "routes/a.yaml"),)
    with pytest.raises(ConfigError, match=r"^<stdin>:1:1: wrkers: found an unknown key; did you mean 'workers'"):
        load_text("wrkers: 1\nbackends: {a: {url: 'http://a'}}", name="<stdin>")


def test_a_relative_path_is_relative_to_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """state_dir follows the file, not the working directory, and messages name the file as the caller did."""
    (tmp_path / "conf").mkdir()
    write(tmp_path / "conf", main='backends: {old: {url: "http://old"}}\nstate_dir: state')
    monkeypatch.chdir(tmp_path)

    assert load("conf/main.yaml").state_dir == str(tmp_path / "conf/state")
    (tmp_path / "conf/main.yaml").write_text("workers: 0")
    with pytest.raises(ConfigError, match=r"conf/main\.yaml:1:10: workers"):
        load("conf/main.yaml")


NOT_YET = [
    "defaults: {shadow: {writes: marked}}",
]


@pytest.mark.parametrize("text", NOT_YET)
def test_what_comes_later_is_refused_with_not_yet(text: str) -> None:
    """A key or word whose feature is still to come is recognised, and nobody believes that it works."""
    with pytest.raises(ConfigError, match="not yet: "):
        load_text(f"backends: {{old: {{url: 'http://old'}}}}\n{text}")


GOOD = """
listen: 127.0.0.1:8080
admin: {listen: 127.0.0.1:8081, tokens: [{name: ops, role: operator, token: env:OPS}]}
trusted_proxies: [10.0.0.0/8]
backends:
  old: &b {url: "http://old:8000/x", response_timeout: 30s, headers: {set: {X-Env: prod}}}
  new: {<<: *b, url: "https://new", tls: {ca: file:ca.pem}}
defaults: {legacy: old, new: new, sticky: ["header:X-User-Id", issued_cookie], shadow: {sample: 10%}}
undeclared: {backend: old}
routes:
  - name: orders
    match: [{path: "/orders/{id:int}", methods: [GET]}, {path: "/o/**"}]
    initial_stage: canary
    initial_percent: 12.5
    redact: [$.email]
    fallback: {on: [connect, 503]}
    timeout: ${T:-60s}
"""


def is_loaded_or_refused(text: str, directory: str) -> None:
    """Load text, and accept nothing but a configuration or a ConfigError with problems."""
    with contextlib.suppress(ConfigError):
        assert isinstance(load_text(text, base_dir=directory, environ={}), ConfigSpec)


@given(st.text(max_size=300))
def test_any_text_loads_or_is_refused(text: str) -> None:
    """No text makes the loader raise anything but ConfigError."""
    is_loaded_or_refused(text, "/nonexistent")


@given(st.randoms(use_true_random=False), st.integers(1, 6))
def test_any_mutation_of_a_good_file_loads_or_is_refused(dice: random.Random, count: int) -> None:
    """However a good file is damaged, the answer is a configuration or a list of problems."""
    text = GOOD
    for _ in range(count):
        start = dice.randrange(len(text))
        end = min(len(text), start + dice.choice((0, 1, 1, 5, 40)))
        filler = (
            "",
            "",
            "~",
            "[",
            "{",
            "}",
            "- ",
            ": ",
            "*b",
            "&b ",
            "${",
            "${X}",
            "\0",
            "\n",
            "é",
            "%",
            "none",
            "-1",
            "1e9",
            text[start:end] * 2,
        )
        text = text[:start] + dice.choice(filler) + text[end:]

    is_loaded_or_refused(text, "/nonexistent")


json_like = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 10**12) | st.text("ab/{}:*$.%~é-0|", max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["url", "name", "match", "path", "shadow", "legacy", "new", "on", "set", "x-y", "<<"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(
    st.dictionaries(
        st.sampled_from(
            [
                "listen",
                "admin",
                "health",
                "backends",
                "defaults",
                "routes",
                "undeclared",
                "override",
                "limits",
                "workers",
            ]
        ),
        json_like,
    )
)
def test_any_shape_under_known_keys_loads_or_is_refused(value: object) -> None:
    """Values of any shape under known keys are problems, not crashes."""
    is_loaded_or_refused(json.dumps(value), "/nonexistent")


def test_bytes_that_are_not_text_are_a_problem(tmp_path: Path) -> None:
    """A binary file is refused with the place of its first wrong byte."""
    path = tmp_path / "main.yaml"
    path.write_bytes(b"workers: 1\nx: \xff\xfe")

    assert problems_of(path)[0].startswith("main.yaml:2:4: yaml: found the byte 0xff")
    with contextlib.suppress(ConfigError):
        load_text("a: \udcff")
