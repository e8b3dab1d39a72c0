"""All spellings of a service's address mean the same."""

from __future__ import annotations

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
