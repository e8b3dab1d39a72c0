"""Applications and keys in memory: loading, secrets, rotation, cut-offs, and what is kept from whom."""

from __future__ import annotations

import asyncio
import stat
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import msgspec
import pytest

from greenroom.errors import (
    ConflictError,
    IllegalArgumentError,
    NotFoundError,
    ParticipantBlockedError,
    ServiceUnavailableError,
    TokenInvalidError,
)
from greenroom.model import Application, Restriction, StoredSecret
from greenroom.server.config import ServerConfig
from greenroom.server.tenants import applications
from greenroom.server.tenants.applications import Tenants
from greenroom.server.tenants.keys import ANNOUNCED, JWKS_MAX_AGE
from greenroom.server.tenants.secrets import derive_pepper, load_secrets, read_or_make
from greenroom.tokens import Algorithm, TokenKind, mint_api_token, parse_basic, verify
from greenroom.tokens.keyring import OVERLAP_SECONDS
from tests.server.http_service import ISSUER, MASTER_KEY, START, Clock, Dice, FakeDirectory, basic


class World:
    """A directory, a clock, and nodes that share them."""

    def __init__(self) -> None:
        self.directory = FakeDirectory()
        self.clock = Clock()

    def node(self, seed: str = "one", master_key: bytes = MASTER_KEY, config: ServerConfig | None = None) -> Tenants:
        """One more node, not loaded."""
        return Tenants(self.directory, master_key=master_key, clock=self.clock, random_bytes=Dice(seed), config=config)

    async def loaded(self, seed: str = "one") -> Tenants:
        """One more node, loaded."""
        tenants = self.node(seed)
        await tenants.load()
        return tenants


def signs_in(tenants: Tenants, app: Application, secret: str) -> bool:
    """Whether key and secret are good."""
    return tenants.authenticate(parse_basic(basic(app.key, secret))) is not None


# --- loading ----------------------------------------------------------------------------------------------------------


async def test_the_first_start_makes_a_key_that_signs_at_once_and_the_next_uses_it() -> None:
    world = World()
    first = await world.loaded("one")
    assert len(world.directory.sealed) == 1
    second = await world.loaded("two")
    assert len(world.directory.sealed) == 1
    assert first.ring.current.kid == second.ring.current.kid
    token = mint_api_token(first.ring, issuer=ISSUER, app="a", scopes=(), now=START, random_bytes=Dice()).token
    assert verify(token, second.ring, kind=TokenKind.API, issuer=ISSUER, now=START).app == "a"


async def test_two_nodes_that_make_the_first_key_at_once_accept_each_other() -> None:
    world = World()
    one, two = world.node("one"), world.node("two")
    await asyncio.gather(one.load(), two.load())
    for tenants in (one, two):
        await tenants.reload()
    assert one.ring.current.kid == two.ring.current.kid
    assert {key.kid for key in one.ring.keys} == set(world.directory.sealed)


async def test_the_algorithm_is_a_setting() -> None:
    tenants = World().node(config=ServerConfig(signing_alg="HS256"))
    await tenants.load()
    assert tenants.ring.current.alg is Algorithm.HS256
    assert tenants.ring.jwks() == {"keys": []}


async def test_another_master_key_is_refused_in_words() -> None:
    world = World()
    await world.loaded()
    with pytest.raises(IllegalArgumentError, match="master key does not open"):
        await world.node(master_key=bytes(32)).load()


async def test_nothing_can_be_signed_before_the_keys_are_loaded() -> None:
    with pytest.raises(RuntimeError, match="not been loaded"):
        _ = World().node().ring


async def test_reload_if_reads_only_what_has_changed() -> None:
    world = World()
    one, two = await world.loaded("one"), await world.loaded("two")
    app, secret = await one.create_application("Test")
    assert two.get(app.key) is None
    assert await two.reload_if(await world.directory.version())
    assert two.get(app.key) == app
    assert signs_in(two, app, secret)
    reads = world.directory.reads
    assert not await two.reload_if(await world.directory.version())
    assert world.directory.reads == reads


async def test_what_changes_while_the_directory_is_read_is_read_again() -> None:
    world = World()
    tenants = await world.loaded()
    directory = world.directory
    read_keys = directory.keys

    async def keys_and_a_change() -> object:
        directory.keys = read_keys  # type: ignore[method-assign]
        await (await world.loaded("other")).create_application("Meanwhile")
        return await read_keys()

    directory.keys = keys_and_a_change  # type: ignore[method-assign, assignment]
    await tenants.reload()
    assert [app.name for app in tenants.applications] == []
    assert await tenants.reload_if(await directory.version())
    assert [app.name for app in tenants.applications] == ["Meanwhile"]


async def test_deleted_applications_are_unknown_and_disabled_ones_known() -> None:
    world = World()
    tenants = await world.loaded()
    gone, gone_secret = await tenants.create_application("Gone")
    off, off_secret = await tenants.create_application("Off")
    await tenants.change(gone.key, lambda app: msgspec.structs.replace(app, deleted=True))
    await tenants.disable(off.key)
    await tenants.reload()
    assert tenants.get(gone.key) is None
    assert not signs_in(tenants, gone, gone_secret)
    assert signs_in(tenants, off, off_secret)
    with pytest.raises(NotFoundError):
        await tenants.enable(gone.key)


# --- applications -----------------------------------------------------------------------------------------------------


async def test_a_secret_has_256_bits_and_is_not_stored() -> None:
    world = World()
    tenants = await world.loaded()
    app, secret = await tenants.create_application("  Test  ")
    assert app.name == "Test"
    assert len(bytes.fromhex(secret)) == 32
    assert len(bytes.fromhex(app.key)) == 16
    stored = msgspec.json.encode(world.directory.stored[app.key]).decode()
    assert secret not in stored
    assert app.secrets[0].digest in stored


async def test_stored_hashes_are_useless_without_the_master_key() -> None:
    world = World()
    app, secret = await (await world.loaded()).create_application("Test")
    assert derive_pepper(MASTER_KEY) != derive_pepper(bytes(32))
    stranger = Tenants(FakeDirectory(), master_key=bytes(32), clock=world.clock, random_bytes=Dice())
    await stranger.load()
    stranger._applications[app.key] = app
    assert not signs_in(stranger, app, secret)


@pytest.mark.parametrize("name", ["", "   ", "x" * 101, "a\nb", "a\x00b", "a\u202eb"])
async def test_names_that_are_none(name: str) -> None:
    tenants = await World().loaded()
    with pytest.raises(IllegalArgumentError):
        await tenants.create_application(name)


async def test_namespaces_are_never_the_same() -> None:
    tenants = await World().loaded()
    one, _ = await tenants.create_application("Test")
    two, _ = await tenants.create_application("Test")
    assert one.namespace != two.namespace
    assert tenants.participant_id(one, "anna") != tenants.participant_id(two, "anna")
    assert tenants.participant_id(one, "anna") == tenants.participant_id(one, "anna")


async def test_two_secrets_are_good_during_a_rotation() -> None:
    world = World()
    tenants = await world.loaded()
    app, first = await tenants.create_application("Test")
    app, second = await tenants.rotate_secret(app.key, overlap=60)
    assert signs_in(tenants, app, first)
    assert signs_in(tenants, app, second)
    world.clock.now += 59
    assert signs_in(tenants, app, first)
    world.clock.now += 2
    assert not signs_in(tenants, app, first)
    assert signs_in(tenants, app, second)


async def test_a_second_rotation_ends_the_oldest_and_never_prolongs_an_end() -> None:
    world = World()
    tenants = await world.loaded()
    app, first = await tenants.create_application("Test")
    app, second = await tenants.rotate_secret(app.key, overlap=3_600)
    app, third = await tenants.rotate_secret(app.key, overlap=60)
    assert len(app.secrets) == 2
    assert [signs_in(tenants, app, secret) for secret in (first, second, third)] == [False, True, True]
    world.clock.now += 61
    assert [signs_in(tenants, app, secret) for secret in (first, second, third)] == [False, False, True]


async def test_a_rotation_without_overlap_ends_the_old_secret_at_once() -> None:
    tenants = await World().loaded()
    app, first = await tenants.create_application("Test")
    app, second = await tenants.rotate_secret(app.key, overlap=0)
    assert [signs_in(tenants, app, secret) for secret in (first, second)] == [False, True]


@pytest.mark.parametrize("overlap", [-1.0, 31 * 86_400.0, float("nan")])
async def test_an_overlap_out_of_range(overlap: float) -> None:
    tenants = await World().loaded()
    app, _ = await tenants.create_application("Test")
    with pytest.raises(IllegalArgumentError):
        await tenants.rotate_secret(app.key, overlap=overlap)


async def test_more_than_two_stored_secrets_do_not_break_signing_in() -> None:
    world = World()
    tenants = await world.loaded()
    app, secret = await tenants.create_application("Test")
    more = (*app.secrets, StoredSecret("00" * 32, 0), StoredSecret("11" * 32, 0))
    await tenants.change(app.key, lambda stored: msgspec.structs.replace(stored, secrets=more))
    assert signs_in(tenants, app, secret)


async def test_a_change_that_changes_nothing_is_not_written() -> None:
    world = World()
    tenants = await world.loaded()
    app, _ = await tenants.create_application("Test")
    before = await world.directory.version()
    assert await tenants.enable(app.key) == app
    assert await world.directory.version() == before


async def test_changes_of_one_node_do_not_overwrite_those_of_another() -> None:
    world = World()
    one, two = await world.loaded("one"), await world.loaded("two")
    app, _ = await one.create_application("Test")
    await two.disable(app.key)
    changed = await one.change(app.key, lambda stored: msgspec.structs.replace(stored, name="Other"))
    assert (changed.name, changed.disabled) == ("Other", True)


async def test_a_change_that_another_node_was_quicker_with_is_made_again_on_top() -> None:
    world = World()
    one, two = await world.loaded("one"), await world.loaded("two")
    app, _ = await one.create_application("Test")
    names: list[str] = []

    def rename(stored: Application) -> Application:
        if not names:
            present = world.directory.stored[app.key]
            other = msgspec.structs.replace(present, disabled=True, version=present.version + 1)
            world.directory.stored[app.key] = other
        names.append(stored.name)
        return msgspec.structs.replace(stored, name="Renamed")

    changed = await two.change(app.key, rename)
    assert (changed.name, changed.disabled, len(names)) == ("Renamed", True, 2)


async def test_a_race_lost_again_and_again_is_a_conflict() -> None:
    world = World()
    tenants = await world.loaded()
    app, _ = await tenants.create_application("Test")

    def race(stored: Application) -> Application:
        world.directory.stored[app.key] = msgspec.structs.replace(stored, version=stored.version + 1)
        return msgspec.structs.replace(stored, name="Late")

    with pytest.raises(ConflictError):
        await tenants.change(app.key, race)


# --- keys -------------------------------------------------------------------------------------------------------------


def test_a_key_is_announced_for_longer_than_copies_of_the_key_set_are_kept() -> None:
    assert ANNOUNCED >= 2 * JWKS_MAX_AGE


async def test_a_new_key_is_published_first_then_signs_and_the_old_one_verifies_to_the_end() -> None:
    world = World()
    tenants = await world.loaded()
    old = tenants.ring.current
    token = mint_api_token(
        tenants.ring, issuer=ISSUER, app="a", scopes=(), now=START, random_bytes=Dice(), life=86_400
    ).token
    new = await tenants.rotate_key()
    assert tenants.ring.current.kid == old.kid
    assert [key.kid for key in tenants.ring.upcoming] == [new.kid]
    assert {key["kid"] for key in tenants.ring.jwks()["keys"]} == {old.kid, new.kid}

    world.clock.now = START + ANNOUNCED
    assert tenants.ring.current.kid == new.kid
    assert [key.kid for key in tenants.ring.previous] == [old.kid]

    world.clock.now = START + 86_400
    assert verify(token, tenants.ring, kind=TokenKind.API, issuer=ISSUER, now=world.clock.now).app == "a"
    world.clock.now = START + ANNOUNCED + OVERLAP_SECONDS - 1
    assert old.kid in tenants.ring.by_kid
    world.clock.now = START + ANNOUNCED + OVERLAP_SECONDS + 3_600
    assert old.kid not in tenants.ring.by_kid


async def test_every_node_changes_keys_at_the_same_moment_without_a_command() -> None:
    world = World()
    one, two = await world.loaded("one"), await world.loaded("two")
    await one.rotate_key()
    await two.reload_if(await world.directory.version())
    for now in (START, START + ANNOUNCED - 1, START + ANNOUNCED):
        world.clock.now = now
        assert one.ring.current.kid == two.ring.current.kid


async def test_keys_are_sealed_where_they_are_stored() -> None:
    world = World()
    tenants = await world.loaded()
    (stored,) = world.directory.sealed.values()
    whole = msgspec.json.decode(tenants.ring.current.to_bytes(), type=dict[str, object])
    assert str(whole["d"]).encode() not in stored.sealed
    assert "sealed" not in repr(tenants.ring)


# --- revocation -------------------------------------------------------------------------------------------------------


async def test_what_is_lifted_does_not_count() -> None:
    world = World()
    tenants = await world.loaded()
    app, _ = await tenants.create_application("Test")
    cutoff = Restriction(app=app.key, kind="cutoff", subject="p", before=int(START) - 5)
    world.directory.restricted = [cutoff]
    await tenants.reload()
    assert tenants.revocations.cutoff(app, "p") == START - 5
    assert tenants.revocations.cutoff(app, "other") is None
    world.directory.restricted = [msgspec.structs.replace(cutoff, lifted=True)]
    await tenants.reload()
    assert tenants.revocations.cutoff(app, "p") is None


async def test_the_later_of_both_cut_offs_counts() -> None:
    world = World()
    tenants = await world.loaded()
    app, _ = await tenants.create_application("Test")
    world.directory.restricted = [Restriction(app=app.key, kind="cutoff", subject="p", before=int(START) - 5)]
    app = await tenants.change(app.key, lambda stored: msgspec.structs.replace(stored, revoked_before=int(START) - 3))
    await tenants.reload()
    assert tenants.revocations.cutoff(app, "p") == START - 3
    assert tenants.revocations.cutoff(app, None) == START - 3


async def test_a_cut_off_that_lies_ahead_is_waited_for() -> None:
    world = World()
    tenants = await world.loaded()
    app, _ = await tenants.create_application("Test")
    world.directory.restricted = [Restriction(app=app.key, kind="cutoff", subject="p", before=int(START) + 60)]
    await tenants.reload()
    with pytest.raises(ServiceUnavailableError) as caught:
        tenants.revocations.cutoff(app, "p")
    assert caught.value.retry_after == 57
    world.clock.now += 57
    assert tenants.revocations.cutoff(app, "p") == START + 60


# --- secrets of the service -------------------------------------------------------------------------------------------


KEY, TOKEN = "ab" * 32, "a-token-of-mine-1"


def test_secrets_are_made_once_for_this_user_alone(tmp_path: Path) -> None:
    data = tmp_path / "data"
    secrets = load_secrets(None, None, data)
    assert load_secrets(None, None, data) == secrets
    assert len(secrets.master_key) == 32
    assert len(secrets.admin_token) == 64
    assert sorted(path.name for path in data.iterdir()) == ["admin-token", "master-key"]
    for path in data.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_the_settings_win_over_the_files(tmp_path: Path) -> None:
    load_secrets(None, None, tmp_path)
    assert load_secrets(f" {KEY}\n", TOKEN, tmp_path) == (bytes.fromhex(KEY), TOKEN)


@pytest.mark.parametrize(
    ("key", "token", "missing"),
    [
        (None, None, "GREENROOM_MASTER_KEY and GREENROOM_ADMIN_TOKEN are missing"),
        (None, TOKEN, "GREENROOM_MASTER_KEY is missing"),
        (KEY, "", "GREENROOM_ADMIN_TOKEN is missing"),
    ],
)
def test_without_a_data_directory_all_that_is_missing_is_named_at_once(
    key: str | None, token: str | None, missing: str
) -> None:
    """With Redis it was one start for each."""
    with pytest.raises(IllegalArgumentError, match=missing) as refused:
        load_secrets(key, token, None)
    assert "openssl rand" in refused.value.hint


@pytest.mark.parametrize("key", ["ab" * 31, "ab" * 33, "zz" * 32, "hunter2"])
def test_a_bad_master_key_is_refused_without_repeating_it(key: str) -> None:
    with pytest.raises(IllegalArgumentError) as caught:
        load_secrets(key, TOKEN, None)
    assert key not in str(caught.value)


@pytest.mark.parametrize("token", ["short", "with spaces in between", "ünïcödeünïcödeü", "new\nline-new-line-x"])
def test_a_bad_admin_token_is_refused_without_repeating_it(token: str) -> None:
    with pytest.raises(IllegalArgumentError) as caught:
        load_secrets(KEY, token, None)
    assert token not in str(caught.value)


def test_a_file_that_others_may_read_is_refused(tmp_path: Path) -> None:
    load_secrets(None, None, tmp_path)
    (tmp_path / "master-key").chmod(0o644)
    with pytest.raises(IllegalArgumentError, match="chmod 600"):
        load_secrets(None, None, tmp_path)


def test_of_two_processes_that_make_it_both_read_the_same(tmp_path: Path) -> None:
    path = tmp_path / "secret"

    def make() -> str:
        # The other process is quicker, between our look and our write.
        assert read_or_make(path, lambda: "theirs") == "theirs"
        return "ours"

    assert read_or_make(path, make) == "theirs"
    assert [entry.name for entry in tmp_path.iterdir()] == ["secret"]


# --- restrictions that were made --------------------------------------------------------------------------------------


def cutoff(app: Application, subject: str, before: int) -> Restriction:
    return Restriction(app=app.key, kind="cutoff", subject=subject, before=before, created_at=int(START * 1000))


async def test_what_was_made_counts_without_reading_and_the_beat_reads_nothing() -> None:
    world = World()
    tenants = await world.loaded()
    app, _ = await tenants.create_application("App")
    await tenants.reload()
    reads, version = world.directory.reads, tenants.version
    entry = cutoff(app, "p", int(START) - 5)
    tenants.apply((entry,), version, version + 2)
    assert tenants.revocations.cutoff(app, "p") == START - 5
    assert entry in tenants.copy[2], "it is put back into an engine that lost it"
    assert not await tenants.reload_if(version + 2)
    assert world.directory.reads == reads


async def test_changes_that_come_in_another_order_are_counted_and_one_that_was_lost_is_read() -> None:
    world = World()
    tenants = await world.loaded()
    app, _ = await tenants.create_application("App")
    await tenants.reload()
    version = tenants.version
    for number in (2, 1, 0, 1):  # the second came twice
        tenants.apply((cutoff(app, f"p{number}", int(START) - 9),), version + number, version + number + 1)
    assert tenants.version == version + 3
    tenants.apply((cutoff(app, "p5", int(START) - 9),), version + 5, version + 6)
    assert tenants.version == version + 3
    world.directory.changes = version + 6
    world.directory.restricted = [cutoff(app, "p4", int(START) - 8)]
    assert await tenants.reload_if(version + 6)
    assert (tenants.revocations.cutoff(app, "p4"), tenants.version) == (START - 8, version + 6)


async def test_what_was_made_while_everything_was_read_is_not_forgotten() -> None:
    world = World()
    tenants = await world.loaded()
    app, _ = await tenants.create_application("App")
    await tenants.reload()
    world.directory.restricted = [cutoff(app, "other", int(START) - 9)]
    read = world.directory.restrictions

    async def read_and_then_it_is_made(app_key: str | None = None) -> tuple[Restriction, ...]:
        found = await read(app_key)
        tenants.apply((cutoff(app, "p", int(START) - 5),), tenants.version, tenants.version + 1)
        return found

    world.directory.restrictions = read_and_then_it_is_made  # type: ignore[method-assign, assignment]
    await tenants.reload()
    assert tenants.revocations.cutoff(app, "p") == START - 5
    assert tenants.revocations.cutoff(app, "other") == START - 9


async def test_a_cutoff_only_rises_and_a_block_that_is_lifted_is_gone() -> None:
    world = World()
    tenants = await world.loaded()
    app, _ = await tenants.create_application("App")
    for before in (5, 9, 7):
        tenants.apply((cutoff(app, "p", before),), 0, 0)
    assert [one.before for one in tenants.copy[2]] == [9]
    jti = Restriction(app=app.key, kind="jti", subject="jti")
    block = Restriction(app=app.key, kind="block", subject="p")
    token = cast(Any, SimpleNamespace(app=app.key, jti="jti", participant_id="p"))
    tenants.apply((jti, block), 0, 0)
    assert isinstance(tenants.revocations.refusal(token), ParticipantBlockedError)
    tenants.apply((msgspec.structs.replace(block, lifted=True),), 0, 0)
    assert isinstance(tenants.revocations.refusal(token), TokenInvalidError)


async def test_what_is_over_is_forgotten_however_fast_it_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(applications, "PRUNE_FROM", 10)
    world = World()
    tenants = await world.loaded()
    app, _ = await tenants.create_application("App")
    await tenants.reload()
    for number in range(1000):
        world.clock.now += 3600.0
        jti = Restriction(app=app.key, kind="jti", subject=str(number), created_at=int(world.clock.now * 1000))
        tenants.apply((jti,), 0, 0)
    assert len(tenants.copy[2]) < 200
    assert len(tenants.revocations.revoked_jtis) == len(tenants.copy[2])
