"""What the modules of the server API share: paging, how a participant is named, and how rows are declared."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from greenroom.core.presence import AVAILABLE
from greenroom.engines import paging
from greenroom.engines.base import SessionQuery
from greenroom.external_ids import check_external_id
from greenroom.model import ERASED, ParticipantRecord, SessionRecord, participant_id_of
from greenroom.server.http.context import HttpContext
from greenroom.server.http.problems import illegal
from greenroom.server.http.routes import Call

EXTERNAL = "ext:"
"""Begins a participant's name in a path that is an external id."""
MAX_PAGE = 1000
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")

Limit = Annotated[int, Meta(ge=1, le=MAX_PAGE, description="The most items of a page.")]
Cursor = Annotated[str, Meta(max_length=4096, description="`cursor` of the previous page; opaque.")]
Reason = Annotated[str, Meta(max_length=256, description="A text for the participant.")]
PresenceName = Literal["online", "unreachable", "offline"]


class ParticipantPath(msgspec.Struct, frozen=True):
    """Names a participant."""

    id: Annotated[
        str, Meta(min_length=1, max_length=2048, description="The participant's id, or `ext:` and the external id.")
    ]


class ParticipantView(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A participant. Unset members are null. last_seen: Unix milliseconds. status: of the most available session, null
    where there is none."""

    id: str
    external_id: str | None
    name: str | None
    avatar_url: str | None
    revision: int
    version: int
    presence: PresenceName
    sessions: int
    last_seen: int | None
    attributes: dict[str, str]
    status: str | None


def participant_view(record: ParticipantRecord) -> ParticipantView:
    """The record as the app sees it: the presence is the truth, not what watchers were notified of so far."""
    return ParticipantView(
        id=record.id,
        external_id=record.external_id,
        name=record.name or None,
        avatar_url=record.avatar_url or None,
        revision=record.revision,
        version=record.version,
        presence=record.presence.value,
        sessions=record.sessions,
        last_seen=record.last_seen,
        attributes=record.attributes or {},
        status=(record.status or AVAILABLE) if record.sessions else None,
    )


def participant_id_in(call: Call[Any, Any, Any], name: str) -> str:
    """The participant that a path names. Raises ProblemError 400 for what can be neither id nor external id."""
    return participant_id_for(call, name[len(EXTERNAL) :]) if name.startswith(EXTERNAL) else checked_id(name)


def checked_id(participant_id: str) -> str:
    """The id, if it can be one: they are UUIDs. People type external ids. Raises ProblemError 400."""
    # A block of an erased participant is listed, and lifted, by a hash.
    if not (_UUID.fullmatch(participant_id) or participant_id.startswith(ERASED)):
        raise illegal(
            f"{participant_id[:64]!r} is not a participant's id, which is a UUID. For an external id write"
            f" {EXTERNAL}{participant_id[:64]} in a path, externalId in a body."
        )
    return participant_id


def participant_id_for(call: Call[Any, Any, Any], external_id: str) -> str:
    """The participant of an external id. Raises IllegalArgumentError."""
    checked = check_external_id(external_id, "externalId")
    if not checked:
        raise illegal("The external id is empty.")
    return participant_id_of(call.app.namespace, checked)


def one_of(call: Call[Any, Any, Any], participant_id: str | None, external_id: str | None) -> str:
    """The participant that a body names, in one way or the other. Raises ProblemError 400."""
    if (participant_id is None) == (external_id is None):
        raise illegal("Name the participant by participantId or by externalId, one of them.")
    if participant_id is not None:
        return checked_id(participant_id)
    return participant_id_for(call, external_id or "")


async def all_sessions(
    context: HttpContext, app: str, participant_id: str | None = None
) -> AsyncIterator[SessionRecord]:
    """Every session of the application, or of one participant, page by page."""
    query = SessionQuery(app=app, participant_id=participant_id, limit=MAX_PAGE)
    async for session in paging.all_sessions(context.engine.registry, query):
        yield session
