"""Someone who comes online: gets a token from the backend and opens a session with the SDK.

python participant.py anna "Anna"
"""

from __future__ import annotations

import asyncio
import os
import sys

import aiohttp

from greenroom import Greenroom, GreenroomError, ParticipantInfo, SessionDelegate

BACKEND = os.environ.get("BACKEND_URL", "http://127.0.0.1:8000")


class Printer(SessionDelegate):
    """Prints what the service reports to this session."""

    def session_ended(self, reason: str, message: str, by: object) -> None:
        print(f"The session was ended: {reason}. {message}", flush=True)


async def enter() -> None:
    """Until Enter is pressed. Not in a thread: that would hold up Ctrl-C."""
    pressed = asyncio.Event()
    asyncio.get_running_loop().add_reader(sys.stdin, pressed.set)
    await pressed.wait()


async def main(external_id: str, name: str) -> None:
    async with aiohttp.ClientSession() as http:

        async def fetch(_is_expired: bool = False) -> str:
            body = {"externalId": external_id, "name": name}
            async with http.post(f"{BACKEND}/token", json=body) as reply:
                reply.raise_for_status()
                granted: dict[str, str] = await reply.json()
                url.append(granted["url"])
                return granted["token"]

        url: list[str] = []
        token = await fetch()
        async with Greenroom(url[0]) as sdk:
            sdk.initialize_token(token, fetch)
            sdk.session.delegate = Printer()
            async with sdk.session.opened(ParticipantInfo(name=name)) as participant:
                print(f"{participant.info.name} is online as {participant.id}. Enter ends it.", flush=True)
                await enter()


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit('usage: python participant.py EXTERNAL-ID ["NAME"]')
    try:
        asyncio.run(main(sys.argv[1], sys.argv[-1]))
    except (GreenroomError, aiohttp.ClientError) as error:
        sys.exit(f"Not online: {error}")
    except KeyboardInterrupt:
        pass
