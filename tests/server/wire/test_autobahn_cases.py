"""The Autobahn WebSocket test suite's server cases 1 to 7, 9 and 10, by their numbers, against the echo server.

The suite itself is Python 2 code. What each case sends and what it expects are the facts its documentation states; the
code is ours. Every case must end as the suite's "OK", but for 6.4.3 and 6.4.4, which end as its "NON-STRICT": bad UTF-8
is found when the frame is whole, not in the middle of one. Where the suite waits a second for nothing to happen, these
tests ask for a Pong instead.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest

from greenroom.server.wire.interface import Handler, Refusal, UpgradeRequest
from tests.server.raw_client import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    Event,
    RawClient,
    close_frame,
    fragments,
    frame,
    handshake,
    serving,
    split,
)
from tests.support.echo import Echo, echo_options

pytestmark = pytest.mark.uvloop

KIB, MIB = 2**10, 2**20
HELLO = b"Hello, world!"
NOISE = b"\x00\xff\xfe\xfd\xfc\xfb\x00\xff"
GREEK = bytes.fromhex("cebae1bdb9cf83cebcceb5")
GREETING = "Hello-µ@ßöäüàá-UTF-8!!".encode()


@dataclass
class Case:
    """What is sent, piece by piece, and what comes back.

    `close` is None where the client closes with 1000 after it has its answers, else the code the server fails with.
    """

    number: str
    sent: list[bytes]
    answers: list[Event]
    close: int | None = None
    chop: int | None = None


def echoed(number: str, payload: bytes, opcode: int = TEXT, chop: int | None = None) -> Case:
    """A whole message that comes back."""
    return Case(number, [frame(opcode, payload)], [("text" if opcode == TEXT else "binary", payload)], chop=chop)


def in_fragments(number: str, payload: bytes, size: int, opcode: int = TEXT) -> Case:
    """A message in fragments that comes back whole."""
    kind = "text" if opcode == TEXT else "binary"
    return Case(number, [fragments(opcode, split(payload, size))], [(kind, payload)])


def refused(number: str, *sent: bytes, answers: list[Event] | None = None, chop: int | None = None) -> Case:
    """A violation of the protocol."""
    return Case(number, list(sent), answers or [], close=1002, chop=chop)


def together(*frames: bytes) -> list[bytes]:
    """Frames in one packet."""
    return [b"".join(frames)]


LENGTHS = (0, 125, 126, 127, 128, 65_535, 65_536)
SECTION_1 = [
    *(echoed(f"1.1.{i}", b"*" * size) for i, size in enumerate(LENGTHS, 1)),
    echoed("1.1.8", b"*" * 65_536, chop=997),
    *(echoed(f"1.2.{i}", b"\xfe" * size, BINARY) for i, size in enumerate(LENGTHS, 1)),
    echoed("1.2.8", b"\xfe" * 65_536, BINARY, chop=997),
]


def ponged(number: str, payload: bytes, chop: int | None = None) -> Case:
    return Case(number, [frame(PING, payload)], [("pong", payload)], chop=chop)


TEN_PINGS = [b"payload-%d" % i for i in range(10)]
SECTION_2 = [
    ponged("2.1", b""),
    ponged("2.2", HELLO),
    ponged("2.3", NOISE),
    ponged("2.4", b"\xfe" * 125),
    refused("2.5", frame(PING, b"\xfe" * 126)),
    ponged("2.6", b"\xfe" * 125, chop=1),
    Case("2.7", [frame(PONG)], []),
    Case("2.8", [frame(PONG, b"unsolicited pong payload")], []),
    Case(
        "2.9",
        together(frame(PONG, b"unsolicited pong payload"), frame(PING, b"ping payload")),
        [("pong", b"ping payload")],
    ),
    Case("2.10", [frame(PING, data) for data in TEN_PINGS], [("pong", data) for data in TEN_PINGS]),
    Case("2.11", [frame(PING, data) for data in TEN_PINGS], [("pong", data) for data in TEN_PINGS], chop=1),
]

ANSWERED: list[Event] = [("text", HELLO)]
SECTION_3 = [
    refused("3.1", frame(TEXT, HELLO, rsv=1)),
    refused("3.2", *together(frame(TEXT, HELLO), frame(TEXT, HELLO, rsv=2), frame(PING)), answers=ANSWERED),
    refused("3.3", frame(TEXT, HELLO), frame(TEXT, HELLO, rsv=3), frame(PING), answers=ANSWERED),
    refused("3.4", frame(TEXT, HELLO) + frame(TEXT, HELLO, rsv=4) + frame(PING), answers=ANSWERED, chop=1),
    refused("3.5", frame(BINARY, NOISE, rsv=5)),
    refused("3.6", frame(PING, HELLO, rsv=6)),
    refused("3.7", frame(CLOSE, rsv=7)),
]

SECTION_4 = [
    refused("4.1.1", frame(3)),
    refused("4.1.2", frame(4, b"reserved opcode payload")),
    refused("4.1.3", *together(frame(TEXT, HELLO), frame(5), frame(PING)), answers=ANSWERED),
    refused("4.1.4", *together(frame(TEXT, HELLO), frame(6, HELLO), frame(PING)), answers=ANSWERED),
    refused("4.1.5", frame(TEXT, HELLO) + frame(7, HELLO) + frame(PING), answers=ANSWERED, chop=1),
    refused("4.2.1", frame(11)),
    refused("4.2.2", frame(12, b"reserved opcode payload")),
    refused("4.2.3", *together(frame(TEXT, HELLO), frame(13), frame(PING)), answers=ANSWERED),
    refused("4.2.4", *together(frame(TEXT, HELLO), frame(14, HELLO), frame(PING)), answers=ANSWERED),
    refused("4.2.5", frame(TEXT, HELLO) + frame(15, HELLO) + frame(PING), answers=ANSWERED, chop=1),
]

ONE, TWO = b"fragment1", b"fragment2"
BEGIN, END = frame(TEXT, ONE, fin=False), frame(CONTINUATION, TWO)
JOINED: list[Event] = [("text", ONE + TWO)]
STRAY, STRAY_OPEN = (frame(CONTINUATION, b"non-continuation payload", fin=fin) for fin in (True, False))
PINGED = frame(PING, b"ping payload")
PONG_AND_JOINED: list[Event] = [("pong", b"ping payload"), *JOINED]
FIVE = [b"fragment%d" % i for i in range(1, 6)]
FIVE_FRAMES = [
    frame(TEXT, FIVE[0], fin=False),
    frame(CONTINUATION, FIVE[1], fin=False),
    frame(PING, b"pongme 1!"),
    frame(CONTINUATION, FIVE[2], fin=False),
    frame(CONTINUATION, FIVE[3], fin=False),
    frame(PING, b"pongme 2!"),
    frame(CONTINUATION, FIVE[4]),
]
FIVE_ANSWERS: list[Event] = [("pong", b"pongme 1!"), ("pong", b"pongme 2!"), ("text", b"".join(FIVE))]
SECTION_5 = [
    refused("5.1", *together(frame(PING, ONE, fin=False), END)),
    refused("5.2", *together(frame(PONG, ONE, fin=False), END)),
    Case("5.3", together(BEGIN, END), JOINED),
    Case("5.4", [BEGIN, END], JOINED),
    Case("5.5", together(BEGIN, END), JOINED, chop=1),
    Case("5.6", together(BEGIN, PINGED, END), PONG_AND_JOINED),
    Case("5.7", [BEGIN, PINGED, END], PONG_AND_JOINED),
    Case("5.8", together(BEGIN, PINGED, END), PONG_AND_JOINED, chop=1),
    refused("5.9", *together(STRAY, frame(TEXT, HELLO))),
    refused("5.10", STRAY, frame(TEXT, HELLO)),
    refused("5.11", STRAY + frame(TEXT, HELLO), chop=1),
    refused("5.12", *together(STRAY_OPEN, frame(TEXT, HELLO))),
    refused("5.13", STRAY_OPEN, frame(TEXT, HELLO)),
    refused("5.14", STRAY_OPEN + frame(TEXT, HELLO), chop=1),
    refused(
        "5.15",
        *together(BEGIN, END, frame(CONTINUATION, b"fragment3", fin=False), frame(TEXT, b"fragment4")),
        answers=JOINED,
    ),
    refused("5.16", *together(STRAY_OPEN, BEGIN, END, STRAY_OPEN, BEGIN, END)),
    refused("5.17", *together(STRAY, BEGIN, END, STRAY, BEGIN, END)),
    refused("5.18", *together(BEGIN, frame(TEXT, TWO))),
    Case("5.19", together(*FIVE_FRAMES), FIVE_ANSWERS),
    Case("5.20", FIVE_FRAMES, FIVE_ANSWERS),
]

SECTION_6_1_TO_3 = [
    echoed("6.1.1", b""),
    Case("6.1.2", [fragments(TEXT, [b"", b"", b""])], [("text", b"")]),
    Case("6.1.3", [fragments(TEXT, [b"", b"middle frame payload", b""])], [("text", b"middle frame payload")]),
    echoed("6.2.1", GREETING),
    Case("6.2.2", [fragments(TEXT, ["Hello-µ@ßöä".encode(), "üàá-UTF-8!!".encode()])], [("text", GREETING)]),
    in_fragments("6.2.3", GREETING, 1),
    in_fragments("6.2.4", GREEK, 1),
    Case("6.3.1", [frame(TEXT, GREEK + b"\xed\xa0\x80edited")], [], close=1007),
    Case("6.3.2", [fragments(TEXT, split(GREEK + b"\xed\xa0\x80edited", 1))], [], close=1007),
]


def utf8_sections() -> list[list[bytes]]:
    """The byte strings of sections 6.5 to 6.23, after Markus Kuhn's UTF-8 decoder stress test."""
    lonely = [range(0xC0, 0xDF), range(0xE0, 0xEF), range(0xF0, 0xF7), range(0xF8, 0xFB), range(0xFC, 0xFD)]
    cut_short = "c0 e080 f08080 f8808080 fc80808080 df efbf f7bfbf fbbfbfbf fdbfbfbfbf"
    non_characters = [
        character
        for plane in range(17)
        for last in (0xFFFE, 0xFFFF)
        if plane
        for character in [chr(plane << 16 | last).encode()]
    ]
    return [
        [b"hello$world", "hello¢world".encode(), "hello€world".encode(), "hello𤭢world".encode(), GREEK],
        [GREEK[:i] for i in range(1, len(GREEK) + 1)],
        listed("00 c280 e0a080 f0908080"),
        listed("f888808080 fc8480808080"),
        listed("7f dfbf efbfbf f48fbfbf"),
        listed("f7bfbfbf fbbfbfbfbf fdbfbfbfbfbf"),
        listed("ed9fbf ee8080 efbfbd f48fbfbf f4908080"),
        [*listed("80 bf 80bf 80bf80 80bf80bf 80bf80bf80 80bf80bf80bf"), bytes(range(0x80, 0xBF))],
        [b"".join(bytes([start, 0x20]) for start in starts) for starts in lonely],
        listed(cut_short),
        [b"".join(listed(cut_short))],
        listed("fe ff fefeffff"),
        listed("c0af e080af f08080af f8808080af fc80808080af"),
        listed("c1bf e09fbf f08fbfbf f887bfbfbf fc83bfbfbfbf"),
        listed("c080 e08080 f0808080 f880808080 fc8080808080"),
        listed("eda080 edadbf edae80 edafbf edb080 edbe80 edbfbf"),
        listed(
            "eda080edb080 eda080edbfbf edadbfedb080 edadbfedbfbf edae80edb080 edae80edbfbf edafbfedb080 edafbfedbfbf"
        ),
        [*listed("efbfbe efbfbf"), *non_characters],
        listed("efbfb9 efbfba efbfbb efbfbc efbfbd efbfbe efbfbf"),
    ]


def listed(text: str) -> list[bytes]:
    return [bytes.fromhex(item) for item in text.split()]


# Which of a section's strings are good, said apart from Python's own decoder.
ALL, NONE = range(1, 100), range(0)
GOOD: dict[int, range | set[int]] = {
    5: ALL, 6: {2, 5, 7, 9, 11}, 7: ALL, 8: NONE, 9: ALL, 10: NONE, 11: {1, 2, 3, 4}, 12: NONE, 13: NONE, 14: NONE,
    15: NONE, 16: NONE, 17: NONE, 18: NONE, 19: NONE, 20: NONE, 21: NONE, 22: ALL, 23: ALL,
}  # fmt: skip


def utf8_cases() -> list[Case]:
    cases = []
    for section, payloads in enumerate(utf8_sections(), 5):
        for index, payload in enumerate(payloads, 1):
            number = f"6.{section}.{index}"
            if index in GOOD[section]:
                cases.append(echoed(number, payload))
            else:
                cases.append(Case(number, [frame(TEXT, payload)], [], close=1007))
    return cases


CASES = [*SECTION_1, *SECTION_2, *SECTION_3, *SECTION_4, *SECTION_5, *SECTION_6_1_TO_3, *utf8_cases()]

CYCLE, BINARY_CYCLE = b"BAsd7&jh23", b"\x00\xfe\x23\xfa\xf0"


def repeated(unit: bytes, size: int) -> bytes:
    return (unit * (size // len(unit) + 1))[:size]


SIZES = {1: 64 * KIB, 2: 256 * KIB, 3: MIB, 4: 4 * MIB, 5: 8 * MIB, 6: 16 * MIB}
FRAGMENT_SIZES = {1: 64, 2: 256, 3: KIB, 4: 4 * KIB, 5: 16 * KIB, 6: 64 * KIB, 7: 256 * KIB, 8: MIB, 9: 4 * MIB}
CHOPS = {1: 64, 2: 128, 3: 256, 4: 512, 5: 1_024, 6: 2_048}
ROUND_TRIPS = {1: 0, 2: 16, 3: 64, 4: 256, 5: 1_024, 6: 4_096}


def large_case(number: str) -> Case:
    """A case of section 9.1 to 9.6, or 10.1.1; built when it runs, as all of them together are 130 MiB."""
    section, _, last = number.rpartition(".")
    index = int(last)
    opcode = TEXT if section in ("9.1", "9.3", "9.5", "10.1") else BINARY
    if section in ("9.1", "9.2"):
        return echoed(number, repeated(CYCLE if opcode == TEXT else BINARY_CYCLE, SIZES[index]), opcode)
    if section in ("9.3", "9.4"):
        # 9.4.1 sends 0xFE, the others of its section asterisks.
        unit = b"\xfe" if number == "9.4.1" else b"*"
        return in_fragments(number, unit * (4 * MIB), FRAGMENT_SIZES[index], opcode)
    if section in ("9.5", "9.6"):
        return echoed(number, repeated(CYCLE if opcode == TEXT else BINARY_CYCLE, MIB), opcode, chop=CHOPS[index])
    return in_fragments(number, b"*" * 65_536, 1_300)


LARGE = [
    *(f"9.{section}.{i}" for section in (1, 2) for i in SIZES),
    *(f"9.{section}.{i}" for section in (3, 4) for i in FRAGMENT_SIZES),
    *(f"9.{section}.{i}" for section in (5, 6) for i in CHOPS),
    "10.1.1",
]


def echo(_request: UpgradeRequest) -> Handler | Refusal:
    return Echo()


@contextlib.asynccontextmanager
async def echoing() -> AsyncIterator[RawClient]:
    """A connection to the echo server, as the suite is run against it."""
    options = echo_options(16 * MIB, 70_000)
    async with serving(options, answer=echo, ws_path=None, subprotocol=None) as running, running.client() as client:
        await client.send(handshake("/", subprotocol=None))
        assert (await client.response()).status == 101
        yield client


async def close_normally(client: RawClient) -> None:
    """The client's Close is answered with the same code, and the server ends the connection."""
    await client.send(close_frame(1000))
    assert await client.closed_with() == ([], 1000)


async def run(case: Case) -> None:
    async with echoing() as client:
        await client.send(*case.sent, chop=case.chop)
        if case.close is not None:
            assert await client.closed_with() == (case.answers, case.close)
            return
        for answer in case.answers:
            assert await client.event() == answer
        await close_normally(client)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.number)
async def test_case(case: Case) -> None:
    await run(case)


@pytest.mark.parametrize("number", LARGE)
async def test_large_case(number: str) -> None:
    await run(large_case(number))


def test_the_suites_cases_are_all_here() -> None:
    counts = {"1": 16, "2": 11, "3": 7, "4": 10, "5": 20, "6": 141}
    for section, count in counts.items():
        numbers = [case.number for case in CASES if case.number.split(".")[0] == section]
        assert len(set(numbers)) == len(numbers) == count, section


@pytest.mark.parametrize(("number", "first", "second"), [("6.4.1", 11, 15), ("6.4.2", 12, 13)])
async def test_bad_utf8_fails_with_its_fragment(number: str, first: int, second: int) -> None:
    """Strict: the fragment that makes the message bad is refused, without the rest."""
    payload = GREEK + b"\xf4\x90\x80\x80edited"
    async with echoing() as client:
        await client.send(frame(TEXT, payload[:first], fin=False), frame(PING, b"A"))
        assert await client.event() == ("pong", b"A")
        await client.send(frame(CONTINUATION, payload[first:second], fin=False))
        assert await client.closed_with() == ([], 1007)


@pytest.mark.parametrize(("number", "first", "second"), [("6.4.3", 11, 15), ("6.4.4", 12, 13)])
async def test_bad_utf8_fails_with_its_frame(number: str, first: int, second: int) -> None:
    """Non-strict: in chops of one frame it is refused when the frame is whole."""
    payload = GREEK + b"\xf4\x90\x80\x80edited"
    whole = frame(TEXT, payload)
    head = len(whole) - len(payload)
    async with echoing() as client:
        await client.send(whole[: head + first], whole[head + first : head + second], whole[head + second :])
        assert await client.closed_with() == ([], 1007)


BAD_REASON = GREEK + b"\xed\xa0\x80edited"
BIG = repeated(CYCLE, 256 * KIB)
MESSAGE = frame(TEXT, b"Hello World!")
CLOSINGS: list[tuple[str, bytes, list[Event], int | None]] = [
    ("7.1.1", MESSAGE + close_frame(1000), [("text", b"Hello World!")], 1000),
    ("7.1.2", close_frame(1000) + frame(CLOSE), [], 1000),
    ("7.1.3", close_frame(1000) + frame(PING), [], 1000),
    ("7.1.4", close_frame(1000) + MESSAGE, [], 1000),
    ("7.1.5", BEGIN + close_frame(1000) + END, [], 1000),
    (
        "7.1.6",
        frame(TEXT, BIG) + MESSAGE + close_frame(1000) + frame(PING),
        [("text", BIG), ("text", b"Hello World!")],
        1000,
    ),
    ("7.3.1", frame(CLOSE), [], None),
    ("7.3.2", frame(CLOSE, b"a"), [], 1002),
    ("7.3.3", close_frame(1000), [], 1000),
    ("7.3.4", close_frame(1000, b"Hello World!"), [], 1000),
    ("7.3.5", close_frame(1000, b"*" * 123), [], 1000),
    ("7.3.6", close_frame(1000, b"*" * 124), [], 1002),
    ("7.5.1", close_frame(1000, BAD_REASON), [], 1007),
    *(
        (f"7.7.{i}", close_frame(code), [], code)
        for i, code in enumerate([1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999], 1)
    ),
    *(
        (f"7.9.{i}", close_frame(code), [], 1002)
        for i, code in enumerate([0, 999, 1004, 1005, 1006, 1016, 1100, 2000, 2999], 1)
    ),
    # What 5000 and more mean is undefined; here they are refused.
    ("7.13.1", close_frame(5000), [], 1002),
    ("7.13.2", close_frame(65_535), [], 1002),
]


@pytest.mark.parametrize(("number", "sent", "answers", "code"), CLOSINGS, ids=[case[0] for case in CLOSINGS])
async def test_closing(number: str, sent: bytes, answers: list[Event], code: int | None) -> None:
    async with echoing() as client:
        await client.send(sent)
        assert await client.closed_with() == (answers, code)


@pytest.mark.parametrize("index", ROUND_TRIPS)
@pytest.mark.parametrize(("section", "opcode"), [("9.7", TEXT), ("9.8", BINARY)])
async def test_round_trips(section: str, opcode: int, index: int) -> None:
    """A thousand messages, each sent when the one before has come back."""
    payload = (b"*" if opcode == TEXT else b"\xfe") * ROUND_TRIPS[index]
    sent = frame(opcode, payload)
    answer = ("text" if opcode == TEXT else "binary", payload)
    async with echoing() as client:
        for _ in range(1_000):
            await client.send(sent)
            assert await client.event() == answer
        await close_normally(client)
