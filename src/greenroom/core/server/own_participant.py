"""What a session asks about its own participant: profile and status."""

from __future__ import annotations

from greenroom.core.presence import AVAILABLE
from greenroom.core.profile import check_avatar_url, check_name, check_status
from greenroom.core.requests import UpdateRequest
from greenroom.core.server.context import RequestId, SessionContext
from greenroom.core.server.joining import check_text, client_attributes
from greenroom.core.server.participants import query_of
from greenroom.core.server.services import Now
from greenroom.core.watching import to_wire
from greenroom.messages import NoParams, ParticipantResult, SetStatusParams, UpdateParams
from greenroom.model import ParticipantRecord

_MAX_UPDATE_ID_CHARACTERS = 64


def update_participant_info(context: SessionContext, request_id: RequestId, params: UpdateParams, now: Now) -> None:
    """`session.updateParticipantInfo`: repeatable by its updateId (S14)."""
    check_text(params.update_id, "updateId", _MAX_UPDATE_ID_CHARACTERS, 1)
    attributes = params.attributes
    if attributes is not None:
        attributes = client_attributes(attributes, context.application(), if_new=False)
    request = UpdateRequest(
        owner=context.owner,
        app=context.app,
        participant_id=context.participant_id,
        update_id=params.update_id,
        name=None if params.name is None else check_name(params.name),
        avatar_url=None if params.avatar_url is None else check_avatar_url(params.avatar_url),
        attributes=attributes,
        if_revision=params.if_revision,
    )
    context.request(request, request_id, lambda record, _now: _result(context, record))


def set_status(context: SessionContext, request_id: RequestId, params: SetStatusParams, now: Now) -> None:
    """`session.setStatus`: of this session; the participant's follows from all of its sessions."""
    status = check_status(params.status)
    request = UpdateRequest(owner=context.owner, app=context.app, participant_id=context.participant_id, status=status)

    def then(record: ParticipantRecord, _now: Now) -> ParticipantResult:
        context.note_record(status=None if status == AVAILABLE else status)
        context.participant_changed(record)
        return _result(context, record)

    context.request(request, request_id, then)


def get_participant(context: SessionContext, request_id: RequestId, params: NoParams, now: Now) -> None:
    """`session.getParticipant`: read from the engine, so never older than what any watcher was sent."""
    query = query_of(context.app, (context.participant_id,))
    context.request(query, request_id, lambda records, _now: _result(context, records[0]))


def _result(context: SessionContext, record: ParticipantRecord) -> ParticipantResult:
    context.watches.replied({record.id: record.version})
    return ParticipantResult(to_wire(record))
