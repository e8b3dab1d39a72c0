"""Settings of the service: from a TOML file and from `GREENROOM_*` variables, checked before anything starts.

A variable wins over the file, the file over the default. `ServerConfig.describe` tells what each one is, where it came
from, and never shows a secret. docs/reference/settings.md is made from the fields below.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

from greenroom.core.server.calls import SessionLimits
from greenroom.errors import IllegalArgumentError
from greenroom.server.wire.addresses import Limits, parse_networks
from greenroom.server.wire.interface import WebSocketOptions

PREFIX = "GREENROOM_"
CONFIG_VARIABLE = "GREENROOM_CONFIG"
"""Names the TOML file where the command line does not."""
DEFAULT_PORT = 7465
MASKED = "***"

Seconds = Annotated[float, Meta(gt=0, le=86_400)]
Bytes = Annotated[int, Meta(ge=1_024, le=1 << 30)]
Count = Annotated[int, Meta(ge=1, le=1_000_000)]
Rate = Annotated[float, Meta(gt=0, le=1_000_000)]
Port = Annotated[int, Meta(ge=0, le=65_535)]


def _doc(text: str, unit: str = "", *, secret: bool = False) -> Meta:
    return Meta(description=text, extra={"unit": unit, "secret": secret})


class ServerConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All settings, checked. Durations are seconds, sizes bytes."""

    # -- where
    host: Annotated[str, _doc("The address to listen on.")] = "127.0.0.1"
    port: Annotated[Port, _doc("The one port, for sessions and HTTP; 0 takes a free one.")] = DEFAULT_PORT
    port_sharing: Annotated[
        Literal["off", "on"],
        _doc("Whether other nodes on this machine may listen on the same port (SO_REUSEPORT); not with `embedded`."),
    ] = "off"
    public_url: Annotated[
        str | None, _doc("How clients reach the service, with https or http. None: http(s)://host:port.")
    ] = None
    issuer: Annotated[
        str | None, _doc("The `iss` of tokens. None: the public URL; without one, on a shared engine, `greenroom`.")
    ] = None
    node: Annotated[str | None, _doc("This node's name, unique in the cluster. None: made anew at each start.")] = None
    data_dir: Annotated[
        str, _doc("Where the embedded engine keeps its database, and the service its master key and admin token.")
    ] = "greenroom-data"
    engine: Annotated[
        str,
        _doc("`embedded`, or the URL of a Redis: `redis://`, `rediss://`, `redis+sentinel://`, `redis+cluster://`."),
    ] = "embedded"
    tls_cert: Annotated[str | None, _doc("PEM file with the certificate chain; read again on SIGHUP.")] = None
    tls_key: Annotated[str | None, _doc("PEM file with its private key; read again on SIGHUP.")] = None
    trusted_proxies: Annotated[
        tuple[str, ...],
        _doc("Addresses or networks whose X-Forwarded-For and PROXY header count, and which no limit counts."),
    ] = ()

    # -- secrets
    master_key: Annotated[
        str | None,
        _doc("64 hexadecimal digits; seals signing keys. None: the file `master-key` in data_dir.", secret=True),
    ] = None
    admin_token: Annotated[
        str | None,
        _doc("What /admin/v1 asks for. None: the file `admin-token` in data_dir, made at first start.", secret=True),
    ] = None
    signing_alg: Annotated[Literal["EdDSA", "HS256"], _doc("How new signing keys sign tokens.")] = "EdDSA"

    # -- trying things out
    demo_page: Annotated[
        Literal["off", "on"],
        _doc("Whether the example page is served at /lobby/, where anybody signs in: `greenroom serve --dev` does."),
    ] = "off"

    # -- logs
    log_level: Annotated[Literal["debug", "info", "warning", "error"], _doc("The least that is logged.")] = "info"
    log_format: Annotated[
        Literal["auto", "json", "text"], _doc("`auto`: text on a terminal, else JSON, one line an event.")
    ] = "auto"

    # -- traces
    tracing: Annotated[
        Literal["off", "otlp"],
        _doc("`otlp` sends OpenTelemetry spans to where `OTEL_EXPORTER_OTLP_ENDPOINT` says; needs `greenroom[otel]`."),
    ] = "off"

    # -- timers
    hello_timeout: Annotated[Seconds, _doc("To the first `session.open` or `session.resume`.", "s")] = 10.0
    ping_interval: Annotated[Seconds, _doc("From a pong to the next ping.", "s")] = 15.0
    pong_timeout: Annotated[Seconds, _doc("For the pong; then the connection is dropped.", "s")] = 8.0
    grace: Annotated[Seconds, _doc("For which a session outlives its connection.", "s")] = 40.0
    grace_left: Annotated[Seconds, _doc("The same where the page was left or reloaded (close 1001).", "s")] = 5.0
    grace_unconfirmed: Annotated[
        Seconds, _doc("The same while the client has sent nothing since it was told that its session is open.", "s")
    ] = 10.0
    lease: Annotated[Seconds, _doc("For which a node is believed to live.", "s")] = 10.0
    renew_interval: Annotated[Seconds, _doc("From one renewal of the lease to the next.", "s")] = 3.0
    fence_after: Annotated[
        Seconds, _doc("Without a renewal, after which the node stops acting for its sessions.", "s")
    ] = 7.0
    reap_interval: Annotated[Seconds, _doc("From one pass of the reaper to the next.", "s")] = 1.0
    compare_interval: Annotated[
        Seconds, _doc("From one comparison of what the node holds with what the engine lists to the next.", "s")
    ] = 10.0
    token_warning: Annotated[
        Seconds, _doc("Before a token's end, `session.tokenExpiring` is sent; at most a quarter of its life.", "s")
    ] = 60.0
    token_overrun: Annotated[Seconds, _doc("After a token's end, in which it can still be refreshed.", "s")] = 30.0
    drain_limit: Annotated[Seconds, _doc("For a node that stops to move its clients to others.", "s")] = 30.0
    restart_after: Annotated[
        Seconds, _doc("What a restart is expected to take: told to the clients of a node that stops alone.", "s")
    ] = 3.0
    max_clock_difference: Annotated[
        Seconds, _doc("Between the node's wall clock and the engine's, above which the node is not ready.", "s")
    ] = 5.0
    head_timeout: Annotated[Seconds, _doc("To send a whole request head.", "s")] = 10.0
    fragment_timeout: Annotated[Seconds, _doc("From the first fragment of a message to its last.", "s")] = 10.0
    close_timeout: Annotated[Seconds, _doc("For the answer to a Close; then the connection is dropped.", "s")] = 2.0

    # -- limits
    max_message_bytes: Annotated[Bytes, _doc("The largest message of a client.", "bytes")] = 32_768
    max_fragments: Annotated[Count, _doc("Frames that one message may come in.")] = 64
    max_buffered_bytes: Annotated[
        Bytes, _doc("What may wait to be written on one connection; then it is cut off (4002).", "bytes")
    ] = 262_144
    max_head_bytes: Annotated[Bytes, _doc("The largest request head.", "bytes")] = 16_384
    messages_per_second: Annotated[Rate, _doc("Of one connection, in the long run (4004).", "1/s")] = 50.0
    messages_burst: Annotated[Count, _doc("Of one connection, at once.")] = 100
    max_waiting: Annotated[Count, _doc("Requests of one connection that wait while one is carried out.")] = 32
    control_frames_per_second: Annotated[
        Rate, _doc("Pings and pongs of one connection, in the long run (1008).", "1/s")
    ] = 20.0
    control_frames_burst: Annotated[Count, _doc("Pings and pongs of one connection, at once.")] = 100
    connections_per_address: Annotated[Count, _doc("Of one IPv4 address or IPv6 /64 (429).")] = 1_000
    opens_per_second: Annotated[Rate, _doc("Opens that the node takes, with a burst of the same number.", "1/s")] = (
        2_000.0
    )
    failed_sign_ins: Annotated[
        Count, _doc("Bad tokens a minute from one address for one application, before more are refused.", "1/min")
    ] = 10

    cut_offs: Annotated[
        Count,
        _doc(
            "Connections a minute of one participant, or one session, that are cut off for breaking the protocol,"
            " before its next `open` or `resume` is refused (`rate_limited`).",
            "1/min",
        ),
    ] = 200

    # -- webhooks
    webhook_allowed_networks: Annotated[
        tuple[str, ...],
        _doc("Networks that webhooks may be sent to although they are not public, like 10.1.0.0/16."),
    ] = ()
    webhook_http: Annotated[
        Literal["refused", "allowed"], _doc("Whether webhooks may be sent without TLS, to http:// addresses.")
    ] = "refused"
    webhook_concurrency: Annotated[Count, _doc("Messages under way to one endpoint at a time.")] = 8

    # -- what follows from them ---------------------------------------------------------------------------------------

    @property
    def session_limits(self) -> SessionLimits:
        """For `ServerSession`."""
        return SessionLimits(
            hello=self.hello_timeout,
            ping=self.ping_interval,
            pong=self.pong_timeout,
            grace=self.grace,
            grace_left=self.grace_left,
            grace_unconfirmed=self.grace_unconfirmed,
            token_warning=self.token_warning,
            token_overrun=self.token_overrun,
            messages_per_second=self.messages_per_second,
            messages_burst=self.messages_burst,
            max_waiting=self.max_waiting,
        )

    @property
    def websocket_options(self) -> WebSocketOptions:
        """For the front door."""
        return WebSocketOptions(
            max_message_bytes=self.max_message_bytes,
            max_fragments=self.max_fragments,
            fragment_timeout=self.fragment_timeout,
            max_buffered_bytes=self.max_buffered_bytes,
            head_timeout=self.head_timeout,
            max_head_bytes=self.max_head_bytes,
            close_timeout=self.close_timeout,
            control_frames_per_second=self.control_frames_per_second,
            control_frames_burst=self.control_frames_burst,
        )

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
    value: str = ""
    origin: str = "default"


class Loaded(msgspec.Struct, frozen=True):
    """A configuration and where each setting came from: ``default``, the file's name, or the variable's."""

    config: ServerConfig
    origins: dict[str, str]

    def describe(self) -> list[Setting]:
        """Every setting with its value and origin; secrets are masked."""
        return [
            msgspec.structs.replace(
                setting,
                value=_shown(getattr(self.config, setting.name), _is_secret(setting.name)),
                origin=self.origins.get(setting.name, "default"),
            )
            for setting in settings()
        ]


def load(
    path: str | Path | None = None,
    environment: Mapping[str, str] | None = None,
    overrides: Mapping[str, Any] | None = None,
) -> Loaded:
    """The settings. path: a TOML file; None takes `GREENROOM_CONFIG`, or none. overrides: from the command line.

    Raises IllegalArgumentError that names the setting, where it came from, and what it must be.
    """
    environment = environment or {}
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    file = path or environment.get(CONFIG_VARIABLE)
    if file:
        for name, value in _read_toml(Path(file)).items():
            values[name], origins[name] = value, Path(file).name
    for name in _FIELDS:
        variable = PREFIX + name.upper()
        if environment.get(variable, "") != "":
            values[name], origins[name] = _from_text(name, environment[variable]), variable
    for name, value in (overrides or {}).items():
        if value is not None:
            values[name], origins[name] = value, "command line"
    config = _convert(values, origins)
    check(config)
    return Loaded(config, origins)


def check(config: ServerConfig) -> None:
    """Refuses settings that contradict each other. Raises IllegalArgumentError."""
    problems = [text for bad, text in _contradictions(config) if bad]
    if problems:
        raise IllegalArgumentError(" ".join(problems), hint="Change one of the settings named.")
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
        (c.grace_left > c.grace, "grace_left must not be above grace."),
        (c.grace_unconfirmed > c.grace, "grace_unconfirmed must not be above grace."),
        (c.reap_interval > 2, "reap_interval must be at most 2 s: a pass moves a partition's clock by 2 s at most."),
        (c.port_sharing == "on" and c.engine == "embedded", "port_sharing needs an engine that nodes share: Redis."),
        ((c.tls_cert is None) != (c.tls_key is None), "tls_cert and tls_key go together."),
        (url.scheme not in ("http", "https") or not url.netloc, "public_url must begin with https:// or http://."),
        (bool(url.query or url.fragment), "public_url has neither query nor fragment."),
    ]


# -- fields as data -----------------------------------------------------------------------------------------------


_FIELDS = {field.name: field for field in msgspec.structs.fields(ServerConfig)}


def _metas(kind: Any) -> list[Meta]:
    metas = []
    while get_origin(kind) is Annotated:
        inner, *more = get_args(kind)
        metas += [meta for meta in more if isinstance(meta, Meta)]
        kind = inner
    return metas


def _bare(kind: Any) -> Any:
    while get_origin(kind) is Annotated:
        kind = get_args(kind)[0]
    return kind


def _extra(name: str, key: str) -> Any:
    for meta in _metas(_FIELDS[name].type):
        if meta.extra and key in meta.extra:
            return meta.extra[key]
    return None


def _is_secret(name: str) -> bool:
    return bool(_extra(name, "secret"))


def _shown(value: Any, secret: bool) -> str:
    if value is None:
        return "none"
    if secret:
        return MASKED
    if isinstance(value, tuple):
        return ", ".join(value) or "none"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _kind_of(name: str) -> str:
    kind = _bare(_FIELDS[name].type)
    if get_origin(kind) is Literal:
        return " or ".join(f"`{one}`" for one in get_args(kind))
    if kind is float:
        return "number"
    if kind is int:
        return "whole number"
    if get_origin(kind) is tuple:
        return "list of texts"
    return "text"


def settings() -> list[Setting]:
    """Every setting with its default, in order; for the reference page and `greenroom config`."""
    return [
        Setting(
            name=name,
            variable=PREFIX + name.upper(),
            kind=_kind_of(name),
            unit=_extra(name, "unit") or "",
            text=next(meta.description for meta in _metas(field.type) if meta.description),
            default=_shown(field.default, False),
        )
        for name, field in _FIELDS.items()
    ]


# -- reading -------------------------------------------------------------------------------------------------------


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            values = tomllib.load(file)
    except OSError as error:
        raise IllegalArgumentError(f"The settings file {path} cannot be read: {error.strerror}.") from None
    except tomllib.TOMLDecodeError as error:
        raise IllegalArgumentError(f"The settings file {path} is not TOML: {error}.") from None
    unknown = sorted(set(values) - set(_FIELDS))
    if unknown:
        raise IllegalArgumentError(
            f"{path}: there is no setting {', '.join(unknown)}.", hint="See docs/reference/settings.md."
        )
    return values


def _from_text(name: str, text: str) -> Any:
    """A variable's value: numbers as numbers, lists separated by commas or spaces."""
    kind = _bare(_FIELDS[name].type)
    if get_origin(kind) is tuple:
        return [one for one in text.replace(",", " ").split() if one]
    if kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            return text
    return text


def _convert(values: Mapping[str, Any], origins: Mapping[str, str]) -> ServerConfig:
    for name, value in values.items():
        if name not in _FIELDS:
            raise IllegalArgumentError(f"There is no setting {name}.", hint="See docs/reference/settings.md.")
        try:
            msgspec.convert(value, _FIELDS[name].type)
        except msgspec.ValidationError as error:
            # A secret's value is not repeated, and msgspec does not repeat values.
            raise IllegalArgumentError(f"Setting {name} (from {origins[name]}): {error}.") from None
    return msgspec.convert(dict(values), ServerConfig)
