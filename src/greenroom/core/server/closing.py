"""How a session and its connection end: by `session.close`, by this node, elsewhere, or because the client is gone."""

from __future__ import annotations

from typing import Any

from greenroom.codes import CloseCode
from greenroom.core.requests import DetachRequest, EndRequest, Owner
from greenroom.core.server.context import ATTACHED, EMPTY, RequestId, SessionContext, Then
from greenroom.core.server.effects import Close
from greenroom.core.server.endings import CLOSE_OF_REASON, TEXT_OF_REASON, VIOLATIONS, close_of_refusal, close_reason
from greenroom.core.server.joining import hash_of
from greenroom.core.server.services import Now
from greenroom.core.states import ServerEvent
from greenroom.errors import GreenroomError, IllegalArgumentError, SessionEndedError
from greenroom.messages import By, CloseParams, Device, SessionEnded
from greenroom.model import EndReason

_REASONS = {reason.value: reason for reason in EndReason}


def release(context: SessionContext, code: int, now: Now) -> None:
    """The connection of a session is gone, with this close code: ends it where its client said so, else detaches it."""
    owner = context.owner
    assert owner is not None
    if code in VIOLATIONS:
        context.services.note_violation(owner.session_id, now)
        context.services.note_violation(context.participant_id, now)
    if code == CloseCode.NORMAL:
        context.notify_engine(_end_of(owner, can_wait=True))
    else:
        context.notify_engine(DetachRequest(owner, grace_of(context, code)))


def let_go(context: SessionContext) -> None:
    """A session was attached whose connection is gone meanwhile. No grace: its client closed it."""
    owner, grace = context.owner, context.grace_if_lost
    assert owner is not None
    context.notify_engine(DetachRequest(owner, grace) if grace > 0.0 else _end_of(owner, can_wait=True))


def grace_of(context: SessionContext, code: int) -> float:
    """Seconds for which the session outlives a connection that ends with this code (S6)."""
    return context.services.limits.grace_going_away if code == CloseCode.GOING_AWAY else context.grace_if_lost


def drop(context: SessionContext, code: CloseCode, reason: str, now: Now) -> None:
    """Our side ends the connection; its session, if any, is kept for its grace."""
    if context.state in ATTACHED:
        release(context, code, now)
    if context.step(ServerEvent.DROP):
        context.emit(Close(code, reason))


def refuse_and_drop(context: SessionContext, request_id: RequestId, error: GreenroomError, now: Now) -> None:
    """Answer why, and end the connection."""
    context.fail(request_id, error)
    drop(context, close_of_refusal(error), close_reason(error), now)


def end(context: SessionContext, reason: EndReason, text: str) -> None:
    """This node ends the session: its application was disabled, its token revoked or expired."""
    owner = context.owner
    if context.state not in ATTACHED or owner is None:
        return
    text = text or TEXT_OF_REASON[reason]
    request = EndRequest(session_id=owner.session_id, reason=reason, text=text, owner=owner)
    _ask(context, request, lambda _result, _now: close_ended(context, reason, text, None))


def close_ended(context: SessionContext, reason: str, text: str, by: Device | None) -> None:
    """The session has ended: notify the client, then close."""
    if not context.step(ServerEvent.DROP):
        return
    known = _REASONS.get(reason, EndReason.TIMEOUT)
    text = text or TEXT_OF_REASON[known]
    context.notify("session.ended", SessionEnded(reason=reason, message=text, by=None if by is None else By(by)))
    context.emit(Close(CLOSE_OF_REASON[known], reason))


def close_session(context: SessionContext, request_id: RequestId, params: CloseParams, now: Now) -> None:
    """`session.close`: ends the session, then the connection. As the first message it needs the secret (S6)."""
    owner = context.owner
    if owner is None:
        request = _end_by_secret(context, params, now)
    elif params.session_id is not None and params.session_id != owner.session_id:
        raise IllegalArgumentError("sessionId is not this connection's session.")
    else:
        request = _end_of(owner)

    def then(result: Any, now: Now) -> None:
        if owner is None and isinstance(result, GreenroomError):
            if isinstance(result, SessionEndedError):
                context.services.note_failed_resume(context.address, now)
            refuse_and_drop(context, request_id, result, now)
        else:
            context.reply(request_id, EMPTY)
            drop(context, CloseCode.NORMAL, "closed", now)

    _ask(context, request, then)


def _end_by_secret(context: SessionContext, params: CloseParams, now: Now) -> EndRequest:
    if params.session_id is None or params.resume_secret is None:
        raise IllegalArgumentError("Before open, session.close needs sessionId and resumeSecret.")
    secret_hash = hash_of(params.resume_secret)
    context.services.check_resume(params.session_id, context.address, now)
    return EndRequest(session_id=params.session_id, reason=EndReason.CLOSED, secret_hash=secret_hash)


def _end_of(owner: Owner, *, can_wait: bool = False) -> EndRequest:
    """The client closed its session. can_wait: with its connection, so that it waits for no reply."""
    return EndRequest(session_id=owner.session_id, reason=EndReason.CLOSED, owner=owner, can_wait=can_wait)


def _ask(context: SessionContext, request: EndRequest, then: Then) -> None:
    """Nothing else is served from now on."""
    context.step(ServerEvent.END)
    context.queue.clear()
    context.ask(request, then)
