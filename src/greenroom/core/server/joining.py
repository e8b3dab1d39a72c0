"""`session.open` and `session.resume`: who a client is, whether what it says is well-formed, and what the engine is
asked for. From the wire to the request, once. Pure: refusals are raised."""

from __future__ import annotations

import hashlib

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
from greenroom.core.requests import AttachRequest, OpenRequest, TokenFacts
from greenroom.core.rooms.names import MAX_WATCHED_ROOMS, check_room_name
from greenroom.core.server.services import ClientToken, Now, PolicyClaim, SessionServices
from greenroom.errors import ExternalIdMismatchError, GreenroomError, IllegalArgumentError, TokenInvalidError
from greenroom.external_ids import check_external_id, differ_only_in_form
from greenroom.messages import OpenParams, ResumeParams
from greenroom.model import (
    Application,
    SessionPolicy,
    anonymous_participant_id,
    make_session_id,
    participant_id_of,
    partition_of,
)

CAPABILITIES = ("resume", "watch", "attributes", "status", "rooms")
MAX_ASKED = 1000
"""Participants named in one request. As UUIDs fewer fit into a message; of shorter ids thousands do, and each costs."""
MAX_WATCHING = 256
"""Pairs that a resume may carry; the rest follows as `participants.watch` (S12)."""
_UPDATE_SCOPE = "session:update"
_SESSION_ID_BYTES = 16
MIN_SECRET_CHARACTERS = 43
"""32 random bytes in base64url without padding (S1). In hex they are 64."""
MAX_SECRET_CHARACTERS = 128
MAX_ID_CHARACTERS = 64
"""Of a participant id that a client names; ours have 36."""
_EVERYTHING = "*"


def allows(scopes: tuple[str, ...], scope: str) -> bool:
    """Whether these session scopes allow what needs ``scope``."""
    return scope in scopes or _EVERYTHING in scopes


def hash_of(secret: str, name: str = "resumeSecret") -> bytes:
    """SHA-256 of a resume secret: all that is ever stored of it. Raises IllegalArgumentError for too short a one."""
    if not MIN_SECRET_CHARACTERS <= len(secret) <= MAX_SECRET_CHARACTERS or not secret.isascii():
        raise IllegalArgumentError(f"{name} is not 32 random bytes in base64url or hex.")
    return hashlib.sha256(secret.encode()).digest()


def check_text(value: str | None, name: str, most: int, least: int = 0) -> str | None:
    """A short text of the client's own, as it is. Raises IllegalArgumentError."""
    if value is not None and (not least <= len(value) <= most or not value.isprintable()):
        raise IllegalArgumentError(f"{name} must have {least} to {most} printable characters.")
    return value


def known_application(services: SessionServices, token: ClientToken, *, origin: str | None = None) -> Application:
    """The token's application, if it may be used with this token, from this page.

    origin: None where the client is not a browser. Raises TokenInvalidError.
    """
    application = services.application(token.app)
    if application is None:
        raise TokenInvalidError("The token's application does not exist (any more).")
    if application.disabled:
        raise TokenInvalidError(code=ErrorCode.APPLICATION_DISABLED)
    if token.issued_at <= application.revoked_before:
        raise TokenInvalidError(code=ErrorCode.TOKEN_REVOKED)
    allowed = application.settings.allowed_origins
    if origin is not None and allowed and origin not in allowed:
        raise TokenInvalidError(code=ErrorCode.ORIGIN_NOT_ALLOWED)
    return application


def _mismatch(given: str, own: str) -> ExternalIdMismatchError:
    if differ_only_in_form(given, own):
        return ExternalIdMismatchError(
            "The external id given differs from the token's in its Unicode form only.",
            hint="External ids are compared byte by byte: use the same form (NFC) for both.",
        )
    return ExternalIdMismatchError()


def identify(token: ClientToken, given: str | None, application: Application, open_id: str) -> tuple[str, str | None]:
    """Participant id and external id (platform.md, external id). An external id of None: anonymous.

    given: what `open` says; "" is none. Raises ExternalIdMismatchError, IllegalArgumentError.
    """
    external_id = given or None
    if token.external_id is not None and token.participant_id is not None:
        if external_id is not None and external_id != token.external_id:
            raise _mismatch(external_id, token.external_id)
        return token.participant_id, token.external_id
    if external_id is None:
        return anonymous_participant_id(application.namespace, open_id), None
    check_external_id(external_id)
    if token.version != 1 and not application.settings.allow_external_id_from_client:
        raise ExternalIdMismatchError(
            "The token has no external id, so `open` may not bring one.",
            hint="Set externalId in the request for the client access token, or allow_external_id_from_client.",
        )
    return participant_id_of(application.namespace, external_id), external_id


def narrowed(policy: SessionPolicy, claim: PolicyClaim) -> SessionPolicy:
    """The application's policy, as the token narrows it."""
    most = claim.max_sessions
    return SessionPolicy(
        max_sessions=min(policy.max_sessions, most) if isinstance(most, int) else policy.max_sessions,
        when_full=claim.when_full if isinstance(claim.when_full, str) else policy.when_full,
        same_device=claim.same_device if isinstance(claim.same_device, str) else policy.same_device,
    )


def check_same_identity(
    token: ClientToken, application: Application | None, app: str, participant_id: str, external_id: str | None
) -> None:
    """A new token must be for the session's own application and participant.

    A token without external id fits an anonymous participant, and where clients may bring external ids (v1) any.
    Raises TokenInvalidError (Token_mismatch).
    """
    if token.participant_id is not None:
        fits = token.participant_id == participant_id
    else:
        legacy = token.version == 1 or (application is not None and application.settings.allow_external_id_from_client)
        fits = external_id is None or legacy
    if not fits or token.app != app:
        raise TokenInvalidError(code=ErrorCode.TOKEN_MISMATCH)


def client_attributes(
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
        attributes = client_attributes(attributes, application, if_new=info.if_new)
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
        policy=settings.policy if token.policy is None else narrowed(settings.policy, token.policy),
        max_application_sessions=settings.max_application_sessions,
        device_id=params.device.id or None,
        device_name=params.device.name or None,
        sdk=f"{params.sdk.name}/{params.sdk.version}" if params.sdk.name else "",
        address=address,
        anonymous=external_id is None,
        grace=services.limits.grace,
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
