"""What users write: checked by mypy --strict in tests/typing/test_sample.py, never run."""

from __future__ import annotations

import asyncio

from greenroom import (
    Device,
    Greenroom,
    Invitation,
    KeptOutError,
    Member,
    Participant,
    ParticipantInfo,
    RevisionConflictError,
    Room,
    RoomChange,
    SessionDelegate,
    SessionState,
    Watch,
    blocking,
)


class Delegate(SessionDelegate):
    def session_updated(self, state: SessionState) -> None:
        print(state.value)

    async def session_ended(self, reason: str, message: str, by: Device | None) -> None:
        await asyncio.sleep(0)
        print(reason, message, None if by is None else by.name)

    async def room_invited(self, invitation: Invitation) -> None:
        print(invitation.room)


async def refresh(is_expired: bool) -> str:
    return "token"


def refresh_now(is_expired: bool) -> str:
    return "token"


async def main() -> None:
    sdk = Greenroom("https://sessions.example.com")
    sdk.initialize_token("token", refresh)
    sdk.initialize_token("token", refresh_now)
    sdk.session.delegate = Delegate()
    async with sdk.session.opened(ParticipantInfo(name="Ada"), device=Device(id="d")) as participant:
        name: str | None = participant.info.name
        print(name)
        try:
            changed: Participant = await sdk.session.update_participant_info(name="", if_revision=participant.revision)
        except RevisionConflictError as error:
            print(error.participant)
        else:
            print(changed.status)
        watch: Watch = await sdk.participants.watch(external_ids=["bob"], on_change=lambda one: print(one.id))
        async with watch:
            async for one in watch:
                print(one.presence.value)
        try:
            room: Room = await sdk.rooms.join("standup")
        except KeptOutError as error:
            print(error.until)
            return
        async with room:
            room.on_message(received)
            stop = room.on_change(lambda change: print(change.count))
            stop()
            await room.send({"hand": "up"}, to=list(room.members))
            async for change in room.changes():
                joined: tuple[Member, ...] = change.joined
                print(joined, [left.reason for left in change.left])


async def received(sender: Member | None, message: object) -> None:
    print(sender and sender.info.name, message)


def changed(change: RoomChange) -> None:
    print(change.version)


def completed(error: BaseException | None) -> None:
    print(error)


def program() -> None:
    with blocking.Greenroom("https://sessions.example.com") as sdk:
        sdk.initialize("key", "secret")
        participant: Participant = sdk.session.open()
        print(participant.id)
        sdk.session.update_participant_info(name="x", completion=completed)
        with sdk.rooms.join("standup") as room:
            room.on_change(changed)
            room.on_message(lambda sender, message: room.send(message, completion=completed))
            print([member.id for member in room.all_members()])
        sdk.session.close(completion=completed)
