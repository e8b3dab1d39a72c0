"""Requests that wait for their replies, over as many connections as it takes.

Every request of the protocol is safe to repeat (updates carry an ``updateId``, S14). What was not answered on one
connection is sent again on the next. Requests are sent as fast as the service takes them and no faster, and lookups
that wait behind each other become one message.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import msgspec

from greenroom.codes import ErrorCode
from greenroom.core.client.effects import ClientSettings, Effect, Reject, SendText
from greenroom.core.rate_limit import TokenBucket
from greenroom.errors import GreenroomError, IllegalArgumentError, ServiceUnavailableError, SessionEndedError
from greenroom.messages import MAX_MESSAGE_BYTES, ParticipantsParams, RoomsParams, WireLimits, encode_request

HELD_CODES = frozenset({ErrorCode.FENCED, ErrorCode.DRAINING, ErrorCode.TOKEN_EXPIRED})
"""Refusals that a resume, `session.stay` or a new token mends: the request waits for it."""
MERGED_METHODS = frozenset({"participants.get", "participants.watch"})
"""Requests for participants that become one message where several wait."""
EXCLUSIVE_METHODS = frozenset({"rooms.join", "rooms.leave", "rooms.watch", "rooms.unwatch"})
"""Of one room, the next is sent when the one before is answered: a refusal for now may not change their order."""
JOIN, LEAVE = "rooms.join", "rooms.leave"
"""A leave continues without anybody who waits for it. A join for which nobody waits any more becomes a leave."""
PACE = 0.8
"""The part of the service's limits that is used: messages may arrive closer together than they were sent."""
MESSAGES_PER_SECOND = 50.0
MESSAGES_BURST = 100
"""Limits of a service that does not say its own."""

_HELD = -1


@dataclass(slots=True)
class Caller:
    """A caller who waits for a request, or for a part of one. params: what it asked for."""

    waiter: int
    params: msgspec.Struct
    timeout: float
    deadline: float


@dataclass(slots=True)
class PendingRequest:
    """callers: empty for a request of the machine itself. sent_on: number of the attempt, None while it is not sent.

    not_before: the service asked to wait. alone: not to be merged with others (again).
    """

    id: int
    method: str
    params: msgspec.Struct
    callers: list[Caller] = field(default_factory=list)
    sent_on: int | None = None
    last_error: GreenroomError | None = None
    not_before: float = 0.0
    alone: bool = False
    order: int = 0
    """Among those about the same room: `id`, unless others were put before it."""

    room: str | None = field(init=False)
    """The one room that it is about; None: about none, or several."""

    def __post_init__(self) -> None:
        self.order, params = self.id, self.params
        if isinstance(params, RoomsParams):
            names = [*params.rooms, *(name for name, _ in params.known)]
            self.room = names[0] if len(names) == 1 else None
        else:
            self.room = getattr(params, "room", None)

    def merge(self, other: PendingRequest, max_ids: int) -> bool:
        """Take the other one's callers, where both fit into one message."""
        if self.alone or other.alone or other.method != self.method or other.method not in MERGED_METHODS:
            return False
        mine, theirs = self.params, other.params
        assert isinstance(mine, ParticipantsParams)
        assert isinstance(theirs, ParticipantsParams)
        if mine.known or theirs.known or not self.callers or not other.callers:
            return False
        ids = list(dict.fromkeys([*mine.ids, *theirs.ids]))
        external_ids = list(dict.fromkeys([*mine.external_ids, *theirs.external_ids]))
        merged = ParticipantsParams(ids=ids, external_ids=external_ids)
        size = len(encode_request(self.id, self.method, merged))
        if len(ids) + len(external_ids) > max_ids or size > MAX_MESSAGE_BYTES:
            return False
        self.params = merged
        self.callers += other.callers
        return True


class PendingRequests:
    """The table, in the order in which the requests were made."""

    def __init__(self, settings: ClientSettings) -> None:
        self._settings = settings
        self._table: dict[int, PendingRequest] = {}
        self._last_id = 0
        self._bucket = TokenBucket(MESSAGES_PER_SECOND * PACE, MESSAGES_BURST * PACE, 0.0)
        self._due: float | None = None
        self._is_stuck = False
        """The last `flush` sent all that it could, so that one more request changes nothing."""
        self._earliest: float | None = None
        """The first caller's deadline; not kept while `_is_stale`."""
        self._is_stale = False
        self.max_ids = settings.watches_per_message

    def __iter__(self) -> Iterator[PendingRequest]:
        return iter(list(self._table.values()))

    def connected(self, now: float, limits: WireLimits) -> None:
        """A new connection takes messages. limits: of the service, as far as it says them."""
        rate = limits.messages_per_second or MESSAGES_PER_SECOND
        burst = limits.messages_burst or MESSAGES_BURST
        self._bucket = TokenBucket(max(rate, 1.0) * PACE, max(burst * PACE, 1.0), now)
        self._is_stuck = False
        self.max_ids = max(1, min(self._settings.watches_per_message, limits.max_ids or self.max_ids))

    def new_id(self) -> int:
        """Unique over all connections, so that a late reply finds its own request only."""
        self._last_id += 1
        return self._last_id

    def add(
        self, now: float, method: str, params: msgspec.Struct, waiter: int | None, timeout: float = 0.0
    ) -> IllegalArgumentError | None:
        """Queue a request. waiter: None for a request of the machine itself. timeout: seconds for the waiter.

        Returns the error where it is longer than the service takes.
        """
        request = PendingRequest(self.new_id(), method, params)
        if waiter is not None:
            request.callers.append(Caller(waiter, params, timeout, now + timeout))
            self._earliest = now + timeout if self._earliest is None else min(self._earliest, now + timeout)
        size = len(encode_request(request.id, method, params))
        if size > MAX_MESSAGE_BYTES:
            return IllegalArgumentError(f"{method}: the message has {size} bytes; the limit is {MAX_MESSAGE_BYTES}.")
        self._table[request.id] = request
        return None

    def join(self, now: float, method: str, params: msgspec.Struct, waiter: int, timeout: float) -> bool:
        """Add a caller to a request that asks the same, unless a later one about the room may undo it."""
        room = PendingRequest(0, method, params).room
        last = max(
            (one for one in self if one.room == room and one.method in EXCLUSIVE_METHODS), key=_order, default=None
        )
        if last is None or last.method != method or last.params != params or not last.callers:
            return False
        last.callers.append(Caller(waiter, params, timeout, now + timeout))
        self._changed()
        return True

    def take(self, request_id: int) -> PendingRequest | None:
        """Remove the request that this answers."""
        self._changed()
        return self._table.pop(request_id, None)

    def _put_back(self, request: PendingRequest) -> None:
        self._changed()
        self._table[request.id] = request

    def _changed(self) -> None:
        """More than that a request was added: look through the table again."""
        self._is_stuck, self._is_stale = False, True

    def hold(self, request: PendingRequest, error: GreenroomError) -> None:
        """Put back a request that was refused for now. It waits for `resend` or `resend_held`."""
        request.last_error, request.sent_on = error, _HELD
        self._put_back(request)

    def repeat(self, request: PendingRequest, error: GreenroomError, not_before: float) -> None:
        """Put back a request that was sent too soon."""
        request.last_error, request.sent_on, request.not_before = error, None, not_before
        self._put_back(request)

    def split(self, request: PendingRequest) -> None:
        """Put back each part of a merged request on its own: one of them was refused, or got no reply."""
        for caller in request.callers:
            part = PendingRequest(self.new_id(), request.method, caller.params, [caller], alone=True)
            self._put_back(part)

    def resend(self) -> None:
        """The next `flush` sends everything again that was sent or held: the connection is a new one."""
        self._changed()
        for request in self._table.values():
            request.sent_on, request.not_before = None, 0.0

    def resend_held(self) -> None:
        """The next `flush` sends again what was refused for now."""
        self._changed()
        for request in self._table.values():
            if request.sent_on == _HELD:
                request.sent_on = None

    def drop_own(self, method: str) -> None:
        """Forget the machine's own requests of one method: a newer one replaces them."""
        for request in self:
            if not request.callers and request.method == method:
                self.take(request.id)

    def put_first(self, count: int) -> None:
        """The last `count` requests come before all others, whatever these are about."""
        requests = list(self._table.values())
        requests = [*requests[len(requests) - count :], *requests[: len(requests) - count]]
        for order, request in enumerate(requests, self._last_id - len(requests) + 1):
            request.order = order
        self._table = {request.id: request for request in requests}
        self._changed()

    def flush(self, now: float, attempt: int | None) -> list[Effect]:
        """Send what waits, as fast as the service takes it. attempt: number of the live one, None without one."""
        effects: list[Effect] = []
        if attempt is None:
            self._due, self._is_stuck = None, False
            return effects
        if self._is_stuck and (self._due is None or now < self._due):
            return effects
        self._due, self._is_stuck = None, False
        room = self._settings.max_in_flight - sum(1 for request in self._table.values() if request.sent_on == attempt)
        unsent = [request for request in self._table.values() if request.sent_on is None]
        blocked = self._blocked(unsent, attempt)
        for place, request in enumerate(unsent):
            if request.id not in self._table or request.id in blocked:
                continue  # merged into an earlier one; or another one about the room comes first
            if request.not_before > now:
                self._due_at(request.not_before)
                self._extend(now, [request])
                continue
            if room <= 0:
                self._is_stuck = True
                break
            if not self._bucket.take(now):
                self._due_at(now + self._bucket.wait(now))
                self._extend(now, unsent[place:])
                self._is_stuck = True
                break
            self._merge_following(now, request, unsent[place + 1 :])
            request.sent_on, room = attempt, room - 1
            effects.append(SendText(attempt, encode_request(request.id, request.method, request.params)))
        return effects

    def _blocked(self, unsent: list[PendingRequest], attempt: int) -> set[int]:
        """Those of the requests that an earlier one about the same room has to precede: one that is not sent, or one
        whose answer decides about membership."""
        blocked: set[int] = set()
        if not any(request.room for request in unsent):
            return blocked
        exclusive: set[str] = set()
        waiting: set[str] = set()
        busy: set[str] = set()
        for request in sorted(self._table.values(), key=_order):
            room = request.room
            if room is None:
                continue
            is_exclusive = request.method in EXCLUSIVE_METHODS
            if room in exclusive or room in waiting or (is_exclusive and room in busy):
                blocked.add(request.id)
            busy.add(room)
            if is_exclusive:
                exclusive.add(room)
            if request.sent_on != attempt and request.not_before > 0.0:
                waiting.add(room)
        return blocked

    def _merge_following(self, now: float, request: PendingRequest, following: list[PendingRequest]) -> None:
        """Up to the first that does not fit: a lookup is never moved before another request."""
        for other in following:
            if other.not_before > now or not request.merge(other, self.max_ids):
                return
            self.take(other.id)

    def _due_at(self, when: float) -> None:
        self._due = when if self._due is None else min(self._due, when)

    def _extend(self, now: float, requests: list[PendingRequest]) -> None:
        """Callers do not time out for waiting their turn."""
        self._is_stale = True
        for request in requests:
            for caller in request.callers:
                caller.deadline = max(caller.deadline, now + caller.timeout)

    def due(self) -> float | None:
        if self._is_stale:
            deadlines = (caller.deadline for request in self._table.values() for caller in request.callers)
            self._earliest, self._is_stale = min(deadlines, default=None), False
        return min((when for when in (self._earliest, self._due) if when is not None), default=None)

    def run(self, now: float) -> list[Effect]:
        """Reject the callers that have timed out."""
        effects: list[Effect] = []
        if not self._is_stale and (self._earliest is None or now < self._earliest):
            return effects
        self._changed()
        for request in self:
            late = [caller for caller in request.callers if caller.deadline <= now]
            for caller in late:
                error = request.last_error
                if error is None or isinstance(error, SessionEndedError):  # the session lives, or all were rejected
                    error = ServiceUnavailableError(f"{request.method} was not answered in time.")
                effects.append(Reject(caller.waiter, error))
                self._remove(request, caller)
        return effects

    def _remove(self, request: PendingRequest, caller: Caller) -> None:
        request.callers.remove(caller)
        if request.callers or request.method == LEAVE:
            return
        self.take(request.id)
        if request.method == JOIN:
            self.add(0.0, LEAVE, request.params, None)

    def reject_all(self, error: GreenroomError) -> list[Effect]:
        """The session is over."""
        effects: list[Effect] = [Reject(caller.waiter, error) for request in self for caller in request.callers]
        self._table.clear()
        self._changed()
        return effects

    def cancel(self, waiter: int) -> None:
        """The caller was cancelled. A request that was sent continues, and its reply counts; others are not sent."""
        self._changed()
        for request in self:
            for caller in list(request.callers):
                if caller.waiter == waiter:
                    if request.sent_on is None or request.method == JOIN:
                        self._remove(request, caller)
                    else:
                        request.callers.remove(caller)


def _order(request: PendingRequest) -> int:
    return request.order
