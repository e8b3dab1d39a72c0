"""A session's history in words: each thing that happened, when, where, and what it means."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import msgspec

from greenroom.model import EndReason, RegistryState, SessionRecord, TimelineEntry

MEANING = {
    "opened": "The client signed in.",
    "attached": "A connection was attached to the session.",
    "resumed": "The client came back with its resume secret.",
    "taken_back": "The node had lost its lease and acquired its session again under a new one.",
    "detached": "The connection was lost; the grace began.",
    "restored": "The engine had lost the session; the node that held it wrote it back.",
    "token_refreshed": "The client presented a newer token.",
    "ended": "The session ended.",
}
"""By what the timeline calls it."""
ENDS = {
    EndReason.CLOSED: "The app closed it.",
    EndReason.TIMEOUT: "The client did not come back within the grace.",
    EndReason.REPLACED: "Another session of the participant took its place, as the application's policy says.",
    EndReason.KICKED: "An operator or the app's backend kicked the participant.",
    EndReason.BLOCKED: "The participant was blocked.",
    EndReason.TOKEN_EXPIRED: "Its token expired and was not refreshed in time.",
    EndReason.TOKEN_REVOKED: "Its token was revoked.",
    EndReason.APPLICATION_DISABLED: "The application was disabled.",
    EndReason.PROTOCOL_ERROR: "The client violated the protocol.",
}


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """at: Unix milliseconds. after: seconds since the step before."""

    at: int
    after: float
    what: str
    node: str
    detail: str
    meaning: str


class SessionHistory(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A session from its opening to now. steps: the latest 64."""

    session_id: str
    app_key: str
    participant_id: str
    external_id: str | None
    state: str
    node: str
    generation: int
    summary: str
    steps: tuple[Step, ...]


def history_of(session: SessionRecord) -> SessionHistory:
    """Of a session that was read with its timeline."""
    return SessionHistory(
        session_id=session.id,
        app_key=session.app,
        participant_id=session.participant_id,
        external_id=session.external_id,
        state=session.state.value,
        node=session.node,
        generation=session.generation,
        summary=_summary(session),
        steps=tuple(_steps(session.timeline)),
    )


def _steps(timeline: tuple[TimelineEntry, ...]) -> Iterator[Step]:
    first = timeline[:1]
    for before, entry in pairwise((*first, *timeline)):
        yield Step(
            at=entry.at,
            after=round(max(0, entry.at - before.at) / 1000, 3),
            what=entry.what,
            node=entry.node,
            detail=entry.detail,
            meaning=MEANING.get(entry.what, ""),
        )


def _summary(session: SessionRecord) -> str:
    if session.state is RegistryState.ATTACHED:
        return f"It is connected to {session.node}, for the {_ordinal(session.generation)} time."
    if session.state is RegistryState.DETACHED:
        return "It has no connection, and ends when its grace is over unless its client resumes it."
    reason = session.end_reason
    text = ENDS.get(reason, "") if reason is not None else ""
    said = f" ({session.end_text})" if session.end_text else ""
    return f"It ended: {reason.value if reason is not None else 'unknown'}. {text}{said}"


def _ordinal(number: int) -> str:
    tail = {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th") if number % 100 not in (11, 12, 13) else "th"
    return f"{number}{tail}"
