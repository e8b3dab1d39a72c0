"""The service may have as many connections as the system lets it."""

from __future__ import annotations

import subprocess
import sys

from tests.support.patience import PATIENCE

_CODE = """
import resource
from greenroom.server.process import raise_file_limit
_, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
raise_file_limit()
assert resource.getrlimit(resource.RLIMIT_NOFILE) == (hard, hard)
"""


def test_the_soft_limit_is_raised_to_the_hard_one() -> None:
    subprocess.run([sys.executable, "-c", _CODE], check=True, timeout=PATIENCE)
