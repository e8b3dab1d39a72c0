"""The way to the service: what goes into its address, and no noise of the library underneath."""

from __future__ import annotations

import asyncio
import sys

import pytest

from greenroom.testing.fake_service import FakeService, make_token
from tests.support.patience import PATIENCE
from tests.support.sdk import new_sdk


async def test_no_secret_is_in_the_url() -> None:
    async with FakeService() as service:
        sdk, _ = new_sdk(service)
        await sdk.session.open()
        await sdk.session.close()
        assert service.paths == ["/v1/session"]


SCRIPT = """
import asyncio, sys
from greenroom import Greenroom

async def main():
    sdk = Greenroom(sys.argv[1])
    {initialize}
    try:
        await sdk.session.open(timeout=60.0)
    except Exception as error:
        print(type(error).__name__)

asyncio.run(main())
"""


@pytest.mark.parametrize(
    ("initialize", "output"),
    [("sdk.initialize('key', 'wrong')", "TokenInvalidError\n"), ("sdk.initialize_token(sys.argv[2])", "")],
    ids=["a wrong secret", "a script that ends without close"],
)
async def test_no_noise_of_aiohttp(initialize: str, output: str) -> None:
    async with FakeService() as service:
        program = SCRIPT.replace("{initialize}", initialize)
        arguments = [sys.executable, "-W", "default", "-c", program, service.url, make_token()]
        done = await asyncio.create_subprocess_exec(
            *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
        )
        out, err = await asyncio.wait_for(done.communicate(), PATIENCE)
    assert (out.decode(), err.decode()) == (output, "")
