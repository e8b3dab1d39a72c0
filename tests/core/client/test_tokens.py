"""The token, its schedule, and the one call of the refresh callback; scenarios show it in a session."""

from __future__ import annotations

from typing import Any

import pytest

from greenroom.core.client.clock import ServiceClock
from greenroom.core.client.effects import CancelTokenRequest, ClientSettings, ClientTools, RequestToken
from greenroom.core.client.tokens import TokenManager, TokenOrigin
from greenroom.errors import GreenroomError, TokenInvalidError, TokenRefreshError
from greenroom.tokens.reader import peek
from tests.support.scenarios import token_text

WALL = 1_700_000_000.0
CLAIMS = {"app": "app", "xid": "ada", "iat": int(WALL), "exp": int(WALL) + 600}


def _manager(wall: float = WALL) -> tuple[TokenManager, ServiceClock]:
    clock = ServiceClock()
    clock.note(0.0, wall)
    tools = ClientTools(random=lambda: 0.5, random_bytes=bytes, wall=lambda: wall, peek=peek)
    manager = TokenManager(tools, ClientSettings(), clock)
    manager.refreshable = True
    return manager, clock


def _adopt(manager: TokenManager, origin: TokenOrigin = TokenOrigin.GIVEN, **claims: Any) -> str:
    text = token_text(CLAIMS | claims)
    manager.adopt(*manager.check(text, origin), origin)
    return text


def test_at_half_at_three_quarters_and_at_the_end() -> None:
    manager, clock = _manager()
    _adopt(manager)
    asked = []
    for second in range(0, 601, 50):
        clock.note(float(second), WALL + second)
        effects, error, _ = manager.run(float(second), live=True)
        assert error is None
        for effect in effects:
            assert isinstance(effect, RequestToken)
            asked.append((second, effect.is_expired))
            manager.answer(effect.number, OSError())
    assert asked == [(300, False), (450, False), (600, True)]


def test_a_callback_that_hangs_is_given_up() -> None:
    manager, _ = _manager()
    _adopt(manager)
    manager.request_refresh(is_expired=False)
    ((request,), _, _) = manager.run(0.0, live=True)
    assert isinstance(request, RequestToken)
    assert manager.due(0.0, live=True) == 10.0
    effects, error, _ = manager.run(10.0, live=True)
    assert effects == [CancelTokenRequest(request.number)]
    assert isinstance(error, TokenRefreshError)
    assert manager.answer(request.number, token_text(CLAIMS)) is None


def test_an_expired_token_without_a_callback_is_the_services_to_judge() -> None:
    manager, _ = _manager(WALL + 3600)
    _adopt(manager)
    assert not manager.is_usable()
    assert not manager.may_be_tried()
    manager.refreshable = False
    assert manager.may_be_tried()
    manager.expire()
    assert not manager.may_be_tried()


def test_the_callbacks_own_words_are_in_the_error() -> None:
    manager, _ = _manager()
    manager.request_refresh(is_expired=True)
    ((request,), _, _) = manager.run(0.0, live=False)
    assert isinstance(request, RequestToken)
    outcome = manager.answer(request.number, ConnectionError("the token server said 503"))
    assert outcome is not None
    assert "raised ConnectionError: the token server said 503." in str(outcome[0])


@pytest.mark.parametrize("claims", [{"app": "other"}, {"xid": "bob"}])
def test_a_token_for_someone_else_names_the_claim(claims: dict[str, str]) -> None:
    manager, _ = _manager()
    _adopt(manager)
    with pytest.raises(TokenInvalidError, match=next(iter(claims))):
        manager.check(token_text(CLAIMS | claims), TokenOrigin.CALLBACK)


@pytest.mark.parametrize("given", [None, 5, b"a.b.c", "", "'a.b.c'", "bearer a.b.c", "{}"])
@pytest.mark.parametrize("origin", list(TokenOrigin))
def test_what_is_no_token(given: object, origin: TokenOrigin) -> None:
    manager, _ = _manager()
    with pytest.raises(GreenroomError):
        manager.check(given, origin)
