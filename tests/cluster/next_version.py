"""Greenroom as its next version might be: ``python -m tests.cluster.next_version serve …``.

It is the shipped service but for what S21 lets a next version differ in: its version, its Lua library (another name,
another record version, one more field in what it stores), and one more member in what it says to clients.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import msgspec

NEXT = "9.0.0"
FIELD = b"of_the_future"
VALUE = b"kept"


def replace(old: Callable[..., Any], new: Callable[..., Any]) -> None:
    """In every module of ours that knows it."""
    for module in [module for name, module in sys.modules.items() if name.startswith("greenroom.")]:
        for name, value in tuple(vars(module).items()):
            if value is old:
                setattr(module, name, new)


def become_the_next_version() -> None:
    """Change what is loaded."""
    from greenroom import messages
    from greenroom.engines.redis import library as libraries
    from greenroom.server import app as app  # loads all of it
    from greenroom.server import version

    shipped = libraries.library()
    name = "greenroom_2_next"
    code = shipped.code.replace(shipped.name, name)
    for old, new in (
        ("    v = '1', id = r.session_id", f"    v = '2', {FIELD.decode()} = '{VALUE.decode()}', id = r.session_id"),
        ("local CREATED = {'v',", f"local CREATED = {{'v', '{FIELD.decode()}',"),
    ):
        assert code.count(old) == 1, old
        code = code.replace(old, new)
    replace(libraries.library, lambda: libraries.Library(name, code))
    replace(version.version, lambda: NEXT)

    said = messages.encode_reply

    def encode_reply(request_id: Any, result: msgspec.Struct) -> bytes:
        reply = msgspec.json.decode(said(request_id, result))
        reply["result"]["ofTheFuture"] = {"member": [1]}
        return msgspec.json.encode(reply)

    replace(said, encode_reply)


if __name__ == "__main__":
    become_the_next_version()
    from greenroom.cli import main

    main()
