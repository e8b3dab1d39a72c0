"""Kicks, blocks and erasures over the API."""

from __future__ import annotations

import time

import pytest

from greenroom.codes import CloseCode
from tests.server.api_service import NOBODY, api_service
from tests.server.harness import RefusedError


async def test_a_kick_ends_the_sessions_and_the_old_token() -> None:
    async with api_service() as (running, tenant, api), running.connect() as client:
        token = tenant.token("anna")
        opened = await client.open(token)
        kicked = await api.good("POST", "/v1/participants/ext:anna/kick", {"reason": "be kind"})
        assert kicked["ended"] == [opened.id]
        assert (kicked["blocked"], kicked["blockedUntil"]) == (False, None)
        received = await client.notified("session.ended")
        assert (received["reason"], received["message"]) == ("kicked", "be kind")
        assert await client.closed() == CloseCode.KICKED
        async with running.connect() as other:
            with pytest.raises(RefusedError) as refused:
                await other.open(token)
            assert refused.value.data["reason"] == "Token_revoked"


@pytest.mark.interpreted
async def test_after_each_kick_a_new_token_lets_the_participant_in_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    async def late() -> None:
        """The announcement, which may take its time, or be lost."""

    async with api_service() as (running, _, api):
        monkeypatch.setattr(running.service.control, "announce_directory", late)
        for _ in range(5):
            token = (await api.good("POST", "/v2/client-access-token", {"externalId": "anna"}))["access_token"]
            async with running.connect() as client:
                await client.open(token)
                await api.good("POST", "/v1/participants/ext:anna/kick", {})
                assert await client.closed() == CloseCode.KICKED


async def test_a_block_keeps_out_until_it_is_lifted() -> None:
    async with api_service() as (running, tenant, api), running.connect() as client:
        old = tenant.token("anna")
        await client.open(old)
        kicked = await api.good("POST", "/v1/participants/ext:anna/kick", {"block": {"seconds": 60}, "reason": "spam"})
        assert kicked["blocked"]
        assert kicked["blockedUntil"] is not None
        (block,) = (await api.good("GET", "/v1/blocks"))["items"]
        assert (block["participantId"], block["until"], block["reason"]) == (
            tenant.participant_id("anna"),
            kicked["blockedUntil"],
            "spam",
        )
        # Of a later second than the cut-off; five of them are allowed to be ahead.
        fresh = tenant.token("anna", now=time.time() + 3)
        for token in (old, fresh):  # the old one is revoked too, but a new one would not help
            async with running.connect() as other:
                with pytest.raises(RefusedError) as refused:
                    await other.open(token)
                assert refused.value.data["reason"] == "Participant_blocked"
                assert refused.value.data["until"] == kicked["blockedUntil"]
        await api.good("DELETE", "/v1/blocks/ext:anna")
        assert (await api.good("GET", "/v1/blocks"))["items"] == []
        assert await api.refused("DELETE", "/v1/blocks/ext:anna") == (404, "Not_found")
        async with running.connect() as other:
            await other.open(fresh)


async def test_blocks_are_listed_page_by_page_and_made_for_strangers() -> None:
    async with api_service() as (_, _tenant, api):
        for number in range(5):
            body = {"externalId": f"p{number}"} if number % 2 else {"participantId": f"{NOBODY[:-2]}{number:02}"}
            await api.good("POST", "/v1/blocks", body)
        first = await api.good("GET", "/v1/blocks", limit=3)
        rest = await api.good("GET", "/v1/blocks", limit=3, cursor=first["cursor"])
        assert (len(first["items"]), len(rest["items"]), rest["cursor"]) == (3, 2, None)
        assert all(item["until"] is None for item in first["items"])
        for bad in ({}, {"participantId": "a", "externalId": "b"}, {"participantId": NOBODY, "until": 1, "seconds": 1}):
            assert await api.refused("POST", "/v1/blocks", bad) == (400, "Illegal_argument")
        assert await api.refused("POST", "/v1/blocks", {"participantId": NOBODY, "until": 5}) == (
            400,
            "Illegal_argument",
        )


async def test_erasing_removes_the_record_and_what_names_it_but_not_the_block() -> None:
    async with api_service() as (running, tenant, api), running.connect() as client:
        opened = await client.open(tenant.token("anna"), participant={"name": "Anna-To-Forget"})
        await api.good("POST", "/v1/blocks", {"externalId": "anna"})
        erased = await api.good("DELETE", "/v1/participants/ext:anna")
        assert erased["ended"] == []
        assert await api.refused("GET", "/v1/participants/ext:anna") == (404, "Not_found")
        assert await api.refused("GET", f"/v1/sessions/{opened.id}") == (404, "Not_found")
        assert await api.good("DELETE", "/v1/participants/ext:anna") == {"ended": []}
        events = await api.call("GET", "/v1/events", limit=1000)
        assert "Anna-To-Forget" not in str(events.body)
        (block,) = (await api.good("GET", "/v1/blocks"))["items"]
        assert block["participantId"].startswith("sha256:")
        await api.good("DELETE", "/v1/blocks/ext:anna")


async def test_an_erase_leaves_neither_attributes_nor_status_in_events() -> None:
    async with api_service() as (running, tenant, api), running.connect() as client:
        await client.open(tenant.token("anna"), participant={"attributes": {"diagnosis": "secret-1"}})
        await client.call("session.setStatus", status="secret-2")
        assert "secret-1" in str(await api.good("GET", "/v1/events"))
        assert "secret-2" in str(await api.good("GET", "/v1/events"))
        await api.good("DELETE", "/v1/participants/ext:anna")
        assert "secret" not in str(await api.good("GET", "/v1/events"))
