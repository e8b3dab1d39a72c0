"""An open or a resume that is refused: the answer, and whether the connection may try again."""

from __future__ import annotations

from greenroom.codes import ERRORS, CloseCode
from greenroom.core.server.closing import drop, refuse_and_drop
from greenroom.core.server.context import RequestId, SessionContext
from greenroom.core.server.effects import Refused
from greenroom.core.server.endings import stays_open
from greenroom.core.server.services import Now
from greenroom.core.states import ServerState
from greenroom.errors import GreenroomError, SessionNotOpenError


def refuse(context: SessionContext, request_id: RequestId, error: GreenroomError, now: Now, *, resuming: bool) -> None:
    """Answer why, then wait for another open or close, as the refusal asks."""
    context.emit(Refused(ERRORS[error.code].reason, resuming))
    if not stays_open(error, resuming=resuming):
        refuse_and_drop(context, request_id, error, now)
        return
    context.fail(request_id, error)
    context.hello_refused(now)
    if context.hellos >= context.services.limits.max_hellos:
        drop(context, CloseCode.RATE_LIMITED, "too many attempts on one connection", now)


def not_joined(
    context: SessionContext, request_id: RequestId, error: GreenroomError, now: Now, *, resuming: bool
) -> None:
    """The engine refused it."""
    waiting = context.queue.clear()
    abandoned = context.state is ServerState.ABANDONED
    context.not_joined()
    if abandoned:
        return
    refuse(context, request_id, error, now, resuming=resuming)
    for request in waiting:
        if context.state is ServerState.HELLO:
            context.fail(request.id, SessionNotOpenError())
