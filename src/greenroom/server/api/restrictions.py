"""The server API for keeping people out: blocks, and revoking tokens."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from greenroom.codes import ErrorCode
from greenroom.core.policy import cutoff_now
from greenroom.core.requests import EndRequest
from greenroom.engines.base import BlockParticipant, CutOffTokens, LiftBlock, RevokeToken
from greenroom.engines.cursors import decode_cursor, encode_cursor
from greenroom.errors import NotFoundError
from greenroom.model import Application, EndReason, Restriction
from greenroom.server.api.common import Cursor, Limit, ParticipantPath, Reason, all_sessions, one_of, participant_id_in
from greenroom.server.http.problems import illegal
from greenroom.server.http.routes import Call, Nothing, api
from greenroom.tokens.scopes import PARTICIPANTS_ADMIN, PARTICIPANTS_READ, SESSIONS_ADMIN

_MAX_INSTANT = 253_402_300_799_000
"""The end of the year 9999, Unix milliseconds."""

Until = Annotated[int, Meta(ge=1, le=_MAX_INSTANT, description="Unix milliseconds.")]
Seconds = Annotated[int, Meta(ge=1, le=315_360_000, description="Seconds from now.")]
Id = Annotated[str, Meta(min_length=1, max_length=256)]
ExternalId = Annotated[str, Meta(min_length=1, max_length=1024)]


class BlockTerm(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How long: until an instant, for some seconds, or, with neither, for good."""

    until: Until | None = None
    seconds: Seconds | None = None


class NewBlock(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """Whom, how long, and why."""

    participant_id: Id | None = None
    external_id: ExternalId | None = None
    until: Until | None = None
    seconds: Seconds | None = None
    reason: Reason = ""


class BlockView(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A block. participant_id begins with `sha256:` where the participant was erased. until null: for good."""

    participant_id: str
    until: int | None
    reason: str
    created_at: int


class BlockPage(msgspec.Struct, frozen=True, kw_only=True):
    """A page, by participant id. cursor: for the next one, null at the end."""

    items: tuple[BlockView, ...]
    cursor: str | None


class BlocksQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Which page."""

    cursor: Cursor | None = None
    limit: Limit = 100


class RevokeRequest(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """Which tokens: one by its jti; a participant's; or the whole application's (`application: true`).

    issued_before: tokens issued until then (Unix seconds) are revoked; null: all issued until now.
    """

    jti: Id | None = None
    participant_id: Id | None = None
    external_id: ExternalId | None = None
    application: bool = False
    issued_before: Annotated[int, Meta(ge=1, le=_MAX_INSTANT // 1000)] | None = None
    reason: Reason = ""


class RevokeReply(msgspec.Struct, frozen=True, kw_only=True):
    """ended: how many sessions this ended. cutoff: tokens issued until then are revoked (Unix seconds); null: one
    token was revoked by its jti."""

    ended: int
    cutoff: int | None


async def list_blocks(call: Call[Nothing, BlocksQuery, Nothing]) -> BlockPage:
    """Blocks that have not ended."""
    after = "" if call.query.cursor is None else decode_cursor("b", call.query.cursor, str)
    found = await call.context.engine.directory.restrictions(call.app.key)
    standing = sorted(
        (each for each in found if _is_standing(each, call.now) and each.subject > after), key=lambda each: each.subject
    )
    items = standing[: call.query.limit]
    more = len(standing) > len(items)
    return BlockPage(items=tuple(map(_view, items)), cursor=encode_cursor("b", items[-1].subject) if more else None)


async def block_participant(call: Call[Nothing, Nothing, NewBlock]) -> BlockView:
    """Blocks a participant, as a kick with `block` does. A block that is there is replaced."""
    body = call.body
    participant_id = one_of(call, body.participant_id, body.external_id)
    until = until_of(BlockTerm(until=body.until, seconds=body.seconds), call.now)
    await call.context.control.restrict(
        BlockParticipant(app=call.app.key, participant_id=participant_id, until=until, reason=body.reason)
    )
    return BlockView(participant_id=participant_id, until=until, reason=body.reason, created_at=int(call.now * 1000))


async def lift_block(call: Call[ParticipantPath, Nothing, Nothing]) -> Nothing:
    """Ends a block. Tokens from before it stay revoked: the participant needs a new one."""
    participant_id = participant_id_in(call, call.path.id)
    try:
        await call.context.control.restrict(LiftBlock(app=call.app.key, participant_id=participant_id))
    except NotFoundError:
        raise NotFoundError("The participant is not blocked.", hint="See GET /v1/blocks.") from None
    return Nothing()


async def revoke_tokens(call: Call[Nothing, Nothing, RevokeRequest]) -> RevokeReply:
    """Revokes tokens, and ends the sessions that were opened with them: one by its jti (naming its participant saves
    a search), a participant's, or all of the application, API tokens and this one among them."""
    body = call.body
    if body.application:
        if body.jti or body.participant_id or body.external_id:
            raise illegal("With application: true name neither jti nor participant.")
        return await _revoke_application(call, body)
    if body.jti is not None:
        return await _revoke_one(call, body.jti)
    participant_id = one_of(call, body.participant_id, body.external_id)
    _check_not_ahead(body.issued_before, call.now)
    restricted = await call.context.control.restrict(
        CutOffTokens(app=call.app.key, participant_id=participant_id, before=body.issued_before, reason=body.reason)
    )
    return RevokeReply(ended=len(restricted.ended), cutoff=restricted.cutoff)


async def _revoke_one(call: Call[Nothing, Nothing, RevokeRequest], jti: str) -> RevokeReply:
    body = call.body
    if body.issued_before is not None:
        raise illegal("issuedBefore does not go with jti.")
    if body.participant_id is not None or body.external_id is not None:
        subject = one_of(call, body.participant_id, body.external_id)
        request = RevokeToken(app=call.app.key, participant_id=subject, jti=jti, reason=body.reason)
        return RevokeReply(ended=len((await call.context.control.restrict(request)).ended), cutoff=None)
    # Who it was given to is in the token, which is not here: the sessions say it. It is stored before they are searched
    # once more, so that a session that opens meanwhile is refused, or found.
    found = await _sessions_of(call, jti)
    await _revoke_for(call, jti, {call.app.key, *found.values()})
    late = await _sessions_of(call, jti)
    await _revoke_for(call, jti, set(late.values()))
    return RevokeReply(ended=len(found | late), cutoff=None)


async def _revoke_for(call: Call[Nothing, Nothing, RevokeRequest], jti: str, subjects: set[str]) -> None:
    for subject in sorted(subjects):
        request = RevokeToken(app=call.app.key, participant_id=subject, jti=jti, reason=call.body.reason)
        await call.context.control.restrict(request)


async def _sessions_of(call: Call[Nothing, Nothing, RevokeRequest], jti: str) -> dict[str, str]:
    """The participant of each session that was opened with the token."""
    return {each.id: each.participant_id async for each in all_sessions(call.context, call.app.key) if each.jti == jti}


async def _revoke_application(call: Call[Nothing, Nothing, RevokeRequest], body: RevokeRequest) -> RevokeReply:
    """First refuse the old tokens, then end the sessions that they opened."""
    _check_not_ahead(body.issued_before, call.now)
    before = cutoff_now(int(call.now * 1000)) if body.issued_before is None else body.issued_before

    def changed(app: Application) -> Application:
        return msgspec.structs.replace(app, revoked_before=max(app.revoked_before, before))

    application = await call.context.tenants.change(call.app.key, changed)
    await call.context.control.announce_directory()
    ended = 0
    old = [each.id async for each in all_sessions(call.context, call.app.key) if each.token_issued_at <= before]
    for session_id in old:
        request = EndRequest(session_id=session_id, reason=EndReason.TOKEN_REVOKED, text=body.reason, app=call.app.key)
        ended += await call.context.control.end_session(request) is not None
    return RevokeReply(ended=ended, cutoff=application.revoked_before)


def until_of(term: BlockTerm, now: float) -> int | None:
    """When a block ends (Unix ms); None: never. Raises ProblemError 400."""
    if term.until is not None and term.seconds is not None:
        raise illegal("Say how long by until or by seconds, not both.")
    if term.seconds is not None:
        return int(now * 1000) + term.seconds * 1000
    if term.until is not None and term.until <= now * 1000:
        raise illegal("until has passed. Give an instant in the future, in Unix milliseconds.")
    return term.until


def _check_not_ahead(before: int | None, now: float) -> None:
    # A cut-off in the future would keep the token API from giving out tokens until then (S18).
    if before is not None and before > now + 1:
        raise illegal("issuedBefore is in the future. Leave it out to revoke all tokens up to now.")


def _is_standing(entry: Restriction, now: float) -> bool:
    return entry.kind == "block" and not entry.lifted and (entry.until is None or entry.until > now * 1000)


def _view(entry: Restriction) -> BlockView:
    return BlockView(participant_id=entry.subject, until=entry.until, reason=entry.reason, created_at=entry.created_at)


_NOT_FOUND = (ErrorCode.NOT_FOUND,)

ROUTES = (
    api("GET /v1/blocks", list_blocks, "List blocks", PARTICIPANTS_READ, tag="participants"),
    api(
        "POST /v1/blocks", block_participant, "Block a participant", PARTICIPANTS_ADMIN, tag="participants", status=201
    ),
    api(
        "DELETE /v1/blocks/{id}", lift_block, "Lift a block", PARTICIPANTS_ADMIN, tag="participants", errors=_NOT_FOUND
    ),
    api(
        "POST /v1/tokens/revoke",
        revoke_tokens,
        "Revoke tokens",
        SESSIONS_ADMIN,
        tag="sessions",
        errors=(ErrorCode.CONFLICT,),
    ),
)
