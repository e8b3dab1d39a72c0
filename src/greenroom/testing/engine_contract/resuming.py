"""`attach` by secret, and `refresh`: S1, S5, promise 2."""

from __future__ import annotations

from msgspec.structs import replace

from greenroom.codes import ErrorCode
from greenroom.core.requests import Displaced
from greenroom.engines.base import ENDED_OF_PARTICIPANT, OPEN_ID_MEMORY, RevokeToken
from greenroom.model import EndReason, Presence, RegistryState, RoomGrant
from greenroom.testing.engine_contract.base import ContractBase, refused
from greenroom.testing.engine_world import APP, secret


class ResumingContract(ContractBase):
    """How a session comes back to a connection."""

    async def test_promise_2_a_session_survives_its_connection(self) -> None:
        async with self.make_world() as w:
            a = await w.client()
            assert await a.detach()
            stored = await a.stored()
            assert stored is not None
            assert stored.state is RegistryState.DETACHED
            back = await a.resume()
            assert (back.session.id, back.session.generation) == (a.request.session_id, 2)
            assert back.session.state is RegistryState.ATTACHED
            assert back.session.detached_at is None
            assert back.displaced is None
            assert not back.created

    async def test_promise_2_a_resume_beats_a_socket_that_still_looks_alive(self) -> None:
        async with self.make_world() as w:
            await w.join("node-2", "lease-2")
            a = await w.client()
            back = await a.resume(node="node-2", lease="lease-2")
            assert back.displaced == Displaced(w.node, a.id, 1)
            assert back.participant.sessions == 1

    async def test_promise_2_resume_works_many_times_in_a_row(self) -> None:
        async with self.make_world() as w:
            a = await w.client()
            for generation in range(2, 7):
                assert (await a.resume()).session.generation == generation
                await a.detach()

    async def test_s1_a_lost_reply_locks_nobody_out(self) -> None:
        async with self.make_world() as w:
            a = await w.client()
            lost = a.attach_request()
            await w.engine.registry.attach(lost)
            again = a.attach_request(next_secret_hash=lost.next_secret_hash)  # the old secret still: no answer came
            back = await w.engine.registry.attach(again)
            assert back.session.generation == 3
            a.secret = lost.next_secret_hash
            assert (await a.resume()).session.generation == 4

    async def test_s1_a_dial_that_never_arrived_costs_nothing(self) -> None:
        async with self.make_world() as w:
            a = await w.client()
            never = a.attach_request()
            again = a.attach_request(next_secret_hash=never.next_secret_hash)
            assert (await w.engine.registry.attach(again)).session.generation == 2

    async def test_s1_a_late_old_dial_never_undoes_a_newer_one(self) -> None:
        async with self.make_world() as w:
            a = await w.client()
            late = a.attach_request()
            newer = a.attach_request(next_secret_hash=late.next_secret_hash)
            await w.engine.registry.attach(newer)
            with refused(ErrorCode.ATTEMPT_SUPERSEDED):
                await w.engine.registry.attach(late)
            stored = await a.stored()
            assert stored is not None
            assert stored.generation == 2

    async def test_s1_a_spent_secret_opens_nothing(self) -> None:
        async with self.make_world() as w:
            a = await w.client()
            first = a.secret
            await a.resume()
            await a.resume()
            with refused(ErrorCode.RESUME_REFUSED):
                await w.engine.registry.attach(a.attach_request(secret_hash=first))
            with refused(ErrorCode.RESUME_REFUSED):
                await w.engine.registry.attach(a.attach_request(secret_hash=secret("guessed")))
            with refused(ErrorCode.RESUME_REFUSED):
                await w.engine.registry.attach(a.attach_request(secret_hash=b""))

    async def test_s1_the_previous_secret_cannot_choose_the_next(self) -> None:
        async with self.make_world() as w:
            a = await w.client()
            first = a.secret
            await a.resume()
            stolen = a.attach_request(secret_hash=first, next_secret_hash=secret("the thief's"))
            with refused(ErrorCode.RESUME_REFUSED):
                await w.engine.registry.attach(stolen)
            assert (await a.resume()).session.generation == 3

    async def test_s1_a_refused_dial_changes_nothing(self) -> None:
        async with self.make_world() as w:
            a = await w.client()
            before = await a.stored()
            with refused(ErrorCode.RESUME_REFUSED):
                await w.engine.registry.attach(a.attach_request(secret_hash=secret("guessed"), attempt=99))
            assert await a.stored() == before
            await a.resume(attempt=1)

    async def test_a_resume_of_an_ended_session_says_how_it_ended(self) -> None:
        async with self.make_world() as w:
            a = await w.client()
            await a.close(EndReason.KICKED)
            with refused(ErrorCode.SESSION_ENDED) as refusal:
                await a.resume()
            assert refusal.end_reason == EndReason.KICKED

    async def test_s2_how_a_session_ended_is_known_as_long_as_its_open_id_would_be(self) -> None:
        """It made room for later ends of its participant: `state_lost` would make its SDK open again what was ended."""
        async with self.make_world() as w:
            a = await w.client("alice")
            await a.close(EndReason.KICKED)
            for _ in range(ENDED_OF_PARTICIPANT):
                await (await w.client("alice")).close()
            assert await a.stored() is None
            for attempt in (a.resume(), a.update(name="too late")):
                with refused(ErrorCode.SESSION_ENDED) as refusal:
                    await attempt
                assert refusal.end_reason == EndReason.KICKED
            await w.advance(OPEN_ID_MEMORY + 1)
            with refused(ErrorCode.STATE_LOST):
                await a.resume()

    async def test_only_who_knows_the_secret_learns_how_it_ended(self) -> None:
        async with self.make_world() as w:
            a = await w.client()
            await a.close()
            with refused(ErrorCode.RESUME_REFUSED):
                await w.engine.registry.attach(a.attach_request(secret_hash=secret("guessed")))

    async def test_an_unknown_session_is_lost(self) -> None:
        async with self.make_world() as w:
            a = await w.client()
            with refused(ErrorCode.STATE_LOST):
                await a.resume(session_id=a.id[:-1] + "f")
            with refused(ErrorCode.STATE_LOST):
                await a.resume(session_id="nonsense")

    async def test_s5_a_newer_token_takes_the_place_of_the_old_one(self) -> None:
        async with self.make_world() as w:
            a = await w.client()
            token = w.token(life=9000)
            back = await a.resume(token=token, app=APP, participant_id=a.participant_id)
            assert (back.session.jti, back.session.token_expires_at) == (token.jti, token.expires_at)

    async def test_s5_the_token_must_be_of_the_same_application_and_participant(self) -> None:
        async with self.make_world() as w:
            a = await w.client()
            with refused(ErrorCode.TOKEN_MISMATCH):
                await a.resume(token=w.token(), app="app-2", participant_id=a.participant_id)
            with refused(ErrorCode.TOKEN_MISMATCH):
                await a.resume(token=w.token(), app=APP, participant_id="someone else")
            assert (await a.resume()).session.generation == 2

    async def test_s7_only_a_node_with_a_good_lease_attaches(self) -> None:
        async with self.make_world() as w:
            a = await w.client()
            with refused(ErrorCode.FENCED):
                await a.resume(node="node-9", lease="unknown")

    async def test_refresh_stores_the_new_token(self) -> None:
        async with self.make_world() as w:
            a = await w.client()
            token = w.token(life=9000)
            session = await w.engine.registry.refresh(a.owner, token)
            assert (session.jti, session.token_expires_at, session.generation) == (token.jti, token.expires_at, 1)
            stored = await a.stored()
            assert stored is not None
            assert stored.jti == token.jti

    async def test_r7_the_token_s_grants_in_rooms_are_kept(self) -> None:
        async with self.make_world() as w:
            grants = (
                RoomGrant(name="team a-*", can=("join", "watch", "send")),
                RoomGrant(name='q"\\ ü', can=("invite",)),
            )
            a = await w.client(token=replace(w.token(), room_grants=grants))
            assert (a.session.room_grants, a.session.scopes) == (grants, ("*",))
            resumed = await a.resume()
            assert resumed.session.room_grants == grants
            refreshed = await w.engine.registry.refresh(a.owner, replace(w.token(), room_grants=grants[1:]))
            assert (refreshed.room_grants, refreshed.scopes) == (grants[1:], ("*",))
            stored = await a.stored()
            assert stored is not None
            assert stored.room_grants == grants[1:]
            assert (await w.engine.registry.refresh(a.owner, w.token())).room_grants == ()

    async def test_s18_refresh_with_a_revoked_token_is_refused(self) -> None:
        async with self.make_world() as w:
            a = await w.client()
            token = w.token(jti="revoked")
            request = RevokeToken(app=APP, jti="revoked", participant_id=a.participant_id)
            await w.engine.registry.restrict(request)
            with refused(ErrorCode.TOKEN_REVOKED):
                await w.engine.registry.refresh(a.owner, token)
            with refused(ErrorCode.TOKEN_REVOKED):
                await a.resume(token=token)
            assert (await a.record()).presence is Presence.ONLINE

    async def test_the_timeline_has_a_sessions_history(self) -> None:
        async with self.make_world() as w:
            a = await w.client()
            await a.detach()
            await a.resume()
            await w.engine.registry.refresh(a.owner, w.token())
            await a.close()
            stored = await a.stored()
            assert stored is not None
            assert [entry.what for entry in stored.timeline] == [
                "opened",
                "detached",
                "resumed",
                "token_refreshed",
                "ended",
            ]
            assert all(entry.node == w.node for entry in stored.timeline)

    async def test_the_timeline_keeps_the_latest_64(self) -> None:
        async with self.make_world() as w:
            a = await w.client()
            for _ in range(70):
                await a.resume()
            stored = await a.stored()
            assert stored is not None
            assert len(stored.timeline) == 64
            assert {entry.what for entry in stored.timeline} == {"resumed"}

    async def test_s5_a_token_has_one_grace_after_its_end_however_often_it_resumes(self) -> None:
        async with self.make_world() as w:
            a = await w.client(token=w.token(life=70))  # ten seconds are left of it
            expires = a.session.token_expires_at * 1000
            assert (await a.resume()).session.token_grace_since is None
            await a.detach()
            await w.step(15)
            first = (await a.resume()).session.token_grace_since
            assert first is not None
            assert expires < first <= w.now_ms()
            for _ in range(2):
                await w.step(5)
                await a.detach()
                await w.step(5)
                assert (await a.resume()).session.token_grace_since == first
            stored = await a.stored()
            assert stored is not None
            assert stored.token_grace_since == first
            newer = (await a.resume(token=w.token(life=4000))).session
            assert newer.token_grace_since is None

    async def test_s5_of_a_session_that_was_connected_at_its_tokens_end_the_grace_began_there(self) -> None:
        async with self.make_world() as w:
            a = await w.client(token=w.token(life=70))
            await w.step(15)
            assert (await a.resume()).session.token_grace_since == a.session.token_expires_at * 1000
            b = await w.client("bob", token=w.token(life=70))
            await w.step(15)
            await b.detach()
            await w.step(5)
            assert (await b.resume()).session.token_grace_since == b.session.token_expires_at * 1000
            # Refreshed with itself it gains nothing.
            await w.engine.registry.refresh(b.owner, b.request.token)
            assert (await b.resume()).session.token_grace_since == b.session.token_expires_at * 1000
