"""What ``greenroom serve`` says when it is ready."""

from __future__ import annotations

import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

SNIPPET = """\
import asyncio
from greenroom import Greenroom, ParticipantInfo

URL = "{url}"
KEY = "{key}"
SECRET = "{secret}"

async def main() -> None:
    sdk = Greenroom(URL)
    sdk.initialize(KEY, SECRET)
    async with sdk.session.opened(ParticipantInfo("Anna", external_id="anna")) as me:
        print("open as", me.info.name, "revision", me.revision)
        me = await sdk.session.update_participant_info(name="Anna B.")
        print("now I am", me.info.name, "revision", me.revision)

asyncio.run(main())
"""


@dataclass(frozen=True, slots=True)
class Demo:
    """The demo application of --dev. token: a client access token for external_id, good for a day."""

    app_key: str
    app_secret: str
    token: str
    external_id: str


def show_ready(url: str, data: Path, demo: Demo | None) -> None:
    """For people, on stdout."""
    from rich.console import Console
    from rich.text import Text

    # soft_wrap: what is there to be copied is never broken into lines.
    console = Console(highlight=False, soft_wrap=True)
    console.print(Text.assemble("\n", ("Greenroom", "bold green"), " is ready at ", (url, "bold"), "\n"))
    if demo is not None:
        _show_demo(console, url, data, demo)
    console.print(Text("Ctrl-C stops the service.\n", style="dim"))


def _show_demo(console: Console, url: str, data: Path, demo: Demo) -> None:
    from rich.syntax import Syntax
    from rich.text import Text

    pairs = {
        "Lobby": f"{url}/lobby/  (open it in two tabs)",
        "Console": f"{url}/console/  (sign in with key and secret)",
        "App key": demo.app_key,
        "App secret": f"{demo.app_secret}  (kept in the data directory)",
        "HTTP API": f"{url}/openapi.json",
        "Key set": f"{url}/.well-known/jwks.json",
        "Data": f"{data}{os.sep}",
        "Token": f"a client access token for the external id {demo.external_id!r}, good for a day:",
    }
    for name, value in pairs.items():
        console.print(Text.assemble((f"  {name:<12}", "cyan"), value))
    # On a line of its own, so that a double click takes all of it.
    console.print(Text(f"{demo.token}\n", style="dim"))
    console.print(
        Text.assemble(("Try it", "bold"), " in a second terminal, in Python ", (f"({_python()})", "dim"), ":\n")
    )
    code = SNIPPET.format(url=url, key=demo.app_key, secret=demo.app_secret)
    # Highlighted as text: a Syntax would pad its lines, and they are there to be pasted.
    console.print(Syntax("", "python", theme="ansi_dark").highlight(code))
    console.print(Text.assemble("or ", ("from the shell", "bold"), ":\n"))
    console.print(
        Text(f"{_program()} open --key {demo.app_key} --secret {demo.app_secret} --external-id anna{_where(data)}\n")
    )


def _where(data: Path) -> str:
    """How another verb finds this service, where it does not by itself."""
    from greenroom.cli.discovery import DEFAULT_DATA

    return "" if data == DEFAULT_DATA else f" --data {data}"


def _python() -> str:
    return _short(sys.executable)


def _program() -> str:
    return "greenroom" if shutil.which("greenroom") else f"{_python()} -m greenroom"


def _short(path: str) -> str:
    """Relative where that is shorter: what people would type."""
    return min(path, os.path.relpath(path), key=len)
