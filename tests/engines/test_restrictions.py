"""Restrictions of an application are bounded, in both engines."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import pytest

from greenroom.engines.embedded import restrict
from greenroom.engines.redis.library import library
from greenroom.errors import IllegalArgumentError
from greenroom.model import Restriction, partition_of
from greenroom.testing.engine_contract.restrictions import RESTRICTIONS
from greenroom.testing.engine_world import APP, EmbeddedWorld, World
from tests.engines.redis.worlds import LuaWorld

_OF_PARTITION = int(library().code.partition("local RESTRICTIONS_OF_PARTITION = ")[2].partition("\n")[0])


async def kick(w: World, participant_id: str, **more: object) -> None:
    request = RESTRICTIONS[str(more.pop("kind", "kick"))](app=APP, participant_id=participant_id, **more)
    await w.engine.registry.restrict(request)


async def kept(w: World) -> list[str]:
    return [each.subject for each in await w.engine.directory.restrictions(APP)]


async def test_those_that_expire_next_make_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(restrict, "RESTRICTIONS_OF_APPLICATION", 50)
    monkeypatch.setattr(restrict, "ROOM", 10)
    async with EmbeddedWorld() as w:
        await kick(w, "for-good", kind="block")
        for number in range(120):
            await kick(w, f"person-{number}")
            await w.step(1)
        subjects = await kept(w)
        assert 40 <= len(subjects) <= 50
        assert "person-119" in subjects
        assert "for-good" in subjects
        assert "person-0" not in subjects


async def test_where_none_ever_ends_the_next_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(restrict, "RESTRICTIONS_OF_APPLICATION", 20)
    async with EmbeddedWorld() as w:
        old = [Restriction(app=APP, kind="block", subject=f"person-{number}") for number in range(20)]
        await w.engine.directory.put_back((), (), old)
        with pytest.raises(IllegalArgumentError, match="blocks that never end"):
            await kick(w, "one-more", kind="block")
        await kick(w, "person-1", kind="lift")
        await kick(w, "one-more", kind="block")


def _same_partition(count: int) -> list[str]:
    """Participants who share a partition."""
    wanted = partition_of(APP, "person-0")
    found: list[str] = []
    number = 0
    while len(found) < count:
        if partition_of(APP, f"person-{number}") == wanted:
            found.append(f"person-{number}")
        number += 1
    return found


async def test_on_redis_those_of_a_partition_that_expire_next_make_room() -> None:
    async with LuaWorld() as w:
        people = _same_partition(3)
        old: Iterable[Restriction] = (
            Restriction(app=APP, kind="cutoff", subject=f"old-{number}", before=w.now_ms() // 1000, created_at=1)
            for number in range(3)
        )
        await w.engine.directory.put_back((), (), list(old))
        key = b"greenroom:{p%d}" % partition_of(APP, people[0])
        await kick(w, people[0], kind="block")
        hash_ = w.server.commands.data[key + b":r:" + APP.encode()]
        for number in range(_OF_PARTITION):
            if number % 1000 == 0:
                await asyncio.sleep(0)
            hash_[b"j:filler-%d" % number] = b'{"kind":"jti","subject":"filler","created_at":1}'
            w.server.commands.execute("ZADD", key + b":rx", b"%d" % (1000 + number), b"5:app-1:j:filler-%d" % number)
        await w.step(1)
        await kick(w, people[1])
        assert len(hash_) <= _OF_PARTITION + 3
        assert b"j:filler-0" not in hash_
        subjects = await kept(w)
        assert set(people[:2]) <= set(subjects)


async def test_on_redis_where_none_ever_ends_the_next_is_refused() -> None:
    async with LuaWorld() as w:
        people = _same_partition(2)
        await kick(w, people[0], kind="block")
        key = b"greenroom:{p%d}" % partition_of(APP, people[0])
        w.server.commands.data.pop(key + b":rx", None)
        hash_ = w.server.commands.data[key + b":r:" + APP.encode()]
        for number in range(_OF_PARTITION):
            hash_[b"b:filler-%d" % number] = b'{"kind":"block","subject":"filler","created_at":1}'
        with pytest.raises(IllegalArgumentError, match="blocks that never end"):
            await kick(w, people[1], kind="block")


async def test_a_restore_writes_a_revoked_token_once() -> None:
    async with LuaWorld() as w:
        revoked = [
            Restriction(app=APP, kind="jti", subject=f"t{number}", created_at=w.now_ms()) for number in range(20)
        ]
        await w.engine.directory.put_back((), (), revoked)
        stored = [
            field
            for name, value in w.server.commands.data.items()
            if name.endswith(b":r:app-1")
            for field in value
            if field.startswith(b"j:")
        ]
        assert len(stored) == len(set(stored)) == 20
        assert sorted(await kept(w)) == sorted(each.subject for each in revoked)


async def test_many_restrictions_of_many_applications_are_read_piece_by_piece() -> None:
    async with LuaWorld() as w:
        made = [
            Restriction(app=f"app-{number % 7}", kind="jti", subject=f"t{number}", created_at=w.now_ms())
            for number in range(9000)
        ]
        await w.engine.directory.put_back((), (), made)
        assert len(await w.engine.directory.restrictions()) == 9000
        one = await w.engine.directory.restrictions("app-3")
        assert {each.app for each in one} == {"app-3"}
        assert len(one) == 9000 // 7 + (9000 % 7 > 3)
