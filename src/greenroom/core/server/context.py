"""What the parts of `ServerSession` share: the state of one connection, the session it carries, and effects.

Parts read the attributes; only methods here assign them. `step` alone changes the state.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
from msgspec.structs import replace

from greenroom.core.requests import Attached, AttachRequest, OpenRequest, Owner, SessionRequest
from greenroom.core.rooms.requests import RoomRequest
from greenroom.core.server.effects import Effect, EngineCall, Send
from greenroom.core.server.endings import for_client
from greenroom.core.server.request_queue import RequestQueue
from greenroom.core.server.room_rights import Rights
from greenroom.core.server.services import ClientToken, Now, SessionServices
from greenroom.core.server.session_rooms import SessionRooms
from greenroom.core.server.token_clock import TokenClock
from greenroom.core.states import SERVER_TRANSITIONS, ServerEvent, ServerState
from greenroom.core.watching import Watches
from greenroom.errors import GreenroomError
from greenroom.messages import Empty, encode_error, encode_notification, encode_reply
from greenroom.model import Application, ParticipantRecord, SessionRecord

ATTACHED = frozenset({ServerState.OPEN, ServerState.FENCED, ServerState.EXPIRED})
"""States in which the connection has a session that is to be detached when it is lost."""
TAKES_UPDATES = frozenset({ServerState.OPEN, ServerState.FENCED})
"""States in which updates are sent: after the token's end they wait for the refresh."""
EMPTY = Empty()

RequestId = int | str | None
Then = Callable[[Any, Now], None]


class LocalSession(msgspec.Struct):
    """A session as its node knows it: what is written back into an engine that lost everything (S15).

    participant: the latest version known here. secret_hash: of the current resume secret. attempt: the last one taken.
    """

    record: SessionRecord
    participant: ParticipantRecord
    secret_hash: bytes
    attempt: int


class SessionContext:
    """services: what the session may ask of its node. address: the client's. origin: of the page, None where there is
    none."""

    __slots__ = (
        "_effects",
        "_news",
        "_numbers",
        "address",
        "app",
        "external_id",
        "grace_if_lost",
        "hello_due",
        "hellos",
        "jti",
        "origin",
        "owner",
        "participant_id",
        "pending",
        "queue",
        "rooms",
        "scopes",
        "services",
        "session",
        "state",
        "token",
        "watches",
    )

    def __init__(self, services: SessionServices, now: Now, address: str, origin: str | None) -> None:
        limits = services.limits
        self.services = services
        self.address = address
        self.origin = origin
        self.state = ServerState.HELLO
        self.owner: Owner | None = None
        """By which right the session is written; None before it is open."""
        self.session: LocalSession | None = None
        self.app = ""
        self.participant_id = ""
        self.external_id: str | None = None
        self.scopes: tuple[str, ...] = ()
        self.jti = ""
        """Of the session's token."""
        self.token = TokenClock(limits.token_warning, limits.token_grace)
        self.watches = Watches()
        self.rooms: SessionRooms | None = None
        """None until the session has to do with a room."""
        self.queue = RequestQueue(limits)
        self.pending: dict[int, Then] = {}
        """By number, the call to the engine for whose answer the client's requests wait: one at most."""
        self.hellos = 0
        """Opens and resumes that were refused."""
        self.hello_due = now.mono + limits.hello_timeout
        """When the next must have come (monotonic seconds)."""
        self.grace_if_lost = limits.grace
        """Seconds for which the session outlives the connection, unless the close code says otherwise (S6)."""
        self._news: list[Effect] | None = None
        """Notifications that wait until the resume is answered; None: it is."""
        self._effects: list[Effect] = []
        self._numbers = 0

    # -- the state ----------------------------------------------------------------------------------------------------

    def step(self, event: ServerEvent) -> bool:
        """The only place where the state changes. False where the event means nothing now."""
        after = SERVER_TRANSITIONS.get((self.state, event))
        if after is None:
            return False
        self.state = after
        if after is ServerState.GONE:
            self.pending.clear()
            self.queue.clear()
        return True

    def hello_refused(self, now: Now) -> None:
        """An open or a resume. Another one may follow, in time."""
        self.hellos += 1
        self.hello_due = now.mono + self.services.limits.hello_timeout

    def keep_for(self, grace: float) -> None:
        """Seconds for which the session outlives the connection from now on."""
        self.grace_if_lost = grace

    # -- the session --------------------------------------------------------------------------------------------------

    def ask_to_join(self, request: OpenRequest | AttachRequest, then: Then, grace: float) -> None:
        """Ask the engine for this connection's session. grace: seconds, should the connection be lost meanwhile."""
        self.grace_if_lost = grace
        if isinstance(request, OpenRequest):
            # Set before it is open: what changes from now on is received and waits for the reply (S12).
            self.app = request.app
            self.watches.hold((request.participant_id,))
        self.step(ServerEvent.HELLO)
        self.ask(request, then)

    def joined(self, attached: Attached, secret_hash: bytes, attempt: int) -> bool:
        """The engine attached the session. False where its connection is gone: then it is to be released again."""
        record = attached.session
        self.app = record.app
        self.owner = Owner(record.id, record.generation, record.lease)
        abandoned = self.state is ServerState.ABANDONED
        self.step(ServerEvent.JOINED)
        if abandoned:
            return False
        self.participant_id = record.participant_id
        self.external_id = record.external_id
        self.scopes = record.scopes
        self.jti = record.jti
        since = record.token_grace_since
        self.token.start(
            record.token_issued_at, record.token_expires_at, grace_since=None if since is None else since / 1000
        )
        self.session = LocalSession(record, attached.participant, secret_hash, attempt)
        return True

    def not_joined(self) -> None:
        """The engine refused an open or a resume."""
        self.watches = Watches()
        self.step(ServerEvent.REFUSED)

    def recovered(self, owner: Owner) -> None:
        """The node acquired the session again, by this right."""
        if self.owner is not None and owner.generation >= self.owner.generation:
            self.owner = owner

    def renewed(self, token: ClientToken, now: Now) -> None:
        """The session has this token now."""
        self.note_record(room_grants=token.room_grants)
        self.scopes = token.scopes
        self.jti = token.jti
        self.token.start(token.issued_at, token.expires_at)
        if now.wall < token.expires_at:
            self.step(ServerEvent.REFRESHED)

    def note_record(self, **changes: Any) -> None:
        """The session's record has these values now."""
        session = self.session
        if session is not None:
            session.record = replace(session.record, **changes)

    def participant_changed(self, record: ParticipantRecord) -> None:
        """The session's own participant changed. Older versions than the one known change nothing (S11)."""
        session = self.session
        if session is not None and session.participant.version < record.version:
            session.participant = record

    def application(self) -> Application | None:
        """The session's, as the node knows it."""
        return self.services.application(self.app)

    # -- rooms --------------------------------------------------------------------------------------------------------

    def set_rooms(self, rooms: SessionRooms | None) -> None:
        """Those of a session that was opened or resumed."""
        self.rooms = rooms

    def session_rooms(self) -> SessionRooms:
        """Made when it is first asked for."""
        if self.rooms is None:
            self.rooms = SessionRooms(is_granted=self.rights().is_granted)
        return self.rooms

    def rights(self) -> Rights:
        """What decides what the session may do in a room (R7)."""
        grants = () if self.session is None else self.session.record.room_grants
        return Rights(self.application(), self.scopes, grants, self.rooms)

    # -- the engine ---------------------------------------------------------------------------------------------------

    def ask(self, request: SessionRequest | RoomRequest, then: Then) -> None:
        """Ask the engine. Requests of the client wait until `then` has the answer."""
        self._numbers += 1
        self.pending.clear()
        self.pending[self._numbers] = then
        self._effects.append(EngineCall(self._numbers, request))

    def notify_engine(self, request: SessionRequest | RoomRequest) -> None:
        """Ask the engine for something whose answer nobody waits for."""
        self._effects.append(EngineCall(0, request))

    def request(
        self,
        call: SessionRequest | RoomRequest,
        request_id: RequestId,
        then: Callable[[Any, Now], msgspec.Struct | bytes],
        undo: Callable[[], None] | None = None,
    ) -> None:
        """Ask the engine for a request of the client's.

        ``then`` makes the reply of the result, or raises what refuses it. ``undo`` is called where it is refused.
        """
        generation = 0 if self.owner is None else self.owner.generation

        def finish(result: Any, now: Now) -> None:
            if self.state is ServerState.GONE:
                return
            try:
                if isinstance(result, GreenroomError):
                    moved = self.owner is not None and self.owner.generation > generation
                    raise for_client(result, moved=moved)
                reply = then(result, now)
            except GreenroomError as error:
                if undo is not None:
                    undo()
                self.fail(request_id, error)
                return
            if isinstance(reply, bytes):
                if request_id is not None:
                    self._effects.append(Send(reply))
            else:
                self.reply(request_id, reply)

        self.ask(call, finish)

    # -- effects ------------------------------------------------------------------------------------------------------

    def effects(self) -> list[Effect]:
        """What to do now, in order. Each is given out once."""
        effects = self._effects
        if effects:
            self._effects = []
        return effects

    def emit(self, effect: Effect) -> None:
        """One more."""
        self._effects.append(effect)

    def reply(self, request_id: RequestId, result: msgspec.Struct) -> None:
        """The result of a request; nothing where it has no id."""
        if request_id is not None:
            self._effects.append(Send(encode_reply(request_id, result)))

    def fail(self, request_id: RequestId, error: GreenroomError) -> None:
        """The error of a request; nothing where it has no id."""
        if request_id is not None:
            self._effects.append(Send(encode_error(request_id, error)))

    def notify(self, method: str, params: msgspec.Struct) -> None:
        """A notification."""
        self._effects.append(Send(encode_notification(method, params)))

    def notify_after_reply(self, method: str, params: msgspec.Struct) -> None:
        """A notification, but never before the reply to a resume."""
        (self._effects if self._news is None else self._news).append(Send(encode_notification(method, params)))

    def hold_back(self) -> None:
        """What `notify_after_reply` is given waits for `release`."""
        self._news = []

    def release(self) -> None:
        """The reply is written: what waited for it follows."""
        self._effects += self._news or ()
        self._news = None
