"""The rooms that the app joined or watches, their messages, and invitations (R1, R5, R6, R9).

After a resume the service says in which rooms the session still is. After a reopen, where nothing is left of the old
session, what the app has joined and not left is joined again.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

import msgspec

from greenroom.core.backoff import bounded_retry
from greenroom.core.client.effects import (
    Reject,
    Resolve,
    RoomChangedEvent,
    RoomInvitationAnsweredEvent,
    RoomInvitedEvent,
    RoomLeftEvent,
    RoomMessageEvent,
    RoomMessagesMissedEvent,
    RoomUnwatchedEvent,
)
from greenroom.core.client.output import Output
from greenroom.core.client.requests import JOIN, LEAVE, PendingRequest, PendingRequests
from greenroom.core.client.retry_policy import older_service_error
from greenroom.core.client.rosters import LocalRoom, RosterUpdate
from greenroom.errors import GreenroomError, NotAMemberError
from greenroom.messages import (
    OpenResult,
    RoomChanged,
    RoomFoundResult,
    RoomInvitationAnswered,
    RoomInvited,
    RoomLeft,
    RoomMembersParams,
    RoomMembersResult,
    RoomMessageReceived,
    RoomMessagesMissed,
    RoomParams,
    RoomsParams,
    RoomUnwatched,
    RosterResult,
    RostersResult,
    SendParams,
    WireInvitation,
)
from greenroom.model import Invitation

WATCH, UNWATCH, MEMBERS = "rooms.watch", "rooms.unwatch", "rooms.members"
ROOMS = "rooms"
"""The capability of a service that has them."""
RETRY_AFTER = 2.0
"""Seconds after which a request of the machine's own is repeated that was refused for now."""
MAX_KNOWN_BYTES = 8 * 1024
"""Of rooms in `session.resume`, as JSON; others are asked about in messages of their own."""


class LocalRooms:
    """By name. A request for one with `callers` is the app's, one without is the machine's own."""

    def __init__(self, output: Output, requests: PendingRequests) -> None:
        self._output = output
        self._requests = requests
        self._rooms: dict[str, LocalRoom] = {}
        self._early: dict[str, int] = {}
        """Versions of changes that came before the reply to a join or watch."""
        self._in_hello: set[str] = set()
        """Named in the last `session.resume`, whose reply says what differs."""
        self.invitations: dict[str, Invitation] = {}
        """Those that wait for an answer, by id."""

    def get(self, name: str) -> LocalRoom | None:
        return self._rooms.get(name)

    def joined(self) -> list[LocalRoom]:
        """Those in which the session is."""
        return [room for room in self._rooms.values() if room.is_joined]

    # -- what the app asks for -----------------------------------------------------------------------------------

    def join(self, now: float, waiter: int, name: str, timeout: float) -> None:
        """Resolves with the `LocalRoom`; at once where it is joined already."""
        room, params = self._rooms.get(name), RoomParams(name)
        if room is not None and room.is_joined:
            self._output.emit(Resolve(waiter, room))
        elif not self._requests.join(now, JOIN, params, waiter, timeout):
            self._requests.add(now, JOIN, params, waiter, timeout)

    def leave(self, now: float, waiter: int, name: str, timeout: float) -> None:
        """Over at once for the app; resolves when the service has it."""
        room = self._rooms.get(name)
        if room is None or not room.is_joined:
            self._output.emit(Resolve(waiter, None))
            return
        self._requests.add(now, LEAVE, RoomParams(name), waiter, timeout)
        self._membership_over(room)

    def watch(self, now: float, waiter: int, name: str, timeout: float) -> None:
        """Resolves with the `LocalRoom`; at once where the service sends its changes already."""
        room, params = self._rooms.get(name), RoomsParams(rooms=[name])
        if room is not None and room.has_changes:
            room.is_watched = True
            self._output.emit(Resolve(waiter, room))
        elif not self._requests.join(now, WATCH, params, waiter, timeout):
            self._requests.add(now, WATCH, params, waiter, timeout)

    def unwatch(self, now: float, waiter: int, name: str, timeout: float) -> None:
        """Resolves when the service has it; at once where the session is a member, whose watch continues."""
        room = self._rooms.get(name)
        if room is None or room.is_joined or not room.is_watched:
            if room is not None:
                room.is_watched = False
            self._output.emit(Resolve(waiter, None))
            return
        del self._rooms[name]
        self._requests.add(now, UNWATCH, RoomsParams(rooms=[name]), waiter, timeout)

    def send(self, now: float, waiter: int, params: SendParams, timeout: float) -> None:
        room = self._rooms.get(params.room)
        if room is None or not room.is_joined:
            self._output.emit(Reject(waiter, NotAMemberError()))
            return
        error = self._requests.add(now, "rooms.send", params, waiter, timeout)
        if error is not None:
            self._output.emit(Reject(waiter, error))

    # -- replies -------------------------------------------------------------------------------------------------

    def answered(self, request: PendingRequest, result: object) -> object:
        """The service's reply. Returns what the callers get."""
        if isinstance(result, RosterResult):
            return self._joined(request, result) if request.method == JOIN else result.roster.id
        if isinstance(result, RoomFoundResult):
            return result.room
        if isinstance(result, RostersResult):
            return self._watched(request, result)
        if request.method == LEAVE:
            left = self._rooms.get(request.room or "")
            if left is not None and not left.is_joined and not left.is_asked:
                self._ask(left)  # of a join that was cancelled: the leave ended the app's watch, too
        if not isinstance(result, RoomMembersResult) or request.callers:
            return result if isinstance(result, RoomMembersResult) else None
        assert isinstance(request.params, RoomMembersParams)
        room = self._rooms.get(request.params.room)
        if room is not None and room.cursor == request.params.cursor:
            self._took(room, room.take_page(result))
        return None

    def _joined(self, request: PendingRequest, result: RosterResult) -> LocalRoom | None:
        assert isinstance(request.params, RoomParams)
        name = request.params.room
        room = self._rooms.get(name)
        if not request.callers and (room is None or not room.is_joined):
            return None  # left meanwhile: `rooms.leave` follows
        is_new = room is None
        room = self._rooms.setdefault(name, LocalRoom(name))
        room.is_joined, room.has_changes = True, result.watching
        self._took(room, room.take(result.roster), is_new=is_new)
        if room.is_watched and not result.watching:
            self._ask(room)
        return room

    def _watched(self, request: PendingRequest, result: RostersResult) -> LocalRoom | None:
        name = request.room
        room = self._rooms.get(name or "")
        is_new = room is None
        if name is None or (room is None and not request.callers):
            return None
        room = self._rooms.setdefault(name, LocalRoom(name))
        room.is_asked, room.has_changes = False, True
        room.is_watched = room.is_watched or bool(request.callers)
        for roster in result.rosters:
            self._took(room, room.take(roster), is_new=is_new)
        return room

    def refused(self, now: float, request: PendingRequest, error: GreenroomError) -> None:
        """A request of the machine's own."""
        if error.retryable:
            after = bounded_retry(getattr(error, "retry_after", None)) or RETRY_AFTER
            self._requests.repeat(request, error, now + after)
            return
        room = self._rooms.get(request.room or "")
        if room is None:
            return
        if request.method == JOIN and room.is_joined:
            self._lost(room, error.reason.lower(), error)
        elif request.method == WATCH:
            self._unwatched(room, error.reason.lower(), error)

    # -- notifications -------------------------------------------------------------------------------------------

    def notified(self, params: object) -> None:
        """One of the service's notifications about rooms."""
        if isinstance(params, RoomChanged):
            self._changed(params)
        elif isinstance(params, RoomMessageReceived):
            room = self._rooms.get(params.room)
            if room is not None and room.is_joined and params.number > room.last_number:
                room.last_number = params.number
                message = msgspec.json.decode(params.message)
                self._output.notify(RoomMessageEvent(room.name, params.number, params.sender, message))
        elif isinstance(params, RoomMessagesMissed):
            if params.room in self._rooms and self._rooms[params.room].is_joined:
                self._output.notify(RoomMessagesMissedEvent(params.room, params.count))
        elif isinstance(params, RoomLeft):
            room = self._rooms.get(params.room)
            if room is not None and room.is_joined:
                self._lost(room, params.reason)
        elif isinstance(params, RoomUnwatched):
            room = self._rooms.get(params.room)
            if room is not None and room.has_changes:
                self._unwatched(room, params.reason)
        elif isinstance(params, RoomInvited):
            self._invited([params.invitation])
        elif isinstance(params, RoomInvitationAnswered):
            self._output.notify(
                RoomInvitationAnsweredEvent(params.invitation_id, params.room, params.participant_id, params.accepted)
            )

    def _changed(self, wire: RoomChanged) -> None:
        room = self._rooms.get(wire.room)
        if room is not None:
            self._took(room, room.change(wire))
        elif any(one.room == wire.room for one in self._requests):
            self._early[wire.room] = max(wire.version, self._early.get(wire.room, 0))
        else:  # a watch that the app does not wait for any more
            self._requests.add(0.0, UNWATCH, RoomsParams(rooms=[wire.room]), None)

    def _invited(self, invitations: Iterable[WireInvitation]) -> None:
        for wire in invitations:
            if wire.id not in self.invitations:
                self.invitations[wire.id] = wire.to_invitation()
                self._output.notify(RoomInvitedEvent(self.invitations[wire.id]))

    # -- rosters -------------------------------------------------------------------------------------------------

    def _took(self, room: LocalRoom, update: RosterUpdate, *, is_new: bool = False) -> None:
        """Report what a message changed, and ask for what is missing. is_new: the caller gets all of it as result."""
        if update and not is_new:
            joined, changed, left = tuple(update.joined), tuple(update.changed), tuple(update.left)
            self._output.notify(RoomChangedEvent(room.name, room.version, room.count, joined, changed, left))
        is_stale = update.is_stale or self._early.pop(room.name, 0) > room.version
        if is_stale and room.has_changes and not room.is_asked:
            self._ask(room)
        elif room.cursor is not None and not room.is_asked:
            self._next_page(room)

    def _ask(self, room: LocalRoom) -> None:
        self._requests.add(0.0, WATCH, RoomsParams(known=[room.known()]), None)

    def _next_page(self, room: LocalRoom) -> None:
        params = RoomMembersParams(room=room.name, cursor=room.cursor)
        if not any(one.params == params and not one.callers for one in self._requests):
            self._requests.add(0.0, MEMBERS, params, None)

    # -- the session ---------------------------------------------------------------------------------------------

    def known(self) -> list[tuple[str, int]]:
        """For `session.resume`: rooms whose changes the session gets, with versions, as many as fit."""
        self._early.clear()
        found: list[tuple[str, int]] = []
        size = 0
        for room in self._rooms.values():
            size += len(msgspec.json.encode(room.name)) + 24
            if room.has_changes and size <= MAX_KNOWN_BYTES:
                found.append(room.known())
        self._in_hello = {name for name, _ in found}
        return found

    def resumed(self, result: OpenResult) -> None:
        """`session.resume` was answered."""
        self._welcome(result)
        if ROOMS not in result.capabilities:
            return  # an older node, which knows nothing of rooms: a later one will say
        for method in (WATCH, MEMBERS):
            self._requests.drop_own(method)
        if isinstance(result.rosters, msgspec.UnsetType):
            self._in_hello.clear()  # the service could not watch them now
        present, reasons = set(_given(result.rooms)), dict(_given(result.lost_rooms))
        present |= {one.room for one in self._requests if one.method == JOIN and one.room is not None}
        for room in list(self._rooms.values()):
            room.is_asked = False
            if room.is_joined and room.name not in present:
                self._lost(room, reasons.get(room.name, "lost"))
        for roster in _given(result.rosters):
            if roster.room in self._rooms:
                self._took(self._rooms[roster.room], self._rooms[roster.room].take(roster))
        for room in self._rooms.values():
            if room.has_changes and room.name not in self._in_hello and not room.is_asked:
                self._ask(room)

    def reopened(self, result: OpenResult) -> None:
        """A new session replaces the one that had joined and watched: again, before anything else is asked of it."""
        self._early.clear()
        for method in (JOIN, LEAVE, WATCH, UNWATCH, MEMBERS):
            self._requests.drop_own(method)
        self._welcome(result)
        first = 0
        for room in list(self._rooms.values()):
            room.is_asked, room.last_number = False, 0
            if ROOMS not in result.capabilities:
                self._gone(room)
                continue
            first += 1
            if room.is_joined:
                self._requests.add(0.0, JOIN, RoomParams(room.name), None)
            else:
                self._ask(room)
        self._requests.put_first(first)

    def opened(self, result: OpenResult) -> None:
        """A session was opened; or resumed that another process had, whose rooms are there again."""
        self._welcome(result)
        rosters = {one.room: one for one in _given(result.rosters)}
        for name in _given(result.rooms):
            room = self._rooms[name] = LocalRoom(name)
            room.is_joined = True
            if name in rosters:
                room.has_changes = True
                self._took(room, room.take(rosters[name]), is_new=True)
            elif isinstance(result.rosters, msgspec.UnsetType):  # the service could not read them now
                room.has_changes = True
                self._ask(room)

    def _welcome(self, result: OpenResult) -> None:
        waiting = {one.id for one in _given(result.invitations)}
        self.invitations = {key: one for key, one in self.invitations.items() if key in waiting}
        self._invited(_given(result.invitations))

    def clear(self, reason: str) -> None:
        """The session is over."""
        for room in self._rooms.values():
            if room.is_joined:
                room.is_joined = False
                self._output.notify(RoomLeftEvent(room.name, reason))
        self._rooms.clear()
        self._early.clear()
        self.invitations.clear()

    def _gone(self, room: LocalRoom) -> None:
        """The service has no rooms any more."""
        error = older_service_error(ROOMS)
        reason = "rooms_unavailable"
        if room.is_joined:
            self._output.notify(RoomLeftEvent(room.name, reason, error))
        if room.is_watched:
            self._output.notify(RoomUnwatchedEvent(room.name, reason, error))
        room.is_joined = room.is_watched = False
        del self._rooms[room.name]

    def _lost(self, room: LocalRoom, reason: str, error: GreenroomError | None = None) -> None:
        self._output.notify(RoomLeftEvent(room.name, reason, error))
        self._membership_over(room)

    def _unwatched(self, room: LocalRoom, reason: str, error: GreenroomError | None = None) -> None:
        """Its changes no longer come. A member stays one, and sees nobody."""
        room.is_asked = room.has_changes = False
        if room.is_watched:
            room.is_watched = False
            self._output.notify(RoomUnwatchedEvent(room.name, reason, error))
        if room.is_joined:
            self._took(room, room.hide())
        else:
            del self._rooms[room.name]

    def _membership_over(self, room: LocalRoom) -> None:
        """The watch of a member ends with its membership; the app's own is begun again."""
        room.is_joined = room.has_changes = False
        if room.is_watched:
            room.has_changes = True
            self._ask(room)
        else:
            del self._rooms[room.name]


Item = TypeVar("Item")


def _given(items: list[Item] | msgspec.UnsetType) -> list[Item]:
    return [] if isinstance(items, msgspec.UnsetType) else items
