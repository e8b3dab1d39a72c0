"""Requests that wait for their replies, over as many connections as it takes.

Every request of the protocol is safe to repeat (updates carry an ``updateId``, S14). What was not answered on one
connection is sent again on the next.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import msgspec

from greenroom.codes import ErrorCode
from greenroom.core.client.effects import ClientSettings, Effect, Reject, SendText
from greenroom.errors import GreenroomError, IllegalArgumentError, ServiceUnavailableError
from greenroom.messages import MAX_MESSAGE_BYTES, encode_request

HELD_CODES = frozenset({ErrorCode.FENCED, ErrorCode.DRAINING, ErrorCode.TOKEN_EXPIRED})
"""Refusals that a resume, `session.stay` or a new token mends: the request waits for it."""

_HELD = -1


@dataclass(slots=True)
class PendingRequest:
    """waiter: None for a request of the machine itself. sent_on: number of the attempt, None while it is not sent."""

    id: int
    method: str
    params: msgspec.Struct
    waiter: int | None
    deadline: float | None
    sent_on: int | None = None
    last_error: GreenroomError | None = None


class PendingRequests:
    """The table, in the order in which the requests were made."""

    def __init__(self, settings: ClientSettings) -> None:
        self._settings = settings
        self._table: dict[int, PendingRequest] = {}
        self._last_id = 0

    def __iter__(self) -> Iterator[PendingRequest]:
        return iter(list(self._table.values()))

    def new_id(self) -> int:
        """Unique over all connections, so that a late reply finds its own request only."""
        self._last_id += 1
        return self._last_id

    def add(
        self, method: str, params: msgspec.Struct, waiter: int | None, deadline: float | None
    ) -> IllegalArgumentError | None:
        """Queue a request. Returns the error where it is longer than the service takes."""
        request = PendingRequest(self.new_id(), method, params, waiter, deadline)
        size = len(encode_request(request.id, method, params))
        if size > MAX_MESSAGE_BYTES:
            return IllegalArgumentError(f"{method}: the message has {size} bytes; the limit is {MAX_MESSAGE_BYTES}.")
        self._table[request.id] = request
        return None

    def take(self, request_id: int) -> PendingRequest | None:
        """Remove the request that this answers."""
        return self._table.pop(request_id, None)

    def hold(self, request: PendingRequest, error: GreenroomError) -> None:
        """Put back a request that was refused for now. It waits for `resend` or `resend_held`."""
        request.last_error, request.sent_on = error, _HELD
        self._table[request.id] = request

    def resend(self) -> None:
        """The next `flush` sends everything again that was sent or held: the connection is a new one."""
        for request in self._table.values():
            request.sent_on = None

    def resend_held(self) -> None:
        """The next `flush` sends again what was refused for now."""
        for request in self._table.values():
            if request.sent_on == _HELD:
                request.sent_on = None

    def drop_own(self, method: str) -> None:
        """Forget the machine's own requests of one method: a newer one replaces them."""
        for request in self:
            if request.waiter is None and request.method == method:
                self.take(request.id)

    def flush(self, attempt: int) -> list[Effect]:
        """Send what waits, as far as the service queues requests."""
        room = self._settings.max_in_flight - sum(1 for request in self if request.sent_on == attempt)
        effects: list[Effect] = []
        for request in self:
            if room <= 0:
                break
            if request.sent_on is None:
                request.sent_on, room = attempt, room - 1
                effects.append(SendText(attempt, encode_request(request.id, request.method, request.params)))
        return effects

    def due(self) -> float | None:
        return min((request.deadline for request in self if request.deadline is not None), default=None)

    def run(self, now: float) -> list[Effect]:
        """Reject what has timed out."""
        effects: list[Effect] = []
        for request in self:
            if request.deadline is not None and request.deadline <= now:
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
        """The caller was cancelled. A request that was not sent yet is not sent."""
        for request in self:
            if request.waiter == waiter:
                if request.sent_on is None:
                    self.take(request.id)
                else:
                    request.waiter = None
