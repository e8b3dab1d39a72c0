"""/openapi.json (OpenAPI 3.1), made from the table of routes and the types its rows name."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from http import HTTPStatus
from typing import Any

import msgspec

from greenroom.codes import ERRORS, ErrorCode
from greenroom.server.http.problems import ErrorResponse, reason_of
from greenroom.server.http.routes import Auth, Nothing, Route

_REF = "#/components/schemas/{name}"

_SECURITY_SCHEMES = {
    "basic": {"type": "http", "scheme": "basic", "description": "App key and secret (RFC 7617)."},
    "api": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT", "description": "An API token."},
    "admin": {"type": "http", "scheme": "bearer", "description": "The admin token of the service."},
    "metrics": {"type": "http", "scheme": "bearer", "description": "The setting `metrics_token`."},
}

_TAGS = (
    {"name": "tokens", "description": "Tokens, as the platform documented them, and the keys they are signed with."},
    {"name": "participants", "description": "Participants: find, read, change, kick, block, erase."},
    {"name": "sessions", "description": "Sessions: list, show, end; tokens: revoke; settings of the application."},
    {"name": "events", "description": "Events, to be fetched."},
    {"name": "webhooks", "description": "Events, posted to the app's own addresses."},
    {"name": "service", "description": "Probes and this description."},
    {"name": "admin", "description": "For operators and the command line."},
)

_AUTH_ERRORS = {
    Auth.NONE: (),
    Auth.BASIC: (ErrorCode.INVALID_CLIENT, ErrorCode.APPLICATION_DISABLED, ErrorCode.RATE_LIMITED),
    Auth.API: (ErrorCode.TOKEN_INVALID, ErrorCode.SCOPE_MISSING, ErrorCode.APPLICATION_DISABLED),
    Auth.ADMIN: (ErrorCode.TOKEN_INVALID, ErrorCode.RATE_LIMITED),
    Auth.METRICS: (ErrorCode.TOKEN_INVALID, ErrorCode.RATE_LIMITED),
}


def document(routes: Iterable[Route], *, version: str) -> dict[str, Any]:
    """The whole document. version: of the service."""
    rows = tuple(routes)
    schemas = _Schemas(rows)
    paths: dict[str, dict[str, Any]] = {}
    for route in rows:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, schemas)
    known = {tag["name"] for tag in _TAGS}
    more = sorted({route.tag for route in rows} - known)
    written = {
        "openapi": "3.1.0",
        "info": {
            "title": "Greenroom",
            "version": version,
            "summary": "The session service for real-time communications apps.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "tags": [*_TAGS, *({"name": name} for name in more)],
        "paths": paths,
        "components": {"schemas": schemas.components, "securitySchemes": _SECURITY_SCHEMES},
    }
    # As JSON has it: defaults that are tuples are lists there.
    plain: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(written))
    return plain


class _Schemas:
    """JSON schemas of every type the rows name, made in one go, so that each has one name."""

    def __init__(self, rows: tuple[Route, ...]) -> None:
        types: list[Any] = [ErrorResponse]
        for route in rows:
            types += [route.body_type, route.reply_type]
        unique = list({repr(kind): kind for kind in types}.values())
        found, self.components = msgspec.json.schema_components(unique, ref_template=_REF)
        self._found = {repr(kind): schema for kind, schema in zip(unique, found, strict=True)}

    def of(self, kind: Any) -> dict[str, Any]:
        """The schema, or the reference to it."""
        return self._found[repr(kind)]


def _operation(route: Route, schemas: _Schemas) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": route.handler.__name__.strip("_"),
        "summary": route.summary,
        "description": " ".join((inspect.getdoc(route.handler) or "").split()),
        "tags": [route.tag],
        "parameters": [
            *_parameters(route.path_type, "path"),
            *_parameters(route.query_type, "query"),
            *_headers_read(route),
        ],
        "responses": _responses(route, schemas),
    }
    if route.auth is not Auth.NONE:
        schemes: list[dict[str, list[str]]] = [{}, {"metrics": []}, {"admin": []}]
        operation["security"] = schemes if route.auth is Auth.METRICS else [{route.auth.value: []}]
    if route.scope is not None:
        operation["description"] += f" Needs the scope `{route.scope}`."
    if route.has_body:
        content = {form.value: {"schema": schemas.of(route.body_type)} for form in route.body_forms}
        operation["requestBody"] = {"required": True, "content": content}
    return operation


def _parameters(kind: type[Any], where: str) -> list[dict[str, Any]]:
    """A parameter for each field. Their types are small: their schemas are written in place."""
    if kind is Nothing:
        return []
    schema = msgspec.json.schema(kind)
    body = schema["$defs"][schema["$ref"].rsplit("/", 1)[1]]
    required = set(body.get("required", ()))
    parameters = []
    for name, field in body["properties"].items():
        description = field.pop("description", None)
        parameter = {"name": name, "in": where, "required": where == "path" or name in required, "schema": field}
        parameters.append(parameter if description is None else {**parameter, "description": description})
    return parameters


def _headers_read(route: Route) -> list[dict[str, Any]]:
    return [
        {"name": name, "in": "header", "required": False, "schema": {"type": "string"}, "description": text}
        for name, text in route.request_headers.items()
    ]


def _responses(route: Route, schemas: _Schemas) -> dict[str, Any]:
    content = {route.reply_content_type: {"schema": schemas.of(route.reply_type)}}
    responses: dict[str, Any] = {str(route.status): {"description": HTTPStatus(route.status).phrase}}
    if route.status != 204:
        responses[str(route.status)]["content"] = content
    if route.reply_headers:
        responses[str(route.status)]["headers"] = {
            name: {"schema": {"type": "string"}, "description": text} for name, text in route.reply_headers.items()
        }
    by_status: dict[int, list[str]] = {}
    for code in errors_of(route):
        row = ERRORS[code]
        by_status.setdefault(row.http_status, []).append(f"`{reason_of(code)}`: {row.meaning}")
    if route.has_body:
        by_status[408] = ["`Request_timeout`: The body took too long."]
        by_status[413] = ["`Body_too_large`: The body is too large."]
        kinds = " or ".join(form.value for form in route.body_forms)
        by_status[415] = [f"`Unsupported_media_type`: The body is not {kinds}."]
    error = {"application/json": {"schema": schemas.of(ErrorResponse)}}
    for status, texts in sorted(by_status.items()):
        responses[str(status)] = {"description": " ".join(texts), "content": error}
    responses["default"] = {"description": "Any other refusal, in the same form.", "content": error}
    return responses


def errors_of(route: Route) -> tuple[ErrorCode, ...]:
    """Every refusal that auth, input and the row itself imply, each once."""
    takes_input = route.has_body or route.path_type is not Nothing or route.query_type is not Nothing
    implied = (ErrorCode.ILLEGAL_ARGUMENT,) if takes_input else ()
    return tuple(dict.fromkeys((*implied, *_AUTH_ERRORS[route.auth], *route.errors)))
