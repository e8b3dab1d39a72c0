"""``greenroom apps issuers`` and ``greenroom apps keys``."""

from __future__ import annotations

import json
from pathlib import Path

from greenroom.cli.exits import Exit
from tests.cli.running import as_backend, run
from tests.server.harness import running_service
from tests.server.issuers import AUDIENCE, ISSUER, SECRET, signer


async def test_issuers_are_added_listed_tested_and_removed(tmp_path: Path) -> None:
    key = signer("ES256")
    keys = tmp_path / "jwks.json"
    keys.write_text(json.dumps({"keys": [key.public]}))
    add = ("apps", "issuers", "add", ISSUER, "--audience")
    async with running_service() as running:
        tenant = await running.new_application()
        assert "There are no issuers." in (await as_backend(running, tenant, "apps", "issuers", "list")).out
        added = await as_backend(
            running, tenant, *add, AUDIENCE, "--algorithm", "ES256", "--jwks", str(keys), "--name-claim", "name",
            "--scope", "session:update", "--max-life", "2h", "--json",
        )  # fmt: skip
        assert (added.json["maxLife"], added.json["sessionScopes"]) == (7200, ["session:update"])
        one = tmp_path / "jwk.json"
        one.write_text(json.dumps(key.public))
        assert (
            "ES256 key-1"
            in (await as_backend(running, tenant, *add, "two", "--algorithm", "ES256", "--jwks", str(one))).out
        )
        secret = await run(
            *add, "three", "--url", running.url, "--key", tenant.key, "--secret", tenant.secret,
            GREENROOM_ISSUER_SECRET=SECRET,
        )  # fmt: skip
        assert (secret.code, "a shared secret" in secret.out, SECRET in secret.out) == (0, True, False)
        listed = (await as_backend(running, tenant, "apps", "issuers", "list")).out
        assert [name in listed for name in (AUDIENCE, "two", "three", "HS256")] == [True] * 4
        tested = await as_backend(running, tenant, "apps", "issuers", "test", key.token())
        assert (tested.code, "A session opens with this token." in tested.out) == (0, True)
        assert tenant.participant_id("auth0|anna") in tested.out
        bad = await as_backend(running, tenant, "apps", "issuers", "test", key.token()[:-4] + "AAAA")
        assert (bad.code, "signature is not good" in bad.out) == (1, True)
        assert (await as_backend(running, tenant, "apps", "issuers", "remove", added.json["id"])).out == "Removed.\n"
        assert AUDIENCE not in (await as_backend(running, tenant, "apps", "issuers", "list")).out
        nothing = await as_backend(running, tenant, *add, "four", "--jwks", str(tmp_path / "nothing"))
        assert (nothing.code, "cannot be read as JSON" in nothing.err) == (Exit.USAGE, True)
        away = await as_backend(running, tenant, *add, "five", "--jwks-url", "https://127.0.0.1/jwks")
        assert (away.code != 0, "private address" in away.err) == (True, True)


async def test_a_key_pair_is_made_here_and_its_private_half_printed_once() -> None:
    async with running_service() as running:
        tenant = await running.new_application()
        made = await as_backend(running, tenant, "apps", "keys", "generate", "--max-life", "1h")
        key = json.loads(made.out)
        assert {"kty", "crv", "x", "d", "kid", "alg", "iss", "aud"} == key.keys()
        assert "store it where your backend reads it" in made.err
        (listed,) = (await as_backend(running, tenant, "apps", "issuers", "list", "--json")).json
        assert (listed["issuer"], listed["maxLife"], listed["keys"][0]["kid"]) == (key["iss"], 3_600, key["kid"])
        assert listed["id"] in made.err
        assert key["d"] not in json.dumps(listed)
        other = (await as_backend(running, tenant, "apps", "keys", "generate", "--json")).json
        assert other["key"]["kid"] != key["kid"]


async def test_a_file_that_holds_no_keys(tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    file.write_text('"a text"')
    async with running_service() as running:
        tenant = await running.new_application()
        add = ("apps", "issuers", "add", ISSUER, "--audience", AUDIENCE, "--jwks", str(file))
        ran = await as_backend(running, tenant, *add)
        assert (ran.code, "holds neither a key set nor a JWK" in ran.err) == (Exit.USAGE, True)
