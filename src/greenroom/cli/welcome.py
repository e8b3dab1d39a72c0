"""What ``greenroom serve`` says when it is ready."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

SNIPPET = """\
import asyncio
from greenroom import Greenroom, ParticipantInfo

async def main() -> None:
    sdk = Greenroom("{url}")
    sdk.initialize("{key}", "{secret}")
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


def show_ready(url: str, demo: Demo | None) -> None:
    """For people, on stdout."""
    from rich.console import Console

    console = Console(highlight=False, soft_wrap=True)
    console.print(f"\n[bold green]Greenroom[/] is ready at [bold]{url}[/]\n")
    if demo is not None:
        _show_demo(console, url, demo)
    console.print("[dim]Ctrl-C stops the service.[/]\n")


def _show_demo(console: Console, url: str, demo: Demo) -> None:
    from rich.syntax import Syntax
    from rich.text import Text

    pairs = {
        "App key": demo.app_key,
        "App secret": f"{demo.app_secret}  (new at each start)",
        "Key set": f"{url}/.well-known/jwks.json",
        "HTTP API": f"{url}/openapi.json",
        "External id": demo.external_id,
        "Token": "a client access token for it, good for a day:",
    }
    for name, value in pairs.items():
        console.print(Text.assemble((f"  {name:<13}", "bold cyan"), value))
    # On a line of its own, and unbroken, so that a double click takes all of it.
    console.print(Text(demo.token, style="dim"))
    console.print("\n[bold]Try it[/] in a second terminal, in Python:\n")
    code = SNIPPET.format(url=url, key=demo.app_key, secret=demo.app_secret)
    if console.is_terminal:
        # Not indented: it is there to be pasted.
        console.print(Syntax(code, "python", theme="ansi_dark", background_color="default", word_wrap=True))
    else:
        console.print(Text(code))
    console.print("or from the shell:\n")
    console.print(Text(f"  greenroom open --url {url} --token …\n"))


__all__ = ["SNIPPET", "Demo", "show_ready"]
