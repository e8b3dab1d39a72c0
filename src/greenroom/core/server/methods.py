"""What the methods of a session ask the engine for: from the wire to the request, once. Refusals are raised."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from greenroom.codes import ErrorCode
from greenroom.core.profile import (
    MAX_ATTRIBUTE_NAME,
    check_attributes,
    check_avatar_url,
    check_name,
    check_status,
    not_for_clients,
    usable,
)
from greenroom.core.requests import AttachRequest, OpenRequest, Owner, TokenFacts, UpdateRequest
from greenroom.core.rooms.names import MAX_WATCHED_ROOMS, check_room_name
from greenroom.core.server.identity import (
    MAX_ID_CHARACTERS,
    allows,
    check_text,
    hash_of,
    identify,
    known_application,
    narrowed,
)
from greenroom.core.server.rooms import room_cost_of
from greenroom.core.server.services import ClientToken, Now, SessionLimits, SessionServices
from greenroom.core.watching import to_wire
from greenroom.errors import GreenroomError, IllegalArgumentError
from greenroom.messages import (
    OpenParams,
    OpenResult,
    ParticipantsParams,
    ParticipantsResult,
    ResumeParams,
    SetStatusParams,
    UpdateParams,
    WireLimits,
    WireSession,
    encode_reply,
)
from greenroom.model import Application, ParticipantRecord, make_session_id, participant_id_of, partition_of

CAPABILITIES = ("resume", "watch", "attributes", "status", "rooms")
MAX_ASKED = 1000
"""Participants named in one request. As UUIDs fewer fit into a message; of shorter ids thousands do, and each costs."""
MAX_WATCHING = 256
"""Pairs that a resume may carry; the rest follows as `participants.watch` (S12)."""
_UPDATE_SCOPE = "session:update"
_MAX_UPDATE_ID_CHARACTERS = 64
_SESSION_ID_BYTES = 16


def open_request(
    params: OpenParams, services: SessionServices, *, address: str, origin: str | None, now: Now
) -> OpenRequest:
    """`session.open`. Raises what refuses it."""
    secret_hash = hash_of(params.resume_secret)
    check_text(params.open_id, "openId", 128, 1)
    check_text(params.device.id, "device.id", 128)
    check_text(params.device.name, "device.name", 256)
    check_text(params.sdk.name, "sdk.name", 64)
    check_text(params.sdk.version, "sdk.version", 64)
    token = services.verify(params.token, address, now, opening=True)
    application = known_application(services, token, origin=origin)
    settings = application.settings
    info = params.participant
    participant_id, external_id = identify(token, info.external_id, application, params.open_id)
    attributes = info.attributes
    if attributes is not None:
        attributes = _client_attributes(attributes, application, if_new=info.if_new)
    status = params.status
    if status is not None:
        # Opened again with fewer rights: the session begins as available.
        status = check_status(status) if allows(token.scopes, _UPDATE_SCOPE) else None
    name = None if info.name is None else check_name(info.name)
    avatar_url = None if info.avatar_url is None else check_avatar_url(info.avatar_url)
    may_change_profile = settings.open_profile != "scope" or allows(token.scopes, _UPDATE_SCOPE)
    if token.name is not None or token.avatar_url is not None:
        # Signed by an issuer of the application: what the client does not bring itself needs no scope.
        may_change_profile = may_change_profile or (name is None and avatar_url is None and attributes is None)
        name = usable(token.name, check_name) if name is None else name
        avatar_url = usable(token.avatar_url, check_avatar_url) if avatar_url is None else avatar_url
    # An anonymous participant is new each time: its token and address stand for it.
    services.admit(application.key, participant_id if external_id else f"{token.jti} {address}", now)
    partition = partition_of(application.key, participant_id)
    return OpenRequest(
        app=application.key,
        participant_id=participant_id,
        external_id=external_id,
        open_id=params.open_id,
        secret_hash=secret_hash,
        session_id=make_session_id(partition, services.random_bytes(_SESSION_ID_BYTES)),
        token=facts_of(token),
        name=name,
        avatar_url=avatar_url,
        attributes=attributes,
        status=status,
        if_new=info.if_new,
        may_change_profile=may_change_profile,
        policy=narrowed(settings.policy, token.policy),
        max_application_sessions=settings.max_application_sessions,
        device_id=params.device.id or None,
        device_name=params.device.name or None,
        sdk=f"{params.sdk.name}/{params.sdk.version}" if params.sdk.name else "",
        address=address,
        anonymous=external_id is None,
        grace=services.limits.grace,
    )


def join_result(
    owner: Owner,
    limits: SessionLimits,
    expires_at: int,
    now: Now,
    participant: ParticipantRecord,
    changed: Sequence[ParticipantRecord],
    scopes: tuple[str, ...],
    status: str | None,
) -> OpenResult:
    """The result of `session.open` and `session.resume`. expires_at: of the token, Unix seconds. status: of the
    session, None where it is `available`."""
    return OpenResult(
        session=WireSession(
            owner.session_id,
            owner.generation,
            limits.grace,
            expires_at * 1000,
            server_time=int(now.wall * 1000),
            status=status,
        ),
        participant=to_wire(participant),
        scopes=list(scopes),
        capabilities=list(CAPABILITIES),
        changed=[to_wire(record) for record in changed],
        limits=WireLimits(
            messages_per_second=limits.messages_per_second, messages_burst=limits.messages_burst, max_ids=MAX_ASKED
        ),
    )


def attach_request(
    params: ResumeParams, services: SessionServices, *, address: str, origin: str | None, now: Now
) -> tuple[AttachRequest, ClientToken | None]:
    """`session.resume`, and the token that it carries. Raises what refuses it."""
    secret_hash = hash_of(params.resume_secret)
    next_hash = hash_of(params.next_secret, "nextSecret")
    check_text(params.session_id, "sessionId", 128, 1)
    if not 0 < params.attempt < 2**53:
        raise IllegalArgumentError("attempt must be a positive number.")
    if len(params.watching) > MAX_WATCHING:
        raise IllegalArgumentError(
            f"watching may have {MAX_WATCHING} pairs.", hint="Send the rest with participants.watch {known}."
        )
    for one, _ in params.watching:
        check_text(one, "watching", MAX_ID_CHARACTERS, 1)
    if len(params.watching_rooms) > MAX_WATCHED_ROOMS:
        raise IllegalArgumentError(f"watchingRooms may have {MAX_WATCHED_ROOMS} pairs.")
    for one, _ in params.watching_rooms:
        check_room_name(one, "watchingRooms")
    services.check_resume(params.session_id, address, now)
    token = None
    if params.token is not None:
        token = services.verify(params.token, address, now)
        known_application(services, token, origin=origin)
    request = AttachRequest(
        session_id=params.session_id,
        app=None if token is None else token.app,
        participant_id=None if token is None else token.participant_id,
        token=None if token is None else facts_of(token),
        secret_hash=secret_hash,
        next_secret_hash=next_hash,
        attempt=params.attempt,
        address=address,
    )
    return request, token


def update_request(
    params: UpdateParams, owner: Owner | None, app: str, participant_id: str, application: Application | None
) -> UpdateRequest:
    """`session.updateParticipantInfo`. Raises what refuses it."""
    check_text(params.update_id, "updateId", _MAX_UPDATE_ID_CHARACTERS, 1)
    attributes = params.attributes
    if attributes is not None:
        attributes = _client_attributes(attributes, application, if_new=False)
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


def _client_attributes(
    changes: dict[str, str | None], application: Application | None, *, if_new: bool
) -> dict[str, str | None]:
    """Changes of attributes by a client. Raises IllegalArgumentError for those that only the backend may set; an
    automatic reopen (if_new) is not refused for what the application has withdrawn since, it does without."""
    if application is None:
        raise GreenroomError(code=ErrorCode.SERVICE_UNAVAILABLE)
    refused = not_for_clients(changes, application.settings.client_attributes)
    if not refused:
        return check_attributes(changes)
    if if_new:
        return check_attributes({name: value for name, value in changes.items() if name not in refused})
    names = ", ".join(name[:MAX_ATTRIBUTE_NAME] for name in refused[:8])
    raise IllegalArgumentError(
        f"Only the app's backend may set these attributes: {names}.",
        hint="Leave them out, set them with PATCH /v1/participants/{id}, or name them in clientAttributes.",
    )


def facts_of(token: ClientToken) -> TokenFacts:
    """What the engine is given of a token."""
    return TokenFacts(
        jti=token.jti,
        issued_at=token.issued_at,
        expires_at=token.expires_at,
        scopes=token.scopes,
        room_grants=token.room_grants,
    )


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
