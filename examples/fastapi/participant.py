"""Somebody who comes online: gets a token from the backend and opens a session with the SDK.

python participant.py anna "Anna"
"""

from __future__ import annotations

import asyncio
import os
import sys

import aiohttp

from greenroom import Greenroom, ParticipantInfo

BACKEND = os.environ.get("BACKEND_URL", "http://127.0.0.1:8000")


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
            async with sdk.session.opened(ParticipantInfo(name=name)) as participant:
                print(f"{participant.info.name} is online as {participant.id}. Enter ends it.", flush=True)
                await asyncio.to_thread(sys.stdin.readline)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else sys.argv[1]))
