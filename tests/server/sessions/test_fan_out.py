"""Notifying many watchers: in slices, with whatever else there is to do in between, and never an older state last."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from msgspec.structs import replace

from greenroom.model import participant_id_of
from greenroom.server.sessions import fan_out as fan_out_module
from tests.core.server.rig import NAMESPACE, token_for
from tests.server.harness import running_service
from tests.server.shell import Shell, running_shell
from tests.support.patience import PATIENCE, until

WATCHERS = 7


async def _watched(shell: Shell) -> tuple[Any, list[Any]]:
    """Anna, and the links of those who watch her."""
    anna, _ = await shell.open("anna", participant={"name": "A"})
    now = shell.clock.now_ms() // 1000
    links = []
    for number in range(WATCHERS):
        who = f"watcher-{number}"
        token = token_for(who, issued_at=now, expires_at=now + 3600, jti=f"jti-{who}")
        shell.services.tokens[who] = token
        watcher, link = await shell.open(who)
        shell.say(watcher, "participants.watch", 3, ids=[participant_id_of(NAMESPACE, "anna")])
        await shell.settle()
        links.append(link)
    await shell.flush()
    for link in links:
        link.frames.clear()
    return anna, links


def _names(link: Any) -> list[str]:
    received = link.notifications("participants.changed")
    return [one["name"] for message in received for one in message["participants"]]


async def test_the_loop_has_its_turn_within_a_large_fan_out(monkeypatch: pytest.MonkeyPatch) -> None:
    # The first slice has two, so one of the seven at least: Anna sees herself, and may be in any place.
    monkeypatch.setattr(fan_out_module, "_SLICE", 3)
    async with running_shell() as shell:
        anna, links = await _watched(shell)
        hub = shell.hub
        async with asyncio.timeout(PATIENCE):
            shell.say(anna, "session.updateParticipantInfo", 4, updateId="u" * 16, name="B")
            while not any(one.name == "B" for one in hub.fan_out._batcher._changed.values()):  # noqa: ASYNC110 - the engine's thread
                await asyncio.sleep(0)
        handle = hub.fan_out._flush_handle
        assert handle is not None
        handle.cancel()
        hub.fan_out._flush()
        arrived = []
        for _ in range(WATCHERS):
            arrived.append(sum(1 for link in links if link.frames))
            await asyncio.sleep(0)
        assert 0 < arrived[0] < WATCHERS, "the first slice is not everybody"
        assert arrived == sorted(arrived)
        assert all(_names(link) == ["B"] for link in links)


async def test_a_newer_state_that_overtakes_a_slice_is_the_last(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fan_out_module, "_SLICE", 2)
    async with running_shell() as shell:
        anna, links = await _watched(shell)
        held = anna.context.session
        assert held is not None
        old = replace(held.participant, name="old", version=held.participant.version + 1)
        new = replace(old, name="new", version=old.version + 1)
        first, second = shell.hub.fan_out._send_one(old), shell.hub.fan_out._send_one(new)
        next(first, None)
        for _ in (*second, *first):
            pass
        assert all(_names(link)[-1] == "new" for link in links)
        assert any(_names(link) == ["new"] for link in links), "nobody was overtaken: the test shows nothing"
        assert held.participant.name == "new"


async def test_an_older_state_in_a_batch_does_not_replace_what_the_node_knows_of_its_own_participant() -> None:
    """S11: what is written back into an engine that lost its state is the newest that was known here."""
    async with running_shell() as shell:
        anna, _links = await _watched(shell)
        session = anna.context.session
        assert session is not None
        newest = replace(session.participant, name="newest", version=session.participant.version + 9)
        for _ in shell.hub.fan_out._send_one(newest):
            pass
        older = replace(newest, name="older", version=newest.version - 1)
        other = replace(newest, id="other")
        for _ in shell.hub.fan_out._send_batches([older, other]):
            pass
        assert session.participant.name == "newest"


async def test_what_a_reply_said_already_makes_no_fan_out() -> None:
    """Nobody but Anna watches her: her open, and her own update, are in their replies."""
    async with running_service() as running:
        app = await running.new_application()
        hub = running.service.hub
        async with running.connect() as client:
            await client.open(app.token("anna"))
            await client.call("session.updateParticipantInfo", updateId="1", name="B")
            ((connection,),) = hub.watchers.values()
            session = connection.context.session
            assert session is not None
            await until(lambda: session.participant.name == "B")
            assert list(hub.fan_out.passed_on.values()) == [session.participant.version]
            assert hub.fan_out._batcher._next == 0.0, "no fan-out has begun"


async def test_what_no_reply_said_is_sent_to_the_only_watcher() -> None:
    async with running_shell() as shell:
        anna, link = await shell.open("anna")
        session = anna.context.session
        assert session is not None
        shell.hub.fan_out.note(replace(session.participant, name="C", version=session.participant.version + 1))
        await shell.flush()
        assert _names(link) == ["C"]


async def test_s11_what_is_received_below_what_was_sent_is_doubtful() -> None:
    async with running_shell() as shell:
        anna, _ = await _watched(shell)
        fan_out, session = shell.hub.fan_out, anna.context.session
        assert session is not None
        record = session.participant
        fan_out.note(record)
        assert fan_out.take_doubtful() == set(), "that came twice"
        fan_out.note(replace(record, version=record.version - 1))
        assert fan_out.take_doubtful() == {(record.app, record.id)}
        assert fan_out.take_doubtful() == set()
