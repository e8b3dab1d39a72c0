"""S21 and rolling upgrades: libraries side by side, fields of a newer version, numbers above 10^14."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from msgspec.structs import replace

from greenroom.codes import ErrorCode
from greenroom.engines.base import OPEN_ID_MEMORY, PROTOCOL, NodeBeat, SessionQuery
from greenroom.engines.redis import library as library_module
from greenroom.engines.redis import maintenance
from greenroom.engines.redis.library import LIBRARY_VERSION, OPEN_IDS_AT_HAND, Library, library
from greenroom.engines.redis.redis_store import RedisStore
from greenroom.errors import SessionEndedError
from greenroom.model import Application, RegistryState
from greenroom.testing.engine_contract import APP, refused
from tests.engines.redis.worlds import LuaWorld
from tests.support.lua_commands import Commands
from tests.support.redis_server import RedisServer, single
from tests.support.redis_world import RedisWorld

NEWER = f"greenroom_{LIBRARY_VERSION + 1}_test"


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with single() as running:
        yield running


def fields(commands: Commands, part: str) -> dict[bytes, bytes]:
    """The one hash whose key holds this."""
    (key,) = [key for key in commands.data if part.encode() in key]
    found: dict[bytes, bytes] = commands.data[key]
    return found


async def test_fields_of_a_newer_version_survive_everything_an_older_node_writes() -> None:
    async with LuaWorld() as w:
        a = await w.client(name="x")
        stored = fields(w.server.commands, ":s:"), fields(w.server.commands, ":p:")
        for each in stored:
            each[b"of_the_future"] = b"kept"
        await a.update(name="y")
        await a.resume()
        await a.detach(40)
        await w.advance(4)
        await a.resume()
        await a.close()
        for each in (fields(w.server.commands, ":s:"), fields(w.server.commands, ":p:")):
            assert each[b"of_the_future"] == b"kept"


async def test_members_of_a_newer_application_survive_a_save() -> None:
    async with LuaWorld() as w:
        saved = await w.engine.directory.save_application(Application(key=APP, name="One", namespace="n"))
        bodies = fields(w.server.commands, ":apps")
        bodies[b"app-1"] = bodies[b"app-1"].replace(b'"settings":{', b'"future":[1],"settings":{"futureToo":2,')
        again = await w.engine.directory.save_application(saved)
        assert again.version == 2
        body = fields(w.server.commands, "{directory}:apps")[b"app-1"]
        assert b'"future":[1]' in body
        assert b'"futureToo":2' in body


async def test_s21_large_numbers_are_written_whole() -> None:
    async with LuaWorld() as w:
        a = await w.client()
        stored = fields(w.server.commands, ":p:")
        assert stored[b"ver"] == str(w.now_ms() * 1000).encode()
        assert a.attached.participant.version == w.now_ms() * 1000
        for event in await w.events():
            assert "e+" not in event.id


async def test_records_say_their_version() -> None:
    async with LuaWorld() as w:
        await w.client()
        assert list(fields(w.server.commands, ":s:")) == [b"v2"]
        assert fields(w.server.commands, ":p:")[b"v"] == b"1"


async def test_a_repeated_open_finds_its_session_across_libraries() -> None:
    """Library 1 looks for an openId beside the sessions, library 2 wrote it elsewhere."""
    async with LuaWorld() as w:
        request = w.open_request("alice", device_id="d")
        first = await w.engine.registry.open(request)
        beside = fields(w.server.commands, ":ps:")
        assert beside[b"o:" + request.open_id.encode()] == first.session.id.encode()
        del beside[b"o:" + request.open_id.encode()]
        (key,) = [key for key in w.server.commands.data if b":ps:" in key]
        w.server.commands.data[key.replace(b":ps:", b":po:")] = {request.open_id.encode(): first.session.id.encode()}
        again = await w.engine.registry.open(request)
        assert (again.session.id, again.created, again.participant.sessions) == (first.session.id, False, 1)


async def test_a_timeline_of_an_older_library_is_shown_as_it_is() -> None:
    async with LuaWorld() as w:
        a = await w.client()
        key = f"greenroom:{{{a.id.partition('-')[0]}}}:t:{a.id}".encode()
        assert key not in w.server.commands.data
        w.server.commands.execute("RPUSH", key, b'[1,"opened","node-1",""]', b'[2,"resumed","node-2",""]')
        await a.resume()
        await a.close()
        w.server.commands.execute("RPUSH", key, b'[4,"ended","node-1","closed"]')
        stored = await a.stored()
        assert stored is not None
        assert [(entry.at, entry.what) for entry in stored.timeline if entry.at < 5] == [
            (1, "opened"), (2, "resumed"), (4, "ended"),
        ]  # fmt: skip
        assert [entry.what for entry in stored.timeline] == ["opened", "resumed", "resumed", "ended"]


async def test_openids_beyond_those_at_hand_are_found_and_forgotten() -> None:
    async with LuaWorld() as w:
        requests = [w.open_request("alice", device_id="d") for _ in range(OPEN_IDS_AT_HAND + 3)]
        sessions = [(await w.engine.registry.open(request)).session.id for request in requests]
        assert len([name for name in fields(w.server.commands, ":ps:") if name.startswith(b"o:")]) == OPEN_IDS_AT_HAND
        assert len(fields(w.server.commands, ":po:")) == 3
        again = await w.engine.registry.open(requests[-1])
        assert (again.session.id, again.created) == (sessions[-1], False)
        with pytest.raises(SessionEndedError):
            await w.engine.registry.open(requests[0])
        await w.advance(OPEN_ID_MEMORY + 1)
        assert set(fields(w.server.commands, ":ps:")) == {b"s:" + sessions[-1].encode()}
        assert set(fields(w.server.commands, ":po:").values()) == {sessions[-1].encode()}


def test_a_changed_file_is_another_library() -> None:
    name, code = library()
    assert name.startswith(f"greenroom_{library_module.LIBRARY_VERSION}_")
    assert code.startswith(f"#!lua name={name}\n")


async def test_attributes_and_statuses_wait_until_no_older_node_is_left() -> None:
    """What a node of the version before sends of a participant, or writes back, has none of them."""
    async with LuaWorld() as w:
        a = await w.client(name="Alice")
        older = NodeBeat(node="node-2", boot="b", lease="lease-2", protocol=1)
        other = await w.another_node()
        await other.registry.beat(older)
        await w.advance(1)
        for attempt in (
            a.update(attributes={"role": "nurse"}),
            a.update(status="away", update_id=None),
            w.open("bob", attributes={"role": "cook"}),
            w.open("bob", status="away"),
        ):
            with refused(ErrorCode.SERVICE_UNAVAILABLE) as refusal:
                await attempt
            assert getattr(refusal.error, "retry_after", None) == 5.0
        assert (await a.update(name="Alicia")).name == "Alicia"
        await other.registry.beat(replace(older, leaving=True))
        await w.advance(1)
        assert (await a.update(attributes={"role": "nurse"})).attributes == {"role": "nurse"}
        await other.registry.beat(NodeBeat(node="node-2", boot="c", lease="lease-3", protocol=1))
        await w.advance(11)  # it is lost without a word
        assert (await a.update(status="away", update_id=None)).status == "away"
        await other.stop()


async def test_a_session_is_stored_as_a_node_of_0_2_reads_it_while_there_is_one() -> None:
    async with LuaWorld() as w:
        older = NodeBeat(node="node-2", boot="b", lease="lease-2", protocol=2)
        other = await w.another_node()
        await other.registry.beat(older)
        await w.advance(1)
        await w.client("alice", device_id="laptop")
        stored = fields(w.server.commands, ":s:")
        assert (stored[b"v"], stored[b"state"], stored[b"dev"]) == (b"1", b"attached", b"laptop")
        await other.registry.beat(replace(older, leaving=True))
        await w.advance(1)
        await w.client("bob")
        assert [b"v2" in hash_ for key, hash_ in w.server.commands.data.items() if b":s:" in key] == [False, True]
        await other.stop()


async def test_sessions_are_stored_as_0_2_reads_them_when_a_node_of_it_comes_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(maintenance, "PACKED_OF_CALL", 3)  # several pages
    async with LuaWorld() as w:
        live = [await w.client(f"user-{n}", device_id="d") for n in range(200)]
        ended = [await w.client("alice", device_id="d") for _ in range(12)]
        await asyncio.gather(*(one.close() for one in ended))
        await live[0].resume()
        before = [await one.stored() for one in (*live, *ended)]
        hashes = [key for key in w.server.commands.data if b":s:" in key]
        assert len(hashes) == 212
        other = await w.another_node()
        await other.registry.beat(NodeBeat(node="node-2", boot="b", lease="lease-2", protocol=2))
        await w.advance(2)
        for key in hashes:
            stored = w.server.commands.data[key]
            assert b"v2" not in stored
            assert {b"v", b"id", b"app", b"pid", b"state", b"gen", b"node", b"lease", b"secret", b"hashed"} <= set(
                stored
            )
        assert [await one.stored() for one in (*live, *ended)] == before
        await other.stop()


@pytest.mark.parametrize("protocol", [2, PROTOCOL])
async def test_a_session_goes_on_whichever_version_stored_it(protocol: int) -> None:
    """What its open stored as one field, or as many, is found by everything that is done with it."""
    async with LuaWorld() as w:
        w.engine._maintenance.oldest_protocol = protocol  # type: ignore[attr-defined]
        a = await w.client("alice", name="Alice", device_id="d", device_name="laptop")
        w.engine._maintenance.oldest_protocol = PROTOCOL  # type: ignore[attr-defined]
        assert (b"v2" in fields(w.server.commands, ":s:")) is (protocol == PROTOCOL)
        opened = a.attached.session
        stored = await a.stored()
        assert stored is not None
        assert replace(stored, timeline=()) == opened
        await a.join("standup")
        await a.detach(40)
        await w.advance(4)
        (page,) = [await w.engine.registry.sessions(SessionQuery(app=APP, node=w.node))]
        assert [(one.id, one.state, one.rooms) for one in page.items] == [(a.id, RegistryState.DETACHED, ("standup",))]
        await a.resume()
        stored = await a.stored()
        assert stored is not None
        kept = replace(stored, timeline=(), generation=1, rooms=(), address=opened.address)
        assert (stored.generation, kept) == (2, opened)
        ended = await a.close()
        assert ended is not None
        assert (ended.device_id, ended.device_name, ended.external_id) == ("d", "laptop", "alice")
        types = [event.type for event in await w.events()]
        assert types.count("session.ended") == types.count("session.resumed") == 1


async def test_what_a_later_version_puts_behind_the_fields_of_a_session_stays() -> None:
    async with LuaWorld() as w:
        a = await w.client(device_id="d")
        fields(w.server.commands, ":s:")[b"v2"] += b"of the future\0"
        await a.resume()
        assert a.attached.session.device_id == "d"
        await a.close()
        assert fields(w.server.commands, ":s:")[b"v2"].endswith(b"\0of the future\0")


async def test_an_empty_text_stays_one() -> None:
    """In the one field an empty text is one that is absent, so such a session is stored in many."""
    async with LuaWorld() as w:
        a = await w.client(device_id="")
        stored = await a.stored()
        assert stored is not None
        assert (stored.device_id, stored.device_name) == ("", None)


@pytest.mark.slow
async def test_s21_a_library_that_is_missing_is_loaded_and_the_call_repeated(server: RedisServer) -> None:
    async with RedisWorld(server.url, lambda: server.execute("FLUSHALL")) as w:
        a = await w.client()
        server.execute("FUNCTION", "FLUSH")
        await a.update(name="still there")
        server.execute("FUNCTION", "FLUSH")
        await w.advance(1)  # many calls at once find it missing
        assert (await a.record()).name == "still there"


@pytest.mark.slow
async def test_s21_two_versions_run_side_by_side(server: RedisServer) -> None:
    async with RedisWorld(server.url, lambda: server.execute("FLUSHALL")) as w:
        a = await w.client()
        name, code = library()
        newer = RedisWorld(server.url, lambda: None)
        newer._now_ms = w.now_ms()
        await newer._make_engine()
        store = newer.engine.store  # type: ignore[attr-defined]
        assert isinstance(store, RedisStore)
        store._library = Library(NEWER, code.replace(name, NEWER))
        assert (await newer.record_of(a.participant_id)).sessions == 1
        await a.update(name="by the older")
        assert (await newer.record_of(a.participant_id)).name == "by the older"
        listed = str(server.execute("FUNCTION", "LIST"))
        assert name in listed
        assert NEWER in listed
        await newer.stop()
