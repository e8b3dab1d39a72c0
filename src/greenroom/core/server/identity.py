"""Who a client is, and whether what it says is well-formed. Pure: refusals are raised."""

from __future__ import annotations

import hashlib

from msgspec import UNSET

from greenroom.codes import ErrorCode
from greenroom.core.server.services import ClientToken, PolicyClaim, SessionServices
from greenroom.errors import ExternalIdMismatchError, IllegalArgumentError, TokenInvalidError
from greenroom.external_ids import check_external_id, differ_only_in_form
from greenroom.model import (
    Application,
    SessionPolicy,
    anonymous_participant_id,
    participant_id_of,
)

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
    if value is None:
        return None
    if not least <= len(value) <= most or not value.isprintable():
        raise IllegalArgumentError(f"{name} must have {least} to {most} printable characters.")
    return value


def known_application(services: SessionServices, token: ClientToken, *, origin: str | None = None) -> Application:
    """The token's application, if it may be used with this token, from this page.

    origin: None where the client is no browser. Raises TokenInvalidError.
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
    if claim.max_sessions is UNSET and claim.when_full is UNSET and claim.same_device is UNSET:
        return policy
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
