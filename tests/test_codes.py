"""The bands, and that every number is explained."""

from __future__ import annotations

import pytest

from greenroom.codes import CLOSES, ERRORS, CloseCode, ErrorCode, is_retryable_close, is_retryable_error


def test_every_code_is_explained() -> None:
    assert set(ERRORS) == set(ErrorCode)
    assert set(CLOSES) == set(CloseCode)
    for code, row in ERRORS.items():
        assert row.meaning.endswith("."), code
        assert row.what_to_do.endswith("."), code
        assert 400 <= row.http_status < 600, code


def test_reasons_are_unique() -> None:
    assert len({row.reason for row in ERRORS.values()}) == len(ERRORS)
    assert len({row.reason for row in CLOSES.values()}) == len(CLOSES)


@pytest.mark.parametrize(
    ("code", "again"),
    [(-32001, True), (-32049, True), (-32050, False), (-32099, False), (-32602, False), (-32603, True), (7, False)],
)
def test_the_band_of_an_error_says_whether_to_try_again(code: int, again: bool) -> None:
    assert is_retryable_error(code) is again


@pytest.mark.parametrize(
    ("code", "back"), [(1006, True), (1012, True), (4000, True), (4499, True), (4500, False), (4999, False)]
)
def test_the_band_of_a_close_says_whether_to_come_back(code: int, back: bool) -> None:
    assert is_retryable_close(code) is back


def test_our_codes_lie_in_their_bands() -> None:
    for code in ErrorCode:
        assert code in range(-32099, -32000) or code in (-32700, -32600, -32601, -32602, -32603)
    for close in CloseCode:
        assert close in range(1000, 1012) or close in range(4000, 5000)
