"""docs/reference/http.md: every route, from the table that answers requests."""

from __future__ import annotations

import inspect
from typing import Any

import msgspec

from greenroom.codes import ERRORS
from greenroom.server.api.routes import API_ROUTES
from greenroom.server.http.openapi import errors_of
from greenroom.server.http.problems import reason_of
from greenroom.server.http.routes import Auth, Body, Nothing, Route

_HEAD = """# HTTP

Made from the table of routes that answers requests. The same as `GET /openapi.json` of a running service, which also
has the replies' types in full.

## What holds for all of them

* Answers are JSON, refusals too, all with the same body. `error` is a word for programs (on token endpoints one of RFC
  6749, section 5.2), `error_code` the platform's number where it has one, else the HTTP status, `error_reason` the
  stable word, `error_description` what is wrong and what to change:

  ```json
  {"type": "ErrorResponse", "error": "invalid_client", "error_code": 89, "error_reason": "Invalid_token",
   "error_description": "The app key or the app secret is wrong. Check both; if the secret is lost, make a new one."}
  ```

* Bodies are strict: JSON (on token endpoints also a form) in UTF-8, of the type that is declared, without duplicate or
  unknown members, at most 16 KiB (settings and replays: 256 KiB). What is malformed, mistyped or unknown is 400
  `Illegal_argument` (90), and names the field, what was given and what is allowed. Unknown fields of a query are
  refused too; those of an OAuth form are ignored (RFC 6749, section 3.2). Larger is 413, another type 415, slower than
  10 s 408.
* 401 comes with `WWW-Authenticate`, 429 and 503 with `Retry-After`, 405 with `Allow`. HEAD is answered wherever GET is,
  OPTIONS everywhere.
* Token endpoints, the key set and `/openapi.json` can be called by pages of any origin (`Access-Control-Allow-Origin:
  *`, never with credentials).
* Ten failed attempts a minute for each key and address (the setting `failed_auth_per_minute`), then wrong credentials
  get 429 instead of 401; right ones are always taken. Addresses in `trusted_proxies` are exempt, and what they forward
  counts instead.
* Instants are Unix milliseconds, durations seconds.

| credentials | what they are |
|---|---|
| Basic | app key and secret (RFC 7617), in UTF-8 or ISO-8859-1, verbatim or percent-encoded |
| API token | `Authorization: Bearer` with a token of `POST /v1/auth/token` that has the scope |
| metrics token | `Authorization: Bearer` with the setting `metrics_token`; for `/metrics` alone |
| admin token | `Authorization: Bearer` with `GREENROOM_ADMIN_TOKEN`, or what the file `admin-token` holds |
"""

_TITLES = {"tokens": "Tokens", "service": "The service", "admin": "For operators"}
_CREDENTIALS = {
    Auth.NONE: "none",
    Auth.BASIC: "Basic",
    Auth.API: "API token",
    Auth.ADMIN: "admin token",
    Auth.METRICS: "metrics token or admin token, or none from the machine itself where `metrics_from_loopback` is on",
}


def generate() -> dict[str, str]:
    """The page."""
    parts = [_HEAD]
    routes = API_ROUTES
    for tag in dict.fromkeys(route.tag for route in routes):
        parts.append(f"## {_TITLES.get(tag, tag.capitalize())}\n")
        parts += [_section(route) for route in routes if route.tag == tag]
    return {"reference/http.md": "\n".join(parts)}


def _section(route: Route) -> str:
    text = " ".join((inspect.getdoc(route.handler) or "").split())
    lines = [f"### {route.method} {route.path}", "", text, "", f"Credentials: {_CREDENTIALS[route.auth]}"]
    if route.scope is not None:
        lines[-1] += f" with the scope `{route.scope}`"
    lines[-1] += f". Answers {route.status}{_reply(route)}."
    lines.append("")
    fields = [*_fields(route.path_type, "path"), *_fields(route.query_type, "query"), *_body_fields(route)]
    if fields:
        lines += ["| field | in | what it is |", "|---|---|---|", *fields, ""]
    codes = errors_of(route)
    if codes:
        reasons = [f"{ERRORS[code].http_status} `{reason_of(code)}`" for code in codes]
        lines += [f"Refusals: {', '.join(dict.fromkeys(reasons))}.", ""]
    return "\n".join(lines)


def _reply(route: Route) -> str:
    kind = route.reply_type
    if kind is Nothing or not hasattr(kind, "__struct_fields__"):
        return ""
    names = [f"`{field.encode_name}`" for field in msgspec.structs.fields(kind)]
    return f" with {', '.join(names)}" if names else ""


def _body_fields(route: Route) -> list[str]:
    if not route.has_body:
        return []
    return _fields(route.body_type, "form or body" if Body.FORM in route.body_forms else "body")


def _fields(kind: type[Any], where: str) -> list[str]:
    if kind is Nothing:
        return []
    schema = msgspec.json.schema(kind)
    body = schema["$defs"][schema["$ref"].rsplit("/", 1)[1]]
    if "properties" not in body:
        return []
    required = set(body.get("required", ())) | (set(body["properties"]) if where == "path" else set())
    rows = []
    for name, field in body["properties"].items():
        text = _escaped(_kind(field, schema["$defs"]))
        rows.append(f"| `{name}` | {where} | {text}{' Required.' if name in required else ''} |")
    return rows


def _kind(field: dict[str, Any], definitions: dict[str, Any]) -> str:
    if "description" in field and "properties" not in field:
        return str(field["description"])
    if "$ref" in field:
        found = definitions[field["$ref"].rsplit("/", 1)[1]]
        if "enum" in found:
            return _kind(found, definitions)
        names = ", ".join(f"`{name}`" for name in found.get("properties", ()))
        return f"An object of {names}."
    if "enum" in field:
        return " or ".join(f"`{value}`" for value in field["enum"] if value is not None) + "."
    if "anyOf" in field:
        kinds = [_kind(one, definitions) for one in field["anyOf"] if one.get("type") != "null"]
        return " ".join(kinds)
    words = {"integer": "Whole number", "number": "Number", "string": "Text", "boolean": "`true` or `false`"}
    if field.get("type") == "array":
        inner = field.get("items", {})
        return "List: " + (_kind(inner, definitions) if isinstance(inner, dict) and inner else "anything.")
    return words.get(field.get("type", ""), "Anything") + _bounds(field) + "."


def _bounds(field: dict[str, Any]) -> str:
    low = field.get("minimum", field.get("exclusiveMinimum"))
    high = field.get("maximum")
    if low is not None and high is not None:
        return f", {low:,} to {high:,}"
    if low is not None:
        return f", from {low:,}"
    if "maxLength" in field:
        return f", at most {field['maxLength']:,} characters"
    return ""


def _escaped(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
