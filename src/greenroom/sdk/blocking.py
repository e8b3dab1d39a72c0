"""The SDK for programs without an event loop: a background thread with a loop does the work.

Calls with ``completion=`` are carried out one after the other, in the order in which they were made. Their completions
are called from one thread, in the same order. Calls that block are not queued behind them.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import logging
import os
import queue
import ssl
import threading
import time
import weakref
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self, TypeVar, overload

from greenroom.core.client.effects import ClientSettings
from greenroom.core.states import SessionState
from greenroom.errors import GreenroomError, ServiceUnavailableError
from greenroom.messages import Device
from greenroom.model import Invitation, Member, Participant, ParticipantInfo
from greenroom.sdk.client import Greenroom
from greenroom.sdk.delegate import SessionDelegate
from greenroom.sdk.room import Room, RoomChange, Unsubscribe
from greenroom.sdk.runner import Refresh

log = logging.getLogger("greenroom.sdk")

Completion = Callable[[BaseException | None], None]
"""``completion(error)``: None on success."""

Result = TypeVar("Result")

_MARGIN = 1.0
"""Seconds after a call's own timeout at which the caller's thread no longer waits for the loop's."""
_CHECK = 0.5
"""Seconds between two looks whether the loop's thread lives."""

_SILENCE = 10.0
"""Seconds without an answer of the loop's thread after which nobody waits for it any more."""

_Queue = queue.SimpleQueue[tuple[Callable[[], Coroutine[Any, Any, Any]], Completion] | None]


def _start_thread(target: Callable[[], object], name: str) -> threading.Thread:
    thread = threading.Thread(target=target, name=name, daemon=True)
    thread.start()
    return thread


class _LoopThread:
    """A thread with a loop, and how to wait for what runs in it."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._asked_at: float | None = None
        self.thread = _start_thread(self._run_forever, "greenroom loop")

    def _run_forever(self) -> None:
        try:
            other = asyncio.get_running_loop()
        except RuntimeError:
            self.loop.run_forever()
        else:
            # Threads that gevent or eventlet has patched are one thread, in which one loop alone can run. Whoever
            # calls or waits notices that this one has ended.
            log.debug("the loop of greenroom.blocking cannot run beside %s", other)

    def run(self, work: Callable[[], Coroutine[Any, Any, Result]], until: float | None = None) -> Result:
        """Run to the end in the loop, and wait for it. until: monotonic seconds at which nobody waits any more.

        Raises ServiceUnavailableError where the thread has ended or does not answer.
        """
        if not self.thread.is_alive():
            raise _no_answer()
        coroutine = work()
        future = asyncio.run_coroutine_threadsafe(coroutine, self.loop)
        try:
            return self._wait(future, until)
        except BaseException:
            future.cancel()
            if not self.thread.is_alive():
                coroutine.close()
            raise

    def _wait(self, future: concurrent.futures.Future[Result], until: float | None) -> Result:
        while True:
            try:
                return future.result(_CHECK)
            except concurrent.futures.TimeoutError:
                if future.done():
                    raise  # the work's own
            is_late = until is not None and time.monotonic() > until
            if is_late or not self._answers():
                raise _no_answer()

    def _answers(self) -> bool:
        """Whether the thread lives and runs callbacks; asked again and again by whoever waits."""
        if not self.thread.is_alive():
            return False
        if self._asked_at is None:
            self._asked_at = time.monotonic()
            self.loop.call_soon_threadsafe(self._answered)
            return True
        return time.monotonic() < self._asked_at + _SILENCE

    def _answered(self) -> None:
        self._asked_at = None

    def stop(self, last: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """End the thread after `last` is done. One that does not answer is left alone."""
        try:
            self.run(last)
            self.run(self.loop.shutdown_default_executor)
            self.loop.call_soon_threadsafe(self.loop.stop)
        except ServiceUnavailableError as error:
            log.debug("the loop of greenroom.blocking is given up: %s", error)
        self.thread.join(_SILENCE)
        if not self.loop.is_running():
            self.loop.close()


def _no_answer() -> ServiceUnavailableError:
    return ServiceUnavailableError(
        "The background thread of greenroom.blocking does not answer.",
        hint="Under gevent use one object, or patch neither threads nor select; after a fork make a new one.",
    )


class _Worker:
    """The thread with the loop, and the thread that calls completions. Both start at the first call."""

    def __init__(self) -> None:
        self._forget_threads()
        _workers.add(self)

    def _forget_threads(self) -> None:
        self._lock = threading.Lock()
        self._runner: _LoopThread | None = None
        self._completer: threading.Thread | None = None
        self._queued: _Queue | None = None

    def forked(self) -> None:
        """This process is a fork: the threads stayed in the other one. Its loop is neither used nor closed here, which
        would change the other process's, with which it shares the selector."""
        _left_behind.append((self._runner, self._queued))
        self._forget_threads()

    def _start(self) -> _LoopThread:
        with self._lock:
            if self._runner is None:
                # First in the loop the import would cost a call its time.
                from greenroom.sdk import aiohttp_client  # noqa: F401

                self._runner = _LoopThread()
            return self._runner

    def run(self, work: Callable[[], Coroutine[Any, Any, Result]], timeout: float | None = None) -> Result:
        """Run to the end in the loop, and wait for it. Interrupted (Ctrl-C), the work is cancelled.

        timeout: seconds that the work takes by itself at most; None where that is not known.
        """
        runner = self._start()
        if threading.current_thread() is runner.thread:
            raise RuntimeError("A blocking call from a delegate's method would wait for itself: pass completion=.")
        return runner.run(work, None if timeout is None else time.monotonic() + timeout + _MARGIN)

    def call(self, function: Callable[[], Result]) -> Result:
        """Run a plain function in the loop's thread, which alone may touch the machine."""

        async def work() -> Result:
            return function()

        return self.run(work, 0.0)

    def later(self, work: Callable[[], Coroutine[Any, Any, Any]], completion: Completion) -> None:
        """Queue work; its completion is called when it is done and all earlier ones were called."""
        with self._lock:
            if self._queued is None:
                self._queued = queue.SimpleQueue()
                queued = self._queued
                self._completer = _start_thread(lambda: self._complete(queued), "greenroom completions")
            self._queued.put((work, completion))

    def _complete(self, queued: _Queue) -> None:
        while (item := queued.get()) is not None:
            work, completion = item
            error: BaseException | None = None
            try:
                self.run(work)
            except (Exception, concurrent.futures.CancelledError) as raised:
                error = raised
            try:
                completion(error)
            except Exception:
                log.exception("the completion %r raised", completion)

    def stop(self, last: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """End both threads: after what is queued, and then `last`, is done. A later call starts them again.

        From one of the threads themselves, as from a delegate's method or a completion, this returns at once.
        """
        with self._lock:
            own = (self._runner and self._runner.thread, self._completer)
        if threading.current_thread() in own:
            _start_thread(lambda: self._stop(last), "greenroom shut down")
        else:
            self._stop(last)

    def _stop(self, last: Callable[[], Coroutine[Any, Any, None]]) -> None:
        with self._lock:
            queued, self._queued = self._queued, None
            completer, self._completer = self._completer, None
        if queued is not None and completer is not None:
            queued.put(None)
            completer.join()
        with self._lock:
            runner, self._runner = self._runner, None
        if runner is not None:
            runner.stop(last)


_workers: weakref.WeakSet[_Worker] = weakref.WeakSet()
_left_behind: list[object] = []
"""What belongs to the process from which this one was forked: kept, so that nobody closes it here."""


def _after_fork() -> None:
    for worker in list(_workers):
        worker.forked()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


class BlockingSessionService:
    """As `greenroom.SessionService`, blocking."""

    def __init__(self, worker: _Worker, sdk: Greenroom) -> None:
        self._worker = worker
        self._session = sdk.session

    @property
    def delegate(self) -> SessionDelegate | None:
        """Is notified of what happens, in the background thread with the loop. From there use ``completion=``."""
        return self._session.delegate

    @delegate.setter
    def delegate(self, delegate: SessionDelegate | None) -> None:
        self._session.delegate = delegate

    @property
    def device(self) -> Device | None:
        """This installation of the app, where `open` is given none."""
        return self._session.device

    @device.setter
    def device(self, device: Device | None) -> None:
        self._session.device = device

    @property
    def state(self) -> SessionState:
        """``disconnected``, ``connecting``, ``connected`` or ``reconnecting``."""
        return self._session.state

    @property
    def participant(self) -> Participant | None:
        """The session's participant as last known; None without an open session."""
        return self._session.participant

    @property
    def scopes(self) -> tuple[str, ...]:
        """The session scopes of the token, as the service said; empty without an open session."""
        return self._session.scopes

    def is_open(self) -> bool:
        """True from a successful `open` until `close` or a final end, also while reconnecting."""
        return self._session.is_open()

    @overload
    def open(
        self, info: ParticipantInfo | None = ..., *, device: Device | None = ..., timeout: float | None = ...
    ) -> Participant: ...
    @overload
    def open(
        self,
        info: ParticipantInfo | None = ...,
        *,
        device: Device | None = ...,
        timeout: float | None = ...,
        completion: Completion,
    ) -> None: ...
    def open(
        self,
        info: ParticipantInfo | None = None,
        *,
        device: Device | None = None,
        timeout: float | None = 10.0,
        completion: Completion | None = None,
    ) -> Participant | None:
        """Open a session. As `greenroom.SessionService.open`."""
        return self._do(lambda: self._session.open(info, device=device, timeout=timeout), completion, timeout)

    @overload
    def close(self) -> None: ...
    @overload
    def close(self, *, completion: Completion) -> None: ...
    def close(self, *, completion: Completion | None = None) -> None:
        """End the session. As `greenroom.SessionService.close`; a `close` that blocks cancels an `open` under way,
        one with a completion waits for its turn."""
        self._do(self._session.close, completion, _CLOSE_TIMEOUT)

    @contextmanager
    def opened(
        self, info: ParticipantInfo | None = None, *, device: Device | None = None, timeout: float | None = 10.0
    ) -> Iterator[Participant]:
        """``with sdk.session.opened(info) as participant:`` opens, and always closes."""
        try:
            yield self.open(info, device=device, timeout=timeout)
        finally:
            self.close()

    def get_participant(self, *, completion: Completion | None = None) -> Participant | None:
        """The session's participant, read from the service; None (at once) with a completion."""
        return self._do(self._session.get_participant, completion)

    @overload
    def update_participant_info(
        self,
        name: str | None = ...,
        avatar_url: str | None = ...,
        *,
        attributes: Mapping[str, str | None] | None = ...,
        if_revision: int | None = ...,
    ) -> Participant: ...
    @overload
    def update_participant_info(
        self,
        name: str | None = ...,
        avatar_url: str | None = ...,
        *,
        attributes: Mapping[str, str | None] | None = ...,
        if_revision: int | None = ...,
        completion: Completion,
    ) -> None: ...
    def update_participant_info(
        self,
        name: str | None = None,
        avatar_url: str | None = None,
        *,
        attributes: Mapping[str, str | None] | None = None,
        if_revision: int | None = None,
        completion: Completion | None = None,
    ) -> Participant | None:
        """Change name, avatar URL and attributes. As `greenroom.SessionService.update_participant_info`."""

        def work() -> Coroutine[Any, Any, Participant]:
            return self._session.update_participant_info(
                name, avatar_url, attributes=attributes, if_revision=if_revision
            )

        return self._do(work, completion)

    @property
    def status(self) -> str | None:
        """What `set_status` set last, ``available`` at first; None without an open session."""
        return self._session.status

    @overload
    def set_status(self, status: str) -> Participant: ...
    @overload
    def set_status(self, status: str, *, completion: Completion) -> None: ...
    def set_status(self, status: str, *, completion: Completion | None = None) -> Participant | None:
        """Set how available this session's user is. As `greenroom.SessionService.set_status`."""
        return self._do(lambda: self._session.set_status(status), completion)

    def _do(
        self,
        work: Callable[[], Coroutine[Any, Any, Result]],
        completion: Completion | None,
        timeout: float | None = None,
    ) -> Result | None:
        if completion is None:
            return self._worker.run(work, timeout)
        self._worker.later(work, completion)
        return None


_CLOSE_TIMEOUT = 10.0
"""Seconds: 2 for the service, and what the app's callbacks may take."""


class BlockingParticipantsService:
    """As `greenroom.ParticipantsService`, blocking. Changes come through the delegate, or `on_change`."""

    def __init__(self, worker: _Worker, sdk: Greenroom) -> None:
        self._worker = worker
        self._participants = sdk.participants

    def get(self, ids: Iterable[str] = (), *, external_ids: Iterable[str] = ()) -> list[Participant]:
        """The present records."""
        return self._worker.run(lambda: self._participants.get(ids, external_ids=external_ids))

    def watch(
        self,
        ids: Iterable[str] = (),
        *,
        external_ids: Iterable[str] = (),
        on_change: Callable[[Participant], None] | None = None,
    ) -> list[Participant]:
        """Watch from now on, until `unwatch` or the end of the session. The present records.

        on_change: called in the background thread with each changed participant; None: only the delegate is notified.
        """

        async def work() -> list[Participant]:
            watch = await self._participants.watch(ids, external_ids=external_ids, on_change=on_change)
            return list(watch.participants.values())

        return self._worker.run(work)

    def unwatch(self, ids: Iterable[str] = (), *, external_ids: Iterable[str] = ()) -> None:
        """Stop watching these."""
        self._worker.run(lambda: self._participants.unwatch(ids, external_ids=external_ids))


class BlockingRoom:
    """As `greenroom.Room`, blocking. Callbacks run in the background thread with the loop: from there use
    ``completion=``. A context manager, which leaves at the end."""

    def __init__(self, worker: _Worker, room: Room) -> None:
        self._worker = worker
        self._room = room

    @property
    def name(self) -> str:
        """The room's name."""
        return self._room.name

    @property
    def id(self) -> str | None:
        """The room's id (platform: ``conferenceId``); None where it is not open."""
        return self._room.id

    @property
    def members(self) -> dict[str, Member]:
        """Who is in it, by participant id. Empty in a counted room."""
        return self._room.members

    @property
    def count(self) -> int:
        """How many members it has, as far as is known."""
        return self._room.count

    @property
    def version(self) -> int:
        """Of the roster: newer is higher."""
        return self._room.version

    @property
    def is_detailed(self) -> bool:
        """False: a counted room, whose `members` are empty."""
        return self._room.is_detailed

    @property
    def is_member(self) -> bool:
        """True from `join` until the room is closed."""
        return self._room.is_member

    @property
    def is_closed(self) -> bool:
        """Whether the room was left or closed."""
        return self._room.is_closed

    @property
    def reason(self) -> str | None:
        """Why it was closed; None while it is open. As `greenroom.Room.reason`."""
        return self._room.reason

    @property
    def error(self) -> GreenroomError | None:
        """The error with which joining or watching it again was refused; None if that was not the reason."""
        return self._room.error

    def changes(self) -> Iterator[RoomChange]:
        """Changes from the first ``next`` on, each waited for; the iteration ends when the room is closed."""
        changes = self._worker.call(self._room.changes)

        async def following() -> RoomChange | None:
            return await anext(changes, None)

        while (change := self._worker.run(following)) is not None:
            yield change

    def on_change(self, callback: Callable[[RoomChange], None]) -> Unsubscribe:
        """As `greenroom.Room.on_change`."""
        return self._subscribed(lambda: self._room.on_change(callback))

    def on_message(self, callback: Callable[[Member | None, Any], None]) -> Unsubscribe:
        """As `greenroom.Room.on_message`."""
        return self._subscribed(lambda: self._room.on_message(callback))

    def on_missed(self, callback: Callable[[int], None]) -> Unsubscribe:
        """As `greenroom.Room.on_missed`."""
        return self._subscribed(lambda: self._room.on_missed(callback))

    def on_closed(self, callback: Callable[[str], None]) -> Unsubscribe:
        """As `greenroom.Room.on_closed`."""
        return self._subscribed(lambda: self._room.on_closed(callback))

    def _subscribed(self, subscribe: Callable[[], Unsubscribe]) -> Unsubscribe:
        return self._worker.call(subscribe)

    def send(self, message: Any, to: Iterable[str] | None = None, *, completion: Completion | None = None) -> None:
        """Send a message to the members. As `greenroom.Room.send`."""
        self._do(lambda: self._room.send(message, to), completion)

    def invite(
        self,
        participants: Iterable[str] = (),
        *,
        external_ids: Iterable[str] = (),
        text: str | None = None,
        completion: Completion | None = None,
    ) -> None:
        """Invite participants. As `greenroom.Room.invite`."""
        self._do(lambda: self._room.invite(participants, external_ids=external_ids, text=text), completion)

    def kick(
        self, participant: str | Member | Participant, seconds: float = 60.0, *, completion: Completion | None = None
    ) -> None:
        """Kick a participant out of the room. As `greenroom.Room.kick`."""
        self._do(lambda: self._room.kick(participant, seconds), completion)

    def all_members(self) -> list[Member]:
        """All members as the service has them: of a counted room, whose `members` are empty."""

        async def work() -> list[Member]:
            return [one async for one in self._room.all_members()]

        return self._worker.run(work)

    def leave(self, *, completion: Completion | None = None) -> None:
        """End the membership, or the watch. Never fails. As `greenroom.Room.leave`."""
        self._do(self._room.leave, completion)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.leave()

    def _do(self, work: Callable[[], Coroutine[Any, Any, None]], completion: Completion | None) -> None:
        if completion is None:
            self._worker.run(work)
        else:
            self._worker.later(work, completion)


class BlockingRoomsService:
    """As `greenroom.RoomsService`, blocking."""

    def __init__(self, worker: _Worker, sdk: Greenroom) -> None:
        self._worker = worker
        self._rooms = sdk.rooms
        self._open: dict[Room, BlockingRoom] = {}

    @property
    def joined(self) -> list[BlockingRoom]:
        """The rooms of which the session is a member. As `greenroom.RoomsService.joined`."""
        return self._worker.call(lambda: [self._blocking(room) for room in self._rooms.joined])

    def join(self, name: str) -> BlockingRoom:
        """Join the room. As `greenroom.RoomsService.join`."""
        return self._entered(lambda: self._rooms.join(name))

    def watch(self, name: str) -> BlockingRoom:
        """Watch the room's roster without joining. As `greenroom.RoomsService.watch`."""
        return self._entered(lambda: self._rooms.watch(name))

    def create(self, name: str, ttl: float | None = None, detailed: bool = True) -> str:
        """Open a room without joining it, and return its id. As `greenroom.RoomsService.create`."""
        return self._worker.run(lambda: self._rooms.create(name, ttl, detailed))

    def find(self, room_id: str) -> str:
        """The name of the room that has this id."""
        return self._worker.run(lambda: self._rooms.find(room_id))

    @property
    def invitations(self) -> list[Invitation]:
        """Those that wait for an answer; `SessionDelegate.room_invited` is called for each new one."""
        return self._worker.call(lambda: self._rooms.invitations)

    def accept(self, invitation: Invitation) -> BlockingRoom:
        """Notify the inviter, and join the room."""
        return self._entered(lambda: self._rooms.accept(invitation))

    def decline(self, invitation: Invitation) -> None:
        """Notify the inviter."""
        self._worker.run(lambda: self._rooms.decline(invitation))

    def _entered(self, enter: Callable[[], Coroutine[Any, Any, Room]]) -> BlockingRoom:
        async def work() -> BlockingRoom:
            return self._blocking(await enter())

        return self._worker.run(work)

    def _blocking(self, room: Room) -> BlockingRoom:
        """The same BlockingRoom for the same Room."""
        self._open = {one: blocking for one, blocking in self._open.items() if not one.is_closed}
        return self._open.setdefault(room, BlockingRoom(self._worker, room))


class BlockingGreenroom:
    """A client of one Greenroom service, for programs without an event loop. Any thread may use it.

    url, ssl_context, resume_from, settings: as `greenroom.Greenroom`. `shut_down`, or leaving ``with``, ends its two
    threads. After a fork the child may use an object that had no session open; else it makes a new one.
    """

    def __init__(
        self,
        url: str,
        *,
        ssl_context: ssl.SSLContext | None = None,
        resume_from: str | os.PathLike[str] | None = None,
        settings: ClientSettings | None = None,
    ) -> None:
        self._worker = _Worker()
        self._sdk = Greenroom(url, ssl_context=ssl_context, resume_from=resume_from, settings=settings)
        self.session = BlockingSessionService(self._worker, self._sdk)
        """The session."""
        self.participants = BlockingParticipantsService(self._worker, self._sdk)
        """Looks participants up, and watches them. Needs an open session."""
        self.rooms = BlockingRoomsService(self._worker, self._sdk)
        """Rooms: rosters, messages, invitations. Needs an open session."""

    def initialize_token(self, token: str | None, refresh: Refresh | None = None) -> None:
        """As `greenroom.Greenroom.initialize_token`."""
        self._worker.call(lambda: self._sdk.initialize_token(token, refresh))

    def initialize(self, app_key: str, app_secret: str) -> None:
        """As `greenroom.Greenroom.initialize`."""
        self._worker.call(lambda: self._sdk.initialize(app_key, app_secret))

    def shut_down(self) -> None:
        """Close, and end the threads. What was queued with a completion is done first. From a delegate's method or a
        completion this returns at once, and the rest is done in the background."""
        self._worker.stop(self._sdk.aclose)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.shut_down()
