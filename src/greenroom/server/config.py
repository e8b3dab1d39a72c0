"""Settings of the service: from a TOML file and from `GREENROOM_*` variables, checked before anything starts.

A variable wins over the file, the file over the default. `Loaded.describe` says what each one is, where it came from,
and never shows a secret. docs/reference/settings.md is made from the fields below.
"""

from __future__ import annotations

import dataclasses
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from math import isfinite
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

from greenroom.core.durations import parse_duration
from greenroom.core.redaction import MASK, redact_addresses
from greenroom.core.server.services import SessionLimits
from greenroom.errors import IllegalArgumentError
from greenroom.server.wire.addresses import Limits, parse_networks
from greenroom.server.wire.interface import WebSocketOptions

PREFIX = "GREENROOM_"
CONFIG_VARIABLE = "GREENROOM_CONFIG"
"""Names the TOML file where the command line does not."""
FILE_SUFFIX = "_FILE"
"""Ends the name of a variable that names a file with a secret in it."""
DEFAULT_PORT = 7465
MIN_TOKEN = 16
"""Characters that a token of operators has at least."""
_OTHERS = ("CONFIG", "URL", "APP", "APP_KEY", "APP_SECRET", "APP_SECRET_FILE", "TOKEN", "TOKEN_FILE", "DEBUG")
OTHER_VARIABLES = frozenset(PREFIX + name for name in (*_OTHERS, "WEBHOOK_SECRET"))
"""What the command line and the examples read, beside the settings."""

Seconds = Annotated[float, Meta(gt=0, le=86_400, extra={"duration": True})]
Bytes = Annotated[int, Meta(ge=1_024, le=1 << 30)]
Count = Annotated[int, Meta(ge=1, le=1_000_000)]
Rate = Annotated[float, Meta(gt=0, le=1_000_000)]
Port = Annotated[int, Meta(ge=0, le=65_535)]


def _doc(text: str, unit: str = "", *, secret: bool = False, has_password: bool = False) -> Meta:
    return Meta(description=text, extra={"unit": unit, "secret": secret, "has_password": has_password})


_S, _W = SessionLimits(), WebSocketOptions()
"""Where the defaults of a connection's settings are stated."""


class ServerConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All settings, checked. Durations are seconds, sizes bytes."""

    # -- where
    host: Annotated[str, _doc("The address to listen on.")] = "127.0.0.1"
    port: Annotated[Port, _doc("The port, for sessions and HTTP; 0 takes a free one.")] = DEFAULT_PORT
    port_sharing: Annotated[
        Literal["off", "on"],
        _doc("Whether other nodes on this machine may listen on the same port (SO_REUSEPORT); not with `embedded`."),
    ] = "off"
    public_url: Annotated[
        str | None, _doc("How clients reach the service, with https or http. None: http(s)://host:port.")
    ] = None
    issuer: Annotated[
        str | None,
        _doc(
            "The `iss` of tokens. None: the URL at the first start, kept in the file `issuer` in data_dir; on a shared"
            " engine the public URL, else `greenroom`."
        ),
    ] = None
    node: Annotated[str | None, _doc("This node's name, unique in the cluster. None: a new one at each start.")] = None
    data_dir: Annotated[
        str, _doc("Where the embedded engine keeps its database, and the service its master key and admin token.")
    ] = "greenroom-data"
    engine: Annotated[
        str,
        _doc(
            "`embedded`, or the URL of a Redis: `redis://`, `rediss://`, `redis+sentinel://`, `redis+cluster://`.",
            has_password=True,
        ),
    ] = "embedded"
    tls_cert: Annotated[str | None, _doc("PEM file with the certificate chain; read again on SIGHUP.")] = None
    tls_key: Annotated[str | None, _doc("PEM file with the private key of `tls_cert`; read again on SIGHUP.")] = None
    trusted_proxies: Annotated[
        tuple[str, ...],
        _doc(
            "Addresses or networks whose X-Forwarded-For and PROXY headers are trusted, and which limits do not count."
        ),
    ] = ()

    # -- secrets
    master_key: Annotated[
        str | None,
        _doc(
            "The key that encrypts signing keys and webhook secrets: 64 hexadecimal digits. None: the file `master-key`"
            " in data_dir.",
            secret=True,
        ),
    ] = None
    admin_token: Annotated[
        str | None,
        _doc(
            "The credential of /admin/v1. None: the file `admin-token` in data_dir, made at first start.", secret=True
        ),
    ] = None
    metrics_token: Annotated[
        str | None,
        _doc(
            "A token that reads /metrics and nothing else, for Prometheus. None: only the admin token does.",
            secret=True,
        ),
    ] = None
    metrics_from_loopback: Annotated[
        Literal["off", "on"],
        _doc(
            "Whether /metrics answers requests of this machine without a token. Off where a proxy on this machine"
            " forwards requests: they would count as local."
        ),
    ] = "off"
    signing_alg: Annotated[Literal["EdDSA", "HS256"], _doc("The algorithm of new signing keys for tokens.")] = "EdDSA"

    # -- trying things out
    demo_page: Annotated[
        Literal["off", "on"],
        _doc("Whether the example page is served at /lobby/, where anybody signs in: `greenroom serve --dev` does."),
    ] = "off"

    # -- logs
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"], _doc("Messages of this level and above are logged.")
    ] = "info"
    log_format: Annotated[
        Literal["auto", "json", "text"], _doc("Format of log lines. `auto`: text on a terminal, else JSON.")
    ] = "auto"

    # -- traces
    tracing: Annotated[
        Literal["off", "otlp"],
        _doc("`otlp` sends OpenTelemetry spans to where `OTEL_EXPORTER_OTLP_ENDPOINT` says; needs `greenroom[otel]`."),
    ] = "off"

    # -- timers
    hello_timeout: Annotated[
        Seconds, _doc("Time a new connection has for its first `session.open` or `session.resume`.", "s")
    ] = _S.hello_timeout
    ping_interval: Annotated[Seconds, _doc("Time from a pong to the next ping.", "s")] = _S.ping_interval
    pong_timeout: Annotated[
        Seconds, _doc("Time a client has to answer a ping; then the connection is dropped.", "s")
    ] = _S.pong_timeout
    grace: Annotated[Seconds, _doc("Grace: how long a session outlives its connection.", "s")] = _S.grace
    grace_going_away: Annotated[Seconds, _doc("Grace after close 1001 (page closed or reloaded).", "s")] = (
        _S.grace_going_away
    )
    grace_unconfirmed: Annotated[
        Seconds, _doc("Grace while the client has sent nothing since the reply to its `session.open`.", "s")
    ] = _S.grace_unconfirmed
    lease: Annotated[Seconds, _doc("How long a node counts as alive after it renewed its lease.", "s")] = 10.0
    renew_interval: Annotated[Seconds, _doc("Time between two renewals of a node's lease.", "s")] = 3.0
    fence_after: Annotated[
        Seconds, _doc("Time without a renewal of its lease after which a node stops acting for its sessions.", "s")
    ] = 7.0
    reap_interval: Annotated[Seconds, _doc("Time between two passes of the reaper.", "s")] = 1.0
    compare_interval: Annotated[
        Seconds,
        _doc(
            "Time between two comparisons of the sessions that a node holds with those that the engine lists for it.",
            "s",
        ),
    ] = 10.0
    token_warning: Annotated[
        Seconds,
        _doc("How long before a token expires `session.tokenExpiring` is sent; at most a quarter of its life.", "s"),
    ] = _S.token_warning
    token_grace: Annotated[
        Seconds, _doc("Time after a token has expired in which its session can still be refreshed.", "s")
    ] = _S.token_grace
    drain_limit: Annotated[Seconds, _doc("Time a node that stops has to move its clients to other nodes.", "s")] = 30.0
    restart_after: Annotated[
        Seconds, _doc("How long a restart is expected to take; clients of the only node reconnect after it.", "s")
    ] = 3.0
    max_clock_difference: Annotated[
        Seconds,
        _doc(
            "Largest difference between the node's wall clock and the engine's; beyond it the node is not ready.", "s"
        ),
    ] = 5.0
    head_timeout: Annotated[Seconds, _doc("Time a client has to send a whole request head.", "s")] = _W.head_timeout
    fragment_timeout: Annotated[Seconds, _doc("Time from the first fragment of a message to its last.", "s")] = (
        _W.fragment_timeout
    )
    close_timeout: Annotated[
        Seconds, _doc("Time a client has to answer a Close; then the connection is dropped.", "s")
    ] = _W.close_timeout

    # -- limits
    max_message_bytes: Annotated[
        Bytes, _doc("Largest message of a client; with a larger one the connection is closed (1009).", "bytes")
    ] = _W.max_message_bytes
    max_fragments: Annotated[
        Count, _doc("Most frames that one message may have; with more the connection is closed (1008).")
    ] = _W.max_fragments
    max_buffered_bytes: Annotated[
        Bytes, _doc("Most data that may wait to be written on one connection; with more it is closed (4002).", "bytes")
    ] = _W.max_buffered_bytes
    max_head_bytes: Annotated[
        Bytes, _doc("Largest head of an HTTP request, the handshake of a session included (431).", "bytes")
    ] = _W.max_head_bytes
    messages_per_second: Annotated[
        Rate, _doc("Messages a second that one connection may send, on average; with more it is closed (4004).", "1/s")
    ] = _S.messages_per_second
    messages_burst: Annotated[
        Count, _doc("Messages that one connection may send at once, above the average of `messages_per_second`.")
    ] = _S.messages_burst
    ids_per_second: Annotated[
        Rate,
        _doc(
            "Participants a second that requests of one connection may name, on average; further requests wait.", "1/s"
        ),
    ] = _S.ids_per_second
    ids_burst: Annotated[
        Count,
        _doc("Participants that requests of one connection may name at once, above the average of `ids_per_second`."),
    ] = _S.ids_burst
    max_waiting: Annotated[
        Count, _doc("Requests of one connection that may wait while another is executed; further ones are refused.")
    ] = _S.max_waiting
    control_frames_per_second: Annotated[
        Rate,
        _doc(
            "Pings and pongs a second that one connection may send, on average; with more it is closed (1008).", "1/s"
        ),
    ] = _W.control_frames_per_second
    control_frames_burst: Annotated[
        Count,
        _doc("Pings and pongs that one connection may send at once, above the average of `control_frames_per_second`."),
    ] = _W.control_frames_burst
    connections_per_address: Annotated[
        Count, _doc("Connections from one IPv4 address or IPv6 /64; further ones are refused (429).")
    ] = 1_000
    opens_per_second: Annotated[
        Rate, _doc("Opens a second that a node accepts, with a burst of the same number.", "1/s")
    ] = 2_000.0
    opens_per_participant_per_minute: Annotated[
        Count,
        _doc(
            "Opens a minute of one participant, with a burst of the same number; never more than a tenth of"
            " `opens_per_second`. As many resumes of one session.",
            "1/min",
        ),
    ] = 60
    failed_resumes_per_minute: Annotated[
        Count,
        _doc(
            "Resumes a minute from one address that may have a wrong session id or secret; further ones must wait.",
            "1/min",
        ),
    ] = 600
    failed_auth_per_minute: Annotated[
        Count,
        _doc(
            "Bad tokens and secrets a minute that one address may send for one application; further ones must wait.",
            "1/min",
        ),
    ] = 10

    protocol_violations_per_minute: Annotated[
        Count,
        _doc(
            "Connections a minute of one participant or session that are closed for protocol violations, before its"
            " next `open` or `resume` is refused (`Rate_limited`).",
            "1/min",
        ),
    ] = 200

    # -- ceilings of what applications may set for themselves
    max_application_sessions_ceiling: Annotated[
        Count | None,
        _doc("The most sessions that any application may have, whatever its settings say. None: no ceiling."),
    ] = None
    max_watched_ceiling: Annotated[
        Count, _doc("The most participants that one session may watch, whatever the application's settings say.")
    ] = 100_000
    max_sessions_ceiling: Annotated[
        Count, _doc("The most sessions that one participant may have, whatever the application's policy says.")
    ] = 1_000
    max_room_members_ceiling: Annotated[
        Count, _doc("The most members that one room may have, whatever the application's settings say.")
    ] = 10_000
    max_rooms_ceiling: Annotated[
        Count, _doc("The most rooms that any application may have open, whatever its settings say.")
    ] = 1_000_000

    # -- webhooks
    webhook_allowed_networks: Annotated[
        tuple[str, ...],
        _doc("Networks to which webhooks may be sent although they are not public, for example 10.1.0.0/16."),
    ] = ()
    webhook_http: Annotated[
        Literal["refused", "allowed"], _doc("Whether webhooks may be sent without TLS, to http:// addresses.")
    ] = "refused"
    webhook_concurrency: Annotated[Count, _doc("Most webhook messages in flight to one endpoint.")] = 8

    # -- what follows from them ---------------------------------------------------------------------------------------

    @property
    def session_limits(self) -> SessionLimits:
        """For `ServerSession`."""
        return SessionLimits(**self._values_of(msgspec.structs.fields(SessionLimits)))

    @property
    def websocket_options(self) -> WebSocketOptions:
        """For the front door."""
        return WebSocketOptions(**self._values_of(dataclasses.fields(WebSocketOptions)))

    def _values_of(self, fields: Iterable[Any]) -> dict[str, Any]:
        """Of those that are settings; the others keep their defaults."""
        return {field.name: getattr(self, field.name) for field in fields if field.name in _FIELDS}

    def make_limits(self) -> Limits:
        """Trusted proxies and connections per address."""
        return Limits(trusted_proxies=self.trusted_proxies, connections_per_address=self.connections_per_address)


class Setting(msgspec.Struct, frozen=True, kw_only=True):
    """One setting as it is described to people. value and default as text, secrets masked."""

    name: str
    variable: str
    kind: str
    unit: str
    text: str
    default: str
    has_file_form: bool
    """Whether the variable with `_FILE` at its end may name a file instead."""
    value: str = ""
    origin: str = "default"


class Loaded(msgspec.Struct, frozen=True):
    """A configuration and where each setting came from: ``default``, the file's name, or the variable's."""

    config: ServerConfig
    origins: dict[str, str]
    warnings: tuple[str, ...] = ()
    """What was found in the environment and not used, in words."""

    def describe(self) -> list[Setting]:
        """Every setting with its value and origin; secrets are masked."""
        return [
            msgspec.structs.replace(
                setting,
                value=_shown(setting.name, getattr(self.config, setting.name)),
                origin=self.origins.get(setting.name, "default"),
            )
            for setting in settings()
        ]


def load(
    path: str | Path | None = None,
    environment: Mapping[str, str] | None = None,
    overrides: Mapping[str, Any] | None = None,
    *,
    dev: bool = False,
) -> Loaded:
    """The settings. path: a TOML file; None takes `GREENROOM_CONFIG`, or none. overrides: from the command line.
    dev: what `greenroom serve --dev` sets where nobody else does.

    Raises IllegalArgumentError that names the setting, where it came from, what was given and what is allowed.
    """
    environment = environment or {}
    _refuse_renamed({name: PREFIX + name.upper() for name in RENAMED if PREFIX + name.upper() in environment})
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}

    def take(found: Mapping[str, Any], origin: str) -> None:
        values.update(found)
        origins.update(dict.fromkeys(found, origin))

    if dev:
        take(DEV, "--dev")
    file = path or environment.get(CONFIG_VARIABLE, "").strip()
    if file:
        take(_read_toml(Path(file)), Path(file).name)
    warnings = list(_unknown_variables(environment))
    for name, variable, text in _variables(environment):
        if _is_port(name) and "://" in text:
            warnings.append(
                f"{variable} is {text!r}, an address that Kubernetes or a docker link set, and is ignored. "
                "Set enableServiceLinks: false in the pod, or give the Service another name."
            )
        else:
            take({name: text}, variable)
    take({name: value for name, value in (overrides or {}).items() if value is not None}, "command line")
    config = _convert(values, origins)
    check(config)
    return Loaded(config, origins, tuple(warnings))


def is_usable_token(token: str) -> bool:
    """Whether a token of operators is long enough not to be guessed, and may stand in a header."""
    return len(token) >= MIN_TOKEN and token.isascii() and token.isprintable() and " " not in token


def check(config: ServerConfig) -> None:
    """Refuses settings that contradict each other. Raises IllegalArgumentError."""
    problems = [text for bad, text in _contradictions(config) if bad]
    if problems:
        raise IllegalArgumentError(" ".join(problems), hint="Change one of these settings.")
    for name in ("trusted_proxies", "webhook_allowed_networks"):
        try:
            parse_networks(getattr(config, name))
        except IllegalArgumentError as error:
            raise IllegalArgumentError(f"{name}: {error.message}", hint=error.hint) from None


def _contradictions(c: ServerConfig) -> list[tuple[bool, str]]:
    url = urlsplit(c.public_url or "http://x")
    return [
        (c.renew_interval > c.lease / 3, "renew_interval must be at most a third of lease."),
        (c.fence_after >= c.lease - 2, "fence_after must be more than 2 s below lease."),
        (c.fence_after <= c.renew_interval, "fence_after must be above renew_interval."),
        (c.pong_timeout >= c.ping_interval, "pong_timeout must be below ping_interval."),
        (c.grace_going_away > c.grace, "grace_going_away must be at most grace."),
        (c.grace_unconfirmed > c.grace, "grace_unconfirmed must be at most grace."),
        (c.reap_interval > 2, "reap_interval must be at most 2 s: a pass moves a partition's clock by 2 s at most."),
        (c.port_sharing == "on" and c.engine == "embedded", "port_sharing needs an engine that nodes share: Redis."),
        ((c.tls_cert is None) != (c.tls_key is None), "tls_cert and tls_key go together."),
        (url.scheme not in ("http", "https") or not url.netloc, "public_url must begin with https:// or http://."),
        (bool(url.query or url.fragment), "public_url must have neither query nor fragment."),
        (
            c.metrics_token is not None and not is_usable_token(c.metrics_token),
            f"metrics_token must have at least {MIN_TOKEN} printable ASCII characters and no spaces.",
        ),
    ]


RENAMED = {
    "cut_offs": "protocol_violations_per_minute",
    "grace_left": "grace_going_away",
    "token_overrun": "token_grace",
    "failed_sign_ins": "failed_auth_per_minute",
}
"""Settings of version 0.1, and what they are called now."""


def _refuse_renamed(found: Mapping[str, str]) -> None:
    """found: where each was found, by its old name. To ignore one would change what the service does."""
    for name, place in found.items():
        new = RENAMED[name]
        raise IllegalArgumentError(
            f"{place}: this setting was renamed.", hint=f"Write {new}, or {PREFIX}{new.upper()}."
        )


# -- fields as data -----------------------------------------------------------------------------------------------


_FIELDS = {field.name: field for field in msgspec.structs.fields(ServerConfig)}
DEV: Mapping[str, Any] = {
    "demo_page": "on",
    "metrics_from_loopback": "on",
    "webhook_http": "allowed",
    "webhook_allowed_networks": ("127.0.0.0/8", "::1/128"),
}
"""For trying things out on one machine: a receiver of webhooks runs beside the service, without TLS."""


def _parts(kind: Any) -> tuple[Any, list[Meta]]:
    """The type without annotations and None, and what the annotations say, outermost last."""
    metas: list[Meta] = []
    while True:
        if get_origin(kind) is Annotated:
            inner, *more = get_args(kind)
            metas = [*(meta for meta in more if isinstance(meta, Meta)), *metas]
            kind = inner
        elif type(None) in get_args(kind):
            kind = next(one for one in get_args(kind) if one is not type(None))
        else:
            return kind, metas


def _extra(name: str, key: str) -> Any:
    for meta in _parts(_FIELDS[name].type)[1]:
        if meta.extra and key in meta.extra:
            return meta.extra[key]
    return None


def _bound(name: str, which: str) -> float | None:
    return next((found for meta in _parts(_FIELDS[name].type)[1] if (found := getattr(meta, which)) is not None), None)


def _is_port(name: str) -> bool:
    return _bound(name, "le") == 65_535


def _shown(name: str, value: Any) -> str:
    if value is None:
        return "none"
    if _extra(name, "secret"):
        return MASK
    if isinstance(value, tuple):
        return ", ".join(value) or "none"
    return f"{value:g}" if isinstance(value, float) else redact_addresses(str(value))


def _kind_of(name: str) -> str:
    kind = _parts(_FIELDS[name].type)[0]
    if get_origin(kind) is Literal:
        return " or ".join(f"`{one}`" for one in get_args(kind))
    if kind is float:
        return "duration" if _extra(name, "duration") else "number"
    if kind is int:
        return "whole number"
    if get_origin(kind) is tuple:
        return "list of texts"
    return "text"


def _allowed(name: str) -> str:
    """What a setting's value must be, in words."""
    kind = _kind_of(name).replace("`", "")
    above, least, most = (_bound(name, which) for which in ("gt", "ge", "le"))
    if most is None:
        return kind if " or " in kind else f"a {kind}"
    start = f"above {above:g}" if least is None else f"from {least:,.0f}"
    unit = " seconds, written like 90, 10s, 5m or 1.5h" if kind == "duration" else ""
    return (
        f"a {kind} {start} to {most:,.0f}{unit}"
        if least is not None
        else f"a {kind} {start}, at most {most:,.0f}{unit}"
    )


def settings() -> list[Setting]:
    """Every setting with its default, in order; for the reference page and `greenroom config`."""
    return [
        Setting(
            name=name,
            variable=PREFIX + name.upper(),
            kind=_kind_of(name),
            unit=_extra(name, "unit") or "",
            text=next(meta.description for meta in _parts(field.type)[1] if meta.description),
            has_file_form=_may_have_file(name),
            default="none" if field.default is None else _shown(name, field.default),
        )
        for name, field in _FIELDS.items()
    ]


# -- reading -------------------------------------------------------------------------------------------------------

_INJECTED = re.compile(
    r"GREENROOM_(\w+_)?(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_(TCP|UDP|SCTP)(_ADDR|_PORT|_PROTO)?|ENV_\w+)=.*"
    r"|GREENROOM_(\w+_)?PORT=\w+://.*|GREENROOM_(\w+_)?NAME=/.*"
)
"""What Kubernetes (service links) and docker (--link) put into the environment beside something called greenroom."""


def _may_have_file(name: str) -> bool:
    return bool(_extra(name, "secret") or _extra(name, "has_password"))


def _variables(environment: Mapping[str, str]) -> Iterator[tuple[str, str, str]]:
    """Settings that variables give: (name, the variable, its text). Raises IllegalArgumentError."""
    for name in _FIELDS:
        variable = PREFIX + name.upper()
        text = environment.get(variable, "").strip()
        if _may_have_file(name) and (path := environment.get(variable + FILE_SUFFIX, "").strip()):
            if text:
                raise IllegalArgumentError(
                    f"{variable} and {variable}{FILE_SUFFIX} are both set.", hint="Leave one of them out."
                )
            variable, text = variable + FILE_SUFFIX, _read_secret(variable + FILE_SUFFIX, path)
        if text:
            yield name, variable, text


def _read_secret(variable: str, path: str) -> str:
    try:
        text = Path(path).read_text(encoding="utf-8-sig").strip()
    except OSError as error:
        raise IllegalArgumentError(f"{variable} names {path}, which cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise IllegalArgumentError(f"{variable} names {path}, which is not UTF-8 text.") from None
    if not text:
        raise IllegalArgumentError(f"{variable} names {path}, which is empty.")
    return text


def _unknown_variables(environment: Mapping[str, str]) -> Iterator[str]:
    """A sentence for each `GREENROOM_` variable that nothing reads."""
    settings_ = [PREFIX + name.upper() for name in _FIELDS]
    files = [PREFIX + name.upper() + FILE_SUFFIX for name in _FIELDS if _may_have_file(name)]
    known = {*settings_, *files, *OTHER_VARIABLES}
    for variable in sorted(environment):
        if (
            not variable.startswith(PREFIX)
            or variable in known
            or _INJECTED.fullmatch(f"{variable}={environment[variable]}")
        ):
            continue
        # Without what all of them begin with: that is alike anyway.
        nearest = get_close_matches(variable[len(PREFIX) :], [name[len(PREFIX) :] for name in known], 1, 0.7)
        hint = f" Did you mean {PREFIX}{nearest[0]}?" if nearest else " See docs/reference/settings.md."
        yield f"There is no setting for {variable}, which is ignored.{hint}"


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        # Editors of Windows begin a file with a byte order mark, which TOML has no place for.
        values = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise IllegalArgumentError(f"The settings file {path} cannot be read: {error.strerror}.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise IllegalArgumentError(f"The settings file {path} is not TOML: {error}.") from None
    _refuse_renamed({name: f"{name} in {path}" for name in RENAMED if name in values})
    for name in values:
        if name not in _FIELDS:
            nearest = get_close_matches(name, _FIELDS, 1)
            raise IllegalArgumentError(
                f"{path}: there is no setting {name}.",
                hint=f"Did you mean {nearest[0]}?" if nearest else "See docs/reference/settings.md.",
            )
    return values


def _parsed(name: str, value: Any) -> Any:
    """A value as its setting has it: white space stripped; of texts durations as seconds, numbers as numbers, lists
    split at commas and spaces. What cannot be read stays as it is."""
    kind = _parts(_FIELDS[name].type)[0]
    if get_origin(kind) is tuple:
        items = value.replace(",", " ").split() if isinstance(value, str) else value
        return (
            tuple(one.strip() if isinstance(one, str) else one for one in items)
            if isinstance(items, list | tuple)
            else value
        )
    if not isinstance(value, str):
        return value
    value = value.strip()
    try:
        if kind is float and _extra(name, "duration"):
            return parse_duration(value)
        return kind(value) if kind in (int, float) else value
    except ValueError:
        return value


def _convert(values: Mapping[str, Any], origins: Mapping[str, str]) -> ServerConfig:
    parsed: dict[str, Any] = {}
    for name, value in values.items():
        if name not in _FIELDS:
            raise IllegalArgumentError(f"There is no setting {name}.", hint="See docs/reference/settings.md.")
        parsed[name] = _parsed(name, value)
        try:
            if isinstance(parsed[name], float) and not isfinite(parsed[name]):
                raise msgspec.ValidationError
            msgspec.convert(parsed[name], _FIELDS[name].type)
        except msgspec.ValidationError:
            given = MASK if _extra(name, "secret") else redact_addresses(repr(value))
            raise IllegalArgumentError(
                f"The setting {name} (from {origins[name]}) is {given}; it must be {_allowed(name)}."
            ) from None
    return msgspec.convert(parsed, ServerConfig)
