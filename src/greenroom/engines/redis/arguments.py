"""Requests as the arguments of a function: a list of texts, or one JSON object. Bytes are hex, times are ms."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeVar

import msgspec

from greenroom.core.presence import AVAILABLE
from greenroom.core.requests import AttachRequest, EndRequest, OpenRequest, Owner, TokenFacts, UpdateRequest
from greenroom.engines.base import EraseParticipant, RestrictRequest, restriction_expires
from greenroom.errors import IllegalArgumentError
from greenroom.model import (
    ERASED,
    Application,
    ParticipantRecord,
    Restriction,
    RoomGrant,
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


def subject(app: str, name: str) -> str:
    """As the functions name a participant, or a room, of an application."""
    return f"{len(app.encode())}:{app}:{name}"


def milliseconds(seconds: float) -> int:
    return round(seconds * 1000)


# -- a session's life --------------------------------------------------------------------------------------------------

Texts = tuple[str | int, ...]
"""A request as a list of texts, which a function reads at a fraction of what JSON costs it (`REQUESTS`)."""

ABSENT = "\1"
"""A text that is not there. No name or id is this."""


def joined(texts: Texts) -> bytes:
    """The texts as one, each with a null behind it: to Redis each argument costs as much as reading it. Raises
    IllegalArgumentError where a text has a null in it."""
    text = "\0".join(map(str, texts)) + "\0"
    if text.count("\0") != len(texts):
        raise IllegalArgumentError("A text has a null character in it.")
    return text.encode()


REQUESTS = {
    "open": """
        app pid hashed oid secret id node lease jti iat exp scopes grace max_sessions# when_full same_device
        max_application_sessions#? other_sessions# xid? dev? devname? sdk? addr? status? name? avatar_url? attributes*?
        if_new? keep_profile? anonymous? packed?""",
    "attach": """
        id node lease secret next_secret attempt# app? pid? jti? iat? exp? scopes? owner_generation? owner_lease?
        addr?""",
    "refresh": "id owner_generation owner_lease jti iat exp scopes leave*?",
    "detach": "id owner_generation owner_lease grace_ms#",
    "close": "id reason text owner_generation? owner_lease? secret? app?",
    "update": """
        app pid name? avatar_url? attributes*? status? if_revision#? id? owner_generation? owner_lease? update_id?""",
    "room_owner": "id owner_generation owner_lease",
    "room_join": "id owner_generation owner_lease room limit#",
    "room_leave": "id owner_generation owner_lease room reason",
    "answer": "id owner_generation owner_lease invitation accept",
    "room_take": """
        roster#? | app room pid number# reason sessions shown? id? record? version? attributes? max_rooms#?
        other_rooms#? max_members#? detailed_members#?""",
    "room_done": "| mark number# none?",
    "room_send": "app room sender shown sid mid message to rate# room_rate#",
}
"""By function what its texts are, in order, named as they are stored. `#`: a number in Lua, `*`: JSON, `?`: may be
absent. They are `joined`; but where something follows `|`, which is there once for each of the request's `items`, each
text is an argument."""

CREATED = (
    "id", "app", "pid", "gen", "state", "node", "lease", "opened", "secret", "hashed", "oid", "grace", "jti", "iat",
    "exp", "scopes", "xid?", "dev?", "devname?", "sdk?", "addr?", "status?",
)  # fmt: skip
"""A session as its open made it, in one field, `v2`: each text with a null behind it, those that are absent (`?`)
empty. A later version may put more behind them."""


def in_lua(requests: Mapping[str, str]) -> str:
    """A table of functions that make a request of ARGV, as Lua."""
    rows = []
    for function, names in requests.items():
        single, _, repeated = (part.split() for part in names.partition("|"))
        lines = []
        if repeated:
            members = [_member_in_lua(name, f"args[{place}]") for place, name in enumerate(single, 2)]
            each = [_member_in_lua(name, f"args[i + {place}]") for place, name in enumerate(repeated)]
            lines.append("local items = {}")
            lines.append(f"for i = {2 + len(single)}, #args, {len(repeated)} do")
            lines.append(f"  items[#items + 1] = {{{', '.join(each)}}}")
            lines.append("end")
            members.append("items = items")
        else:
            members = [_member_in_lua(name, f"v{place}") for place, name in enumerate(single)]
            values = ", ".join(f"v{place}" for place in range(len(single)))
            lines.append(f"local {values} = split('{'s' * len(single)}', args[2])")
        lines.append(f"return {{{', '.join(members)}}}")
        body = "".join(f"    {line}\n" for line in lines)
        rows.append(f"  {function} = function(args)\n{body}  end,")
    return "\n".join(["local ABSENT = '\\1'", "local REQUESTS = {", *rows, "}"])


def unpacked_in_lua(name: str, fields: Sequence[str]) -> str:
    """A function that makes a table of a packed field, as Lua."""
    values = [f"v{place}" for place in range(len(fields))]
    members = [
        f"{field[:-1]} = {value} ~= '' and {value} or nil" if field.endswith("?") else f"{field} = {value}"
        for field, value in zip(fields, values, strict=True)
    ]
    form = "s" * len(fields)
    return "\n".join(
        [
            f"local function {name}(text)",
            f"  local {', '.join(values)} = split('{form}', text)",
            f"  return {{{', '.join(members)}}}",
            "end",
        ]
    )


def _member_in_lua(name: str, value: str) -> str:
    given = value
    if "*" in name:
        value = f"cjson.decode({value})"
    elif "#" in name:
        value = f"tonumber({value})"
    if "?" in name:
        value = f"{given} ~= ABSENT and {value} or nil"
    return f"{name.rstrip('#*?')} = {value}"


def given(text: str | None) -> str:
    """The text, or that there is none."""
    return ABSENT if text is None else text


def _flag(value: bool) -> str:
    return "1" if value else ABSENT


def _json(value: object) -> str:
    return ABSENT if value is None else encode(value).decode()


def owner_texts(owner: Owner) -> Texts:
    """How the functions about what a session does in rooms begin."""
    return (owner.session_id, *_owner(owner))


def _owner(owner: Owner | None) -> tuple[str | int, str]:
    return (ABSENT, ABSENT) if owner is None else (owner.generation, owner.lease)


def _token(token: TokenFacts | None) -> Texts:
    if token is None:
        return ABSENT, ABSENT, ABSENT, ABSENT
    return token.jti, token.issued_at, token.expires_at, rights(token.scopes, token.room_grants)


GRANTS = "rooms="
"""What a session's grants in rooms begin with, among its scopes: no scope begins so."""


def rights(scopes: Sequence[str], grants: Sequence[RoomGrant]) -> str:
    """What a token allows, in one field with single spaces between. To a node of a version without rooms the grants are
    a scope that it does not know."""
    if not grants:
        return " ".join(scopes)
    return " ".join((*scopes, GRANTS + encode(grants).decode().replace(" ", "\\u0020")))


def open_texts(request: OpenRequest, other_sessions: int, *, packed: bool) -> Texts:
    """other_sessions: of the application, in the other partitions (S3). packed: every node can read that."""
    policy = request.policy
    most = request.max_application_sessions
    return (
        request.app,
        request.participant_id,
        hashed(request.participant_id),
        request.open_id,
        request.secret_hash.hex(),
        request.session_id,
        request.node,
        request.lease,
        *_token(request.token),
        milliseconds(request.grace),
        policy.max_sessions,
        policy.when_full,
        policy.same_device,
        ABSENT if most is None else most,
        other_sessions,
        given(request.external_id),
        given(request.device_id),
        given(request.device_name),
        request.sdk or ABSENT,
        request.address or ABSENT,
        ABSENT if request.status is None or request.status == AVAILABLE else request.status,
        given(request.name),
        given(request.avatar_url),
        _json(request.attributes),
        _flag(request.if_new),
        _flag(not request.may_change_profile),
        _flag(request.anonymous),
        _flag(packed and "" not in (request.external_id, request.device_id, request.device_name)),
    )


def attach_texts(request: AttachRequest) -> Texts:
    return (
        request.session_id,
        request.node,
        request.lease,
        request.secret_hash.hex(),
        request.next_secret_hash.hex(),
        request.attempt,
        given(request.app),
        given(request.participant_id),
        *_token(request.token),
        *_owner(request.previous),
        request.address or ABSENT,
    )


def refresh_texts(owner: Owner, token: TokenFacts, leave: Sequence[str]) -> Texts:
    return (*owner_texts(owner), *_token(token), _json(leave) if leave else ABSENT)


def detach_texts(owner: Owner, grace: float) -> Texts:
    return (*owner_texts(owner), milliseconds(grace))


def close_texts(request: EndRequest) -> Texts:
    return (
        request.session_id,
        request.reason,
        request.text,
        *_owner(request.owner),
        ABSENT if request.secret_hash is None else request.secret_hash.hex(),
        given(request.app),
    )


def update_texts(request: UpdateRequest) -> Texts:
    owner = request.owner
    return (
        request.app,
        request.participant_id,
        given(request.name),
        given(request.avatar_url),
        _json(request.attributes),
        given(request.status),
        ABSENT if request.if_revision is None else request.if_revision,
        ABSENT if owner is None else owner.session_id,
        *_owner(owner),
        given(request.update_id),
    )


# -- everything else ---------------------------------------------------------------------------------------------------


def restrict_argument(request: RestrictRequest) -> bytes:
    more: dict[str, Any] = msgspec.structs.asdict(request)
    if isinstance(request, EraseParticipant):
        more["erased"] = erased_subject(request.participant_id)
    return argument(kind=request.__struct_config__.tag, hashed=hashed(request.participant_id), **more)


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
        "scopes": rights(session.scopes, session.room_grants),
        "secret": secret_hash.hex(),
        "hashed": hashed(session.participant_id),
        "attempt": attempt,
        "grace": milliseconds(grace),
        "status": session.status,
        "rooms": encode(session.rooms).decode() if session.rooms else None,
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
