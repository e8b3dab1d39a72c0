"""Secrets of the service and of applications: made once, never stored in clear, rotated."""

from __future__ import annotations

import stat
from pathlib import Path

import msgspec
import pytest

from greenroom.errors import IllegalArgumentError
from greenroom.model import StoredSecret
from greenroom.server.tenants.applications import Tenants
from greenroom.server.tenants.secrets import derive_pepper, load_secrets, read_or_make
from tests.server.http_service import MASTER_KEY, Dice, FakeDirectory
from tests.server.tenants.test_applications import World, signs_in

KEY, TOKEN = "ab" * 32, "a-token-of-mine-1"


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
