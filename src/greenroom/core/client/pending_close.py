"""Closes that the service has not confirmed yet; they continue in the background (S6).

For the app the session is closed the moment `close` is called. While a connection carries it, `session.close` goes
there. Without one, or when no reply comes, `session.close` is the first message of a new connection. That is repeated
until the grace is over, when the service ends the session by itself.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from greenroom.codes import CloseCode
from greenroom.core.client.attempts import Attempt, Attempts, Phase, RedialTimer
from greenroom.core.client.effects import ClientSettings, ClientTools, Dial, Disconnect, Effect, Resolve, SendText
from greenroom.core.client.requests import PendingRequests
from greenroom.errors import GreenroomError, SessionEndedError
from greenroom.messages import CloseParams, encode_request


@dataclass(slots=True)
class PendingClose:
    """One session being closed. session_id is None where the open had not been answered."""

    session_id: str | None
    secrets: list[str]
    deadline: float
    waiters: list[int]
    waiters_deadline: float
    redial: RedialTimer
    attempt: Attempt | None = None
    request_id: int | None = None


@dataclass(slots=True)
class PendingCloses:
    """All sessions being closed: one in nearly every case."""

    tools: ClientTools
    settings: ClientSettings
    requests: PendingRequests
    attempts: Attempts
    pending: list[PendingClose] = field(default_factory=list)

    def start(
        self,
        now: float,
        session_id: str | None,
        secrets: list[str],
        grace: float,
        attempt: Attempt | None,
        waiters: list[int],
    ) -> list[Effect]:
        """Close a session. attempt: what carries the session or its open, None where nothing does."""
        if attempt is None and grace <= 0:
            return [Resolve(waiter, None) for waiter in waiters]
        deadline = now + self.settings.close_timeout
        redial = RedialTimer(self.tools)
        closing = PendingClose(session_id, secrets, now + grace, waiters, deadline, redial, attempt)
        self.pending.append(closing)
        if attempt is not None:
            live = attempt.phase is Phase.LIVE
            attempt.phase, attempt.deadline = Phase.CLOSING, deadline
            if not live:
                # "A connection closed with 1000 before or during the open ends the session it makes" (S6).
                return [Disconnect(attempt.number, CloseCode.NORMAL)]
            return self._send(closing, attempt, CloseParams())
        closing.redial.at_once(now)
        return self._release(closing)

    def join(self, now: float, waiter: int) -> bool:
        """A later `close` joins one that still has a connection to be sent on."""
        for closing in self.pending:
            if closing.attempt is not None and closing.attempt.phase is Phase.CLOSING:
                if not closing.waiters:
                    closing.waiters_deadline = now + self.settings.close_timeout
                closing.waiters.append(waiter)
                return True
        return False

    def of(self, number: int) -> PendingClose | None:
        """The close that this attempt carries."""
        return next((one for one in self.pending if one.attempt is not None and one.attempt.number == number), None)

    def dialed(self, closing: PendingClose) -> list[Effect]:
        """Connected: `session.close` is the first message."""
        attempt = closing.attempt
        if attempt is None or attempt.phase is not Phase.DIALING:
            return []
        return self._send_with_secret(closing, attempt)

    def _send_with_secret(self, closing: PendingClose, attempt: Attempt) -> list[Effect]:
        attempt.phase = Phase.CLOSING
        return self._send(closing, attempt, CloseParams(closing.session_id, closing.secrets[0]))

    def _send(self, closing: PendingClose, attempt: Attempt, params: CloseParams) -> list[Effect]:
        closing.request_id = self.requests.new_id()
        return [SendText(attempt.number, encode_request(closing.request_id, "session.close", params))]

    def answered(
        self, now: float, closing: PendingClose, request_id: int | None, error: GreenroomError | None
    ) -> list[Effect]:
        """The service's reply: it is done, or takes the other secret, or may take it later."""
        attempt = closing.attempt
        if closing.request_id is None or request_id != closing.request_id or attempt is None:
            return []
        if error is not None and error.retryable:
            closing.attempt = None
            closing.redial.after_failure(now)
            return [Disconnect(attempt.number, CloseCode.COME_BACK), *self._release(closing)]
        if isinstance(error, SessionEndedError) and error.end_reason is None and len(closing.secrets) > 1:
            closing.secrets.pop(0)
            return self._send_with_secret(closing, attempt)
        return [Disconnect(attempt.number, CloseCode.NORMAL), *self._finish(closing)]

    def lost(self, now: float, closing: PendingClose, code: int) -> list[Effect]:
        """The connection is gone. With 1000 the service has confirmed."""
        closing.attempt = None
        if closing.session_id is None or code == CloseCode.NORMAL:
            return self._finish(closing)
        closing.redial.after_failure(now)
        return self._release(closing)

    def due(self) -> float | None:
        times: list[float | None] = []
        for one in self.pending:
            times.append(one.deadline)
            if one.waiters:
                times.append(one.waiters_deadline)
            times.append(one.redial.due if one.attempt is None else one.attempt.deadline)
        return min((when for when in times if when is not None), default=None)

    def run(self, now: float) -> list[Effect]:
        """Do what is due."""
        effects: list[Effect] = []
        for closing in list(self.pending):
            if closing.waiters and closing.waiters_deadline <= now:
                effects += self._release(closing)
            attempt = closing.attempt
            if attempt is not None and attempt.deadline is not None and attempt.deadline <= now:
                effects += self._disconnect(now, closing)
            if closing.deadline <= now:
                effects += self._disconnect(now, closing) + self._finish(closing)
            elif closing.attempt is None and closing.redial.due is not None and closing.redial.due <= now:
                number = self.attempts.next_number()
                closing.attempt = Attempt(number, Phase.DIALING, now + self.settings.attempt_timeout)
                closing.redial.due = None
                effects.append(Dial(number))
        return effects

    def network_back(self, now: float) -> None:
        for closing in self.pending:
            if closing.attempt is None:
                closing.redial.at_once(now)

    def abandon(self) -> list[Effect]:
        """The app exits: nothing more is tried."""
        effects: list[Effect] = []
        for closing in list(self.pending):
            if closing.attempt is not None and closing.session_id is not None:
                effects.append(Disconnect(closing.attempt.number, CloseCode.NORMAL))
            effects += self._finish(closing)
        return effects

    def _disconnect(self, now: float, closing: PendingClose) -> list[Effect]:
        attempt, closing.attempt = closing.attempt, None
        if attempt is None:
            return []
        if closing.session_id is None:
            return self._finish(closing)  # was closed with 1000 at the beginning
        closing.redial.after_failure(now)
        return [Disconnect(attempt.number, CloseCode.NORMAL)]  # ends the session where it still arrives

    def _release(self, closing: PendingClose) -> list[Effect]:
        waiters, closing.waiters = closing.waiters, []
        return [Resolve(waiter, None) for waiter in waiters]

    def _finish(self, closing: PendingClose) -> list[Effect]:
        if closing in self.pending:
            self.pending.remove(closing)
        return self._release(closing)
