"""Allowed origins: what is stored is what browsers send."""

from __future__ import annotations

import pytest

from greenroom.errors import IllegalArgumentError
from greenroom.server.api.origins import normalised_origin


@pytest.mark.parametrize(
    ("text", "stored"),
    [
        ("https://app.example.com", "https://app.example.com"),
        ("https://app.example.com:443", "https://app.example.com"),
        ("http://app.example.com:80", "http://app.example.com"),
        ("http://app.example.com:443", "http://app.example.com:443"),
        ("HTTPS://App.Example.com ", "https://app.example.com"),
        ("http://localhost:8080", "http://localhost:8080"),
        ("http://[0:0::1]:8080", "http://[::1]:8080"),
        ("capacitor://localhost", "capacitor://localhost"),
        ("chrome-extension://abcdefghijklmnop", "chrome-extension://abcdefghijklmnop"),
        ("web+app.x://host_name", "web+app.x://host_name"),
        ("https://xn--e1afmkfd.example", "https://xn--e1afmkfd.example"),
    ],
)
def test_an_origin_is_stored_as_a_page_of_it_sends_it(text: str, stored: str) -> None:
    assert normalised_origin(text) == stored


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("*", "no wildcards"),
        ("https://*.example.com", "no wildcards"),
        ("null", "sandboxed"),
        ("app.example.com", "lacks its scheme. Write https://app.example.com."),
        ("1http://a", "scheme"),
        ("ht_tp://a", "scheme"),
        ("wss://a.example", "Write https://a.example."),
        ("https://a.example/", "Write https://a.example."),
        ("https://a.example/page?x", "Write https://a.example."),
        ("https://user@a.example", "user name"),
        ("https://a.example:port", "port"),
        ("https://a.example:65536", "port"),
        ("https://пример.example", "xn--"),
        ("https://[::g]", "IPv6"),
        ("https://", "host"),
        ("https://a b", "host"),
        ("https://-a", "host"),
    ],
)
def test_what_can_never_match_is_refused_with_the_reason(text: str, words: str) -> None:
    with pytest.raises(IllegalArgumentError) as caught:
        normalised_origin(text)
    assert words in str(caught.value)
    assert "can never match" in str(caught.value)
