"""Make routes, configurations and snapshots for the tests of this room, with only what matters spelled out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from config.spec import AddressSpec, AdminSpec, ConfigSpec, LimitsSpec, MatchSpec, RouteSpec
from rules import DEFAULT_SAMPLE_BP, FieldList, Flag, Hold, Snapshot, SnapshotSpec, Stage, build

ADDRESS = AddressSpec(host="127.0.0.1", port=0)
NO_FIELDS = FieldList()


# Any: the overrides are checked by the dataclass constructor, whose keywords differ by field.
def route(name: str, *paths: str, match: Iterable[MatchSpec] = (), **overrides: Any) -> RouteSpec:
    """Make a route from ``legacy-app`` to ``new-app`` over *paths* (``/name`` when nothing is given)."""
    matches = (*(MatchSpec(path=path) for path in paths), *match)
    values: dict[str, Any] = {"legacy": "legacy-app", "new": "new-app", "sticky": ("header:x-user",)}
    return RouteSpec(name=name, match=matches or (MatchSpec(path=f"/{name}"),), **(values | overrides))


def config(*routes: RouteSpec, **overrides: Any) -> ConfigSpec:  # Any: as above
    """Make a configuration around *routes*; undeclared paths go to ``legacy-app``."""
    values: dict[str, Any] = {
        "listen": (ADDRESS,),
        "admin": AdminSpec(listen=ADDRESS),
        "health": ADDRESS,
        "state_dir": "/nowhere",
        "database": "sqlite",
        "flags": "database",
        "workers": 1,
        "comparers": 1,
        "watch": False,
        "trusted_proxies": (),
        "backends": (),
        "undeclared": "legacy-app",
        "override": None,
        "strict": "refuse",
        "access_log": True,
        "limits": LimitsSpec(),
        "digest": "",
    }
    return ConfigSpec(routes=routes, **(values | overrides))


def flag(stage: Stage | str, percent_bp: int = 0, sample_bp: int | None = None, salt: str = "salt") -> Flag:
    """Make a flag with the sample of its stage."""
    stage = Stage(stage)
    sample = DEFAULT_SAMPLE_BP[stage] if sample_bp is None else sample_bp
    return Flag(stage=stage, percent_bp=percent_bp, sample_bp=sample, salt=salt)


def snapshot(
    *routes: RouteSpec,
    flags: Mapping[str, Flag] | None = None,
    holds: Iterable[Hold] = (),
    copying_off: tuple[str, ...] = (),
    **overrides: Any,  # Any: keywords of the configuration
) -> Snapshot:
    """Build a snapshot of *routes*."""
    spec = SnapshotSpec(
        revision=7, config=config(*routes, **overrides), flags=dict(flags or {}), copying_off=copying_off
    )
    return build(spec, holds)


def fields(**values: str) -> FieldList:
    """Make header fields; ``x_user`` is ``x-user``."""
    return FieldList((name.replace("_", "-").encode(), value.encode()) for name, value in values.items())
