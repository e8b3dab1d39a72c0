"""Who is there: looking participants up, and watching them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from types import TracebackType
from typing import TYPE_CHECKING, Self

from greenroom.errors import GreenroomError, IllegalArgumentError
from greenroom.messages import ParticipantsParams
from greenroom.model import Participant
from greenroom.sdk.service import Service

if TYPE_CHECKING:
    from greenroom.sdk.runner import Runner

OnChange = Callable[[Participant], Awaitable[None] | None]


class Watch:
    """Some participants, and how they change. An async iterator of changes, and an async context manager.

    State, not messages: whoever iterates slowly gets the latest of each participant, not every step in between. The
    iteration ends with the session, or with `close`. It survives reconnecting, and a session opened anew.
    """

    def __init__(
        self, service: ParticipantsService, participants: list[Participant], on_change: OnChange | None
    ) -> None:
        self._service = service
        self._on_change = on_change
        self._latest = {one.id: one for one in participants}
        self._news: dict[str, Participant] = {}
        self._arrived = asyncio.Event()
        self._over = False

    @property
    def participants(self) -> dict[str, Participant]:
        """The latest of each, by participant id."""
        return dict(self._latest)

    def __aiter__(self) -> AsyncIterator[Participant]:
        return self

    async def __anext__(self) -> Participant:
        while not self._news:
            if self._over:
                raise StopAsyncIteration
            self._arrived.clear()
            await self._arrived.wait()
        return self._news.pop(next(iter(self._news)))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Stop watching; those whom another `Watch` holds stay watched for it."""
        await self._service.end(self)

    # -- called by the service -----------------------------------------------------------------------------------

    def take(self, participant: Participant) -> None:
        """Something changed."""
        if participant.id not in self._latest or self._over:
            return
        self._latest[participant.id] = participant
        self._news.pop(participant.id, None)
        self._news[participant.id] = participant
        self._arrived.set()
        if self._on_change is not None:
            self._service.call_back(self._on_change, participant)

    def leave_out(self, ids: set[str]) -> None:
        """These are not watched any more."""
        for one in ids:
            self._latest.pop(one, None)
            self._news.pop(one, None)
        if not self._latest:
            self.finish()

    def finish(self) -> None:
        self._over = True
        self._arrived.set()


class ParticipantsService(Service):
    """Needs an open session, and the session scope ``notifications:set``."""

    def __init__(self, runner: Runner) -> None:
        super().__init__(runner)
        self._watches: list[Watch] = []

    async def get(self, ids: Iterable[str] = (), *, external_ids: Iterable[str] = ()) -> list[Participant]:
        """The present records. Unknown ids read as offline at version 0, with the external id they were asked by.

        Raises SessionNotOpenError, ScopeMissingError, ServiceUnavailableError.
        """
        return await self._request("participants.get", _ids(ids), _ids(external_ids))

    async def watch(
        self, ids: Iterable[str] = (), *, external_ids: Iterable[str] = (), on_change: OnChange | None = None
    ) -> Watch:
        """Watch participants from now on; `Watch.participants` has their present records.

        on_change: called with each changed participant from the SDK's queue of callbacks; None for none. At most
        1,000 are watched in a session (a setting of the application).

        Raises SessionNotOpenError, ScopeMissingError, IllegalArgumentError (limit), ServiceUnavailableError.
        """
        wanted, outside = _ids(ids), _ids(external_ids)
        found = await self._request("participants.watch", wanted, outside)
        watch = Watch(self, found, on_change)
        if self._runner.machine.is_open():
            self._watches.append(watch)
        else:
            watch.finish()
        return watch

    async def unwatch(self, ids: Iterable[str] = (), *, external_ids: Iterable[str] = ()) -> None:
        """Stop watching these, for every `Watch`. Raises SessionNotOpenError, ServiceUnavailableError."""
        self._open_session()
        gone = _ids(ids)
        if outside := _ids(external_ids):
            # A participant who was never here has an id, but no external id in its record.
            gone += [one.id for one in await self._request("participants.get", [], outside)]
        for watch in list(self._watches):
            watch.leave_out(set(gone))
            if not watch.participants:
                self._watches.remove(watch)
        await self._unwatch(gone)

    async def end(self, watch: Watch) -> None:
        """The end of one `Watch`."""
        if watch not in self._watches:
            watch.finish()
            return
        self._watches.remove(watch)
        watch.finish()
        alone = set(watch.participants)
        for other in self._watches:
            alone -= other.participants.keys()
        if alone and self._runner.machine.is_open():
            await self._unwatch(sorted(alone))

    # -- the machine -----------------------------------------------------------------------------------------------

    def changed(self, participants: Iterable[Participant]) -> None:
        """The machine says so."""
        for participant in participants:
            for watch in list(self._watches):
                watch.take(participant)

    def session_over(self) -> None:
        """After a close or an end nothing is watched."""
        watches, self._watches = self._watches, []
        for watch in watches:
            watch.finish()

    def call_back(self, callback: OnChange, participant: Participant) -> None:
        self._runner.callbacks.put(self._runner.machine.session_id, callback, participant)

    async def _request(self, method: str, ids: list[str], external_ids: list[str]) -> list[Participant]:
        runner = self._open_session()
        machine = runner.machine
        found: dict[str, Participant] = {}
        for params in machine.participant_requests(ids, external_ids):

            def put(number: int, params: ParticipantsParams = params) -> None:
                machine.request(runner.now(), number, method, params)

            answer = await runner.call(put, lambda number: machine.cancel_request(runner.now(), number))
            found.update((one.id, one) for one in answer)
        return list(found.values())

    async def _unwatch(self, ids: list[str]) -> None:
        machine = self._runner.machine
        for params in machine.participant_requests(ids, []):

            def put(number: int, params: ParticipantsParams = params) -> None:
                machine.unwatch(self._runner.now(), number, params)

            try:
                await self._runner.call(put)
            except GreenroomError:
                # Nothing more is told of them here either way; with the session the service forgets them too.
                return


def _ids(ids: Iterable[str]) -> list[str]:
    listed: list[object] = [ids] if isinstance(ids, str) else list(ids)
    names: list[str] = []
    for one in listed:
        if not isinstance(one, str) or not one:
            raise IllegalArgumentError("A participant's id is a string that is not empty.")
        names.append(one)
    return list(dict.fromkeys(names))
