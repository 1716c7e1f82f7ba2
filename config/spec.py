"""What was asked for: the whole configuration as frozen values.

The loader is the only writer of these. Everything here is plain data that
msgpack can carry to a worker, so nothing holds a secret's value: secrets stay
references (``env:NAME``, ``file:PATH``) until the process that needs one
resolves it with :func:`config.secret.resolve`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Parity = Literal["bytes", "meaning"]
Role = Literal["viewer", "developer", "operator", "admin"]
StageName = Literal["legacy", "shadow", "canary", "live", "complete", "gone"]
Credentials = Literal["pass", "strip", "replace"]
CopyMode = Literal["reads", "never"]
Keep = Literal["bodies", "fragments", "shapes"]
RuleName = Literal["uuid", "timestamp", "opaque_id", "counter", "unordered", "keyed_by", "within"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsSpec:
    """Name the certificate that we show and the key that goes with it."""

    cert: str
    """A ``file:PATH`` reference to PEM: the certificate first, then those between it and a known authority."""
    key: str
    """A ``file:PATH`` reference to PEM, not encrypted; may be the same file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AddressSpec:
    """Name one TCP address to listen on."""

    host: str
    """An IP literal; ``::`` and ``0.0.0.0`` mean every interface."""
    port: int
    """0 lets the kernel choose; the port is then printed at start."""
    tls: TlsSpec | None = None
    """``None``: clear text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenSpec:
    """Name one bearer token of the admin API and what it may do."""

    name: str
    role: Role
    token: str
    """A secret reference or ``sha256:`` and a hash, never the value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IdentitySpec:
    """Say which proxies have asked people who they are, and what each of those people may do."""

    header: str
    """The header, in lower case, in which such a proxy names the person."""
    sources: tuple[str, ...]
    """The networks of the proxies; from anywhere else the header is refused."""
    roles: tuple[tuple[str, Role], ...] = ()
    """Person to role; the highest that fits is taken, and who fits none may do nothing."""
    groups_header: str | None = None
    """The header, in lower case, that lists the person's groups, with commas between them."""
    groups: tuple[tuple[str, Role], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class AdminSpec:
    """Say where the admin API listens and who may call it."""

    listen: AddressSpec
    tokens: tuple[TokenSpec, ...] = ()
    """Empty, and no ``identity``: no token needed, allowed on loopback only."""
    hosts: tuple[str, ...] = ()
    """Names beside ``localhost`` by which the API may be called; ``*.`` in front stands for everything below a name."""
    identity: IdentitySpec | None = None
    metrics_public: bool = False
    behind_tls: bool = False
    """A declared TLS terminator stands in front; allows a non-loopback address."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BackendTlsSpec:
    """Say how a TLS backend is verified."""

    ca: str | None = None
    """A ``file:PATH`` reference; ``None``: the system's trust store."""
    server_name: str | None = None
    """The name sent and verified; ``None``: the URL's host."""
    verify: bool = True
    identity: TlsSpec | None = None
    """The certificate that we show to a backend that asks for one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BackendSpec:
    """Describe one named upstream."""

    name: str
    scheme: Literal["http", "https"]
    host: str
    port: int
    host_header: str = "preserve"
    """``preserve`` the client's Host, send the ``backend`` URL's, or this literal."""
    path_strip: str = ""
    """Raw prefix removed at a segment boundary; a path without it is left alone."""
    path_add: str = ""
    """Raw prefix put in front afterwards; the URL's own path ends up here."""
    headers_set: tuple[tuple[str, str], ...] = ()
    headers_remove: tuple[str, ...] = ()
    connect_timeout_ns: int = 5_000_000_000
    response_timeout_ns: int | None = None
    """Request sent to response head; ``None``: the route's total time only."""
    idle_timeout_ns: int = 4_000_000_000
    """An idle pooled connection is closed after this; keep it below the backend's own."""
    read_timeout_ns: int = 60_000_000_000
    """The longest silence inside a response body."""
    max_connections: int = 256
    """Per worker and purpose."""
    version_header: str | None = None
    circuit_bp: int | None = 5_000
    """Copies pause when a larger share of them got no answer within 30 s; ``None``: never (``off`` in the file)."""
    tls: BackendTlsSpec | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MatchSpec:
    """Say which requests a route takes; every given part must match."""

    path: str
    """``/exact``, ``/with/{param}``, ``{param:int|uuid|slug}``, ``/prefix/**``."""
    methods: tuple[str, ...] = ()
    """Empty: any method. GET does not imply HEAD."""
    trailing_slash: Literal["strict", "either"] = "strict"
    host: str | None = None
    """Lower case, without port; ``None``: any."""
    headers: tuple[tuple[str, str], ...] = ()
    """Lower-case name and exact value, all required."""
    query: tuple[tuple[str, str], ...] = ()
    """Decoded name and exact value of the first occurrence, all required."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShadowSpec:
    """Say what is copied on one route and within which limits."""

    mode: CopyMode = "reads"
    reads: tuple[str, ...] = ()
    """Unsafe methods declared to be reads (a search by POST): copied like reads."""
    sample_bp: int | None = None
    """First sample of the flag in basis points; ``None``: the stage's default."""
    max_per_second: float | None = 50.0
    """Per route, shared evenly by the workers; ``None``: no limit (``off`` in the file)."""
    max_in_flight: int = 64
    """Per route and worker."""
    timeout_ns: int = 10_000_000_000
    credentials: Credentials = "pass"
    replace_authorization: str | None = None
    """A secret reference; sent as Authorization when ``credentials`` is ``replace``."""
    max_body_bytes: int = 1 << 20
    """A request body larger than this is not copied; an answer larger than this is compared by digest."""
    watch_headers: tuple[str, ...] = ("location", "www-authenticate", "content-disposition", "allow", "cache-control")
    """Lower-case response headers that must be equal beside status, type and coding."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NoiseSpec:
    """Say how many of the compared requests legacy is asked a second time, to learn how much it differs from itself."""

    sample_bp: int = 100
    """Share of the compared safe requests."""
    max_per_second: float | None = 1.0
    """Per route, shared evenly by the workers; ``None``: no limit (``off`` in the file)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FallbackSpec:
    """Say which failures of ``new`` send a canary request to ``legacy`` instead."""

    connect: bool = False
    timeout: bool = False
    statuses: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchdogSpec:
    """Say when a route is taken back by itself (docs/decisions/0025-watchdog.md)."""

    window_ns: int = 60_000_000_000
    """How far back the watchdog looks; it looks at the newest twelfth of it alone, too."""
    error_delta_max_bp: int = 100
    """The share of its requests that new fails, less the share that legacy fails, at most."""
    min_requests: int = 100
    """Fewer requests to new within the window: the watchdog is blind, and says so."""
    min_errors: int = 10
    """Fewer failures of new never trip."""
    p95_ratio_max: float | None = None
    """p95 of new over p95 of legacy on the same requests, at most; ``None``: latency never trips."""
    divergent_max_bp: int | None = None
    """The share of divergent comparisons within the window, at most; ``None``: divergence never trips."""
    cool_down_ns: int = 900_000_000_000
    """After a trip the autopilot keeps its hands off for so long, and until the hold is released."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AutopilotSpec:
    """Say which steps a route takes by itself (docs/decisions/0026-autopilot.md)."""

    steps_bp: tuple[int, ...] = (100, 500, 2_500, 5_000, 10_000)
    """Shares of the clients that new answers in canary, rising."""
    bake_ns: tuple[int, ...] = (3_600_000_000_000,)
    """How long each step stays at least; a single one is for all of them."""
    to: Literal["canary", "live"] = "live"
    """Where it ends: on the last step, or in the stage live."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookSpec:
    """Name somebody who is told what the watchdog and the autopilot do."""

    url: str
    secret: str
    """A secret reference; it signs what is sent."""
    events: tuple[str, ...] = ("autopilot.before", "autopilot.after", "watchdog.tripped")


@dataclass(frozen=True, slots=True, kw_only=True)
class OverrideSpec:
    """Name the header that chooses the side for one request."""

    header: str
    """Lower case; its value is ``<side> <token>``, for example ``new s3cret``."""
    token: str
    """A secret reference."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberSpec:
    """Say one way to belong to a cohort; everything that is given must be so."""

    header: str | None = None
    """Lower case."""
    cookie: str | None = None
    value: str | None = None
    """What the header or cookie must be; ``None``: anything, unless a token is wanted."""
    token: str | None = None
    """A secret reference: what the header or cookie must be, where nobody shall know it."""
    cidr: tuple[str, ...] = ()
    """Blocks, one of which the client's address lies in; empty: wherever it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CohortSpec:
    """Name some clients and say who they are."""

    name: str
    match: tuple[MemberSpec, ...]
    """One of them is enough."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CohortStageSpec:
    """Give one cohort its first stage on a route."""

    name: str
    """The cohort's."""
    stage: Literal["legacy", "shadow", "canary", "live"]
    percent_bp: int = 0
    """Share of the cohort's clients that new answers in ``canary``."""
    sample_bp: int | None = None
    """``None``: the stage's default."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleSpec:
    """Say which shape both values must have for a tolerance to hide that they differ."""

    name: RuleName
    within_ns: int = 0
    """``timestamp``: how far apart the two moments may be."""
    within: str = ""
    """``within`` and ``counter``: how far apart the two numbers may be, ``0.01`` or, of legacy's, ``1%``."""
    member: str = ""
    """``keyed_by``: the member that tells the items of the array apart."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ToleranceSpec:
    """Permit a difference: where or why it is, who answers for it and until when."""

    id: str
    """``t-`` and a hash of route, place, cause and rule: who extends a tolerance keeps its hits."""
    route: str
    """Empty: every route."""
    path: str | None = None
    """A place as written: ``$.a.b[*].c`` or the report's ``/a/b/*/c``; ``None``: anywhere."""
    cause: str | None = None
    """A name of :data:`config.causes.CAUSES`; ``None``: that the value differs."""
    rule: RuleSpec | None = None
    reason: str
    owner: str
    expires: str
    """``2027-01-31``: the last day on which it hides anything, in UTC."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GateSpec:
    """Say what must have been seen of a route before new gets more of its clients."""

    comparisons: int = 3_000
    distinct_requests: int = 200
    divergent_max_bp: int = 20
    """The share of divergent pairs that is still fine; ``undecided`` counts as divergent."""
    p95_ratio_max: float = 1.1
    """p95 of new over p95 of legacy, on the same requests."""
    error_delta_max_bp: int = 10
    """Share of the pairs where only new fails, less the share where only legacy does."""
    over_ns: int = 7 * 24 * 3_600_000_000_000
    """No evidence counts for longer than this."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IgnoreSpec:
    """Silence one warning of ``matapalo check``, and say why."""

    warning: str
    """A name of :data:`config.warnings.WARNINGS`."""
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenFeatureSpec:
    """Name the OpenFeature provider that rules the flags, and how it is asked."""

    provider: str = "flagd"
    """``flagd``, or ``module:factory``, called with the options."""
    prefix: str = ""
    """Before the route's or journey's name it makes the key of a flag."""
    options: tuple[tuple[str, str | int | float | bool], ...] = ()
    """Keyword arguments of the factory."""
    secrets: tuple[tuple[str, str], ...] = ()
    """Further ones, as secret references."""
    context: tuple[tuple[str, str], ...] = ()
    """Attributes of the evaluation context, beside ``route`` and ``journey``."""
    poll_ns: int = 10_000_000_000
    """Between two looks; an event of the provider makes one at once."""
    timeout_ns: int = 5_000_000_000
    """Of one look at every flag, and of the provider's start."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteSpec:
    """Describe one route: a name, what it matches and its policy."""

    name: str
    match: tuple[MatchSpec, ...]
    legacy: str | None
    """A backend's name; ``None``: a new feature without a legacy side."""
    new: str | None
    """A backend's name; ``None`` only while the stage is ``legacy`` or ``gone``."""
    sticky: tuple[str, ...]
    """``header:NAME``, ``cookie:NAME``, ``query:NAME``, ``issued_cookie``, ``ip``, first present wins."""
    initial_stage: StageName = "legacy"
    initial_percent_bp: int = 0
    parity: Parity = "bytes"
    journey: str | None = None
    was: str | None = None
    """The route's former name: its flag moves here on reload."""
    shadow: ShadowSpec = ShadowSpec()
    noise: NoiseSpec | None = None
    """``None``: legacy is asked once."""
    ask_again_ns: tuple[int, ...] = ()
    """So long after its divergent verdict a safe request is asked again of both sides, rising; empty: never."""
    keep: Keep = "fragments"
    redact: tuple[str, ...] = ()
    """``$.path.to.*.member`` or ``header:NAME``; masked before anything leaves the comparer."""
    fallback: FallbackSpec = FallbackSpec()
    timeout_ns: int | None = None
    """First byte of the request to last byte of the answer; ``None``: no limit."""
    max_body_bytes: int | None = None
    """A larger request body is answered 413; ``None``: no limit."""
    on_flip: Literal["close", "keep"] = "close"
    """What happens to open tunnels on rollback."""
    tolerate: tuple[ToleranceSpec, ...] = ()
    """Of this route only; those for every route stand in the configuration."""
    ignore: tuple[IgnoreSpec, ...] = ()
    """Warnings that somebody has looked at."""
    gate: GateSpec | None = GateSpec()
    """What must pass before new gets more clients; ``None``: nothing."""
    watchdog: WatchdogSpec | None = WatchdogSpec()
    """``None``: nothing is taken back by itself (``off`` in the file)."""
    autopilot: AutopilotSpec | None = None
    """``None``: nobody but people raises new's share."""
    cohorts: tuple[CohortStageSpec, ...] = ()
    """First stages of cohorts that begin apart from everybody else."""
    pin_ns: int | None = None
    """How long a client's reads stay on the side that answered its write, in canary; ``None``: not at all."""
    quiet_ns: int = 24 * 3_600_000_000_000
    """How long legacy must have answered nothing before ``complete``: a day, so that nightly jobs have run once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EvidenceSpec:
    """Bound what is remembered about differences and hours."""

    max_age_ns: int = 30 * 24 * 3_600_000_000_000
    """A divergence that was not seen for so long is forgotten, unless somebody accepted it."""
    max_bytes: int = 256 << 20
    """Of ``evidence.db``; beyond it examples go first, then what was not seen for longest."""
    keys: tuple[str, ...] = ()
    """Secret references; the first encrypts examples, all open them; empty: they are not encrypted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitsSpec:
    """Bound what one worker may hold."""

    header_read_timeout_ns: int = 10_000_000_000
    keep_alive_timeout_ns: int = 75_000_000_000
    body_read_timeout_ns: int = 30_000_000_000
    """The longest silence inside a request body."""
    write_timeout_ns: int = 60_000_000_000
    """The longest a client or backend may refuse to take bytes."""
    half_close_timeout_ns: int = 200_000_000
    """How long an answer may stand still once its client has sent a FIN."""
    max_connections: int = 10_000
    max_head_bytes: int = 64 << 10
    max_fields: int = 100
    max_target_bytes: int = 8 << 10
    max_body_bytes: int | None = None
    """For requests whose route sets none; ``None``: no limit."""
    max_chunk_overhead_bytes: int = 16 << 10
    """What the framing of a chunked body may cost, unless it is less than ten times the body."""
    copy_bytes: int = 64 << 20
    """One budget over all copies of a worker, requests and answers together."""
    shed_copies_bp: int | None = 9_500
    """Copies give way when the event loop is busier than this; ``None``: never (``off`` in the file)."""
    drain_ns: int = 30_000_000_000
    lame_duck_ns: int = 0
    tunnel_idle_timeout_ns: int = 3_600_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigSpec:
    """Hold one whole valid configuration.

    Order: routes stand in file order, which decides nothing.
    """

    listen: tuple[AddressSpec, ...]
    admin: AdminSpec
    health: AddressSpec
    state_dir: str
    """Absolute."""
    database: str
    """``sqlite``: files in ``state_dir``; else a URL ``postgresql://…`` or the reference to one."""
    flags: Literal["database", "file", "openfeature"]
    workers: int
    comparers: int
    watch: bool
    trusted_proxies: tuple[str, ...]
    """CIDR blocks."""
    backends: tuple[BackendSpec, ...]
    routes: tuple[RouteSpec, ...]
    undeclared: str | None
    """The backend for what no route matches; ``None``: 404."""
    override: OverrideSpec | None
    strict: Literal["refuse", "report"]
    access_log: bool
    limits: LimitsSpec
    digest: str
    """Hex sha256 over the configuration's files as read, includes in order."""
    evidence: EvidenceSpec = EvidenceSpec()
    files: tuple[str, ...] = ()
    """The files that were read, the main one first; empty when the text came from elsewhere."""
    tolerate: tuple[ToleranceSpec, ...] = ()
    """For every route."""
    ignore: tuple[IgnoreSpec, ...] = ()
    """Warnings that are silenced for the whole file."""
    openfeature: OpenFeatureSpec | None = None
    """Set exactly with ``flags: openfeature``."""
    stuck_after_ns: int = 30 * 24 * 3_600_000_000_000
    """A route that stays so long between ``legacy`` and ``complete`` is warned of."""
    node: str = ""
    """The name of this node among those that share the database; empty: the machine's."""
    cohorts: tuple[CohortSpec, ...] = ()
    """In the order of asking: the first that takes a request is its cohort."""
    pins: tuple[str, ...] = ()
    """Secret references; the first signs pins, all of them are accepted."""
    stamps: tuple[tuple[str, str], ...] = ()
    """Each file that TLS reads with its age and size then: a renewed certificate makes another configuration."""
    webhooks: tuple[WebhookSpec, ...] = ()
    """Who is told of steps and trips."""
