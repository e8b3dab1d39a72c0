"""The data of an open, of a session, and of one that is kept for the next process."""

from __future__ import annotations

import msgspec

from greenroom.core.client.opening import Credentials, Opening, SavedSession
from greenroom.messages import Device, SdkVersion
from greenroom.model import ParticipantInfo


def test_secrets_change_with_the_first_reply_and_not_before() -> None:
    credentials = Credentials("s1", "one")
    first = credentials.resume("two", None, [], [])
    again = credentials.resume("three", "token", [("ada", 5)], [("r", 7)])
    assert (first.attempt, first.resume_secret, first.next_secret) == (1, "one", "two")
    assert (again.attempt, again.resume_secret, again.next_secret, again.token) == (2, "one", "two", "token")
    assert (again.watching, again.watching_rooms) == ([("ada", 5)], [("r", 7)])
    assert credentials.secrets() == ["one", "two"]
    credentials.resumed()
    assert credentials.secrets() == ["two"]


def test_a_saved_session_has_its_credentials_again() -> None:
    info = ParticipantInfo("Ada")
    saved = SavedSession(id="s1", secrets=["one", "two"], attempt=3, grace=40.0, info=info, app="app", external_id=None)
    read = msgspec.json.decode(msgspec.json.encode(saved), type=SavedSession)
    assert read == saved
    assert read.credentials() == Credentials("s1", "one", "two", 3)


def test_a_reopen_brings_no_old_name_back() -> None:
    opening = Opening(ParticipantInfo("Ada"), Device("tab"), "open", "secret", reopen_reason="timeout")
    assert opening.params("token", SdkVersion()).participant.if_new
    first = Opening(ParticipantInfo("Ada", external_id=""), Device(), "open", "secret")
    assert not first.params("token", SdkVersion()).participant.if_new
    assert first.params("token", SdkVersion()).participant.external_id is None
