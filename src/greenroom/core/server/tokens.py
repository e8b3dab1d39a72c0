"""A session's token: its refresh, and its end (S5)."""

from __future__ import annotations

from typing import Any

from greenroom.core.requests import RefreshRequest
from greenroom.core.server.closing import end
from greenroom.core.server.context import RequestId, SessionContext
from greenroom.core.server.joining import allows, check_same_identity, facts_of, known_application
from greenroom.core.server.participants import stop_watching
from greenroom.core.server.room_changes import PERMISSION_LOST, notify_unwatched, room_left
from greenroom.core.server.room_rights import WATCH_SCOPE
from greenroom.core.server.services import Now
from greenroom.core.server.token_clock import TokenDue
from greenroom.core.states import ServerEvent, ServerState
from greenroom.messages import RefreshTokenParams, RefreshTokenResult, TokenExpiring
from greenroom.model import EndReason


def refresh_token(context: SessionContext, request_id: RequestId, params: RefreshTokenParams, now: Now) -> None:
    """`session.refreshToken`: the same participant, a later end; new scopes count at once, also fewer."""
    owner = context.owner
    assert owner is not None
    token = context.services.verify(params.token, context.address, now, session_id=owner.session_id)
    known_application(context.services, token)
    check_same_identity(token, context.application(), context.app, context.participant_id, context.external_id)
    before = context.rights()
    leave = before.lost_by(before._replace(scopes=token.scopes, grants=token.room_grants), now)

    def then(_result: Any, now: Now) -> RefreshTokenResult:
        context.renewed(token, now)
        if not allows(token.scopes, WATCH_SCOPE):
            stop_watching(context, context.watches.ids)
        for room in leave:
            room_left(context, room, PERMISSION_LOST)
        notify_unwatched(context, context.rights().unwatch(now))
        return RefreshTokenResult(token.expires_at * 1000, list(token.scopes))

    context.request(RefreshRequest(owner, facts_of(token), leave), request_id, then)


def check_token(context: SessionContext, now: Now) -> None:
    """Warn, expire or end the session, as its token's time says."""
    token = context.token
    while context.state is ServerState.OPEN or context.state is ServerState.EXPIRED:
        due = token.tick(now.wall, expired=context.state is ServerState.EXPIRED)
        if due is TokenDue.WARNING:
            context.notify("session.tokenExpiring", TokenExpiring(token.expires_at * 1000))
        elif due is TokenDue.EXPIRED:
            context.step(ServerEvent.EXPIRE)
        elif due is TokenDue.OVER:
            end(context, EndReason.TOKEN_EXPIRED, "")
        else:
            return
