"""The shell of one connection: effects are carried out in order, and nothing that comes late does harm."""

from __future__ import annotations

from typing import Any

from tests.core.server.rig import SECRET
from tests.server.shell import OPEN_ID, running_shell


async def test_replies_then_the_close_in_order() -> None:
    async with running_shell() as shell:
        connection, link = await shell.open()
        shell.say(connection, "session.getParticipant", 5)
        shell.say(connection, "session.close", 6)
        await shell.settle()
        assert [message["id"] for message in link.messages] == [5, 6]
        assert link.end == (1000, "closed")


async def test_the_wheel_pings_and_drops_who_does_not_answer() -> None:
    async with running_shell() as shell:
        connection, link = await shell.open()
        shell.clock.advance(15.1)
        connection.tick()
        assert link.pings == 1
        shell.clock.advance(8.1)
        await shell.node.beat()  # the node itself is well
        await shell.node.recovery.caught_up()
        connection.tick()
        assert link.end == (1006, "")
        connection.lost(1006, "")
        await shell.settle()
        assert (await shell.record(connection)).state == "detached"


async def test_everything_may_come_after_the_end() -> None:
    async with running_shell() as shell:
        connection, link = await shell.open()
        connection.lost(1006, "")
        before = len(link.frames)
        connection.text(b"{}")
        connection.pong()
        connection.drained()
        connection.tick()
        connection.answered(1, None)
        connection.fence()
        connection.unfence()
        connection.move_on(0, 1, "")
        connection.leave(0, 1)
        connection.ended("kicked", "")
        connection.superseded(99)
        connection.directory_changed()
        await shell.settle()
        assert len(link.frames) == before
        assert not shell.hub.sessions


async def test_an_error_nobody_expected_is_an_internal_error_for_the_client_alone() -> None:
    async with running_shell() as shell:

        async def broken(_request: object) -> object:
            raise ZeroDivisionError

        registry: Any = shell.calls._registry
        registry.open = broken
        connection, link = shell.dial()
        shell.say(connection, "session.open", token="anna", openId=OPEN_ID, resumeSecret=SECRET)
        await shell.settle()
        error = link.messages[0]["error"]
        assert (error["code"], error["data"]["retryable"]) == (-32603, True)
        assert "Zero" not in str(error)
        assert link.end is not None
        assert link.end[0] == 4008
