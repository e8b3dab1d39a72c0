"""One tree; every error says what is wrong and what to change, and comes over the wire as it went in."""

from __future__ import annotations

import pickle
from math import inf, nan

import pytest

from greenroom import errors
from greenroom.codes import ErrorCode
from greenroom.errors import (
    CLASS_OF_CODE,
    GreenroomError,
    ParticipantBlockedError,
    ProtocolError,
    RateLimitedError,
    RevisionConflictError,
    ScopeMissingError,
    ServiceUnavailableError,
    SessionEndedError,
    from_wire,
    to_wire_data,
)


@pytest.mark.parametrize("code", list(ErrorCode))
def test_every_code_makes_an_error_that_says_what_to_change(code: ErrorCode) -> None:
    error = CLASS_OF_CODE[code](code=code)
    assert error.code is code
    assert error.message in str(error)
    assert error.hint
    assert error.hint in str(error)


@pytest.mark.parametrize("code", list(ErrorCode))
def test_every_error_survives_the_wire(code: ErrorCode) -> None:
    error = CLASS_OF_CODE[code](code=code)
    again = from_wire(int(error.code), error.message, to_wire_data(error))
    assert type(again) is type(error)
    assert str(again) == str(error)
    assert again.retryable == error.retryable


@pytest.mark.parametrize(
    "error",
    [
        ParticipantBlockedError(until=1_700_000_000_000),
        ScopeMissingError(scope="session:update"),
        SessionEndedError(end_reason="kicked"),
        RateLimitedError(retry_after=2.5),
        ServiceUnavailableError(retry_after=15.0, code=ErrorCode.DRAINING),
        RevisionConflictError(participant={"id": "a", "revision": 2}),
    ],
)
def test_what_an_error_carries_survives_wire_and_pickle(error: GreenroomError) -> None:
    again = from_wire(int(error.code), error.message, to_wire_data(error))
    assert again.details() == error.details()
    pickled: GreenroomError = pickle.loads(pickle.dumps(error))
    assert pickled.details() == error.details()
    assert str(pickled) == str(error)


def test_codes_of_a_newer_service_are_judged_by_their_band() -> None:
    assert isinstance(from_wire(-32047, "new"), ServiceUnavailableError)
    assert from_wire(-32047, "new").retryable
    assert isinstance(from_wire(-32097, "new"), ProtocolError)
    assert not from_wire(-32097, "new").retryable


def test_hostile_details_are_not_trusted() -> None:
    error = from_wire(-32002, "slow down", {"retryAfter": "soon", "hint": 7})
    assert isinstance(error, RateLimitedError)
    assert error.retry_after is None


def test_the_tree_drawn_at_the_top_is_the_tree() -> None:
    drawn = errors.__doc__ or ""
    classes = [
        name
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, GreenroomError) and not name.startswith("_")
    ]
    assert len(classes) > 20
    for name in classes:
        assert name in drawn, f"{name} is missing in the tree at the top of errors.py"


def test_an_ended_session_says_why() -> None:
    assert SessionEndedError(end_reason="kicked").reason == "kicked"
    assert SessionEndedError().reason == "Session_ended"
    assert to_wire_data(SessionEndedError(end_reason="kicked"))["reason"] == "Session_ended"


@pytest.mark.parametrize(
    ("retry_after", "sent"),
    [(inf, 3600.0), (1e12, 3600.0), (nan, None), (-1.0, None), (0.0, 0.0), (2.5, 2.5), (None, None)],
)
def test_the_service_never_sends_a_delay_that_is_infinite_negative_or_huge(
    retry_after: float | None, sent: float | None
) -> None:
    for kind in (ServiceUnavailableError, RateLimitedError):
        data = to_wire_data(kind(retry_after=retry_after))
        assert data.get("retryAfter") == sent
