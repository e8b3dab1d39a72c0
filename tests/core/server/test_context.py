"""What the parts of a session share."""

from __future__ import annotations

import sys

from tests.core.server.rig import ANNA, Rig, person


def test_the_own_participant_is_known_by_its_newest_version() -> None:
    rig = Rig().open()
    session = rig.machine.context.session
    assert session is not None
    rig.machine.context.participant_changed(person(ANNA, 9))
    rig.machine.context.participant_changed(person(ANNA, 7))
    assert session.participant.version == 9


def test_an_idle_session_has_no_room_for_calls() -> None:
    pending = Rig().open().machine.context.pending
    assert not pending
    assert sys.getsizeof(pending) == sys.getsizeof({})
