"""What happens before and after a token's end."""

from __future__ import annotations

from greenroom.codes import CloseCode, ErrorCode
from greenroom.core.server.endings import TEXT_OF_REASON
from greenroom.model import EndReason
from tests.core.server.rig import ANNA, WALL, Rig, S, ending, person


def test_token_expiring_is_sent_once_60_seconds_ahead() -> None:
    rig = Rig().open()
    rig.pass_alive(3539)
    assert not rig.notifications("session.tokenExpiring")
    rig.pass_alive(2)
    assert rig.notifications("session.tokenExpiring") == [{"expiresAt": (int(WALL) + 3600) * 1000}]
    rig.pass_alive(50)
    assert len(rig.notifications("session.tokenExpiring")) == 1


def test_a_short_token_is_not_said_to_expire_before_the_last_quarter_of_its_life() -> None:
    rig = Rig().open(token_expires_at=int(WALL) + 40)
    rig.pass_alive(29)
    assert not rig.notifications("session.tokenExpiring")
    rig.pass_alive(2)
    assert len(rig.notifications("session.tokenExpiring")) == 1


def test_an_expired_session_serves_only_refresh_close_and_ping_then_ends() -> None:
    rig = Rig().open()
    rig.pass_alive(3601)
    assert rig.is_in(S.EXPIRED)
    assert rig.error(rig.send("session.getParticipant")) == ErrorCode.TOKEN_EXPIRED
    assert rig.result(rig.send("ping")) == {}
    rig.pass_alive(30)
    assert rig.is_in(S.ENDING)
    assert rig.requests == [ending(rig.owner, EndReason.TOKEN_EXPIRED, TEXT_OF_REASON[EndReason.TOKEN_EXPIRED])]
    rig.answer(None)
    assert rig.notifications("session.ended")[0]["reason"] == "token_expired"
    assert rig.close_code == CloseCode.TOKEN_EXPIRED


def test_a_resume_after_the_tokens_end_gets_time_to_refresh() -> None:
    rig = Rig()
    rig.wall += 4000
    number = rig.resume()
    rig.join(generation=2)
    rig.answer([person(ANNA, 9)])
    assert rig.result(number)
    assert rig.is_in(S.EXPIRED)
    rig.pass_alive(29)
    assert rig.is_in(S.EXPIRED)
    rig.pass_alive(2)
    assert rig.is_in(S.ENDING)


def test_a_wall_clock_set_back_postpones_the_end_and_one_set_forward_is_seen_at_the_next_heartbeat() -> None:
    rig = Rig().open()
    rig.wall -= 7200
    rig.pass_alive(3700)
    assert rig.is_in(S.OPEN)
    rig.wall += 7200
    rig.pass_alive(16)
    assert rig.is_in(S.EXPIRED)


def test_a_session_that_resumes_again_and_again_after_its_tokens_end_gains_nothing() -> None:
    """The report: each resume granted 30 s more, so a session whose token had ended lived for ever."""
    expired = int(WALL) + 3600
    for resumed_after in (5, 20, 29):
        rig = Rig()
        rig.wall += 3600 + resumed_after
        number = rig.resume()
        rig.join(generation=2, token_grace_since=(expired + 5) * 1000)
        rig.answer([person(ANNA, 9)])
        assert rig.result(number)
        rig.pass_alive(35 - resumed_after - 1)
        assert rig.is_in(S.EXPIRED)
        rig.pass_alive(2)
        assert rig.is_in(S.ENDING)
    rig = Rig()
    rig.wall += 3600 + 36
    rig.resume()
    rig.join(generation=2, token_grace_since=(expired + 5) * 1000)
    rig.answer([person(ANNA, 9)])
    assert rig.is_in(S.ENDING)
