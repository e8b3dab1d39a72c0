"""``greenroom token``: get tokens, and look into them."""

from __future__ import annotations

from greenroom.cli.exits import Exit
from tests.cli.running import as_backend, run, run_here
from tests.server.harness import running_service
from tests.server.http_service import claims_of


async def test_tokens() -> None:
    async with running_service() as running:
        app = await running.new_application()
        own = {"GREENROOM_URL": running.url, "GREENROOM_APP_KEY": app.key, "GREENROOM_APP_SECRET": app.secret}

        api = await run("token", "api", "--scope", "sessions:read", "--expires-in", "60", **own)
        assert api.code == 0
        claims = claims_of(api.out.strip())
        assert (claims["app"], claims["scope"], claims["exp"] - claims["iat"]) == (app.key, "sessions:read", 60)

        client = (await run("token", "client", "--external-id", "Žofie", "--json", **own)).json
        assert client["expires_in"] == 3_600
        assert claims_of(client["access_token"])["xid"] == "Žofie"
        assert claims_of(client["access_token"])["sub"] == app.participant_id("Žofie")

        wrong = await run("token", "api", **own | {"GREENROOM_APP_SECRET": "wrong"})
        assert (wrong.code, wrong.out) == (Exit.CREDENTIALS, "")


def test_tokens_need_key_and_secret() -> None:
    for verb in ("api", "client"):
        ran = run_here("token", verb)
        assert (ran.code, "GREENROOM_APP_KEY" in ran.err) == (Exit.USAGE, True)


async def test_inspect_reads_a_token_from_stdin_and_verifies_it() -> None:
    async with running_service() as running:
        app = await running.new_application()
        token = app.token("anna")
        plain = (await run("token", "inspect", "--json", stdin=token + "\n")).json
        assert plain["xid"] == "anna"
        assert "signature" not in plain
        verified = await run("token", "inspect", token, "--verify", "--json", "--url", running.url)
        assert verified.json["signature"] == "good"
        people = await run("token", "inspect", token, "--verify", "--url", running.url)
        assert "anna" in people.out
        head, body, signature = token.split(".")
        forged = f"{head}.{body}.{signature[:-4]}AAAA"
        refused = await run("token", "inspect", forged, "--verify", "--url", running.url)
        assert (refused.code, refused.out) == (Exit.CREDENTIALS, "")
        assert forged not in refused.err


async def test_how_long_a_token_lives_is_a_duration_of_a_day_at_most() -> None:
    async with running_service() as running:
        app = await running.new_application()
        hour = (await as_backend(running, app, "token", "client", "--expires-in", "1h", "--json")).json
        assert hour["expires_in"] == 3_600
    for given, said in (("2d", "not between 1 and 86400 seconds"), ("soon", "is not a duration")):
        ran = run_here("token", "api", "--expires-in", given)
        assert (ran.code, said in ran.err) == (Exit.USAGE, True)


async def test_a_scope_that_there_is_not_is_refused_with_those_that_there_are() -> None:
    async with running_service() as running:
        app = await running.new_application()
        ran = await as_backend(running, app, "token", "client", "--scope", "fly")
    assert (ran.code, ran.err.count("\n")) == (Exit.USAGE, 1)
    assert "The scope fly does not exist here. Allowed: *, conf:create" in ran.err


async def test_a_token_alone_is_on_stdout_where_a_shell_takes_it() -> None:
    async with running_service() as running, running.connect() as client:
        app = await running.new_application()
        ran = await as_backend(running, app, "token", "client", "--external-id", "anna")
        assert (ran.err, ran.out.count("\n")) == ("", 1)
        assert (await client.open(ran.out.strip())).participant["externalId"] == "anna"
