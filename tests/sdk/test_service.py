"""Services that need an open session say so before any network."""

from __future__ import annotations

import pytest

from greenroom import SessionBoundService, SessionNotOpenError
from greenroom.testing.fake_service import FakeService
from tests.support.sdk import a_participant_id, new_sdk


async def test_calls_without_a_session_send_nothing() -> None:
    async with FakeService() as service:
        sdk, _ = new_sdk(service)
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


async def test_after_a_kick_the_next_call_says_how_the_session_ended() -> None:
    async with FakeService() as service:
        sdk, notes = new_sdk(service)
        await sdk.session.open()
        await service.end(service.only_session, "kicked", message="Be kind.")
        await notes.comes("ended", 1)
        for call in (sdk.session.get_participant, lambda: sdk.participants.get(external_ids=["bob"])):
            with pytest.raises(SessionNotOpenError, match=r"the last one has ended \(kicked\)\. Be kind\."):
                await call()
        await sdk.session.open()
        await sdk.session.close()
        with pytest.raises(SessionNotOpenError, match=r"No session is open\. Open a session first\."):
            await sdk.session.get_participant()


async def test_a_service_of_ones_own_gets_the_runner_while_a_session_is_open() -> None:
    class Whisper(SessionBoundService):
        def session_id(self) -> str | None:
            return self._open_session().machine.session_id

    async with FakeService() as service:
        sdk, _ = new_sdk(service)
        whisper = Whisper(sdk._runner)
        with pytest.raises(SessionNotOpenError):
            whisper.session_id()
        await sdk.session.open()
        assert [whisper.session_id()] == list(service.sessions)
        await sdk.session.close()
        with pytest.raises(SessionNotOpenError):
            whisper.session_id()
