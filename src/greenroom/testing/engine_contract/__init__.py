"""The suite that every engine passes, and outsiders can run.

A test module of an engine's author::

    import pytest
    from greenroom.testing.engine_contract import EngineContract, World

    class MyWorld(World): ...      # start, stop, step, now_ms

    class TestMyEngine(EngineContract):
        def make_world(self) -> World:
            return MyWorld()

Cases are `async def`: run them with any plugin that runs such tests (pytest-asyncio in auto mode, anyio, …). Each is
named by the rule (rules.md), or the promise (guarantees.md), that it holds the engine to. What an engine cannot be
asked (a restart, where it keeps nothing) passes without being asked, where `World` says so.
"""

from __future__ import annotations

from greenroom.testing.engine_contract.attributes import AttributesContract, StatusContract
from greenroom.testing.engine_contract.base import ContractBase, refused
from greenroom.testing.engine_contract.concurrency import ConcurrencyContract
from greenroom.testing.engine_contract.directory import DirectoryContract
from greenroom.testing.engine_contract.ending import EndingContract
from greenroom.testing.engine_contract.limits import LimitsContract
from greenroom.testing.engine_contract.opening import OpeningContract
from greenroom.testing.engine_contract.outbox import OutboxContract
from greenroom.testing.engine_contract.ownership import OwnershipContract
from greenroom.testing.engine_contract.presence import PresenceContract
from greenroom.testing.engine_contract.records import RecordsContract
from greenroom.testing.engine_contract.restrictions import RestrictionsContract
from greenroom.testing.engine_contract.resuming import ResumingContract
from greenroom.testing.engine_contract.rooms import RoomsContract
from greenroom.testing.engine_contract.statistics import StatisticsContract
from greenroom.testing.engine_world import APP, Client, EmbeddedWorld, RecordingListener, World, owner_of, secret


class EngineContract(
    OpeningContract,
    LimitsContract,
    ResumingContract,
    OwnershipContract,
    EndingContract,
    PresenceContract,
    RecordsContract,
    AttributesContract,
    StatusContract,
    RestrictionsContract,
    OutboxContract,
    DirectoryContract,
    StatisticsContract,
    ConcurrencyContract,
    RoomsContract,
):
    """All cases. Subclass it under a name that pytest collects, and write `make_world`."""


__all__ = [
    "APP",
    "Client",
    "ContractBase",
    "EmbeddedWorld",
    "EngineContract",
    "RecordingListener",
    "World",
    "owner_of",
    "refused",
    "secret",
]
