"""Requests as the JSON argument of a function: what is None is left out, bytes are hex, times are ms."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

import msgspec

from greenroom.core.presence import AVAILABLE
from greenroom.core.requests import AttachRequest, EndRequest, OpenRequest, Owner, UpdateRequest
from greenroom.engines.base import EraseParticipant, RestrictRequest, restriction_expires
from greenroom.model import (
    ERASED,
    Application,
    ParticipantRecord,
    Restriction,
    SealedKey,
    SessionRecord,
    erased_subject,
)

T = TypeVar("T")

encode = msgspec.json.encode


def argument(**members: Any) -> bytes:
    """One JSON object without the members that are None."""
    return encode({name: value for name, value in members.items() if value is not None})


def hashed(subject: str) -> str:
    """Under which restrictions of a participant lie, erased or not: the first half of the hash that names an erased
    one."""
    return (subject if subject.startswith(ERASED) else erased_subject(subject))[len(ERASED) :][:32]


def batched(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """The items in pieces, so that no call holds Redis for long."""
    return (items[start : start + size] for start in range(0, len(items), size))


def milliseconds(seconds: float) -> int:
    return round(seconds * 1000)


def open_argument(request: OpenRequest, other_sessions: int) -> bytes:
    """other_sessions: of the application, in the other partitions (S3)."""
    policy = request.policy
    return argument(
        app=request.app,
        participant_id=request.participant_id,
        hashed=hashed(request.participant_id),
        external_id=request.external_id,
        open_id=request.open_id,
        secret_hash=request.secret_hash.hex(),
        session_id=request.session_id,
        node=request.node,
        lease=request.lease,
        token=request.token,
        name=request.name,
        avatar_url=request.avatar_url,
        attributes=request.attributes,
        status=None if request.status == AVAILABLE else request.status,
        if_new=request.if_new or None,
        keep_profile=None if request.may_change_profile else True,
        max_sessions=policy.max_sessions,
        when_full=policy.when_full,
        same_device=policy.same_device,
        max_application_sessions=request.max_application_sessions,
        other_sessions=None if request.max_application_sessions is None else other_sessions,
        device_id=request.device_id,
        device_name=request.device_name,
        sdk=request.sdk or None,
        address=request.address or None,
        anonymous=request.anonymous or None,
        grace_ms=milliseconds(request.grace),
    )


def attach_argument(request: AttachRequest) -> bytes:
    return argument(
        session_id=request.session_id,
        node=request.node,
        lease=request.lease,
        app=request.app,
        participant_id=request.participant_id,
        token=request.token,
        secret_hash=request.secret_hash.hex(),
        next_secret_hash=request.next_secret_hash.hex(),
        attempt=request.attempt,
        previous=request.previous,
        address=request.address,
    )


def close_argument(request: EndRequest) -> bytes:
    return argument(
        session_id=request.session_id,
        reason=request.reason,
        text=request.text,
        owner=request.owner,
        secret_hash=None if request.secret_hash is None else request.secret_hash.hex(),
        app=request.app,
    )


def update_argument(request: UpdateRequest) -> bytes:
    return argument(
        app=request.app,
        participant_id=request.participant_id,
        name=request.name,
        avatar_url=request.avatar_url,
        attributes=request.attributes,
        status=request.status,
        if_revision=request.if_revision,
        owner=request.owner,
        update_id=request.update_id,
    )


def restrict_argument(request: RestrictRequest) -> bytes:
    more: dict[str, Any] = msgspec.structs.asdict(request)
    if isinstance(request, EraseParticipant):
        more["erased"] = erased_subject(request.participant_id)
    return argument(kind=request.__struct_config__.tag, hashed=hashed(request.participant_id), **more)


def owner_argument(owner: Owner, **more: Any) -> bytes:
    return argument(owner=owner, **more)


def restore_item(
    session: SessionRecord, participant: ParticipantRecord, secret_hash: bytes, attempt: int, grace: float
) -> dict[str, Any]:
    """What `restore` takes for one session: fields named as they are stored."""
    stored = {
        "id": session.id,
        "app": session.app,
        "pid": session.participant_id,
        "xid": session.external_id,
        "gen": session.generation,
        "state": "attached",
        "node": session.node,
        "lease": session.lease,
        "opened": session.opened_at,
        "dev": session.device_id,
        "devname": session.device_name,
        "sdk": session.sdk or None,
        "addr": session.address or None,
        "jti": session.jti,
        "iat": session.token_issued_at,
        "exp": session.token_expires_at,
        "scopes": " ".join(session.scopes),
        "secret": secret_hash.hex(),
        "hashed": hashed(session.participant_id),
        "attempt": attempt,
        "grace": milliseconds(grace),
        "status": session.status,
    }
    profile = {
        "name": participant.name,
        "avatar": participant.avatar_url,
        "rev": participant.revision,
        "ver": participant.version,
        "shown": participant.shown,
        "attrs": "" if participant.attributes is None else encode(participant.attributes).decode(),
    }
    return {"session": {name: value for name, value in stored.items() if value is not None}, "participant": profile}


_FIELD = {"block": "b:", "cutoff": "c:", "jti": "j:"}


def restriction_item(restriction: Restriction) -> dict[str, Any]:
    """What `put_restrictions` takes for one."""
    subject = restriction.subject
    if restriction.kind != "jti":
        subject = hashed(subject)
    record: dict[str, Any] = {
        "kind": restriction.kind,
        "subject": restriction.subject,
        "until": restriction.until,
        "reason": restriction.reason,
        "created_at": restriction.created_at,
    }
    item: dict[str, Any] = {"app": restriction.app, "field": _FIELD[restriction.kind] + subject}
    item["created_at"] = restriction.created_at
    expires = restriction_expires(restriction)
    if expires is not None:
        item["expires"] = expires
    if restriction.kind == "cutoff":
        record["before"] = item["before"] = restriction.before
    if restriction.lifted:
        record["lifted"] = item["lifted"] = True
    item["record"] = encode({name: value for name, value in record.items() if value is not None}).decode()
    return item


def merged(record: Application | SealedKey, stored: bytes | None) -> str:
    """The record as JSON, with the members of the stored one that this version does not know (rolling upgrades)."""
    fresh = msgspec.json.decode(encode(record))
    if stored is not None:
        _keep_unknown(fresh, msgspec.json.decode(stored))
    return encode(fresh).decode()


def _keep_unknown(fresh: dict[str, Any], stored: dict[str, Any]) -> None:
    for name, value in stored.items():
        if name not in fresh:
            fresh[name] = value
        elif isinstance(value, dict) and isinstance(fresh[name], dict):
            _keep_unknown(fresh[name], value)
