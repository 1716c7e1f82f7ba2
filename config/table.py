"""The one table of every key: its name, kind, default and text.

The loader, the did-you-mean, the JSON Schema and ``docs/configuration.md`` are
all made from this table, so a key is added here, in :mod:`config.spec`, and
where :mod:`config.build` brings the two together.
"""

from __future__ import annotations

from typing import Final

from config import causes, forms, json_path, redaction, secret, units
from config.errors import UnfitError
from config.kinds import Key, Many, Plain, Section, Table, Word, boolean, choice, whole
from config.spec import (
    AddressSpec,
    AdminSpec,
    AutopilotSpec,
    BackendSpec,
    BackendTlsSpec,
    CohortSpec,
    CohortStageSpec,
    EvidenceSpec,
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
    RuleSpec,
    ShadowSpec,
    TokenSpec,
    ToleranceSpec,
    WatchdogSpec,
    WebhookSpec,
)
from config.warnings import WARNINGS

MAX_WORKERS: Final = 64

# --- words ------------------------------------------------------------------------------------------------------------

TEXT: Final = Word(words="a text on one line", parse=forms.text)
SCALAR: Final = Word(words="a text or a number", parse=forms.text, types=("string", "number", "boolean"), secret=True)
NAME: Final = Word(words=forms.NAME, parse=forms.name, limits={"pattern": forms.NAME_PATTERN})
BACKEND_NAME: Final = Word(
    words="the name of a backend, or none",
    parse=lambda text: text if text == "none" else forms.name(text),
    limits={"pattern": forms.NAME_PATTERN},
)
ADDRESS: Final = Word(
    words=forms.ADDRESS,
    parse=forms.address,
    show=forms.format_address,
    limits={"pattern": forms.ADDRESS_PATTERN},
)
ROLE: Final = choice("viewer", "developer", "operator", "admin")
PERSON: Final = Word(words="a name on one line", parse=forms.short_text)
NETWORK: Final = Word(words=forms.NETWORK, parse=forms.network)
DATABASE: Final = Word(
    words=forms.DATABASE, parse=forms.database, limits={"pattern": forms.DATABASE_PATTERN}, secret=True
)
SECRET: Final = Word(words=secret.EXPECTED, parse=secret.reference, limits={"pattern": secret.PATTERN}, secret=True)
TOKEN_SECRET: Final = Word(
    words=secret.OR_HASH_EXPECTED, parse=secret.token_reference, limits={"pattern": secret.OR_HASH_PATTERN}, secret=True
)
FILE: Final = Word(words="a file: file:PATH", parse=secret.file_reference, limits={"pattern": "^file:.+$"})
PATH: Final = Word(words="the path of a file", parse=secret.file_path, secret=True)
DURATION: Final = Word(
    words=units.DURATION,
    parse=units.duration_ns,
    show=units.format_duration,
    limits={"pattern": units.DURATION_PATTERN},
)
SIZE: Final = Word(
    words=units.SIZE, parse=units.size_bytes, show=units.format_size, limits={"pattern": units.SIZE_PATTERN}
)


def duration(low_ns: int, high_ns: int) -> Word:
    """Make the kind of a duration between two bounds."""
    words = f"a duration from {units.format_duration(low_ns)} to {units.format_duration(high_ns)}"

    def parse(text: str) -> int:
        value = units.duration_ns(text)
        if not low_ns <= value <= high_ns:
            raise UnfitError(text, words)
        return value

    return Word(words=words, parse=parse, show=units.format_duration, limits={"pattern": units.DURATION_PATTERN})


def size(low_bytes: int, high_bytes: int) -> Word:
    """Make the kind of a size between two bounds."""
    words = f"a size from {units.format_size(low_bytes)} to {units.format_size(high_bytes)}, such as 8KiB"

    def parse(text: str) -> int:
        value = units.size_bytes(text)
        if not low_bytes <= value <= high_bytes:
            raise UnfitError(text, words)
        return value

    return Word(words=words, parse=parse, show=units.format_size, limits={"pattern": units.SIZE_PATTERN})


def share(low_bp: int, high_bp: int) -> Word:
    """Make the kind of a share between two bounds."""
    words = f"a share from {units.format_share(low_bp)} to {units.format_share(high_bp)}, such as 0.2%"

    def parse(text: str) -> int:
        value = units.share_bp(text)
        if not low_bp <= value <= high_bp:
            raise UnfitError(text, words)
        return value

    return Word(words=words, parse=parse, show=units.format_share, limits={"pattern": units.SHARE_PATTERN})


SHARE: Final = Word(
    words=units.SHARE, parse=units.share_bp, show=units.format_share, limits={"pattern": units.SHARE_PATTERN}
)
SHARE_OR_OFF: Final = Word(
    words=f"{units.SHARE}, or off",
    parse=units.share_or_off_bp,
    show=units.format_share_or_off,
    limits={"pattern": f"^off$|{units.SHARE_PATTERN}"},
)
PERCENT: Final = Word(
    words="a number from 0 to 100 in steps of 0.01, such as 12.5",
    parse=units.percent_bp,
    show=lambda value: units.format_share(value).rstrip("%"),
    types=("string", "number"),
    limits={"pattern": units.SHARE_PATTERN, "minimum": 0, "maximum": 100},
)
RATE: Final = Word(
    words=units.RATE,
    parse=units.rate_per_second,
    show=units.format_rate,
    types=("string", "number"),
    limits={"pattern": "^off$", "minimum": 0.001, "maximum": 1_000_000},
)
RATIO: Final = Word(
    words=forms.RATIO,
    parse=forms.ratio,
    show=lambda value: f"{value:g}",
    types=("number",),
    limits={"minimum": forms.MIN_RATIO, "maximum": forms.MAX_RATIO},
)
METHOD: Final = Word(words=forms.METHOD, parse=forms.method, limits={"pattern": forms.METHOD_PATTERN})
HEADER: Final = Word(words=forms.HEADER, parse=forms.header, limits={"pattern": forms.HEADER_PATTERN})
OWN_HEADER: Final = Word(words=forms.HEADER, parse=forms.own_header, limits={"pattern": forms.HEADER_PATTERN})
HEADER_VALUE: Final = Word(
    words="a header value", parse=forms.header_value, types=("string", "number", "boolean"), secret=True
)
SHORT_TEXT: Final = Word(words=forms.SHORT_TEXT, parse=forms.short_text, limits={"maxLength": forms.MAX_SHORT_TEXT})
REDACTION: Final = Word(words=redaction.EXPECTED, parse=redaction.redaction, limits={"pattern": redaction.PATTERN})
PLACE: Final = Word(words=json_path.EXPECTED, parse=json_path.written_place, limits={"pattern": json_path.PATTERN})
CAUSE: Final = Word(words=causes.EXPECTED, parse=causes.tolerable, limits={"enum": list(causes.TOLERABLE)})
DAY: Final = Word(words=forms.DAY, parse=forms.day, limits={"pattern": forms.DAY_PATTERN})
APART: Final = Word(
    words=forms.APART,
    parse=forms.apart,
    types=("string", "number"),
    limits={"pattern": forms.APART_PATTERN, "exclusiveMinimum": 0},
)
STEPS: Final = Word(
    words=forms.STEPS, parse=forms.steps, types=("integer",), limits={"minimum": 1, "maximum": 1_000_000_000}
)
STAGE: Final = choice("legacy", "shadow", "canary", "live", "complete", "gone")
COOKIE: Final = Word(words=forms.COOKIE, parse=forms.cookie, limits={"pattern": forms.HEADER_PATTERN})
_PIN: Final = duration(1_000_000_000, 3_600_000_000_000)
PIN: Final = Word(
    words=f"{_PIN.words}, or off",
    parse=lambda text: None if text == "off" else _PIN.parse(text),
    show=lambda value: "off" if value is None else _PIN.show(value),
    limits={"pattern": f"^off$|{units.DURATION_PATTERN}"},
)

# --- sections, innermost first ----------------------------------------------------------------------------------------

TLS: Final = Section(
    title="tls",
    doc="The certificate that clients are shown. Both files are read again when they change.",
    keys=(
        Key(
            name="cert",
            kind=PATH,
            doc="PEM: the certificate first, then those between it and a known authority.",
            required=True,
        ),
        Key(name="key", kind=PATH, doc="PEM, not encrypted; may be the same file.", required=True),
    ),
)

LISTENER: Final = Section(
    title="listener",
    doc="One address where clients connect.",
    alone="address",
    keys=(
        Key(name="address", kind=ADDRESS, doc="Its address.", required=True),
        Key(name="tls", kind=TLS, doc="The certificate; without it clients speak clear text."),
    ),
)

TOKEN: Final = Section(
    title="token",
    doc="One bearer token of the admin API.",
    spec=TokenSpec,
    keys=(
        Key(name="name", kind=NAME, doc="Who it is; this name stands in the audit.", required=True),
        Key(
            name="role",
            kind=ROLE,
            doc="What it may do: numbers, bodies, flips, tokens.",
            required=True,
        ),
        Key(
            name="token",
            kind=TOKEN_SECRET,
            doc="Where the value is found, or `sha256:` and its hash (`matapalo token hash`); never the value itself.",
            required=True,
        ),
    ),
)

_ROLES: Final = Table(key=PERSON, of=ROLE, words="names and roles")

IDENTITY: Final = Section(
    title="identity",
    doc="A proxy that has asked people who they are, and what each of them may do. Who is not named may do nothing.",
    spec=IdentitySpec,
    keys=(
        Key(name="header", kind=HEADER, doc="The header in which it names the person.", required=True),
        Key(
            name="from",
            kind=Many(of=NETWORK, or_one=True, at_least=1),
            doc="Its addresses; the header from anywhere else is refused and counted.",
            field="sources",
            required=True,
        ),
        Key(name="roles", kind=_ROLES, doc="Person to role."),
        Key(name="groups_header", kind=HEADER, doc="The header that lists the person's groups, commas between them."),
        Key(name="groups", kind=_ROLES, doc="Group to role; of several roles the highest holds."),
    ),
)

ADMIN: Final = Section(
    title="admin",
    doc="Where the admin API listens and who may call it.",
    spec=AdminSpec,
    keys=(
        Key(name="listen", kind=ADDRESS, doc="Its address.", default=AddressSpec(host="127.0.0.1", port=8081)),
        Key(
            name="tokens",
            kind=Many(of=TOKEN),
            doc="Who may call. Without tokens and `identity` anybody may, and only on this machine.",
        ),
        Key(
            name="hosts",
            kind=Many(of=Word(words=forms.HOSTS, parse=forms.hosts)),
            doc="Names by which it may be called, beside `localhost` and IP addresses; others are refused, because a "
            "page can point a name of its own here (DNS rebinding).",
        ),
        Key(name="identity", kind=IDENTITY, doc=IDENTITY.doc),
        Key(name="metrics_public", kind=boolean(), doc="Let `/metrics` be read without a token."),
        Key(
            name="behind_tls",
            kind=boolean(),
            doc="Something in front of this address speaks TLS; it or `tls` is needed to listen beyond this machine.",
        ),
        Key(name="tls", kind=TLS, doc="The certificate; with it this address speaks TLS itself."),
    ),
)

HEALTH: Final = Section(
    title="health",
    doc="Where the supervisor answers `/livez` and `/readyz`, without a token.",
    keys=(Key(name="listen", kind=ADDRESS, doc="Its address.", default=AddressSpec(host="127.0.0.1", port=8082)),),
)

BACKEND_PATH: Final = Section(
    title="backend path",
    doc="How the path changes on its way to the backend.",
    keys=(
        Key(
            name="strip",
            kind=Word(words=forms.PREFIX, parse=forms.prefix, limits={"pattern": forms.PREFIX_PATTERN}),
            doc="Taken off the front, whole segments only; a path without it is left alone.",
            field="path_strip",
        ),
        Key(
            name="add",
            kind=Word(words=forms.PREFIX, parse=forms.prefix, limits={"pattern": forms.PREFIX_PATTERN}),
            doc="Put in front afterwards, behind the URL's own path.",
            field="path_add",
        ),
    ),
)

BACKEND_HEADERS: Final = Section(
    title="backend headers",
    doc="How a request's headers change on their way to the backend.",
    keys=(
        Key(
            name="set",
            kind=Table(key=OWN_HEADER, of=HEADER_VALUE, words="header names and values"),
            doc="Sent with exactly this value, in place of the client's.",
            field="headers_set",
        ),
        Key(name="remove", kind=Many(of=OWN_HEADER), doc="Not sent.", field="headers_remove"),
    ),
)

BACKEND_TLS: Final = Section(
    title="backend tls",
    doc="How an `https` backend is verified.",
    spec=BackendTlsSpec,
    keys=(
        Key(name="ca", kind=FILE, doc="Certificates to trust, as PEM; without it the system's."),
        Key(
            name="server_name",
            kind=Word(words=forms.HOST, parse=forms.host, limits={"pattern": forms.HOST_PATTERN}),
            doc="The name that is sent and verified; without it the URL's host.",
        ),
        Key(name="verify", kind=boolean(), doc="`false` accepts any certificate: for tests only."),
        Key(name="cert", kind=PATH, doc="The certificate that we show when the backend asks for one, as PEM."),
        Key(name="key", kind=PATH, doc="Its key as PEM, not encrypted; may be the same file."),
    ),
)

BACKEND: Final = Section(
    title="backend",
    doc="One named upstream.",
    spec=BackendSpec,
    keys=(
        Key(
            name="url",
            kind=Word(words=forms.URL, parse=forms.url, limits={"pattern": forms.URL_PATTERN}, secret=True),
            doc="Scheme, host, port, and a path that is put in front of every request's.",
            required=True,
        ),
        Key(name="connect_timeout", kind=DURATION, doc="Name to open connection.", field="connect_timeout_ns"),
        Key(
            name="response_timeout",
            kind=DURATION,
            doc="Request sent to response head; without it only the route's `timeout` counts.",
            field="response_timeout_ns",
        ),
        Key(
            name="idle_timeout",
            kind=DURATION,
            doc="An idle connection is closed after this; keep it below the backend's own.",
            field="idle_timeout_ns",
        ),
        Key(
            name="read_timeout",
            kind=DURATION,
            doc="The longest silence inside a response body.",
            field="read_timeout_ns",
        ),
        Key(
            name="max_connections",
            kind=whole(1, 65_535),
            doc="Connections per worker and purpose: answers and copies never share.",
        ),
        Key(
            name="host",
            kind=Word(words=forms.HOST_HEADER, parse=forms.host_header),
            doc="The Host header: `preserve` the client's, the `backend` URL's, or this text.",
            field="host_header",
        ),
        Key(name="path", kind=BACKEND_PATH, doc=BACKEND_PATH.doc),
        Key(name="headers", kind=BACKEND_HEADERS, doc=BACKEND_HEADERS.doc),
        Key(
            name="version_header",
            kind=HEADER,
            doc="The response header that names the build, so that evidence is kept per build.",
        ),
        Key(
            name="circuit",
            kind=SHARE_OR_OFF,
            doc="Copies to it pause when more than this share of them got no answer within 30 s; `off`: never.",
            field="circuit_bp",
        ),
        Key(name="tls", kind=BACKEND_TLS, doc=BACKEND_TLS.doc),
    ),
)

MATCH: Final = Section(
    title="match",
    doc="Which requests a route takes; every given part must match, and the most specific route wins.",
    spec=MatchSpec,
    keys=(
        Key(
            name="path",
            kind=Word(words=forms.TEMPLATE, parse=forms.template, limits={"pattern": forms.TEMPLATE_PATTERN}),
            doc="`/exact`, `/with/{name}`, `{name:int}`, `{name:uuid}`, `{name:slug}`, or `/prefix/**`.",
            required=True,
        ),
        Key(
            name="methods",
            kind=Many(of=METHOD, at_least=1),
            doc="These methods; without it any. GET does not include HEAD.",
        ),
        Key(
            name="trailing_slash",
            kind=choice("strict", "either"),
            doc="Whether `/orders/` is `/orders`.",
        ),
        Key(
            name="host",
            kind=Word(words=forms.HOST, parse=forms.host, limits={"pattern": forms.HOST_PATTERN}),
            doc="This host, without port; without it any.",
        ),
        Key(
            name="headers",
            kind=Table(key=HEADER, of=SCALAR, words="header names and values"),
            doc="These headers with exactly these values.",
        ),
        Key(
            name="query",
            kind=Table(key=TEXT, of=SCALAR, words="parameter names and values"),
            doc="These query parameters with exactly these values, the first occurrence of each.",
        ),
    ),
)

SHADOW: Final = Section(
    title="shadow",
    doc="What is copied to the other side, and within which limits.",
    spec=ShadowSpec,
    keys=(
        Key(
            name="sample",
            kind=SHARE,
            doc="First share of the eligible requests that is copied; without it the stage's default.",
            field="sample_bp",
        ),
        Key(
            name="max_per_second",
            kind=RATE,
            doc="Copies per second on this route, shared evenly by the workers; `off` is no limit.",
        ),
        Key(name="max_in_flight", kind=whole(1, 65_535), doc="Copies at the same time, per route and worker."),
        Key(name="timeout", kind=DURATION, doc="A copy's whole time.", field="timeout_ns"),
        Key(
            name="credentials",
            kind=choice("pass", "strip", "replace"),
            doc="What a copy carries of the client's Authorization and Cookie.",
        ),
        Key(
            name="replace_authorization",
            kind=SECRET,
            doc="Where the Authorization of copies is found, with `credentials: replace`.",
        ),
        Key(
            name="reads",
            kind=Many(of=METHOD, or_one=True),
            doc="Unsafe methods that only read here (a search by POST): copied like reads.",
        ),
        Key(
            name="max_body",
            kind=SIZE,
            doc="A larger request body is not copied; a larger answer is compared by digest.",
            field="max_body_bytes",
        ),
        Key(
            name="watch_headers",
            kind=Many(of=HEADER),
            doc='Response headers that must be equal, beside status, content type and coding; `"*"`: every one that is '
            "not volatile by nature (Date, Server, Set-Cookie …), and ETag by whether there is one.",
        ),
    ),
    instead={"never": "copy nothing, whatever the stage says: for GETs that write"},
    later={"writes": "copies of marked writes"},
    elsewhere={"noise": "it stands in the route, beside shadow"},
)

NOISE: Final = Section(
    title="noise",
    doc="Ask legacy a second time, to learn how much it differs from itself. Without this section it is asked once.",
    spec=NoiseSpec,
    keys=(
        Key(
            name="sample",
            kind=SHARE,
            doc="Share of the compared safe requests that legacy is asked twice.",
            field="sample_bp",
        ),
        Key(
            name="max_per_second",
            kind=RATE,
            doc="Second questions per second on this route, shared evenly by the workers; `off` is no limit.",
        ),
    ),
    instead={"off": "legacy is asked once, whatever the defaults say"},
)

FALLBACK: Final = Section(
    title="fallback",
    doc="Which failures of new send a canary request to legacy, where that is safe.",
    keys=(
        Key(
            name="on",
            kind=Many(
                of=Word(
                    words=forms.FAILURE,
                    parse=forms.failure,
                    types=("string", "integer"),
                    limits={"pattern": "^(connect|timeout)$", "minimum": 400, "maximum": 599},
                ),
                or_one=True,
            ),
            doc="`connect`, `timeout`, or a status that new answers.",
            required=True,
        ),
    ),
)

GATE: Final = Section(
    title="gate",
    doc="What must have been seen of the current build of new before it gets more clients (docs/gates.md).",
    spec=GateSpec,
    keys=(
        Key(name="comparisons", kind=whole(1, 10_000_000), doc="Pairs compared, at least."),
        Key(name="distinct_requests", kind=whole(1, 2_000), doc="Different requests among them, at least."),
        Key(
            name="divergent_max",
            kind=share(1, 5_000),
            doc="The share of divergent pairs that is below this, at 95 %; `undecided` counts as divergent.",
            field="divergent_max_bp",
        ),
        Key(
            name="p95_ratio_max",
            kind=RATIO,
            doc="The 95th percentile of new's time to a response head over legacy's, on the same requests, at most.",
        ),
        Key(
            name="error_delta_max",
            kind=share(1, 5_000),
            doc="The share of pairs where only new fails, less the share where only legacy does, at most, at 95 %.",
            field="error_delta_max_bp",
        ),
        Key(
            name="over",
            kind=duration(3_600_000_000_000, 90 * 86_400_000_000_000),
            doc="No evidence counts for longer than this.",
            field="over_ns",
        ),
    ),
    instead={"off": "flips ask for no evidence, and the audit says so"},
)

WATCHDOG: Final = Section(
    title="watchdog",
    doc="When a route is taken back by itself, always new against legacy (docs/operations.md).",
    spec=WatchdogSpec,
    keys=(
        Key(
            name="window",
            kind=duration(10_000_000_000, 600_000_000_000),
            doc="How far back it looks; its newest twelfth (5s at least) is looked at alone, too.",
            field="window_ns",
        ),
        Key(
            name="error_delta_max",
            kind=share(1, 10_000),
            doc="The share of its requests that new fails (5xx, no answer, fallback), less legacy's own, at most.",
            field="error_delta_max_bp",
        ),
        Key(
            name="min_requests",
            kind=whole(20, 10_000_000),
            doc="Fewer requests to new within the window: it is blind, and says so.",
        ),
        Key(name="min_errors", kind=whole(2, 1_000_000), doc="Fewer failures of new within the window never trip."),
        Key(
            name="p95_ratio_max",
            kind=RATIO,
            doc="The 95th percentile of new's time to a response head over legacy's, on the same requests, at most; "
            "without it latency never trips.",
        ),
        Key(
            name="divergent_max",
            kind=share(1, 10_000),
            doc="The share of divergent comparisons within the window, at most: beyond it the route goes back to "
            "`shadow`. Without it divergence never trips.",
            field="divergent_max_bp",
        ),
        Key(
            name="cool_down",
            kind=duration(0, 7 * 86_400_000_000_000),
            doc="So long after a trip, and until the hold is released, the autopilot does nothing.",
            field="cool_down_ns",
        ),
    ),
    instead={"off": "nothing is taken back by itself"},
)

AUTOPILOT: Final = Section(
    title="autopilot",
    doc="Which steps a canary takes by itself while its gate passes. Without this section only people flip.",
    spec=AutopilotSpec,
    keys=(
        Key(
            name="steps",
            kind=Many(of=share(1, 10_000), or_one=True, at_least=1, at_most=20),
            doc="Shares of the clients that new answers, rising.",
            field="steps_bp",
        ),
        Key(
            name="bake",
            kind=Many(of=duration(1_000_000_000, 30 * 86_400_000_000_000), or_one=True, at_least=1, at_most=20),
            doc="How long each step stays at least: one duration, or one for each step.",
            field="bake_ns",
        ),
        Key(
            name="to",
            kind=choice("canary", "live"),
            doc="Where it ends: on the last step, or in the stage `live`.",
        ),
    ),
    instead={"off": "only people flip, whatever the defaults say"},
)

WEBHOOK: Final = Section(
    title="webhook",
    doc="Somebody who is told, signed, what the watchdog and the autopilot do (docs/operations.md).",
    spec=WebhookSpec,
    keys=(
        Key(
            name="url",
            kind=Word(words=forms.HOOK, parse=forms.hook, limits={"pattern": forms.HOOK_PATTERN}, secret=True),
            doc="Where to; it may not carry a user or a password.",
            required=True,
        ),
        Key(name="secret", kind=SECRET, doc="Where the key is found that signs each message.", required=True),
        Key(
            name="events",
            kind=Many(of=choice("autopilot.before", "autopilot.after", "watchdog.tripped"), or_one=True, at_least=1),
            doc="What is told. An `autopilot.before` of a step up that is not answered 2xx holds it back.",
        ),
    ),
)

RULE: Final = Section(
    title="rule",
    doc="The shape that both values must have. Exactly one key.",
    spec=RuleSpec,
    instead={
        "uuid": "both are UUIDs",
        "opaque_id": "both are identifiers: two words without blanks, or two whole numbers",
        "counter": "both are whole numbers from 0 up, at most 1000 apart; whom we ask much later is not behind",
        "unordered": "both are arrays with the same items, in any order",
    },
    keys=(
        Key(
            name="timestamp",
            kind=Section(
                title="timestamp rule",
                doc="Both are moments, not far apart.",
                alone="within",
                keys=(Key(name="within", kind=DURATION, doc="How far apart at most.", required=True),),
            ),
            doc="Both are moments, at most so far apart.",
        ),
        Key(
            name="counter",
            kind=Section(
                title="counter rule",
                doc="Both are whole numbers from 0 up, not far apart.",
                alone="within",
                keys=(Key(name="within", kind=STEPS, doc="How far apart at most.", required=True),),
            ),
            doc="As the word `counter`, with another distance.",
        ),
        Key(
            name="keyed_by",
            kind=TEXT,
            doc="Both are arrays of objects; those with the same value of this member belong together.",
        ),
        Key(name="within", kind=APART, doc="Both are numbers, at most so far apart: `0.01`, or `1%` of legacy's."),
    ),
)

TOLERANCE: Final = Section(
    title="tolerance",
    doc="A difference that is permitted, by whom and until when. It hides what it names and nothing else: "
    "by `path` that the value there, or one below it, differs; that something is missing or has another type only "
    "where `cause` says so. Another status is never hidden, nor is a truncated body.",
    spec=ToleranceSpec,
    keys=(
        Key(
            name="path",
            kind=PLACE,
            doc="Where: a JSONPath (names, indexes, `*`, `..`), or a pointer as in reports, with `*` for any item.",
        ),
        Key(
            name="cause",
            kind=CAUSE,
            doc="Why: one name of the table of causes; with `path`, only there.",
        ),
        Key(name="rule", kind=RULE, doc=RULE.doc),
        Key(name="reason", kind=SHORT_TEXT, doc="Why it is permitted.", required=True),
        Key(name="owner", kind=SHORT_TEXT, doc="Who answers for it.", required=True),
        Key(name="expires", kind=DAY, doc="The last day on which it hides anything, in UTC.", required=True),
    ),
)

COHORT_MATCH: Final = Section(
    title="cohort match",
    doc="One way to belong to a cohort; everything that is given must be so.",
    spec=MemberSpec,
    keys=(
        Key(name="header", kind=HEADER, doc="This header is there. Any client can send it, unless a `token` is asked."),
        Key(name="cookie", kind=COOKIE, doc="This cookie is there. Any client can send it, too."),
        Key(name="value", kind=HEADER_VALUE, doc="What the header or cookie must be, exactly."),
        Key(
            name="token",
            kind=SECRET,
            doc="What the header or cookie must be, where nobody else shall know it; no backend sees such a header.",
        ),
        Key(name="cidr", kind=Many(of=NETWORK, or_one=True, at_least=1), doc="Where the client's address lies."),
    ),
)

COHORT: Final = Section(
    title="cohort",
    doc="Clients that a route can treat apart, such as staff; of several that take a request the first one counts.",
    spec=CohortSpec,
    keys=(
        Key(name="name", kind=NAME, doc="Its name in commands, the audit and the access log.", required=True),
        Key(
            name="match",
            kind=Many(of=COHORT_MATCH, or_one=True, at_least=1),
            doc="Who belongs to it; of several matches one is enough.",
            required=True,
        ),
    ),
)

COHORT_STAGE: Final = Section(
    title="cohort stage",
    doc="What one cohort begins with on a route.",
    spec=CohortStageSpec,
    keys=(
        Key(
            name="stage",
            kind=choice("legacy", "shadow", "canary", "live"),
            doc="Its stage; `complete` and `gone` are for everybody.",
            required=True,
        ),
        Key(
            name="percent",
            kind=PERCENT,
            doc="Share of the cohort that new answers in `canary`.",
            field="percent_bp",
        ),
        Key(
            name="sample",
            kind=SHARE,
            doc="Share of its eligible requests that are copied; without it the stage's default.",
            field="sample_bp",
        ),
    ),
    alone="stage",
)

PINS: Final = Section(
    title="pins",
    doc="What signs the cookies that keep a client's reads on the side that answered its write (a route's `pin`).",
    keys=(
        Key(
            name="secret",
            kind=Many(of=SECRET, or_one=True, at_least=1, at_most=4),
            doc="Where the key is found; of several the first signs and all are accepted, so that one can be replaced.",
            required=True,
        ),
    ),
)

_TOLERATE: Final = Many(of=TOLERANCE, or_one=True)

IGNORE: Final = Section(
    title="ignored warning",
    doc="A warning of `matapalo check` that somebody has looked at; [all of them](checks.md).",
    spec=IgnoreSpec,
    keys=(
        Key(name="warning", kind=choice(*WARNINGS), doc="Its name.", required=True),
        Key(name="reason", kind=SHORT_TEXT, doc="Why it is none here.", required=True),
    ),
)

_IGNORE: Final = Many(of=IGNORE, or_one=True)

_POLICY: Final = (
    Key(name="legacy", kind=BACKEND_NAME, doc="The backend of the old side; `none` for a feature that it never had."),
    Key(name="new", kind=BACKEND_NAME, doc="The backend of the new side; needed beyond the stage legacy."),
    Key(
        name="sticky",
        kind=Many(
            of=Word(words=forms.STICKY, parse=forms.sticky, limits={"pattern": forms.STICKY_PATTERN}),
            or_one=True,
            at_least=1,
        ),
        doc="What keeps a client on its side during canary; the first one present wins.",
        default=("issued_cookie",),
    ),
    Key(name="shadow", kind=SHADOW, doc=SHADOW.doc),
    Key(name="noise", kind=NOISE, doc=NOISE.doc),
    Key(
        name="ask_again",
        kind=Many(of=duration(100_000_000, 60_000_000_000), at_most=3),
        doc="Ask both sides again so long after a divergent answer to a safe request, at most three times, "
        "to tell races from faults: `[1s, 10s]`.",
        field="ask_again_ns",
    ),
    Key(
        name="timeout",
        kind=DURATION,
        doc="First byte of the request to last byte of the answer; without it no limit.",
        field="timeout_ns",
    ),
    Key(
        name="parity",
        kind=choice("bytes", "meaning"),
        doc="What has to be equal: the bytes, or what they mean.",
    ),
    Key(
        name="keep",
        kind=choice("bodies", "fragments", "shapes"),
        doc="What a kept example holds after redaction: both bodies, what differs, or types and lengths only.",
    ),
    Key(
        name="redact",
        kind=Many(of=REDACTION),
        doc="Masked before anything is kept; credential headers and query values always are. A route's list is added "
        "to the defaults'.",
    ),
    Key(name="fallback", kind=FALLBACK, doc=FALLBACK.doc),
    Key(name="gate", kind=GATE, doc=GATE.doc),
    Key(name="watchdog", kind=WATCHDOG, doc=WATCHDOG.doc),
    Key(name="autopilot", kind=AUTOPILOT, doc=AUTOPILOT.doc),
    Key(
        name="cohorts",
        kind=Table(
            key=NAME, of=COHORT_STAGE, words="a mapping of cohort to stage, such as {staff: live}", extensions=False
        ),
        doc="Cohorts that begin in a stage of their own; afterwards flips rule.",
    ),
    Key(
        name="pin",
        kind=PIN,
        doc="How long a client's reads stay on the side that answered its write, in `canary`; needs `pins`.",
        field="pin_ns",
    ),
    Key(
        name="quiet",
        kind=duration(60_000_000_000, 366 * 24 * 3_600_000_000_000),
        doc="How long legacy must have answered nothing before `complete`.",
        field="quiet_ns",
    ),
)

DEFAULTS: Final = Section(
    title="defaults",
    doc="Given once for every route; a route's own value wins; sections are joined key by key, but for `fallback`.",
    spec=RouteSpec,
    keys=_POLICY,
    elsewhere={
        "match": "each route has its own",
        "tolerate": "for every route it stands at the top level, for one inside it",
    },
)

_STAGES: Final = "`legacy`, `shadow`, `canary`, `live`, `complete` or `gone`"

ROUTE: Final = Section(
    title="route",
    doc="One route: a name, what it matches, and its policy. The order of routes decides nothing.",
    spec=RouteSpec,
    keys=(
        Key(name="name", kind=NAME, doc="Its name in commands, metrics and the audit.", required=True),
        Key(name="match", kind=Many(of=MATCH, or_one=True, at_least=1), doc=MATCH.doc, required=True),
        *_POLICY,
        Key(
            name="initial_stage",
            kind=STAGE,
            doc=f"First stage of the flag, {_STAGES}; afterwards flips rule. With `legacy: none` it is `live`.",
        ),
        Key(
            name="initial_percent",
            kind=PERCENT,
            doc="First share of the clients that new answers in `canary`.",
            field="initial_percent_bp",
        ),
        Key(
            name="stage",
            kind=STAGE,
            doc="With `flags: file`: the stage, ruled by this file.",
            field="initial_stage",
        ),
        Key(
            name="percent",
            kind=PERCENT,
            doc="With `flags: file`: the share of the clients that new answers in `canary`.",
            field="initial_percent_bp",
        ),
        Key(name="journey", kind=NAME, doc="Routes of one journey flip together and keep a client together."),
        Key(name="was", kind=NAME, doc="The route's former name: its flag moves here on reload."),
        Key(
            name="reads",
            kind=Many(of=METHOD, or_one=True),
            doc="Short for `shadow.reads`.",
        ),
        Key(
            name="max_body",
            kind=SIZE,
            doc="A larger request body is answered 413; without it `limits.max_body` counts.",
            field="max_body_bytes",
        ),
        Key(
            name="on_flip",
            kind=choice("close", "keep"),
            doc="What happens to open tunnels (WebSockets) on rollback.",
        ),
        Key(name="tolerate", kind=_TOLERATE, doc="Differences that are permitted on this route."),
        Key(name="ignore", kind=_IGNORE, doc="Warnings of `matapalo check` that are none on this route."),
    ),
    elsewhere={
        "path": "it stands inside match",
        "methods": "they stand inside match",
        "sample": "it stands inside shadow",
        "backend": "a route names its two sides, legacy and new",
        "credentials": "it stands inside shadow",
    },
)

UNDECLARED: Final = Section(
    title="undeclared",
    doc="Who answers what no route matches.",
    keys=(Key(name="backend", kind=BACKEND_NAME, doc="The backend, usually legacy.", required=True),),
    instead={"none": "such requests get 404"},
)

OVERRIDE: Final = Section(
    title="override",
    doc="A header that chooses the side for one request: `new TOKEN` or `legacy TOKEN`.",
    spec=OverrideSpec,
    keys=(
        Key(name="header", kind=HEADER, doc="Its name.", required=True),
        Key(name="token", kind=SECRET, doc="Where the token is found.", required=True),
    ),
)

LIMITS: Final = Section(
    title="limits",
    doc="What one worker may hold, and for how long.",
    spec=LimitsSpec,
    keys=(
        Key(
            name="header_read_timeout",
            kind=DURATION,
            doc="A client's whole request head.",
            field="header_read_timeout_ns",
        ),
        Key(
            name="keep_alive_timeout",
            kind=DURATION,
            doc="An idle client connection is closed after this.",
            field="keep_alive_timeout_ns",
        ),
        Key(
            name="body_read_timeout",
            kind=DURATION,
            doc="The longest silence inside a request body.",
            field="body_read_timeout_ns",
        ),
        Key(
            name="write_timeout",
            kind=DURATION,
            doc="The longest a client or backend may refuse to take bytes.",
            field="write_timeout_ns",
        ),
        Key(
            name="half_close_timeout",
            kind=DURATION,
            doc="How long an answer may stand still once its client has sent a FIN behind the whole request: "
            "most such clients have left. Raise it for clients that half-close and wait.",
            field="half_close_timeout_ns",
        ),
        Key(name="max_connections", kind=whole(1, 1_000_000), doc="Client connections of one worker."),
        Key(
            name="max_head",
            kind=size(256, 64 << 10),
            doc="A larger request head is answered 431, and so is a single line of it beyond 16 KiB.",
            field="max_head_bytes",
        ),
        Key(name="max_fields", kind=whole(1, 100), doc="A request head with more fields is answered 431."),
        Key(
            name="max_target",
            kind=size(64, 16_000),
            doc="A longer request target is answered 414.",
            field="max_target_bytes",
        ),
        Key(
            name="max_body",
            kind=SIZE,
            doc="A larger request body is answered 413 where its route sets no `max_body`; without it no limit.",
            field="max_body_bytes",
        ),
        Key(
            name="max_chunk_overhead",
            kind=SIZE,
            doc="A chunked request body is answered 400 when its framing costs more than this and ten times the body.",
            field="max_chunk_overhead_bytes",
        ),
        Key(
            name="copy_bytes",
            kind=SIZE,
            doc="One budget over all copies of a worker, requests and answers together.",
        ),
        Key(
            name="shed_copies",
            kind=SHARE_OR_OFF,
            doc="A worker whose event loop is busier than this copies less, before it refuses anybody; `off`: never.",
            field="shed_copies_bp",
        ),
        Key(name="drain", kind=DURATION, doc="How long a stop waits for what is in flight.", field="drain_ns"),
        Key(
            name="lame_duck",
            kind=DURATION,
            doc="How long a stop keeps answering, not ready any more, before it drains.",
            field="lame_duck_ns",
        ),
        Key(
            name="tunnel_idle_timeout",
            kind=DURATION,
            doc="A tunnel without a byte for so long is closed.",
            field="tunnel_idle_timeout_ns",
        ),
    ),
)

EVIDENCE: Final = Section(
    title="evidence",
    doc="How much is remembered about differences.",
    spec=EvidenceSpec,
    keys=(
        Key(
            name="max_age",
            kind=DURATION,
            doc="A divergence that was not seen for so long is forgotten with its examples; an accepted one stays.",
            field="max_age_ns",
        ),
        Key(
            name="max_size",
            kind=size(16 << 20, 1 << 40),
            doc="Of `evidence.db`; beyond it examples go first, then divergences and hours, oldest out first.",
            field="max_bytes",
        ),
        Key(
            name="keys",
            kind=Many(of=SECRET),
            doc="Where keys of 32 bytes in base64 are found (`openssl rand -base64 32`): the first one encrypts kept "
            "examples, all of them open. Without it examples are kept as redaction leaves them.",
        ),
    ),
)

OPENFEATURE: Final = Section(
    title="openfeature",
    doc="The OpenFeature provider that rules the flags, with `flags: openfeature`; needs `pip install "
    "'matapalo[openfeature]'`.",
    spec=OpenFeatureSpec,
    keys=(
        Key(
            name="provider",
            kind=Word(words=forms.FACTORY, parse=forms.factory, limits={"pattern": forms.FACTORY_PATTERN}),
            doc="`flagd`, or the function that makes another provider, called with `options`.",
        ),
        Key(name="prefix", kind=TEXT, doc="Before the name of a route or journey it makes the key of its flag."),
        Key(
            name="options",
            kind=Table(
                key=Word(words=forms.ARGUMENT, parse=forms.argument, limits={"pattern": forms.ARGUMENT_PATTERN}),
                of=Plain(),
                words="names of arguments and their values",
            ),
            doc="Arguments of the provider. Of flagd: `resolver` (`rpc`, `in-process`, `file`), `host`, `port`, `tls`, "
            "`selector`, `offline_flag_source_path` and the others of its Python provider.",
        ),
        Key(
            name="secrets",
            kind=Table(
                key=Word(words=forms.ARGUMENT, parse=forms.argument, limits={"pattern": forms.ARGUMENT_PATTERN}),
                of=SECRET,
                words="names of arguments and where their values are found",
            ),
            doc="Arguments that are secrets, such as `sdk_key: env:FLAGS_KEY`.",
        ),
        Key(
            name="context",
            kind=Table(key=TEXT, of=SCALAR, words="names of attributes and their texts"),
            doc="Attributes that every flag is asked with, beside `route` and `journey`: `{env: production}`.",
        ),
        Key(
            name="poll",
            kind=duration(100_000_000, 3_600_000_000_000),
            doc="Between two looks at every flag; an event of the provider makes one at once.",
            field="poll_ns",
        ),
        Key(
            name="timeout",
            kind=duration(100_000_000, 60_000_000_000),
            doc="The longest that a look, or the provider's start, may take; until it ends the last values stay.",
            field="timeout_ns",
        ),
    ),
)

_BACKENDS: Final = Key(
    name="backends",
    kind=Table(key=NAME, of=BACKEND, words="names of backends, each with its keys", extensions=True),
    doc="The named upstreams.",
)
_ROUTES: Final = Key(name="routes", kind=Many(of=ROUTE), doc="The routes; the most specific match wins.", default=())

INCLUDED: Final = Section(
    title="included file",
    doc="What a file named by `include` may hold.",
    keys=(
        Key(name="backends", kind=_BACKENDS.kind, doc=_BACKENDS.doc),
        Key(name="routes", kind=_ROUTES.kind, doc=_ROUTES.doc),
    ),
    elsewhere=dict.fromkeys(
        (
            "include",
            "listen",
            "admin",
            "health",
            "state_dir",
            "defaults",
            "undeclared",
            "limits",
            "evidence",
            "webhooks",
            "flags",
            "tolerate",
            "ignore",
            "openfeature",
            "stuck_after",
        ),
        "it stands in the main file only",
    ),
)

ROOT: Final = Section(
    title="configuration",
    doc="The whole file.",
    keys=(
        Key(
            name="listen",
            kind=Many(of=LISTENER, or_one=True, at_least=1),
            doc="Where clients connect.",
            default=(AddressSpec(host="127.0.0.1", port=8080),),
        ),
        Key(name="admin", kind=ADMIN, doc=ADMIN.doc),
        Key(name="health", kind=HEALTH, doc=HEALTH.doc),
        Key(
            name="state_dir",
            kind=TEXT,
            doc="Snapshot, holds and SQLite files; relative to this file.",
            default="./.matapalo",
        ),
        Key(
            name="database",
            kind=DATABASE,
            doc="Where flags, audit and evidence are kept: in files in `state_dir`, or in a PostgreSQL that several "
            "nodes share. Its URL takes libpq's parameters (`sslmode=verify-full`, several hosts); one with a password "
            "is best kept elsewhere (`env:NAME`, `file:PATH`), where it is read anew for each connection.",
            default="sqlite",
        ),
        Key(
            name="node",
            kind=TEXT,
            doc="The name of this node where several share a database, such as `${HOSTNAME}`; default: the machine's.",
            default="",
        ),
        Key(
            name="flags",
            kind=choice("database", "file", "openfeature"),
            doc="Who rules the stages: flips (`database`), this file and its reviews (`file`), or a provider of flags "
            "(`openfeature`).",
            default="database",
        ),
        Key(name="openfeature", kind=OPENFEATURE, doc=OPENFEATURE.doc),
        Key(name="workers", kind=whole(1, MAX_WORKERS), doc="Processes that carry traffic.", default=1),
        Key(
            name="comparers",
            kind=whole(1, MAX_WORKERS),
            doc="Processes that compare unequal answers, at low priority.",
            default=1,
        ),
        Key(name="watch", kind=boolean(), doc="Reload when a file changes.", default=False),
        Key(
            name="trusted_proxies",
            kind=Many(of=NETWORK),
            doc="Who may say on whose behalf they call (X-Forwarded-For, Forwarded).",
            default=(),
        ),
        Key(
            name="include",
            kind=Many(of=TEXT, or_one=True),
            doc="More files with routes and backends, relative to this one; `*` and `?` as in a shell.",
            default=(),
        ),
        _BACKENDS,
        Key(name="defaults", kind=DEFAULTS, doc=DEFAULTS.doc),
        Key(name="undeclared", kind=UNDECLARED, doc=UNDECLARED.doc, default="none"),
        _ROUTES,
        Key(name="tolerate", kind=_TOLERATE, doc="Differences that are permitted on every route.", default=()),
        Key(name="ignore", kind=_IGNORE, doc="Warnings of `matapalo check` that are none in this file.", default=()),
        Key(
            name="stuck_after",
            kind=duration(3_600_000_000_000, 3_650 * 86_400_000_000_000),
            doc="A route that stays in `shadow`, `canary` or `live` for so long is warned of.",
            default=30 * 86_400_000_000_000,
            field="stuck_after_ns",
        ),
        Key(name="override", kind=OVERRIDE, doc=OVERRIDE.doc),
        Key(name="cohorts", kind=Many(of=COHORT), doc=COHORT.doc, default=()),
        Key(name="pins", kind=PINS, doc=PINS.doc),
        Key(
            name="strict",
            kind=choice("refuse", "report"),
            doc="Ambiguous targets whose readings have different answers: answer 400, or only count them.",
            default="refuse",
        ),
        Key(name="access_log", kind=boolean(), doc="Write one JSON line per answered request.", default=True),
        Key(name="limits", kind=LIMITS, doc=LIMITS.doc),
        Key(name="evidence", kind=EVIDENCE, doc=EVIDENCE.doc),
        Key(name="webhooks", kind=Many(of=WEBHOOK, at_most=8), doc=WEBHOOK.doc, default=()),
    ),
    elsewhere={
        "tls": "it stands inside an item of listen, beside its address, or inside admin or a backend",
        "tokens": "they stand inside admin",
        "legacy": "it stands inside defaults or a route",
        "new": "it stands inside defaults or a route",
        "sticky": "it stands inside defaults or a route",
    },
)
