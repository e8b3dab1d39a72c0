from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

import greenroom.tokens
from greenroom.errors import TokenInvalidError
from greenroom.tokens import peek
from tests.tokens.forge import APP, CLAIMS, NOW, PARTICIPANT, claims_with, claims_without, forge


def loaded_by(statement: str) -> set[str]:
    code = f"import sys; {statement}; print(*sys.modules)"
    return set(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split())


def test_the_reader_pulls_in_no_cryptography() -> None:
    loaded = loaded_by("from greenroom.tokens.reader import peek; peek")
    assert "greenroom.tokens.reader" in loaded
    assert not {name for name in loaded if name.split(".")[0] in ("joserfc", "cryptography", "asyncio", "socket")}
    assert "joserfc" in loaded_by("import greenroom.tokens as tokens; tokens.verify")


def test_the_front_door_is_complete() -> None:
    assert set(greenroom.tokens.__all__) == set(greenroom.tokens._HOME)
    for name in greenroom.tokens.__all__:
        assert getattr(greenroom.tokens, name) is not None
    with pytest.raises(AttributeError, match="skip_verification"):
        greenroom.tokens.skip_verification  # noqa: B018


def test_peek() -> None:
    glance = peek(forge())
    assert glance.typ == "session+jwt"
    assert (glance.app, glance.participant_id, glance.external_id) == (APP, PARTICIPANT, "anna")
    assert (glance.issued_at, glance.expires_at) == (CLAIMS["iat"], CLAIMS["exp"])


def test_peek_needs_neither_a_good_signature_nor_time() -> None:
    head, claims, _ = forge(claims=claims_with(iat=1, exp=2)).split(".")
    assert peek(f"{head}.{claims}.AAAA").expires_at == 2


def test_a_refresh_callback_without_return_is_an_error_at_once() -> None:
    with pytest.raises(TokenInvalidError, match=r"not NoneType.*Return the access_token"):
        peek(None)


@pytest.mark.parametrize("name", ["app", "sub", "iat", "exp"])
def test_peek_names_what_is_missing(name: str) -> None:
    with pytest.raises(TokenInvalidError, match=f"claim {name} "):
        peek(forge(claims=claims_without(name)))
    values: list[Any] = [None, True, [], 1.0 if name in ("iat", "exp") else 1]
    for value in values:
        with pytest.raises(TokenInvalidError):
            peek(forge(claims=claims_with(**{name: value})))


@pytest.mark.parametrize("token", ["", "abc", "a.b.c", 7, b"abc", "x" * 5000, forge(claims=claims_with(xid=3))])
def test_peek_refuses_what_is_no_token(token: Any) -> None:
    with pytest.raises(TokenInvalidError):
        peek(token)


def test_now_is_not_asked_for() -> None:
    assert peek(forge(claims=claims_with(iat=NOW * 2, exp=NOW * 3))).issued_at == NOW * 2
