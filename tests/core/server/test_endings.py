"""How a session ends or is detached: by its connection, its client, another node, or its application."""

from __future__ import annotations

from typing import Any

import pytest

from greenroom.codes import ErrorCode
from greenroom.errors import SessionEndedError
from tests.core.server.rig import BOB, Rig

# -- ended elsewhere ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [ErrorCode.ATTEMPT_SUPERSEDED, ErrorCode.STATE_LOST])
@pytest.mark.parametrize(
    "method",
    ["session.updateParticipantInfo", "session.setStatus", "session.getParticipant", "participants.get",
     "participants.watch", "session.refreshToken"],
)  # fmt: skip
def test_a_call_that_crosses_a_move_is_retryable_and_no_end(method: str, code: ErrorCode) -> None:
    """The report: one of 1,472 updates during restarts raised SessionEndedError though its session lived on."""
    rig = Rig().open()
    params: dict[str, dict[str, Any]] = {
        "session.updateParticipantInfo": {"updateId": "u", "name": "A"},
        "session.setStatus": {"status": "away"},
        "participants.get": {"ids": [BOB]},
        "participants.watch": {"ids": [BOB]},
        "session.refreshToken": {"token": "anna"},
    }
    number = rig.send(method, **params.get(method, {}))
    rig.answer(SessionEndedError(code=code))
    error = rig.reply(number)["error"]
    assert (error["code"], error["data"]["retryable"]) == (ErrorCode.FENCED, True)


def test_an_end_that_the_engine_stored_is_an_end() -> None:
    rig = Rig().open()
    number = rig.send("session.updateParticipantInfo", updateId="u", name="A")
    rig.answer(SessionEndedError(end_reason="kicked"))
    assert rig.error(number) == ErrorCode.SESSION_ENDED
