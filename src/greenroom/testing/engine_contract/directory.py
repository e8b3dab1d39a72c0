"""Applications, keys, restrictions, news: S15, S18."""

from __future__ import annotations

import asyncio

from greenroom.codes import ErrorCode
from greenroom.core.commands import DirectoryCommand, SupersededCommand
from greenroom.engines.base import BlockParticipant, LiftBlock
from greenroom.model import Restriction, SealedKey
from greenroom.testing.engine_contract.base import ContractBase, refused
from greenroom.testing.engine_world import APP


class DirectoryContract(ContractBase):
    """Small, shared, and never read as deleted because it is missing."""

    async def test_an_application_is_saved_at_the_version_it_was_read_at(self) -> None:
        async with self.make_world() as w:
            directory = w.engine.directory
            assert await directory.application(APP) is None
            first = await directory.save_application(w.application(name="One"))
            assert first.version == 1
            second = await directory.save_application(w.changed(first, name="Two"))
            assert second.version == 2
            with refused(ErrorCode.CONFLICT):
                await directory.save_application(w.changed(first, name="Late"))
            with refused(ErrorCode.CONFLICT):
                await directory.save_application(w.application(name="New"))
            assert await directory.application(APP) == second
            assert await directory.applications() == (second,)

    async def test_s15_applications_go_by_tombstone(self) -> None:
        async with self.make_world() as w:
            directory = w.engine.directory
            saved = await directory.save_application(w.application())
            gone = await directory.save_application(w.changed(saved, deleted=True))
            assert await directory.application(APP) is None
            assert await directory.applications() == (gone,)

    async def test_keys_are_kept_newest_first(self) -> None:
        async with self.make_world() as w:
            directory = w.engine.directory
            old = SealedKey(kid="a", alg="EdDSA", sealed=b"1", created_at=1)
            new = SealedKey(kid="b", alg="EdDSA", sealed=b"2", created_at=2)
            await directory.save_key(old)
            await directory.save_key(new)
            assert await directory.keys() == (new, old)
            retired = SealedKey(kid="a", alg="EdDSA", sealed=b"1", created_at=1, retired_at=3)
            await directory.save_key(retired)
            assert await directory.keys() == (new, retired)

    async def test_the_version_rises_at_every_change(self) -> None:
        async with self.make_world() as w:
            directory = w.engine.directory
            seen = [await directory.version()]
            saved = await directory.save_application(w.application())
            seen.append(await directory.version())
            await directory.save_application(w.changed(saved, name="Other"))
            seen.append(await directory.version())
            await directory.save_key(SealedKey(kid="a", alg="EdDSA", sealed=b"1", created_at=1))
            seen.append(await directory.version())
            assert seen == sorted(set(seen))

    async def test_s18_restrictions_are_listed(self) -> None:
        async with self.make_world() as w:
            for app, who in ((APP, "one"), (APP, "two"), ("app-2", "three")):
                request = BlockParticipant(app=app, participant_id=who, reason="because", until=9 * 10**12)
                await w.engine.registry.restrict(request)
            blocks = [each for each in await w.engine.directory.restrictions(APP) if each.kind == "block"]
            assert {block.subject for block in blocks} == {"one", "two"}
            assert {(block.reason, block.until, block.lifted) for block in blocks} == {("because", 9 * 10**12, False)}
            assert len([each for each in await w.engine.directory.restrictions() if each.kind == "block"]) == 3
            await w.engine.registry.restrict(LiftBlock(app=APP, participant_id="one"))
            lifted = {
                each.subject: each.lifted for each in await w.engine.directory.restrictions(APP) if each.kind == "block"
            }
            assert not lifted.get("two", True)
            assert lifted.get("one", True)

    async def test_s15_what_is_put_back_is_only_what_is_missing_or_older(self) -> None:
        async with self.make_world() as w:
            directory = w.engine.directory
            saved = await directory.save_application(w.application(name="One"))
            newer = await directory.save_application(w.changed(saved, name="Two"))
            other = w.application(key="app-2", name="Lost", version=7)
            key = SealedKey(kid="a", alg="EdDSA", sealed=b"1", created_at=1)
            block = Restriction(app=APP, kind="block", subject="someone", created_at=w.now_ms())
            await directory.put_back([saved, other], [key], [block])
            assert await directory.application(APP) == newer
            assert await directory.application("app-2") == other
            assert await directory.keys() == (key,)
            assert block in await directory.restrictions(APP)
            with refused(ErrorCode.PARTICIPANT_BLOCKED):
                await w.engine.registry.open(w.changed_request(participant_id="someone"))

    async def test_an_issuer_with_its_audience_belongs_to_one_application(self) -> None:
        async with self.make_world() as w:
            directory = w.engine.directory
            issuers = (w.issuer(), w.issuer(audience="b"))
            one = await directory.save_application(w.application(issuers=issuers))
            assert await directory.application(APP) == one
            with refused(ErrorCode.CONFLICT):
                await directory.save_application(w.application(key="app-2", issuers=(w.issuer(audience="b"),)))
            assert await directory.application("app-2") is None
            # The lengths of the two do not matter: these are other pairs.
            near = (w.issuer(audience="c"), w.issuer(issuer="https://id.exampl", audience="ea"), w.issuer(issuer="x"))
            two = await directory.save_application(w.application(key="app-2", issuers=near))
            # What an application has it may keep, change and give up; then another one may have it.
            one = await directory.save_application(
                w.changed(one, issuers=(w.issuer(max_life=60), w.issuer(audience="b")))
            )
            with refused(ErrorCode.CONFLICT):
                await directory.save_application(w.changed(two, issuers=(*near, w.issuer())))
            one = await directory.save_application(w.changed(one, issuers=(w.issuer(audience="b"),)))
            two = await directory.save_application(w.changed(two, issuers=(*near, w.issuer())))
            with refused(ErrorCode.CONFLICT):
                await directory.save_application(w.changed(one, issuers=(w.issuer(), w.issuer(audience="b"))))
            await directory.save_application(w.changed(one, deleted=True))
            await directory.save_application(w.changed(two, issuers=(w.issuer(), w.issuer(audience="b"))))

    async def test_of_two_that_add_an_issuer_at_once_one_gets_it(self) -> None:
        async with self.make_world() as w:
            save = w.engine.directory.save_application
            keys = [f"app-{number}" for number in range(6)]
            made = await asyncio.gather(
                *(save(w.application(key=key, issuers=(w.issuer(),))) for key in keys), return_exceptions=True
            )
            assert sorted(type(one).__name__ for one in made) == ["Application", *["ConflictError"] * 5]
            stored = [app for app in await w.engine.directory.applications() if app.issuers]
            assert len(stored) == 1

    async def test_s15_an_issuer_that_was_put_back_belongs_to_its_application(self) -> None:
        async with self.make_world() as w:
            directory = w.engine.directory
            lost = w.application(issuers=(w.issuer(),), version=3)
            await directory.put_back([lost], [], [])
            with refused(ErrorCode.CONFLICT):
                await directory.save_application(w.application(key="app-2", issuers=(w.issuer(),)))
            await directory.put_back([w.changed(lost, issuers=(), version=4)], [], [])
            await directory.save_application(w.application(key="app-2", issuers=(w.issuer(),)))

    async def test_s15_a_lifted_block_is_not_put_back(self) -> None:
        async with self.make_world() as w:
            request = w.open_request()
            who = request.participant_id
            await w.engine.registry.restrict(BlockParticipant(app=APP, participant_id=who))
            copy = [each for each in await w.engine.directory.restrictions(APP) if each.kind == "block"]
            await w.advance(2)
            await w.engine.registry.restrict(LiftBlock(app=APP, participant_id=who))
            await w.engine.directory.put_back([], [], copy)
            assert (await w.open(token=w.token(age=-5))).created

    async def test_only_what_is_watched_is_delivered(self) -> None:
        async with self.make_world() as w:
            a = await w.client("alice")
            b = await w.client("bob")
            await w.engine.bus.watch(APP, [a.participant_id, b.participant_id])
            await w.engine.bus.watch(APP, [a.participant_id])
            await w.engine.bus.unwatch(APP, [a.participant_id, b.participant_id])
            await a.update(name="A")
            await b.update(name="B")
            await w.wait_for_delivery()
            assert {change.participant.name for change in w.listener.changes} == {"A"}
            await w.engine.bus.unwatch(APP, [a.participant_id])
            await a.update(name="AA")
            await w.wait_for_delivery()
            assert len(w.listener.changes) == 1

    async def test_s13_changes_are_numbered_in_their_partition(self) -> None:
        async with self.make_world() as w:
            a = await w.client("alice")
            await w.engine.bus.watch(APP, [a.participant_id])
            for number in range(3):
                await a.update(name=str(number))
            await w.wait_for_delivery()
            ids = [change.id for change in w.listener.changes]
            assert ids == sorted(set(ids))
            partition = w.listener.changes[-1].partition
            beat = await w.engine.registry.beat(w.beat(watched=(partition,)))
            assert beat.newest[partition] == ids[-1]

    async def test_a_command_reaches_the_node(self) -> None:
        async with self.make_world() as w:
            command = SupersededCommand(session_id="p1-x", generation=3)
            await w.engine.bus.send(w.node, command)
            await w.engine.bus.send("*", DirectoryCommand())
            await w.wait_for_delivery()
            assert w.listener.commands == [command, DirectoryCommand()]
