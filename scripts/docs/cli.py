"""docs/reference/cli.md: every verb of the command line, from the program itself."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

from typer.main import get_command

from greenroom.cli import make_app
from greenroom.cli.exits import Exit

_HEAD = """# Command line

Made from the program itself: `greenroom --help` and `greenroom VERB --help` print the same.

Verbs call a running service over HTTP, never its database file. The address is `--url`, else `GREENROOM_URL`, else what
`greenroom serve` has written to the data directory (`--data`, `GREENROOM_DATA_DIR`, else `./greenroom-data`), else
`http://127.0.0.1:7465`. The admin token comes from `--admin-token`, else
`GREENROOM_ADMIN_TOKEN`, else the file `admin-token` in the data directory. A service whose certificate is of your own
authority is trusted with `SSL_CERT_FILE=authority.pem`.

With `--json` a verb prints only JSON on stdout: one line, or one line per event if it keeps running (`greenroom open`).
Errors are one line on stderr; `GREENROOM_DEBUG=1` shows the traceback of a bug.

## Exit codes

| code | meaning |
|---|---|
"""

_EXITS = {
    Exit.DONE: "done",
    Exit.FAILED: "the service refused, or something on this machine failed",
    Exit.USAGE: "wrong options, arguments or settings",
    Exit.UNREACHABLE: "no service answers at the URL",
    Exit.CREDENTIALS: "admin token, app key and secret, or token were refused, or are missing",
    Exit.NOT_FOUND: "there is no such thing",
    Exit.CONFLICT: "the change conflicts with the present state",
    Exit.TRY_LATER: "the service is not ready, or there were too many attempts: try again later",
    Exit.BUG: "a bug",
    Exit.INTERRUPTED: "interrupted with Ctrl-C",
}


def verbs() -> Iterator[tuple[str, Any]]:
    """Every verb and its command, in the order of the help."""

    def walk(prefix: str, group: Any) -> Iterator[tuple[str, Any]]:
        for name, child in group.commands.items():
            if hasattr(child, "commands"):
                yield from walk(f"{prefix} {name}", child)
            else:
                yield f"{prefix} {name}", child

    yield from walk("greenroom", get_command(make_app()))


def generate() -> dict[str, str]:
    """The page."""
    exits = "\n".join(f"| {code.value} | {_EXITS[code]} |" for code in Exit)
    sections = "\n".join(_section(name, command) for name, command in verbs())
    return {"reference/cli.md": f"{_HEAD}{exits}\n\n{sections}"}


def _section(name: str, command: Any) -> str:
    text, _, example = inspect.cleandoc(command.help or "").partition("Example: ")
    parts = [f"## {name}", "", text.strip(), "", "```sh", example.strip(), "```", ""]
    rows = [_row(parameter) for parameter in command.params if parameter.name != "help"]
    if rows:
        parts += ["| option | what it is | variable | default |", "|---|---|---|---|", *rows, ""]
    return "\n".join(parts)


def _row(parameter: Any) -> str:
    is_option = parameter.param_type_name == "option"
    names = ", ".join(f"`{one}`" for one in parameter.opts) if is_option else f"`{parameter.name.upper()}`"
    variable = f"`{parameter.envvar}`" if getattr(parameter, "envvar", None) else ""
    shown = getattr(parameter, "show_default", None)  # a text, as 2m for 120.0, is what the help shows
    default = "required" if parameter.required else _default(shown if isinstance(shown, str) else parameter.default)
    return f"| {names} | {(parameter.help or '').replace('|', chr(92) + '|')} | {variable} | {default} |"


def _default(value: Any) -> str:
    if value is None or value is False or value == "":
        return ""
    return f"`{value:g}`" if isinstance(value, float) else f"`{value}`"
