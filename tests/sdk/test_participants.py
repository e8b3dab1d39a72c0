"""Looking participants up, and watching them."""

from __future__ import annotations

import asyncio

import pytest

from greenroom import IllegalArgumentError, Participant, Presence, ScopeMissingError
from greenroom.testing.fake_service import FakeService, participant_id
from tests.support.sdk import a_participant_id, new_sdk

A, B, C, NOBODY = (a_participant_id(name) for name in ("a", "b", "c", "nobody"))


async def test_get_by_id_and_external_id() -> None:
    async with FakeService() as service:
        sdk, _ = new_sdk(service)
        me = await sdk.session.open()
        found = await sdk.participants.get([me.id, NOBODY], external_ids=["bob"])
        assert [(one.id, one.presence) for one in found] == [
            (me.id, Presence.ONLINE),
            (NOBODY, Presence.OFFLINE),
            (participant_id("bob"), Presence.OFFLINE),
        ]
        await sdk.session.close()


async def test_watch_iterates_over_the_latest() -> None:
    async with FakeService() as service:
        sdk, notes = new_sdk(service)
        other, _ = new_sdk(service, external_id="bob")
        await sdk.session.open()
        await other.session.open()
        bob = service.participants[participant_id("bob")]
        seen: list[Participant] = []
        watch = await sdk.participants.watch(external_ids=["bob"], on_change=seen.append)
        assert watch.participants[bob.id].presence is Presence.ONLINE
        for name in ("one", "two", "three"):
            await service.change(bob, name=name)
        await notes.until(lambda: notes.names().count("changed") == 3)
        assert (await anext(watch)).info.name == "three"  # state, not messages
        assert [one.info.name for one in seen] == ["one", "two", "three"]
        await watch.close()
        assert service.only_session_of("ada").watching == set()
        assert [one async for one in watch] == []
        await sdk.session.close()
        await other.session.close()


async def test_a_watch_that_is_closed_while_another_of_the_same_is_asked_for_takes_nothing_from_it() -> None:
    async with FakeService() as service:
        sdk, _ = new_sdk(service)
        await sdk.session.open()
        first = await sdk.participants.watch([A, B])
        asked = asyncio.create_task(sdk.participants.watch([A]))
        await asyncio.sleep(0)
        await asyncio.gather(first.close(), asked)
        assert service.only_session.watching == {A}
        await asked.result().close()
        assert service.only_session.watching == set()
        await sdk.session.close()


async def test_what_two_watches_share_is_unwatched_with_the_second() -> None:
    async with FakeService() as service:
        sdk, _ = new_sdk(service)
        await sdk.session.open()
        first = await sdk.participants.watch([A, B])
        async with await sdk.participants.watch([B, C]):
            await first.close()
            assert service.only_session.watching == {B, C}
        assert service.only_session.watching == set()
        await sdk.session.close()


async def test_unwatch_by_external_id_also_of_someone_never_seen() -> None:
    async with FakeService() as service:
        sdk, notes = new_sdk(service)
        await sdk.session.open()
        watch = await sdk.participants.watch(external_ids=["ghost", "bob"])
        await sdk.participants.unwatch(external_ids=["ghost"])
        assert set(watch.participants) == {participant_id("bob")} == service.only_session.watching
        await sdk.participants.unwatch(external_ids=["bob"])
        assert [one async for one in watch] == []
        await service.drop_all()
        await notes.until(lambda: notes.names().count("connected") == 2)
        assert "watching" not in dict(service.calls)["session.resume"]
        await sdk.session.close()


async def test_three_hundred_are_watched_and_come_back() -> None:
    async with FakeService() as service:
        sdk, notes = new_sdk(service)
        await sdk.session.open()
        ids = [a_participant_id(f"w{number}") for number in range(300)]
        watch = await sdk.participants.watch(ids)
        assert len(watch.participants) == 300
        await service.drop_all()
        await service.called("participants.watch", 3)
        await notes.until(lambda: notes.names().count("connected") == 2)
        assert service.only_session.watching == set(ids)
        await sdk.session.close()


async def test_the_end_of_a_session_ends_the_iteration() -> None:
    async with FakeService() as service:
        sdk, _ = new_sdk(service)
        await sdk.session.open()
        watch = await sdk.participants.watch([A])
        iteration = asyncio.create_task(anext(watch, None))
        await asyncio.sleep(0)
        await sdk.session.close()
        assert await iteration is None


async def test_the_scope_is_named() -> None:
    async with FakeService() as service:
        sdk, _ = new_sdk(service, scope="session:update")
        await sdk.session.open()
        with pytest.raises(ScopeMissingError, match="notifications:set"):
            await sdk.participants.watch([A])
        await sdk.session.close()


@pytest.mark.parametrize("ids", [[""], [5], [None]])
async def test_ids_that_are_none(ids: list[str]) -> None:
    async with FakeService() as service:
        sdk, _ = new_sdk(service)
        await sdk.session.open()
        with pytest.raises(IllegalArgumentError):
            await sdk.participants.get(ids)
        await sdk.session.close()
