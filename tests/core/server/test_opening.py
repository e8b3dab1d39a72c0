"""`session.open`: from the message to the session."""

from __future__ import annotations

from typing import Any

import pytest

from greenroom.codes import ErrorCode
from greenroom.core.requests import DetachRequest, OpenRequest, Owner
from greenroom.errors import TokenInvalidError
from greenroom.model import EndReason, partition_of, partition_of_session
from tests.core.server.rig import ANNA, APP, SECRET, WALL, Rig, S, Token, ending


def test_open_asks_the_engine_and_answers_with_the_session() -> None:
    rig = Rig()
    number = rig.hello(
        participant={"name": "Anna"}, device={"id": "d1", "name": "Phone"}, sdk={"name": "py", "version": "1"}
    )
    (call,) = rig.requests
    assert isinstance(call, OpenRequest)
    assert (call.app, call.participant_id, call.external_id, call.anonymous) == (APP, ANNA, "anna", False)
    assert (call.name, call.avatar_url, call.device_id, call.sdk) == ("Anna", None, "d1", "py/1")
    assert partition_of_session(call.session_id) == partition_of(APP, ANNA)
    assert call.secret_hash != SECRET.encode()
    assert len(call.secret_hash) == 32
    assert rig.is_in(S.JOINING)
    rig.join()
    result = rig.result(number)
    assert result["session"] == {
        "id": "p1-01", "generation": 1, "grace": 40.0, "expiresAt": (int(WALL) + 3600) * 1000,
        "serverTime": int(WALL) * 1000,
    }  # fmt: skip
    assert result["limits"] == {"messagesPerSecond": 50.0, "messagesBurst": 100, "maxIds": 1000}
    assert result["participant"]["id"] == ANNA
    assert result["scopes"] == ["notifications:set", "session:update"]
    assert rig.is_in(S.OPEN)


@pytest.mark.parametrize(
    ("code", "expected"),
    [(1000, EndReason.CLOSED), (1001, 5.0), (1005, 10.0), (1006, 10.0), (4000, 10.0), (1011, 10.0)],
)
def test_a_link_lost_during_the_open_leaves_no_ghost(code: int, expected: Any) -> None:
    rig = Rig()
    rig.hello()
    rig.lost(code)
    assert rig.is_in(S.ABANDONED)
    rig.join()
    assert rig.is_in(S.GONE)
    request = rig.requests[-1]
    if isinstance(expected, EndReason):
        assert request == ending(Owner("p1-01", 1, "lease-1"), expected, can_wait=True)
    else:
        assert request == DetachRequest(Owner("p1-01", 1, "lease-1"), expected)
    assert len(rig.calls) == 2


def test_a_link_lost_during_a_refused_open_leaves_nothing_to_do() -> None:
    rig = Rig()
    rig.hello()
    rig.lost(1006)
    rig.answer(TokenInvalidError())
    assert rig.is_in(S.GONE)
    assert len(rig.calls) == 1
    assert not rig.sent


def test_an_open_counts_for_its_application_and_participant() -> None:
    rig = Rig()
    rig.hello()
    rig.services.tokens["t"] = Token()
    anonymous = Rig(rig.services)
    anonymous.hello(token="t")
    assert rig.services.admitted == [(APP, ANNA), (APP, "jti-1 192.0.2.1")]


@pytest.mark.parametrize(
    "nulls",
    [
        {"device": None}, {"sdk": None}, {"participant": None}, {"participant": {"ifNew": None, "name": "A"}},
        {"sdk": {"name": None, "version": "1"}}, {"device": {"id": None}},
    ],
)  # fmt: skip
def test_null_is_absent_in_an_open(nulls: dict[str, Any]) -> None:
    """What users ran into: `device: null` was refused while `name: null` was taken."""
    rig = Rig()
    rig.hello(**nulls)
    assert rig.is_in(S.JOINING), rig.sent
    rig = Rig()
    assert rig.error(rig.hello(token=None)) == ErrorCode.ILLEGAL_ARGUMENT
