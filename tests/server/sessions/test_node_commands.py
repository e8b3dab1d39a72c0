"""Commands about sessions: at once on this node, over the bus to others, and never a failure for who gives them."""

from __future__ import annotations

from msgspec import structs

from greenroom.core.commands import DirectoryCommand, EndedCommand, SupersededCommand
from greenroom.messages import Device
from greenroom.model import EndReason, SessionRecord
from tests.core.server.rig import APP
from tests.server.shell import owner_of, running_shell

COMMAND = SupersededCommand(session_id="p1-x", generation=3)


class Bus:
    """Keeps what was sent, node by node."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, object]] = []

    async def send(self, node: str, command: object) -> None:
        self.sent.append((node, command))


async def test_the_clients_of_this_node_learn_of_an_end_at_once() -> None:
    async with running_shell() as shell:
        anna, link = await shell.open()
        record = SessionRecord(
            id=owner_of(anna).session_id, app=APP, participant_id=anna.context.participant_id, node="n1",
            generation=owner_of(anna).generation,
        )  # fmt: skip
        by = Device(id="phone", name="Anna's phone")
        shell.node_commands.notify_ended([record], EndReason.REPLACED, "elsewhere", by=by)
        (received,) = link.notifications("session.ended")
        assert (received["reason"], received["message"]) == ("replaced", "elsewhere")
        assert received["by"]["device"] == {"id": "phone", "name": "Anna's phone"}


async def test_other_nodes_get_theirs_over_the_bus_and_nobody_what_no_node_holds() -> None:
    async with running_shell() as shell:
        bus = Bus()
        shell.node_commands._bus = bus  # type: ignore[assignment]
        held = SessionRecord(id="p1-x", app=APP, participant_id="anna", node="n2", generation=3)
        shell.node_commands.notify_ended([held, structs.replace(held, node="")], EndReason.KICKED, "why")
        shell.node_commands.notify("n3", COMMAND)
        shell.node_commands.notify("", COMMAND)
        await shell.settle()
        await shell.node_commands.notify_all(DirectoryCommand())
        ended = EndedCommand(session_id="p1-x", generation=3, reason=EndReason.KICKED, text="why")
        assert bus.sent == [("n2", ended), ("n3", COMMAND), ("*", DirectoryCommand())]


async def test_a_bus_that_is_away_fails_nobody() -> None:
    """Every node compares by itself (S7)."""
    async with running_shell() as shell:
        shell.away = True
        shell.node_commands.notify("n2", COMMAND)
        await shell.node_commands.notify_all(DirectoryCommand())
        await shell.settle()
        assert shell.commands == []
        shell.away = False
        await shell.node_commands.notify_all(DirectoryCommand())
        assert shell.commands == [DirectoryCommand()]
