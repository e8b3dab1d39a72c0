"""The front door's tests once more on uvloop, as the service runs; the others watch for a loop that is held up."""

import pytest

from tests.server.wire.test_front_door import *  # noqa: F403
from tests.server.wire.test_http_protocol import *  # noqa: F403

pytestmark = pytest.mark.uvloop
