"""Names, avatar URLs and external ids of every kind, over the wire (platform.md).

What is accepted comes back as it is stored; what is refused names the field, and nothing of it is kept.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterable
from typing import Any

import pytest

from greenroom.codes import CloseCode, ErrorCode
from greenroom.server.http.routes import MAX_BODY_BYTES
from tests.fuzz.bare import Bare, bare, fuzzed_service, hello, nothing_alarming, opened
from tests.server.api_service import api_of
from tests.server.harness import Tenant

ILLEGAL = ErrorCode.ILLEGAL_ARGUMENT

CONTROLS = [chr(n) for n in (*range(0x20), *range(0x7F, 0xA0))]
BIDI = [chr(n) for n in (0x61C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A))]
NONCHARACTERS = [chr(n) for n in range(0xFDD0, 0xFDF0)] + [
    chr(p << 16 | n) for p in range(17) for n in (0xFFFE, 0xFFFF)
]
PRIVATE = [chr(n) for n in (0xE000, 0xE001, 0xF000, 0xF8FF, 0xF0000, 0xFFFFD, 0x100000, 0x10FFFD)]
SEPARATORS = ["\u2028", "\u2029"]
TAGS = [chr(n) for n in (0xE0001, *range(0xE0020, 0xE0080))]
FLAG = "\U0001f3f4"
WALES = FLAG + "".join(chr(0xE0000 + ord(letter)) for letter in "gbwls") + "\U000e007f"


def placed(characters: Iterable[str]) -> list[str]:
    """Each alone, in front, in the middle and at the end."""
    return [text for one in characters for text in (one, f"{one}Ada", f"A{one}da", f"Ada{one}")]


REFUSED_NAMES = [
    *placed((*CONTROLS, *BIDI, *NONCHARACTERS, *PRIVATE, *SEPARATORS, *TAGS)),
    *("x" * 257, "é" * 257, "😀" * 257, "e\u0301" * 257, "\u0958" * 200, "x" * 20_000),
    *(WALES[:-1], WALES[1:], WALES + "\U000e0067", FLAG + "\U000e007f", "A" + WALES[1:]),
    FLAG + "\U000e0061" * 31 + "\U000e007f",
    "Ada\r\nSet-Cookie: a=b",
    "\x1b]0;title\x07",
    "\ufeff\u202ecod.exe",
]


def _assigned() -> list[str]:
    """A sample of every script, every category that a name may have."""
    refused = set("".join(REFUSED_NAMES[: REFUSED_NAMES.index("x" * 257)]))
    everything = (chr(n) for n in range(0x20, 0x110000) if not 0xD800 <= n <= 0xDFFF)
    kept = [one for one in everything if one not in refused and unicodedata.category(one) not in ("Cn", "Co", "Cc")]
    return kept[:500] + kept[500::499]


KEPT_NAMES = [
    "",
    " ",
    "Ada",
    "x" * 256,
    "😀" * 256,
    "é" * 256,
    "e\u0301" * 256,
    "José",
    "Jose\u0301",
    "\u212b",
    "名前",
    "מרים",
    "مريم",
    "می\u200cخواهم",
    "क\u094d\u200dष",
    "👩\u200d👩\u200d👧\u200d👦",
    "☎\ufe0f",
    "葛\U000e0100",
    WALES,
    f"a{WALES}b{WALES}",
    "👍🏽",
    "🇺🇳",
    "1\ufe0f\u20e3",
    "\u00ad",
    "\ufeff",
    "Z\u0351\u036b\u0343a\u035alg\u0321o",
    "<script>alert(1)</script>",
    "'; DROP TABLE sessions; --",
    "{{7*7}}",
    "${jndi:ldap://x}",
    "%s%n%x",
    "__proto__",
    "null",
    "None",
    "../../etc/passwd",
    "\\",
    '"',
    "&amp;",
    "\U000378f0",
    "\u0378",
]

KEPT_URLS = [
    "",
    "https://example.org",
    "https://example.org/a.png?b=c#d",
    "http://example.org:8080/",
    "HTTPS://EXAMPLE.ORG/A",
    "//cdn.example.org/a",
    "/a.png",
    "a.png",
    "./a",
    "../a",
    "?a=b",
    "#a",
    "https://[::1]/a",
    "https://user@example.org/",
    "https://xn--bcher-kva.example/",
    "https://bücher.example/ä",
    "https://example.org/%E2%80%AE",
    "./javascript:alert(1)",
    "a/b:c",
    "https://example.org/?u=javascript:alert(1)",
    "https://example.org/" + "a" * 2028,
]
SCHEMES = [
    "javascript",
    "JAVASCRIPT",
    "JaVaScRiPt",
    "data",
    "vbscript",
    "blob",
    "file",
    "ftp",
    "about",
    "ws",
    "wss",
    "mailto",
    "tel",
    "chrome",
    "intent",
    "view-source",
    "jar",
    "httpss",
    "https+x",
    "ht",
    "x",
]
REFUSED_URLS = [
    *(f"{scheme}:alert(1)" for scheme in SCHEMES),
    *(f"{scheme}://example.org/" for scheme in SCHEMES),
    *(
        f"{one}javascript:alert(1)"
        for one in (*CONTROLS, *BIDI, *SEPARATORS, " ", "\u00a0", "\u3000", "\ufffe", "\ue000")
    ),
    *(f"java{one}script:alert(1)" for one in (*CONTROLS, *BIDI, *SEPARATORS, " ")),
    *(f"https://example.org/{one}" for one in (*CONTROLS, *BIDI, *SEPARATORS, *PRIVATE, " ", "\u00a0", *'\\"<>^`{|}')),
    *(
        "https:",
        "https:/",
        "https://",
        "http:///a",
        "https:example.org",
        "//",
        "///a",
        ":",
        "://a",
        ":a",
        "https://:80/",
        "https://@/",
    ),
    "https://example.org/" + "a" * 2029,
    "a" * 2049,
    "a" * 20_000,
]

KEPT_IDS = [
    "anna",
    "x" * 1024,
    "é" * 512,
    "名" * 341,
    "😀" * 256,
    " ",
    " anna ",
    "Anna",
    "José",
    "Jose\u0301",
    "\u202eanna",
    "\u200b",
    "\ue000",
    "\ufffe",
    "\ufeff",
    "auth0|123",
    "a@b.c",
    "urn:uuid:1",
    "../../x",
    "ext:anna",
    "{}",
    "'; --",
    "%00",
    "p1-x",
    "\u2028",
    "0",
    "null",
    "*",
    WALES,
    "a\u00a0b",
]
REFUSED_IDS = [
    *(f"an{one}na" for one in CONTROLS),
    "x" * 1025,
    "é" * 513,
    "名" * 342,
    "😀" * 257,
    "x" * 1023 + "é",
    "x" * 20_000,
]


async def _change(client: Bare, **params: Any) -> dict[str, Any]:
    client.call("session.updateParticipantInfo", 1, updateId=f"u{id(params)}-{hash(str(params))}"[:60], **params)
    return await client.answer()


@pytest.mark.slow
async def test_names_that_are_kept(caplog: pytest.LogCaptureFixture) -> None:
    with nothing_alarming(caplog):
        async with fuzzed_service() as (_running, tenant), opened(tenant) as client:
            names = [*KEPT_NAMES, *(f"A{one}" for one in _assigned())]
            assert len(names) > 700
            for name in names:
                found = await _change(client, name=name)
                assert "result" in found, (name, found)
                kept = found["result"]["participant"].get("name", "")
                assert kept == unicodedata.normalize("NFC", name), ascii(name)


async def test_names_that_are_refused(caplog: pytest.LogCaptureFixture) -> None:
    with nothing_alarming(caplog):
        async with fuzzed_service() as (_running, tenant), opened(tenant) as client:
            await _change(client, name="before", avatarUrl="/before")
            for name in REFUSED_NAMES:
                _names_the_field(await _change(client, name=name, avatarUrl="/after"), "name", name)
            await _is_untouched(client)


async def test_avatar_urls_that_are_kept(caplog: pytest.LogCaptureFixture) -> None:
    with nothing_alarming(caplog):
        async with fuzzed_service() as (_running, tenant), opened(tenant) as client:
            for url in KEPT_URLS:
                found = await _change(client, avatarUrl=url)
                assert "result" in found, (url, found)
                assert found["result"]["participant"].get("avatarUrl", "") == url


async def test_avatar_urls_that_are_refused(caplog: pytest.LogCaptureFixture) -> None:
    with nothing_alarming(caplog):
        async with fuzzed_service() as (_running, tenant), opened(tenant) as client:
            await _change(client, name="before", avatarUrl="/before")
            for url in REFUSED_URLS:
                _names_the_field(await _change(client, avatarUrl=url, name="after"), "avatar_url", url)
            await _is_untouched(client)


def _names_the_field(found: dict[str, Any], field: str, value: str) -> None:
    assert "error" in found, f"{value!a} was taken"
    error = found["error"]
    assert (error["code"], error["data"]["reason"]) == (ILLEGAL, "Illegal_argument"), ascii(value)
    assert error["message"].startswith(field), (ascii(value), error)
    assert error["data"]["hint"]
    # The text of the refusal is safe to show: nothing of what was sent is in it but a code point.
    assert error["message"].isprintable()
    assert len(error["message"]) < 200


async def _is_untouched(client: Bare) -> None:
    client.call("session.getParticipant", 2)
    one = (await client.answer())["result"]["participant"]
    assert (one["name"], one["avatarUrl"], one["revision"]) == ("before", "/before", 1)


@pytest.mark.slow
async def test_a_refused_profile_opens_nothing(caplog: pytest.LogCaptureFixture) -> None:
    cases = [("name", one) for one in REFUSED_NAMES[::40]] + [("avatarUrl", one) for one in REFUSED_URLS[::10]]
    with nothing_alarming(caplog):
        async with fuzzed_service() as (running, tenant):
            for field, value in cases:
                async with bare(running.url) as client:
                    client.call("session.open", 1, **hello(tenant.token("eve"), participant={field: value}))
                    _names_the_field(await client.answer(), {"avatarUrl": "avatar_url"}.get(field, field), value)
                    assert await client.received() == CloseCode.PROTOCOL_ERROR
            assert (await _seen(tenant, "eve"))["sessions"] == 0


async def _seen(tenant: Tenant, external_id: str) -> dict[str, Any]:
    async with opened(tenant, tenant.token("observer")) as client:
        client.call("participants.get", 1, externalIds=[external_id])
        found: dict[str, Any] = (await client.answer())["result"]["participants"][0]
        return found


async def test_external_ids_that_are_kept_byte_for_byte(caplog: pytest.LogCaptureFixture) -> None:
    """In `open`, with a token that has none; each is a participant of its own, and finds the same one again."""
    with nothing_alarming(caplog):
        async with fuzzed_service() as (running, tenant):
            token = tenant.token(None, version=1)
            found: dict[str, str] = {}
            for external_id in [*KEPT_IDS, *KEPT_IDS]:
                async with bare(running.url) as client:
                    one = (await client.open(token, participant={"externalId": external_id}))["participant"]
                    assert one["externalId"] == external_id
                    assert one["id"] == found.setdefault(external_id, tenant.participant_id(external_id))
            assert len(set(found.values())) == len(KEPT_IDS)


@pytest.mark.slow
async def test_external_ids_that_are_refused(caplog: pytest.LogCaptureFixture) -> None:
    with nothing_alarming(caplog):
        async with fuzzed_service() as (running, tenant):
            token = tenant.token(None, version=1)
            for external_id in REFUSED_IDS:
                async with bare(running.url) as client:
                    client.call("session.open", 1, **hello(token, participant={"externalId": external_id}))
                    _names_the_field(await client.answer(), "external_id", external_id)
                    assert await client.received() == CloseCode.PROTOCOL_ERROR


async def test_the_token_api_keeps_and_refuses_the_same_external_ids(caplog: pytest.LogCaptureFixture) -> None:
    with nothing_alarming(caplog):
        async with fuzzed_service() as (running, tenant):
            api = api_of(running, tenant)
            for external_id in KEPT_IDS:
                reply = await api.call("POST", "/v2/client-access-token", {"externalId": external_id})
                assert reply.status == 200, ascii(external_id)
                async with bare(running.url) as client:
                    opened_ = await client.open(reply.body["access_token"])
                    assert opened_["participant"]["id"] == tenant.participant_id(external_id), ascii(external_id)
            for external_id in REFUSED_IDS:
                reply = await api.call("POST", "/v2/client-access-token", {"externalId": external_id})
                is_large = len(json.dumps({"externalId": external_id})) > MAX_BODY_BYTES
                refusal = (413, "Body_too_large") if is_large else (400, "Illegal_argument")
                assert (reply.status, reply.body["error_reason"]) == refusal, ascii(external_id)[:100]


async def test_no_external_id_is_a_new_anonymous_participant_each_time(caplog: pytest.LogCaptureFixture) -> None:
    with nothing_alarming(caplog):
        async with fuzzed_service() as (running, tenant):
            ids = set()
            for info in ({}, {"externalId": ""}, {"externalId": None}):
                async with bare(running.url) as client:
                    one = (await client.open(tenant.token(None), participant=info))["participant"]
                    assert "externalId" not in one
                    ids.add(one["id"])
            assert len(ids) == 3
