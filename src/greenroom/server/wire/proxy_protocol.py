"""The PROXY protocol, versions 1 and 2: what a proxy says of its client before the first byte of the request."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final

from greenroom.server.wire.addresses import normalise, parse_address

_V2_SIGNATURE: Final = b"\r\n\r\n\x00\r\nQUIT\n"
_V1_MAX_BYTES: Final = 107


@dataclass(frozen=True, slots=True)
class ProxyHeader:
    """A PROXY protocol header: `address` of the client (None: the proxy speaks for itself), and its size in bytes."""

    address: str | None
    size: int


class MalformedProxyHeaderError(ValueError):
    """Begins as a PROXY protocol header and continues otherwise."""


def read_proxy_header(data: bytes) -> ProxyHeader | None:
    """Read a PROXY protocol header (version 1 or 2) at the start of `data`.

    None: not whole yet. A size of 0: there is none. Raises MalformedProxyHeaderError.
    """
    if data.startswith(_V2_SIGNATURE):
        return _read_v2(data)
    if data.startswith(b"PROXY "):
        return _read_v1(data)
    if data and (_V2_SIGNATURE.startswith(data) or b"PROXY ".startswith(data)):
        return None
    return ProxyHeader(None, 0)


def _read_v1(data: bytes) -> ProxyHeader | None:
    end = data.find(b"\r\n", 0, _V1_MAX_BYTES)
    if end < 0:
        if len(data) >= _V1_MAX_BYTES:
            raise MalformedProxyHeaderError("a PROXY line has at most 107 bytes")
        return None
    fields = data[:end].decode("latin-1").split(" ")
    if fields[1] == "UNKNOWN":
        return ProxyHeader(None, end + 2)
    address = parse_address(fields[2]) if len(fields) == 6 and fields[1] in ("TCP4", "TCP6") else None
    if address is None:
        raise MalformedProxyHeaderError("a PROXY line is: PROXY TCP4|TCP6 source destination port port")
    return ProxyHeader(str(address), end + 2)


def _read_v2(data: bytes) -> ProxyHeader | None:
    if len(data) < 16:
        return None
    version, command = data[12] >> 4, data[12] & 15
    size = 16 + int.from_bytes(data[14:16])
    if version != 2 or command > 1:
        raise MalformedProxyHeaderError("a binary PROXY header is version 2, LOCAL or PROXY")
    if len(data) < size:
        return None
    # LOCAL, and families other than IP, speak of the proxy itself.
    width = {1: 4, 2: 16}.get(data[13] >> 4, 0) if command == 1 else 0
    if not width:
        return ProxyHeader(None, size)
    if size < 16 + 2 * width + 4:
        raise MalformedProxyHeaderError("a binary PROXY header is shorter than its addresses")
    return ProxyHeader(normalise(str(ip_address(data[16 : 16 + width]))), size)
