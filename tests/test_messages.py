"""The codecs: what is taken, what is refused and in which words."""

from __future__ import annotations

import json

import msgspec
import pytest

from greenroom.codes import ErrorCode
from greenroom.errors import IllegalArgumentError, RateLimitedError
from greenroom.messages import (
    METHODS,
    NOTIFICATIONS,
    SCOPE_OF_METHOD,
    Empty,
    HalfPairError,
    MoveOn,
    NoParams,
    OpenParams,
    WireParticipant,
    decode_incoming,
    decode_notification,
    decode_params,
    decode_request,
    decode_result,
    encode_error,
    encode_notification,
    encode_reply,
    encode_request,
)
from greenroom.model import Presence


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", ErrorCode.PARSE_ERROR),
        (b"{", ErrorCode.PARSE_ERROR),
        (b"\xff\xfe", ErrorCode.PARSE_ERROR),
        (b'{"jsonrpc":"2.0","id":1,"method":"ping"}x', ErrorCode.PARSE_ERROR),
        (b'{"a":' * 100_000, ErrorCode.PARSE_ERROR),
        (b"[" * 16_000, ErrorCode.INVALID_REQUEST),
        (b"[]", ErrorCode.INVALID_REQUEST),
        (b'[{"jsonrpc":"2.0","id":1,"method":"ping"}]', ErrorCode.INVALID_REQUEST),
        (b"null", ErrorCode.INVALID_REQUEST),
        (b'{"id":1,"method":"ping"}', ErrorCode.INVALID_REQUEST),
        (b'{"jsonrpc":"1.0","id":1,"method":"ping"}', ErrorCode.INVALID_REQUEST),
        (b'{"jsonrpc":"2.0","id":1.5,"method":"ping"}', ErrorCode.INVALID_REQUEST),
        (b'{"jsonrpc":"2.0","id":true,"method":"ping"}', ErrorCode.INVALID_REQUEST),
        (b'{"jsonrpc":"2.0","id":{},"method":"ping"}', ErrorCode.INVALID_REQUEST),
        (b'{"jsonrpc":"2.0","id":1,"method":7}', ErrorCode.INVALID_REQUEST),
        (b'{"jsonrpc":"2.0","id":"' + b"x" * 65 + b'","method":"ping"}', ErrorCode.INVALID_REQUEST),
    ],
)
def test_what_is_no_request_is_refused(data: bytes, code: ErrorCode) -> None:
    with pytest.raises(IllegalArgumentError) as caught:
        decode_request(data)
    assert caught.value.code in (code, ErrorCode.INVALID_REQUEST, ErrorCode.PARSE_ERROR)
    assert caught.value.code is code


def test_a_refusal_names_the_field() -> None:
    request = decode_request(b'{"jsonrpc":"2.0","id":1,"method":"session.open","params":{"token":7}}')
    with pytest.raises(IllegalArgumentError) as caught:
        decode_params("session.open", request.params)
    assert str(caught.value) == "session.open: The field token of the parameters is 7. It must be text."


@pytest.mark.parametrize("params", [b"[]", b"null", b"7", b'"x"'])
def test_params_are_an_object(params: bytes) -> None:
    with pytest.raises(IllegalArgumentError):
        decode_params("session.open", msgspec.Raw(params))


def test_params_may_be_absent_and_unknown_fields_are_ignored() -> None:
    assert decode_params("ping", msgspec.Raw(b"")) == NoParams()
    params = decode_params(
        "session.open", msgspec.Raw(b'{"token":"t","openId":"o","resumeSecret":"s","fromTheFuture":{"a":1}}')
    )
    assert isinstance(params, OpenParams)
    assert params.participant.name is None


HALF_A_PAIR = (
    rb'{"jsonrpc":"2.0","id":"a","method":"session.updateParticipantInfo","params":{"updateId":"u","name":"\ud800"}}'
)


def test_half_a_surrogate_pair_is_grammatical_json_and_answered_with_its_id() -> None:
    with pytest.raises(HalfPairError, match="half a surrogate pair") as caught:
        decode_request(HALF_A_PAIR)
    assert caught.value.code is ErrorCode.ILLEGAL_ARGUMENT
    assert caught.value.request_id == "a"


@pytest.mark.parametrize(
    "data",
    [
        HALF_A_PAIR.replace(b'"a"', rb'"\udc00"'),
        HALF_A_PAIR.replace(b'"session.updateParticipantInfo"', rb'"\udc00"'),
        HALF_A_PAIR.replace(b'"u"', b"NaN"),
        HALF_A_PAIR[:-1],
        rb'{"params":"\ud800"',
    ],
)
def test_half_a_surrogate_pair_elsewhere_or_in_what_is_no_json(data: bytes) -> None:
    with pytest.raises(IllegalArgumentError) as caught:
        decode_request(data)
    assert caught.value.code is ErrorCode.PARSE_ERROR


def test_a_reply_comes_back_typed() -> None:
    incoming = decode_incoming(encode_reply(7, Empty()))
    assert incoming.id == 7
    assert decode_result("ping", incoming.result) == Empty()


def test_an_error_comes_back_typed() -> None:
    incoming = decode_incoming(encode_error(7, RateLimitedError(retry_after=3.0)))
    assert incoming.error is not None
    error = incoming.error.to_error()
    assert isinstance(error, RateLimitedError)
    assert error.retry_after == 3.0


def test_a_notification_comes_back_typed_and_an_unknown_one_is_nothing() -> None:
    incoming = decode_incoming(encode_notification("session.moveOn", MoveOn(1.0, 2.0)))
    assert incoming.method == "session.moveOn"
    assert decode_notification("session.moveOn", incoming.params) == MoveOn(1.0, 2.0)
    assert decode_notification("session.fromTheFuture", msgspec.Raw(b"")) is None


def test_a_request_is_one_json_rpc_object() -> None:
    message = json.loads(encode_request(3, "ping", NoParams()))
    assert message == {"jsonrpc": "2.0", "id": 3, "method": "ping", "params": {}}


def test_what_a_participant_never_set_is_absent_on_the_wire() -> None:
    participant = WireParticipant(
        id="a", revision=0, version=1, presence=Presence.ONLINE, sessions=1, last_seen=None, name="Anna"
    )
    message = json.loads(msgspec.json.encode(participant))
    assert message == {
        "id": "a", "revision": 0, "version": 1, "presence": "online", "sessions": 1, "lastSeen": None, "name": "Anna",
    }  # fmt: skip
    assert participant.to_participant().info.name == "Anna"


def test_scopes_are_of_methods_that_exist() -> None:
    assert set(SCOPE_OF_METHOD) <= set(METHODS)
    assert not set(METHODS) & set(NOTIFICATIONS)
