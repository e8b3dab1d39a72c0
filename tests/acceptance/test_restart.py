"""A restart of the service under 200 live SDKs, in `make soak` under 500, with watchers: no session ends, and nobody is
seen offline (promise 8).

The SDKs are real and speak over real sockets; the service is a process of its own, stopped once with SIGTERM (it drains
alone, S10) and once with SIGKILL, on the default timers.
"""

from __future__ import annotations

import asyncio
import signal
from collections import Counter
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from greenroom import Greenroom, Participant, Presence, SessionDelegate, SessionState
from greenroom.bench.minting import mint
from tests.acceptance.process import ServiceProcess, service
from tests.support.patience import until

WATCHERS = 20
"""Of them, each of which watches all others; the rest watch their five neighbours."""
AWAY = 1.5
"""Seconds that the service is gone beside its own start."""
AT_ONCE = 32


class Device(SessionDelegate):
    """One SDK, and what it received."""

    def __init__(self, url: str, token: str) -> None:
        self.sdk = Greenroom(url)
        self.sdk.initialize_token(token)
        self.sdk.session.delegate = self
        self.seen: Counter[str] = Counter()
        self.last: dict[str, Participant] = {}
        self.over: list[tuple[Any, ...]] = []
        self.states: list[SessionState] = []

    @property
    def session(self) -> str | None:
        """The id of its session."""
        return self.sdk._runner.machine.session_id

    async def begin(self, watched: list[str]) -> None:
        await self.sdk.session.open(timeout=60.0)
        watch = await self.sdk.participants.watch(external_ids=watched)
        # A change may have been published before the answer was taken.
        for one in watch.participants.values():
            if one.id not in self.last or self.last[one.id].version < one.version:
                self.last[one.id] = one

    def session_updated(self, state: SessionState) -> None:
        self.states.append(state)

    def session_ended(self, reason: str, message: str, by: object) -> None:
        self.over.append(("ended", reason, message))

    def session_reopened(self, participant: Participant, reason: str, previous_id: str) -> None:
        self.over.append(("reopened", reason))

    def participants_changed(self, participants: list[Participant]) -> None:
        for one in participants:
            before = self.last.get(one.id)
            if before is None or one.presence is not before.presence:
                self.seen[one.presence.value] += 1
            self.last[one.id] = one


async def _in_turn(work: list[Any]) -> None:
    """Await them all, some at a time."""
    queue = iter(work)

    async def some() -> None:
        for one in queue:
            await one

    async with asyncio.TaskGroup() as group:
        for _ in range(AT_ONCE):
            group.create_task(some())


async def _types_of_events(running: ServiceProcess) -> list[str]:
    """The types of all events of the application."""
    basic = aiohttp.encode_basic_auth(running.key, running.secret)
    async with aiohttp.ClientSession(running.url) as http:
        form = {"grant_type": "client_credentials"}
        async with http.post("/v1/auth/token", data=form, headers={"Authorization": basic}) as reply:
            bearer = {"Authorization": f"Bearer {(await reply.json())['access_token']}"}
        types: list[str] = []
        cursor: str | None = None
        while True:
            query = {"limit": "500"} | ({} if cursor is None else {"after": cursor})
            async with http.get("/v1/events", params=query, headers=bearer) as reply:
                page = await reply.json()
            types += [one["type"] for one in page["items"]]
            if not page["items"] or page["cursor"] == cursor:
                return types
            cursor = page["cursor"]


def _judge(devices: list[Device], sessions: list[str | None], how: str) -> None:
    assert [device.over for device in devices if device.over] == [], how
    assert [device.session for device in devices] == sessions, f"{how}: someone has another session"
    seen = sum((device.seen for device in devices), Counter())
    assert seen["offline"] == 0, f"{how}: watchers saw {seen}"


@pytest.mark.slow
@pytest.mark.waiting
@pytest.mark.parametrize("sdks", [200, pytest.param(500, marks=pytest.mark.soak)])
async def test_promise_8_a_restart_under_sdks_ends_no_session_and_shows_nobody_offline(
    tmp_path: Path, sdks: int
) -> None:
    names = [f"user {number}" for number in range(sdks)]
    async with service(tmp_path) as running, AsyncExitStack() as stack:
        tokens = await mint(running.url, running.key, running.secret, names)
        devices = [Device(running.url, token) for token in tokens]
        for device in devices:
            await stack.enter_async_context(device.sdk)
        neighbours = [names if i < WATCHERS else [names[(i + k) % sdks] for k in range(1, 6)] for i in range(sdks)]
        await _in_turn([device.begin(watched) for device, watched in zip(devices, neighbours, strict=True)])
        sessions = [device.session for device in devices]
        for how in (signal.SIGTERM, signal.SIGKILL):
            await _restart(running, how, devices)
            _judge(devices, sessions, how.name)
            assert "session.ended" not in await _types_of_events(running)
        await _in_turn([device.sdk.session.close() for device in devices])
        assert [device.over for device in devices if device.over] == []
        assert "Traceback" not in running.log, running.log


async def _restart(running: ServiceProcess, how: signal.Signals, devices: list[Device]) -> None:
    """Stop and start; all are connected again in time, and are seen so by all who watch."""
    for device in devices:
        device.states.clear()
    await running.stop(how)
    await asyncio.sleep(AWAY)
    await running.start()
    await until(lambda: all(device.states[-1:] == [SessionState.CONNECTED] for device in devices))
    await until(lambda: all(one.presence is Presence.ONLINE for device in devices for one in device.last.values()))
