"""Greenroom as its next version might be: ``python -m tests.cluster.next_version serve …``.

It is the shipped service but for what S21 lets a next version differ in: its version, its Lua library (another name,
another record version, one more field in what it stores and in events), and one more member in what it says to clients
and to other nodes.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import msgspec

from tests.cluster.this_version import look_for_nothing

NEXT = "9.0.0"
FIELD = b"of_the_future"
VALUE = b"kept"
_FIELD, _VALUE = FIELD.decode(), VALUE.decode()
CHANGES = (
    # sessions: one field beside what their open made, and one in it
    ("'v2', s.id .. ", f"'{_FIELD}', '{_VALUE}', 'v2', s.id .. "),
    (" .. (s.status or '') .. '\\0')", f" .. (s.status or '') .. '\\0{_VALUE}\\0')"),
    # participants
    ("key, 'v', '1',", f"key, 'v', '2', '{_FIELD}', '{_VALUE}',"),
    ("  local count = 21\n", "  local count = 23\n"),
    # what nodes are sent of a change, and what is in an event
    (
        """return '{"app":"' .. p.app""",
        f"""return '{{"{_FIELD}":[1],"app":"' .. p.app""",
    ),
    (
        """, '{"id":' .. int(id) .. ',"participant":'""",
        f""", '{{"{_FIELD}":{{}},"id":' .. int(id) .. ',"participant":'""",
    ),
    ("""'","data":{"version":' .. p.ver""", f"""'","data":{{"{_FIELD}":[1],"version":' .. p.ver"""),
)
"""In the Lua files: what is there, and what the next version has in its place."""


def replace(old: Callable[..., Any], new: Callable[..., Any]) -> None:
    """In every module of ours that knows it."""
    for module in [module for name, module in sys.modules.items() if name.startswith("greenroom.")]:
        for name, value in tuple(vars(module).items()):
            if value is old:
                setattr(module, name, new)


def become_the_next_version() -> None:
    """Change what is loaded."""
    from greenroom import messages
    from greenroom.core.commands import Command
    from greenroom.engines.redis import bus
    from greenroom.engines.redis import library as libraries
    from greenroom.server import version

    shipped = libraries.library()
    name = f"greenroom_{libraries.LIBRARY_VERSION + 1}_next"
    code = shipped.code.replace(shipped.name, name)
    for old, new in CHANGES:
        assert code.count(old) == 1, old
        code = code.replace(old, new)
    replace(libraries.library, lambda: libraries.Library(name, code))
    replace(version.version, lambda: NEXT)

    async def send(self: bus.RedisBus, node: str, command: Command) -> None:
        tag = bus.EVERYBODY if node == "*" else f"node:{node}"
        members = {_FIELD: [1], **msgspec.to_builtins(command)}
        await self._store.publish(tag, bus.COMMANDS, msgspec.json.encode(members))

    bus.RedisBus.send = send  # type: ignore[method-assign]

    said = messages.encode_reply

    def encode_reply(request_id: Any, result: msgspec.Struct) -> bytes:
        reply = msgspec.json.decode(said(request_id, result))
        reply["result"]["ofTheFuture"] = {"member": [1]}
        return msgspec.json.encode(reply)

    replace(said, encode_reply)


if __name__ == "__main__":
    become_the_next_version()
    look_for_nothing()
    from greenroom.cli import main

    main()
