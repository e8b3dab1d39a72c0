"""Names are looked up beside the loop, a few at a time for each application."""

from __future__ import annotations

import asyncio
import socket
import threading
from typing import Any

import pytest

from greenroom.server.outbound.lookups import Answers, NameLookups


class NameServer:
    """Answers once it is allowed to; counts who asks at a time."""

    def __init__(self) -> None:
        self.may_answer = threading.Event()
        self.asked: list[str] = []

    def __call__(self, host: str, port: int, **_: Any) -> Answers:
        self.asked.append(host)
        assert self.may_answer.wait(60.0)
        if host == "unknown":
            raise socket.gaierror("no such name")
        return [(host, port)]


async def _asked(server: NameServer, count: int) -> None:
    async with asyncio.timeout(60.0):
        while len(server.asked) < count:  # noqa: ASYNC110 - threads ask
            await asyncio.sleep(0.001)


async def test_one_application_has_a_few_at_a_time_and_keeps_nobody_else_waiting() -> None:
    server = NameServer()
    lookups = NameLookups(at_once=2, look_up=server)
    slow = [asyncio.ensure_future(lookups.look_up("slow", f"h{n}", 443, socket.AF_INET)) for n in range(3)]
    await _asked(server, 2)
    other = asyncio.ensure_future(lookups.look_up("other", "elsewhere", 443, socket.AF_INET))
    await _asked(server, 3)
    assert sorted(server.asked) == ["elsewhere", "h0", "h1"], "the third of the same application waits"
    server.may_answer.set()
    assert await other == [("elsewhere", 443)]
    assert await asyncio.gather(*slow) == [[(f"h{n}", 443)] for n in range(3)]


async def test_a_failure_is_raised_and_its_slot_is_free_again() -> None:
    server = NameServer()
    server.may_answer.set()
    lookups = NameLookups(at_once=1, look_up=server)
    for _ in range(2):
        with pytest.raises(OSError, match="no such name"):
            await lookups.look_up("app", "unknown", 443, socket.AF_INET)
    assert await lookups.look_up("app", "known", 443, socket.AF_INET) == [("known", 443)]


async def test_who_is_cancelled_does_not_wait_for_the_thread_but_the_slot_does() -> None:
    server = NameServer()
    lookups = NameLookups(at_once=1, look_up=server)
    given_up = asyncio.ensure_future(lookups.look_up("app", "first", 443, socket.AF_INET))
    await _asked(server, 1)
    given_up.cancel()
    with pytest.raises(asyncio.CancelledError):
        await given_up
    second = asyncio.ensure_future(lookups.look_up("app", "second", 443, socket.AF_INET))
    await asyncio.sleep(0)
    assert server.asked == ["first"]
    server.may_answer.set()
    assert await second == [("second", 443)]
