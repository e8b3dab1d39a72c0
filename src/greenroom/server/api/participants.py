"""The server API for participants: list, find, read, change, kick, erase; and counts."""

from __future__ import annotations

import re
from typing import Annotated

import msgspec
from msgspec import Meta

from greenroom.codes import ErrorCode
from greenroom.core.profile import check_attributes, check_avatar_url, check_name
from greenroom.core.requests import ParticipantQuery, UpdateRequest
from greenroom.engines.base import SAMPLE_PERIOD, BlockParticipant, EraseParticipant, KickParticipant, Restricted
from greenroom.errors import NotFoundError, RevisionConflictError
from greenroom.model import ParticipantRecord, Presence
from greenroom.server.api.common import (
    Cursor,
    Limit,
    ParticipantPath,
    ParticipantView,
    PresenceName,
    Reason,
    participant_id_for,
    participant_id_in,
    participant_view,
)
from greenroom.server.api.restrictions import BlockTerm, until_of
from greenroom.server.cluster.counts import ApplicationCounts
from greenroom.server.http.problems import illegal
from greenroom.server.http.routes import Answer, Call, Nothing, api
from greenroom.server.webhooks.dead_letters import forget_participant
from greenroom.tokens.scopes import PARTICIPANTS_ADMIN, PARTICIPANTS_READ

_REVISION = re.compile(r'"(0|[1-9][0-9]{0,15})"')


class ParticipantsQuery(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Which participants."""

    presence: Annotated[
        tuple[PresenceName, ...],
        Meta(max_length=3, description="Only participants of this presence; repeatable. Left out: all."),
    ] = ()
    external_id: (
        Annotated[str, Meta(min_length=1, description="Only the participant with this external id.")] | None
    ) = None
    search: (
        Annotated[
            str,
            Meta(
                min_length=1,
                max_length=256,
                description="A part of the name, external id or id, in upper or lower case.",
            ),
        ]
        | None
    ) = None
    cursor: Cursor | None = None
    limit: Limit = 100


class ParticipantPageView(msgspec.Struct, frozen=True, kw_only=True):
    """A page, by id; it may hold fewer than the limit. cursor: for the next one, null at the end."""

    items: tuple[ParticipantView, ...]
    cursor: str | None


class ParticipantPatch(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """What to change: null or absent leaves as it is, "" clears."""

    name: Annotated[str, Meta(max_length=4096, description="At most 256 characters, stored as NFC.")] | None = None
    avatar_url: (
        Annotated[str, Meta(max_length=4096, description="At most 2,048 characters: https, http or relative.")] | None
    ) = None
    attributes: (
        Annotated[
            dict[str, str | None],
            Meta(
                description="Merged into the stored attributes; null removes one. At most 32 with 4 KiB together, names"
                " of 1 to 64 characters, values of up to 1,024 bytes."
            ),
        ]
        | None
    ) = None


class KickRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Why, and whether the participant is to stay out."""

    reason: Reason = ""
    block: BlockTerm | None = None


class KickReply(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """ended: ids of the sessions that this ended. cutoff: tokens issued until then are revoked (Unix seconds).
    blocked_until: Unix milliseconds; null: not blocked, or for good (then blocked is true)."""

    participant_id: str
    ended: tuple[str, ...]
    cutoff: int
    blocked: bool
    blocked_until: int | None


class EraseReply(msgspec.Struct, frozen=True, kw_only=True):
    """ended: ids of the sessions that this ended."""

    ended: tuple[str, ...]


class CountsHistory(msgspec.Struct, frozen=True, kw_only=True):
    """period: seconds from one to the next."""

    items: tuple[ApplicationCounts, ...]
    period: float


async def list_participants(call: Call[Nothing, ParticipantsQuery, Nothing]) -> ParticipantPageView:
    """Participants by id: all, or those of some presences, or found by a search; or the one of an external id."""
    query = call.query
    registry = call.context.engine.registry
    presence = tuple(Presence(name) for name in query.presence)
    if query.external_id is not None:
        ids = (participant_id_for(call, query.external_id),)
        page = await registry.participants(ParticipantQuery(app=call.app.key, ids=ids))
        found = [item for item in page.items if _exists(item) and (not presence or item.presence in presence)]
        return ParticipantPageView(items=tuple(map(participant_view, found)), cursor=None)
    page = await registry.participants(
        ParticipantQuery(
            app=call.app.key, presence=presence, search=query.search or "", cursor=query.cursor, limit=query.limit
        )
    )
    return ParticipantPageView(items=tuple(map(participant_view, page.items)), cursor=page.cursor)


async def get_participant(call: Call[ParticipantPath, Nothing, Nothing]) -> Answer:
    """One participant. The ETag is the revision of the profile."""
    participant_id = participant_id_in(call, call.path.id)
    page = await call.context.engine.registry.participants(ParticipantQuery(app=call.app.key, ids=(participant_id,)))
    record = page.items[0]
    if not _exists(record):
        raise _unknown()
    return _answer(record)


async def change_participant(call: Call[ParticipantPath, Nothing, ParticipantPatch]) -> Answer:
    """Changes name, avatar and attributes. With `If-Match: "<revision>"` only if that is the present revision, else 409
    with the present record in `details.participant`. Setting what is there already is a success, without a new
    revision."""
    body = call.body
    request = UpdateRequest(
        app=call.app.key,
        participant_id=participant_id_in(call, call.path.id),
        name=None if body.name is None else check_name(body.name),
        avatar_url=None if body.avatar_url is None else check_avatar_url(body.avatar_url),
        attributes=None if body.attributes is None else check_attributes(body.attributes),
        if_revision=_expected_revision(call.headers.get("if-match")),
    )
    try:
        record = await call.context.engine.registry.update_participant(request)
    except NotFoundError:
        raise _unknown() from None
    except RevisionConflictError as error:
        present = error.participant
        view = participant_view(present) if isinstance(present, ParticipantRecord) else present
        raise RevisionConflictError(error.message, participant=view, hint=error.hint, code=error.code) from None
    return _answer(record)


async def kick_participant(call: Call[ParticipantPath, Nothing, KickRequest]) -> KickReply:
    """Ends the participant's sessions and revokes the tokens issued so far. Without a block a new token lets the
    participant in again; with one, none does until it ends. Also for a participant who has never opened a session."""
    block = call.body.block
    participant_id = participant_id_in(call, call.path.id)
    until = None if block is None else until_of(block, call.now)
    app, reason = call.app.key, call.body.reason
    request = (
        KickParticipant(app=app, participant_id=participant_id, reason=reason)
        if block is None
        else BlockParticipant(app=app, participant_id=participant_id, until=until, reason=reason)
    )
    restricted = await call.context.control.restrict(request)
    return KickReply(
        participant_id=participant_id,
        ended=ids_of(restricted),
        cutoff=restricted.cutoff,
        blocked=block is not None,
        blocked_until=until,
    )


async def erase_participant(call: Call[ParticipantPath, Nothing, Nothing]) -> EraseReply:
    """Ends the participant's sessions, removes the record and what names the participant, in events, ended sessions and
    dead letters too. A block stays, by hashed id. Also where the record is gone already, or nothing was ever stored."""
    participant_id = participant_id_in(call, call.path.id)
    restricted = await call.context.control.restrict(EraseParticipant(app=call.app.key, participant_id=participant_id))
    await forget_participant(call.context.engine.outbox, call.app, participant_id)
    return EraseReply(ended=ids_of(restricted))


async def get_counts(call: Call[Nothing, Nothing, Nothing]) -> ApplicationCounts:
    """How many participants and sessions there are, over the whole cluster. At most 2 s old; where counting takes
    longer than 0.1 s, at most 20 times as old as it took."""
    return await call.context.counter.count(call.app.key)


async def get_history(call: Call[Nothing, Nothing, Nothing]) -> CountsHistory:
    """The counts of the last hour, over the whole cluster, oldest first. Where there are none nobody had a session, or
    no node ran."""
    return CountsHistory(items=await call.context.counter.history(call.app.key), period=SAMPLE_PERIOD)


def ids_of(restricted: Restricted) -> tuple[str, ...]:
    """The ids of the sessions that were ended."""
    return tuple(session.id for session in restricted.ended)


def _exists(record: ParticipantRecord) -> bool:
    return record.version > 0


def _unknown() -> NotFoundError:
    return NotFoundError("There is no such participant.", hint="Check the id; an external id is written ext:<id>.")


def _answer(record: ParticipantRecord) -> Answer:
    return Answer(participant_view(record), headers={"ETag": f'"{record.revision}"'})


def _expected_revision(header: str | None) -> int | None:
    """RFC 9110, section 13.1.1. None: no condition, or ``*``, which an existing record meets."""
    if header is None or header.strip() == "*":
        return None
    found = _REVISION.fullmatch(header.strip())
    if found is None:
        raise illegal('If-Match is not a revision. Send the ETag of the participant, like "3".')
    return int(found.group(1))


_NOT_FOUND = (ErrorCode.NOT_FOUND,)
_ETAG = {"ETag": "The revision of the profile, in quotes."}

ROUTES = (
    api("GET /v1/participants", list_participants, "List or find participants", PARTICIPANTS_READ, tag="participants"),
    api(
        "GET /v1/participants/{id}",
        get_participant,
        "Read a participant",
        PARTICIPANTS_READ,
        reply_type=ParticipantView,
        tag="participants",
        errors=_NOT_FOUND,
        reply_headers=_ETAG,
    ),
    api(
        "PATCH /v1/participants/{id}",
        change_participant,
        "Change a participant's name, avatar and attributes",
        PARTICIPANTS_ADMIN,
        reply_type=ParticipantView,
        tag="participants",
        errors=(ErrorCode.NOT_FOUND, ErrorCode.REVISION_CONFLICT),
        request_headers={"If-Match": 'The revision to change, as the ETag gives it: `"3"`.'},
        reply_headers=_ETAG,
    ),
    api(
        "DELETE /v1/participants/{id}", erase_participant, "Erase a participant", PARTICIPANTS_ADMIN, tag="participants"
    ),
    api(
        "POST /v1/participants/{id}/kick",
        kick_participant,
        "Kick a participant, and maybe block",
        PARTICIPANTS_ADMIN,
        tag="participants",
    ),
    api("GET /v1/counts", get_counts, "Count participants and sessions", PARTICIPANTS_READ, tag="participants"),
    api("GET /v1/counts/history", get_history, "Counts of the last hour", PARTICIPANTS_READ, tag="participants"),
)
