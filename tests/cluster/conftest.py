"""What the tests of clusters share."""

from __future__ import annotations

from typing import cast

import pytest

from tests.cluster.forms import FORMS, Form


@pytest.fixture(scope="module", params=FORMS)
def form(request: pytest.FixtureRequest) -> Form:
    """Each test that asks for it is run in both forms; its nodes are started with the form's grace."""
    return cast(Form, request.param)
