"""Tokens that a backend signs by itself: made by `sign_client_token` and by the examples of the how-to page."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import jwt
import pytest

from greenroom.backend import sign_client_token
from greenroom.errors import IllegalArgumentError
from greenroom.model import RoomGrant
from tests.browser.node import BROWSER, node_program
from tests.cli.running import run
from tests.server.harness import RunningService, Tenant, running_service

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "sign-tokens-in-your-backend.md"
WAIT = 240


async def generated(running: RunningService, tenant: Tenant, *options: str) -> dict[str, Any]:
    """What `greenroom apps keys generate` printed."""
    ran = await run(
        "apps", "keys", "generate", *options, "--json", "--url", running.url, "--key", tenant.key, "--secret",
        tenant.secret,
    )  # fmt: skip
    found: dict[str, Any] = ran.json
    return found


async def opened(running: RunningService, token: str) -> dict[str, Any]:
    async with running.connect() as client:
        return (await client.open(token)).participant


async def test_a_backend_signs_in_its_people_without_asking_the_service() -> None:
    async with running_service() as running:
        tenant = await running.new_application()
        made = await generated(running, tenant)
        key = json.dumps(made["key"])
        token = sign_client_token(key, external_id="anna", name="Ann à", avatar_url="https://app.example/a.png")
        participant = await opened(running, token)
        assert participant["id"] == tenant.participant_id("anna")
        assert (participant["externalId"], participant["name"]) == ("anna", "Ann à")
        assert participant["avatarUrl"] == "https://app.example/a.png"
        claims = jwt.decode(token, options={"verify_signature": False})
        assert claims["exp"] - claims["iat"] == 3600
        assert len(claims["jti"]) == 22
        grants = [RoomGrant(name="team-*", can=("join", "watch"))]
        async with running.connect() as client:
            await client.open(sign_client_token(key, external_id="anna", rooms=grants))
            (connection,) = running.service.hub.sessions.values()
            held = connection.context.session
            assert held is not None
            assert held.record.room_grants == tuple(grants)
        assert sign_client_token(key, external_id="anna") != sign_client_token(key, external_id="anna")


async def test_two_keys_are_good_at_a_time_and_a_removed_one_is_not() -> None:
    async with running_service() as running:
        tenant = await running.new_application()
        one, two = await generated(running, tenant), await generated(running, tenant, "--max-life", "10m")
        first = sign_client_token(json.dumps(one["key"]), external_id="anna")
        second = sign_client_token(json.dumps(two["key"]), external_id="anna", life=600)
        assert (await opened(running, first))["id"] == (await opened(running, second))["id"]
        options = ("--url", running.url, "--key", tenant.key, "--secret", tenant.secret)
        assert (await run("apps", "issuers", "remove", one["issuerId"], *options)).out == "Removed.\n"
        tested = await run("apps", "issuers", "test", first, *options)
        assert (tested.code, "The token is refused." in tested.out) == (1, True)
        tested = await run("apps", "issuers", "test", "-", *options, stdin=second + "\n")
        assert (tested.code, "A session opens with this token." in tested.out) == (0, True)
        too_long = sign_client_token(json.dumps(two["key"]), external_id="anna", life=601)
        assert "may live 600 s here" in (await run("apps", "issuers", "test", too_long, *options)).out


async def test_the_private_half_is_the_only_line_on_standard_output() -> None:
    async with running_service() as running:
        tenant = await running.new_application()
        ran = await run(
            "apps", "keys", "generate", "--url", running.url, "--key", tenant.key, "--secret", tenant.secret
        )
        assert ran.out.count("\n") == 1
        assert "shown only once" in ran.err
        assert json.loads(ran.out)["d"] not in ran.err
        await opened(running, sign_client_token(ran.out, external_id="anna"))


GOOD = {
    "kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo", "kid": "k", "alg": "EdDSA",
    "d": "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A", "iss": "backend:k", "aud": "greenroom",
}  # fmt: skip


@pytest.mark.parametrize(
    ("key", "options", "why"),
    [
        ("", {}, "not a key of greenroom apps keys generate"),
        ("{", {}, "not a key of greenroom apps keys generate"),
        (json.dumps({**GOOD, "iss": None}), {}, "not a key of greenroom apps keys generate"),
        (json.dumps({**GOOD, "crv": "X25519"}), {}, "not an Ed25519 key"),
        (json.dumps({**GOOD, "d": "AAAA"}), {}, "member d"),
        (json.dumps({**GOOD, "d": "A"}), {}, "member d"),
        (json.dumps(GOOD), {"external_id": ""}, "external_id"),
        (json.dumps(GOOD), {"external_id": "é" * 513}, "external_id"),
        (json.dumps(GOOD), {"life": 0}, "life"),
        (json.dumps(GOOD), {"life": 86_401}, "life"),
        (json.dumps(GOOD), {"rooms": [RoomGrant(name="*a", can=("join",))]}, "not at its end"),
    ],
)
def test_what_cannot_be_signed_is_refused_without_the_key(key: str, options: dict[str, Any], why: str) -> None:
    with pytest.raises(IllegalArgumentError, match=why) as caught:
        sign_client_token(key, **{"external_id": "anna", **options})
    assert GOOD["d"] not in str(caught.value)
    assert caught.value.__context__ is None


def test_the_key_of_rfc_8037_signs_as_others_do() -> None:
    token = sign_client_token(json.dumps(GOOD), external_id="anna", now=1_800_000_000.7, life=60)
    public = jwt.PyJWK({name: GOOD[name] for name in ("kty", "crv", "x", "alg", "kid")})
    options: Any = {"verify_exp": False, "verify_iat": False}
    claims = jwt.decode(token, public, algorithms=["EdDSA"], audience="greenroom", issuer="backend:k", options=options)
    assert (claims["sub"], claims["iat"], claims["exp"]) == ("anna", 1_800_000_000, 1_800_000_060)
    assert "name" not in claims


# -- the examples of the page ------------------------------------------------------------------------------------------


def example(language: str) -> str:
    [code] = re.findall(rf"```{language}\n(.*?)```", PAGE.read_text(), re.DOTALL)
    return str(code)


async def _python(folder: Path) -> list[str]:
    (folder / "sign.py").write_text(example("python"))
    return [sys.executable, str(folder / "sign.py")]


async def _node(_folder: Path) -> list[str]:
    return [str(await node_program()), "--input-type=module", "--eval", example("javascript")]


async def _go(folder: Path) -> list[str]:
    (folder / "main.go").write_text(example("go"))
    found = shutil.which("go", path=f"{os.environ['PATH']}:/usr/local/go/bin:/usr/lib/go/bin")
    if found is None:
        pytest.skip("no Go on this machine")
    return [found, "run", str(folder / "main.go")]


@pytest.mark.slow
@pytest.mark.parametrize("make", [_python, _node, _go])
async def test_the_examples_of_the_page_open_a_session(make: Any, tmp_path: Path) -> None:
    async with running_service() as running:
        tenant = await running.new_application()
        key = json.dumps((await generated(running, tenant))["key"])
        command = await make(tmp_path)
        environment = {**os.environ, "SIGNING_KEY": key, "GOFLAGS": "-mod=mod", "GOTOOLCHAIN": "local"}
        ran = await asyncio.to_thread(
            subprocess.run, command, cwd=BROWSER, env=environment, capture_output=True, text=True, timeout=WAIT
        )
        assert ran.returncode == 0, ran.stderr
        participant = await opened(running, ran.stdout.strip())
        assert participant["id"] == tenant.participant_id("anna")
        assert participant["name"] == "Anna"


def test_the_page_says_which_examples_were_not_tried() -> None:
    text = PAGE.read_text()
    for heading, tried in (("Python", True), ("Node", True), ("Go", True), ("PHP", False), ("Ruby", False)):
        section = text.split(f"### {heading}\n")[1].split("\n### ")[0].split("\n## ")[0]
        assert ("**Not tried**" in section) is not tried, heading
