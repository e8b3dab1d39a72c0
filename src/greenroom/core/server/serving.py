"""What each method of an open session does: one function a method, in one table.

A handler either asks the engine (`ServerSession.request`) with a function that makes the reply of its answer, or raises
what refuses the request. State, scope and params were checked before.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from greenroom.codes import ErrorCode
from greenroom.core.profile import check_avatar_url, check_name
from greenroom.core.server.calls import (
    Now,
    ReadParticipants,
    RefreshSession,
    UnwatchParticipants,
    UpdateProfile,
    WatchParticipants,
)
from greenroom.core.server.ground import RequestId
from greenroom.core.server.hello import MAX_ID_CHARACTERS, check_same_identity, check_text, known_application
from greenroom.core.watching import to_wire
from greenroom.errors import GreenroomError, IllegalArgumentError
from greenroom.messages import (
    CloseParams,
    Empty,
    NoParams,
    ParticipantResult,
    ParticipantsParams,
    ParticipantsResult,
    RefreshTokenParams,
    RefreshTokenResult,
    UpdateParams,
    encode_reply,
)
from greenroom.model import ParticipantRecord, participant_id_of

if TYPE_CHECKING:
    from greenroom.core.server import ServerSession

Handler = Callable[["ServerSession", RequestId, Any, Now], None]

MAX_UPDATE_ID_CHARACTERS = 64
MAX_ASKED = 1000
"""Participants named in one request. As UUIDs fewer fit into a message; of shorter ids thousands do, and each costs."""


def close(session: ServerSession, request_id: RequestId, params: CloseParams, now: Now) -> None:
    """`session.close`: ends the session, then the connection."""
    if params.session_id is not None and session.owner is not None and params.session_id != session.owner.session_id:
        raise IllegalArgumentError("sessionId is not this connection's session.")
    session.close_session(request_id)


def refresh_token(session: ServerSession, request_id: RequestId, params: RefreshTokenParams, now: Now) -> None:
    """`session.refreshToken`: the same participant, a later end; new scopes count at once."""
    house = session.house
    token = house.verify(params.token, session.address, now)
    application = known_application(house, token)
    check_same_identity(token, application, session.app, session.participant_id, session.external_id)
    owner = session.owner
    assert owner is not None

    def then(_result: Any, at: Now) -> RefreshTokenResult:
        session.refreshed(token, at)
        return RefreshTokenResult(token.expires_at * 1000, list(token.scopes))

    session.request(RefreshSession(owner, token), request_id, then)


def update_participant_info(session: ServerSession, request_id: RequestId, params: UpdateParams, now: Now) -> None:
    """`session.updateParticipantInfo`: repeatable by its updateId (S14)."""
    check_text(params.update_id, "updateId", MAX_UPDATE_ID_CHARACTERS, 1)
    owner = session.owner
    assert owner is not None
    call = UpdateProfile(
        owner=owner,
        app=session.app,
        participant_id=session.participant_id,
        update_id=params.update_id,
        name=None if params.name is None else check_name(params.name),
        avatar_url=None if params.avatar_url is None else check_avatar_url(params.avatar_url),
        if_revision=params.if_revision,
    )
    session.request(call, request_id, lambda record, _now: _one(session, record))


def get_participant(session: ServerSession, request_id: RequestId, params: NoParams, now: Now) -> None:
    """`session.getParticipant`: read from the engine, so never older than what anybody was told."""
    call = ReadParticipants(session.app, (session.participant_id,))
    session.request(call, request_id, lambda records, _now: _one(session, records[0]))


def _one(session: ServerSession, record: ParticipantRecord) -> ParticipantResult:
    session.watches.replied({record.id: record.version})
    return ParticipantResult(to_wire(record))


def get(session: ServerSession, request_id: RequestId, params: ParticipantsParams, now: Now) -> None:
    """`participants.get`: those asked for, in that order; unknown ones are offline with version 0."""

    def then(records: Sequence[ParticipantRecord], _now: Now) -> bytes:
        reply = _many(session, request_id, records, params)
        session.watches.replied({record.id: record.version for record in records})
        return reply

    session.request(ReadParticipants(session.app, _ids(session, params)), request_id, then)


def watch(session: ServerSession, request_id: RequestId, params: ParticipantsParams, now: Now) -> None:
    """`participants.watch`: a snapshot, then changes. Of ``known`` only what differs is in the reply."""
    watches = session.watches
    known = dict(params.known)
    asked = _ids(session, params)
    for one in known:
        check_text(one, "known", MAX_ID_CHARACTERS, 1)
    ids = tuple(dict.fromkeys((*asked, *known)))
    application = session.house.application(session.app)
    most = 0 if application is None else application.settings.max_watched
    fresh = [one for one in ids if one not in watches]
    # One more: the session's own participant is always watched and does not count.
    if len(watches) + len(fresh) > most + 1:
        raise IllegalArgumentError(f"A session may watch {most} participants.", code=ErrorCode.WATCH_LIMIT_REACHED)
    watches.hold(ids)

    def then(records: Sequence[ParticipantRecord], _now: Now) -> bytes:
        differing = [one for one in records if one.id in asked_set or known.get(one.id) != one.version]
        reply = _many(session, request_id, differing, params)
        watches.answer({record.id: record.version for record in records})
        return reply

    def undo() -> None:
        session.unwatch(watches.release(ids))

    asked_set = set(asked)
    session.request(WatchParticipants(session.app, ids), request_id, then, undo)


def unwatch(session: ServerSession, request_id: RequestId, params: ParticipantsParams, now: Now) -> None:
    """`participants.unwatch`: what is not watched is no error. The own participant stays watched."""
    watches = session.watches
    gone = watches.drop(one for one in _ids(session, params) if one != session.participant_id)
    session.request(UnwatchParticipants(session.app, gone), request_id, lambda _result, _now: Empty())


def _ids(session: ServerSession, params: ParticipantsParams) -> tuple[str, ...]:
    if len(params.ids) + len(params.external_ids) > MAX_ASKED:
        raise IllegalArgumentError(f"ids and externalIds may be {MAX_ASKED}.", hint="Ask for fewer at a time.")
    ids = list(params.ids)
    if params.external_ids:
        application = session.house.application(session.app)
        if application is None:
            raise GreenroomError(code=ErrorCode.SERVICE_UNAVAILABLE)
        ids += [participant_id_of(application.namespace, one) for one in params.external_ids]
    for one in ids:
        check_text(one, "ids", MAX_ID_CHARACTERS, 1)
    return tuple(dict.fromkeys(ids))


def _many(
    session: ServerSession, request_id: RequestId, records: Sequence[ParticipantRecord], params: ParticipantsParams
) -> bytes:
    if params.external_ids:
        records = _named(session, records, params.external_ids)
    reply = encode_reply(request_id, ParticipantsResult([to_wire(record) for record in records]))
    most = session.house.limits.max_reply_bytes
    if len(reply) > most:
        raise IllegalArgumentError(f"The answer would have more than {most} bytes.", hint="Ask for fewer at a time.")
    return reply


def _named(
    session: ServerSession, records: Sequence[ParticipantRecord], external_ids: Sequence[str]
) -> list[ParticipantRecord]:
    """Who was never seen has no record with an external id; whoever asked by it must be able to tell whose it is."""
    application = session.house.application(session.app)
    if application is None:
        return list(records)
    names = {participant_id_of(application.namespace, one): one for one in external_ids}
    return [
        msgspec.structs.replace(one, external_id=names[one.id]) if one.external_id is None and one.id in names else one
        for one in records
    ]


HANDLERS: dict[str, Handler] = {
    "session.close": close,
    "session.refreshToken": refresh_token,
    "session.updateParticipantInfo": update_participant_info,
    "session.getParticipant": get_participant,
    "participants.get": get,
    "participants.watch": watch,
    "participants.unwatch": unwatch,
}
"""`open`, `resume` and `ping` are the machine's own."""
