"""What users of the platform and of its peers ran into (platform.md), row by row.

Rows that are the service's alone (webhooks, ghosts of crashed nodes, heartbeats) have their tests with the service.
"""

from __future__ import annotations

import asyncio
import time

import pytest

from greenroom import (
    Device,
    Greenroom,
    Participant,
    ParticipantInfo,
    Presence,
    ScopeMissingError,
    SessionDelegate,
    SessionState,
    TokenInvalidError,
    TokenRefreshError,
)
from greenroom.testing.fake_service import FakeService, make_token
from tests.server.api_service import api_service
from tests.server.harness import ForwardClocks, Tenant, pinged, running_service
from tests.support.patience import PATIENCE, until
from tests.support.sdk import Notes, new_sdk


def real_sdk(tenant: Tenant, external_id: str = "ada", device: str | None = None) -> tuple[Greenroom, Notes]:
    """An SDK for the real service."""
    sdk = Greenroom(tenant.running.url)
    sdk.initialize_token(tenant.token(external_id))
    sdk.session.device = None if device is None else Device(id=device, name=device)
    notes = Notes()
    sdk.session.delegate = notes
    return sdk, notes


async def test_if_not_is_open_open_does_not_fail_because_an_open_is_in_flight() -> None:
    async with FakeService() as service:
        sdk, _ = new_sdk(service)

        async def use() -> Participant:
            if not sdk.session.is_open():
                return await sdk.session.open(ParticipantInfo(name="Ada"))
            return await sdk.session.get_participant()

        first, second = await asyncio.gather(use(), use())
        assert first == second
        assert service.methods() == ["session.open"]
        await sdk.session.close()


@pytest.mark.slow
async def test_after_a_refresh_the_old_token_is_never_used_again_also_not_after_sleep() -> None:
    fresh = make_token(external_id="ada", serial=2)

    async def refresh(is_expired: bool) -> str:
        return fresh

    async with FakeService() as service:
        sdk = Greenroom(service.url)
        old = make_token(external_id="ada", issued_at=time.time() - 1795, life=3600)
        sdk.initialize_token(old, refresh)
        await sdk.session.open()
        service.refusals["session.refreshToken"] = [TokenInvalidError()]  # so that the resume must carry it
        await service.called("session.refreshToken")
        await service.drop_all()
        await service.called("session.resume")
        assert dict(service.calls)["session.resume"]["token"] == fresh
        await sdk.session.get_participant()
        await sdk.session.close()
        await sdk.session.open()
        assert dict(service.calls)["session.open"]["token"] == fresh
        await sdk.session.close()


async def test_a_refresh_callback_without_return_is_refused_at_once() -> None:
    calls: list[bool] = []

    async def refresh(is_expired: bool) -> str:
        calls.append(is_expired)
        make_token()
        return None  # type: ignore[return-value]

    async with FakeService() as service:
        sdk = Greenroom(service.url)
        sdk.initialize_token(make_token(issued_at=time.time() - 90, life=60), refresh)
        with pytest.raises(TokenRefreshError, match="return statement missing"):
            await sdk.session.open()
        assert calls == [True]
        await sdk.session.close()


async def test_user_is_not_valid_names_the_claim_and_where_to_set_it() -> None:
    async with running_service() as running:
        tenant = await running.new_application()
        sdk = Greenroom(running.url)
        sdk.initialize_token(tenant.token(None))
        with pytest.raises(Exception, match="external") as caught:
            await sdk.session.open(ParticipantInfo(external_id="ada"))
        assert "token" in str(caught.value)
        await sdk.session.close()


async def test_no_endless_reconnecting_after_eviction() -> None:
    async with FakeService() as service:
        sdk, notes = new_sdk(service)
        await sdk.session.open()
        for name in ("reopened", "ended"):
            service.sessions.clear()
            await service.drop_all()
            await notes.first(name)
        upgrades = service.upgrades
        await asyncio.sleep(0.3)
        assert service.upgrades == upgrades
        assert sdk.session.state is SessionState.DISCONNECTED
        await sdk.session.close()


async def test_close_racing_with_close_is_one_operation_and_never_hangs() -> None:
    async with running_service() as running:
        tenant = await running.new_application()
        sdk, _ = real_sdk(tenant)
        await sdk.session.open()
        async with asyncio.timeout(PATIENCE):
            await asyncio.gather(*(sdk.session.close() for _ in range(5)))
            await sdk.session.close()
        assert not sdk.session.is_open()


async def test_after_close_and_open_again_nothing_of_the_old_session_is_left() -> None:
    async with running_service() as running:
        tenant = await running.new_application()
        sdk, notes = real_sdk(tenant)
        await sdk.session.open()
        watch = await sdk.participants.watch(external_ids=["ada"])
        await sdk.session.close()
        assert sdk.session.participant is None
        assert [one async for one in watch] == []
        notes.calls.clear()
        me = await sdk.session.open()
        assert (me.sessions, me.presence) == (1, Presence.ONLINE)
        other, _ = real_sdk(tenant, "bob")
        await other.session.open()
        (seen,) = await other.participants.get(external_ids=["ada"])
        assert seen.sessions == 1
        assert "changed" not in notes.names()
        await sdk.session.close()
        await other.session.close()


async def test_the_sdks_own_retry_does_not_kick_its_own_earlier_attempt() -> None:
    async with running_service() as running:
        tenant = await running.new_application()
        sdk, notes = real_sdk(tenant, device="laptop")
        await sdk.session.open()
        session = sdk._runner.machine.session_id
        await running.restart(kill=True)
        await notes.until(lambda: notes.names().count("connected") == 2)
        assert sdk._runner.machine.session_id == session
        assert "ended" not in notes.names()
        await sdk.session.close()


async def test_a_second_device_does_not_kick_the_first_unless_the_policy_says_so() -> None:
    async with running_service() as running:
        tenant = await running.new_application()
        first, notes = real_sdk(tenant, device="first")
        second, _ = real_sdk(tenant, device="second")
        await first.session.open()
        assert (await second.session.open()).sessions == 2
        assert first.session.is_open()
        same, _ = real_sdk(tenant, device="first")
        await same.session.open()
        ended = await notes.first("ended")
        assert ended[1] == "replaced"
        assert not first.session.is_open()
        for sdk in (first, second, same):
            await sdk.session.close()


async def test_observers_see_one_change_when_a_device_takes_over_its_ghost() -> None:
    async with running_service() as running:
        tenant = await running.new_application()
        observer, notes = real_sdk(tenant, "bob")
        await observer.session.open()
        first, _ = real_sdk(tenant, device="laptop")
        await first.session.open()
        await observer.participants.watch(external_ids=["ada"])
        second, _ = real_sdk(tenant, device="laptop")
        await second.session.open()
        await second.session.update_participant_info(name="seen")
        await notes.until(lambda: [one for one in notes.calls if one[0] == "changed" and one[1][0].info.name == "seen"])
        received = [one for what, *rest in notes.calls if what == "changed" for one in rest[0]]
        assert {one.presence for one in received} == {Presence.ONLINE}
        assert [one.version for one in received] == sorted(one.version for one in received)
        for sdk in (observer, first, second):
            await sdk.session.close()


@pytest.mark.slow
async def test_kicked_users_do_not_walk_back_in_with_the_same_token() -> None:
    async with api_service() as (running, tenant, api):
        token = tenant.token("ada")
        sdk = Greenroom(running.url)
        sdk.initialize_token(token)
        notes = Notes()
        sdk.session.delegate = notes
        await sdk.session.open()
        await api.good("POST", "/v1/participants/ext:ada/kick", {"reason": "be kind"})
        ended = await notes.first("ended")
        assert ended[1] == "kicked"
        with pytest.raises(TokenInvalidError, match="revoked"):
            await sdk.session.open()
        await sdk.session.close()


@pytest.mark.slow
async def test_a_resume_works_without_any_event_twice_and_after_a_restart() -> None:
    async with running_service() as running:
        tenant = await running.new_application()
        sdk, notes = real_sdk(tenant)
        await sdk.session.open()
        session = sdk._runner.machine.session_id
        for times in (2, 3):
            await running.restart(kill=True)
            await notes.comes("connected", times)
        assert sdk._runner.machine.session_id == session
        assert "reopened" not in notes.names()
        await sdk.session.close()


async def test_not_every_client_comes_back_in_the_same_second() -> None:
    async with FakeService() as service:
        sdks = [new_sdk(service)[0] for _ in range(20)]
        for sdk in sdks:
            await sdk.session.open()
        for link in service.live_links():
            await link.notify("session.moveOn", {"after": 60, "jitter": 200, "reason": "draining"})
        timers = [sdk._runner.machine._attempts.redial for sdk in sdks]
        await until(lambda: all(timer.due for timer in timers))
        dues = [timer.due for timer in timers if timer.due is not None]
        assert max(dues) - min(dues) > 50, "20 numbers out of 200: all within a quarter once in a thousand million runs"
        for sdk in sdks:
            await sdk.session.get_participant()
            await sdk.aclose()


async def test_profile_updates_without_the_grant_say_so() -> None:
    async with running_service() as running:
        tenant = await running.new_application()
        sdk = Greenroom(running.url)
        sdk.initialize_token(tenant.token("ada", scopes=("notifications:set",)))
        await sdk.session.open()
        with pytest.raises(ScopeMissingError, match="session:update") as caught:
            await sdk.session.update_participant_info(name="x")
        assert caught.value.scope == "session:update"
        await sdk.session.close()


async def test_awaiting_an_sdk_call_inside_a_callback_does_not_deadlock() -> None:
    done = asyncio.Event()

    class Delegate(SessionDelegate):
        async def participants_changed(self, participants: list[Participant]) -> None:
            await sdk.participants.get([one.id for one in participants])
            await sdk.session.get_participant()
            await sdk.session.close()
            done.set()

    async with running_service() as running:
        tenant = await running.new_application()
        sdk, _ = real_sdk(tenant)
        sdk.session.delegate = Delegate()
        await sdk.session.open()
        await sdk.participants.watch(external_ids=["bob"])
        other, _ = real_sdk(tenant, "bob")
        await other.session.open()
        await asyncio.wait_for(done.wait(), PATIENCE)
        assert not sdk.session.is_open()
        await other.session.close()


@pytest.mark.slow
async def test_the_service_sends_heartbeats_and_nobody_vanishes() -> None:
    clocks = ForwardClocks()
    async with running_service(clocks) as running:
        tenant = await running.new_application()
        sdk, notes = real_sdk(tenant)
        await sdk.session.open()
        for _ in range(5):  # for longer than a minute
            await pinged(running, clocks)
        assert notes.names() == ["connecting", "connected"]
        await sdk.session.close()


@pytest.mark.slow
async def test_hundreds_of_calls_at_once_are_not_cut_off_for_their_rate() -> None:
    async with running_service() as running:
        tenant = await running.new_application()
        sdk, notes = real_sdk(tenant)
        await sdk.session.open()
        names = [f"w{number}" for number in range(1500)]
        lookups = [sdk.participants.get(external_ids=[name]) for name in names]
        watches = [sdk.participants.watch(external_ids=[name]) for name in names[:300]]
        updates = [sdk.session.update_participant_info(f"Ada {number}") for number in range(100)]
        found, watched, updated = await asyncio.gather(
            asyncio.gather(*lookups), asyncio.gather(*watches), asyncio.gather(*updates)
        )
        assert [one.info.external_id for (one,) in found] == names
        assert [len(watch.participants) for watch in watched] == [1] * 300
        assert len({one.info.name for one in updated}) == 100
        assert notes.names().count("connected") == 1
        assert "reconnecting" not in notes.names()
        await sdk.session.close()


async def test_a_service_that_sends_its_time_and_limits() -> None:
    async with running_service() as running:
        tenant = await running.new_application()
        sdk, _ = real_sdk(tenant)
        await sdk.session.open()
        lifecycle = sdk._runner.machine._lifecycle
        assert lifecycle.clock.is_known
        assert abs(lifecycle.clock.time - time.time()) < 5
        assert lifecycle.requests.max_ids == 256
        await sdk.session.close()
