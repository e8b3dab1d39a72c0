"""What the exit codes mean."""

from __future__ import annotations

import re

import pytest

from greenroom.cli import EPILOG, explain
from greenroom.cli.exits import CliError, Exit, exit_of, exit_of_status
from greenroom.codes import ERRORS, ErrorCode
from greenroom.errors import CLASS_OF_CODE


@pytest.mark.parametrize("code", ErrorCode)
def test_every_error_has_an_exit_code_and_one_line(code: ErrorCode) -> None:
    error = CLASS_OF_CODE[code](code=code)
    text, exit_code = explain(error)
    assert "\n" not in text
    assert exit_code is exit_of(error)
    assert exit_code not in (Exit.DONE, Exit.BUG, Exit.INTERRUPTED)
    if ERRORS[code].http_status == 401:
        assert exit_code is Exit.CREDENTIALS


def test_refusals_over_http() -> None:
    codes = {status: exit_of_status(status) for status in (400, 401, 403, 404, 409, 413, 429, 500, 503, 504)}
    assert codes == {
        400: Exit.USAGE,
        401: Exit.CREDENTIALS,
        403: Exit.CREDENTIALS,
        404: Exit.NOT_FOUND,
        409: Exit.CONFLICT,
        413: Exit.FAILED,
        429: Exit.TRY_LATER,
        500: Exit.FAILED,
        503: Exit.TRY_LATER,
        504: Exit.UNREACHABLE,
    }


def test_an_error_is_one_line_and_fails_unless_it_says_more() -> None:
    error = CliError("several\n  lines")
    assert (str(error), error.exit) == ("several lines", Exit.FAILED)


def test_the_help_names_every_exit_code() -> None:
    named = [int(number) for number in re.findall(r"(?:: |; )(\d+) ", EPILOG)]
    assert named == [code.value for code in Exit]
