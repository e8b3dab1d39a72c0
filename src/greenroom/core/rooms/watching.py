"""Rosters that someone watches: a node's copy, what differs, when it is sent (R5); messages that wait (R6). Pure.

`WatchedRoster` is a node's copy of one roster. `RoomBatcher` says when a room's changes are due. `RoomWatches` knows
for one connection which version of which roster it was last sent, and what waits until its buffer is empty.
"""

from __future__ import annotations

import heapq
from bisect import bisect_left, insort
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, cast

import msgspec

from greenroom.core.rooms.news import RoomMessage, RosterChange
from greenroom.core.rooms.requests import Roster
from greenroom.messages import (
    RoomChanged,
    RoomMessageReceived,
    RoomMessagesMissed,
    WireInvitation,
    WireMember,
    WireRoster,
    encode_notification,
)
from greenroom.model import Invitation, MemberRecord

GATHER_SECONDS = 0.1
"""From one frame of a detailed room's changes to the next, at least (R5)."""
COUNT_SECONDS = 1.0
"""The same of a counted room."""
AT_ONCE_SECONDS = 0.002
"""For which the first change after a quiet time waits for others of the same instant."""
WAITING_BYTES = 64 * 1024
"""Of messages that wait for one reader (R6)."""
AnyRoster = Roster | WireRoster
"""The engine's, or of the node's own copy."""
_encode = msgspec.json.Encoder().encode
_MEMBER_BYTES = 160
"""Of a member's JSON besides its texts, about."""


def member_to_wire(record: MemberRecord) -> WireMember:
    """The member as clients see it: what is empty is absent."""
    return WireMember(
        id=record.id,
        joined_at=record.joined_at,
        presence=record.presence,
        sessions=record.sessions,
        external_id=record.external_id,
        name=record.name or None,
        avatar_url=record.avatar_url or None,
        status=record.status,
        attributes=record.attributes,
    )


def roster_to_wire(roster: AnyRoster) -> WireRoster:
    """The roster as clients see it. Of a counted room nobody is named."""
    if isinstance(roster, WireRoster):
        return roster
    return WireRoster(
        room=roster.room,
        version=roster.version,
        count=roster.count,
        members=[member_to_wire(one) for one in roster.members] if roster.detailed else [],
        left=list(roster.left),
        since=roster.since,
        cursor=roster.cursor,
        detailed=roster.detailed,
        id=_id_of(roster),
    )


def _id_of(roster: Roster) -> str | None:
    return None if roster.record is None else roster.record.id


def invitation_to_wire(invitation: Invitation) -> WireInvitation:
    """The invitation as its invitee sees it."""
    return WireInvitation(
        id=invitation.id,
        room=invitation.room,
        created_at=invitation.created_at,
        expires_at=invitation.expires_at,
        inviter=invitation.inviter or None,
        inviter_name=invitation.inviter_name or None,
        text=invitation.text or None,
    )


def encode_message(message: RoomMessage) -> bytes:
    """`rooms.message`, for all who get it."""
    received = RoomMessageReceived(
        room=message.room, number=message.number, message=msgspec.Raw(message.message), sender=message.sender or None
    )
    return encode_notification("rooms.message", received)


class _Entry:
    """A member, or (member is None) someone who left. stamp: version at which it became so. joined: version at which
    this stay began, 0 where that was before the copy. size: of the member as JSON, about."""

    __slots__ = ("_wire", "joined", "member", "reason", "size", "stamp")

    def __init__(self, stamp: int, joined: int, member: MemberRecord | None, reason: str) -> None:
        self.stamp = stamp
        self.joined = joined
        self.member = member
        self.reason = reason
        self.size = 0 if member is None else _bytes_of(member)
        self._wire: WireMember | None = None

    @property
    def wire(self) -> WireMember:
        """The member as clients see it, encoded once: a trick, for a room of a thousand is sent to each who joins."""
        if self._wire is None:
            assert self.member is not None
            self._wire = cast(WireMember, msgspec.Raw(_encode(member_to_wire(self.member))))
        return self._wire


class WatchedRoster:
    """A node's copy of one roster. first: the roster, or its first page. removals: how many who left are remembered."""

    __slots__ = ("_entries", "_ids", "_left", "_removals", "bytes", "count", "cursor", "detailed", "ended", "floor",
                 "id", "room", "version")  # fmt: skip

    def __init__(self, first: Roster, removals: int) -> None:
        self.room = first.room
        self.version = self.floor = first.version
        """floor: differences are known to versions from this one on."""
        self.count = first.count
        self.detailed = first.detailed
        self.cursor = None if first.detailed else first.cursor
        """Of a counted room: where its members begin, who come by page alone."""
        self.id = _id_of(first)
        """The room's; None where it is not open."""
        self.ended = 0
        """Version at which the room ended last, as far as this copy saw it."""
        self.bytes = 0
        """Of its members as JSON, about."""
        self._removals = removals
        self._entries: dict[str, _Entry] = {}
        """In the order of their stamps."""
        self._ids: list[str] = []
        """Of its members, in their order."""
        self._left: deque[tuple[str, int]] = deque()
        self.take_page(first)

    def take_page(self, page: Roster) -> None:
        """Members of a later page. What a change has said of a member since the first page counts over it."""
        if not self.detailed:
            return
        for member in page.members:
            known = self._entries.get(member.id)
            if known is None or known.stamp <= self.floor:
                self._put(member.id, _Entry(self.floor, 0, member, ""))
        self._sort()

    def apply(self, change: RosterChange) -> bool:
        """False where it does not fit: the roster has to be read again."""
        if change.version <= self.version:
            return True
        if self.detailed and change.since > self.version:
            return False
        version = self.version = change.version
        self.count, self.id = change.count, change.room_id or None
        if self.detailed:
            for one, reason in change.left:
                self._put(one, _Entry(version, 0, None, reason))
            for member in change.joined:
                self._put(member.id, _Entry(version, version, member, ""))
            for member in change.changed:
                known = self._entries.get(member.id)
                stays = known is not None and known.member is not None
                self._put(member.id, _Entry(version, known.joined if stays and known else version, member, ""))
        if change.ended:
            self.ended = version
            for one in [key for key, entry in self._entries.items() if entry.member is not None]:
                self._put(one, _Entry(version, 0, None, "ended"))
        return True

    def replace(self, pages: Sequence[Roster]) -> None:
        """The whole roster was read again. What differs changed at the first page's version; what changed after that is
        to be applied again. A failover may have put the roster back: then what differs gets a version of its own, above
        all that was sent; the engine's next one, which follows its clock, is above that."""
        first = pages[0]
        found = {member.id: member for page in pages for member in page.members} if first.detailed else {}
        changed = [one for one in found.values() if (known := self._entries.get(one.id)) is None or known.member != one]
        gone = [one for one, entry in self._entries.items() if entry.member is not None and one not in found]
        version = first.version
        if version <= self.version:
            version = self.version + bool(changed or gone or first.count != self.count)
        self.version, self.count, self.detailed, self.id = version, first.count, first.detailed, _id_of(first)
        self.cursor = None if first.detailed else first.cursor
        for member in changed:
            known = self._entries.get(member.id)
            joined = version if known is None or known.member is None else known.joined
            self._put(member.id, _Entry(version, joined, member, ""))
        for one in gone:
            self._put(one, _Entry(version, 0, None, ""))

    def _sort(self) -> None:
        self._entries = dict(sorted(self._entries.items(), key=lambda item: item[1].stamp))

    def _put(self, one: str, entry: _Entry) -> None:
        known = self._entries.pop(one, None)
        was = known is not None and known.member is not None
        self._entries[one] = entry
        self.bytes += entry.size - (known.size if known is not None else 0)
        if entry.member is not None:
            if not was:
                insort(self._ids, one)
            return
        if was:
            del self._ids[bisect_left(self._ids, one)]
        self._left.append((one, entry.stamp))
        if len(self._left) > self._removals:
            oldest, stamp = self._left.popleft()
            forgotten = self._entries.get(oldest)
            if forgotten is not None and forgotten.member is None and forgotten.stamp == stamp:
                del self._entries[oldest]
                self.floor = max(self.floor, stamp)

    def _since(self, since: int) -> Iterator[tuple[str, _Entry]]:
        """What changed above a version, the latest first."""
        for one, entry in reversed(self._entries.items()):
            if entry.stamp <= since:
                return
            yield one, entry

    def bytes_since(self, since: int) -> int:
        """Of what differs from a version, as JSON, about."""
        return sum([one.size or len(key) + 3 for key, one in self._since(since)])

    def wire(self, since: int | None = None) -> WireRoster:
        """All of it, by id; or what differs from a version not below `floor`."""
        members: list[WireMember] = []
        left: list[str] = []
        if not self.detailed:
            since = None
        elif since is None:
            members = [self._entries[one].wire for one in self._ids]
        else:
            changed = list(self._since(since))
            members = [entry.wire for _, entry in changed if entry.member is not None]
            left = [one for one, entry in changed if entry.member is None]
        return WireRoster(
            room=self.room,
            version=self.version,
            count=self.count,
            members=members,
            left=left,
            since=since,
            cursor=self.cursor,
            detailed=self.detailed,
            id=self.id,
        )

    def first_page(self, most: int, cursor_after: Callable[[str], str]) -> WireRoster:
        """As `wire`, with so many bytes of members about, and a cursor where there are more. cursor_after: makes it."""
        if self.bytes <= most:
            return self.wire()
        members: list[WireMember] = []
        last = ""
        for one in self._ids:
            entry = self._entries[one]
            most -= entry.size
            if members and most < 0:
                break
            members.append(entry.wire)
            last = one
        whole = self.wire(self.version)  # nothing differs
        return msgspec.structs.replace(whole, members=members, since=None, cursor=cursor_after(last))

    def frame(self, since: int, limit: int) -> bytes:
        """`rooms.changed` for whoever has this version. Of a counted room it holds for any version. Where the
        differences are not known, or are larger than ``limit``, it says only that the roster has to be asked for."""
        if not self.detailed:
            return self._frame(0)
        if since >= self.floor:
            joined: list[WireMember] = []
            changed: list[WireMember] = []
            left: list[tuple[str, str]] = []
            for one, entry in self._since(since):
                if entry.member is None:
                    left.append((one, entry.reason))
                else:
                    (joined if entry.joined > since else changed).append(entry.wire)
            found = self._frame(
                since,
                joined=joined[::-1],
                changed=changed[::-1],
                left=left[::-1],
                ended=self.ended > since and not self.count,
            )
            if len(found) <= limit:
                return found
        return self._frame(self.version)

    def _frame(self, since: int, **what: Any) -> bytes:
        changed = RoomChanged(room=self.room, version=self.version, since=since, count=self.count, id=self.id, **what)
        return encode_notification("rooms.changed", changed)


def bytes_of(roster: Roster) -> int:
    """Of its members and of who left, as JSON, about."""
    return sum(map(_bytes_of, roster.members)) + sum([len(one) + 3 for one in roster.left])


def _bytes_of(member: MemberRecord) -> int:
    texts = len(member.id) + len(member.name) + len(member.avatar_url) + len(member.external_id or "")
    attributes = member.attributes
    if attributes:
        texts += sum([len(name) + len(value) + 6 for name, value in attributes.items()])
    return _MEMBER_BYTES + texts


class RoomBatcher:
    """Rooms that changed and were not sent yet; and when they are due."""

    __slots__ = ("_dirty", "_due", "_next")

    def __init__(self) -> None:
        self._due: list[tuple[float, tuple[str, str]]] = []
        self._dirty: set[tuple[str, str]] = set()
        self._next: dict[tuple[str, str], float] = {}
        """When the next frame may go, of rooms that had one lately."""

    def changed(self, key: tuple[str, str], now: float) -> None:
        """A room changed. key: application and name."""
        if key not in self._dirty:
            self._dirty.add(key)
            heapq.heappush(self._due, (max(now + AT_ONCE_SECONDS, self._next.get(key, 0.0)), key))

    def wait(self, now: float) -> float | None:
        """Seconds until the first is due; None where nothing changed."""
        return max(0.0, self._due[0][0] - now) if self._due else None

    def drain(self, now: float) -> list[tuple[str, str]]:
        """Those that are due."""
        found = []
        while self._due and self._due[0][0] <= now:
            _, key = heapq.heappop(self._due)
            self._dirty.discard(key)
            found.append(key)
        return found

    def sent(self, key: tuple[str, str], now: float, *, detailed: bool) -> None:
        """A frame of the room goes now."""
        self._next[key] = now + (GATHER_SECONDS if detailed else COUNT_SECONDS)
        if len(self._next) > 64 and len(self._next) > 2 * len(self._dirty):
            self._next = {one: due for one, due in self._next.items() if due > now}


class RoomWatches:
    """Of one connection: the version that it was last sent of each roster that it watches; messages that wait until its
    buffer is empty, and how many did not fit."""

    __slots__ = ("_missed", "_waiting", "behind", "sent", "waiting_bytes")

    def __init__(self) -> None:
        self.sent: dict[str, int] = {}
        """By room. A version of -1: the reply is not written yet."""
        self.behind: dict[str, None] = {}
        """Rooms of which something newer could not be written."""
        self.waiting_bytes = 0
        # Most connections never need either.
        self._waiting: deque[bytes] | None = None
        self._missed: dict[str, int] | None = None

    @property
    def is_waiting(self) -> bool:
        """Whether a message has to wait for others."""
        return bool(self._waiting or self._missed)

    def hold(self, rooms: Iterable[str]) -> tuple[str, ...]:
        """These are being subscribed to. Those that were not watched."""
        fresh = tuple([room for room in rooms if room not in self.sent])
        self.sent.update(dict.fromkeys(fresh, -1))
        return fresh

    def drop(self, room: str) -> None:
        """No longer watched."""
        self.sent.pop(room, None)
        self.behind.pop(room, None)

    @property
    def waiting(self) -> int:
        """Messages that wait."""
        return len(self._waiting or ())

    def enqueue(self, room: str, data: bytes) -> bool:
        """A message waits, or (False) is missed where too much does."""
        if self.waiting_bytes + len(data) > WAITING_BYTES:
            self.miss(room, 1)
            return False
        self.waiting_bytes += len(data)
        if self._waiting is None:
            self._waiting = deque()
        self._waiting.append(data)
        return True

    def miss(self, room: str, count: int) -> None:
        """So many messages are not going to be sent."""
        if self._missed is None:
            self._missed = {}
        self._missed[room] = self._missed.get(room, 0) + count

    def give_up(self) -> int:
        """The connection is gone. How many messages waited."""
        waiting, self._waiting, self._missed, self.waiting_bytes = self.waiting, None, None, 0
        return waiting

    def next_piece(self) -> bytes | None:
        """What to send now that the buffer is empty, or None. What was missed is said after what waited."""
        if self._waiting:
            data = self._waiting.popleft()
            self.waiting_bytes -= len(data)
            return data
        if self._missed:
            room = next(iter(self._missed))
            return encode_notification("rooms.missed", RoomMessagesMissed(room, self._missed.pop(room)))
        return None
