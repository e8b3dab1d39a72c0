"""The dispatcher on real sockets: what it takes, what it refuses, and in which words."""

from __future__ import annotations

import asyncio
import logging

import pytest

from greenroom.server.http import dispatcher as http
from greenroom.server.http.routes import MAX_BODY_BYTES, Call, Nothing, Route
from tests.server.http_service import ADMIN_TOKEN, Site, basic, http_site, request_bytes
from tests.support.patience import PATIENCE

FORM = "application/x-www-form-urlencoded"


async def api_token(site: Site) -> str:
    """An API token with all scopes."""
    app, secret = await site.service.tenants.create_application("Test")
    reply = await site.form("/v1/auth/token", "grant_type=client_credentials", Authorization=basic(app.key, secret))
    return str(reply.json["access_token"])


# --- paths and methods ------------------------------------------------------------------------------------------------


async def test_an_unknown_path_is_404_in_the_one_error_body() -> None:
    async with http_site() as site:
        error = (await site.send("GET", "/nothing/here")).error
        assert error["error_reason"] == "Not_found"


async def test_a_wrong_method_is_405_with_allow() -> None:
    async with http_site() as site:
        reply = await site.send("DELETE", "/v1/auth/token")
        assert reply.status == 405
        assert reply.error["error_reason"] == "Method_not_allowed"
        assert reply.headers["allow"] == "POST, OPTIONS"


async def test_head_answers_as_get_without_the_body() -> None:
    async with http_site() as site, site.wire() as wire:
        await wire.send(request_bytes("HEAD", "/healthz"))
        head = await wire.reply(head=True)
        await wire.send(request_bytes("GET", "/healthz"))
        get = await wire.reply()
        assert head.status == get.status == 200
        assert head.headers["content-length"] == get.headers["content-length"]


async def test_head_of_an_unknown_path_has_no_body_either() -> None:
    async with http_site() as site, site.wire() as wire:
        await wire.send(request_bytes("HEAD", "/nothing"))
        assert (await wire.reply(head=True)).status == 404
        await wire.send(request_bytes("GET", "/healthz"))
        assert (await wire.reply()).json == {"status": "ok"}


async def test_options_lists_the_methods() -> None:
    async with http_site() as site:
        reply = await site.send("OPTIONS", "/healthz")
        assert (reply.status, reply.body) == (204, b"")
        assert reply.headers["allow"] == "GET, HEAD, OPTIONS"
        assert "access-control-allow-origin" not in reply.headers
        assert (await site.send("OPTIONS", "/nothing")).status == 404
        assert (await site.send("OPTIONS", "*")).status == 204


async def test_preflight_of_token_endpoints_allows_any_origin_without_credentials() -> None:
    async with http_site() as site:
        asks = {"Origin": "https://app.example", "Access-Control-Request-Method": "POST"}
        reply = await site.send("OPTIONS", "/v2/client-access-token", headers=asks)
        assert reply.status == 204
        assert reply.headers["access-control-allow-origin"] == "*"
        assert reply.headers["access-control-allow-methods"] == "POST, OPTIONS"
        assert reply.headers["access-control-allow-headers"] == "Authorization, Content-Type"
        assert "access-control-allow-credentials" not in reply.headers


async def test_answers_of_token_endpoints_can_be_read_by_pages_refusals_too() -> None:
    async with http_site() as site:
        reply = await site.form("/v1/auth/token", "")
        assert reply.status == 401
        assert reply.headers["access-control-allow-origin"] == "*"


async def test_the_admin_api_cannot_be_read_by_pages() -> None:
    async with http_site() as site:
        reply = await site.admin("GET", "/applications")
        assert reply.status == 200
        assert not [name for name in reply.headers if name.startswith("access-control")]


async def test_no_answer_reveals_what_it_is_made_with() -> None:
    async with http_site() as site:
        for path in ("/healthz", "/nothing"):
            assert (await site.send("GET", path)).headers["server"] == "greenroom"


@pytest.mark.parametrize(
    ("target", "status"),
    [
        ("http://greenroom.test/healthz", 200),
        ("/healthz?x=y&token=z", 200),
        ("/healthz/", 404),
        ("//healthz", 404),
        ("/./healthz", 404),
        ("/admin/../healthz", 404),
        ("/%68ealthz", 404),
        ("/healthz%00", 404),
        ("/healthz;x=y", 404),
        ("/HEALTHZ", 404),
    ],
)
async def test_a_path_is_matched_as_it_is_written(target: str, status: int) -> None:
    async with http_site() as site:
        assert (await site.send("GET", target)).status == status


@pytest.mark.parametrize("hosts", [b"", b"Host: a\r\nHost: b\r\n"])
async def test_http_1_1_has_exactly_one_host(hosts: bytes) -> None:
    async with http_site() as site, site.wire() as wire:
        await wire.send(b"GET /healthz HTTP/1.1\r\n" + hosts + b"\r\n")
        assert (await wire.reply()).json["error_reason"] == "Illegal_argument"
        assert await wire.at_end()


async def test_http_1_0_needs_no_host() -> None:
    async with http_site() as site, site.wire() as wire:
        await wire.send(b"GET /healthz HTTP/1.0\r\n\r\n")
        assert (await wire.reply()).status == 200
        assert await wire.at_end()


# --- bodies -----------------------------------------------------------------------------------------------------------

MALFORMED_JSON = {
    "nothing": b"",
    "spaces": b" \r\n\t ",
    "a word": b"hello",
    "cut": b'{"externalId": "an',
    "cut escape": b'{"externalId": "\\u00',
    "two documents": b"{} {}",
    "trailing comma": b'{"externalId": "anna",}',
    "comment": b'{"externalId": "anna" /* me */}',
    "single quotes": b"{'externalId': 'anna'}",
    "bare key": b'{externalId: "anna"}',
    "byte order mark": b"\xef\xbb\xbf{}",
    "trailing nul": b"{}\x00",
    "control character": b'{"externalId": "an\nna"}',
    "NaN": b'{"expiresIn": NaN}',
    "Infinity": b'{"expiresIn": Infinity}',
    "leading zero": b'{"expiresIn": 0600}',
    "plus sign": b'{"expiresIn": +600}',
    "hexadecimal": b'{"expiresIn": 0x10}',
    "UTF-16": '{"externalId": "anna"}'.encode("utf-16"),
    "ISO-8859-1": '{"externalId": "andré"}'.encode("latin-1"),
    "ISO-8859-1 in an unknown member": '{"zzz": "andré"}'.encode("latin-1"),
    "overlong UTF-8": b'{"externalId": "\xc0\xaf"}',
    "surrogate in UTF-8": b'{"externalId": "\xed\xa0\x80"}',
    "lone surrogate": b'{"externalId": "\\ud800"}',
    "lone low surrogate": b'{"externalId": "\\udc00"}',
    "lone surrogate in an unknown member": b'{"zzz": "\\ud800x"}',
    "deep arrays": b"[" * 16_000,
    "deep arrays in an unknown member": b'{"zzz": ' + b"[" * 8_000 + b"]" * 8_000 + b"}",
    "deep objects": b'{"a":' * 2_000 + b"1" + b"}" * 2_000,
    "a member twice": b'{"externalId": "anna", "externalId": "bob"}',
    "an unknown member twice": b'{"a": 1, "a": 2}',
    "a member twice, escaped": b'{"externalId": "anna", "external\\u0049d": "bob"}',
    "an array": b"[]",
    "a string": b'"externalId"',
    "a number": b"1",
    "null": b"null",
    "true": b"true",
    "number for text": b'{"externalId": 1}',
    "array for text": b'{"sessionScope": ["conf:create"]}',
    "object for text": b'{"externalId": {}}',
    "text for number": b'{"expiresIn": "600"}',
    "fraction": b'{"expiresIn": 600.5}',
    "whole fraction": b'{"expiresIn": 600.0}',
    "exponent": b'{"expiresIn": 6e2}',
    "true for number": b'{"expiresIn": true}',
    "huge number": b'{"expiresIn": ' + b"9" * 10_000 + b"}",
    "huge exponent": b'{"expiresIn": 1e999999}',
}


@pytest.mark.parametrize("name", MALFORMED_JSON)
async def test_malformed_json_is_400_and_the_service_lives_on(name: str) -> None:
    async with http_site() as site:
        token = await api_token(site)
        reply = await site.json(
            "POST", "/v2/client-access-token", MALFORMED_JSON[name], Authorization=f"Bearer {token}"
        )
        assert reply.status == 400
        assert (reply.error["error"], reply.error["error_code"]) == ("invalid_request", 90)
        assert reply.error["error_reason"] == "Illegal_argument"
        assert (await site.send("GET", "/healthz")).status == 200


MALFORMED_FORMS = {
    "half percent": b"grant_type=%6",
    "no percent": b"grant_type=100%",
    "not UTF-8": b"grant_type=client_credentials&scope=%ff",
    "raw ISO-8859-1": "grant_type=client_credentials&scope=é".encode("latin-1"),
    "a field twice": b"grant_type=client_credentials&grant_type=client_credentials",
    "a field twice, encoded": b"scope=a&%73cope=b&grant_type=client_credentials",
    "too many fields": b"&".join(b"a=1" for _ in range(101)),
    "JSON": b'{"grant_type": "client_credentials"}',
}


@pytest.mark.parametrize("name", MALFORMED_FORMS)
async def test_malformed_forms_are_400(name: str) -> None:
    async with http_site() as site:
        app, secret = await site.service.tenants.create_application("Test")
        headers = {"Content-Type": FORM, "Authorization": basic(app.key, secret)}
        reply = await site.send("POST", "/v1/auth/token", MALFORMED_FORMS[name], headers)
        assert reply.status == 400
        assert (reply.error["error"], reply.error["error_code"]) == ("invalid_request", 90)


@pytest.mark.parametrize(
    ("content_type", "status"),
    [
        ("application/json", 200),
        ("application/json; charset=utf-8", 200),
        ('Application/JSON;charset="UTF-8"', 200),
        ("application/json; charset=iso-8859-1", 415),
        ("text/plain", 415),
        ("multipart/form-data", 415),
        ("application/jsonp", 415),
        ("", 415),
        (None, 415),
    ],
)
async def test_only_the_declared_content_type_is_taken(content_type: str | None, status: int) -> None:
    async with http_site() as site:
        headers = {"Authorization": f"Bearer {await api_token(site)}"}
        if content_type is not None:
            headers["Content-Type"] = content_type
        reply = await site.send("POST", "/v2/client-access-token", b"{}", headers)
        assert reply.status == status
        if status == 415:
            assert reply.error["error_reason"] == "Unsupported_media_type"
            assert "Content-Type: application/json" in reply.error["error_description"]


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "identity, gzip"])
async def test_a_compressed_body_is_not_unpacked(encoding: str) -> None:
    async with http_site() as site:
        headers = {
            "Authorization": f"Bearer {await api_token(site)}",
            "Content-Type": "application/json",
            "Content-Encoding": encoding,
        }
        reply = await site.send("POST", "/v2/client-access-token", b"{}", headers)
        assert reply.status == 415


async def test_a_body_that_says_it_is_too_large_is_413_before_it_is_read() -> None:
    async with http_site() as site, site.wire() as wire:
        headers = {
            "Authorization": f"Bearer {await api_token(site)}",
            "Content-Type": "application/json",
            "Content-Length": str(MAX_BODY_BYTES + 1),
        }
        await wire.send(request_bytes("POST", "/v2/client-access-token", b"", headers))
        reply = await wire.reply()
        assert (reply.status, reply.error["error_reason"]) == (413, "Body_too_large")
        assert reply.headers["connection"] == "close"


async def test_a_chunked_body_is_413_when_it_has_grown_too_large() -> None:
    async with http_site() as site, site.wire() as wire:
        headers = {
            "Authorization": f"Bearer {await api_token(site)}",
            "Content-Type": "application/json",
            "Transfer-Encoding": "chunked",
        }
        await wire.send(request_bytes("POST", "/v2/client-access-token", None, headers))
        await wire.send(b"%x\r\n" % MAX_BODY_BYTES + b" " * MAX_BODY_BYTES + b"\r\n")
        await wire.send(b"2\r\n{}\r\n0\r\n\r\n")
        assert (await wire.reply()).status == 413


async def test_the_largest_body_that_is_taken() -> None:
    async with http_site() as site:
        body = b"{}".ljust(MAX_BODY_BYTES)
        token = await api_token(site)
        reply = await site.json("POST", "/v2/client-access-token", body, Authorization=f"Bearer {token}")
        assert reply.status == 200


async def test_a_body_that_does_not_come_is_408(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "BODY_TIMEOUT", 0.05)
    async with http_site() as site, site.wire() as wire:
        headers = {
            "Authorization": f"Bearer {await api_token(site)}",
            "Content-Type": "application/json",
            "Content-Length": "10",
        }
        await wire.send(request_bytes("POST", "/v2/client-access-token", b"{", headers))
        reply = await wire.reply()
        assert (reply.status, reply.error["error_reason"]) == (408, "Request_timeout")


async def test_expect_100_continue() -> None:
    async with http_site() as site, site.wire() as wire:
        headers = {
            "Authorization": f"Bearer {await api_token(site)}",
            "Content-Type": "application/json",
            "Content-Length": "2",
            "Expect": "100-continue",
        }
        await wire.send(request_bytes("POST", "/v2/client-access-token", b"", headers))
        async with asyncio.timeout(PATIENCE):
            assert (await wire.line()).startswith("HTTP/1.1 100")
        await wire.send(b"{}")
        assert (await wire.reply()).status == 200


async def test_another_expectation_is_417() -> None:
    async with http_site() as site:
        headers = {"Content-Type": FORM, "Expect": "the-unexpected", "Authorization": f"Bearer {ADMIN_TOKEN}"}
        assert (await site.send("POST", "/admin/v1/applications", b"{}", headers)).status == 417


async def test_a_body_cut_as_the_platforms_node_client_cuts_it_is_a_clean_400() -> None:
    # Its Content-Length counts UTF-16 units, so the last bytes come after the body's end.
    body = '{"sessionScope":"*","externalId":"Žofie Čermáková"}'
    async with http_site() as site:
        token = await api_token(site)
        async with site.wire() as wire:
            headers = {
                "Authorization": f"bearer {token}",
                "Content-Type": "application/json",
                "Content-Length": str(len(body)),
            }
            await wire.send(request_bytes("POST", "/v2/client-access-token", body.encode(), headers))
            reply = await wire.reply()
            assert reply.status == 400
            assert reply.error["error_code"] == 90
            assert "Content-Length" in reply.error["error_description"]
            # What is left of the body must not become the beginning of someone's next request.
            assert await wire.at_end()
        assert (await site.send("GET", "/healthz")).status == 200


async def test_a_body_where_none_belongs_is_ignored() -> None:
    async with http_site() as site, site.wire() as wire:
        await wire.send(request_bytes("GET", "/healthz", b"anything"))
        assert (await wire.reply()).status == 200
        await wire.send(request_bytes("GET", "/healthz"))
        assert (await wire.reply()).status == 200


async def test_pipelined_requests_are_answered_in_order() -> None:
    async with http_site() as site, site.wire() as wire:
        await wire.send(
            request_bytes("GET", "/healthz") + request_bytes("GET", "/nothing") + request_bytes("GET", "/readyz")
        )
        assert [(await wire.reply()).status for _ in range(3)] == [200, 404, 200]


# --- what is not HTTP -------------------------------------------------------------------------------------------------

NOT_HTTP = {
    "garbage": b"\x00\x01\x02\x03\r\n\r\n",
    "bad version": b"GET /healthz HTTP/x\r\nHost: a\r\n\r\n",
    "space in the path": b"GET /health z HTTP/1.1\r\nHost: a\r\n\r\n",
    "header without colon": b"GET /healthz HTTP/1.1\r\nHost a\r\n\r\n",
    "space before the colon": b"GET /healthz HTTP/1.1\r\nHost : a\r\n\r\n",
    "folded header": b"GET /healthz HTTP/1.1\r\nHost: a\r\n b\r\n\r\n",
    "nul in a header": b"GET /healthz HTTP/1.1\r\nHost: a\x00b\r\n\r\n",
    "two lengths": b"POST /v1/auth/token HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    "length and chunked": b"POST /v1/auth/token HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "negative length": b"POST /v1/auth/token HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
    "plus length": b"POST /v1/auth/token HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\n",
    "huge header": b"GET /healthz HTTP/1.1\r\nX-Large: " + b"a" * 70_000 + b"\r\n\r\n",
    "long path": b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n",
}


@pytest.mark.parametrize("name", NOT_HTTP)
async def test_what_is_not_http_gets_the_one_error_body_and_the_connection_is_closed(name: str) -> None:
    async with http_site() as site, site.wire() as wire:
        await wire.send(NOT_HTTP[name])
        reply = await wire.reply()
        assert 400 <= reply.status < 500
        assert reply.headers["content-type"] == "application/json"
        # Some the front door refuses, some aiohttp's parser.
        assert reply.json["type"] == "ErrorResponse"
        assert reply.json["error_reason"] in ("Illegal_argument", "Malformed_request", "Bad_request", "Head_too_large")
        assert await wire.at_end()


async def test_a_bad_chunk_is_400() -> None:
    async with http_site() as site, site.wire() as wire:
        headers = {
            "Authorization": f"Bearer {await api_token(site)}",
            "Content-Type": "application/json",
            "Transfer-Encoding": "chunked",
        }
        await wire.send(request_bytes("POST", "/v2/client-access-token", None, headers) + b"zz\r\n{}\r\n0\r\n\r\n")
        reply = await wire.reply()
        assert reply.status == 400
        assert reply.error["error_reason"] == "Illegal_argument"


RAW_BYTES = {
    "path": (b"/admin/v1/applications/\xff\xfe", b"Bearer " + ADMIN_TOKEN.encode(), 400),
    "encoded path": (b"/admin/v1/applications/%ff", b"Bearer " + ADMIN_TOKEN.encode(), 400),
    "surrogates in the path": (b"/admin/v1/applications/%ed%a0%80", b"Bearer " + ADMIN_TOKEN.encode(), 400),
    "query": (b"/v1/participants?limit=\xff", b"Bearer x", 400),
    "bearer": (b"/admin/v1/status", b"Bearer \xff\xfe", 401),
    "basic": (b"/admin/v1/status", b"Basic \xff\xfe", 401),
    "scheme": (b"/admin/v1/status", b"\xff\xfe", 401),
}


@pytest.mark.parametrize("name", RAW_BYTES)
async def test_raw_bytes_where_text_belongs_are_refused(name: str) -> None:
    path, authorization, status = RAW_BYTES[name]
    async with http_site() as site, site.wire() as wire:
        await wire.send(b"GET " + path + b" HTTP/1.1\r\nHost: a\r\nAuthorization: " + authorization + b"\r\n\r\n")
        reply = await wire.reply()
        assert (reply.status, reply.json["type"]) == (status, "ErrorResponse")


async def test_a_later_head_that_is_too_large_is_refused_once(caplog: pytest.LogCaptureFixture) -> None:
    # Found by schemathesis: aiohttp refused the long line, the front door the long head, on top of one another.
    async with http_site() as site, site.wire() as wire:
        await wire.send(request_bytes("GET", "/healthz"))
        assert (await wire.reply()).status == 200
        await wire.send(b"GET /" + b"a" * 9_000)
        await wire.send(b"a" * 9_000)
        reply = await wire.reply()
        assert (reply.status, reply.json["error_reason"]) == (431, "Head_too_large")
        assert await wire.at_end()
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []


# --- what goes wrong inside -------------------------------------------------------------------------------------------


async def _fails(_call: Call[Nothing, Nothing, Nothing]) -> Nothing:
    """Fails in a way nobody expected."""
    raise KeyError("the secret is hunter2")


async def test_an_unexpected_error_is_500_without_details_and_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    rows = [Route(method="GET", path="/fails", handler=_fails, summary="Fails", tag="test")]
    async with http_site(None, rows) as site:
        with caplog.at_level(logging.ERROR, "greenroom.http"):
            reply = await site.send("GET", "/fails?token=hunter3")
    assert reply.status == 500
    assert reply.error["error"] == "server_error"
    assert b"hunter" not in reply.body
    assert "KeyError" in caplog.text
    assert "hunter3" not in caplog.text


async def test_not_ready_is_503_with_retry_after_and_the_reason() -> None:
    async with http_site() as site:
        assert (await site.send("GET", "/readyz")).json == {"status": "ready"}
        site.service.why_not_ready = "draining"
        reply = await site.send("GET", "/readyz")
        assert reply.status == 503
        assert int(reply.headers["retry-after"]) > 0
        assert "draining" in reply.error["error_description"]
        assert (await site.send("GET", "/healthz")).status == 200


async def test_an_engine_that_is_away_makes_the_node_not_ready() -> None:
    async with http_site() as site:
        site.service.fake_engine.broken = "The engine cannot be reached."
        assert (await site.send("GET", "/readyz")).status == 503
        assert (await site.send("GET", "/healthz")).status == 200


async def test_the_key_set_is_public_and_may_be_kept_for_a_while() -> None:
    async with http_site() as site:
        reply = await site.send("GET", "/.well-known/jwks.json")
        assert reply.status == 200
        assert reply.headers["cache-control"] == "public, max-age=300"
        assert reply.headers["access-control-allow-origin"] == "*"
        (key,) = reply.json["keys"]
        assert key.keys() == {"kty", "crv", "x", "kid", "alg", "use"}
