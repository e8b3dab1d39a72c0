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

from benchmarks import environment
from benchmarks.peers import install
from benchmarks.peers.dialects import CentrifugoDialect, SocketIoDialect, WsDialect
from benchmarks.peers.install import CENTRIFUGO, KINDS
from benchmarks.peers.stores import Store
from benchmarks.process import Server, free_port
from benchmarks.world import ISSUER, World
from greenroom.bench.client import Target
from greenroom.bench.dialect import Dialect, GreenroomDialect
from greenroom.bench.minting import mint
from greenroom.tokens import SESSION_SCOPES, KeyRing, SigningKey, mint_client_token

EDDSA, HS256 = "EdDSA", "HS256"
GREENROOM, COMPILED = "greenroom", "greenroom-compiled"
FLOORS = {"floor": "baseline", "raw-floor": "raw_baseline"}
"""Modules, by name."""


@dataclass(frozen=True)
class RunningServer:
    """One server that runs."""

    server: Server
    target: Target
    store: Store | None = None
    others: tuple[Server, ...] = ()
    """Further nodes of the same cluster; their CPU is counted with the first one's."""

    def mint(self, numbers: range) -> None:
        """Have the service mint the tokens of these participants, as an app's backend does before its client opens."""
        ready, target = self.server.ready, self.target
        ids = target.external_ids[numbers.start : numbers.stop]
        minted = asyncio.run(mint(ready["url"], ready["appKey"], ready["appSecret"], ids))
        target.tokens = [*target.tokens[: numbers.start], *minted, *target.tokens[numbers.stop :]]


def python_of(name: str) -> Path | None:
    """The Python that a server of ours runs on; None: the source tree's."""
    return environment.compiled_python() if name == COMPILED else None


@contextmanager
def running(world: World, name: str, alg: str = EDDSA, env: dict[str, str] | None = None) -> Iterator[RunningServer]:
    """Start it, stop it. name: one of FLOORS, `greenroom`, `greenroom-compiled`, or one of the peers."""
    store = Store(world.folder / f"redis-{name}-{alg}") if name in (*KINDS, CENTRIFUGO) else None
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
def cluster(
    world: World, nodes: int, tokens: int, env: dict[str, str] | None = None, *, name: str = GREENROOM,
    alg: str = EDDSA,
) -> Iterator[RunningServer]:  # fmt: skip
    """So many nodes on one Redis, all on the servers' core. Applications live in the engine, so tokens are minted: by a
    node that is stopped then, so that those measured did not make them."""
    store = Store(world.folder / f"redis-{name}-{nodes}-{alg}")
    servers: list[Server] = []
    try:
        # One key for all: signing keys are sealed with it.
        secrets = {
            "GREENROOM_MASTER_KEY": os.urandom(32).hex(), "GREENROOM_ADMIN_TOKEN": os.urandom(16).hex(),
            "GREENROOM_SIGNING_ALG": alg, **(env or {}),
        }  # fmt: skip
        servers.append(world.on_redis(store.url, secrets))
        ready = servers[0].ready
        ids = world.external_ids[:tokens]
        minted = asyncio.run(mint(ready["url"], ready["appKey"], ready["appSecret"], ids))
        servers.pop().stop()
        servers += [world.on_redis(store.url, secrets, python_of(name)) for _ in range(nodes)]
        # Nodes learn of each other at their next renewals.
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
    if name in FLOORS:
        return world.floor(FLOORS[name], alg, world.folder / "public-key" if alg == EDDSA else _secret_in_hex(world))
    if name in (GREENROOM, COMPILED):
        return world.greenroom(env, hs256=alg == HS256, python=python_of(name))
    assert store is not None
    log = world.folder / f"{name}-{alg}.log"
    if name == CENTRIFUGO:
        port = free_port()
        command = install.centrifugo(
            world.folder, port=port, redis=f"127.0.0.1:{store.port}", secret=_secret(world).read_text(), issuer=ISSUER
        )
        return Server(command, log=log, url=f"http://127.0.0.1:{port}")
    key = _public_pem(world) if alg == EDDSA else _secret(world)
    return Server(install.command(name, alg, key, store.port), log=log)


def _dialect(name: str) -> Dialect:
    if name == CENTRIFUGO:
        return CentrifugoDialect()
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


def _secret_in_hex(world: World) -> Path:
    """The same secret, as the floors read keys."""
    path = world.folder / "hs256-secret.hex"
    path.write_text(_secret(world).read_bytes().hex())
    return path


def _hs256_tokens(world: World, name: str) -> list[str]:
    """Greenroom's are minted by its API; a shared secret never leaves it, so others get tokens of the same claims."""
    if name in (GREENROOM, COMPILED):
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


__all__ = ["COMPILED", "EDDSA", "FLOORS", "GREENROOM", "HS256", "RunningServer", "cluster", "running"]
