"""greenroom.blocking: for programs without a loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from greenroom import OpenCancelledError, ParticipantInfo, SessionDelegate, SessionNotOpenError, SessionState
from greenroom.blocking import Greenroom
from greenroom.testing.fake_service import FakeService, make_token, participant_id
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
            assert sdk.session.update_participant_info(name="Ada L").revision == 1
            assert sdk.session.get_participant() == sdk.session.participant
            assert [one.id for one in sdk.participants.get(external_ids=["bob"])] == [participant_id("bob")]
            assert len(sdk.participants.watch([a_participant_id("a")])) == 1
            sdk.participants.unwatch([a_participant_id("a")])
        assert sdk.session.state is SessionState.DISCONNECTED
        assert [one.ended for one in service.sessions.values()] == ["closed"]


def test_completions_are_called_in_order_from_one_thread() -> None:
    heard: list[tuple[int, BaseException | None, threading.Thread]] = []

    def completion(number: int, error: BaseException | None) -> None:
        heard.append((number, error, threading.current_thread()))

    with running_fake() as service, Greenroom(service.url) as sdk:
        sdk.initialize_token(make_token(external_id="ada"))
        sdk.session.get_participant(completion=lambda error: completion(1, error))
        sdk.session.open(completion=lambda error: completion(2, error))
        sdk.session.update_participant_info(name="x", completion=lambda error: completion(3, error))
        sdk.session.get_participant(completion=lambda error: completion(4, error))
        sdk.session.close(completion=lambda error: completion(5, error))
    assert [number for number, _, _ in heard] == [1, 2, 3, 4, 5]
    assert isinstance(heard[0][1], SessionNotOpenError)
    assert [error for _, error, _ in heard[1:]] == [None] * 4
    assert len({thread for _, _, thread in heard}) == 1
    assert heard[0][2] is not threading.current_thread()


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
