"""A session's history in words."""

from __future__ import annotations

import msgspec

from greenroom.model import EndReason, RegistryState, SessionRecord, TimelineEntry
from greenroom.server.cluster.doctor.history import ENDS, history_of

NOW = 1_700_000_000_000


SESSION = SessionRecord(id="p1-a", app="app", participant_id="anna", node="one", lease="lease-one", generation=3)


def test_every_end_is_explained() -> None:
    assert set(ENDS) == set(EndReason)


def test_a_life_in_steps() -> None:
    timeline = (TimelineEntry(NOW, "opened", "one"), TimelineEntry(NOW + 1500, "detached", "one", "connection lost"))
    ended = msgspec.structs.replace(
        SESSION, state=RegistryState.CLOSED, end_reason=EndReason.TIMEOUT, timeline=timeline
    )
    life = history_of(ended)
    assert [(step.what, step.after) for step in life.steps] == [("opened", 0.0), ("detached", 1.5)]
    assert life.summary.startswith("It ended: timeout.")
    assert history_of(msgspec.structs.replace(SESSION, generation=12)).summary.endswith("for the 12th time.")
    assert history_of(msgspec.structs.replace(SESSION, generation=22)).summary.endswith("for the 22nd time.")
