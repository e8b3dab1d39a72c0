"""The ground that `ServerSession` stands on: its state, effects, clocks and endings.

Split by concern over three files, each a layer: here what every input uses, `server_join` how a session comes to a
connection, `server` the inputs and the requests.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from enum import Enum
from math import inf
from typing import Any, NamedTuple

import msgspec

from greenroom.codes import CloseCode
from greenroom.core.server.calls import (
    Abort,
    Call,
    Close,
    DetachSession,
    Effect,
    EndSession,
    EngineCall,
    House,
    Joined,
    Now,
    Owned,
    Ping,
    Send,
    UnwatchParticipants,
)
from greenroom.core.server.endings import CLOSE_OF_REASON, TEXT_OF_REASON
from greenroom.core.states import SERVER_TRANSITIONS, ServerEvent, ServerState, step
from greenroom.core.watching import Watches
from greenroom.errors import (
    GreenroomError,
)
from greenroom.messages import (
    By,
    Device,
    Empty,
    Request,
    SessionEnded,
    TokenExpiring,
    encode_error,
    encode_notification,
    encode_reply,
)
from greenroom.model import EndReason

_S, _C = ServerState, ServerEvent
_REASONS = {reason.value: reason for reason in EndReason}
EMPTY = Empty()
_WARNED_OF_LIFE = 0.25
WATCH_SCOPE = "notifications:set"
_MISBEHAVED = frozenset(
    {
        CloseCode.POLICY_VIOLATION,
        CloseCode.MESSAGE_TOO_BIG,
        CloseCode.WS_PROTOCOL_ERROR,
        CloseCode.UNSUPPORTED_DATA,
        CloseCode.INVALID_UTF8,
        CloseCode.RATE_LIMITED,
    }
)
"""What a connection is cut off with for how its client behaved."""
RequestId = int | str | None
HELD = frozenset({_S.OPEN, _S.FENCED, _S.EXPIRED})
"""States in which the connection has a session that is to be detached when it is lost."""


class Heartbeat(Enum):
    """Of a connection."""

    RESTING = "resting"
    """The last ping was answered; the next is due at `_beat_due`."""
    WAITING = "waiting"
    """A pong is due by `_beat_due`. Only a pong counts: what else comes in proves one direction only."""


class Held:
    """A session as its node knows it. participant: the latest heard of. secret_hash: of the current resume secret.
    attempt: the last one taken."""

    __slots__ = ("attempt", "participant", "record", "secret_hash")

    def __init__(self, joined: Joined, secret_hash: bytes, attempt: int) -> None:
        self.record = joined.session
        self.participant = joined.participant
        self.secret_hash = secret_hash
        self.attempt = attempt


class Doing(NamedTuple):
    """What waits for the engine. number: of the call. then: what to do with the answer."""

    number: int
    then: Callable[[Any, Now], None]


class ServerGround:
    """State of one connection and what all its inputs use.

    house: what it may ask of its node. address: the client's. origin: of the page, None where there is none.
    """

    __slots__ = (
        "_allowance",
        "_allowance_at",
        "_beat",
        "_beat_due",
        "_current",
        "_effects",
        "_ends_at",
        "_fenced_at",
        "_grace_if_lost",
        "_hello_due",
        "_hellos",
        "_moved_on_at",
        "_numbers",
        "_queue",
        "_warned_for",
        "address",
        "app",
        "expires_at",
        "external_id",
        "heard_at",
        "held",
        "house",
        "issued_at",
        "origin",
        "owner",
        "participant_id",
        "refused",
        "scopes",
        "state",
        "watches",
    )

    def __init__(self, house: House, now: Now, *, address: str = "", origin: str | None = None) -> None:
        limits = house.limits
        self.house = house
        self.address = address
        self.origin = origin
        self.state = _S.HELLO
        self.owner: Owned | None = None
        """The session and by which right it is written; None before it is open."""
        self.app = ""
        self.participant_id = ""
        self.held: Held | None = None
        """What a restore of an engine that lost everything needs to know of the session (S15)."""
        self.external_id: str | None = None
        self.scopes: tuple[str, ...] = ()
        self.issued_at = 0
        self.expires_at = 0
        """Of the token; Unix seconds."""
        self.watches = Watches()
        self.heard_at = now.mono
        """When the client last gave a sign of life that proves both directions."""
        self.refused: tuple[str, bool] | None = None
        """The last refusal, for the shell to count: its reason, and whether it was of a resume."""
        self._effects: list[Effect] = []
        self._queue: deque[Request] | None = None
        self._current: Doing | None = None
        self._numbers = 0
        self._hellos = 0
        self._hello_due = now.mono + limits.hello
        self._beat = Heartbeat.RESTING
        self._beat_due = now.mono + limits.ping
        self._grace_if_lost = limits.grace
        self._warned_for = 0
        self._ends_at = inf
        self._moved_on_at = -inf
        self._fenced_at = -inf
        self._allowance = float(limits.messages_burst)
        self._allowance_at = now.mono

    # -- out ----------------------------------------------------------------------------------------------------------

    def effects(self) -> list[Effect]:
        """What to do now, in order. Each is given out once."""
        effects = self._effects
        if effects:
            self._effects = []
        return effects

    def _step(self, event: ServerEvent) -> bool:
        """The one door through which the state changes. False where the event means nothing now."""
        after = step(SERVER_TRANSITIONS, self.state, event)
        if after is None:
            return False
        self.state = after
        if after is _S.GONE:
            self._queue = self._current = None
        return True

    def _ask(self, call: EngineCall, then: Callable[[Any, Now], None]) -> None:
        self._numbers += 1
        self._current = Doing(self._numbers, then)
        self._effects.append(Call(self._numbers, call))

    def _duty(self, call: EngineCall) -> None:
        """Something the shell sees to; nobody waits for the answer."""
        self._numbers += 1
        self._effects.append(Call(self._numbers, call))

    def _reply(self, request_id: RequestId, result: msgspec.Struct) -> None:
        if request_id is not None:
            self._effects.append(Send(encode_reply(request_id, result)))

    def _fail(self, request_id: RequestId, error: GreenroomError) -> None:
        if request_id is not None:
            self._effects.append(Send(encode_error(request_id, error)))

    def _notify(self, method: str, params: msgspec.Struct) -> None:
        self._effects.append(Send(encode_notification(method, params)))

    def unwatch(self, ids: tuple[str, ...]) -> None:
        """These are not watched any more (used by `serving`)."""
        if ids:
            self._duty(UnwatchParticipants(self.app, ids))

    # -- endings ------------------------------------------------------------------------------------------------------

    def _grace_of(self, code: int) -> float:
        """Seconds for which the session outlives the connection (S6)."""
        if code == CloseCode.GOING_AWAY:
            return self.house.limits.grace_left
        return self._grace_if_lost

    def _let_go(self, code: int, now: Now) -> None:
        """The connection of a session is gone: end it where its client said so, else detach it."""
        assert self.owner is not None
        if code in _MISBEHAVED:
            self.house.cut_off(self.owner.session_id, now)
            self.house.cut_off(self.participant_id, now)
        if code == CloseCode.NORMAL:
            self._duty(EndSession(self.owner, EndReason.CLOSED))
        else:
            self._duty(DetachSession(self.owner, self._grace_of(code)))

    def _farewell(self, owner: Owned) -> EngineCall:
        """What becomes of a session whose connection was gone before it was joined. No grace: its client closed it."""
        if self._grace_if_lost <= 0.0:
            return EndSession(owner, EndReason.CLOSED)
        return DetachSession(owner, self._grace_if_lost)

    def _drop(self, code: CloseCode, reason: str, now: Now) -> None:
        """Our side ends the connection; its session, if any, is kept for its grace."""
        if self.state in HELD:
            self._let_go(code, now)
        if self._step(_C.DROP):
            self._effects.append(Close(code, reason))

    def _tell_end(self, reason: str, text: str, by: Device | None) -> None:
        if not self._step(_C.DROP):
            return
        known = _REASONS.get(reason, EndReason.TIMEOUT)
        text = text or TEXT_OF_REASON[known]
        ended = SessionEnded(reason=reason, message=text, by=None if by is None else By(by))
        self._notify("session.ended", ended)
        self._effects.append(Close(CLOSE_OF_REASON[known], reason))

    def _finish_close(self, request_id: RequestId) -> None:
        if self._step(_C.DROP):
            self._reply(request_id, EMPTY)
            self._effects.append(Close(CloseCode.NORMAL, "closed"))

    def end(self, reason: EndReason, text: str, now: Now) -> None:
        """This node ends the session: its application was disabled, its token revoked or spent."""
        if self.state not in HELD:
            return
        owner = self.owner
        assert owner is not None
        self._step(_C.END)
        text = text or TEXT_OF_REASON[reason]
        self._ask(EndSession(owner, reason, text), lambda _result, _now: self._tell_end(reason, text, None))

    # -- clocks -------------------------------------------------------------------------------------------------------

    def _heartbeat(self, now: Now) -> None:
        if self._beat is Heartbeat.RESTING:
            self._beat = Heartbeat.WAITING
            self._beat_due = now.mono + self.house.limits.pong
            self._effects.append(Ping())
            return
        if self.state in HELD:
            self._let_go(CloseCode.ABNORMAL, now)
        self._step(_C.DROP)
        self._effects.append(Abort())

    def _token_due(self) -> float:
        """The wall time of the next thing to do about the token."""
        if self.state is _S.EXPIRED:
            return self._ends_at
        if self._warned_for != self.expires_at:
            return self.expires_at - self._warning()
        return float(self.expires_at)

    def _warning(self) -> float:
        """Seconds before the token's end at which its client is told: never before SDKs would have refreshed it."""
        life = max(0, self.expires_at - self.issued_at)
        return min(self.house.limits.token_warning, life * _WARNED_OF_LIFE)

    def _check_token(self, now: Now) -> None:
        if self.state is _S.OPEN:
            left = self.expires_at - now.wall
            if left <= self._warning() and self._warned_for != self.expires_at:
                self._warned_for = self.expires_at
                self._notify("session.tokenExpiring", TokenExpiring(self.expires_at * 1000))
            if left <= 0:
                self._step(_C.EXPIRE)
                # A node that slept, or was fenced, over the token's end gives its clients their time all the same.
                self._ends_at = max(self._ends_at, now.wall + self.house.limits.token_overrun)
        if self.state is _S.EXPIRED and now.wall >= self._ends_at:
            self.end(EndReason.TOKEN_EXPIRED, "", now)

    def _check_application(self, now: Now) -> None:
        """What changed while the attach was under way counts too (S18)."""
        application = self.house.application(self.app)
        if application is None:
            return  # nothing missing is read as deleted (S15)
        if application.disabled:
            self.end(EndReason.APPLICATION_DISABLED, "", now)
        elif self.issued_at <= application.revoked_before:
            self.end(EndReason.TOKEN_REVOKED, "", now)

    directory_changed = _check_application
    """The directory was read again."""

    def _spend(self, now: Now) -> bool:
        limits = self.house.limits
        earned = (now.mono - self._allowance_at) * limits.messages_per_second
        if earned > 0:
            self._allowance = min(self._allowance + earned, float(limits.messages_burst))
            self._allowance_at = now.mono
        self._allowance -= 1.0
        return self._allowance >= 0.0

    def deadline(self, now: Now) -> float:
        """When `tick` is due, on the clock of ``now.mono``; infinity once the connection is over."""
        state = self.state
        if state is _S.GONE or state is _S.ABANDONED:
            return inf
        due = self._beat_due
        if state is _S.HELLO:
            return min(due, self._hello_due)
        if state is _S.OPEN or state is _S.EXPIRED:
            # Tokens live on the wall clock. It may step: every heartbeat looks again.
            return min(due, now.mono + max(0.0, self._token_due() - now.wall))
        return due
