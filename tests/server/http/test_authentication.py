"""Whether a request is of this machine itself."""

from __future__ import annotations

import pytest
from multidict import CIMultiDict

from greenroom.server.http.authentication import is_local


@pytest.mark.parametrize(
    ("address", "headers", "local"),
    [
        ("127.0.0.1", {"Host": "127.0.0.1:8080"}, True),
        ("127.0.0.1", {"host": "localhost"}, True),
        ("::1", {"Host": "[::1]:8080"}, True),
        ("127.9.9.9", {"Host": "localhost:1"}, True),
        ("192.0.2.1", {"Host": "localhost"}, False),
        ("127.0.0.1", {"Host": "greenroom.example"}, False),
        ("127.0.0.1", {"Host": "localhost.evil.example"}, False),
        ("127.0.0.1", {}, False),
        ("127.0.0.1", {"Host": "[::1"}, False),
        ("127.0.0.1", {"Host": "localhost", "X-Forwarded-For": "192.0.2.1"}, False),
        ("127.0.0.1", {"Host": "localhost", "forwarded": "for=192.0.2.1"}, False),
    ],
)
def test_local_requests(address: str, headers: dict[str, str], local: bool) -> None:
    assert is_local(CIMultiDict(headers), address) is local
