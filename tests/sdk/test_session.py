"""SessionService against the fake service, over real sockets."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from greenroom import (
    ExternalIdMismatchError,
    Greenroom,
    IllegalArgumentError,
    NotInitializedError,
    OpenCancelledError,
    OpenTimeoutError,
    ParticipantInfo,
    RevisionConflictError,
    SessionAlreadyOpenError,
    SessionNotOpenError,
    SessionState,
)
from greenroom.testing.fake_service import FakeService, make_token
from tests.support.sdk import a_participant_id, new_sdk, state_of


def sdk_for(service: FakeService, **claims: str) -> Greenroom:
    sdk = Greenroom(service.url)
    sdk.initialize_token(make_token(external_id=claims.get("external_id", "ada"), scope=claims.get("scope", "*")))
    return sdk


async def test_open_update_and_close() -> None:
    async with FakeService() as service:
        sdk = sdk_for(service)
        assert not sdk.session.is_open()
        opened = await sdk.session.open(ParticipantInfo(name="Ada"))
        assert (opened.info.name, opened.info.external_id) == ("Ada", "ada")
        assert sdk.session.is_open()
        assert state_of(sdk) is SessionState.CONNECTED
        updated = await sdk.session.update_participant_info(name="Ada L", avatar_url="https://a/b.png")
        assert (updated.info.name, updated.revision) == ("Ada L", opened.revision + 1)
        assert sdk.session.participant == updated
        assert await sdk.session.get_participant() == updated
        await sdk.session.close()
        assert [one.ended for one in service.sessions.values()] == ["closed"]
        assert service.calls[1][0] == "ping"  # S6: at once after the reply


async def test_attributes_are_merged_and_a_status_is_the_sessions() -> None:
    async with FakeService() as service:
        sdk = sdk_for(service)
        before: str | None = sdk.session.status
        opened = await sdk.session.open(ParticipantInfo(name="Ada", attributes={"role": "nurse", "team": "blue"}))
        assert (opened.attributes, opened.availability) == ({"role": "nurse", "team": "blue"}, "available")
        assert await sdk.session.open(ParticipantInfo(attributes={"team": "blue"})) == opened
        updated = await sdk.session.update_participant_info(attributes={"role": None, "team": "red"})
        assert (updated.attributes, updated.info.name) == ({"team": "red"}, "Ada")
        assert (before, sdk.session.status) == (None, "available")
        away = await sdk.session.set_status("in surgery")
        assert (away.availability, sdk.session.status) == ("in surgery", "in surgery")
        with pytest.raises(IllegalArgumentError, match=r"attributes\.role is not a string"):
            await sdk.session.update_participant_info(attributes={"role": 5})  # type: ignore[dict-item]
        with pytest.raises(IllegalArgumentError, match="status is too long"):
            await sdk.session.set_status("x" * 65)
        await sdk.session.close()
        with pytest.raises(SessionNotOpenError):
            await sdk.session.set_status("away")
        with pytest.raises(IllegalArgumentError, match="name of an attribute is empty"):
            sdk.session.open(ParticipantInfo(attributes={"": "x"}))


async def test_open_again_after_close_needs_no_new_initialisation() -> None:
    async with FakeService() as service:
        sdk = sdk_for(service)
        for _ in range(2):
            await sdk.session.open()
            await sdk.session.close()
        assert len(service.sessions) == 2


async def test_opened_always_closes() -> None:
    async with FakeService() as service:
        sdk = sdk_for(service)
        with pytest.raises(KeyError):  # noqa: PT012 - what the block does is the point
            async with sdk.session.opened(ParticipantInfo(name="Ada")) as participant:
                assert participant.info.name == "Ada"
                raise KeyError
        assert not sdk.session.is_open()
        assert [one.ended for one in service.sessions.values()] == ["closed"]


async def test_not_initialised() -> None:
    sdk = Greenroom("http://127.0.0.1:9")
    with pytest.raises(NotInitializedError):
        await sdk.session.open()


async def test_open_while_open() -> None:
    async with FakeService() as service:
        sdk = sdk_for(service)
        first = await sdk.session.open(ParticipantInfo(name="Ada"))
        assert await sdk.session.open() == first
        assert await sdk.session.open(ParticipantInfo(name="Ada")) == first
        with pytest.raises(SessionAlreadyOpenError, match="update_participant_info.*close"):
            await sdk.session.open(ParticipantInfo(name="Bob"))
        assert sdk.session.is_open()
        assert service.methods() == ["session.open"]
        await sdk.session.close()


async def test_close_during_open() -> None:
    async with FakeService() as service:
        service.hang.add("session.open")
        sdk = sdk_for(service)
        opening = asyncio.create_task(sdk.session.open())
        await service.called("session.open")
        await asyncio.gather(sdk.session.close(), sdk.session.close())
        with pytest.raises(OpenCancelledError):
            await opening
        await service.until(lambda: [link.close_code for link in service.links] == [1000])


async def test_close_twice_and_when_closed() -> None:
    async with FakeService() as service:
        sdk = sdk_for(service)
        await sdk.session.close()
        await sdk.session.open()
        await asyncio.gather(sdk.session.close(), sdk.session.close(), sdk.session.close())
        await sdk.session.close()
        assert service.methods() == ["session.open", "session.close"]


async def test_a_hanging_open_times_out_and_nothing_goes_on_dialling() -> None:
    async with FakeService() as service:
        service.hang.add("session.open")
        sdk = sdk_for(service)
        with pytest.raises(OpenTimeoutError):
            await sdk.session.open(timeout=0.5)
        assert state_of(sdk) is SessionState.DISCONNECTED
        await sdk.session.close()
        await service.until(lambda: [link.close_code for link in service.links] == [1000])


async def test_the_timeout_says_what_the_last_attempt_met() -> None:
    async with FakeService() as service:
        service.unavailable = (503, None)
        sdk = sdk_for(service)
        with pytest.raises(OpenTimeoutError, match="answered 503"):
            await sdk.session.open(timeout=1.0)
        await sdk.session.close()


async def test_cancelling_the_last_caller_cancels_the_open() -> None:
    async with FakeService() as service:
        service.hang.add("session.open")
        sdk = sdk_for(service)
        callers = [asyncio.create_task(sdk.session.open()) for _ in range(2)]
        await service.called("session.open")
        callers[0].cancel()
        await asyncio.sleep(0.01)
        assert state_of(sdk) is SessionState.CONNECTING
        callers[1].cancel()
        await asyncio.wait(callers)
        assert state_of(sdk) is SessionState.DISCONNECTED
        await sdk.session.close()
        assert len(service.live_links()) == 0


async def test_external_id_rules() -> None:
    async with FakeService() as service:
        sdk = sdk_for(service)
        with pytest.raises(ExternalIdMismatchError):
            await sdk.session.open(ParticipantInfo(external_id="bob"))
        assert service.upgrades == 0
        with pytest.warns(DeprecationWarning, match="external_id"):
            await sdk.session.open(ParticipantInfo(external_id="ada"))
        await sdk.session.close()


async def test_a_conflict_carries_the_present_record() -> None:
    async with FakeService() as service:
        sdk = sdk_for(service)
        await sdk.session.open()
        await sdk.session.update_participant_info(name="one", if_revision=0)
        with pytest.raises(RevisionConflictError) as caught:
            await sdk.session.update_participant_info(name="two", if_revision=0)
        assert caught.value.participant == sdk.session.participant
        await sdk.session.close()


async def test_async_with_session_open_closes_at_the_end() -> None:
    async with FakeService() as service:
        sdk, _ = new_sdk(service)
        async with sdk.session.open(ParticipantInfo(name="Ada")) as participant:
            assert participant.info.name == "Ada"
            assert sdk.session.is_open()
        assert not sdk.session.is_open()
        task = asyncio.create_task(sdk.session.open())
        assert (await task).id == participant.id
        await sdk.session.close()


async def test_awaiting_is_open_says_what_is_wrong() -> None:
    async with FakeService() as service:
        sdk, _ = new_sdk(service)
        flag: Any = sdk.session.is_open()
        assert (bool(flag), flag == False, repr(flag)) == (False, True, "False")  # noqa: E712
        with pytest.raises(TypeError, match="leave out await"):
            await flag


async def test_a_name_alone_as_on_the_platform() -> None:
    async with FakeService() as service:
        sdk, _ = new_sdk(service)
        await sdk.session.open()
        assert (await sdk.session.update_participant_info("Anna B.")).info.name == "Anna B."
        await sdk.session.close()


@pytest.mark.parametrize(
    ("info", "meant"),
    [
        ("Anna", "info must be a ParticipantInfo, not a str. Pass ParticipantInfo(name='Anna')."),
        ({"Name": "Anna"}, "info must be a ParticipantInfo, not a dict. Pass ParticipantInfo(name='Anna')."),
        ({"externalId": "a"}, "info must be a ParticipantInfo, not a dict. Pass ParticipantInfo(external_id='a')."),
        (5, 'info must be a ParticipantInfo, not an int. Pass ParticipantInfo(name="Anna").'),
    ],
)
def test_what_was_probably_meant(info: Any, meant: str) -> None:
    with pytest.raises(IllegalArgumentError) as caught:
        Greenroom("http://h").session.open(info)
    assert str(caught.value) == meant


async def test_an_id_that_cannot_be_one_is_refused() -> None:
    async with FakeService() as service:
        sdk, _ = new_sdk(service)
        await sdk.session.open()
        for call in (sdk.participants.watch, sdk.participants.get, sdk.participants.unwatch):
            with pytest.raises(IllegalArgumentError, match=r"'bob' is not a participant's id.*external_ids=\['bob'\]"):
                await call("bob")
        await sdk.session.close()


async def test_1500_lookups_at_once_lose_none() -> None:
    async with FakeService() as service:
        sdk, _ = new_sdk(service)
        await sdk.session.open()
        ids = [a_participant_id(f"w{number}") for number in range(1500)]
        found = await asyncio.gather(*(sdk.participants.get(one) for one in ids))
        assert [one.id for (one,) in found] == ids
        lookups = [params for method, params in service.calls if method == "participants.get"]
        assert len(lookups) < 40
        assert service.upgrades == 1
        await sdk.session.close()
