"""Where the service listens, by what address it is reached, and its certificate."""

from __future__ import annotations

import asyncio
import socket
import ssl
import subprocess
import tempfile
from pathlib import Path

import pytest
import structlog
from cryptography import x509

from greenroom.errors import IllegalArgumentError
from greenroom.server.config import ServerConfig
from greenroom.server.listener import Certificate, url_of
from tests.server.harness import RunningService, new_service, running_service, short_config
from tests.support.certificates import self_signed


@pytest.mark.parametrize(
    ("settings", "url"),
    [
        ({"host": "127.0.0.1"}, "http://127.0.0.1:{}"),
        ({"host": "0.0.0.0"}, "http://127.0.0.1:{}"),
        ({"host": "::"}, "http://[::1]:{}"),
        ({"host": "::1"}, "http://[::1]:{}"),
        ({"host": "chat.example"}, "http://chat.example:{}"),
        ({"host": "10.1.2.3", "tls_cert": "c.pem", "tls_key": "k.pem"}, "https://10.1.2.3:{}"),
        ({"host": "10.1.2.3", "public_url": "https://rooms.example/"}, "https://rooms.example"),
    ],
)
def test_the_url_is_one_that_works_from_here_or_the_public_one(settings: dict[str, str], url: str) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        assert url_of(ServerConfig(**settings), listener) == url.format(listener.getsockname()[1])  # type: ignore[arg-type]


async def test_a_port_that_is_taken_is_said_and_nothing_is_left_behind() -> None:
    with socket.socket() as taken, tempfile.TemporaryDirectory() as data:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        config = short_config(data, port=taken.getsockname()[1])
        with pytest.raises(IllegalArgumentError, match="cannot be listened on"):
            await new_service(config).start()
        # The database was let go: another may start on it.
        service = new_service(short_config(data))
        await service.start()
        await service.stop()


async def test_certificates_that_are_not_there_are_refused() -> None:
    with tempfile.TemporaryDirectory() as data:
        config = short_config(data, tls_cert=f"{data}/none.pem", tls_key=f"{data}/none.key")
        with pytest.raises(IllegalArgumentError, match="cannot be loaded"):
            await new_service(config).start()


def test_a_key_with_a_passphrase_is_refused_by_name_and_nobody_is_asked(tmp_path: Path) -> None:
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-keyout", "key.pem", "-out", "cert.pem", "-days", "1",
         "-subj", "/CN=localhost", "-passout", "pass:s3cret"],
        cwd=tmp_path, check=True, capture_output=True,
    )  # fmt: skip
    with pytest.raises(IllegalArgumentError, match="passphrase") as refused:
        Certificate(ServerConfig(tls_cert=str(tmp_path / "cert.pem"), tls_key=str(tmp_path / "key.pem")))
    assert "key.pem" in refused.value.message
    assert "openssl pkey" in refused.value.hint


async def test_listening_beyond_this_machine_without_tls_is_warned_of() -> None:
    with tempfile.TemporaryDirectory() as data, structlog.testing.capture_logs() as captured:
        for settings, warned in (({"host": "0.0.0.0"}, 1), ({"host": "127.0.0.1"}, 1),
                                 ({"host": "0.0.0.0", "trusted_proxies": ("10.0.0.1",)}, 1)):  # fmt: skip
            service = new_service(short_config(data, **settings))
            await service.start()
            await service.stop()
            found = [one for one in captured if "without TLS" in str(one["event"])]
            assert len(found) == warned


async def _serial(running: RunningService) -> int:
    """Of the certificate that a new connection gets."""
    port = int(running.service.url.rpartition(":")[2])
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    der = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.close()
    try:
        await writer.wait_closed()
    except (OSError, ssl.SSLError):
        pass
    return x509.load_der_x509_certificate(der).serial_number


async def test_a_new_certificate_counts_for_new_connections_and_a_bad_one_is_left_aside(tmp_path: Path) -> None:
    used, other = self_signed(tmp_path), tmp_path / "other"
    await asyncio.to_thread(other.mkdir)
    newer = await asyncio.to_thread(lambda: self_signed(other).read_bytes())
    async with running_service(tls_cert=str(used), tls_key=str(used)) as running:
        assert running.url.startswith("https://")
        first = await _serial(running)
        await asyncio.to_thread(used.write_bytes, newer)
        running.service.reload_tls()
        second = await _serial(running)
        assert second != first
        await asyncio.to_thread(used.write_bytes, b"nonsense")
        running.service.reload_tls()
        assert await _serial(running) == second
