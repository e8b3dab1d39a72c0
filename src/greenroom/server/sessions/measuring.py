"""What is counted of sessions: the names under which connection, hub and calls report it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from greenroom.model import ParticipantRecord


class SessionMetrics(Protocol):
    """Every method is quick and does not raise. `server.instrumentation.Measure` is one."""

    def joined(self, seconds: float, *, resuming: bool) -> None:
        """An open or a resume succeeded, and took so long."""

    def replaced(self, count: int) -> None:
        """So many sessions were ended by an open that took their place."""

    def refused(self, reason: str, *, resuming: bool) -> None:
        """An open or a resume was refused."""

    def connection_lost(self, code: int) -> None:
        """A WebSocket is gone."""

    def silent(self, seconds: float) -> None:
        """A connection is dropped whose client answered no ping for so long."""

    def update_begins(self, app: str, participant_id: str) -> None:
        """A profile update is sent to the engine."""

    def update_ends(self, app: str, participant_id: str, *, before: int, version: int | None) -> None:
        """The engine answered. before, version: of the record, before and after; None where the update failed."""

    def updates_sent(self, records: Sequence[ParticipantRecord]) -> None:
        """The watchers of these were written to."""
