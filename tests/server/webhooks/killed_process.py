"""A process that makes events and delivers them until it is killed.

usage: killed_process.py DATA_DIR RECEIVER_URL NAME     NAME `drain` makes no events
"""

from __future__ import annotations

import asyncio
import os
import sys
import time

from greenroom.core.requests import OpenRequest, TokenFacts, UpdateRequest
from greenroom.engines.base import NodeBeat
from greenroom.engines.embedded import EmbeddedEngine
from greenroom.model import WebhookEndpoint, make_session_id, partition_of
from greenroom.server.tenants.applications import Tenants
from greenroom.server.webhooks import signing
from greenroom.server.webhooks.dispatcher import WebhookDispatcher
from greenroom.server.webhooks.sending import Sender
from greenroom.server.wire.addresses import parse_networks

PEOPLE = 100


async def main(data: str, url: str, name: str) -> None:
    engine = EmbeddedEngine(data, commit_window=0.0)
    await engine.start()
    tenants = Tenants(engine.directory, master_key=bytes(32), clock=time.time, random_bytes=os.urandom)
    await tenants.load()
    if not tenants.applications:
        await tenants.create_application("killed")
    (app,) = tenants.applications
    if not app.webhooks:
        await add_endpoint(tenants, app.key, url)
    sender = Sender(allowed=parse_networks(["127.0.0.0/8"]), allow_http=True)
    dispatcher = WebhookDispatcher(engine, tenants, sender, node="n", announce=nothing)
    running = asyncio.create_task(dispatcher.run())
    if name != "drain":
        await make_events(engine, app.key, name)
    await running


async def add_endpoint(tenants: Tenants, app_key: str, url: str) -> None:
    import msgspec

    secret = signing.new_secret(os.urandom, asymmetric=False)
    endpoint = WebhookEndpoint(
        id="wh_1", url=url, sealed_secrets=(signing.seal_secret(tenants.secrets, app_key, "wh_1", secret),)
    )
    await tenants.change(app_key, lambda app: msgspec.structs.replace(app, webhooks=(endpoint,)))


async def make_events(engine: EmbeddedEngine, app_key: str, name: str) -> None:
    await engine.registry.beat(NodeBeat(node="n", boot=name, lease=name))
    # Many: an update of a participant that follows another one at once makes no event of its own.
    people = [f"p{name}-{number}" for number in range(PEOPLE)]
    for who in people:
        await engine.registry.open(
            OpenRequest(
                app=app_key,
                participant_id=who,
                external_id=who,
                open_id=who,
                secret_hash=b"x" * 32,
                session_id=make_session_id(partition_of(app_key, who), os.urandom(16)),
                node="n",
                lease=name,
                token=TokenFacts(jti=name, issued_at=int(time.time()), expires_at=int(time.time()) + 3600),
            )
        )
    cursor = await engine.outbox.newest(app_key)
    for number in range(100_000):
        await engine.registry.update_participant(
            UpdateRequest(app=app_key, participant_id=people[number % PEOPLE], name=f"{name} {number}")
        )
        page = await engine.outbox.read(app_key, cursor)
        cursor = page.cursor
        for event in page.items:
            print(event.id, flush=True)  # printed only once it is committed
        await asyncio.sleep(0.005)


async def nothing() -> None:
    pass


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
