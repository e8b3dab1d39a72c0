"""The platform's own public clients work unchanged, pointed at the service by the migration guide's recipes."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from greenroom import Greenroom, ParticipantInfo
from greenroom.model import participant_id_of
from greenroom.server.config import ServerConfig, check
from greenroom.server.service import Service
from greenroom.tokens import API_SCOPES, SESSION_SCOPES, TokenKind, VerifiedToken, mint_client_token, verify
from tests.compat.clients import Deployment, free_address, make_authority, node_client, python_client

pytestmark = pytest.mark.slow

PYTHON = ("4.0.1", "3.7.1")
NODE = ("4.1.0", "3.6.1")
UTF8_NAME = "Žofie Čermáková 🙂"


class Site:
    """A service behind TLS under the platform's names, with one application."""

    def __init__(self, service: Service, authority: Path, key: str, secret: str) -> None:
        self.service = service
        self.key = key
        self.secret = secret
        host, _, port = service.url.rpartition("/")[2].rpartition(":")
        self.clients = Deployment(host, int(port), authority)

    def verified(self, token: str, kind: TokenKind) -> VerifiedToken:
        """What the service itself says of a token that a client got."""
        tenants = self.service.tenants
        return verify(token, tenants.keys.ring, kind=kind, issuer=self.service.issuer, now=tenants.now())


@asynccontextmanager
async def running_site(folder: Path) -> AsyncIterator[Site]:
    """A real service with TLS on loopback, at the port that the clients ask where it can be had."""
    host, port = free_address()
    authority = make_authority(folder, host)
    config = ServerConfig(
        host=host,
        port=port,
        data_dir=str(folder / "data"),
        tls_cert=str(folder / "server.pem"),
        tls_key=str(folder / "server.key"),
    )
    check(config)
    service = Service(config)
    await service.start()
    try:
        app, secret = await service.tenants.create_application("Compat")
        yield Site(service, authority, app.key, secret)
    finally:
        await service.stop()


@asynccontextmanager
async def member_of(site: Site, room: str) -> AsyncIterator[list[Any]]:
    """Anna is in the room. The messages that she gets."""
    tenants = site.service.tenants
    app = await site.service.engine.directory.application(site.key)
    assert app is not None
    minted = mint_client_token(
        tenants.keys.ring,
        issuer=site.service.issuer,
        app=site.key,
        version=2,
        scopes=SESSION_SCOPES,
        now=tenants.now(),
        random_bytes=tenants.random_bytes,
        participant_id=participant_id_of(app.namespace, "anna"),
        external_id="anna",
        life=600,
    )
    context = ssl.create_default_context(cafile=str(site.clients.authority))
    async with Greenroom(site.service.url, ssl_context=context) as sdk:
        sdk.initialize_token(minted.token, None)
        await sdk.session.open(ParticipantInfo(name="Anna"))
        joined = await sdk.rooms.join(room)
        received: list[Any] = []
        joined.on_message(lambda _sender, message: received.append(message))
        yield received


def check_token(result: dict[str, Any], life: int, scope: tuple[str, ...]) -> str:
    """The reply as the client gives it to its user; the token."""
    reply = result["token"]
    assert (reply["token_type"], reply["expires_in"], reply["scope"]) == ("Bearer", life, " ".join(scope))
    return str(reply["access_token"])


@pytest.mark.parametrize("version", PYTHON)
async def test_python_client_gets_api_and_client_access_tokens(version: str, tmp_path: Path) -> None:
    client = await asyncio.to_thread(python_client, version)
    async with running_site(tmp_path) as site:
        own = {"app_key": site.key, "app_secret": site.secret}
        results = await site.clients.python(
            client,
            [
                ("api", "get_api_token", own),
                ("narrow", "get_api_token", own | {"expires_in": 60, "scope": ["comms:client_access_token:create"]}),
                ("all", "get_client_access_token_v2", {"access_token": "$api", "session_scope": ["*"]}),
                (
                    "anna",
                    "get_client_access_token_v2",
                    {
                        "access_token": "$narrow",
                        "session_scope": ["conf:create", "session:update"],
                        "external_id": UTF8_NAME,
                        "expires_in": 600,
                    },
                ),
            ],
        )
        api = site.verified(check_token(results["api"], 1_800, API_SCOPES), TokenKind.API)
        assert api.app == site.key
        check_token(results["narrow"], 60, ("comms:client_access_token:create",))
        everyone = site.verified(check_token(results["all"], 3_600, ("*",)), TokenKind.CLIENT)
        assert everyone.external_id is None
        anna = site.verified(check_token(results["anna"], 600, ("conf:create", "session:update")), TokenKind.CLIENT)
        assert anna.external_id == UTF8_NAME


async def test_python_client_gets_a_v1_client_access_token(tmp_path: Path) -> None:
    client = await asyncio.to_thread(python_client, "3.7.1")
    async with running_site(tmp_path) as site:
        own = {"app_key": site.key, "app_secret": site.secret}
        results = await site.clients.python(
            client,
            [
                ("v1", "get_client_access_token", own),
                ("short", "get_client_access_token", own | {"expires_in": 60}),
                ("wrong", "get_client_access_token", own | {"app_secret": "wrong"}),
            ],
        )
        token = site.verified(check_token(results["v1"], 3_600, SESSION_SCOPES), TokenKind.CLIENT)
        assert token.version == 1
        check_token(results["short"], 60, SESSION_SCOPES)
        assert results["wrong"]["error"]["status_code"] == 401


@pytest.mark.parametrize("version", PYTHON)
async def test_python_client_reads_our_errors(version: str, tmp_path: Path) -> None:
    client = await asyncio.to_thread(python_client, version)
    async with running_site(tmp_path) as site:
        own = {"app_key": site.key, "app_secret": site.secret}
        results = await site.clients.python(
            client,
            [
                ("secret", "get_api_token", own | {"app_secret": "wrong"}),
                ("latin", "get_api_token", own | {"app_secret": "pässwörd"}),
                ("key", "get_api_token", own | {"app_key": "unknown"}),
                ("life", "get_api_token", own | {"expires_in": 86_401}),
                ("token", "get_client_access_token_v2", {"access_token": "nonsense", "session_scope": ["*"]}),
                ("blind", "get_api_token", own | {"scope": ["sessions:read"]}),
                ("scope", "get_client_access_token_v2", {"access_token": "$blind", "session_scope": ["*"]}),
            ],
        )
        errors = {name: result["error"] for name, result in results.items() if "error" in result}
        for error in errors.values():
            assert error["error_type"] == "ErrorResponse"
            assert error["error_description"]
        seen = {name: (e["status_code"], e["error_code"], e["error_reason"]) for name, e in errors.items()}
        assert seen == {
            "secret": (401, 89, "Invalid_token"),
            "latin": (401, 89, "Invalid_token"),
            "key": (401, 89, "Invalid_token"),
            "life": (400, 90, "Illegal_argument"),
            "token": (401, 89, "Invalid_token"),
            "scope": (403, 403, "Insufficient_scope"),
        }


@pytest.mark.parametrize("version", NODE)
async def test_node_client_gets_api_and_client_access_tokens(version: str, tmp_path: Path) -> None:
    client = await asyncio.to_thread(node_client, version)
    async with running_site(tmp_path) as site:
        own = [site.key, site.secret]
        wanted = {"accessToken": "$narrow", "sessionScope": ["conf:create"], "externalId": "anna"}
        results = await site.clients.node(
            client,
            [
                ("api", "getApiAccessToken", own),
                ("narrow", "getApiAccessToken", [*own, 60, ["comms:client_access_token:create"]]),
                ("all", "getClientAccessTokenV2", [{"accessToken": "$api", "sessionScope": ["*"]}]),
                ("anna", "getClientAccessTokenV2", [wanted | {"expiresIn": 600}]),
            ],
        )
        assert site.verified(check_token(results["api"], 1_800, API_SCOPES), TokenKind.API).app == site.key
        check_token(results["narrow"], 60, ("comms:client_access_token:create",))
        check_token(results["all"], 3_600, ("*",))
        anna = site.verified(check_token(results["anna"], 600, ("conf:create",)), TokenKind.CLIENT)
        assert anna.external_id == "anna"


async def test_node_client_gets_a_v1_client_access_token(tmp_path: Path) -> None:
    client = await asyncio.to_thread(node_client, "3.6.1")
    async with running_site(tmp_path) as site:
        own = [site.key, site.secret]
        results = await site.clients.node(
            client, [("v1", "getClientAccessToken", own), ("short", "getClientAccessToken", [*own, 60])]
        )
        token = site.verified(check_token(results["v1"], 3_600, SESSION_SCOPES), TokenKind.CLIENT)
        assert token.version == 1
        check_token(results["short"], 60, SESSION_SCOPES)


@pytest.mark.parametrize("version", NODE)
async def test_node_client_gets_our_errors(version: str, tmp_path: Path) -> None:
    client = await asyncio.to_thread(node_client, version)
    async with running_site(tmp_path) as site:
        results = await site.clients.node(
            client,
            [
                ("secret", "getApiAccessToken", [site.key, "pässwörd"]),
                ("api", "getApiAccessToken", [site.key, site.secret]),
                ("life", "getApiAccessToken", [site.key, site.secret, 86_401]),
                # Its Content-Length counts UTF-16 units: the body arrives cut.
                (
                    "cut",
                    "getClientAccessTokenV2",
                    [{"accessToken": "$api", "sessionScope": ["*"], "externalId": UTF8_NAME}],
                ),
                ("after", "getClientAccessTokenV2", [{"accessToken": "$api", "sessionScope": ["*"]}]),
            ],
        )
        wanted = {"secret": (401, 89, "Invalid_token"), "life": (400, 90, "Illegal_argument")}
        for name, (status, code, reason) in (wanted | {"cut": (400, 90, "Illegal_argument")}).items():
            head, _, body = results[name]["error"].partition(" and description: ")
            assert head == f"This request has been rejected with the response code {status}"
            error = json.loads(body)
            assert (error["error_code"], error["error_reason"]) == (code, reason)
        check_token(results["after"], 3_600, ("*",))


async def test_python_client_creates_fills_and_ends_a_conference(tmp_path: Path) -> None:
    client = await asyncio.to_thread(python_client, PYTHON[0])
    async with running_site(tmp_path) as site, member_of(site, "standup") as received:
        at = {"access_token": "$api", "conference_id": "@made"}
        results = await site.clients.python(
            client,
            [
                ("api", "get_api_token", {"app_key": site.key, "app_secret": site.secret}),
                (
                    "made",
                    "create_conference",
                    {
                        "access_token": "$api",
                        "owner_external_id": "owner",
                        "alias": "#StandUp",
                        "ttl": 60,
                        "participants": [["bob", ["JOIN"], True]],
                    },
                ),
                ("there", "list_participants", at),
                ("bob", "invite", at | {"participants": [["bob", ["JOIN"], True]]}),
                ("said", "send_message", at | {"from_external_id": "owner", "to_external_ids": [], "message": "Hello"}),
                ("kicked", "kick", at | {"external_ids": ["anna"]}),
                ("gone", "list_participants", at),
                ("other", "create_conference", {"access_token": "$api", "owner_external_id": "owner"}),
                ("empty", "list_participants", at | {"conference_id": "@other"}),
                ("over", "terminate", at | {"conference_id": "@other"}),
            ],
        )
        made = results["made"]["result"]
        assert made["conferenceAlias"] == "standup"
        assert site.verified(made["ownerToken"], TokenKind.CLIENT).external_id == "owner"
        assert site.verified(made["usersTokens"]["bob"], TokenKind.CLIENT).external_id == "bob"
        (anna,) = results["there"]["result"]["participants"]
        assert (anna["externalId"], anna["name"], anna["nbSession"]) == ("anna", "Anna", 1)
        assert list(results["bob"]["result"]) == ["bob"]
        # The room was opened by a join, without a ttl: it ended with its only member.
        assert results["gone"]["error"]["status_code"] == 404
        assert results["other"]["result"]["conferenceAlias"]
        assert results["empty"]["result"]["participants"] == []
        assert not [name for name, result in results.items() if "error" in result and name != "gone"]
        assert received == ["Hello"]


async def test_node_client_creates_fills_and_ends_a_conference(tmp_path: Path) -> None:
    client = await asyncio.to_thread(node_client, NODE[0])
    async with running_site(tmp_path) as site, member_of(site, "standup") as received:
        bob = {"externalId": "bob", "permissions": ["JOIN"], "notify": True}
        results = await site.clients.node(
            client,
            [
                ("api", "getApiAccessToken", [site.key, site.secret]),
                ("made", "createConference", ["$api", {"ownerExternalId": "owner", "alias": "standup"}]),
                ("there", "participants", ["$api", "@made"]),
                ("bob", "invite", ["$api", "@made", [bob]]),
                ("said", "sendMessage", ["$api", "@made", "owner", [], "Hello"]),
                ("kicked", "kick", ["$api", "@made", ["anna"]]),
                ("other", "createConference", ["$api", {"ownerExternalId": "owner"}]),
                ("over", "terminate", ["$api", "@other"]),
            ],
        )
        assert not [result for result in results.values() if "error" in result]
        (anna,) = results["there"]["result"]["participants"]
        assert (anna["externalId"], anna["nbSession"]) == ("anna", 1)
        assert received == ["Hello"]


async def test_a_service_that_the_authority_does_not_speak_for_is_not_trusted(tmp_path: Path) -> None:
    """That the tests name another host, and do not switch protection off."""
    other = tmp_path / "other"
    other.mkdir()
    stranger = make_authority(other)
    client = await asyncio.to_thread(node_client, NODE[0])
    async with running_site(tmp_path) as site:
        misled = Deployment(site.clients.host, site.clients.port, stranger)
        results = await misled.node(client, [("api", "getApiAccessToken", [site.key, site.secret])])
        assert "certificate" in results["api"]["error"]
