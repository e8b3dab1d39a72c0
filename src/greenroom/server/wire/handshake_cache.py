"""Heads that were read before: clients of one app send the same head again and again, but for the WebSocket key.

Reading a head strictly costs some 40 µs, a fifth of an open's Python. What was accepted once is remembered by a hash of
all but the key, so that neither cookies nor credentials are kept, and a head that differs in one byte is read again.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Mapping
from hashlib import blake2b
from typing import Final, NamedTuple

from greenroom.server.wire.handshake import Accepted
from greenroom.server.wire.interface import UpgradeRequest

_NAME: Final = b"\r\nsec-websocket-key: "
_KEY: Final = re.compile(rb"[A-Za-z0-9+/]{22}==(?=\r\n|\Z)")
MAX_HEADS: Final = 256
"""The most heads that are remembered; then the longest unused is forgotten."""


class _Shape(NamedTuple):
    """What an accepted head says, but for its key and the client's address."""

    path: str
    query: str
    headers: Mapping[str, str]
    subprotocols: tuple[str, ...]
    chosen: str | None
    forwarded_for: str


class Keyless(NamedTuple):
    """A head taken apart: a hash of all but the key, and the key."""

    digest: bytes
    key: str


class HandshakeCache:
    """The heads accepted lately."""

    def __init__(self) -> None:
        self._shapes: OrderedDict[bytes, _Shape] = OrderedDict()

    def __len__(self) -> int:
        return len(self._shapes)

    def find(self, keyless: Keyless) -> _Shape | None:
        """What such a head said, or None if none was accepted lately."""
        shape = self._shapes.get(keyless.digest)
        if shape is not None:
            self._shapes.move_to_end(keyless.digest)
        return shape

    def remember(self, keyless: Keyless, accepted: Accepted, forwarded_for: str) -> None:
        """The head was read and accepted. forwarded_for: its X-Forwarded-For, which is resolved again each time."""
        request = accepted.request
        self._shapes[keyless.digest] = _Shape(
            request.path, request.query, request.headers, request.subprotocols, accepted.subprotocol, forwarded_for
        )
        if len(self._shapes) > MAX_HEADS:
            self._shapes.popitem(last=False)


def take_key_out(head: bytes) -> Keyless | None:
    """None where there is no key of 16 bytes in exact base64, or more than one: such a head is read strictly."""
    # Two calls in C: a search that ignores case looks at each byte of the head.
    named = head.lower().find(_NAME)
    found = None if named < 0 else _KEY.match(head, named + len(_NAME))
    if found is None:
        return None
    start, end = found.span()
    digest = blake2b(head[:start], digest_size=16)
    digest.update(b"\0")  # no head has one: where the key stood is part of what is remembered
    digest.update(head[end:])
    return Keyless(digest.digest(), found[0].decode("ascii"))


def accept(shape: _Shape, key: str, address: str) -> Accepted:
    """As if the head had been read again."""
    request = UpgradeRequest(shape.path, shape.query, shape.headers, address, shape.subprotocols)
    return Accepted(request, key, shape.chosen)
