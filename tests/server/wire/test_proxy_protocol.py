"""The PROXY protocol: what a proxy says of its client, whole, cut and wrong."""

from __future__ import annotations

import pytest

from greenroom.server.wire.proxy_protocol import MalformedProxyHeaderError, ProxyHeader, read_proxy_header

V2 = b"\r\n\r\n\x00\r\nQUIT\n"


def v2(command: int, family: int, payload: bytes) -> bytes:
    return V2 + bytes([command, family]) + len(payload).to_bytes(2) + payload


IPV4 = bytes([192, 0, 2, 1, 192, 0, 2, 2, 0, 1, 0, 2])


IPV6 = bytes.fromhex("20010db8000000000000000000000001") * 2 + bytes(4)


TCP4 = b"PROXY TCP4 192.0.2.1 192.0.2.2 56324 443\r\n"


HEADERS: dict[str, tuple[bytes, ProxyHeader | None]] = {
    "none": (b"GET / HTTP/1.1", ProxyHeader(None, 0)),
    "nothing yet": (b"", ProxyHeader(None, 0)),
    "version 1": (TCP4 + b"GET", ProxyHeader("192.0.2.1", len(TCP4))),
    "version 1, IPv6": (b"PROXY TCP6 2001:db8::1 ::1 1 2\r\n", ProxyHeader("2001:db8::1", 32)),
    "version 1, unknown": (b"PROXY UNKNOWN\r\nGET", ProxyHeader(None, 15)),
    "version 1, unknown with rubbish": (b"PROXY UNKNOWN a b c\r\n", ProxyHeader(None, 21)),
    "version 1, half": (TCP4[:20], None),
    "version 1, a few letters": (b"PRO", None),
    "version 2": (v2(0x21, 0x11, IPV4) + b"GET", ProxyHeader("192.0.2.1", 28)),
    "version 2, IPv6": (v2(0x21, 0x21, IPV6), ProxyHeader("2001:db8::1", 52)),
    "version 2, with more": (v2(0x21, 0x11, IPV4 + b"\x04\x00\x01x"), ProxyHeader("192.0.2.1", 32)),
    "version 2, local": (v2(0x20, 0x00, b""), ProxyHeader(None, 16)),
    "version 2, local with an address": (v2(0x20, 0x11, IPV4), ProxyHeader(None, 28)),
    "version 2, Unix socket": (v2(0x21, 0x31, bytes(216)), ProxyHeader(None, 232)),
    "version 2, unspecified": (v2(0x21, 0x00, b""), ProxyHeader(None, 16)),
    "version 2, half": (v2(0x21, 0x11, IPV4)[:-1], None),
    "version 2, the signature's start": (V2[:5], None),
}


@pytest.mark.parametrize(("data", "header"), HEADERS.values(), ids=HEADERS.keys())
def test_proxy_headers(data: bytes, header: ProxyHeader | None) -> None:
    assert read_proxy_header(data) == header


MALFORMED = {
    "no address": b"PROXY TCP4 nobody 192.0.2.2 1 2\r\n",
    "too few words": b"PROXY TCP4 192.0.2.1\r\n",
    "an unknown family": b"PROXY UDP4 192.0.2.1 192.0.2.2 1 2\r\n",
    "too long": b"PROXY TCP4 " + b"1" * 100,
    "version 3": V2 + b"\x31\x11\x00\x0c" + IPV4,
    "an unknown command": V2 + b"\x22\x11\x00\x0c" + IPV4,
    "shorter than its addresses": v2(0x21, 0x11, IPV4[:8]),
}


@pytest.mark.parametrize("data", MALFORMED.values(), ids=MALFORMED.keys())
def test_malformed_proxy_headers(data: bytes) -> None:
    with pytest.raises(MalformedProxyHeaderError):
        read_proxy_header(data)


def test_every_cut_of_a_proxy_header_waits_for_the_rest() -> None:
    for data in (TCP4, v2(0x21, 0x11, IPV4), v2(0x21, 0x21, IPV6)):
        assert [read_proxy_header(data[:i]) for i in range(1, len(data))] == [None] * (len(data) - 1)
