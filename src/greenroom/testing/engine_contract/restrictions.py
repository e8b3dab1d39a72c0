"""Kick, block, lift, revoke, erase: S18, promise 7."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from greenroom.codes import ErrorCode
from greenroom.engines.base import (
    BlockParticipant,
    CutOffTokens,
    EraseParticipant,
    KickParticipant,
    LiftBlock,
    Restricted,
    RestrictRequest,
    RevokeToken,
)
from greenroom.errors import ParticipantBlockedError
from greenroom.model import EndReason, Presence, RegistryState
from greenroom.testing.engine_contract.base import ContractBase, refused
from greenroom.testing.engine_world import APP, World

RESTRICTIONS: dict[str, Callable[..., RestrictRequest]] = {
    "kick": KickParticipant, "block": BlockParticipant, "lift": LiftBlock, "cutoff": CutOffTokens, "jti": RevokeToken,
    "erase": EraseParticipant,
}  # fmt: skip


async def restrict(w: World, kind: str, participant_id: str, **more: Any) -> Restricted:
    """One restriction of APP's participant."""
    request = RESTRICTIONS[kind](app=APP, participant_id=participant_id, **more)
    return await w.engine.registry.restrict(request)


class RestrictionsContract(ContractBase):
    """Checked inside `open`, `attach` and `refresh`, against the session's participant."""

    async def test_promise_7_a_kick_ends_all_sessions_in_one_change(self) -> None:
        async with self.make_world() as w:
            a = await w.client()
            b = await w.client()
            await b.detach()
            await w.engine.bus.watch(APP, [a.participant_id])
            done = await restrict(w, "kick", a.participant_id, reason="spam")
            await w.wait_for_delivery()
            assert {session.id for session in done.ended} == {a.id, b.id}
            assert {session.end_reason for session in done.ended} == {EndReason.KICKED}
            assert {session.state for session in done.ended} == {RegistryState.ATTACHED, RegistryState.DETACHED}
            (change,) = w.listener.records(a.participant_id)
            assert (change.presence, change.sessions) == (Presence.OFFLINE, 0)
            assert (await w.types())[-3:] == ["session.ended", "session.ended", "participant.offline"]
            assert (await w.events())[-2].data["text"] == "spam"

    async def test_promise_7_who_was_kicked_does_not_walk_back_in_with_the_same_token(self) -> None:
        async with self.make_world() as w:
            a = await w.client()
            await restrict(w, "kick", a.participant_id)
            with refused(ErrorCode.SESSION_ENDED) as refusal:
                await a.resume()
            assert refusal.end_reason == EndReason.KICKED
            with refused(ErrorCode.TOKEN_REVOKED):
                await w.open(token=a.request.token)
            with refused(ErrorCode.TOKEN_REVOKED):
                await w.open(token=w.token(age=1))

    async def test_a_new_token_lets_someone_who_was_kicked_in_again(self) -> None:
        async with self.make_world() as w:
            a = await w.client()
            done = await restrict(w, "kick", a.participant_id)
            assert done.cutoff * 1000 >= w.now_ms()
            await w.advance(2)
            assert (await w.open(token=w.token(age=0))).created

    async def test_a_restriction_says_which_versions_of_the_directory_it_lies_between(self) -> None:
        """By that nodes apply it, and need not read all restrictions again."""
        async with self.make_world() as w:
            a = await w.client()
            for kind in ("kick", "block", "lift"):
                before = await w.engine.directory.version()
                done = await restrict(w, kind, a.participant_id)
                assert done.versions == (before, await w.engine.directory.version())
                assert before < done.versions[1]

    async def test_a_kick_cuts_off_though_nobody_is_there(self) -> None:
        async with self.make_world() as w:
            request = w.open_request()
            done = await restrict(w, "kick", request.participant_id)
            assert done.ended == ()
            with refused(ErrorCode.TOKEN_REVOKED):
                await w.engine.registry.open(request)

    async def test_a_kick_concerns_one_participant_of_one_application(self) -> None:
        async with self.make_world() as w:
            a = await w.client("alice")
            b = await w.client("bob")
            other = await w.client("alice", app="app-2")
            await restrict(w, "kick", a.participant_id)
            assert (await b.record()).presence is Presence.ONLINE
            assert (await other.record()).presence is Presence.ONLINE
            await w.open("alice", app="app-2", token=a.request.token)

    async def test_promise_7_a_block_keeps_out_until_it_ends(self) -> None:
        async with self.make_world() as w:
            a = await w.client()
            until = w.now_ms() + 100_000
            done = await restrict(w, "block", a.participant_id, until=until, reason="enough")
            assert [session.end_reason for session in done.ended] == [EndReason.BLOCKED]
            await w.advance(90)
            with refused(ErrorCode.PARTICIPANT_BLOCKED) as refusal:
                await w.open(token=w.token(age=0))
            assert isinstance(refusal.error, ParticipantBlockedError)
            assert refusal.error.until == until
            await w.advance(15)
            assert (await w.open(token=w.token(age=0))).created

    async def test_a_block_without_end_ends_when_it_is_lifted(self) -> None:
        async with self.make_world() as w:
            a = await w.client()
            await restrict(w, "block", a.participant_id)
            await w.advance(3)
            with refused(ErrorCode.PARTICIPANT_BLOCKED):
                await w.open(token=w.token(age=0))
            await restrict(w, "lift", a.participant_id)
            assert (await w.open(token=w.token(age=0))).created
            with refused(ErrorCode.NOT_FOUND):
                await restrict(w, "lift", a.participant_id)

    async def test_a_block_of_someone_never_seen(self) -> None:
        async with self.make_world() as w:
            request = w.open_request()
            await restrict(w, "block", request.participant_id)
            with refused(ErrorCode.PARTICIPANT_BLOCKED):
                await w.engine.registry.open(request)

    async def test_promise_7_blocks_and_cutoffs_survive_a_restart(self) -> None:
        async with self.make_world() as w:
            if not w.restartable:
                return
            a = await w.client("alice")
            b = await w.client("bob")
            await restrict(w, "block", a.participant_id)
            await restrict(w, "kick", b.participant_id)
            await w.restart()
            with refused(ErrorCode.PARTICIPANT_BLOCKED):
                await w.open("alice", token=w.token(age=-10))
            with refused(ErrorCode.TOKEN_REVOKED):
                await w.open("bob", token=b.request.token)

    async def test_s18_a_cutoff_ends_sessions_whose_tokens_it_covers(self) -> None:
        async with self.make_world() as w:
            old = await w.client(token=w.token(age=100))
            new = await w.client(token=w.token(age=10))
            before = w.now_ms() // 1000 - 50
            done = await restrict(w, "cutoff", old.participant_id, before=before)
            assert [session.id for session in done.ended] == [old.id]
            assert done.ended[0].end_reason is EndReason.TOKEN_REVOKED
            assert (done.cutoff, done.changed) == (before, True)
            assert (await new.resume()).session.generation == 2
            with refused(ErrorCode.TOKEN_REVOKED):
                await w.open(token=w.token(age=60))
            edge = w.token()
            for issued_at, code in ((before, ErrorCode.TOKEN_REVOKED), (before + 1, None)):
                token = type(edge)(jti=f"edge-{issued_at}", issued_at=issued_at, expires_at=edge.expires_at)
                if code is None:
                    assert (await w.open(token=token)).created
                else:
                    with refused(code):
                        await w.open(token=token)

    async def test_s18_a_cutoff_only_rises(self) -> None:
        async with self.make_world() as w:
            a = await w.client(token=w.token(age=10))
            now = w.now_ms() // 1000
            assert (await restrict(w, "cutoff", a.participant_id, before=now - 50)).cutoff == now - 50
            again = await restrict(w, "cutoff", a.participant_id, before=now - 90)
            assert (again.cutoff, again.changed) == (now - 50, False)

    async def test_s18_one_token_is_revoked_by_its_jti(self) -> None:
        async with self.make_world() as w:
            a = await w.client(token=w.token(jti="bad"))
            b = await w.client(token=w.token(jti="good"))
            done = await restrict(w, "jti", a.participant_id, jti="bad")
            assert [session.id for session in done.ended] == [a.id]
            assert done.ended[0].end_reason is EndReason.TOKEN_REVOKED
            with refused(ErrorCode.TOKEN_REVOKED):
                await w.open(token=a.request.token)
            assert (await b.resume()).session.generation == 2
            assert not (await restrict(w, "jti", a.participant_id, jti="bad")).changed

    async def test_s18_the_applications_own_cutoff(self) -> None:
        async with self.make_world() as w:
            cutoff = w.now_ms() // 1000 - 50
            await w.engine.directory.save_application(w.application(revoked_before=cutoff))
            with refused(ErrorCode.TOKEN_REVOKED):
                await w.open(token=w.token(age=60))
            assert (await w.open(token=w.token(age=40))).created

    async def test_an_application_that_is_disabled_lets_nobody_in_and_its_detached_sessions_end(self) -> None:
        async with self.make_world() as w:
            saved = await w.engine.directory.save_application(w.application())
            a = await w.client("alice")
            b = await w.client("bob")
            await b.detach(40)
            await w.engine.directory.save_application(w.changed(saved, disabled=True))
            with refused(ErrorCode.APPLICATION_DISABLED):
                await w.open("carol")
            done = await w.advance(3)
            assert [session.id for session in done.ended] == [b.id]
            assert done.ended[0].end_reason is EndReason.APPLICATION_DISABLED
            assert (await a.record()).presence is Presence.ONLINE  # its node ends what it holds

    async def test_erasing_forgets_everything_but_a_block_by_hashed_id(self) -> None:
        async with self.make_world() as w:
            a = await w.client(name="Alice Liddell", avatar_url="/alice.png", device_name="Alice's phone")
            await a.update(name="Alice L.")
            await restrict(w, "block", a.participant_id, reason="for Alice")
            done = await restrict(w, "erase", a.participant_id)
            assert done.changed
            assert (await a.record()).version == 0
            assert await a.stored() is None
            with refused(ErrorCode.PARTICIPANT_BLOCKED):
                await w.open(token=w.token(age=-10))
            restrictions = await w.engine.directory.restrictions(APP)
            assert a.participant_id not in {restriction.subject for restriction in restrictions}
            published = repr(await w.events()) + repr(restrictions)
            for name in ("Alice", "alice"):
                assert name not in published

    async def test_erasing_ends_the_sessions(self) -> None:
        async with self.make_world() as w:
            a = await w.client("alice")
            b = await w.client("bob", name="Bob")
            done = await restrict(w, "erase", a.participant_id)
            assert [session.end_reason for session in done.ended] == [EndReason.KICKED]
            assert (await w.types()).count("session.ended") == 1
            with refused(ErrorCode.TOKEN_REVOKED):
                await w.open("alice", token=a.request.token)
            assert (await b.record()).name == "Bob"
            assert not (await restrict(w, "erase", a.participant_id)).changed

    async def test_after_an_erase_no_token_from_before_opens_a_session(self) -> None:
        async with self.make_world() as w:
            older, newer = w.token(age=50), w.token(age=10)
            a = await w.client(token=newer)
            await restrict(w, "erase", a.participant_id)
            for token in (older, newer, w.token(age=1)):
                with refused(ErrorCode.TOKEN_REVOKED):
                    await w.open(token=token)
            await w.advance(2)
            assert (await w.open(token=w.token(age=0))).created

    async def test_erasing_reaches_sessions_that_ended_long_ago(self) -> None:
        async with self.make_world() as w:
            old = await w.client("alice", device_name="Alice's phone", address="192.0.2.7")
            await old.close()
            await w.step(1000)
            await w.advance(2)
            assert await old.stored() is not None
            kept = await w.client("bob")
            await kept.close()
            await restrict(w, "erase", old.participant_id)
            assert await old.stored() is None
            assert await kept.stored() is not None
            await w.advance(5)
            assert (await old.stored(), await w.types()) == (None, await w.types())

    async def test_erasing_reaches_someone_whose_record_is_gone_already(self) -> None:
        async with self.make_world() as w:
            settings = w.application_settings(keep_offline_participants=1.0)
            await w.engine.directory.save_application(w.application(settings=settings))
            a = await w.client("alice", name="Alice")
            await a.close()
            await w.advance(30)
            assert (await a.record()).version == 0, "the record is gone"
            assert await a.stored() is not None
            await restrict(w, "erase", a.participant_id)
            assert await a.stored() is None
            assert "Alice" not in repr(await w.events())
            await w.advance(5)
            assert await a.stored() is None

    async def test_what_a_participant_does_after_being_erased_is_theirs(self) -> None:
        async with self.make_world() as w:
            a = await w.client("alice", name="Alice")
            await restrict(w, "erase", a.participant_id)
            await w.step(2)
            again = await w.client("alice", name="Alicia", token=w.token(age=0))
            await again.close()
            assert [event.data["name"] for event in await w.events() if event.data.get("name")] == ["Alicia"] * 2
            await w.advance(5)
            assert await again.stored() is not None
            assert [event.data["name"] for event in await w.events() if event.data.get("name")] == ["Alicia"] * 2
            page = await w.engine.outbox.read(APP, None, 1000)
            assert (page.gap, page.reset) == (0, False), "nothing was lost"

    async def test_several_are_erased_at_once(self) -> None:
        async with self.make_world() as w:
            people = [await w.client(f"user-{number}", name=f"Name {number}") for number in range(6)]
            before = [event.id for event in await w.events()]
            for client in people[:3]:
                await restrict(w, "erase", client.participant_id)
            await w.step(1)
            await w.reap()
            for client in people[3:5]:
                await restrict(w, "erase", client.participant_id)
            for seconds in (0, 5):
                await w.advance(seconds)
                events = await w.events()
                assert {event.data["name"] for event in events if event.data.get("name")} == {"Name 5"}
                assert {event.id for event in events} >= set(before)

    async def test_restrictions_are_forgotten_as_fast_as_they_come(self) -> None:
        async with self.make_world() as w:
            request = w.open_request()
            for number in range(300):
                await restrict(w, "jti", request.participant_id, jti=f"stolen-{number}")
            assert len(await w.engine.directory.restrictions(APP)) == 300
            await w.step(26 * 3600)
            await w.reap()
            assert await w.engine.directory.restrictions(APP) == ()

    async def test_a_kick_stores_one_cut_off_however_many_sessions_it_ends(self) -> None:
        async with self.make_world() as w:
            ahead = w.token(age=-5)
            a = await w.client(token=ahead)
            for _ in range(4):
                await w.open()
            await restrict(w, "kick", a.participant_id)
            kinds = sorted(each.kind for each in await w.engine.directory.restrictions(APP))
            assert kinds == ["cutoff", "jti"], "a token issued later than the cut-off is revoked by its id"
            with refused(ErrorCode.TOKEN_REVOKED):
                await w.open(token=ahead)

    async def test_restrictions_are_kept_while_a_token_of_their_time_may_live(self) -> None:
        async with self.make_world() as w:
            a = await w.client()
            await restrict(w, "block", a.participant_id)
            await restrict(w, "lift", a.participant_id)
            await restrict(w, "jti", a.participant_id, jti="stolen")
            await w.step(24 * 3600)
            await w.advance(40)
            kept = await w.engine.directory.restrictions(APP)
            assert {"block", "cutoff", "jti"} <= {each.kind for each in kept}
            await w.step(3600)
            await w.advance(40)
            assert await w.engine.directory.restrictions(APP) == ()

    async def test_watchers_forget_the_name_of_someone_who_was_erased(self) -> None:
        async with self.make_world() as w:
            a = await w.client(name="Alice")
            await w.engine.bus.watch(APP, [a.participant_id])
            await restrict(w, "erase", a.participant_id)
            await w.wait_for_delivery()
            last = w.listener.records(a.participant_id)[-1]
            assert (last.name, last.external_id, last.presence) == ("", None, Presence.OFFLINE)
            assert last.version > a.attached.participant.version
