"""Gets client access tokens, one for each simulated participant, as an app's backend would."""

from __future__ import annotations

import asyncio
from base64 import b64encode
from collections.abc import Callable, Sequence

import aiohttp

CONCURRENCY = 24
LIFE = 86_400
"""Seconds."""


class MintingError(Exception):
    """The service gave no token. The text is what it said."""


async def mint(
    url: str,
    key: str,
    secret: str,
    external_ids: Sequence[str],
    *,
    on_minted: Callable[[int], None] = lambda _count: None,
) -> list[str]:
    """A client access token for each external id, in their order. Raises MintingError."""
    tokens = [""] * len(external_ids)
    todo = iter(range(len(external_ids)))
    connector = aiohttp.TCPConnector(limit=CONCURRENCY)
    async with aiohttp.ClientSession(url, connector=connector) as session:
        headers = {"Authorization": f"Bearer {await api_token(session, key, secret)}"}

        async def worker() -> None:
            for number in todo:
                body = {"externalId": external_ids[number], "expiresIn": LIFE}
                async with session.post("/v2/client-access-token", json=body, headers=headers) as response:
                    reply = await response.json()
                    if response.status != 200:
                        raise MintingError(str(reply.get("error_description", reply)))
                    tokens[number] = reply["access_token"]
                on_minted(1)

        await asyncio.gather(*(worker() for _ in range(CONCURRENCY)))
    return tokens


async def api_token(session: aiohttp.ClientSession, key: str, secret: str) -> str:
    """An API token of the application. session: of the service's URL. Raises MintingError."""
    form = {"grant_type": "client_credentials", "expires_in": str(LIFE)}
    headers = {"Authorization": "Basic " + b64encode(f"{key}:{secret}".encode()).decode()}
    async with session.post("/v1/auth/token", data=form, headers=headers) as response:
        reply = await response.json(content_type=None)
        if response.status != 200:
            raise MintingError(str(reply.get("error_description", reply)))
        return str(reply["access_token"])
