"""What ``greenroom`` itself takes, before any verb."""

from __future__ import annotations

from typing import Annotated

import typer


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        print(f"greenroom {version('greenroom')}")
        raise typer.Exit


def root(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version, and exit.", is_eager=True, callback=_print_version)
    ] = False,
) -> None:
    """Greenroom, the session service for real-time communications apps."""
