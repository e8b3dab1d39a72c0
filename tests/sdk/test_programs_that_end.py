"""A program that ends without close, or whose secret is wrong: what it prints, in a process of its own."""

from __future__ import annotations

import asyncio
import sys

import pytest

from greenroom.testing.fake_service import FakeService, make_token
from tests.support.patience import PATIENCE

pytestmark = pytest.mark.slow

WITHOUT_CLOSE = """
import asyncio, sys
from greenroom import Greenroom

async def main():
    sdk = Greenroom(sys.argv[1])
    sdk.initialize_token(sys.argv[2])
    participant = await sdk.session.open()
    print(participant.info.external_id)

asyncio.run(main())
"""
BLOCKING_WITHOUT_CLOSE = """
import sys
from greenroom.blocking import Greenroom

sdk = Greenroom(sys.argv[1])
sdk.initialize_token(sys.argv[2])
print(sdk.session.open().info.external_id)
"""
WRONG_SECRET = """
import asyncio, sys
from greenroom import Greenroom, GreenroomError

async def main():
    sdk = Greenroom(sys.argv[1])
    sdk.initialize("key", "wrong")
    try:
        await sdk.session.open()
    except GreenroomError as error:
        print(type(error).__name__)

asyncio.run(main())
"""


async def _ran(program: str) -> tuple[int | None, str, str]:
    """Exit code and what was printed, with every warning shown."""
    async with FakeService() as service:
        arguments = ("-W", "default", "-c", program, service.url, make_token(external_id="ada"))
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(sys.executable, *arguments, stdout=pipe, stderr=pipe)
        out, err = await asyncio.wait_for(process.communicate(), PATIENCE)
    return process.returncode, out.decode().strip(), err.decode()


@pytest.mark.parametrize("program", [WITHOUT_CLOSE, BLOCKING_WITHOUT_CLOSE], ids=["asyncio", "blocking"])
async def test_a_program_that_ends_without_close_prints_nothing_of_its_own_making(program: str) -> None:
    code, out, err = await _ran(program)
    assert (code, out) == (0, "ada")
    assert "Unclosed" not in err
    assert "Task was destroyed" not in err


async def test_a_wrong_secret_is_one_error_and_no_noise() -> None:
    code, out, err = await _ran(WRONG_SECRET)
    assert (code, out) == (0, "TokenInvalidError")
    assert "Unclosed" not in err
