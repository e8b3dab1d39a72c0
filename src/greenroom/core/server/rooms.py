"""What a session asks about rooms: permission (R7), the request to the engine, and the reply made of its answer.

`SessionRooms` is made when a session first has to do with a room: sessions in no room have none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from greenroom.codes import ErrorCode
from greenroom.core.requests import Attached, Owner
from greenroom.core.rooms.limits import limits_of
from greenroom.core.rooms.names import (
    LONGEST_CLIENT_TTL,
    LONGEST_KICK,
    MAX_ROOMS_OF_SESSION,
    MAX_WATCHED_ROOMS,
    check_invitation_text,
    check_message,
    check_room_name,
)
from greenroom.core.rooms.requests import (
    AnswerInvitation,
    CreateRoom,
    InviteParticipants,
    JoinRoom,
    KickMember,
    LeaveRoom,
    RoomPage,
    RoomQuery,
    RoomRequest,
    Roster,
    RosterQuery,
    SendMessage,
    UnwatchRooms,
    WatchRooms,
)
from greenroom.core.rooms.watching import RoomWatches, invitation_to_wire, member_to_wire, roster_to_wire
from greenroom.core.server.joining import MAX_ID_CHARACTERS, allows, check_text
from greenroom.core.server.services import Now, SessionServices
from greenroom.errors import (
    GreenroomError,
    IllegalArgumentError,
    NotAMemberError,
    NotFoundError,
    RoomLimitError,
    RoomPermissionError,
    ScopeMissingError,
)
from greenroom.messages import (
    AnswerParams,
    CreateRoomParams,
    Empty,
    FindRoomParams,
    InviteParams,
    KickMemberParams,
    OpenResult,
    RoomFoundResult,
    RoomMembersParams,
    RoomMembersResult,
    RoomParams,
    RoomsParams,
    RosterResult,
    RostersResult,
    SendParams,
    WireRoster,
)
from greenroom.model import (
    Application,
    Invitation,
    RoomGrant,
    make_room_id,
    participant_id_of,
    partition_of_room,
)
from greenroom.room_names import grants_of

CREATE_SCOPE = "conf:create"
WATCH_SCOPE = "notifications:set"
PERMISSION_LOST = "permission_lost"
MAX_NAMED = 100
"""Participants that one message or invitation may name."""
ROSTER_COST = 100
"""What a roster costs of the budget for participants (S19): it has as many, about."""
_BYTES_FOR_ONE = 64
"""Of a message, that cost as much as a participant."""
_INVITATION_COST = 20
_MAX_MESSAGE_ID_CHARACTERS = 64
_GRANTED = "granted"
_INVITEE_MAY = frozenset({"join", "watch", "send"})
_EMPTY = Empty()
AnyRoster = Roster | WireRoster
"""The engine's, or of the node's own copy."""


class SessionRooms:
    """Of one session: the rooms it is in and watches, and invitations that grant it something."""

    __slots__ = ("invitations", "is_granted", "joined", "touched", "watches")

    def __init__(self, joined: Iterable[str] = (), *, is_granted: bool) -> None:
        self.joined = tuple(joined)
        self.is_granted = is_granted
        """Whether the application's `rooms.access` was ``granted`` when that was looked at last."""
        self.watches = RoomWatches()
        self.invitations: dict[str, Invitation] = {}
        """By id: those that it knows of, until their time is over or they are declined."""
        self.touched = self.joined
        """Rooms that it joined, left, watches or watches no more, which the node has not seen yet."""

    def take_touched(self) -> tuple[str, ...]:
        """What is in `touched`, which the node sees now."""
        touched, self.touched = self.touched, ()
        return touched

    def _touch(self, room: str) -> None:
        if room not in self.touched:
            self.touched += (room,)

    @property
    def is_waiting(self) -> bool:
        """Whether something waits until the connection's buffer is empty."""
        return bool(self.watches.behind) or self.watches.is_waiting

    def note(self, invitation: Invitation, now: Now) -> bool:
        """An invitation came. False where it is known."""
        if invitation.id in self.invitations:
            return False
        ended = [key for key, one in self.invitations.items() if one.expires_at <= now.wall * 1000]
        for key in ended:
            del self.invitations[key]
        self.invitations[invitation.id] = invitation
        return True

    def is_invited(self, room: str, now: Now) -> bool:
        """Whether an invitation to the room lasts (R9)."""
        return any(one.room == room and one.expires_at > now.wall * 1000 for one in self.invitations.values())

    def entered(self, room: str) -> None:
        """The session is in the room."""
        if room not in self.joined:
            self.joined += (room,)
        self._touch(room)

    def left(self, room: str) -> bool:
        """The session is not in the room any more, and its watch has ended. False where it was not."""
        self._touch(room)
        self.watches.drop(room)
        was = room in self.joined
        self.joined = tuple([one for one in self.joined if one != room])
        return was

    def watched(self, room: str, version: int) -> None:
        """A reply with this version of its roster is written: what is newer follows."""
        if room in self.watches.sent:
            self.watches.sent[room] = version
            self._touch(room)

    def unwatched(self, rooms: Iterable[str]) -> tuple[str, ...]:
        """No longer watched. Those that were."""
        gone = tuple([room for room in rooms if room in self.watches.sent])
        for room in gone:
            self.watches.drop(room)
            self._touch(room)
        return gone


class Rights(NamedTuple):
    """What decides whether a session may do something in a room (R7). rooms: None where it had to do with none."""

    application: Application | None
    scopes: tuple[str, ...]
    grants: tuple[RoomGrant, ...]
    rooms: SessionRooms | None

    @property
    def is_granted(self) -> bool:
        """Whether the token lists rooms: the application's `rooms.access`."""
        return self.application is not None and self.application.settings.rooms.access == _GRANTED

    def allow(self, permission: str, room: str, now: Now) -> bool:
        """Whether the session may. permission: ``join``, ``watch``, ``send``, ``invite`` or ``kick``."""
        if not self.is_granted:
            return permission != "watch" or allows(self.scopes, WATCH_SCOPE)
        granted = grants_of(self.grants, room)
        if granted is not None and permission in granted:
            return True
        rooms = self.rooms
        if rooms is None or permission not in _INVITEE_MAY:
            return False
        # Whoever is in a room that its token does not name came by an invitation, which may be over since.
        came_by_invitation = granted is None and permission != "join" and room in rooms.joined
        return came_by_invitation or rooms.is_invited(room, now)

    def check(self, permission: str, room: str, now: Now) -> None:
        """Raises what says which permission is missing. It plays no part whether the room exists."""
        if self.allow(permission, room, now):
            return
        if not self.is_granted:
            raise ScopeMissingError(scope=WATCH_SCOPE)
        raise RoomPermissionError(permission=permission)

    def lost_by(self, after: Rights, now: Now) -> tuple[str, ...]:
        """Rooms in which the session is, and which it might join by these rights and may not by those."""
        joined = () if self.rooms is None else self.rooms.joined
        return tuple(room for room in joined if self.allow("join", room, now) and not after.allow("join", room, now))

    def lost_by_setting(self, now: Now) -> tuple[str, ...]:
        """The same where the application's `rooms.access` has become ``granted``."""
        rooms = self.rooms
        if rooms is None or rooms.is_granted == self.is_granted:
            return ()
        rooms.is_granted = self.is_granted
        return tuple(room for room in rooms.joined if not self.allow("join", room, now))

    def unwatch(self, now: Now) -> tuple[str, ...]:
        """Rooms that the session may watch no more are not watched. Those whose changes it got."""
        if self.rooms is None:
            return ()
        sent = self.rooms.watches.sent
        lost = [room for room in sent if not self.allow("watch", room, now)]
        reported = tuple([room for room in lost if sent[room] >= 0])
        self.rooms.unwatched(lost)
        return reported


class Asking(NamedTuple):
    """Who asks. rooms: the session's, made for it where it had none. name: of its participant."""

    app: str
    participant_id: str
    name: str
    owner: Owner
    rights: Rights
    rooms: SessionRooms
    services: SessionServices

    @property
    def application(self) -> Application:
        """Raises GreenroomError (retryable) where the node does not have it."""
        found = self.rights.application
        if found is None:
            raise GreenroomError(code=ErrorCode.SERVICE_UNAVAILABLE)
        return found

    def may(self, permission: str, room: str, now: Now) -> str:
        """The room's name. Raises what refuses it."""
        check_room_name(room)
        self.rights.check(permission, room, now)
        return room

    def ids_of(self, ids: Sequence[str], external_ids: Sequence[str], what: str) -> tuple[str, ...]:
        """Participants, each once. Raises IllegalArgumentError."""
        found = [check_text(one, what, MAX_ID_CHARACTERS, 1) or "" for one in ids]
        found += [participant_id_of(self.application.namespace, one) for one in external_ids]
        if len(found) > MAX_NAMED:
            raise IllegalArgumentError(f"{what} may be {MAX_NAMED}.", hint="Name fewer at a time.")
        return tuple(dict.fromkeys(found))

    def new_room_id(self, room: str) -> str:
        """For a room that is opened."""
        return make_room_id(partition_of_room(self.app, room), self.services.random_bytes(16))


class RoomCall(NamedTuple):
    """What the engine is asked for, the reply that is made of its answer, and what a refusal undoes."""

    request: RoomRequest
    reply: Callable[[Any, Now], msgspec.Struct]
    undo: Callable[[], None] | None = None


def _done(_result: Any, _now: Now) -> Empty:
    return _EMPTY


def create(asking: Asking, params: CreateRoomParams, now: Now) -> RoomCall:
    """`rooms.create`: opens a room that nobody is in."""
    room = check_room_name(params.room)
    if asking.rights.is_granted:
        asking.rights.check("join", room, now)
    elif not allows(asking.rights.scopes, CREATE_SCOPE):
        raise ScopeMissingError(scope=CREATE_SCOPE)
    ttl = 0.0 if params.ttl is None else params.ttl
    if not 0 <= ttl <= LONGEST_CLIENT_TTL:
        raise IllegalArgumentError(f"ttl must be 0 to {LONGEST_CLIENT_TTL:.0f} seconds.")
    request = CreateRoom(
        app=asking.app,
        room=room,
        room_id=asking.new_room_id(room),
        opened_by=asking.participant_id,
        owner=asking.owner,
        ttl=ttl,
        detailed=params.detailed,
        limits=limits_of(asking.application),
    )
    watching = room in asking.rooms.watches.sent

    def reply(roster: Roster, _now: Now) -> RosterResult:
        # Who may not watch learns that the room is open, and nothing of who is there.
        shown = as_wire(roster) if asking.rights.allow("watch", room, _now) else _hidden(roster)
        return RosterResult(shown, watching=watching)

    return RoomCall(request, reply)


def join(asking: Asking, params: RoomParams, now: Now) -> RoomCall:
    """`rooms.join`: the session is a member, and watches where it may."""
    room = asking.may("join", params.room, now)
    rooms = asking.rooms
    if room not in rooms.joined and len(rooms.joined) >= MAX_ROOMS_OF_SESSION:
        raise RoomLimitError(f"A session may be in {MAX_ROOMS_OF_SESSION} rooms.", hint="Leave one first.")
    watching = asking.rights.allow("watch", room, now)
    asking.services.admit_join(asking.app, asking.participant_id, now)
    held = _hold(rooms, (room,)) if watching else ()
    request = JoinRoom(
        app=asking.app,
        participant_id=asking.participant_id,
        room=room,
        room_id=asking.new_room_id(room),
        owner=asking.owner,
        limits=limits_of(asking.application),
    )

    def reply(roster: AnyRoster, _now: Now) -> RosterResult:
        rooms.entered(room)
        rooms.watched(room, roster.version)
        is_watched = watching and room in rooms.watches.sent  # a setting may have taken that meanwhile
        return RosterResult(as_wire(roster) if is_watched else _hidden(roster), watching=is_watched)

    return RoomCall(request, reply, lambda: _undo(rooms, held))


def leave(asking: Asking, params: RoomParams, now: Now) -> RoomCall:
    """`rooms.leave`: of a room that it is not in as well."""
    room, rooms = check_room_name(params.room), asking.rooms

    def reply(_result: None, _now: Now) -> Empty:
        rooms.left(room)
        return _EMPTY

    return RoomCall(leaving(asking.app, asking.participant_id, room, asking.owner), reply)


def leaving(app: str, participant_id: str, room: str, owner: Owner, reason: str = "left") -> LeaveRoom:
    """The request by which a session leaves a room."""
    return LeaveRoom(app=app, participant_id=participant_id, room=room, owner=owner, reason=reason)


def watch(asking: Asking, params: RoomsParams, now: Now) -> RoomCall:
    """`rooms.watch`: rosters, then changes. Of ``known`` what differs, if anything does."""
    known = dict(params.known)
    names = tuple(dict.fromkeys((*params.rooms, *known)))
    if not names:
        raise IllegalArgumentError("Neither rooms nor known names a room.", hint="Name the rooms to watch.")
    for room in names:
        asking.may("watch", room, now)
    rooms = asking.rooms
    held = _hold(rooms, names)
    known = {room: version for room, version in known.items() if room not in params.rooms}

    def reply(rosters: Sequence[AnyRoster], _now: Now) -> RostersResult:
        if not rooms.watches.sent.keys() >= set(names):  # a setting took that meanwhile
            raise RoomPermissionError(permission="watch")
        return RostersResult(took(rooms, rosters, known))

    return RoomCall(WatchRooms(app=asking.app, rooms=names, known=known), reply, lambda: _undo(rooms, held))


def took(rooms: SessionRooms, rosters: Sequence[AnyRoster], known: Mapping[str, int]) -> list[WireRoster]:
    """Rosters for a reply, which is written: those that differ from what is known."""
    for roster in rosters:
        rooms.watched(roster.room, roster.version)
    return [as_wire(one) for one in rosters if known.get(one.room) != one.version]


def unwatch(asking: Asking, params: RoomsParams, now: Now) -> RoomCall:
    """`rooms.unwatch`: the session stays in rooms that it is in."""
    gone = asking.rooms.unwatched(params.rooms)
    return RoomCall(UnwatchRooms(asking.app, gone), _done)


def members(asking: Asking, params: RoomMembersParams, now: Now) -> RoomCall:
    """`rooms.members`: a page of a roster."""
    room = asking.may("watch", params.room, now)

    def reply(roster: Roster, _now: Now) -> RoomMembersResult:
        found = [member_to_wire(one) for one in roster.members]
        return RoomMembersResult(roster.version, roster.count, found, roster.cursor)

    return RoomCall(RosterQuery(app=asking.app, room=room, cursor=params.cursor), reply)


def find(asking: Asking, params: FindRoomParams, now: Now) -> RoomCall:
    """`rooms.find`: the name of the room with an id. One that the session may neither join nor watch is not there."""
    check_text(params.room_id, "roomId", MAX_ID_CHARACTERS, 1)

    def reply(page: RoomPage, now: Now) -> RoomFoundResult:
        name = page.items[0].name if page.items else None
        rights = asking.rights
        if name is None or not (rights.allow("join", name, now) or rights.allow("watch", name, now)):
            raise NotFoundError("No room has this id.", hint="A room that is opened again gets another id.")
        return RoomFoundResult(name)

    return RoomCall(RoomQuery(app=asking.app, room_id=params.room_id, limit=1), reply)


def send(asking: Asking, params: SendParams, now: Now) -> RoomCall:
    """`rooms.send`: the engine checks membership and budget."""
    room = asking.may("send", params.room, now)
    if room not in asking.rooms.joined:
        raise NotAMemberError
    check_text(params.message_id, "messageId", _MAX_MESSAGE_ID_CHARACTERS, 1)
    request = SendMessage(
        app=asking.app,
        room=room,
        message_id=params.message_id,
        message=check_message(bytes(params.message)),
        sender=asking.participant_id,
        session_id=asking.owner.session_id,
        to=asking.ids_of(params.to, (), "to"),
        limits=limits_of(asking.application),
    )
    return RoomCall(request, _done)


def kick(asking: Asking, params: KickMemberParams, now: Now) -> RoomCall:
    """`rooms.kick`: by who opened the room, or whose token grants it."""
    room = asking.may("kick", params.room, now)
    check_text(params.participant_id, "participantId", MAX_ID_CHARACTERS, 1)
    seconds = 60.0 if params.seconds is None else params.seconds
    if not 0 <= seconds <= LONGEST_KICK:
        raise IllegalArgumentError(f"seconds must be 0 to {LONGEST_KICK:.0f}.")
    request = KickMember(
        app=asking.app,
        room=room,
        participant_id=params.participant_id,
        seconds=seconds,
        by=asking.participant_id,
        may_kick=asking.rights.is_granted,
    )
    return RoomCall(request, _done)


def invite(asking: Asking, params: InviteParams, now: Now) -> RoomCall:
    """`rooms.invite`: by members. The reply never says whether an invitee exists (R9)."""
    room = asking.may("invite", params.room, now)
    if room not in asking.rooms.joined:
        raise NotAMemberError
    invitees = asking.ids_of(params.participant_ids, params.external_ids, "participantIds and externalIds")
    if not invitees:
        raise IllegalArgumentError("Nobody is named.", hint="Give participantIds or externalIds.")
    text = check_invitation_text(params.text or "")
    asking.services.admit_invitations(asking.app, asking.participant_id, len(invitees), now)
    request = InviteParticipants(
        app=asking.app,
        room=room,
        inviter=asking.participant_id,
        inviter_name=asking.name,
        invitees=invitees,
        text=text,
    )
    return RoomCall(request, _done)


def answer(asking: Asking, params: AnswerParams, now: Now) -> RoomCall:
    """`rooms.answer`: what was accepted grants until its time is over."""
    check_text(params.invitation_id, "invitationId", MAX_ID_CHARACTERS, 1)
    rooms = asking.rooms

    def reply(invitation: Invitation, now: Now) -> Empty:
        if params.accept:
            rooms.note(invitation, now)
        else:
            rooms.invitations.pop(invitation.id, None)
        return _EMPTY

    request = AnswerInvitation(
        app=asking.app,
        participant_id=asking.participant_id,
        owner=asking.owner,
        invitation_id=params.invitation_id,
        accept=params.accept,
    )
    return RoomCall(request, reply)


AskAboutRoom = Callable[[Asking, Any, Now], RoomCall]
ROOM_METHODS: dict[str, AskAboutRoom] = {
    "rooms.create": create,
    "rooms.join": join,
    "rooms.leave": leave,
    "rooms.watch": watch,
    "rooms.unwatch": unwatch,
    "rooms.members": members,
    "rooms.find": find,
    "rooms.send": send,
    "rooms.kick": kick,
    "rooms.invite": invite,
    "rooms.answer": answer,
}
"""What each asks for. Each raises what refuses it."""


def room_cost_of(params: object) -> int:
    """What a request about rooms costs of the budget for participants (S19)."""
    if isinstance(params, SendParams):
        return len(bytes(params.message)) // _BYTES_FOR_ONE + len(params.to)
    if isinstance(params, RoomsParams):
        return ROSTER_COST * (len(params.rooms) + len(params.known))
    if isinstance(params, CreateRoomParams | RoomParams | RoomMembersParams):
        return ROSTER_COST
    if isinstance(params, InviteParams):
        return _INVITATION_COST * (len(params.participant_ids) + len(params.external_ids))
    return 0


# -- a session that comes back ----------------------------------------------------------------------------------------


class RoomsBack(NamedTuple):
    """Of a session that was attached. rooms: None where it has to do with none. watch: what to ask for before it is
    answered; None: nothing. leave: rooms that its token does not grant. unwatched: those that it watched, and may watch
    no more. news: for the result."""

    rooms: SessionRooms | None
    watch: WatchRooms | None
    leave: tuple[str, ...]
    unwatched: tuple[str, ...]
    news: dict[str, Any]

    def with_news(self, result: OpenResult, rosters: Sequence[AnyRoster] | GreenroomError | None) -> OpenResult:
        """The result, with what there is to say about rooms. rosters: the answer to `watch`."""
        news = dict(self.news)
        if self.rooms is not None and self.watch is not None:
            if rosters is None or isinstance(rosters, GreenroomError):
                self.rooms.unwatched(self.watch.rooms)
            else:
                news["rosters"] = took(self.rooms, rosters, self.watch.known)
        return msgspec.structs.replace(result, **news) if news else result


NO_ROOMS = RoomsBack(None, None, (), (), {})
"""Of a session that has to do with none."""


def come_back(
    attached: Attached,
    rights: Rights,
    known: Mapping[str, int],
    now: Now,
    *,
    bring_rosters: bool = False,
    has_new_token: bool = False,
    resuming: bool = True,
) -> RoomsBack:
    """What a session that was opened or resumed has to do with rooms. known: `watchingRooms`. bring_rosters: of all
    rooms that it is in, too."""
    record = attached.session
    if not (record.rooms or known or attached.lost_rooms or attached.invitations):
        return NO_ROOMS
    rooms = SessionRooms(record.rooms, is_granted=rights.is_granted)
    for invitation in attached.invitations:
        rooms.note(invitation, now)
    rights = rights._replace(rooms=rooms)
    leave: tuple[str, ...] = ()
    if has_new_token:
        leave = tuple(room for room in record.rooms if not rights.allow("join", room, now))
        for room in leave:
            rooms.left(room)
    news: dict[str, Any] = {}
    if resuming and rooms.joined:
        news["rooms"] = list(rooms.joined)
    lost = [*attached.lost_rooms, *((room, PERMISSION_LOST) for room in leave)]
    if resuming and lost:
        news["lost_rooms"] = lost
    if attached.invitations:
        news["invitations"] = [invitation_to_wire(one) for one in attached.invitations]
    named = dict.fromkeys([*known, *(rooms.joined if bring_rosters else ())])
    wanted = tuple([room for room in named if rights.allow("watch", room, now)][:MAX_WATCHED_ROOMS])
    unwatched = tuple([room for room in known if room not in wanted])
    if named and not wanted:
        news["rosters"] = []
    rooms.watches.hold(wanted)
    watching = {room: known[room] for room in wanted if room in known}
    watch = WatchRooms(app=record.app, rooms=wanted, known=watching) if wanted else None
    return RoomsBack(rooms, watch, leave, unwatched, news)


def _hold(rooms: SessionRooms, names: Sequence[str]) -> tuple[str, ...]:
    """Watched from now on, those that are not yet. Raises RoomLimitError."""
    fresh = [room for room in names if room not in rooms.watches.sent]
    if len(rooms.watches.sent) + len(fresh) > MAX_WATCHED_ROOMS:
        raise RoomLimitError(
            f"A session may watch {MAX_WATCHED_ROOMS} rooms, those it is in counted.", hint="Unwatch one first."
        )
    return rooms.watches.hold(fresh)


def _undo(rooms: SessionRooms, held: Iterable[str]) -> None:
    rooms.unwatched(held)


def as_wire(roster: AnyRoster) -> WireRoster:
    """The roster as clients see it."""
    return roster if isinstance(roster, WireRoster) else roster_to_wire(roster)


def _hidden(roster: AnyRoster) -> WireRoster:
    """What somebody sees who may not watch the room."""
    return msgspec.structs.replace(as_wire(roster), members=[], left=[], cursor=None, count=0)
