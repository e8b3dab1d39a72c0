"""Rooms: opening, joining and watching them, and invitations to them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import msgspec

from greenroom.core.client import ClientSession
from greenroom.core.client.rosters import LocalRoom
from greenroom.core.rooms.names import LONGEST_CLIENT_TTL, check_room_name
from greenroom.errors import GreenroomError, IllegalArgumentError, NotFoundError
from greenroom.messages import CreateRoomParams, FindRoomParams
from greenroom.model import Invitation
from greenroom.sdk.notifier import Notifier
from greenroom.sdk.room import Room
from greenroom.sdk.runner import Runner
from greenroom.sdk.service import SessionBoundService


class _Calls:
    """Implements `RoomCalls`, and what the service itself asks."""

    def __init__(self, runner: Runner, notifier: Notifier) -> None:
        self._runner = runner
        self._notifier = notifier

    @property
    def session_id(self) -> str | None:
        return self._runner.machine.session_id

    async def ask(self, put: Callable[[ClientSession, float, int], None]) -> object:
        """put: gives the machine the request, with the present time and the waiter's number."""
        machine, now = self._runner.machine, self._runner.now
        if not machine.is_open():
            raise machine.not_open_error()
        return await self._runner.call(
            lambda number: put(machine, now(), number), lambda number: machine.cancel_request(now(), number)
        )

    async def send(self, name: str, message: bytes, to: list[str]) -> None:
        await self.ask(lambda machine, now, number: machine.send_to_room(now, number, name, message, to))

    async def request(self, method: str, params: msgspec.Struct) -> object:
        return await self.ask(lambda machine, now, number: machine.room_request(now, number, method, params))

    async def end(self, room: Room) -> None:
        """No caller waits for a failure: the machine keeps trying."""
        self._notifier.rooms = [one for one in self._notifier.rooms if one is not room]
        with contextlib.suppress(GreenroomError):
            if room.is_joined:
                await self.ask(lambda machine, now, number: machine.leave_room(now, number, room.name))
            else:
                await self.ask(lambda machine, now, number: machine.unwatch_room(now, number, room.name))


class RoomsService(SessionBoundService):
    """Who is in this call, document or channel: rooms with a roster, messages and invitations. Needs an open session.

    A room's name has 1 to 250 bytes of UTF-8, without control characters, and is compared byte by byte. A session is in
    at most 16 rooms, and watches at most 32, including those that it is in.
    """

    def __init__(self, runner: Runner, notifier: Notifier) -> None:
        super().__init__(runner)
        self._notifier = notifier
        self._calls = _Calls(runner, notifier)

    @property
    def joined(self) -> list[Room]:
        """The rooms of which the session is a member. A program that was restarted, and resumed its session
        (`resume_from`), has its rooms here, with their rosters; `join` returns the same objects."""
        return [self._room_of(local, is_joined=True) for local in self._runner.machine.joined_rooms()]

    async def join(self, name: str) -> Room:
        """Join the room, which is opened if it does not exist. A repeated join changes nothing, and returns the same
        `Room`.

        A join that is cancelled, or takes more than 10 s, leaves the room. If the application's `rooms.access`
        is ``granted``, the token has to grant ``join``. A session that may not watch the room gets its messages, and an
        empty roster.

        Raises SessionNotOpenError, RoomPermissionError, RoomFullError, KeptOutError (kicked, ``until``),
        RoomLimitError, RoomEndingError and RoomsUnavailableError (try again), IllegalArgumentError (name),
        RateLimitedError, ServiceUnavailableError, ProtocolError (an older service).
        """
        room = check_room_name(name, "name")
        return await self._enter(lambda machine, now, number: machine.join_room(now, number, room), is_joined=True)

    async def watch(self, name: str) -> Room:
        """Watch the room's roster without joining: a `Room` whose `is_member` is False, which gets no messages. A room
        that is not open is empty. Watching again returns the same `Room`; `leave` ends it.

        Needs the session scope ``notifications:set``, or the permission ``watch`` where the application grants rooms.
        Raises SessionNotOpenError, ScopeMissingError, RoomPermissionError, RoomLimitError, IllegalArgumentError (name),
        ServiceUnavailableError, ProtocolError (an older service).
        """
        room = check_room_name(name, "name")
        return await self._enter(lambda machine, now, number: machine.watch_room(now, number, room), is_joined=False)

    async def create(self, name: str, ttl: float | None = None, detailed: bool = True) -> str:
        """Open a room without joining it, and return its id (platform: ``conferenceId``). A room that exists stays as
        it is.

        ttl: how many seconds it outlasts its last member, at most 600; None: 0. An empty room is kept for 60 s at
        least. detailed: False makes it a counted room, for thousands, whose changes carry only the count.

        Needs the session scope ``conf:create``. Raises SessionNotOpenError, ScopeMissingError, RoomPermissionError,
        RoomLimitError, RoomsUnavailableError, IllegalArgumentError, ServiceUnavailableError, ProtocolError (an older
        service).
        """
        room = check_room_name(name, "name")
        if ttl is not None and not 0 <= ttl <= LONGEST_CLIENT_TTL:
            raise IllegalArgumentError(f"ttl must be 0 to {LONGEST_CLIENT_TTL:.0f} seconds, or None.")
        params = CreateRoomParams(room=room, ttl=None if ttl is None else float(ttl), detailed=detailed)
        return str(await self._calls.request("rooms.create", params))

    async def find(self, room_id: str) -> str:
        """The name of the room that has this id (platform: ``conferenceId``).

        Raises SessionNotOpenError, NotFoundError, ServiceUnavailableError, ProtocolError (an older service).
        """
        return str(await self._calls.request("rooms.find", FindRoomParams(room_id)))

    # -- invitations ---------------------------------------------------------------------------------------------

    @property
    def invitations(self) -> list[Invitation]:
        """Invitations that wait for an answer; `SessionDelegate.room_invited` is called for each new one."""
        return self._runner.machine.invitations(self._runner.now())

    async def accept(self, invitation: Invitation) -> Room:
        """Notify the inviter, and join the room: also by an invitation that was accepted before, in this session or
        another one of the participant, and by one that has expired, of which the inviter is not notified. An invitation
        grants join, watch and send while it lasts.

        Raises InvitationAnsweredError (declined before), and what `join` raises.
        """
        with contextlib.suppress(NotFoundError):
            await self._answer(invitation, accept=True)
        return await self.join(invitation.room)

    async def decline(self, invitation: Invitation) -> None:
        """Notify the inviter, only once if it is repeated. Raises InvitationAnsweredError (accepted before),
        NotFoundError (expired), SessionNotOpenError, ServiceUnavailableError."""
        await self._answer(invitation, accept=False)

    async def _answer(self, invitation: Invitation, *, accept: bool) -> None:
        await self._calls.ask(
            lambda machine, now, number: machine.answer_invitation(now, number, invitation.id, accept=accept)
        )

    async def _enter(self, put: Callable[[ClientSession, float, int], None], *, is_joined: bool) -> Room:
        """The same Room for the same room, as long as it is open."""
        local = await self._calls.ask(put)
        assert isinstance(local, LocalRoom)
        return self._room_of(local, is_joined=is_joined)

    def _room_of(self, local: LocalRoom, *, is_joined: bool) -> Room:
        for room in self._notifier.rooms:
            if room.local is local and room.is_joined == is_joined:
                return room
        room = Room(self._calls, local, self._notifier.callbacks, is_joined=is_joined)
        # It may be over already: between the reply and now someone was kicked, or the session has ended.
        if (local.is_joined if is_joined else local.is_watched) and self._runner.machine.is_open():
            self._notifier.rooms.append(room)
        else:
            room.close("lost")
        return room
