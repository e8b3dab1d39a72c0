"""docs/reference/wire.md: every method, notification and struct on the wire, from greenroom.messages."""

from __future__ import annotations

import types
import typing

import msgspec

from greenroom import messages
from greenroom.core.server import joining


def _type_text(kind: object) -> str:
    if isinstance(kind, type) and not typing.get_args(kind):
        return "null" if kind is types.NoneType else kind.__name__
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if origin in (types.UnionType, typing.Union):
        return " or ".join(_type_text(arg) for arg in args if arg is not msgspec.UnsetType)
    if origin in (list, tuple):
        return f"[{', '.join(_type_text(arg) for arg in args)}{', …' if origin is list else ''}]"
    return str(kind)


def _fields(struct: type[msgspec.Struct]) -> str:
    fields = msgspec.structs.fields(struct)
    if not fields:
        return "none"
    return ", ".join(
        f"`{field.encode_name}{'' if field.required else '?'}` {_type_text(field.type)}".rstrip() for field in fields
    )


def _structs_in(kind: object, found: dict[str, type[msgspec.Struct]]) -> None:
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        for field in msgspec.structs.fields(kind):
            inner = [field.type, *typing.get_args(field.type)]
            for candidate in inner:
                if isinstance(candidate, type) and issubclass(candidate, msgspec.Struct):
                    found[candidate.__name__] = candidate
                _structs_in(candidate, found)


def generate() -> dict[str, str]:
    """The page."""
    lines = [
        "# The session protocol",
        "",
        "Made from `greenroom.messages`. JSON-RPC 2.0 in text frames over `GET /v1/session`, WebSocket subprotocol",
        f"`{messages.SUBPROTOCOL}`. The first message within 10 s is `session.open` or `session.resume`. Unknown",
        "fields are ignored; `?` marks optional ones; of a duplicate member the last counts. Instants are",
        "integer Unix milliseconds, durations seconds. One request names at most "
        f"{joining.MAX_ASKED:,} participants, ids and external ids",
        "together; more is `Illegal_argument` (90).",
        "",
        "## Requests",
        "",
        "| method | params | result | scope |",
        "|---|---|---|---|",
    ]
    parts: dict[str, type[msgspec.Struct]] = {}
    for method, (params, result) in messages.METHODS.items():
        scope = messages.SCOPE_OF_METHOD.get(method)
        lines.append(f"| `{method}` | {_fields(params)} | {_fields(result)} | {f'`{scope}`' if scope else ''} |")
        _structs_in(params, parts)
        _structs_in(result, parts)
    lines += ["", "## Notifications of the service", "", "| method | params |", "|---|---|"]
    for method, params in messages.NOTIFICATIONS.items():
        lines.append(f"| `{method}` | {_fields(params)} |")
        _structs_in(params, parts)
    lines += ["", "## Parts", "", "| type | fields |", "|---|---|"]
    lines += [f"| {name} | {_fields(parts[name])} |" for name in sorted(parts)]
    lines += [
        "",
        "Errors are JSON-RPC errors whose `data` has `reason`, `retryable` and, where useful, `retryAfter` and",
        "`hint`: see [codes](codes.md).",
    ]
    return {"reference/wire.md": "\n".join(lines) + "\n"}
