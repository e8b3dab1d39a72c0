"""Options that several verbs share, and where their values come from when they are not given."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

DEFAULT_URL = "http://127.0.0.1:7465"
DEFAULT_DATA = Path("greenroom-data")
SERVICE_FILE = "service.json"
"""Written into the data directory by `greenroom serve`: where it can be reached."""

Json = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
Url = Annotated[
    str | None,
    typer.Option(
        "--url",
        envvar="GREENROOM_URL",
        help=f"Where the service is; else what the data directory says, else {DEFAULT_URL}.",
        show_default=False,
    ),
]
AdminToken = Annotated[
    str | None,
    typer.Option(
        "--admin-token",
        envvar="GREENROOM_ADMIN_TOKEN",
        help="The admin token; else the file admin-token of the data directory.",
        show_default=False,
        show_envvar=True,
    ),
]
Data = Annotated[
    Path | None,
    typer.Option(
        "--data",
        envvar="GREENROOM_DATA_DIR",
        help=f"The service's data directory; else ./{DEFAULT_DATA}.",
        show_default=False,
    ),
]
AppKey = Annotated[
    str | None, typer.Option("--key", envvar="GREENROOM_APP_KEY", help="The app key.", show_default=False)
]
AppSecret = Annotated[
    str | None, typer.Option("--secret", envvar="GREENROOM_APP_SECRET", help="The app secret.", show_default=False)
]


def find_url(url: str | None, data: Path | None) -> str:
    """The service's URL, without a slash at its end."""
    if url is None:
        url = _from_service_file(data) or DEFAULT_URL
    return url.rstrip("/")


def find_admin_token(token: str | None, data: Path | None) -> str | None:
    """The admin token, or None where it is not to be found."""
    if token:
        return token.strip()
    path = (data or DEFAULT_DATA) / "admin-token"
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError:
        return None


def _from_service_file(data: Path | None) -> str | None:
    import json

    try:
        found = json.loads(((data or DEFAULT_DATA) / SERVICE_FILE).read_text(encoding="utf-8"))
        os.kill(found["pid"], 0)
        return str(found["url"])
    except (OSError, ValueError, KeyError, TypeError):
        # No file, a broken one, or one that a service which is gone has left.
        return None


__all__ = [
    "DEFAULT_DATA",
    "DEFAULT_URL",
    "SERVICE_FILE",
    "AdminToken",
    "AppKey",
    "AppSecret",
    "Data",
    "Json",
    "Url",
    "find_admin_token",
    "find_url",
]
