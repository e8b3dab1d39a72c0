"""What the bus brings goes to the part that it is for."""

from __future__ import annotations

import pytest

from greenroom.core.commands import (
    Command,
    CompareCommand,
    DirectoryCommand,
    DrainCommand,
    EndedCommand,
    RoomLeftCommand,
    SupersededCommand,
)
from greenroom.server.cluster.node_listener import NodeListener
from tests.server.shell import running_shell


@pytest.mark.parametrize(
    ("command", "taker"),
    [
        (DirectoryCommand(), "directory"),
        (DrainCommand(rate=""), "cluster"),
        (CompareCommand(), "cluster"),
        (EndedCommand(session_id="p1-x", reason="kicked"), "session"),
        (SupersededCommand(session_id="p1-x", generation=1), "session"),
        (RoomLeftCommand(session_id="p1-x", generation=1, room="r", reason="kicked"), "session"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
async def test_commands(command: Command, taker: str) -> None:
    taken: list[tuple[str, object]] = []
    async with running_shell() as shell:
        listener = NodeListener(
            shell.hub,
            lost=lambda partitions: taken.append(("lost", partitions)),
            directory=lambda one: taken.append(("directory", one)),
            cluster=lambda one: taken.append(("cluster", one)),
        )
        listener.command(command)
        if "p1-x" in shell.hub._recent:  # a session that is not here: its attach may be under way
            taken.append(("session", command))
    assert taken == [(taker, command)]


async def test_lost_changes() -> None:
    lost: list[object] = []
    async with running_shell() as shell:
        listener = NodeListener(shell.hub, lost=lost.append, directory=lambda _: None, cluster=lambda _: None)
        listener.lost((3,))
    assert lost == [(3,)]
