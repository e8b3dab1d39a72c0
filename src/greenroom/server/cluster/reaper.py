"""One pass a second: ends graces, detaches what dead nodes left, settles what rooms are behind with (R2, R10, R11). The
engine decides; this calls it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import structlog

from greenroom.core.rooms.requests import MembershipLost
from greenroom.engines.base import Reaped, Registry
from greenroom.engines.rooms import Rooms
from greenroom.errors import GreenroomError, RoomsUnavailableError
from greenroom.model import EndReason, SessionRecord

log = structlog.stdlib.get_logger("greenroom.reaper")

MAX_PASSES = 20
"""In a row, while there is more that is due; then others get their turn."""


class Reaper:
    """interval: seconds from one pass to the next. may_act: whether this node acts now. notify: the ended sessions.
    notify_lost: memberships of rooms that ended."""

    def __init__(
        self,
        registry: Registry,
        rooms: Rooms,
        *,
        interval: float,
        may_act: Callable[[], bool],
        notify: Callable[[Sequence[SessionRecord], EndReason], None],
        notify_lost: Callable[[Sequence[MembershipLost]], None],
    ) -> None:
        self._registry = registry
        self._rooms = rooms
        self._interval = interval
        self._may_act = may_act
        self._notify = notify
        self._notify_lost = notify_lost
        self.lag = 0.0
        """Seconds by which the oldest due time had passed at the last pass."""
        self.ended = 0
        """Sessions ended since start."""
        self.failing = ""
        """What the last pass failed with; empty where it did not."""
        self.rooms_lag = 0.0
        """Seconds since the oldest mark of a room was made, at the last pass."""
        self.marks_settled = self.rooms_repaired = self.rooms_ended = 0
        """By passes over rooms, since start."""
        self.rooms_failing = ""
        """What the last pass over rooms failed with; empty where it did not."""

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            if self._may_act():
                await self.once()
                await self.settle_rooms()
            await asyncio.sleep(self._interval)

    async def once(self) -> None:
        """What is due now. Never raises: the next pass tries again."""
        try:
            for _ in range(MAX_PASSES):
                reaped = await self._registry.reap()
                self._note(reaped)
                if not reaped.more:
                    return
        except GreenroomError as error:
            self._failed(error.message)
        except Exception:
            log.exception("the reaper failed")
            self.failing = "unexpected error"

    async def settle_rooms(self) -> None:
        """What is due in rooms now. Never raises: the next pass tries again."""
        try:
            for _ in range(MAX_PASSES):
                settled = await self._rooms.settle()
                self.rooms_failing, self.rooms_lag = "", settled.lag
                self.marks_settled += settled.settled
                self.rooms_repaired += settled.repaired
                self.rooms_ended += settled.ended
                self._notify_lost(settled.lost)
                if not settled.more:
                    return
        except RoomsUnavailableError:
            pass  # a rolling upgrade (R1)
        except GreenroomError as error:
            if not self.rooms_failing:
                log.warning("rooms were not settled", error=error.message)
            self.rooms_failing = error.message
        except Exception:
            log.exception("rooms were not settled")
            self.rooms_failing = "unexpected error"

    def _failed(self, why: str) -> None:
        if not self.failing:
            log.warning("the reaper failed", error=why)
        self.failing = why

    def _note(self, reaped: Reaped) -> None:
        if reaped.failing:
            self._failed(reaped.failing)
        else:
            self.failing = ""
        self.lag = reaped.lag
        self.ended += len(reaped.ended)
        for session in reaped.ended:
            reason = session.end_reason or EndReason.TIMEOUT
            log.info("session ended", session=session.id, reason=reason.value)
            self._notify((session,), reason)
