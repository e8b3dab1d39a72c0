"""Servers that can be measured, by name: started fresh for each run, with the store and the tokens they need."""

from __future__ import annotations

import asyncio
import os
import time
import uuid
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from benchmarks.peers.dialects import SocketIoDialect, WsDialect
from benchmarks.peers.install import KINDS, command
from benchmarks.peers.stores import Store
from benchmarks.process import Server
from benchmarks.world import ISSUER, World
from greenroom.bench.client import Target
from greenroom.bench.dialect import Dialect, GreenroomDialect
from greenroom.bench.minting import mint
from greenroom.tokens import SESSION_SCOPES, KeyRing, SigningKey, mint_client_token

EDDSA, HS256 = "EdDSA", "HS256"


@dataclass(frozen=True)
class RunningServer:
    """One server that runs."""

    server: Server
    target: Target
    store: Store | None = None
    others: tuple[Server, ...] = ()
    """Further nodes of the same cluster; their CPU is counted with the first one's."""


@contextmanager
def running(world: World, name: str, alg: str = EDDSA, env: dict[str, str] | None = None) -> Iterator[RunningServer]:
    """Start it, stop it. name: `floor`, `greenroom`, or one of the peers."""
    store = Store(world.folder / "redis") if name in KINDS else None
    server: Server | None = None
    try:
        server = _start(world, name, alg, store, env or {})
        tokens = world.tokens if alg == EDDSA else _hs256_tokens(world, name)
        yield RunningServer(server, world.target(server, _dialect(name), tokens), store)
    finally:
        if server is not None:
            server.stop()
        if store is not None:
            store.stop()


@contextmanager
def cluster(world: World, nodes: int, tokens: int, env: dict[str, str] | None = None) -> Iterator[RunningServer]:
    """So many nodes on one Redis, all on the servers' core. Applications live in the engine, so tokens are minted."""
    store = Store(world.folder / "redis")
    servers: list[Server] = []
    try:
        # One key for all: signing keys are sealed with it.
        secrets = {"GREENROOM_MASTER_KEY": os.urandom(32).hex(), "GREENROOM_ADMIN_TOKEN": os.urandom(16).hex()}
        servers += [world.on_redis(store.url, {**secrets, **(env or {})}) for _ in range(nodes)]
        ready = servers[0].ready
        ids = world.external_ids[:tokens]
        minted = asyncio.run(mint(ready["url"], ready["appKey"], ready["appSecret"], ids))
        # A node hears of an application that another made with its next beat at the latest.
        time.sleep(4.0 if nodes > 1 else 0.0)
        target = world.target(servers[0], GreenroomDialect(), minted)
        ports = tuple(int(one.ready["url"].rpartition(":")[2]) for one in servers[1:])
        target = replace(target, more_ports=ports)
        yield RunningServer(servers[0], target, store, tuple(servers[1:]))
    finally:
        for server in servers:
            server.stop()
        store.stop()


def _start(world: World, name: str, alg: str, store: Store | None, env: dict[str, str]) -> Server:
    if name == "floor":
        return world.floor()
    if name == "greenroom":
        return world.greenroom(env, hs256=alg == HS256)
    assert store is not None
    key = _public_pem(world) if alg == EDDSA else _secret(world)
    log = world.folder / f"{name}-{alg}.log"
    return Server(command(name, alg, key, store.port), log=log)


def _dialect(name: str) -> Dialect:
    if name == "ws":
        return WsDialect()
    return SocketIoDialect() if name in KINDS else GreenroomDialect()


def _public_pem(world: World) -> Path:
    """The service's public key, as peers read it."""
    path = world.folder / "public-key.pem"
    raw = bytes.fromhex((world.folder / "public-key").read_text())
    path.write_bytes(
        Ed25519PublicKey.from_public_bytes(raw).public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    )
    return path


def _secret(world: World) -> Path:
    """A shared secret for peers, made once for each bench."""
    path = world.folder / "hs256-secret"
    if not path.exists():
        path.write_text(os.urandom(32).hex())
    return path


def _hs256_tokens(world: World, name: str) -> list[str]:
    """Greenroom's are minted by its API; a shared secret never leaves it, so peers get tokens of the same claims."""
    if name not in KINDS:
        return world.hs256_tokens
    if not world.peer_tokens:
        text = _secret(world).read_text().encode()
        material = urlsafe_b64encode(text).rstrip(b"=").decode()
        key = SigningKey.from_jwk({"kty": "oct", "alg": HS256, "kid": "bench", "k": material})
        ring = KeyRing(key)
        world.peer_tokens = [
            mint_client_token(
                ring, issuer=ISSUER, app="bench", version=2, scopes=SESSION_SCOPES, now=time.time(),
                random_bytes=os.urandom, participant_id=str(uuid.uuid5(uuid.NAMESPACE_URL, external_id)),
                external_id=external_id, life=86_400,
            ).token
            for external_id in world.external_ids[: world.hs256]
        ]  # fmt: skip
    return world.peer_tokens


__all__ = ["EDDSA", "HS256", "RunningServer", "cluster", "running"]
