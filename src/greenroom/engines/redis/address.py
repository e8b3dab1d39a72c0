"""Engine addresses: ``redis://``, ``rediss://``, ``redis+sentinel://``, ``redis+cluster://`` (and ``rediss+…``)."""

from __future__ import annotations

from typing import Any, NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit

from greenroom.errors import IllegalArgumentError

HostPort = tuple[str, int]


class Address(NamedTuple):
    """kind: ``single``, ``sentinel`` or ``cluster``. hosts: the server, the sentinels, or some masters of the cluster.

    service: the master's name at the sentinels. options: what redis-py's Connection takes (user, password, db, TLS).
    sentinel_options: likewise for the sentinels.
    """

    kind: str
    hosts: tuple[HostPort, ...]
    tls: bool
    service: str
    options: dict[str, Any]
    sentinel_options: dict[str, Any]
    wait_replicas: int
    prefix: str


_KINDS = {"": "single", "sentinel": "sentinel", "cluster": "cluster"}
_PORTS = {"single": 6379, "sentinel": 26379, "cluster": 6379}
_TLS_OPTIONS = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile", "ssl_cert_reqs", "ssl_check_hostname")
_KNOWN = {*_TLS_OPTIONS, "service", "wait_replicas", "prefix", "sentinel_username", "sentinel_password", "db"}


def parse_address(url: str) -> Address:
    """The parts of an engine address.

    ``redis+sentinel://user:password@h1:26379,h2:26379/0?service=mymaster&wait_replicas=1``. Query: ``service`` (or
    the path's last part; default ``mymaster``), ``wait_replicas`` (default 0), ``prefix`` of all keys (default
    ``greenroom``), ``sentinel_username``, ``sentinel_password``, and for TLS ``ssl_ca_certs``, ``ssl_certfile``,
    ``ssl_keyfile``, ``ssl_cert_reqs``, ``ssl_check_hostname``. Raises IllegalArgumentError; its text holds no password.
    """
    parts = urlsplit(url)
    scheme, _, variant = parts.scheme.partition("+")
    if scheme not in ("redis", "rediss") or variant not in _KINDS:
        raise _bad("it begins with none of redis://, rediss://, redis+sentinel://, redis+cluster://")
    kind = _KINDS[variant]
    tls = scheme == "rediss"
    query = {name: values[-1] for name, values in parse_qs(parts.query, keep_blank_values=True).items()}
    unknown = sorted(set(query) - _KNOWN)
    if unknown:
        raise _bad(f"unknown option {unknown[0]}")
    user, password, hosts = _split_authority(parts.netloc, _PORTS[kind])
    path = [part for part in parts.path.split("/") if part]
    db = query.get("db") or (path[-1] if path and path[-1].isdigit() else "0")
    names = [part for part in path if not part.isdigit()]
    options: dict[str, Any] = {"username": user, "password": password, "db": _number(db, "the database")}
    if kind == "cluster" and options["db"]:
        raise _bad("a cluster has only database 0")
    tls_options: dict[str, Any] = {name: query[name] for name in _TLS_OPTIONS if name in query}
    if "ssl_check_hostname" in tls_options:
        tls_options["ssl_check_hostname"] = tls_options["ssl_check_hostname"].lower() in ("1", "true", "yes")
    sentinel = {"username": query.get("sentinel_username"), "password": query.get("sentinel_password"), **tls_options}
    return Address(
        kind=kind,
        hosts=hosts,
        tls=tls,
        service=query.get("service") or (names[0] if names else "mymaster"),
        options=options | tls_options,
        sentinel_options=sentinel,
        wait_replicas=_number(query.get("wait_replicas", "0"), "wait_replicas"),
        prefix=query.get("prefix", "greenroom"),
    )


def _split_authority(netloc: str, port: int) -> tuple[str | None, str | None, tuple[HostPort, ...]]:
    credentials, _, hosts = netloc.rpartition("@")
    user, colon, password = credentials.partition(":")
    found = tuple(_host_port(host, port) for host in hosts.split(",") if host) or (("127.0.0.1", port),)
    return unquote(user) or None, (unquote(password) or None) if colon else None, found


def _host_port(text: str, default: int) -> HostPort:
    host, colon, port = text.rpartition(":")
    if not colon or port.endswith("]"):
        host, port = text, str(default)
    return host.strip("[]"), _number(port, "the port")


def _number(text: str, what: str) -> int:
    if not text.isascii() or not text.isdigit():
        raise _bad(f"{what} is not a number")
    return int(text)


def _bad(why: str) -> IllegalArgumentError:
    return IllegalArgumentError(f"The engine address cannot be used: {why}.", hint="See docs/reference/redis.md.")
