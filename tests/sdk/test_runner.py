"""The shell in event loops that end, in forks, and before a service that does not answer."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Callable

import pytest

from greenroom import Greenroom, IllegalArgumentError, SessionNotOpenError, SessionState
from greenroom.testing.fake_service import FakeService, make_token
from tests.support.sdk import Notes, new_sdk


async def _in_thread(function: Callable[[], object]) -> None:
    await asyncio.to_thread(function)


async def test_several_asyncio_run_the_service_comes_back_meanwhile() -> None:
    async with FakeService() as service:
        url = service.url
        sdk = Greenroom(url)
        sdk.initialize_token(make_token())

        async def fails() -> None:
            with pytest.raises(Exception, match="cannot be reached"):
                await sdk.session.open(timeout=1.0)

        async def works() -> None:
            await sdk.session.open()
            await sdk.session.get_participant()
            await sdk.session.close()

        await service.stop()
        await _in_thread(lambda: asyncio.run(fails()))
        await service.start()
        await _in_thread(lambda: asyncio.run(works()))
        await _in_thread(lambda: asyncio.run(works()))


async def test_a_session_left_open_in_a_loop_that_has_ended() -> None:
    async with FakeService() as service:
        sdk = Greenroom(service.url)
        sdk.initialize_token(make_token())
        sdk.session.delegate = notes = Notes()

        async def leave() -> None:
            await sdk.session.open()

        await _in_thread(lambda: asyncio.run(leave()))
        assert sdk.session.state is SessionState.DISCONNECTED
        assert not sdk.session.is_open()
        with pytest.raises(SessionNotOpenError, match="event loop in which it was opened has ended"):
            await sdk.session.get_participant()
        await sdk.session.open()
        assert len(service.sessions) == 1, "the same session, resumed"
        await sdk.session.get_participant()
        await sdk.session.close()
        assert "ended" in notes.names()


async def test_a_session_in_another_loop_is_refused() -> None:
    async with FakeService() as service:
        sdk, _ = new_sdk(service)
        await sdk.session.open()

        async def other() -> None:
            with pytest.raises(IllegalArgumentError, match="another event loop"):
                await sdk.session.get_participant()

        await _in_thread(lambda: asyncio.run(other()))
        await sdk.session.get_participant()
        await sdk.session.close()


async def test_an_open_session_is_not_used_in_a_fork(monkeypatch: pytest.MonkeyPatch) -> None:
    async with FakeService() as service:
        sdk, _ = new_sdk(service)
        await sdk.session.open()
        child = os.getpid() + 1
        with monkeypatch.context() as patch:
            patch.setattr("os.getpid", lambda: child)
            with pytest.raises(IllegalArgumentError, match="Make a new Greenroom object in each process"):
                await sdk.session.get_participant()
        await sdk.session.close()


async def test_a_wrong_port_is_said_at_once(caplog: pytest.LogCaptureFixture) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        port = nobody.getsockname()[1]
        sdk = Greenroom(f"http://127.0.0.1:{port}")
        sdk.initialize_token(make_token())
        with caplog.at_level(logging.WARNING, "greenroom.sdk"), pytest.raises(Exception, match="cannot be reached"):
            await sdk.session.open(timeout=1.0)
    warnings = [one.getMessage() for one in caplog.records]
    assert len(warnings) == 1, "the first failure alone"
    assert f"127.0.0.1:{port} cannot be reached" in warnings[0]
