"""``greenroom open``: open a session from the terminal."""

from __future__ import annotations

from typing import Annotated

import typer

from greenroom.cli.discovery import find_url
from greenroom.cli.exits import CliError, Exit
from greenroom.cli.options import AppKey, AppSecret, Data, Json, Url


def add_to(app: typer.Typer) -> None:
    """Adds the verb."""
    app.command("open")(open_session)


def open_session(
    token: Annotated[
        str | None, typer.Option(envvar="GREENROOM_TOKEN", help="A client access token.", show_default=False)
    ] = None,
    key: AppKey = None,
    secret: AppSecret = None,
    external_id: Annotated[
        str | None, typer.Option(help="Your own id of the participant; with --key and --secret.", show_default=False)
    ] = None,
    name: Annotated[str | None, typer.Option(help="The participant's name.", show_default=False)] = None,
    avatar_url: Annotated[str | None, typer.Option(help="The participant's avatar.", show_default=False)] = None,
    json: Json = False,
    url: Url = None,
    data: Data = None,
) -> None:
    """Open a session, show the participant and what happens to the session, and close it at Ctrl-C.

    Example: greenroom open --key 5f2c… --secret 8b1e… --external-id anna --name Anna
    """
    import asyncio

    from greenroom.cli.opening import Wanted, hold_open

    if token is None and not (key and secret):
        raise CliError("A token is needed (--token), or --key and --secret.", Exit.USAGE)
    wanted = Wanted(
        url=find_url(url, data),
        token=token,
        key=key,
        secret=secret,
        external_id=external_id,
        name=name,
        avatar_url=avatar_url,
    )
    ended = asyncio.run(hold_open(wanted, as_json=json))
    if ended is not None:
        raise CliError(f"The session has ended: {ended}.")
