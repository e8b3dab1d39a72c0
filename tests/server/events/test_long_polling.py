"""Long polls wait for events of their application, and no longer than they should."""

from __future__ import annotations

import asyncio

from greenroom.server.events.long_polling import MAX_WAITING, EventNews
from tests.core.server.rig import APP
from tests.server.shell import running_shell

LONG = 600.0
"""Seconds: longer than any test, and than a poll waits without a hint."""


async def test_a_poll_waits_until_something_happens() -> None:
    async with running_shell() as shell:
        news = EventNews(shell.inner.outbox)
        polls = [asyncio.ensure_future(news.wait(APP, news.mark(APP), LONG)) for _ in range(3)]
        other = asyncio.ensure_future(news.wait("app-2", news.mark("app-2"), LONG))
        await asyncio.sleep(0)
        assert not any(one.done() for one in polls)
        await shell.open()
        async with asyncio.timeout(60.0):
            await asyncio.gather(*polls)
        assert not other.done()
        news.close()
        await other


async def test_what_happened_between_reading_and_waiting_is_not_missed() -> None:
    async with running_shell() as shell:
        news = EventNews(shell.inner.outbox)
        mark = news.mark(APP)
        await shell.open()
        async with asyncio.timeout(60.0):
            while news.mark(APP) == mark:  # noqa: ASYNC110 - the hint comes in a later turn
                await asyncio.sleep(0)
        await news.wait(APP, mark, LONG)


async def test_no_more_than_a_hundred_wait_and_none_once_the_service_stops() -> None:
    async with running_shell() as shell:
        news = EventNews(shell.inner.outbox)
        polls = []
        while news.may_wait(APP):
            polls.append(asyncio.ensure_future(news.wait(APP, news.mark(APP), LONG)))
            await asyncio.sleep(0)
        assert len(polls) == MAX_WAITING
        assert news.may_wait("app-2")
        news.close()
        await asyncio.gather(*polls)
        assert not news.may_wait(APP)
        assert not news.may_wait("app-2")


async def test_a_poll_whose_time_is_over_returns() -> None:
    async with running_shell() as shell:
        news = EventNews(shell.inner.outbox)
        await news.wait(APP, news.mark(APP), 0.0)
        assert news.may_wait(APP)
