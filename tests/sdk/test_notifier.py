"""What the machine reports reaches the delegate and the watches; a slow delegate gets the latest."""

from __future__ import annotations

import asyncio

import pytest

from greenroom import GreenroomError, Participant, SessionDelegate, SessionState
from greenroom.core.client.effects import (
    AppEvent,
    Notify,
    ParticipantsChangedEvent,
    ParticipantUpdatedEvent,
    SessionEndedEvent,
    SessionReopenedEvent,
    StateChanged,
    TokenRefreshFailedEvent,
)
from greenroom.sdk.callbacks import BACKLOG, CallbackQueue
from greenroom.sdk.notifier import Notifier
from greenroom.sdk.watch import Watch
from tests.sdk.test_watch import participant


def _notifier(delegate: SessionDelegate) -> Notifier:
    notifier = Notifier(CallbackQueue())
    notifier.delegate = delegate
    return notifier


class Recorder(SessionDelegate):
    """A delegate that keeps which of its methods were called, and with what."""

    def __init__(self) -> None:
        self.calls: list[tuple[object, ...]] = []

    def session_updated(self, state: SessionState) -> None:
        self.calls.append(("updated", state))

    def session_ended(self, reason: str, message: str, by: object) -> None:
        self.calls.append(("ended", reason, message, by))

    def session_reopened(self, participant: Participant, reason: str, previous_id: str) -> None:
        self.calls.append(("reopened", participant, reason, previous_id))

    def token_refresh_failed(self, error: GreenroomError, is_expired: bool) -> None:
        self.calls.append(("token", error, is_expired))

    def participant_updated(self, participant: Participant) -> None:
        self.calls.append(("participant", participant))

    def participants_changed(self, participants: list[Participant]) -> None:
        self.calls.append(("participants", *participants))


async def test_every_event_calls_its_method_in_order() -> None:
    recorder, ada, error = Recorder(), participant("ada", 1), GreenroomError("x")
    notifier = _notifier(recorder)
    events: list[AppEvent] = [
        SessionReopenedEvent(ada, "lost", "s0"),
        TokenRefreshFailedEvent(error, False),
        ParticipantUpdatedEvent(ada),
        ParticipantsChangedEvent((ada,)),
        SessionEndedEvent("kicked", "Bye.", None),
    ]
    for event in events:
        notifier.report(Notify(event), "s1")
    notifier.report(StateChanged(SessionState.DISCONNECTED), None)
    await notifier.callbacks.drained(5)
    assert recorder.calls == [
        ("reopened", ada, "lost", "s0"),
        ("token", error, False),
        ("participant", ada),
        ("participants", ada),
        ("ended", "kicked", "Bye.", None),
        ("updated", SessionState.DISCONNECTED),
    ]


async def _close(_watch: Watch) -> None: ...


async def test_watches_are_up_to_date_at_once_and_end_with_the_session() -> None:
    notifier = Notifier(CallbackQueue())
    watch = Watch([participant("ada", 1)], None, notifier.callbacks, _close)
    notifier.watches.append(watch)
    notifier.report(Notify(ParticipantsChangedEvent((participant("ada", 2),))), "s1")
    assert watch.participants["ada"].version == 2
    notifier.report(StateChanged(SessionState.RECONNECTING), "s1")
    assert notifier.watches == [watch]
    notifier.report(StateChanged(SessionState.DISCONNECTED), None)
    assert notifier.watches == []
    assert [one.version async for one in watch] == [2]


async def test_a_slow_delegate_gets_the_latest_of_each_participant(caplog: pytest.LogCaptureFixture) -> None:
    gate = asyncio.Event()
    seen: list[list[Participant]] = []

    class Slow(SessionDelegate):
        async def participants_changed(self, participants: list[Participant]) -> None:
            await gate.wait()
            seen.append(participants)

    notifier = _notifier(Slow())
    queue = notifier.callbacks
    for version in range(20_000):
        for name in ("ada", "bob"):
            event = ParticipantsChangedEvent((participant(name, version),))
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
    calls: list[object] = []

    class Delegate(SessionDelegate):
        def session_updated(self, state: SessionState) -> None:
            calls.append(state)

    notifier = _notifier(Delegate())
    queue = notifier.callbacks
    for number in range(BACKLOG * 3):
        queue.put("s1", calls.append, number)
        notifier.report(StateChanged(SessionState.RECONNECTING), "s1")
    notifier.report(StateChanged(SessionState.CONNECTED), "s1")
    await queue.drained(5)
    assert [one for one in calls if isinstance(one, int)] == list(range(BACKLOG * 3))
    assert calls.count(SessionState.RECONNECTING) < BACKLOG
    assert [one for one in calls if isinstance(one, SessionState)][-1] is SessionState.CONNECTED
