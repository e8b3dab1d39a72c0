"""What a session asks about participants: reading and watching them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from msgspec.structs import replace

from greenroom.codes import ErrorCode
from greenroom.core.requests import ParticipantQuery, UnwatchRequest, WatchRequest
from greenroom.core.server.context import EMPTY, RequestId, SessionContext
from greenroom.core.server.joining import MAX_ASKED, MAX_ID_CHARACTERS, check_text
from greenroom.core.server.services import Now
from greenroom.core.watching import to_wire
from greenroom.errors import GreenroomError, IllegalArgumentError
from greenroom.messages import ParticipantsParams, ParticipantsResult, encode_reply
from greenroom.model import Application, ParticipantRecord, participant_id_of


def get(context: SessionContext, request_id: RequestId, params: ParticipantsParams, now: Now) -> None:
    """`participants.get`: those asked for, in that order; unknown ones are offline with version 0."""

    def reply(records: Sequence[ParticipantRecord], _now: Now) -> bytes:
        data = _encode(context, request_id, records, params)
        context.watches.replied({record.id: record.version for record in records})
        return data

    context.request(query_of(context.app, ids_of(params, context.application())), request_id, reply)


def watch(context: SessionContext, request_id: RequestId, params: ParticipantsParams, now: Now) -> None:
    """`participants.watch`: a snapshot, then changes. Of ``known`` only what differs is in the reply."""
    watches, application = context.watches, context.application()
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
        data = _encode(context, request_id, differing, params)
        watches.answer({record.id: record.version for record in records})
        return data

    def undo() -> None:
        _release(context, watches.release(ids))

    context.request(WatchRequest(context.app, ids, known), request_id, reply, undo)


def unwatch(context: SessionContext, request_id: RequestId, params: ParticipantsParams, now: Now) -> None:
    """`participants.unwatch`: of the session's own participant changes are always sent."""
    gone = _drop(context, ids_of(params, context.application()))
    context.request(UnwatchRequest(context.app, gone), request_id, lambda _result, _now: EMPTY)


def stop_watching(context: SessionContext, ids: Iterable[str]) -> None:
    """The session may no longer watch these."""
    _release(context, _drop(context, ids))


def _drop(context: SessionContext, ids: Iterable[str]) -> tuple[str, ...]:
    """Those of them that were watched, but for the session's own participant."""
    return context.watches.drop(one for one in ids if one != context.participant_id)


def _release(context: SessionContext, gone: tuple[str, ...]) -> None:
    if gone:
        context.notify_engine(UnwatchRequest(context.app, gone))


def query_of(app: str, ids: tuple[str, ...]) -> ParticipantQuery:
    """These participants, read from the engine."""
    return ParticipantQuery(app=app, ids=ids, limit=len(ids))


def ids_of(params: ParticipantsParams, application: Application | None) -> tuple[str, ...]:
    """The participants that a request names, each once. Raises what refuses it."""
    if len(params.ids) + len(params.external_ids) > MAX_ASKED:
        raise IllegalArgumentError(f"ids and externalIds may be {MAX_ASKED}.", hint="Ask for fewer at a time.")
    ids = list(params.ids)
    if params.external_ids:
        if application is None:
            raise GreenroomError(code=ErrorCode.SERVICE_UNAVAILABLE)
        ids += [participant_id_of(application.namespace, one) for one in params.external_ids]
    for one in ids:
        check_text(one, "ids", MAX_ID_CHARACTERS, 1)
    return tuple(dict.fromkeys(ids))


def _encode(
    context: SessionContext, request_id: RequestId, records: Sequence[ParticipantRecord], params: ParticipantsParams
) -> bytes:
    """The reply with these records. Raises IllegalArgumentError where it would be too long.

    Who was never seen has no record with an external id; whoever asked by it must be able to see whose it is.
    """
    application, max_bytes = context.application(), context.services.limits.max_reply_bytes
    names: dict[str, str] = {}
    if application is not None:
        names = {participant_id_of(application.namespace, one): one for one in params.external_ids}
    reply = encode_reply(
        request_id,
        ParticipantsResult(
            [
                to_wire(replace(one, external_id=names[one.id]) if one.external_id is None and one.id in names else one)
                for one in records
            ]
        ),
    )
    if len(reply) > max_bytes:
        raise IllegalArgumentError(
            f"The answer would have more than {max_bytes} bytes.", hint="Ask for fewer at a time."
        )
    return reply
