"""Calls the platform's own Python client: a list of [name, function, arguments] on stdin, their results on stdout."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from importlib import import_module
from typing import Any

# By name: the client is not installed where the types are checked.
authentication = import_module("dolbyio_rest_apis.authentication")
communications = import_module("dolbyio_rest_apis.communications.authentication")
conference = import_module("dolbyio_rest_apis.communications.conference")
models = import_module("dolbyio_rest_apis.communications.models")
urls = import_module("dolbyio_rest_apis.core.urls")
HttpRequestError = import_module("dolbyio_rest_apis.core.http_request_error").HttpRequestError

# The recipe of the migration guide: the client has its hosts as constants of one module.
for _name in ("API_URL", "COMMS_URL", "COMMS_SESSION_URL"):
    setattr(urls, _name, os.environ["GREENROOM_HOST"])

_MEMBERS = ("status_code", "error_type", "error_code", "error_reason", "error_description")


async def _result_of(function: str, arguments: dict[str, Any]) -> dict[str, Any]:
    in_conference = getattr(conference, function, None)
    call = in_conference or getattr(communications, function, None) or getattr(authentication, function)
    if "participants" in arguments:
        arguments["participants"] = [models.Participant(*one) for one in arguments["participants"]]
    try:
        result = await call(**arguments)
    except HttpRequestError as error:
        return {"error": {name: getattr(error, name) for name in _MEMBERS}}
    if in_conference is None:
        return {"token": dict(result), "access_token": result.access_token}
    if isinstance(result, list):
        return {"result": {one.external_id: one.token for one in result}}
    return {"result": result, "conference_id": getattr(result, "conference_id", None)}


def _given(value: Any, results: dict[str, Any]) -> Any:
    """ "$name" is the access token of an earlier call, "@name" the conference that it created."""
    if isinstance(value, str) and value.startswith("$"):
        return results[value[1:]]["access_token"]
    if isinstance(value, str) and value.startswith("@"):
        return results[value[1:]]["conference_id"]
    return value


async def _main() -> None:
    results: dict[str, Any] = {}
    for name, function, arguments in json.load(sys.stdin):
        given = {key: _given(value, results) for key, value in arguments.items()}
        results[name] = await _result_of(function, given)
    print("\n" + json.dumps(results))


asyncio.run(_main())
