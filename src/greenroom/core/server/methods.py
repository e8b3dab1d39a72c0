"""What the other methods of a session ask the engine for: from the wire to the request, once. Refusals are raised."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from greenroom.codes import ErrorCode
from greenroom.core.profile import check_avatar_url, check_name, check_status
from greenroom.core.requests import Owner, UpdateRequest
from greenroom.core.server.joining import MAX_ASKED, MAX_ID_CHARACTERS, check_text, client_attributes
from greenroom.core.server.rooms import room_cost_of
from greenroom.core.watching import to_wire
from greenroom.errors import GreenroomError, IllegalArgumentError
from greenroom.messages import ParticipantsParams, ParticipantsResult, SetStatusParams, UpdateParams, encode_reply
from greenroom.model import Application, ParticipantRecord, participant_id_of

_MAX_UPDATE_ID_CHARACTERS = 64


def update_request(
    params: UpdateParams, owner: Owner | None, app: str, participant_id: str, application: Application | None
) -> UpdateRequest:
    """`session.updateParticipantInfo`. Raises what refuses it."""
    check_text(params.update_id, "updateId", _MAX_UPDATE_ID_CHARACTERS, 1)
    attributes = params.attributes
    if attributes is not None:
        attributes = client_attributes(attributes, application, if_new=False)
    return UpdateRequest(
        owner=owner,
        app=app,
        participant_id=participant_id,
        update_id=params.update_id,
        name=None if params.name is None else check_name(params.name),
        avatar_url=None if params.avatar_url is None else check_avatar_url(params.avatar_url),
        attributes=attributes,
        if_revision=params.if_revision,
    )


def status_request(params: SetStatusParams, owner: Owner | None, app: str, participant_id: str) -> UpdateRequest:
    """`session.setStatus`. Raises what refuses it."""
    return UpdateRequest(owner=owner, app=app, participant_id=participant_id, status=check_status(params.status))


def cost_of(params: object) -> int:
    """What a request costs of the budget for participants: each that it names, and each four bytes of attributes."""
    if isinstance(params, ParticipantsParams):
        return len(params.ids) + len(params.external_ids) + len(params.known)
    if isinstance(params, UpdateParams) and params.attributes:
        return sum(len(name) + len(value or "") for name, value in params.attributes.items()) // 4
    return room_cost_of(params)


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


def encode_participants(
    request_id: int | str | None,
    records: Sequence[ParticipantRecord],
    params: ParticipantsParams,
    application: Application | None,
    max_bytes: int,
) -> bytes:
    """The reply with these records. Raises IllegalArgumentError where it would have more than ``max_bytes``.

    Who was never seen has no record with an external id; whoever asked by it must be able to see whose it is.
    """
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
