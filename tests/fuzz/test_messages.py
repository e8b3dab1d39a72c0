"""Messages made to hurt: malformed, mistyped, too deep, too large. Always the documented error or close code (docs,
codes and wire), nothing alarming in the log, and the service lives on. Over real sockets.
"""

from __future__ import annotations

import types
import typing
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args, get_origin

import msgspec
import pytest

from greenroom.bench.minting import mint
from greenroom.codes import CloseCode, ErrorCode
from greenroom.messages import MAX_MESSAGE_BYTES, METHODS
from tests.acceptance.process import ServiceProcess, service
from tests.fuzz.bare import Bare, bare, fuzzed_service, hello, nothing_alarming, opened, request

PARSE, INVALID, ILLEGAL = ErrorCode.PARSE_ERROR, ErrorCode.INVALID_REQUEST, ErrorCode.ILLEGAL_ARGUMENT
NO_METHOD = ErrorCode.METHOD_NOT_FOUND
PING = b'{"jsonrpc":"2.0","id":1,"method":"ping","params":{}}'
LONG = request("session.updateParticipantInfo", 7, updateId="u", name='A"\\é名', ifRevision=-12)


def in_string(text: bytes) -> bytes:
    """A ping with this inside a string of its params."""
    return b'{"jsonrpc":"2.0","id":1,"method":"ping","params":{"x":"' + text + b'"}}'


def with_value(text: bytes) -> bytes:
    """A request whose method is known and whose params have this for a value."""
    return b'{"jsonrpc":"2.0","id":1,"method":"ping","params":{"x":' + text + b"}}"


def with_id(text: bytes) -> bytes:
    return b'{"jsonrpc":"2.0","id":' + text + b',"method":"ping","params":{}}'


NOT_JSON = {
    "nothing": b"",
    "a space": b" ",
    "NUL": b"\0",
    "NUL after": PING + b"\0",
    "NUL before": b"\0" + PING,
    "BOM": b"\xef\xbb\xbf" + PING,
    "text": b"hello",
    "half a literal": b"tru",
    "Python's None": b"None",
    "NaN": with_value(b"NaN"),
    "Infinity": with_value(b"Infinity"),
    "minus Infinity": with_value(b"-Infinity"),
    "undefined": with_value(b"undefined"),
    "True": with_value(b"True"),
    "hexadecimal": with_value(b"0x10"),
    "leading zero": with_value(b"01"),
    "leading plus": with_value(b"+1"),
    "leading dot": with_value(b".5"),
    "trailing dot": with_value(b"1."),
    "no exponent": with_value(b"1e"),
    "two minuses": with_value(b"--1"),
    "underscore": with_value(b"1_000"),
    "single quotes": PING.replace(b'"', b"'"),
    "bare keys": b'{jsonrpc:"2.0",id:1,method:"ping"}',
    "trailing comma": PING[:-1] + b",}",
    "leading comma": b"{," + PING[1:],
    "two commas": PING.replace(b",", b",,", 1),
    "no comma": PING.replace(b",", b" ", 1),
    "no colon": PING.replace(b":", b" ", 1),
    "semicolon": PING.replace(b",", b";"),
    "comment": b"/* hello */" + PING,
    "line comment": PING + b"// hello",
    "two objects": PING + PING,
    "two lines": PING + b"\n" + PING,
    "closed twice": PING + b"}",
    "closed as a list": PING[:-1] + b"]",
    "number as key": b'{"jsonrpc":"2.0",1:2,"method":"ping","id":1}',
    "null as key": b'{"jsonrpc":"2.0",null:2,"method":"ping","id":1}',
    "JSONP": b"call(" + PING + b")",
    "XSSI prefix": b")]}'\n" + PING,
    "form": b"jsonrpc=2.0&method=ping&id=1",
    "XML": b"<?xml version='1.0'?><methodCall/>",
    "non-breaking space": "\u00a0".encode() + PING,
    "line separator": "\u2028".encode() + PING,
    "vertical tab": b"\x0b" + PING,
    "raw control in a string": in_string(b"a\x01b"),
    "raw NUL in a string": in_string(b"a\x00b"),
    "raw newline in a string": in_string(b"a\nb"),
    "unknown escape": in_string(rb"\x41"),
    "octal escape": in_string(rb"\012"),
    "half a unicode escape": in_string(rb"\u12"),
    "no unicode escape": in_string(rb"\uzzzz"),
    "escaped quote at the end": b'{"jsonrpc":"2.0","id":1,"method":"ping\\"}',
}
HALF_A_PAIR = {
    "lone high surrogate": in_string(rb"\ud800"),
    "lone low surrogate": in_string(rb"\udc00"),
    "surrogates the wrong way round": in_string(rb"\udc00\ud800"),
    "high surrogate, then a letter": in_string(rb"\ud800A"),
    "two high surrogates": in_string(rb"\ud800\ud800"),
}
NOT_UTF8 = {
    "a lone byte": in_string(b"\xff"),
    "cut character": in_string(b"\xe5\x90"),
    "overlong slash": in_string(b"\xc0\xaf"),
    "overlong NUL": in_string(b"\xc0\x80"),
    "raw surrogate": in_string(b"\xed\xa0\x80"),
    "raw pair of surrogates": in_string(b"\xed\xa0\xbd\xed\xb8\x80"),
    "beyond Unicode": in_string(b"\xf4\x90\x80\x80"),
    "Latin-1": in_string("José".encode("latin-1")),
    "UTF-16": PING.decode().encode("utf-16"),
    "UTF-32": PING.decode().encode("utf-32"),
    "a WebSocket frame in a frame": b"\x7b\xfe\x00\x01",
    "gzip": b"\x1f\x8b\x08\x00" + PING,
}
NOT_A_REQUEST = {
    "null": b"null",
    "null and a letter": b"nulll",  # judged as far as it was read
    "true": b"true",
    "a number": b"1",
    "a huge number": b"1e999",
    "a string": b'"ping"',
    "an empty list": b"[]",
    "a batch": b"[" + PING + b"]",
    "a batch of two": b"[" + PING + b"," + PING + b"]",
    "a batch of nothing useful": b"[1,2,3]",
    "an empty object": b"{}",
    "no jsonrpc": b'{"id":1,"method":"ping"}',
    "jsonrpc 1.0": PING.replace(b'"2.0"', b'"1.0"'),
    "jsonrpc as a number": PING.replace(b'"2.0"', b"2.0"),
    "jsonrpc null": PING.replace(b'"2.0"', b"null"),
    "JSONRPC": PING.replace(b"jsonrpc", b"JSONRPC"),
    "no method": b'{"jsonrpc":"2.0","id":1}',
    "method empty": PING.replace(b'"ping"', b'""'),
    "method null": PING.replace(b'"ping"', b"null"),
    "method a number": PING.replace(b'"ping"', b"1"),
    "method a list": PING.replace(b'"ping"', b'["ping"]'),
    "method an object": PING.replace(b'"ping"', b'{"a":1}'),
    "id true": with_id(b"true"),
    "id a fraction": with_id(b"1.5"),
    "id 1.0": with_id(b"1.0"),
    "id 1e3": with_id(b"1e3"),
    "id beyond any float": with_id(b"1e999"),
    "id of 5,000 digits": with_id(b"9" * 5000),
    "id a list": with_id(b"[1]"),
    "id an object": with_id(b'{"a":1}'),
    "id of 65 characters": with_id(b'"' + b"x" * 65 + b'"'),
    "id of 30,000 characters": with_id(b'"' + b"x" * 30_000 + b'"'),
}


def malformed() -> Iterator[tuple[str, bytes, int]]:
    """(name, message, code): every one is refused before anybody asks which method it is."""
    for name, message in NOT_JSON.items():
        yield name, message, PARSE
    for name, message in NOT_A_REQUEST.items():
        yield name, message, INVALID
    for name, message in HALF_A_PAIR.items():
        yield name, message, ILLEGAL
    for end in range(1, len(LONG)):
        # Cut inside the one character of two and the one of three bytes, it is no UTF-8.
        if _is_utf8(LONG[:end]):
            yield f"cut after {end} bytes", LONG[:end], PARSE


def _is_utf8(message: bytes) -> bool:
    try:
        message.decode()
    except UnicodeDecodeError:
        return False
    return True


async def test_malformed_on_an_open_session_is_answered_and_the_session_goes_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with nothing_alarming(caplog):
        async with fuzzed_service() as (_running, tenant), opened(tenant) as client:
            for name, message, code in malformed():
                client.send(message)
                error = await client.error()
                assert error["code"] == code, (name, error)
                await client.is_alive()


async def test_malformed_as_the_first_message_is_answered_and_closed_4505(caplog: pytest.LogCaptureFixture) -> None:
    with nothing_alarming(caplog):
        async with fuzzed_service() as (running, _tenant):
            for name, message, code in malformed():
                async with bare(running.url) as client:
                    client.send(message)
                    assert (await client.error())["code"] == code, name
                    assert await client.received() == CloseCode.PROTOCOL_ERROR, name


@pytest.mark.parametrize("name", NOT_UTF8)
async def test_text_that_is_no_utf8_is_closed_1007(name: str, caplog: pytest.LogCaptureFixture) -> None:
    with nothing_alarming(caplog):
        async with fuzzed_service() as (running, tenant):
            async with opened(tenant) as client:
                client.send(NOT_UTF8[name])
                assert await client.received() == CloseCode.INVALID_UTF8
            async with bare(running.url) as client:
                client.send(NOT_UTF8[name])
                assert await client.received() == CloseCode.INVALID_UTF8


# -- deep, large ------------------------------------------------------------------------------------------------------

DEEP = 100_000
NESTED = {
    "lists": b"[" * DEEP,
    "closed lists": b"[" * DEEP + b"]" * DEEP,
    "objects": b'{"a":' * DEEP,
    "closed objects": b'{"a":' * DEEP + b"1" + b"}" * DEEP,
    "both": b'[{"a":' * DEEP,
    "in params": with_value(b"[" * DEEP + b"]" * DEEP),
    "in objects of params": with_value(b'{"a":' * DEEP + b"1" + b"}" * DEEP),
    "in an unknown member": b'{"jsonrpc":"2.0","id":1,"zzz":' + b"[" * DEEP + b"]" * DEEP + b',"method":"ping"}',
    "in id": with_id(b"[" * DEEP + b"]" * DEEP),
    "in a result": b'{"jsonrpc":"2.0","id":1,"result":' + b"[" * DEEP + b"]" * DEEP + b"}",
    "where a string is due": request("participants.get").replace(b"{}", b'{"ids":' + b"[" * DEEP + b"]" * DEEP + b"}"),
    "quotes": b'{"jsonrpc":"2.0","id":1,"method":"' + rb"\"" * DEEP + b'"}',
}


async def test_nesting_of_ten_to_the_fifth_is_too_big_by_default(caplog: pytest.LogCaptureFixture) -> None:
    with nothing_alarming(caplog):
        async with fuzzed_service() as (running, tenant):
            for name, message in NESTED.items():
                async with opened(tenant) as client:
                    client.send(message)
                    assert await client.received() == CloseCode.MESSAGE_TOO_BIG, name
                async with bare(running.url) as client:
                    client.send(message)
                    assert await client.received() == CloseCode.MESSAGE_TOO_BIG, name


async def test_nesting_of_ten_to_the_fifth_is_refused_where_it_fits(caplog: pytest.LogCaptureFixture) -> None:
    with nothing_alarming(caplog):
        async with fuzzed_service(max_message_bytes=4 * 1024 * 1024) as (_running, tenant), opened(tenant) as client:
            for name, message in NESTED.items():
                client.send(message)
                assert (await client.error())["code"] in (PARSE, INVALID, NO_METHOD), name
                await client.is_alive()


async def test_nesting_within_32_kib_is_refused_or_served(caplog: pytest.LogCaptureFixture) -> None:
    """What is below the reader's own limit is JSON, and an unknown member is ignored."""
    with nothing_alarming(caplog):
        async with fuzzed_service() as (_running, tenant), opened(tenant) as client:
            for depth in (1, 10, 100, 500, 900, 1000, 1100, 2000, 5000, 16_000):
                client.send(with_value(b"[" * depth + b"]" * depth))
                found = await client.answer()
                assert found.get("result") == {} or found["error"]["code"] == PARSE, (depth, found)
                await client.is_alive()


async def test_the_edges_of_32_kib(caplog: pytest.LogCaptureFixture) -> None:
    with nothing_alarming(caplog):
        async with fuzzed_service() as (running, tenant):
            async with opened(tenant) as client:
                for size in (MAX_MESSAGE_BYTES - 1, MAX_MESSAGE_BYTES):
                    client.send(_padded(size))
                    assert await client.answer() == {"id": 1, "result": {}, "jsonrpc": "2.0"}
                client.send(_padded(MAX_MESSAGE_BYTES + 1))
                assert await client.received() == CloseCode.MESSAGE_TOO_BIG
            async with bare(running.url) as client:
                head = msgspec.json.encode({"jsonrpc": "2.0", "id": 0, "method": "session.open"})
                params = msgspec.json.encode(hello(tenant.token("edge")))
                message = head[:-1] + b',"params":' + params + b"}"
                client.send(message + b" " * (MAX_MESSAGE_BYTES - len(message)))
                assert "result" in await client.answer()


def _padded(size: int) -> bytes:
    rest = size - len(in_string(b""))
    message = in_string(b"x" * rest)
    assert len(message) == size
    return message


# -- ids, notifications, responses ------------------------------------------------------------------------------------

GOOD_IDS = [
    b"0", b"-0", b"1", b"-1", b"9007199254740993", b"18446744073709551615", b"18446744073709551616", b"-9" + b"0" * 300,
    b'""', b'"x"', b'"' + b"x" * 64 + b'"', b'"\\u0000\\n\\"\\\\"', '"名前😀"'.encode(), b'"\\ud83d\\ude00"',
    b'"__proto__"', b'"null"',
]  # fmt: skip


async def test_every_kind_of_id_comes_back_as_it_was(caplog: pytest.LogCaptureFixture) -> None:
    with nothing_alarming(caplog):
        async with fuzzed_service() as (_running, tenant), opened(tenant) as client:
            for raw in GOOD_IDS:
                wanted = msgspec.json.decode(raw)
                client.send(with_id(raw))
                assert await client.answer() == {"id": wanted, "result": {}, "jsonrpc": "2.0"}, raw
                client.send(with_id(raw).replace(b"ping", b"nope"))
                found = await client.answer()
                assert (found["id"], found["error"]["code"]) == (wanted, NO_METHOD), raw


async def test_one_id_twice_is_two_requests(caplog: pytest.LogCaptureFixture) -> None:
    with nothing_alarming(caplog):
        async with fuzzed_service() as (_running, tenant), opened(tenant) as client:
            for _ in range(3):
                client.call("session.getParticipant", "same")
            for _ in range(3):
                assert (await client.answer())["id"] == "same"


async def test_a_request_without_id_is_carried_out_and_not_answered(caplog: pytest.LogCaptureFixture) -> None:
    with nothing_alarming(caplog):
        async with fuzzed_service() as (_running, tenant), opened(tenant) as client:
            for method in (*METHODS, "nope", "rpc.discover"):
                if method != "session.close":
                    message = msgspec.json.encode({"jsonrpc": "2.0", "method": method, "params": {"x": [1]}})
                    client.send(message)
                    client.send(message[:-1] + b',"id":null}')
                if method.startswith("rooms."):
                    await client.is_alive()  # no more may wait than a few
            client.send(
                b'{"jsonrpc":"2.0","method":"session.updateParticipantInfo","params":{"updateId":"n","name":"N"}}'
            )
            client.call("session.getParticipant", 2)
            found = await client.answer()
            assert (found["id"], found["result"]["participant"]["name"]) == (2, "N")


async def test_responses_are_ignored(caplog: pytest.LogCaptureFixture) -> None:
    responses: list[dict[str, Any]] = [
        {"id": 1, "result": {}},
        {"id": 1, "result": None},
        {"id": None, "error": {"code": 1, "message": "x"}},
        {"id": "x", "result": 1, "error": 2},
        {"error": []},
    ]
    with nothing_alarming(caplog):
        async with fuzzed_service() as (running, tenant):
            async with opened(tenant) as client:
                for response in responses:
                    client.send(msgspec.json.encode({"jsonrpc": "2.0", **response}))
                    await client.is_alive()
            async with bare(running.url) as client:
                for response in responses:
                    client.send(msgspec.json.encode({"jsonrpc": "2.0", **response}))
                await client.open(tenant.token("anna"))


async def test_of_a_key_that_comes_twice_the_last_counts(caplog: pytest.LogCaptureFixture) -> None:
    with nothing_alarming(caplog):
        async with fuzzed_service() as (_running, tenant), opened(tenant) as client:
            client.send(b'{"jsonrpc":"2.0","id":1,"id":2,"method":"nope","method":"ping"}')
            assert await client.answer() == {"id": 2, "result": {}, "jsonrpc": "2.0"}
            client.send(b'{"jsonrpc":"2.0","id":3,"method":"ping","params":{},"params":[]}')
            await client.answer()
            twice = b'{"updateId":"a","name":"first","updateId":"b","name":"second"}'
            client.send(request("session.updateParticipantInfo", 4).replace(b"{}", twice))
            assert (await client.answer())["result"]["participant"]["name"] == "second"


# -- methods ----------------------------------------------------------------------------------------------------------

NO_METHODS = [
    "nope", "Ping", "PING", "ping ", " ping", "ping\0", "pin", "session", "session.", ".open", "session.opens",
    "rpc.on",
    "session/open", "session.__class__", "__init__", "constructor", "x" * 30_000, "名前", "😀", "participants.*", "*",
    "participants.changed", "session.ended", "session.moveOn", "session.stay", "../ping", "ping;ping", "eval",
]  # fmt: skip


async def test_unknown_methods(caplog: pytest.LogCaptureFixture) -> None:
    with nothing_alarming(caplog):
        async with fuzzed_service() as (running, tenant):
            async with opened(tenant) as client:
                for method in NO_METHODS:
                    client.call(method)
                    assert (await client.error())["code"] == NO_METHOD, method
                    await client.is_alive()
            for method in [*NO_METHODS, *METHODS]:
                if method not in ("session.open", "session.resume", "session.close"):
                    async with bare(running.url) as client:
                        client.call(method)
                        assert (await client.error())["code"] == ErrorCode.PROTOCOL_ERROR, method
                        assert await client.received() == CloseCode.PROTOCOL_ERROR, method


async def test_a_hello_without_id_is_closed_4505(caplog: pytest.LogCaptureFixture) -> None:
    with nothing_alarming(caplog):
        async with fuzzed_service() as (running, tenant):
            for message in (request("session.open", None, **hello(tenant.token("a"))), request("session.resume", None)):
                async with bare(running.url) as client:
                    client.send(message)
                    assert await client.received() == CloseCode.PROTOCOL_ERROR


# -- every field of every method --------------------------------------------------------------------------------------

SAMPLES: list[Any] = ["text", 1, -1, 10**30, 1.5, True, None, [], [1], ["a"], [["a"]], [[1, "a"]], {}, {"a": 1}]
GOOD = {
    "token": "not.a.token", "openId": "open", "resumeSecret": "s" * 43, "nextSecret": "n" * 43, "sessionId": "p1-x",
    "attempt": 1, "updateId": "u", "status": "away", "room": "standup", "roomId": "r1-x", "messageId": "m",
    "message": {"hand": "up"}, "participantId": "p", "invitationId": "i", "accept": True,
}  # fmt: skip
"""A value for each field that must be there."""


def takes(kind: Any, value: Any) -> bool:
    """Whether a value is of a field's declared type, by the rules of JSON and no others."""
    origin, inner = get_origin(kind), get_args(kind)
    if origin in (types.UnionType, typing.Union):
        return any(takes(one, value) for one in inner)
    if origin is list:
        return isinstance(value, list) and all(takes(inner[0], one) for one in value)
    if origin is tuple:
        return isinstance(value, list) and len(value) == len(inner) and all(map(takes, inner, value))
    if origin is dict:
        return isinstance(value, dict) and all(takes(inner[1], one) for one in value.values())
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return isinstance(value, dict)  # the samples have unknown members only
    if kind is type(None):
        return value is None
    if kind is msgspec.Raw:
        return True
    if kind is float:
        return type(value) in (int, float)
    return type(value) is kind


def mistyped() -> Iterator[tuple[str, str, dict[str, Any]]]:
    """(method, field, params): one field of a wrong type, or left out; all else in order."""
    for method, (params, _) in METHODS.items():
        hints = typing.get_type_hints(params)
        fields = msgspec.structs.fields(params)
        good = {field.encode_name: GOOD[field.encode_name] for field in fields if field.required}
        for field in fields:
            if field.required:
                yield method, field.encode_name, {k: v for k, v in good.items() if k != field.encode_name}
            for value in SAMPLES:
                # A member that is null is absent.
                if not takes(hints[field.name], value) and (value is not None or field.required):
                    yield method, field.encode_name, {**good, field.encode_name: value}
            yield from _inside(method, field.encode_name, hints[field.name], good)


def _inside(method: str, name: str, kind: Any, good: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """The same for the members of a struct."""
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        hints = typing.get_type_hints(kind)
        for field in msgspec.structs.fields(kind):
            for value in SAMPLES:
                if not takes(hints[field.name], value) and (value is not None or field.required):
                    yield method, field.encode_name, {**good, name: {field.encode_name: value}}


def test_there_are_many_mistyped_fields() -> None:
    cases = list(mistyped())
    assert len(cases) > 250
    assert {method for method, _, _ in cases} == {m for m, (p, _) in METHODS.items() if msgspec.structs.fields(p)}


async def test_wrong_types_for_every_field_of_every_method(caplog: pytest.LogCaptureFixture) -> None:
    with nothing_alarming(caplog):
        async with fuzzed_service() as (running, tenant), opened(tenant) as session:
            for method, field, params in mistyped():
                if method in ("session.open", "session.resume"):
                    async with bare(running.url) as client:
                        await _refuses(client, method, field, params)
                        if method == "session.open":
                            assert await client.received() == CloseCode.PROTOCOL_ERROR, (method, params)
                else:
                    await _refuses(session, method, field, params)
                    await session.is_alive()
            for method in METHODS:
                for no_object in ([], [1], "x", 1, 1.5, True):
                    if method not in ("ping", "session.open", "session.resume"):
                        session.send(msgspec.json.encode(_raw(method, no_object)))
                        assert (await session.error())["code"] == ILLEGAL, (method, no_object)


def _raw(method: str, params: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}


async def _refuses(client: Bare, method: str, field: str, params: dict[str, Any]) -> None:
    client.call(method, 1, **params)
    error = await client.error()
    assert error["code"] == ILLEGAL, (method, params, error)
    assert field in error["message"], (method, params, error)


# -- values of the right type that no rule allows ---------------------------------------------------------------------

LIMITS: list[tuple[str, dict[str, Any], set[int]]] = [
    ("session.updateParticipantInfo", {"updateId": ""}, {ILLEGAL}),
    ("session.updateParticipantInfo", {"updateId": "x" * 65}, {ILLEGAL}),
    ("session.updateParticipantInfo", {"updateId": "a\nb"}, {ILLEGAL}),
    ("session.updateParticipantInfo", {"updateId": "u", "ifRevision": 10**30}, {ErrorCode.REVISION_CONFLICT}),
    ("session.updateParticipantInfo", {"updateId": "v", "ifRevision": -(10**30)}, {ErrorCode.REVISION_CONFLICT}),
    ("session.updateParticipantInfo", {"updateId": "w", "ifRevision": 2**63}, {ErrorCode.REVISION_CONFLICT}),
    ("session.updateParticipantInfo", {"updateId": "x", "attributes": {"": "x"}}, {ILLEGAL}),
    ("session.updateParticipantInfo", {"updateId": "x", "attributes": {"x" * 65: "x"}}, {ILLEGAL}),
    ("session.updateParticipantInfo", {"updateId": "x", "attributes": {"a": "x" * 1025}}, {ILLEGAL}),
    ("session.updateParticipantInfo", {"updateId": "x", "attributes": {"a\0": "x"}}, {ILLEGAL}),
    ("session.updateParticipantInfo", {"updateId": "x", "attributes": {str(n): "x" for n in range(33)}}, {ILLEGAL}),
    ("session.updateParticipantInfo", {"updateId": "x", "attributes": {str(n): None for n in range(2000)}}, {ILLEGAL}),
    ("session.updateParticipantInfo", {"updateId": "x", "attributes": dict.fromkeys("abcde", "😀" * 256)}, {ILLEGAL}),
    ("session.updateParticipantInfo", {"updateId": "x", "attributes": {"__proto__": "x"}}, {0}),
    ("session.setStatus", {"status": ""}, {ILLEGAL}),
    ("session.setStatus", {"status": "x" * 65}, {ILLEGAL}),
    ("session.setStatus", {"status": "a\nb"}, {ILLEGAL}),
    ("session.refreshToken", {"token": ""}, {ErrorCode.TOKEN_INVALID}),
    ("session.refreshToken", {"token": "x" * 30_000}, {ErrorCode.TOKEN_INVALID}),
    ("session.refreshToken", {"token": "😀" * 1000}, {ErrorCode.TOKEN_INVALID}),
    ("participants.get", {"ids": [""]}, {ILLEGAL}),
    ("participants.get", {"ids": ["x" * 65]}, {ILLEGAL}),
    ("participants.get", {"ids": ["a\0b"]}, {ILLEGAL}),
    ("participants.get", {"externalIds": [""]}, {0, ILLEGAL}),
    ("participants.get", {"externalIds": ["x" * 30_000]}, {0, ILLEGAL}),
    ("participants.get", {"externalIds": ["a\0b"]}, {0, ILLEGAL}),
    ("participants.watch", {"known": [["", 1]]}, {ILLEGAL}),
    ("participants.watch", {"known": [["x" * 20_000, 1]]}, {ILLEGAL}),
    ("participants.watch", {"known": [["someone", 10**30]]}, {0, ILLEGAL}),
    ("participants.watch", {"known": [["someone", -(10**30)]]}, {0, ILLEGAL}),
    ("participants.watch", {"known": [[f"p{n}", 1] for n in range(1002)]}, {ErrorCode.WATCH_LIMIT_REACHED}),
    ("participants.get", {"ids": [f"p{n}" for n in range(1001)]}, {ILLEGAL}),
    ("participants.get", {"externalIds": [f"p{n}" for n in range(1001)]}, {ILLEGAL}),
    ("participants.get", {"ids": [f"p{n}" for n in range(1000)]}, {0}),
    ("participants.watch", {"known": [["a\0b", 1]]}, {ILLEGAL}),
    ("participants.unwatch", {"ids": ["x" * 65]}, {ILLEGAL}),
    ("participants.unwatch", {"ids": ["nobody"]}, {0}),
    ("session.close", {"sessionId": "another"}, {ILLEGAL}),
    ("session.open", {"token": "x"}, {ErrorCode.CONFLICT}),
    ("session.resume", {"sessionId": "x"}, {ErrorCode.CONFLICT}),
]
"""(method, params, codes): 0 is success."""


async def test_values_that_no_rule_allows(caplog: pytest.LogCaptureFixture) -> None:
    with nothing_alarming(caplog):
        async with fuzzed_service() as (_running, tenant), opened(tenant) as client:
            for method, params, codes in LIMITS:
                client.call(method, 1, **params)
                found = await client.answer()
                code = found["error"]["code"] if "error" in found else 0
                assert code in codes, (method, str(params)[:100], found)
                await client.is_alive()


HELLOS: list[tuple[str, dict[str, Any]]] = [
    *(("session.open", {"openId": value}) for value in ("", "x" * 129, "a\0b")),
    *(("session.open", {"resumeSecret": value}) for value in ("", "short", "x" * 129, "名" * 43)),
    *(("session.open", {"device": {"id": value}}) for value in ("x" * 129, "a\nb")),
    *(("session.open", {"device": {"name": value}}) for value in ("x" * 257, "\u202e")),
    *(("session.open", {"sdk": {"name": value}}) for value in ("x" * 65, "a\rb")),
    *(("session.open", {"sdk": {"version": value}}) for value in ("x" * 65, "\x1b[31m")),
    *(("session.resume", {"attempt": value}) for value in (0, -1, 2**53, 10**30)),
    *(("session.resume", {"sessionId": value}) for value in ("", "x" * 129, "a\0b")),
    *(("session.resume", {"nextSecret": value}) for value in ("", "x" * 129)),
    ("session.resume", {"watching": [[f"p{n}", 0] for n in range(257)]}),
    *(("session.resume", {"watching": [[value, 0]]}) for value in ("", "x" * 65, "a\0b")),
]


async def test_hellos_that_no_rule_allows(caplog: pytest.LogCaptureFixture) -> None:
    with nothing_alarming(caplog):
        async with fuzzed_service() as (running, tenant):
            for method, params in HELLOS:
                (field,) = params
                good = hello(tenant.token("anna")) if method == "session.open" else dict(GOOD, token=tenant.token("b"))
                async with bare(running.url) as client:
                    await _refuses(client, method, field, {**good, **params})


async def test_a_session_id_that_is_none_is_refused(caplog: pytest.LogCaptureFixture) -> None:
    odd = [
        "x",
        "p",
        "p-",
        "p1",
        "p99999999999999999999-a",
        "p-1-x",
        "p0-" + "f" * 100,
        "p1-\u00e9",
        "../x",
        "%00",
        "p１-a",
    ]
    with nothing_alarming(caplog):
        async with fuzzed_service() as (running, tenant):
            for session_id in odd:
                async with bare(running.url) as client:
                    client.call("session.resume", 1, **{**_resume(), "sessionId": session_id})
                    assert (await client.error())["code"] in (ErrorCode.STATE_LOST, ILLEGAL), session_id
                async with bare(running.url) as client:
                    client.call("session.close", 1, sessionId=session_id, resumeSecret="s" * 43)
                    found = await client.answer()
                    assert found.get("result") == {} or found["error"]["code"] == ILLEGAL, session_id
            del tenant


def _resume() -> dict[str, Any]:
    return {name: GOOD[name] for name in ("sessionId", "resumeSecret", "nextSecret", "attempt")}


# -- work -------------------------------------------------------------------------------------------------------------

SIZE = 16 * 1024
MOST = 0.05
"""Seconds of the service's CPU for a message of 16 KiB: ten times what it takes, and far less than a look at each pair
of its bytes."""
TRIES = 7


def heavy() -> Iterator[tuple[str, bytes]]:
    """Messages of 16 KiB that are refused or served, each hard in another way."""

    def fill(text: bytes, most: int = SIZE - 200) -> bytes:
        return text * (most // len(text))

    yield "400 UUIDs", request("participants.get", 1, ids=[str(uuid.UUID(int=n)) for n in range(400)])
    for name in ("ids", "externalIds"):
        listed = b'["' + b'","'.join(b"%x" % n for n in range(2000)) + b'"]'
        yield (
            f"participants.get {name}",
            request("participants.get").replace(b"{}", b'{"%s":%s}' % (name.encode(), listed)),
        )
    for text in (
        b"a",
        "é".encode(),
        "e\u0301".encode(),
        "\U000e0041".encode(),
        "👩‍".encode(),
        b"\\u00e9",
        "क्‍".encode(),
    ):
        for field in ("name", "avatarUrl"):
            inner = b'{"updateId":"u","%s":"%s"}' % (field.encode(), fill(text))
            yield f"{field} of {text!r}", request("session.updateParticipantInfo").replace(b"{}", inner)
    for text in (b"a", b"a.", b"eyJ", b"=", "é".encode()):
        yield f"token of {text!r}", request("session.refreshToken", 1, token=fill(text).decode())
    yield "lists", with_value(b"[" * 8000 + b"]" * 8000)
    yield "objects", with_value(fill(b'{"a":'))
    yield "one number", with_value(b"9" * 16_000)
    yield "id of digits", with_id(b"9" * 4000)
    yield "a float of digits", with_value(b"0." + b"1" * 16_000)
    yield "exponent", with_value(b"1e" + b"9" * 16_000)
    yield "empty lists", with_value(b"[" + b"[]," * 5000 + b"[]]")
    yield "members", with_value(b"{" + b",".join(b'"%d":1' % n for n in range(1500)) + b"}")
    yield "one member", with_value(b"{" + b",".join([b'"a":1'] * 2500) + b"}")
    yield "escapes", in_string(rb"\u0041" * 2600)
    yield "method", request("x" * 16_000)
    yield "spaces", PING + b" " * 16_000
    yield "a batch", b"[" + b",".join([PING] * 300) + b"]"
    yield "not JSON", fill(b'{"')


@pytest.mark.slow
@pytest.mark.waiting
async def test_no_message_of_16_kib_takes_long(tmp_path: Path) -> None:
    """The CPU time of the service's process, the least of several tries: a busy machine makes neither larger."""
    async with service(tmp_path, messages_per_second=1_000_000, messages_burst=1_000_000) as running:
        demo = await _demo_token(running.url, running.key, running.secret)
        async with bare(running.url) as client:
            await client.open(demo)
            for name, message in heavy():
                least = min([await _cost(running, client, message) for _ in range(TRIES)])
                assert least <= MOST, f"{name}: {least * 1000:.1f} ms"
        assert "Traceback" not in running.log, running.log


async def _cost(running: ServiceProcess, client: Bare, message: bytes) -> float:
    before = running.cpu()
    client.send(message)
    await client.answer()
    return running.cpu() - before


async def _demo_token(url: str, key: str, secret: str) -> str:
    (token,) = await mint(url, key, secret, ["hostile"])
    return token
