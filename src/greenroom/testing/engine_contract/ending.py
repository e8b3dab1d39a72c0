"""`close` and the reaper's ends: promise 3, S6."""

from __future__ import annotations

from collections import Counter

from greenroom.codes import ErrorCode
from greenroom.core.requests import EndRequest
from greenroom.model import EndReason, Presence, RegistryState
from greenroom.testing.engine_contract.base import ContractBase, refused
from greenroom.testing.engine_world import APP, secret


class EndingContract(ContractBase):
    """Exactly one end, with a reason."""

    async def test_promise_3_a_close_ends_it_once(self) -> None:
        async with self.make_world() as w:
            a = await w.client(device_id="d", device_name="Phone")
            await w.advance(5)
            ended = await a.close()
            assert ended is not None
            assert (ended.id, ended.generation, ended.node, ended.state) == (a.id, 1, w.node, RegistryState.ATTACHED)
            assert ended.end_reason is EndReason.CLOSED
            assert await a.close() is None
            event = (await w.events())[-2]
            assert (event.id, event.type, event.session_id) == (a.id + ":ended", "session.ended", a.id)
            assert event.participant_id == a.participant_id
            assert event.data["reason"] == "closed"
            assert 4.5 < event.data["duration"] < 6.5
            assert event.data["device"] == {"id": "d", "name": "Phone"}
            assert event.data["externalId"] == "alice"
            assert (await w.types())[-2:] == ["session.ended", "participant.offline"]
            stored = await a.stored()
            assert stored is not None
            assert (stored.state, stored.end_reason) == (RegistryState.CLOSED, EndReason.CLOSED)

    async def test_s6_a_close_by_secret(self) -> None:
        async with self.make_world() as w:
            a = await w.client()
            await a.detach()
            by_secret = EndRequest(session_id=a.id, reason=EndReason.CLOSED, secret_hash=a.secret)
            ended = await w.engine.registry.close(by_secret)
            assert ended is not None
            assert await w.engine.registry.close(by_secret) is None
            assert (await a.record()).presence is Presence.OFFLINE

    async def test_s6_a_close_by_the_previous_secret_where_the_answer_was_lost(self) -> None:
        async with self.make_world() as w:
            a = await w.client()
            first = a.secret
            await a.resume()
            request = EndRequest(session_id=a.id, reason=EndReason.CLOSED, secret_hash=first)
            assert await w.engine.registry.close(request) is not None

    async def test_s6_a_close_by_a_wrong_secret_is_refused(self) -> None:
        async with self.make_world() as w:
            a = await w.client()
            with refused(ErrorCode.RESUME_REFUSED):
                await w.engine.registry.close(
                    EndRequest(session_id=a.id, reason=EndReason.CLOSED, secret_hash=secret("guessed"))
                )
            assert (await a.record()).presence is Presence.ONLINE

    async def test_s6_closing_what_is_unknown_is_a_success(self) -> None:
        async with self.make_world() as w:
            a = await w.client()
            request = EndRequest(session_id=a.id[:-1] + "f", reason=EndReason.CLOSED, secret_hash=a.secret)
            assert await w.engine.registry.close(request) is None
            assert await w.engine.registry.close(EndRequest(session_id="nonsense", reason=EndReason.CLOSED)) is None

    async def test_an_operator_ends_a_session_of_its_application_only(self) -> None:
        async with self.make_world() as w:
            a = await w.client()
            foreign = EndRequest(session_id=a.id, reason=EndReason.KICKED, app="app-2")
            assert await w.engine.registry.close(foreign) is None
            own = EndRequest(session_id=a.id, reason=EndReason.KICKED, text="spam", app=APP)
            ended = await w.engine.registry.close(own)
            assert ended is not None
            assert (ended.end_reason, ended.end_text) == (EndReason.KICKED, "spam")

    async def test_an_ended_session_can_be_looked_at_for_a_day(self) -> None:
        async with self.make_world() as w:
            a = await w.client()
            await a.close()
            await w.advance(700)
            assert await a.stored() is not None

    async def test_promise_3_a_late_end_never_hides_a_newer_session(self) -> None:
        async with self.make_world() as w:
            old = await w.client()
            await old.detach(40)
            await w.advance(39)
            new = await w.client()
            await w.advance(5)
            assert (await new.record()).presence is Presence.ONLINE
            assert (await new.record()).sessions == 1
            types = await w.types()
            assert types[-1] == "session.ended"
            assert "participant.offline" not in types

    async def test_promise_3_every_way_out_is_one_event(self) -> None:
        async with self.make_world() as w:
            ids = []
            for number, reason in enumerate(EndReason):
                a = await w.client(f"user-{number}")
                ids.append(a.id)
                if number % 3 == 0:
                    await a.detach(5)
                    await w.advance(8)
                await a.close(reason)
                await a.close(reason)
            left = await w.client("left")
            ids.append(left.id)
            w.kill(w.node)
            await w.advance(60)
            await w.advance(60)
            ends = Counter(event.session_id for event in await w.events() if event.type == "session.ended")
            assert ends == Counter(ids)
