"""Callbacks have their own queue."""

from __future__ import annotations

import asyncio
import logging

import pytest

from greenroom import Greenroom, SessionDelegate, SessionState
from greenroom.testing.fake_service import FakeService, make_token
from tests.support.patience import PATIENCE
from tests.support.sdk import new_sdk


async def test_sdk_calls_may_be_awaited_inside_a_callback() -> None:
    done = asyncio.Event()

    class Delegate(SessionDelegate):
        async def session_updated(self, state: SessionState) -> None:
            if state is SessionState.CONNECTED:
                await sdk.session.update_participant_info(name="from inside")
                await sdk.session.close()
                done.set()

    async with FakeService() as service:
        sdk = Greenroom(service.url)
        sdk.initialize_token(make_token())
        sdk.session.delegate = Delegate()
        await sdk.session.open()
        await asyncio.wait_for(done.wait(), PATIENCE)
        assert not sdk.session.is_open()
        assert service.participants[next(iter(service.participants))].name == "from inside"


async def test_what_a_callback_raises_is_logged_with_the_session(caplog: pytest.LogCaptureFixture) -> None:
    class Delegate(SessionDelegate):
        def session_updated(self, state: SessionState) -> None:
            raise KeyError("mine")

    async with FakeService() as service:
        sdk = Greenroom(service.url)
        sdk.initialize_token(make_token())
        sdk.session.delegate = Delegate()
        with caplog.at_level(logging.ERROR, "greenroom.sdk"):
            await sdk.session.open()
            session = service.only_session.id
            await sdk.session.get_participant()
            await sdk.session.close()
        assert f"session {session}" in caplog.text
        assert "session_updated raised" in caplog.text


async def test_a_slow_callback_holds_up_nobody() -> None:
    release = asyncio.Event()

    class Delegate(SessionDelegate):
        async def session_updated(self, state: SessionState) -> None:
            await release.wait()

    async with FakeService() as service:
        sdk = Greenroom(service.url)
        sdk.initialize_token(make_token())
        sdk.session.delegate = Delegate()
        await sdk.session.open()
        await sdk.session.get_participant()
        release.set()
        await sdk.session.close()


async def test_events_are_delivered_in_order_and_close_waits_for_them() -> None:
    async with FakeService() as service:
        sdk, notes = new_sdk(service)
        await sdk.session.open()
        await sdk.session.update_participant_info(name="x")
        await sdk.session.close()
        assert notes.names() == ["connecting", "connected", "own", "disconnected"]


async def test_an_object_that_has_some_of_the_methods_will_do() -> None:
    class Some:
        def __init__(self) -> None:
            self.states: list[SessionState] = []

        def session_updated(self, state: SessionState) -> None:
            self.states.append(state)

    async with FakeService() as service:
        sdk, some = Greenroom(service.url), Some()
        sdk.initialize_token(make_token())
        sdk.session.delegate = some  # type: ignore[assignment]
        await sdk.session.open()
        await sdk.session.close()
        assert len(some.states) == 3
