"""Rules S1 to S20 (rules.md), each as a scenario in the simulated world that fails when the rule is taken out."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest

from greenroom.codes import CloseCode, ErrorCode
from greenroom.core.states import SessionState
from greenroom.engines.base import BlockParticipant
from greenroom.errors import (
    ExternalIdMismatchError,
    GreenroomError,
    ParticipantBlockedError,
    SessionEndedError,
    TooManySessionsError,
)
from greenroom.model import EndReason, ParticipantInfo, Presence, RegistryState, SessionPolicy, participant_id_of
from tests.support.sim.loop import SimLoop
from tests.support.sim.network import AppSocket, SimTransport
from tests.support.sim.oracles import events_of, one_end_each, record_of, sessions_of
from tests.support.sim.world import World

SECRET = "11" * 32


@pytest.fixture
def world() -> Iterator[World]:
    with World(2024) as made:
        yield made


class RawClient:
    """A client without an SDK: says on the wire what the scenario wants."""

    def __init__(self, world: World, external_id: str | None = "anna") -> None:
        self.app = world.make_app(f"raw {len(world.apps)}", external_id)
        if external_id is None:
            self.app.external_id = None
        self.world = world
        self._ids = 0

    def dial(self) -> AppSocket:
        plug: AppSocket = self.app.run(SimTransport(self.app).connect())
        return plug

    def send(self, plug: AppSocket, method: str, **params: Any) -> int:
        self._ids += 1
        plug.send(json.dumps({"jsonrpc": "2.0", "id": self._ids, "method": method, "params": params}).encode())
        return self._ids

    def receive(self, plug: AppSocket, request_id: int | None = None, within: float = 30.0) -> dict[str, Any]:
        """The answer to a request, or the next message."""

        async def wait() -> dict[str, Any]:
            while (message := await plug._inbox.get()) is not None:
                decoded: dict[str, Any] = json.loads(message)
                if request_id is None or decoded.get("id") == request_id:
                    return decoded
            return {"closed": plug.close_code()}

        return self.app.run(wait(), within)

    def ask(self, plug: AppSocket, method: str, **params: Any) -> dict[str, Any]:
        return self.receive(plug, self.send(plug, method, **params))

    def open(self, plug: AppSocket, open_id: str = "open-1", secret: str = SECRET, **more: Any) -> dict[str, Any]:
        token = self.world.mint(self.app)
        return self.ask(plug, "session.open", token=token, openId=open_id, resumeSecret=secret, **more)

    def resume(self, plug: AppSocket, session: str, secret: str, following: str, attempt: int) -> dict[str, Any]:
        return self.ask(
            plug, "session.resume", sessionId=session, resumeSecret=secret, nextSecret=following, attempt=attempt
        )


def code_of(answer: dict[str, Any]) -> int:
    code: int = answer["error"]["code"]
    return code


def set_policy(world: World, **policy: Any) -> None:
    """Change the application's policy, as its settings API does."""
    import msgspec

    node = world.node
    tenants = node.service.tenants

    async def change() -> None:
        application = tenants.get(world.application.key)
        assert application is not None
        settings = msgspec.structs.replace(application.settings, policy=SessionPolicy(**policy))
        await node.engine.directory.save_application(msgspec.structs.replace(application, settings=settings))
        await tenants.load()

    node.run(change())


# -- S1 ---------------------------------------------------------------------------------------------------------------


def test_s1_a_lost_reply_to_resume_locks_nobody_out(world: World) -> None:
    client = RawClient(world)
    first = client.dial()
    session = client.open(first)["result"]["session"]["id"]
    second_secret = "22" * 32
    lost = client.dial()
    client.send(lost, "session.resume", sessionId=session, resumeSecret=SECRET, nextSecret=second_secret, attempt=1)
    world.run(2.0)  # the service has rotated the secret; the reply is never read
    again = client.dial()
    answer = client.resume(again, session, SECRET, second_secret, 2)
    assert answer["result"]["session"]["generation"] == 3


def test_s1_a_late_old_dial_never_undoes_a_newer_one(world: World) -> None:
    client = RawClient(world)
    session = client.open(client.dial())["result"]["session"]["id"]
    new = client.dial()
    client.resume(new, session, SECRET, "22" * 32, 2)
    late = client.dial()
    answer = client.resume(late, session, SECRET, "22" * 32, 1)
    assert code_of(answer) == ErrorCode.ATTEMPT_SUPERSEDED
    assert client.ask(new, "session.getParticipant")["result"]["participant"]["presence"] == "online"


def test_s1_short_and_foreign_secrets_are_refused(world: World) -> None:
    client = RawClient(world)
    assert code_of(client.open(client.dial(), secret="11" * 15)) == ErrorCode.ILLEGAL_ARGUMENT
    session = client.open(client.dial())["result"]["session"]["id"]
    assert code_of(client.resume(client.dial(), session, "33" * 32, "44" * 32, 5)) == ErrorCode.RESUME_REFUSED


# -- S2 ---------------------------------------------------------------------------------------------------------------


def test_s2_a_repeated_open_is_the_same_session(world: World) -> None:
    client = RawClient(world)
    lost = client.dial()
    token = world.mint(client.app)
    client.send(lost, "session.open", token=token, openId="open-1", resumeSecret=SECRET, participant={"name": "A"})
    world.run(2.0)
    answer = client.open(client.dial(), participant={"name": "B"})
    assert answer["result"]["session"]["generation"] == 2
    assert answer["result"]["participant"]["name"] == "A", "info is not applied again"
    assert len(sessions_of(world)) == 1
    assert [event.type for event in events_of(world)].count("session.opened") == 1


def test_s2_an_open_id_with_another_secret_is_refused(world: World) -> None:
    client = RawClient(world)
    client.open(client.dial())
    assert code_of(client.open(client.dial(), secret="55" * 32)) == ErrorCode.OPEN_ID_CONFLICT


def test_s2_an_open_id_of_an_ended_session_says_how_it_ended(world: World) -> None:
    client = RawClient(world)
    plug = client.dial()
    client.open(plug)
    client.ask(plug, "session.close")
    answer = client.open(client.dial())
    assert code_of(answer) == ErrorCode.SESSION_ENDED
    assert answer["error"]["data"]["endReason"] == "closed"


def test_s2_a_block_comes_before_a_known_open_id(world: World) -> None:
    client = RawClient(world)
    plug = client.dial()
    client.open(plug)
    request = BlockParticipant(
        app=world.application.key, participant_id=participant_id_of(world.application.namespace, "anna")
    )
    world.node.run(world.node.service.control.restrict(request))
    world.run(3.0)
    assert code_of(client.open(client.dial())) == ErrorCode.PARTICIPANT_BLOCKED


# -- S3 ---------------------------------------------------------------------------------------------------------------


def test_s3_a_detached_session_yields_first_also_under_reject(world: World) -> None:
    set_policy(world, max_sessions=2, when_full="reject")
    devices = [world.make_app(f"device {number}", "anna") for number in range(4)]
    devices[0].open()
    devices[1].open()
    with pytest.raises(TooManySessionsError):
        devices[2].run(devices[2].sdk.session.open())
    devices[0].lose_power()
    world.until(lambda: any(one.state is RegistryState.DETACHED for one in sessions_of(world)), 30.0)
    devices[3].open()
    assert devices[1].sdk.session.state is SessionState.CONNECTED
    assert len(sessions_of(world)) == 2


# -- S4 ---------------------------------------------------------------------------------------------------------------


def test_s4_an_automatic_reopen_does_not_bring_an_old_name_back(world: World) -> None:
    laptop, phone = world.make_app("laptop", "anna"), world.make_app("phone", "anna")
    laptop.open(name="Old")
    phone.open()
    laptop.silence()
    phone.run(phone.sdk.session.update_participant_info(name="New"))
    world.run(100.0)  # the laptop's session is over
    laptop.heal()
    world.until(lambda: laptop.reopened == ["timeout"], 60.0)
    assert record_of(world, "anna").name == "New"
    assert laptop.sdk.session.participant is not None
    assert laptop.sdk.session.participant.info.name == "New"


# -- S5 ---------------------------------------------------------------------------------------------------------------


def test_s5_an_expired_token_serves_refresh_only_and_ends_after_thirty_seconds(world: World) -> None:
    client = RawClient(world)
    client.app.token_life = 60
    plug = client.dial()
    client.open(plug)
    world.run(75.0)
    assert code_of(client.ask(plug, "session.getParticipant")) == ErrorCode.TOKEN_EXPIRED
    assert "result" in client.ask(plug, "ping")
    client.app.token_life = 3600
    assert "result" in client.ask(plug, "session.refreshToken", token=world.mint(client.app))
    assert "result" in client.ask(plug, "session.getParticipant")


def test_s5_without_a_refresh_the_session_ends_thirty_seconds_after_the_token(world: World) -> None:
    client = RawClient(world)
    client.app.token_life = 60
    plug = client.dial()
    client.open(plug)
    world.run(88.0)
    assert sessions_of(world)
    world.run(6.0)
    assert not sessions_of(world)
    assert [event.data["reason"] for event in events_of(world) if event.type == "session.ended"] == ["token_expired"]
    assert plug.close_code() == CloseCode.TOKEN_EXPIRED


def test_s5_expiry_never_ends_a_detached_session_before_its_grace(world: World) -> None:
    app = world.make_app("anna")
    app.token_life = 40
    app.sdk.initialize_token(world.mint(app), app._refresh)
    app.open()
    world.run(5.0)
    app.silence()
    world.run(45.0)  # the token is over by 10 s; the grace is not
    assert sessions_of(world)
    app.heal()
    app.clock.offset = 0.0
    world.until(lambda: app.sdk.session.state is SessionState.CONNECTED, 30.0)
    assert app.reopened == []


# -- S6 ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "is_confirmed", "grace"),
    [(1000, True, 0), (1000, False, 0), (1001, True, 5), (4000, True, 40), (1005, True, 40), (4000, False, 10)],
)
def test_s6_how_a_link_was_closed_decides_the_grace(world: World, code: int, is_confirmed: bool, grace: int) -> None:
    client = RawClient(world)
    plug = client.dial()
    client.open(plug)
    if is_confirmed:
        client.ask(plug, "ping")
    plug.disconnect(code)
    began = world.timeline.now
    world.until(lambda: not sessions_of(world), grace + 4.0)
    assert grace <= world.timeline.now - began <= grace + 4.0
    reason = "closed" if code == 1000 else "timeout"
    assert [event.data["reason"] for event in events_of(world) if event.type == "session.ended"] == [reason]


def test_s6_1000_from_a_superseded_connection_means_nothing(world: World) -> None:
    client = RawClient(world)
    old = client.dial()
    session = client.open(old)["result"]["session"]["id"]
    for wire in client.app.wires:
        wire.up.silence()
    new = client.dial()
    client.resume(new, session, SECRET, "22" * 32, 1)
    old.disconnect(1000)
    for wire in client.app.wires:
        wire.up.heal()
    world.run(5.0)
    assert [one.id for one in sessions_of(world)] == [session]


def test_s6_an_sdk_closed_while_reconnecting_ends_its_session_in_the_background(world: World) -> None:
    app = world.make_app("anna")
    app.open()
    world.run(5.0)
    app.silence()
    world.until(lambda: app.sdk.session.state is SessionState.RECONNECTING, 25.0)
    app.begin(app.sdk.session.close())
    world.run(3.0)
    assert app.sdk.session.participant is None
    assert sessions_of(world)
    app.heal()
    world.until(lambda: not sessions_of(world), 25.0)
    assert [event.data["reason"] for event in events_of(world) if event.type == "session.ended"] == ["closed"]


def test_s6_an_unknown_session_is_closed_with_success(world: World) -> None:
    client = RawClient(world)
    answer = client.ask(client.dial(), "session.close", sessionId="p3-" + "00" * 16, resumeSecret=SECRET)
    assert answer["result"] == {}


# -- S7, S8, S9, S10 --------------------------------------------------------------------------------------------------


def test_s7_a_node_that_slept_goes_on_with_its_sessions(world: World) -> None:
    app = world.make_app("anna")
    app.open()
    world.run(3.0)
    world.node.pause()
    world.run(12.0)
    world.node.wake()
    world.run(15.0)
    assert [one.state for one in sessions_of(world)] == [RegistryState.ATTACHED]
    assert app.sdk.session.state is SessionState.CONNECTED
    assert not list(one_end_each(world))


def test_s8_a_clock_that_jumps_ends_nobody(world: World) -> None:
    anna, bob = world.make_app("anna"), world.make_app("bob")
    anna.open()
    bob.open()
    world.run(3.0)
    anna.silence()
    world.until(lambda: any(one.state is RegistryState.DETACHED for one in sessions_of(world)), 30.0)
    world.node.clock.offset += 3600.0
    world.run(5.0)
    assert len(sessions_of(world)) == 2, "an hour on the clock is not an hour of grace"
    world.node.clock.offset -= 7200.0
    world.run(5.0)
    assert len(sessions_of(world)) == 2


def test_s8_a_service_that_was_paused_consumes_nobodys_grace(world: World) -> None:
    app = world.make_app("anna")
    app.open()
    world.run(3.0)
    app.silence()
    world.until(lambda: any(one.state is RegistryState.DETACHED for one in sessions_of(world)), 30.0)
    world.run(20.0)
    world.node.pause()
    world.run(300.0)
    world.node.wake()
    world.run(5.0)
    assert sessions_of(world)


def test_s9_a_fenced_node_answers_retryably_and_says_move_on_then_stay(world: World) -> None:
    client = RawClient(world)
    plug = client.dial()
    client.open(plug)
    client.ask(plug, "ping")
    registry: Any = world.node.service.engine.registry
    real = registry.beat

    async def unreachable(beat: Any) -> Any:
        raise GreenroomError("away", code=ErrorCode.SERVICE_UNAVAILABLE)

    registry.beat = unreachable
    world.run(9.0)
    received = client.receive(plug)
    while received.get("method") != "session.moveOn":
        received = client.receive(plug)
    assert received["params"]["jitter"] >= 10.0
    answer = client.ask(plug, "session.getParticipant")
    assert code_of(answer) == ErrorCode.FENCED
    assert answer["error"]["data"]["retryable"] is True
    assert world.node.service.node.not_ready() is not None
    refused = client.app.begin(SimTransport(client.app).connect())
    world.run(1.0)
    assert 15.0 <= getattr(refused.exception(), "retry_after", 0.0) <= 30.0
    registry.beat = real
    world.run(9.0)
    while received.get("method") != "session.stay":
        received = client.receive(plug)
    assert "result" in client.ask(plug, "session.getParticipant")


def test_s10_a_node_that_stops_alone_sends_no_move_on_and_keeps_its_sessions(world: World) -> None:
    client = RawClient(world)
    plug = client.dial()
    client.open(plug)
    client.ask(plug, "ping")
    world.node.stop()
    assert client.receive(plug) == {"closed": CloseCode.DRAINING}
    world.run(500.0)
    world.node.start()
    assert [one.state for one in sessions_of(world)] == [RegistryState.DETACHED]
    world.run(30.0)
    assert sessions_of(world), "the full grace counts from the start"
    world.run(12.0)
    assert not sessions_of(world)


def test_s10_a_restart_under_sdks_ends_nothing_and_shows_nobody_offline(world: World) -> None:
    apps = [world.make_app(f"person {number}") for number in range(20)]
    watcher = world.make_app("watcher")
    for app in apps:
        app.open()
    watcher.open()
    watcher.run(watcher.watch(*(app.external_id or "" for app in apps)))
    world.run(3.0)
    for stop in (world.node.stop, world.node.kill):
        stop()
        world.run(2.0)
        world.node.start()
        world.run(45.0)
        assert all(app.sdk.session.state is SessionState.CONNECTED for app in apps)
    assert all(one.presence is not Presence.OFFLINE for seen in watcher.seen.values() for one in seen)
    assert all(app.reopened == [] for app in apps)
    assert [event.type for event in events_of(world)].count("session.ended") == 0


# -- S11 to S14 -------------------------------------------------------------------------------------------------------


def test_s11_versions_rise_with_everything_that_is_shown(world: World) -> None:
    anna, bob = world.make_app("anna"), world.make_app("bob")
    bob.open()
    bob.run(bob.watch("anna"))
    anna.open()
    second = world.make_app("anna's phone", "anna")
    world.run(0.5)
    second.open()
    world.run(0.5)
    anna.run(anna.sdk.session.update_participant_info(name="Anna"))
    world.run(1.0)
    anna.close()
    world.run(1.0)
    second.close()
    world.run(3.0)
    versions = [one.version for one in bob.seen[record_of(world, "anna").id]]
    assert len(versions) >= 5
    assert versions == sorted(set(versions))
    assert bob.seen[record_of(world, "anna").id][-1].presence is Presence.OFFLINE


def test_s11_a_wall_clock_set_back_takes_no_version_back(world: World) -> None:
    anna = world.make_app("anna")
    before = anna.open(name="One").version
    world.node.clock.offset -= 4.0
    after = anna.run(anna.sdk.session.update_participant_info(name="Two")).version
    assert after > before


def test_s12_a_watcher_that_was_away_gets_what_differs_and_nothing_else(world: World) -> None:
    people = [world.make_app(f"person {number}") for number in range(5)]
    bob = world.make_app("bob")
    for app in (*people, bob):
        app.open()
    bob.run(bob.watch(*(app.external_id or "" for app in people)))
    world.run(2.0)
    bob.silence()
    world.until(lambda: bob.sdk.session.state is SessionState.RECONNECTING, 25.0)
    people[2].run(people[2].sdk.session.update_participant_info(name="Changed"))
    seen_before = {key: len(value) for key, value in bob.seen.items()}
    bob.heal()
    world.until(lambda: bob.sdk.session.state is SessionState.CONNECTED, 40.0)
    world.run(2.0)
    fresh = {key: value[seen_before.get(key, 0) :] for key, value in bob.seen.items()}
    changed = {key: value for key, value in fresh.items() if value}
    assert [[one.info.name for one in value] for value in changed.values()] == [["Changed"]]


def test_s12_unknown_ids_read_as_offline_at_version_zero_and_may_be_watched(world: World) -> None:
    bob = world.make_app("bob")
    bob.open()
    bob.run(bob.watch("nobody yet"))
    (held,) = bob.watches[0].participants.values()
    assert (held.presence, held.version) == (Presence.OFFLINE, 0)
    assert held.info.external_id == "nobody yet", "whoever asked must be able to tell whose record it is"
    late = world.make_app("nobody yet")
    late.open()
    world.run(2.0)
    (held,) = bob.watches[0].participants.values()
    assert held.presence is Presence.ONLINE


@pytest.mark.interpreted
def test_s13_a_change_that_was_not_received_is_read_again(world: World) -> None:
    anna, bob = world.make_app("anna"), world.make_app("bob")
    anna.open()
    bob.open()
    bob.run(bob.watch("anna"))
    hub: Any = world.node.service.hub
    deaf = hub.changed
    hub.changed = lambda change: None
    bus: Any = world.node.engine.bus
    bus.listen(hub)
    anna.run(anna.sdk.session.update_participant_info(name="Missed"))
    world.run(1.0)
    hub.changed = deaf
    world.run(15.0)
    (held,) = bob.watches[0].participants.values()
    assert held.info.name == "Missed"


def test_s14_a_repeated_update_gets_the_first_result_and_changes_nothing(world: World) -> None:
    client = RawClient(world)
    plug = client.dial()
    client.open(plug)
    first = client.ask(plug, "session.updateParticipantInfo", updateId="u1", name="One")["result"]["participant"]
    client.ask(plug, "session.updateParticipantInfo", updateId="u2", name="Two")
    again = client.ask(plug, "session.updateParticipantInfo", updateId="u1", name="One")["result"]["participant"]
    assert (again["revision"], again["name"]) == (first["revision"], "One")
    assert record_of(world, "anna").name == "Two"


# -- S17 to S20 -------------------------------------------------------------------------------------------------------


def test_s18_a_kick_lets_a_new_token_in_and_a_block_does_not(world: World) -> None:
    app = world.make_app("anna")
    app.open()
    world.run(2.0)
    world.kick("anna")
    world.run(2.0)
    assert app.ends == ["kicked"]
    assert app.sdk.session.state is SessionState.DISCONNECTED
    with pytest.raises(GreenroomError) as caught:
        app.run(app.sdk.session.open())
    assert caught.value.code in (ErrorCode.TOKEN_REVOKED, ErrorCode.TOKEN_INVALID)
    world.run(2.0)
    app.sdk.initialize_token(world.mint(app), app._refresh)
    app.open()
    until = world.node.clock.now_ms() + 60_000
    request = BlockParticipant(
        app=world.application.key,
        participant_id=participant_id_of(world.application.namespace, "anna"),
        until=until,
    )
    world.node.run(world.node.service.control.restrict(request))
    world.run(2.0)
    app.sdk.initialize_token(world.mint(app), app._refresh)
    with pytest.raises(ParticipantBlockedError) as blocked:
        app.run(app.sdk.session.open())
    assert blocked.value.until == until
    world.node.kill()
    world.node.start()
    with pytest.raises(ParticipantBlockedError):
        app.run(app.sdk.session.open())
    world.run(65.0)
    app.sdk.initialize_token(world.mint(app), app._refresh)
    app.open()


def test_s18_resume_secrets_die_with_a_kick(world: World) -> None:
    client = RawClient(world)
    session = client.open(client.dial())["result"]["session"]["id"]
    world.kick("anna")
    world.run(2.0)
    answer = client.resume(client.dial(), session, SECRET, "22" * 32, 1)
    assert code_of(answer) == ErrorCode.SESSION_ENDED
    assert answer["error"]["data"]["endReason"] == EndReason.KICKED.value


def test_s19_requests_are_answered_in_order_and_ping_at_once(world: World) -> None:
    client = RawClient(world)
    plug = client.dial()
    client.open(plug)
    for number in range(5):
        client.send(plug, "session.updateParticipantInfo", updateId=f"u{number}", name=f"Name {number}")
    ping = client.send(plug, "ping")
    answers: list[int] = []
    while len(answers) < 6:
        message = client.receive(plug)
        if "id" in message:
            answers.append(message["id"])
    assert [one for one in answers if one != ping] == sorted(one for one in answers if one != ping)
    assert record_of(world, "anna").name == "Name 4"


@pytest.mark.parametrize(
    ("message", "closed"),
    [
        ({"jsonrpc": "2.0", "method": "session.open", "params": {}}, True),
        ({"jsonrpc": "2.0", "id": 1, "method": "participants.get", "params": {}}, True),
        ({"jsonrpc": "2.0", "id": 1, "method": "ping"}, True),
    ],
)
def test_s19_anything_else_first_is_a_protocol_error(world: World, message: dict[str, Any], closed: bool) -> None:
    client = RawClient(world)
    plug = client.dial()
    plug.send(json.dumps(message).encode())
    world.run(5.0)
    assert (plug.close_code() == CloseCode.PROTOCOL_ERROR) is closed


def test_s19_after_a_failed_resume_the_client_may_open_on_the_same_connection(world: World) -> None:
    client = RawClient(world)
    plug = client.dial()
    answer = client.resume(plug, "p3-" + "00" * 16, SECRET, "22" * 32, 1)
    assert code_of(answer) == ErrorCode.STATE_LOST
    world.run(8.0)
    assert "result" in client.open(plug), "the hello clock starts again"


def test_s20_after_an_anonymous_reopen_the_delegate_gets_the_new_id(world: World) -> None:
    app = world.make_app("nobody", "")
    before = app.open(name="Guest")
    world.run(3.0)
    app.silence()
    world.run(100.0)
    app.heal()
    world.until(lambda: app.reopened == ["timeout"], 60.0)
    assert app.sdk.session.participant is not None
    assert app.sdk.session.participant.id != before.id
    assert app.previous_ids == [before.id]


# -- what holds the scenarios -----------------------------------------------------------------------------------------


def test_an_external_id_that_is_not_the_tokens_opens_nothing(world: World) -> None:
    app = world.make_app("anna")
    with pytest.raises(ExternalIdMismatchError):
        app.run(app.sdk.session.open(ParticipantInfo(external_id="bob")))
    assert not sessions_of(world)


def test_a_session_evicted_twice_never_loops(world: World) -> None:
    app = world.make_app("anna")
    app.open()
    world.run(2.0)

    async def end_all() -> None:
        from greenroom.core.requests import EndRequest

        for session in (await world.node.engine.registry.sessions(_all(world))).items:
            await world.node.service.control.end_session(EndRequest(session_id=session.id, reason=EndReason.KICKED))

    world.node.run(end_all())
    world.run(60.0)
    assert app.sdk.session.state is SessionState.DISCONNECTED
    assert app.ends == ["kicked"]
    opened = [event for event in events_of(world) if event.type == "session.opened"]
    assert len(opened) == 1


def _all(world: World) -> Any:
    from greenroom.engines.base import SessionQuery

    return SessionQuery(app=world.application.key)


def test_errors_of_shut_down_loops_are_not_hidden(world: World) -> None:
    app = world.make_app("anna")
    loop: SimLoop = app.loop

    async def fail() -> None:
        asyncio.get_running_loop().call_soon(lambda: 1 / 0)

    app.run(fail())
    world.run(0.1)
    assert "exception" in loop.failures[0]


def test_session_ended_error_is_what_a_lost_update_gets(world: World) -> None:
    app = world.make_app("anna")
    app.open()
    world.run(1.0)
    world.kick("anna")
    with pytest.raises(GreenroomError) as caught:
        app.run(app.sdk.session.update_participant_info(name="x"))
    assert isinstance(caught.value, SessionEndedError) or caught.value.code == ErrorCode.SESSION_NOT_OPEN
