"""The main object: what it refuses at once, and tokens by key and secret."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from greenroom import (
    Greenroom,
    IllegalArgumentError,
    NotInitializedError,
    ParticipantInfo,
    ProtocolError,
    TokenInvalidError,
)
from greenroom.testing.fake_service import FakeService, make_token


async def test_a_wrong_url_is_said_at_once() -> None:
    async with FakeService() as service:
        sdk = Greenroom(service.url + "/wrong")
        sdk.initialize_token(make_token())
        with pytest.raises(ProtocolError, match="404"):
            await sdk.session.open()
        await sdk.session.close()


@pytest.mark.parametrize("url", ["", "localhost:1", "ftp://a", "http://", "http://u@h", "http://h?q", "http://h:x"])
def test_an_url_that_is_none(url: str) -> None:
    with pytest.raises(IllegalArgumentError, match="https://sessions|scheme, host"):
        Greenroom(url)


@pytest.mark.parametrize("token", ["", "a.b", "a.b.c", "a.b.c.d"])
def test_a_token_that_is_none(token: str) -> None:
    with pytest.raises(TokenInvalidError):
        Greenroom("http://h").initialize_token(token)


@pytest.mark.parametrize("token", [5, b"a.b.c"])
def test_a_token_that_is_no_string_is_refused_at_once(token: Any) -> None:
    with pytest.raises(TokenInvalidError, match="not a string"):
        Greenroom("http://h").initialize_token(token)


async def test_key_and_secret_get_tokens_by_themselves() -> None:
    async with FakeService() as service:
        sdk = Greenroom(service.url)
        sdk.initialize(" key", "secret\n")
        participant = await sdk.session.open(ParticipantInfo(name="Ada", external_id="legacy"))
        assert participant.info.external_id == "legacy"
        assert service.tokens_minted == 1
        await sdk.session.close()
        wrong = Greenroom(service.url)
        wrong.initialize("key", "other")
        with pytest.raises(TokenInvalidError, match="[Kk]ey"):
            await wrong.session.open()
        await wrong.session.close()


@pytest.mark.parametrize(("key", "secret"), [("", "s"), ("k", ""), (" ", "s")])
def test_an_empty_key_or_secret(key: str, secret: str) -> None:
    with pytest.raises(IllegalArgumentError, match="empty"):
        Greenroom("http://h").initialize(key, secret)


async def test_without_a_token_the_callback_is_asked() -> None:
    async with FakeService() as service:
        sdk = Greenroom(service.url)
        asked: list[bool] = []

        def refresh(is_expired: bool) -> str:
            asked.append(is_expired)
            return make_token()

        sdk.initialize_token(None, refresh)
        await sdk.session.open()
        assert asked == [True]
        await sdk.session.close()
    with pytest.raises(NotInitializedError, match="no refresh callback"):
        Greenroom("http://h").initialize_token(None)


@pytest.mark.parametrize(
    ("token", "text"),
    [
        ('"a.b.c"', 'begins with ": pass it without quotes'),
        ("Bearer a.b.c", "begins with Bearer"),
        ('{"access_token": "a.b.c"}', "is JSON: pass its access_token alone"),
    ],
)
def test_what_is_pasted_around_a_token_is_named(token: str, text: str) -> None:
    with pytest.raises(TokenInvalidError, match=text):
        Greenroom("http://h").initialize_token(token)


def test_a_token_that_was_not_awaited_is_named() -> None:
    async def get_token() -> str:
        return "a.b.c"

    token: Any = get_token()
    with pytest.raises(TokenInvalidError, match="coroutine, not a string: await it first"):
        Greenroom("http://h").initialize_token(token)
    token.close()


@pytest.mark.parametrize(
    ("initialize", "error", "text"),
    [
        (lambda sdk: sdk.initialize_token("a.b.c", "refresh"), IllegalArgumentError, "not str"),
        (lambda sdk: sdk.initialize_token(None), NotInitializedError, "no refresh callback"),
        (lambda sdk: sdk.initialize("key", None), IllegalArgumentError, "app_secret is NoneType, not a string"),
        (lambda sdk: sdk.initialize(b"key", "secret"), IllegalArgumentError, "app_key is bytes, not a string"),
    ],
)
def test_what_it_cannot_be_initialised_with_is_named(
    initialize: Callable[[Greenroom], None], error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=text):
        initialize(Greenroom("http://h"))


async def test_as_a_context_it_closes_what_is_open_also_where_the_program_fails() -> None:
    async with FakeService() as service:
        sdk = Greenroom(service.url)
        sdk.initialize_token(make_token())

        async def fail() -> None:
            async with sdk as same:
                assert same is sdk
                await sdk.session.open()
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await fail()
        assert [one.ended for one in service.sessions.values()] == ["closed"]
        assert not sdk.session.is_open()
