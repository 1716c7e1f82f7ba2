"""From what the files say to the frozen specs: defaults are joined here, and one value is held against another.

Everything is checked, also beside values that were refused, so that one run
shows every problem; the result is used only when there is none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, TypeVar

from config import checks, secret
from config.document import Place
from config.forms import UrlParts
from config.kinds import Filled
from config.reader import REFUSED, Reader
from config.spec import (
    AddressSpec,
    AdminSpec,
    AutopilotSpec,
    BackendSpec,
    BackendTlsSpec,
    CohortSpec,
    CohortStageSpec,
    ConfigSpec,
    EvidenceSpec,
    FallbackSpec,
    GateSpec,
    IdentitySpec,
    IgnoreSpec,
    LimitsSpec,
    MatchSpec,
    MemberSpec,
    NoiseSpec,
    OpenFeatureSpec,
    OverrideSpec,
    RouteSpec,
    ShadowSpec,
    TlsSpec,
    TokenSpec,
    WatchdogSpec,
    WebhookSpec,
)
from config.table import ADMIN, DEFAULTS, EVIDENCE, HEALTH, LIMITS
from config.tolerate import tolerances

MAX_ROUTES: Final = 10_000
"""More than that is a generator's mistake; a snapshot of 10,000 routes is some 6 MB."""

T = TypeVar("T")

_NOWHERE: Final = Place("", 0, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Say what was read."""

    base_dir: Path
    """Paths inside the configuration are relative to this."""
    digest: str
    files: tuple[str, ...]


def build(root: Filled, included: Sequence[Filled], source: Source, reader: Reader) -> ConfigSpec | None:
    """Make the whole configuration, or ``None`` where a required part is missing; problems go to the reader."""
    parts = (root, *included)
    named = [pair for part in parts for pair in part.given.get("backends", ())]
    if not any("backends" in part.places for part in parts):
        reader.report(
            root.place, "backends", "is missing, expected at least one, such as shop: {url: http://shop:8080}"
        )
    backends = _backends(named, source.base_dir, reader)
    written = [filled for part in parts for filled in part.given.get("routes", ())]
    if len(written) > MAX_ROUTES:
        place = written[MAX_ROUTES].place
        reader.report(place, "routes", f"found {len(written)} routes, expected at most {MAX_ROUTES}")
        return None
    defaults = root.given.get("defaults", _empty(DEFAULTS))
    flags = root.get("flags")
    routes = [_route(filled, defaults, flags=flags, base_dir=source.base_dir, reader=reader) for filled in written]
    admin_filled = root.given.get("admin", _empty(ADMIN))
    spec = ConfigSpec(
        listen=tuple(_listener(item, source.base_dir) for item in root.get("listen")),
        admin=_admin(admin_filled, source.base_dir, reader),
        health=root.given.get("health", _empty(HEALTH)).get("listen"),
        state_dir=str((source.base_dir / root.get("state_dir")).absolute()),
        database=secret.anchored(root.get("database"), source.base_dir),
        node=root.get("node"),
        flags=flags,
        workers=root.get("workers"),
        comparers=root.get("comparers"),
        watch=root.get("watch"),
        trusted_proxies=root.get("trusted_proxies"),
        backends=tuple(backends),
        routes=tuple(route for route in routes if route is not None),
        undeclared=_undeclared(root.get("undeclared")),
        override=_override(root.given.get("override"), source.base_dir),
        strict=root.get("strict"),
        access_log=root.get("access_log"),
        limits=LimitsSpec(**root.given.get("limits", _empty(LIMITS)).fields()),
        evidence=_evidence(root.given.get("evidence", _empty(EVIDENCE)), source.base_dir),
        digest=source.digest,
        files=source.files,
        tolerate=tolerances(root.get("tolerate"), "", reader),
        webhooks=tuple(
            WebhookSpec(**item.fields() | {"secret": secret.anchored(item.given["secret"], source.base_dir)})
            for item in root.get("webhooks")
            if {"url", "secret"} <= item.given.keys()
        ),
        ignore=_ignored(root.get("ignore")),
        openfeature=_openfeature(root, source.base_dir, reader),
        stuck_after_ns=root.get("stuck_after"),
        cohorts=_cohorts(root.get("cohorts"), source.base_dir, reader),
        pins=_pins(root.given.get("pins"), source.base_dir),
    )
    names = tuple(name for name, _ in named)
    checks.check_backend_names(root, defaults, written, names, reader)
    checks.check_addresses(root, spec, named, reader)
    checks.check_audiences(root, defaults, written, routes, spec, reader)
    named_backends = {backend.name: backend for backend in backends}
    checks.check_routes(written, defaults, routes, named_backends, spec.flags, reader)
    return None if reader.problems else spec


def _empty(section: Any) -> Filled:
    """Stand in for a section that the file does not have."""
    return Filled(_NOWHERE, section.title, section, {}, {})


def _backends(named: Iterable[tuple[str, Any]], base_dir: Path, reader: Reader) -> list[BackendSpec]:
    """Make every backend whose URL is known, each name once."""
    first: dict[str, Place] = {}
    specs = []
    for name, filled in named:
        if filled is REFUSED:
            continue
        if name in first:
            there = f"{first[name].file}:{first[name].line}"
            reader.report(
                filled.place, f"backends.{name}", f"found {name!r} again, expected each name once; see {there}"
            )
            continue
        first[name] = filled.place
        if "url" in filled.given:
            specs.append(_backend(name, filled, base_dir, reader))
    return specs


def _backend(name: str, filled: Filled, base_dir: Path, reader: Reader) -> BackendSpec:
    """Make one backend; the URL's own path stands in front of ``path.add``."""
    url: UrlParts = filled.given["url"]
    own = filled.fields()
    for key in ("url", "path", "headers", "tls"):
        own.pop(key, None)
    path = filled.given["path"].fields() if "path" in filled.given else {}
    headers = filled.given["headers"].fields() if "headers" in filled.given else {}
    tls = BackendTlsSpec() if url.scheme == "https" else None
    if "tls" in filled.given:
        if url.scheme == "http":
            message = "found tls on an http backend, expected it with https; change the scheme or remove tls"
            reader.report(filled.places["tls"], f"{filled.where}.tls", message)
        tls = _backend_tls(filled.given["tls"], base_dir, reader)
    return BackendSpec(
        name=name,
        scheme="https" if url.scheme == "https" else "http",
        host=url.host,
        port=url.port,
        path_strip=path.get("path_strip", ""),
        path_add=url.path + path.get("path_add", ""),
        tls=tls,
        **own,
        **headers,
    )


def _backend_tls(filled: Filled, base_dir: Path, reader: Reader) -> BackendTlsSpec:
    """Say how a backend is verified, and who we are to it."""
    fields = filled.fields("server_name", "verify")
    if "ca" in filled.given:
        fields["ca"] = secret.anchored(filled.given["ca"], base_dir)
    if ("cert" in filled.places) != ("key" in filled.places):
        message = "found one of cert and key, expected both or none; they may name the same file"
        reader.report(filled.place, filled.where, message)
    return BackendTlsSpec(**fields, identity=_tls(filled, base_dir))


def _tls(filled: Filled | None, base_dir: Path) -> TlsSpec | None:
    """Name the two files of a certificate, where both are there."""
    if filled is None or not {"cert", "key"} <= filled.given.keys():
        return None
    return TlsSpec(**{name: secret.anchored(filled.given[name], base_dir) for name in ("cert", "key")})


def _listener(item: Filled | AddressSpec, base_dir: Path) -> AddressSpec:
    """Make one listener; the default is one already."""
    if isinstance(item, AddressSpec):
        return item
    # Without an address there is a problem already, and the result is not used.
    address: AddressSpec = item.given.get("address", AddressSpec(host="127.0.0.1", port=0))
    return replace(address, tls=_tls(item.given.get("tls"), base_dir))


def _admin(filled: Filled, base_dir: Path, reader: Reader) -> AdminSpec:
    """Make the admin section, each token's name once."""
    tokens: dict[str, TokenSpec] = {}
    for token in filled.get("tokens"):
        fields = token.fields()
        if len(fields) < 3:
            continue
        if fields["name"] in tokens:
            message = f"found the name {fields['name']!r} again, expected each name once; the audit tells them apart"
            reader.report(token.places["name"], f"{token.where}.name", message)
        tokens[fields["name"]] = TokenSpec(**fields | {"token": secret.anchored(fields["token"], base_dir)})
    own = filled.fields("metrics_public", "behind_tls", "hosts")
    listen = replace(filled.get("listen"), tls=_tls(filled.given.get("tls"), base_dir))
    identity = _identity(filled.given.get("identity"), reader)
    return AdminSpec(listen=listen, tokens=tuple(tokens.values()), identity=identity, **own)


def _identity(filled: Filled | None, reader: Reader) -> IdentitySpec | None:
    """Make who names people, where it is wanted and whole; a network of everybody names no proxy."""
    if filled is None or not {"header", "from"} <= filled.given.keys():
        return None
    if any(network.endswith("/0") for network in filled.given["from"]):
        message = "found every address there is, expected those of the proxies that ask people who they are"
        reader.report(filled.places["from"], f"{filled.where}.from", message)
    if not filled.given.get("roles") and not filled.given.get("groups"):
        message = "found nobody who may do anything, expected roles or groups, such as roles: {alice: operator}"
        reader.report(filled.place, filled.where, message)
    if filled.given.get("groups") and "groups_header" not in filled.places:
        message = "found groups without groups_header, expected the header that lists a person's groups"
        reader.report(filled.places["groups"], f"{filled.where}.groups", message)
    fields = filled.fields()
    groups_header = fields.pop("groups_header", None)
    return IdentitySpec(
        header=fields.pop("header").lower(), groups_header=groups_header and groups_header.lower(), **fields
    )


def _undeclared(value: Any) -> str | None:
    """Read the backend of what no route matches."""
    name = None if value == "none" else value.given.get("backend")
    return None if name == "none" else name


def _evidence(filled: Filled, base_dir: Path) -> EvidenceSpec:
    """Make what bounds and guards the evidence."""
    fields = filled.fields()
    keys = tuple(secret.anchored(key, base_dir) for key in fields.pop("keys", ()))
    return EvidenceSpec(**fields, keys=keys)


def _ignored(written: Iterable[Filled] | None) -> tuple[IgnoreSpec, ...]:
    """Make the silenced warnings that are whole."""
    made = (filled.fields() for filled in written or ())
    return tuple(IgnoreSpec(**fields) for fields in made if {"warning", "reason"} <= fields.keys())


def _openfeature(root: Filled, base_dir: Path, reader: Reader) -> OpenFeatureSpec | None:
    """Make the provider that rules the flags; it stands there exactly with ``flags: openfeature``."""
    filled = root.given.get("openfeature")
    if filled is not None and root.get("flags") != "openfeature":
        message = (
            f"found a provider, expected flags: openfeature beside it; with flags: {root.get('flags')} nobody asks"
        )
        reader.report(root.places["openfeature"], "openfeature", message)
    if root.get("flags") != "openfeature":
        return None
    fields = {} if filled is None else filled.fields()
    given: dict[str, Any] = dict(fields.pop("options", ()))  # the provider knows the types
    secrets = dict(fields.pop("secrets", ()))
    if both := given.keys() & secrets.keys():
        assert filled is not None
        message = f"found {', '.join(sorted(both))} in options and in secrets, expected each argument once"
        reader.report(filled.places["secrets"], "openfeature.secrets", message)
    source = given.get("offline_flag_source_path")
    if fields.get("provider", "flagd") == "flagd" and isinstance(source, str):
        given["offline_flag_source_path"] = str(base_dir.absolute() / source)
    return OpenFeatureSpec(
        options=tuple(given.items()),
        secrets=tuple((name, secret.anchored(ref, base_dir)) for name, ref in secrets.items()),
        **fields,
    )


def _override(filled: Filled | None, base_dir: Path) -> OverrideSpec | None:
    """Make the override, where it is wanted and whole."""
    if filled is None or len(filled.given) < 2:
        return None
    return OverrideSpec(header=filled.given["header"], token=secret.anchored(filled.given["token"], base_dir))


def _cohorts(items: Sequence[Filled], base_dir: Path, reader: Reader) -> tuple[CohortSpec, ...]:
    """Make every cohort, each name once."""
    cohorts: dict[str, CohortSpec] = {}
    for filled in items:
        matches = filled.given.get("match", ())
        for match in matches:
            checks.check_member(match, reader)
        name = filled.given.get("name", "")
        if name in cohorts:
            message = f"found {name!r} again, expected each name once"
            reader.report(filled.places["name"], f"{filled.where}.name", message)
        cohorts[name] = CohortSpec(name=name, match=tuple(_member(match, base_dir) for match in matches))
    return tuple(cohorts.values())


def _member(filled: Filled, base_dir: Path) -> MemberSpec:
    fields = filled.fields()
    if "token" in fields:
        fields["token"] = secret.anchored(fields["token"], base_dir)
    return MemberSpec(**fields)


def _cohort_stages(*layers: Iterable[tuple[str, Filled]]) -> tuple[CohortStageSpec, ...]:
    """Make the first stages of cohorts on one route, the last layer's wins; one without a stage has been reported."""
    stages = {name: filled for layer in layers for name, filled in layer if "stage" in filled.given}
    return tuple(CohortStageSpec(name=name, **filled.fields()) for name, filled in stages.items())


def _pins(filled: Filled | None, base_dir: Path) -> tuple[str, ...]:
    """Name the keys that sign pins; empty: nothing does."""
    return () if filled is None else tuple(secret.anchored(key, base_dir) for key in filled.given.get("secret", ()))


def _route(filled: Filled, defaults: Filled, *, flags: str, base_dir: Path, reader: Reader) -> RouteSpec | None:
    """Join one route with the defaults; ``None`` where its name or match is missing."""
    if "name" not in filled.given or not filled.given.get("match"):
        return None
    checks.check_stage_keys(filled, flags, reader)
    given: dict[str, Any] = defaults.given | filled.given  # the table's kinds decide the types
    legacy, new = (None if given.get(side) == "none" else given.get(side) for side in ("legacy", "new"))
    rest = {
        "sticky": given.get("sticky", filled.get("sticky")),
        "initial_stage": "live" if given.get("legacy") == "none" else "legacy",
        **defaults.fields("timeout", "parity", "keep", "pin", "quiet"),
        **filled.fields("timeout", "parity", "keep", "pin", "quiet", "journey", "was", "max_body", "on_flip"),
        **filled.fields("initial_stage", "initial_percent"),
        **filled.fields("stage", "percent"),
    }
    return RouteSpec(
        name=filled.given["name"],
        match=tuple(MatchSpec(**match.fields()) for match in filled.given["match"] if "path" in match.given),
        legacy=legacy,
        new=new,
        shadow=_shadow(filled, defaults, base_dir, reader),
        noise=_made(NoiseSpec, _joined("noise", filled, defaults, is_on=False)),
        gate=_made(GateSpec, _joined("gate", filled, defaults, is_on=True)),
        watchdog=_made(WatchdogSpec, _joined("watchdog", filled, defaults, is_on=True)),
        autopilot=_made(AutopilotSpec, _joined("autopilot", filled, defaults, is_on=False)),
        ask_again_ns=tuple(sorted(given.get("ask_again", ()))),
        redact=tuple(dict.fromkeys(defaults.given.get("redact", ()) + filled.given.get("redact", ()))),
        fallback=_fallback(given.get("fallback")),
        cohorts=_cohort_stages(defaults.given.get("cohorts", ()), filled.given.get("cohorts", ())),
        tolerate=tolerances(filled.get("tolerate"), filled.given["name"], reader),
        ignore=_ignored(filled.get("ignore")),
        **rest,
    )


def _shadow(filled: Filled, defaults: Filled, base_dir: Path, reader: Reader) -> ShadowSpec:
    """Join the two shadow sections key by key; a word (``never``) replaces everything behind it."""
    fields: dict[str, Any] = {}  # the table's kinds decide the types
    place, where = filled.place, f"{filled.where}.shadow"
    for layer in (defaults, filled):
        value = layer.given.get("shadow")
        if value == "never":
            fields = {"mode": "never"}
        elif value is not None:
            fields = {name: item for name, item in fields.items() if name != "mode"} | value.fields()
            place, where = value.place, value.where
    if "reads" in filled.given:
        own = filled.given.get("shadow")
        if isinstance(own, Filled) and "reads" in own.given:
            message = "found reads here and in shadow, expected one of them"
            reader.report(filled.places["reads"], f"{filled.where}.reads", message)
        fields["reads"] = filled.given["reads"]
    if "replace_authorization" in fields:
        fields["replace_authorization"] = secret.anchored(fields["replace_authorization"], base_dir)
    replaces, has_value = fields.get("credentials") == "replace", "replace_authorization" in fields
    if replaces and not has_value:
        message = "found credentials: replace, expected replace_authorization beside it, such as env:SHADOW_TOKEN"
        reader.report(place, where, message)
    elif has_value and not replaces and fields.get("mode") != "never":
        reader.report(place, where, "found replace_authorization, expected credentials: replace beside it")
    return ShadowSpec(**fields)


def _joined(name: str, filled: Filled, defaults: Filled, *, is_on: bool) -> dict[str, Any] | None:
    """Join two sections key by key; ``off`` replaces what stands before it. *is_on*: also without any section."""
    fields: dict[str, Any] | None = {} if is_on else None  # the table's kinds decide the types
    for layer in (defaults, filled):
        value = layer.given.get(name)
        if value == "off":
            fields = None
        elif value is not None:
            fields = (fields or {}) | value.fields()
    return fields


def _made(spec: Callable[..., T], fields: dict[str, Any] | None) -> T | None:
    """Make what a joined section asks for, if it is on."""
    return None if fields is None else spec(**fields)


def _fallback(filled: Filled | None) -> FallbackSpec:
    """Sort the failures that fallback reacts to."""
    failures = filled.given.get("on", ()) if filled is not None else ()
    return FallbackSpec(
        connect="connect" in failures,
        timeout="timeout" in failures,
        statuses=tuple(item for item in failures if isinstance(item, int)),
    )
