"""Beats, reaper passes and restoring: what concerns all partitions at once."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from greenroom.engines.base import (
    LEASE,
    PROTOCOL,
    BeatResult,
    EventLimits,
    NodeBeat,
    NodeRecord,
    Reaped,
    RestoreRequest,
)
from greenroom.engines.redis.arguments import argument, encode, milliseconds, restore_item
from greenroom.engines.redis.counts import Counts, counted
from greenroom.engines.redis.replies import accepted, session
from greenroom.engines.redis.settling import Settling
from greenroom.engines.redis.store import FunctionCall, Reply, Store
from greenroom.engines.redis.trimming import trim
from greenroom.errors import ServiceUnavailableError
from greenroom.model import PARTITIONS, Application, SessionRecord, partition_of, partition_of_session

NODES = "nodes"
DIRECTORY = "directory"
RESTORE_BATCH = 50
"""Sessions written back in one call."""
APPLICATIONS_A_PASS = 16
"""Applications whose offline participants one reaper pass looks at."""

HOUSEKEEPING = 30
"""Reaper passes from one look at event streams to the next."""
MOST_A_CALL = 50
"""Sessions and participants that one call processes: no call may hold Redis for long."""

PACKED_PROTOCOL = 3
"""The first `NodeBeat.protocol` that reads a session in one field (`arguments.CREATED`)."""
PACKED_OF_CALL = 100
"""Sessions that one call looks at, which are to be stored otherwise: some 4 ms of Redis."""

Applications = Callable[[], Sequence[Application]]


class _StoredNode(msgspec.Struct):
    """A node as stored. Unknown members of a newer one do no harm: each node writes its own."""

    node: str
    boot: str
    lease: str
    started_at: int
    url: str = ""
    version: str = ""
    ready: bool = True
    draining: bool = False
    sessions: int = 0
    protocol: int = 1
    seconds: float = LEASE
    """What its lease is renewed for."""


_decode_node = msgspec.json.Decoder(_StoredNode).decode


class Maintenance:
    """The parts of `Registry` that ask every partition.

    applications: those this process knows, for settings that the reaper needs. watched: partitions with watches.
    beaten: called after every beat with the node's name and the newest change ids. lease: seconds for which a beat
    renews it.
    """

    def __init__(
        self,
        store: Store,
        counts: Counts,
        *,
        applications: Applications,
        watched: Callable[[], Sequence[int]],
        beaten: Callable[[str, dict[int, int]], Any],
        lease: float,
        event_limits: EventLimits,
        settling: Settling,
    ) -> None:
        self._store = store
        self._settling = settling
        self._event_limits = event_limits
        self._counts = counts
        self._applications = applications
        self._watched = watched
        self._beaten = beaten
        self._lease = lease
        self._boots: dict[str, tuple[str, int]] = {}
        self._markers: dict[int, bytes] = {}
        self._to_restore = False
        self._directory_version = 0
        self._listed: tuple[NodeRecord, ...] | None = None
        """The nodes as the last beat listed them."""
        self.oldest_protocol = PROTOCOL
        """Of the live nodes, as the last beat listed them."""
        self._is_readable = False
        """Whether a node of 0.2, which is there, can read all sessions."""
        self._turn = 0
        self._passes = 0

    # -- beats -------------------------------------------------------------------------------------------------------

    async def beat(self, beat: NodeBeat) -> BeatResult:
        """Renews the lease in each partition: 64 small calls in one write, whatever the number of sessions. Partitions
        whose master is away are missing; what else it would have said is as it was last."""
        body = argument(node=beat.node, lease=beat.lease, leaving=beat.leaving, ms=milliseconds(self._lease))
        calls = [FunctionCall("renew", f"p{number}", body) for number in range(PARTITIONS)]
        at = asyncio.get_running_loop().time()
        calls += [self._node_call(beat), FunctionCall("directory_version", DIRECTORY, b"{}")]
        *replies, node, directory = await self._store.call_many(calls)
        renewals = {number: reply for number, reply in enumerate(replies) if not isinstance(reply, Exception)}
        now, nodes = self._time_and_nodes(node)
        version = self._directory_version if isinstance(directory, Exception) else int(accepted(directory)[0] or 0)
        if not renewals:
            accepted(replies[0])
        renewed, newest = self._renewals(renewals, at)
        lost = self._to_restore or version < self._directory_version
        self._directory_version = max(version, self._directory_version)
        await self._note_boot(beat, now)
        watched = set(beat.watched) | set(self._watched())
        found = {number: newest[number] for number in watched if number in newest}
        await self._beaten(beat.node, newest)
        return BeatResult(
            renewed=renewed,
            missing=frozenset(range(PARTITIONS)) - renewals.keys(),
            now=now,
            nodes=nodes,
            newest=found,
            application_sessions=self._counts.totals(),
            directory_version=version,
            recovering=lost,
        )

    def _time_and_nodes(self, reply: Reply | ServiceUnavailableError) -> tuple[int | None, tuple[NodeRecord, ...]]:
        """The engine's time, None where it did not say it, and the nodes."""
        if isinstance(reply, ServiceUnavailableError):
            if self._listed is None:
                raise reply
            return None, self._listed
        now, self._listed = self._nodes(accepted(reply))
        self.oldest_protocol = min((one.protocol for one in self._listed if one.lease_left > 0), default=PROTOCOL)
        return now, self._listed

    def _renewals(self, replies: Mapping[int, Reply], at: float) -> tuple[bool, dict[int, int]]:
        """Whether all were renewed (one without a marker does not count), and the newest change ids."""
        renewed = True
        newest: dict[int, int] = {}
        counts: dict[int, dict[str, int]] = {}
        for number, reply in replies.items():
            if reply[0] != b"ok":
                counts[number] = {}
                self._markers.pop(number, None)
                self._to_restore = True
                continue
            _, done, marker, newest[number], apps = reply
            renewed = renewed and done == 1
            counts[number] = counted(apps)
            if self._markers.setdefault(number, marker) != marker:
                # Another node has set a new marker: what this one holds has to be written back too.
                self._settling.doubt()
                self._markers[number] = marker
                self._to_restore = True
        self._counts.summed(counts, at)
        return renewed, newest

    async def _note_boot(self, beat: NodeBeat, now: int | None) -> None:
        """When the boot began is known after the first beat of it."""
        if now is not None and self._boots.get(beat.node, ("", 0))[0] != beat.boot:
            self._boots[beat.node] = (beat.boot, now)
            if not beat.leaving:
                await self._store.call(self._node_call(beat))

    def _node_call(self, beat: NodeBeat) -> FunctionCall:
        boot, started_at = self._boots.get(beat.node, ("", 0))
        stored = _StoredNode(
            node=beat.node,
            boot=beat.boot,
            lease=beat.lease,
            started_at=started_at if boot == beat.boot else 0,
            url=beat.url,
            version=beat.version,
            ready=beat.ready,
            draining=beat.draining,
            sessions=beat.sessions,
            protocol=beat.protocol,
            seconds=self._lease,
        )
        body = argument(node=beat.node, record=encode(stored).decode(), leaving=beat.leaving)
        return FunctionCall("node", NODES, body)

    def _nodes(self, reply: Reply) -> tuple[int, tuple[NodeRecord, ...]]:
        now, flat, seen = reply
        seen_at = {name: int(at) for name, at in zip(seen[::2], seen[1::2], strict=True)}
        records = dict(zip(flat[::2], flat[1::2], strict=True))
        nodes = []
        for name, body in sorted(records.items()):
            stored = _decode_node(body)
            at = seen_at.get(name, 0)
            nodes.append(
                NodeRecord(
                    node=stored.node,
                    boot=stored.boot,
                    lease=stored.lease,
                    url=stored.url,
                    version=stored.version,
                    ready=stored.ready,
                    draining=stored.draining,
                    sessions=stored.sessions,
                    started_at=stored.started_at or at,
                    seen_at=at,
                    lease_left=stored.seconds - (now - at) / 1000,
                    protocol=stored.protocol,
                )
            )
        return now, tuple(nodes)

    async def touch_directory(self) -> int:
        """Restrictions changed. The directory's version from now on."""
        (version,) = accepted(await self._store.call(FunctionCall("touch", DIRECTORY, b"{}")))
        return int(version)

    async def probe(self) -> None:
        """A write in every partition, and so at every master."""
        for reply in await self._store.call_many([FunctionCall("probe", f"p{n}", b"{}") for n in range(PARTITIONS)]):
            accepted(reply)

    # -- reaping -----------------------------------------------------------------------------------------------------

    async def reap(self, limit: int) -> Reaped:
        """One pass over all partitions. Each may do its share; what is left of the limit goes to those with more."""
        share = max(1, min(limit // PARTITIONS, MOST_A_CALL))
        self._passes += 1
        housekeeping = self._passes % HOUSEKEEPING == 0
        keep, disabled = self._settings()
        body = argument(limit=share, keep=keep, disabled=disabled)
        replies = await self._store.call_many([FunctionCall("reap", f"p{n}", body) for n in range(PARTITIONS)])
        total = _Total()
        busy = [number for number, reply in enumerate(replies) if self._reaped(number, reply, total)]
        if len(total.failures) == PARTITIONS:
            raise total.failures[0]
        total.more_at_last = False
        while busy and total.done < limit:
            number = busy.pop()
            body = argument(limit=min(limit - total.done, MOST_A_CALL))
            (reply,) = await self._store.call_many([FunctionCall("reap", f"p{number}", body)])
            self._reaped(number, reply, total)
        if housekeeping:
            await trim(self._store, self._event_limits)
        if self.may_pack():
            self._is_readable = False
        elif not self._is_readable:
            self._is_readable = not await self._store_fields()
        return total.result(more=bool(busy) or total.more_at_last)

    def may_pack(self) -> bool:
        """Whether every node reads a session in one field (`arguments.CREATED`)."""
        return self.oldest_protocol >= PACKED_PROTOCOL

    async def _store_fields(self) -> int:
        """A node of 0.2 came: sessions are stored as it reads them, again until there were none of the others, for
        nodes that have not noticed it yet may write some. How many were written."""
        written = 0
        for ended, start in ((False, "-"), (True, "0")):
            places = dict.fromkeys(range(PARTITIONS), start)
            while places:
                calls = [
                    FunctionCall(
                        "store_fields", f"p{n}", argument(ended=ended, place=place, limit=PACKED_OF_CALL), durable=True
                    )
                    for n, place in places.items()
                ]
                for number, reply in zip(tuple(places), await self._store.call_many(calls), strict=True):
                    try:
                        changed, *more = accepted(reply)
                    except ServiceUnavailableError:
                        changed, more = 1, []  # it is away: the next pass finds it
                    written += changed
                    if more:
                        places[number] = more[0].decode()
                    else:
                        del places[number]
        return written

    def _reaped(self, number: int, reply: Reply | ServiceUnavailableError, total: _Total) -> bool:
        """Whether that partition has more."""
        for made in total.add(reply):
            self._settling.begin(number, made)
        return total.more_at_last

    def _settings(self) -> tuple[list[tuple[str, int]] | None, list[str] | None]:
        """How long some applications keep who is offline (in turn), and which are disabled."""
        known = self._applications()
        disabled = [each.key for each in known if each.disabled or each.deleted]
        start = self._turn % len(known) if known else 0
        self._turn = start + APPLICATIONS_A_PASS
        chosen = [*known[start:], *known[:start]][:APPLICATIONS_A_PASS]
        keep = [(each.key, round(each.settings.keep_offline_participants * 1000)) for each in chosen]
        return keep or None, disabled or None

    # -- restoring ---------------------------------------------------------------------------------------------------

    async def restore(self, request: RestoreRequest) -> int:
        """S15. The caller has written directory and blocks before it says `finish`."""
        items: dict[int, list[dict[str, Any]]] = {}
        for item in request.sessions:
            partition = partition_of_session(item[0].id)
            if partition is not None:
                items.setdefault(partition, []).append(restore_item(*item, request.grace))
        marker = secrets.token_hex(8)
        written = await self._raise(request)
        for number in range(PARTITIONS):
            held = items.get(number, [])
            for start in range(0, len(held), RESTORE_BATCH):
                body = self._restore_argument(request, items=held[start : start + RESTORE_BATCH])
                count, _, *marks = accepted(await self._store.call(FunctionCall("restore", f"p{number}", body, True)))
                written += count
                for made in marks:
                    self._settling.begin(number, made)
        if request.finish:
            await self._settling.put_back_kicks()
            await self._finish(request, marker)
        return written

    def _restore_argument(self, request: RestoreRequest, **members: Any) -> bytes:
        return argument(node=request.node, lease=request.lease, ms=milliseconds(self._lease), **members)

    async def _raise(self, request: RestoreRequest) -> int:
        """S11, of those of whom nobody holds a session."""
        sent: dict[int, list[tuple[str, str, int]]] = {}
        for app, participant_id, version in request.versions:
            sent.setdefault(partition_of(app, participant_id), []).append((app, participant_id, version))
        calls = [
            FunctionCall("restore", f"p{number}", self._restore_argument(request, items=[], versions=each), True)
            for number, each in sent.items()
        ]
        return sum(accepted(reply)[0] for reply in await self._store.call_many(calls))

    async def _finish(self, request: RestoreRequest, marker: str) -> None:
        body = self._restore_argument(request, items=[], finish=True, marker=marker)
        replies = await self._store.call_many([FunctionCall("restore", f"p{n}", body, True) for n in range(PARTITIONS)])
        for number, reply in enumerate(replies):
            self._markers[number] = accepted(reply)[1]
        self._to_restore = False
        self._settling.doubt()
        # What was lost restarted with a lower number, which no node has to read from now on.
        self._directory_version = 0


class _Total:
    """What a reaper pass did, over all calls."""

    def __init__(self) -> None:
        self.ended: list[SessionRecord] = []
        self.detached = self.published = self.forgotten = self.done = 0
        self.lag = 0.0
        self.more_at_last = False
        self.failures: list[ServiceUnavailableError] = []
        """What partitions failed with that did not answer."""

    def add(self, reply: Reply | ServiceUnavailableError) -> list[Reply]:
        """The marks that it made. A partition without a marker has nothing that is due."""
        if isinstance(reply, ServiceUnavailableError):
            self.failures.append(reply)
            self.more_at_last = False
            return []
        if reply[0] == b"no" and reply[1] == b"recovering":
            self.more_at_last = False
            return []
        ended, detached, published, forgotten, lag, more, done, *marks = accepted(reply)
        self.ended += [session(flat) for flat in ended]
        self.detached += detached
        self.published += published
        self.forgotten += forgotten
        self.done += detached + done
        self.lag = max(self.lag, lag / 1000)
        self.more_at_last = more == 1
        return marks

    def result(self, *, more: bool) -> Reaped:
        return Reaped(
            ended=tuple(self.ended),
            detached=self.detached,
            published=self.published,
            forgotten=self.forgotten,
            lag=self.lag,
            more=more,
            failing=self.failures[0].message if self.failures else "",
        )
