"""``greenroom serve``: run the service."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from greenroom.cli.config import ConfigFile
from greenroom.cli.exits import CliError, Exit
from greenroom.cli.options import Json

if TYPE_CHECKING:
    from greenroom.server.config import Loaded, ServerConfig


def add_to(app: typer.Typer) -> None:
    """Adds the verb."""
    app.command("serve")(serve)


def serve(
    dev: Annotated[
        bool, typer.Option("--dev", help="For trying it out: this machine only, with a demo application.")
    ] = False,
    host: Annotated[str | None, typer.Option(help="The address to listen on.", show_default=False)] = None,
    port: Annotated[
        int | None,
        typer.Option(min=0, max=65535, help="The port, for sessions and HTTP; 0 takes a free one.", show_default=False),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option("--data", help="The data directory; created if it does not exist.", show_default=False),
    ] = None,
    engine: Annotated[str | None, typer.Option(help="embedded, or the URL of a Redis.", show_default=False)] = None,
    file: ConfigFile = None,
    json: Json = False,
) -> None:
    """Run the service until SIGTERM or Ctrl-C. Settings come from options, GREENROOM_* variables and a TOML file.

    With --json one line is printed when the service is ready; with --dev it holds url, appKey, appSecret, token and
    externalId. The demo application and its secret stay the same over restarts.

    Example: greenroom serve --dev
    """
    import os

    from greenroom.server.config import load

    overrides: dict[str, Any] = {
        "host": host,
        "port": port,
        "data_dir": None if data is None else str(data),
        "engine": engine,
    }
    loaded = load(file, os.environ, overrides, dev=dev)
    if dev:
        _check_loopback(loaded)
    from greenroom.cli.serving import run

    run(_quieter(loaded) if dev and not json else loaded.config, dev=dev, as_json=json, warnings=loaded.warnings)


def _quieter(loaded: Loaded) -> ServerConfig:
    """With --dev people read the terminal: there, unless they ask for more, only what is amiss is logged."""
    import msgspec

    if "log_level" in loaded.origins:
        return loaded.config
    return msgspec.structs.replace(loaded.config, log_level="warning")


def _check_loopback(loaded: Loaded) -> None:
    """--dev prints secrets and knows no TLS: it is for this machine alone."""
    from greenroom.server.wire.addresses import is_loopback

    host = loaded.config.host
    if not is_loopback(host):
        raise CliError(
            f"--dev listens on this machine only, and host is {host} (from {loaded.origins['host']}). "
            "Leave --dev out, or host.",
            Exit.USAGE,
        )
