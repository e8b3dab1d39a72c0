"""`restrict`: kick, block, lift, revoke, erase (S18), each one step in the participant's partition."""

from __future__ import annotations

from collections.abc import Callable
from heapq import heapify, heappop, nsmallest

import msgspec

from greenroom.core.policy import cutoff_now
from greenroom.engines.base import (
    RESTRICTIONS_OF_APPLICATION,
    BlockParticipant,
    CutOffTokens,
    EraseParticipant,
    KickParticipant,
    LiftBlock,
    Restricted,
    RestrictRequest,
    RevokeToken,
    restriction_expires,
)
from greenroom.engines.embedded.erase import begin_erasure
from greenroom.engines.embedded.invitations import erase_invitations
from greenroom.engines.embedded.memberships import erase_from_rooms
from greenroom.engines.embedded.rows import SessionRow
from greenroom.engines.embedded.session_steps import bump, end_row, finish
from greenroom.engines.embedded.state import RestrictionKey
from greenroom.engines.embedded.transaction import Transaction
from greenroom.errors import IllegalArgumentError, NotFoundError
from greenroom.model import (
    ERASED,
    EndReason,
    ParticipantRecord,
    Restriction,
    SessionRecord,
    erased_subject,
)

_encode = msgspec.msgpack.Encoder().encode


ROOM = 1000
"""Restrictions that make room at once where an application has too many, so that few of them search through all."""


def restrict(tx: Transaction, request: RestrictRequest) -> Restricted:
    if not isinstance(request, LiftBlock | EraseParticipant):
        _make_room(tx, request.app)
    match request:
        case KickParticipant():
            return _kick(tx, request)
        case BlockParticipant():
            return _block(tx, request)
        case LiftBlock():
            return _lift(tx, request)
        case CutOffTokens():
            return _cutoff(tx, request)
        case RevokeToken():
            return _jti(tx, request)
        case EraseParticipant():
            return _erase(tx, request)


def store_restriction(tx: Transaction, restriction: Restriction) -> None:
    """Writes it, here and in memory; the directory's version rises."""
    tx.writes += 1
    key = tx.state.add_restriction(restriction)
    tx.execute("INSERT OR REPLACE INTO restrictions VALUES (?, ?, ?, ?)", (*key, _encode(restriction)))
    touch_directory(tx)


def touch_directory(tx: Transaction) -> None:
    tx.state.directory_version += 1
    tx.execute("UPDATE meta SET value = ? WHERE key = 'directory'", (tx.state.directory_version,))


def forget_restrictions(tx: Transaction, limit: int) -> bool:
    """Drops restrictions that no longer matter, at most so many. Whether there may be more."""
    expiring = tx.state.expiring
    for _ in range(limit):
        if not expiring or expiring[0][0] > tx.now:
            return False
        expires, key = heappop(expiring)
        if _is_current(tx, expires, key):
            _remove_restriction(tx, key)
    return True


def _make_room(tx: Transaction, app: str) -> None:
    """Raises IllegalArgumentError where the application has too many restrictions, none of which ever ends."""
    state = tx.state
    if state.restricted.get(app, 0) < RESTRICTIONS_OF_APPLICATION:
        return
    state.expiring = [each for each in state.expiring if _is_current(tx, *each)]
    heapify(state.expiring)
    mine = nsmallest(ROOM, (each for each in state.expiring if each[1][0] == app))
    if not mine:
        raise IllegalArgumentError(
            f"The application has {RESTRICTIONS_OF_APPLICATION} blocks that never end.",
            hint="Lift blocks that are no longer needed, or give them an end.",
        )
    for _, key in mine:
        _remove_restriction(tx, key)


def _is_current(tx: Transaction, expires: int, key: RestrictionKey) -> bool:
    """Whether an entry of the heap is about what is stored, and not about what that has replaced."""
    present = tx.state.restrictions.get(key)
    return present is not None and restriction_expires(present) == expires


def _kick(tx: Transaction, request: KickParticipant) -> Restricted:
    cutoff = _cut_off(tx, request, cutoff_now(tx.now), request.participant_id)
    ended = _end_sessions(tx, request, EndReason.KICKED, lambda row: True, cutoff)
    return Restricted(ended, True, cutoff)


def _block(tx: Transaction, request: BlockParticipant) -> Restricted:
    store_restriction(
        tx,
        Restriction(
            app=request.app,
            kind="block",
            subject=request.participant_id,
            until=request.until,
            reason=request.reason,
            created_at=tx.now,
        ),
    )
    cutoff = _cut_off(tx, request, cutoff_now(tx.now), request.participant_id)
    ended = _end_sessions(tx, request, EndReason.BLOCKED, lambda row: True, cutoff)
    return Restricted(ended, True, cutoff)


def _lift(tx: Transaction, request: LiftBlock) -> Restricted:
    block = tx.state.block_of(request.app, request.participant_id, tx.now)
    if block is None:
        raise NotFoundError("The participant is not blocked.")
    store_restriction(tx, msgspec.structs.replace(block, lifted=True, created_at=tx.now))
    return Restricted((), True, tx.state.cutoff_of(request.app, request.participant_id))


def _cutoff(tx: Transaction, request: CutOffTokens) -> Restricted:
    before = cutoff_now(tx.now) if request.before is None else request.before
    present = tx.state.cutoff_of(request.app, request.participant_id)
    cutoff = _cut_off(tx, request, before, request.participant_id)
    ended = _end_sessions(tx, request, EndReason.TOKEN_REVOKED, lambda row: row.data.issued_at <= before)
    return Restricted(ended, bool(ended) or cutoff > present, cutoff)


def _jti(tx: Transaction, request: RevokeToken) -> Restricted:
    if not request.jti:
        raise IllegalArgumentError("jti is missing.")
    fresh = not tx.state.is_jti_revoked(request.app, request.jti)
    if fresh:
        _revoke_jti(tx, request, request.jti)
    ended = _end_sessions(tx, request, EndReason.TOKEN_REVOKED, lambda row: row.data.jti == request.jti)
    return Restricted(ended, fresh or bool(ended), tx.state.cutoff_of(request.app, request.participant_id))


def _erase(tx: Transaction, request: EraseParticipant) -> Restricted:
    """Ends, forgets, and leaves a block and the cut-off by hashed id alone."""
    subject = erased_subject(request.participant_id)
    block = tx.state.block_of(request.app, request.participant_id, tx.now)
    now = cutoff_now(tx.now)
    ended = _end_sessions(tx, request, EndReason.KICKED, lambda row: True, now)
    for kind in ("block", "cutoff"):
        _remove_restriction(tx, (request.app, kind, request.participant_id))
    if block is not None:
        store_restriction(tx, msgspec.structs.replace(block, subject=subject, reason=""))
    cutoff = _cut_off(tx, request, now, subject)
    participant = tx.participant(request.app, request.participant_id)
    if participant is not None:
        bump(tx, participant)
        # The last update that watchers get names nobody.
        tx.changes.append(ParticipantRecord(app=participant.app, id=participant.id, version=participant.version))
        tx.forget_participant(participant)
    erase_invitations(tx, request.app, request.participant_id)
    erase_from_rooms(tx, request.app, request.participant_id)
    begin_erasure(tx, request.app, request.participant_id)
    return Restricted(ended, participant is not None or bool(ended), cutoff)


def _end_sessions(
    tx: Transaction,
    request: RestrictRequest,
    reason: EndReason,
    concerns: Callable[[SessionRow], bool],
    cutoff: int | None = None,
) -> tuple[SessionRecord, ...]:
    """cutoff: of a kick; a token issued later still (its clock is ahead) is revoked by its id."""
    participant = tx.participant(request.app, request.participant_id)
    rows = [] if participant is None else [row for row in tx.sessions_of(participant) if concerns(row)]
    if participant is None or not rows:
        return ()
    if cutoff is not None:
        for jti in {row.data.jti for row in rows if row.data.issued_at > cutoff}:
            _revoke_jti(tx, request, jti)
    rows.sort(key=lambda row: row.order)
    ended = tuple(end_row(tx, row, participant, reason, request.reason) for row in rows)
    finish(tx, participant, changed=True, left=reason)
    return ended


def _cut_off(tx: Transaction, request: RestrictRequest, before: int, subject: str) -> int:
    """Raises the cut-off, never lowers it. The cut-off after this."""
    present = tx.state.restrictions.get((request.app, "cutoff", subject))
    if present is None or present.before < before:
        reason = "" if subject.startswith(ERASED) else request.reason
        store_restriction(
            tx,
            Restriction(
                app=request.app, kind="cutoff", subject=subject, before=before, reason=reason, created_at=tx.now
            ),
        )
    return tx.state.cutoff_of(request.app, request.participant_id)


def _revoke_jti(tx: Transaction, request: RestrictRequest, jti: str) -> None:
    # The reason of a kick or block may name a person; it lies where an erase finds it, and not here too.
    reason = request.reason if isinstance(request, RevokeToken) else ""
    store_restriction(tx, Restriction(app=request.app, kind="jti", subject=jti, reason=reason, created_at=tx.now))


def _remove_restriction(tx: Transaction, key: RestrictionKey) -> None:
    if tx.state.remove_restriction(key):
        tx.writes += 1
        tx.execute("DELETE FROM restrictions WHERE app = ? AND kind = ? AND subject = ?", key)
