"""Values on their way between Lua, Redis and JSON, as Redis' own scripting turns them. The hot path of every simulated
cluster: most values are bytes, and are asked for that first."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any

from tests.support.lua_commands import CommandError

MakeTable = Callable[..., Any]
"""`LuaRuntime.table_from`."""


def argument(value: Any) -> bytes:
    """As Redis turns an argument of redis.call into a string. Raises CommandError."""
    if isinstance(value, bytes):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        return f"{value:.17g}".encode()
    raise CommandError("Lua redis lib command arguments must be strings or integers")


def to_lua(reply: Any, table: MakeTable) -> Any:
    """What redis.call returns: no reply is false, a list a table."""
    if reply is None:
        return False
    if type(reply) is list:
        return table([each if type(each) is bytes else to_lua(each, table) for each in reply])
    return reply


def to_reply(value: Any) -> Any:
    """As Redis turns what a function returns into a reply: numbers lose what is behind the point, nil ends."""
    kind = type(value)
    if kind is bytes:
        return value
    if kind is int or kind is float or value is True:
        return int(value)
    if value is None or value is False:
        return None
    out = []
    index = 1
    while (each := value[index]) is not None:
        out.append(each if type(each) is bytes else to_reply(each))
        index += 1
    return out


# -- cjson ---------------------------------------------------------------------------------------------------------


class _Null:
    """cjson.null: what null is decoded to, so that a member that is null is one that is there."""


NULL = _Null()


def from_json(text: bytes, table: MakeTable) -> Any:
    """cjson.decode. Nodes ask the same of every partition, so texts come again."""
    value = _parsed(text)
    return table(value, recursive=True) if isinstance(value, dict | list) else value


@lru_cache(maxsize=256)
def _parsed(text: bytes) -> Any:
    return _as_bytes(json.loads(text.decode("utf-8", "surrogateescape")))


def _as_bytes(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "surrogateescape")
    if isinstance(value, dict):
        return {_as_bytes(name): _as_bytes(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_as_bytes(each) for each in value]
    return NULL if value is None else value


def to_json(value: Any) -> bytes:
    """cjson.encode."""
    return _json(value).encode("utf-8", "surrogateescape")


def _json(value: Any) -> str:
    """As cjson writes: 14 digits of a number (S21 is about that), an empty table as an object."""
    if isinstance(value, bytes):
        return json.dumps(value.decode("utf-8", "surrogateescape"), ensure_ascii=False)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return f"{value:.14g}"
    if value is None or value is NULL:
        return "null"
    items: Iterable[tuple[Any, Any]] = list(value.items())
    keys = [name for name, _ in items]
    if keys and sorted(map(repr, keys)) == sorted(map(repr, range(1, len(keys) + 1))):
        return "[" + ",".join(_json(value[index]) for index in range(1, len(keys) + 1)) + "]"
    return "{" + ",".join(f"{_json(_text(name))}:{_json(each)}" for name, each in items) + "}"


def _text(name: Any) -> bytes:
    return name if isinstance(name, bytes) else argument(name)
