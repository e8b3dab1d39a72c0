"""How a session comes to a connection: `open` and `resume`, their refusals, and connections lost meanwhile."""

from __future__ import annotations

from typing import Any

import pytest

from greenroom.codes import CloseCode, ErrorCode
from greenroom.model import SessionPolicy, anonymous_participant_id
from tests.core.server.rig import (
    ANNA,
    BOB,
    NAMESPACE,
    OPEN_ID,
    SECRET,
    WALL,
    FakeServices,
    Policy,
    Rig,
    S,
    Token,
    token_for,
)

# -- hello -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("params", "code", "close"),
    [
        ({"token": "bad"}, ErrorCode.TOKEN_INVALID, 4500),
        ({"token": "limited"}, ErrorCode.RATE_LIMITED, 4004),
        ({"token": "old"}, ErrorCode.TOKEN_EXPIRED, 4006),
        ({"token": 5}, ErrorCode.ILLEGAL_ARGUMENT, 4505),
        ({"resumeSecret": "short"}, ErrorCode.ILLEGAL_ARGUMENT, 4505),
        ({"resumeSecret": "s" * 42}, ErrorCode.ILLEGAL_ARGUMENT, 4505),
        ({"openId": ""}, ErrorCode.ILLEGAL_ARGUMENT, 4505),
        ({"participant": {"name": "a\u202eb"}}, ErrorCode.ILLEGAL_ARGUMENT, 4505),
        ({"participant": {"avatarUrl": "javascript:alert(1)"}}, ErrorCode.ILLEGAL_ARGUMENT, 4505),
        ({"participant": {"externalId": "bob"}}, ErrorCode.EXTERNAL_ID_MISMATCH, 4504),
        ({"device": {"id": "d" * 129}}, ErrorCode.ILLEGAL_ARGUMENT, 4505),
        ({"sdk": {"name": "x\n"}}, ErrorCode.ILLEGAL_ARGUMENT, 4505),
    ],
)
def test_what_the_node_itself_refuses(params: dict[str, Any], code: ErrorCode, close: int) -> None:
    services = FakeServices()
    services.tokens["old"] = token_for("anna", expires_at=int(WALL) - 31)
    rig = Rig(services)
    number = rig.hello(**params)
    assert rig.error(number) == code
    assert rig.close_code == close
    assert not rig.calls


def test_an_open_beyond_what_the_node_takes_says_when_to_come_back() -> None:
    services = FakeServices()
    services.full = True
    rig = Rig(services)
    number = rig.hello()
    assert rig.error(number) == ErrorCode.RATE_LIMITED
    assert rig.reply(number)["error"]["data"]["retryAfter"] == 1.0
    assert rig.close_code == CloseCode.RATE_LIMITED


# -- resumes that fail need no credentials ----------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["session.resume", "session.close"])
def test_an_address_with_too_many_of_them_does_not_reach_the_engine(method: str) -> None:
    services = FakeServices()
    services.bad = {"192.0.2.1"}
    rig = Rig(services)
    number = rig.resume() if method == "session.resume" else rig.send(method, sessionId="p1-01", resumeSecret=SECRET)
    assert rig.error(number) == ErrorCode.RATE_LIMITED
    assert rig.close_code == CloseCode.RATE_LIMITED
    assert not rig.calls


# -- null is absent ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("token", "given", "allowed", "expected"),
    [
        (token_for("anna"), None, False, (ANNA, "anna")),
        (token_for("anna"), "", False, (ANNA, "anna")),
        (token_for("anna"), "anna", False, (ANNA, "anna")),
        (token_for("anna"), "bob", False, ErrorCode.EXTERNAL_ID_MISMATCH),
        (Token(version=1), "bob", False, (BOB, "bob")),
        (Token(version=2), "bob", False, ErrorCode.EXTERNAL_ID_MISMATCH),
        (Token(version=2), "bob", True, (BOB, "bob")),
        (Token(version=1), "bo\x00b", False, ErrorCode.ILLEGAL_ARGUMENT),
        (Token(), None, False, (anonymous_participant_id(NAMESPACE, OPEN_ID), None)),
        (Token(), "", False, (anonymous_participant_id(NAMESPACE, OPEN_ID), None)),
    ],
)
def test_external_ids(token: Token, given: str | None, allowed: bool, expected: Any) -> None:
    services = FakeServices()
    services.tokens["t"] = token
    services.settings(allow_external_id_from_client=allowed)
    rig = Rig(services)
    number = rig.hello(token="t", participant={} if given is None else {"externalId": given})
    if isinstance(expected, ErrorCode):
        assert rig.error(number) == expected
    else:
        (call,) = rig.requests
        assert (call.participant_id, call.external_id) == expected
        assert call.anonymous is (expected[1] is None)


def test_an_external_id_in_another_unicode_form_is_refused_as_such() -> None:
    services = FakeServices()
    services.tokens["t"] = token_for("caf\u00e9")
    rig = Rig(services)
    number = rig.hello(token="t", participant={"externalId": "cafe\u0301"})
    assert rig.error(number) == ErrorCode.EXTERNAL_ID_MISMATCH
    assert "Unicode" in rig.reply(number)["error"]["message"]


def test_a_token_narrows_the_policy_and_never_widens_it() -> None:
    services = FakeServices()
    services.settings(policy=SessionPolicy(max_sessions=5, when_full="reject"))
    services.tokens["t"] = token_for(
        "anna", policy=Policy(max_sessions=9, when_full="replace_oldest", same_device="allow")
    )
    rig = Rig(services)
    rig.hello(token="t")
    assert rig.requests[0].policy == SessionPolicy(max_sessions=5, when_full="replace_oldest", same_device="allow")


@pytest.mark.parametrize(
    ("origin", "allowed", "good"),
    [
        (None, ("https://a.example",), True),
        ("https://a.example", ("https://a.example",), True),
        ("https://b.example", ("https://a.example",), False),
        ("https://b.example", (), True),
        ("null", ("https://a.example",), False),
    ],
)
def test_the_origin_is_checked_at_open(origin: str | None, allowed: tuple[str, ...], good: bool) -> None:
    services = FakeServices()
    services.settings(allowed_origins=allowed)
    rig = Rig(services, origin=origin)
    number = rig.hello()
    if good:
        assert rig.is_in(S.JOINING)
    else:
        assert rig.error(number) == ErrorCode.ORIGIN_NOT_ALLOWED
        assert rig.close_code == CloseCode.UNAUTHENTICATED


def test_a_disabled_application_and_a_revoked_token_are_refused() -> None:
    services = FakeServices()
    services.change(disabled=True)
    rig = Rig(services)
    assert rig.error(rig.hello()) == ErrorCode.APPLICATION_DISABLED
    services.change(disabled=False, revoked_before=int(WALL))
    rig = Rig(services)
    assert rig.error(rig.hello()) == ErrorCode.TOKEN_REVOKED
    services.applications.clear()
    rig = Rig(services)
    assert rig.error(rig.hello()) == ErrorCode.TOKEN_INVALID


@pytest.mark.parametrize(("setting", "scopes", "may"), [
    ("any", (), True), ("scope", (), False), ("scope", ("session:update",), True), ("scope", ("*",), True),
])  # fmt: skip
def test_open_profile(setting: str, scopes: tuple[str, ...], may: bool) -> None:
    services = FakeServices()
    services.settings(open_profile=setting)
    services.tokens["t"] = token_for("anna", scopes=scopes)
    rig = Rig(services)
    rig.hello(token="t")
    assert rig.requests[0].may_change_profile is may


def test_an_issuer_s_token_brings_what_open_does_not() -> None:
    services = FakeServices()
    services.settings(open_profile="scope")
    profile = {"name": "Anna", "avatar_url": "https://id.example/a.png"}
    services.tokens["t"] = token_for("anna", scopes=(), **profile)
    services.tokens["bad"] = token_for("anna", name="x" * 5000, avatar_url="javascript:alert(1)")
    cases: list[tuple[str, dict[str, str], tuple[str | None, str | None, bool]]] = [
        ("t", {}, ("Anna", "https://id.example/a.png", True)),
        ("t", {"name": "Ann"}, ("Ann", "https://id.example/a.png", False)),
        ("t", {"name": "", "avatarUrl": "/b.png"}, ("", "/b.png", False)),
        ("bad", {}, (None, None, True)),
    ]
    for token, brought, expected in cases:
        rig = Rig(services)
        rig.hello(token=token, participant=brought)
        request = rig.requests[0]
        assert (request.name, request.avatar_url, request.may_change_profile) == expected
