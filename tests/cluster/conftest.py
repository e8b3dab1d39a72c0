"""What the tests of clusters share."""

from __future__ import annotations

from dataclasses import replace
from typing import cast

import pytest

from tests.cluster import crowd
from tests.cluster.forms import FORMS, Form


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """No SDK takes its connection for lost, or repeats its open, because a machine is busy. An open that is repeated
    after 64 later sessions of its participant have ended is another session (S2)."""
    settings = replace(crowd.SETTINGS, attempt_timeout=30.0, ping_interval=20.0, pong_timeout=15.0)
    monkeypatch.setattr(crowd, "SETTINGS", settings)


@pytest.fixture(scope="module", params=FORMS)
def form(request: pytest.FixtureRequest) -> Form:
    """Each test that asks for it is run in both forms; its nodes are started with the form's grace."""
    return cast(Form, request.param)
