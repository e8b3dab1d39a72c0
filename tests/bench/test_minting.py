"""Tokens for simulated participants, got as an app's backend would."""

from __future__ import annotations

import aiohttp
import pytest

from greenroom.bench.minting import LIFE, MintingError, api_token, mint
from tests.server.harness import running_service
from tests.server.http_service import claims_of


async def test_a_token_for_each_in_their_order() -> None:
    counted: list[int] = []
    async with running_service() as running:
        app = await running.new_application()
        names = [f"bench-{number}" for number in range(30)]
        tokens = await mint(running.url, app.key, app.secret, names, on_minted=counted.append)
        assert [claims_of(one)["xid"] for one in tokens] == names
        assert {claims_of(one)["exp"] - claims_of(one)["iat"] for one in tokens} == {LIFE}
        assert counted == [1] * 30
        assert await mint(running.url, app.key, app.secret, []) == []


async def test_a_secret_that_is_wrong_is_reported_in_the_words_of_the_service() -> None:
    async with running_service() as running, aiohttp.ClientSession(running.url) as session:
        app = await running.new_application()
        with pytest.raises(MintingError, match="app key") as refused:
            await mint(running.url, app.key, "wrong", ["anna"])
        assert "{" not in str(refused.value)
        assert claims_of(await api_token(session, app.key, app.secret))["app"] == app.key


async def test_an_external_id_that_none_can_be_stops_it() -> None:
    async with running_service() as running:
        app = await running.new_application()
        with pytest.raises(MintingError, match="externalId is too long"):
            await mint(running.url, app.key, app.secret, ["anna", "x" * 5_000])
