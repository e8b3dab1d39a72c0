"""What happens to a session and its participant: the steps that every operation is made of."""

from __future__ import annotations

from typing import Any

from greenroom.codes import ErrorCode
from greenroom.core.presence import show
from greenroom.core.requests import Attached, Displaced, Owner, TokenFacts
from greenroom.engines.base import (
    ENDED_OF_APPLICATION,
    ENDED_OF_PARTICIPANT,
    NOTIFY_AFTER,
    OPEN_ID_MEMORY,
    UPDATE_EVENT_PERIOD,
)
from greenroom.engines.embedded.invitations import invitations_of
from greenroom.engines.embedded.memberships import follow
from greenroom.engines.embedded.rows import (
    ATTACHED,
    DETACHED,
    ENDED,
    PRESENCE_NUMBER,
    PRESENCES,
    REMEMBERED,
    ParticipantRow,
    SessionData,
    SessionRow,
)
from greenroom.engines.embedded.transaction import Transaction
from greenroom.errors import ParticipantBlockedError, ServiceUnavailableError, SessionEndedError, TokenInvalidError
from greenroom.model import EndReason, Event, ParticipantRecord, Presence, SessionRecord

NOTIFY_AFTER_MS = int(NOTIFY_AFTER * 1000)
OPEN_ID_MEMORY_MS = int(OPEN_ID_MEMORY * 1000)
UPDATE_EVENT_PERIOD_MS = int(UPDATE_EVENT_PERIOD * 1000)
MAX_NOTE = 256
"""Characters of a timeline entry's detail."""
_SURPLUS_ENDED = (
    f"SELECT n, app, key, iif(open_key IS NULL, 0, due), data FROM sessions WHERE p = ? AND (state > 1) = 1"
    f" ORDER BY n DESC LIMIT -1 OFFSET {ENDED_OF_PARTICIPANT}"
)
_COUNT_ENDED = "SELECT count(*) FROM sessions WHERE p = ? AND (state > 1) = 1"


# -- who may (S7, S18) -----------------------------------------------------------------------------------------------


def fenced() -> ServiceUnavailableError:
    """Only a node whose lease is good may take a session: a lapsed one's would have no one to detach it."""
    return ServiceUnavailableError(code=ErrorCode.FENCED, retry_after=1.0)


def check_admitted(tx: Transaction, app: str, participant_id: str, jti: str, issued_at: int) -> None:
    """Blocks, cut-offs and revoked tokens, and a disabled application."""
    state = tx.state
    application = state.applications.get(app)
    if application is not None and (application.disabled or application.deleted):
        raise TokenInvalidError(code=ErrorCode.APPLICATION_DISABLED)
    if not state.restrictions and (application is None or issued_at > application.revoked_before):
        return
    block = state.block_of(app, participant_id, tx.now)
    if block is not None:
        raise ParticipantBlockedError(until=block.until)
    if state.is_jti_revoked(app, jti) or issued_at <= state.cutoff_of(app, participant_id):
        raise TokenInvalidError(code=ErrorCode.TOKEN_REVOKED)


def owned(tx: Transaction, owner: Owner) -> SessionRow:
    """The owner's session, connected. Raises SessionEndedError that says why it is no longer the owner's."""
    row = tx.session(owner.session_id)
    if row is None:
        raise tx.unknown_session(owner.session_id)
    if row.state >= ENDED:
        raise SessionEndedError(end_reason=row.data.end_reason)
    if row.state != ATTACHED or not is_owner(row, owner):
        raise SessionEndedError(code=ErrorCode.ATTEMPT_SUPERSEDED)
    return row


def is_owner(row: SessionRow, owner: Owner) -> bool:
    return row.data.generation == owner.generation and row.lease == owner.lease


# -- sessions --------------------------------------------------------------------------------------------------------


def attach_row(
    tx: Transaction, row: SessionRow, participant: ParticipantRow, *, node: str, lease: str, what: str
) -> Attached:
    """The session gets a connection; generation +1. The answer says what it missed of rooms."""
    data = row.data
    lost_rooms, data.lost_rooms = data.lost_rooms, ()
    displaced = None
    if row.state == ATTACHED:
        displaced = Displaced(data.node, data.id, data.generation)
    else:
        participant.connected += 1
    data.generation += 1
    data.node, row.lease = node, lease
    row.state, row.due, data.detached_at = ATTACHED, None, None
    row.note(tx.now, what, node, data.address)
    if data.detach_published:
        data.detach_published = False
        emit_session(tx, participant, data, "resumed", f"{data.id}:resumed:{data.generation}")
    tx.save_session(row)
    record = finish(tx, participant, changed=False) or participant.record()
    return Attached(
        session=row.record(),
        participant=record,
        created=False,
        displaced=displaced,
        lost_rooms=lost_rooms,
        invitations=invitations_of(tx, row.app, data.participant_id),
    )


def detach_row(tx: Transaction, row: SessionRow, participant: ParticipantRow, grace_ms: int, why: str = "") -> None:
    """The connection is gone. Saves the session, not the participant."""
    data = row.data
    row.state, row.due = DETACHED, tx.clock + grace_ms
    data.detached_at, data.detach_clock, data.detach_published = tx.now, tx.clock, False
    participant.connected -= 1
    row.note(tx.now, "detached", data.node, why)
    tx.save_session(row)
    look_at(participant, tx.clock + NOTIFY_AFTER_MS)


def end_row(
    tx: Transaction,
    row: SessionRow,
    participant: ParticipantRow,
    reason: EndReason,
    text: str = "",
    by: tuple[str | None, str | None] | None = None,
) -> SessionRecord:
    """The one end of a session, with its one event. Saves the session, not the participant.

    by: id and name of the device that took its place.
    Returned is the session as it was while owned, with when and why it ended.
    """
    data, why = row.data, str(reason)
    data.ended_at, data.end_reason, data.end_text = tx.now, why, text
    record = row.record()
    if row.state == ATTACHED:
        participant.connected -= 1
    participant.sessions -= 1
    if data.status is not None:
        participant.set_status(data.id, None)
        tx.save_status(participant)
    row.state, row.due = ENDED, tx.clock + OPEN_ID_MEMORY_MS
    ended = tx.state.ended
    ended[row.app] = ended.get(row.app, 0) + 1
    if ended[row.app] > ENDED_OF_APPLICATION:
        row.state = REMEMBERED  # and forgotten when it is due, a day earlier than others
    row.note(tx.now, "ended", data.node, f"{why}: {text[:MAX_NOTE]}" if text else why)
    tx.save_session(row)
    participant.ended += 1
    if participant.ended > ENDED_OF_PARTICIPANT:
        tx.forget_surplus(tx.rows(_SURPLUS_ENDED, (row.p,)))
        ((participant.ended,),) = tx.rows(_COUNT_ENDED, (row.p,))
    counts = tx.state.counts
    counts[row.app] = counts.get(row.app, 1) - 1
    extra: dict[str, Any] = {"reason": why, "duration": max(0, tx.now - data.opened_at) / 1000}
    if text:
        extra["text"] = text
    if by is not None:
        extra["by"] = {"id": by[0], "name": by[1]}
    emit_session(tx, participant, data, "ended", data.id + ":ended", extra)
    return record


def set_token(row: SessionRow, token: TokenFacts) -> None:
    data = row.data
    if token.expires_at != data.expires_at:
        data.token_grace_since = None
    data.jti, data.issued_at, data.expires_at = token.jti, token.issued_at, token.expires_at
    data.scopes, data.room_grants = token.scopes, token.room_grants


def begin_token_grace(tx: Transaction, row: SessionRow) -> None:
    """A session is attached, perhaps after its token's end: see `SessionRecord.token_grace_since`."""
    data = row.data
    end = data.expires_at * 1000
    if tx.now > end and data.token_grace_since is None:
        was_connected = row.state == ATTACHED or (data.detached_at or 0) >= end
        data.token_grace_since = end if was_connected else tx.now


# -- participants ----------------------------------------------------------------------------------------------------


def finish(
    tx: Transaction, participant: ParticipantRow, *, changed: bool, left: str = "lost"
) -> ParticipantRecord | None:
    """After what happened to the participant's sessions: presence, what is published at once, version, the rosters of
    rooms, and the row.

    changed: the number of sessions or the profile changed, so that watchers are notified in any case.
    left: why the participant left rooms, where it did: the reason for which its sessions ended.
    Returned is the record where it was published, None where nothing was.
    """
    restated = False
    if participant.status is not None or participant.statuses is not None:
        restated = participant.share_status()
        if restated:
            tx.save_status(participant)
    news = compute_presence(tx, participant, changed=changed or restated)
    if participant.sessions == 0 and participant.update_waits:
        participant.update_waits = 0
        emit_participant(tx, participant, "updated")
    elif participant.sessions > 0 and restated and update_is_due(tx, participant):
        emit_participant(tx, participant, "updated")
    if participant.rooms is not None:
        follow(tx, participant, left)
    if participant.sessions == 0 and participant.anonymous:
        tx.forget_participant(participant)
    else:
        tx.save_counts(participant)
    return publish(tx, participant, news) if changed or restated or news is not None else None


def compute_presence(tx: Transaction, participant: ParticipantRow, *, changed: bool) -> Presence | None:
    """The first half of `finish`: works out what the participant is now, and what is news. Writes nothing."""
    showing = show(
        connected=participant.connected,
        sessions=participant.sessions,
        shown=PRESENCES[participant.shown],
        since=participant.since,
        clock=tx.clock,
    )
    participant.presence = PRESENCE_NUMBER[showing.presence]
    participant.shown = PRESENCE_NUMBER[showing.shown]
    participant.since = showing.since
    participant.last_seen = tx.now
    if participant.sessions == 0:
        participant.due = tx.clock + tx.state.keep_offline_ms(participant.app)
    elif showing.since is not None and showing.shown is not Presence.UNREACHABLE:
        look_at(participant, tx.clock + NOTIFY_AFTER_MS)
    if changed or showing.news is not None:
        bump(tx, participant)
    return showing.news


def publish(tx: Transaction, participant: ParticipantRow, news: Presence | None) -> ParticipantRecord:
    """The last step of `finish`: the event and the change."""
    if news is not None:
        emit_participant(tx, participant, news)
    record = participant.record()
    tx.changes.append(record)
    return record


def look_at(participant: ParticipantRow, clock: int) -> None:
    """A reaper pass looks at the participant then, if not before."""
    participant.due = clock if participant.due is None else min(participant.due, clock)


def bump(tx: Transaction, participant: ParticipantRow) -> None:
    """A version above the last and at or above the engine's time in microseconds (S11)."""
    participant.version = max(participant.version + 1, tx.now * 1000)


# -- events ----------------------------------------------------------------------------------------------------------


def emit_session(
    tx: Transaction,
    participant: ParticipantRow,
    data: SessionData,
    what: str,
    event_id: str,
    extra: dict[str, Any] | None = None,
) -> None:
    body: dict[str, Any] = {} if extra is None else extra
    if data.external_id is not None:
        body["externalId"] = data.external_id
    if data.device_id is not None or data.device_name is not None:
        body["device"] = {"id": data.device_id, "name": data.device_name}
    tx.emit(
        Event(
            id=event_id,
            type="session." + what,
            at=tx.now,
            app=participant.app,
            participant_id=participant.id,
            session_id=data.id,
            data=body,
        )
    )


def update_is_due(tx: Transaction, participant: ParticipantRow) -> bool:
    """The profile changed: whether the event goes out now. If not, one event is about all changes of the next seconds.

    Who has no session can be changed by the app's backend alone, which gets the event at once. The caller saves the
    row.
    """
    if tx.clock < participant.update_at and participant.sessions:
        participant.update_waits = 1
        look_at(participant, participant.update_at)
        return False
    participant.update_at, participant.update_waits = tx.clock + UPDATE_EVENT_PERIOD_MS, 0
    return True


def emit_participant(tx: Transaction, participant: ParticipantRow, what: str) -> None:
    body: dict[str, Any] = {
        "version": participant.version,
        "revision": participant.revision,
        "sessions": participant.sessions,
        "name": participant.name,
        "avatarUrl": participant.avatar_url,
    }
    if participant.external_id is not None:
        body["externalId"] = participant.external_id
    if participant.attributes is not None:
        body["attributes"] = participant.attributes_by_name()
    if participant.status is not None:
        body["status"] = participant.status
    tx.emit(
        Event(
            id=f"{participant.id}:{participant.version}:{what}",
            type="participant." + what,
            at=tx.now,
            app=participant.app,
            participant_id=participant.id,
            data=body,
        )
    )
