"""Messages, kicks, ends and invitations: R6 to R9 and R11."""

from __future__ import annotations

from typing import Any

import msgspec

from greenroom.codes import ErrorCode
from greenroom.core.rooms.requests import (
    Answered,
    AnswerInvitation,
    EndRoom,
    InviteRequest,
    KickMember,
    Moderated,
    RoomLimits,
    SendMessage,
)
from greenroom.engines.base import EraseParticipant
from greenroom.engines.rooms import INVITATIONS_OF_INVITEE, MARK_AGE
from greenroom.errors import InvitationAnsweredError, KeptOutError, RateLimitedError
from greenroom.model import participant_id_of
from greenroom.testing.engine_contract.base import ContractBase, refused
from greenroom.testing.engine_contract.room_memberships import ROOM, reason_of_leaving
from greenroom.testing.engine_world import APP, NAMESPACE, Client, World


class MessagesContract(ContractBase):
    """R6: messages of members to a room."""

    async def test_r6_a_message_is_numbered_and_published(self) -> None:
        async with self.make_world() as w:
            a, b = await w.client("alice"), await w.client("bob")
            await a.join(ROOM)
            await b.join(ROOM)
            await w.engine.bus.watch_rooms(APP, [ROOM])
            first = await a.send(ROOM, b'{"hand":"up"}')
            second = await b.send(ROOM, b"1", to=(a.participant_id,))
            assert 0 < first < second
            await w.wait_for_delivery()
            one, two = w.listener.room_messages
            assert (one.app, one.room, one.number, one.message) == (APP, ROOM, first, b'{"hand":"up"}')
            assert (one.sender, one.session_id, one.to) == (a.participant_id, a.id, ())
            assert (two.sender, two.number, two.to) == (b.participant_id, second, (a.participant_id,))

    async def test_r6_only_members_send(self) -> None:
        async with self.make_world() as w:
            a, b = await w.client("alice"), await w.client("bob")
            await a.join(ROOM)
            for sender in (b, await w.client("alice")):
                with refused(ErrorCode.NOT_A_MEMBER):
                    await sender.send(ROOM)
            with refused(ErrorCode.NOT_A_MEMBER):
                await b.send("unknown")
            with refused(ErrorCode.NOT_A_MEMBER):
                await b.send(ROOM, sender=a.participant_id)
            await a.leave(ROOM)
            with refused(ErrorCode.NOT_A_MEMBER):
                await a.send(ROOM)

    async def test_r6_the_backend_sends_to_every_open_room(self) -> None:
        async with self.make_world() as w:
            a = await w.client()
            await a.join(ROOM)
            await w.engine.bus.watch_rooms(APP, [ROOM])
            message = SendMessage(app=APP, room=ROOM, message_id="one", message=b"1")
            await w.engine.rooms.send(message)
            await w.engine.rooms.send(msgspec.structs.replace(message, message_id="two", on_behalf_of=a.participant_id))
            await w.wait_for_delivery()
            assert [(each.sender, each.session_id) for each in w.listener.room_messages] == [
                ("", ""),
                (a.participant_id, ""),
            ]
            with refused(ErrorCode.NOT_FOUND):
                await w.engine.rooms.send(msgspec.structs.replace(message, room="unknown"))

    async def test_r6_a_repeated_message_gets_the_first_number_and_is_published_once(self) -> None:
        async with self.make_world() as w:
            a, b = await w.client("alice"), await w.client("bob")
            await a.join(ROOM)
            await b.join(ROOM)
            await w.engine.bus.watch_rooms(APP, [ROOM])
            first = await a.send(ROOM, message_id="same")
            assert await a.send(ROOM, message_id="same") == first
            assert await b.send(ROOM, message_id="same") > first
            await w.wait_for_delivery()
            assert len(w.listener.room_messages) == 2

    async def test_r6_numbers_grow_across_the_end_of_the_room(self) -> None:
        async with self.make_world() as w:
            a = await w.client()
            numbers = []
            for _ in range(3):
                await a.join(ROOM)
                numbers += [await a.send(ROOM), await a.send(ROOM)]
                await a.leave(ROOM)
            assert numbers == sorted(set(numbers))

    async def test_r6_a_sender_and_a_room_have_budgets(self) -> None:
        async with self.make_world() as w:
            a, b = await w.client("alice"), await w.client("bob")
            limits = RoomLimits(message_bytes_per_second=1000, room_bytes_per_second=1500)
            await a.join(ROOM)
            await b.join(ROOM)
            await a.send(ROOM, b"1" * 900, limits=limits)
            with refused(ErrorCode.RATE_LIMITED) as refusal:
                await a.send(ROOM, b"1" * 900, limits=limits)
            assert isinstance(refusal.error, RateLimitedError)
            assert refusal.error.retry_after is not None
            assert 0 < refusal.error.retry_after <= 1
            await b.send(ROOM, b"1" * 500, limits=limits)
            with refused(ErrorCode.RATE_LIMITED):
                await b.send(ROOM, b"1" * 400, limits=limits)
            backend = SendMessage(app=APP, room=ROOM, message_id="backend", message=b"1" * 5000, limits=limits)
            await w.engine.rooms.send(backend)
            await w.advance(2)
            await a.send(ROOM, b"1" * 900, limits=limits)


class ModerationContract(ContractBase):
    """R8, R11: kicks, and rooms that are ended."""

    async def _kick(self, w: World, client: Client, **changes: Any) -> Moderated:
        request = KickMember(app=APP, room=ROOM, participant_id=client.participant_id)
        return await w.engine.rooms.moderate(msgspec.structs.replace(request, **changes))

    async def test_r8_a_kick_ends_the_memberships_and_keeps_out_for_a_while(self) -> None:
        async with self.make_world() as w:
            a, b, second = await w.client("alice"), await w.client("bob"), await w.client("bob")
            for client in (a, b, second):
                await client.join(ROOM)
            await b.join("another")
            done = await self._kick(w, b, seconds=30)
            assert done.changed
            assert sorted((lost.session_id, lost.room, lost.reason) for lost in done.lost) == sorted(
                [(b.id, ROOM, "kicked"), (second.id, ROOM, "kicked")]
            )
            assert {(lost.node, lost.generation) for lost in done.lost} == {(w.node, 1)}
            await w.rosters_follow()
            assert list(await w.members(ROOM)) == [a.participant_id]
            assert await reason_of_leaving(w) == "kicked"
            assert (await b.rooms(), await second.rooms()) == (("another",), ())
            with refused(ErrorCode.KEPT_OUT) as refusal:
                await b.join(ROOM)
            assert isinstance(refusal.error, KeptOutError)
            assert refusal.error.until is not None
            assert abs(refusal.error.until - w.now_ms() - 30_000) < 3000
            with refused(ErrorCode.KEPT_OUT):
                await (await w.client("bob")).join(ROOM)
            await w.advance(32)
            assert (await b.join(ROOM)).count == 2

    async def test_r8_who_is_no_member_is_kept_out_too(self) -> None:
        async with self.make_world() as w:
            a = await w.client()
            assert (await self._kick(w, a)).lost == ()
            with refused(ErrorCode.KEPT_OUT):
                await a.join(ROOM)
            await a.join("another")
            await w.advance(62)
            await a.join(ROOM)
            assert len((await self._kick(w, a, seconds=0)).lost) == 1
            await w.rosters_follow()
            await a.join(ROOM)
            assert await a.rooms() == ("another", ROOM)

    async def test_r8_a_session_that_was_away_is_notified_once(self) -> None:
        async with self.make_world() as w:
            a = await w.client()
            await a.join(ROOM)
            await a.join("another")
            await a.detach(40)
            await self._kick(w, a)
            await w.rosters_follow()
            resumed = await a.resume()
            assert resumed.session.rooms == ("another",)
            assert resumed.lost_rooms == ((ROOM, "kicked"),)
            assert (await a.resume()).lost_rooms == ()

    async def test_r7_only_the_opener_the_backend_and_who_is_granted_it_kick(self) -> None:
        async with self.make_world() as w:
            a, b, c = await w.client("alice"), await w.client("bob"), await w.client("carol")
            for client in (a, b, c):
                await client.join(ROOM)
            for room in (ROOM, "unknown"):
                with refused(ErrorCode.ROOM_PERMISSION_MISSING):
                    await self._kick(w, c, by=b.participant_id, room=room)
            assert (await w.roster(ROOM)).count == 3
            assert len((await self._kick(w, c, by=a.participant_id)).lost) == 1
            assert len((await self._kick(w, a, by=b.participant_id, may_kick=True)).lost) == 1
            await w.rosters_follow()
            assert list(await w.members(ROOM)) == [b.participant_id]

    async def test_r8_who_was_kicked_stays_out_across_a_restart_and_an_erase(self) -> None:
        async with self.make_world() as w:
            a = await w.client()
            await a.join(ROOM)
            await self._kick(w, a, seconds=600)
            if w.restartable:
                await w.restart()
            await w.engine.registry.restrict(EraseParticipant(app=APP, participant_id=a.participant_id))
            await w.advance(2)
            b = await w.client(token=w.token(age=0))
            assert b.participant_id == a.participant_id
            with refused(ErrorCode.KEPT_OUT):
                await b.join(ROOM)

    async def test_r11_a_room_is_ended_with_all_its_memberships(self) -> None:
        async with self.make_world() as w:
            a, b = await w.client("alice"), await w.client("bob")
            first = await a.join(ROOM)
            await b.join(ROOM)
            await b.join("another")
            await b.detach(40)
            done = await w.engine.rooms.moderate(EndRoom(app=APP, room=ROOM))
            lost = list(done.lost)
            assert done.changed
            for _ in range(3):
                await w.step(MARK_AGE + 0.1)
                lost += (await w.settle()).lost
            assert [(each.session_id, each.reason) for each in lost] == [(a.id, "ended")]
            assert (await w.roster(ROOM)).count == 0
            assert await w.room_types(ROOM) == ["opened", "joined", "joined", "left", "left", "ended"]
            assert await reason_of_leaving(w) == "ended"
            resumed = await b.resume()
            assert (resumed.session.rooms, resumed.lost_rooms) == (("another",), ((ROOM, "ended"),))
            again = await a.join(ROOM)
            assert first.record is not None
            assert again.record is not None
            assert again.record.id != first.record.id

    async def test_r11_ending_what_is_not_open_changes_nothing_and_an_empty_room_ends_at_once(self) -> None:
        async with self.make_world() as w:
            assert not (await w.engine.rooms.moderate(EndRoom(app=APP, room=ROOM))).changed
            await w.engine.rooms.create(w.room_request(ROOM))
            assert (await w.engine.rooms.moderate(EndRoom(app=APP, room=ROOM))).changed
            await w.rosters_follow()
            assert await w.room_types(ROOM) == ["opened", "ended"]


class InvitationsContract(ContractBase):
    """R9: invitations wait with their invitees."""

    def _invitation(self, w: World, invitee: str, **changes: Any) -> InviteRequest:
        request = InviteRequest(
            app=APP,
            room=ROOM,
            invitation_id=f"invitation-{w.number()}",
            inviter="inviter",
            inviter_name="Ina",
            invitee=invitee,
            text="Come in",
        )
        return msgspec.structs.replace(request, **changes)

    async def test_r9_an_invitation_comes_with_every_open_and_resume_until_it_is_answered(self) -> None:
        async with self.make_world() as w:
            invitee = participant_id_of(NAMESPACE, "alice")
            invited = await w.engine.rooms.invite(self._invitation(w, invitee))
            assert invited.sessions == ()
            invitation = invited.invitation
            assert (invitation.room, invitation.inviter, invitation.inviter_name) == (ROOM, "inviter", "Ina")
            assert (invitation.invitee, invitation.text) == (invitee, "Come in")
            assert invitation.expires_at - invitation.created_at == 60_000
            a, b = await w.client("alice"), await w.client("bob")
            assert a.attached.invitations == (invitation,)
            assert b.attached.invitations == ()
            assert (await a.resume()).invitations == (invitation,)
            with refused(ErrorCode.NOT_FOUND):
                await self._answer(b, invitation.id)
            assert await self._answer(a, invitation.id) == Answered(invitation)
            assert (await a.resume()).invitations == ()

    async def test_r9_an_invitation_is_answered_once_and_the_same_answer_again_changes_nothing(self) -> None:
        async with self.make_world() as w:
            a, sibling = await w.client("alice"), await w.client("alice")
            made = []
            for accept in (True, False):
                # A text that looks like an answer is none.
                request = self._invitation(w, a.participant_id, text='","accepted":true}')
                invitation = (await w.engine.rooms.invite(request)).invitation
                made.append(invitation.id)
                assert await self._answer(a, invitation.id, accept=accept) == Answered(invitation)
                assert await self._answer(a, invitation.id, accept=accept) == Answered(invitation, is_new=False)
                other = msgspec.structs.replace(self._answering(sibling, invitation.id), accept=not accept)
                with refused(ErrorCode.INVITATION_ANSWERED) as refusal:
                    await w.engine.rooms.answer(other)
                assert isinstance(refusal.error, InvitationAnsweredError)
                assert refusal.error.accepted is accept
                assert (await a.resume()).invitations == ()
                assert (await w.client("alice")).attached.invitations == ()
            await w.advance(62)
            with refused(ErrorCode.NOT_FOUND):
                await self._answer(a, made[-1], accept=False)

    async def test_r9_those_that_are_answered_make_room_first(self) -> None:
        async with self.make_world() as w:
            a = await w.client("alice")
            made = [
                (await w.engine.rooms.invite(self._invitation(w, a.participant_id))).invitation
                for _ in range(INVITATIONS_OF_INVITEE)
            ]
            await self._answer(a, made[5].id)
            made.append((await w.engine.rooms.invite(self._invitation(w, a.participant_id))).invitation)
            assert (await a.resume()).invitations == (*made[:5], *made[6:])
            with refused(ErrorCode.NOT_FOUND):
                await self._answer(a, made[5].id)

    async def test_r9_connected_sessions_of_the_invitee_are_named(self) -> None:
        async with self.make_world() as w:
            a, away = await w.client("alice"), await w.client("alice")
            await w.client("bob")
            await away.detach(40)
            invited = await w.engine.rooms.invite(self._invitation(w, a.participant_id))
            assert invited.sessions == ((w.node, a.id, 1),)

    async def test_r9_only_the_owner_answers(self) -> None:
        async with self.make_world() as w:
            a = await w.client()
            invited = await w.engine.rooms.invite(self._invitation(w, a.participant_id))
            stale = a.owner
            await a.resume()
            with refused(ErrorCode.ATTEMPT_SUPERSEDED):
                await self._answer(a, invited.invitation.id, owner=stale)
            await self._answer(a, invited.invitation.id)

    async def test_r9_the_latest_are_kept_and_none_past_its_time(self) -> None:
        async with self.make_world() as w:
            invitee = participant_id_of(NAMESPACE, "alice")
            made = [
                (await w.engine.rooms.invite(self._invitation(w, invitee, ttl=30))).invitation
                for _ in range(INVITATIONS_OF_INVITEE + 2)
            ]
            a = await w.client("alice")
            kept = {invitation.id for invitation in a.attached.invitations}
            assert kept == {invitation.id for invitation in made[2:]}
            await w.advance(32)
            with refused(ErrorCode.NOT_FOUND):
                await self._answer(a, made[-1].id)
            assert (await a.resume()).invitations == ()

    async def test_r9_an_erase_takes_invitations_by_and_to_the_person(self) -> None:
        async with self.make_world() as w:
            a, b, c = await w.client("alice"), await w.client("bob"), await w.client("carol")
            for inviter, invitee in ((a, b), (c, b), (b, a)):
                request = self._invitation(w, invitee.participant_id, inviter=inviter.participant_id)
                await w.engine.rooms.invite(request)
            await w.engine.registry.restrict(EraseParticipant(app=APP, participant_id=a.participant_id))
            await w.advance(2)
            assert [each.inviter for each in (await b.resume()).invitations] == [c.participant_id]
            again = await w.client("alice", token=w.token(age=0))
            assert again.attached.invitations == ()

    def _answering(self, client: Client, invitation_id: str) -> AnswerInvitation:
        return AnswerInvitation(
            app=APP, participant_id=client.participant_id, owner=client.owner, invitation_id=invitation_id, accept=True
        )

    async def _answer(self, client: Client, invitation_id: str, **changes: Any) -> Answered:
        request = msgspec.structs.replace(self._answering(client, invitation_id), **changes)
        return await client.world.engine.rooms.answer(request)
