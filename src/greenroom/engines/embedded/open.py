"""`open`: a new session, or the repeat of an open whose reply was lost (S2)."""

from __future__ import annotations

from collections.abc import Sequence
from hmac import compare_digest

from greenroom.codes import ErrorCode
from greenroom.core.policy import decide_open
from greenroom.core.requests import Attached, OpenRequest
from greenroom.engines.embedded.rows import ENDED, ParticipantRow, SessionData, SessionRow, hash_key
from greenroom.engines.embedded.session_steps import (
    attach_row,
    check_admitted,
    check_lease,
    compute_presence,
    emit_participant,
    emit_session,
    end_row,
    finish,
    publish,
    set_token,
    update_is_due,
)
from greenroom.engines.embedded.transaction import Transaction
from greenroom.errors import ScopeMissingError, SessionEndedError, TooManySessionsError
from greenroom.model import EndReason


def open_session(tx: Transaction, request: OpenRequest) -> Attached:
    """S2: block and revocation; known openId; same device; limits; create."""
    check_lease(tx, request.lease)
    check_admitted(tx, request.app, request.participant_id, request.token.jti, request.token.issued_at)
    text = f"{request.app}\x00{request.participant_id}\x00{request.open_id}"
    open_key = hash_key(tx.state.hash_key, text)
    known = tx.session_by_open(open_key)
    if known is not None:
        return _repeat(tx, request, known)
    participant = tx.participant(request.app, request.participant_id)
    profile = _profile_at_open(request, participant)
    sessions_of = [] if participant is None else tx.sessions_of(participant)
    decision = decide_open(request.policy, request.device_id, sessions_of)
    if decision.refused:
        raise TooManySessionsError()
    _check_application_limit(tx, request, len(decision.yielding))
    return _create(tx, request, participant, profile, decision.yielding, open_key)


def _repeat(tx: Transaction, request: OpenRequest, row: SessionRow) -> Attached:
    """The answer to the first open was lost: an attach, without event, info not applied again (S2)."""
    data = row.data
    if not compare_digest(data.first_secret, request.secret_hash):
        raise SessionEndedError(code=ErrorCode.OPEN_ID_CONFLICT)
    if row.state >= ENDED:
        raise SessionEndedError(end_reason=data.end_reason)
    if data.attempt > 0:
        # It was resumed since: this is a late dial, and a newer one has the session (S1).
        raise SessionEndedError(code=ErrorCode.ATTEMPT_SUPERSEDED)
    participant = tx.participant_of(row)
    data.address = request.address
    set_token(row, request.token)
    displaced = attach_row(tx, row, participant, node=request.node, lease=request.lease, what="reopened")
    record = finish(tx, participant, changed=False) or participant.record()
    return Attached(session=row.record(), participant=record, created=False, displaced=displaced)


def _profile_at_open(request: OpenRequest, participant: ParticipantRow | None) -> tuple[str, str]:
    """Name and avatar URL after the open (S4)."""
    if participant is None:
        return request.name or "", request.avatar_url or ""
    if request.if_new:
        return participant.name, participant.avatar_url
    name = participant.name if request.name is None else request.name
    avatar_url = participant.avatar_url if request.avatar_url is None else request.avatar_url
    if not request.may_change_profile and (name, avatar_url) != (participant.name, participant.avatar_url):
        raise ScopeMissingError(scope="session:update")
    return name, avatar_url


def _check_application_limit(tx: Transaction, request: OpenRequest, leaving: int) -> None:
    most = request.max_application_sessions
    if most is not None and tx.state.counts.get(request.app, 0) - leaving >= most:
        raise TooManySessionsError(code=ErrorCode.APPLICATION_LIMIT_REACHED)


def _create(
    tx: Transaction,
    request: OpenRequest,
    participant: ParticipantRow | None,
    profile: tuple[str, str],
    yielding: Sequence[SessionRow],
    open_key: int,
) -> Attached:
    existed = participant is not None
    if participant is None:
        participant = ParticipantRow(
            0, request.app, request.participant_id, request.external_id, anonymous=request.anonymous
        )
    elif participant.sessions == 0:
        participant.due = None  # it said when to forget
    by = (request.device_id, request.device_name)
    replaced = tuple(end_row(tx, row, participant, EndReason.REPLACED, by=by) for row in yielding)
    changed = profile != (participant.name, participant.avatar_url)
    if changed:
        participant.name, participant.avatar_url = profile
        participant.revision += 1
    participant.sessions += 1
    participant.connected += 1
    news = compute_presence(tx, participant, changed=True)
    updated = existed and changed and update_is_due(tx, participant)
    tx.save_counts(participant)  # a new one has its number now, which the session's row names
    if existed and changed:
        tx.save_profile(participant)
    row = _insert(tx, participant, _new_data(tx, request, participant.version), open_key, request.lease)
    if updated:
        emit_participant(tx, participant, "updated")
    record = publish(tx, participant, news)
    return Attached(session=row.record(), participant=record, created=True, replaced=replaced)


def _insert(tx: Transaction, participant: ParticipantRow, data: SessionData, open_key: int, lease: str) -> SessionRow:
    row = tx.insert_session(participant, data, open_key, lease)
    counts = tx.state.counts
    counts[participant.app] = counts.get(participant.app, 0) + 1
    emit_session(tx, row, participant, "opened", data.id + ":opened")
    return row


def _new_data(tx: Transaction, request: OpenRequest, order: int) -> SessionData:
    token = request.token
    return SessionData(
        id=request.session_id,
        participant_id=request.participant_id,
        external_id=request.external_id,
        open_id=request.open_id,
        first_secret=request.secret_hash,
        secret=request.secret_hash,
        previous_secret=b"",
        attempt=0,
        generation=1,
        node=request.node,
        order=order,
        opened_at=tx.now,
        detached_at=None,
        device_id=request.device_id,
        device_name=request.device_name,
        sdk=request.sdk,
        address=request.address,
        jti=token.jti,
        issued_at=token.issued_at,
        expires_at=token.expires_at,
        scopes=token.scopes,
        grace_ms=int(request.grace * 1000),
    )
