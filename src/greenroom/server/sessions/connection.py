"""The shell around one `ServerSession`: hands inputs in, carries effects out, decides nothing."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from math import inf
from typing import Any, Protocol

from msgspec import structs

from greenroom.core.commands import AnsweredCommand, InvitedCommand, RoomCommand
from greenroom.core.requests import Owner, SessionRequest
from greenroom.core.rooms.requests import RoomRequest
from greenroom.core.server import ServerSession
from greenroom.core.server.context import TAKES_UPDATES
from greenroom.core.server.effects import Abort, Close, EngineCall, Ping, Refused, Send
from greenroom.core.server.services import Now, SessionServices
from greenroom.core.states import ServerState
from greenroom.core.watching import EncodedUpdate, encode_update
from greenroom.messages import Device, RoomInvitationAnswered
from greenroom.model import ParticipantRecord
from greenroom.server.sessions.measuring import SessionMetrics
from greenroom.server.wire.interface import UpgradeRequest, WebSocketConnection
from greenroom.server.wire.timer_wheel import TimerWheel

_NO_ROOMS: frozenset[str] = frozenset()


class ConnectionHub(Protocol):
    """What a connection needs of its hub (`sessions.hub.Hub`)."""

    @property
    def services(self) -> SessionServices:
        """What sessions may ask of their node."""

    @property
    def metrics(self) -> SessionMetrics:
        """What is counted."""

    @property
    def wheel(self) -> TimerWheel:
        """Timers."""

    def message_received(self) -> Now:
        """Counts it. Both clocks."""

    def now(self) -> Now:
        """Both clocks."""

    def arrived(self, connection: SessionConnection) -> None:
        """A WebSocket was opened."""

    def left(self, connection: SessionConnection, code: int) -> None:
        """A WebSocket is gone."""

    def defer(self, work: Callable[..., None], *arguments: Any) -> None:
        """At once, or in a later turn of the loop where thousands come in one."""

    def messages_sent(self, count: int) -> None:
        """Counts them."""

    def settle(self, connection: SessionConnection, sent: int) -> bool:
        """Put the connection on, or take it off, the list of sessions, as its session's state says. sent: messages that
        were sent to it since the last time. True where it was put on."""

    @property
    def rooms(self) -> ConnectionRooms:
        """Rooms that sessions of this node are in or watch."""


class ConnectionRooms(Protocol):
    """What a connection that has to do with rooms needs of its hub (`sessions.rooms.NodeRooms`)."""

    def settle(self, connection: SessionConnection) -> None:
        """Put the connection on, or take it off, the lists of members and watchers, as its session says."""

    def drained(self, connection: SessionConnection, messages: int) -> None:
        """The connection's buffer is empty. messages: of rooms, that waited and went."""


class CallStarter(Protocol):
    """What carries a session's calls out (`sessions.engine_calls.EngineCalls`)."""

    def start(self, connection: SessionConnection, number: int, request: SessionRequest | RoomRequest) -> None:
        """Carry a call out, and hand its answer to `SessionConnection.answered`."""


class LeaseCheck(Protocol):
    """What compares leases (`cluster.node.Node`)."""

    def joined(self, connection: SessionConnection) -> None:
        """A session was attached: the node may have lost, meanwhile, the lease that it is held under."""


class Subscription(Enum):
    """Of one connection to one participant."""

    PENDING = "pending"
    """The bus is being asked."""
    LIVE = "live"
    """Changes are received."""


class SessionConnection:
    """One client: the front door's `Handler`, made for each upgrade."""

    __slots__ = ("_calls", "_hub", "_node", "context", "link", "machine", "subscriptions", "tick_at")

    def __init__(self, hub: ConnectionHub, calls: CallStarter, node: LeaseCheck, request: UpgradeRequest) -> None:
        self._hub = hub
        self._calls = calls
        self._node = node
        self.link: WebSocketConnection | None = None
        now, origin = hub.now(), request.headers.get("origin")
        self.machine = ServerSession(hub.services, now, address=request.address, origin=origin)
        self.context = self.machine.context
        self.subscriptions: dict[str, Subscription] = {}
        """Participants for whom this connection is on the hub's list of watchers."""
        self.tick_at = inf
        hub.wheel.schedule(self, self.machine.deadline(now))

    @property
    def is_over(self) -> bool:
        """Whether nothing will ever be sent or asked again on its behalf."""
        return self.context.state is ServerState.GONE

    @property
    def rooms_held(self) -> frozenset[str]:
        """Rooms in which the session is, as this node knows."""
        rooms = self.context.rooms
        return _NO_ROOMS if rooms is None else frozenset(rooms.joined)

    # -- Handler ------------------------------------------------------------------------------------------------------

    def opened(self, websocket: WebSocketConnection) -> None:
        """The handshake is done."""
        self.link = websocket
        self._hub.arrived(self)

    def text(self, message: bytes) -> None:
        """A message came."""
        at = self._hub.message_received()
        self.machine.message(message, at)
        self._apply_effects(at)

    def lost(self, code: int, _reason: str) -> None:
        """The connection is over."""
        self.link = None
        self._hub.defer(self._lost, code)

    def _lost(self, code: int) -> None:
        at = self._hub.now()
        self.machine.lost(code, at)
        self._apply_effects(at)
        self._hub.left(self, code)

    def pong(self) -> None:
        """The client lives. The wheel looks at the new deadline when the old one comes."""
        self.machine.pong(self._hub.now())

    def drained(self) -> None:
        """The buffer is low again."""
        self._hub.messages_sent(self._send_pieces(self._hub.now()))

    # -- the engine and the node --------------------------------------------------------------------------------------

    def answered(self, number: int, result: Any) -> None:
        """The engine's answer."""
        if not number:
            return  # nobody waits for it
        at = self._hub.now()
        self.machine.answer(number, result, at)
        self._apply_effects(at)

    def planned(self, at: float) -> None:
        """See `Ticked.planned`."""
        self.tick_at = at

    def tick(self) -> None:
        """The wheel's."""
        at = self._hub.now()
        if at.mono >= self.machine.deadline(at):
            self.machine.tick(at)
        self._apply_effects(at)

    def fence(self) -> None:
        """See `ServerSession.fence`."""
        at = self._hub.now()
        self.machine.fence(at)
        self._apply_effects(at)

    def unfence(self, owner: Owner | None = None) -> None:
        """See `ServerSession.unfence`."""
        at = self._hub.now()
        self.machine.unfence(at, owner)
        self._apply_effects(at)

    def move_on(self, after: float, jitter: float, reason: str) -> None:
        """See `ServerSession.move_on`."""
        at = self._hub.now()
        self.machine.move_on(after, jitter, at, reason)
        self._apply_effects(at)

    def leave(self, after: float, jitter: float) -> None:
        """See `ServerSession.leave`."""
        at = self._hub.now()
        self.machine.leave(after, jitter, at)
        self._apply_effects(at)

    def ended(self, reason: str, text: str, by: Device | None = None) -> None:
        """See `ServerSession.ended`."""
        at = self._hub.now()
        self.machine.ended(reason, text, at, by=by)
        self._apply_effects(at)

    def superseded(self, generation: int) -> None:
        """See `ServerSession.superseded`."""
        at = self._hub.now()
        self.machine.superseded(generation, at)
        self._apply_effects(at)

    def about_room(self, command: RoomCommand) -> bool:
        """Something happened to the session that has to do with a room. False where it is about a generation that is
        not attached yet."""
        owner = self.context.owner
        if owner is None or owner.generation < command.generation:
            return False
        at = self._hub.now()
        if isinstance(command, InvitedCommand):
            self.machine.invited(command.invitation, at)
        elif isinstance(command, AnsweredCommand):
            self.machine.invitation_answered(
                RoomInvitationAnswered(command.invitation_id, command.room, command.participant_id, command.accepted)
            )
        elif owner.generation == command.generation:  # else its resume was answered with what it had lost
            self.machine.room_left(command.room, command.reason)
        self._apply_effects(at)
        return True

    def directory_changed(self) -> None:
        """See `ServerSession.directory_changed`."""
        at = self._hub.now()
        self.machine.directory_changed(at)
        self._apply_effects(at)

    # -- fan-out ------------------------------------------------------------------------------------------------------

    @property
    def may_write(self) -> bool:
        """Whether a change can be written at once: nothing waits, and the token is good."""
        link = self.link
        context = self.context
        return link is not None and not link.paused and context.state in TAKES_UPDATES and not context.watches.waiting

    def enqueue(self, updates: list[EncodedUpdate]) -> None:
        """Changes that cannot be written at once, or are too long for one piece."""
        for update in updates:
            self.context.watches.enqueue(update)
        self.drained()

    def forget(self, record: ParticipantRecord) -> None:
        """Nothing is stored of a participant any more (S15): sent under a version above the last one, so that it is
        not dropped."""
        sent = self.context.watches.sent(record.id)
        if sent:
            self.enqueue([encode_update(structs.replace(record, version=sent + 1))])

    # -- effects ------------------------------------------------------------------------------------------------------

    def _apply_effects(self, at: Now) -> None:
        hub = self._hub
        context = self.context
        link = self.link
        sent = 0
        for effect in context.effects():
            kind = type(effect)
            if kind is Send:
                if link is not None:
                    sent += 1
                    link.send(effect.data)  # type: ignore[union-attr]
            elif kind is EngineCall:
                hub.defer(self._calls.start, self, effect.number, effect.request)  # type: ignore[union-attr]
            elif kind is Refused:
                hub.metrics.refused(effect.reason, resuming=effect.resuming)  # type: ignore[union-attr]
            elif link is None:
                pass
            elif kind is Ping:
                link.ping()
            elif kind is Close:
                link.close(effect.code, effect.reason)  # type: ignore[union-attr]
            elif kind is Abort:
                hub.metrics.silent(effect.silence)  # type: ignore[union-attr]
                link.abort()
        rooms = context.rooms
        if context.watches.waiting or (rooms is not None and rooms.is_waiting):
            sent += self._send_pieces(at)
        is_over = context.state is ServerState.GONE
        if (sent or is_over or context.owner is not None) and hub.settle(self, sent):
            self._node.joined(self)
        if rooms is not None and (is_over or rooms.touched):
            hub.rooms.settle(self)
        if not is_over:
            due = self.machine.deadline(at)
            if due < self.tick_at:
                hub.wheel.schedule(self, due)

    def _send_pieces(self, at: Now) -> int:
        """Each piece goes when the one before has left the buffer. How many went."""
        link, rooms = self.link, self.context.rooms
        sent, waited = 0, 0 if rooms is None else rooms.watches.waiting
        while link is not None and not link.paused and not link.closed:
            self.machine.drained(at)
            effects = self.context.effects()
            if not effects:
                break
            for effect in effects:
                if type(effect) is Send:
                    sent += 1
                    link.send(effect.data)
        if rooms is not None:
            self._hub.rooms.drained(self, waited - rooms.watches.waiting)
        return sent
