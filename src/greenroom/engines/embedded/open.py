"""`open`: a new session, or the repeat of an open whose reply was lost (S2). One straight way: it is the hottest."""

from __future__ import annotations

from hmac import compare_digest

from greenroom.codes import ErrorCode
from greenroom.core.policy import decide_open
from greenroom.core.presence import AVAILABLE
from greenroom.core.requests import Attached, OpenRequest
from greenroom.engines.embedded.invitations import invitations_of
from greenroom.engines.embedded.memberships import follow
from greenroom.engines.embedded.rows import ENDED, ONLINE, ParticipantRow, SessionData, SessionRow
from greenroom.engines.embedded.session_steps import (
    attach_row,
    check_admitted,
    emit_participant,
    emit_session,
    end_row,
    fenced,
    set_token,
    update_is_due,
)
from greenroom.engines.embedded.transaction import Transaction
from greenroom.errors import ScopeMissingError, SessionEndedError, TooManySessionsError
from greenroom.model import EndReason


def open_session(tx: Transaction, request: OpenRequest) -> Attached:
    """S2: block and revocation; known openId; same device; limits; create. Checked first, then written."""
    state, app = tx.state, request.app
    if not state.lease_is_good(request.lease):
        raise fenced()
    check_admitted(tx, app, request.participant_id, request.token.jti, request.token.issued_at)
    open_key, known = tx.session_by_open(app, request.participant_id, request.open_id)
    if known is not None:
        return _repeat(tx, request, known)
    participant = tx.participant(app, request.participant_id)
    if participant is None:
        participant = ParticipantRow(0, app, request.participant_id, request.external_id, anonymous=request.anonymous)
        attributes = None if request.attributes is None else participant.change_attributes(request.attributes)
        profile = (request.name or "", request.avatar_url or "", attributes)
    else:
        profile = _changed_profile(request, participant)
    yielding: tuple[SessionRow, ...] = ()
    if participant.sessions or request.policy.max_sessions < 1:
        decision = decide_open(request.policy, request.device_id, tx.sessions_of(participant))
        if decision.refused:
            raise TooManySessionsError()
        yielding = decision.yielding
    most = request.max_application_sessions
    if most is not None and state.counts.get(app, 0) - len(yielding) >= most:
        raise TooManySessionsError(code=ErrorCode.APPLICATION_LIMIT_REACHED)
    return _create(tx, request, participant, profile, yielding, open_key)


def _create(
    tx: Transaction,
    request: OpenRequest,
    participant: ParticipantRow,
    profile: tuple[str, str, bytes | None],
    yielding: tuple[SessionRow, ...],
    open_key: int,
) -> Attached:
    existed = participant.n > 0
    if participant.sessions == 0:
        participant.due = None  # it said when to forget
    by = (request.device_id, request.device_name)
    replaced = tuple([end_row(tx, row, participant, EndReason.REPLACED, by=by) for row in yielding])
    changed = profile != (participant.name, participant.avatar_url, participant.attributes)
    if changed:
        participant.name, participant.avatar_url, participant.attributes = profile
        participant.revision += 1
    others = participant.sessions
    participant.sessions += 1
    participant.connected += 1
    status = None if request.status == AVAILABLE else request.status
    restated = False
    if status is not None or participant.status is not None or participant.statuses is not None:
        participant.set_status(request.session_id, status)
        # With no other session the event `participant.online` says it.
        restated = participant.share_status() and others > 0
        if existed:
            tx.save_status(participant)
    # With a connection whoever it is is online, and that is published at once (`core.presence.show`).
    came = participant.shown != ONLINE
    participant.presence = participant.shown = ONLINE
    participant.since, participant.last_seen = None, tx.now
    participant.version = max(participant.version + 1, tx.now * 1000)
    updated = existed and (changed or restated) and update_is_due(tx, participant)
    tx.save_counts(participant)  # a new one has its number now, which the session's row names
    if existed and changed:
        tx.save_profile(participant)
    token = request.token
    data = SessionData(
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
        order=participant.version,
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
        status=status,
        room_grants=token.room_grants,
    )
    row = tx.insert_session(participant, data, open_key, request.lease)
    state = tx.state
    counts = state.counts
    counts[request.app] = counts.get(request.app, 0) + 1
    emit_session(tx, participant, data, "opened", data.id + ":opened")
    if updated:
        emit_participant(tx, participant, "updated")
    if came:
        emit_participant(tx, participant, "online")
    if participant.rooms is not None:
        follow(tx, participant, EndReason.REPLACED)
    record = participant.record()
    tx.changes.append(record)
    return Attached(
        session=row.record(),
        participant=record,
        created=True,
        replaced=replaced,
        invitations=invitations_of(tx, request.app, request.participant_id) if state.rooms.invited else (),
    )


def _changed_profile(request: OpenRequest, participant: ParticipantRow) -> tuple[str, str, bytes | None]:
    """Name, avatar URL and attributes of a known participant after the open (S4)."""
    present = participant.name, participant.avatar_url, participant.attributes
    if request.if_new:
        return present
    name = participant.name if request.name is None else request.name
    avatar_url = participant.avatar_url if request.avatar_url is None else request.avatar_url
    attributes = participant.attributes
    if request.attributes is not None:
        attributes = participant.change_attributes(request.attributes)
    profile = name, avatar_url, attributes
    if not request.may_change_profile and profile != present:
        raise ScopeMissingError(scope="session:update")
    return profile


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
    return attach_row(tx, row, participant, node=request.node, lease=request.lease, what="reopened")
