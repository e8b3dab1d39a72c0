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
    ProtocolError,
    RevisionConflictError,
    SessionAlreadyOpenError,
    SessionNotOpenError,
    SessionState,
    TokenInvalidError,
)
from greenroom.testing.fake_service import FakeService, make_token
from tests.support.sdk import a_participant_id, state_of


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


async def test_calls_without_a_session_send_nothing() -> None:
    async with FakeService() as service:
        sdk = sdk_for(service)
        for call in (
            sdk.session.get_participant(),
            sdk.session.update_participant_info(name="x"),
            sdk.participants.get([a_participant_id("a")]),
            sdk.participants.watch([a_participant_id("a")]),
            sdk.participants.unwatch([a_participant_id("a")]),
        ):
            with pytest.raises(SessionNotOpenError):
                await call
        assert service.upgrades == 0


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
            await sdk.session.open(timeout=0.05)
        assert state_of(sdk) is SessionState.DISCONNECTED
        await sdk.session.close()
        await service.until(lambda: [link.close_code for link in service.links] == [1000])


async def test_the_timeout_says_what_the_last_attempt_met() -> None:
    async with FakeService() as service:
        service.unavailable = (503, None)
        sdk = sdk_for(service)
        with pytest.raises(OpenTimeoutError, match="answered 503"):
            await sdk.session.open(timeout=0.2)
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


async def test_a_wrong_url_is_said_at_once() -> None:
    async with FakeService() as service:
        sdk = Greenroom(service.url + "/wrong")
        sdk.initialize_token(make_token())
        with pytest.raises(ProtocolError, match="404"):
            await sdk.session.open()
        await sdk.session.close()


async def test_external_id_rules() -> None:
    async with FakeService() as service:
        sdk = sdk_for(service)
        with pytest.raises(ExternalIdMismatchError):
            await sdk.session.open(ParticipantInfo(external_id="bob"))
        assert service.upgrades == 0
        with pytest.warns(DeprecationWarning, match="external_id"):
            await sdk.session.open(ParticipantInfo(external_id="ada"))
        await sdk.session.close()


@pytest.mark.parametrize("url", ["", "localhost:1", "ftp://a", "http://", "http://u@h", "http://h?q", "http://h:x"])
def test_an_url_that_is_none(url: str) -> None:
    with pytest.raises(IllegalArgumentError, match="https://sessions|scheme, host"):
        Greenroom(url)


@pytest.mark.parametrize("token", ["", "a.b", "a.b.c", "a.b.c.d"])
def test_a_token_that_is_none(token: str) -> None:
    with pytest.raises(TokenInvalidError):
        Greenroom("http://h").initialize_token(token)


@pytest.mark.parametrize("token", [5, b"a.b.c"])
def test_a_token_that_is_no_string_is_told_at_once(token: Any) -> None:
    with pytest.raises(TokenInvalidError, match="not a string"):
        Greenroom("http://h").initialize_token(token)


async def test_a_conflict_carries_the_present_record() -> None:
    async with FakeService() as service:
        sdk = sdk_for(service)
        await sdk.session.open()
        await sdk.session.update_participant_info(name="one", if_revision=0)
        with pytest.raises(RevisionConflictError) as caught:
            await sdk.session.update_participant_info(name="two", if_revision=0)
        assert caught.value.participant == sdk.session.participant
        await sdk.session.close()


async def test_key_and_secret_get_tokens_by_themselves() -> None:
    async with FakeService() as service:
        sdk = Greenroom(service.url)
        sdk.initialize(" key", "secret\n")
        participant = await sdk.session.open(ParticipantInfo(name="Ada", external_id="legacy"))
        assert participant.info.external_id == "legacy"
        assert service.tokens_minted == 1
        await sdk.session.close()
        wrong = Greenroom(service.url)
        wrong.initialize("key", "other")
        with pytest.raises(TokenInvalidError, match="[Kk]ey"):
            await wrong.session.open()
        await wrong.session.close()


@pytest.mark.parametrize(("key", "secret"), [("", "s"), ("k", ""), (" ", "s")])
def test_an_empty_key_or_secret(key: str, secret: str) -> None:
    with pytest.raises(IllegalArgumentError, match="empty"):
        Greenroom("http://h").initialize(key, secret)
