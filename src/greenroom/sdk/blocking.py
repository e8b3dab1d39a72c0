"""The SDK for programs without an event loop: a background thread with a loop does the work.

Calls with ``completion=`` are carried out one after the other, in the order in which they were made. Their completions
are called from one thread, in the same order. Calls that block are not queued behind them.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import logging
import queue
import threading
from collections.abc import Callable, Coroutine, Iterable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar, overload

from greenroom.core.states import SessionState
from greenroom.messages import Device
from greenroom.model import Participant, ParticipantInfo
from greenroom.sdk.client import Greenroom
from greenroom.sdk.delegate import SessionDelegate
from greenroom.sdk.runner import Refresh

if TYPE_CHECKING:
    import ssl

    from greenroom.core.client.effects import ClientSettings

log = logging.getLogger("greenroom.sdk")

Completion = Callable[[BaseException | None], None]
"""``completion(error)``: None on success."""

Result = TypeVar("Result")


_Queue = queue.SimpleQueue[tuple[Callable[[], Coroutine[Any, Any, Any]], Completion] | None]


def _spawn(target: Callable[[], object], name: str) -> threading.Thread:
    thread = threading.Thread(target=target, name=name, daemon=True)
    thread.start()
    return thread


class _Worker:
    """The thread with the loop, and the thread that calls completions. Both start at the first call."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._runner: threading.Thread | None = None
        self._completer: threading.Thread | None = None
        self._queued: _Queue | None = None

    def _start(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                self._runner = _spawn(self._loop.run_forever, "greenroom loop")
            return self._loop

    def run(self, work: Callable[[], Coroutine[Any, Any, Result]]) -> Result:
        """Run to the end in the loop, and wait for it. Interrupted (Ctrl-C), the work is cancelled."""
        loop = self._start()
        if threading.current_thread() is self._runner:
            raise RuntimeError("A blocking call from a delegate's method would wait for itself: pass completion=.")
        future = asyncio.run_coroutine_threadsafe(work(), loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def call(self, function: Callable[[], Result]) -> Result:
        """Run a plain function in the loop's thread, which alone may touch the machine."""

        async def work() -> Result:
            return function()

        return self.run(work)

    def later(self, work: Callable[[], Coroutine[Any, Any, Any]], completion: Completion) -> None:
        """Queue work; its completion is called when it is done and all earlier ones were called."""
        with self._lock:
            if self._queued is None:
                self._queued = queue.SimpleQueue()
                queued = self._queued
                self._completer = _spawn(lambda: self._complete(queued), "greenroom completions")
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
        """End both threads: after what is queued, and then `last`, is done. A later call starts them anew."""
        with self._lock:
            queued, self._queued = self._queued, None
            completer, self._completer = self._completer, None
        if queued is not None and completer is not None:
            queued.put(None)
            completer.join()
        with self._lock:
            loop, self._loop = self._loop, None
            runner, self._runner = self._runner, None
        if loop is None or runner is None:
            return
        asyncio.run_coroutine_threadsafe(last(), loop).result()
        asyncio.run_coroutine_threadsafe(loop.shutdown_default_executor(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        runner.join()
        loop.close()


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
        return self._do(lambda: self._session.open(info, device=device, timeout=timeout), completion)

    @overload
    def close(self) -> None: ...
    @overload
    def close(self, *, completion: Completion) -> None: ...
    def close(self, *, completion: Completion | None = None) -> None:
        """End the session. As `greenroom.SessionService.close`; a `close` that blocks cancels an `open` under way,
        one with a completion waits for its turn."""
        self._do(self._session.close, completion)

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
        """The session's participant, asked of the service; None (at once) with a completion."""
        return self._do(self._session.get_participant, completion)

    @overload
    def update_participant_info(
        self, *, name: str | None = ..., avatar_url: str | None = ..., if_revision: int | None = ...
    ) -> Participant: ...
    @overload
    def update_participant_info(
        self,
        *,
        name: str | None = ...,
        avatar_url: str | None = ...,
        if_revision: int | None = ...,
        completion: Completion,
    ) -> None: ...
    def update_participant_info(
        self,
        *,
        name: str | None = None,
        avatar_url: str | None = None,
        if_revision: int | None = None,
        completion: Completion | None = None,
    ) -> Participant | None:
        """Change name and avatar URL. As `greenroom.SessionService.update_participant_info`."""

        def work() -> Coroutine[Any, Any, Participant]:
            return self._session.update_participant_info(name=name, avatar_url=avatar_url, if_revision=if_revision)

        return self._do(work, completion)

    def _do(self, work: Callable[[], Coroutine[Any, Any, Result]], completion: Completion | None) -> Result | None:
        if completion is None:
            return self._worker.run(work)
        self._worker.later(work, completion)
        return None


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


class BlockingGreenroom:
    """A client of one Greenroom service, for programs without an event loop. Any thread may use it.

    url, ssl_context, settings: as `greenroom.Greenroom`. `shut_down`, or leaving ``with``, ends its two threads.
    """

    def __init__(
        self, url: str, *, ssl_context: ssl.SSLContext | None = None, settings: ClientSettings | None = None
    ) -> None:
        self._worker = _Worker()
        self._sdk = Greenroom(url, ssl_context=ssl_context, settings=settings)
        self.session = BlockingSessionService(self._worker, self._sdk)
        """The session."""
        self.participants = BlockingParticipantsService(self._worker, self._sdk)
        """Looks participants up, and watches them. Needs an open session."""

    def initialize_token(self, token: str, refresh: Refresh | None = None) -> None:
        """As `greenroom.Greenroom.initialize_token`."""
        self._worker.call(lambda: self._sdk.initialize_token(token, refresh))

    def initialize(self, app_key: str, app_secret: str) -> None:
        """As `greenroom.Greenroom.initialize`."""
        self._worker.call(lambda: self._sdk.initialize(app_key, app_secret))

    def shut_down(self) -> None:
        """Close, and end the threads. What was queued with a completion is done first. Not from a completion."""
        self._worker.stop(self._sdk.aclose)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.shut_down()
