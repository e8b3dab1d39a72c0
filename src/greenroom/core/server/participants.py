"""What a session asks about participants: what the engine is asked for, and the reply that is made of its answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from greenroom.codes import ErrorCode
from greenroom.core.requests import ParticipantQuery, WatchRequest
from greenroom.core.server.joining import MAX_ID_CHARACTERS, check_text
from greenroom.core.server.methods import encode_participants, ids_of
from greenroom.core.server.services import Now
from greenroom.core.watching import Watches
from greenroom.errors import IllegalArgumentError
from greenroom.messages import ParticipantsParams
from greenroom.model import Application, ParticipantRecord

RequestId = int | str | None
MakeReply = Callable[[Sequence[ParticipantRecord], Now], bytes]


def query_of(app: str, ids: tuple[str, ...]) -> ParticipantQuery:
    """These participants, read from the engine."""
    return ParticipantQuery(app=app, ids=ids, limit=len(ids))


def get_participants(
    request_id: RequestId,
    params: ParticipantsParams,
    app: str,
    application: Application | None,
    watches: Watches,
    max_bytes: int,
) -> tuple[ParticipantQuery, MakeReply]:
    """`participants.get`: those asked for, in that order; unknown ones are offline with version 0."""

    def reply(records: Sequence[ParticipantRecord], _now: Now) -> bytes:
        data = encode_participants(request_id, records, params, application, max_bytes)
        watches.replied({record.id: record.version for record in records})
        return data

    return query_of(app, ids_of(params, application)), reply


def watch_participants(
    request_id: RequestId,
    params: ParticipantsParams,
    app: str,
    application: Application | None,
    watches: Watches,
    max_bytes: int,
) -> tuple[WatchRequest, MakeReply]:
    """`participants.watch`: a snapshot, then changes. Of ``known`` only what differs is in the reply."""
    known = dict(params.known)
    asked = ids_of(params, application)
    for one in known:
        check_text(one, "known", MAX_ID_CHARACTERS, 1)
    ids = tuple(dict.fromkeys((*asked, *known)))
    in_reply = frozenset(asked)
    most = 0 if application is None else application.settings.max_watched
    fresh = [one for one in ids if one not in watches]
    # One more: the session's own participant is always watched and does not count.
    if len(watches) + len(fresh) > most + 1:
        raise IllegalArgumentError(f"A session may watch {most} participants.", code=ErrorCode.WATCH_LIMIT_REACHED)
    watches.hold(ids)

    def reply(records: Sequence[ParticipantRecord], _now: Now) -> bytes:
        differing = [one for one in records if one.id in in_reply or known.get(one.id) != one.version]
        data = encode_participants(request_id, differing, params, application, max_bytes)
        watches.answer({record.id: record.version for record in records})
        return data

    return WatchRequest(app, ids, known), reply
