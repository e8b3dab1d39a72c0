"""``greenroom keys``: the keys that tokens are signed with."""

from __future__ import annotations

from tests.cli.running import as_operator
from tests.server.harness import running_service


async def test_keys_are_listed_and_rotated() -> None:
    async with running_service() as running:
        (key,) = (await as_operator(running, "keys", "list", "--json")).json
        assert (key["state"], key["alg"]) == ("current", "EdDSA")
        rotated = (await as_operator(running, "keys", "rotate", "--json")).json
        assert [one["state"] for one in rotated] == ["upcoming", "current"]
        assert rotated[1]["kid"] == key["kid"]
        table = (await as_operator(running, "keys", "list")).out
        assert [one["kid"] in table for one in rotated] == [True, True]
