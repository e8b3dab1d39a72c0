"""Sessions, participants, restrictions, nodes: the asynchronous face of the operations."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from msgspec import structs

from greenroom.core.requests import (
    Attached,
    AttachRequest,
    EndRequest,
    OpenRequest,
    Owner,
    ParticipantQuery,
    TokenFacts,
    UpdateRequest,
)
from greenroom.engines.base import (
    BeatResult,
    EventLimits,
    NodeBeat,
    ParticipantPage,
    Reaped,
    RestoreRequest,
    Restricted,
    RestrictRequest,
    SessionPage,
    SessionQuery,
)
from greenroom.engines.clock import Clock
from greenroom.engines.completion import Completion
from greenroom.engines.embedded import queries
from greenroom.engines.embedded.attach import attach_session, refresh_token
from greenroom.engines.embedded.bus import EmbeddedBus
from greenroom.engines.embedded.close import close_session, detach_session
from greenroom.engines.embedded.database import Database
from greenroom.engines.embedded.open import open_session
from greenroom.engines.embedded.reap import reap, record_beat
from greenroom.engines.embedded.restrict import restrict
from greenroom.engines.embedded.state import State
from greenroom.engines.embedded.transaction import Transaction
from greenroom.engines.embedded.update import update_participant
from greenroom.model import ParticipantRecord, SessionRecord

QUICK_IDS = 32
"""Participants that are read at once; more are read in the reading thread."""


class EmbeddedRegistry:
    """Implements `Registry`. Every write is one operation of the writer."""

    def __init__(
        self,
        database: Database,
        state: State,
        bus: EmbeddedBus,
        clock: Clock,
        *,
        lease: float,
        event_limits: EventLimits,
    ) -> None:
        self._database = database
        self._state = state
        self._bus = bus
        self._clock = clock
        self._lease_ms = int(lease * 1000)
        self._limits = event_limits

    def open(self, request: OpenRequest) -> Completion[Attached]:
        return self._database.writer.submit(lambda tx: open_session(tx, request))

    def attach(self, request: AttachRequest) -> Completion[Attached]:
        return self._database.writer.submit(lambda tx: attach_session(tx, request))

    def refresh(self, owner: Owner, token: TokenFacts, leave: Sequence[str] = ()) -> Completion[SessionRecord]:
        return self._database.writer.submit(lambda tx: refresh_token(tx, owner, token, leave))

    def detach(self, owner: Owner, grace: float) -> Completion[bool]:
        return self._database.writer.submit(lambda tx: detach_session(tx, owner, grace), can_wait=True)

    def close(self, request: EndRequest) -> Completion[SessionRecord | None]:
        return self._database.writer.submit(lambda tx: close_session(tx, request), can_wait=request.can_wait)

    def update_participant(self, request: UpdateRequest) -> Completion[ParticipantRecord]:
        return self._database.writer.submit(lambda tx: update_participant(tx, request))

    async def participants(self, query: ParticipantQuery) -> ParticipantPage:
        quick = query.ids is not None and len(query.ids) <= QUICK_IDS
        return await self._database.read(partial(queries.participants, query), quick=quick)

    async def sessions(self, query: SessionQuery) -> SessionPage:
        key = self._state.hash_key
        quick = query.session_id is not None
        return await self._database.read(lambda con: queries.sessions(query, key, con), quick=quick)

    async def restrict(self, request: RestrictRequest) -> Restricted:
        def numbered(tx: Transaction) -> Restricted:
            before = tx.state.directory_version
            return structs.replace(restrict(tx, request), versions=(before, tx.state.directory_version))

        return await self._database.writer.submit(numbered)

    async def beat(self, beat: NodeBeat) -> BeatResult:
        newest = self._bus.newest(beat.watched)
        return await self._database.writer.submit(lambda tx: record_beat(tx, beat, newest, self._lease_ms))

    async def reap(self, limit: int = 500) -> Reaped:
        return await self._database.writer.submit(lambda tx: reap(tx, self._clock.monotonic(), limit, self._limits))

    async def restore(self, request: RestoreRequest) -> int:
        """The file outlives the process: nothing is ever missing here."""
        return 0
