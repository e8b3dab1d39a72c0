"""A session service on python-socketio (AsyncServer, AsyncRedisManager) and uvicorn, as its documentation recommends.

usage: python service.py ALG KEYFILE REDISPORT
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path
from typing import Any

import jwt
import redis.asyncio
import socketio
import uvicorn
from cryptography.hazmat.primitives.serialization import load_pem_public_key

ALG, KEY_FILE, REDIS_PORT = sys.argv[1:4]
URL = f"redis://127.0.0.1:{REDIS_PORT}/0"
KEY: Any = Path(KEY_FILE).read_text()
if ALG == "EdDSA":
    KEY = load_pem_public_key(KEY.encode())

store = redis.asyncio.Redis.from_url(URL, protocol=3)
sio = socketio.AsyncServer(
    async_mode="asgi",
    client_manager=socketio.AsyncRedisManager(URL),
    transports=["websocket"],
    http_compression=False,
    max_http_buffer_size=32_768,
)
claims_of: dict[str, dict[str, Any]] = {}
rooms_of: dict[str, set[str]] = {}


def presence(claims: dict[str, Any], state: str, sessions: int) -> dict[str, Any]:
    """The record that watchers get."""
    return {"externalId": claims["xid"], "id": claims["sub"], "presence": state, "sessions": sessions}


def check(token: str) -> dict[str, Any]:
    """The claims of a good token. Raises jwt.InvalidTokenError."""
    return jwt.decode(
        token, KEY, algorithms=[ALG], issuer="https://bench.example", audience="greenroom:session",
        options={"require": ["iss", "aud", "sub", "exp", "iat", "jti"]},
    )  # fmt: skip


@sio.event
async def connect(sid: str, _environ: dict[str, Any], auth: dict[str, str]) -> None:
    """Check the token, store the session, publish presence."""
    try:
        claims = check(auth["token"])
    except jwt.InvalidTokenError as error:
        raise socketio.exceptions.ConnectionRefusedError(str(error)) from None
    person = f"p:{claims['sub']}"
    async with store.pipeline(transaction=True) as batch:
        session = {"participant": claims["sub"], "openedAt": int(time.time() * 1000), "expiresAt": claims["exp"]}
        batch.hset(f"s:{sid}", mapping=session)
        batch.hset(person, "externalId", claims["xid"])
        batch.hincrby(person, "version", 1)
        batch.sadd(f"{person}:sessions", sid)
        batch.scard(f"{person}:sessions")
        replies = await batch.execute()
    claims_of[sid] = claims
    await sio.emit("changed", presence(claims, "online", replies[4]), room=f"watch:{claims['xid']}")


@sio.event
async def disconnect(sid: str, _reason: str = "") -> None:
    """Remove the session from the store, publish presence."""
    for room in rooms_of.pop(sid, ()):
        await _left(sid, room)
    claims = claims_of.pop(sid, None)
    if claims is None:
        return
    person = f"p:{claims['sub']}"
    async with store.pipeline(transaction=True) as batch:
        batch.delete(f"s:{sid}")
        batch.hincrby(person, "version", 1)
        batch.srem(f"{person}:sessions", sid)
        batch.scard(f"{person}:sessions")
        replies = await batch.execute()
    await sio.emit("changed", presence(claims, "offline", replies[3]), room=f"watch:{claims['xid']}")


@sio.event
async def echo(_sid: str) -> None:
    """Acknowledged, no more."""


@sio.event
async def watch(sid: str, ids: list[str]) -> None:
    """Rooms are who watches whom."""
    for one in ids:
        await sio.enter_room(sid, f"watch:{one}")


@sio.event
async def rename(sid: str, name: str) -> None:
    """Store the name, notify the watchers."""
    claims = claims_of[sid]
    person = f"p:{claims['sub']}"
    async with store.pipeline(transaction=True) as batch:
        batch.hset(person, "name", name)
        batch.hincrby(person, "version", 1)
        replies = await batch.execute()
    changed = {"externalId": claims["xid"], "id": claims["sub"], "name": name, "version": replies[1]}
    await sio.emit("changed", changed, room=f"watch:{claims['xid']}")


@sio.event
async def join(sid: str, room: str) -> dict[str, Any]:
    """The roster is a hash; who joins gets all of it."""
    claims = claims_of[sid]
    async with store.pipeline(transaction=True) as batch:
        batch.hset(f"r:{room}", claims["sub"], claims["xid"])
        batch.hgetall(f"r:{room}")
        replies = await batch.execute()
    rooms_of.setdefault(sid, set()).add(room)
    joined = {"room": room, "id": claims["sub"], "externalId": claims["xid"]}
    await sio.emit("joined", joined, room=f"room:{room}")
    await sio.enter_room(sid, f"room:{room}")
    return {
        "room": room,
        "members": [{"id": one.decode(), "externalId": xid.decode()} for one, xid in replies[1].items()],
    }


@sio.event
async def leave(sid: str, room: str) -> None:
    """Remove from the roster, and notify the remaining members."""
    await sio.leave_room(sid, f"room:{room}")
    if room in rooms_of.get(sid, ()):
        rooms_of[sid].discard(room)
        await _left(sid, room)


async def _left(sid: str, room: str) -> None:
    claims = claims_of[sid]
    await store.hdel(f"r:{room}", claims["sub"])
    await sio.emit("left", {"room": room, "id": claims["sub"]}, room=f"room:{room}")


@sio.event
async def say(sid: str, room: str, message: str) -> None:
    """To all others in the room."""
    sent = {"room": room, "from": claims_of[sid]["sub"], "message": message}
    await sio.emit("message", sent, room=f"room:{room}", skip_sid=sid)


class _Server(uvicorn.Server):
    async def startup(self, sockets: Any = None) -> None:
        await super().startup(sockets)
        port = self.servers[0].sockets[0].getsockname()[1]
        print(json.dumps({"url": f"http://127.0.0.1:{port}"}), flush=True)


def main() -> None:
    """Serve on a free port until SIGTERM."""
    config = uvicorn.Config(
        socketio.ASGIApp(sio), host="127.0.0.1", port=0, loop="uvloop", backlog=4096, log_level="error",
        access_log=False, ws_per_message_deflate=False,
    )  # fmt: skip
    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_Server(config).serve())


if __name__ == "__main__":
    main()
