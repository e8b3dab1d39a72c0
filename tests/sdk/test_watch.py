"""A watch without a service; test_participants has it with one."""

from __future__ import annotations

import asyncio

from greenroom import Participant, ParticipantInfo, Presence
from greenroom.sdk.callbacks import CallbackQueue
from greenroom.sdk.watch import OnChange, Watch


def participant(name: str, version: int) -> Participant:
    return Participant(
        id=name,
        info=ParticipantInfo(name=name),
        revision=0,
        version=version,
        presence=Presence.ONLINE,
        sessions=1,
        last_seen=None,
    )


async def _close(_watch: Watch) -> None: ...


def _watch(queue: CallbackQueue, on_change: OnChange | None = None) -> Watch:
    return Watch([participant("ada", 1), participant("bob", 1)], on_change, queue, _close)


async def test_who_reads_slowly_gets_the_latest_of_each_in_the_order_of_change() -> None:
    watch = _watch(CallbackQueue())
    for name, version in (("ada", 2), ("bob", 2), ("ada", 3), ("someone else", 9)):
        watch.update(participant(name, version), "s1")
    watch.finish()
    assert [(one.id, one.version) async for one in watch] == [("bob", 2), ("ada", 3)]
    assert {one.id: one.version for one in watch.participants.values()} == {"ada": 3, "bob": 2}


async def test_the_iteration_waits_for_a_change_and_ends_with_the_watch() -> None:
    watch = _watch(CallbackQueue())
    reading = asyncio.ensure_future(anext(watch))
    await asyncio.sleep(0)
    assert not reading.done()
    watch.update(participant("ada", 2), "s1")
    assert (await reading).version == 2
    last = asyncio.ensure_future(anext(watch, None))
    await asyncio.sleep(0)
    watch.finish()
    assert await last is None
    watch.update(participant("ada", 3), "s1")
    assert watch.participants["ada"].version == 2, "after its end nothing changes"


async def test_what_is_not_watched_any_more_is_forgotten() -> None:
    watch = _watch(CallbackQueue())
    watch.update(participant("ada", 2), "s1")
    watch.remove(["ada"])
    watch.update(participant("ada", 3), "s1")
    watch.finish()
    assert [one async for one in watch] == []
    assert list(watch.participants) == ["bob"]


async def test_the_callback_of_each_watch_is_called() -> None:
    queue = CallbackQueue()
    seen: list[tuple[str, int]] = []
    for number in range(2):
        watch = _watch(queue, lambda one, number=number: seen.append((one.id, number)))  # type: ignore[misc]
        watch.update(participant("bob", 2), "s1")
    await queue.drained(5)
    assert seen == [("bob", 0), ("bob", 1)]
