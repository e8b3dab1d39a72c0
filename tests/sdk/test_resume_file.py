"""A program that was killed resumes its session."""

from __future__ import annotations

import asyncio
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from greenroom import Greenroom, IllegalArgumentError, ParticipantInfo
from greenroom.core.client.opening import SavedSession
from greenroom.sdk.resume_file import ResumeFile
from greenroom.testing.fake_service import FakeService, make_token

SAVED = SavedSession(
    id="s1", secrets=["a", "b"], attempt=2, grace=40.0, info=ParticipantInfo("Ada"), app="app", external_id="ada"
)


def test_what_is_saved_is_read_again_and_only_by_its_owner(tmp_path: Path) -> None:
    path = tmp_path / "session"
    first = ResumeFile(path)
    assert first.load() is None
    first.save(SAVED)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    first.release()
    second = ResumeFile(path)
    assert second.load() == SAVED
    second.save(None)
    assert not path.exists()
    second.release()


@pytest.mark.skipif(sys.platform == "win32", reason="no such locks")
def test_one_process_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "session"
    first = ResumeFile(path)
    with pytest.raises(IllegalArgumentError, match="another process uses"):
        ResumeFile(path)
    first.release()
    ResumeFile(path).release()


@pytest.mark.parametrize("content", [b"", b"{", b"null", b'{"id":5}', b"\xff"])
def test_a_damaged_file_is_no_session(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "session"
    path.write_bytes(content)
    file = ResumeFile(path)
    assert file.load() is None
    file.release()


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(IllegalArgumentError, match="cannot be used"):
        ResumeFile(tmp_path / "nowhere" / "session")


PROGRAM = """
import asyncio, sys
from greenroom import Greenroom, ParticipantInfo

async def main():
    sdk = Greenroom(sys.argv[1], resume_from=sys.argv[2])
    sdk.initialize_token(sys.argv[3])
    await sdk.session.open(ParticipantInfo(name="Ada"))
    print("open", flush=True)
    await asyncio.sleep(60)

asyncio.run(main())
"""


async def test_after_kill_9_and_a_new_start_the_person_is_there_once(tmp_path: Path) -> None:
    path, token = tmp_path / "session", make_token(external_id="ada")
    async with FakeService() as service:
        program = await asyncio.to_thread(_started, service.url, path, token)
        program.send_signal(signal.SIGKILL)
        await asyncio.to_thread(program.wait)
        assert path.exists()
        sdk = Greenroom(service.url, resume_from=path)
        sdk.initialize_token(token)
        await sdk.session.open(ParticipantInfo(name="Ada"))
        assert len(service.sessions) == 1
        assert [method for method, _ in service.calls].count("session.resume") == 1
        await sdk.aclose()
        assert not path.exists()


def _started(url: str, path: os.PathLike[str], token: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", PROGRAM, url, os.fspath(path), token]
    program = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert program.stdout is not None
    assert program.stdout.readline() == "open\n"
    program.stdout.close()
    return program
