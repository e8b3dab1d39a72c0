"""``greenroom backup`` and ``greenroom restore``: the state of the embedded engine, as one file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from greenroom.cli.discovery import DEFAULT_DATA
from greenroom.cli.options import Data, Json

BackupFile = Annotated[Path, typer.Argument(help="The backup: one file. Keep it as a secret.")]


def add_to(app: typer.Typer) -> None:
    """Adds the verbs."""
    app.command("backup")(backup)
    app.command("restore")(restore)


def backup(file: BackupFile, json: Json = False, data: Data = None) -> None:
    """Write a backup of the embedded engine's data directory. The service may be running.

    The file holds the database as it was at one instant, and the master key. With the redis engine, back up Redis.

    Example: greenroom backup /backups/greenroom-2026-11-26.tar
    """
    from rich.console import Console
    from rich.progress import Progress

    from greenroom.cli.output import print_json
    from greenroom.engines.embedded.backup import backup as write

    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=json or not console.is_terminal) as progress:
        task = progress.add_task("copying", total=None)
        size = write(data or DEFAULT_DATA, file, lambda done, total: progress.update(task, completed=done, total=total))
    if json:
        print_json({"file": str(file), "bytes": size})
    else:
        print(f"{file}: {size / 1024:,.0f} KiB. It holds the master key: keep it as a secret.")


def restore(file: BackupFile, json: Json = False, data: Data = None) -> None:
    """Restore a backup into the data directory; stop the service first. The old data is kept in a folder beside it.

    Sessions opened since the backup are unknown afterwards: their clients open new ones by themselves.

    Example: greenroom restore /backups/greenroom-2026-11-26.tar
    """
    from greenroom.cli.output import print_json
    from greenroom.engines.embedded.backup import restore as put_back

    kept = put_back(file, data or DEFAULT_DATA)
    if json:
        print_json({"restored": str(data or DEFAULT_DATA), "kept": None if kept is None else str(kept)})
    else:
        print("Restored." + ("" if kept is None else f" The old data is in {kept}."))
