"""The directory is read again when it has changed, and only sessions that the change touches are checked again."""

from __future__ import annotations

from collections.abc import Coroutine
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

from greenroom.core.commands import DirectoryCommand
from greenroom.errors import ServiceUnavailableError
from greenroom.model import Application, Restriction
from greenroom.server.cluster.directory_sync import DirectorySync


def _app(key: str, **more: Any) -> Application:
    return Application(key=key, name=key, namespace="0" * 32, **more)


@dataclass
class FakeTenants:
    """What is stored, and what was read of it."""

    stored: list[Application]
    version: int = 1
    away: bool = False
    applications: tuple[Application, ...] = ()
    revocations: Any = field(default_factory=lambda: SimpleNamespace(revoked_jtis=frozenset()))
    applied: list[Any] = field(default_factory=list)
    asked: list[int | None] = field(default_factory=list)

    def apply(self, restrictions: tuple[Restriction, ...], before: int, after: int) -> None:
        self.applied.append((restrictions, before, after))

    async def load(self) -> None:
        self.applications = tuple(self.stored)

    async def reload(self) -> None:
        await self.reload_if(None)

    async def reload_if(self, number: int | None) -> None:
        self.asked.append(number)
        if self.away:
            raise ServiceUnavailableError("The engine is away.")
        await self.load()


@dataclass
class FakeConnection:
    """A session of an application. measured: how often it was."""

    context: Any
    measured: int = 0

    def directory_changed(self) -> None:
        self.measured += 1


@dataclass
class FakeHub:
    """Two sessions of two applications."""

    sessions: dict[str, FakeConnection]
    spawned: list[Coroutine[Any, Any, None]] = field(default_factory=list)

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        self.spawned.append(work)

    async def carry_out(self) -> None:
        work, self.spawned = self.spawned, []
        for one in work:
            await one


async def _made() -> tuple[FakeTenants, FakeHub, DirectorySync]:
    tenants = FakeTenants([_app("one"), _app("two")])
    hub = FakeHub({key: FakeConnection(SimpleNamespace(app=key, jti=f"jti-{key}")) for key in ("one", "two")})
    directory = DirectorySync(cast(Any, tenants), cast(Any, hub))
    await directory.load()
    return tenants, hub, directory


def _measured(hub: FakeHub) -> dict[str, int]:
    return {key: one.measured for key, one in hub.sessions.items()}


async def test_sessions_of_an_application_that_was_disabled_are_checked_again_and_no_others() -> None:
    tenants, hub, directory = await _made()
    tenants.stored[0] = _app("one", disabled=True)
    directory.changed(DirectoryCommand())
    await hub.carry_out()
    assert _measured(hub) == {"one": 1, "two": 0}
    directory.changed(DirectoryCommand())
    await hub.carry_out()
    assert _measured(hub) == {"one": 1, "two": 0}, "nothing has changed since"


async def test_tokens_that_were_revoked_count_and_another_name_does_not() -> None:
    tenants, hub, directory = await _made()
    tenants.stored[:] = [Application(key="one", name="renamed", namespace="0" * 32), _app("two", revoked_before=7)]
    await directory.read(None)
    assert _measured(hub) == {"one": 0, "two": 1}


async def test_a_number_that_is_known_is_not_read_again() -> None:
    tenants, hub, directory = await _made()
    directory.version_seen(1)
    assert hub.spawned == []
    directory.version_seen(2)
    await hub.carry_out()
    assert tenants.asked == [2]


async def test_an_engine_that_is_away_is_asked_again_later() -> None:
    tenants, hub, directory = await _made()
    tenants.stored[0] = _app("one", disabled=True)
    tenants.away = True
    await directory.read(None)
    assert _measured(hub) == {"one": 0, "two": 0}
    tenants.away = False
    await directory.read(None)
    assert _measured(hub) == {"one": 1, "two": 0}


async def test_sessions_of_a_token_that_was_revoked_by_its_jti_are_checked_once() -> None:
    """The report: no node compared what it holds with the revoked tokens."""
    tenants, hub, directory = await _made()
    tenants.revocations.revoked_jtis = frozenset({("one", "jti-one"), ("one", "jti-two"), ("two", "jti-one")})
    await directory.read(None)
    assert [hub.sessions[key].measured for key in ("one", "two")] == [1, 0]
    await directory.read(None)
    assert hub.sessions["one"].measured == 1


async def test_restrictions_that_another_node_made_are_applied_and_nothing_is_read() -> None:
    tenants, hub, directory = await _made()
    made = (
        Restriction(app="two", kind="cutoff", subject="p", before=7),
        Restriction(app="two", kind="jti", subject="x"),
    )
    directory.changed(DirectoryCommand(restrictions=made, before=1, after=3))
    assert tenants.applied == [(made, 1, 3)]
    assert (hub.spawned, tenants.asked) == ([], [])
    assert _measured(hub) == {"one": 0, "two": 0}
    directory.changed(DirectoryCommand(restrictions=(Restriction(app="two", kind="jti", subject="jti-two"),)))
    assert _measured(hub) == {"one": 0, "two": 1}, "its session is held here, and the engine may not have known it"
