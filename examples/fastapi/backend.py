"""The backend of an app: issues tokens, and knows who is online.

    pip install -r requirements.txt
    export GREENROOM_URL=http://127.0.0.1:7465 GREENROOM_APP_KEY=… GREENROOM_APP_SECRET=…
    uvicorn backend:app --port 8000

A real app checks a password or a cookie before it issues a token. This one trusts whoever asks:
it is an example, and stays on your machine.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import time
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
from fastapi import FastAPI, HTTPException, Request
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, Field
from standardwebhooks import Webhook, WebhookVerificationError

GREENROOM_URL = os.environ.get("GREENROOM_URL", "http://127.0.0.1:7465").rstrip("/")
SCOPES = "comms:client_access_token:create participants:read events:read"

log = logging.getLogger("uvicorn.error")


class Greenroom:
    """The service's HTTP API, with an API token that is renewed before it ends."""

    def __init__(self, http: aiohttp.ClientSession, key: str, secret: str) -> None:
        self._http = http
        self._basic = {"Authorization": "Basic " + b64encode(f"{key}:{secret}".encode()).decode()}
        self._token = ""
        self._good_until = 0.0

    async def call(self, method: str, path: str, **options: Any) -> Any:
        """A call of the API; its answer. The service's error text reaches the log, not the browser."""
        headers = {"Authorization": f"Bearer {await self._api_token()}"}
        async with self._http.request(method, GREENROOM_URL + path, headers=headers, **options) as reply:
            body = await reply.json()
            if reply.status >= 400:
                raise HTTPException(502, f"Greenroom: {body['error_reason']}")
            return body

    async def _api_token(self) -> str:
        if time.monotonic() > self._good_until:
            form = {"grant_type": "client_credentials", "scope": SCOPES}
            async with self._http.post(f"{GREENROOM_URL}/v1/auth/token", data=form, headers=self._basic) as reply:
                granted = await reply.json()
                if reply.status >= 400:
                    raise HTTPException(502, f"Greenroom: {granted['error_description']}")
            self._token = granted["access_token"]
            self._good_until = time.monotonic() + granted["expires_in"] / 2
        return self._token


class Online:
    """Who is online, kept up to date by events, without polling; browsers listen to `changes`."""

    def __init__(self) -> None:
        self.people: dict[str, dict[str, Any]] = {}
        self._listeners: set[asyncio.Queue[None]] = set()

    async def follow(self, greenroom: Greenroom) -> None:
        """Until cancelled: first a cursor, then who is online, then everything since the cursor.

        In this order nothing is missed; what comes twice does no harm, because only a newer version counts.
        """
        while True:
            try:
                cursor = (await greenroom.call("GET", "/v1/events", params={"after": "now"}))["cursor"]
                await self._read(greenroom)
                while True:
                    asked = {"after": cursor, "wait": "25", "type": "participant.*", "limit": "1000"}
                    page = await greenroom.call("GET", "/v1/events", params=asked)
                    cursor = page["cursor"]
                    for event in page["items"]:
                        self.note(event)
                    if any(event["type"] in ("gap", "partition.reset") for event in page["items"]):
                        break  # events were lost: read again
            except (aiohttp.ClientError, TimeoutError, HTTPException) as error:
                log.warning("Nobody is known to be online for now, asking again: %s", error)
                await asyncio.sleep(2)

    async def _read(self, greenroom: Greenroom) -> None:
        people: dict[str, dict[str, Any]] = {}
        asked = [("presence", "online"), ("presence", "unreachable"), ("limit", "1000")]
        cursor: str | None = None
        while True:
            more = [] if cursor is None else [("cursor", cursor)]
            page = await greenroom.call("GET", "/v1/participants", params=asked + more)
            people |= {one["id"]: one for one in page["items"]}
            cursor = page["cursor"]
            if cursor is None:
                break
        self.people = people
        self._tell()

    def note(self, event: dict[str, Any]) -> None:
        """An event about a participant, from the stream or from a webhook."""
        if not event["type"].startswith("participant."):
            return
        known = self.people.get(event["participantId"])
        received = event["data"]
        if known is not None and received["version"] <= known["version"]:
            return
        if event["type"] == "participant.offline":
            self.people.pop(event["participantId"], None)
        else:
            presence = event["type"].removeprefix("participant.")
            if presence == "updated":
                presence = "online" if known is None else known["presence"]
            record = {**received, "id": event["participantId"], "presence": presence}
            if received["sessions"]:
                self.people[event["participantId"]] = record
        self._tell()

    def shown(self) -> list[dict[str, Any]]:
        """Who is online, by name. Only what everybody may see."""
        people = [
            {name: one.get(name) for name in ("id", "externalId", "name", "avatarUrl", "presence")}
            for one in self.people.values()
        ]
        return sorted(people, key=lambda one: (one["name"] or "", one["id"]))

    async def changes(self) -> AsyncIterator[list[dict[str, Any]]]:
        """The list now, and again after each change."""
        queue: asyncio.Queue[None] = asyncio.Queue(1)
        self._listeners.add(queue)
        try:
            while True:
                yield self.shown()
                await queue.get()
        finally:
            self._listeners.discard(queue)

    def _tell(self) -> None:
        for queue in self._listeners:
            if queue.empty():
                queue.put_nowait(None)


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    key, secret = os.environ.get("GREENROOM_APP_KEY"), os.environ.get("GREENROOM_APP_SECRET")
    if not key or not secret:
        raise RuntimeError("GREENROOM_APP_KEY and GREENROOM_APP_SECRET are not set: see `greenroom apps create`.")
    async with aiohttp.ClientSession() as http:
        app.state.greenroom = Greenroom(http, key, secret)
        app.state.online = Online()
        following = asyncio.create_task(app.state.online.follow(app.state.greenroom))
        yield
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)


app = FastAPI(title="Who is online", lifespan=lifespan)
# The page of the example is served from another port.
app.add_middleware(CORSMiddleware, allow_origins=["*"], allow_methods=["GET", "POST"], allow_headers=["Content-Type"])


class SignIn(BaseModel):
    """Who someone says they are."""

    externalId: str = Field(min_length=1, max_length=200)
    name: str = Field(default="", max_length=256)


@app.post("/token")
async def token(body: SignIn) -> dict[str, str]:
    """A client access token for one participant, and where to use it. `name` is not in the token: the SDK gives it to
    `open`."""
    asked = {"externalId": body.externalId, "sessionScope": "notifications:set session:update"}
    granted = await app.state.greenroom.call("POST", "/v2/client-access-token", json=asked)
    return {"token": granted["access_token"], "url": GREENROOM_URL}


@app.get("/who")
async def who() -> list[dict[str, Any]]:
    """Who is online."""
    people: list[dict[str, Any]] = app.state.online.shown()
    return people


@app.get("/who/live")
async def who_live() -> StreamingResponse:
    """The same, and again after each change: server-sent events, for `new EventSource("/who/live")`."""

    async def stream() -> AsyncIterator[str]:
        async for people in app.state.online.changes():
            yield f"data: {json.dumps(people)}\n\n"

    return StreamingResponse(stream(), media_type="text/event-stream", headers={"Cache-Control": "no-store"})


@app.post("/hooks/greenroom")
async def hook(request: Request) -> dict[str, str]:
    """The same events as webhooks, for backends that do not run all the time. Anything but 2xx is sent again."""
    secret = os.environ.get("GREENROOM_WEBHOOK_SECRET")
    if not secret:
        raise HTTPException(404, "GREENROOM_WEBHOOK_SECRET is not set.")
    try:
        event = Webhook(secret).verify(await request.body(), dict(request.headers))
    except WebhookVerificationError:
        raise HTTPException(400, "The signature is wrong.") from None
    app.state.online.note(event)
    return {}
