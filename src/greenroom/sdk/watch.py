"""Watching participants: an iterator over their changes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from types import TracebackType
from typing import Self

from greenroom.model import Participant
from greenroom.sdk.callbacks import CallbackQueue

OnChange = Callable[[Participant], Awaitable[None] | None]


class Watch:
    """Watched participants, and their changes. An async iterator of changes, and an async context manager.

    State, not messages: a slow reader gets the latest record of each participant, not every step in between.
    The iteration ends with the session, or with `close`. It survives reconnecting, and a session opened in place of a
    lost one.
    """

    def __init__(
        self,
        participants: Iterable[Participant],
        on_change: OnChange | None,
        callbacks: CallbackQueue,
        close: Callable[[Watch], Awaitable[None]],
    ) -> None:
        self._latest = {one.id: one for one in participants}
        self._on_change = on_change
        self._callbacks = callbacks
        self._close = close
        self._changes: dict[str, Participant] = {}
        self._arrived = asyncio.Event()
        self._finished = False

    @property
    def participants(self) -> dict[str, Participant]:
        """The latest record of each, by participant id."""
        return dict(self._latest)

    def __aiter__(self) -> AsyncIterator[Participant]:
        return self

    async def __anext__(self) -> Participant:
        while not self._changes:
            if self._finished:
                raise StopAsyncIteration
            self._arrived.clear()
            await self._arrived.wait()
        return self._changes.pop(next(iter(self._changes)))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Stop watching those that no other `Watch` watches."""
        await self._close(self)

    # -- called by the SDK ---------------------------------------------------------------------------------------

    def update(self, participant: Participant, session_id: str | None) -> None:
        """A watched participant changed, who may not be one of this watch."""
        if participant.id not in self._latest or self._finished:
            return
        self._latest[participant.id] = participant
        self._changes.pop(participant.id, None)
        self._changes[participant.id] = participant
        self._arrived.set()
        if self._on_change is not None:
            key = (id(self), participant.id)
            self._callbacks.put(session_id, self._on_change, participant, key=key)

    def remove(self, ids: Iterable[str]) -> None:
        """These are no longer watched."""
        for one in ids:
            self._latest.pop(one, None)
            self._changes.pop(one, None)

    def finish(self) -> None:
        """End the iteration, after the changes that were not read yet."""
        self._finished = True
        self._arrived.set()
