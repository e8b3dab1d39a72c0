"""The hub: who is here, who watches whom, and what each watcher is sent."""

from __future__ import annotations

from typing import Any

import msgspec

from greenroom.core.commands import EndedCommand
from greenroom.core.requests import Attached, OpenRequest, UpdateRequest
from greenroom.core.server.services import Now
from greenroom.engines.base import BlockParticipant
from greenroom.messages import MAX_PIECE_BYTES
from greenroom.model import participant_id_of
from tests.core.server.rig import APP, NAMESPACE, SECRET
from tests.server.shell import OPEN_ID, Shell, running_shell

ANNA = participant_id_of(NAMESPACE, "anna")
BOB = participant_id_of(NAMESPACE, "bob")


async def _rename(shell: Shell, who: str, name: str) -> None:
    await shell.inner.registry.update_participant(UpdateRequest(app=APP, participant_id=who, name=name))
    await shell.settle()


async def test_a_change_is_encoded_once_and_written_to_each_watcher() -> None:
    async with running_shell() as shell:
        await shell.open("bob")
        watchers = [await shell.open("anna", openId=f"open id number {number}") for number in range(4)]
        for connection, _ in watchers:
            shell.say(connection, "participants.watch", 3, ids=[BOB])
        await shell.flush()
        for _, link in watchers:
            link.frames.clear()
        await _rename(shell, BOB, "Robert")
        await shell.flush()
        frames = [link.frames for _, link in watchers]
        assert [len(one) for one in frames] == [1, 1, 1, 1]
        assert all(one[0] is frames[0][0] for one in frames), "one encoding for all"
        received = msgspec.json.decode(frames[0][0])["params"]["participants"]
        assert [(one["id"], one["name"]) for one in received] == [(BOB, "Robert")]


async def test_changes_of_a_tenth_of_a_second_are_one_message_with_the_latest_state() -> None:
    async with running_shell() as shell:
        await shell.open("bob")
        connection, link = await shell.open()
        shell.say(connection, "participants.watch", 3, ids=[BOB])
        await shell.flush()
        link.frames.clear()
        for number in range(20):
            await _rename(shell, BOB, f"Bob {number}")
        await shell.flush()
        (received,) = link.notifications("participants.changed")
        assert [one["name"] for one in received["participants"]] == ["Bob 19"]


async def test_ones_own_participant_is_always_watched() -> None:
    async with running_shell() as shell:
        _, link = await shell.open()
        await _rename(shell, ANNA, "Anna")
        await shell.flush()
        assert link.notifications("participants.changed")[-1]["participants"][0]["name"] == "Anna"


async def test_a_slow_reader_gets_the_latest_state_once_its_buffer_is_low() -> None:
    async with running_shell() as shell:
        await shell.open("bob")
        connection, link = await shell.open()
        shell.say(connection, "participants.watch", 3, ids=[BOB])
        await shell.flush()
        link.frames.clear()
        link.paused = True
        for number in range(5):
            await _rename(shell, BOB, f"Bob {number}")
            await shell.flush()
        assert not link.frames
        link.paused = False
        connection.drained()
        (received,) = link.notifications("participants.changed")
        assert [one["name"] for one in received["participants"]] == ["Bob 4"]


async def test_a_great_change_goes_in_pieces_each_after_the_one_before() -> None:
    async with running_shell() as shell:
        ids = [participant_id_of(NAMESPACE, f"user {number}") for number in range(60)]
        for number in range(60):
            shell.services.tokens[f"user {number}"] = msgspec.structs.replace(
                shell.services.tokens["anna"],
                participant_id=ids[number],
                external_id=f"user {number}",
                jti=f"j{number}",
            )
            await shell.open(f"user {number}")
        connection, link = await shell.open()
        for start in range(0, 60, 20):
            shell.say(connection, "participants.watch", 3, ids=ids[start : start + 20])
        await shell.flush()
        link.frames.clear()
        for one in ids:
            request = UpdateRequest(app=APP, participant_id=one, name="n" * 256, avatar_url="https://a/" + "y" * 2000)
            await shell.inner.registry.update_participant(request)

        def pausing(message: bytes) -> None:
            link.frames.append(message)
            link.paused = True

        link.send = pausing  # type: ignore[method-assign]
        await shell.flush()
        rounds = 0
        while connection.context.watches.waiting:
            rounds += 1
            assert len(link.frames) == rounds
            link.paused = False
            connection.drained()
        assert rounds >= 1
        assert all(len(frame) <= MAX_PIECE_BYTES for frame in link.frames)
        received = [
            one["id"] for params in link.notifications("participants.changed") for one in params["participants"]
        ]
        assert sorted(received) == sorted(ids)


async def test_nobody_is_left_on_any_list_when_everybody_is_gone() -> None:
    async with running_shell() as shell:
        connections = [await shell.open("anna", openId=f"open id number {number}") for number in range(5)]
        for connection, _ in connections:
            shell.say(connection, "participants.watch", 3, ids=[BOB, ANNA])
        for connection, _ in connections:
            connection.lost(1000, "")  # in the middle of it
        await shell.settle()
        assert not shell.hub.sessions
        assert not shell.hub.connections
        assert not shell.hub.watchers
        assert not shell.inner.bus._watched  # type: ignore[attr-defined]
        assert all(not connection.subscriptions for connection, _ in connections)


async def test_a_connection_lost_during_the_open_leaves_nothing_behind() -> None:
    for code in (1000, 1006):
        async with running_shell() as shell:
            connection, _ = shell.dial()
            shell.say(connection, "session.open", token="anna", openId=OPEN_ID, resumeSecret=SECRET)
            connection.lost(code, "")
            await shell.settle()
            record = await shell.record(connection)
            assert record.state == ("closed" if code == 1000 else "detached")
            assert not shell.hub.watchers
            assert not shell.inner.bus._watched  # type: ignore[attr-defined]
            assert not shell.hub.sessions


async def test_a_refused_open_leaves_nothing_behind() -> None:
    async with running_shell() as shell:
        await shell.inner.registry.restrict(BlockParticipant(app=APP, participant_id=ANNA))
        connection, link = shell.dial()
        shell.say(connection, "session.open", token="anna", openId=OPEN_ID, resumeSecret=SECRET)
        await shell.settle()
        assert link.messages[0]["error"]["data"]["reason"] == "Participant_blocked"
        assert not shell.hub.watchers
        assert not shell.inner.bus._watched  # type: ignore[attr-defined]


async def test_a_command_that_comes_before_the_attach_is_known_waits_for_it() -> None:
    """A kick between the engine's attach and its answer must not be lost (promise 7)."""
    async with running_shell() as shell:
        connection, link = shell.dial()
        session_id = ""
        registry: Any = shell.calls._registry
        start = registry.open

        async def open_then_kick(request: OpenRequest) -> Attached:
            nonlocal session_id
            attached: Attached = await start(request)
            session_id = attached.session.id
            shell.hub.command(EndedCommand(session_id=session_id, reason="kicked", text="out"))
            return attached

        registry.open = open_then_kick
        shell.say(connection, "session.open", token="anna", openId=OPEN_ID, resumeSecret=SECRET)
        await shell.settle()
        assert link.notifications("session.ended")[0]["reason"] == "kicked"
        assert link.end is not None
        assert link.end[0] == 4501


async def test_an_old_command_is_forgotten() -> None:
    async with running_shell() as shell:
        shell.hub.command(EndedCommand(session_id="p1-x", reason="kicked"))
        assert "p1-x" in shell.hub._recent
        shell.clock.advance(11)
        shell.hub.command(EndedCommand(session_id="p1-y", reason="kicked"))
        assert set(shell.hub._recent) == {"p1-y"}


async def test_a_session_with_an_expired_token_gets_nothing_until_it_is_renewed() -> None:
    async with running_shell() as shell:
        await shell.open("bob")
        connection, link = await shell.open()
        shell.say(connection, "participants.watch", 3, ids=[BOB])
        await shell.flush()
        link.frames.clear()
        expires_at = connection.context.token.expires_at
        connection.machine.tick(Now(shell.clock.monotonic(), float(expires_at)))
        connection.context.effects()
        await _rename(shell, BOB, "Robert")
        await shell.flush()
        assert not link.notifications("participants.changed")
        shell.services.tokens["new"] = msgspec.structs.replace(
            shell.services.tokens["anna"], expires_at=expires_at + 9999
        )
        shell.say(connection, "session.refreshToken", 4, token="new")
        await shell.settle()
        assert link.notifications("participants.changed")[0]["participants"][0]["name"] == "Robert"
