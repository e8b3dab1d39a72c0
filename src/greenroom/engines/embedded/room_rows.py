"""Rows of rooms and their members as Python objects, and back; and what the writer keeps of rooms in memory."""

from __future__ import annotations

from collections import OrderedDict

import apsw
import msgspec

from greenroom.core.rate_limit import TokenBucket
from greenroom.engines.rooms import MESSAGE_MEMORY
from greenroom.model import MemberRecord, RoomRecord

OPEN, ENDING, CLOSED = 0, 1, 2
"""State column of a room. ENDING: it refuses joins, and its members leave; CLOSED: only its version is remembered."""
MOST_ROOMS = 2_048
"""Rooms kept in memory."""


class RoomRow(msgspec.Struct, gc=False):
    """A row of rooms, in the order of its columns. due, in the partition clock (ms), is when the room is looked at:
    an empty one ends, one that is being ended loses more members, a closed one is forgotten."""

    n: int
    app: str
    name: str
    id: str
    state: int = OPEN
    version: int = 0
    count: int = 0
    detailed: int = 1
    ttl: int = 0
    """Milliseconds."""
    opened_at: int = 0
    opened_by: str = ""
    due: int | None = None
    forgotten: int = 0
    """The newest version of a removal that is no longer remembered: who knows less gets the whole roster."""
    attributes: bytes | None = None
    """Names of those attributes that its roster shows, as msgpack; None: there are none."""

    def record(self) -> RoomRecord:
        return RoomRecord(
            app=self.app,
            name=self.name,
            id=self.id,
            version=self.version,
            count=self.count,
            detailed=bool(self.detailed),
            ttl=self.ttl / 1000,
            opened_at=self.opened_at,
            opened_by=self.opened_by,
            ending=self.state == ENDING,
        )

    def shown_attributes(self) -> tuple[str, ...]:
        return () if self.attributes is None else decode_names(self.attributes)


class MemberRow(msgspec.Struct, gc=False):
    """A row of members, in the order of its columns. since, update_at and due are in the partition clock (ms)."""

    r: int
    participant: str
    version: int
    """Of the roster since which it is so."""
    since: int | None
    """Since when none of the sessions in the room is connected; None: one is."""
    update_at: int
    """When the record may change next."""
    due: int | None
    """When to look again."""
    record: bytes
    """`MemberRecord` as msgpack."""


ROOM_COLUMNS = ", ".join(RoomRow.__struct_fields__)
MEMBER_COLUMNS = ", ".join(MemberRow.__struct_fields__)

_encode = msgspec.msgpack.Encoder().encode
encode_member = _encode
decode_member = msgspec.msgpack.Decoder(MemberRecord).decode
decode_names = msgspec.msgpack.Decoder(tuple[str, ...]).decode


def encode_names(names: tuple[str, ...]) -> bytes | None:
    """None where there are none."""
    return _encode(names) if names else None


class MessageBook:
    """What is remembered of one room's messages: the last number, ids of the last minute, what budgets have left.
    It is in memory alone: after a restart numbers continue from the time, which is above them."""

    __slots__ = ("all", "ids", "last", "of")

    def __init__(self) -> None:
        self.last = 0
        self.ids: OrderedDict[tuple[str, str], tuple[int, int]] = OrderedDict()
        """By sender and message id: the number, and when."""
        self.all: TokenBucket | None = None
        self.of: dict[str, TokenBucket] = {}

    def forget_ids(self, clock: int) -> None:
        """Those that are too old at the partition clock."""
        oldest = clock - int(MESSAGE_MEMORY * 1000)
        while self.ids and next(iter(self.ids.values()))[1] < oldest:
            self.ids.popitem(last=False)

    def is_idle(self, clock: int, now_us: int) -> bool:
        """Whether nothing is left to be remembered. Forgets what is not needed."""
        self.forget_ids(clock)
        self.of = {who: bucket for who, bucket in self.of.items() if bucket.level(clock / 1000) < bucket.burst}
        return not self.ids and not self.of and self.last < now_us


class RoomMemory:
    """What the writer keeps of rooms: rows as the file will say at the end of the batch, and small indexes."""

    def __init__(self) -> None:
        self.rows: OrderedDict[tuple[str, str], RoomRow] = OrderedDict()
        self.open: dict[str, int] = {}
        """Rooms of each application that are open or being ended."""
        self.last = 0
        """The highest number of a room."""
        self.known = 0
        """Rows of rooms, those that have ended too: where there are none nothing is due."""
        self.kept_out: dict[tuple[str, str, str], int] = {}
        """By application, room and subject: until when (Unix ms)."""
        self.invited: dict[tuple[str, str], int] = {}
        """Invitations kept for each invitee."""
        self.books: dict[int, MessageBook] = {}
        """By number of the room."""
        self.compared = (0, "")
        """Up to which member rows and rosters were compared (R10)."""
        self.compare_at = 0
        """When that begins again (partition clock, ms)."""

    def load(self, con: apsw.Connection) -> None:
        """What lies in the file. Of messages that were rolled back nothing is known any longer."""
        self.rows.clear()
        self.open = dict(con.execute(f"SELECT app, count(*) FROM rooms WHERE state < {CLOSED} GROUP BY app"))
        self.known, self.last = con.execute("SELECT count(*), coalesce(max(n), 0) FROM rooms").get
        self.kept_out = {
            (app, room, subject): until
            for app, room, subject, until in con.execute("SELECT app, room, subject, until FROM kept_out")
        }
        self.invited = {
            (app, invitee): count
            for app, invitee, count in con.execute("SELECT app, invitee, count(*) FROM invitations GROUP BY 1, 2")
        }
        for book in self.books.values():
            book.ids.clear()
