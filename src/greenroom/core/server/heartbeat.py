"""Pings and pongs of one connection."""

from __future__ import annotations

from enum import Enum


class Beat(Enum):
    """State of a heartbeat, and what `Heartbeat.tick` found."""

    RESTING = "resting"
    """The last ping was answered; the next is due."""
    WAITING = "waiting"
    """A pong is due. Only a pong counts: what else comes in proves one direction only."""
    DEAD = "dead"
    """The pong did not come in time."""


class Heartbeat:
    """ping: seconds from a pong to the next ping. pong: seconds for the pong. now: monotonic seconds."""

    __slots__ = ("_ping", "_pong", "_state", "answered_at", "due")

    def __init__(self, ping: float, pong: float, now: float) -> None:
        self._ping = ping
        self._pong = pong
        self._state = Beat.RESTING
        self.due = now + ping
        """When to `tick`."""
        self.answered_at = now
        """When the client last gave a sign of life that proves both directions."""

    def pong(self, now: float) -> None:
        """A pong came."""
        self.answered_at = now
        if self._state is Beat.WAITING:
            self._state = Beat.RESTING
            self.due = now + self._ping

    def tick(self, now: float) -> Beat:
        """WAITING: send a ping now. DEAD: drop the connection. RESTING: nothing is due."""
        if now < self.due:
            return Beat.RESTING
        if self._state is Beat.RESTING:
            self._state = Beat.WAITING
            self.due = now + self._pong
            return Beat.WAITING
        return Beat.DEAD
