"""Sessions against the real service: real sockets, a real database file."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import aiohttp
import msgspec
import pytest

from greenroom.engines.base import BlockParticipant, KickParticipant
from greenroom.messages import PATH, SUBPROTOCOL
from greenroom.model import RegistryState, SessionPolicy
from tests.server.harness import (
    Client,
    ClosedError,
    ForwardClocks,
    RefusedError,
    RunningService,
    new_secret,
    running_service,
)
from tests.support.patience import until


async def test_open_update_get_ping_close() -> None:
    async with running_service() as running:
        app = await running.new_application()
        async with running.connect() as client:
            opened = await client.open(app.token("anna"), participant={"name": "Anna"})
            assert opened.participant["name"] == "Anna"
            assert opened.participant["externalId"] == "anna"
            assert opened.participant["presence"] == "online"
            assert opened.generation == 1
            assert await client.call("ping") == {}
            result = await client.call("session.updateParticipantInfo", updateId="u1", name="Anna B.")
            assert result["participant"]["name"] == "Anna B."
            assert result["participant"]["revision"] == opened.participant["revision"] + 1
            again = await client.call("session.updateParticipantInfo", updateId="u1", name="Anna B.")
            assert again["participant"]["revision"] == result["participant"]["revision"]
            got = await client.call("session.getParticipant")
            assert got == result
            assert await client.call("session.close") == {}
            assert await client.closed() == 1000
        record = await running.session(opened.id)
        assert record.end_reason == "closed"


async def test_a_session_outlives_its_connection_and_the_service() -> None:
    async with running_service() as running:
        app = await running.new_application()
        async with running.connect() as client:
            opened = await client.open(app.token("anna"))
            await client.call("ping")
        await until(lambda: not running.service.hub.sessions)
        async with running.connect() as client:
            assert (await client.resume(opened)).generation == 2
            await running.restart()
            with pytest.raises(ClosedError) as caught:
                await client.receive()
            assert caught.value.code == 4001
            assert msgspec.json.decode(caught.value.reason)["after"] == 0.1
        async with running.connect() as client:
            assert (await client.resume(opened)).generation == 3


async def test_a_killed_service_loses_no_session_that_was_acknowledged() -> None:
    async with running_service() as running:
        app = await running.new_application()
        clients = [await running.dial() for _ in range(20)]
        tokens = [app.token(f"user {number}") for number in range(len(clients))]
        opened = await asyncio.gather(*(client.open(token) for client, token in zip(clients, tokens, strict=True)))
        await running.restart(kill=True)
        for session in opened:
            record = await running.session(session.id)
            assert record.state is RegistryState.DETACHED
        async with running.connect() as client:
            assert (await client.resume(opened[7])).generation == 2
        for client in clients:
            await client.drop()


async def test_200_opens_in_flight_on_one_node() -> None:
    async with running_service() as running:
        app = await running.new_application()

        async def one(number: int) -> None:
            async with running.connect() as client:
                opened = await client.open(app.token(f"user {number}"))
                assert opened.participant["externalId"] == f"user {number}"
                await client.call("session.close")

        await asyncio.gather(*(one(number) for number in range(200)))
        await until(lambda: not running.service.hub.connections)
        assert not running.service.hub.watchers


async def test_an_open_repeated_after_a_lost_answer_gives_the_same_session() -> None:
    async with running_service() as running:
        app = await running.new_application()
        token, secret, open_id = app.token("anna"), new_secret(), "0123456789abcdef"
        async with running.connect() as first, running.connect() as second:
            one = await first.open(token, secret=secret, open_id=open_id)
            two = await second.open(token, secret=secret, open_id=open_id)
            assert (two.id, two.generation) == (one.id, 2)
            assert await first.closed() == 4503
            async with running.connect() as third:
                with pytest.raises(RefusedError) as caught:
                    await third.open(token, open_id=open_id)
                assert caught.value.data["reason"] == "Open_id_conflict"


async def test_a_resume_beats_a_socket_that_still_looks_alive() -> None:
    async with running_service() as running:
        app = await running.new_application()
        async with running.connect() as old, running.connect() as new:
            opened = await old.open(app.token("anna"))
            await new.resume(opened)
            assert await old.closed() == 4503
            assert not [name for name, _ in old.notifications if name == "session.ended"]
            await old.drop(1000)
            assert (await new.call("session.getParticipant"))["participant"]["presence"] == "online"


async def _refusal(running: RunningService, token: str, **params: Any) -> tuple[int, str, int]:
    async with running.connect() as client:
        try:
            await client.open(token, **params)
        except RefusedError as error:
            return error.code, error.data["reason"], await client.closed()
        raise AssertionError("it was opened")


async def test_close_codes_of_refusals() -> None:
    async with running_service() as running:
        app = await running.new_application(policy=SessionPolicy(max_sessions=1))
        old = app.token("anna", now=time.time() - 7200, life=3600)
        assert await _refusal(running, old) == (-32008, "Token_expired", 4006)
        good = app.token("anna")
        assert await _refusal(running, good[:-3] + "abc") == (-32050, "Invalid_token", 4500)
        assert await _refusal(running, "nonsense") == (-32050, "Invalid_token", 4500)
        mismatch = await _refusal(running, good, participant={"externalId": "bob"})
        assert mismatch == (-32053, "External_id_mismatch", 4504)
        bad_name = await _refusal(running, good, participant={"name": "a\u202eb"})
        assert bad_name == (-32602, "Illegal_argument", 4505)
        async with running.connect() as client:
            await client.open(good)
            assert await _refusal(running, good) == (-32054, "Too_many_sessions", 4506)
        await running.service.control.restrict(
            BlockParticipant(app=app.key, participant_id=app.participant_id("eve"), reason="rude")
        )
        assert await _refusal(running, app.token("eve", now=time.time() + 3)) == (-32055, "Participant_blocked", 4501)
        await running.service.tenants.disable(app.key)
        assert await _refusal(running, good) == (-32060, "Application_disabled", 4507)


async def test_an_origin_that_is_not_on_the_list_is_refused() -> None:
    async with running_service() as running:
        app = await running.new_application(allowed_origins=("https://a.example",))
        async with running.connect(Origin="https://b.example") as client:
            with pytest.raises(RefusedError) as caught:
                await client.open(app.token("anna"))
            assert caught.value.data["reason"] == "Origin_not_allowed"
            assert await client.closed() == 4500
        async with running.connect(Origin="https://a.example") as client:
            await client.open(app.token("anna"))


async def test_bad_tokens_from_one_address_are_limited_and_good_ones_are_not() -> None:
    async with running_service(failed_auth_per_minute=3) as running:
        app = await running.new_application()
        bad = app.token("anna")
        bad = bad[:-20] + ("A" if bad[-20] != "A" else "B") + bad[-19:]
        for _ in range(3):
            assert (await _refusal(running, bad))[2] == 4500
        code, reason, close = await _refusal(running, bad)
        assert (code, reason, close) == (-32002, "Rate_limited", 4004)
        async with running.connect() as client:
            await client.open(app.token("anna"))
            with pytest.raises(RefusedError) as refused:
                await client.call("session.refreshToken", token=bad)
            assert refused.value.data["reason"] == "Invalid_token"
            await client.call("session.refreshToken", token=app.token("anna"))


async def test_one_participant_in_a_loop_leaves_room_for_others() -> None:
    """A tenth of the node's opens, in a service as it runs."""
    async with running_service(opens_per_second=10.0) as running:
        looping, honest = await running.new_application(), await running.new_application()
        refusals = 0
        for number in range(8):
            async with running.connect() as client, running.connect() as other:
                try:
                    await client.open(looping.token("loop"))
                except RefusedError:
                    refusals += 1
                if number < 4:
                    await other.open(honest.token(f"user {number}"))
        assert refusals >= 6


async def test_opens_beyond_the_nodes_rate_say_when_to_come_back() -> None:
    async with running_service(opens_per_second=1.0) as running:
        app = await running.new_application()
        async with running.connect() as client:
            await client.open(app.token("anna"))
            assert (await _refusal(running, app.token("bob")))[1:] == ("Rate_limited", 4004)


async def test_no_hello_in_time_is_closed() -> None:
    async with running_service(hello_timeout=0.2) as running, running.connect() as client:
        assert await client.closed() == 4500


async def test_a_client_that_does_not_answer_pings_is_dropped_and_its_session_detached() -> None:
    clocks = ForwardClocks()
    async with running_service(clocks, ping_interval=20.0, pong_timeout=15.0) as running:
        app = await running.new_application()
        socket = await running.http.ws_connect(running.url + PATH, protocols=(SUBPROTOCOL,), autoping=False)
        client = Client(socket)
        opened = await client.open(app.token("anna"))
        (connection,) = running.service.hub.connections
        heartbeat = connection.machine._heartbeat
        due = heartbeat.due
        clocks.ahead += 20.0
        await until(lambda: heartbeat.due > due)  # it was pinged
        clocks.ahead += 15.0

        async def is_detached() -> bool:
            record = await running.session(opened.id)
            return record.state is RegistryState.DETACHED

        await until(is_detached)
        await socket.close()


async def test_leaving_a_page_leaves_five_seconds_and_closing_none() -> None:
    async with running_service(grace_going_away=0.5) as running:
        app = await running.new_application()
        client = await running.dial()
        left = await client.open(app.token("anna"))
        await client.call("ping")
        await client.drop(1001)
        client = await running.dial()
        closed = await client.open(app.token("bob"))
        await client.drop(1000)

        async def ended(session_id: str) -> bool:
            record = await running.session(session_id)
            return record.state is RegistryState.CLOSED

        await until(lambda: ended(closed.id))
        await until(lambda: ended(left.id))
        assert (await running.session(closed.id)).end_reason == "closed"
        assert (await running.session(left.id)).end_reason == "timeout"


async def test_closing_as_the_first_message_of_a_connection() -> None:
    async with running_service() as running:
        app = await running.new_application()
        async with running.connect() as client:
            opened = await client.open(app.token("anna"))
            await client.call("ping")
        async with running.connect() as client:
            assert await client.call("session.close", sessionId=opened.id, resumeSecret=opened.secret) == {}
            assert await client.closed() == 1000
        assert (await running.session(opened.id)).end_reason == "closed"
        async with running.connect() as client:  # ended already: success
            assert await client.call("session.close", sessionId=opened.id, resumeSecret=opened.secret) == {}


async def test_watchers_get_open_update_and_close_and_never_an_older_version() -> None:
    async with running_service() as running:
        app = await running.new_application()
        async with running.connect() as watcher, running.connect() as other:
            await watcher.open(app.token("anna"))
            reply = await watcher.call("participants.watch", externalIds=["bob"])
            (bob,) = reply["participants"]
            assert (bob["presence"], bob["version"]) == ("offline", 0)
            await other.open(app.token("bob"), participant={"name": "Bob"})
            seen = [(await watcher.notified("participants.changed"))["participants"][0]]
            assert (seen[0]["presence"], seen[0]["name"]) == ("online", "Bob")
            await other.call("session.updateParticipantInfo", updateId="u", name="Robert")
            seen.append((await watcher.notified("participants.changed"))["participants"][0])
            await other.call("session.close")
            seen.append((await watcher.notified("participants.changed"))["participants"][0])
            assert [(one["presence"], one["name"]) for one in seen[1:]] == [("online", "Robert"), ("offline", "Robert")]
            assert sorted(one["version"] for one in seen) == [one["version"] for one in seen]
            await watcher.call("participants.unwatch", externalIds=["bob"])
            assert len(running.service.hub.watchers) == 1


async def test_a_profile_change_reaches_every_session_of_the_participant() -> None:
    async with running_service() as running:
        app = await running.new_application()
        async with running.connect() as phone, running.connect() as laptop:
            await phone.open(app.token("anna"))
            await laptop.open(app.token("anna"))
            await phone.call("session.updateParticipantInfo", updateId="u", name="Anna")
            while True:
                (own,) = (await laptop.notified("participants.changed"))["participants"]
                if own.get("name") == "Anna":
                    break
            assert own["sessions"] == 2


async def test_a_watcher_that_was_away_gets_what_differs_and_nothing_else() -> None:
    async with running_service() as running:
        app = await running.new_application()
        async with running.connect() as bob, running.connect() as carol:
            await bob.open(app.token("bob"))
            await carol.open(app.token("carol"))
            async with running.connect() as watcher:
                opened = await watcher.open(app.token("anna"))
                reply = await watcher.call("participants.watch", externalIds=["bob", "carol"])
            known = [[one["id"], one["version"]] for one in reply["participants"]]
            await bob.call("session.updateParticipantInfo", updateId="u", name="Robert")
            async with running.connect() as watcher:
                resumed = await watcher.resume(opened, watching=known)
                assert [one["name"] for one in resumed.result["changed"]] == ["Robert"]


async def test_a_kick_ends_every_session_at_once_and_says_why() -> None:
    async with running_service() as running:
        app = await running.new_application()
        async with running.connect() as phone, running.connect() as laptop:
            for client in (phone, laptop):
                await client.open(app.token("anna"))
            await running.service.control.restrict(
                KickParticipant(app=app.key, participant_id=app.participant_id("anna"), reason="be nice")
            )
            for client in (phone, laptop):
                ended = await client.notified("session.ended")
                assert (ended["reason"], ended["message"]) == ("kicked", "be nice")
                assert await client.closed() == 4501


async def test_the_same_device_signing_in_again_replaces_its_own_session() -> None:
    async with running_service() as running:
        app = await running.new_application()
        async with running.connect() as old, running.connect() as new:
            device = {"id": "d1", "name": "Phone"}
            await old.open(app.token("anna"), device=device)
            await new.open(app.token("anna"), device=device)
            ended = await old.notified("session.ended")
            assert ended["reason"] == "replaced"
            assert ended["by"]["device"]["name"] == "Phone"
            assert await old.closed() == 4502


async def test_disabling_an_application_ends_its_sessions_only() -> None:
    async with running_service() as running:
        app, other = await running.new_application(), await running.new_application()
        async with running.connect() as client, running.connect() as bystander:
            await client.open(app.token("anna"))
            await bystander.open(other.token("anna"))
            await running.service.tenants.disable(app.key)
            await running.service.control.announce_directory()
            assert (await client.notified("session.ended"))["reason"] == "application_disabled"
            assert await client.closed() == 4507
            assert await bystander.call("ping") == {}


async def test_a_refresh_on_the_open_connection_counts_at_once() -> None:
    async with running_service() as running:
        app = await running.new_application()
        async with running.connect() as client:
            await client.open(app.token("anna", life=300))
            result = await client.call("session.refreshToken", token=app.token("anna", life=900, scopes=()))
            assert result["scopes"] == []
            with pytest.raises(RefusedError) as caught:
                await client.call("session.updateParticipantInfo", updateId="u", name="x")
            assert caught.value.data["scope"] == "session:update"
            with pytest.raises(RefusedError) as caught:
                await client.call("session.refreshToken", token=app.token("bob"))
            assert caught.value.data["reason"] == "Token_mismatch"


@pytest.mark.slow
async def test_a_spent_token_is_warned_of_then_served_less_then_the_session_ends() -> None:
    async with running_service(token_warning=1.0, token_grace=2.0) as running:
        app = await running.new_application()
        async with running.connect() as client:
            await client.open(app.token("anna", life=5))
            await client.notified("session.tokenExpiring")
            refusal = ""
            while not refusal:
                try:
                    await client.call("session.getParticipant")
                except RefusedError as error:
                    refusal = error.data["reason"]
                await asyncio.sleep(0.05)
            assert refusal == "Token_expired"
            assert (await client.notified("session.ended"))["reason"] == "token_expired"
            assert await client.closed() == 4006


async def test_a_client_that_says_too_much_is_closed_and_may_come_back() -> None:
    async with running_service() as running:
        app = await running.new_application()
        async with running.connect() as client, running.connect() as again:
            opened = await client.open(app.token("anna"))
            for _ in range(120):
                await client.send("ping")
            assert await client.closed() == 4004
            assert (await again.resume(opened)).generation == 2


async def test_a_draining_or_unknown_path_is_refused_in_http() -> None:
    async with running_service() as running:
        running.service.node.draining = True
        with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
            await running.dial()
        assert caught.value.status == 503
        assert caught.value.headers is not None
        assert "Retry-After" in caught.value.headers
        running.service.node.draining = False


async def test_a_node_without_its_lease_serves_nothing_and_recovers() -> None:
    """The engine is away: sessions stay, calls fail retryably, nothing ends; then everything continues (promise 9)."""
    async with running_service(grace=40.0) as running:
        app = await running.new_application()
        async with running.connect() as client:
            opened = await client.open(app.token("anna"))
            node = running.service.node
            node._lease.ended()
            node.check_fence()
            move = await client.notified("session.moveOn")
            assert (move["after"], move["jitter"]) == (0.0, 10.0)
            with pytest.raises(RefusedError) as caught:
                await client.call("session.getParticipant")
            assert (caught.value.data["reason"], caught.value.data["retryable"]) == ("fenced", True)
            with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                await running.dial()
            assert refused.value.headers is not None
            assert 15 <= int(refused.value.headers["Retry-After"]) <= 30
            await node.beat()
            await client.notified("session.stay")
            assert (await client.call("session.getParticipant"))["participant"]["id"] == opened.participant["id"]
            assert running.service.node.not_ready() is None


async def test_a_lapsed_lease_is_replaced_and_sessions_are_taken_back() -> None:
    async with running_service(grace=40.0) as running:  # the wait asked for follows from the grace
        app = await running.new_application()
        async with running.connect() as client:
            opened = await client.open(app.token("anna"))
            node = running.service.node
            old = node.lease
            await node._rejoin()
            assert node.lease != old
            await client.notified("session.stay")
            owner = running.service.hub.sessions[opened.id].context.owner
            assert owner is not None
            assert (owner.generation, owner.lease) == (2, node.lease)
            await client.call("session.updateParticipantInfo", updateId="u", name="A")
            assert await client.call("session.close") == {}


async def test_what_the_engine_could_not_take_is_written_when_it_is_back() -> None:
    async with running_service() as running:
        app = await running.new_application()
        closing, dropping = await running.dial(), await running.dial()
        closed = await closing.open(app.token("anna"))
        dropped = await dropping.open(app.token("bob"))
        await dropping.call("ping")
        node = running.service.node
        node._lease.ended()
        node.check_fence()
        assert await closing.call("session.close") == {}
        await dropping.drop()
        await until(lambda: len(running.service.writes.deferred) == 2)
        assert (await running.session(closed.id)).state is RegistryState.ATTACHED
        await node.beat()
        await node.recovery.caught_up()
        assert not running.service.writes.deferred
        assert (await running.session(closed.id)).end_reason == "closed"
        assert (await running.session(dropped.id)).state is RegistryState.DETACHED


async def test_a_session_that_lost_its_connection_behind_the_nodes_back_is_detached() -> None:
    """Listed for this node and not held: detached at the second look, never ended (S7)."""
    async with running_service() as running:
        app = await running.new_application()
        client = await running.dial()
        opened = await client.open(app.token("anna"))
        connection = running.service.hub.sessions.pop(opened.id)
        await running.service.node.recovery.compare()
        assert (await running.session(opened.id)).state is RegistryState.ATTACHED
        await running.service.node.recovery.compare()
        assert (await running.session(opened.id)).state is RegistryState.DETACHED
        running.service.hub.sessions[opened.id] = connection
        await running.service.node.recovery.compare()  # held, and detached behind its back: acquired again
        assert (await running.session(opened.id)).state is RegistryState.ATTACHED
        assert await client.call("session.close") == {}


async def test_kicks_read_nothing_however_many_there_are() -> None:
    """Each read and decoded all restrictions of all applications, on every node."""
    async with running_service() as running:
        app = await running.new_application()
        await running.service.directory.read(None)
        reads = running.service.metrics.histogram("greenroom_engine_call_seconds").labels("directory", "restrictions")
        before = reads.count
        for number in range(30):
            person = app.participant_id(f"p{number}")
            restricted = await running.service.control.restrict(KickParticipant(app=app.key, participant_id=person))
            found = running.service.tenants.revocations.cutoff(app.application, person)
            assert found == restricted.cutoff
        await running.service.node.beat()
        await running.service.hub.settle_tasks(1.0)
        assert reads.count == before
        # What is stored is what was applied.
        applied = {(one.kind, one.subject, one.before) for one in running.service.tenants.copy[2]}
        await running.service.directory.read(None)
        assert {(one.kind, one.subject, one.before) for one in running.service.tenants.copy[2]} == applied
