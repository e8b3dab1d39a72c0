from __future__ import annotations

import pytest

from greenroom.errors import IllegalArgumentError
from greenroom.tokens import Algorithm, generate_key, open_key, open_sealed, seal, seal_key
from tests.tokens.forge import NOW, stream

RANDOM = stream("sealing")
MASTER, OTHER = RANDOM(32), RANDOM(32)


@pytest.mark.parametrize("alg", list(Algorithm))
def test_a_sealed_key_comes_back_and_shows_nothing(alg: Algorithm) -> None:
    key = generate_key(RANDOM, created_at=NOW, alg=alg)
    sealed = seal_key(MASTER, key, RANDOM(12))
    assert open_key(MASTER, sealed).to_bytes() == key.to_bytes()
    assert key.kid.encode() not in sealed
    assert seal_key(MASTER, key, RANDOM(12)) != sealed


def test_another_master_key_or_context_opens_nothing() -> None:
    sealed = seal(MASTER, b"webhook secret", RANDOM(12), "webhook 1")
    assert open_sealed(MASTER, sealed, "webhook 1") == b"webhook secret"
    for master, context in ((OTHER, "webhook 1"), (MASTER, "webhook 2"), (MASTER, "")):
        with pytest.raises(IllegalArgumentError, match="master key"):
            open_sealed(master, sealed, context)
    with pytest.raises(IllegalArgumentError):
        open_key(MASTER, sealed)


def test_a_change_of_any_byte_is_noticed() -> None:
    sealed = seal(MASTER, b"secret", RANDOM(12), "x")
    for position in range(len(sealed)):
        changed = bytearray(sealed)
        changed[position] ^= 1
        with pytest.raises(IllegalArgumentError):
            open_sealed(MASTER, bytes(changed), "x")
    for length in range(len(sealed)):
        with pytest.raises(IllegalArgumentError):
            open_sealed(MASTER, sealed[:length], "x")
    with pytest.raises(IllegalArgumentError):
        open_sealed(MASTER, sealed + b"\x00", "x")


def test_sizes_are_checked() -> None:
    for master in (b"", b"x" * 16, b"x" * 31, b"x" * 33):
        with pytest.raises(IllegalArgumentError, match="32 bytes"):
            seal(master, b"", RANDOM(12), "x")
        with pytest.raises(IllegalArgumentError, match="32 bytes"):
            open_sealed(master, b"", "x")
    for nonce in (b"", b"x" * 11, b"x" * 16):
        with pytest.raises(IllegalArgumentError, match="12 bytes"):
            seal(MASTER, b"", nonce, "x")
