"""``greenroom config``: the settings in effect, and where each came from."""

from __future__ import annotations

from pathlib import Path

from greenroom.cli.exits import Exit
from tests.cli.running import run_here


def test_config_shows_settings_with_their_origin_and_no_secret(tmp_path: Path) -> None:
    file = tmp_path / "greenroom.toml"
    file.write_text('grace = 60\nadmin_token = "canary-of-the-file"\n')
    secret = "ca" * 32
    options = {"GREENROOM_MASTER_KEY": secret, "GREENROOM_PORT": "8443"}
    ran = run_here("config", "--config", str(file), "--json", **options)
    found = {setting["name"]: setting for setting in ran.json}
    assert (found["grace"]["value"], found["grace"]["origin"]) == ("60", "greenroom.toml")
    assert (found["port"]["value"], found["port"]["origin"]) == ("8443", "GREENROOM_PORT")
    assert found["lease"]["origin"] == "default"
    assert found["admin_token"]["value"] == found["master_key"]["value"] == "***"
    people = run_here("config", "--config", str(file), "--changed", **options)
    assert people.code == 0
    assert "grace" in people.out
    assert "lease" not in people.out
    for text in (ran.out, people.out):
        assert secret not in text
        assert "canary" not in text


def test_config_says_what_is_wrong_with_a_setting() -> None:
    ran = run_here("config", GREENROOM_PORT="a lot")
    assert ran.code == Exit.USAGE
    assert "port" in ran.err
    assert "GREENROOM_PORT" in ran.err


def test_config_without_changes_says_so() -> None:
    assert "defaults" in run_here("config", "--changed").out


def test_a_file_of_settings_that_cannot_be_read(tmp_path: Path) -> None:
    broken = tmp_path / "broken.toml"
    broken.write_text("grace = ")
    for file in (tmp_path / "missing.toml", tmp_path, broken):
        ran = run_here("config", "--config", str(file))
        assert (ran.code, ran.err.count("\n"), str(file) in ran.err) == (Exit.USAGE, 1, True)


def test_a_variable_that_is_almost_a_setting_is_pointed_out() -> None:
    ran = run_here("config", "--changed", "--json", GREENROOM_GRACEE="60")
    assert ran.json == []
    assert "GREENROOM_GRACE?" in ran.err
