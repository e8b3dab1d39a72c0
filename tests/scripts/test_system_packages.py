"""`scripts/system-packages` in a made-up machine: what is missing, who may install it, and what it says."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts/system-packages"
TOOLS = ("bash", "dirname", "env", "mktemp", "rm", "chmod", "tail", "sleep")
COMMANDS = ("redis-server", "ip", "openssl", "chromium", "nginx", "haproxy", "caddy", "promtool", "valgrind")


class Machine:
    """A PATH with a few tools on it, and a log of what was asked of sudo and apt-get."""

    def __init__(self, root: Path) -> None:
        self.bin = root / "bin"
        self.bin.mkdir()
        self.calls = root / "calls"
        self.script = root / "a clone" / "scripts" / "system-packages"
        self.script.parent.mkdir(parents=True)
        # The one file outside the clone that it writes.
        self.script.write_text(SCRIPT.read_text().replace("/usr/sbin/policy-rc.d", str(root / "policy-rc.d")))
        self.script.chmod(0o755)
        for tool in TOOLS:
            (self.bin / tool).symlink_to(shutil.which(tool) or f"/bin/{tool}")
        self.command("python3")
        self.command("id", "echo 1000")
        self.command("apt-get", f'echo "apt-get $*" >> "{self.calls}"')

    def command(self, name: str, body: str = "exit 0") -> None:
        path = self.bin / name
        path.write_text(f"#!/bin/sh\n{body}\n")
        path.chmod(0o755)

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        environment = {"PATH": str(self.bin)}
        return subprocess.run([self.script, *arguments], env=environment, capture_output=True, text=True)

    def called(self) -> str:
        return self.calls.read_text() if self.calls.exists() else ""


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


@pytest.mark.parametrize("chore", ["run", "test", "bench"])
def test_nothing_missing_nothing_done(machine: Machine, chore: str) -> None:
    for name in COMMANDS:
        machine.command(name)
    result = machine.run(chore)
    assert (result.returncode, result.stdout, result.stderr, machine.called()) == (0, "", "", "")


def test_to_run_the_service_needs_none_of_what_the_tests_need(machine: Machine) -> None:
    assert machine.run("run").returncode == 0


def test_without_rights_it_prints_the_one_command_and_exits_3(machine: Machine) -> None:
    machine.command("sudo", "exit 1")
    result = machine.run("test")
    assert result.returncode == 3
    assert " redis-server" in result.stderr
    assert " chromium" in result.stderr
    command = str(machine.script).replace(" ", "\\ ")
    assert f"\n    sudo {command} test\n" in result.stderr
    assert machine.called() == ""


def test_without_sudo_the_command_is_for_su(machine: Machine) -> None:
    result = machine.run("test")
    assert result.returncode == 3
    assert "\n    su -c '" in result.stderr


def test_a_sudo_that_asks_nothing_is_used(machine: Machine) -> None:
    machine.command("sudo", f'[ "$2" = true ] || echo "sudo $*" >> "{machine.calls}"')
    assert machine.run("test").returncode == 0
    assert machine.called() == f"sudo -n {machine.script} test\n"


def test_to_ask_installs_nothing(machine: Machine) -> None:
    assert machine.run("--only-ask", "test").returncode == 3
    machine.command("sudo", f'[ "$2" = true ] || echo "sudo $*" >> "{machine.calls}"')
    assert machine.run("--only-ask", "test").returncode == 0
    machine.command("id", "echo 0")
    assert machine.run("--only-ask", "test").returncode == 0
    assert machine.called() == ""


def test_lists_of_packages_are_fetched_only_where_they_are_not_there(machine: Machine) -> None:
    machine.command("id", "echo 0")
    machine.command("sudo", "exit 1")
    assert machine.run("test").returncode == 0
    words = [" ".join(call.split()[:4]) for call in machine.called().splitlines()]
    assert words == ["apt-get install --simulate redis-server", "apt-get -o DPkg::Lock::Timeout=600 install"]
    machine.calls.unlink()
    machine.command("apt-get", f'echo "apt-get $*" >> "{machine.calls}"; [ "$2" != --simulate ]')
    assert machine.run("test").returncode == 0
    words = [call.split()[3] for call in machine.called().splitlines()]
    assert words == ["redis-server", "update", "install"]


def test_a_python_that_cannot_make_environments_is_noticed(machine: Machine) -> None:
    machine.command("python3", "exit 1")
    result = machine.run("run")
    assert result.returncode == 3
    assert "python3-venv" in result.stderr


def test_an_unknown_chore_is_refused(machine: Machine) -> None:
    assert machine.run("everything").returncode == 2
