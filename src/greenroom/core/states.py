"""States, cues and transitions of both sides: the tables, and the one door that applies them.

The diagram in ``docs/explanation`` and the browser SDK's table are made from these. A pair that is not in a table is
no error: a late cue changes nothing (style rule 4: the shell decides nothing, stale inputs die).
"""

from __future__ import annotations

from enum import StrEnum
from typing import TypeVar

from greenroom.model import SessionState as RegistryState


class SessionState(StrEnum):
    """State of a session in an SDK: the platform's own names."""

    DISCONNECTED = "disconnected"
    """No session. `is_open()` is false."""
    CONNECTING = "connecting"
    """`open` is under way. `is_open()` is false."""
    CONNECTED = "connected"
    """Open and connected. `is_open()` is true."""
    RECONNECTING = "reconnecting"
    """Open, and being resumed. `is_open()` is true."""


class ClientCue(StrEnum):
    """What can happen to a session in an SDK."""

    OPEN = "open"
    """The app calls `open`."""
    OPENED = "opened"
    """The service opened, or reopened, a session."""
    RESUMED = "resumed"
    """The service took the session back."""
    LOST = "lost"
    """The connection was lost."""
    MOVE_ON = "move_on"
    """The service's node is fenced and asks to resume elsewhere."""
    STAY = "stay"
    """The reason to move is gone."""
    FAILED = "failed"
    """The open failed for good, timed out, or was cancelled by its callers."""
    ENDED = "ended"
    """The session ended for good."""
    CLOSE = "close"
    """The app calls `close`."""


_S, _C = SessionState, ClientCue
CLIENT_TRANSITIONS: dict[tuple[SessionState, ClientCue], SessionState] = {
    (_S.DISCONNECTED, _C.OPEN): _S.CONNECTING,
    (_S.CONNECTING, _C.OPENED): _S.CONNECTED,
    (_S.CONNECTING, _C.FAILED): _S.DISCONNECTED,
    (_S.CONNECTING, _C.CLOSE): _S.DISCONNECTED,
    (_S.CONNECTED, _C.LOST): _S.RECONNECTING,
    (_S.CONNECTED, _C.MOVE_ON): _S.RECONNECTING,
    (_S.CONNECTED, _C.RESUMED): _S.CONNECTED,  # make-before-break: moved without having been away
    (_S.CONNECTED, _C.ENDED): _S.DISCONNECTED,
    (_S.CONNECTED, _C.CLOSE): _S.DISCONNECTED,
    (_S.RECONNECTING, _C.RESUMED): _S.CONNECTED,
    (_S.RECONNECTING, _C.STAY): _S.CONNECTED,
    (_S.RECONNECTING, _C.OPENED): _S.CONNECTED,  # a new session in place of one that is gone
    (_S.RECONNECTING, _C.ENDED): _S.DISCONNECTED,
    (_S.RECONNECTING, _C.CLOSE): _S.DISCONNECTED,
}


class ServerState(StrEnum):
    """State of one connection of the service."""

    HELLO = "hello"
    """Waits for `session.open` or `session.resume` (10 s)."""
    JOINING = "joining"
    """The engine works on open or resume."""
    ABANDONED = "abandoned"
    """The connection ended while the engine worked on open or resume: what comes of it is ended or detached (S6)."""
    OPEN = "open"
    """Serves the session."""
    FENCED = "fenced"
    """The node does not act: calls fail with a retryable error, the connection stays."""
    EXPIRED = "expired"
    """The token's life is over: only refresh, close and ping are served (S5)."""
    ENDING = "ending"
    """The engine ends the session; then the connection is closed."""
    GONE = "gone"
    """The connection is closed or being closed. Nothing is served."""


class ServerCue(StrEnum):
    """What can happen to one connection of the service."""

    HELLO = "hello"
    """A well-formed open or resume arrived."""
    JOINED = "joined"
    """The engine attached the session to this connection."""
    REFUSED = "refused"
    """The engine refused; after a failed resume the client may open on the same connection."""
    FENCE = "fence"
    """The node's lease is not certain any more."""
    UNFENCE = "unfence"
    """The node has a lease again, and the session is this node's."""
    EXPIRE = "expire"
    """The token's ``exp`` has passed."""
    REFRESHED = "refreshed"
    """A new token was accepted."""
    END = "end"
    """The session is to end: by its client, its token, or an operator."""
    DROP = "drop"
    """The connection ends: lost, superseded, broke the protocol, or the session was ended elsewhere."""


_V, _U = ServerState, ServerCue
SERVER_TRANSITIONS: dict[tuple[ServerState, ServerCue], ServerState] = {
    (_V.HELLO, _U.HELLO): _V.JOINING,
    (_V.HELLO, _U.END): _V.ENDING,  # session.close as the first message (S6)
    (_V.HELLO, _U.DROP): _V.GONE,
    (_V.JOINING, _U.JOINED): _V.OPEN,
    (_V.JOINING, _U.REFUSED): _V.HELLO,
    (_V.JOINING, _U.DROP): _V.ABANDONED,
    (_V.ABANDONED, _U.JOINED): _V.GONE,
    (_V.ABANDONED, _U.REFUSED): _V.GONE,
    (_V.OPEN, _U.FENCE): _V.FENCED,
    (_V.OPEN, _U.EXPIRE): _V.EXPIRED,
    (_V.OPEN, _U.END): _V.ENDING,
    (_V.OPEN, _U.DROP): _V.GONE,
    (_V.FENCED, _U.UNFENCE): _V.OPEN,
    (_V.FENCED, _U.END): _V.ENDING,
    (_V.FENCED, _U.DROP): _V.GONE,
    (_V.EXPIRED, _U.REFRESHED): _V.OPEN,
    (_V.EXPIRED, _U.FENCE): _V.FENCED,
    (_V.EXPIRED, _U.END): _V.ENDING,
    (_V.EXPIRED, _U.DROP): _V.GONE,
    (_V.ENDING, _U.DROP): _V.GONE,
}


class RegistryCue(StrEnum):
    """What can happen to a session in the registry."""

    ATTACH = "attach"
    """A resume, a repeated open, or a node taking its own session back: generation +1."""
    DETACH = "detach"
    """The connection is gone, or the node's lease lapsed."""
    END = "end"
    """Closed, timed out, replaced, kicked, … : once, with a reason."""


_R, _T = RegistryState, RegistryCue
REGISTRY_TRANSITIONS: dict[tuple[RegistryState, RegistryCue], RegistryState] = {
    (_R.ATTACHED, _T.ATTACH): _R.ATTACHED,
    (_R.ATTACHED, _T.DETACH): _R.DETACHED,
    (_R.ATTACHED, _T.END): _R.CLOSED,
    (_R.DETACHED, _T.ATTACH): _R.ATTACHED,
    (_R.DETACHED, _T.END): _R.CLOSED,
}

State = TypeVar("State")
Cue = TypeVar("Cue")


def step(table: dict[tuple[State, Cue], State], state: State, cue: Cue) -> State | None:
    """The state after the cue, or None where the cue means nothing in this state (a late input)."""
    return table.get((state, cue))
