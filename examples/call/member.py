"""One participant in the room of a call, on a terminal: python member.py ben

It signs in at the lobby's backend. What you type is sent to all; /invite NAME invites someone, /leave leaves.
"""

import asyncio
import os
import sys

import aiohttp

from greenroom import Greenroom, Invitation, Member, ParticipantInfo, Room, SessionDelegate

BACKEND = os.environ.get("BACKEND", "http://127.0.0.1:8000")


def name_of(member: Member | None) -> str:
    """What to call a member; the app's backend is None."""
    return "the app" if member is None else member.info.name or member.id


class Guest(SessionDelegate):
    """Takes invitations: whoever is invited goes there."""

    def __init__(self, sdk: Greenroom) -> None:
        self.sdk = sdk

    async def room_invited(self, invitation: Invitation) -> None:
        print(f"{invitation.inviter_name} invites you to {invitation.room}: {invitation.text}", flush=True)
        await self.sdk.rooms.accept(invitation)


async def sign_in(person: str) -> dict[str, str]:
    """A token, and where the service is."""
    async with aiohttp.ClientSession() as http, http.post(f"{BACKEND}/sign-in", json={"person": person}) as reply:
        reply.raise_for_status()
        found: dict[str, str] = await reply.json()
        return found


async def follow(room: Room) -> None:
    """Prints how the roster changes."""
    print("here:", ", ".join(sorted(name_of(one) for one in room.members.values())), flush=True)
    async for change in room.changes():
        for one in change.joined:
            print(f"+ {name_of(one)}", flush=True)
        for one in change.changed:
            print(f"  {name_of(one)} is {one.presence.value}", flush=True)
        for gone in change.left:
            print(f"- {name_of(gone.member)} ({gone.reason})", flush=True)


async def talk(room: Room) -> None:
    """Sends each line that is typed."""
    lines = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    while line := (await lines.readline()).decode().strip():
        command, _, rest = line.partition(" ")
        if command == "/leave":
            break
        if command == "/invite":
            await room.invite(external_ids=[rest], text="Come in!")
        else:
            await room.send({"text": line})
    await room.leave()


async def main(person: str) -> None:
    granted = await sign_in(person)

    async def refresh(_is_expired: bool) -> str:
        return (await sign_in(person))["token"]

    async with Greenroom(granted["url"]) as sdk:
        sdk.initialize_token(granted["token"], refresh)
        sdk.session.delegate = Guest(sdk)
        await sdk.session.open(ParticipantInfo(name=granted["name"]))
        room = await sdk.rooms.join("lobby")
        room.on_message(lambda sender, message: print(f"{name_of(sender)}: {message.get('text', message)}", flush=True))
        following = asyncio.create_task(follow(room))
        await talk(room)
        await following


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
