"""Requests of sessions to the engine: what must be written is written, in its order, and others are notified."""

from __future__ import annotations

from typing import Any

from greenroom.codes import ErrorCode
from greenroom.core.requests import DetachRequest, EndRequest, Owner
from greenroom.errors import SessionEndedError
from greenroom.model import EndReason
from tests.core.server.rig import SECRET
from tests.server.shell import OPEN_ID, running_shell


def _owner(connection: Any) -> Owner:
    owner: Owner = connection.machine.owner
    return owner


async def test_what_the_engine_cannot_take_is_written_first_and_in_its_order_when_it_is_back() -> None:
    async with running_shell() as shell:
        anna, _ = await shell.open("anna")
        bob, _ = await shell.open("bob")
        shell.away = True
        anna.lost(1006, "")
        await shell.settle()
        shell.away = False
        bob.lost(1000, "")  # nothing overtakes what waits
        await shell.settle()
        assert [type(one) for one in shell.calls.deferred_writes] == [DetachRequest, EndRequest]
        assert (await shell.record(bob)).state == "attached"
        await shell.calls.write_deferred()
        assert not shell.calls.deferred_writes
        assert ((await shell.record(anna)).state, (await shell.record(bob)).state) == ("detached", "closed")


async def test_a_write_that_is_not_ours_any_more_is_dropped() -> None:
    async with running_shell() as shell:
        anna, _ = await shell.open()
        owner = _owner(anna)
        other = Owner(owner.session_id, owner.generation, "another lease")
        await shell.calls.detach(other, 5.0)
        assert not shell.calls.deferred_writes
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
    """Through the engine: a newer attach has the session, this node has not heard of it yet."""
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
