"""Requests as texts and JSON: every text arrives under its name in Lua, and nothing is lost on the way."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from lupa import lua51

from greenroom.core.requests import AttachRequest, EndRequest, OpenRequest, Owner, TokenFacts, UpdateRequest
from greenroom.engines.base import CutOffTokens, EraseParticipant
from greenroom.engines.redis import arguments
from greenroom.engines.redis.replies import session
from greenroom.errors import IllegalArgumentError
from greenroom.model import (
    Application,
    EndReason,
    ParticipantRecord,
    Restriction,
    RoomGrant,
    SealedKey,
    SessionPolicy,
    SessionRecord,
    erased_subject,
)
from tests.support.lua_redis import split
from tests.support.lua_values import from_json

OWNER = Owner("p1-s", 4, "lease-1")
GRANTS = (RoomGrant(name="a room *", can=("join", "watch")),)
TOKEN = TokenFacts(jti="j", issued_at=1, expires_at=2, scopes=("a", "b"), room_grants=GRANTS)
POLICY = SessionPolicy()
OPEN = OpenRequest(
    app="app", participant_id="anna", external_id=None, open_id="o", secret_hash=b"\x00\xff", session_id="p1-s",
    node="n", lease="l", token=TOKEN,
)  # fmt: skip


def in_lua(function: str, texts: tuple[str | int, ...]) -> dict[str, Any]:
    """What the function is given, by name."""
    lua = lua51.LuaRuntime(encoding=None, unpack_returned_tuples=True)
    decode = lua.table_from({b"decode": lambda text: from_json(text, lua.table_from)})
    lua.globals()[b"cjson"], lua.globals()[b"split"] = decode, split
    read = lua.execute((arguments.in_lua(arguments.REQUESTS) + f"\nreturn REQUESTS['{function}']").encode())
    one_each = "|" in arguments.REQUESTS[function]
    given = [str(text).encode() for text in texts] if one_each else [arguments.joined(texts)]
    table = read(lua.table_from([b"", *given]))
    return {name.decode(): value.decode() if isinstance(value, bytes) else value for name, value in table.items()}


def test_an_open_arrives_with_what_is_given_and_nothing_else() -> None:
    assert in_lua("open", arguments.open_texts(OPEN, 7, packed=False)) == {
        "app": "app", "pid": "anna", "hashed": arguments.hashed("anna"), "oid": "o", "secret": "00ff", "id": "p1-s",
        "node": "n", "lease": "l", "jti": "j", "iat": "1", "exp": "2",
        "scopes": arguments.rights(TOKEN.scopes, GRANTS), "grace": "40000", "max_sessions": POLICY.max_sessions,
        "when_full": POLICY.when_full, "same_device": POLICY.same_device, "other_sessions": 7,
    }  # fmt: skip
    full = msgspec.structs.replace(
        OPEN, external_id="e", device_id="d", device_name="dn", sdk="s", address="::1", status="busy", name="Anna",
        avatar_url="u", attributes={"team": None}, if_new=True, may_change_profile=False, anonymous=True,
        max_application_sessions=3,
    )  # fmt: skip
    given = in_lua("open", arguments.open_texts(full, 0, packed=True))
    names = {name.rstrip("#*?") for name in arguments.REQUESTS["open"].split()}
    assert given.keys() == names
    assert (given["max_application_sessions"], given["status"], given["keep_profile"]) == (3, "busy", "1")
    assert list(given["attributes"].keys()) == [b"team"], "one that is removed is there"


def test_an_empty_text_is_one_and_available_is_no_status() -> None:
    request = msgspec.structs.replace(OPEN, name="", status="available")
    given = in_lua("open", arguments.open_texts(request, 0, packed=False))
    assert given["name"] == ""
    assert "status" not in given


@pytest.mark.parametrize(
    ("function", "texts", "expected"),
    [
        (
            "attach",
            arguments.attach_texts(AttachRequest(session_id="p1-s", node="n", lease="l", previous=OWNER)),
            {"id": "p1-s", "node": "n", "lease": "l", "secret": "", "next_secret": "", "attempt": 0,
             "owner_generation": "4", "owner_lease": "lease-1"},
        ),
        (
            "refresh",
            arguments.refresh_texts(OWNER, msgspec.structs.replace(TOKEN, room_grants=()), ()),
            {"id": "p1-s", "owner_generation": "4", "owner_lease": "lease-1", "jti": "j", "iat": "1", "exp": "2",
             "scopes": "a b"},
        ),
        (
            "detach",
            arguments.detach_texts(OWNER, 0.0004),
            {"id": "p1-s", "owner_generation": "4", "owner_lease": "lease-1", "grace_ms": 0},
        ),
        (
            "close",
            arguments.close_texts(EndRequest(session_id="p1-s", reason=EndReason.KICKED, secret_hash=b"\x01")),
            {"id": "p1-s", "reason": "kicked", "text": "", "secret": "01"},
        ),
        (
            "update",
            arguments.update_texts(UpdateRequest(app="app", participant_id="anna", if_revision=0, owner=OWNER)),
            {"app": "app", "pid": "anna", "if_revision": 0, "id": "p1-s", "owner_generation": "4",
             "owner_lease": "lease-1"},
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_each_request_arrives_under_its_names(
    function: str, texts: tuple[str | int, ...], expected: dict[str, Any]
) -> None:
    assert in_lua(function, texts) == expected


def test_a_null_in_a_text_would_be_its_end_and_is_refused() -> None:
    request = EndRequest(session_id="p1-s", reason=EndReason.KICKED, text="why\0\0not")
    with pytest.raises(IllegalArgumentError):
        arguments.joined(arguments.close_texts(request))


def test_a_session_with_an_empty_text_is_not_packed() -> None:
    """There an empty text is one that is absent."""
    for name in ("external_id", "device_id", "device_name"):
        request = msgspec.structs.replace(OPEN, **{name: ""})
        assert "packed" not in in_lua("open", arguments.open_texts(request, 0, packed=True))
    assert in_lua("open", arguments.open_texts(OPEN, 0, packed=True))["packed"] == "1"


def test_what_is_repeated_is_a_list() -> None:
    given = in_lua("room_done", ("mark-1", 3, "1", "mark-2", 4, arguments.ABSENT))
    items = [{name.decode(): value for name, value in item.items()} for item in given["items"].values()]
    assert items == [{"mark": b"mark-1", "number": 3, "none": b"1"}, {"mark": b"mark-2", "number": 4}]


def test_rights_are_one_field_with_single_spaces_and_are_read_again() -> None:
    assert arguments.rights(("a", "b"), ()) == "a b"
    for scopes, grants in ((("a", "b"), GRANTS), ((), GRANTS), (("a",), ()), ((), ())):
        stored = arguments.rights(scopes, grants)
        assert "  " not in stored
        record = session([b"scopes", stored.encode()])
        assert (record.scopes, record.room_grants) == (scopes, grants)


def test_a_name_is_cut_by_its_bytes_so_that_no_two_are_one() -> None:
    assert arguments.subject("é", "x") == "2:é:x"
    assert arguments.subject("a:1", "x") != arguments.subject("a", "1:x")


def test_who_was_erased_has_the_same_hash_as_before() -> None:
    assert arguments.hashed("anna") == arguments.hashed(erased_subject("anna"))
    assert arguments.hashed("anna") != arguments.hashed("bob")
    assert len(arguments.hashed("anna")) == 32


def test_items_in_pieces_are_all_items() -> None:
    assert list(arguments.batched("abcde", 2)) == ["ab", "cd", "e"]
    assert list(arguments.batched([], 2)) == []


def test_an_argument_leaves_out_what_is_none() -> None:
    assert msgspec.json.decode(arguments.argument(a=None, b=0, c="", d=False)) == {"b": 0, "c": "", "d": False}


def test_a_restriction_names_its_kind_and_only_an_erase_the_hash_in_full() -> None:
    cut = msgspec.json.decode(arguments.restrict_argument(CutOffTokens(app="app", participant_id="anna", before=9)))
    assert (cut["kind"], cut["before"], cut["hashed"]) == ("cutoff", 9, arguments.hashed("anna"))
    assert "erased" not in cut
    erase = msgspec.json.decode(arguments.restrict_argument(EraseParticipant(app="app", participant_id="anna")))
    assert erase["erased"] == erased_subject("anna")


def test_a_session_to_be_restored_has_its_fields_as_they_are_stored() -> None:
    record = SessionRecord(
        id="p1-s", app="app", participant_id="anna", node="n", lease="l", generation=3, scopes=("a",),
        room_grants=GRANTS, rooms=("r",), status="busy",
    )  # fmt: skip
    item = arguments.restore_item(record, ParticipantRecord(app="app", id="anna", attributes={}), b"\x01", 2, 1.5)
    flat = [text.encode() for name, value in item["session"].items() for text in (name, str(value))]
    assert session(flat) == record
    assert (item["session"]["secret"], item["session"]["attempt"], item["session"]["grace"]) == ("01", 2, 1500)
    assert "xid" not in item["session"]
    assert item["participant"]["attrs"] == "{}"


@pytest.mark.parametrize(
    ("restriction", "expected"),
    [
        (Restriction(app="app", kind="jti", subject="j", created_at=0), {"field": "j:j", "expires": 90_000_000}),
        (Restriction(app="app", kind="block", subject="anna", until=7), {"expires": 7}),
        (Restriction(app="app", kind="block", subject="anna"), {}),
        (Restriction(app="app", kind="block", subject="anna", lifted=True), {"expires": 90_000_000, "lifted": True}),
        (Restriction(app="app", kind="cutoff", subject="anna", before=90), {"expires": 90_090_000, "before": 90}),
    ],
    ids=lambda value: "",
)  # fmt: skip
def test_a_restriction_is_put_back_with_when_it_expires(restriction: Restriction, expected: dict[str, Any]) -> None:
    item = arguments.restriction_item(restriction)
    record = msgspec.json.decode(item.pop("record"), type=dict[str, Any])
    letter = {"block": "b", "cutoff": "c", "jti": "j"}[restriction.kind]
    field = f"{letter}:{arguments.hashed('anna')}"
    assert item == {"app": "app", "field": field, "created_at": 0} | expected
    assert Restriction(app="app", **record) == restriction


def test_members_that_this_version_does_not_know_are_kept() -> None:
    stored = {"name": "old", "secrets": [{"x": 1}], "new": 1, "settings": {"new": [2], "policy": {"deep": 3}}}
    record = Application(key="app", name="App", namespace="n")
    kept = msgspec.json.decode(arguments.merged(record, msgspec.json.encode(stored)), type=dict[str, Any])
    assert (kept["name"], kept["secrets"], kept["new"]) == ("App", [], 1)
    assert (kept["settings"]["new"], kept["settings"]["policy"]["deep"]) == ([2], 3)
    assert msgspec.convert(kept, Application) == record
    key = SealedKey(kid="k", alg="EdDSA", sealed=b"s", created_at=1)
    assert msgspec.json.decode(arguments.merged(key, None), type=SealedKey) == key
