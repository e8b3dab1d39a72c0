"""What the engine asks of the place where the Lua functions run: a Redis, or the in-process world of the tests."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

import msgspec

from greenroom.errors import ServiceUnavailableError

Reply = list[Any]
"""What a function answers after its first word, ``ok`` or ``no``, both included: bytes, integers, None and lists."""

OnMessage = Callable[[str, str, bytes], None]
"""tag, channel, payload."""
OnLost = Callable[[Sequence[tuple[str, str]]], None]
"""(tag, channel) pairs whose messages may have been missed."""


class FunctionCall(NamedTuple):
    """One function call. tag: the hash tag that all its keys share, e.g. ``p17``. argument: one JSON object, or texts,
    whichever the function takes. durable: counted by WAIT."""

    function: str
    tag: str
    argument: bytes | tuple[str | int, ...]
    durable: bool = False


class ServerFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What one master says about itself. None: it does not say (CONFIG may be forbidden)."""

    address: str
    version: str
    append_only: bool | None = None
    append_fsync: str | None = None
    min_replicas_to_write: int | None = None
    min_replicas_max_lag: int | None = None
    maxmemory_policy: str | None = None
    replicas: int = 0


class Store(Protocol):
    """Function calls and messages. All errors of the way there are ServiceUnavailableError."""

    @property
    def waits(self) -> bool:
        """Whether durable calls are answered only when replicas have what was written."""

    async def start(self) -> None:
        """Connects. Raises ServiceUnavailableError, IllegalArgumentError for an address that cannot be used."""

    async def stop(self) -> None:
        """Closes all connections."""

    async def call(self, call: FunctionCall) -> Reply:
        """One call. The outcome is open where it raises with code OUTCOME_UNKNOWN."""

    def begin(self, call: FunctionCall, answer: Callable[[Any], None]) -> None:
        """As `call`, without a task: ``answer`` gets the reply or the exception, perhaps before this returns."""

    async def call_many(self, calls: Sequence[FunctionCall]) -> list[Reply | ServiceUnavailableError]:
        """All at once. In order the reply of each, or what it failed with (`replies.accepted` raises it)."""

    async def publish(self, tag: str, channel: str, data: bytes) -> None:
        """SPUBLISH. ``channel`` is what follows the tag."""

    def listen(self, on_message: OnMessage, on_lost: OnLost) -> None:
        """Once, before anything is subscribed."""

    async def subscribe(self, tag: str, channel: str) -> None:
        """Returns when messages published from now on are received."""

    async def unsubscribe(self, tag: str, channel: str) -> None:
        """Stops listening to one channel."""

    def subscriptions(self) -> Sequence[tuple[str, str]]:
        """(tag, channel) pairs that are subscribed, or being subscribed."""

    async def renew_subscription(self, pairs: Sequence[tuple[str, str]]) -> None:
        """The subscription is silent: reconnect it."""

    async def facts(self) -> tuple[ServerFacts, ...]:
        """Every master's."""
