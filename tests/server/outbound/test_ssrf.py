"""Webhooks reach public addresses and nothing else, however the address is written."""

from __future__ import annotations

import ipaddress
import re
import socket
from typing import Any

import pytest

from greenroom.errors import IllegalArgumentError
from greenroom.server.config import load
from greenroom.server.outbound.ssrf import AddressRefusedError, GuardedResolver, check_url, is_public
from greenroom.server.wire.addresses import parse_networks

PRIVATE = [
    "127.0.0.1",
    "127.255.255.254",
    "0.0.0.0",
    "0.1.2.3",
    "10.0.0.1",
    "100.64.0.1",
    "169.254.169.254",
    "172.16.0.1",
    "172.31.255.255",
    "192.168.1.1",
    "192.0.0.1",
    "192.0.0.170",
    "192.0.2.1",
    "192.88.99.1",
    "198.18.0.1",
    "198.51.100.7",
    "203.0.113.9",
    "224.0.0.1",
    "239.1.1.1",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::127.0.0.1",
    "::10.0.0.1",
    "::8.8.8.8",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "::ffff:169.254.169.254",
    "64:ff9b::7f00:1",
    "64:ff9b::a00:1",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::808:808",
    "2002:7f00:1::",
    "2002:a00:1::",
    "2002:808:808::",
    "2001:0:4136:e378:8000:63bf:3fff:fdd2",
    "2001::1",
    "2001:db8::1",
    "fc00::1",
    "fd12:3456::1",
    "fe80::1",
    "fec0::1",
    "ff02::1",
    "100::1",
    "3fff::1",
    "5f00::1",
]
PUBLIC = ["8.8.8.8", "1.1.1.1", "2606:4700:4700::1111", "2a00:1450:4001::200e", "64:ff9b::808:808", "::ffff:8.8.8.8"]


@pytest.mark.parametrize("address", PRIVATE)
def test_private_addresses_are_refused(address: str) -> None:
    assert not is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_are_fine(address: str) -> None:
    assert is_public(ipaddress.ip_address(address))


def test_the_operator_may_allow_networks_also_through_a_mapped_address() -> None:
    allowed = parse_networks(["10.1.0.0/16"])
    assert is_public(ipaddress.ip_address("10.1.2.3"), allowed)
    assert is_public(ipaddress.ip_address("::ffff:10.1.2.3"), allowed)
    assert not is_public(ipaddress.ip_address("10.2.2.3"), allowed)
    with pytest.raises(IllegalArgumentError, match="not a valid CIDR network"):
        parse_networks(["10.1.0.0/99"])


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com/", "ftp://example.com/", "javascript:alert(1)", "//example.com/", "https://", "https:///x",
        "",
        "https://user@example.com/", "https://user:pw@example.com/", "https://a\\@b/", "https://exa mple.com/",
        "https://example.com/\n", "https://ex\u00e4mple.com/", "https://example.com:99999/", "https://[::1/",
        "https://127.0.0.1/", "https://2130706433/", "https://0x7f000001/", "https://0x7f.1/", "https://0177.0.0.1/",
        "https://127.1/", "https://127.0.0.1./", "https://[::1]/", "https://[::ffff:7f00:1]/", "https://[fe80::1%25eth0]/",
        "https://999999999999/", "https://10.0.0.1:8443/", "https://example.com/" + "x" * 2048,
    ],
)  # fmt: skip
def test_urls_that_are_refused_by_their_text(url: str) -> None:
    with pytest.raises(IllegalArgumentError) as caught:
        check_url(url)
    assert caught.value.hint


@pytest.mark.parametrize(
    "url", ["https://example.com/hook?x=1", "https://8.8.8.8/", "https://[2606:4700::1111]:8443/a"]
)
def test_urls_that_are_fine(url: str) -> None:
    assert check_url(url) == url


def test_http_is_a_setting() -> None:
    assert check_url("http://example.com/", allow_http=True)


def _answers(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> None:
    def fake(host: str, port: int, *_: Any, **__: Any) -> list[Any]:
        return [
            (socket.AF_INET6 if ":" in item else socket.AF_INET, socket.SOCK_STREAM, 6, "", (item, port))
            for item in addresses
        ]

    monkeypatch.setattr(socket, "getaddrinfo", fake)


async def test_one_private_answer_refuses_the_name(monkeypatch: pytest.MonkeyPatch) -> None:
    _answers(monkeypatch, "8.8.8.8", "10.0.0.1")
    with pytest.raises(AddressRefusedError):
        await GuardedResolver().resolve("hooks.example.com", 443)


async def test_the_checked_address_is_the_one_that_is_connected_to(monkeypatch: pytest.MonkeyPatch) -> None:
    _answers(monkeypatch, "8.8.8.8")
    found = await GuardedResolver().resolve("hooks.example.com", 443)
    assert [item["host"] for item in found] == ["8.8.8.8"]
    assert found[0]["flags"] == socket.AI_NUMERICHOST


@pytest.mark.parametrize(
    ("url", "settings"),
    [
        ("http://127.0.0.1:8080/hook", ["HTTP=allowed", "ALLOWED_NETWORKS=127.0.0.0/8"]),
        ("http://localhost:8080/hook", ["HTTP=allowed", "ALLOWED_NETWORKS=127.0.0.0/8"]),
        ("https://[::1]/hook", ["ALLOWED_NETWORKS=::1/128"]),
        ("https://10.1.2.3/hook", ["ALLOWED_NETWORKS=10.1.2.3/32"]),
        ("http://hooks.example.com/", ["HTTP=allowed"]),
    ],
)  # fmt: skip
def test_a_refusal_names_every_setting_that_would_let_it_through(url: str, settings: list[str]) -> None:
    """Two settings, two restarts, and the first error named no variable."""
    with pytest.raises(IllegalArgumentError) as refused:
        check_url(url)
    assert re.findall(r"GREENROOM_WEBHOOK_([A-Z_]+=[^ ;]+)", refused.value.hint) == settings


def test_what_serve_dev_sets_lets_webhooks_to_this_machine_through() -> None:
    config = load(None, {}, dev=True).config
    allowed = parse_networks(config.webhook_allowed_networks)
    for url in ("http://127.0.0.1:8080/", "http://localhost:1/", "http://[::1]/", "https://hooks.example.com/"):
        assert check_url(url, allow_http=config.webhook_http == "allowed", allowed=allowed) == url
    with pytest.raises(IllegalArgumentError):
        check_url("http://10.0.0.1/", allow_http=True, allowed=allowed)
