"""`detach`, `close` and `update_participant`: what owners, secrets and operators do to a session."""

from __future__ import annotations

from hmac import compare_digest

import msgspec

from greenroom.codes import ErrorCode
from greenroom.core.requests import EndRequest, Owner, UpdateRequest
from greenroom.engines.base import UPDATE_MEMORY
from greenroom.engines.embedded.living import (
    bump,
    detach_row,
    emit_participant,
    end_row,
    is_owner,
    owned,
    settle,
)
from greenroom.engines.embedded.records import ATTACHED, ENDED, Person, Row
from greenroom.engines.embedded.transaction import Transaction
from greenroom.errors import NotFoundError, RevisionConflictError, SessionEndedError
from greenroom.model import ParticipantRecord, SessionRecord

_encode = msgspec.msgpack.Encoder().encode
_decode_updates = msgspec.msgpack.Decoder(list[tuple[str, ParticipantRecord]]).decode


def detach_session(tx: Transaction, owner: Owner, grace: float) -> bool:
    row = tx.session(owner.session_id)
    if row is None or row.state != ATTACHED or not is_owner(row, owner):
        return False
    person = tx.person_of(row)
    detach_row(tx, row, person, int(grace * 1000))
    settle(tx, person, changed=False)
    return True


def close_session(tx: Transaction, request: EndRequest) -> SessionRecord | None:
    row = tx.session(request.session_id)
    if row is None or row.state >= ENDED or not _may_end(row, request):
        return None
    person = tx.person_of(row)
    record = end_row(tx, row, person, request.reason, request.text)
    settle(tx, person, changed=True)
    return record


def _may_end(row: Row, request: EndRequest) -> bool:
    """Raises where the secret is wrong; an owner that was overtaken, or another tenant's operator, finds nothing."""
    if request.app is not None and request.app != row.app:
        return False
    if request.owner is not None:
        # Detached since by a reaper, but taken by nobody: a close that was kept through an outage still counts (S6).
        return is_owner(row, request.owner)
    if request.secret_hash is not None:
        data = row.data
        previous = bool(data.previous_secret) and compare_digest(request.secret_hash, data.previous_secret)
        if not previous and not compare_digest(request.secret_hash, data.secret):
            raise SessionEndedError(code=ErrorCode.RESUME_REFUSED)
    return True


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
    person = _person(tx, request, row)
    if request.if_revision is not None and request.if_revision != person.revision:
        raise RevisionConflictError(participant=person.record())
    record = _apply(tx, request, person)
    if row is not None and request.update_id is not None:
        results.append((request.update_id, record))
        tx.writes += 1
        tx.execute("UPDATE sessions SET updates = ? WHERE n = ?", (_encode(results[-UPDATE_MEMORY:]), row.n))
    return record


def _updates(tx: Transaction, row: Row) -> list[tuple[str, ParticipantRecord]]:
    for (stored,) in tx.rows("SELECT updates FROM sessions WHERE n = ?", (row.n,)):
        return [] if stored is None else _decode_updates(stored)
    return []


def _person(tx: Transaction, request: UpdateRequest, row: Row | None) -> Person:
    if row is not None:
        return tx.person_of(row)
    person = tx.person(request.app, request.participant_id)
    if person is None:
        raise NotFoundError("There is no such participant.")
    return person


def _apply(tx: Transaction, request: UpdateRequest, person: Person) -> ParticipantRecord:
    name = person.name if request.name is None else request.name
    avatar_url = person.avatar_url if request.avatar_url is None else request.avatar_url
    if (name, avatar_url) == (person.name, person.avatar_url):
        return person.record()
    person.name, person.avatar_url = name, avatar_url
    person.revision += 1
    bump(tx, person)
    tx.save_profile(person)
    tx.save_counts(person)
    emit_participant(tx, person, "updated")
    record = person.record()
    tx.publish(record)
    return record
