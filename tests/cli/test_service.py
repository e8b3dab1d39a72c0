"""The HTTP client of the verbs: what answers, what does not, and whom it trusts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from greenroom.cli.exits import CliError, Exit
from greenroom.cli.service import ServiceClient, local_service, segment
from tests.cli.running import Ran, run, run_here
from tests.compat.clients import make_authority
from tests.server.harness import running_service

TOKEN = {"GREENROOM_ADMIN_TOKEN": "x" * 20}


def test_nobody_there_is_3_in_one_line() -> None:
    ran = run_here("apps", "list", "--url", "http://127.0.0.1:1", **TOKEN)
    assert ran.code == Exit.UNREACHABLE
    assert ran.err.startswith("greenroom: No service answers at http://127.0.0.1:1: ")
    assert ran.err.count("\n") == 1


@pytest.mark.parametrize(
    "url",
    [
        "", "greenroom.example", "ftp://x", "http://", "http://x:99999", "http://x?a=b", "http://[::1", "http://x:0",
        "http://a..b", f"http://{'a' * 64}.x", "http://x/ž", "http://x/a b", "http://x\n",
    ],
)  # fmt: skip
def test_a_url_that_is_none_is_2(url: str) -> None:
    ran = run_here("apps", "list", "--url", url, **TOKEN)
    assert (ran.code, ran.out, ran.err.count("\n")) == (Exit.USAGE, "", 1)
    assert "is not the URL of a service. Write it as https://greenroom.example." in ran.err


@pytest.mark.parametrize("text", ["ž" * 20, "a\nb"])
def test_what_no_header_can_hold_is_neither_a_bug_nor_an_absent_service(text: str) -> None:
    for ran in (
        run_here("apps", "list", "--url", "http://127.0.0.1:1", "--admin-token", text),
        run_here("sessions", "list", "--url", "http://127.0.0.1:1", "--app", text, **TOKEN),
    ):
        assert (ran.code, ran.err.count("\n")) == (Exit.USAGE, 1)
        assert "characters that neither can have" in ran.err
        assert text not in ran.err


@asynccontextmanager
async def answering(reply: bytes) -> AsyncIterator[str]:
    """The URL of a server that answers everything with this."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(reply)
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def answered(status: str, body: bytes) -> Ran:
    """What the command line makes of this."""
    head = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode()
    async with answering(head + body) as url:
        return await run("status", "--url", url, **TOKEN)


@pytest.mark.parametrize(("status", "body"), [("200 OK", b"<html>"), ("200 OK", b"[]"), ("404 Not Found", b"gone")])
async def test_a_page_that_is_not_greenroom_is_said_to_be_so(status: str, body: bytes) -> None:
    ran = await answered(status, body)
    assert (ran.code, "not Greenroom" in ran.err) == (Exit.UNREACHABLE, True)


async def test_a_refusal_has_its_text_and_its_exit_code() -> None:
    said = await answered("429 Too Many Requests", b'{"error_description": "Too many. Wait."}')
    assert (said.code, said.err) == (Exit.TRY_LATER, "greenroom: Too many. Wait.\n")
    silent = await answered("502 Bad Gateway", b"{}")
    assert (silent.code, silent.err) == (Exit.FAILED, "greenroom: The service answered with status 502.\n")


async def test_what_speaks_no_http_is_unreachable() -> None:
    async with answering(b"220 mail.example ESMTP\r\n") as url:
        ran = await run("status", "--url", url, **TOKEN)
    assert (ran.code, "what answers speaks no HTTP" in ran.err) == (Exit.UNREACHABLE, True)


def test_a_segment_of_a_path_is_quoted_and_never_empty() -> None:
    assert segment("stand/up ž?") == "stand%2Fup%20%C5%BE%3F"
    with pytest.raises(CliError, match="is empty"):
        segment("")


def test_without_an_admin_token_nothing_is_sent() -> None:
    service = ServiceClient("http://127.0.0.1:1")
    assert not service.has_admin_token
    with pytest.raises(CliError, match="The admin token is needed") as refused:
        service.admin("GET", "/status")
    assert refused.value.exit is Exit.CREDENTIALS


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("0.0.0.0", "http://127.0.0.1:4711"),
        ("::", "http://[::1]:4711"),
        ("10.0.0.5", "http://10.0.0.5:4711"),
    ],
)
def test_the_service_of_this_machine_is_found_by_its_settings(
    host: str, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GREENROOM_HOST", host)
    monkeypatch.setenv("GREENROOM_PORT", "4711")
    assert local_service(None).url == url


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
