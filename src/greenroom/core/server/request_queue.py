"""Requests of one connection that wait while another is carried out, and what they may cost (S19)."""

from __future__ import annotations

from collections import deque
from math import inf

from greenroom.core.rate_limit import TokenBucket
from greenroom.core.server.services import SessionLimits
from greenroom.messages import (
    CreateRoomParams,
    InviteParams,
    ParticipantsParams,
    Request,
    RoomMembersParams,
    RoomParams,
    RoomsParams,
    SendParams,
    UpdateParams,
)

ROSTER_COST = 100
"""What a roster costs of the budget for participants: it has as many, about."""
_INVITATION_COST = 20
_BYTES_FOR_ONE = 64
"""Of a message, that cost as much as a participant."""


def cost_of(params: object) -> int:
    """What a request costs of the budget for participants: each that it names, and each four bytes of attributes."""
    if isinstance(params, ParticipantsParams):
        return len(params.ids) + len(params.external_ids) + len(params.known)
    if isinstance(params, UpdateParams) and params.attributes:
        return sum(len(name) + len(value or "") for name, value in params.attributes.items()) // 4
    if isinstance(params, SendParams):
        return len(bytes(params.message)) // _BYTES_FOR_ONE + len(params.to)
    if isinstance(params, RoomsParams):
        return ROSTER_COST * (len(params.rooms) + len(params.known))
    if isinstance(params, CreateRoomParams | RoomParams | RoomMembersParams):
        return ROSTER_COST
    if isinstance(params, InviteParams):
        return _INVITATION_COST * (len(params.participant_ids) + len(params.external_ids))
    return 0


class RequestQueue:
    """limits: `max_waiting`, `ids_per_second` and `ids_burst` of them."""

    __slots__ = ("_ids", "_limits", "paused_until", "waiting")

    def __init__(self, limits: SessionLimits) -> None:
        self._limits = limits
        # Most connections never need either.
        self._ids: TokenBucket | None = None
        self.waiting: deque[Request] | None = None
        """What waits, the first one first; None is nothing."""
        self.paused_until = -inf
        """When the first may be carried out (monotonic seconds), because of the participants that it names."""

    def put(self, request: Request) -> bool:
        """At the end. False where too many wait."""
        if self.waiting is None:
            self.waiting = deque()
        if len(self.waiting) >= self._limits.max_waiting:
            return False
        self.waiting.append(request)
        return True

    def put_back(self, request: Request) -> None:
        """It is the first again."""
        if self.waiting is None:
            self.waiting = deque()
        self.waiting.appendleft(request)

    def take(self, now: float) -> Request | None:
        """The first; None where there is none, or it has to wait longer."""
        if not self.waiting or now < self.paused_until:
            return None
        return self.waiting.popleft()

    def charge(self, cost: int, now: float) -> bool:
        """Takes what a request costs. False: it has to wait until it is earned."""
        if self._ids is None:
            self._ids = TokenBucket(self._limits.ids_per_second, float(self._limits.ids_burst), now)
        count = float(min(cost, self._ids.burst))
        if self._ids.take(now, count):
            return True
        self.paused_until = now + max(0.001, self._ids.wait(now, count))
        return False

    def clear(self) -> tuple[Request, ...]:
        """What waited; nothing does now."""
        waiting, self.waiting = self.waiting or (), None
        return tuple(waiting)
