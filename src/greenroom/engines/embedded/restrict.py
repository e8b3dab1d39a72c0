"""`restrict`: kick, block, lift, revoke, erase (S18), each one step in the participant's partition."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from greenroom.core.policy import cutoff_now
from greenroom.engines.base import Restricted, RestrictRequest
from greenroom.engines.embedded.erase import begin_erasure
from greenroom.engines.embedded.rows import SessionRow
from greenroom.engines.embedded.session_steps import bump, end_row, finish
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


def restrict(tx: Transaction, request: RestrictRequest) -> Restricted:
    try:
        kind = _KINDS[request.kind]
    except KeyError:
        raise IllegalArgumentError(f"There is no restriction called {request.kind!r}.") from None
    return kind(tx, request)


def store_restriction(tx: Transaction, restriction: Restriction) -> None:
    """Writes it, here and in memory; the directory's version rises."""
    key = (restriction.app, restriction.kind, restriction.subject)
    tx.writes += 1
    tx.execute("INSERT OR REPLACE INTO restrictions VALUES (?, ?, ?, ?)", (*key, _encode(restriction)))
    tx.state.restrictions[key] = restriction
    touch_directory(tx)


def touch_directory(tx: Transaction) -> None:
    tx.state.directory_version += 1
    tx.execute("UPDATE meta SET value = ? WHERE key = 'directory'", (tx.state.directory_version,))


def _kick(tx: Transaction, request: RestrictRequest) -> Restricted:
    cutoff = _cut_off(tx, request, cutoff_now(tx.now), request.participant_id)
    ended = _end_sessions(tx, request, EndReason.KICKED, lambda row: True, revoke=True)
    return Restricted(ended, True, cutoff)


def _block(tx: Transaction, request: RestrictRequest) -> Restricted:
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
    ended = _end_sessions(tx, request, EndReason.BLOCKED, lambda row: True, revoke=True)
    return Restricted(ended, True, cutoff)


def _lift(tx: Transaction, request: RestrictRequest) -> Restricted:
    block = tx.state.block_of(request.app, request.participant_id, tx.now)
    if block is None:
        raise NotFoundError("The participant is not blocked.")
    store_restriction(tx, msgspec.structs.replace(block, lifted=True, created_at=tx.now))
    return Restricted((), True, tx.state.cutoff_of(request.app, request.participant_id))


def _cutoff(tx: Transaction, request: RestrictRequest) -> Restricted:
    before = cutoff_now(tx.now) if request.before is None else request.before
    present = tx.state.cutoff_of(request.app, request.participant_id)
    cutoff = _cut_off(tx, request, before, request.participant_id)
    ended = _end_sessions(tx, request, EndReason.TOKEN_REVOKED, lambda row: row.data.issued_at <= before)
    return Restricted(ended, bool(ended) or cutoff > present, cutoff)


def _jti(tx: Transaction, request: RestrictRequest) -> Restricted:
    if not request.jti:
        raise IllegalArgumentError("jti is missing.")
    fresh = not tx.state.is_jti_revoked(request.app, request.jti)
    if fresh:
        _revoke_jti(tx, request, request.jti)
    ended = _end_sessions(tx, request, EndReason.TOKEN_REVOKED, lambda row: row.data.jti == request.jti)
    return Restricted(ended, fresh or bool(ended), tx.state.cutoff_of(request.app, request.participant_id))


def _erase(tx: Transaction, request: RestrictRequest) -> Restricted:
    """Ends, forgets, and leaves a block and the cut-off by hashed id alone."""
    subject = erased_subject(request.participant_id)
    block = tx.state.block_of(request.app, request.participant_id, tx.now)
    ended = _end_sessions(tx, request, EndReason.KICKED, lambda row: True, revoke=True)
    for kind in ("block", "cutoff"):
        _remove_restriction(tx, request.app, kind, request.participant_id)
    if block is not None:
        store_restriction(tx, msgspec.structs.replace(block, subject=subject, reason=""))
    cutoff = _cut_off(tx, request, cutoff_now(tx.now), subject)
    participant = tx.participant(request.app, request.participant_id)
    if participant is not None:
        bump(tx, participant)
        # The last that watchers hear names nobody.
        tx.publish(ParticipantRecord(app=participant.app, id=participant.id, version=participant.version))
        tx.forget_participant(participant)
    begin_erasure(tx, request.app, request.participant_id)
    return Restricted(ended, participant is not None or bool(ended), cutoff)


_KINDS: dict[str, Callable[[Transaction, RestrictRequest], Restricted]] = {
    "kick": _kick,
    "block": _block,
    "lift": _lift,
    "cutoff": _cutoff,
    "jti": _jti,
    "erase": _erase,
}


def _end_sessions(
    tx: Transaction,
    request: RestrictRequest,
    reason: EndReason,
    concerns: Callable[[SessionRow], bool],
    *,
    revoke: bool = False,
) -> tuple[SessionRecord, ...]:
    participant = tx.participant(request.app, request.participant_id)
    rows = [] if participant is None else [row for row in tx.sessions_of(participant) if concerns(row)]
    if participant is None or not rows:
        return ()
    for jti in {row.data.jti for row in rows} if revoke else ():
        _revoke_jti(tx, request, jti)
    rows.sort(key=lambda row: row.order)
    ended = tuple(end_row(tx, row, participant, reason, request.reason) for row in rows)
    finish(tx, participant, changed=True)
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
    # The reason of a kick or block may name somebody; it lies where an erase finds it, and not here too.
    reason = request.reason if request.kind == "jti" else ""
    store_restriction(tx, Restriction(app=request.app, kind="jti", subject=jti, reason=reason, created_at=tx.now))


def _remove_restriction(tx: Transaction, app: str, kind: str, subject: str) -> None:
    if tx.state.restrictions.pop((app, kind, subject), None) is not None:
        tx.writes += 1
        tx.execute("DELETE FROM restrictions WHERE app = ? AND kind = ? AND subject = ?", (app, kind, subject))
