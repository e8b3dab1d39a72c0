"""`update_participant`: a profile is changed, by a session or by the server API (S14), or a session's status."""

from __future__ import annotations

import msgspec

from greenroom.core.presence import AVAILABLE
from greenroom.core.requests import UpdateRequest
from greenroom.engines.base import UPDATE_MEMORY
from greenroom.engines.embedded.memberships import follow
from greenroom.engines.embedded.rows import ParticipantRow, SessionRow
from greenroom.engines.embedded.session_steps import (
    bump,
    emit_participant,
    owned,
    update_is_due,
)
from greenroom.engines.embedded.transaction import Transaction
from greenroom.errors import NotFoundError, RevisionConflictError
from greenroom.model import ParticipantRecord

_encode = msgspec.msgpack.Encoder().encode
_decode_updates = msgspec.msgpack.Decoder(list[tuple[str, ParticipantRecord]]).decode


def update_participant(tx: Transaction, request: UpdateRequest) -> ParticipantRecord:
    row = None
    results: list[tuple[str, ParticipantRecord]] = []
    if request.owner is not None:
        row = owned(tx, request.owner)
        if request.update_id is not None:
            results = _updates(tx, row)
            for update_id, result in results:
                if update_id == request.update_id:
                    return result
    participant = _participant_of(tx, request, row)
    if request.if_revision is not None and request.if_revision != participant.revision:
        raise RevisionConflictError(participant=participant.record())
    if row is not None and request.status is not None:
        return _set_status(tx, row, participant, request.status)
    record = _apply(tx, request, participant)
    if row is not None and request.update_id is not None:
        results.append((request.update_id, record))
        tx.writes += 1
        tx.execute("UPDATE sessions SET updates = ? WHERE n = ?", (_encode(results[-UPDATE_MEMORY:]), row.n))
    return record


def _updates(tx: Transaction, row: SessionRow) -> list[tuple[str, ParticipantRecord]]:
    for (stored,) in tx.rows("SELECT updates FROM sessions WHERE n = ?", (row.n,)):
        return [] if stored is None else _decode_updates(stored)
    return []


def _participant_of(tx: Transaction, request: UpdateRequest, row: SessionRow | None) -> ParticipantRow:
    if row is not None:
        return tx.participant_of(row)
    participant = tx.participant(request.app, request.participant_id)
    if participant is None:
        raise NotFoundError("There is no such participant.")
    return participant


def _apply(tx: Transaction, request: UpdateRequest, participant: ParticipantRow) -> ParticipantRecord:
    name = participant.name if request.name is None else request.name
    avatar_url = participant.avatar_url if request.avatar_url is None else request.avatar_url
    attributes = participant.change_attributes(request.attributes)
    if (name, avatar_url, attributes) == (participant.name, participant.avatar_url, participant.attributes):
        return participant.record()
    participant.name, participant.avatar_url, participant.attributes = name, avatar_url, attributes
    participant.revision += 1
    tx.save_profile(participant)
    return _publish(tx, participant)


def _set_status(tx: Transaction, row: SessionRow, participant: ParticipantRow, status: str) -> ParticipantRecord:
    """The session's status, and what follows for the participant's."""
    stored = None if status == AVAILABLE else status
    if stored == row.data.status:
        return participant.record()
    row.data.status = stored
    tx.save_session(row)
    participant.set_status(row.data.id, stored)
    changed = participant.share_status()
    tx.save_status(participant)
    return _publish(tx, participant) if changed else participant.record()


def _publish(tx: Transaction, participant: ParticipantRow) -> ParticipantRecord:
    """A new version, its event if one is due, and the change."""
    bump(tx, participant)
    due = update_is_due(tx, participant)
    tx.save_counts(participant)
    if participant.rooms is not None:
        follow(tx, participant, "lost")
    if due:
        emit_participant(tx, participant, "updated")
    record = participant.record()
    tx.changes.append(record)
    return record
