"""`greenroom.backend.blocking`: every method of `Backend`, without a loop."""

from __future__ import annotations

import asyncio
import inspect

import pytest

from greenroom.backend import Backend, BlockingBackend
from greenroom.errors import NotFoundError
from tests.server.harness import RunningService, Tenant, running_service


def test_it_has_every_method_of_the_other() -> None:
    def names(kind: type) -> set[str]:
        return {name for name, _ in inspect.getmembers(kind, inspect.isfunction) if not name.startswith("_")}

    assert names(BlockingBackend) == names(Backend) - {"aclose"} | {"close"}


def _use(running: RunningService, tenant: Tenant) -> list[str]:
    with BlockingBackend(running.url, tenant.key, tenant.secret) as backend:
        assert backend.client_token(external_id="anna").count(".") == 2
        with pytest.raises(NotFoundError):
            backend.participant(external_id="anna")
        assert list(backend.participants()) == []
        assert list(backend.sessions()) == []
        backend.block(external_id="anna", seconds=60)
        reasons = [event.type for _cursor, event in backend.events(follow=False)]
        room = backend.open_room("r", ttl=5)
        assert [one.id for one in backend.rooms("R")] == [room.id] == [backend.room("r").id]
        assert list(backend.room_members("r")) == []
        assert backend.send_to_room("r", {"a": 1}, to_external_ids=["anna"]) > 0
        assert backend.kick_from_room("r", external_id="anna", seconds=5) == ()
        assert len(backend.invite_to_room("r", external_ids=["anna"], text="come")) == 1
        assert backend.end_room("r")
        backend.close()
        assert backend.counts().sessions.attached == 0
        return reasons


async def test_in_a_program_without_a_loop() -> None:
    async with running_service() as running:
        tenant = await running.new_application()
        assert isinstance(await asyncio.to_thread(_use, running, tenant), list)


async def test_inside_a_loop_it_says_what_to_use() -> None:
    backend = BlockingBackend("http://127.0.0.1:9", "key", "secret")
    with pytest.raises(RuntimeError, match=r"use greenroom.backend.Backend"):
        backend.counts()
