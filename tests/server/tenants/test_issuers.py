"""Issuers of applications in memory, on several nodes: what one stores counts on the others once they have read it."""

from __future__ import annotations

import msgspec
import pytest

from greenroom.errors import TokenInvalidError
from greenroom.model import Application, TokenIssuer
from greenroom.server.tenants.applications import Tenants
from greenroom.server.tenants.issuers import secret_context
from tests.server.http_service import START
from tests.server.issuers import AUDIENCE, SECRET, good_claims, signer
from tests.server.tenants.test_applications import World

KEY = signer("ES256")
TOKEN = KEY.token(claims=good_claims(START))


async def add(tenants: Tenants, app: Application, *issuers: TokenIssuer) -> None:
    await tenants.change(app.key, lambda stored: msgspec.structs.replace(stored, issuers=issuers))


async def test_added_and_removed_on_one_node_it_counts_on_the_others_once_they_have_read() -> None:
    world = World()
    one, two = await world.loaded("one"), await world.loaded("two")
    app, _ = await one.create_application("App")
    await add(one, app, KEY.record())
    assert two.issuers.verify(TOKEN, START) is None
    await two.reload()
    for node in (one, two):
        found = node.issuers.verify(TOKEN, START)
        assert found is not None
        assert (found.app, node.issuers.application_of(TOKEN)) == (app.key, app.key)
    await add(two, app)
    await one.reload()
    for node in (one, two):
        assert node.issuers.verify(TOKEN, START) is None


async def test_a_shared_secret_is_read_with_the_master_key_and_for_its_own_application_alone() -> None:
    world = World()
    tenants = await world.loaded()
    app, _ = await tenants.create_application("App")
    key = signer("HS256")
    token = key.token(claims=good_claims(START))
    sealed = tenants.secrets.seal(SECRET, secret_context(app.key, "iss_1"))
    assert SECRET not in sealed
    await add(tenants, app, key.record(sealed_secret=sealed))
    other = await world.loaded("two")
    assert other.issuers.verify(token, START) is not None
    await add(tenants, app, key.record(id="iss_2", sealed_secret=sealed))
    with pytest.raises(Exception, match="does not open what is stored"):
        tenants.issuers.verify(token, START)


async def test_of_two_applications_with_the_same_pair_neither_has_it() -> None:
    """An engine refuses the second; a directory that was put back from old copies may have both for a while."""
    world = World()
    tenants = await world.loaded()
    for name in ("One", "Two"):
        app, _ = await tenants.create_application(name)
        await add(tenants, app, KEY.record(id=f"iss_{name}"))
    with pytest.raises(TokenInvalidError, match="registered here"):
        tenants.issuers.verify(TOKEN, START)
    assert tenants.issuers.application_of(TOKEN) is None


async def test_another_pair_is_said_to_be_of_no_application_and_a_token_of_the_service_is_left_alone() -> None:
    world = World()
    tenants = await world.loaded()
    assert tenants.issuers.verify(TOKEN, START) is None
    app, _ = await tenants.create_application("App")
    await add(tenants, app, KEY.record(audience="else"))
    with pytest.raises(TokenInvalidError, match="no application here"):
        tenants.issuers.verify(TOKEN, START)
    own = KEY.token(KEY.header(typ="session+jwt"), good_claims(START, aud=AUDIENCE))
    assert tenants.issuers.verify(own, START) is None
    for text in ("", "a.b.c", None, 7, "x" * 9000):
        assert tenants.issuers.verify(text, START) is None
