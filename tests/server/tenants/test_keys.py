"""Signing keys: made, sealed, announced, changed by every node at the same moment."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from greenroom.errors import IllegalArgumentError
from greenroom.server.config import ServerConfig
from greenroom.server.tenants.keys import ANNOUNCED, JWKS_MAX_AGE
from greenroom.tokens import Algorithm, TokenKind, mint_api_token, verify
from greenroom.tokens.keyring import OVERLAP_SECONDS
from tests.server.http_service import ISSUER, START, Dice
from tests.server.tenants.test_applications import World


async def test_the_first_start_makes_a_key_that_signs_at_once_and_the_next_uses_it() -> None:
    world = World()
    first = await world.loaded("one")
    assert len(world.directory.sealed) == 1
    second = await world.loaded("two")
    assert len(world.directory.sealed) == 1
    assert first.keys.ring.current.kid == second.keys.ring.current.kid
    token = mint_api_token(first.keys.ring, issuer=ISSUER, app="a", scopes=(), now=START, random_bytes=Dice()).token
    assert verify(token, second.keys.ring, kind=TokenKind.API, issuer=ISSUER, now=START).app == "a"


async def test_two_nodes_that_make_the_first_key_at_once_accept_each_other() -> None:
    world = World()
    one, two = world.node("one"), world.node("two")
    await asyncio.gather(one.load(), two.load())
    for tenants in (one, two):
        await tenants.reload()
    assert one.keys.ring.current.kid == two.keys.ring.current.kid
    assert {key.kid for key in one.keys.ring.keys} == set(world.directory.sealed)


async def test_the_algorithm_is_a_setting() -> None:
    tenants = World().node(config=ServerConfig(signing_alg="HS256"))
    await tenants.load()
    assert tenants.keys.ring.current.alg is Algorithm.HS256
    assert tenants.keys.ring.jwks() == {"keys": []}


async def test_another_master_key_is_refused_in_words() -> None:
    world = World()
    await world.loaded()
    with pytest.raises(IllegalArgumentError, match="master key does not open"):
        await world.node(master_key=bytes(32)).load()


async def test_nothing_can_be_signed_before_the_keys_are_loaded() -> None:
    with pytest.raises(RuntimeError, match="not been loaded"):
        _ = World().node().keys.ring


def test_a_key_is_announced_for_longer_than_copies_of_the_key_set_are_kept() -> None:
    assert ANNOUNCED >= 2 * JWKS_MAX_AGE


async def test_a_new_key_is_published_first_then_signs_and_the_old_one_verifies_to_the_end() -> None:
    world = World()
    tenants = await world.loaded()
    old = tenants.keys.ring.current
    token = mint_api_token(
        tenants.keys.ring, issuer=ISSUER, app="a", scopes=(), now=START, random_bytes=Dice(), life=86_400
    ).token
    new = await tenants.rotate_key()
    assert tenants.keys.ring.current.kid == old.kid
    assert [key.kid for key in tenants.keys.ring.upcoming] == [new.kid]
    assert {key["kid"] for key in tenants.keys.ring.jwks()["keys"]} == {old.kid, new.kid}

    world.clock.now = START + ANNOUNCED
    assert tenants.keys.ring.current.kid == new.kid
    assert [key.kid for key in tenants.keys.ring.previous] == [old.kid]

    world.clock.now = START + 86_400
    assert verify(token, tenants.keys.ring, kind=TokenKind.API, issuer=ISSUER, now=world.clock.now).app == "a"
    world.clock.now = START + ANNOUNCED + OVERLAP_SECONDS - 1
    assert old.kid in tenants.keys.ring.by_kid
    world.clock.now = START + ANNOUNCED + OVERLAP_SECONDS + 3_600
    assert old.kid not in tenants.keys.ring.by_kid


async def test_every_node_changes_keys_at_the_same_moment_without_a_command() -> None:
    world = World()
    one, two = await world.loaded("one"), await world.loaded("two")
    await one.rotate_key()
    await two.reload_if(await world.directory.version())
    for now in (START, START + ANNOUNCED - 1, START + ANNOUNCED):
        world.clock.now = now
        assert one.keys.ring.current.kid == two.keys.ring.current.kid


async def test_keys_are_sealed_where_they_are_stored() -> None:
    world = World()
    tenants = await world.loaded()
    (stored,) = world.directory.sealed.values()
    whole = msgspec.json.decode(tenants.keys.ring.current.to_bytes(), type=dict[str, object])
    assert str(whole["d"]).encode() not in stored.sealed
    assert "sealed" not in repr(tenants.keys.ring)
