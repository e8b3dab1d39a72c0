"""What the tests of webhooks share."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest

from tests.support.certificates import self_signed as self_signed_certificate
from tests.support.certificates import server_context


@pytest.fixture
def self_signed(tmp_path: Path) -> ssl.SSLContext:
    """TLS for 127.0.0.1 with a certificate that nobody vouches for."""
    return server_context(self_signed_certificate(tmp_path))
