"""An application's issuer on two real services on one Redis: added and removed on one, it counts on the other."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from greenroom import Greenroom, SessionDelegate
from greenroom.errors import GreenroomError, TokenInvalidError
from tests.cluster.crowd import Crowd, crowd_at
from tests.cluster.nodes import Cluster
from tests.server.issuers import AUDIENCE, ISSUER, good_claims, signer
from tests.support.patience import PATIENCE, until
from tests.support.redis_server import single

pytestmark = [pytest.mark.slow, pytest.mark.waiting]

TOKEN_GRACE = 2.0
NOTIFIED = PATIENCE
"""Seconds until the other node has read of a change: its beat is a second away, on a busy machine more."""


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with tempfile.TemporaryDirectory(prefix="greenroom-cluster-") as directory, single("--appendonly", "yes") as redis:
        made = Cluster.of(redis.url, Path(directory), 2, token_grace=TOKEN_GRACE)
        try:
            yield made.start()
        finally:
            made.end()


class Ends(SessionDelegate):
    """Keeps why the session ended, and when."""

    def __init__(self) -> None:
        self.over: asyncio.Future[tuple[str, float]] = asyncio.get_running_loop().create_future()

    def session_ended(self, reason: str, message: str, by: object) -> None:
        self.over.set_result((reason, time.time()))


def _token(name: str, life: int) -> str:
    at = int(time.time())
    return signer("ES256").token(claims=good_claims(at, sub=name, iat=at, exp=at + life))


async def _try(url: str, name: str) -> GreenroomError | None:
    """How the node takes a new token of the issuer."""
    async with Greenroom(url) as sdk:
        sdk.initialize_token(_token(name, 60))
        try:
            await sdk.session.open(timeout=PATIENCE)
        except GreenroomError as error:
            return error
        await sdk.session.close()
        return None


async def _until_taken(url: str, taken: bool) -> None:
    """Returns when the node takes the issuer's tokens, or does no longer."""
    async with asyncio.timeout(NOTIFIED):
        while (await _try(url, "probe") is None) != taken:  # noqa: ASYNC110 - the node reads it with a beat
            await asyncio.sleep(1.0)  # bad tokens are counted


async def test_added_on_one_service_it_signs_in_on_the_other_and_removed_there_it_signs_in_nowhere(
    cluster: Cluster,
) -> None:
    one, other = cluster.nodes
    async with crowd_at(cluster, seed=501) as (crowd,):
        key = signer("ES256")
        body = {"issuer": ISSUER, "audience": AUDIENCE, "algorithms": [key.alg], "keys": [key.public]}
        issuer: dict[str, Any] = await crowd.call(one, "POST", "/v1/issuers", body)
        await _until_taken(other.url, True)
        async with Greenroom(other.url) as anna, Greenroom(one.url) as ben:
            ends = Ends()
            anna.session.delegate = ends
            token = _token("anna", 12)
            refreshed: list[bool] = []

            def refresh(is_expired: bool) -> str:
                refreshed.append(is_expired)
                return _token("anna", 12)

            anna.initialize_token(token, refresh)
            await anna.session.open()
            ben.initialize_token(_token("ben", 600))
            await ben.session.open()
            await until(lambda: refreshed)
            assert anna.session.is_open()
            removed_at = time.time()
            await crowd.call(one, "DELETE", f"/v1/issuers/{issuer['id']}")
            await _until_taken(other.url, False)
            assert isinstance(await _try(one.url, "probe"), TokenInvalidError)
            assert ben.session.is_open(), "what is open goes on until its token's end"
            reason, at = await asyncio.wait_for(ends.over, 12 + TOKEN_GRACE + NOTIFIED)
            assert reason == "Invalid_token", "what the provider goes on making is refused"
            assert at <= removed_at + 12 + TOKEN_GRACE + NOTIFIED
            assert {session.external_id for session in await crowd.sessions()} == {"ben"}
            assert await crowd.call(other, "GET", "/v1/issuers") == {"items": []}
            await _revoked(crowd, ben)


async def _revoked(crowd: Crowd, ben: Greenroom) -> None:
    """Who is not to wait for the tokens' end revokes them."""
    ends = Ends()
    ben.session.delegate = ends
    await crowd.call(crowd.cluster.nodes[1], "POST", "/v1/tokens/revoke", {"externalId": "ben"})
    assert (await asyncio.wait_for(ends.over, NOTIFIED))[0] == "token_revoked"
