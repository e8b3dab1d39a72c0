"""The shell around one `ServerSession`: hands inputs in, carries effects out, decides nothing."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Any

from msgspec import structs

from greenroom.core.server import ServerSession
from greenroom.core.server.calls import Abort, Call, Close, Now, Owned, Ping, Send
from greenroom.core.states import ServerState
from greenroom.core.watching import Told, tell
from greenroom.messages import Device
from greenroom.model import EndReason, ParticipantRecord

if TYPE_CHECKING:
    from greenroom.server.sessions.hub import Hub
    from greenroom.server.wire.interface import UpgradeRequest, WebSocketConnection


class Subscription(Enum):
    """Of one connection to one participant."""

    PENDING = "pending"
    """The bus is being asked."""
    LIVE = "live"
    """What changes is heard."""


class SessionConnection:
    """One client: the front door's `Handler`. Made by the hub for each upgrade."""

    __slots__ = ("_hub", "link", "machine", "slot", "subscriptions")

    def __init__(self, hub: Hub, request: UpgradeRequest) -> None:
        self._hub = hub
        self.link: WebSocketConnection | None = None
        origin = request.headers.get("origin")
        self.machine = ServerSession(hub.house, hub.now(), address=request.address, origin=origin)
        self.slot = -1
        self.subscriptions: dict[str, Subscription] = {}
        """Participants for whom this connection is on the hub's list."""

    @property
    def is_over(self) -> bool:
        """Whether nothing will ever be sent or asked again on its behalf."""
        return self.machine.state is ServerState.GONE

    # -- Handler ------------------------------------------------------------------------------------------------------

    def opened(self, websocket: WebSocketConnection) -> None:
        """The handshake is done."""
        self.link = websocket
        self._hub.arrived(self)
        self._pump(self._hub.now())

    def text(self, message: bytes) -> None:
        """A message came."""
        hub = self._hub
        hub.messages_received += 1
        at = hub.now()
        self.machine.message(message, at)
        self._pump(at)

    def lost(self, code: int, _reason: str) -> None:
        """The connection is over."""
        self.link = None
        self._hub.pace(self._lost, code)

    def _lost(self, code: int) -> None:
        at = self._hub.now()
        self.machine.lost(code, at)
        self._pump(at)
        self._hub.left(self, code)

    def pong(self) -> None:
        """The client lives. The wheel looks at the new deadline when the old one comes."""
        self.machine.pong(self._hub.now())

    def drained(self) -> None:
        """The buffer is low again."""
        self._send_pieces(self._hub.now())

    # -- the engine and the node --------------------------------------------------------------------------------------

    def answered(self, number: int, result: Any) -> None:
        """The engine's answer."""
        at = self._hub.now()
        self.machine.answer(number, result, at)
        self._pump(at)

    def tick(self) -> None:
        """The wheel's."""
        at = self._hub.now()
        if at.mono >= self.machine.deadline(at):
            self.machine.tick(at)
        self._pump(at)

    def fence(self) -> None:
        """See `ServerSession.fence`."""
        at = self._hub.now()
        self.machine.fence(at)
        self._pump(at)

    def unfence(self, owner: Owned | None = None) -> None:
        """See `ServerSession.unfence`."""
        at = self._hub.now()
        self.machine.unfence(at, owner)
        self._pump(at)

    def move_on(self, after: float, jitter: float, reason: str) -> None:
        """See `ServerSession.move_on`."""
        at = self._hub.now()
        self.machine.move_on(after, jitter, at, reason)
        self._pump(at)

    def leave(self, after: float, jitter: float) -> None:
        """See `ServerSession.leave`."""
        at = self._hub.now()
        self.machine.leave(after, jitter, at)
        self._pump(at)

    def ended(self, reason: str, text: str, by: Device | None = None) -> None:
        """See `ServerSession.ended`."""
        at = self._hub.now()
        self.machine.ended(reason, text, at, by=by)
        self._pump(at)

    def superseded(self, generation: int) -> None:
        """See `ServerSession.superseded`."""
        at = self._hub.now()
        self.machine.superseded(generation, at)
        self._pump(at)

    def end(self, reason: EndReason, text: str = "") -> None:
        """See `ServerSession.end`."""
        at = self._hub.now()
        self.machine.end(reason, text, at)
        self._pump(at)

    def directory_changed(self) -> None:
        """See `ServerSession.directory_changed`."""
        at = self._hub.now()
        self.machine.directory_changed(at)
        self._pump(at)

    # -- fan-out ------------------------------------------------------------------------------------------------------

    @property
    def may_write(self) -> bool:
        """Whether a change can be written at once: nothing waits, and the token is good."""
        link = self.link
        machine = self.machine
        return (
            link is not None
            and not link.paused
            and (machine.state is ServerState.OPEN or machine.state is ServerState.FENCED)
            and not machine.watches.waiting
        )

    def take(self, items: list[Told]) -> None:
        """Changes that cannot be written at once, or are too long for one piece."""
        for item in items:
            self.machine.watches.take(item)
        self._send_pieces(self._hub.now())

    def forget(self, record: ParticipantRecord) -> None:
        """Nothing is stored of somebody any more (S15): told above what was told before, so that it is not dropped."""
        told = self.machine.watches.told(record.id)
        if told:
            self.take([tell(structs.replace(record, version=told + 1))])

    # -- effects ------------------------------------------------------------------------------------------------------

    def _pump(self, at: Now) -> None:
        machine = self.machine
        link = self.link
        for effect in machine.effects():
            kind = type(effect)
            if kind is Call:
                self._hub.start(self, effect.number, effect.request)  # type: ignore[union-attr]
            elif link is None:
                pass
            elif kind is Send:
                self._hub.messages_sent += 1
                link.send(effect.data)  # type: ignore[union-attr]
            elif kind is Ping:
                link.ping()
            elif kind is Close:
                link.close(effect.code, effect.reason)  # type: ignore[union-attr]
            elif kind is Abort:
                self._hub.on_silent(at.mono - machine.heard_at)
                link.abort()
        if machine.refused is not None:
            self._hub.on_refused(*machine.refused)
            machine.refused = None
        if machine.watches.waiting:
            self._send_pieces(at)
        if machine.owner is not None or machine.state is ServerState.GONE:
            self._hub.settle(self)
        self._hub.wheel.schedule(self, machine.deadline(at))

    def _send_pieces(self, at: Now) -> None:
        """Each piece goes when the one before has left the buffer."""
        link = self.link
        while link is not None and not link.paused and not link.closed:
            self.machine.drained(at)
            effects = self.machine.effects()
            if not effects:
                return
            for effect in effects:
                if type(effect) is Send:
                    self._hub.messages_sent += 1
                    link.send(effect.data)
