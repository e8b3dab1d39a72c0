"""The server API for sessions: list, look into, end, and the timeline of each."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from greenroom.codes import ErrorCode
from greenroom.core.presence import AVAILABLE
from greenroom.core.requests import EndRequest
from greenroom.engines.base import SessionQuery
from greenroom.errors import NotFoundError
from greenroom.model import EndReason, SessionRecord
from greenroom.server.api.common import Cursor, Limit, Reason, checked_id, participant_id_for
from greenroom.server.http.problems import illegal
from greenroom.server.http.routes import Call, Nothing, api
from greenroom.tokens.scopes import SESSIONS_ADMIN, SESSIONS_READ

StateName = Literal["attached", "detached", "closed"]


class SessionPath(msgspec.Struct, frozen=True):
    """Names a session."""

    id: Annotated[str, Meta(min_length=1, max_length=256)]


class SessionsQuery(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Which sessions."""

    participant_id: Annotated[str, Meta(min_length=1, description="Only sessions of this participant.")] | None = None
    external_id: (
        Annotated[str, Meta(min_length=1, description="Only sessions of the participant with this external id.")] | None
    ) = None
    node: Annotated[str, Meta(min_length=1, description="Only sessions that this node holds, or held last.")] | None = (
        None
    )
    state: (
        Annotated[StateName, Meta(description="Only sessions in this state. `closed`: those that have ended.")] | None
    ) = None
    cursor: Cursor | None = None
    limit: Limit = 100


class DeviceView(msgspec.Struct, frozen=True, kw_only=True):
    """The device as the client named it."""

    id: str | None
    name: str | None


class SessionView(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A session. Instants are Unix milliseconds. since: when the present state began, as far as it is known. status:
    what its client set, `available` where nothing."""

    id: str
    participant_id: str
    external_id: str | None
    state: StateName
    since: int
    generation: int
    node: str
    opened_at: int
    detached_at: int | None
    ended_at: int | None
    end_reason: str | None
    end_text: str
    device: DeviceView
    sdk: str
    address: str
    token_expires_at: int
    scopes: tuple[str, ...]
    status: str


class SessionPageView(msgspec.Struct, frozen=True, kw_only=True):
    """A page; with a filter it may hold fewer than the limit, even none. cursor: for the next, null at the end."""

    items: tuple[SessionView, ...]
    cursor: str | None


class TimelineView(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that happened. at: Unix milliseconds."""

    at: int
    what: str
    node: str
    detail: str


class SessionTimeline(msgspec.Struct, frozen=True, kw_only=True):
    """A session and the latest 64 things that happened to it, oldest first."""

    session: SessionView
    items: tuple[TimelineView, ...]


class EndSessionQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Why."""

    reason: Reason = ""


async def list_sessions(call: Call[Nothing, SessionsQuery, Nothing]) -> SessionPageView:
    """Sessions that have not ended: all, of a participant, or on a node. With `state=closed` those that have: each
    says when (`endedAt`) and why (`endReason`). Of a participant the latest 64 are kept, for a day; they come in no
    order, and several pages may be empty before the last one."""
    query = call.query
    if query.participant_id is not None and query.external_id is not None:
        raise illegal("Name the participant by participantId or by externalId, not both.")
    participant_id = None if query.participant_id is None else checked_id(query.participant_id)
    if query.external_id is not None:
        participant_id = participant_id_for(call, query.external_id)
    page = await call.context.engine.registry.sessions(
        SessionQuery(
            app=call.app.key,
            participant_id=participant_id,
            node=query.node,
            ended=query.state == "closed",
            cursor=query.cursor,
            limit=query.limit,
        )
    )
    items = tuple(session_view(item) for item in page.items if query.state in (None, item.state.value))
    return SessionPageView(items=items, cursor=page.cursor)


async def get_session(call: Call[SessionPath, Nothing, Nothing]) -> SessionView:
    """One session, also one that ended within the last day."""
    return session_view(await _session(call, with_timeline=False))


async def get_timeline(call: Call[SessionPath, Nothing, Nothing]) -> SessionTimeline:
    """What happened to a session, when, on which node and why; also to one that ended within the last day."""
    record = await _session(call, with_timeline=True)
    items = (TimelineView(at=each.at, what=each.what, node=each.node, detail=each.detail) for each in record.timeline)
    return SessionTimeline(session=session_view(record), items=tuple(items))


async def end_session(call: Call[SessionPath, EndSessionQuery, Nothing]) -> SessionView:
    """Ends one session, reason `kicked`. Its token stays valid: to keep the participant out, kick or block them.
    For one that has ended already: a success that changes nothing."""
    await call.context.control.end_session(
        EndRequest(session_id=call.path.id, reason=EndReason.KICKED, text=call.query.reason, app=call.app.key)
    )
    return session_view(await _session(call, with_timeline=False))


async def _session(call: Call[SessionPath, Any, Any], *, with_timeline: bool) -> SessionRecord:
    query = SessionQuery(app=call.app.key, session_id=call.path.id, with_timeline=with_timeline)
    page = await call.context.engine.registry.sessions(query)
    if not page.items:
        raise NotFoundError("There is no such session.", hint="Ended sessions are kept for a day.")
    return page.items[0]


def session_view(record: SessionRecord) -> SessionView:
    """The record as the app sees it; nothing of its secrets or its lease."""
    attached_at = record.opened_at if not record.timeline else record.timeline[-1].at
    return SessionView(
        id=record.id,
        participant_id=record.participant_id,
        external_id=record.external_id,
        state=record.state.value,
        since=record.ended_at or record.detached_at or attached_at,
        generation=record.generation,
        node=record.node,
        opened_at=record.opened_at,
        detached_at=record.detached_at,
        ended_at=record.ended_at,
        end_reason=None if record.end_reason is None else record.end_reason.value,
        end_text=record.end_text,
        device=DeviceView(id=record.device_id, name=record.device_name),
        sdk=record.sdk,
        address=record.address,
        token_expires_at=record.token_expires_at * 1000,
        scopes=record.scopes,
        status=record.status or AVAILABLE,
    )


_NOT_FOUND = (ErrorCode.NOT_FOUND,)

ROUTES = (
    api("GET /v1/sessions", list_sessions, "List sessions", SESSIONS_READ, tag="sessions"),
    api("GET /v1/sessions/{id}", get_session, "Read a session", SESSIONS_READ, tag="sessions", errors=_NOT_FOUND),
    api(
        "GET /v1/sessions/{id}/timeline",
        get_timeline,
        "Read what happened to a session",
        SESSIONS_READ,
        tag="sessions",
        errors=_NOT_FOUND,
    ),
    api("DELETE /v1/sessions/{id}", end_session, "End a session", SESSIONS_ADMIN, tag="sessions", errors=_NOT_FOUND),
)
