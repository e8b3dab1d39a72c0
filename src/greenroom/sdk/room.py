"""One room: its roster and how it changes, messages, and what can be done in it."""

from __future__ import annotations

import asyncio
import weakref
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Protocol, Self

import msgspec

from greenroom.core.client.effects import (
    RoomChangedEvent,
    RoomLeftEvent,
    RoomMessageEvent,
    RoomMessagesMissedEvent,
    RoomUnwatchedEvent,
)
from greenroom.core.client.rosters import LocalRoom
from greenroom.core.rooms.names import MAX_INVITATION_TEXT_BYTES, MAX_MESSAGE_BYTES
from greenroom.errors import GreenroomError, IllegalArgumentError, NotAMemberError
from greenroom.messages import InviteParams, KickMemberParams, RoomMembersParams, RoomMembersResult
from greenroom.model import Member, Participant
from greenroom.sdk.callbacks import CallbackQueue
from greenroom.sdk.ids import checked_ids, checked_strings

EARLY_MESSAGES = 100
"""Messages kept for the first callback of `on_message`, the latest."""
MAX_WAITING = 1000
"""Calls that wait for the app's callbacks before messages are missed."""

_Maybe = Awaitable[None] | None
Unsubscribe = Callable[[], None]


@dataclass(frozen=True, slots=True)
class MemberLeft:
    """Someone who left a room.

    reason: ``left``, ``kicked``, ``closed``, ``timeout``, …; None if it happened while the connection was lost, or
    this session may no longer see the roster.
    """

    member: Member
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class RoomChange:
    """How a roster changed. A member in both `left` and `joined` left and joined again. All are empty where only the
    count changed. count, version: of the roster after it."""

    joined: tuple[Member, ...]
    changed: tuple[Member, ...]
    left: tuple[MemberLeft, ...]
    count: int
    version: int


def merge_changes(first: RoomChange, second: RoomChange) -> RoomChange:
    """Two changes as one. Whoever came and went is in neither."""
    left = {one.member.id: one for one in first.left}
    joined = {one.id: one for one in first.joined}
    changed = {one.id: one for one in first.changed}
    for gone in second.left:
        if joined.pop(gone.member.id, None) is None:
            changed.pop(gone.member.id, None)
            left[gone.member.id] = gone
    for one in second.joined:
        joined[one.id] = one
    for one in second.changed:
        (joined if one.id in joined else changed)[one.id] = one
    return RoomChange(
        tuple(joined.values()), tuple(changed.values()), tuple(left.values()), second.count, second.version
    )


class RoomChanges:
    """An async iterator of changes. A slow reader gets several as one: state, not messages. It ends when the
    room is closed."""

    def __init__(self, *, is_over: bool) -> None:
        self._pending: RoomChange | None = None
        self._is_over = is_over
        self._arrived = asyncio.Event()

    def __aiter__(self) -> AsyncIterator[RoomChange]:
        return self

    async def __anext__(self) -> RoomChange:
        while self._pending is None:
            if self._is_over:
                raise StopAsyncIteration
            self._arrived.clear()
            await self._arrived.wait()
        change, self._pending = self._pending, None
        return change

    # -- called by the room --------------------------------------------------------------------------------------

    def add(self, change: RoomChange) -> None:
        self._pending = change if self._pending is None else merge_changes(self._pending, change)
        self._arrived.set()

    def finish(self) -> None:
        self._is_over = True
        self._arrived.set()


class RoomCalls(Protocol):
    """What a room asks of the SDK."""

    @property
    def session_id(self) -> str | None: ...
    async def send(self, name: str, message: bytes, to: list[str]) -> None: ...
    async def request(self, method: str, params: msgspec.Struct) -> object: ...
    async def end(self, room: Room) -> None:
        """Leave it, or stop watching it. Never fails."""


class Room:
    """A room that was joined, or is watched. An async context manager, which leaves at the end.

    It survives reconnecting, and is joined (watched) again in a session opened in place of a lost one. It is closed by
    `leave`, when others end the membership, and with the session. Callbacks run in the SDK's queue; each may be ``def``
    or ``async def``.
    """

    def __init__(self, calls: RoomCalls, local: LocalRoom, callbacks: CallbackQueue, *, is_joined: bool) -> None:
        self._calls = calls
        self._callbacks = callbacks
        self._reason: str | None = None
        self._error: GreenroomError | None = None
        self._changes: weakref.WeakSet[RoomChanges] = weakref.WeakSet()
        self._early: deque[tuple[Member | None, Any]] = deque(maxlen=EARLY_MESSAGES)
        self._on_change: list[Callable[[RoomChange], _Maybe]] = []
        self._on_message: list[Callable[[Member | None, Any], _Maybe]] = []
        self._on_missed: list[Callable[[int], _Maybe]] = []
        self._on_closed: list[Callable[[str], _Maybe]] = []
        self.local = local
        """What the machine has of it; for the SDK's own use."""
        self.is_joined = is_joined
        """Made by `join`; False: by `watch`, for looking only."""

    @property
    def name(self) -> str:
        """The room's name."""
        return self.local.name

    @property
    def id(self) -> str | None:
        """The room's id, made when it was opened (platform: ``conferenceId``); None where it is not open."""
        return self.local.id

    @property
    def members(self) -> dict[str, Member]:
        """Who is in it, by participant id. Empty in a counted room (`is_detailed`). A roster of more than a few hundred
        members arrives in several parts after the join, which `changes` reports."""
        return dict(self.local.members)

    @property
    def count(self) -> int:
        """How many members it has, as far as is known."""
        return self.local.count

    @property
    def version(self) -> int:
        """Of the roster: newer is higher."""
        return self.local.version

    @property
    def is_detailed(self) -> bool:
        """False: a counted room. Its changes carry only the count; `all_members` reads who is there."""
        return self.local.is_detailed

    @property
    def is_member(self) -> bool:
        """Whether this session is a member of the room: True from `join` until the room is closed."""
        return self.is_joined and self._reason is None

    @property
    def is_closed(self) -> bool:
        """Whether the room was left or closed, and reports no more changes; `reason` says why."""
        return self._reason is not None

    @property
    def reason(self) -> str | None:
        """Why it was closed: ``left``, ``kicked``, ``ended``, ``permission_lost``, ``lost``, how the session ended
        (``closed``, …), or why joining it again was refused (``kept_out``, ``room_full``, …). None while it is open."""
        return self._reason

    @property
    def error(self) -> GreenroomError | None:
        """The error with which joining or watching it again was refused; None if that was not the reason."""
        return self._error

    def __repr__(self) -> str:
        return f"<Room {self.name!r}: {self.count} members, {self._reason or 'open'}>"

    # -- what happens in it --------------------------------------------------------------------------------------

    def changes(self) -> RoomChanges:
        """An async iterator of `RoomChange` from now on; it ends when the room is closed."""
        changes = RoomChanges(is_over=self.is_closed)
        self._changes.add(changes)
        return changes

    def on_change(self, callback: Callable[[RoomChange], _Maybe]) -> Unsubscribe:
        """Call ``callback(change)`` for each change; a slow callback gets several as one. Returns a function that
        removes it."""
        return _subscribe(self._on_change, callback)

    def on_message(self, callback: Callable[[Member | None, Any], _Maybe]) -> Unsubscribe:
        """Call ``callback(sender, message)`` for each message, in order. Returns a function that removes it.

        sender: the member, with only its id if the roster does not have it; None: the app's backend. Other sessions of
        the same participant get its messages too. Messages are not stored: those sent while the connection is lost are
        missed. The latest 100 before the first callback are kept for it. A room that is only watched brings no
        messages.
        """
        unsubscribe = _subscribe(self._on_message, callback)
        while self._early:
            self._callbacks.put(self._calls.session_id, callback, *self._early.popleft())
        return unsubscribe

    def on_missed(self, callback: Callable[[int], _Maybe]) -> Unsubscribe:
        """Call ``callback(count)`` with the number of messages that were dropped because this client, or its callbacks,
        were too slow. Returns a function that removes it."""
        return _subscribe(self._on_missed, callback)

    def on_closed(self, callback: Callable[[str], _Maybe]) -> Unsubscribe:
        """Call ``callback(reason)`` when the room is closed. Returns a function that removes it."""
        return _subscribe(self._on_closed, callback)

    # -- what can be done in it ----------------------------------------------------------------------------------

    async def send(self, message: Any, to: Iterable[str] | None = None) -> None:
        """Send a message to the members; it is published when this returns. This session does not get it.

        message: any JSON value, 16 KiB. to: participant ids; None: all members. A message whose outcome is not known is
        repeated with its id, and published once.

        Raises NotAMemberError, RoomPermissionError, IllegalArgumentError, RateLimitedError (too many bytes),
        ServiceUnavailableError, SessionNotOpenError.
        """
        self._check_member()
        data = _encoded(message)
        ids = None if to is None else checked_ids("to", to)
        if ids != []:
            await self._calls.send(self.name, data, ids or [])

    async def invite(
        self, participants: Iterable[str] = (), *, external_ids: Iterable[str] = (), text: str | None = None
    ) -> None:
        """Invite participants, by id or external id. It never reveals whether a participant exists or is there: they
        get it with their next open, as long as it lasts (60 s, a setting of the application).

        text: for them, up to 1 KiB of UTF-8; None for none.
        Raises NotAMemberError, RoomPermissionError, IllegalArgumentError, RateLimitedError, ServiceUnavailableError.
        """
        self._check_member()
        ids, outside = checked_ids("participants", participants), checked_strings("external_ids", external_ids)
        _check_text(text)
        if ids or outside:
            params = InviteParams(room=self.name, participant_ids=ids, external_ids=outside, text=text or None)
            await self._calls.request("rooms.invite", params)

    async def kick(self, participant: str | Member | Participant, seconds: float = 60.0) -> None:
        """Kick a participant out of the room, and keep them out.

        participant: a member, or its participant id. seconds: for which they cannot join, 60 by default. An anonymous
        participant can come back as a new one. Raises RoomPermissionError, IllegalArgumentError,
        ServiceUnavailableError, SessionNotOpenError.
        """
        (one,) = checked_ids("participant", [participant if isinstance(participant, str) else participant.id])
        await self._calls.request("rooms.kick", KickMemberParams(room=self.name, participant_id=one, seconds=seconds))

    async def all_members(self) -> AsyncIterator[Member]:
        """All members as the service has them, page by page: of a counted room, whose `members` are empty.

        Raises RoomPermissionError, ServiceUnavailableError, SessionNotOpenError.
        """
        cursor: str | None = None
        while True:
            page = await self._calls.request("rooms.members", RoomMembersParams(room=self.name, cursor=cursor))
            assert isinstance(page, RoomMembersResult)
            for wire in page.members:
                yield wire.to_member()
            cursor = page.cursor
            if cursor is None:
                return

    async def leave(self) -> None:
        """End the membership, or the watch. Never fails; calling it twice is fine. It is over at once for this
        program; this waits until the service has it, 10 s at most, and the SDK keeps trying."""
        if not self.is_closed:
            self.close("left")
            await self._calls.end(self)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.leave()

    def _check_member(self) -> None:
        if not self.is_member:
            why = f"The room is closed: {self._reason}." if self.is_joined else "The room is only watched."
            raise NotAMemberError(why)

    # -- called by the SDK ---------------------------------------------------------------------------------------

    def report(
        self,
        event: RoomChangedEvent | RoomMessageEvent | RoomMessagesMissedEvent | RoomLeftEvent | RoomUnwatchedEvent,
        session_id: str | None,
    ) -> None:
        """What the machine reports about the room of this name. session_id: for the log, where a callback raises."""
        match event:
            case RoomChangedEvent():
                left = tuple(MemberLeft(one, reason or None) for one, reason in event.left)
                change = RoomChange(event.joined, event.changed, left, event.count, event.version)
                for changes in list(self._changes):
                    changes.add(change)
                for callback in self._on_change:
                    key = (id(self), "change", callback)
                    self._callbacks.put(session_id, callback, change, key=key, merge=merge_changes)
            case RoomMessageEvent() if self.is_joined:
                sender = event.sender and (self.local.members.get(event.sender) or Member(id=event.sender))
                self._arrived(sender or None, event.message, session_id)
            case RoomMessagesMissedEvent() if self.is_joined:
                self._missed(event.count, session_id)
            case RoomLeftEvent() if self.is_joined:
                self.close(event.reason, event.error, session_id)
            case RoomUnwatchedEvent() if not self.is_joined:
                self.close(event.reason, event.error, session_id)

    def _arrived(self, sender: Member | None, message: Any, session_id: str | None) -> None:
        if not self._on_message:
            self._early.append((sender, message))
        elif len(self._callbacks) >= MAX_WAITING:
            self._missed(1, session_id)
        else:
            for callback in self._on_message:
                self._callbacks.put(session_id, callback, sender, message)

    def _missed(self, count: int, session_id: str | None) -> None:
        for callback in self._on_missed:
            self._callbacks.put(session_id, callback, count, key=(id(self), "missed", callback), merge=int.__add__)

    def close(self, reason: str, error: GreenroomError | None = None, session_id: str | None = None) -> None:
        """It is over. reason, error: see the properties."""
        if self._reason is not None:
            return
        self._reason, self._error = reason, error
        for changes in list(self._changes):
            changes.finish()
        for callback in self._on_closed:
            self._callbacks.put(session_id, callback, reason)


def _subscribe(callbacks: list[Any], callback: Callable[..., _Maybe]) -> Unsubscribe:
    if not callable(callback):
        raise IllegalArgumentError(f"callback must be a function, not {type(callback).__name__}.")
    callbacks.append(callback)

    def unsubscribe() -> None:
        if callback in callbacks:
            callbacks.remove(callback)

    return unsubscribe


def _encoded(message: Any) -> bytes:
    try:
        data = msgspec.json.encode(message)
    except (TypeError, ValueError, RecursionError) as error:
        raise IllegalArgumentError(f"message must be something that JSON can carry: {error}.") from None
    if len(data) > MAX_MESSAGE_BYTES:
        raise IllegalArgumentError(
            f"message has {len(data):,} bytes as JSON.", hint=f"At most {MAX_MESSAGE_BYTES:,}; send less at once."
        )
    return data


def _check_text(text: object) -> None:
    if text is not None and (
        not isinstance(text, str) or len(text.encode(errors="replace")) > MAX_INVITATION_TEXT_BYTES
    ):
        raise IllegalArgumentError(f"text must be a string of at most {MAX_INVITATION_TEXT_BYTES:,} bytes of UTF-8.")
