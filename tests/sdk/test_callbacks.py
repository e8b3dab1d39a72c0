"""A slow callback does not let the queue grow for ever."""

from __future__ import annotations

import asyncio

import pytest

from greenroom import Participant, ParticipantInfo, Presence, SessionDelegate, SessionState
from greenroom.core.client.effects import Notify, ParticipantsChangedEvent, StateChanged
from greenroom.sdk.callbacks import BACKLOG, CallbackQueue
from greenroom.sdk.notifier import Notifier


def _participant(name: str, version: int) -> Participant:
    return Participant(
        id=name,
        info=ParticipantInfo(name=name),
        revision=0,
        version=version,
        presence=Presence.ONLINE,
        sessions=1,
        last_seen=None,
    )


async def test_a_slow_delegate_gets_the_latest_of_each_participant(caplog: pytest.LogCaptureFixture) -> None:
    gate = asyncio.Event()
    seen: list[list[Participant]] = []

    class Slow(SessionDelegate):
        async def participants_changed(self, participants: list[Participant]) -> None:
            await gate.wait()
            seen.append(participants)

    queue = CallbackQueue()
    notifier = Notifier(queue)
    notifier.delegate = Slow()
    for version in range(20_000):
        for name in ("ada", "bob"):
            event = ParticipantsChangedEvent((_participant(name, version),))
            notifier.report(Notify(event), "s1")
        if version % 1000 == 0:
            await asyncio.sleep(0)
    assert len(queue) <= BACKLOG
    gate.set()
    await queue.drained(5)
    latest = {one.id: one.version for call in seen for one in call}
    assert latest == {"ada": 19_999, "bob": 19_999}
    assert sum("outdated ones are merged" in one.message for one in caplog.records) == 1


async def test_what_is_not_outdated_by_a_later_call_is_kept() -> None:
    heard: list[object] = []

    class Delegate(SessionDelegate):
        def session_updated(self, state: SessionState) -> None:
            heard.append(state)

    queue = CallbackQueue()
    notifier = Notifier(queue)
    notifier.delegate = Delegate()
    for number in range(BACKLOG * 3):
        queue.put("s1", heard.append, number)
        notifier.report(StateChanged(SessionState.RECONNECTING), "s1")
    notifier.report(StateChanged(SessionState.CONNECTED), "s1")
    await queue.drained(5)
    assert [one for one in heard if isinstance(one, int)] == list(range(BACKLOG * 3))
    assert heard.count(SessionState.RECONNECTING) < BACKLOG
    assert [one for one in heard if isinstance(one, SessionState)][-1] is SessionState.CONNECTED


async def test_a_call_that_has_run_is_not_merged_into() -> None:
    heard: list[int] = []
    queue = CallbackQueue()
    for number in range(3):
        queue.put(None, heard.append, number, key="k")
        await queue.drained(1)
    assert heard == [0, 1, 2]
