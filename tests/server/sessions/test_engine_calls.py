"""Requests of sessions to the engine: what must be written is written, in its order, and others are notified."""

from __future__ import annotations

import asyncio
from typing import Any

from greenroom.codes import ErrorCode
from greenroom.engines.completion import Completion
from greenroom.errors import SessionEndedError
from greenroom.server.sessions.connection import Subscription
from tests.core.server.rig import SECRET
from tests.server.shell import OPEN_ID, owner_of, running_shell
from tests.support.patience import PATIENCE


async def test_a_node_that_was_muted_asks_for_nothing() -> None:
    async with running_shell() as shell:
        anna, _ = await shell.open()
        shell.calls.mute()
        anna.lost(1000, "")
        await shell.settle()
        assert (await shell.record(anna)).state == "attached"


async def test_opens_and_resumes_are_timed_and_refusals_counted() -> None:
    async with running_shell() as shell:
        await shell.open()
        assert [resuming for _, resuming in shell.metrics.joins] == [False]
        connection, _ = shell.dial()
        shell.say(connection, "session.open", token="bad", openId=OPEN_ID, resumeSecret=SECRET)
        await shell.settle()
        assert shell.metrics.refusals == [("Invalid_token", False)]


async def test_a_close_by_secret_notifies_the_node_that_holds_the_session() -> None:
    async with running_shell() as shell:
        anna, link = await shell.open()
        other, other_link = shell.dial()
        shell.say(other, "session.close", 3, sessionId=owner_of(anna).session_id, resumeSecret=SECRET)
        await shell.settle()
        assert other_link.messages == [{"id": 3, "result": {}, "jsonrpc": "2.0"}]
        assert link.notifications("session.ended")[0]["reason"] == "closed"


async def test_an_update_whose_session_moved_is_retryable_for_the_client() -> None:
    """Through the engine: a newer attach has the session, this node does not know yet."""
    async with running_shell() as shell:
        anna, link = await shell.open()
        registry: Any = shell.calls._registry

        async def moved(_request: object) -> None:
            raise SessionEndedError(code=ErrorCode.ATTEMPT_SUPERSEDED)

        registry.update_participant = moved
        shell.say(anna, "session.updateParticipantInfo", 7, updateId="u", name="B")
        await shell.settle()
        error = link.messages[-1]["error"]
        assert (error["data"]["reason"], error["data"]["retryable"]) == ("fenced", True)


async def test_open_update_and_close_need_no_task() -> None:
    async with running_shell() as shell:
        before = len(shell.hub._tasks)
        connection, link = shell.dial()
        shell.say(connection, "session.open", token="anna", openId=OPEN_ID, resumeSecret=SECRET)
        assert link.messages == [], "answered later, never within the call"
        assert len(shell.hub._tasks) == before
        await shell.settle()
        shell.say(connection, "session.updateParticipantInfo", 2, updateId="u", name="Anna")
        assert len(shell.hub._tasks) == before
        await shell.settle()
        shell.say(connection, "session.close", 3)
        assert len(shell.hub._tasks) == before
        await shell.settle()
        assert [message["id"] for message in link.messages if "id" in message] == [1, 2, 3]
        assert connection.subscriptions == {}


async def test_an_engine_of_coroutines_does_the_same() -> None:
    """Every call in a task, and the bus is waited for before the open."""
    async with running_shell() as shell:
        order: list[str] = []
        registry: Any = shell.calls._registry
        bus: Any = shell.engine.bus
        calls = {name: getattr(registry, name) for name in ("open", "update_participant", "close")}

        def slow(name: str, call: Any) -> Any:
            async def wait(*arguments: Any) -> Any:
                await asyncio.sleep(0)
                order.append(name)
                return await call(*arguments)

            return wait

        for name, call in calls.items():
            setattr(registry, name, slow(name, call))
        for name in ("watch", "unwatch"):
            setattr(bus, name, slow(name, getattr(bus, name)))
        connection, link = await shell.open()
        assert connection.subscriptions == {connection.context.participant_id: Subscription.LIVE}
        shell.say(connection, "session.updateParticipantInfo", 2, updateId="u", name="Anna")
        await shell.settle()
        shell.say(connection, "session.close", 3)
        await shell.settle()
        assert order == ["watch", "open", "update_participant", "close", "unwatch"]
        assert [message["id"] for message in link.messages if "id" in message] == [2, 3]


async def test_what_is_under_way_is_waited_for_before_the_node_stops() -> None:
    async with running_shell() as shell:
        connection, link = await shell.open()
        registry: Any = shell.calls._registry
        held: Completion[Any] = Completion()
        registry.close = lambda _request: held
        shell.say(connection, "session.close", 3)
        settling = asyncio.ensure_future(shell.calls.settle(60.0))
        await shell.settle()
        assert not settling.done()
        held.complete(None)
        await settling
        assert link.messages[-1]["id"] == 3


async def test_what_never_comes_is_not_waited_for_for_ever() -> None:
    async with running_shell() as shell:
        connection, link = await shell.open()
        registry: Any = shell.calls._registry
        registry.close = lambda _request: Completion()
        shell.say(connection, "session.close", 3)
        async with asyncio.timeout(PATIENCE):
            await shell.calls.settle(0.05)
        assert all(message["id"] != 3 for message in link.messages)


async def test_s11_who_is_not_stored_any_more_is_answered_above_what_the_client_holds() -> None:
    async with running_shell() as shell:
        connection, link = await shell.open()

        async def version(method: str, number: int, **params: Any) -> int:
            shell.say(connection, method, number, **params)
            await shell.settle()
            (reply,) = (one["result"] for one in link.messages if one.get("id") == number)
            return int(reply["participants"][0]["version"])

        assert await version("participants.watch", 11, ids=["never-seen"]) == 0
        assert await version("participants.watch", 12, known=[["gone", 7]]) == 8
        assert await version("participants.get", 13, ids=["gone"]) == 9, "it is what this client holds that counts"
        assert await version("participants.watch", 14, known=[["gone", 2**60]]) == 10, "no version of ours"
        assert await version("participants.watch", 15, known=[["no-version", 10**400]]) == 0
