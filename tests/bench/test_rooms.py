"""Joins and leaves, memberships, and opens beside rooms, at a real service."""

from __future__ import annotations

import pytest

from greenroom.bench.rooms import join_and_leave, memberships, opens_beside
from tests.bench.target import target


@pytest.mark.slow
@pytest.mark.parametrize("rooms", [2, 0])
async def test_joins_and_leaves(rooms: int) -> None:
    async with target(24) as service:
        found = await join_and_leave(service, count=20, rooms=rooms, sessions=8, width=4)
    assert (found.operations, found.errors) == (20, {})


@pytest.mark.slow
async def test_memberships_that_stay() -> None:
    async with target(12) as service:
        found = await memberships(service, sessions=12, rooms_each=2, members=4)
    assert (found.operations, found.errors) == (24, {})


@pytest.mark.slow
@pytest.mark.parametrize("in_rooms", [False, True])
async def test_opens_beside_rooms(in_rooms: bool) -> None:
    async with target(24) as service:
        found = await opens_beside(service, present=8, in_rooms=in_rooms, count=10)
    assert (found.operations, found.errors) == (10, {})
