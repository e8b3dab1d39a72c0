"""/asyncapi.json (AsyncAPI 3.0): the session protocol, made from the tables of `greenroom.messages`, never by hand."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import msgspec

from greenroom.codes import CLOSES, ERRORS, ErrorCode
from greenroom.messages import METHODS, NOTIFICATIONS, PATH, SCOPE_OF_METHOD, SUBPROTOCOL
from greenroom.server.http.routes import Answer, Call, Nothing, Origin, public
from greenroom.server.version import version as own_version

_REF = "#/components/schemas/{name}"
_CHANNEL = {"$ref": "#/channels/session"}


def document(*, version: str) -> dict[str, Any]:
    """The whole document. version: of the service."""
    schemas, components = _schemas()
    messages: dict[str, Any] = {}
    operations: dict[str, Any] = {}
    for method, (params, result) in METHODS.items():
        name = _name(method)
        messages[name + "Request"] = _message(method + " request", _request(method, schemas[params]))
        messages[name + "Reply"] = _message(method + " reply", _reply(schemas[result]))
        operations[name] = _operation(method, name)
    for method, params in NOTIFICATIONS.items():
        name = _name(method)
        messages[name + "Notification"] = _message(method, _notification(method, schemas[params]))
        operations[name] = {
            "action": "send",
            "channel": _CHANNEL,
            "summary": f"The service notifies a client: {method}.",
            "messages": [_in_channel(name + "Notification")],
        }
    messages["errorReply"] = _message("error reply", _error())
    return {
        "asyncapi": "3.0.0",
        "id": "urn:greenroom:session:v1",
        "info": {
            "title": "Greenroom sessions",
            "version": version,
            "description": "JSON-RPC 2.0 in text frames over one WebSocket; subprotocol `"
            + SUBPROTOCOL
            + "`. The first "
            "message within 10 s is `session.open` or `session.resume` (or `session.close` with a resume secret).",
            "license": {"name": "Apache-2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0"},
        },
        "defaultContentType": "application/json",
        "channels": {
            "session": {
                "address": PATH,
                "description": _closes(),
                "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in messages},
                "bindings": {
                    "ws": {
                        "method": "GET",
                        "headers": {
                            "type": "object",
                            "properties": {"Sec-WebSocket-Protocol": {"type": "string", "const": SUBPROTOCOL}},
                        },
                        "bindingVersion": "0.1.0",
                    }
                },
            }
        },
        "operations": operations,
        "components": {"schemas": components, "messages": messages},
    }


def _schemas() -> tuple[dict[Any, dict[str, Any]], dict[str, Any]]:
    types: list[Any] = []
    for params, result in METHODS.values():
        types += [params, result]
    types += NOTIFICATIONS.values()
    unique = list(dict.fromkeys(types))
    found, components = msgspec.json.schema_components(unique, ref_template=_REF)
    return dict(zip(unique, found, strict=True)), components


def _name(method: str) -> str:
    head, _, tail = method.partition(".")
    return head + tail[:1].upper() + tail[1:]


def _in_channel(message: str) -> dict[str, str]:
    return {"$ref": f"#/channels/session/messages/{message}"}


def _operation(method: str, name: str) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "action": "receive",
        "channel": _CHANNEL,
        "summary": f"A client calls {method}.",
        "messages": [_in_channel(name + "Request")],
        "reply": {"channel": _CHANNEL, "messages": [_in_channel(name + "Reply"), _in_channel("errorReply")]},
    }
    scope = SCOPE_OF_METHOD.get(method)
    if scope is not None:
        operation["description"] = f"Needs the session scope `{scope}`."
    return operation


def _message(title: str, payload: dict[str, Any]) -> dict[str, Any]:
    return {"title": title, "contentType": "application/json", "payload": payload}


def _request(method: str, params: dict[str, Any]) -> dict[str, Any]:
    number = {"oneOf": [{"type": "integer"}, {"type": "string", "maxLength": 64}]}
    members = {"jsonrpc": {"const": "2.0"}, "id": number, "method": {"const": method}, "params": params}
    return {"type": "object", "properties": members, "required": ["jsonrpc", "method"]}


def _reply(result: dict[str, Any]) -> dict[str, Any]:
    members = {"jsonrpc": {"const": "2.0"}, "id": {"type": ["integer", "string"]}, "result": result}
    return {"type": "object", "properties": members, "required": ["jsonrpc", "id", "result"]}


def _notification(method: str, params: dict[str, Any]) -> dict[str, Any]:
    members = {"jsonrpc": {"const": "2.0"}, "method": {"const": method}, "params": params}
    return {"type": "object", "properties": members, "required": ["jsonrpc", "method"]}


def _error() -> dict[str, Any]:
    data = {
        "type": "object",
        "properties": {
            "reason": {"type": "string", "description": "The stable word for the error."},
            "retryable": {"type": "boolean"},
            "retryAfter": {"type": "number", "description": "Seconds."},
            "hint": {"type": "string"},
        },
        "required": ["reason", "retryable"],
    }
    codes = "; ".join(f"{int(code)} {ERRORS[code].reason}" for code in sorted(ErrorCode, reverse=True))
    error = {
        "type": "object",
        "properties": {
            "code": {
                "type": "integer",
                "description": f"-32001 to -32049: try again. -32050 to -32099: change something first. {codes}.",
            },
            "message": {"type": "string"},
            "data": data,
        },
        "required": ["code", "message"],
    }
    members = {"jsonrpc": {"const": "2.0"}, "id": {"type": ["integer", "string", "null"]}, "error": error}
    return {"type": "object", "properties": members, "required": ["jsonrpc", "id", "error"]}


def _closes() -> str:
    listed = "; ".join(f"{int(code)} {row.reason}" for code, row in sorted(CLOSES.items()))
    return f"Close codes 4000 to 4499: come back; 4500 to 4999: do not. {listed}."


async def asyncapi(_call: Call[Nothing, Nothing, Nothing]) -> Answer:
    """The description of the session protocol, made from the tables of messages."""
    return Answer(_document())


@lru_cache(maxsize=1)
def _document() -> bytes:
    return msgspec.json.encode(document(version=own_version()))


_SHORT = {"Cache-Control": "public, max-age=300"}

ROUTES = (
    public(
        "GET /asyncapi.json",
        asyncapi,
        "The description of the session protocol",
        reply_type=dict[str, Any],
        tag="service",
        headers=_SHORT,
        origin=Origin.ANY,
    ),
)
