"""Servers that can be measured, by name: started fresh for each run, with the store and the tokens they need."""

from __future__ import annotations

import os
import time
import uuid
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
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
from greenroom.tokens import SESSION_SCOPES, KeyRing, SigningKey, mint_client_token

EDDSA, HS256 = "EdDSA", "HS256"


@dataclass(frozen=True)
class Subject:
    """One server that runs."""

    server: Server
    target: Target
    store: Store | None = None


@contextmanager
def running(world: World, name: str, alg: str = EDDSA, env: dict[str, str] | None = None) -> Iterator[Subject]:
    """Start it, stop it. name: `floor`, `greenroom`, `greenroom-redis`, or one of the peers."""
    needs_store = name in KINDS or name == "greenroom-redis"
    store = Store(world.folder / "redis") if needs_store else None
    server: Server | None = None
    try:
        server = _start(world, name, alg, store, env or {})
        tokens = world.tokens if alg == EDDSA else _hs256_tokens(world, name)
        yield Subject(server, world.target(server, _dialect(name), tokens), store)
    finally:
        if server is not None:
            server.stop()
        if store is not None:
            store.stop()


def _start(world: World, name: str, alg: str, store: Store | None, env: dict[str, str]) -> Server:
    if name == "floor":
        return world.floor()
    if name == "greenroom":
        return world.greenroom(env, hs256=alg == HS256)
    assert store is not None
    if name == "greenroom-redis":
        return world.on_redis(store.url, env)
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


__all__ = ["EDDSA", "HS256", "Subject", "running"]
