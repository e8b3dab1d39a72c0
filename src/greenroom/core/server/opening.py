"""`session.open`: a new session for this connection, and whether it may continue."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from greenroom.core.requests import Attached
from greenroom.core.server.closing import end, let_go
from greenroom.core.server.context import ATTACHED, RequestId, SessionContext
from greenroom.core.server.joining import CAPABILITIES, MAX_ASKED, open_request
from greenroom.core.server.refusals import not_joined
from greenroom.core.server.room_changes import leave_rooms, notify_unwatched
from greenroom.core.server.room_resuming import come_back
from greenroom.core.server.services import Now
from greenroom.core.server.tokens import check_token
from greenroom.core.watching import to_wire
from greenroom.messages import OpenParams, OpenResult, WireLimits, WireSession
from greenroom.model import EndReason, ParticipantRecord


def open_session(context: SessionContext, request_id: RequestId, params: OpenParams, now: Now) -> None:
    """`session.open`. Raises what refuses it."""
    request = open_request(params, context.services, address=context.address, origin=context.origin, now=now)

    def then(result: Any, now: Now) -> None:
        if not isinstance(result, Attached):
            not_joined(context, request_id, result, now, resuming=False)
        elif not context.joined(result, request.secret_hash, 0):
            let_go(context)
        else:
            reply = join_result(context, result.participant, (), now)
            if result.invitations or result.lost_rooms or result.session.rooms:
                back = come_back(result, context.rights(), {}, now, resuming=False)
                context.set_rooms(back.rooms)
                reply = back.with_news(reply, None)
            context.reply(request_id, reply)
            context.watches.answer({result.participant.id: result.participant.version})
            check_again(context, now)

    context.ask_to_join(request, then, context.services.limits.grace_unconfirmed)


def join_result(
    context: SessionContext, participant: ParticipantRecord, changed: Sequence[ParticipantRecord], now: Now
) -> OpenResult:
    """The result of `session.open` and `session.resume`."""
    owner, session, limits = context.owner, context.session, context.services.limits
    assert owner is not None
    assert session is not None
    return OpenResult(
        session=WireSession(
            owner.session_id,
            owner.generation,
            limits.grace,
            context.token.expires_at * 1000,
            server_time=int(now.wall * 1000),
            status=session.record.status,
        ),
        participant=to_wire(participant),
        scopes=list(context.scopes),
        capabilities=list(CAPABILITIES),
        changed=[to_wire(record) for record in changed],
        limits=WireLimits(
            messages_per_second=limits.messages_per_second, messages_burst=limits.messages_burst, max_ids=MAX_ASKED
        ),
    )


def check_again(context: SessionContext, now: Now) -> None:
    """What the directory says of the application counts for open sessions too (S18), and so does the token's end."""
    application = context.services.application(context.app)
    if application is None:
        pass  # nothing missing is read as deleted (S15)
    elif application.disabled:
        end(context, EndReason.APPLICATION_DISABLED, "")
    elif (
        context.token.issued_at <= application.revoked_before
        or (context.app, context.jti) in context.services.revoked_jtis
    ):
        end(context, EndReason.TOKEN_REVOKED, "")
    elif context.rooms is not None and context.owner is not None and context.state in ATTACHED:
        rights = context.rights()
        leave_rooms(context, rights.lost_by_setting(now))
        notify_unwatched(context, rights.unwatch(now))
    if now.wall >= context.token.due:
        check_token(context, now)
