"""What an app hears of its session (platform: ``VTSessionDelegate``), and the queue in which it hears it."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from greenroom.core.states import SessionState
    from greenroom.errors import GreenroomError
    from greenroom.messages import Device
    from greenroom.model import Participant

log = logging.getLogger("greenroom.sdk")

_Maybe = Awaitable[None] | None


class SessionDelegate:
    """Override what you need; each may be ``def`` or ``async def``.

    The methods are called one after the other from a task of their own, in the order of events, outside every lock:
    they may await any call of the SDK. What they raise is logged with the session's id and goes no further.
    """

    def session_updated(self, state: SessionState) -> _Maybe:
        """The session's state is another one now."""
        return None

    def session_ended(self, reason: str, message: str, by: Device | None) -> _Maybe:
        """The session ended for good, and not by `close`.

        reason: an end's reason (``kicked``, ``blocked``, ``replaced``, ``token_expired``, …); message: the same for
        people; by: the device that took the session's place, None where none did or its name is not known.
        """
        return None

    def session_reopened(self, participant: Participant, reason: str, previous_id: str) -> _Maybe:
        """A new session stands in place of one that the service no longer had (reason: why).

        previous_id: the participant's id before; another one where the participant is anonymous.
        """
        return None

    def token_refresh_failed(self, error: GreenroomError, is_expired: bool) -> _Maybe:
        """The refresh callback failed. Harmless unless is_expired: then the session cannot go on."""
        return None

    def participant_updated(self, participant: Participant) -> _Maybe:
        """The session's own participant changed, by this device or another."""
        return None

    def participants_changed(self, participants: list[Participant]) -> _Maybe:
        """Watched participants changed: the latest of each."""
        return None


class Callbacks:
    """Runs users' callbacks, one after the other. Its task lives while there is something to run, no longer."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[str | None, Callable[..., Any], tuple[Any, ...]]] = deque()
        self._task: asyncio.Task[None] | None = None

    def put(self, session_id: str | None, callback: Callable[..., Any], *arguments: Any) -> None:
        """Queue a call; must be called in the loop."""
        self._waiting.append((session_id, callback, arguments))
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run(), name="greenroom callbacks")

    async def _run(self) -> None:
        try:
            while self._waiting:
                session_id, callback, arguments = self._waiting.popleft()
                try:
                    result = callback(*arguments)
                    if inspect.isawaitable(result):
                        await result
                except Exception:
                    name = getattr(callback, "__qualname__", repr(callback))
                    log.exception("session %s: the callback %s raised", session_id, name)
        finally:
            self._task = None

    async def drained(self, limit: float) -> None:
        """Wait until all that was queued has run, at most `limit` seconds; not at all from inside a callback."""
        task = self._task
        if task is not None and task is not asyncio.current_task():
            await asyncio.wait({task}, timeout=limit)
