"""Reads a request head and decides: plain HTTP, a session's upgrade, or a refusal. Pure: bytes in, a verdict out.

Only requests that ask for a WebSocket, or for the sessions' path, are read here; other heads are aiohttp's business.
"""

from __future__ import annotations

import binascii
import re
from base64 import b64encode
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha1
from typing import Final

from msgspec import Struct

from greenroom.server.wire.interface import Refusal, UpgradeRequest

_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, section 1.3
_TOKEN: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_REQUEST_LINE: Final = re.compile(rf"({_TOKEN.pattern}) ([!-~]+) HTTP/(\d)\.(\d)", re.ASCII)
_HEADERS: Final = re.compile(rf"(?:{_TOKEN.pattern}:[^\x00-\x08\x0a-\x1f\x7f]*(?:\r\n|\Z))*")
_HOST: Final = re.compile(
    r"(?:\[[0-9A-Fa-f:.]+\]|\[v[0-9A-Fa-f]+\.[\w.~!$&'()*+,;=:-]+\]|(?:[\w.~!$&'()*+,;=-]|%[0-9A-Fa-f]{2})*)(?::[0-9]*)?",
    re.ASCII,
)
"""RFC 9112, section 3.2: a host as in RFC 3986, section 3.2.2, and perhaps a port."""
_VALUE: Final = rf'(?:{_TOKEN.pattern}|"{_TOKEN.pattern}")'
_PARAMETER: Final = rf"[ \t]*;[ \t]*{_TOKEN.pattern}(?:[ \t]*=[ \t]*{_VALUE})?"
_EXTENSION: Final = re.compile(rf"{_TOKEN.pattern}(?:{_PARAMETER})*")
"""RFC 6455, section 9.1."""
MAX_FIELDS: Final = 100
"""Header fields of a request."""

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


@dataclass(slots=True)
class Head:
    """A request head. Names are in lower case; values of repeated headers are joined with `, `, their names kept."""

    method: str
    target: str
    version: tuple[int, int]
    fields: dict[str, str]
    repeated: set[str]

    @classmethod
    def of(cls, method: str, target: str, version: tuple[int, int], headers: Iterable[tuple[str, str]]) -> Head:
        """From headers in the order they came."""
        fields: dict[str, str] = {}
        repeated: set[str] = set()
        for name, value in headers:
            key = name.lower()
            if key in fields:
                repeated.add(key)
                fields[key] += ", " + value
            else:
                fields[key] = value
        return cls(method, target, version, fields, repeated)

    def get(self, name: str) -> str:
        """The value of `name` (lower case), or nothing."""
        return self.fields.get(name, "")

    def count(self, name: str) -> int:
        """How often `name` came: 0, 1, or 2 for any more."""
        return (name in self.fields) + (name in self.repeated)

    def tokens(self, name: str) -> list[str]:
        """The comma-separated members of `name`, empty ones left out (RFC 9110, section 5.6.1)."""
        members = (member.strip(" \t") for member in self.get(name).split(","))
        return [member for member in members if member]

    def has_token(self, name: str, token: str) -> bool:
        """Whether `token` (lower case) is a member of `name`, in whatever case."""
        value = self.get(name).lower()
        return value == token or (token in value and token in [member.strip(" \t") for member in value.split(",")])

    @property
    def path(self) -> str:
        """The target's path, also of an absolute target (RFC 9112, section 3.2.2)."""
        path = self.target.partition("?")[0]
        if path.startswith("/") or "://" not in path:
            return path
        return "/" + path.partition("://")[2].partition("/")[2]

    @property
    def query(self) -> str:
        """What follows the first `?`, or nothing."""
        return self.target.partition("?")[2]

    @property
    def asks_for_websocket(self) -> bool:
        """Whether both headers ask for the change to the WebSocket protocol."""
        return self.has_token("upgrade", "websocket") and self.has_token("connection", "upgrade")


class MalformedHeadError(ValueError):
    """The head breaks RFC 9112; the text says where."""


class TooManyFieldsError(MalformedHeadError):
    """The head has more than `MAX_FIELDS` header fields."""


def is_host(value: str) -> bool:
    """Whether `value` is what a Host header may say."""
    return _HOST.fullmatch(value) is not None


def parse_head(data: bytes) -> Head:
    """Read a head, given up to and without its empty line. Raises MalformedHeadError."""
    text = data.decode("latin-1")
    line, _, rest = text.partition("\r\n")
    match = _REQUEST_LINE.fullmatch(line)
    if match is None:
        raise MalformedHeadError("the request line is not: method, target and HTTP version, one space apart")
    lines = rest.split("\r\n") if rest else []
    if len(lines) > MAX_FIELDS:
        raise TooManyFieldsError
    if not _HEADERS.fullmatch(rest):
        raise MalformedHeadError(_what_is_wrong(lines))
    pairs = [(name, value.strip(" \t")) for name, _, value in (item.partition(":") for item in lines)]
    return Head.of(match[1], match[2], (int(match[3]), int(match[4])), pairs)


def _what_is_wrong(lines: list[str]) -> str:
    for line in lines:
        name, colon, _ = line.partition(":")
        if not colon or not _TOKEN.fullmatch(name):
            return "a header has no name, or a space in or before it"
    return "a header's value has control characters"


class Accepted(Struct):
    """The handshake is in order."""

    request: UpgradeRequest
    key: str
    subprotocol: str | None


def judge(head: Head, *, ws_path: str | None, subprotocol: str | None, address: str) -> Accepted | Refusal | None:
    """What to do with a request; None: it is plain HTTP.

    `ws_path` None takes an upgrade on any path; `subprotocol` None takes any offered or none.
    """
    path = head.path
    if not head.asks_for_websocket:
        return _not_an_upgrade(head) if ws_path is not None and path == ws_path else None
    if ws_path is not None and path != ws_path:
        return Refusal.error(
            404, error="not_found", reason="Not_found", description=f"Sessions are opened at {ws_path}, not here."
        )
    refusal = _refuse_request(head) or _refuse_version(head) or _refuse_key(head) or _refuse_extensions(head)
    if refusal is not None:
        return refusal
    offered = head.tokens("sec-websocket-protocol")
    chosen = offered[0] if subprotocol is None and offered else subprotocol
    if (chosen is not None and chosen not in offered) or not all(map(_TOKEN.fullmatch, offered)):
        return _bad(f"Offer the subprotocol {subprotocol} in Sec-WebSocket-Protocol.", "Subprotocol_missing")
    kept = {name: value for name, value in head.fields.items() if name not in _NOT_KEPT}
    request = UpgradeRequest(path, head.query, kept, address, tuple(offered))
    return Accepted(request, head.get("sec-websocket-key"), chosen)


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
    if head.count("host") != 1 or not is_host(head.get("host")):
        return _bad("Send one Host header: a host, and perhaps a port.")
    if head.count("transfer-encoding") or head.fields.get("content-length", "0") != "0":
        return _bad("A WebSocket's request has no body.")
    return None


def _refuse_version(head: Head) -> Refusal | None:
    if head.count("sec-websocket-version") == 1 and head.get("sec-websocket-version") == "13":
        return None
    if head.count("sec-websocket-version") != 1:
        return _bad("Send one Sec-WebSocket-Version header: 13.")
    return Refusal.error(
        426,
        reason="Version_not_supported",
        description="Only version 13 of the WebSocket protocol is supported (RFC 6455).",
        headers={"Upgrade": "websocket", "Sec-WebSocket-Version": "13"},
    )


def _refuse_key(head: Head) -> Refusal | None:
    key = head.get("sec-websocket-key")
    if len(key) == 24 and head.count("sec-websocket-key") == 1:
        try:
            if len(binascii.a2b_base64(key.encode("latin-1"), strict_mode=True)) == 16:
                return None
        except ValueError:
            pass
    return _bad("Send one Sec-WebSocket-Key header: 16 random bytes in base64.")


def _refuse_extensions(head: Head) -> Refusal | None:
    """None is spoken here, and what is offered must be well-formed all the same (RFC 6455, section 9.1)."""
    name = "sec-websocket-extensions"
    offered = head.tokens(name)
    if not head.count(name) or (offered and all(map(_EXTENSION.fullmatch, offered))):
        return None
    return _bad("Sec-WebSocket-Extensions is malformed. Leave it out, or list extensions with their parameters.")


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
