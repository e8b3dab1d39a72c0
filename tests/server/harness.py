"""A real service on a free port with a real database file, and a raw client for it: for tests of every room.

    async with running_service() as running:
        app = await running.new_application()
        async with running.connect() as client:
            opened = await client.open(app.token(external_id="anna"))

Timers are shortened where a test would wait for them; each can be given. Use `async with`: there are no async fixtures,
so that a service's end is part of the test.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import secrets
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, cast

import aiohttp
import msgspec

from greenroom.engines.base import Engine
from greenroom.engines.embedded import EmbeddedEngine
from greenroom.engines.redis import RedisEngine
from greenroom.messages import PATH, SUBPROTOCOL
from greenroom.model import Application, RoomGrant, participant_id_of
from greenroom.server.clocks import SYSTEM_CLOCKS, Clocks, SystemClocks
from greenroom.server.config import ServerConfig, check
from greenroom.server.service import Service
from greenroom.tokens import SESSION_SCOPES, SessionPolicyClaim, mint_client_token
from tests.support.patience import PATIENCE, until


class RefusedError(Exception):
    """The service answered with an error. code, message, data: of the JSON-RPC error."""

    def __init__(self, error: dict[str, Any]) -> None:
        super().__init__(f"{error['code']} {error['message']}")
        self.code: int = error["code"]
        self.message: str = error["message"]
        self.data: dict[str, Any] = error.get("data", {})


class ClosedError(Exception):
    """The connection ended while something was waited for. code, reason: of the Close; 1006 where there was none."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"{code} {reason}")
        self.code = code
        self.reason = reason


@dataclass
class Tenant:
    """An application of the service under test."""

    running: RunningService
    key: str
    secret: str

    @property
    def application(self) -> Application:
        """As the service has it now."""
        found = self.running.service.tenants.get(self.key)
        assert found is not None
        return found

    def participant_id(self, external_id: str) -> str:
        """Whose external id it is."""
        return participant_id_of(self.application.namespace, external_id)

    def token(
        self,
        external_id: str | None = None,
        *,
        scopes: tuple[str, ...] = SESSION_SCOPES,
        life: int = 3600,
        version: int = 2,
        now: float | None = None,
        policy: SessionPolicyClaim | None = None,
        rooms: Sequence[RoomGrant] | None = None,
    ) -> str:
        """A client access token, minted by the service's own key ring."""
        return mint_client_token(
            self.running.service.tenants.keys.ring,
            issuer=self.running.service.issuer,
            app=self.key,
            participant_id=None if external_id is None else self.participant_id(external_id),
            external_id=external_id,
            scopes=scopes,
            version=version,
            life=life,
            now=time.time() if now is None else now,
            random_bytes=os.urandom,
            policy=policy,
            rooms=rooms,
        ).token


@dataclass
class Opened:
    """A session as its client knows it."""

    id: str
    generation: int
    secret: str
    open_id: str
    result: dict[str, Any]
    attempt: int = 0
    next_secret: str = ""

    @property
    def participant(self) -> dict[str, Any]:
        """As it was given."""
        found: dict[str, Any] = self.result["participant"]
        return found


def new_secret() -> str:
    """32 random bytes."""
    return secrets.token_urlsafe(32)


class Client:
    """A raw client of one connection: requests by number, notifications in order."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket
        self.notifications: list[tuple[str, dict[str, Any]]] = []
        self._numbers = itertools.count(1)
        self._replies: dict[Any, dict[str, Any]] = {}

    async def send(self, method: str, params: dict[str, Any] | None = None, *, notify: bool = False) -> int:
        """Send a request; its number. notify: without one."""
        number = next(self._numbers)
        message: dict[str, Any] = {"jsonrpc": "2.0", "method": method, "params": params or {}}
        if not notify:
            message["id"] = number
        await self.socket.send_str(msgspec.json.encode(message).decode())
        return number

    async def receive(self) -> dict[str, Any]:
        """The next message. Raises ClosedError."""
        message = await asyncio.wait_for(self.socket.receive(), PATIENCE)
        if message.type is aiohttp.WSMsgType.TEXT:
            decoded: dict[str, Any] = msgspec.json.decode(message.data)
            return decoded
        code = int(message.data) if message.type is aiohttp.WSMsgType.CLOSE else self.socket.close_code
        raise ClosedError(1006 if code is None else code, message.extra or "")

    async def reply(self, number: Any) -> dict[str, Any]:
        """The result of a request. Raises RefusedError, ClosedError."""
        while number not in self._replies:
            message = await self.receive()
            if "method" in message:
                self.notifications.append((message["method"], message["params"]))
            else:
                self._replies[message["id"]] = message
        message = self._replies.pop(number)
        if "error" in message:
            raise RefusedError(message["error"])
        result: dict[str, Any] = message["result"]
        return result

    async def call(self, method: str, **params: Any) -> dict[str, Any]:
        """A request and its result. Raises RefusedError, ClosedError."""
        return await self.reply(await self.send(method, params))

    async def notified(self, method: str) -> dict[str, Any]:
        """The next notification of this kind; others before it are dropped. Raises ClosedError."""
        while True:
            while self.notifications:
                name, params = self.notifications.pop(0)
                if name == method:
                    return params
            message = await self.receive()
            if "method" in message:
                self.notifications.append((message["method"], message["params"]))
            else:
                self._replies[message["id"]] = message

    async def closed(self) -> int:
        """Wait for the service to close the connection; the code."""
        while True:
            try:
                message = await self.receive()
            except ClosedError as error:
                return error.code
            if "method" in message:
                self.notifications.append((message["method"], message["params"]))
            else:
                self._replies[message["id"]] = message

    async def open(self, token: str, *, secret: str | None = None, open_id: str | None = None, **params: Any) -> Opened:
        """`session.open`. Raises RefusedError, ClosedError."""
        secret = secret or new_secret()
        open_id = open_id or secrets.token_hex(16)
        result = await self.call("session.open", token=token, openId=open_id, resumeSecret=secret, **params)
        session = result["session"]
        return Opened(session["id"], session["generation"], secret, open_id, result)

    async def resume(self, session: Opened, **params: Any) -> Opened:
        """`session.resume`, with a new secret and the next attempt. Raises RefusedError, ClosedError."""
        session.attempt += 1
        session.next_secret = session.next_secret or new_secret()
        result = await self.call(
            "session.resume",
            sessionId=session.id,
            resumeSecret=session.secret,
            nextSecret=session.next_secret,
            attempt=session.attempt,
            **params,
        )
        session.secret, session.next_secret = session.next_secret, ""
        session.result, session.generation = result, result["session"]["generation"]
        return session

    async def drop(self, code: int = 4000) -> None:
        """Close the connection; 4000 is what SDKs send where the session continues."""
        await self.socket.close(code=code)

    def abort(self) -> None:
        """Reset the connection, without a Close."""
        transport = self.socket.get_extra_info("socket")
        assert transport is not None
        writer = self.socket._writer.transport
        writer.abort()


@dataclass
class RunningService:
    """A running service and how to talk to it."""

    service: Service
    http: aiohttp.ClientSession
    data_dir: str
    _counter: Any = field(default_factory=lambda: itertools.count(1))

    @property
    def url(self) -> str:
        """Of the service."""
        return self.service.url

    async def new_application(self, name: str | None = None, **settings: Any) -> Tenant:
        """Another application; settings are fields of ApplicationSettings."""
        application, secret = await self.service.tenants.create_application(name or f"app {next(self._counter)}")
        if settings:

            def changed(app: Application) -> Application:
                return msgspec.structs.replace(app, settings=msgspec.structs.replace(app.settings, **settings))

            await self.service.tenants.change(application.key, changed)
        return Tenant(self, application.key, secret)

    @asynccontextmanager
    async def connect(self, **headers: str) -> AsyncIterator[Client]:
        """A connection, dropped at the end."""
        client = await self.dial(**headers)
        try:
            yield client
        finally:
            await client.drop()

    async def dial(self, **headers: str) -> Client:
        """A connection that the caller ends, or that ends with the service."""
        socket = await self.http.ws_connect(
            self.url + PATH, protocols=(SUBPROTOCOL,), headers=headers, autoping=True, max_msg_size=0
        )
        return Client(socket)

    async def restart(self, *, kill: bool = False) -> None:
        """Stop (or kill) the service, and start another on the same port and data."""
        await (self.service.kill() if kill else self.service.stop())
        port = int(self.service.url.rpartition(":")[2])
        config = msgspec.structs.replace(self.service.config, port=port)
        self.service = new_service(config, self.service.clocks)
        await self.service.start()

    async def session(self, session_id: str) -> Any:
        """The SessionRecord, ended ones too; None where unknown."""
        from greenroom.engines.base import SessionQuery

        page = await self.service.engine.registry.sessions(SessionQuery(session_id=session_id, with_timeline=True))
        return page.items[0] if page.items else None


def short_config(data_dir: str, **settings: Any) -> ServerConfig:
    """The defaults on a free port of loopback, with what tests wait for made short; settings override."""
    values: dict[str, Any] = {
        "port": 0,
        "data_dir": data_dir,
        "log_level": "error",
        "reap_interval": 0.1,
        "close_timeout": 0.3,
        "grace": 20.0,
        "drain_limit": 2.0,
        "restart_after": 0.1,
        "failed_auth_per_minute": 1000,
        "metrics_from_loopback": "on",
    }
    config = msgspec.convert({**values, **settings}, ServerConfig)
    check(config)
    return config


class ForwardClocks(SystemClocks):
    """The machine's own clocks, but that what connections wait for can be moved to: `ahead` are seconds."""

    ahead = 0.0

    def monotonic(self) -> float:
        return time.monotonic() + self.ahead


async def pinged(running: RunningService, clocks: ForwardClocks) -> None:
    """The service's one connection is pinged now. Returns when it has answered."""
    (connection,) = running.service.hub.connections
    heartbeat = connection.machine._heartbeat
    answered_at = heartbeat.answered_at
    clocks.ahead += running.service.config.ping_interval
    await until(lambda: heartbeat.answered_at > answered_at)


def new_service(config: ServerConfig, clocks: Clocks = SYSTEM_CLOCKS) -> Service:
    """On the embedded engine, with a short commit window, unless the settings name another."""
    if config.engine != "embedded":
        # Calls wait: a machine that stands still for seconds is not what is tested.
        redis = RedisEngine(config.engine, lease=config.lease, timeout=PATIENCE)
        return Service(config, engine=cast(Engine, redis), clocks=clocks)
    engine = EmbeddedEngine(config.data_dir, lease=config.lease, commit_window=0.0, lock_timeout=2.0)
    return Service(config, engine=engine, clocks=clocks)


@asynccontextmanager
async def running_service(clocks: Clocks = SYSTEM_CLOCKS, /, **settings: Any) -> AsyncIterator[RunningService]:
    """A service of its own; settings are fields of ServerConfig."""
    with tempfile.TemporaryDirectory(prefix="greenroom-test-") as data_dir:
        service = new_service(short_config(data_dir, **settings), clocks)
        await service.start()
        async with aiohttp.ClientSession() as http:
            running = RunningService(service, http, data_dir)
            try:
                yield running
            finally:
                await running.service.stop()


__all__ = [
    "Client",
    "ClosedError",
    "ForwardClocks",
    "Opened",
    "RefusedError",
    "RunningService",
    "Tenant",
    "new_secret",
    "new_service",
    "pinged",
    "running_service",
    "short_config",
]  # fmt: skip
