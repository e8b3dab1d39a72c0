"""Encryption of keys and other secrets at rest, with the master key: AES-256-GCM (NIST SP 800-38D)."""

from __future__ import annotations

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from greenroom.errors import IllegalArgumentError
from greenroom.tokens.keyring import SigningKey

MASTER_KEY_BYTES = 32
NONCE_BYTES = 12

_VERSION = b"\x01"
_KEY_CONTEXT = "greenroom signing key"


def seal(master: bytes, plain: bytes, nonce: bytes, context: str) -> bytes:
    """`plain` encrypted and authenticated: version, nonce, ciphertext with tag.

    master: 32 bytes. nonce: 12 bytes, fresh and random for every call with the same master key.
    context: what it is (and whose), bound in, so that one sealed thing cannot be put in the place of another.
    Raises `IllegalArgumentError`.
    """
    _check_master(master)
    if len(nonce) != NONCE_BYTES:
        raise IllegalArgumentError(f"The nonce is not {NONCE_BYTES} bytes long.")
    return _VERSION + nonce + AESGCM(master).encrypt(nonce, plain, _VERSION + context.encode("utf-8"))


def open_sealed(master: bytes, sealed: bytes, context: str) -> bytes:
    """The inverse of `seal`. Raises `IllegalArgumentError` for another master key, another context or changed bytes."""
    _check_master(master)
    body = 1 + NONCE_BYTES
    plain: bytes | None = None
    if sealed[:1] == _VERSION and len(sealed) > body:
        try:
            plain = AESGCM(master).decrypt(sealed[1:body], sealed[body:], _VERSION + context.encode("utf-8"))
        except InvalidTag:
            plain = None
    if plain is None:
        raise IllegalArgumentError(
            "The master key does not open what is stored.",
            hint="Start with the master key that it was stored with, or restore the data with its master key.",
        )
    return plain


def seal_key(master: bytes, key: SigningKey, nonce: bytes) -> bytes:
    """A signing key as it may be stored. See `seal`."""
    return seal(master, key.to_bytes(), nonce, _KEY_CONTEXT)


def open_key(master: bytes, sealed: bytes) -> SigningKey:
    """The inverse of `seal_key`. Raises `IllegalArgumentError`."""
    return SigningKey.from_bytes(open_sealed(master, sealed, _KEY_CONTEXT))


def _check_master(master: bytes) -> None:
    if len(master) != MASTER_KEY_BYTES:
        raise IllegalArgumentError(f"The master key is not {MASTER_KEY_BYTES} bytes long.")
