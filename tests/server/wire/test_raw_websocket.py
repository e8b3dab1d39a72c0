"""Every kind of malformed handshake and frame, raw, against the settings of sessions: the exact status or code."""

from __future__ import annotations

import json
import struct

import pytest

from tests.server.raw_client import (
    BINARY,
    CLOSE,
    CONTINUATION,
    KEY,
    PING,
    PONG,
    TEXT,
    Event,
    close_frame,
    fragments,
    frame,
    handshake,
    serving,
)

ELSEWHERE = "/v1/sessions"

HANDSHAKES: dict[str, tuple[bytes, int]] = {
    # in order
    "as it should be": (handshake(), 101),
    "with a query": (handshake("/v1/session?a=b"), 101),
    "absolute target": (handshake("http://localhost/v1/session"), 101),
    "Firefox's Connection": (handshake(connection="keep-alive, Upgrade"), 101),
    "capitals": (handshake(connection="UPGRADE", upgrade="WebSocket"), 101),
    "websocket among others": (handshake(upgrade="h2c, websocket"), 101),
    "empty list members": (handshake(connection=", Upgrade,,", upgrade=",websocket"), 101),
    "several subprotocols": (handshake(sec_websocket_protocol="mqtt, greenroom.v1"), 101),
    "subprotocols in two headers": (handshake(extra=["Sec-WebSocket-Protocol: mqtt"]), 101),
    "extensions are not agreed on": (handshake(sec_websocket_extensions="permessage-deflate"), 101),
    "content-length of nothing": (handshake(content_length="0"), 101),
    "latin-1 in a header": (handshake(x_name="Jos\xe9"), 101),
    "tab around a value": (handshake(extra=["X-Tab:\tvalue\t"]), 101),
    "an empty header": (handshake(extra=["X-Empty:"]), 101),
    "an empty line before": (b"\r\n" + handshake(), 101),
    "a head of nearly 16 KiB": (handshake(x_filler="a" * 16_000), 101),
    # not for us
    "plain GET": (handshake(drop=["upgrade", "connection"]), 426),
    "no Upgrade": (handshake(drop=["upgrade"]), 426),
    "no Connection": (handshake(drop=["connection"]), 426),
    "Connection: close": (handshake(connection="close"), 426),
    "Upgrade: h2c": (handshake(upgrade="h2c"), 426),
    "Upgrade: websockets": (handshake(upgrade="websockets"), 426),
    "plain POST": (handshake(method="POST", drop=["upgrade"], content_length="0"), 405),
    "plain DELETE": (handshake(method="DELETE", drop=["upgrade"]), 405),
    "elsewhere": (handshake(ELSEWHERE), 404),
    "a slash too many": (handshake("/v1/session/"), 404),
    "two slashes": (handshake("//v1/session"), 404),
    "capitals in the path": (handshake("/V1/SESSION"), 404),
    "an escaped path": (handshake("/v1/sessio%6e"), 404),
    "the root": (handshake("/"), 404),
    "an asterisk": (handshake("*"), 404),
    "elsewhere, absolute": (handshake("http://localhost"), 404),
    # the request line
    "POST": (handshake(method="POST"), 405),
    "PUT": (handshake(method="PUT"), 405),
    "OPTIONS": (handshake(method="OPTIONS"), 405),
    "CONNECT": (handshake(method="CONNECT"), 405),
    "get": (handshake(method="get"), 405),
    "HTTP/1.0": (handshake(version="HTTP/1.0"), 400),
    "HTTP/2.0": (handshake(version="HTTP/2.0"), 400),
    "HTTP/0.9": (handshake(version="HTTP/0.9"), 400),
    "HTTP/1.1x": (handshake(version="HTTP/1.1x"), 400),
    "http/1.1": (handshake(version="http/1.1"), 400),
    "no version": (handshake(version=""), 400),
    "two spaces": (handshake(" /v1/session"), 400),
    "four words": (handshake("/v1/session /v1/session"), 400),
    "a control character in the target": (handshake("/v1/session\x01"), 400),
    "a raw byte in the target": (handshake("/v1/session\xff"), 400),
    "a tab for a space": (handshake().replace(b"GET /v1/session ", b"GET\t/v1/session\t", 1), 400),
    "no method": (handshake(method=""), 400),
    "a method that is no token": (handshake(method="G(T"), 400),
    # headers
    "no Host": (handshake(drop=["host"]), 400),
    "two Hosts": (handshake(extra=["Host: elsewhere"]), 400),
    "a space before the colon": (handshake(extra=["X-Bad : value"]), 400),
    "a space in a name": (handshake(extra=["X Bad: value"]), 400),
    "no name": (handshake(extra=[": value"]), 400),
    "no colon": (handshake(extra=["X-Bad"]), 400),
    "a folded line": (handshake(extra=["X-Bad: a", " b"]), 400),
    "a name that is no token": (handshake(extra=["X-B\xe4d: value"]), 400),
    "NUL in a value": (handshake(x_bad="a\x00b"), 400),
    "DEL in a value": (handshake(x_bad="a\x7fb"), 400),
    "a lone CR in a value": (handshake(x_bad="a\rb"), 400),
    "a lone LF in a value": (handshake(x_bad="a\nb"), 400),
    "100 headers": (handshake(extra=[f"X-{i}: 1" for i in range(94)]), 101),
    "101 headers": (handshake(extra=[f"X-{i}: 1" for i in range(95)]), 431),
    "a host with a space": (handshake(host="a b"), 400),
    "a list of hosts": (handshake(host="a, b"), 400),
    "a port that is none": (handshake(host="x:port"), 400),
    "a host with a port": (handshake(host="[::1]:8080"), 101),
    "browsers' extensions": (handshake(sec_websocket_extensions="permessage-deflate; client_max_window_bits"), 101),
    "extensions with values": (handshake(sec_websocket_extensions='a; b=1; c="d" , e'), 101),
    "an extension without a name": (handshake(sec_websocket_extensions="; a=1"), 400),
    "extensions that are none": (handshake(sec_websocket_extensions="a b"), 400),
    "empty extensions": (handshake(sec_websocket_extensions=""), 400),
    "an extension's value cut short": (handshake(sec_websocket_extensions="a; b="), 400),
    "a body": (handshake(content_length="5"), 400),
    "a negative body": (handshake(content_length="-1"), 400),
    "two lengths": (handshake(content_length="0", extra=["Content-Length: 5"]), 400),
    "a chunked body": (handshake(transfer_encoding="chunked"), 400),
    # the key
    "no key": (handshake(drop=["sec-websocket-key"]), 400),
    "an empty key": (handshake(sec_websocket_key=""), 400),
    "a short key": (handshake(sec_websocket_key="AAECAwQFBgcICQoLDA0O"), 400),
    "a long key": (handshake(sec_websocket_key="AAECAwQFBgcICQoLDA0ODxA="), 400),
    "a key that is not base64": (handshake(sec_websocket_key="!AECAwQFBgcICQoLDA0ODw=="), 400),
    "a key for URLs": (handshake(sec_websocket_key="-_ECAwQFBgcICQoLDA0ODw=="), 400),
    "a key without its padding": (handshake(sec_websocket_key="AAECAwQFBgcICQoLDA0ODw"), 400),
    "a key with padding inside": (handshake(sec_websocket_key="AAECAwQFBg==CQoLDA0ODw=="), 400),
    "a space in the key": (handshake(sec_websocket_key="AAECAwQFBgc CQoLDA0ODw=="), 400),
    "two keys": (handshake(extra=[f"Sec-WebSocket-Key: {KEY}"]), 400),
    # the version
    "no Sec-WebSocket-Version": (handshake(drop=["sec-websocket-version"]), 400),
    "two versions": (handshake(extra=["Sec-WebSocket-Version: 13"]), 400),
    "version 8": (handshake(sec_websocket_version="8"), 426),
    "version 14": (handshake(sec_websocket_version="14"), 426),
    "version 013": (handshake(sec_websocket_version="013"), 426),
    "versions in a list": (handshake(sec_websocket_version="13, 8"), 426),
    "an empty version": (handshake(sec_websocket_version=""), 426),
    # the subprotocol
    "no subprotocol": (handshake(subprotocol=None), 400),
    "another subprotocol": (handshake(subprotocol="greenroom.v2"), 400),
    "capitals in the subprotocol": (handshake(subprotocol="Greenroom.v1"), 400),
    "an empty subprotocol": (handshake(subprotocol=""), 400),
    "a subprotocol that is no token": (handshake(subprotocol="greenroom.v1, a b"), 400),
    # no HTTP at all
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
    "zeros": (bytes(64), 400),
    "a frame": (frame(TEXT, b"hello"), 400),
    "PROXY from nobody": (b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n" + handshake(), 400),
    "PROXY version 2 from nobody": (b"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c" + bytes(12), 400),
    "HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
    "a head of more than 16 KiB": (handshake(x_filler="a" * 17_000), 431),
    "a head without end": (b"GET /" + b"a" * 17_000, 431),
}


@pytest.mark.parametrize(("sent", "status"), HANDSHAKES.values(), ids=HANDSHAKES.keys())
async def test_handshake(sent: bytes, status: int) -> None:
    async with serving() as running, running.client() as client:
        await client.send(sent)
        response = await client.response()
        assert response.status == status
        assert len(running.handlers) == (1 if status == 101 else 0)
        if status == 101:
            assert response.headers["sec-websocket-accept"] == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
            assert response.headers["sec-websocket-protocol"] == "greenroom.v1"
            assert "sec-websocket-extensions" not in response.headers
        else:
            assert await client.events() == [("eof", None)]


AIOHTTPS = ("HTTP/2", "PROXY from nobody")
OURS = {name: case for name, case in HANDSHAKES.items() if case[1] != 101 and name not in AIOHTTPS}


@pytest.mark.parametrize(("sent", "status"), OURS.values(), ids=OURS.keys())
async def test_refusals_have_the_one_error_body(sent: bytes, status: int) -> None:
    async with serving() as running, running.client() as client:
        await client.send(sent)
        response = await client.response()
        body = json.loads(response.body)
        assert response.headers["content-type"] == "application/json"
        assert set(body) == {"type", "error", "error_code", "error_reason", "error_description"}
        assert (body["type"], body["error_code"]) == ("ErrorResponse", status)
        if status == 426:
            assert response.headers["sec-websocket-version"] == "13"
        if status == 405:
            assert response.headers["allow"] == "GET"


def length_16(size: int) -> bytes:
    return struct.pack(">BH", 126, size)


def length_64(size: int) -> bytes:
    return struct.pack(">BQ", 127, size)


BAD_UTF8 = {
    "a lone continuation": b"\x80",
    "a lone start": b"abc\xc3",
    "an overlong slash": b"\xc0\xaf",
    "an overlong NUL": b"\xe0\x80\x80",
    "a surrogate": b"\xed\xa0\x80",
    "a pair of surrogates": b"\xed\xa0\xbd\xed\xb8\x80",
    "above U+10FFFF": b"\xf4\x90\x80\x80",
    "five bytes": b"\xf8\x88\x80\x80\x80",
    "FE": b"\xfe",
    "FF": b"\xff",
    "latin-1": b"Jos\xe9 said",
    "cut at the end": b"x" * 200 + "€".encode()[:2],
    "at the end of 32 KiB": b"a" * 32_767 + b"\xff",
}
HELLO: list[Event] = [("text", b"hello")]
T = frame(TEXT, b"hello")

# What is sent, what comes back before Close, and the code of the Close (None: a Close without a code).
FRAMES: dict[str, tuple[bytes, list[Event], int | None]] = {
    **{f"opcode {opcode}": (frame(opcode), [], 1002) for opcode in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15)},
    **{f"opcode {opcode} after a message": (T + frame(opcode, b"x"), HELLO, 1002) for opcode in (3, 7, 11, 15)},
    **{f"reserved bits {rsv}": (frame(TEXT, b"x", rsv=rsv), [], 1002) for rsv in range(1, 8)},
    "reserved bit on a ping": (frame(PING, rsv=1), [], 1002),
    "reserved bit on a pong": (frame(PONG, rsv=2), [], 1002),
    "reserved bit on a close": (frame(CLOSE, rsv=4), [], 1002),
    "reserved bit on a continuation": (
        frame(TEXT, b"a", fin=False) + frame(CONTINUATION, b"b", rsv=1),
        [],
        1002,
    ),
    "reserved bit on binary": (frame(BINARY, b"x", rsv=1), [], 1002),
    "unmasked text": (frame(TEXT, b"x", masked=False), [], 1002),
    "unmasked after masked": (T + frame(TEXT, b"x", masked=False), HELLO, 1002),
    "unmasked ping": (frame(PING, masked=False), [], 1002),
    "unmasked pong": (frame(PONG, masked=False), [], 1002),
    "unmasked close": (frame(CLOSE, masked=False), [], 1002),
    "unmasked continuation": (frame(TEXT, b"a", fin=False) + frame(CONTINUATION, b"b", masked=False), [], 1002),
    "0 bytes with a 16-bit length": (frame(TEXT, length=length_16(0)), [], 1002),
    "125 bytes with a 16-bit length": (frame(TEXT, b"x" * 125, length=length_16(125)), [], 1002),
    "0 bytes with a 64-bit length": (frame(TEXT, length=length_64(0)), [], 1002),
    "126 bytes with a 64-bit length": (frame(TEXT, b"x" * 126, length=length_64(126)), [], 1002),
    "32 KiB with a 64-bit length": (frame(TEXT, b"x" * 32_768, length=length_64(32_768)), [], 1002),
    "a negative length": (frame(TEXT, length=length_64(1 << 63)), [], 1002),
    "a negative length of ones": (frame(TEXT, length=length_64((1 << 64) - 1)), [], 1002),
    "a ping of 126 bytes": (frame(PING, b"x" * 126), [], 1002),
    "a pong of 126 bytes": (frame(PONG, b"x" * 126), [], 1002),
    "a close of 126 bytes": (close_frame(1000, b"x" * 124), [], 1002),
    "a ping with a 16-bit length": (frame(PING, b"x", length=length_16(1)), [], 1002),
    "a ping with a 64-bit length": (frame(PING, b"x", length=length_64(1)), [], 1002),
    "a ping in fragments": (frame(PING, b"x", fin=False), [], 1002),
    "a pong in fragments": (frame(PONG, b"x", fin=False), [], 1002),
    "a close in fragments": (frame(CLOSE, b"\x03\xe8", fin=False), [], 1002),
    "a byte over 32 KiB": (frame(TEXT, b"x" * 32_769), [], 1009),
    "a byte over 32 KiB, the head alone": (frame(TEXT, length=length_16(32_769)), [], 1009),
    "64 KiB": (frame(TEXT, b"x" * 65_536), [], 1009),
    "1 MiB": (frame(TEXT, b"x" * 1_048_576), [], 1009),
    "4 EiB, the head alone": (frame(TEXT, length=length_64(1 << 62)), [], 1009),
    "binary over 32 KiB, the head alone": (frame(BINARY, length=length_64(1 << 20)), [], 1009),
    "over 32 KiB after a message": (T + frame(TEXT, length=length_16(32_769)), HELLO, 1009),
    "over 32 KiB in two fragments": (fragments(TEXT, [b"x" * 32_768, b"x"]), [], 1009),
    "over 32 KiB in 33 fragments": (fragments(TEXT, [b"x" * 1_000] * 33), [], 1009),
    "a fragment over 32 KiB": (frame(TEXT, b"x", fin=False) + frame(CONTINUATION, b"x" * 32_769), [], 1009),
    "a continuation frame without a first frame": (frame(CONTINUATION, b"x"), [], 1002),
    "an open continuation of nothing": (frame(CONTINUATION, b"x", fin=False), [], 1002),
    "an empty continuation of nothing": (frame(CONTINUATION), [], 1002),
    "a continuation after a whole message": (T + frame(CONTINUATION, b"x"), HELLO, 1002),
    "a continuation after a fragmented message": (
        fragments(TEXT, [b"hel", b"lo"]) + frame(CONTINUATION, b"x"),
        HELLO,
        1002,
    ),
    "a message inside a message": (frame(TEXT, b"a", fin=False) + T, [], 1002),
    "a fragmented message inside a message": (frame(TEXT, b"a", fin=False) * 2, [], 1002),
    "binary inside a message": (frame(TEXT, b"a", fin=False) + frame(BINARY, b"x"), [], 1002),
    "65 fragments": (fragments(TEXT, [b"x"] * 65), [], 1008),
    "65 empty fragments": (fragments(TEXT, [b""] * 65), [], 1008),
    "binary": (frame(BINARY, b"x"), [], 1003),
    "empty binary": (frame(BINARY), [], 1003),
    "binary in fragments": (frame(BINARY, b"x", fin=False), [], 1003),
    "binary after a message": (T + frame(BINARY, b"x"), HELLO, 1003),
    **{f"text with {name}": (frame(TEXT, data), [], 1007) for name, data in BAD_UTF8.items()},
    "fragments with a bad byte in the second": (
        frame(TEXT, b"a", fin=False) + frame(CONTINUATION, b"\xff", fin=False),
        [],
        1007,
    ),
    "fragments that end inside a character": (fragments(TEXT, ["€".encode()[:1], "€".encode()[1:2]]), [], 1007),
    "fragments with a bad character across": (fragments(TEXT, [b"\xed", b"\xa0\x80"]), [], 1007),
    **{
        f"close {code}": (close_frame(code), [], 1002)
        for code in (0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 1999, 2000, 2999, 5000, 9999, 65_535)
    },
    **{
        f"close {code}": (close_frame(code, b"bye"), [], code)
        for code in (1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 4000, 4499, 4999)
    },
    "an empty close": (frame(CLOSE), [], None),
    "a close of one byte": (frame(CLOSE, b"\x03"), [], 1002),
    "a close with the longest reason": (close_frame(1000, b"x" * 123), [], 1000),
    "a close with a bad reason": (close_frame(1000, b"\xff"), [], 1007),
    "a close with a reason cut short": (close_frame(1000, "€".encode()[:2]), [], 1007),
    "a close with a surrogate for a reason": (close_frame(4000, b"\xed\xa0\x80"), [], 1007),
    "a close inside a message": (frame(TEXT, b"a", fin=False) + close_frame(1000), [], 1000),
    "two closes": (close_frame(1000) + close_frame(1001), [], 1000),
    "a message after close": (close_frame(1000) + T, [], 1000),
    "a violation after close": (close_frame(1000) + frame(3), [], 1000),
    "noise after close": (close_frame(1000) + b"\xff" * 1_000, [], 1000),
    "a message after a violation": (frame(3) + T, [], 1002),
    "a close after a violation": (frame(TEXT, rsv=1) + close_frame(1000), [], 1002),
    "the line spoken to HTTP": (b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", [], 1002),
}

# Nothing wrong: what comes back, and the client's own Close answered.
LEGAL: dict[str, tuple[bytes, list[Event]]] = {
    "exactly 32 KiB": (frame(TEXT, b"x" * 32_768), [("text", b"x" * 32_768)]),
    "exactly 32 KiB in fragments": (fragments(TEXT, [b"x" * 512] * 64), [("text", b"x" * 32_768)]),
    "fragments after exactly 32 KiB": (
        fragments(TEXT, [b"x" * 512] * 64) + fragments(TEXT, [b"a", b"b"]),
        [("text", b"x" * 32_768), ("text", b"ab")],
    ),
    "64 fragments": (fragments(TEXT, [b"x"] * 64), [("text", b"x" * 64)]),
    "an empty message": (frame(TEXT), [("text", b"")]),
    "a message of NUL": (frame(TEXT, b"\x00"), [("text", b"\x00")]),
    "a byte order mark": (frame(TEXT, b"\xef\xbb\xbfx"), [("text", b"\xef\xbb\xbfx")]),
    "non-characters": (frame(TEXT, b"\xef\xbf\xbf"), [("text", b"\xef\xbf\xbf")]),
    "U+10FFFF": (frame(TEXT, b"\xf4\x8f\xbf\xbf"), [("text", b"\xf4\x8f\xbf\xbf")]),
    "a character across fragments": (fragments(TEXT, [b"\xe2", b"\x82", b"\xac"]), [("text", "€".encode())]),
    "control frames inside a message": (
        frame(TEXT, b"a", fin=False) + frame(PING, b"p") + frame(PONG) + frame(CONTINUATION, b"b"),
        [("pong", b"p"), ("text", b"ab")],
    ),
    "a ping of 125 bytes": (frame(PING, b"x" * 125), [("pong", b"x" * 125)]),
    "a ping that is not UTF-8": (frame(PING, b"\xff"), [("pong", b"\xff")]),
    "many messages at once": (T * 50, HELLO * 50),
}


@pytest.mark.parametrize(("sent", "answers", "code"), FRAMES.values(), ids=FRAMES.keys())
async def test_frames(sent: bytes, answers: list[Event], code: int | None) -> None:
    async with serving() as running, running.session() as client:
        await client.send(sent)
        assert await client.closed_with() == (answers, code)
        # The handler is notified once: of the client's Close, or of what the connection was failed with.
        assert (await running.handlers[0].ended())[:2] == ("lost", 1005 if code is None else code)
        assert [what[0] for what in running.handlers[0].calls].count("lost") == 1


@pytest.mark.uvloop
@pytest.mark.parametrize(("sent", "answers", "code"), FRAMES.values(), ids=FRAMES.keys())
async def test_frames_byte_by_byte(sent: bytes, answers: list[Event], code: int | None) -> None:
    """How the stream is cut into packets changes nothing."""
    async with serving() as running, running.session() as client:
        await client.send(sent[:300], chop=1)
        await client.send(sent[300:])
        assert await client.closed_with() == (answers, code)


@pytest.mark.parametrize(("sent", "answers"), LEGAL.values(), ids=LEGAL.keys())
async def test_legal_frames(sent: bytes, answers: list[Event]) -> None:
    async with serving() as running, running.session() as client:
        await client.send(sent, close_frame(1000, b"done"))
        assert await client.closed_with() == (answers, 1000)
        assert await running.handlers[0].ended() == ("lost", 1000, "done")


def test_there_are_at_least_120_cases() -> None:
    assert len(FRAMES) >= 120
    assert len(HANDSHAKES) >= 80
