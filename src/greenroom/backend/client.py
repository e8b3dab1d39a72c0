"""`Backend`: the server API for asyncio, over aiohttp."""

from __future__ import annotations

import asyncio
import time
from base64 import b64encode
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar
from urllib.parse import quote

import msgspec

from greenroom.backend.models import (
    BlockInfo,
    CountsInfo,
    InvitationInfo,
    KickResult,
    RoomInfo,
    ServiceEvent,
    SessionInfo,
)
from greenroom.backend.requests import Page, decoded, error_of, participant_segment, with_query, without_none
from greenroom.errors import GreenroomError, IllegalArgumentError, ServiceUnavailableError, TokenError
from greenroom.messages import WireMember, WireParticipant
from greenroom.model import Member, Participant, RoomGrant, SessionPolicy
from greenroom.sdk.addresses import retry_after_of, service_base

if TYPE_CHECKING:
    import ssl

    import aiohttp

Item = TypeVar("Item")

TIMEOUT = 10.0
"""Seconds for one call, and beyond what a poll for events waits."""
POLL = 20.0
"""Seconds that the service waits for events before it answers with none."""
_TOKEN_LIFE = 1_800
_RENEW_BEFORE = 60.0
_FIRST_DELAY, _LONGEST_DELAY = 0.5, 20.0


class Token(msgspec.Struct, frozen=True):
    """`POST /v1/auth/token` and `POST /v2/client-access-token` (RFC 6749, section 5.1). expires_in: seconds."""

    access_token: str
    expires_in: int
    scope: str = ""


class _Ended(msgspec.Struct, frozen=True):
    ended: tuple[str, ...]


class _Sent(msgspec.Struct, frozen=True):
    number: int


class _PutOut(msgspec.Struct, frozen=True):
    sessions: tuple[str, ...]


class _RoomState(msgspec.Struct, frozen=True):
    state: str


class Backend:
    """The server API of one application.

    url: where the service is. app_key, app_secret: the application's. scopes: of the API token that calls are made
    with; None: all. ssl_context: None verifies against the system's authorities. Proxies come from the environment.

    Every method raises a GreenroomError: TokenInvalidError for a wrong key or secret, ScopeMissingError,
    IllegalArgumentError, NotFoundError, RevisionConflictError, RateLimitedError, ServiceUnavailableError (try again).
    Use it as ``async with Backend(…) as backend``, or call `aclose` at the end.
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
        if not app_key.strip() or not app_secret.strip():
            raise IllegalArgumentError("App key and app secret must not be empty.")
        self._base = service_base(url)
        self._key, self._secret = app_key.strip(), app_secret.strip()
        self._scope = None if scopes is None else " ".join(scopes)
        self._ssl = ssl_context
        self._http: aiohttp.ClientSession | None = None
        self._token = ""
        self._renew_at = 0.0
        self._renewing = asyncio.Lock()

    # -- tokens -------------------------------------------------------------------------------------------------------

    async def client_token(
        self,
        *,
        external_id: str | None = None,
        scopes: Iterable[str] | None = None,
        expires_in: int | None = None,
        policy: SessionPolicy | None = None,
        rooms: Iterable[RoomGrant] | None = None,
    ) -> str:
        """A client access token, for one participant's SDK.

        external_id: the app's own id of the participant; None: anonymous. scopes: session scopes; None: all.
        expires_in: seconds, 1 to 86,400; None: 3,600. policy: narrows the application's; None leaves it.
        rooms: what the token grants in rooms, where the application's rooms.access is ``granted``; None: nothing.
        """
        body = without_none(
            externalId=external_id,
            sessionScope=None if scopes is None else " ".join(scopes),
            expires_in=expires_in,
            sessionPolicy=None if policy is None else msgspec.to_builtins(policy),
            rooms=None if rooms is None else msgspec.to_builtins(tuple(rooms)),
        )
        return (await self._call("POST", "/v2/client-access-token", Token, body)).access_token

    async def revoke(
        self,
        *,
        jti: str | None = None,
        participant_id: str | None = None,
        external_id: str | None = None,
        reason: str = "",
    ) -> None:
        """Revoke one token by its `jti`, or all of a participant so far; their sessions end."""
        body = without_none(jti=jti, participantId=participant_id, externalId=external_id, reason=reason)
        await self._call("POST", "/v1/tokens/revoke", dict, body)

    # -- participants -------------------------------------------------------------------------------------------------

    async def participant(self, participant_id: str | None = None, *, external_id: str | None = None) -> Participant:
        """One participant. Raises NotFoundError for one that is not known."""
        path = "/v1/participants/" + participant_segment(participant_id, external_id)
        return (await self._call("GET", path, WireParticipant)).to_participant()

    async def participants(
        self, presence: Iterable[str] = (), *, search: str | None = None
    ) -> AsyncIterator[Participant]:
        """All participants, page by page. presence: only those ``online``, ``unreachable``, ``offline``. search: only
        those with this in name, external id or id, in upper or lower case."""
        async for one in self._pages("/v1/participants", WireParticipant, presence=list(presence), search=search):
            yield one.to_participant()

    async def update_participant(
        self,
        participant_id: str | None = None,
        *,
        external_id: str | None = None,
        name: str | None = None,
        avatar_url: str | None = None,
        attributes: Mapping[str, str | None] | None = None,
        if_revision: int | None = None,
    ) -> Participant:
        """Change name, avatar and attributes: None leaves as it is, "" clears name and avatar. attributes: merged into
        the stored ones, where None removes one. if_revision: only if this is the present revision; else
        RevisionConflictError."""
        path = "/v1/participants/" + participant_segment(participant_id, external_id)
        headers = {} if if_revision is None else {"If-Match": f'"{if_revision}"'}
        body = without_none(name=name, avatarUrl=avatar_url, attributes=attributes)
        return (await self._call("PATCH", path, WireParticipant, body, headers=headers)).to_participant()

    async def kick(
        self, participant_id: str | None = None, *, external_id: str | None = None, reason: str = ""
    ) -> KickResult:
        """End a participant's sessions and revoke the tokens issued so far. A new token lets them in again."""
        path = f"/v1/participants/{participant_segment(participant_id, external_id)}/kick"
        return await self._call("POST", path, KickResult, {"reason": reason})

    async def block(
        self,
        participant_id: str | None = None,
        *,
        external_id: str | None = None,
        seconds: float | None = None,
        reason: str = "",
    ) -> KickResult:
        """Kick a participant and keep them out. seconds: None for good."""
        path = f"/v1/participants/{participant_segment(participant_id, external_id)}/kick"
        term = {} if seconds is None else {"seconds": int(seconds)}
        return await self._call("POST", path, KickResult, {"reason": reason, "block": term})

    async def unblock(self, participant_id: str | None = None, *, external_id: str | None = None) -> None:
        """Lift a block. Earlier tokens stay revoked. Raises NotFoundError where there is none."""
        await self._call("DELETE", "/v1/blocks/" + participant_segment(participant_id, external_id), dict)

    async def blocks(self) -> AsyncIterator[BlockInfo]:
        """Blocks that have not ended."""
        async for one in self._pages("/v1/blocks", BlockInfo):
            yield one

    async def erase(self, participant_id: str | None = None, *, external_id: str | None = None) -> tuple[str, ...]:
        """End a participant's sessions and remove everything that names the participant. Returns the ids of the
        sessions that ended."""
        path = "/v1/participants/" + participant_segment(participant_id, external_id)
        return (await self._call("DELETE", path, _Ended)).ended

    async def counts(self) -> CountsInfo:
        """How many participants and sessions there are."""
        return await self._call("GET", "/v1/counts", CountsInfo)

    # -- sessions -----------------------------------------------------------------------------------------------------

    async def session(self, session_id: str) -> SessionInfo:
        """One session, also one that ended within the last day. Raises NotFoundError."""
        return await self._call("GET", f"/v1/sessions/{_segment(session_id)}", SessionInfo)

    async def sessions(
        self, participant_id: str | None = None, *, external_id: str | None = None, state: str | None = None
    ) -> AsyncIterator[SessionInfo]:
        """Sessions that have not ended: all, or a participant's. state: ``attached`` or ``detached`` ones only;
        ``closed``: those that have ended within the last day, the latest 64 of a participant, in no order."""
        query = {"participantId": participant_id, "externalId": external_id, "state": state}
        async for one in self._pages("/v1/sessions", SessionInfo, **query):
            yield one

    async def end_session(self, session_id: str, reason: str = "") -> SessionInfo:
        """End one session. Its token stays valid: to keep the participant out, kick or block them."""
        path = with_query(f"/v1/sessions/{_segment(session_id)}", {"reason": reason or None})
        return await self._call("DELETE", path, SessionInfo)

    # -- rooms --------------------------------------------------------------------------------------------------------

    async def rooms(
        self, search: str | None = None, *, participant_id: str | None = None, external_id: str | None = None
    ) -> AsyncIterator[RoomInfo]:
        """Open rooms by name. search: only those with this in the name, upper or lower case. participant_id,
        external_id: only those in which that participant is; one of the two."""
        query = {"search": search, "participantId": participant_id, "externalId": external_id}
        async for one in self._pages("/v1/rooms", RoomInfo, **query):
            yield one

    async def room(self, name: str) -> RoomInfo:
        """One open room. Raises NotFoundError."""
        return await self._call("GET", _room(name), RoomInfo)

    async def open_room(self, name: str, *, ttl: float = 0.0, detailed: bool = True) -> RoomInfo:
        """Open a room, empty; one that is open stays as it is. ttl: how many seconds it outlasts its last member, up to
        86,400; an empty room is kept for 60 s at least. detailed: False: its changes carry only the count."""
        return await self._call("POST", _room(name), RoomInfo, {"ttl": ttl, "detailed": detailed})

    async def room_members(self, name: str) -> AsyncIterator[Member]:
        """Who is in a room, page by page; nobody where it is not open."""
        async for one in self._pages(_room(name, "members"), WireMember):
            yield one.to_member()

    async def send_to_room(
        self,
        name: str,
        message: Any,
        *,
        to: Iterable[str] = (),
        to_external_ids: Iterable[str] = (),
        message_id: str | None = None,
    ) -> int:
        """Send a message to the members who are connected: its number in the room. It is not stored.

        message: what JSON can carry, 16 KiB. to, to_external_ids: participants; neither: all members. message_id: a
        repeat with the same id is sent once; None: each call is a message.
        """
        body = without_none(messageId=message_id, to=list(to), toExternalIds=list(to_external_ids))
        body["message"] = message  # which may be None
        return (await self._call("POST", _room(name, "messages"), _Sent, body)).number

    async def kick_from_room(
        self, name: str, participant_id: str | None = None, *, external_id: str | None = None, seconds: float = 60.0
    ) -> tuple[str, ...]:
        """Kick a participant out of a room, and keep them out for so many seconds. Its sessions stay open: the ids of
        those that were in the room."""
        body = without_none(participantId=participant_id, externalId=external_id, seconds=seconds)
        return (await self._call("POST", _room(name, "kick"), _PutOut, body)).sessions

    async def invite_to_room(
        self,
        name: str,
        participant_ids: Iterable[str] = (),
        *,
        external_ids: Iterable[str] = (),
        text: str = "",
        ttl: float | None = None,
    ) -> list[InvitationInfo]:
        """Invite participants, online or not, 100 at once. text: for them, 1 KiB. ttl: seconds for which it is kept, up
        to 86,400; None: the application's."""
        ids = {"participantIds": list(participant_ids), "externalIds": list(external_ids)}
        page = await self._call("POST", _room(name, "invitations"), Page, without_none(text=text, ttl=ttl, **ids))
        return decoded(bytes(page.items), list[InvitationInfo])

    async def end_room(self, name: str) -> bool:
        """End a room: it refuses joins, and its members are removed. Returns whether it was open."""
        return (await self._call("DELETE", _room(name), _RoomState)).state == "ending"

    # -- events -------------------------------------------------------------------------------------------------------

    async def events(
        self, after: str | None = None, *, types: Iterable[str] = (), follow: bool = True
    ) -> AsyncIterator[tuple[str, ServiceEvent]]:
        """Events, in order for each participant, as pairs of a cursor and an event.

        after: a stored cursor: continues after it; ``now``: only new ones; None: from the oldest stored one (72 h).
        types: like ``session.ended`` or ``session.*``; none: all. follow: keep waiting for more; False: end when there
        are no more. While the service cannot be reached the iterator waits and tries again (0.5 s to 20 s); other
        errors are raised. A cursor belongs to a page: after a crash, events after the stored cursor come again with
        their ids.
        """
        wanted, delay = list(types), _FIRST_DELAY
        while True:
            query = {"after": after, "type": wanted, "limit": 500, "wait": POLL if follow else None}
            try:
                page = await self._call("GET", with_query("/v1/events", query), Page)
            except ServiceUnavailableError as error:
                if not follow:
                    raise
                await asyncio.sleep(delay if error.retry_after is None else max(delay, error.retry_after))
                delay = min(delay * 2, _LONGEST_DELAY)
                continue
            delay = _FIRST_DELAY
            items = decoded(bytes(page.items), list[ServiceEvent])
            before, after = after, page.cursor
            for number, event in enumerate(items):
                # The page's cursor is given with its last event: whoever keeps it has seen all before.
                yield (after if number == len(items) - 1 else before) or "", event
            if not follow and after == before:
                return

    # -- life ---------------------------------------------------------------------------------------------------------

    async def aclose(self) -> None:
        """Close connections. A later call opens new ones."""
        http, self._http = self._http, None
        if http is not None:
            await http.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    # -- calls --------------------------------------------------------------------------------------------------------

    async def _pages(self, path: str, kind: type[Item], **query: Any) -> AsyncIterator[Item]:
        cursor: str | None = None
        while True:
            page = await self._call("GET", with_query(path, {**query, "cursor": cursor, "limit": 500}), Page)
            for item in decoded(bytes(page.items), list[kind]):  # type: ignore[valid-type]
                yield item
            cursor = page.cursor
            if cursor is None:
                return

    async def _call(
        self, method: str, path: str, kind: type[Item], body: Any = None, *, headers: dict[str, str] | None = None
    ) -> Item:
        """A call with an API token; a token that is refused is replaced once (it may have been revoked)."""
        data = None if body is None else msgspec.json.encode(body)
        given = {"Content-Type": "application/json", **(headers or {})} if data else dict(headers or {})
        for is_last in (False, True):
            token = await self._api_token()
            try:
                raw = await self._send(method, path, data, given | {"Authorization": f"Bearer {token}"})
            except TokenError as error:
                if is_last or error.http_status != 401:
                    raise
                if self._token == token:
                    self._token = ""
            else:
                return decoded(raw, kind)
        raise AssertionError("unreachable")

    async def _api_token(self) -> str:
        async with self._renewing:
            if not self._token or time.monotonic() >= self._renew_at:
                fields = without_none(grant_type="client_credentials", expires_in=str(_TOKEN_LIFE), scope=self._scope)
                headers = {
                    "Authorization": "Basic " + b64encode(f"{self._key}:{self._secret}".encode()).decode(),
                    "Content-Type": "application/x-www-form-urlencoded",
                }
                asked = time.monotonic()
                raw = await self._send("POST", "/v1/auth/token", with_query("", fields)[1:].encode(), headers)
                found = decoded(raw, Token)
                self._token = found.access_token
                self._renew_at = asked + max(found.expires_in - _RENEW_BEFORE, found.expires_in / 2)
            return self._token

    async def _send(self, method: str, path: str, data: bytes | None, headers: dict[str, str]) -> bytes:
        import aiohttp
        from yarl import URL

        if self._http is None or self._http.closed:
            self._http = aiohttp.ClientSession(trust_env=True)
        options: dict[str, Any] = {} if self._ssl is None else {"ssl": self._ssl}
        try:
            async with self._http.request(
                method,
                URL(self._base + path, encoded=True),
                data=data,
                headers=headers,
                timeout=aiohttp.ClientTimeout(total=TIMEOUT + POLL),
                allow_redirects=False,
                **options,
            ) as reply:
                raw = await reply.read()
                if reply.status < 300:
                    return raw
                raise error_of(reply.status, raw, retry_after_of(reply.headers.get("Retry-After"), time.time()))
        except GreenroomError:
            raise
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            detail = getattr(error, "strerror", None) or str(error) or type(error).__name__
            raise ServiceUnavailableError(
                f"{self._base} cannot be reached: {detail}.", hint="Check the URL, and that the service runs."
            ) from error


def _segment(text: str, what: str = "session's id") -> str:
    if not text:
        raise IllegalArgumentError(f"The {what} is empty.")
    return quote(text, safe="")


def _room(name: str, below: str = "") -> str:
    path = "/v1/rooms/" + _segment(name, "room's name")
    return f"{path}/{below}" if below else path
