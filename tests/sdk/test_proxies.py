"""Proxies come from the environment, and errors name the proxy and its variable."""

from __future__ import annotations

import base64

import pytest

from greenroom import IllegalArgumentError
from greenroom.sdk.proxies import proxy_of


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "no_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


def test_no_variable_no_proxy() -> None:
    assert proxy_of("https://sessions.example") is None


def test_the_scheme_chooses_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", " http://proxy.example:3128\n")
    proxy = proxy_of("https://sessions.example")
    assert proxy is not None
    assert (proxy.url, proxy.variable, proxy.authorization) == ("http://proxy.example:3128", "HTTPS_PROXY", None)
    assert proxy_of("http://sessions.example") is None


def test_hosts_without_a_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://proxy.example:3128")
    monkeypatch.setenv("no_proxy", "sessions.example")
    assert proxy_of("http://sessions.example:8080/path") is None
    assert proxy_of("http://other.example") is not None


def test_user_and_password_go_into_the_header_and_nowhere_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://anna:s%40cret@proxy.example")
    proxy = proxy_of("http://sessions.example")
    assert proxy is not None
    assert proxy.authorization == "Basic " + base64.b64encode(b"anna:s@cret").decode()
    assert "cret" not in str(proxy)


def test_a_proxy_variable_without_a_scheme_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "anna:secret@proxy.example:3128")
    with pytest.raises(IllegalArgumentError) as caught:
        proxy_of("https://sessions.example")
    assert caught.value.message == "HTTPS_PROXY is 'proxy.example:3128', which lacks http://."


def test_a_socks_proxy_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "socks5://proxy.example")
    with pytest.raises(IllegalArgumentError, match="HTTP_PROXY names a socks5 proxy"):
        proxy_of("http://sessions.example")
