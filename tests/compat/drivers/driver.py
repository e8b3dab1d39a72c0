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
urls = import_module("dolbyio_rest_apis.core.urls")
HttpRequestError = import_module("dolbyio_rest_apis.core.http_request_error").HttpRequestError

# The recipe of the migration guide: the client has its hosts as constants of one module.
for _name in ("API_URL", "COMMS_URL", "COMMS_SESSION_URL"):
    setattr(urls, _name, os.environ["GREENROOM_HOST"])

_MEMBERS = ("status_code", "error_type", "error_code", "error_reason", "error_description")


async def _result_of(function: str, arguments: dict[str, Any]) -> dict[str, Any]:
    call = getattr(communications, function, None) or getattr(authentication, function)
    try:
        token = await call(**arguments)
    except HttpRequestError as error:
        return {"error": {name: getattr(error, name) for name in _MEMBERS}}
    return {"token": dict(token), "access_token": token.access_token}


async def _main() -> None:
    results: dict[str, Any] = {}
    for name, function, arguments in json.load(sys.stdin):
        # "$name" is the access token of an earlier call.
        given = {
            key: results[value[1:]]["access_token"] if isinstance(value, str) and value.startswith("$") else value
            for key, value in arguments.items()
        }
        results[name] = await _result_of(function, given)
    print("\n" + json.dumps(results))


asyncio.run(_main())
