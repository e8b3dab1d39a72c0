"""Clients in rooms of one node without sockets: what they ask, and what they are sent."""

from __future__ import annotations

import asyncio
from typing import Any

from greenroom.model import participant_id_of
from greenroom.server.sessions.connection import SessionConnection
from greenroom.server.sessions.rooms import NodeRoom
from tests.core.server.rig import APP, NAMESPACE
from tests.server.fakes import FakeLink
from tests.server.shell import Shell

ANNA, BOB, CAROL = (participant_id_of(NAMESPACE, one) for one in ("anna", "bob", "carol"))
ROOM = "standup"
Client = tuple[SessionConnection, FakeLink]


async def ask(shell: Shell, client: Client, method: str, number: int = 9, **params: Any) -> dict[str, Any]:
    """The reply to a request."""
    connection, link = client
    before = len(link.frames)
    shell.say(connection, method, number, **params)
    for _ in range(200):
        await asyncio.sleep(0)
        found = [one for one in link.messages[before:] if one.get("id") == number]
        if found:
            return found[0]
        await asyncio.sleep(0.001)
    raise AssertionError(f"no reply to {method}")


async def result_of(shell: Shell, client: Client, method: str, **params: Any) -> Any:
    """The result of a request."""
    reply = await ask(shell, client, method, **params)
    assert "result" in reply, reply
    return reply["result"]


async def join(shell: Shell, client: Client, room: str = ROOM) -> dict[str, Any]:
    """The result of a join."""
    result: dict[str, Any] = await result_of(shell, client, "rooms.join", room=room)
    return result


async def flush(shell: Shell) -> None:
    """Deliver what was gathered, without waiting for it."""
    fan_out = shell.hub.rooms.fan_out
    for _ in range(20):
        await shell.settle()
        await asyncio.sleep(0.001)
        if fan_out._timer is not None:
            fan_out._timer.cancel()
            fan_out._batcher._next.clear()
            fan_out._batcher._due = [(0.0, key) for _, key in fan_out._batcher._due]
            fan_out._flush()


def changes(link: FakeLink) -> list[dict[str, Any]]:
    """Of rosters, that were sent to a client."""
    return link.notifications("rooms.changed")


def ids(entries: list[dict[str, Any]]) -> list[str]:
    """Of members."""
    return [one["id"] for one in entries]


def node_room(shell: Shell, room: str = ROOM) -> NodeRoom:
    """The room, as the node has it."""
    found = shell.hub.rooms._rooms.get((APP, room))
    assert found is not None
    return found
