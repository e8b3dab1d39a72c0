"""Requests of sessions to the engine: what must be written is written, in its order, and others are notified."""

from __future__ import annotations

import asyncio
from typing import Any

from greenroom.codes import ErrorCode
from greenroom.core.requests import DetachRequest, EndRequest, Owner
from greenroom.engines.completion import Completion, completed
from greenroom.errors import ServiceUnavailableError, SessionEndedError
from greenroom.model import EndReason
from greenroom.server.sessions.connection import Subscription
from tests.core.server.rig import SECRET
from tests.server.shell import OPEN_ID, running_shell
from tests.support.patience import PATIENCE


def _owner(connection: Any) -> Owner:
    owner: Owner = connection.context.owner
    return owner


async def test_what_the_engine_cannot_take_is_written_first_and_in_its_order_when_it_is_back() -> None:
    async with running_shell() as shell:
        anna, _ = await shell.open("anna")
        again, _ = await shell.open("anna", openId="another open id here")
        bob, _ = await shell.open("bob")
        shell.away = True
        anna.lost(1006, "")
        await shell.settle()
        shell.away = False
        again.lost(1000, "")  # nothing of a partition overtakes what waits there
        bob.lost(1000, "")
        await shell.settle()
        assert [type(one) for one in shell.writes.deferred] == [DetachRequest, EndRequest]
        assert ((await shell.record(again)).state, (await shell.record(bob)).state) == ("attached", "closed")
        await shell.writes.write_deferred()
        assert not shell.writes.deferred
        assert ((await shell.record(anna)).state, (await shell.record(again)).state) == ("detached", "closed")


async def test_a_write_that_is_not_ours_any_more_is_dropped() -> None:
    async with running_shell() as shell:
        anna, _ = await shell.open()
        owner = _owner(anna)
        other = Owner(owner.session_id, owner.generation, "another lease")
        await shell.writes.detach(other, 5.0)
        assert not shell.writes.deferred
        assert (await shell.record(anna)).state == "attached"


async def test_an_end_of_a_session_that_was_detached_behind_our_back_takes_it_back_first() -> None:
    async with running_shell() as shell:
        anna, link = await shell.open()
        assert await shell.inner.registry.detach(_owner(anna), 40.0)
        shell.say(anna, "session.close", 9)
        await shell.settle()
        assert link.messages[-1] == {"id": 9, "result": {}, "jsonrpc": "2.0"}
        record = await shell.record(anna)
        assert (record.state, record.end_reason) == ("closed", EndReason.CLOSED)


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
        shell.say(other, "session.close", 3, sessionId=_owner(anna).session_id, resumeSecret=SECRET)
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


async def test_a_write_that_fails_by_callback_is_deferred() -> None:
    async with running_shell() as shell:
        connection, _ = await shell.open()
        registry: Any = shell.calls._registry
        registry.detach = lambda *_: completed(ServiceUnavailableError("The disk is full."))
        connection.lost(1006, "")
        await shell.settle()
        assert [type(one) for one in shell.writes.deferred] == [DetachRequest]
