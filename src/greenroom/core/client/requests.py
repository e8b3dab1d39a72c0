"""Requests that wait for their answers, over as many connections as it takes.

Every request of the protocol is safe to repeat (updates carry an ``updateId``, S14), so what was not answered on one
connection is sent again on the next.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import msgspec

from greenroom.codes import ErrorCode
from greenroom.core.client.effects import ClientSettings, Effect, Reject, Send
from greenroom.errors import GreenroomError, IllegalArgumentError, ServiceUnavailableError
from greenroom.messages import MAX_MESSAGE_BYTES, encode_request

HELD_CODES = frozenset({ErrorCode.FENCED, ErrorCode.DRAINING, ErrorCode.TOKEN_EXPIRED})
"""Refusals that a resume, `session.stay` or a new token mends: the request waits for it."""

_HELD = -1


@dataclass(slots=True)
class Request:
    """waiter is None for the machine's own. sent_on: attempt of the connection, None while it waits."""

    id: int
    method: str
    params: msgspec.Struct
    waiter: int | None
    until: float | None
    sent_on: int | None = None
    last_error: GreenroomError | None = None


class Requests:
    """The table, in the order in which the requests were made."""

    def __init__(self, settings: ClientSettings) -> None:
        self._settings = settings
        self._table: dict[int, Request] = {}
        self._last_id = 0

    def __iter__(self) -> Iterator[Request]:
        return iter(list(self._table.values()))

    def new_id(self) -> int:
        """Unique over all connections, so that a late answer finds its own request only."""
        self._last_id += 1
        return self._last_id

    def add(
        self, method: str, params: msgspec.Struct, waiter: int | None, until: float | None
    ) -> IllegalArgumentError | None:
        """Queue a request; the error where it is longer than the service takes."""
        request = Request(self.new_id(), method, params, waiter, until)
        size = len(encode_request(request.id, method, params))
        if size > MAX_MESSAGE_BYTES:
            return IllegalArgumentError(f"{method}: a message of {size} bytes; at most {MAX_MESSAGE_BYTES} are taken.")
        self._table[request.id] = request
        return None

    def take(self, request_id: int) -> Request | None:
        """The request that this answers, out of the table."""
        return self._table.pop(request_id, None)

    def hold(self, request: Request, error: GreenroomError) -> None:
        """Put back a request that was refused for now; it is sent again by `resend` and `flush`."""
        request.last_error, request.sent_on = error, _HELD
        self._table[request.id] = request

    def resend(self) -> None:
        """What was sent, or held, goes out again with the next `flush`: another connection, or the node is well."""
        for request in self._table.values():
            request.sent_on = None

    def resend_held(self) -> None:
        """What was refused for now goes out again with the next `flush`."""
        for request in self._table.values():
            if request.sent_on == _HELD:
                request.sent_on = None

    def drop_own(self, method: str) -> None:
        """Forget the machine's own requests of one method: a newer one says the same."""
        for request in self:
            if request.waiter is None and request.method == method:
                self.take(request.id)

    def flush(self, attempt: int) -> list[Effect]:
        """Send what waits, as far as the service lets requests wait."""
        room = self._settings.in_flight - sum(1 for request in self if request.sent_on == attempt)
        effects: list[Effect] = []
        for request in self:
            if room <= 0:
                break
            if request.sent_on is None:
                request.sent_on, room = attempt, room - 1
                effects.append(Send(attempt, encode_request(request.id, request.method, request.params)))
        return effects

    def due(self) -> float | None:
        return min((request.until for request in self if request.until is not None), default=None)

    def run(self, now: float) -> list[Effect]:
        """Reject what has waited too long."""
        effects: list[Effect] = []
        for request in self:
            if request.until is not None and request.until <= now:
                self.take(request.id)
                if request.waiter is not None:
                    error = request.last_error or ServiceUnavailableError(f"{request.method} was not answered in time.")
                    effects.append(Reject(request.waiter, error))
        return effects

    def reject_all(self, error: GreenroomError) -> list[Effect]:
        """The session is over."""
        effects: list[Effect] = [Reject(one.waiter, error) for one in self if one.waiter is not None]
        self._table.clear()
        return effects

    def cancel(self, waiter: int) -> None:
        """The caller has gone; a request that was not sent yet is not sent."""
        for request in self:
            if request.waiter == waiter:
                if request.sent_on is None:
                    self.take(request.id)
                else:
                    request.waiter = None
