"""``greenroom config``: the settings in effect, and where each came from."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from greenroom.cli.options import Json

ConfigFile = Annotated[
    Path | None,
    typer.Option("--config", envvar="GREENROOM_CONFIG", help="A TOML file with settings.", show_default=False),
]


def add_to(app: typer.Typer) -> None:
    """Adds the verb."""
    app.command("config")(config)


def config(
    changed: Annotated[
        bool, typer.Option("--changed", help="Show only settings that differ from the default.")
    ] = False,
    file: ConfigFile = None,
    json: Json = False,
) -> None:
    """Show the settings that `greenroom serve` would run with here, and where each comes from. Secrets are masked.

    Example: GREENROOM_GRACE=60 greenroom config --changed
    """
    import os
    import sys

    import msgspec

    from greenroom.cli.output import print_json, print_table
    from greenroom.server.config import load

    loaded = load(file, os.environ)
    for warning in loaded.warnings:
        print(f"greenroom: {warning}", file=sys.stderr)
    settings = [one for one in loaded.describe() if not changed or one.origin != "default"]
    if json:
        print_json(msgspec.to_builtins(settings))
        return
    rows = [(one.name, one.value, one.unit, one.origin) for one in settings]
    print_table(("Setting", "Value", "Unit", "Origin"), rows, empty="All settings have their defaults.")
