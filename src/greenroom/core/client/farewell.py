"""Leaving: the service is told that a session is closed, in the background where it must be (S6).

Locally the session is over the moment `close` is called. While a connection carries it, `session.close` goes there;
without one, or when the answer does not come, `session.close` is the first message of a new connection, tried until
the grace is over, when the service ends the session by itself.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from greenroom.codes import CloseCode
from greenroom.core.client.effects import ClientSettings, ClientTools, Dial, Effect, Hangup, Resolve, Send
from greenroom.core.client.links import Dialer, Link, Phase
from greenroom.core.client.requests import Requests
from greenroom.errors import GreenroomError, SessionEndedError
from greenroom.messages import CloseParams, encode_request


@dataclass(slots=True)
class Farewell:
    """One session that is being left. session_id is None where the open had not been answered."""

    session_id: str | None
    secrets: list[str]
    until: float
    waiters: list[int]
    waiters_until: float
    dialer: Dialer
    link: Link | None = None
    asked: int | None = None


@dataclass(slots=True)
class Farewells:
    """All sessions being left: one in nearly every case."""

    tools: ClientTools
    settings: ClientSettings
    requests: Requests
    going: list[Farewell] = field(default_factory=list)

    def start(
        self,
        now: float,
        session_id: str | None,
        secrets: list[str],
        grace: float,
        link: Link | None,
        waiters: list[int],
    ) -> list[Effect]:
        """Leave. link: the connection that carries the session or its open, None where there is none."""
        if link is None and grace <= 0:
            return [Resolve(waiter, None) for waiter in waiters]
        limit = now + self.settings.close_limit
        farewell = Farewell(session_id, secrets, now + grace, waiters, limit, Dialer(self.tools), link)
        self.going.append(farewell)
        if link is not None:
            live = link.phase is Phase.LIVE
            link.phase, link.limit = Phase.LEAVING, limit
            if not live:
                # "A link closed with 1000 before or during the open ends the session it makes" (S6).
                return [Hangup(link.attempt, CloseCode.NORMAL)]
            return self._ask(farewell, link, CloseParams())
        farewell.dialer.soon(now)
        return self._release(farewell)

    def join(self, now: float, waiter: int) -> bool:
        """A second `close` joins the first, and one after an open that was given up its goodbye, while there is a
        connection to say it on."""
        for farewell in self.going:
            if farewell.link is not None and farewell.link.phase is Phase.LEAVING:
                if not farewell.waiters:
                    farewell.waiters_until = now + self.settings.close_limit
                farewell.waiters.append(waiter)
                return True
        return False

    def links(self) -> list[Link]:
        return [one.link for one in self.going if one.link is not None]

    def of(self, attempt: int) -> Farewell | None:
        return next((one for one in self.going if one.link is not None and one.link.attempt == attempt), None)

    def dialed(self, farewell: Farewell) -> list[Effect]:
        """Connected: say goodbye as the first message."""
        assert farewell.link is not None
        return self._say(farewell, farewell.link)

    def _say(self, farewell: Farewell, link: Link) -> list[Effect]:
        link.phase = Phase.LEAVING
        return self._ask(farewell, link, CloseParams(farewell.session_id, farewell.secrets[0]))

    def _ask(self, farewell: Farewell, link: Link, params: CloseParams) -> list[Effect]:
        farewell.asked = self.requests.new_id()
        return [Send(link.attempt, encode_request(farewell.asked, "session.close", params))]

    def answered(
        self, now: float, farewell: Farewell, answer_to: int | None, error: GreenroomError | None
    ) -> list[Effect]:
        """The service's answer: done, or the other secret, or later."""
        if farewell.asked is None or answer_to != farewell.asked or farewell.link is None:
            return []
        link = farewell.link
        if error is not None and error.retryable:
            farewell.link = None
            farewell.dialer.again(now)
            return [Hangup(link.attempt, CloseCode.COME_BACK), *self._release(farewell)]
        if isinstance(error, SessionEndedError) and error.end_reason is None and len(farewell.secrets) > 1:
            farewell.secrets.pop(0)
            return self._say(farewell, link)
        return [Hangup(link.attempt, CloseCode.NORMAL), *self._finish(farewell)]

    def lost(self, now: float, farewell: Farewell, code: int) -> list[Effect]:
        """The connection is gone: with 1000 the service has said yes."""
        farewell.link = None
        if farewell.session_id is None or code == CloseCode.NORMAL:
            return self._finish(farewell)
        farewell.dialer.again(now)
        return self._release(farewell)

    def due(self) -> float | None:
        times: list[float] = []
        for one in self.going:
            times.append(one.until)
            if one.waiters:
                times.append(one.waiters_until)
            if one.link is not None and one.link.limit is not None:
                times.append(one.link.limit)
            elif one.link is None and one.dialer.due is not None:
                times.append(one.dialer.due)
        return min(times, default=None)

    def run(self, now: float, next_attempt: int) -> tuple[list[Effect], int]:
        """What is due; and the attempt number after those used."""
        effects: list[Effect] = []
        for farewell in list(self.going):
            if farewell.waiters and farewell.waiters_until <= now:
                effects += self._release(farewell)
            if farewell.link is not None and farewell.link.limit is not None and farewell.link.limit <= now:
                effects += self._hang(now, farewell)
            if farewell.until <= now:
                effects += self._hang(now, farewell) + self._finish(farewell)
            elif farewell.link is None and farewell.dialer.due is not None and farewell.dialer.due <= now:
                farewell.link = Link(next_attempt, Phase.DIALING, now + self.settings.attempt_limit)
                farewell.dialer.due = None
                effects.append(Dial(next_attempt))
                next_attempt += 1
        return effects, next_attempt

    def hurry(self, now: float) -> None:
        """The network is back."""
        for farewell in self.going:
            if farewell.link is None:
                farewell.dialer.soon(now)

    def abandon(self) -> list[Effect]:
        """The app goes: nothing more is tried."""
        effects: list[Effect] = []
        for farewell in list(self.going):
            if farewell.link is not None and farewell.session_id is not None:
                effects.append(Hangup(farewell.link.attempt, CloseCode.NORMAL))
            effects += self._finish(farewell)
        return effects

    def _hang(self, now: float, farewell: Farewell) -> list[Effect]:
        link, farewell.link = farewell.link, None
        if link is None:
            return []
        if farewell.session_id is None:
            return self._finish(farewell)  # was closed with 1000 at the beginning
        farewell.dialer.again(now)
        return [Hangup(link.attempt, CloseCode.NORMAL)]  # ends the session where it still arrives

    def _release(self, farewell: Farewell) -> list[Effect]:
        waiters, farewell.waiters = farewell.waiters, []
        return [Resolve(waiter, None) for waiter in waiters]

    def _finish(self, farewell: Farewell) -> list[Effect]:
        if farewell in self.going:
            self.going.remove(farewell)
        return self._release(farewell)
