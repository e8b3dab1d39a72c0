"""Settings of an application as they are written on the command line."""

from __future__ import annotations

import pytest

from greenroom.cli.exits import CliError, Exit
from greenroom.cli.settings import flat, patch_of
from tests.cli.running import as_operator
from tests.server.harness import running_service


def test_changes_become_the_body_of_a_patch() -> None:
    assert patch_of(()) == {}
    changes = ("policy.maxSessions=3", "policy.whenFull=replace_oldest", "keepOffline=null", "openProfile=", "a=b=c")
    assert patch_of((*changes, 'allowedOrigins=["https://app.example"]')) == {
        "policy": {"maxSessions": 3, "whenFull": "replace_oldest"},
        "keepOffline": None,
        "openProfile": "",
        "a": "b=c",
        "allowedOrigins": ["https://app.example"],
    }


@pytest.mark.parametrize("change", ["", "policy", "=3", "policy.=3"])
def test_what_names_no_setting_is_refused(change: str) -> None:
    with pytest.raises(CliError, match="is not NAME=VALUE") as refused:
        patch_of([change])
    assert refused.value.exit is Exit.USAGE


def test_a_setting_is_not_set_as_a_whole_and_in_part() -> None:
    with pytest.raises(CliError, match="policy is set both as a whole and in part"):
        patch_of(["policy=1", "policy.maxSessions=1"])


def test_settings_are_shown_by_their_dotted_names() -> None:
    settings = {"policy": {"maxSessions": 3, "whenFull": "reject"}, "keepOffline": None, "allowedOrigins": ["ž"]}
    assert flat(settings) == {
        "policy.maxSessions": "3",
        "policy.whenFull": "reject",
        "keepOffline": "null",
        "allowedOrigins": '["ž"]',
    }


async def test_settings_of_an_application() -> None:
    async with running_service() as running:
        app = await running.new_application()
        shown = await as_operator(running, "apps", "settings", app.key)
        assert "policy.maxSessions" in shown.out
        changes = ("policy.maxSessions=3", "policy.whenFull=replace_oldest", 'allowedOrigins=["https://app.example"]')
        options = [part for change in changes for part in ("--set", change)]
        changed = (await as_operator(running, "apps", "settings", app.key, *options, "--json")).json
        assert changed["policy"] == {"maxSessions": 3, "whenFull": "replace_oldest", "sameDevice": "replace"}
        assert app.application.settings.allowed_origins == ("https://app.example",)
        for bad in ("policy.maxSessions", "=3", "policy.maxSessions=many", "unknown=1"):
            ran = await as_operator(running, "apps", "settings", app.key, "--set", bad)
            assert (ran.code, ran.err.count("\n")) == (Exit.USAGE, 1), bad
        both = await as_operator(
            running, "apps", "settings", app.key, "--set", "policy=1", "--set", "policy.maxSessions=1"
        )
        assert (both.code, both.err.count("\n")) == (Exit.USAGE, 1)
