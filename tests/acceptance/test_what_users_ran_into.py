"""What users of the platform and of its peers ran into (platform.md): the rows that are the service's.

The SDK's rows are in `tests/sdk/test_what_users_ran_into.py`. Here raw clients speak, so that nothing an SDK does can
make up for the service.
"""

from __future__ import annotations

import asyncio
import json
import signal
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest

from greenroom.codes import CloseCode
from greenroom.messages import Retry
from greenroom.model import SessionPolicy
from tests.acceptance.process import ServiceProcess, service
from tests.cli.running import run
from tests.server.api.test_webhooks import LOOPBACK, add
from tests.server.api_service import Api, api_service
from tests.server.harness import Client, ClosedError, ForwardClocks, RefusedError, Tenant, pinged, running_service
from tests.server.webhooks.receiver import receiver
from tests.support.patience import PATIENCE, until


async def _events(api: Api, *types: str) -> list[dict[str, Any]]:
    page = await api.good("GET", "/v1/events", limit=1000, **({"type": types} if types else {}))
    found: list[dict[str, Any]] = page["items"]
    return found


# -- ghosts after deploys and crashes, no way to clear them -----------------------------------------------------------


async def _bearer(running: ServiceProcess) -> dict[str, str]:
    basic = {"Authorization": aiohttp.encode_basic_auth(running.key, running.secret)}
    form = {"grant_type": "client_credentials"}
    async with (
        aiohttp.ClientSession(running.url) as http,
        http.post("/v1/auth/token", data=form, headers=basic) as reply,
    ):
        return {"Authorization": f"Bearer {(await reply.json())['access_token']}"}


async def _get(running: ServiceProcess, path: str) -> Any:
    async with (
        aiohttp.ClientSession(running.url, headers=await _bearer(running)) as http,
        http.get(path) as reply,
    ):
        assert reply.status == 200, await reply.text()
        return await reply.json()


@pytest.mark.slow
async def test_ghosts_after_deploys_and_crashes_end_by_themselves_and_the_doctor_finds_none(tmp_path: Path) -> None:
    names = [f"user-{number}" for number in range(20)]
    settings = {"grace": 3, "grace_unconfirmed": 3, "grace_going_away": 1, "reap_interval": 0.2}
    async with service(tmp_path, **settings) as running:
        for how in (signal.SIGTERM, signal.SIGKILL):
            await _open_and_leave(running, names, how)
            await running.start()
            rounds = 1 if how is signal.SIGTERM else 2
            async with asyncio.timeout(PATIENCE):
                while len(reasons := await _ends(running)) < len(names) * rounds:  # noqa: ASYNC110
                    await asyncio.sleep(0.2)
            assert reasons == ["timeout"] * len(names) * rounds, "exactly one end each"
            listed = [(await _get(running, f"/v1/participants/ext:{name}"))["presence"] for name in names]
            assert listed == ["offline"] * len(names)
        ran = await run("doctor", "--json", "--data", str(running.data))
        assert ran.code == 0, ran
        assert json.loads(ran.out)["findings"] == []


async def _ends(running: ServiceProcess) -> list[str]:
    page = await _get(running, "/v1/events?type=session.ended&limit=1000")
    return [one["data"]["reason"] for one in page["items"]]


async def _open_and_leave(running: ServiceProcess, names: list[str], how: signal.Signals) -> None:
    """Sessions are open, and nobody of them ever comes back after the service has stopped."""
    from greenroom.bench.minting import mint
    from tests.fuzz.bare import Bare

    tokens = await mint(running.url, running.key, running.secret, names)
    clients = [Bare() for _ in names]
    for client, token in zip(clients, tokens, strict=True):
        await client.dial(running.url)
        await client.open(token)
        await client.is_alive()
    await running.stop(how)
    for client in clients:
        client.drop()


# -- the backend's "left" webhook missing, late, out of order, or without a reason ------------------------------------


@pytest.mark.slow
async def test_the_backends_left_webhook_comes_once_in_order_and_with_a_reason() -> None:
    short = {"grace": 0.6, "grace_unconfirmed": 0.5, "grace_going_away": 0.3}
    async with api_service(**LOOPBACK, **short) as (running, tenant, api), receiver() as there:
        await add(api, there)
        async with running.connect() as closes, running.connect() as kicked, running.connect() as moves:
            ends = {}
            ends["closed"] = await closes.open(tenant.token("closes"))
            ends["kicked"] = await kicked.open(tenant.token("kicked"))
            vanishes = await running.dial()
            ends["timeout"] = await vanishes.open(tenant.token("vanishes"))
            ends["replaced"] = await moves.open(tenant.token("moves"), device={"id": "phone"})
            await closes.call("session.close")
            await api.good("POST", "/v1/participants/ext:kicked/kick", {"reason": "be kind"})
            vanishes.abort()
            async with running.connect() as again:
                await again.open(tenant.token("moves"), device={"id": "phone"})
                await until(lambda: len(_ended(there.got)) == 4)
        received = [got.event for got in there.got]
        for reason, session in ends.items():
            mine = [one for one in received if one["sessionId"] == session.id and one["type"].startswith("session.")]
            assert (mine[0]["type"], mine[-1]["type"]) == ("session.opened", "session.ended")
            assert [one["type"] for one in mine].count("session.ended") == 1
            assert mine[-1]["data"]["reason"] == reason
        by_participant: dict[str, list[str]] = defaultdict(list)
        for one in received:
            by_participant[one["participantId"]].append(one["id"])
        for participant, ids in by_participant.items():
            whole = [one["id"] for one in await _events(api) if one["participantId"] == participant]
            assert ids == whole[: len(ids)], "in the order of the one outbox, none twice, none left out"


def _ended(got: Any) -> list[Any]:
    return [one for one in got if one.event["type"] == "session.ended"]


# -- kicked users walked back in with the same token ------------------------------------------------------------------


async def test_kicked_users_do_not_walk_back_in_with_the_same_token_or_secret_also_not_after_a_restart() -> None:
    async with api_service() as (running, tenant, api):
        token = tenant.token("eve")
        client = await running.dial()
        session = await client.open(token)
        await api.good("POST", "/v1/participants/ext:eve/kick", {"reason": "be kind"})
        assert (await client.notified("session.ended"))["reason"] == "kicked"
        assert await client.closed() == CloseCode.KICKED
        for _ in range(2):
            back = await running.dial()
            with pytest.raises(RefusedError) as refused:
                await back.open(token)
            assert refused.value.data["retryable"] is False
            assert await back.closed() == CloseCode.KICKED
            async with running.connect() as back:
                with pytest.raises(RefusedError, match="ended|kicked|removed"):
                    await back.resume(session)
            await running.restart(kill=True)
        async with running.connect() as back:
            # The app's backend lets her in again; the cut-off is rounded up to the next second.
            await back.open(tenant.token("eve", now=time.time() + 2))


async def test_blocked_users_do_not_walk_back_in_with_a_new_token_either() -> None:
    async with api_service() as (running, tenant, api):
        client = await running.dial()
        await client.open(tenant.token("eve"))
        await api.good("POST", "/v1/blocks", {"externalId": "eve", "reason": "spam"})
        assert (await client.notified("session.ended"))["reason"] == "blocked"
        await running.restart(kill=True)
        back = await running.dial()
        with pytest.raises(RefusedError) as refused:
            await back.open(tenant.token("eve"))
        assert refused.value.data["reason"] == "Participant_blocked"
        assert await back.closed() == CloseCode.KICKED


# -- observers saw "joined" of the new before "left" of the old; a late leave hid a live user ------


async def test_observers_never_see_a_live_user_as_gone_when_the_old_session_leaves_late() -> None:
    async with running_service() as running:
        tenant = await running.new_application()
        async with running.connect() as observer:
            await observer.open(tenant.token("bob"))
            await observer.call("participants.watch", externalIds=["ada"])
            old = await running.dial()
            await old.open(tenant.token("ada"), device={"id": "laptop"})
            for _ in range(5):
                new = await running.dial()
                await new.open(tenant.token("ada"), device={"id": "laptop"})
                await old.drop(1000)  # the old one says that it leaves when the new one is there
                old = new
            await old.call("session.updateParticipantInfo", updateId="u", name="last")
            seen = await _seen_until(observer, "last")
            assert [one["presence"] for one in seen] == ["online"] * len(seen)
            versions = [one["version"] for one in seen]
            assert versions == sorted(set(versions))
            assert seen[-1]["sessions"] == 1
            await old.drop()


async def _seen_until(observer: Client, name: str) -> list[dict[str, Any]]:
    seen: list[dict[str, Any]] = []
    while not seen or seen[-1].get("name") != name:
        seen += (await observer.notified("participants.changed"))["participants"]
    return seen


async def test_ends_carry_the_session_so_that_a_late_one_hides_nobody() -> None:
    async with api_service() as (running, tenant, api), running.connect() as first, running.connect() as second:
        one = await first.open(tenant.token("ada"), device={"id": "laptop"})
        other = await second.open(tenant.token("ada"), device={"id": "laptop"})
        received = await _events(api)
        ended = next(event for event in received if event["type"] == "session.ended")
        assert (ended["sessionId"], ended["data"]["reason"]) == (one.id, "replaced")
        opened = [event["sessionId"] for event in received if event["type"] == "session.opened"]
        assert opened == [one.id, other.id]
        assert "participant.offline" not in {event["type"] for event in received}


# -- a second tab kicked the first, with no choice --------------------------------------------------------------------

LIMITED = {"max_sessions": 1}
POLICIES: list[tuple[dict[str, Any], str | None, str]] = [
    ({}, None, "both"),
    ({"same_device": "allow"}, "laptop", "both"),
    ({}, "laptop", "replaced"),
    ({**LIMITED, "when_full": "replace_oldest"}, None, "replaced"),
    ({**LIMITED, "when_full": "reject"}, None, "rejected"),
]


@pytest.mark.parametrize("by", ["application", "token"])
@pytest.mark.parametrize(("policy", "device", "outcome"), POLICIES)
async def test_whether_a_second_tab_replaces_the_first_is_policy_as_data(
    policy: dict[str, Any], device: str | None, outcome: str, by: str
) -> None:
    async with api_service() as (running, tenant, api):
        token = await _token_with(running, tenant, api, policy, by)
        info: dict[str, Any] = {} if device is None else {"device": {"id": device}}
        first, second = await running.dial(), await running.dial()
        await first.open(token, **info)
        if outcome == "rejected":
            with pytest.raises(RefusedError) as refused:
                await second.open(token, **info)
            assert refused.value.data["reason"] == "Too_many_sessions"
            assert await second.closed() == CloseCode.LIMIT_REACHED
            await first.call("ping")
        else:
            opened = await second.open(token, **info)
            assert opened.participant["sessions"] == (2 if outcome == "both" else 1)
        if outcome == "replaced":
            assert (await first.notified("session.ended"))["reason"] == "replaced"
            assert await first.closed() == CloseCode.REPLACED
        else:
            await first.call("ping")
        await first.drop()
        await second.drop()


async def _token_with(running: Any, tenant: Tenant, api: Api, policy: dict[str, Any], by: str) -> str:
    """A token under the policy, which the application has or the token brings."""
    if by == "application":
        other = await running.new_application(policy=SessionPolicy(**policy))
        made: str = other.token("ada")
        return made
    names = {"max_sessions": "maxSessions", "when_full": "whenFull", "same_device": "sameDevice"}
    claim = {names[name]: value for name, value in policy.items()}
    body = {"externalId": "ada", **({"sessionPolicy": claim} if claim else {})}
    reply = await api.good("POST", "/v2/client-access-token", body)
    token: str = reply["access_token"]
    return token


# -- every client came back in the same second ------------------------------------------------------------------------


async def test_every_client_gets_when_to_come_back_and_within_what_jitter() -> None:
    async with running_service() as running:
        tenant = await running.new_application()
        clients = [await running.dial() for _ in range(30)]
        for number, client in enumerate(clients):
            await client.open(tenant.token(f"user {number}"))
        await running.service.stop()
        for client in clients:
            closed = await _end_of(client)
            retry = msgspec.json.decode(closed.reason, type=Retry)
            assert closed.code == CloseCode.DRAINING
            assert retry.after >= 0.1  # `restart_after` of the tests
            assert retry.jitter >= 1.0


async def _end_of(client: Client) -> ClosedError:
    while True:
        try:
            await client.receive()
        except ClosedError as closed:
            return closed


async def test_opens_beyond_the_rate_get_when_to_come_back() -> None:
    async with running_service(opens_per_second=1.0) as running:
        tenant = await running.new_application()
        received: list[float] = []
        for number in range(100):
            if received:
                break
            client = await running.dial()
            try:
                await client.open(tenant.token(f"user {number}"))
            except RefusedError as refused:
                received.append(refused.data["retryAfter"])
            await client.drop()
        assert received
        assert all(after > 0 for after in received)


# -- heartbeats were the client's duty and everyone vanished after 60 s -----------------------------------------------


@pytest.mark.slow
async def test_heartbeats_are_the_services_duty_and_a_client_that_only_answers_pings_stays() -> None:
    clocks = ForwardClocks()
    async with running_service(clocks) as running:
        tenant = await running.new_application()
        async with running.connect() as client:
            opened = await client.open(tenant.token("ada"))
            await client.call("ping")
            waiting = asyncio.ensure_future(client.receive())  # aiohttp answers pings while it is read from
            for _ in range(5):  # for longer than a minute
                await pinged(running, clocks)
            assert not waiting.done()
            assert (await running.session(opened.id)).state.value == "attached"
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
