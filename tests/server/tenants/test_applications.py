"""Applications and keys in memory: loading, secrets, rotation, cut-offs, and what is kept from whom."""

from __future__ import annotations

import msgspec
import pytest

from greenroom.errors import ConflictError, IllegalArgumentError, NotFoundError
from greenroom.model import Application, Restriction
from greenroom.server.config import ServerConfig
from greenroom.server.tenants import applications
from greenroom.server.tenants.applications import Tenants
from greenroom.tokens import parse_basic
from tests.server.http_service import MASTER_KEY, START, Clock, Dice, FakeDirectory, basic


class World:
    """A directory, a clock, and nodes that share them."""

    def __init__(self) -> None:
        self.directory = FakeDirectory()
        self.clock = Clock()

    def node(self, seed: str = "one", master_key: bytes = MASTER_KEY, config: ServerConfig | None = None) -> Tenants:
        """One more node, not loaded."""
        return Tenants(self.directory, master_key=master_key, clock=self.clock, random_bytes=Dice(seed), config=config)

    async def loaded(self, seed: str = "one") -> Tenants:
        """One more node, loaded."""
        tenants = self.node(seed)
        await tenants.load()
        return tenants


def signs_in(tenants: Tenants, app: Application, secret: str) -> bool:
    """Whether key and secret are good."""
    return tenants.authenticate(parse_basic(basic(app.key, secret))) is not None


# --- loading ----------------------------------------------------------------------------------------------------------


async def test_reload_if_reads_only_what_has_changed() -> None:
    world = World()
    one, two = await world.loaded("one"), await world.loaded("two")
    app, secret = await one.create_application("Test")
    assert two.get(app.key) is None
    assert await two.reload_if(await world.directory.version())
    assert two.get(app.key) == app
    assert signs_in(two, app, secret)
    reads = world.directory.reads
    assert not await two.reload_if(await world.directory.version())
    assert world.directory.reads == reads


async def test_what_changes_while_the_directory_is_read_is_read_again() -> None:
    world = World()
    tenants = await world.loaded()
    directory = world.directory
    read_keys = directory.keys

    async def keys_and_a_change() -> object:
        directory.keys = read_keys  # type: ignore[method-assign]
        await (await world.loaded("other")).create_application("Meanwhile")
        return await read_keys()

    directory.keys = keys_and_a_change  # type: ignore[method-assign, assignment]
    await tenants.reload()
    assert [app.name for app in tenants.applications] == []
    assert await tenants.reload_if(await directory.version())
    assert [app.name for app in tenants.applications] == ["Meanwhile"]


async def test_deleted_applications_are_unknown_and_disabled_ones_known() -> None:
    world = World()
    tenants = await world.loaded()
    gone, gone_secret = await tenants.create_application("Gone")
    off, off_secret = await tenants.create_application("Off")
    await tenants.change(gone.key, lambda app: msgspec.structs.replace(app, deleted=True))
    await tenants.disable(off.key)
    await tenants.reload()
    assert tenants.get(gone.key) is None
    assert not signs_in(tenants, gone, gone_secret)
    assert signs_in(tenants, off, off_secret)
    with pytest.raises(NotFoundError):
        await tenants.enable(gone.key)


# --- applications -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["", "   ", "x" * 101, "a\nb", "a\x00b", "a\u202eb"])
async def test_names_that_are_none(name: str) -> None:
    tenants = await World().loaded()
    with pytest.raises(IllegalArgumentError):
        await tenants.create_application(name)


async def test_namespaces_are_never_the_same() -> None:
    tenants = await World().loaded()
    one, _ = await tenants.create_application("Test")
    two, _ = await tenants.create_application("Test")
    assert one.namespace != two.namespace


async def test_a_change_that_changes_nothing_is_not_written() -> None:
    world = World()
    tenants = await world.loaded()
    app, _ = await tenants.create_application("Test")
    before = await world.directory.version()
    assert await tenants.enable(app.key) == app
    assert await world.directory.version() == before


async def test_changes_of_one_node_do_not_overwrite_those_of_another() -> None:
    world = World()
    one, two = await world.loaded("one"), await world.loaded("two")
    app, _ = await one.create_application("Test")
    await two.disable(app.key)
    changed = await one.change(app.key, lambda stored: msgspec.structs.replace(stored, name="Other"))
    assert (changed.name, changed.disabled) == ("Other", True)


async def test_a_change_that_another_node_was_quicker_with_is_made_again_on_top() -> None:
    world = World()
    one, two = await world.loaded("one"), await world.loaded("two")
    app, _ = await one.create_application("Test")
    names: list[str] = []

    def rename(stored: Application) -> Application:
        if not names:
            present = world.directory.stored[app.key]
            other = msgspec.structs.replace(present, disabled=True, version=present.version + 1)
            world.directory.stored[app.key] = other
        names.append(stored.name)
        return msgspec.structs.replace(stored, name="Renamed")

    changed = await two.change(app.key, rename)
    assert (changed.name, changed.disabled, len(names)) == ("Renamed", True, 2)


async def test_a_race_lost_again_and_again_is_a_conflict() -> None:
    world = World()
    tenants = await world.loaded()
    app, _ = await tenants.create_application("Test")

    def race(stored: Application) -> Application:
        world.directory.stored[app.key] = msgspec.structs.replace(stored, version=stored.version + 1)
        return msgspec.structs.replace(stored, name="Late")

    with pytest.raises(ConflictError):
        await tenants.change(app.key, race)


# --- restrictions that were made --------------------------------------------------------------------------------------


def cutoff(app: Application, subject: str, before: int) -> Restriction:
    return Restriction(app=app.key, kind="cutoff", subject=subject, before=before, created_at=int(START * 1000))


async def test_what_was_made_counts_without_reading_and_the_beat_reads_nothing() -> None:
    world = World()
    tenants = await world.loaded()
    app, _ = await tenants.create_application("App")
    await tenants.reload()
    reads, version = world.directory.reads, tenants.version
    entry = cutoff(app, "p", int(START) - 5)
    tenants.apply((entry,), version, version + 2)
    assert tenants.revocations.cutoff(app, "p") == START - 5
    assert entry in tenants.copy[2], "it is put back into an engine that lost it"
    assert not await tenants.reload_if(version + 2)
    assert world.directory.reads == reads


async def test_changes_that_come_in_another_order_are_counted_and_one_that_was_lost_is_read() -> None:
    world = World()
    tenants = await world.loaded()
    app, _ = await tenants.create_application("App")
    await tenants.reload()
    version = tenants.version
    for number in (2, 1, 0, 1):  # the second came twice
        tenants.apply((cutoff(app, f"p{number}", int(START) - 9),), version + number, version + number + 1)
    assert tenants.version == version + 3
    tenants.apply((cutoff(app, "p5", int(START) - 9),), version + 5, version + 6)
    assert tenants.version == version + 3
    world.directory.changes = version + 6
    world.directory.restricted = [cutoff(app, "p4", int(START) - 8)]
    assert await tenants.reload_if(version + 6)
    assert (tenants.revocations.cutoff(app, "p4"), tenants.version) == (START - 8, version + 6)


async def test_what_was_made_while_everything_was_read_is_not_forgotten() -> None:
    world = World()
    tenants = await world.loaded()
    app, _ = await tenants.create_application("App")
    await tenants.reload()
    world.directory.restricted = [cutoff(app, "other", int(START) - 9)]
    read = world.directory.restrictions

    async def read_and_then_it_is_made(app_key: str | None = None) -> tuple[Restriction, ...]:
        found = await read(app_key)
        tenants.apply((cutoff(app, "p", int(START) - 5),), tenants.version, tenants.version + 1)
        return found

    world.directory.restrictions = read_and_then_it_is_made  # type: ignore[method-assign, assignment]
    await tenants.reload()
    assert tenants.revocations.cutoff(app, "p") == START - 5
    assert tenants.revocations.cutoff(app, "other") == START - 9


async def test_what_is_over_is_forgotten_however_fast_it_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(applications, "PRUNE_FROM", 10)
    world = World()
    tenants = await world.loaded()
    app, _ = await tenants.create_application("App")
    await tenants.reload()
    for number in range(1000):
        world.clock.now += 3600.0
        jti = Restriction(app=app.key, kind="jti", subject=str(number), created_at=int(world.clock.now * 1000))
        tenants.apply((jti,), 0, 0)
    assert len(tenants.copy[2]) < 200
    assert len(tenants.revocations.revoked_jtis) == len(tenants.copy[2])
