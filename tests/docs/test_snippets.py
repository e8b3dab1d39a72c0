"""What pages ask people to type exists: Python that compiles, names, verbs with their options, variables, chores."""

from __future__ import annotations

import ast
import importlib
import re
import shlex
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main

from greenroom.cli import make_app
from greenroom.server.config import PREFIX, ServerConfig

ROOT = Path(__file__).resolve().parents[2]
PAGES = [*(ROOT / "docs").rglob("*.md"), ROOT / "README.md", ROOT / "CONTRIBUTING.md"]
# Read by the tutorial's backend, by every verb in the same way, or by our tests.
OTHER_VARIABLES = {
    f"GREENROOM_{name}"
    for name in ("URL", "APP_KEY", "APP_SECRET", "CONFIG", "DEBUG", "WEBHOOK_SECRET", "WALKS", "TEST_AGAIN")
}


def _blocks(language: str) -> Iterator[tuple[str, str]]:
    for page in sorted(PAGES):
        text = page.read_text(encoding="utf-8")
        for block in re.findall(rf"^ *```{language}[^\n]*\n(.*?)^ *```", text, re.MULTILINE | re.DOTALL):
            yield page.name, textwrap.dedent(block)


def _python() -> Iterator[tuple[str, ast.Module]]:
    for page, block in _blocks("python"):
        code = compile(block.replace("…", "..."), page, "exec", ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        assert isinstance(code, ast.Module)
        yield page, code


def test_python_compiles_and_imports_what_is_there() -> None:
    seen = 0
    for page, code in _python():
        for node in ast.walk(code):
            if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "greenroom":
                module = importlib.import_module(node.module or "")
                missing = [name.name for name in node.names if not hasattr(module, name.name)]
                assert not missing, (page, node.module, missing)
                seen += 1
    assert seen > 5


def _lines() -> Iterator[tuple[str, list[str]]]:
    """The `greenroom …` commands of shell blocks, as words."""
    for page, block in _blocks("sh"):
        for line in block.replace("\\\n", " ").splitlines():
            for part in re.split(r"\s\|\s|\s&&\s", line):
                words = shlex.split(part, comments=True)
                while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
                    words.pop(0)
                if words and words[0].rpartition("/")[2] == "greenroom":
                    yield page, words[1:]


def test_verbs_and_their_options_exist() -> None:
    commands = list(_lines())
    assert len(commands) > 20
    for page, words in commands:
        command: object = typer.main.get_command(make_app())
        rest = list(words)
        while rest and hasattr(command, "commands"):
            assert rest[0] in command.commands or rest[0].startswith("-"), (page, words)
            if rest[0].startswith("-"):
                break
            command = command.commands[rest.pop(0)]
        known = {"--help", "-h"} | {name for parameter in getattr(command, "params", ()) for name in parameter.opts}
        asked = {word.partition("=")[0] for word in rest if re.match(r"--?[a-z]", word)}
        assert asked <= known, (page, words)


def _option_variables(command: Any = None) -> Iterator[str]:
    """The variables that options of the command line are read from."""
    command = command or typer.main.get_command(make_app())
    for parameter in command.params:
        named = parameter.envvar or ()
        yield from [named] if isinstance(named, str) else named
    for child in getattr(command, "commands", {}).values():
        yield from _option_variables(child)


def test_variables_exist() -> None:
    settings = {PREFIX + name.upper() for name in ServerConfig.__struct_fields__}
    secrets = {f"{name}_FILE" for name in settings}
    known = settings | secrets | OTHER_VARIABLES | set(_option_variables())
    for page in PAGES:
        named = set(re.findall(r"\bGREENROOM_[A-Z_]*[A-Z]\b(?!_)", page.read_text(encoding="utf-8")))
        assert named <= known, page.name


def test_chores_exist() -> None:
    chores = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        named = set(re.findall(r"`(?:[A-Z]+=\S+ )?make ([a-z-]+)", text))
        named |= {
            m
            for block in re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
            for m in re.findall(r"^make ([a-z-]+)", block, re.M)
        }
        assert named <= chores, page.name


@pytest.mark.parametrize("language", ["json", "toml"])
def test_data_can_be_read(language: str) -> None:
    import json
    import tomllib

    for page, block in _blocks(language):
        if "…" in block:
            continue  # shortened for people
        try:
            json.loads(block) if language == "json" else tomllib.loads(block)
        except ValueError as error:
            pytest.fail(f"{page}: {error}\n{block}")
