"""Reads a request head and decides: plain HTTP, a session's upgrade, or a refusal. Pure: bytes in, a verdict out.

Only requests that ask for a WebSocket, or for the sessions' path, are read here; other heads are aiohttp's business.
"""

from __future__ import annotations

import binascii
import re
from base64 import b64encode
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha1
from typing import Final

from greenroom.server.link import Refusal, UpgradeRequest

_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, section 1.3
_TOKEN: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_TARGET: Final = re.compile(r"[!-~]+")
_CONTROLS: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_MAX_HEADERS: Final = 100

# Not kept for the life of a connection: credentials, and what only the handshake or a proxy needs.
_NOT_KEPT: Final = frozenset(
    (
        "accept",
        "accept-encoding",
        "authorization",
        "cache-control",
        "connection",
        "content-length",
        "cookie",
        "host",
        "pragma",
        "proxy-authorization",
        "sec-websocket-extensions",
        "sec-websocket-key",
        "sec-websocket-protocol",
        "sec-websocket-version",
        "upgrade",
    )
)


@dataclass(frozen=True, slots=True)
class Head:
    """A request head: names in lower case, in the order they came, repeated ones apart."""

    method: str
    target: str
    version: tuple[int, int]
    headers: Sequence[tuple[str, str]]

    def all(self, name: str) -> list[str]:
        """Every value of `name` (lower case)."""
        return [value for key, value in self.headers if key == name]

    def tokens(self, name: str) -> list[str]:
        """The comma-separated members of `name`, empty ones left out (RFC 9110, section 5.6.1)."""
        return [member.strip(" \t") for value in self.all(name) for member in value.split(",") if member.strip(" \t")]

    @property
    def path(self) -> str:
        """The target's path, also of an absolute target (RFC 9112, section 3.2.2)."""
        target = self.target
        if not target.startswith("/") and "://" in target:
            rest = target.split("://", 1)[1]
            target = "/" + rest.split("/", 1)[1] if "/" in rest else "/"
        return target.split("?", 1)[0]

    @property
    def query(self) -> str:
        """What follows the first `?`, or nothing."""
        return self.target.partition("?")[2]

    @property
    def asks_for_websocket(self) -> bool:
        """Whether both headers ask for the change to the WebSocket protocol."""
        upgrade = "websocket" in (token.lower() for token in self.tokens("upgrade"))
        return upgrade and "upgrade" in (token.lower() for token in self.tokens("connection"))


class MalformedHeadError(ValueError):
    """The head breaks RFC 9112; the text says where."""


def parse_head(data: bytes) -> Head:
    """Read a head, given up to and without its empty line. Raises MalformedHeadError."""
    lines = data.decode("latin-1").split("\r\n")
    parts = lines[0].split(" ")
    if len(parts) != 3 or not _TOKEN.fullmatch(parts[0]) or not _TARGET.fullmatch(parts[1]):
        raise MalformedHeadError("the request line is malformed")
    version = re.fullmatch(r"HTTP/(\d)\.(\d)", parts[2])
    if version is None:
        raise MalformedHeadError("the request line names no HTTP version")
    if len(lines) - 1 > _MAX_HEADERS:
        raise MalformedHeadError(f"there are more than {_MAX_HEADERS} headers")
    headers = [_parse_header(line) for line in lines[1:]]
    return Head(parts[0], parts[1], (int(version[1]), int(version[2])), headers)


def _parse_header(line: str) -> tuple[str, str]:
    name, colon, value = line.partition(":")
    value = value.strip(" \t")
    if not colon or not _TOKEN.fullmatch(name):
        raise MalformedHeadError("a header has no name, or a space in or before it")
    if _CONTROLS.search(value):
        raise MalformedHeadError("a header's value has control characters")
    return name.lower(), value


@dataclass(frozen=True, slots=True)
class Accepted:
    """The handshake is in order."""

    request: UpgradeRequest
    key: str
    subprotocol: str | None


def judge(head: Head, *, ws_path: str | None, subprotocol: str | None, address: str) -> Accepted | Refusal | None:
    """What to do with a request; None: it is plain HTTP.

    `ws_path` None takes an upgrade on any path; `subprotocol` None takes any offered or none.
    """
    if not head.asks_for_websocket:
        return _not_an_upgrade(head) if ws_path is not None and head.path == ws_path else None
    if ws_path is not None and head.path != ws_path:
        return Refusal.error(
            404, error="not_found", reason="Not_found", description=f"Sessions are opened at {ws_path}, not here."
        )
    refusal = _refuse_request(head) or _refuse_version(head) or _refuse_key(head)
    if refusal is not None:
        return refusal
    offered = head.tokens("sec-websocket-protocol")
    chosen = offered[0] if subprotocol is None and offered else subprotocol
    if (chosen is not None and chosen not in offered) or not all(map(_TOKEN.fullmatch, offered)):
        return _bad(f"Offer the subprotocol {subprotocol} in Sec-WebSocket-Protocol.", "Subprotocol_missing")
    request = UpgradeRequest(head.path, head.query, _kept(head.headers), address, tuple(offered))
    return Accepted(request, head.all("sec-websocket-key")[0], chosen)


def _bad(description: str, reason: str = "Bad_handshake") -> Refusal:
    return Refusal.error(400, reason=reason, description=description)


def _not_an_upgrade(head: Head) -> Refusal:
    if head.method != "GET":
        return _method_not_allowed()
    return Refusal.error(
        426,
        reason="Upgrade_required",
        description="Sessions are WebSockets: send Connection: Upgrade and Upgrade: websocket.",
        headers={"Upgrade": "websocket", "Sec-WebSocket-Version": "13"},
    )


def _method_not_allowed() -> Refusal:
    return Refusal.error(
        405, reason="Method_not_allowed", description="A WebSocket is opened with GET.", headers={"Allow": "GET"}
    )


def _refuse_request(head: Head) -> Refusal | None:
    if head.method != "GET":
        return _method_not_allowed()
    if head.version != (1, 1):
        return _bad("A WebSocket is opened with HTTP/1.1.")
    if len(head.all("host")) != 1:
        return _bad("Send one Host header.")
    if head.all("transfer-encoding") or any(value != "0" for value in head.all("content-length")):
        return _bad("A WebSocket's request has no body.")
    return None


def _refuse_version(head: Head) -> Refusal | None:
    versions = head.all("sec-websocket-version")
    if versions == ["13"]:
        return None
    if len(versions) != 1:
        return _bad("Send one Sec-WebSocket-Version header: 13.")
    return Refusal.error(
        426,
        reason="Version_not_supported",
        description="Only version 13 of the WebSocket protocol is spoken here (RFC 6455).",
        headers={"Upgrade": "websocket", "Sec-WebSocket-Version": "13"},
    )


def _refuse_key(head: Head) -> Refusal | None:
    keys = head.all("sec-websocket-key")
    if len(keys) == 1 and len(keys[0]) == 24:
        try:
            if len(binascii.a2b_base64(keys[0].encode("latin-1"), strict_mode=True)) == 16:
                return None
        except ValueError:
            pass
    return _bad("Send one Sec-WebSocket-Key header: 16 random bytes in base64.")


def _kept(headers: Iterable[tuple[str, str]]) -> dict[str, str]:
    kept: dict[str, str] = {}
    for name, value in headers:
        if name not in _NOT_KEPT:
            kept[name] = f"{kept[name]}, {value}" if name in kept else value
    return kept


def switching_protocols(accepted: Accepted) -> bytes:
    """The 101 (RFC 6455, section 4.2.2)."""
    proof = b64encode(sha1(accepted.key.encode() + _GUID, usedforsecurity=False).digest())
    lines = [
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ",
        proof,
    ]
    if accepted.subprotocol is not None:
        lines += [b"\r\nSec-WebSocket-Protocol: ", accepted.subprotocol.encode()]
    return b"".join([*lines, b"\r\n\r\n"])


__all__ = ["Accepted", "Head", "MalformedHeadError", "judge", "parse_head", "switching_protocols"]
