"""Many participants in an engine, without as many connections."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from greenroom.core.requests import OpenRequest, TokenFacts
from greenroom.engines.base import NodeBeat, Registry
from greenroom.model import make_session_id, partition_of
from tests.server.harness import Tenant

AT_ONCE = 200
NODE = NodeBeat(node="crowd", boot="crowd", lease="crowd")
"""Another node, which holds all of them."""
FIRST = ("Anna", "Ben", "Chloé", "Dmitri", "Esra", "Farid", "Grace", "Hiroshi", "Jörg", "Ngozi", "Ola", "Zoë")
LAST = ("Karlsson", "Okafor", "Dubois", "Volkov", "Yılmaz", "Haddad", "Lin", "Tanaka", "Adeyemi", "Nordmann", "Ek")


def name_of(number: int) -> str:
    """What the participant with this number is called."""
    return f"{FIRST[number % len(FIRST)]} {LAST[number // len(FIRST) % len(LAST)]} {number}"


@asynccontextmanager
async def crowd(tenant: Tenant, count: int) -> AsyncIterator[None]:
    """A session each of `user-0`, `user-1`, …"""
    registry = tenant.running.service.engine.registry
    await registry.beat(NODE)
    living = asyncio.create_task(_live(registry))
    now = int(time.time())
    try:
        for start in range(0, count, AT_ONCE):
            numbers = range(start, min(start + AT_ONCE, count))
            await asyncio.gather(*(_open(registry, _request(tenant, number, now)) for number in numbers))
        yield
    finally:
        living.cancel()
        await asyncio.gather(living, return_exceptions=True)


async def _live(registry: Registry) -> None:
    while True:
        await asyncio.sleep(2)
        await registry.beat(NODE)


async def _open(registry: Registry, request: OpenRequest) -> None:
    await registry.open(request)


def _request(tenant: Tenant, number: int, now: int) -> OpenRequest:
    external_id = f"user-{number}"
    participant_id = tenant.participant_id(external_id)
    return OpenRequest(
        app=tenant.key,
        participant_id=participant_id,
        external_id=external_id,
        open_id=os.urandom(16).hex(),
        secret_hash=os.urandom(32),
        session_id=make_session_id(partition_of(tenant.key, participant_id), os.urandom(16)),
        token=TokenFacts(jti=os.urandom(8).hex(), issued_at=now, expires_at=now + 3600, scopes=()),
        node=NODE.node,
        lease=NODE.lease,
        name=name_of(number),
        device_name="Crowd",
    )
