"""`BlockingBackend`: the same server API for programs without an event loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Coroutine, Iterable, Iterator, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

from greenroom.backend.client import Backend

if TYPE_CHECKING:
    import ssl

    from greenroom.backend.models import (
        BlockInfo,
        CountsInfo,
        InvitationInfo,
        KickResult,
        RoomInfo,
        ServiceEvent,
        SessionInfo,
    )
    from greenroom.model import Member, Participant, RoomGrant, SessionPolicy

Result = TypeVar("Result")


class BlockingBackend:
    """`Backend`, where every method blocks. Arguments, results and errors are those of `Backend`.

    Several threads may use it; their calls are made one after another. Not inside a running event loop: there, use
    `Backend`. Use it in a ``with`` block, or call `close` at the end.
    """

    def __init__(
        self,
        url: str,
        app_key: str,
        app_secret: str,
        *,
        scopes: Sequence[str] | None = None,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        self._backend = Backend(url, app_key, app_secret, scopes=scopes, ssl_context=ssl_context)
        self._lock = threading.RLock()
        self._runner: asyncio.Runner | None = None

    def client_token(
        self,
        *,
        external_id: str | None = None,
        scopes: Iterable[str] | None = None,
        expires_in: int | None = None,
        policy: SessionPolicy | None = None,
        rooms: Iterable[RoomGrant] | None = None,
    ) -> str:
        """See `Backend.client_token`."""
        return self._run(
            self._backend.client_token(
                external_id=external_id, scopes=scopes, expires_in=expires_in, policy=policy, rooms=rooms
            )
        )

    def revoke(self, **which: Any) -> None:
        """See `Backend.revoke`."""
        self._run(self._backend.revoke(**which))

    def participant(self, participant_id: str | None = None, *, external_id: str | None = None) -> Participant:
        """See `Backend.participant`."""
        return self._run(self._backend.participant(participant_id, external_id=external_id))

    def participants(self, presence: Iterable[str] = (), *, search: str | None = None) -> Iterator[Participant]:
        """See `Backend.participants`."""
        return self._iterate(self._backend.participants(presence, search=search))

    def update_participant(self, participant_id: str | None = None, **changes: Any) -> Participant:
        """See `Backend.update_participant`."""
        return self._run(self._backend.update_participant(participant_id, **changes))

    def kick(
        self, participant_id: str | None = None, *, external_id: str | None = None, reason: str = ""
    ) -> KickResult:
        """See `Backend.kick`."""
        return self._run(self._backend.kick(participant_id, external_id=external_id, reason=reason))

    def block(self, participant_id: str | None = None, **how: Any) -> KickResult:
        """See `Backend.block`."""
        return self._run(self._backend.block(participant_id, **how))

    def unblock(self, participant_id: str | None = None, *, external_id: str | None = None) -> None:
        """See `Backend.unblock`."""
        self._run(self._backend.unblock(participant_id, external_id=external_id))

    def blocks(self) -> Iterator[BlockInfo]:
        """See `Backend.blocks`."""
        return self._iterate(self._backend.blocks())

    def erase(self, participant_id: str | None = None, *, external_id: str | None = None) -> tuple[str, ...]:
        """See `Backend.erase`."""
        return self._run(self._backend.erase(participant_id, external_id=external_id))

    def counts(self) -> CountsInfo:
        """See `Backend.counts`."""
        return self._run(self._backend.counts())

    def session(self, session_id: str) -> SessionInfo:
        """See `Backend.session`."""
        return self._run(self._backend.session(session_id))

    def sessions(self, participant_id: str | None = None, **which: Any) -> Iterator[SessionInfo]:
        """See `Backend.sessions`."""
        return self._iterate(self._backend.sessions(participant_id, **which))

    def end_session(self, session_id: str, reason: str = "") -> SessionInfo:
        """See `Backend.end_session`."""
        return self._run(self._backend.end_session(session_id, reason))

    def rooms(self, search: str | None = None, **which: Any) -> Iterator[RoomInfo]:
        """See `Backend.rooms`."""
        return self._iterate(self._backend.rooms(search, **which))

    def room(self, name: str) -> RoomInfo:
        """See `Backend.room`."""
        return self._run(self._backend.room(name))

    def open_room(self, name: str, *, ttl: float = 0.0, detailed: bool = True) -> RoomInfo:
        """See `Backend.open_room`."""
        return self._run(self._backend.open_room(name, ttl=ttl, detailed=detailed))

    def room_members(self, name: str) -> Iterator[Member]:
        """See `Backend.room_members`."""
        return self._iterate(self._backend.room_members(name))

    def send_to_room(self, name: str, message: Any, **how: Any) -> int:
        """See `Backend.send_to_room`."""
        return self._run(self._backend.send_to_room(name, message, **how))

    def kick_from_room(self, name: str, participant_id: str | None = None, **how: Any) -> tuple[str, ...]:
        """See `Backend.kick_from_room`."""
        return self._run(self._backend.kick_from_room(name, participant_id, **how))

    def invite_to_room(self, name: str, participant_ids: Iterable[str] = (), **how: Any) -> list[InvitationInfo]:
        """See `Backend.invite_to_room`."""
        return self._run(self._backend.invite_to_room(name, participant_ids, **how))

    def end_room(self, name: str) -> bool:
        """See `Backend.end_room`."""
        return self._run(self._backend.end_room(name))

    def events(
        self, after: str | None = None, *, types: Iterable[str] = (), follow: bool = True
    ) -> Iterator[tuple[str, ServiceEvent]]:
        """See `Backend.events`."""
        return self._iterate(self._backend.events(after, types=types, follow=follow))

    def close(self) -> None:
        """Close connections and the loop. A later call opens new ones."""
        with self._lock:
            if self._runner is not None:
                self._runner.run(self._backend.aclose())
                self._runner.close()
                self._runner = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _run(self, work: Coroutine[Any, Any, Result]) -> Result:
        if asyncio._get_running_loop() is not None:
            work.close()
            raise RuntimeError("BlockingBackend would block the running event loop: use greenroom.backend.Backend.")
        with self._lock:
            if self._runner is None:
                self._runner = asyncio.Runner()
            return self._runner.run(work)

    def _iterate(self, items: AsyncIterator[Result]) -> Iterator[Result]:
        end = object()

        async def step() -> Any:
            return await anext(items, end)

        while (item := self._run(step())) is not end:
            yield item
