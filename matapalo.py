"""The door: every process of Matapalo starts here, and here the rooms are joined.

Rules of this file:

1. A child of the supervisor is recognised before click, rich or any other room is
   imported: a worker that starts slowly is a worker that is missing.
2. The rooms have short top-level names, so a stranger's ``config.py`` may stand in
   front of ours. Nothing of a room is imported before :func:`foreign_room` is silent.
3. ``proxy`` and ``console`` do not know each other; what one needs of the other is
   handed over here, as a callable.
"""

from __future__ import annotations

import gc
import os
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.util import find_spec

HERE = os.path.dirname(os.path.realpath(__file__))
ROOMS = ("config", "rules", "shadow", "store", "proxy", "console")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line, or the child process that the supervisor asked for.

    Shape: ``arguments`` stand without the program's name; ``None`` takes this process's.
    The result is the exit code: 0 fine, 1 a problem was found, 2 usage, 3 admin API out of reach.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    _forget_working_directory()
    if complaint := foreign_room():
        print(f"matapalo: {complaint}", file=sys.stderr)  # noqa: T201 - nothing else is imported yet
        return 1
    if words and words[0] in _CHILDREN:
        return _child(words[0], words[1:])

    from console.commands.group import Door, run  # click: a child must not pay for it

    return run(words, Door(serve=_serve))


def foreign_room(home: str = HERE) -> str | None:
    """Say which room would be imported from elsewhere than *home*; ``None``: all are ours.

    Cost: six path look-ups, about 0.3 ms; nothing is imported.
    """
    for room in ROOMS:
        found = _place_of(room)
        if found is None:
            return (
                f"the package {room!r} is missing beside {os.path.join(home, 'matapalo.py')}; "
                "install Matapalo again (scripts/install in a checkout)"
            )
        expected = os.path.join(home, room, "__init__.py")
        if os.path.realpath(found) != expected:
            return (
                f"{found} stands in front of Matapalo's own package {room!r} ({expected}); "
                "start from another directory, take it off PYTHONPATH or rename it"
            )
    return None


def _place_of(room: str) -> str | None:
    """Name the file or directory that ``import room`` would load."""
    try:
        spec = find_spec(room)
    except ValueError:  # in sys.modules without a spec: somebody put it there by hand
        return f"<a module made at run time: {room}>"
    if spec is None:
        return None
    if spec.origin is None:  # a namespace package: a bare directory of that name
        return next(iter(spec.submodule_search_locations or ()), None)
    return spec.origin


def _forget_working_directory() -> None:
    """Take the directory that ``python -m`` puts first off the path, unless it is ours.

    A ``config.py`` or ``click.py`` in the directory where an operator happens to stand
    must not become part of a proxy; ``python -P`` and the ``matapalo`` script never had it.
    """
    if __name__ == "__main__" and not sys.flags.safe_path and sys.path and os.path.realpath(sys.path[0]) != HERE:
        del sys.path[0]


def _serve(config_path: str, drop: Sequence[str]) -> int:
    """Load the configuration and stay as the supervisor until told to stop."""
    from config.errors import ConfigError
    from config.loader import load
    from proxy.supervisor import run

    try:
        spec = load(config_path)
    except ConfigError as error:
        print(error, file=sys.stderr)  # noqa: T201
        return 1
    return run(config_path, spec, drop=tuple(drop))


def _child(name: str, words: list[str]) -> int:
    """Be a child of the supervisor; the result is the exit code.

    Cost: importing and ending take a quarter less CPU without the garbage collector, which would walk again and again
    what lives as long as the process. What imports throw away stays, too: 0.3 MB.
    """
    flags = _child_flags(name, words)
    gc.disable()
    run: Callable[..., int] = import_module(_CHILDREN[name]).run
    gc.freeze()
    gc.enable()
    return run(**vars(flags))


def _child_flags(name: str, words: list[str]) -> Namespace:
    """Read what the supervisor handed down (docs/architecture.md, "Processes"); exit 2 if it is not that."""
    parser = ArgumentParser(prog=f"matapalo {name}", description="Started by the supervisor, not by hand.")
    parser.add_argument("--state-dir", required=True)
    parser.add_argument("--parent-fd", type=int, required=True)
    if name == "_control":
        parser.add_argument("--config", dest="config_path", required=True)
    else:
        parser.add_argument("--slot", type=int, required=True)
    if name == "_worker":
        parser.add_argument("--listen-fd", dest="listen_fds", type=int, action="append", required=True)
        parser.add_argument("--node", default="")
    return parser.parse_args(words)


_CHILDREN = {"_worker": "proxy.worker", "_comparer": "shadow.comparer", "_control": "console.control"}
"""Where each has its ``run``, which takes what the supervisor handed down."""

if __name__ == "__main__":
    sys.exit(main())
