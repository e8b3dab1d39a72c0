"""Promise 4 in seconds, for the defaults and for other settings."""

from __future__ import annotations

from msgspec.structs import replace

from greenroom.server.cluster.detection_bounds import Bound, bounds_of
from greenroom.server.config import ServerConfig


def _bounds(**settings: float) -> dict[str, Bound]:
    return {bound.cause: bound for bound in bounds_of(replace(ServerConfig(), **settings))}


def test_each_cause_has_one_row_and_everything_ends() -> None:
    bounds = bounds_of(ServerConfig())
    assert len({bound.cause for bound in bounds}) == len(bounds)
    for bound in bounds:
        assert bound.ended is not None
        assert bound.unreachable is None or bound.unreachable <= bound.ended


def test_watchers_are_notified_later_than_it_is_known() -> None:
    for bound in bounds_of(ServerConfig()):
        assert (bound.notified is None) == (bound.unreachable is None)
        if bound.notified is not None and bound.unreachable is not None:
            assert bound.notified - bound.unreachable == 2.0


def test_a_client_that_vanishes_is_found_by_its_ping() -> None:
    bound, later = _bounds()["silent"], _bounds(ping_interval=25.0)["silent"]
    assert bound.unreachable == 25.0
    assert later.unreachable == 35.0


def test_the_grace_moves_the_end_alone() -> None:
    short, long = _bounds(grace=20.0), _bounds(grace=60.0)
    for cause in ("reset", "silent", "node", "restart", "engine"):
        assert short[cause].unreachable == long[cause].unreachable
        assert (long[cause].ended or 0) - (short[cause].ended or 0) == 40.0
    assert short["left"] == long["left"], "a page that was left has a grace of its own"
    assert short["closed"] == long["closed"]


def test_the_defaults_give_the_figures_of_promise_4() -> None:
    found = {bound.cause: (bound.unreachable, bound.ended) for bound in bounds_of(ServerConfig())}
    assert found == {
        "closed": (None, 1.0),
        "reset": (1.0, 42.0),
        "left": (1.0, 7.0),
        "silent": (25.0, 66.0),
        "node": (12.0, 53.0),
        "restart": (0.0, 41.0),
        "engine": (25.0, 66.0),
    }
