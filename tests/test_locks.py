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


def locked(lock: str) -> dict[str, str]:
    """The versions in `lock`, by name."""
    text = (REQUIREMENTS / lock).read_text()
    return {str(canonicalize_name(n)): v for n, v in re.findall(r"^([\w.-]+)==(\S+)", text, re.MULTILINE)}


def is_needed(requirement: Requirement, python: str, machine: str) -> bool:
    environment = {
        "python_full_version": python,
        "python_version": ".".join(python.split(".")[:2]),
        "platform_machine": machine,
        "platform_system": "Linux",
        "sys_platform": "linux",
        "extra": "",
    }
    return requirement.marker is None or requirement.marker.evaluate(environment)


@pytest.mark.parametrize("lock", ["dev.txt", "server.txt"])
@pytest.mark.parametrize("python", PYTHONS)
def test_nothing_is_missing_on(python: str, lock: str) -> None:
    names = set(locked(lock))
    missing = {
        f"{name} needs {text}"
        for name in names
        for text in (metadata.requires(name) if is_installed(name) else None) or []
        for requirement in [Requirement(text)]
        if canonicalize_name(requirement.name) not in names
        and any(is_needed(requirement, python, machine) for machine in MACHINES)
    }
    assert missing == set()


def is_installed(name: str) -> bool:
    try:
        metadata.distribution(name)
    except metadata.PackageNotFoundError:
        return False
    return True


@pytest.mark.parametrize("lock", ["dev.txt", "node.txt", "server.txt"])
def test_locks_name_no_package_index(lock: str) -> None:
    assert not re.findall(r"^-|://", (REQUIREMENTS / lock).read_text(), re.MULTILINE)


def test_the_service_runs_on_what_was_tested() -> None:
    assert locked("server.txt").items() <= locked("dev.txt").items()
    assert "pytest" not in locked("server.txt")
