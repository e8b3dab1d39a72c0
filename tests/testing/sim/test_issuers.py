"""An application's own issuers in the simulated worlds: what walks do with them, each step by itself."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from greenroom.server.tenants.issuers import Issuers
from tests.support.sim.cluster import ClusterWorld
from tests.support.sim.issuers import LIFE
from tests.support.sim.oracles import removed_issuers_admit_nobody
from tests.support.sim.world import World

GRACE = 30.0
"""Seconds after a token's end in which it can be refreshed (S5)."""
NOTIFIED = 10.0
"""Seconds until every node knows of a removal, a reaper's pass included."""

WORLDS = pytest.mark.parametrize("make_world", [World, ClusterWorld])


@WORLDS
def test_a_rotation_of_the_issuers_key_ends_nobody_and_its_removal_ends_all_within_the_bound(
    make_world: Callable[[int], World],
) -> None:
    with make_world(51) as world:
        issuer = world.add_issuer()
        world.run(5.0)
        anna, ben = world.make_app("anna", issuer=issuer), world.make_app("ben")
        anna.open()
        ben.open()
        ben.run(ben.watch("anna"))
        for _ in range(4):  # two rotations: the next key is published, then it signs alone
            issuer.rotate()
            world.publish_issuers()
            world.run(2 * LIFE)
            assert anna.sdk.session.is_open(), world.story()
        assert anna.refreshes > 8
        world.remove_issuer(issuer)
        took = world.until(lambda: not anna.sdk.session.is_open(), within=LIFE + GRACE + NOTIFIED)
        assert took >= GRACE, "what is open goes on until its token's end"
        assert anna.ends == ["Invalid_token"], "what the provider goes on making is refused"
        assert list(removed_issuers_admit_nobody(world)) == []
        (watch,) = ben.watches
        world.run(5.0)
        assert [one.presence.value for one in watch.participants.values()] == ["offline"]
        assert ben.sdk.session.is_open()


@WORLDS
def test_the_oracle_sees_where_a_removal_is_not_noticed(
    make_world: Callable[[int], World], monkeypatch: pytest.MonkeyPatch
) -> None:
    with make_world(52) as world:
        issuer = world.add_issuer()
        world.run(5.0)
        anna = world.make_app("anna", issuer=issuer)
        anna.open()
        monkeypatch.setattr(Issuers, "put", lambda _self, _application: None)
        monkeypatch.setattr(Issuers, "replace", lambda _self, _applications: None)
        world.remove_issuer(issuer)
        world.run(LIFE + GRACE + NOTIFIED)
        assert list(removed_issuers_admit_nobody(world)) == [
            "anna is in with a token of https://id1.sim, which was removed"
        ]
