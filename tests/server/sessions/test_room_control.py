"""What is done to members of rooms reaches the clients that it is about."""

from __future__ import annotations

from greenroom.codes import ErrorCode
from greenroom.core.rooms.requests import EndRoom, KickMember
from tests.core.server.rig import APP, SECRET
from tests.server.room_clients import ANNA, BOB, ROOM, ask, changes, flush, join, node_room, result_of
from tests.server.shell import running_shell


async def test_r8_a_kick_by_the_backend_reaches_the_session() -> None:
    async with running_shell() as shell:
        anna, bob = await shell.open("anna"), await shell.open("bob")
        for one in (anna, bob):
            await join(shell, one)
        await shell.calls.room_control.moderate(KickMember(app=APP, room=ROOM, participant_id=BOB))
        await flush(shell)
        assert bob[1].notifications("rooms.left") == [{"room": ROOM, "reason": "kicked"}]
        assert changes(anna[1])[-1]["left"] == [[BOB, "kicked"]]
        assert bob[0] not in node_room(shell).members
        assert (await ask(shell, bob, "rooms.join", room=ROOM))["error"]["code"] == ErrorCode.KEPT_OUT


async def test_r8_who_opened_the_room_kicks() -> None:
    async with running_shell() as shell:
        anna, bob = await shell.open("anna"), await shell.open("bob")
        for one in (anna, bob):
            await join(shell, one)
        refused = await ask(shell, bob, "rooms.kick", room=ROOM, participantId=ANNA)
        assert refused["error"]["code"] == ErrorCode.ROOM_PERMISSION_MISSING
        await result_of(shell, anna, "rooms.kick", room=ROOM, participantId=BOB)
        await shell.settle()
        assert bob[1].notifications("rooms.left") == [{"room": ROOM, "reason": "kicked"}]


async def test_r11_members_of_an_ended_room_are_notified() -> None:
    async with running_shell() as shell:
        anna = await shell.open("anna")
        await join(shell, anna)
        await shell.calls.room_control.moderate(EndRoom(app=APP, room=ROOM))
        shell.calls.room_control.notify_lost((await shell.inner.rooms.settle()).lost)
        await flush(shell)
        assert anna[1].notifications("rooms.left") == [{"room": ROOM, "reason": "ended"}]


async def test_r9_invitations_arrive_and_are_answered() -> None:
    async with running_shell() as shell:
        anna, bob = await shell.open("anna"), await shell.open("bob")
        await join(shell, anna)
        await result_of(shell, anna, "rooms.invite", room=ROOM, externalIds=["bob", "carol"], text="Come")
        await shell.settle()
        (notice,) = bob[1].notifications("rooms.invited")
        assert (notice["invitation"]["room"], notice["invitation"]["inviter"], notice["invitation"]["text"]) == (
            ROOM, ANNA, "Come",
        )  # fmt: skip
        await result_of(shell, bob, "rooms.answer", invitationId=notice["invitation"]["id"], accept=False)
        await shell.settle()
        (answered,) = anna[1].notifications("rooms.answered")
        assert (answered["participantId"], answered["accepted"]) == (BOB, False)
        again = await result_of(shell, bob, "rooms.answer", invitationId=notice["invitation"]["id"], accept=False)
        await shell.settle()
        assert (again, len(anna[1].notifications("rooms.answered"))) == ({}, 1)
        connection, link = shell.dial()
        shell.say(connection, "session.open", token="carol", openId="open id of carol", resumeSecret=SECRET)
        await shell.settle()
        waiting = link.messages[0]["result"]["invitations"]
        assert [(one["room"], one["text"]) for one in waiting] == [(ROOM, "Come")]
