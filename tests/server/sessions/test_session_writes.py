"""What must be written is written, in its order, and by whoever it belongs to."""

from __future__ import annotations

from typing import Any

from greenroom.core.requests import DetachRequest, EndRequest, Owner
from greenroom.engines.completion import completed
from greenroom.errors import ServiceUnavailableError
from greenroom.model import EndReason
from tests.server.shell import owner_of, running_shell


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
        owner = owner_of(anna)
        other = Owner(owner.session_id, owner.generation, "another lease")
        await shell.writes.detach(other, 5.0)
        assert not shell.writes.deferred
        assert (await shell.record(anna)).state == "attached"


async def test_an_end_of_a_session_that_was_detached_behind_our_back_takes_it_back_first() -> None:
    async with running_shell() as shell:
        anna, link = await shell.open()
        assert await shell.inner.registry.detach(owner_of(anna), 40.0)
        shell.say(anna, "session.close", 9)
        await shell.settle()
        assert link.messages[-1] == {"id": 9, "result": {}, "jsonrpc": "2.0"}
        record = await shell.record(anna)
        assert (record.state, record.end_reason) == ("closed", EndReason.CLOSED)


async def test_a_write_that_fails_by_callback_is_deferred() -> None:
    async with running_shell() as shell:
        connection, _ = await shell.open()
        registry: Any = shell.calls._registry
        registry.detach = lambda *_: completed(ServiceUnavailableError("The disk is full."))
        connection.lost(1006, "")
        await shell.settle()
        assert [type(one) for one in shell.writes.deferred] == [DetachRequest]
