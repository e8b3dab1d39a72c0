"""What the front door learns of a request, and the one error body of a refusal."""

from __future__ import annotations

import json
from dataclasses import fields

from greenroom.server.config import ServerConfig
from greenroom.server.wire.interface import Refusal, WebSocketOptions
from tests.server.raw_client import handshake, serving


def test_a_refusal_has_the_one_error_body() -> None:
    refusal = Refusal.error(
        503, error="not_ready", reason="Draining", description="Go elsewhere.", headers={"Retry-After": "3"}
    )
    assert (refusal.status, refusal.headers) == (503, {"Retry-After": "3"})
    assert json.loads(refusal.body) == {
        "type": "ErrorResponse",
        "error": "not_ready",
        "error_code": 503,
        "error_reason": "Draining",
        "error_description": "Go elsewhere.",
    }


def test_a_refusal_may_have_a_number_of_its_own_and_shares_no_headers() -> None:
    headers = {"A": "b"}
    refusal = Refusal.error(400, description="No.", code=1234, headers=headers)
    assert json.loads(refusal.body)["error_code"] == 1234
    headers["A"] = "changed"
    assert refusal.headers == {"A": "b"}
    assert Refusal.error(400, description="No.").headers == {}


async def test_a_refusal_is_what_the_client_reads() -> None:
    refusal = Refusal.error(403, reason="Origin_refused", description="Not from there.", headers={"X-Why": "origin"})
    async with serving(answer=lambda _: refusal) as running, running.client() as client:
        await client.send(handshake())
        response = await client.response()
        assert (response.status, response.headers["x-why"]) == (403, "origin")
        assert json.loads(response.body)["error_reason"] == "Origin_refused"
        assert await client.events() == [("eof", None)]


def test_limits_that_are_settings_have_the_defaults_of_the_settings() -> None:
    options, config = WebSocketOptions(), ServerConfig()
    settings = [field.name for field in fields(options) if hasattr(config, field.name)]
    assert settings
    assert {name: getattr(options, name) for name in settings} == {name: getattr(config, name) for name in settings}
