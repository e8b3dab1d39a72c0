"""The network of a simulated world: WebSockets between processes, with delays, silence, resets and late data.

A connection is two directions. What is sent in one arrives in order, after a delay drawn from the seed. A direction
that is silent holds what it was given, as TCP does, and delivers it late if it heals before the connection is over.
Nobody is notified of silence: that is what heartbeats are for.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from enum import Enum
from typing import TYPE_CHECKING

from greenroom.codes import CloseCode
from greenroom.errors import ServiceUnavailableError
from greenroom.messages import PATH, SUBPROTOCOL
from greenroom.server.wire.interface import Handler, Refusal, UpgradeRequest

if TYPE_CHECKING:
    from tests.support.sim.apps import SimApp
    from tests.support.sim.loop import SimLoop, Timeline
    from tests.support.sim.nodes import SimNode

CLOSE_TIMEOUT = 2.0
"""Seconds in which a Close is to be answered, on both sides."""
DIAL_TIMEOUT = 10.0
"""Seconds after which a dial into silence gives up."""


class Line(Enum):
    """State of one direction."""

    GOOD = "good"
    SILENT = "silent"
    """What is sent waits; nobody notices."""
    CUT = "cut"
    """The connection is over in this direction: nothing arrives any more."""


class Direction:
    """One direction of a connection, or all of an app's way in that direction."""

    def __init__(self, timeline: Timeline, latency: Callable[[], float], target: SimLoop) -> None:
        self._timeline = timeline
        self._latency = latency
        self._target = target
        self._last = 0.0
        self._held: list[Callable[[], None]] = []
        self.line = Line.GOOD

    def carry(self, action: Callable[[], None]) -> None:
        """``action`` happens in the target's process when it arrives there."""
        if self.line is Line.CUT:
            return
        if self.line is Line.SILENT:
            self._held.append(action)
            return
        self._last = max(self._last, self._timeline.now + self._latency())
        self._timeline.at(self._last - self._timeline.now, lambda: self._arrive(action))

    def _arrive(self, action: Callable[[], None]) -> None:
        if self.line is Line.CUT:
            return
        if self.line is Line.SILENT:
            self._held.append(action)
        elif self._target in self._timeline.loops:
            self._target.call_soon(action)

    def silence(self) -> None:
        """Whatever is sent from now on, or is under way, waits."""
        if self.line is Line.GOOD:
            self.line = Line.SILENT

    def heal(self) -> None:
        """What waited arrives, late."""
        if self.line is Line.SILENT:
            self.line = Line.GOOD
            held, self._held = self._held, []
            for action in held:
                self.carry(action)

    def cut(self) -> None:
        """Nothing arrives any more."""
        self.line = Line.CUT
        self._held.clear()


class Wire:
    """One WebSocket: the node's end is a `NodeSocket`, the app's end is a `AppSocket`."""

    def __init__(self, app: SimApp, node: SimNode) -> None:
        self.app = app
        self.node = node
        # Dice of their own: the order in which connections send at the same instant must not matter.
        self.up = Direction(app.timeline, app.dice(), node.loop)
        self.down = Direction(app.timeline, app.dice(), app.loop)
        self.plug = AppSocket(self)
        self.link = NodeSocket(self)
        if app.is_silent_up:
            self.up.silence()
        if app.is_silent_down:
            self.down.silence()

    def reset(self) -> None:
        """Both ends learn, after a delay, that the connection is gone (RST)."""
        self.down.carry(lambda: self.plug.ended(CloseCode.ABNORMAL))
        self.up.carry(lambda: self.link.ended(CloseCode.ABNORMAL))

    def over(self) -> None:
        """Nothing of it is left."""
        self.up.cut()
        self.down.cut()
        self.app.wires.pop(self, None)
        self.node.wires.pop(self, None)


class NodeSocket:
    """The node's end. Implements `greenroom.server.wire.interface.WebSocketConnection`."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self.handler: Handler | None = None
        self.address = wire.app.address
        self.headers: Mapping[str, str] = {}
        self.path = PATH
        self.closed = False
        self.paused = False
        self._timer: asyncio.TimerHandle | None = None

    def open(self, handler: Handler) -> None:
        self.handler = handler
        handler.opened(self)

    def send(self, message: bytes) -> None:
        if not self.closed:
            self._wire.down.carry(lambda: self._wire.plug.got(message))

    def ping(self) -> None:
        if not self.closed:
            self._wire.down.carry(lambda: self._wire.up.carry(self._pong))

    def _pong(self) -> None:
        if self.handler is not None and not self.closed:
            self.handler.pong()

    def got(self, message: bytes) -> None:
        """A message arrived."""
        if self.handler is not None and not self.closed:
            self.handler.text(message)

    def close(self, code: int, reason: str) -> None:
        if not self.closed:
            self.closed = True
            self._wire.down.carry(lambda: self._wire.plug.asked_to_close(code, reason))
            self._timer = self._wire.node.loop.call_later(CLOSE_TIMEOUT, self.ended, CloseCode.ABNORMAL)

    def abort(self) -> None:
        self.closed = True
        self._wire.down.carry(lambda: self._wire.plug.ended(CloseCode.ABNORMAL))
        self._wire.node.loop.call_soon(self.ended, CloseCode.ABNORMAL)

    def buffered(self) -> int:
        return 0

    def ended(self, code: int) -> None:
        """The connection is over, as far as the node can tell."""
        handler, self.handler = self.handler, None
        self.closed = True
        if self._timer is not None:
            self._timer.cancel()
        if handler is not None:
            handler.lost(code, "")
            self._wire.node.wires.pop(self._wire, None)

    def asked_to_close(self, code: int) -> None:
        """The client sent Close."""
        self._wire.down.carry(lambda: self._wire.plug.ended(code))
        self.ended(code)


class AppSocket:
    """The app's end. Implements `greenroom.sdk.connections.ClientWebSocket`."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._inbox: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._code: int | None = None
        self._reason = ""
        self._closing = False

    def send(self, data: bytes) -> None:
        if not self._closing and self._code is None:
            self._wire.up.carry(lambda: self._wire.link.got(data))

    def disconnect(self, code: int) -> None:
        if not self._closing and self._code is None:
            self._closing = True
            self._wire.up.carry(lambda: self._wire.link.asked_to_close(code))
            self._wire.app.loop.call_later(CLOSE_TIMEOUT, self.ended, CloseCode.ABNORMAL)

    async def messages(self) -> AsyncIterator[str]:
        while (message := await self._inbox.get()) is not None:
            if not self._closing:
                yield message.decode()

    def close_code(self) -> int:
        return CloseCode.ABNORMAL if self._code is None else self._code

    def close_reason(self) -> str:
        return self._reason

    async def aclose(self) -> None:
        self.disconnect(CloseCode.COME_BACK)

    def got(self, message: bytes) -> None:
        """A message arrived."""
        if self._code is None:
            self._inbox.put_nowait(message)

    def ended(self, code: int) -> None:
        """The connection is over, as far as the app can tell."""
        if self._code is None:
            self._code = code
            self._inbox.put_nowait(None)
            self._wire.app.wires.pop(self._wire, None)

    def asked_to_close(self, code: int, reason: str = "") -> None:
        """The node sent Close: answered as RFC 6455 section 5.5.1 has it."""
        if self._code is None:
            self._reason = reason
        self._wire.up.carry(lambda: self._wire.link.ended(code))
        self.ended(code)


class SimTransport:
    """An app's connections to the service. Implements `greenroom.sdk.connections.Transport`."""

    def __init__(self, app: SimApp) -> None:
        self._app = app

    async def connect(self) -> AppSocket:
        app = self._app
        answer: asyncio.Future[AppSocket | Refusal | None] = app.loop.create_future()
        node = app.world.pick_node()
        if node is not None and not app.is_silent_up:
            app.timeline.at(app.latency(), lambda: _handshake(app, node, answer))
        elif node is None:
            answer.set_result(None)
        try:
            async with asyncio.timeout(DIAL_TIMEOUT):
                result = await answer
        except TimeoutError:
            raise ServiceUnavailableError("No answer.") from None
        if result is None:
            raise ServiceUnavailableError("Refused.")
        if isinstance(result, Refusal):
            after = result.headers.get("Retry-After")
            raise ServiceUnavailableError("Unavailable.", retry_after=None if after is None else float(after))
        return result

    async def fetch_token(self, app_key: str, app_secret: str) -> str:
        raise NotImplementedError("apps of a simulated world are given their tokens")


def _handshake(app: SimApp, node: SimNode, answer: asyncio.Future[AppSocket | Refusal | None]) -> None:
    """The handshake arrives at the node's machine."""

    def reply(result: AppSocket | Refusal | None) -> None:
        if not app.is_silent_down and app.loop in app.timeline.loops:
            app.loop.call_soon(lambda: None if answer.done() else answer.set_result(result))

    if not node.is_up:
        app.timeline.at(app.latency(), lambda: reply(None))
        return

    def accept() -> None:
        request = UpgradeRequest(PATH, "", {}, app.address, (SUBPROTOCOL,))
        handler = node.service.admit_upgrade(request)
        if isinstance(handler, Refusal):
            app.timeline.at(app.latency(), lambda: reply(handler))
            return
        wire = Wire(app, node)
        app.wires[wire] = None
        node.wires[wire] = None
        # The handshake's answer goes first: what the node sends now comes behind it.
        wire.down.carry(lambda: reply_in_app(wire))
        wire.link.open(handler)

    def reply_in_app(wire: Wire) -> None:
        if answer.done():
            wire.plug.disconnect(CloseCode.COME_BACK)
        else:
            answer.set_result(wire.plug)

    node.loop.call_soon(accept)
