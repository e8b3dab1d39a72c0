"""Rooms of the fake service, in memory: rosters, messages, kicks and invitations, by rules that a client can see."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from greenroom.core.rooms.names import check_room_name
from greenroom.errors import (
    InvitationAnsweredError,
    KeptOutError,
    NotAMemberError,
    NotFoundError,
    RoomFullError,
    RoomLimitError,
    RoomPermissionError,
    ScopeMissingError,
)

INVITATION_TTL = 60.0
"""Seconds for which an invitation is kept."""


class RoomParticipant(Protocol):
    """What the rooms need of a participant of the fake."""

    id: str
    external_id: str | None
    name: str
    avatar_url: str
    status: str | None


class RoomSession(Protocol):
    """What the rooms need of a session of the fake."""

    id: str
    scopes: list[str]
    ended: str | None
    watching_rooms: set[str]
    lost_rooms: dict[str, str]

    @property
    def participant(self) -> RoomParticipant: ...


class RoomsHost(Protocol):
    """What the rooms need of the fake service."""

    @property
    def sessions(self) -> Mapping[str, Any]: ...
    def notify(self, session: Any, method: str, params: Mapping[str, Any]) -> None: ...


@dataclass
class FakeMember:
    """A participant in a room, and by which sessions (ids)."""

    person: RoomParticipant
    joined_at: int
    sessions: set[str] = field(default_factory=set)

    def wire(self) -> dict[str, Any]:
        person = self.person
        members = {
            "externalId": person.external_id,
            "name": person.name,
            "avatarUrl": person.avatar_url,
            "status": person.status,
        }
        given = {name: value for name, value in members.items() if value}
        return {"id": person.id, "joinedAt": self.joined_at, "sessions": len(self.sessions), **given}


@dataclass
class FakeRoom:
    """A room of the fake. number: of its last message."""

    name: str
    id: str
    version: int
    detailed: bool = True
    ttl: float = 0.0
    opened_by: str = ""
    number: int = 0
    members: dict[str, FakeMember] = field(default_factory=dict)
    kept_out: dict[str, float] = field(default_factory=dict)
    """Participants, and until when (Unix seconds)."""
    message_ids: set[str] = field(default_factory=set)


def _may_watch(session: RoomSession) -> bool:
    return bool({"notifications:set", "*"} & set(session.scopes))


class FakeRooms:
    """All rooms of the fake; empty ones are kept. Permissions: as in an application whose access is open."""

    def __init__(self, host: RoomsHost) -> None:
        self._host = host
        self._numbers = itertools.count(1)
        self.by_name: dict[str, FakeRoom] = {}
        self.max_members = 10_000
        self.max_rooms_of_session = 16
        self.page_members = 200
        """Members in one page of a roster."""
        self.sent: list[tuple[str, Any]] = []
        """Messages to rooms, as they were published: room and message."""
        self._invitations: dict[str, tuple[str, dict[str, Any]]] = {}
        """By id: the invitee, and what is sent."""
        self._answers: dict[str, bool] = {}
        """By id: whether it was accepted."""

    def __getitem__(self, name: str) -> FakeRoom:
        return self.by_name[name]

    # -- what happens without a client's asking ------------------------------------------------------------------

    def say(self, name: str, message: Any, to: Iterable[str] = ()) -> None:
        """A message of the app's backend. to: participants; empty: all members."""
        self._publish(self.by_name[name], {"message": message}, "", list(to))

    def kick(self, name: str, participant_id: str, seconds: float = 60.0) -> None:
        """As the app's backend does."""
        room = self.by_name[name]
        room.kept_out[participant_id] = time.time() + seconds
        self._remove(room, participant_id, "kicked")

    def end(self, name: str) -> None:
        """The room ends: its members leave."""
        room = self.by_name[name]
        for participant_id in list(room.members):
            self._remove(room, participant_id, "ended")

    def invite(
        self, name: str, invitee: str, *, inviter: RoomParticipant | None = None, text: str | None = None
    ) -> str:
        """An invitation, by default of the app's backend; its id. invitee: participant id."""
        now = time.time()
        wire: dict[str, Any] = {
            "id": f"invitation-{next(self._numbers)}",
            "room": name,
            "createdAt": int(now * 1000),
            "expiresAt": int((now + INVITATION_TTL) * 1000),
        }
        if inviter is not None:
            wire |= {"inviter": inviter.id, "inviterName": inviter.name}
        if text:
            wire["text"] = text
        self._invitations[wire["id"]] = (invitee, wire)
        for session in self._sessions_of(invitee):
            self._host.notify(session, "rooms.invited", {"invitation": wire})
        return str(wire["id"])

    def changed(self, person: RoomParticipant) -> None:
        """A participant's record changed."""
        for room in self.by_name.values():
            if person.id in room.members:
                self._tell(room, changed=[room.members[person.id].wire()])

    def session_ended(self, session: RoomSession) -> None:
        for room in self.by_name.values():
            self._leave(room, session, session.ended or "closed")
        session.watching_rooms.clear()

    def welcome(self, session: RoomSession) -> dict[str, Any]:
        """Of the reply to an open or a resume."""
        lost, session.lost_rooms = session.lost_rooms, {}
        return {
            "rooms": [room.name for room in self.by_name.values() if self._is_in(room, session)],
            "lostRooms": list(lost.items()),
            "invitations": [
                wire
                for number, (invitee, wire) in self._invitations.items()
                if invitee == session.participant.id and number not in self._answers
            ],
        }

    def watch_again(
        self, session: RoomSession, known: Iterable[tuple[str, int]], *, bring_rosters: bool = False
    ) -> list[dict[str, Any]]:
        """A resume names rooms with versions. Rosters of those that differ. bring_rosters: of all it is in, too."""
        versions = dict(known)
        if bring_rosters:
            own = (room.name for room in self.by_name.values() if self._is_in(room, session))
            versions = dict.fromkeys(own, -1) | versions
        session.watching_rooms = set(versions)
        self.scopes_changed(session)
        return [
            self._roster(name)
            for name, version in versions.items()
            if name in session.watching_rooms and self._version(name) != version
        ]

    def scopes_changed(self, session: RoomSession) -> None:
        """The session has another token: it may no longer watch."""
        if _may_watch(session):
            return
        names, session.watching_rooms = session.watching_rooms, set()
        for name in names:
            self._host.notify(session, "rooms.unwatched", {"room": name, "reason": "permission_lost"})

    # -- what clients ask ----------------------------------------------------------------------------------------

    def answer(self, session: RoomSession, method: str, params: dict[str, Any]) -> dict[str, Any]:
        """The result of a request. Raises a GreenroomError."""
        handler = getattr(self, "_do_" + method.removeprefix("rooms."))
        result: dict[str, Any] = handler(session, params)
        return result

    def _do_create(self, session: RoomSession, params: dict[str, Any]) -> dict[str, Any]:
        if not {"conf:create", "*"} & set(session.scopes):
            raise ScopeMissingError(scope="conf:create")
        name = check_room_name(params["room"])
        room = self._open(name, session)
        room.detailed, room.ttl = params.get("detailed", True), params.get("ttl", 0.0)
        return {"roster": self._roster(name), "watching": name in session.watching_rooms}

    def _do_join(self, session: RoomSession, params: dict[str, Any]) -> dict[str, Any]:
        name, person = check_room_name(params["room"]), session.participant
        room = self._open(name, session)
        until = room.kept_out.get(person.id, 0.0)
        if until > time.time():
            raise KeptOutError(until=int(until * 1000))
        if not self._is_in(room, session):
            if person.id not in room.members and len(room.members) >= self.max_members:
                raise RoomFullError()
            if sum(self._is_in(one, session) for one in self.by_name.values()) >= self.max_rooms_of_session:
                raise RoomLimitError()
            member = room.members.get(person.id)
            is_new = member is None
            member = room.members.setdefault(person.id, FakeMember(person, int(time.time() * 1000)))
            member.sessions.add(session.id)
            self._tell(room, session, **{"joined" if is_new else "changed": [member.wire()]})
        if _may_watch(session):
            session.watching_rooms.add(name)
            return {"roster": self._roster(name), "watching": True}
        # Who may not watch learns nothing of who is there.
        return {"roster": {"room": name, "id": room.id, "version": 0, "count": 0}, "watching": False}

    def _do_leave(self, session: RoomSession, params: dict[str, Any]) -> dict[str, Any]:
        session.watching_rooms.discard(params["room"])
        if params["room"] in self.by_name:
            self._leave(self.by_name[params["room"]], session, "left")
        return {}

    def _do_watch(self, session: RoomSession, params: dict[str, Any]) -> dict[str, Any]:
        if not _may_watch(session):
            raise ScopeMissingError(scope="notifications:set")
        known = params.get("known", [])
        names = [check_room_name(one) for one in params.get("rooms", [])]
        session.watching_rooms |= {*names, *(name for name, _ in known)}
        names += [name for name, version in known if self._version(name) != version]
        return {"rosters": [self._roster(name) for name in names]}

    def _do_unwatch(self, session: RoomSession, params: dict[str, Any]) -> dict[str, Any]:
        session.watching_rooms -= set(params.get("rooms", []))
        return {}

    def _do_members(self, session: RoomSession, params: dict[str, Any]) -> dict[str, Any]:
        roster = self._roster(params["room"], params.get("cursor") or "")
        return {name: roster[name] for name in ("version", "count", "members", "cursor") if name in roster}

    def _do_send(self, session: RoomSession, params: dict[str, Any]) -> dict[str, Any]:
        room = self.by_name.get(params["room"])
        if room is None or not self._is_in(room, session):
            raise NotAMemberError()
        if params["messageId"] not in room.message_ids:
            room.message_ids.add(params["messageId"])
            message = {"from": session.participant.id, "message": params["message"]}
            self._publish(room, message, session.id, params.get("to", []))
        return {}

    def _do_kick(self, session: RoomSession, params: dict[str, Any]) -> dict[str, Any]:
        room = self.by_name.get(params["room"])
        if room is None or room.opened_by != session.participant.id:
            raise RoomPermissionError(permission="kick")
        self.kick(room.name, params["participantId"], params.get("seconds", 60.0))
        return {}

    def _do_invite(self, session: RoomSession, params: dict[str, Any]) -> dict[str, Any]:
        room = self.by_name.get(params["room"])
        if room is None or not self._is_in(room, session):
            raise NotAMemberError()
        known = {one.participant.external_id: one.participant.id for one in self._host.sessions.values()}
        outside = [known[one] for one in params.get("externalIds", []) if one in known]
        for invitee in [*params.get("participantIds", []), *outside]:
            self.invite(room.name, invitee, inviter=session.participant, text=params.get("text"))
        return {}

    def _do_answer(self, session: RoomSession, params: dict[str, Any]) -> dict[str, Any]:
        invitee, wire = self._invitations.get(params["invitationId"], ("", {}))
        if invitee != session.participant.id or wire["expiresAt"] <= time.time() * 1000:
            raise NotFoundError("The invitation does not exist.")
        before, accepted = self._answers.get(wire["id"]), params["accept"]
        if before is not None:
            if before != accepted:
                raise InvitationAnsweredError(accepted=before)
            return {}
        self._answers[wire["id"]] = accepted
        answer = {"invitationId": wire["id"], "room": wire["room"], "participantId": invitee, "accepted": accepted}
        for one in self._sessions_of(wire.get("inviter", "")):
            self._host.notify(one, "rooms.answered", answer)
        return {}

    def _do_find(self, session: RoomSession, params: dict[str, Any]) -> dict[str, Any]:
        for room in self.by_name.values():
            if room.id == params["roomId"]:
                return {"room": room.name}
        raise NotFoundError("There is no such room.")

    # -- rosters -------------------------------------------------------------------------------------------------

    def _open(self, name: str, session: RoomSession) -> FakeRoom:
        if name not in self.by_name:
            opened_by = session.participant.id
            self.by_name[name] = FakeRoom(name, f"room-{next(self._numbers)}", 1, opened_by=opened_by)
        return self.by_name[name]

    def _version(self, name: str) -> int:
        return self.by_name[name].version if name in self.by_name else 0

    def _roster(self, name: str, after: str = "") -> dict[str, Any]:
        room = self.by_name.get(name)
        if room is None:
            return {"room": name, "version": 0, "count": 0, "members": []}
        rest = [room.members[one].wire() for one in sorted(room.members) if one > after]
        page = rest[: self.page_members]
        roster: dict[str, Any] = {"room": name, "id": room.id, "version": room.version, "count": len(room.members)}
        roster |= {"members": page, "detailed": room.detailed}
        if len(rest) > len(page):
            roster["cursor"] = page[-1]["id"]
        return roster

    def _is_in(self, room: FakeRoom, session: RoomSession) -> bool:
        member = room.members.get(session.participant.id)
        return member is not None and session.id in member.sessions

    def _leave(self, room: FakeRoom, session: RoomSession, reason: str) -> None:
        if not self._is_in(room, session):
            return
        member = room.members[session.participant.id]
        member.sessions.discard(session.id)
        if member.sessions:
            self._tell(room, session, changed=[member.wire()])
        else:
            del room.members[session.participant.id]
            self._tell(room, session, left=[(session.participant.id, reason)])

    def _remove(self, room: FakeRoom, participant_id: str, reason: str) -> None:
        member = room.members.pop(participant_id, None)
        if member is None:
            return
        for one in member.sessions:
            session = self._host.sessions[one]
            session.watching_rooms.discard(room.name)
            if session.link is None:
                session.lost_rooms[room.name] = reason
            self._host.notify(session, "rooms.left", {"room": room.name, "reason": reason})
        self._tell(room, left=[(participant_id, reason)])

    def _tell(self, room: FakeRoom, but: RoomSession | None = None, **what: Any) -> None:
        """A new version, for all who watch; `but` gets the roster with its reply."""
        since, room.version = room.version, room.version + 1
        change: dict[str, Any] = {
            "room": room.name,
            "version": room.version,
            "since": since,
            "count": len(room.members),
            "id": room.id,
            **(what if room.detailed else {}),
        }
        for session in self._host.sessions.values():
            if session is not but and session.ended is None and room.name in session.watching_rooms:
                self._host.notify(session, "rooms.changed", change)

    def _publish(self, room: FakeRoom, message: dict[str, Any], sender_session: str, to: list[str]) -> None:
        room.number += 1
        self.sent.append((room.name, message["message"]))
        for participant_id, member in room.members.items():
            if to and participant_id not in to:
                continue
            for one in member.sessions - {sender_session}:
                notification = {"room": room.name, "number": room.number, **message}
                self._host.notify(self._host.sessions[one], "rooms.message", notification)

    def _sessions_of(self, participant_id: str) -> list[Any]:
        sessions = self._host.sessions.values()
        return [one for one in sessions if one.participant.id == participant_id and one.ended is None]
