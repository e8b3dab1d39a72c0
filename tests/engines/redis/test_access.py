"""What stands before Redis: an ACL as documented, and TLS."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from greenroom.engines.redis import RedisEngine
from greenroom.errors import ServiceUnavailableError
from greenroom.testing.engine_contract import APP
from tests.support.patience import PATIENCE
from tests.support.redis_server import RedisServer, Secured, single
from tests.support.redis_world import RedisWorld

pytestmark = pytest.mark.slow
REFERENCE = Path(__file__).parents[3] / "docs" / "reference" / "redis.md"


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with single() as running:
        yield running


async def test_the_documented_acl_is_enough(server: RedisServer) -> None:
    found = re.search(r"An ACL for the service: `([^`]+)`", REFERENCE.read_text())
    assert found is not None
    rules = found[1].split()
    server.execute("ACL", "SETUSER", "greenroom", "reset", "on", ">pass-word", *rules)
    url = server.url.replace("//", "//greenroom:pass-word@") + "?wait_replicas=0"
    async with RedisWorld(url, lambda: server.execute("FLUSHALL")) as w:
        a = await w.client()
        await w.engine.bus.watch(APP, [a.participant_id])
        await a.update(name="x")
        await w.wait_for_delivery()
        assert w.listener.changes
        await a.detach(5)
        await w.advance(7)
        assert (await w.types())[-1] == "participant.offline"
        await w.engine.healthy()
        assert "unknown" not in (await w.engine.durability())[0]
    assert not server.execute("ACL", "LOG")


async def refusal(url: str) -> str:
    """What is said where the engine cannot be started."""
    engine = RedisEngine(url, timeout=15.0)
    with pytest.raises(ServiceUnavailableError) as caught:
        await engine.start()
    await engine.stop()
    return str(caught.value)


@pytest.mark.parametrize(
    ("user", "words"),
    [
        ("greenroom:hunter2", ("invalid username-password pair", "user and password")),
        (":hunter2", ("without any password configured", "Leave the password out")),
        ("norights:hunter2", ("no permissions to run", "ACL SETUSER")),
        ("nofunctions:hunter2", ("no permissions to run the 'fcall' command", "ACL SETUSER")),
    ],
)
async def test_wrong_credentials_are_clear_errors_without_the_password(
    server: RedisServer, user: str, words: tuple[str, ...]
) -> None:
    server.execute("ACL", "SETUSER", "norights", "on", ">hunter2", "~*", "+ping")
    server.execute("ACL", "SETUSER", "nofunctions", "on", ">hunter2", "~*", "&*", "+@all", "-fcall")
    said = await refusal(server.url.replace("//", f"//{user}@"))
    assert all(word in said for word in words), said
    assert f"127.0.0.1:{server.port}" in said
    assert "hunter2" not in said


async def test_wrong_addresses_are_clear_errors(server: RedisServer) -> None:
    for url, words in (
        (f"redis://127.0.0.1:{server.port}/99", ("DB index is out of range", "number at the end")),
        (f"redis://nohost.invalid:{server.port}", ("nohost.invalid", "host name")),
        ("redis://127.0.0.1:1", ("127.0.0.1:1", "Start Redis there")),
        (f"redis+cluster://127.0.0.1:{server.port}", ("cluster support disabled", "redis:// for a single Redis")),
        (f"redis+sentinel://127.0.0.1:{server.port}", ("SENTINEL", "port 26379")),
        (f"rediss://127.0.0.1:{server.port}", ("rediss", "Write redis:// if the port does not speak TLS")),
    ):
        said = await refusal(url)
        assert all(word in said for word in words), (url, said)


async def test_a_plain_address_for_a_tls_port_is_a_clear_error(tls: Secured) -> None:
    said = await refusal(f"redis://127.0.0.1:{tls.port}/0")
    assert "rediss://" in said


async def test_tls(tls: Secured) -> None:
    engine = RedisEngine(tls.url, timeout=PATIENCE)
    await engine.start()
    (facts,) = await engine.store.facts()
    assert facts.version.startswith("7.")
    await engine.stop()


async def test_tls_with_a_certificate_of_nobody_we_know_is_refused(tls: Secured) -> None:
    said = await refusal(f"rediss://127.0.0.1:{tls.port}/0")
    assert "ssl_ca_certs" in said, said
