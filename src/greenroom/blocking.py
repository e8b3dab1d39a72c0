"""The SDK for programs without an event loop: ``from greenroom.blocking import Greenroom``.

The same service as in `greenroom`, method by method. Each blocks and returns, or, given ``completion=``, returns at
once and later calls ``completion(error)`` (None on success) from one background thread, in order.
"""

from __future__ import annotations

from greenroom.sdk.blocking import BlockingGreenroom as Greenroom
from greenroom.sdk.blocking import BlockingParticipantsService as ParticipantsService
from greenroom.sdk.blocking import BlockingRoom as Room
from greenroom.sdk.blocking import BlockingRoomsService as RoomsService
from greenroom.sdk.blocking import BlockingSessionService as SessionService
from greenroom.sdk.blocking import Completion

__all__ = ["Completion", "Greenroom", "ParticipantsService", "Room", "RoomsService", "SessionService"]
