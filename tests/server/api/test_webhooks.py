"""Webhook endpoints through the API, delivered by a real service to a real receiver on loopback."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import tempfile
from base64 import b64decode
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from standardwebhooks import Webhook

from tests.server.api_service import Api, api_of, api_service
from tests.server.webhooks.receiver import Receiver, answer, hang, receiver
from tests.support.patience import PATIENCE, until

LOOPBACK: dict[str, Any] = {"webhook_allowed_networks": ("127.0.0.0/8",), "webhook_http": "allowed"}


async def add(api: Api, there: Receiver, **more: Any) -> tuple[str, str]:
    """An endpoint at the receiver: its id and secret."""
    made = await api.good("POST", "/v1/webhooks", {"url": there.url, **more})
    return made["endpoint"]["id"], made["secret"]


async def test_events_arrive_signed_and_in_order() -> None:
    async with api_service(**LOOPBACK) as (running, tenant, api), receiver() as there:
        _, secret = await add(api, there)
        async with running.connect() as client:
            await client.open(tenant.token("anna"))
            await client.call("session.updateParticipantInfo", updateId="u1", name="Anna")
            await client.call("session.close")
        whole = (await api.good("GET", "/v1/events", limit=1000))["items"]
        await there.wait_for(len(whole))
        assert [got.event for got in there.got] == whole
        for got in there.got:
            assert Webhook(secret).verify(got.raw, got.headers) == got.event
            assert got.headers["webhook-id"] == got.event["id"]
            assert got.headers["content-type"] == "application/json"


async def test_events_carry_attributes_and_status_and_nothing_of_them_where_there_is_none() -> None:
    async with api_service(**LOOPBACK) as (running, tenant, api), receiver() as there:
        _, secret = await add(api, there, events=["participant.online", "participant.updated", "participant.offline"])
        async with running.connect() as client:
            await client.open(tenant.token("anna"), participant={"attributes": {"role": "nurse", "team": "röd"}})
            await client.call("session.setStatus", status="in surgery")
            await there.wait_for(2)
            patch = {"attributes": {"role": None, "ward": "5"}}
            await api.good("PATCH", f"/v1/participants/{tenant.participant_id('anna')}", patch)
            await client.call("session.close")
        async with running.connect() as client:
            await client.open(tenant.token("ben"))
        await there.wait_for(5)
        said = [Webhook(secret).verify(got.raw, got.headers) for got in there.got]
        members = [(one["type"], one["data"].get("attributes"), one["data"].get("status")) for one in said]
        merged = {"team": "röd", "ward": "5"}
        assert members == [
            ("participant.online", {"role": "nurse", "team": "röd"}, None),
            ("participant.updated", {"role": "nurse", "team": "röd"}, "in surgery"),
            ("participant.updated", merged, None),  # the change of the last seconds, before `offline`
            ("participant.offline", merged, None),
            ("participant.online", None, None),
        ]


async def test_asymmetric_signatures_are_verified_with_the_public_key() -> None:
    async with api_service(**LOOPBACK) as (_, _tenant, api), receiver() as there:
        endpoint, public = await add(api, there, signature="v1a")
        assert (await api.good("GET", f"/v1/webhooks/{endpoint}"))["publicKeys"] == [public]
        assert (await api.good("POST", f"/v1/webhooks/{endpoint}/test", {}))["delivered"]
        (got,) = there.got
        kind, _, signature = got.headers["webhook-signature"].partition(",")
        assert kind == "v1a"
        signed = f"{got.headers['webhook-id']}.{got.headers['webhook-timestamp']}.".encode() + got.raw
        Ed25519PublicKey.from_public_bytes(b64decode(public.removeprefix("whpk_"))).verify(b64decode(signature), signed)


async def test_two_secrets_are_good_during_a_rotation_and_one_after_it() -> None:
    async with api_service(**LOOPBACK) as (_, _tenant, api), receiver() as there:
        endpoint, old = await add(api, there)
        rotated = await api.good("POST", f"/v1/webhooks/{endpoint}/rotate-secret", {"overlap": 3600})
        await api.good("POST", f"/v1/webhooks/{endpoint}/test")
        for secret in (old, rotated["secret"]):
            assert Webhook(secret).verify(there.got[0].raw, there.got[0].headers)
        final = await api.good("POST", f"/v1/webhooks/{endpoint}/rotate-secret", {"overlap": 0})
        await api.good("POST", f"/v1/webhooks/{endpoint}/test")
        signatures = there.got[1].headers["webhook-signature"].split(" ")
        assert len(signatures) == 1
        assert Webhook(final["secret"]).verify(there.got[1].raw, there.got[1].headers)
        assert "secret" not in str(await api.good("GET", "/v1/webhooks")).lower()


async def test_endpoints_are_changed_disabled_and_removed() -> None:
    async with api_service(**LOOPBACK) as (running, tenant, api), receiver() as there:
        endpoint, _ = await add(api, there, events=["session.ended"])
        path = f"/v1/webhooks/{endpoint}"
        changed = await api.good("PATCH", path, {"events": ["session.opened"], "state": "disabled"})
        assert (changed["events"], changed["state"]) == (["session.opened"], "disabled")
        async with running.connect() as client:
            await client.open(tenant.token("anna"))
            assert (await api.good("PATCH", path, {"state": "enabled"}))["disabledReason"] is None
            await there.wait_for(1)
            assert [got.event["type"] for got in there.got] == ["session.opened"]
        await api.good("DELETE", path)
        assert await api.refused("GET", path) == (404, "Not_found")
        assert (await api.good("GET", "/v1/webhooks"))["items"] == []
        stranger = api_of(running, await running.new_application())
        endpoint, _ = await add(api, there)
        assert await stranger.refused("GET", f"/v1/webhooks/{endpoint}") == (404, "Not_found")
        assert await stranger.refused("POST", f"/v1/webhooks/{endpoint}/test") == (404, "Not_found")


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com/",
        "https://127.0.0.1/",
        "https://[::1]/",
        "https://0x7f.1/",
        "https://2130706433/",
        "https://169.254.169.254/latest/meta-data",
        "https://[64:ff9b::7f00:1]/",
        "https://[2002:7f00:1::]/",
        "https://user:pass@example.com/",
        "ftp://example.com/",
        "javascript:alert(1)",
        "https://",
    ],
)
async def test_urls_that_lead_inside_are_refused(url: str) -> None:
    async with api_service() as (_, _tenant, api):
        assert await api.refused("POST", "/v1/webhooks", {"url": url}) == (400, "Illegal_argument")


async def test_unknown_events_and_too_many_endpoints_are_refused() -> None:
    async with api_service(**LOOPBACK) as (_, _tenant, api), receiver() as there:
        bad = {"url": there.url, "events": ["session.exploded"]}
        assert await api.refused("POST", "/v1/webhooks", bad) == (400, "Illegal_argument")
        for _ in range(20):
            await add(api, there)
        assert await api.refused("POST", "/v1/webhooks", {"url": there.url}) == (409, "Conflict")


async def test_a_test_says_what_is_wrong() -> None:
    async with api_service(**LOOPBACK) as (_, _tenant, api), receiver(answer(500)) as there:
        endpoint, _ = await add(api, there)
        tried = await api.good("POST", f"/v1/webhooks/{endpoint}/test")
        assert (tried["delivered"], tried["status"], tried["why"]) == (False, 500, "status 500")


async def test_410_disables_for_all_to_see() -> None:
    async with api_service(**LOOPBACK) as (running, tenant, api), receiver(answer(410)) as there:
        endpoint, _ = await add(api, there)
        async with running.connect() as client:
            await client.open(tenant.token("anna"))
            await until(lambda: _state(api, endpoint, "disabled"))
        assert "410" in (await api.good("GET", f"/v1/webhooks/{endpoint}"))["disabledReason"]


async def _state(api: Api, endpoint: str, state: str) -> bool:
    return bool((await api.good("GET", f"/v1/webhooks/{endpoint}"))["state"] == state)


async def test_one_that_hangs_delays_no_other() -> None:
    async with api_service(**LOOPBACK) as (running, tenant, api), receiver(hang) as slow, receiver() as quick:
        await add(api, slow)
        await add(api, quick)
        clients = [await running.dial() for _ in range(30)]
        for number, client in enumerate(clients):
            await client.open(tenant.token(f"p{number}"))
        whole = (await api.good("GET", "/v1/events", limit=1000))["items"]
        await quick.wait_for(len(whole))
        assert len(slow.got) <= running.service.config.webhook_concurrency
        for client in clients:
            await client.drop()


async def test_a_range_is_replayed_with_the_old_ids_and_attempts_can_be_watched() -> None:
    async with api_service(**LOOPBACK) as (running, tenant, api), receiver() as there:
        endpoint, _ = await add(api, there)
        path = f"/v1/webhooks/{endpoint}"
        async with running.connect() as client:
            await client.open(tenant.token("anna"))
            await client.call("session.close")
        whole = (await api.good("GET", "/v1/events", limit=1000))["items"]
        await there.wait_for(len(whole))
        replay = {"from": whole[0]["at"], "to": whole[-1]["at"]}
        assert await api.good("POST", path + "/replay", replay) == {"queued": len(whole), "more": False, "next": None}
        await there.wait_for(2 * len(whole))
        assert [got.event["id"] for got in there.got[len(whole) :]] == [event["id"] for event in whole]
        attempts = await api.good("GET", path + "/attempts")
        assert attempts["delivering"]
        assert [item["eventId"] for item in attempts["items"]] == [got.event["id"] for got in there.got]
        last = attempts["items"][-1]["number"]
        assert (await api.good("GET", path + "/attempts", after=last))["items"] == []
        for bad in ({}, {"deadLetters": True, "from": 1}, {"eventIds": [], "to": 3}):
            assert await api.refused("POST", path + "/replay", bad) == (400, "Illegal_argument")


async def test_dead_letters_are_listed_replayed_and_dropped() -> None:
    from greenroom.model import Event
    from greenroom.server.webhooks.worker import reader_of

    async with api_service(**LOOPBACK) as (running, tenant, api), receiver() as there:
        endpoint, _ = await add(api, there)
        path = f"/v1/webhooks/{endpoint}"
        dead = [
            Event(id=f"e:{number}", type="session.ended", at=number, app=tenant.key, participant_id=f"p{number % 2}")
            for number in range(4)
        ]
        await running.service.engine.outbox.set_aside(tenant.key, reader_of(endpoint), dead, "10 attempts failed")
        listed = (await api.good("GET", path + "/dead-letters"))["items"]
        assert [(item["event"]["id"], item["why"]) for item in listed] == [
            (event.id, "10 attempts failed") for event in dead
        ]
        await api.good("DELETE", path + "/dead-letters/e:3")
        assert await api.refused("DELETE", path + "/dead-letters/e:3") == (404, "Not_found")
        assert (await api.good("POST", path + "/replay", {"eventIds": ["e:1"]}))["queued"] == 1
        await there.wait_for(1)
        assert (await api.good("POST", path + "/replay", {"deadLetters": True}))["queued"] == 2
        await there.wait_for(3)
        assert sorted(got.event["id"] for got in there.got) == ["e:0", "e:1", "e:2"]
        assert (await api.good("GET", path + "/dead-letters"))["items"] == []


async def test_what_waits_for_an_erased_participant_goes_out_without_a_name() -> None:
    from greenroom.model import Event
    from greenroom.server.webhooks.worker import reader_of

    async with api_service(**LOOPBACK) as (running, tenant, api), receiver(answer(500)) as there:
        endpoint, _ = await add(api, there)
        async with running.connect() as client:
            opened = await client.open(tenant.token("anna"), participant={"name": "Anna-To-Forget"})
            await there.wait_for(1)
        dead = Event(id="e1", type="participant.updated", at=1, app=tenant.key, data={"name": "Anna-To-Forget"})
        dead = msgspec.structs.replace(dead, participant_id=opened.participant["id"])
        await running.service.engine.outbox.set_aside(tenant.key, reader_of(endpoint), [dead], "old")
        await api.good("DELETE", "/v1/participants/ext:anna")
        assert (await api.good("GET", f"/v1/webhooks/{endpoint}/dead-letters"))["items"] == []
        # One that a node wrote after it, from what it had read before.
        await running.service.engine.outbox.set_aside(tenant.key, reader_of(endpoint), [dead], "old")
        listed = (await api.good("GET", f"/v1/webhooks/{endpoint}/dead-letters"))["items"]
        assert [(item["event"]["id"], item["event"]["data"]) for item in listed] == [("e1", {})]
        there.answer = answer(200)
        there.got.clear()
        await api.good("POST", f"/v1/webhooks/{endpoint}/replay", {"from": 0})
        await there.wait_for(2)
        assert all(b"Anna-To-Forget" not in got.raw and b'"anna"' not in got.raw for got in there.got)
        # And she may come back at once: a new token lies above the cut-off of the erasure.
        reply = await api.call("POST", "/v2/client-access-token", {"externalId": "anna"})
        async with running.connect() as client:
            await client.open(reply.body["access_token"])


@pytest.mark.slow
async def test_sigkill_in_the_middle_loses_nothing() -> None:
    """A process of its own, killed while a receiver takes its events, and started again on the same data."""
    async with receiver() as there:
        with tempfile.TemporaryDirectory(prefix="greenroom-test-") as data:
            ids: list[str] = []
            for round_number in range(3):
                process = await _start(data, there.url, str(round_number))
                try:
                    ids += await _ids(process, 60)
                    await there.wait_for(5 + 40 * round_number)
                finally:
                    process.send_signal(signal.SIGKILL)
                    await asyncio.to_thread(process.wait)
                    assert process.stdout is not None
                    process.stdout.close()
            last = await _start(data, there.url, "drain")
            try:
                async with asyncio.timeout(2 * PATIENCE):
                    while not set(ids) <= {got.event["id"] for got in there.got}:
                        await there.wait_for(len(there.got) + 1)
            finally:
                last.send_signal(signal.SIGKILL)
                await asyncio.to_thread(last.wait)
                assert last.stdout is not None
                last.stdout.close()
        first: dict[str, list[int]] = {}
        seen: set[str] = set()
        for got in there.got:
            event = got.event
            if event["id"] not in seen and event["type"] == "participant.updated":
                seen.add(event["id"])
                first.setdefault(event["participantId"], []).append(event["data"]["version"])
        assert all(versions == sorted(versions) for versions in first.values())


async def _start(data: str, url: str, name: str) -> subprocess.Popen[str]:
    script = Path(__file__).parents[1] / "webhooks" / "killed_process.py"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    return await asyncio.to_thread(
        subprocess.Popen,
        [sys.executable, str(script), data, url, name],
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    )


async def _ids(process: subprocess.Popen[str], count: int) -> list[str]:
    """Event ids that the process says are committed."""
    assert process.stdout is not None
    found = []
    for _ in range(count):
        line = await asyncio.to_thread(process.stdout.readline)
        assert line, "the process ended by itself"
        found.append(line.strip())
    return found
