from __future__ import annotations

import re
from base64 import b64encode
from urllib.parse import quote, quote_plus

import pytest

from greenroom.tokens import credentials, hash_secret, new_app_key, new_secret, parse_basic, secret_matches
from tests.tokens.forge import Work, stream

PEPPER = b"p" * 32


def basic(raw: bytes, scheme: str = "Basic") -> str:
    return f"{scheme} {b64encode(raw).decode()}"


def test_keys_and_secrets_are_random_and_the_same_in_every_encoding() -> None:
    source = stream("secrets")
    keys = {new_app_key(source) for _ in range(50)}
    secrets = {new_secret(source) for _ in range(50)}
    assert len(keys) == len(secrets) == 50
    assert all(re.fullmatch("[0-9a-f]{32}", key) for key in keys)
    for secret in secrets:
        assert re.fullmatch("[0-9a-f]{64}", secret)  # 256 bits
        assert secret == quote(secret, safe="") == quote_plus(secret)


@pytest.mark.parametrize("scheme", ["Basic", "basic", "BASIC"])
def test_the_plain_case_has_one_reading(scheme: str) -> None:
    assert parse_basic(basic(b"key:secret", scheme)) == (("key", "secret"),)


def test_a_secret_may_have_colons() -> None:
    assert parse_basic(basic(b"key:a:b:c"))[0] == ("key", "a:b:c")
    assert parse_basic(basic(b"key:"))[0] == ("key", "")
    assert parse_basic(basic(b":secret"))[0] == ("", "secret")


def test_white_space_around_key_and_secret_is_no_part_of_them() -> None:
    """What is pasted, or read from a file that ends in a newline."""
    assert parse_basic(basic(b"key :  secret\r\n")) == (("key", "secret"),)
    assert parse_basic(basic("key:sà".encode()))[0] == ("key", "sà"), "no byte of a letter is taken for a blank"


def test_clients_in_utf_8_and_in_iso_8859_1() -> None:
    """The platform's Node client sends UTF-8, its Python client ISO-8859-1."""
    assert ("key", "sécret") in parse_basic(basic("key:sécret".encode()))
    assert ("key", "sécret") in parse_basic(basic("key:sécret".encode("latin-1")))
    # bytes that are UTF-8 by chance
    assert ("key", "Ã©") in parse_basic(basic("key:Ã©".encode("latin-1")))


def test_clients_that_form_encode_first() -> None:
    """RFC 6749, section 2.3.1, which few follow: verbatim is tried first."""
    raw = f"{quote_plus('ke:y')}:{quote_plus('a b+c%é')}".encode()
    readings = parse_basic(basic(raw))
    assert readings[0] == ("ke%3Ay", "a+b%2Bc%25%C3%A9")
    assert ("ke:y", "a b+c%é") in readings
    assert parse_basic(basic(b"key:%ff")) == (("key", "%ff"),)  # no UTF-8 in it: not form-encoded


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "Basic",
        "Basic ",
        "Bearer a2V5OnNlY3JldA==",
        "Basic !!!",
        "Basic a2V5OnNlY3JldA==; x",
        "Basic a2V5 OnNlY3JldA==",
        "Basic a2V5OnNlY3JldA==\x00",
        "Basic é",
        basic(b"no colon"),
        basic(b"key:" + b"x" * 3000),
        "a2V5OnNlY3JldA==",
    ],
)
def test_what_is_not_basic(header: str | None) -> None:
    assert parse_basic(header) == ()


def test_few_readings_of_anything() -> None:
    for raw in (b"%41%C3%A9\xc3\xa9:+%2B\xc3\xa9", b"::::%3A", b"\xff\xfe:\x00", b"%:%", b"+:+"):
        assert 1 <= len(parse_basic(basic(raw))) <= 4


def test_the_text_of_credentials_shows_no_secret() -> None:
    assert "hunter2" not in repr(parse_basic(basic(b"key:hunter2")))


def test_either_of_two_valid_secrets() -> None:
    first, second = hash_secret(PEPPER, "first"), hash_secret(PEPPER, "second")
    assert len(first) == 32
    assert secret_matches(PEPPER, ["first"], [first, second])
    assert secret_matches(PEPPER, ["second"], [first, second])
    assert secret_matches(PEPPER, ["wrong", "first"], [first])
    assert not secret_matches(PEPPER, ["wrong"], [first, second])
    assert not secret_matches(b"q" * 32, ["first"], [first])
    assert not secret_matches(PEPPER, [], [first])
    assert not secret_matches(PEPPER, ["\ud800"], [first])
    with pytest.raises(ValueError, match="two"):
        secret_matches(PEPPER, ["first"], [first] * 3)


@pytest.mark.interpreted
def test_an_unknown_application_takes_the_same_work_as_a_wrong_secret() -> None:
    counts = set()
    known = [hash_secret(PEPPER, "first"), hash_secret(PEPPER, "second")]
    for hashes in ([], known[:1], known):
        for secret in ("first", "wrong"):
            with Work() as work:
                secret_matches(PEPPER, [secret], hashes)
            assert work.names.count("compare_digest") == 2
            counts.add(work.calls)
    assert len(counts) == 1


@pytest.mark.interpreted
def test_a_hash_of_zeros_opens_no_application_without_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    """The stand-ins that make the work equal must not be a way in, not even for the one secret in 2^256."""
    monkeypatch.setattr(credentials, "hash_secret", lambda pepper, secret: bytes(32))
    assert not secret_matches(PEPPER, ["anything"], [])
    assert not secret_matches(PEPPER, ["anything"], [b"x" * 32])
    assert secret_matches(PEPPER, ["anything"], [bytes(32)])
