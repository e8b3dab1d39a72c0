"""What a token says of itself, and what is not a token."""

from __future__ import annotations

import time
from typing import Any

import msgspec
import pytest

from greenroom.cli.exits import CliError, Exit
from greenroom.cli.tokens import looked_into, verified
from tests.cli.running import run_here
from tests.tokens.forge import encode


def token(**claims: Any) -> str:
    parts = ({"alg": "EdDSA", "typ": "JWT"}, claims)
    return ".".join(encode(msgspec.json.encode(one)) for one in parts) + ".c2ln"


@pytest.mark.parametrize("text", ["", "x", "a.b", "a.b.c", "....", "e30.WzFd.x", "ž.ž.ž"])
def test_inspect_what_is_no_token(text: str) -> None:
    ran = run_here("token", "inspect", text)
    assert (ran.code, ran.err.count("\n")) == (Exit.USAGE, 1)
    assert ran.err.startswith("greenroom: This is not a token: ")


def test_header_and_claims_with_times_as_text() -> None:
    assert looked_into(token(iss="i", iat=1_700_000_000, nbf=1_700_000_000.5)) == {
        "alg": "EdDSA",
        "typ": "JWT",
        "iss": "i",
        "iat": 1_700_000_000,
        "nbf": 1_700_000_000.5,
        "iatText": "2023-11-14 22:13:20 UTC",
        "nbfText": "2023-11-14 22:13:20 UTC",
    }


def test_how_long_it_is_good() -> None:
    assert looked_into(token(exp=1_000))["life"].startswith("over for ")
    left = looked_into(token(exp=int(time.time()) + 100_000))["life"]
    assert left.endswith(" s left")
    assert 90_000 < int(left.split()[0]) <= 100_000


@pytest.mark.parametrize("exp", [1_700_000_000_000, 10**30, -(10**15), "tomorrow", True, None])
def test_a_time_that_is_none_is_said_to_be_so(exp: Any) -> None:
    # Milliseconds, as JavaScript counts, are what people look for when they inspect a token.
    found = looked_into(token(exp=exp))
    assert found["expText"] == "not a time in seconds since 1970"
    assert "life" not in found


def test_a_service_with_a_shared_secret_publishes_nothing_to_verify_with() -> None:
    with pytest.raises(CliError, match="HS256") as refused:
        verified(token(), {"keys": []})
    assert refused.value.exit is Exit.FAILED
