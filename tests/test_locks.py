"""The lock holds what is needed on every Python we support, not only on the one it was written with."""

from __future__ import annotations

import re
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

REQUIREMENTS = Path(__file__).parents[1] / "requirements"
# 3.11.2 is Debian 12's; what a package needs before 3.11.3 was once missing from the lock.
PYTHONS = ("3.11.2", "3.11.9", "3.12.3", "3.13.1", "3.14.0")
MACHINES = ("x86_64", "aarch64")
LOCKS = ("dev.txt", "server.txt", "build.txt", "uv.txt", "node.txt", "dist.txt")


def locked(lock: str, python: str = PYTHONS[-1], machine: str = MACHINES[0]) -> dict[str, str]:
    """The versions that `lock` installs there, by name."""
    lines = re.findall(r"^[\w.-]+==[^\\\n]+", (REQUIREMENTS / lock).read_text(), re.MULTILINE)
    found = [Requirement(line) for line in lines]
    return {str(canonicalize_name(one.name)): str(one.specifier) for one in found if is_needed(one, python, machine)}


def is_needed(requirement: Requirement, python: str, machine: str) -> bool:
    environment = {
        "implementation_name": "cpython",
        "platform_python_implementation": "CPython",
        "python_full_version": python,
        "python_version": ".".join(python.split(".")[:2]),
        "platform_machine": machine,
        "platform_system": "Linux",
        "sys_platform": "linux",
        "extra": "",
    }
    return requirement.marker is None or requirement.marker.evaluate(environment)


@pytest.mark.parametrize("lock", LOCKS)
@pytest.mark.parametrize("python", PYTHONS)
def test_nothing_is_missing_on(python: str, lock: str) -> None:
    missing = {
        f"{name} on {machine} needs {text}"
        for machine in MACHINES
        for names in [locked(lock, python, machine)]
        for name in names
        for text in (metadata.requires(name) if is_installed(name) else None) or []
        for requirement in [Requirement(text)]
        if canonicalize_name(requirement.name) not in names and is_needed(requirement, python, machine)
    }
    assert missing == set()


def is_installed(name: str) -> bool:
    try:
        metadata.distribution(name)
    except metadata.PackageNotFoundError:
        return False
    return True


@pytest.mark.parametrize("lock", LOCKS)
def test_locks_name_no_package_index(lock: str) -> None:
    assert not re.findall(r"^-|://", (REQUIREMENTS / lock).read_text(), re.MULTILINE)


@pytest.mark.parametrize("lock", LOCKS)
def test_each_file_is_pinned_by_hash(lock: str) -> None:
    text = (REQUIREMENTS / lock).read_text()
    assert locked(lock)
    assert len(re.findall(r"^[\w.-]+==.*\\\n    --hash=sha256:", text, re.MULTILINE)) == len(
        re.findall(r"^[\w.-]", text, re.MULTILINE)
    )


def test_a_service_and_a_build_run_what_was_tested() -> None:
    for lock in ("server.txt", "build.txt"):
        assert locked(lock).items() <= locked("dev.txt").items()
    assert "pytest" not in locked("server.txt")
