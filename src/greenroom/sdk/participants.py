"""Looking participants up, and watching them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from greenroom.errors import GreenroomError
from greenroom.messages import ParticipantsParams
from greenroom.model import Participant
from greenroom.sdk.ids import checked_ids, checked_strings
from greenroom.sdk.notifier import Notifier
from greenroom.sdk.runner import Runner
from greenroom.sdk.service import SessionBoundService
from greenroom.sdk.watch import OnChange, Watch


class ParticipantsService(SessionBoundService):
    """Needs an open session, and the session scope ``notifications:set``."""

    def __init__(self, runner: Runner, notifier: Notifier) -> None:
        super().__init__(runner)
        self._notifier = notifier
        self._asking: set[asyncio.Future[None]] = set()
        """One for each watch that is being asked for; done when it is answered."""

    async def get(self, ids: Iterable[str] = (), *, external_ids: Iterable[str] = ()) -> list[Participant]:
        """The present records. Unknown ids read as offline at version 0, with the external id they were asked by.

        Raises SessionNotOpenError, ScopeMissingError, ServiceUnavailableError.
        """
        return await self._request(
            "participants.get", checked_ids("ids", ids), checked_strings("external_ids", external_ids)
        )

    async def watch(
        self, ids: Iterable[str] = (), *, external_ids: Iterable[str] = (), on_change: OnChange | None = None
    ) -> Watch:
        """Watch participants from now on; `Watch.participants` has their present records.

        on_change: called with each changed participant from the SDK's queue of callbacks; None for none. At most
        1,000 are watched in a session (a setting of the application).

        Raises SessionNotOpenError, ScopeMissingError, IllegalArgumentError (limit), ServiceUnavailableError.
        """
        machine = self._runner.machine
        asking = asyncio.get_running_loop().create_future()
        self._asking.add(asking)
        try:
            found = await self._request(
                "participants.watch", checked_ids("ids", ids), checked_strings("external_ids", external_ids)
            )
            # A record may have changed between its reply and now.
            latest = [machine.watched_participant(one.id) or one for one in found]
            watch = Watch(latest, on_change, self._notifier.callbacks, self._end)
            if machine.is_open():
                self._notifier.watches.append(watch)
            else:
                watch.finish()
            return watch
        finally:
            self._asking.discard(asking)
            asking.set_result(None)

    async def unwatch(self, ids: Iterable[str] = (), *, external_ids: Iterable[str] = ()) -> None:
        """Stop watching these, for every `Watch`. Raises SessionNotOpenError, ServiceUnavailableError."""
        self._open_session()
        gone = checked_ids("ids", ids)
        if outside := checked_strings("external_ids", external_ids):
            # A participant who was never here has an id, but no external id in its record.
            gone += [one.id for one in await self._request("participants.get", [], outside)]
        for watch in list(self._notifier.watches):
            watch.remove(gone)
            if not watch.participants:
                watch.finish()
                self._notifier.watches.remove(watch)
        await self._unwatch(gone)

    async def _end(self, watch: Watch) -> None:
        watch.finish()
        watches = self._notifier.watches
        if watch not in watches:
            return
        watches.remove(watch)
        while self._asking:  # one that is being asked for may be of the same participants
            await asyncio.wait(self._asking)
        unwatched = set(watch.participants)
        for other in watches:
            unwatched -= other.participants.keys()
        if unwatched and self._runner.machine.is_open():
            await self._unwatch(sorted(unwatched))

    async def _request(self, method: str, ids: list[str], external_ids: list[str]) -> list[Participant]:
        runner = self._open_session()
        machine = runner.machine
        found: dict[str, Participant] = {}
        for params in machine.participant_requests(ids, external_ids):

            def put(number: int, params: ParticipantsParams = params) -> None:
                machine.request(runner.now(), number, method, params)

            records = await runner.call(put, lambda number: machine.cancel_request(runner.now(), number))
            found.update((one.id, one) for one in records)
        return list(found.values())

    async def _unwatch(self, ids: list[str]) -> None:
        machine = self._runner.machine
        for params in machine.participant_requests(ids, []):

            def put(number: int, params: ParticipantsParams = params) -> None:
                machine.unwatch(self._runner.now(), number, params)

            try:
                await self._runner.call(put)
            except GreenroomError:
                # The machine reports no changes of these either way; the service forgets them with the session.
                return
