"""The server API for sessions, tokens to revoke, and settings, on a real service."""

from __future__ import annotations

import time

import pytest

from greenroom.codes import CloseCode
from tests.server.api_service import Api, api_of, api_service
from tests.server.harness import RefusedError
from tests.server.http_service import claims_of
from tests.support.patience import until


async def test_sessions_are_listed_with_everything_about_them() -> None:
    async with api_service() as (running, tenant, api), running.connect() as client:
        opened = await client.open(
            tenant.token("anna"), device={"id": "d1", "name": "Phone"}, sdk={"name": "py", "version": "1.0"}
        )
        (session,) = (await api.good("GET", "/v1/sessions"))["items"]
        assert session["id"] == opened.id
        assert session["device"] == {"id": "d1", "name": "Phone"}
        assert session["sdk"] == "py/1.0"
        assert session["address"] == "127.0.0.1"
        assert session["node"] == running.service.node.name
        assert (session["state"], session["externalId"], session["endReason"]) == ("attached", "anna", None)
        assert abs(session["since"] - time.time() * 1000) < 60_000
        assert not {"lease", "jti", "secret"} & set(session)
        for query in ({"externalId": "anna"}, {"participantId": session["participantId"]}, {"state": "attached"}):
            assert len((await api.good("GET", "/v1/sessions", **query))["items"]) == 1
        for query in ({"externalId": "bob"}, {"node": "another"}, {"state": "detached"}):
            assert (await api.good("GET", "/v1/sessions", **query))["items"] == []
        both = {"externalId": "anna", "participantId": "x"}
        assert await api.refused("GET", "/v1/sessions", **both) == (400, "Illegal_argument")


async def test_ending_one_session_leaves_the_others_and_the_token() -> None:
    async with api_service() as (running, tenant, api), running.connect() as one, running.connect() as two:
        token = tenant.token("anna")
        first, second = await one.open(token), await two.open(token)
        ended = await api.good("DELETE", f"/v1/sessions/{first.id}", reason="old tab")
        assert (ended["state"], ended["endReason"], ended["endText"]) == ("closed", "kicked", "old tab")
        assert (await one.notified("session.ended"))["message"] == "old tab"
        assert await one.closed() == CloseCode.KICKED
        assert (await api.good("GET", f"/v1/sessions/{second.id}"))["state"] == "attached"
        again = await api.good("DELETE", f"/v1/sessions/{first.id}")
        assert again["endText"] == "old tab"
        assert await api.refused("DELETE", "/v1/sessions/p1-00") == (404, "Not_found")
        assert [each["id"] for each in (await api.good("GET", "/v1/sessions"))["items"]] == [second.id]
        (listed,) = (await api.good("GET", "/v1/sessions", state="closed", externalId="anna"))["items"]
        assert listed == again
        assert (await api.good("GET", "/v1/sessions", state="closed", externalId="bob"))["items"] == []
        assert await api.refused("GET", "/v1/sessions", state="ended") == (400, "Illegal_argument")
        async with running.connect() as three:
            await three.open(token)


async def test_the_timeline_says_what_happened_where_and_why() -> None:
    async with api_service() as (running, tenant, api):
        async with running.connect() as client:
            opened = await client.open(tenant.token("anna"))
            client.abort()
        await until(lambda: _detached(api, opened.id))
        async with running.connect() as client:
            await client.resume(opened)
            await api.good("DELETE", f"/v1/sessions/{opened.id}", reason="enough")
            timeline = await api.good("GET", f"/v1/sessions/{opened.id}/timeline")
        whats = [item["what"] for item in timeline["items"]]
        assert [what for what in whats if what in ("opened", "detached", "resumed", "ended")] == [
            "opened",
            "detached",
            "resumed",
            "ended",
        ]
        instants = [item["at"] for item in timeline["items"]]
        assert instants == sorted(instants)
        assert timeline["items"][0]["node"] == running.service.node.name
        assert "kicked" in timeline["items"][-1]["detail"]
        assert timeline["session"]["endReason"] == "kicked"


async def _detached(api: Api, session_id: str) -> bool:
    return bool((await api.good("GET", f"/v1/sessions/{session_id}"))["state"] == "detached")


async def test_a_token_is_revoked_by_its_jti_alone() -> None:
    async with api_service() as (running, tenant, api), running.connect() as client:
        token = tenant.token("anna")
        opened = await client.open(token)
        record = await running.session(opened.id)
        reply = await api.good("POST", "/v1/tokens/revoke", {"jti": record.jti})
        assert reply == {"ended": 1, "cutoff": None}
        assert (await client.notified("session.ended"))["reason"] == "token_revoked"
        async with running.connect() as other:
            with pytest.raises(RefusedError):
                await other.open(token)
        async with running.connect() as other:
            await other.open(tenant.token("anna"))


async def test_a_token_that_nobody_used_yet_is_revoked_by_its_jti() -> None:
    async with api_service() as (running, tenant, api):
        token = tenant.token(None)
        reply = await api.good("POST", "/v1/tokens/revoke", {"jti": claims_of(token)["jti"]})
        assert reply == {"ended": 0, "cutoff": None}
        async with running.connect() as client:
            with pytest.raises(RefusedError):
                await client.open(token)


async def test_a_participants_tokens_are_revoked_up_to_an_instant() -> None:
    async with api_service() as (running, tenant, api), running.connect() as client:
        now = time.time()
        old, new = tenant.token("anna", now=now - 100), tenant.token("anna", now=now - 10)
        await client.open(old)
        body = {"externalId": "anna", "issuedBefore": int(now) - 50}
        reply = await api.good("POST", "/v1/tokens/revoke", body)
        assert reply == {"ended": 1, "cutoff": int(now) - 50}
        async with running.connect() as other:
            with pytest.raises(RefusedError):
                await other.open(old)
        async with running.connect() as other:
            await other.open(new)
        ahead = {"externalId": "anna", "issuedBefore": int(now) + 3600}
        assert await api.refused("POST", "/v1/tokens/revoke", ahead) == (400, "Illegal_argument")
        for bad in ({}, {"jti": "x", "application": True}, {"jti": "x", "issuedBefore": 5}, {"nothing": 1}):
            assert await api.refused("POST", "/v1/tokens/revoke", bad) == (400, "Illegal_argument")


async def test_revoking_the_whole_application_ends_everything_and_this_token_too() -> None:
    async with api_service() as (running, tenant, api), running.connect() as client:
        await client.open(tenant.token("anna"))
        other = await running.new_application()
        async with running.connect() as stranger:
            await stranger.open(other.token("bob"))
            reply = await api.good("POST", "/v1/tokens/revoke", {"application": True, "reason": "leak"})
            assert reply["cutoff"] >= int(time.time())
            await client.closed()
            assert await api.refused("GET", "/v1/counts") == (401, "Token_revoked")
            fresh = api_of(running, tenant, now=time.time() + 3)
            await until(lambda: _is_empty(fresh))
            assert len((await api_of(running, other).good("GET", "/v1/sessions"))["items"]) == 1


async def _is_empty(api: Api) -> bool:
    return bool((await api.good("GET", "/v1/sessions"))["items"] == [])


async def test_settings_are_read_and_changed() -> None:
    async with api_service() as (running, tenant, api):
        before = await api.good("GET", "/v1/settings")
        assert before["policy"]["maxSessions"] == 10
        changed = await api.good("PATCH", "/v1/settings", {"policy": {"maxSessions": 1}, "allowedOrigins": []})
        assert changed == {**before, "policy": {**before["policy"], "maxSessions": 1}}
        assert await api.good("GET", "/v1/settings") == changed
        assert await api.refused("PATCH", "/v1/settings", {"policy": {"maxSessions": 0}}) == (400, "Illegal_argument")
        async with running.connect() as one, running.connect() as two:
            await one.open(tenant.token("anna"))
            with pytest.raises(RefusedError):
                await two.open(tenant.token("anna"))
