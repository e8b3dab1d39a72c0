"""Engine addresses."""

from __future__ import annotations

import pytest

from greenroom.engines.redis.address import parse_address
from greenroom.errors import IllegalArgumentError


def test_one_server() -> None:
    address = parse_address("redis://user:p%40ss@example.org:7000/3?wait_replicas=1&prefix=other")
    assert (address.kind, address.hosts, address.tls) == ("single", (("example.org", 7000),), False)
    assert address.options == {"username": "user", "password": "p@ss", "db": 3}
    assert (address.wait_replicas, address.prefix) == (1, "other")


def test_defaults() -> None:
    address = parse_address("redis://")
    assert (address.hosts, address.options["db"], address.prefix) == ((("127.0.0.1", 6379),), 0, "greenroom")
    assert parse_address("redis://[::1]").hosts == (("::1", 6379),)
    assert parse_address("redis://[::1]:7").hosts == (("::1", 7),)


def test_sentinels() -> None:
    address = parse_address("redis+sentinel://:secret@a,b:1,c/live/2?sentinel_password=other")
    assert (address.kind, address.service, address.options["db"]) == ("sentinel", "live", 2)
    assert address.hosts == (("a", 26379), ("b", 1), ("c", 26379))
    assert address.options["password"] == "secret"
    assert address.sentinel_options["password"] == "other"


def test_a_cluster_with_tls() -> None:
    address = parse_address("rediss+cluster://a,b:7001?ssl_ca_certs=/ca.pem&ssl_check_hostname=false")
    assert (address.kind, address.tls, address.hosts) == ("cluster", True, (("a", 6379), ("b", 7001)))
    assert address.options["ssl_ca_certs"] == "/ca.pem"
    assert address.options["ssl_check_hostname"] is False


@pytest.mark.parametrize(
    "url",
    [
        "http://a", "redis+other://a", "redis://a:x", "redis://a?unknown=1", "redis+cluster://a/1",
        "redis://a?wait_replicas=two",
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_said_without_the_password(url: str) -> None:
    with pytest.raises(IllegalArgumentError) as caught:
        parse_address(url.replace("//", "//user:hunter2@"))
    assert "hunter2" not in str(caught.value)
