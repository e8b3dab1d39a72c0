"""What all verbs have in common: help with an example, --json, exit codes, errors of one line, a quick start."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from greenroom.cli import explain, make_app
from greenroom.cli.exits import CliError, Exit, exit_of
from greenroom.codes import ERRORS, ErrorCode
from greenroom.errors import CLASS_OF_CODE, IllegalArgumentError
from tests.cli.running import ROOT, run_here


def verbs() -> Iterator[tuple[str, Any]]:
    """Every verb with its command, e.g. ``apps create``."""

    def walk(prefix: str, command: Any) -> Iterator[tuple[str, Any]]:
        for name, child in getattr(command, "commands", {}).items():
            if hasattr(child, "commands"):
                yield from walk(f"{prefix}{name} ", child)
            else:
                yield f"{prefix}{name}", child

    yield from walk("", typer.main.get_command(make_app()))


VERBS = dict(verbs())


def test_the_verbs() -> None:
    wanted = {"serve", "open", "config", "status", "apps create", "apps list", "apps rotate-secret", "apps disable"}
    wanted |= {"apps enable", "token api", "token client", "token inspect", "keys list", "keys rotate"}
    assert wanted <= VERBS.keys()


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help_with_an_example_and_json(verb: str) -> None:
    ran = run_here(*verb.split(" "), "--help")
    assert ran.code == 0
    assert f"Usage: greenroom {verb}" in ran.out
    assert "Example:" in ran.out
    assert "greenroom " + verb in ran.out.partition("Example:")[2]
    assert "--json" in ran.out


@pytest.mark.parametrize("verb", VERBS)
def test_every_option_says_what_it_is(verb: str) -> None:
    for parameter in VERBS[verb].params:
        if parameter.name != "help":
            assert parameter.help, f"{verb} {parameter.name}"


def test_without_a_verb_the_help_is_shown() -> None:
    ran = run_here()
    assert ran.code == 2
    assert "Usage: greenroom" in ran.out + ran.err


@pytest.mark.parametrize(
    "arguments", [["fly"], ["apps", "fly"], ["apps", "create"], ["serve", "--port", "x"], ["--fly"]]
)
def test_wrong_usage_is_2(arguments: list[str]) -> None:
    ran = run_here(*arguments)
    assert ran.code == Exit.USAGE
    assert ran.err
    assert not ran.out


def test_nobody_there_is_3_in_one_line() -> None:
    ran = run_here("apps", "list", "--url", "http://127.0.0.1:1", GREENROOM_ADMIN_TOKEN="x" * 20)
    assert ran.code == Exit.UNREACHABLE
    assert ran.err.startswith("greenroom: No service answers at http://127.0.0.1:1: ")
    assert ran.err.count("\n") == 1


@pytest.mark.parametrize("url", ["", "greenroom.example", "ftp://x", "http://", "http://x:99999", "http://x?a=b"])
def test_a_url_that_is_none_is_2(url: str) -> None:
    ran = run_here("apps", "list", "--url", url, GREENROOM_ADMIN_TOKEN="x" * 20)
    assert ran.code == Exit.USAGE
    assert ran.err.count("\n") == 1


def test_without_an_admin_token_the_error_says_where_it_is_looked_for(tmp_path: Path) -> None:
    ran = run_here("apps", "list", "--data", str(tmp_path))
    assert ran.code == Exit.CREDENTIALS
    assert "GREENROOM_ADMIN_TOKEN" in ran.err
    assert "--data" in ran.err


@pytest.mark.parametrize("code", ErrorCode)
def test_every_error_has_an_exit_code_and_one_line(code: ErrorCode) -> None:
    error = CLASS_OF_CODE[code](code=code)
    text, exit_code = explain(error)
    assert "\n" not in text
    assert exit_code is exit_of(error)
    assert exit_code not in (Exit.DONE, Exit.BUG, Exit.INTERRUPTED)
    if ERRORS[code].http_status == 401:
        assert exit_code is Exit.CREDENTIALS


def test_other_errors_are_explained_too() -> None:
    assert explain(CliError("several\nlines", Exit.CONFLICT)) == ("several lines", Exit.CONFLICT)
    assert explain(IllegalArgumentError("Bad.", hint="Mend it.")) == ("Bad. Mend it.", Exit.USAGE)
    assert explain(ModuleNotFoundError("No module named 'uvloop'", name="uvloop")) == (
        "uvloop is not installed. Run in a clone of Greenroom: pip install '.[server]'",
        Exit.USAGE,
    )
    assert explain(FileNotFoundError(2, "No such file", "x"))[1] is Exit.FAILED


def test_a_bug_is_one_line_without_its_details(monkeypatch: pytest.MonkeyPatch) -> None:
    from greenroom.cli import service

    def broken(**_: object) -> None:
        raise KeyError("hunter2")

    monkeypatch.setattr(service.ServiceClient, "find", broken)
    ran = run_here("apps", "list")
    assert ran.code == Exit.BUG
    assert ran.err.count("\n") == 1
    assert "hunter2" not in ran.err
    assert "GREENROOM_DEBUG=1" in ran.err
    with pytest.raises(KeyError):
        run_here("apps", "list", GREENROOM_DEBUG="1")


def test_starting_imports_nothing_heavy() -> None:
    heavy = "aiohttp asyncio cryptography joserfc msgspec picows rich structlog uvloop greenroom.server greenroom.sdk"
    code = (
        "import sys; from greenroom.cli import make_app; import typer; typer.main.get_command(make_app());"
        f"print([name for name in {heavy.split()!r} if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={"PYTHONPATH": str(ROOT / "src")}
    )
    assert done.stdout == "[]\n"


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
