"""Rows of attached sessions and of their participants, kept in the writer's thread.

What can go wrong, and which rule prevents it
---------------------------------------------

*Another operation changes the row.* The reaper ends it, a kick, an erase, an open that takes its place. Every write
goes through `Transaction`, and what is written there is what is kept from then on: the row that was saved last, or none
where its session is not attached any more. Nobody has to remember to invalidate anything.

*An operation changes the object and then refuses.* The object would differ from the file. Operations check first and
change after; the writer rolls back a batch in which one wrote before it refused.

*A batch is rolled back.* What was kept may be of that batch: everything is dropped with the rest of `State`.

*There are more sessions than memory.* The oldest are dropped; they are read from the file again, which is what was done
for all of them before.
"""

from __future__ import annotations

from collections import OrderedDict

from greenroom.engines.embedded.rows import ATTACHED, ParticipantRow, SessionRow

MOST_ROWS = 2_048
"""Sessions, and participants, that are kept: some 3 MiB."""


class RowCache:
    """most: of sessions, and of participants."""

    __slots__ = ("_most", "participants", "sessions")

    def __init__(self, most: int = MOST_ROWS) -> None:
        self._most = most
        self.sessions: OrderedDict[int, SessionRow] = OrderedDict()
        """By the key of the session's id."""
        self.participants: OrderedDict[int, ParticipantRow] = OrderedDict()
        """By number."""

    def keep_session(self, row: SessionRow) -> None:
        """It was read or saved: this is what the file says."""
        if row.state != ATTACHED:
            self.sessions.pop(row.key, None)
            return
        self.sessions[row.key] = row
        if len(self.sessions) > self._most:
            self.sessions.popitem(last=False)

    def keep_participant(self, participant: ParticipantRow) -> None:
        """Likewise; one without a connection is not kept."""
        if not participant.connected:
            self.participants.pop(participant.n, None)
            return
        self.participants[participant.n] = participant
        if len(self.participants) > self._most:
            self.participants.popitem(last=False)

    def forget_participant(self, participant: ParticipantRow) -> None:
        """Its row was deleted."""
        self.participants.pop(participant.n, None)

    def clear(self) -> None:
        """The file may say something else."""
        self.sessions.clear()
        self.participants.clear()
