"""`beat` and `reap`: the node's lease, the partition clock, and all that is due (S7, S8, promise 4)."""

from __future__ import annotations

from greenroom.core.presence import overdue
from greenroom.engines.base import (
    ENDED_SESSION_MEMORY,
    OPEN_ID_MEMORY,
    BeatResult,
    EventLimits,
    NodeBeat,
    NodeRecord,
    Reaped,
)
from greenroom.engines.embedded.erase import erase_piece
from greenroom.engines.embedded.restrict import forget_restrictions
from greenroom.engines.embedded.rows import (
    ATTACHED,
    COLUMNS,
    DETACHED,
    ENDED,
    PARTICIPANT_COLUMNS,
    PRESENCE_NUMBER,
    PRESENCES,
    REMEMBERED,
    ParticipantRow,
    SessionRow,
)
from greenroom.engines.embedded.session_steps import (
    NOTIFY_AFTER_MS,
    bump,
    detach_row,
    emit_participant,
    emit_session,
    end_row,
    finish,
    update_is_due,
)
from greenroom.engines.embedded.state import NodeLease, State
from greenroom.engines.embedded.transaction import Transaction
from greenroom.engines.embedded.trim import trim_streams
from greenroom.model import EndReason, SessionRecord

BEAT_STORED_MS = 10_000
"""How often a beat, and with it a quiet clock, is stored (S10)."""

_DUE_PARTICIPANTS = f"SELECT {PARTICIPANT_COLUMNS} FROM participants WHERE due <= ? ORDER BY due LIMIT ?"
_FORGET_OPEN_IDS = (
    f"UPDATE sessions SET state = {REMEMBERED}, open_key = NULL, due = due + ? WHERE n IN"
    f" (SELECT n FROM sessions WHERE state = {ENDED} AND due <= ? LIMIT ?)"
)
_FORGOTTEN_SESSIONS = f"SELECT n, app FROM sessions WHERE state = {REMEMBERED} AND due <= ? LIMIT ?"
_REMEMBER_MS = int((ENDED_SESSION_MEMORY - OPEN_ID_MEMORY) * 1000)


def record_beat(tx: Transaction, request: NodeBeat, newest: dict[int, int], lease_ms: int) -> BeatResult:
    """Renews the lease; one that is over is never renewed."""
    state = tx.state
    renewed = request.lease not in state.lapsed
    node = state.nodes.get(request.node)
    if renewed:
        if node is not None and node.beat.lease != request.lease:
            _lapse(state, node.beat.lease)
        if node is None or node.beat.boot != request.boot:
            node = state.nodes[request.node] = NodeLease(request, tx.now, 0)
        node.beat, node.seen_at, node.lease_until = request, tx.now, state.clock + lease_ms
        if request.leaving:
            _lapse(state, request.lease)
            del state.nodes[request.node]
    _store_beat(tx)
    return BeatResult(
        renewed=renewed,
        now=tx.now,
        newest=newest,
        nodes=node_records(state),
        application_sessions={app: count for app, count in state.counts.items() if count},
        directory_version=state.directory_version,
    )


def node_records(state: State) -> tuple[NodeRecord, ...]:
    """The nodes, by name."""
    return tuple(
        NodeRecord(
            node=name,
            boot=node.beat.boot,
            lease=node.beat.lease,
            url=node.beat.url,
            version=node.beat.version,
            ready=node.beat.ready,
            draining=node.beat.draining,
            sessions=node.beat.sessions,
            started_at=node.started_at,
            seen_at=node.seen_at,
            lease_left=(node.lease_until - state.clock) / 1000,
            protocol=node.beat.protocol,
        )
        for name, node in sorted(state.nodes.items())
    )


def _store_beat(tx: Transaction) -> None:
    state = tx.state
    if tx.now - state.stored_beat >= BEAT_STORED_MS or tx.now < state.stored_beat:
        state.stored_beat = tx.now
        tx.execute(
            "UPDATE meta SET value = iif(key = 'beat', ?, ?) WHERE key IN ('beat', 'clock')", (tx.now, state.clock)
        )


def _lapse(state: State, lease: str) -> None:
    state.lapsed[lease] = None
    state.draining.add(lease)
    while len(state.lapsed) > 10_000:
        del state.lapsed[next(iter(state.lapsed))]


def move_clock(state: State, monotonic: float) -> None:
    """On by the time since the last pass, never back, never by more than 2 s (S8)."""
    state.clock = state.clock_at(monotonic)
    state.passed_at = monotonic


def reap(tx: Transaction, monotonic: float, limit: int, events: EventLimits) -> Reaped:
    """One pass. What it costs is what is due; no pass does more than some milliseconds of each kind of work."""
    state = tx.state
    move_clock(state, monotonic)
    tx.clock = state.clock
    for name, node in list(state.nodes.items()):
        if node.lease_until < state.clock:
            _lapse(state, node.beat.lease)
            del state.nodes[name]
    lag = _lag(tx)
    detached = _detach_lapsed(tx, limit)
    ended = _end_due(tx, limit)
    ended += _end_disabled(tx, limit - len(ended))
    published, forgotten, seen = _due_participants(tx, limit)
    tx.execute(_FORGET_OPEN_IDS, (_REMEMBER_MS, state.clock, limit))
    tx.forget_ended(tx.rows(_FORGOTTEN_SESSIONS, (state.clock, limit)))
    forgetting = forget_restrictions(tx, limit)
    erasing = erase_piece(tx)
    trimming = trim_streams(tx, events)
    more = detached >= limit or len(ended) >= limit or seen >= limit or forgetting or erasing or trimming
    return Reaped(ended=tuple(ended), detached=detached, published=published, forgotten=forgotten, lag=lag, more=more)


def _lag(tx: Transaction) -> float:
    for (due,) in tx.rows(f"SELECT min(due) FROM sessions WHERE state = {DETACHED} AND due IS NOT NULL"):
        return 0.0 if due is None else max(0, tx.clock - due) / 1000
    return 0.0


def _detach_lapsed(tx: Transaction, limit: int) -> int:
    """What dead nodes left. Detached, never ended: the client may come back."""
    done = 0
    sql = f"SELECT {COLUMNS} FROM sessions WHERE state = {ATTACHED} AND lease = ? LIMIT ?"
    for lease in list(tx.state.draining):
        rows = [SessionRow(*found) for found in tx.rows(sql, (lease, limit - done))]
        for row in rows:
            participant = tx.participant_of(row)
            detach_row(tx, row, participant, row.data.grace_ms, "its node was lost")
            finish(tx, participant, changed=False)
        done += len(rows)
        if done >= limit:
            return done
        tx.state.draining.discard(lease)
    return done


def _end_due(tx: Transaction, limit: int) -> list[SessionRecord]:
    return [_end(tx, row, EndReason.TIMEOUT) for row in tx.due_sessions(limit)]


def _end_disabled(tx: Transaction, limit: int) -> list[SessionRecord]:
    """Of a disabled application each node ends what it holds, and this what is detached (S18)."""
    state = tx.state
    ended: list[SessionRecord] = []
    for app, application in state.applications.items():
        if (application.disabled or application.deleted) and state.counts.get(app, 0) > 0:
            sql = f"SELECT {COLUMNS} FROM sessions WHERE state = {DETACHED} AND app = ? LIMIT ?"
            rows = [SessionRow(*found) for found in tx.rows(sql, (app, max(0, limit - len(ended))))]
            ended += [_end(tx, row, EndReason.APPLICATION_DISABLED) for row in rows]
    return ended


def _end(tx: Transaction, row: SessionRow, reason: EndReason) -> SessionRecord:
    participant = tx.participant_of(row)
    record = end_row(tx, row, participant, reason)
    seen = participant.last_seen
    finish(tx, participant, changed=True, left=reason)
    if seen is not None and not (participant.anonymous and not participant.sessions):
        # A session that ran out was not seen now, but when it was lost.
        tx.save_last_seen(participant, seen)
    return record


def _due_participants(tx: Transaction, limit: int) -> tuple[int, int, int]:
    """(published, forgotten, looked at)"""
    published = forgotten = 0
    participants = [ParticipantRow(*found) for found in tx.rows(_DUE_PARTICIPANTS, (tx.clock, limit))]
    for participant in participants:
        if participant.sessions == 0:
            tx.forget_participant(participant)
            forgotten += 1
        else:
            published += _publish_overdue(tx, participant)
    return published, forgotten, len(participants)


def _publish_overdue(tx: Transaction, participant: ParticipantRow) -> int:
    """What has lasted for 2 s is published now; when to look again is noted."""
    clock = tx.clock
    again: int | None = None
    for row in tx.sessions_of(participant):
        data = row.data
        if row.state != DETACHED or data.detach_published:
            continue
        due = data.detach_clock + NOTIFY_AFTER_MS
        if due <= clock:
            data.detach_published = True
            tx.save_session(row)
            emit_session(tx, participant, data, "detached", f"{data.id}:detached:{data.generation}")
        else:
            again = due if again is None else min(again, due)
    news = overdue(
        presence=PRESENCES[participant.presence],
        shown=PRESENCES[participant.shown],
        since=participant.since,
        clock=clock,
        after=NOTIFY_AFTER_MS,
    )
    if news is not None:
        participant.shown = PRESENCE_NUMBER[news]
        bump(tx, participant)
        emit_participant(tx, participant, news)
        tx.changes.append(participant.record())
    elif participant.since is not None and participant.shown != participant.presence:
        later = participant.since + NOTIFY_AFTER_MS
        again = later if again is None else min(again, later)
    if participant.update_waits and update_is_due(tx, participant):
        emit_participant(tx, participant, "updated")
    elif participant.update_waits:
        again = participant.update_at if again is None else min(again, participant.update_at)
    participant.due = again
    tx.save_counts(participant)
    return 0 if news is None else 1


def restart(tx: Transaction) -> int:
    """At start: whoever was connected is detached, and every grace begins again (S10). How many there are."""
    sql = f"SELECT {COLUMNS} FROM sessions WHERE state < {ENDED}"
    rows = [SessionRow(*found) for found in tx.rows(sql)]
    for row in rows:
        if row.state == DETACHED:
            row.due = tx.clock + row.data.grace_ms
            tx.save_session(row)
            continue
        participant = tx.participant_of(row)
        detach_row(tx, row, participant, row.data.grace_ms, "the service was restarted")
        finish(tx, participant, changed=False)
        tx.save_last_seen(participant, tx.state.stored_beat or tx.now)
    return len(rows)
