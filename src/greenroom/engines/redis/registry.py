"""Sessions, participants, restrictions: each method is one function in one partition."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

from greenroom.codes import ErrorCode
from greenroom.core.requests import (
    Attached,
    AttachRequest,
    Displaced,
    EndRequest,
    OpenRequest,
    Owner,
    ParticipantQuery,
    TokenFacts,
    UpdateRequest,
)
from greenroom.engines.base import (
    BeatResult,
    EraseParticipant,
    NodeBeat,
    ParticipantPage,
    Reaped,
    RestoreRequest,
    Restricted,
    RestrictRequest,
    RevokeToken,
    SessionPage,
    SessionQuery,
)
from greenroom.engines.completion import Completion, completed
from greenroom.engines.redis import arguments, listing
from greenroom.engines.redis.counts import Counts
from greenroom.engines.redis.maintenance import Maintenance
from greenroom.engines.redis.replies import (
    accepted,
    created,
    decode_invitation,
    decode_participant,
    ended,
    lost_rooms,
    session,
)
from greenroom.engines.redis.settling import Settling
from greenroom.engines.redis.store import FunctionCall, Reply, Store
from greenroom.errors import GreenroomError, IllegalArgumentError, ServiceUnavailableError, SessionEndedError
from greenroom.model import PARTITIONS, ParticipantRecord, SessionRecord, partition_of, partition_of_session

ATTRIBUTES_PROTOCOL = 2
"""The first `NodeBeat.protocol` with attributes and statuses."""

ERASED_A_CALL = 200
"""Invitations that one call removes."""

T = TypeVar("T")


def tag_of(partition: int) -> str:
    """The hash tag of a partition's keys."""
    return f"p{partition}"


class RedisRegistry:
    """Implements `Registry`."""

    def __init__(self, store: Store, counts: Counts, maintenance: Maintenance, settling: Settling) -> None:
        self._store = store
        self._settling = settling
        self._counts = counts
        self._maintenance = maintenance

    # -- sessions ----------------------------------------------------------------------------------------------------

    def open(self, request: OpenRequest) -> Awaitable[Attached]:
        limited = request.max_application_sessions is not None
        if limited and not self._counts.is_fresh():
            return self._open_when_counted(request)
        return self._open(request)

    async def _open_when_counted(self, request: OpenRequest) -> Attached:
        await self._counts.refresh()
        return await self._open(request)

    def _open(self, request: OpenRequest) -> Completion[Attached]:
        partition = partition_of(request.app, request.participant_id)
        try:
            self._check_upgraded(request)
            if partition_of_session(request.session_id) != partition:
                raise IllegalArgumentError("The session id does not begin with the participant's partition.")
        except GreenroomError as refusal:
            return completed(refusal)
        limited = request.max_application_sessions is not None
        others = self._counts.others(partition, request.app) if limited else 0

        def opened(reply: Reply) -> Attached:
            if reply[0]:
                return self._attached(partition, reply, created(request, reply[1]))
            return self._attached(partition, reply, session(reply[1]), lost_rooms(reply[1]))

        texts = arguments.open_texts(request, others, packed=self._maintenance.may_pack())
        return self._begin("open", partition, texts, opened, durable=True)

    def attach(self, request: AttachRequest) -> Completion[Attached]:
        try:
            partition = _partition(request.session_id)
        except GreenroomError as refusal:
            return completed(refusal)

        def attached(reply: Reply) -> Attached:
            return self._attached(partition, reply, session(reply[1]), lost_rooms(reply[1]))

        return self._begin("attach", partition, arguments.attach_texts(request), attached, durable=True)

    def _attached(
        self, partition: int, reply: Reply, record: SessionRecord, lost: tuple[tuple[str, str], ...] = ()
    ) -> Attached:
        fresh, _, participant, displaced, replaced, count, invitations, *marks = reply
        self._settle(partition, marks)
        self._counts.note(partition, record.app, count)
        taken_from = None
        if displaced:
            taken_from = Displaced(displaced[0].decode(), displaced[1].decode(), int(displaced[2]))
        return Attached(
            session=record,
            participant=decode_participant(participant),
            created=fresh == 1,
            displaced=taken_from,
            replaced=tuple(session(old) for old in replaced),
            lost_rooms=lost,
            invitations=tuple(map(decode_invitation, invitations)),
        )

    async def refresh(self, owner: Owner, token: TokenFacts, leave: Sequence[str] = ()) -> SessionRecord:
        partition = _partition(owner.session_id)
        texts = arguments.refresh_texts(owner, token, leave)
        flat, *marks = await self._call("refresh", partition, texts, durable=True)
        self._settle(partition, marks)
        return session(flat)

    def detach(self, owner: Owner, grace: float) -> Completion[bool]:
        partition = partition_of_session(owner.session_id)
        if partition is None:
            return completed(False)

        def detached(reply: Reply) -> bool:
            done, *marks = reply
            self._settle(partition, marks)
            return bool(done)

        return self._begin("detach", partition, arguments.detach_texts(owner, grace), detached)

    def close(self, request: EndRequest) -> Completion[SessionRecord | None]:
        partition = partition_of_session(request.session_id)
        if partition is None:
            return completed(None)

        def closed(reply: Reply) -> SessionRecord | None:
            if not reply:
                return None
            flat, ended_at, count, *marks = reply
            self._settle(partition, marks)
            record = ended(request, flat, ended_at)
            self._counts.note(partition, record.app, count)
            return record

        return self._begin("close", partition, arguments.close_texts(request), closed, durable=True)

    # -- participants ------------------------------------------------------------------------------------------------

    async def update_participant(self, request: UpdateRequest) -> ParticipantRecord:
        self._check_upgraded(request)
        if request.owner is None:
            partition = partition_of(request.app, request.participant_id)
        else:
            partition = _partition(request.owner.session_id)
        record, *marks = await self._call("update", partition, arguments.update_texts(request), durable=True)
        self._settle(partition, marks)
        return decode_participant(record)

    async def participants(self, query: ParticipantQuery) -> ParticipantPage:
        if query.ids is not None:
            return ParticipantPage(await listing.participants_by_id(self._store, query.app, query.ids))
        return await listing.participants(self._store, query)

    async def sessions(self, query: SessionQuery) -> SessionPage:
        return await listing.sessions(self._store, query)

    async def restrict(self, request: RestrictRequest) -> Restricted:
        if isinstance(request, RevokeToken) and not request.jti:
            raise IllegalArgumentError("jti is missing.")
        partition = partition_of(request.app, request.participant_id)
        body = arguments.restrict_argument(request)
        ended, changed, cutoff, count, *marks = await self._call("restrict", partition, body, durable=True)
        self._settle(partition, marks)
        self._counts.note(partition, request.app, count)
        if isinstance(request, EraseParticipant):
            await self._uninvite(request)
        version = await self._maintenance.touch_directory()
        return Restricted(tuple(session(flat) for flat in ended), bool(changed), cutoff, (version - 1, version))

    async def _uninvite(self, request: EraseParticipant) -> None:
        """Invitations by who is erased lie with their invitees (R9)."""
        body = arguments.argument(app=request.app, inviter=request.participant_id, limit=ERASED_A_CALL)
        left = list(range(PARTITIONS))
        while left:
            calls = [FunctionCall("uninvite", tag_of(number), body, True) for number in left]
            replies = await self._store.call_many(calls)
            left = [n for n, reply in zip(left, replies, strict=True) if accepted(reply)[0] == ERASED_A_CALL]

    # -- time --------------------------------------------------------------------------------------------------------

    async def beat(self, beat: NodeBeat) -> BeatResult:
        return await self._maintenance.beat(beat)

    async def reap(self, limit: int = 500) -> Reaped:
        return await self._maintenance.reap(limit)

    async def restore(self, request: RestoreRequest) -> int:
        return await self._maintenance.restore(request)

    def _check_upgraded(self, request: OpenRequest | UpdateRequest) -> None:
        """A node of the version before drops attributes and statuses from what it sends watchers, and from what it
        writes back: they are not taken before it is gone."""
        named = request.attributes is not None or request.status is not None
        if named and self._maintenance.oldest_protocol < ATTRIBUTES_PROTOCOL:
            raise ServiceUnavailableError(
                "A node of an older version is running, which does not support attributes and statuses.",
                hint="Upgrade every node, then try again.",
                retry_after=5.0,
            )

    def _settle(self, partition: int, marks: Sequence[Reply]) -> None:
        """marks: none, or the list of those that a function made."""
        for made in marks:
            self._settling.begin(partition, made)

    def _begin(
        self,
        function: str,
        partition: int,
        texts: arguments.Texts,
        read: Callable[[Reply], T],
        *,
        durable: bool = False,
    ) -> Completion[T]:
        """read: makes the result of what follows `ok`."""
        completion: Completion[T] = Completion()

        def answered(reply: Any) -> None:
            result: T | Exception
            try:
                result = reply if isinstance(reply, Exception) else read(accepted(reply))
            except Exception as error:  # a refusal, or a reply that cannot be read: it is the caller's to see
                result = error
            completion.complete(result)

        try:
            call = FunctionCall(function, tag_of(partition), arguments.joined(texts), durable)
        except GreenroomError as refusal:
            return completed(refusal)
        self._store.begin(call, answered)
        return completion

    async def _call(
        self, function: str, partition: int, argument: bytes | arguments.Texts, *, durable: bool = False
    ) -> Reply:
        body = argument if isinstance(argument, bytes) else arguments.joined(argument)
        return accepted(await self._store.call(FunctionCall(function, tag_of(partition), body, durable)))


def _partition(session_id: str) -> int:
    """Raises SessionEndedError for an id that is none of ours: nobody can know such a session."""
    partition = partition_of_session(session_id)
    if partition is None or partition >= PARTITIONS:
        raise SessionEndedError(code=ErrorCode.STATE_LOST)
    return partition
