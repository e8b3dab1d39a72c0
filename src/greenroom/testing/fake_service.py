"""A scriptable fake of the service on a real loopback socket, for tests of SDKs and of apps.

It keeps sessions in memory by the rules that a client can see (openIds, rotating secrets, attempts, versions) and
does on command what real services do on bad days: refuse, swallow answers, hang, drop, say 503. Tokens are not
checked: `make_token` makes some that look right.

::

    async with FakeService() as service:
        sdk = Greenroom(service.url)
        sdk.initialize_token(make_token(external_id="ada"))
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import ssl
import time
import uuid
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

from aiohttp import WSMsgType, web

from greenroom.codes import CloseCode, ErrorCode
from greenroom.core.presence import AVAILABLE, shared_status
from greenroom.core.profile import check_attributes, check_status, merge_attributes
from greenroom.errors import (
    ExternalIdMismatchError,
    GreenroomError,
    IllegalArgumentError,
    ProtocolError,
    RevisionConflictError,
    ScopeMissingError,
    SessionEndedError,
    TokenExpiredError,
    to_wire_data,
)
from greenroom.messages import SCOPE_OF_METHOD, SUBPROTOCOL
from greenroom.testing.fake_rooms import FakeRooms
from greenroom.tokens.reader import peek

GRACE = 40.0


def make_token(
    *,
    app: str = "app",
    external_id: str | None = None,
    issued_at: float | None = None,
    life: float = 3600.0,
    scope: str = "*",
    serial: int = 0,
) -> str:
    """A token that has the form of one; the signature is nonsense. issued_at: Unix seconds, None is now."""
    issued = int(time.time() if issued_at is None else issued_at)
    claims: dict[str, Any] = {
        "iss": "fake",
        "aud": "greenroom:session",
        "app": app,
        "sub": app if external_id is None else participant_id(external_id),
        "ver": 2,
        "scope": scope,
        "iat": issued,
        "exp": issued + int(life),
        "jti": f"{serial:022d}",
    }
    if external_id is not None:
        claims["xid"] = external_id
    header = {"alg": "EdDSA", "typ": "session+jwt", "kid": "fake"}
    return ".".join((_segment(header), _segment(claims), base64.urlsafe_b64encode(b"s" * 64).decode().rstrip("=")))


def _segment(members: Mapping[str, Any]) -> str:
    raw = json.dumps(members, separators=(",", ":")).encode()
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def participant_id(external_id: str) -> str:
    """The fake's participant id of an external id."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, "ext:" + external_id))


@dataclass
class FakeParticipant:
    """A record of the fake."""

    id: str
    external_id: str | None = None
    name: str = ""
    avatar_url: str = ""
    attributes: dict[str, str] = field(default_factory=dict)
    status: str | None = None
    revision: int = 0
    version: int = 1
    presence: str = "offline"
    sessions: int = 0

    def wire(self) -> dict[str, Any]:
        members: dict[str, Any] = {
            "externalId": self.external_id,
            "name": self.name,
            "avatarUrl": self.avatar_url,
            "attributes": self.attributes,
            "status": self.status,
        }
        return {
            "id": self.id,
            "revision": self.revision,
            "version": self.version,
            "presence": self.presence,
            "sessions": self.sessions,
            "lastSeen": None if self.version == 0 else 1_700_000_000_000,
            **{name: value for name, value in members.items() if value},
        }


@dataclass
class FakeSession:
    """A session of the fake. ended: the reason, None while it lives."""

    id: str
    open_id: str
    participant: FakeParticipant
    scopes: list[str]
    secrets: tuple[str, str]
    """Current and previous (S1)."""
    expires_at: int
    status: str = AVAILABLE
    attempt: int = 0
    generation: int = 1
    ended: str | None = None
    link: FakeLink | None = None
    watching: set[str] = field(default_factory=set)
    updates: dict[str, dict[str, Any]] = field(default_factory=dict)
    watching_rooms: set[str] = field(default_factory=set)
    lost_rooms: dict[str, str] = field(default_factory=dict)
    """Rooms that it lost since it was last attached, with the reasons."""


@dataclass
class FakeLink:
    """One connection of the fake. deaf: what comes in is ignored; close_code: with what it was closed, by whomever."""

    socket: web.WebSocketResponse
    transport: asyncio.Transport
    session: FakeSession | None = None
    deaf: bool = False
    close_code: int | None = None
    dropped: int | None = None
    """With what `drop` closed it."""

    async def notify(self, method: str, params: Mapping[str, Any]) -> None:
        await self.socket.send_str(json.dumps({"jsonrpc": "2.0", "method": method, "params": params}))

    async def try_to_notify(self, method: str, params: Mapping[str, Any]) -> None:
        """The same, where the connection may be gone by now."""
        with contextlib.suppress(ConnectionError):
            await self.notify(method, params)

    async def drop(self, code: int = 1012, message: str = "") -> None:
        """Close with this code; 1006 cuts the connection without a word."""
        self.dropped = code
        if code == CloseCode.ABNORMAL:
            self.transport.abort()
            return
        await self.socket.close(code=code, message=message.encode())


class FakeService:
    """The fake. Scripting is by attributes and methods, at any time."""

    def __init__(self, ssl_context: ssl.SSLContext | None = None) -> None:
        self._ssl = ssl_context
        self.url = ""
        self.sessions: dict[str, FakeSession] = {}
        self.participants: dict[str, FakeParticipant] = {}
        self.links: list[FakeLink] = []
        """All connections that were ever made, in order."""
        self.calls: list[tuple[str, dict[str, Any]]] = []
        """All requests: method and params."""
        self.upgrades = 0
        """Requests for a connection, refused ones too."""
        self.paths: list[str] = []
        """Of those: path and query."""
        self.refusals: dict[str, list[GreenroomError]] = {}
        """Errors to answer the next requests of a method with."""
        self.swallow: list[str] = []
        """Methods whose next request is carried out, and then the connection is cut instead of an answer."""
        self.hang: set[str] = set()
        """Methods that are never answered."""
        self.unavailable: tuple[int, str | None] | None = None
        """HTTP status and Retry-After for upgrades; None takes them."""
        self.capabilities = ["attributes", "status", "rooms"]
        """What it says it has; leave some out to be an older service."""
        self.rooms = FakeRooms(self)
        """The rooms, and what happens in them without a client's asking."""
        self.app_credentials = ("key", "secret")
        self.tokens_minted = 0
        self.token_life = 3600.0
        self._runner: web.AppRunner | None = None
        self._port = 0
        self._drops: set[asyncio.Future[None]] = set()
        self._happened = asyncio.Event()

    # -- life ----------------------------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def start(self) -> None:
        """Listen, at the same port as before where there was one."""
        app = web.Application()
        app.router.add_get("/v1/session", self._upgrade)
        app.router.add_post("/v1/oauth2/token", self._token)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self._port, reuse_address=True, ssl_context=self._ssl)
        await site.start()
        self._port = self._runner.addresses[0][1]
        scheme = "http" if self._ssl is None else "https"
        self.url = f"{scheme}://127.0.0.1:{self._port}"

    async def stop(self) -> None:
        """Cut every connection and stop listening; sessions are kept, as a restarted service does."""
        await self.drop_all(CloseCode.ABNORMAL)
        await asyncio.gather(*self._drops)
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def drop_all(self, code: int = CloseCode.ABNORMAL) -> None:
        for link in self.live_links():
            await link.drop(code)

    def live_links(self) -> list[FakeLink]:
        return [link for link in self.links if not link.socket.closed and link.close_code is None]

    async def until(self, condition: Callable[[], object], limit: float = 30.0) -> None:
        """Wait until something that the fake sees makes the condition true. Raises TimeoutError after `limit` s."""
        async with asyncio.timeout(limit):
            while not condition():
                self._happened.clear()
                await self._happened.wait()

    async def called(self, method: str, times: int = 1) -> None:
        """Wait until a method has been called so often."""
        await self.until(lambda: sum(one == method for one, _ in self.calls) >= times)

    @property
    def only_session(self) -> FakeSession:
        """The one session that lives."""
        (session,) = [one for one in self.sessions.values() if one.ended is None]
        return session

    def only_session_of(self, external_id: str) -> FakeSession:
        """The one session of a participant that lives."""
        (session,) = [
            one for one in self.sessions.values() if one.ended is None and one.participant.external_id == external_id
        ]
        return session

    def methods(self) -> list[str]:
        """The methods called, without pings."""
        return [method for method, _ in self.calls if method != "ping"]

    async def end(self, session: FakeSession, reason: str, **more: Any) -> None:
        """End a session and notify its client."""
        session.ended = reason
        self._left(session)
        link, session.link = session.link, None
        if link is not None and not link.socket.closed:
            params = {"reason": reason, "message": f"Ended: {reason}.", "retry": None, **more}
            await link.notify("session.ended", params)
            await link.drop(CloseCode.REPLACED if reason == "replaced" else CloseCode.KICKED)

    async def change(self, participant: FakeParticipant, **fields: Any) -> None:
        """Change a record, and notify its watchers."""
        for name, value in fields.items():
            setattr(participant, name, value)
        participant.version += 1
        for session in list(self.sessions.values()):
            watches = participant.id in session.watching or session.participant is participant
            if watches and session.link is not None and session.ended is None and not session.link.socket.closed:
                await session.link.notify("participants.changed", {"participants": [participant.wire()]})
        self.rooms.changed(participant)

    # -- HTTP ----------------------------------------------------------------------------------------------------

    async def _token(self, request: web.Request) -> web.Response:
        wanted = base64.b64encode(":".join(self.app_credentials).encode()).decode()
        if request.headers.get("Authorization") != f"Basic {wanted}":
            return web.json_response({"error": "invalid_client"}, status=401)
        self.tokens_minted += 1
        token = make_token(life=self.token_life, serial=self.tokens_minted)
        return web.json_response({"access_token": token, "token_type": "Bearer", "expires_in": int(self.token_life)})

    async def _upgrade(self, request: web.Request) -> web.StreamResponse:
        self.upgrades += 1
        self.paths.append(request.path_qs)
        self._happened.set()
        if self.unavailable is not None:
            status, after = self.unavailable
            return web.Response(status=status, headers={} if after is None else {"Retry-After": after})
        socket = web.WebSocketResponse(protocols=(SUBPROTOCOL,), timeout=0.2)
        await socket.prepare(request)
        assert isinstance(request.transport, asyncio.Transport)
        link = FakeLink(socket, request.transport)
        self.links.append(link)
        try:
            async for message in socket:
                if message.type is WSMsgType.TEXT and not link.deaf:
                    await self._handle(link, json.loads(message.data))
        finally:
            link.close_code = link.dropped or socket.close_code or CloseCode.ABNORMAL
            self._happened.set()
            self._gone(link)
        return socket

    def _gone(self, link: FakeLink) -> None:
        session = link.session
        if session is None or session.link is not link:
            return
        session.link = None
        if link.close_code == CloseCode.NORMAL and session.ended is None:
            session.ended = "closed"
            self._left(session)

    # -- JSON-RPC ------------------------------------------------------------------------------------------------

    async def _handle(self, link: FakeLink, request: dict[str, Any]) -> None:
        method, params = request["method"], request.get("params") or {}
        self.calls.append((method, params))
        self._happened.set()
        if method in self.hang:
            return
        try:
            if self.refusals.get(method):
                raise self.refusals[method].pop(0)
            result = self._answer(link, method, params)
        except GreenroomError as error:
            body: dict[str, Any] = {
                "error": {"code": int(error.code), "message": error.message, "data": to_wire_data(error)}
            }
        else:
            body = {"result": result}
        if method in self.swallow:
            self.swallow.remove(method)
            await link.drop(CloseCode.ABNORMAL)
            return
        with contextlib.suppress(ConnectionError):
            await link.socket.send_str(json.dumps({"jsonrpc": "2.0", "id": request["id"], **body}))
        if method == "session.close" and "result" in body:
            await link.socket.close(code=CloseCode.NORMAL)

    def _answer(self, link: FakeLink, method: str, params: dict[str, Any]) -> dict[str, Any]:
        if method == "ping":
            return {}
        if method == "session.open":
            return self._open(link, params)
        if method == "session.resume":
            return self._resume(link, params)
        if method == "session.close" and link.session is None:
            return self._close_unseen(params)
        session = link.session
        if session is None:
            raise ProtocolError("open or resume first")
        scope = SCOPE_OF_METHOD.get(method)
        if scope is not None and not {scope, "*"} & set(session.scopes):
            raise ScopeMissingError(scope=scope)
        if method.startswith("rooms."):
            return self.rooms.answer(session, method, params)
        handler = getattr(self, "_do_" + method.replace(".", "_"))
        answer: dict[str, Any] = handler(session, params)
        return answer

    def _open(self, link: FakeLink, params: dict[str, Any]) -> dict[str, Any]:
        for session in self.sessions.values():
            if session.open_id == params["openId"]:
                if session.ended is not None:
                    raise SessionEndedError(end_reason=session.ended)
                return self._attach(link, session, [])
        glance = peek(params["token"])
        if glance.expires_at <= time.time():
            raise TokenExpiredError()
        info = params.get("participant", {})
        external_id = info.get("externalId")
        if glance.external_id is not None and external_id not in (None, glance.external_id):
            raise ExternalIdMismatchError()
        external_id = glance.external_id or external_id
        key = participant_id(external_id) if external_id else str(uuid.uuid5(uuid.NAMESPACE_OID, params["openId"]))
        is_new = key not in self.participants
        record = self.participants.setdefault(key, FakeParticipant(key, external_id))
        if is_new or not info.get("ifNew"):
            record.name = info.get("name", record.name)
            record.avatar_url = info.get("avatarUrl", record.avatar_url)
            record.attributes = merge_attributes(record.attributes, info.get("attributes", {})) or {}
        record.presence, record.sessions, record.version = "online", record.sessions + 1, record.version + 1
        number = len(self.sessions) + 1
        session = FakeSession(
            id=f"p{number % 64}-{number:032x}",
            open_id=params["openId"],
            participant=record,
            scopes=_claims(params["token"])["scope"].split(),
            secrets=(params["resumeSecret"], ""),
            expires_at=glance.expires_at,
            status=params.get("status", AVAILABLE),
        )
        self.sessions[session.id] = session
        self._share_status(record)
        return self._attach(link, session, [])

    def _resume(self, link: FakeLink, params: dict[str, Any]) -> dict[str, Any]:
        session = self.sessions.get(params["sessionId"])
        if session is None:
            raise SessionEndedError(code=ErrorCode.STATE_LOST)
        if session.ended is not None:
            raise SessionEndedError(end_reason=session.ended)
        current, previous = session.secrets
        secret, following = params["resumeSecret"], params["nextSecret"]
        if secret != current and not (secret == previous and following == current):
            raise SessionEndedError(code=ErrorCode.RESUME_REFUSED)
        if params["attempt"] <= session.attempt:
            raise SessionEndedError(code=ErrorCode.ATTEMPT_SUPERSEDED)
        session.attempt = params["attempt"]
        session.secrets = (following, secret)
        if params.get("token"):
            session.expires_at = peek(params["token"]).expires_at
            session.scopes = _claims(params["token"])["scope"].split()
        session.generation += 1
        session.watching = {one for one, _ in params.get("watching", [])}
        reply = self._attach(link, session, params.get("watching", []))
        rosters = self.rooms.watch_again(
            session, params.get("watchingRooms", []), bring_rosters=params.get("rosters", False)
        )
        return {**reply, "rosters": rosters}

    def _attach(self, link: FakeLink, session: FakeSession, watching: list[tuple[str, int]]) -> dict[str, Any]:
        old, session.link, link.session = session.link, link, session
        if old is not None and old is not link and not old.socket.closed:
            self._soon(old.drop(CloseCode.SUPERSEDED))
        changed = [self._record(one).wire() for one, version in watching if self._record(one).version != version]
        return {
            "session": {
                "id": session.id,
                "generation": session.generation,
                "grace": GRACE,
                "expiresAt": session.expires_at * 1000,
                "serverTime": int(time.time() * 1000),
                "status": session.status,
            },
            "participant": session.participant.wire(),
            "scopes": session.scopes,
            "capabilities": self.capabilities,
            "changed": changed,
            **self.rooms.welcome(session),
        }

    def _close_unseen(self, params: dict[str, Any]) -> dict[str, Any]:
        session = self.sessions.get(params.get("sessionId", ""))
        if session is not None and session.ended is None:
            if params.get("resumeSecret") != session.secrets[0]:
                raise SessionEndedError(code=ErrorCode.RESUME_REFUSED)
            session.ended = "closed"
            self._left(session)
        return {}

    def notify(self, session: FakeSession, method: str, params: Mapping[str, Any]) -> None:
        """Send a notification to a session's client, if it is connected; after what is being answered now."""
        link = session.link
        if link is not None and not link.socket.closed:
            self._soon(link.try_to_notify(method, params))

    def _soon(self, work: Coroutine[Any, Any, None]) -> None:
        # Not `create_task`: with eager tasks what is to follow a reply would be sent before it.
        task = asyncio.Task(work, loop=asyncio.get_running_loop())
        self._drops.add(task)
        task.add_done_callback(self._drops.discard)

    def _left(self, session: FakeSession) -> None:
        self.rooms.session_ended(session)
        record = session.participant
        record.sessions, record.version = record.sessions - 1, record.version + 1
        record.presence = "online" if record.sessions else "offline"
        self._share_status(record)

    def _share_status(self, record: FakeParticipant) -> None:
        live = [one for one in self.sessions.values() if one.participant is record and one.ended is None]
        record.status = shared_status([one.status for one in live if one.status != AVAILABLE], len(live))

    def _record(self, one: str) -> FakeParticipant:
        return self.participants.get(one) or FakeParticipant(one, version=0)

    # -- methods of an open session --------------------------------------------------------------------------------

    def _do_session_close(self, session: FakeSession, params: dict[str, Any]) -> dict[str, Any]:
        session.ended = "closed"
        self._left(session)
        return {}

    def _do_session_refreshToken(self, session: FakeSession, params: dict[str, Any]) -> dict[str, Any]:
        session.expires_at = peek(params["token"]).expires_at
        session.scopes = _claims(params["token"])["scope"].split()
        self.rooms.scopes_changed(session)
        return {"expiresAt": session.expires_at * 1000, "scopes": session.scopes}

    def _do_session_getParticipant(self, session: FakeSession, params: dict[str, Any]) -> dict[str, Any]:
        return {"participant": session.participant.wire()}

    def _do_session_updateParticipantInfo(self, session: FakeSession, params: dict[str, Any]) -> dict[str, Any]:
        if params["updateId"] in session.updates:
            return session.updates[params["updateId"]]
        record = session.participant
        if params.get("ifRevision") not in (None, record.revision):
            raise RevisionConflictError(participant=record.wire())
        if len(params.get("name") or "") > 256:
            raise IllegalArgumentError("name is longer than 256 characters.")
        before = (record.name, record.avatar_url, record.attributes)
        record.name = params.get("name", record.name)
        record.avatar_url = params.get("avatarUrl", record.avatar_url)
        changes = check_attributes(params.get("attributes") or {})
        record.attributes = merge_attributes(record.attributes, changes) or {}
        if before != (record.name, record.avatar_url, record.attributes):
            record.revision, record.version = record.revision + 1, record.version + 1
        result = {"participant": record.wire()}
        session.updates[params["updateId"]] = result
        return result

    def _do_session_setStatus(self, session: FakeSession, params: dict[str, Any]) -> dict[str, Any]:
        session.status = check_status(params["status"])
        session.participant.version += 1
        self._share_status(session.participant)
        return {"participant": session.participant.wire()}

    def _chosen(self, params: dict[str, Any]) -> list[FakeParticipant]:
        ids = [*params.get("ids", []), *(participant_id(one) for one in params.get("externalIds", []))]
        return [self._record(one) for one in ids]

    def _do_participants_get(self, session: FakeSession, params: dict[str, Any]) -> dict[str, Any]:
        return {"participants": [one.wire() for one in self._chosen(params)]}

    def _do_participants_watch(self, session: FakeSession, params: dict[str, Any]) -> dict[str, Any]:
        chosen = self._chosen(params)
        for one, version in params.get("known", []):
            session.watching.add(one)
            if self._record(one).version != version:
                chosen.append(self._record(one))
        session.watching |= {one.id for one in chosen}
        return {"participants": [one.wire() for one in chosen]}

    def _do_participants_unwatch(self, session: FakeSession, params: dict[str, Any]) -> dict[str, Any]:
        session.watching -= {one.id for one in self._chosen(params)}
        return {}


def _claims(token: str) -> dict[str, Any]:
    segment = token.split(".")[1]
    claims: dict[str, Any] = json.loads(base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4)))
    return claims
