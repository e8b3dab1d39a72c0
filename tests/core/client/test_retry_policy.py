"""What an SDK does after an error, an end or a close code."""

from __future__ import annotations

import pytest

from greenroom.codes import CloseCode, ErrorCode
from greenroom.core.client.retry_policy import (
    RetryAction,
    action_of_close,
    action_of_end,
    action_of_error,
    end_reason_of,
    error_of_close,
    retry_of_close,
)
from greenroom.errors import CLASS_OF_CODE, SessionEndedError


@pytest.mark.parametrize("code", list(ErrorCode))
def test_every_error_has_an_action(code: ErrorCode) -> None:
    error = CLASS_OF_CODE[code](code=code)
    action = action_of_error(error)
    assert not error.retryable or action in (RetryAction.RETRY, RetryAction.REFRESH, RetryAction.REOPEN)
    assert end_reason_of(error)


@pytest.mark.parametrize(
    ("reason", "action"),
    [("kicked", RetryAction.FINAL), ("timeout", RetryAction.REOPEN), ("of a newer service", RetryAction.REOPEN)],
)
def test_ends(reason: str, action: RetryAction) -> None:
    assert action_of_end(reason) is action
    assert action_of_error(SessionEndedError(end_reason=reason)) is action


@pytest.mark.parametrize("code", [one for one in CloseCode if one >= 4500])
def test_final_close_codes_stand_for_an_error(code: CloseCode) -> None:
    assert action_of_close(code) in (RetryAction.FINAL, RetryAction.SUPERSEDED)
    assert error_of_close(code, "why").message == "why"


@pytest.mark.parametrize("text", ["", "{", '{"after":"soon"}', "[]", '{"after":1e999}', "why"])
def test_a_close_reason_that_is_no_retry(text: str) -> None:
    assert retry_of_close(text) is None or text == '{"after":1e999}'


def test_a_close_reason_that_says_when() -> None:
    retry = retry_of_close('{"after":2,"jitter":5}')
    assert retry is not None
    assert (retry.after, retry.jitter) == (2.0, 5.0)
