"""Rosters follow rows (R2): what was changed in participants' partitions is taken by the rooms' partitions.

Step one made marks, in the functions that change sessions. The rest is here: read under the mark, let the room take it,
remove the mark; where the room refuses, the row drops the room. Whoever made a mark settles it at once, the reaper what
is left. Every step may be repeated, by several nodes at the same time, and may be the last of a node that dies.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple
from uuid import uuid4

from greenroom.core.rooms.requests import MembershipLost, RoomLimits
from greenroom.engines.redis.arguments import ABSENT, Texts, argument, batched, encode, milliseconds, subject
from greenroom.engines.redis.counts import Counts
from greenroom.engines.redis.replies import accepted
from greenroom.engines.redis.store import FunctionCall, Reply, Store
from greenroom.engines.rooms import MARKS_OF_CALL
from greenroom.errors import ServiceUnavailableError
from greenroom.model import PARTITIONS, partition_of, partition_of_room

ROUNDS = 8
"""How often a part is read again in one go, where others change it meanwhile; then the reaper continues."""
RETRY_MS = 5000
"""Milliseconds until a comparison that found no answer begins again."""
FIRST_PAUSE = 1.0
"""Seconds for which a partition that did not answer is left alone; each time twice as long."""
LONGEST_PAUSE = 60.0


class Pair(NamedTuple):
    """A participant and a room, as a row or a roster has them (R10)."""

    app: str
    participant_id: str
    room: str
    sessions: tuple[str, ...]
    """Of a row; of a roster none."""

    @property
    def mark(self) -> str:
        return f"{subject(self.app, self.participant_id)}\0{self.room}"


class Part(NamedTuple):
    """A participant's part in a room, as read under its mark: no sessions, or which."""

    app: str
    participant_id: str
    room: str
    number: int
    reason: str
    """Why it has none."""
    sessions: str
    """As rosters have them: ``+`` or ``-`` (connected, or not for 2 s) and the id, with commas between."""
    profile: tuple[str, ...]
    """External id, name, avatar, status, attributes, version; what is not there is empty."""

    @property
    def mark(self) -> str:
        return f"{subject(self.app, self.participant_id)}\0{self.room}"

    @property
    def partition(self) -> int:
        """Of the participant."""
        return partition_of(self.app, self.participant_id)

    @property
    def room_partition(self) -> int:
        return partition_of_room(self.app, self.room)


class Drop(NamedTuple):
    """A row is to drop a room: what was joined up to a number."""

    app: str
    participant_id: str
    room: str
    upto: int
    reason: str

    @property
    def mark(self) -> str:
        return f"{subject(self.app, self.participant_id)}\0{self.room}"


class Outcome(NamedTuple):
    """What became of a part: ``taken``, ``refused`` (reason, until), or ``failed`` with the error."""

    kind: str
    reason: str = ""
    until: int | None = None
    error: Exception | None = None
    roster: Reply | None = None


class Joining(NamedTuple):
    """What a join says of a room, beside its mark."""

    room_id: str
    limits: RoomLimits
    roster: int
    """Members to answer with; 0: a page."""


def parts_of(reply: Sequence[Any]) -> list[Part]:
    """What the functions read."""
    return [
        Part(
            app.decode(),
            participant.decode(),
            room.decode(),
            int(number),
            reason.decode(),
            sessions.decode(),
            tuple(one.decode() for one in profile),
        )
        for app, participant, room, number, reason, sessions, profile in reply
    ]


def pairs_of(reply: Sequence[Any]) -> list[Pair]:
    """What is to be compared."""
    return [
        Pair(app.decode(), participant.decode(), room.decode(), tuple(one.decode() for one in sessions))
        for app, participant, room, sessions in reply
    ]


def drops_of(reply: Sequence[Any]) -> list[Drop]:
    """What rows are to drop, as functions say it."""
    return [
        Drop(app.decode(), participant.decode(), room.decode(), int(upto), reason.decode())
        for app, participant, room, upto, reason in reply
    ]


class Settling:
    """limits_of: what an application allows its rooms, None where it is not known. counts: rooms of applications."""

    def __init__(self, store: Store, limits_of: Callable[[str], RoomLimits | None], counts: Counts) -> None:
        self._store = store
        self._limits_of = limits_of
        self._counts = counts
        self._away: dict[int, tuple[float, float]] = {}
        self._waiting: dict[int, list[str]] = {}
        self._task: asyncio.Task[None] | None = None
        self._lost: list[MembershipLost] = []
        self._kicks: dict[int, tuple[int, list[tuple[str, int]]]] = {}
        self.is_doubtful = False
        """Whether a partition may have lost something: rows and rosters are to be compared soon (R10)."""
        self.settled = 0
        """Marks that are gone, by this node, ever."""

    # -- marks of this node's own calls ------------------------------------------------------------------------------

    def begin(self, partition: int, marks: Iterable[bytes]) -> None:
        """A function of this node made these marks."""
        self._waiting.setdefault(partition, []).extend(mark.decode() for mark in marks)
        if self._task is None and self._waiting[partition]:
            self._task = asyncio.get_running_loop().create_task(self._work(), name="greenroom-redis-settle")

    async def _work(self) -> None:
        try:
            while self._waiting:
                waiting, self._waiting = self._waiting, {}
                await self._settle_marks(waiting)
        finally:
            self._task = None

    async def idle(self) -> None:
        """Returns when what this node has begun is settled, or has failed."""
        if self._task is not None:
            await asyncio.wait([self._task])

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await self.idle()

    async def _settle_marks(self, waiting: Mapping[int, Sequence[str]]) -> None:
        calls = [
            _call("room_read", partition, marks=some)
            for partition, marks in waiting.items()
            for some in batched(list(dict.fromkeys(marks)), MARKS_OF_CALL)
        ]
        found: list[Part] = []
        for reply in await self.ask(calls):
            if not isinstance(reply, Exception):
                found += parts_of(reply[0])
        await self.settle(found)

    # -- who is kept out (R8): every node has a copy, as of blocks ---------------------------------------------------

    def last_kick(self, partition: int) -> int:
        """The number of the last kick in the partition that is known here."""
        return self._kicks.get(partition, (0, []))[0]

    def keep_kicks(self, partition: int, reply: Sequence[Any]) -> None:
        """What a partition answered, where it has others than this node."""
        if reply:
            last, flat = reply
            found = zip(flat[::2], flat[1::2], strict=True)
            self._kicks[partition] = int(last), [(subject.decode(), int(ends)) for subject, ends in found]

    async def put_back_kicks(self) -> None:
        """Into partitions that lost them; what is there stays as it is."""
        calls = [_call("put_kicks", number, items=items) for number, (_, items) in self._kicks.items() if items]
        for reply in await self._store.call_many(calls):
            accepted(reply)

    def doubt(self) -> None:
        """A partition has a new marker."""
        self.is_doubtful = True

    def lost(self) -> tuple[MembershipLost, ...]:
        """Memberships that ended since this was asked last, and whose nodes are to be notified."""
        lost, self._lost = tuple(self._lost), []
        return lost

    # -- partitions --------------------------------------------------------------------------------------------------

    def is_away(self, partition: int) -> bool:
        """Whether it did not answer lately, and is left alone."""
        return self._away.get(partition, (0.0, 0.0))[0] > asyncio.get_running_loop().time()

    async def ask(self, calls: Sequence[FunctionCall]) -> list[Reply | Exception]:
        """All at once: what follows `ok`, or the error, in order. Partitions that are away are found here."""
        loop = asyncio.get_running_loop()
        futures: list[asyncio.Future[Any]] = [loop.create_future() for _ in calls]
        for call, future in zip(calls, futures, strict=True):
            self._store.begin(call, partial(_answer, future))
        replies: list[Reply | Exception] = []
        for call, future in zip(calls, futures, strict=True):
            reply = await future
            try:
                if isinstance(reply, Exception):
                    raise reply
                replies.append(accepted(reply))
            except Exception as error:  # the caller looks at it
                replies.append(error)
            self._note(int(call.tag[1:]), replies[-1])
        return replies

    def _note(self, partition: int, reply: Reply | Exception) -> None:
        if not isinstance(reply, ServiceUnavailableError):
            if self._away.pop(partition, None) is not None:
                self.is_doubtful = True  # another master perhaps
            return
        now = asyncio.get_running_loop().time()
        until, pause = self._away.get(partition, (0.0, FIRST_PAUSE / 2))
        if until <= now:
            pause = min(2 * pause, LONGEST_PAUSE)
            self._away[partition] = now + pause, pause

    # -- steps three and four ----------------------------------------------------------------------------------------

    async def settle(self, parts: Sequence[Part], joining: Joining | None = None) -> dict[str, Outcome]:
        """By mark what became of the part. joining: of a join's own part, the only one."""
        verdicts: dict[str, Outcome] = {}
        todo = list(parts)
        for _ in range(ROUNDS):
            if not todo:
                break
            todo = await self._round(todo, joining, verdicts)
        for part in todo:
            verdicts.setdefault(part.mark, Outcome("failed", error=ServiceUnavailableError(retry_after=1.0)))
        return verdicts

    async def _round(self, parts: Sequence[Part], joining: Joining | None, verdicts: dict[str, Outcome]) -> list[Part]:
        """Parts that were read again."""
        done: dict[int, list[tuple[str, int, bool]]] = {}
        drops: list[Drop] = []
        renumber: dict[int, list[tuple[str, int, int]]] = {}
        held: dict[tuple[int, int], list[str]] = {}
        for part, reply, roster in await self._take(parts, joining):
            if isinstance(reply, Exception):
                verdicts[part.mark] = Outcome("failed", error=reply)
                held.setdefault((part.partition, part.room_partition), []).append(part.mark)
                continue
            kind = reply[0]
            if kind == b"taken":
                verdicts.setdefault(part.mark, Outcome("taken", roster=roster))
                done.setdefault(part.partition, []).append((part.mark, part.number, not part.sessions))
            elif kind == b"refused":
                reason = reply[1].decode()
                until = int(reply[2]) if len(reply) > 2 else None
                verdicts[part.mark] = Outcome("refused", reason, until)
                drops.append(Drop(part.app, part.participant_id, part.room, part.number, reason))
            else:
                above = int(reply[1]) if kind == b"behind" else 0
                renumber.setdefault(part.partition, []).append((part.mark, part.number, above))
        await self._hold(held)
        await self._remove(done, verdicts)
        again, lost = await self.drop(drops)
        self._lost += lost
        calls = [_call("room_renumber", partition, items=items) for partition, items in renumber.items()]
        for reply in await self.ask(calls):
            if not isinstance(reply, Exception):
                again += parts_of(reply[0])
        return again

    async def _take(
        self, parts: Sequence[Part], joining: Joining | None
    ) -> list[tuple[Part, Reply | Exception, Reply | None]]:
        by_room: dict[int, list[Part]] = {}
        for part in parts:
            by_room.setdefault(part.room_partition, []).append(part)
        pieces = [
            (number, some)
            for number, found in by_room.items()
            for some in batched(sorted(found, key=lambda part: (part.app, part.room)), MARKS_OF_CALL)
        ]
        roster = ABSENT if joining is None else joining.roster
        calls = []
        for number, some in pieces:
            items = (text for part in some for text in self._item(part, joining))
            calls.append(FunctionCall("room_take", f"p{number}", (roster, *items), True))
        taken: list[tuple[Part, Reply | Exception, Reply | None]] = []
        for (number, some), reply in zip(pieces, await self.ask(calls), strict=True):
            if isinstance(reply, Exception):
                taken += [(part, reply, None) for part in some]
            else:
                self._counts.note_all(number, reply[2])
                taken += [(part, each, reply[1]) for part, each in zip(some, reply[0], strict=True)]
        return taken

    def _item(self, part: Part, joining: Joining | None) -> Texts:
        """What `room_take` takes for one part."""
        said = (part.app, part.room, part.participant_id, part.number, part.reason, part.sessions)
        if not part.sessions:
            return (*said, *[ABSENT] * 9)
        known = self._limits_of(part.app) if joining is None else joining.limits
        limits = known or RoomLimits()
        external_id, name, avatar_url, status, attributes, version = part.profile
        record: dict[str, str] = {"id": part.participant_id, "name": name, "avatar_url": avatar_url}
        if external_id:
            record["external_id"] = external_id
        if status:
            record["status"] = status
        return (
            *said,
            ABSENT if known is None else encode(limits.roster_attributes).decode(),
            str(uuid4()) if joining is None else joining.room_id,
            encode(record).decode(),
            version or 0,
            attributes or ABSENT,
            limits.rooms,
            self._counts.others(part.room_partition, part.app),
            limits.members,
            limits.detailed_members,
        )

    async def _hold(self, held: Mapping[tuple[int, int], Sequence[str]]) -> None:
        """Marks whose room's partition is away wait as long as that is left alone."""
        calls = []
        for (partition, away), marks in held.items():
            pause = self._away.get(away, (0.0, FIRST_PAUSE))[1]
            calls.append(_call("room_hold", partition, marks=marks, ms=milliseconds(pause)))
        await self.ask(calls)

    async def _remove(self, done: Mapping[int, Sequence[tuple[str, int, bool]]], verdicts: dict[str, Outcome]) -> None:
        calls = []
        for partition, items in done.items():
            texts = [text for mark, number, none in items for text in (mark, number, "1" if none else ABSENT)]
            calls.append(FunctionCall("room_done", f"p{partition}", tuple(texts), True))
        for items, reply in zip(done.values(), await self.ask(calls), strict=True):
            if isinstance(reply, Exception):
                for mark, _, _ in items:
                    verdicts[mark] = Outcome("failed", error=reply)
            else:
                self.settled += len(items)

    # -- comparing rows and rosters (R10) ----------------------------------------------------------------------------

    async def compare_again(self) -> None:
        """All partitions, from the beginning."""
        self.is_doubtful = False
        numbers = range(PARTITIONS)
        replies = await self.ask([_call("room_compare_again", number, ms=0) for number in numbers])
        if any(isinstance(reply, Exception) for reply in replies):
            self.is_doubtful = True

    async def compare(self, rows: Mapping[int, Sequence[Pair]], rosters: Mapping[int, Sequence[Pair]]) -> int:
        """Rows that rosters do not say are marked, members without a row go out (``lost``). By the partition that gave
        them, which begins again where one that was asked did not answer. How many differed."""
        differing, failed = await self._differing(rows)
        marks: dict[int, list[str]] = {}
        for pair in differing:
            marks.setdefault(partition_of(pair.app, pair.participant_id), []).append(pair.mark)
        calls = [_call("room_mark", number, marks=some) for number, some in marks.items()]
        checked: dict[tuple[int, int], list[str]] = {}
        for number, pairs in rosters.items():
            for pair in pairs:
                key = (number, partition_of(pair.app, pair.participant_id))
                checked.setdefault(key, []).append(pair.mark)
        calls += [_call("room_check", to, marks=some) for (_, to), some in checked.items()]
        sources = [*[None] * len(marks), *[number for number, _ in checked]]
        found: list[Part] = []
        for source, reply in zip(sources, await self.ask(calls), strict=True):
            if not isinstance(reply, Exception):
                found += parts_of(reply[0])
            elif source is not None:
                failed.add(source)
        await self.ask([_call("room_compare_again", number, ms=RETRY_MS) for number in failed])
        await self.settle(found)
        return len(found)

    async def _differing(self, rows: Mapping[int, Sequence[Pair]]) -> tuple[list[Pair], set[int]]:
        asked: dict[tuple[int, int], list[Pair]] = {}
        for number, pairs in rows.items():
            for pair in pairs:
                asked.setdefault((number, partition_of_room(pair.app, pair.room)), []).append(pair)
        calls = [_call("room_differs", to, pairs=[tuple(pair) for pair in some]) for (_, to), some in asked.items()]
        differing: list[Pair] = []
        failed: set[int] = set()
        for ((source, _), some), reply in zip(asked.items(), await self.ask(calls), strict=True):
            if isinstance(reply, Exception):
                failed.add(source)
            else:
                differing += [some[place - 1] for place in reply[0]]
        return differing, failed

    async def drop(self, drops: Sequence[Drop]) -> tuple[list[Part], list[MembershipLost]]:
        """Rows drop rooms. What was read then, to be settled; memberships that this ended and that have a node."""
        by_partition: dict[int, list[Drop]] = {}
        for one in drops:
            by_partition.setdefault(partition_of(one.app, one.participant_id), []).append(one)
        calls = [
            _call("room_drop", partition, items=[(one.mark, one.upto, one.reason) for one in some])
            for partition, found in by_partition.items()
            for some in batched(found, MARKS_OF_CALL)
        ]
        found: list[Part] = []
        lost: list[MembershipLost] = []
        for reply in await self.ask(calls):
            if not isinstance(reply, Exception):
                readings, ended = reply
                found += parts_of(readings)
                texts = [each.decode() for each in ended]
                for session, node, generation, room, reason in batched(texts, 5):
                    lost.append(MembershipLost(session, node, int(generation), room, reason))
        return found, lost


def _call(function: str, partition: int, **members: Any) -> FunctionCall:
    return FunctionCall(function, f"p{partition}", argument(**members), True)


def _answer(future: asyncio.Future[Any], reply: Any) -> None:
    if not future.done():
        future.set_result(reply)
