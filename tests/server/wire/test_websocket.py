"""What a connection does for its handler, and how it ends: slow readers, floods, silence, resets."""

from __future__ import annotations

import asyncio
import gc
import importlib.util
import logging
from types import SimpleNamespace
from typing import cast

import pytest

from greenroom.engines.clock import ManualClock
from greenroom.server.wire import websocket as websocket_module
from greenroom.server.wire.interface import UpgradeRequest, WebSocketConnection, WebSocketOptions
from greenroom.server.wire.websocket import WebSocketProtocol
from tests.server.raw_client import (
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    RawClient,
    Recorder,
    RunningDoor,
    close_frame,
    fragments,
    frame,
    handshake,
    idle,
    serving,
    split,
    turning_wheel,
)
from tests.support.patience import PATIENCE, until

BRIEF = WebSocketOptions(close_timeout=0.05, fragment_timeout=0.05)


def websocket_of(running: RunningDoor) -> WebSocketConnection:
    websocket = running.handlers[-1].websocket
    assert websocket is not None
    return websocket


async def until_empty(running: RunningDoor) -> None:
    await until(lambda: not running.door.connections)


# --- WebSocketConnection ---


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65_535, 65_536, 200_000])
async def test_send_frames_every_length(size: int) -> None:
    async with serving() as running, running.session() as client:
        websocket_of(running).send(b"x" * size)
        assert await client.event() == ("text", b"x" * size)


@pytest.mark.interpreted
async def test_the_first_message_of_a_process_may_be_empty() -> None:
    """As the module is in a fresh process: nothing was sent before."""
    spec = importlib.util.spec_from_file_location("fresh_websocket", websocket_module.__file__)
    assert spec is not None
    assert spec.loader is not None
    fresh = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(fresh)
    written: list[bytes] = []
    transport = cast(asyncio.Transport, SimpleNamespace(
        set_write_buffer_limits=lambda _high, _low: None, set_protocol=lambda _protocol: None, write=written.append
    ))  # fmt: skip
    with turning_wheel() as wheel:
        request = UpgradeRequest("/", "", {}, "192.0.2.1")
        connection = fresh.WebSocketProtocol(Recorder(), request, WebSocketOptions(), wheel, lambda _connection: None)
        connection.connection_made(transport)
        connection.start(b"", b"")
        connection.send(b"")
        assert written[1:] == [b"\x81\x00"]


TOO_LARGE_IN_SUM = (
    frame(TEXT, b"x" * 20_000, fin=False), frame(PING, b"between"), frame(CONTINUATION, b"y" * 20_000)[:8]
)  # fmt: skip
"""Two frames, and the head of a third, which says that the sum is too large."""


@pytest.mark.parametrize("chop", [None, 1, 3_000])
@pytest.mark.parametrize("pieces", [TOO_LARGE_IN_SUM, (b"".join(TOO_LARGE_IN_SUM),)], ids=["apart", "together"])
async def test_a_continuation_is_refused_from_its_head(pieces: tuple[bytes, ...], chop: int | None) -> None:
    async with serving() as running, running.session() as client:
        await client.send(*pieces, chop=chop)
        before, code = await client.closed_with()
        assert (before, code) in (([("pong", b"between")], 1009), ([], 1009))


@pytest.mark.parametrize("chop", [None, 1, 1_000])
async def test_a_message_in_fragments_may_be_as_large_as_it_may(chop: int | None) -> None:
    whole = fragments(TEXT, split(b"x" * 32_768, 7_000))
    async with serving(WebSocketOptions(fragment_timeout=60.0)) as running, running.session() as client:
        for _ in range(2):
            await client.send(frame(PING) + whole, chop=chop)
            assert await client.event() == ("pong", b"")
            assert await client.event() == ("text", b"x" * 32_768)


async def test_ping_and_pong() -> None:
    async with serving() as running, running.session() as client:
        websocket_of(running).ping()
        assert await client.event() == ("ping", b"")
        await client.send(frame(PONG), frame(PONG, b"unasked"), frame(TEXT, b"x"))
        assert await client.event() == ("text", b"x")
        assert running.handlers[0].calls.count(("pong",)) == 2


async def test_close_waits_for_the_clients_close() -> None:
    async with serving() as running, running.session() as client:
        websocket = websocket_of(running)
        assert not is_closed(websocket)
        websocket.close(4001, "the service restarts")
        assert is_closed(websocket)
        websocket.close(4002, "too late")
        websocket.send(b"too late")
        websocket.ping()
        assert await client.event() == ("close", (4001, "the service restarts"))
        await client.send(frame(TEXT, b"not read") + frame(PING) + close_frame(4001, b"bye"))
        assert await client.events() == [("eof", None)]
        assert await running.handlers[0].ended() == ("lost", 4001, "bye")
        assert running.handlers[0].calls == [("opened",), ("lost", 4001, "bye")]


async def test_a_client_that_does_not_answer_close_is_aborted() -> None:
    async with serving(BRIEF) as running, running.session() as client:
        websocket_of(running).close(1000, "")
        assert await client.event() == ("close", (1000, ""))
        assert await client.events() in ([("eof", None)], [("reset", None)])
        assert (await running.handlers[0].ended())[:2] == ("lost", 1006)


async def test_a_violation_after_our_close_ends_the_wait() -> None:
    async with serving() as running, running.session() as client:
        websocket_of(running).close(4001, "")
        await client.send(frame(3))
        assert (await client.closed_with())[1] == 4001
        assert (await running.handlers[0].ended())[:2] == ("lost", 1002)


@pytest.mark.parametrize(
    ("reason", "sent"),
    [("x" * 200, "x" * 123), ("ä" * 100, "ä" * 61), ("\ud800", "?"), ("🎤" * 31, "🎤" * 30)],
)
async def test_a_long_reason_is_cut_between_characters(reason: str, sent: str) -> None:
    async with serving() as running, running.session() as client:
        websocket_of(running).close(4000, reason)
        assert await client.event() == ("close", (4000, sent))


async def test_abort() -> None:
    async with serving() as running, running.session() as client:
        websocket_of(running).abort()
        websocket_of(running).send(b"x")
        assert (await client.events())[-1][0] in ("eof", "reset")
        assert (await running.handlers[0].ended())[:2] == ("lost", 1006)
        assert websocket_of(running).closed
        assert websocket_of(running).buffered() == 0


async def test_everything_may_be_called_when_all_is_over() -> None:
    async with serving() as running:
        async with running.session() as client:
            await client.send(close_frame(1000))
            await client.closed_with()
        await until_empty(running)
        websocket = websocket_of(running)
        websocket.send(b"x" * 100_000)
        websocket.ping()
        websocket.close(1000, "")
        websocket.abort()
        assert websocket.buffered() == 0
        assert websocket.closed
        assert [what[0] for what in running.handlers[0].calls] == ["opened", "lost"]


class Hasty(Recorder):
    """Closes as soon as it is opened."""

    def opened(self, websocket: WebSocketConnection) -> None:
        super().opened(websocket)
        websocket.close(4004, "at once")


async def test_a_handler_may_close_as_it_is_opened() -> None:
    async with serving(answer=lambda _request: Hasty()) as running, running.client() as client:
        await client.send(handshake() + frame(TEXT, b"not read"))
        assert (await client.response()).status == 101
        assert await client.event() == ("close", (4004, "at once"))


class Faulty(Recorder):
    """Breaks its promise not to raise."""

    def text(self, message: bytes) -> None:
        raise RuntimeError("a bug")


async def test_a_handler_that_raises_loses_its_connection_only(caplog: pytest.LogCaptureFixture) -> None:
    faulty = Faulty()
    async with serving(answer=lambda _request: faulty) as running, running.session() as client:
        await client.send(frame(TEXT, b"x"))
        assert await client.closed_with() == ([], 1011)
        assert (await faulty.ended())[:2] == ("lost", 1011)
    assert "handler failed" in caplog.text


# --- a client that is gone ---


@pytest.mark.parametrize("uvloop", [pytest.param(True, marks=pytest.mark.uvloop), False], ids=["uvloop", "asyncio"])
@pytest.mark.parametrize("how", ["reset", "half close"])
async def test_a_lost_connection_is_1006_and_one_line_in_the_log(
    how: str, uvloop: bool, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "greenroom.server")
    async with serving() as running, running.session() as client:
        if how == "reset":
            client.abort()
        else:
            await client.half_close()
        assert (await running.handlers[0].ended())[:2] == ("lost", 1006)
        await until_empty(running)
    records = [record for record in caplog.records if record.name.startswith("greenroom")]
    assert [record.message.split(":")[0] for record in records] == ["websocket lost"]
    assert not any(record.exc_info for record in caplog.records)


@pytest.mark.parametrize("more", [(), (fragments(TEXT, [b"x", b"y"]),)], ids=["own reader", "picows"])
async def test_a_connection_leaves_nothing_behind(more: tuple[bytes, ...]) -> None:
    async with serving(BRIEF) as running:
        async with running.session() as client:
            await client.send(frame(TEXT, b"x"), *more, close_frame(1000))
            await client.closed_with()
            # Not even for the garbage collector: the last reference goes with the slot of its deadline.
            gc.collect()
            gc.disable()
        try:
            await until_empty(running)
            running.handlers.clear()
            await until(lambda: not any(isinstance(one, WebSocketProtocol) for one in gc.get_objects()))
        finally:
            gc.enable()


async def test_a_connection_is_small() -> None:
    """Objects with a dict of their own would double it."""
    async with serving() as running, running.session():
        (connection,) = running.door.connections
        assert isinstance(connection, WebSocketProtocol)
        assert not hasattr(connection, "__dict__")


# --- a client that does not read ---


def slow(client: RawClient) -> None:
    """Read nothing more."""
    cast(asyncio.Transport, client.writer.transport).pause_reading()


def awake(client: RawClient) -> None:
    """Read on."""
    cast(asyncio.Transport, client.writer.transport).resume_reading()


def is_paused(websocket: WebSocketConnection) -> bool:
    """As `is_closed`."""
    return websocket.paused


def is_closed(websocket: WebSocketConnection) -> bool:
    """mypy takes a property that was once false for false for good."""
    return websocket.closed


@pytest.mark.uvloop
async def test_a_slow_reader_is_cut_off_with_4002() -> None:
    options = WebSocketOptions(close_timeout=0.05)
    async with serving(options) as running, running.session() as client:
        slow(client)
        websocket = websocket_of(running)
        most = 0
        while not websocket.closed:
            websocket.send(b"x" * 32_000)
            most = max(most, websocket.buffered())
            await asyncio.sleep(0)
        assert (await running.handlers[0].ended())[:2] == ("lost", 4002)
        assert most <= options.max_buffered_bytes + 33_000
        await until_empty(running)


async def test_lost_comes_after_the_send_that_caused_it() -> None:
    """A handler in the middle of its own send must not be called from inside it."""
    async with serving(WebSocketOptions(close_timeout=0.05)) as running, running.session() as client:
        slow(client)
        websocket = websocket_of(running)
        while not websocket.closed:
            websocket.send(b"x" * 64_000)
        assert [what[0] for what in running.handlers[0].calls] == ["opened"]
        assert (await running.handlers[0].ended())[:2] == ("lost", 4002)


async def test_a_reader_that_wakes_up_learns_why() -> None:
    async with serving() as running, running.session() as client:
        slow(client)
        websocket = websocket_of(running)
        while not websocket.closed:
            websocket.send(b"x" * 64_000)
            await asyncio.sleep(0)
        awake(client)
        assert (await client.closed_with())[1] == 4002


async def test_drained_follows_paused() -> None:
    async with serving() as running, running.session() as client:
        slow(client)
        websocket = websocket_of(running)
        while not is_paused(websocket):
            websocket.send(b"x" * 16_000)
            await asyncio.sleep(0)
        assert websocket.buffered() > 0
        assert ("drained",) not in running.handlers[0].calls
        awake(client)
        async with asyncio.timeout(PATIENCE):
            while is_paused(websocket):
                await client.event()
        assert running.handlers[0].calls[-1] == ("drained",)
        assert not websocket.closed


async def test_pings_are_not_answered_into_a_full_buffer_forever() -> None:
    options = WebSocketOptions(
        control_frames_per_second=1e9, control_frames_burst=1_000_000_000, max_buffered_bytes=65_536, close_timeout=0.05
    )
    async with serving(options) as running, running.session() as client:
        slow(client)
        await client.flood(frame(PING, b"x" * 125) * 1_000)
        assert (await running.handlers[0].ended())[:2] == ("lost", 4002)


# --- a client that sends too much, or too little ---


@pytest.mark.parametrize("opcode", [PING, PONG])
async def test_a_flood_of_control_frames_is_cut_off(opcode: int) -> None:
    async with serving() as running, running.session() as client:
        await client.send(frame(opcode) * 5_000)
        events, code = await client.closed_with()
        assert code == 1008
        assert len(events) <= (110 if opcode == PING else 0)
        assert (await running.handlers[0].ended())[:2] == ("lost", 1008)


async def test_a_hundred_control_frames_at_once_are_fine() -> None:
    async with serving() as running, running.session() as client:
        await client.send(frame(PING) * 50 + frame(PONG) * 50 + frame(TEXT, b"x"))
        for _ in range(50):
            assert await client.event() == ("pong", b"")
        assert await client.event() == ("text", b"x")


async def test_control_frames_are_earned_back() -> None:
    options = WebSocketOptions(control_frames_burst=2, control_frames_per_second=1_000.0)
    async with serving(options) as running, running.session() as client:
        for _ in range(20):
            await asyncio.sleep(0.002)
            await client.send(frame(PING))
            assert await client.event() == ("pong", b"")


async def test_a_message_that_is_never_finished() -> None:
    async with serving(BRIEF) as running, running.session() as client:
        await client.send(frame(TEXT, b"a", fin=False), frame(CONTINUATION, b"b", fin=False))
        assert await client.closed_with() == ([], 1008)
        assert (await running.handlers[0].ended())[:2] == ("lost", 1008)


async def test_a_finished_message_stops_the_clock() -> None:
    clock = ManualClock()
    async with serving(BRIEF, clock=clock.monotonic) as running, running.session() as client:
        await client.send(frame(TEXT, b"a", fin=False), frame(CONTINUATION, b"b"))
        assert await client.event() == ("text", b"ab")
        await idle(clock)
        await client.send(frame(TEXT, b"c"))
        assert await client.event() == ("text", b"c")


@pytest.mark.uvloop
@pytest.mark.parametrize("data", [frame(3), b"\xff" * 65_536, frame(PING) * 10_000, frame(TEXT, b"x" * 65_000)])
async def test_a_client_that_goes_on_after_being_failed_is_reset(data: bytes) -> None:
    """It is read a little longer, so that it can see why, and then it is gone; the parser never sees what it sends."""
    async with serving(BRIEF) as running, running.session() as client:
        await client.flood(data)
        await until_empty(running)
        assert (await running.handlers[0].ended())[1] in (1002, 1008, 1009)


@pytest.mark.uvloop
async def test_a_client_that_floods_instead_of_answering_close_is_not_read_for_long() -> None:
    """Before its Close a client may send what was under way, and no more than that is read."""
    clock = ManualClock()
    options = WebSocketOptions(close_timeout=0.5)
    async with serving(options, clock=clock.monotonic) as running, running.session() as client:
        (connection,) = running.door.connections
        websocket_of(running).close(4004, "too many messages")
        flooding = asyncio.create_task(client.flood(frame(TEXT, b"x" * 1000) * 64))
        await until(lambda: connection._discarded > 1_048_576)
        await idle(clock)
        await flooding
        await until_empty(running)
        assert 1_048_576 < connection._discarded < 2 * 1_048_576


@pytest.mark.uvloop
@pytest.mark.parametrize(("first", "most"), [(b"", 2_048), (fragments(TEXT, [b"x", b"x"]), 65_536)])
async def test_the_read_buffer_grows_with_frames_and_not_with_the_line(first: bytes, most: int) -> None:
    """Small messages at line speed leave the buffer as small as it was. One is shared by all; picows has its own, which
    32 KiB make 56 KiB and no more."""
    async with serving(WebSocketOptions(max_buffered_bytes=1 << 30)) as running, running.session() as client:
        (connection,) = running.door.connections
        if first:
            await client.send(first)
            await client.event()
        small = len(connection.get_buffer(-1))
        messages = 4_000
        client.writer.write(frame(TEXT, b"x" * 100) * messages)
        for _ in range(messages):
            await client.event()
        assert len(connection.get_buffer(-1)) == small <= 2_048
        await client.send(frame(TEXT, b"x" * 32_768) * 3)
        for _ in range(3):
            await client.event()
        assert len(connection.get_buffer(-1)) <= most
