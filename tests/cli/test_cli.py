"""What all verbs have in common: help with an example, --json, exit codes, errors of one line, a quick start."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import typer

from greenroom.cli import explain, make_app
from greenroom.cli.exits import CliError, Exit
from greenroom.errors import IllegalArgumentError
from tests.cli.running import ROOT, run, run_here
from tests.server.harness import running_service


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


@pytest.mark.parametrize("verb", VERBS)
def test_help_names_only_options_that_the_verb_has(verb: str) -> None:
    known = {name for parameter in VERBS[verb].params for name in parameter.opts}
    texts = [VERBS[verb].help.partition("Example:")[0], *(parameter.help or "" for parameter in VERBS[verb].params)]
    assert set(re.findall(r"(?<![\w-])--[a-z][a-z0-9-]*", " ".join(texts))) <= known


@pytest.mark.parametrize(
    "arguments", [["fly"], ["apps", "fly"], ["apps", "create"], ["serve", "--port", "x"], ["--fly"]]
)
def test_wrong_usage_is_2(arguments: list[str]) -> None:
    ran = run_here(*arguments)
    assert ran.code == Exit.USAGE
    assert ran.err
    assert not ran.out


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


async def test_an_emoji_on_a_terminal_that_cannot_show_it() -> None:
    async with running_service() as running, running.connect() as client:
        tenant = await running.new_application()
        await client.open(tenant.token("anna"), participant={"name": "Anna 🎉"})
        arguments = ("participants", "list", "--url", running.url, "--key", tenant.key, "--secret", tenant.secret)
        for more in ((), ("--json",)):
            ran = await run(*arguments, *more, encoding="cp1252")
            assert (ran.code, ran.err) == (0, "")
            assert "Anna \\U0001f389" in ran.out


def test_an_argument_that_is_not_utf_8_is_not_a_bug() -> None:
    undecodable = b"\xff".decode(errors="surrogateescape")
    ran = run_here("sessions", "show", undecodable, "--url", "http://127.0.0.1:1", "--app", "k", "--admin-token", "t")
    assert (ran.code, ran.err) == (Exit.USAGE, "greenroom: An argument or a variable is not UTF-8 text.\n")
