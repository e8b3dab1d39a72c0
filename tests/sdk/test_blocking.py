"""greenroom.blocking: for programs without a loop."""

from __future__ import annotations

import asyncio
import os
import queue
import select
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from greenroom import (
    OpenCancelledError,
    ParticipantInfo,
    ServiceUnavailableError,
    SessionDelegate,
    SessionNotOpenError,
    SessionState,
)
from greenroom.blocking import Greenroom
from greenroom.testing.fake_service import FakeService, make_token, participant_id
from tests.support.patience import PATIENCE
from tests.support.sdk import a_participant_id


@contextmanager
def running_fake() -> Iterator[FakeService]:
    """The fake in a loop of its own, in another thread."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    service = FakeService()
    try:
        asyncio.run_coroutine_threadsafe(service.start(), loop).result(5)
        yield service
        asyncio.run_coroutine_threadsafe(service.stop(), loop).result(5)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def test_open_update_and_close() -> None:
    with running_fake() as service, Greenroom(service.url) as sdk:
        sdk.initialize_token(make_token(external_id="ada"))
        with sdk.session.opened(ParticipantInfo(name="Ada")) as participant:
            assert participant.info.name == "Ada"
            assert sdk.session.is_open()
            assert sdk.session.scopes == ("*",)
            assert sdk.session.update_participant_info(name="Ada L").revision == 1
            assert sdk.session.update_participant_info(attributes={"role": "nurse"}).attributes == {"role": "nurse"}
            assert sdk.session.set_status("away").availability == "away"
            assert sdk.session.status == "away"
            assert sdk.session.get_participant() == sdk.session.participant
            assert [one.id for one in sdk.participants.get(external_ids=["bob"])] == [participant_id("bob")]
            assert len(sdk.participants.watch([a_participant_id("a")])) == 1
            sdk.participants.unwatch([a_participant_id("a")])
        assert sdk.session.state is SessionState.DISCONNECTED
        assert [one.ended for one in service.sessions.values()] == ["closed"]


def test_rooms() -> None:
    with running_fake() as service, Greenroom(service.url) as ada, Greenroom(service.url) as bob:
        ada.initialize_token(make_token(external_id="ada"))
        bob.initialize_token(make_token(external_id="bob"))
        ada.session.open()
        bob.session.open()
        room_id = ada.rooms.create("r", ttl=5)
        assert ada.rooms.find(room_id) == "r"
        with ada.rooms.join("r") as room:
            assert room is ada.rooms.join("r")
            assert ada.rooms.joined == [room]
            assert (room.name, room.id, room.is_member, room.is_detailed) == ("r", room_id, True, True)
            seen = bob.rooms.watch("r")
            received: queue.SimpleQueue[object] = queue.SimpleQueue()
            room.on_message(lambda sender, message: received.put((sender and sender.id, message)))
            room.on_change(lambda change: received.put([one.id for one in change.joined]))
            theirs = bob.rooms.join("r")
            assert received.get(timeout=PATIENCE) == [participant_id("bob")]
            theirs.send({"n": 1})
            assert received.get(timeout=PATIENCE) == (participant_id("bob"), {"n": 1})
            done: queue.SimpleQueue[BaseException | None] = queue.SimpleQueue()
            theirs.on_message(lambda sender, message: theirs.send(f"echo of {message}", completion=done.put))
            room.send("one")
            assert done.get(timeout=PATIENCE) is None
            assert received.get(timeout=PATIENCE) == (participant_id("bob"), "echo of one")
            assert {one.id for one in room.all_members()} == set(room.members)
            assert (room.count, room.version, room.is_closed) == (2, seen.version, False)
            room.invite([participant_id("bob")])
            closed: queue.SimpleQueue[str] = queue.SimpleQueue()
            theirs.on_closed(closed.put)
            room.kick(participant_id("bob"), seconds=0.0)
            assert closed.get(timeout=PATIENCE) == "kicked"
            assert (theirs.reason, theirs.error) == ("kicked", None)
            (invitation,) = bob.rooms.invitations
            again = bob.rooms.accept(invitation)
            assert again is not theirs
            again.leave()
            again.on_missed(print)()
        assert not room.is_member
        assert list(room.changes()) == []


def test_changes_of_a_room_block_until_there_are_some() -> None:
    with running_fake() as service, Greenroom(service.url) as ada, Greenroom(service.url) as bob:
        ada.initialize_token(make_token(external_id="ada"))
        bob.initialize_token(make_token(external_id="bob"))
        ada.session.open()
        bob.session.open()
        room = ada.rooms.join("r")
        received: queue.SimpleQueue[list[str]] = queue.SimpleQueue()

        def follow() -> None:
            for change in room.changes():
                received.put([one.id for one in change.joined])
            received.put(["over"])

        thread = threading.Thread(target=follow)
        thread.start()
        while not room._room._changes:
            time.sleep(0.001)
        bob.rooms.join("r")
        assert received.get(timeout=PATIENCE) == [participant_id("bob")]
        room.leave()
        assert received.get(timeout=PATIENCE) == ["over"]
        thread.join()


def test_an_invitation_is_declined() -> None:
    with running_fake() as service, Greenroom(service.url) as ada:
        ada.initialize_token(make_token(external_id="ada"))
        service.rooms.invite("r", participant_id("ada"))
        ada.session.open()
        ada.rooms.decline(ada.rooms.invitations[0])
        assert ada.rooms.invitations == []


def test_completions_are_called_in_order_from_one_thread() -> None:
    arrived: list[tuple[int, BaseException | None, threading.Thread]] = []

    def completion(number: int, error: BaseException | None) -> None:
        arrived.append((number, error, threading.current_thread()))

    with running_fake() as service, Greenroom(service.url) as sdk:
        sdk.initialize_token(make_token(external_id="ada"))
        sdk.session.get_participant(completion=lambda error: completion(1, error))
        sdk.session.open(completion=lambda error: completion(2, error))
        sdk.session.update_participant_info(name="x", completion=lambda error: completion(3, error))
        sdk.session.get_participant(completion=lambda error: completion(4, error))
        sdk.session.close(completion=lambda error: completion(5, error))
    assert [number for number, _, _ in arrived] == [1, 2, 3, 4, 5]
    assert isinstance(arrived[0][1], SessionNotOpenError)
    assert [error for _, error, _ in arrived[1:]] == [None] * 4
    assert len({thread for _, _, thread in arrived}) == 1
    assert arrived[0][2] is not threading.current_thread()


def test_a_completion_that_raises_stops_nothing(caplog: pytest.LogCaptureFixture) -> None:
    done = threading.Event()
    with running_fake() as service, Greenroom(service.url) as sdk:
        sdk.initialize_token(make_token())

        def careless(error: BaseException | None) -> None:
            raise KeyError

        sdk.session.open(completion=careless)
        sdk.session.close(completion=lambda error: done.set())
        assert done.wait(5)
    assert "the completion" in caplog.text


def test_close_from_another_thread_ends_an_open() -> None:
    with running_fake() as service, Greenroom(service.url) as sdk:
        sdk.initialize_token(make_token())
        service.hang.add("session.open")
        errors: list[BaseException | None] = []
        sdk.session.open(completion=errors.append)
        loop_has_it = threading.Event()
        while not service.calls:
            loop_has_it.wait(0.01)
        sdk.session.close()
    assert isinstance(errors[0], OpenCancelledError)


def test_a_blocking_call_inside_a_delegate_is_an_error_not_a_deadlock() -> None:
    caught: list[BaseException] = []
    done = threading.Event()

    class Delegate(SessionDelegate):
        def session_updated(self, state: SessionState) -> None:
            try:
                sdk.session.get_participant()
            except RuntimeError as error:
                caught.append(error)
            finally:
                done.set()

    with running_fake() as service, Greenroom(service.url) as sdk:
        sdk.initialize_token(make_token())
        sdk.session.delegate = Delegate()
        sdk.session.open()
        assert done.wait(5)
    assert "completion" in str(caught[0])


def test_no_thread_is_left_over() -> None:
    before = set(threading.enumerate())
    with running_fake() as service:
        sdk = Greenroom(service.url)
        sdk.initialize_token(make_token(), lambda is_expired: make_token())
        sdk.session.open()
        sdk.shut_down()
        sdk.shut_down()
    assert set(threading.enumerate()) <= before


def _in_a_fork(work: Callable[[], object], limit: float = 20.0) -> str:
    """What `work` returned or raised in a forked process; killed where it takes too long."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        try:
            said = repr(work())
        except BaseException as error:
            said = f"{type(error).__name__}: {error}"
        os.write(writer, said.encode())
        os._exit(0)
    os.close(writer)
    ready, _, _ = select.select([reader], [], [], limit)
    said = os.read(reader, 65_536).decode() if ready else "hung"
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    os.close(reader)
    return said


@pytest.mark.filterwarnings("ignore:This process.*fork:DeprecationWarning")
async def test_used_before_a_fork_with_nothing_open_it_works_in_the_child() -> None:
    """gunicorn --preload, Celery, multiprocessing."""
    async with FakeService() as service:
        sdk = Greenroom(service.url)
        sdk.initialize_token(make_token(external_id="ada"))

        def work() -> str:
            participant = sdk.session.open(timeout=PATIENCE)
            sdk.session.close()
            return str(participant.info.external_id)

        assert await asyncio.to_thread(_in_a_fork, work) == "'ada'"
        await asyncio.to_thread(sdk.session.open)
        await asyncio.to_thread(sdk.shut_down)


@pytest.mark.filterwarnings("ignore:This process.*fork:DeprecationWarning")
async def test_with_a_session_open_calls_of_the_child_fail_at_once() -> None:
    async with FakeService() as service:
        sdk = Greenroom(service.url)
        sdk.initialize_token(make_token(external_id="ada"))
        await asyncio.to_thread(sdk.session.open)
        for call in (sdk.session.open, sdk.session.get_participant):
            said = await asyncio.to_thread(_in_a_fork, call)
            assert "Make a new Greenroom object in each process" in said, said
        assert (await asyncio.to_thread(sdk.session.get_participant)) is not None
        await asyncio.to_thread(sdk.shut_down)


async def test_shut_down_from_a_delegates_method_does_not_wait_for_itself() -> None:
    async with FakeService() as service:
        sdk = Greenroom(service.url)
        sdk.initialize_token(make_token(external_id="ada"))
        returned = threading.Event()

        class Delegate(SessionDelegate):
            def session_updated(self, state: SessionState) -> None:
                if state is SessionState.CONNECTED:
                    sdk.shut_down()
                    returned.set()

        sdk.session.delegate = Delegate()
        await asyncio.to_thread(sdk.session.open)
        assert await asyncio.to_thread(returned.wait, PATIENCE)
        assert await asyncio.to_thread(_comes_true, lambda: sdk._worker._runner is None and not sdk.session.is_open())


def _comes_true(condition: Callable[[], bool]) -> bool:
    until = time.monotonic() + PATIENCE
    while not condition() and time.monotonic() < until:
        time.sleep(0.01)
    return condition()


def test_a_call_does_not_outlive_the_thread_of_its_loop() -> None:
    sdk = Greenroom("http://127.0.0.1:9")
    sdk.initialize_token(make_token())
    worker = sdk._worker
    assert worker._runner is not None
    worker._runner.loop.call_soon_threadsafe(worker._runner.loop.stop)
    worker._runner.thread.join()
    with pytest.raises(ServiceUnavailableError, match="does not answer"):
        sdk.session.open(timeout=None)
    sdk.shut_down()


def test_a_call_does_not_wait_for_a_loop_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("greenroom.sdk.blocking._SILENCE", 0.2)
    sdk = Greenroom("http://127.0.0.1:9")
    sdk.initialize_token(make_token())
    worker = sdk._worker
    assert worker._runner is not None
    gate = threading.Event()
    worker._runner.loop.call_soon_threadsafe(gate.wait)
    with pytest.raises(ServiceUnavailableError, match="Under gevent use one object"):
        sdk.session.open(timeout=None)
    gate.set()
    sdk.shut_down()
