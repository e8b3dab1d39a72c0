"""`greenroom.backend.client`, against a real service."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from greenroom.backend import Backend, ServiceEvent
from greenroom.errors import (
    IllegalArgumentError,
    NotFoundError,
    RevisionConflictError,
    ScopeMissingError,
    ServiceUnavailableError,
    TokenInvalidError,
)
from greenroom.model import Presence, RoomGrant, SessionPolicy
from tests.server.harness import RefusedError, RunningService, Tenant, running_service
from tests.server.http_service import claims_of
from tests.support.patience import PATIENCE


@asynccontextmanager
async def backend_of(scopes: list[str] | None = None) -> AsyncIterator[tuple[RunningService, Tenant, Backend]]:
    async with running_service() as running:
        tenant = await running.new_application()
        async with Backend(running.url + "/", tenant.key, tenant.secret + "\n", scopes=scopes) as backend:
            yield running, tenant, backend


async def test_a_participant_from_token_to_erase() -> None:
    async with backend_of() as (running, tenant, backend), running.connect() as client:
        token = await backend.client_token(
            external_id="anna",
            scopes=["session:update"],
            expires_in=60,
            policy=SessionPolicy(max_sessions=1),
            rooms=[RoomGrant(name="team-*", can=("join",))],
        )
        claims = claims_of(token)
        assert (claims["xid"], claims["scope"], claims["exp"] - claims["iat"]) == ("anna", "session:update", 60)
        assert claims["rooms"] == [{"name": "team-*", "can": ["join"]}]
        opened = await client.open(token, participant={"name": "Anna"})
        anna = await backend.participant(external_id="anna")
        assert (anna.id, anna.info.name, anna.presence) == (tenant.participant_id("anna"), "Anna", Presence.ONLINE)
        assert [one.id for one in [one async for one in backend.participants(["online"])]] == [anna.id]
        assert [one.id async for one in backend.participants(search="NNA")] == [anna.id]
        assert [one.id async for one in backend.participants(["offline"], search="nna")] == []
        assert (await backend.counts()).participants.online == 1
        renamed = await backend.update_participant(anna.id, name="Anna B.", if_revision=anna.revision)
        assert (renamed.info.name, renamed.revision) == ("Anna B.", anna.revision + 1)
        with pytest.raises(RevisionConflictError) as conflict:
            await backend.update_participant(anna.id, name="Anna C.", if_revision=anna.revision)
        assert conflict.value.participant is not None
        given = await backend.update_participant(external_id="anna", attributes={"role": "nurse", "team": "blue"})
        assert (given.attributes, given.availability) == ({"role": "nurse", "team": "blue"}, "available")
        assert (await backend.update_participant(anna.id, attributes={"team": None})).attributes == {"role": "nurse"}
        await client.call("session.setStatus", status="in surgery")
        assert (await backend.participant(anna.id)).availability == "in surgery"
        (session,) = [one async for one in backend.sessions(external_id="anna")]
        assert session.status == "in surgery"
        assert (session.id, session.state, (await backend.session(session.id)).node) == (
            opened.id, "attached", session.node,
        )  # fmt: skip
        assert (await backend.end_session(session.id, "bye")).end_reason == "kicked"
        (ended,) = [one async for one in backend.sessions(external_id="anna", state="closed")]
        assert (ended.id, ended.end_reason, ended.end_text) == (opened.id, "kicked", "bye")
        assert [one async for one in backend.sessions()] == []
        assert (await client.notified("session.ended"))["message"] == "bye"
        blocked = await backend.block(external_id="anna", seconds=60, reason="late")
        assert blocked.blocked
        assert [one.reason async for one in backend.blocks()] == ["late"]
        await backend.unblock(external_id="anna")
        with pytest.raises(NotFoundError):
            await backend.unblock(external_id="anna")
        assert await backend.erase(external_id="anna") == ()
        with pytest.raises(NotFoundError):
            await backend.participant(external_id="anna")


async def test_rooms() -> None:
    async with backend_of() as (running, tenant, backend), running.connect() as client:
        await client.open(tenant.token("anna"), participant={"name": "Anna"})
        made = await backend.open_room("stand/up é", ttl=5, detailed=False)
        assert (made.name, made.count, made.ttl, made.detailed, made.opened_by) == ("stand/up é", 0, 5.0, False, None)
        assert (await backend.open_room("stand/up é", ttl=900)).id == made.id
        await client.call("rooms.join", room="stand/up é")
        assert (await backend.room("stand/up é")).count == 1
        (anna,) = [one async for one in backend.room_members("stand/up é")]
        assert (anna.id, anna.info.name, anna.availability) == (tenant.participant_id("anna"), "Anna", "available")
        assert [one.name async for one in backend.rooms("STAND")] == ["stand/up é"]
        assert [one.name async for one in backend.rooms(external_id="anna")] == ["stand/up é"]
        assert [one.name async for one in backend.rooms(external_id="ben")] == []
        number = await backend.send_to_room("stand/up é", None, to=[anna.id], message_id="m1")
        received = await client.notified("rooms.message")
        assert (received["message"], received["number"]) == (None, number)
        assert await backend.send_to_room("stand/up é", None, to=[anna.id], message_id="m1") == number
        assert await backend.send_to_room("stand/up é", {"a": 1}, to_external_ids=["anna"]) > number
        invitations = await backend.invite_to_room("team", [anna.id], external_ids=["nobody"], text="come", ttl=30)
        assert (await client.notified("rooms.invited"))["invitation"]["id"] == invitations[0].id
        assert [one.participant_id for one in invitations] == [anna.id, tenant.participant_id("nobody")]
        assert len(await backend.kick_from_room("stand/up é", external_id="anna", seconds=1)) == 1
        assert (await client.notified("rooms.left"))["reason"] == "kicked"
        assert await backend.end_room("stand/up é") is True
        assert await backend.end_room("nothing") is False
        with pytest.raises(NotFoundError):
            await backend.room("nothing")
        with pytest.raises(IllegalArgumentError, match="room's name is empty"):
            await backend.room("")


async def test_a_kick_and_a_revocation_end_sessions() -> None:
    async with backend_of() as (running, _tenant, backend):
        async with running.connect() as client:
            await client.open(await backend.client_token(external_id="anna"))
            assert len((await backend.kick(external_id="anna", reason="be kind")).ended) == 1
        async with running.connect() as client:
            token = await backend.client_token(external_id="ben")
            await client.open(token)
            await backend.revoke(jti=claims_of(token)["jti"])
            assert (await client.notified("session.ended"))["reason"] == "token_revoked"
            with pytest.raises(RefusedError):
                async with running.connect() as again:
                    await again.open(token)


async def test_events_go_on_behind_a_cursor_that_was_kept() -> None:
    async with backend_of() as (running, _tenant, backend):
        async with running.connect() as client:
            await client.open(await backend.client_token(external_id="anna"))
            await client.call("session.close")
        found = [pair async for pair in backend.events(types=["session.*"], follow=False)]
        assert [event.type for _cursor, event in found] == ["session.opened", "session.ended"]
        assert [event async for event in backend.events(found[-1][0], types=["session.*"], follow=False)] == []

        async def first() -> ServiceEvent:
            async for _cursor, event in backend.events(found[-1][0], types=["session.opened"]):
                return event
            raise AssertionError("it ended")

        following = asyncio.create_task(first())
        async with running.connect() as client:
            opened = await client.open(await backend.client_token(external_id="ben"))
            assert (await asyncio.wait_for(following, PATIENCE)).session_id == opened.id


async def test_a_token_that_was_revoked_is_replaced_once() -> None:
    async with backend_of() as (_running, _tenant, backend):
        await backend.counts()
        await backend._call("POST", "/v1/tokens/revoke", dict, {"application": True})
        await backend.counts()


async def test_errors_are_the_sdks_own() -> None:
    async with backend_of(["participants:read"]) as (running, tenant, backend):
        with pytest.raises(ScopeMissingError):
            await backend.kick(external_id="anna")
        for wrong in ({}, {"participant_id": "x", "external_id": "y"}, {"external_id": ""}):
            with pytest.raises(IllegalArgumentError):
                await backend.participant(**wrong)
        async with Backend(running.url, tenant.key, "wrong") as other:
            with pytest.raises(TokenInvalidError):
                await other.counts()
    with pytest.raises(ServiceUnavailableError, match="cannot be reached"):
        await other.counts()
    await other.aclose()
    with pytest.raises(IllegalArgumentError, match="must not be empty"):
        Backend(running.url, " ", "x")
