"""Promise 1 on the whole service: a process of its own, real sockets, SIGKILL in the middle of many opens.

Rounds: 3 of 300 opens here; `GREENROOM_KILL_ROUNDS=20 GREENROOM_KILL_OPENS=2000` for the long form.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import secrets
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest

from greenroom.messages import PATH, SUBPROTOCOL
from tests.cli.running import started
from tests.server.harness import Client, ClosedError, Opened, RefusedError, new_secret

ROUNDS = int(os.environ.get("GREENROOM_KILL_ROUNDS", "3"))
OPENS = int(os.environ.get("GREENROOM_KILL_OPENS", "300"))
AT_ONCE = 64


@dataclass
class Attempt:
    """One open: what was asked, and the session where it was acknowledged."""

    open_id: str
    secret: str
    external_id: str
    opened: Opened | None = None


async def _say_hello(http: aiohttp.ClientSession, url: str) -> Client:
    return Client(await http.ws_connect(url + PATH, protocols=(SUBPROTOCOL,)))


async def _open(http: aiohttp.ClientSession, url: str, token: str, attempt: Attempt) -> None:
    try:
        client = await _say_hello(http, url)
        attempt.opened = await client.open(
            token,
            secret=attempt.secret,
            open_id=attempt.open_id,
            participant={"externalId": attempt.external_id, "name": attempt.external_id},
        )
    except (aiohttp.ClientError, ClosedError, OSError, TimeoutError):
        pass  # killed before it answered


async def _token(http: aiohttp.ClientSession, ready: dict[str, str]) -> str:
    """A v1 token, with which each open may bring its own external id."""
    basic = {"Authorization": aiohttp.encode_basic_auth(ready["appKey"], ready["appSecret"])}
    form = {"grant_type": "client_credentials"}
    async with http.post(ready["url"] + "/v1/oauth2/token", data=form, headers=basic) as response:
        found: str = (await response.json())["access_token"]
        return found


async def _storm(folder: Path, dice: random.Random) -> list[Attempt]:
    """Open many at once, and kill the service at a random moment."""
    attempts = [Attempt(secrets.token_hex(16), new_secret(), f"user {number}") for number in range(OPENS)]
    arguments = ("serve", "--dev", "--json", "--port", "0", "--data", str(folder / "data"))
    async with started(*arguments, cwd=folder, GREENROOM_ISSUER="http://kill.test") as process:
        assert process.stdout is not None
        ready = json.loads(await asyncio.wait_for(process.stdout.readline(), 30))
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http:
            token = await _token(http, ready)
            queue = iter(attempts)
            enough = dice.randrange(1, OPENS)
            reached = asyncio.Event()

            async def work() -> None:
                for attempt in queue:
                    await _open(http, ready["url"], token, attempt)
                    if sum(one.opened is not None for one in attempts) >= enough:
                        reached.set()

            workers = [asyncio.create_task(work()) for _ in range(AT_ONCE)]
            await asyncio.wait_for(reached.wait(), 60)
            process.kill()
            await process.wait()
            await asyncio.gather(*workers)
    return attempts


async def _check(folder: Path, attempts: list[Attempt], dice: random.Random) -> None:
    """No acknowledged open is missing; a repeated openId never makes a second session."""
    arguments = ("serve", "--dev", "--json", "--port", "0", "--data", str(folder / "data"))
    async with started(*arguments, cwd=folder, GREENROOM_ISSUER="http://kill.test") as process:
        assert process.stdout is not None
        ready = json.loads(await asyncio.wait_for(process.stdout.readline(), 30))
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http:
            token = await _token(http, ready)
            for attempt in attempts:
                if attempt.opened is None:
                    continue
                client = await _say_hello(http, ready["url"])
                if dice.random() < 0.5:
                    resumed = await client.resume(attempt.opened)
                    assert resumed.participant["name"] == attempt.external_id
                else:
                    info = {"externalId": attempt.external_id}
                    again = await client.open(token, secret=attempt.secret, open_id=attempt.open_id, participant=info)
                    assert again.id == attempt.opened.id, "a repeated openId made a second session"
                    assert again.participant["sessions"] == 1
                await client.drop()
        process.terminate()
        await process.wait()


@pytest.mark.slow
@pytest.mark.parametrize("number", range(ROUNDS))
async def test_promise_1_no_acknowledged_open_is_lost_by_sigkill(tmp_path: Path, number: int) -> None:
    seed = secrets.randbits(32)
    print(f"seed {seed}")
    dice = random.Random(seed)
    attempts = await _storm(tmp_path, dice)
    acknowledged = sum(one.opened is not None for one in attempts)
    assert acknowledged
    try:
        await _check(tmp_path, attempts, dice)
    except (RefusedError, ClosedError) as error:
        raise AssertionError(f"seed {seed}: of {acknowledged} acknowledged one is lost: {error}") from error
