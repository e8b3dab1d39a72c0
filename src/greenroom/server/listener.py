"""Where the service listens: the socket, how clients reach it, and TLS."""

from __future__ import annotations

import socket
import ssl
from pathlib import Path

import structlog

from greenroom.errors import IllegalArgumentError
from greenroom.server.config import ServerConfig
from greenroom.server.wire.addresses import is_loopback

log = structlog.stdlib.get_logger("greenroom.server")

_ANY = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "[::1]"}
"""Hosts that mean every address, and one that works on this machine."""


def listen(config: ServerConfig) -> socket.socket:
    """A bound socket that does not listen yet. Raises IllegalArgumentError where the port cannot be had."""
    host, port = config.host, config.port
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        listener = socket.socket(family, socket.SOCK_STREAM)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if config.port_sharing == "on":
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            listener.bind(address)
            listener.setblocking(False)
        except BaseException:
            listener.close()
            raise
    except OSError as error:
        raise IllegalArgumentError(
            f"Port {port} of {host} cannot be listened on: {error.strerror or error}.",
            hint="Choose another with --port or GREENROOM_PORT.",
        ) from None
    return listener


def url_of(config: ServerConfig, listener: socket.socket) -> str:
    """How clients reach the service: the public URL, where one is set, or this socket's own."""
    host = config.host
    shown = _ANY.get(host) or (f"[{host}]" if ":" in host else host)
    scheme = "http" if config.tls_cert is None or config.tls_key is None else "https"
    return (config.public_url or f"{scheme}://{shown}:{listener.getsockname()[1]}").rstrip("/")


class _PassphraseNeededError(Exception):
    pass


class Certificate:
    """The certificate and key that the settings name, None for both where there is no TLS. Raises
    IllegalArgumentError where they cannot be loaded."""

    def __init__(self, config: ServerConfig) -> None:
        self._files = (config.tls_cert, config.tls_key)
        self.context: ssl.SSLContext | None = None
        """For the listener; None: plain text."""
        if config.tls_cert is not None and config.tls_key is not None:
            self.context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            self.context.minimum_version = ssl.TLSVersion.TLSv1_2
            self._load(self.context)

    def _load(self, context: ssl.SSLContext) -> None:
        cert, key = self._files
        assert cert is not None

        def no_passphrase() -> str:
            raise _PassphraseNeededError

        try:
            # Without a function OpenSSL would ask at the terminal.
            context.load_cert_chain(cert, key, no_passphrase)
        except _PassphraseNeededError:
            raise IllegalArgumentError(
                f"The private key in tls_key ({key}) has a passphrase, which the service cannot ask for.",
                hint="Write the key without one: openssl pkey -in KEY -out NEW, and give NEW mode 0600.",
            ) from None
        except OSError as error:
            missing = next((path for path in (cert, key) if path is not None and not Path(path).is_file()), None)
            what = f"there is no file {missing}" if missing is not None else error.strerror or str(error)
            raise IllegalArgumentError(
                f"tls_cert ({cert}) and tls_key ({key}) cannot be loaded: {what}.",
                hint="Both are PEM files, and the key is the certificate's.",
            ) from None

    def reload(self) -> None:
        """New connections get the new certificate. A bad one is logged, and the old one kept."""
        if self.context is None:
            return
        try:
            # Into a context of its own first: a half-loaded pair must not reach the one in use.
            self._load(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))
            self._load(self.context)
        except IllegalArgumentError as error:
            log.error("the certificate was not reloaded", error=error.message)
        else:
            log.info("the certificate was reloaded")


def warn_of_plain_text(config: ServerConfig, certificate: Certificate) -> None:
    """A line in the log where tokens can be read on the way."""
    if certificate.context is None and not config.trusted_proxies and not is_loopback(config.host):
        log.warning(
            "listening beyond this machine without TLS: tokens can be read on the way",
            hint="Set tls_cert and tls_key, or trusted_proxies if a proxy terminates TLS.",
        )
