"""The tests of connections once more on uvloop, as the service runs; the others watch for a loop that is held up."""

import pytest

from tests.server.wire.test_websocket import *  # noqa: F403

pytestmark = pytest.mark.uvloop
