"""Settings: where they come from, what is refused, what is never shown."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from greenroom.core.server.calls import SessionLimits
from greenroom.errors import IllegalArgumentError
from greenroom.server.config import CONFIG_VARIABLE, DEFAULT_PORT, ServerConfig, check, load, settings
from greenroom.server.wire.interface import WebSocketOptions
from scripts.docs.settings import generate


def test_without_anything_there_are_defaults_and_they_are_consistent() -> None:
    loaded = load()
    assert loaded.config == ServerConfig()
    assert loaded.config.port == DEFAULT_PORT
    assert {one.origin for one in loaded.describe()} == {"default"}


def test_the_defaults_are_the_machines_and_the_connections_own() -> None:
    """Two places state each default; they must be the same."""
    assert ServerConfig().session_limits == SessionLimits()
    assert ServerConfig().websocket_options == WebSocketOptions()


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
        ({"grace": 4.0}, "grace_left"),
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
        assert f"| `{one.name}` | `{one.variable}` | {one.text}" in page
