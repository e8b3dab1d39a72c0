"""Refreshing tokens, through the shell: the schedule itself is in tests/scenarios."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from greenroom import (
    Greenroom,
    SessionAlreadyOpenError,
    SessionState,
    TokenExpiredError,
    TokenInvalidError,
    TokenRefreshError,
)
from greenroom.testing.fake_service import FakeService, make_token
from tests.support.sdk import Notes, state_of


def spent(**claims: Any) -> str:
    return make_token(issued_at=time.time() - 100, life=50, **claims)


async def opened(service: FakeService, refresh: Callable[[bool], Any], token: str) -> tuple[Greenroom, Notes]:
    sdk = Greenroom(service.url)
    sdk.initialize_token(token, refresh)
    notes = Notes()
    sdk.session.delegate = notes
    await sdk.session.open()
    return sdk, notes


async def test_a_spent_token_is_refreshed_before_the_open() -> None:
    asked: list[bool] = []

    async def refresh(is_expired: bool) -> str:
        asked.append(is_expired)
        return make_token(external_id="ada", serial=2)

    async with FakeService() as service:
        sdk, _ = await opened(service, refresh, spent(external_id="ada"))
        assert asked == [True]
        await sdk.session.close()


async def test_a_plain_function_runs_in_a_thread_and_may_block() -> None:
    threads: list[threading.Thread] = []

    def refresh(is_expired: bool) -> str:
        threads.append(threading.current_thread())
        return make_token()

    async with FakeService() as service:
        sdk, _ = await opened(service, refresh, spent())
        assert threads[0] is not threading.main_thread()
        await sdk.session.close()


async def test_a_spent_token_without_refresh() -> None:
    async with FakeService() as service:
        sdk = Greenroom(service.url)
        sdk.initialize_token(spent())
        with pytest.raises(TokenExpiredError):
            await sdk.session.open()
        assert service.upgrades == 1  # the service judges: this device's clock may be wrong


@pytest.mark.parametrize(
    ("answer", "error", "text"),
    [
        (None, TokenRefreshError, "returned None. Is its return statement missing"),
        (b"x", TokenRefreshError, "bytes"),
        ("a.b", TokenInvalidError, "three parts"),
        (make_token(external_id="bob"), TokenInvalidError, "xid"),
        (make_token(app="other", external_id="ada"), TokenInvalidError, "app"),
        (OSError("no network"), TokenRefreshError, "raised OSError"),
    ],
    ids=["None", "bytes", "no token", "someone else", "another application", "raises"],
)
async def test_what_a_callback_gives_is_checked_at_once(answer: Any, error: type[Exception], text: str) -> None:
    def refresh(is_expired: bool) -> Any:
        if isinstance(answer, Exception):
            raise answer
        return answer

    async with FakeService() as service:
        sdk = Greenroom(service.url)
        sdk.initialize_token(spent(external_id="ada"), refresh)
        with pytest.raises(error, match=text) as caught:
            await sdk.session.open()
        assert not isinstance(answer, str) or answer not in str(caught.value)
        assert service.upgrades == 0
        await sdk.session.close()


@pytest.mark.slow
async def test_the_half_of_a_life_brings_a_new_token_on_the_open_connection() -> None:
    asked: list[bool] = []

    async def refresh(is_expired: bool) -> str:
        asked.append(is_expired)
        return make_token(external_id="ada", serial=2)

    async with FakeService() as service:
        half = make_token(external_id="ada", issued_at=time.time() - 1795, life=3600)
        sdk, notes = await opened(service, refresh, half)
        await service.called("session.refreshToken")
        assert asked == [False]
        assert notes.names() == ["connecting", "connected"]
        await service.drop_all()
        await notes.until(lambda: notes.names().count("connected") == 2)
        assert "token" not in dict(service.calls)["session.resume"]
        await sdk.session.close()


@pytest.mark.slow
async def test_failing_at_expiry_ends_the_session() -> None:
    async def refresh(is_expired: bool) -> str:
        raise RuntimeError

    async with FakeService() as service:
        # 3/4 are over: the next refresh is the one at the end.
        sdk, notes = await opened(service, refresh, make_token(issued_at=time.time() - 16, life=20))
        ended = await notes.first("ended")
        assert ended[1] == "token_expired"
        assert notes.names().index("refresh failed") < notes.names().index("ended")
        assert state_of(sdk) is SessionState.DISCONNECTED
        await service.called("session.close")
        await sdk.session.close()


async def test_initialising_again_under_a_session() -> None:
    async with FakeService() as service:
        sdk, _ = await opened(service, lambda is_expired: make_token(), make_token(external_id="ada"))
        with pytest.raises(TokenInvalidError, match="xid"):
            sdk.initialize_token(make_token(external_id="bob"))
        with pytest.raises(SessionAlreadyOpenError):
            sdk.initialize("key", "secret")
        sdk.initialize_token(make_token(external_id="ada", serial=5))
        await service.called("session.refreshToken")
        await sdk.session.close()
        sdk.initialize_token(make_token(external_id="bob"))
        assert (await sdk.session.open()).info.external_id == "bob"
        await sdk.session.close()


async def test_a_refresh_under_way_is_dropped_by_close() -> None:
    started = asyncio.Event()

    async def refresh(is_expired: bool) -> str:
        started.set()
        await asyncio.sleep(3600)
        return ""

    async with FakeService() as service:
        sdk = Greenroom(service.url)
        sdk.initialize_token(spent(), refresh)
        opening = asyncio.create_task(sdk.session.open())
        await started.wait()
        await sdk.session.close()
        await asyncio.wait([opening])
        assert isinstance(opening.exception(), Exception)


async def test_key_and_secret_while_the_service_is_away() -> None:
    async with FakeService() as service:
        sdk = Greenroom(service.url)
        sdk.session.delegate = notes = Notes()
        sdk.initialize("key", "secret")
        await service.stop()
        opening = asyncio.create_task(sdk.session.open())
        await notes.comes("refresh failed", 1)
        await service.start()
        with pytest.raises(TimeoutError):  # the next refresh is 5 s after the first: never sooner
            await asyncio.wait_for(asyncio.shield(opening), 0.2)
        await sdk.aclose()
        await asyncio.wait([opening])
        assert isinstance(opening.exception(), Exception)
