"""Lost connections, refused resumes, restarts: against the fake service, over real sockets."""

from __future__ import annotations

import asyncio
import time

import pytest

from greenroom import ParticipantInfo, SessionState
from greenroom.testing.fake_service import FakeService, make_token
from tests.support.patience import PATIENCE
from tests.support.sdk import new_sdk, state_of


async def test_a_drop_is_resumed_and_the_calls_made_meanwhile_wait() -> None:
    async with FakeService() as service:
        sdk, notes = new_sdk(service)
        await sdk.session.open()
        await service.drop_all()
        await notes.first("reconnecting")
        assert sdk.session.is_open()
        updated = await sdk.session.update_participant_info(name="Ada")
        assert updated.info.name == "Ada"
        assert notes.names()[:4] == ["connecting", "connected", "reconnecting", "connected"]
        assert service.only_session.generation == 2
        await sdk.session.close()


async def test_the_service_restarts() -> None:
    async with FakeService() as service:
        sdk, notes = new_sdk(service)
        await sdk.session.open()
        await service.stop()
        await notes.first("reconnecting")
        await service.start()
        await service.called("session.resume")
        await sdk.session.get_participant()
        assert len(service.sessions) == 1
        await sdk.session.close()


async def test_a_lost_answer_to_resume_locks_nobody_out() -> None:
    async with FakeService() as service:
        service.swallow += ["session.resume", "session.resume"]
        sdk, notes = new_sdk(service)
        await sdk.session.open()
        await service.drop_all()
        await notes.until(lambda: notes.names().count("connected") == 2)
        assert len(service.sessions) == 1
        resumes = [params for method, params in service.calls if method == "session.resume"]
        assert [one["attempt"] for one in resumes] == [1, 2, 3]
        assert len({one["nextSecret"] for one in resumes}) == 1
        await sdk.session.close()


async def test_a_lost_answer_to_open_gives_the_same_session() -> None:
    async with FakeService() as service:
        service.swallow.append("session.open")
        sdk, _ = new_sdk(service)
        await sdk.session.open()
        assert len(service.sessions) == 1
        assert service.methods() == ["session.open", "session.open"]
        await sdk.session.close()


async def test_a_session_that_is_gone_is_reopened_once_and_reported() -> None:
    async with FakeService() as service:
        sdk, notes = new_sdk(service, external_id=None)
        first = await sdk.session.open(ParticipantInfo(name="Ada"))
        watch = await sdk.participants.watch(external_ids=["bob"])
        service.sessions.clear()
        await service.drop_all()
        reopened = await notes.first("reopened")
        assert reopened[1:] == ("state_lost", first.id)
        assert sdk.session.is_open()
        assert service.only_session.participant.name == "Ada"
        assert dict(service.calls)["session.open"]["participant"]["ifNew"] is True
        await service.called("participants.watch", 2)
        assert set(watch.participants) == service.only_session.watching
        service.sessions.clear()
        await service.drop_all()
        assert (await notes.first("ended"))[1] == "state_lost"
        assert not sdk.session.is_open()
        assert [one async for one in watch] == []
        await sdk.session.close()


async def test_half_open_links_are_found_from_this_side() -> None:
    from greenroom.core.client.effects import ClientSettings
    from greenroom.sdk.client import Greenroom

    async with FakeService() as service:
        sdk = Greenroom(service.url, settings=ClientSettings(ping_interval=0.2, pong_timeout=0.6))
        sdk.initialize_token(make_token())
        await sdk.session.open()
        service.links[0].deaf = True
        await service.called("session.resume")
        await service.until(lambda: service.links[0].close_code is not None)
        assert service.links[0].close_code == 4000
        assert len(service.sessions) == 1
        await sdk.session.get_participant()
        await sdk.aclose()


def _stands_still(url: str) -> None:
    """An SDK in a loop of its own, which stands still from the turn in which a ping goes out till its timer is late."""
    from greenroom.core.client.effects import ClientSettings
    from greenroom.sdk.client import Greenroom

    async def life() -> None:
        sdk = Greenroom(url, settings=ClientSettings(ping_interval=0.2, pong_timeout=2.0))
        sdk.initialize_token(make_token())
        await sdk.session.open()
        link = sdk._runner.machine._attempts.live()
        assert link is not None
        async with asyncio.timeout(PATIENCE):
            while link.pong_deadline is None:  # noqa: ASYNC110 - no turn may pass after it
                await asyncio.sleep(0)
        time.sleep(3.5)  # noqa: ASYNC251 - the answer waits to be read
        await asyncio.sleep(0.2)
        await sdk.session.get_participant()
        await sdk.aclose()

    asyncio.run(life())


@pytest.mark.slow
async def test_a_process_that_stood_still_does_not_give_its_connection_up() -> None:
    async with FakeService() as service:
        await asyncio.to_thread(_stands_still, service.url)
        assert "session.resume" not in service.methods()
        assert [link.close_code for link in service.links if link.close_code == 4000] == []
        assert len(service.sessions) == 1


async def test_make_before_break() -> None:
    async with FakeService() as service:
        sdk, notes = new_sdk(service)
        await sdk.session.open()
        old = service.links[0]
        await old.notify("session.moveOn", {"after": 0, "jitter": 0, "reason": "draining"})
        await service.called("session.resume")
        await service.until(lambda: old.close_code is not None)
        await sdk.session.get_participant()
        assert notes.names() == ["connecting", "connected"]
        await sdk.session.close()


async def test_a_close_frame_says_when_to_come_back() -> None:
    async with FakeService() as service:
        sdk, notes = new_sdk(service)
        await sdk.session.open()
        before = time.monotonic()
        await service.links[0].drop(4001, '{"after":0.4,"jitter":0.1}')
        await notes.comes("connected", 2)
        assert time.monotonic() - before >= 0.4  # without it: 0.2 s at most
        await sdk.session.close()


async def test_fenced_and_stay() -> None:
    async with FakeService() as service:
        sdk, notes = new_sdk(service)
        await sdk.session.open()
        await service.links[0].notify("session.moveOn", {"after": 60, "jitter": 0})
        await notes.first("reconnecting")
        assert sdk.session.is_open()
        await service.links[0].notify("session.stay", {})
        await notes.until(lambda: notes.names().count("connected") == 2)
        assert service.upgrades == 1
        await sdk.session.close()


@pytest.mark.parametrize("code", [4500, 4501, 4502, 4503, 4504, 4505, 4506, 4507])
async def test_final_close_codes(code: int) -> None:
    async with FakeService() as service:
        sdk, notes = new_sdk(service)
        await sdk.session.open()
        await service.drop_all(code)
        await notes.first("ended")
        assert state_of(sdk) is SessionState.DISCONNECTED
        await asyncio.sleep(0.05)
        assert service.upgrades == 1
        await sdk.session.close()


async def test_closed_while_reconnecting_the_service_is_notified_in_the_background() -> None:
    async with FakeService() as service:
        sdk, notes = new_sdk(service)
        await sdk.session.open()
        service.unavailable = (503, None)
        await service.drop_all()
        await notes.first("reconnecting")
        await sdk.session.close()
        assert sdk.session.participant is None
        service.unavailable = None
        await service.called("session.close")
        await sdk.aclose()
        assert [one.ended for one in service.sessions.values()] == ["closed"]


async def test_aclose_leaves_nothing_behind_without_network() -> None:
    async with FakeService() as service:
        sdk, notes = new_sdk(service)
        await sdk.session.open()
        await service.stop()
        await notes.first("reconnecting")
        await sdk.aclose()  # the runner of tests fails for tasks left over
        assert sdk.session.state is SessionState.DISCONNECTED
