"""All spellings of a service's address mean the same."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from yarl import URL

from greenroom import IllegalArgumentError
from greenroom.sdk.addresses import retry_after_of, service_base


@pytest.mark.parametrize(
    "url",
    [
        "http://host",
        "http://host/",
        "http://host//",
        "ws://host/",
        " http://host/ ",
        "HTTP://host",
        URL("http://host/"),
    ],
    ids=str,
)
def test_spellings_of_one_address(url: Any) -> None:
    assert service_base(url) == "http://host"


@pytest.mark.parametrize("url", ["https://host/a/b", "wss://host/a/b/", "https://host/a/b//\n"])
def test_spellings_with_a_path(url: str) -> None:
    assert service_base(url) == "https://host/a/b"


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("127.0.0.1:7465", "'127.0.0.1:7465' lacks http:// or https://"),
        ("localhost:7465", "'localhost:7465' lacks http:// or https://"),
        (None, "is None, not a string"),
        ("ftp://host", "begins with ftp://"),
        ("http://", "no valid host"),
        ("http://host:99999999", "not a valid URL"),
        ("http://user@host", "a user in it"),
    ],
)
def test_what_is_wrong_is_said(url: Any, text: str) -> None:
    with pytest.raises(IllegalArgumentError, match=text):
        service_base(url)


@pytest.mark.parametrize("value", ["9" * 400, "-5", "soon", "Fri, 31 Dec 99999 23:59:59 GMT"])
def test_an_absurd_retry_after_breaks_nothing(value: str) -> None:
    seconds = retry_after_of(value, 0.0)
    assert seconds is None or 0 <= seconds < 1e12


@pytest.mark.parametrize(
    ("url", "base"),
    [
        ("https://a.example", "https://a.example"),
        ("http://a.example:8080/", "http://a.example:8080"),
        ("ws://a.example/sessions/", "http://a.example/sessions"),
        ("wss://a.example/x", "https://a.example/x"),
        ("https://[::1]:1/", "https://[::1]:1"),
    ],
)
def test_the_base_of_an_address(url: str, base: str) -> None:
    assert service_base(url) == base


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("7", 7.0),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 10.0),
        ("soon", None),
        ("Wed, 01 Jan 2014 00:00:00 GMT", 0),
    ],
)
def test_retry_after_in_seconds_or_as_a_date(value: str | None, seconds: float | None) -> None:
    wall = datetime(2015, 10, 21, 7, 27, 50, tzinfo=UTC).timestamp()
    assert retry_after_of(value, wall) == seconds
