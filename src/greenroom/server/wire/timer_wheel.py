"""One timer for all connections of a node, from their first byte on: a wheel of slots, so that a deadline costs an
append and a pop. A timer of the event loop costs ten times that, and most of them are cancelled.

Due times are late by at most one slot. A connection is in one slot that counts; where its deadline moves back (a pong
came) or is met (a head was read) it stays where it is and looks again when that slot comes, which is cheaper than being
moved.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from math import inf
from typing import Protocol

SLOT_SECONDS = 0.25
_AT_ONCE = 128
"""Connections that are ticked in one pass of the loop: a herd that came in one second does not stall the others."""


class Ticked(Protocol):
    """What can be put on the wheel."""

    @property
    def tick_at(self) -> float:
        """When the wheel ticks it next; infinity: it is on no slot."""

    def planned(self, at: float) -> None:
        """The wheel's: that is `tick_at` from now on."""

    def tick(self) -> None:
        """Its time may have come."""


class TimerWheel:
    """Made in a running loop. clock: seconds that never run backwards. slot_seconds: how late a tick may be."""

    def __init__(self, clock: Callable[[], float], slot_seconds: float = SLOT_SECONDS) -> None:
        self.clock = clock
        self._seconds = slot_seconds
        self._slots: dict[int, list[Ticked]] = {}
        self._turned = int(clock() / slot_seconds)
        self._loop = asyncio.get_running_loop()
        self._handle: asyncio.Handle | None = self._loop.call_later(slot_seconds, self._turn)
        self._due: list[Ticked] = []

    def schedule(self, item: Ticked, due: float) -> None:
        """Tick at ``due`` or a slot later, unless an earlier tick is planned. Infinity: never."""
        if due >= item.tick_at:
            return
        slot = int(due / self._seconds) + 1
        if slot <= self._turned:
            slot = self._turned + 1
        at = slot * self._seconds
        if at < item.tick_at:
            item.planned(at)
            items = self._slots.get(slot)
            if items is None:
                self._slots[slot] = [item]
            else:
                items.append(item)

    def after(self, item: Ticked, seconds: float) -> float:
        """Tick then, as `schedule` does; when that is."""
        due = self.clock() + seconds
        self.schedule(item, due)
        return due

    def stop(self) -> None:
        """No more ticks."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None
        self._slots.clear()
        self._due.clear()

    def _turn(self) -> None:
        now = int(self.clock() / self._seconds)
        while self._turned < now:
            self._turned += 1
            items = self._slots.pop(self._turned, None)
            if items is not None:
                # What moved to an earlier slot has been there, or is in another list: it does not count here.
                at = self._turned * self._seconds
                self._due += [item for item in items if item.tick_at == at]
        self._handle = self._loop.call_later(self._seconds, self._turn)
        if self._due:
            self._some()

    def _some(self) -> None:
        due, self._due = self._due[:_AT_ONCE], self._due[_AT_ONCE:]
        for item in due:
            item.planned(inf)
            item.tick()
        if self._due and self._handle is not None:
            self._loop.call_soon(self._some)
