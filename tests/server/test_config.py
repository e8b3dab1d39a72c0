"""Settings: where they come from, what is refused, what is never shown."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from greenroom.core.server.services import SessionLimits
from greenroom.errors import IllegalArgumentError
from greenroom.server.config import CONFIG_VARIABLE, DEFAULT_PORT, RENAMED, ServerConfig, check, load, settings
from greenroom.server.wire.interface import WebSocketOptions
from scripts.docs.settings import generate


def test_without_anything_there_are_defaults_and_they_are_consistent() -> None:
    loaded = load()
    assert loaded.config == ServerConfig()
    assert loaded.config.port == DEFAULT_PORT
    assert {one.origin for one in loaded.describe()} == {"default"}


def test_what_a_connection_may_do_is_what_the_settings_say() -> None:
    assert ServerConfig().session_limits == SessionLimits()
    assert ServerConfig().websocket_options == WebSocketOptions()
    config = ServerConfig(ping_interval=20.0, ids_burst=7, max_fragments=3, head_timeout=4.0)
    assert config.session_limits == SessionLimits(ping_interval=20.0, ids_burst=7)
    assert config.websocket_options == WebSocketOptions(max_fragments=3, head_timeout=4.0)


def test_the_command_line_wins_over_variables_and_they_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / "greenroom.toml"
    file.write_text('host = "10.0.0.1"\nport = 1\ngrace = 50\ntrusted_proxies = ["10.0.0.0/8"]\n')
    loaded = load(file, {"GREENROOM_PORT": "2", "GREENROOM_GRACE": "60.5"}, {"port": 3, "host": None})
    assert (loaded.config.host, loaded.config.port, loaded.config.grace) == ("10.0.0.1", 3, 60.5)
    assert loaded.config.trusted_proxies == ("10.0.0.0/8",)
    origins = {one.name: one.origin for one in loaded.describe()}
    assert (origins["host"], origins["port"], origins["grace"]) == ("greenroom.toml", "command line", "GREENROOM_GRACE")
    assert origins["lease"] == "default"


def test_the_file_may_be_named_by_a_variable(tmp_path: Path) -> None:
    file = tmp_path / "x.toml"
    file.write_text("port = 99")
    assert load(None, {CONFIG_VARIABLE: str(file)}).config.port == 99


def test_lists_in_variables_are_separated_by_commas_or_spaces() -> None:
    config = load(None, {"GREENROOM_TRUSTED_PROXIES": "10.0.0.0/8, ::1 192.0.2.1"}).config
    assert config.trusted_proxies == ("10.0.0.0/8", "::1", "192.0.2.1")


def test_an_empty_variable_is_none() -> None:
    assert load(None, {"GREENROOM_PORT": ""}).config.port == DEFAULT_PORT


def test_secrets_are_never_shown() -> None:
    secret = "5ec7e7" * 10
    loaded = load(None, {"GREENROOM_ADMIN_TOKEN": secret, "GREENROOM_MASTER_KEY": secret})
    text = repr(loaded.describe())
    assert secret not in text
    assert text.count("'***'") == 2
    assert {one.name for one in loaded.describe() if one.value == "none"} >= {"tls_cert"}


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"renew_interval": 4.0}, "renew_interval"),
        ({"fence_after": 8.5}, "fence_after"),
        ({"fence_after": 8.0}, "fence_after"),
        ({"fence_after": 2.0}, "fence_after"),
        ({"pong_timeout": 15.0}, "pong_timeout"),
        ({"ping_interval": 5.0}, "pong_timeout"),
        ({"grace": 4.0}, "grace_going_away"),
        ({"grace_unconfirmed": 41.0}, "grace_unconfirmed"),
        ({"reap_interval": 3.0}, "reap_interval"),
        ({"tls_cert": "a.pem"}, "tls_cert"),
        ({"public_url": "example.org"}, "public_url"),
        ({"public_url": "https://example.org?x=1"}, "public_url"),
        ({"trusted_proxies": ("nonsense",)}, "trusted_proxies"),
        ({"port_sharing": "on"}, "port_sharing needs an engine that nodes share"),
    ],
)
def test_settings_that_contradict_each_other_are_refused_by_name(values: dict[str, Any], words: str) -> None:
    with pytest.raises(IllegalArgumentError, match=words):
        check(msgspec.structs.replace(ServerConfig(), **values))


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({"GREENROOM_PORT": "x"}, r"port \(from GREENROOM_PORT\)"),
        ({"GREENROOM_PORT": "70000"}, "port"),
        ({"GREENROOM_GRACE": "0"}, "grace"),
        ({"GREENROOM_GRACE": "nan"}, "grace"),
        ({"GREENROOM_LOG_LEVEL": "loud"}, "log_level"),
        ({"GREENROOM_MAX_WAITING": "0"}, "max_waiting"),
    ],
)
def test_what_a_setting_cannot_be_is_refused_with_its_origin(environment: dict[str, str], words: str) -> None:
    with pytest.raises(IllegalArgumentError, match=words):
        load(None, environment)


@pytest.mark.parametrize(
    ("text", "words"),
    [("prot = 1", "no setting prot"), ("port = ", "not TOML"), ("[timers]\ngrace = 1", "no setting timers")],
)
def test_what_a_file_cannot_say_is_refused(tmp_path: Path, text: str, words: str) -> None:
    file = tmp_path / "bad.toml"
    file.write_text(text)
    with pytest.raises(IllegalArgumentError, match=words):
        load(file)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(IllegalArgumentError, match="cannot be read"):
        load(tmp_path / "none.toml")


def test_an_unknown_override_is_refused() -> None:
    with pytest.raises(IllegalArgumentError, match="no setting"):
        load(None, {}, {"prot": 1})


def test_every_setting_is_explained_and_on_the_page() -> None:
    page = generate()["reference/settings.md"]
    for one in settings():
        assert one.text.endswith("."), one.name
        assert f"| `{one.name}`<br>`{one.variable}` | {one.text}" in page


# -- as people write them ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90.0), ("10s", 10.0), ("1.5h", 5400.0), (" 2m\n", 120.0), ("500ms", 0.5), ("1d", 86400.0)],
)
def test_durations_are_taken_as_people_write_them(tmp_path: Path, text: str, seconds: float) -> None:
    file = tmp_path / "greenroom.toml"
    file.write_text(f"drain_limit = {text.strip()!r}\n")
    assert load(None, {"GREENROOM_DRAIN_LIMIT": text}).config.drain_limit == seconds
    assert load(file).config.drain_limit == seconds


def test_a_rate_is_no_duration() -> None:
    with pytest.raises(IllegalArgumentError, match="opens_per_second"):
        load(None, {"GREENROOM_OPENS_PER_SECOND": "2s"})


@pytest.mark.parametrize(
    ("environment", "problem"),
    [
        ({"GREENROOM_PORT": "x"}, "port (from GREENROOM_PORT) is 'x'; it must be a whole number from 0 to 65,535."),
        ({"GREENROOM_GRACE": "2 days"}, "grace (from GREENROOM_GRACE) is '2 days'; it must be a duration above 0,"
         " at most 86,400 seconds, written like 90, 10s, 5m or 1.5h."),
        ({"GREENROOM_TRACING": "yes"}, "tracing (from GREENROOM_TRACING) is 'yes'; it must be off or otlp."),
    ],
)  # fmt: skip
def test_a_wrong_value_is_refused_with_its_name_what_was_given_and_what_is_allowed(
    environment: dict[str, str], problem: str
) -> None:
    with pytest.raises(IllegalArgumentError) as refused:
        load(None, environment)
    assert refused.value.message == f"The setting {problem}"


def test_white_space_around_a_setting_is_no_part_of_it(tmp_path: Path) -> None:
    """What `echo` without -n, and secrets mounted as files, end in: every token's `iss` ended in it."""
    file = tmp_path / "greenroom.toml"
    file.write_text('node = " one "\n')
    loaded = load(
        file,
        {
            "GREENROOM_PUBLIC_URL": "https://sessions.example.com\n",
            "GREENROOM_ISSUER": " issuer\r\n",
            "GREENROOM_ADMIN_TOKEN": "\ttoken-of-operators \n",
        },
        {"host": " 127.0.0.1 "},
    ).config
    assert (loaded.public_url, loaded.issuer) == ("https://sessions.example.com", "issuer")
    assert (loaded.admin_token, loaded.node, loaded.host) == ("token-of-operators", "one", "127.0.0.1")


SECRETS = ("master_key", "admin_token", "metrics_token", "engine")


@pytest.mark.parametrize("name", SECRETS)
def test_each_secret_can_be_given_as_a_file(tmp_path: Path, name: str) -> None:
    value = "redis://:s3cret@redis.example" if name == "engine" else "a-token-of-operators"
    path = tmp_path / "secret"
    path.write_text(value + "\n")
    variable = f"GREENROOM_{name.upper()}"
    loaded = load(None, {f"{variable}_FILE": f"{path}\n"})
    assert getattr(loaded.config, name) == value
    assert loaded.origins[name] == f"{variable}_FILE"
    assert loaded.warnings == ()
    with pytest.raises(IllegalArgumentError, match="both set"):
        load(None, {f"{variable}_FILE": str(path), variable: value})
    path.write_text(" \n")
    with pytest.raises(IllegalArgumentError, match="empty"):
        load(None, {f"{variable}_FILE": str(path)})
    with pytest.raises(IllegalArgumentError, match=f"{variable}_FILE names .* cannot be read"):
        load(None, {f"{variable}_FILE": str(tmp_path / "none")})


def test_what_is_secret_has_a_file_form_and_nothing_else() -> None:
    page = generate()["reference/settings.md"]
    assert {one.name for one in settings() if f"`{one.variable}_FILE`" in page} == set(SECRETS)


def test_a_file_with_a_byte_order_mark_is_read(tmp_path: Path) -> None:
    file = tmp_path / "greenroom.toml"
    file.write_bytes(b"\xef\xbb\xbfport = 99\n")
    assert load(file).config.port == 99


def test_a_wrong_name_in_the_file_is_refused_with_the_nearest(tmp_path: Path) -> None:
    file = tmp_path / "greenroom.toml"
    file.write_text("gracee = 50\n")
    with pytest.raises(IllegalArgumentError) as refused:
        load(file)
    assert "grace?" in refused.value.hint


# -- the environment of others ----------------------------------------------------------------------------------------


def test_an_address_in_place_of_a_port_is_ignored_with_a_warning(tmp_path: Path) -> None:
    file = tmp_path / "greenroom.toml"
    file.write_text("port = 99\n")
    loaded = load(file, {"GREENROOM_PORT": "tcp://10.43.7.9:7465"})
    assert (loaded.config.port, loaded.origins["port"]) == (99, "greenroom.toml")
    assert len(loaded.warnings) == 1
    assert "GREENROOM_PORT" in loaded.warnings[0]
    assert "tcp://10.43.7.9:7465" in loaded.warnings[0]


@pytest.mark.parametrize(
    ("variable", "nearest"),
    [("GREENROOM_PORTT", "GREENROOM_PORT?"), ("GREENROOM_HTTP_PORT", ""), ("GREENROOM_NODE_NAME", ""),
     ("GREENROOM_ADMIN_TOKENFILE", "GREENROOM_ADMIN_TOKEN"),
     ("GREENROOM_WHATEVER_ELSE", "settings.md")],
)  # fmt: skip
def test_a_variable_that_nothing_reads_is_a_warning(variable: str, nearest: str) -> None:
    warnings = load(None, {variable: "x"}).warnings
    assert len(warnings) == 1
    assert variable in warnings[0]
    assert nearest in warnings[0]


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("GREENROOM_SERVICE_HOST", "10.43.7.9"), ("GREENROOM_SERVICE_PORT", "7465"),
        ("GREENROOM_SERVICE_PORT_HTTP", "7465"), ("GREENROOM_PORT_7465_TCP", "tcp://10.43.7.9:7465"),
        ("GREENROOM_PORT_7465_TCP_ADDR", "10.43.7.9"), ("GREENROOM_PORT_7465_TCP_PORT", "7465"),
        ("GREENROOM_PORT_7465_TCP_PROTO", "tcp"), ("GREENROOM_REDIS_SERVICE_HOST", "10.43.7.8"),
        ("GREENROOM_REDIS_PORT", "tcp://10.43.7.8:6379"), ("GREENROOM_REDIS_PORT_6379_TCP", "tcp://10.43.7.8:6379"),
        ("GREENROOM_NAME", "/web/greenroom"), ("GREENROOM_ENV_PATH", "/bin"), ("GREENROOM_URL", "http://x"),
        ("GREENROOM_APP", "x"), ("GREENROOM_APP_KEY", "x"), ("GREENROOM_APP_SECRET", "x"),
        ("GREENROOM_APP_SECRET_FILE", "x"), ("GREENROOM_TOKEN", "x"), ("GREENROOM_TOKEN_FILE", "x"),
        ("GREENROOM_DEBUG", "1"), ("GREENROOM_WEBHOOK_SECRET", "x"), ("OTHER_PORT", "x"),
    ],
)  # fmt: skip
def test_what_kubernetes_docker_and_the_command_line_set_is_no_warning(variable: str, value: str) -> None:
    assert load(None, {variable: value}).warnings == ()


# -- what is never shown ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "address", ["redis://:s3cret@redis.example/0", "redis+sentinel://user:s3c@ret@a:1,b:2/m?sentinel_password=s3cret"]
)
def test_the_password_of_an_address_is_not_shown(address: str) -> None:
    loaded = load(None, {"GREENROOM_ENGINE": address})
    assert loaded.config.engine == address
    text = repr(loaded.describe())
    assert "s3c" not in text
    assert "redis" in text


def test_a_wrong_secret_is_refused_without_being_shown() -> None:
    with pytest.raises(IllegalArgumentError, match="metrics_token") as refused:
        load(None, {"GREENROOM_METRICS_TOKEN": "s3cret"})
    assert "s3cret" not in str(refused.value)


def test_dev_sets_what_nobody_else_does() -> None:
    loaded = load(None, {}, dev=True)
    assert (loaded.config.webhook_http, loaded.config.metrics_from_loopback) == ("allowed", "on")
    assert loaded.config.webhook_allowed_networks == ("127.0.0.0/8", "::1/128")
    assert loaded.origins["webhook_http"] == "--dev"
    assert load(None, {"GREENROOM_WEBHOOK_HTTP": "refused"}, dev=True).config.webhook_http == "refused"


def test_a_setting_under_its_name_of_version_0_1_is_refused_with_the_new_one(tmp_path: Path) -> None:
    file = tmp_path / "greenroom.toml"
    for old, new in RENAMED.items():
        names = {field.name for field in msgspec.structs.fields(ServerConfig)}
        assert old not in names
        assert new in names
        file.write_text(f"{old} = 7")
        for arguments in ({"path": file}, {"environment": {f"GREENROOM_{old.upper()}": "7"}}):
            with pytest.raises(IllegalArgumentError) as caught:
                load(**arguments)
            assert new in str(caught.value.hint)
