"""Verbs against a running service, over HTTP."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from greenroom.cli.discovery import DEFAULT_URL, find_admin_token, find_url
from greenroom.cli.exits import Exit
from tests.cli.running import Ran, run, run_here
from tests.compat.clients import make_authority
from tests.server.harness import RunningService, running_service
from tests.server.http_service import claims_of


async def admin(running: RunningService, *arguments: str) -> Ran:
    """A verb that finds the admin token in the data directory."""
    return await run(*arguments, "--url", running.url, "--data", running.data_dir)


async def test_apps() -> None:
    async with running_service() as running:
        empty = await admin(running, "apps", "list")
        assert (empty.code, "no applications yet" in empty.out) == (0, True)

        app = (await admin(running, "apps", "create", "My [bold]app[/]", "--json")).json
        assert app.keys() == {"appKey", "appSecret", "name"}
        assert app["name"] == "My [bold]app[/]"

        (listed,) = (await admin(running, "apps", "list", "--json")).json
        assert (listed["appKey"], listed["state"]) == (app["appKey"], "enabled")
        table = (await admin(running, "apps", "list")).out
        # A name is never taken for markup.
        assert "My [bold]app[/]" in table
        assert app["appKey"] in table

        rotated = (await admin(running, "apps", "rotate-secret", app["appKey"], "--overlap", "60", "--json")).json
        assert rotated["appSecret"] != app["appSecret"]
        for verb, state in (("disable", "disabled"), ("enable", "enabled")):
            assert (await admin(running, "apps", verb, app["appKey"], "--json")).json["state"] == state
            assert state in (await admin(running, "apps", verb, app["appKey"])).out


async def test_apps_create_for_people_says_that_the_secret_is_not_shown_again() -> None:
    async with running_service() as running:
        ran = await admin(running, "apps", "create", "Test")
        assert ran.code == 0
        (app,) = running.service.tenants.applications
        assert app.key in ran.out
        assert "not shown again" in ran.out


async def test_refusals_have_their_exit_codes() -> None:
    async with running_service() as running:
        missing = await admin(running, "apps", "disable", "unknown")
        assert (missing.code, missing.out) == (Exit.NOT_FOUND, "")
        assert missing.err.startswith("greenroom: There is no application of that key.")
        assert (await admin(running, "apps", "create", "")).code == Exit.USAGE
        wrong = await run("apps", "list", "--url", running.url, GREENROOM_ADMIN_TOKEN="x" * 20)
        assert (wrong.code, wrong.err.count("\n")) == (Exit.CREDENTIALS, 1)


async def test_keys_and_status() -> None:
    async with running_service() as running:
        (key,) = (await admin(running, "keys", "list", "--json")).json
        assert key["state"] == "current"
        assert [one["state"] for one in (await admin(running, "keys", "rotate", "--json")).json] == [
            "upcoming",
            "current",
        ]
        assert key["kid"] in (await admin(running, "keys", "list")).out
        status = (await admin(running, "status", "--json")).json
        assert status["url"] == running.url
        assert running.url in (await admin(running, "status")).out


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


@pytest.mark.parametrize("text", ["", "x", "a.b", "a.b.c", "....", "e30.WzFd.x"])
def test_inspect_what_is_no_token(text: str) -> None:
    ran = run_here("token", "inspect", text)
    assert (ran.code, ran.err.count("\n")) == (Exit.USAGE, 1)


async def test_a_page_that_is_not_greenroom_is_said_to_be_so() -> None:
    import asyncio

    async def other(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\nConnection: close\r\n\r\n<html>")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(other, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    ran = await run("status", "--url", url, GREENROOM_ADMIN_TOKEN="x" * 20)
    server.close()
    await server.wait_closed()
    assert (ran.code, "not Greenroom" in ran.err) == (Exit.UNREACHABLE, True)


def test_the_url_is_the_option_else_the_running_service_s_else_the_default(tmp_path: Path) -> None:
    assert find_url(None, tmp_path) == DEFAULT_URL
    note = tmp_path / "service.json"
    note.write_text(json.dumps({"url": "http://127.0.0.1:4711", "pid": os.getpid()}))
    assert find_url(None, tmp_path) == "http://127.0.0.1:4711"
    assert find_url("https://x.example/", tmp_path) == "https://x.example"
    # A service that is gone has left its note. No process has a number above 2^22 (Linux, PID_MAX_LIMIT).
    note.write_text(json.dumps({"url": "http://127.0.0.1:4711", "pid": 2**22 + 1}))
    assert find_url(None, tmp_path) == DEFAULT_URL
    note.write_text("{")
    assert find_url(None, tmp_path) == DEFAULT_URL


async def test_settings_of_an_application() -> None:
    async with running_service() as running:
        app = await running.new_application()
        shown = await admin(running, "apps", "settings", app.key)
        assert "policy.maxSessions" in shown.out
        changes = ("policy.maxSessions=3", "policy.whenFull=replace_oldest", 'allowedOrigins=["https://app.example"]')
        options = [part for change in changes for part in ("--set", change)]
        changed = (await admin(running, "apps", "settings", app.key, *options, "--json")).json
        assert changed["policy"] == {"maxSessions": 3, "whenFull": "replace_oldest", "sameDevice": "replace"}
        assert app.application.settings.allowed_origins == ("https://app.example",)
        for bad in ("policy.maxSessions", "=3", "policy.maxSessions=many", "unknown=1"):
            ran = await admin(running, "apps", "settings", app.key, "--set", bad)
            assert (ran.code, ran.err.count("\n")) == (Exit.USAGE, 1), bad
        both = await admin(running, "apps", "settings", app.key, "--set", "policy=1", "--set", "policy.maxSessions=1")
        assert (both.code, both.err.count("\n")) == (Exit.USAGE, 1)


async def test_a_service_with_tls_is_trusted_by_its_authority_alone(tmp_path: Path) -> None:
    authority = make_authority(tmp_path)
    tls = {"tls_cert": str(tmp_path / "server.pem"), "tls_key": str(tmp_path / "server.key")}
    async with running_service(**tls) as running:
        assert running.url.startswith("https://127.0.0.1:")
        trusted = await run(
            "keys", "list", "--url", running.url, "--data", running.data_dir, SSL_CERT_FILE=str(authority)
        )
        assert trusted.code == Exit.DONE
        refused = await run("keys", "list", "--url", running.url, "--data", running.data_dir)
        assert (refused.code, refused.err.count("\n")) == (Exit.UNREACHABLE, 1)
        assert "certificate" in refused.err.lower()
        assert "SSL_CERT_FILE" in refused.err


async def test_draining_the_only_node_asks_first() -> None:
    async with running_service() as running:
        refused = await admin(running, "drain")
        assert (refused.code, "only node" in refused.out + refused.err) == (1, True)
        assert (await admin(running, "status", "--json")).json["notReady"] is None


async def test_the_health_check_needs_neither_url_nor_token(tmp_path: Path) -> None:
    async with running_service() as running:
        port = running.url.rpartition(":")[2]
        proxy = {"http_proxy": "http://127.0.0.1:9", "HTTP_PROXY": "http://127.0.0.1:9"}
        alive = await run("status", "--local", "--json", GREENROOM_PORT=port, GREENROOM_HOST="0.0.0.0", **proxy)
        assert alive.json == {"status": "ok"}
    gone = await run("status", "--local", GREENROOM_PORT=port)
    assert gone.code == Exit.UNREACHABLE


def test_the_version() -> None:
    ran = run_here("--version")
    assert (ran.code, ran.out.startswith("greenroom ")) == (0, True)


def test_secrets_of_the_command_line_may_be_in_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the service's: one container runs both."""
    secret = tmp_path / "secret"
    secret.write_text("an-admin-token-of-mine\n")
    monkeypatch.setenv("GREENROOM_ADMIN_TOKEN_FILE", f"{secret}\n")
    assert find_admin_token(None, None) == "an-admin-token-of-mine"
    assert find_admin_token("another", None) == "another"
    missing = {"GREENROOM_APP_SECRET_FILE": str(tmp_path / "none")}
    ran = run_here("token", "api", "--key", "k", "--url", "http://127.0.0.1:1", **missing)
    assert (ran.code, ran.err.count("\n")) == (Exit.USAGE, 1)
    assert "GREENROOM_APP_SECRET_FILE names" in ran.err
    found = {"GREENROOM_APP_SECRET_FILE": str(secret)}
    ran = run_here("token", "api", "--key", "k", "--url", "http://127.0.0.1:1", **found)
    assert ran.code == Exit.UNREACHABLE, "there is a secret, and nobody to ask"
