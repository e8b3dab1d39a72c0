"""States, events and transitions: of a session in an SDK, of a connection of the service, of a session in the registry.

What can go wrong, and which rule prevents it
---------------------------------------------

A session outlives its connections. Three parties hold an opinion about it at any moment: the SDK that opened it, the
node that its connection is on, and the registry, which alone decides. They learn of each other over a network that
loses, delays and repeats; most of this project is about the moments in which their opinions differ.

*The reply to an open is lost.* The SDK does not know whether it has a session; dialling again must not make a second
one. The SDK chooses the open's id and the session's secret before it dials, and repeats both, so that a repeated open
attaches to the session that the first one made (S1, S2). Until the SDK has shown that it has read the reply, losing the
connection leaves a short grace only (S6).

*The app closes while the open is under way.* The engine may create the session after the client has gone. A connection
in JOINING that drops becomes ABANDONED, not GONE: what the engine returns later is ended or detached, never served and
never forgotten.

*Two connections carry one session.* A client that moves dials the new node before it drops the old one; a network that
seemed dead comes back. The registry counts attaches: each gets a generation, every write names the generation that it
acts for, and the older connection is closed as superseded (S7). An SDK in CONNECTED that gets RESUMED stays
CONNECTED: it moved without having been away.

*The node may have lost its lease.* It cannot know whether another node has its sessions already, and must not act on
their behalf, but ending them would be worse. FENCED answers calls with a retryable error and keeps the connection; the
SDK shows RECONNECTING until STAY or a resume (S9).

*The token ends during a call.* EXPIRED serves refresh, close and ping for 30 s, so that a late refresh costs no session
(S5). A connection can be FENCED and past its token's end at once: FENCED wins, and the token's clock is looked at again
when the fence is lifted.

*The end arrives twice, or late.* Kicks, timeouts and losses race with each other and with `close`. DISCONNECTED, GONE
and CLOSED have no way out but a new open, so the first end wins and the later ones change nothing.

*A timer fires, or a message arrives, after its connection was replaced.* Every input names the attempt that it belongs
to. Numbers are never used again, so that a late input finds nothing.

From these follow two rules for everything in this file:

1. One method of each machine changes its state, by one of these tables. There are no booleans beside the state that
   say the same thing again.
2. A pair that is not in its table is not an error. It is a late event, and changes nothing. A test walks every pair.

The drawings in ``docs/explanation/states.md`` and the browser SDK's table are made from these tables.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TypeVar

from greenroom.model import RegistryState


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


class ClientEvent(StrEnum):
    """What can happen to a session in an SDK."""

    OPEN = "open"
    """The app calls `open`."""
    OPENED = "opened"
    """The service opened, or reopened, a session."""
    RESUMED = "resumed"
    """The service resumed the session."""
    LOST = "lost"
    """The connection was lost."""
    MOVE_ON = "move_on"
    """The service's node is fenced and asks to resume elsewhere."""
    STAY = "stay"
    """The reason to move is gone."""
    FAILED = "failed"
    """The open failed for good, timed out, or every caller cancelled it."""
    ENDED = "ended"
    """The session ended for good."""
    CLOSE = "close"
    """The app calls `close`."""


_S, _C = SessionState, ClientEvent
CLIENT_TRANSITIONS: dict[tuple[SessionState, ClientEvent], SessionState] = {
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


class ServerEvent(StrEnum):
    """What can happen to one connection of the service."""

    HELLO = "hello"
    """A well-formed open or resume arrived."""
    JOINED = "joined"
    """The engine attached the session to this connection."""
    REFUSED = "refused"
    """The engine refused; after a failed resume the client may open on the same connection."""
    FENCE = "fence"
    """The node's lease is no longer certain."""
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


_V, _U = ServerState, ServerEvent
SERVER_TRANSITIONS: dict[tuple[ServerState, ServerEvent], ServerState] = {
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


class RegistryEvent(StrEnum):
    """What can happen to a session in the registry."""

    ATTACH = "attach"
    """A resume, a repeated open, or a node acquiring its own session again: generation +1."""
    DETACH = "detach"
    """The connection is gone, or the node's lease expired."""
    END = "end"
    """Closed, timed out, replaced, kicked, … : once, with a reason."""


_R, _T = RegistryState, RegistryEvent
REGISTRY_TRANSITIONS: dict[tuple[RegistryState, RegistryEvent], RegistryState] = {
    (_R.ATTACHED, _T.ATTACH): _R.ATTACHED,
    (_R.ATTACHED, _T.DETACH): _R.DETACHED,
    (_R.ATTACHED, _T.END): _R.CLOSED,
    (_R.DETACHED, _T.ATTACH): _R.ATTACHED,
    (_R.DETACHED, _T.END): _R.CLOSED,
}

State = TypeVar("State")
Event = TypeVar("Event")


def step(table: dict[tuple[State, Event], State], state: State, event: Event) -> State | None:
    """The state after the event, or None where the event means nothing in this state (a late input)."""
    return table.get((state, event))
