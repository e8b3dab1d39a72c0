"""A service that is nothing but HTTP, on a real socket, with an engine's directory in memory."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any, cast

import msgspec

from greenroom.engines.base import Engine, Restricted, RestrictRequest, RevokeToken
from greenroom.errors import ConflictError, ServiceUnavailableError
from greenroom.model import Application, Restriction, SealedKey
from greenroom.server.api.routes import all_routes
from greenroom.server.cluster.readiness import ReadinessCheck
from greenroom.server.cluster.status import NodeStatus
from greenroom.server.config import ServerConfig
from greenroom.server.http.context import HttpContext
from greenroom.server.http.dispatcher import Dispatcher
from greenroom.server.http.routes import Route
from greenroom.server.tenants.applications import Tenants
from greenroom.server.wire.front_door import FrontDoor
from greenroom.server.wire.interface import Refusal
from tests.server.raw_client import loopback, turning_wheel
from tests.support.patience import PATIENCE

ADMIN_TOKEN = "admin-token-of-the-tests"
ISSUER = "https://greenroom.test"
MASTER_KEY = bytes(range(32))
START = 1_700_000_000.0


class Dice:
    """Random bytes that are the same in every run."""

    def __init__(self, seed: str = "dice") -> None:
        self._seed = seed
        self._count = 0

    def __call__(self, size: int) -> bytes:
        self._count += 1
        return hashlib.shake_256(f"{self._seed}:{self._count}".encode()).digest(size)


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self, now: float = START) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


class FakeDirectory:
    """The directory's contract on dicts."""

    def __init__(self) -> None:
        self.stored: dict[str, Application] = {}
        self.sealed: dict[str, SealedKey] = {}
        self.restricted: list[Restriction] = []
        self.changes = 1
        self.reads = 0

    async def applications(self) -> tuple[Application, ...]:
        self.reads += 1
        return tuple(self.stored.values())

    async def application(self, key: str) -> Application | None:
        found = self.stored.get(key)
        return None if found is None or found.deleted else found

    async def save_application(self, application: Application) -> Application:
        present = self.stored.get(application.key)
        if (0 if present is None else present.version) != application.version:
            raise ConflictError
        self.changes += 1
        saved = msgspec.structs.replace(application, version=application.version + 1)
        self.stored[saved.key] = saved
        return saved

    async def keys(self) -> tuple[SealedKey, ...]:
        return tuple(sorted(self.sealed.values(), key=lambda key: -key.created_at))

    async def save_key(self, key: SealedKey) -> None:
        self.changes += 1
        self.sealed[key.kid] = key

    async def restrictions(self, app: str | None = None) -> tuple[Restriction, ...]:
        return tuple(entry for entry in self.restricted if app in (None, entry.app))

    async def put_back(
        self, applications: Sequence[Application], keys: Sequence[SealedKey], restrictions: Sequence[Restriction]
    ) -> None:
        raise NotImplementedError

    async def version(self) -> int:
        return self.changes


class FakeEngine:
    """Health and a directory: all that HTTP itself asks of an engine."""

    def __init__(self) -> None:
        self.name = "fake"
        self.directory = FakeDirectory()
        self.broken: str | None = None

    async def healthy(self) -> None:
        if self.broken is not None:
            raise ServiceUnavailableError(self.broken)


class FakeService:
    """An `HttpContext`, as far as HTTP itself uses it."""

    def __init__(self, *, trusted_proxies: Sequence[str] = ()) -> None:
        self.clock = Clock()
        self.fake_engine = FakeEngine()
        self.config = ServerConfig(trusted_proxies=tuple(trusted_proxies))
        self.limits = self.config.make_limits()
        self.issuer = ISSUER
        self.admin_token = ADMIN_TOKEN
        self.why_not_ready: str | None = None
        self.restrictions: list[RestrictRequest] = []
        self.announced = 0
        self.tenants = Tenants(self.fake_engine.directory, master_key=MASTER_KEY, clock=self.clock, random_bytes=Dice())

    @property
    def engine(self) -> Engine:
        return cast(Engine, self.fake_engine)

    @property
    def control(self) -> FakeService:
        """`SessionControl`, as far as it is used."""
        return self

    @property
    def cluster(self) -> FakeService:
        """`ClusterAdmin`, as far as it is used."""
        return self

    @property
    def readiness(self) -> ReadinessCheck:
        """With a node that is ready but for `why_not_ready`."""
        node: Any = SimpleNamespace(not_ready=lambda: self.why_not_ready)
        return ReadinessCheck(self.engine, node, self.clock)

    def status(self) -> NodeStatus:
        return NodeStatus(
            node="test", boot="1", version="1", state="acting", not_ready=self.why_not_ready, uptime=1.0, sessions=0,
            connections=0, kept_writes=0, clock_difference=0.0, reaper_lag=0.0, reaper_failing="",
        )  # fmt: skip

    async def restrict(self, request: RestrictRequest) -> Restricted:
        self.restrictions.append(request)
        assert isinstance(request, RevokeToken)
        entry = Restriction(app=request.app, kind="jti", subject=request.jti, until=request.until)
        self.fake_engine.directory.restricted.append(entry)
        await self.tenants.reload()
        return Restricted()

    async def announce_directory(self) -> None:
        self.announced += 1


class Reply:
    """An answer off the wire: status, headers (lower case, repeated ones joined), body."""

    def __init__(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body

    def __repr__(self) -> str:
        return f"Reply({self.status}, {self.headers}, {self.body[:300]!r})"

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> dict[str, Any]:
        """The body, after checking that it is the one error body and nothing else."""
        assert self.status >= 400, self
        assert self.headers["content-type"] == "application/json", self
        assert self.headers["cache-control"] == "no-store", self
        body = cast("dict[str, Any]", self.json)
        assert body.keys() - {"details"} == {"type", "error", "error_code", "error_reason", "error_description"}, self
        assert body["type"] == "ErrorResponse"
        assert isinstance(body["error_code"], int)
        assert "Traceback" not in body["error_description"]
        return body


class Wire:
    """One connection, on which a test sends exactly the bytes it means."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def send(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def line(self) -> str:
        """The next head, unread otherwise: for what is no final answer."""
        return (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1")

    async def reply(self, *, head: bool = False) -> Reply:
        """The next answer. head: to a HEAD request, which has no body whatever its Content-Length says."""
        status = 100
        headers: dict[str, str] = {}
        while status == 100:
            lines = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            status = int(lines[0].split(" ")[1])
            headers = {}
            for line in lines[1:-2]:
                name, _, value = line.partition(": ")
                headers[name.lower()] = f"{headers[name.lower()]}, {value}" if name.lower() in headers else value
        size = 0 if head or status == 204 else int(headers.get("content-length", "0"))
        return Reply(status, headers, await self._reader.readexactly(size))

    async def at_end(self) -> bool:
        """Whether the service has closed the connection (waits for it)."""
        try:
            return await asyncio.wait_for(self._reader.read(), PATIENCE) == b""
        except ConnectionResetError:
            return True


class Site:
    """A running service and how to talk to it."""

    def __init__(self, service: FakeService, port: int) -> None:
        self.service = service
        self.port = port

    @asynccontextmanager
    async def wire(self) -> AsyncIterator[Wire]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            yield Wire(reader, writer)
        finally:
            writer.close()
            try:
                await writer.wait_closed()
            except ConnectionError:
                pass

    async def send(
        self, method: str, target: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Reply:
        """One request on a connection of its own."""
        async with self.wire() as wire:
            await wire.send(request_bytes(method, target, body, headers))
            return await wire.reply(head=method == "HEAD")

    async def form(self, path: str, body: str, **headers: str) -> Reply:
        """POST of a form; header names with ``_`` for ``-``."""
        kind = {"Content-Type": "application/x-www-form-urlencoded"}
        return await self.send("POST", path, body.encode(), kind | _named(headers))

    async def json(self, method: str, path: str, body: Any = None, **headers: str) -> Reply:
        """Any request with a JSON body; bytes are sent as they are."""
        raw = body if isinstance(body, bytes) else None if body is None else json.dumps(body).encode()
        kind = {} if raw is None else {"Content-Type": "application/json"}
        return await self.send(method, path, raw, kind | _named(headers))

    async def admin(self, method: str, path: str, body: Any = None) -> Reply:
        """A request with the admin token."""
        return await self.json(method, "/admin/v1" + path, body, Authorization=f"Bearer {ADMIN_TOKEN}")


def _named(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in headers.items()}


def request_bytes(
    method: str, target: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
) -> bytes:
    """A request as bytes; Content-Length is right unless it is given."""
    fields = {"Host": "greenroom.test", **(headers or {})}
    if body is not None:
        fields.setdefault("Content-Length", str(len(body)))
    lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items())]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + (body or b"")


def basic(key: str, secret: str, encoding: str = "utf-8") -> str:
    """An Authorization header's value (RFC 7617)."""
    return "Basic " + base64.b64encode(f"{key}:{secret}".encode(encoding)).decode()


def claims_of(token: str) -> dict[str, Any]:
    """What a token says, unverified."""
    payload = token.split(".")[1]
    return cast("dict[str, Any]", json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4))))


@asynccontextmanager
async def http_site(
    service: FakeService | None = None, routes: Iterable[Route] = (), **options: Any
) -> AsyncIterator[Site]:
    """A running site; options are `FakeService`'s. routes: empty: the service's."""
    service = service or FakeService(**options)
    await service.tenants.load()
    # What the server API needs besides (events, counts, webhooks) is tested with the whole service.
    dispatcher = Dispatcher(
        cast(HttpContext, service), routes or all_routes(demo_page=service.config.demo_page == "on")
    )
    with turning_wheel() as wheel:
        door = FrontDoor(http=dispatcher, sessions=lambda _request: Refusal(503), limits=service.limits, wheel=wheel)
        server = await door.listen(loopback())
        try:
            yield Site(service, server.sockets[0].getsockname()[1])
        finally:
            server.close()
            door.abort_all()
            await door.finish_requests(1.0)
            await server.wait_closed()
