"""The interpreters of this machine."""

from __future__ import annotations

import sys
from pathlib import Path

from benchmarks import environment
from benchmarks.environment import Interpreter


def test_the_fastest_interpreter_is_chosen_whatever_it_says_of_itself() -> None:
    slow = Interpreter("/a/python3.13", "3.13.0", 0.019, pgo=True, lto=True, headers=True)
    fast = Interpreter("/usr/bin/python3.11", "3.11.2", 0.014, pgo=False, lto=False, headers=False)
    assert environment.fastest([slow, fast]) is fast
    assert slow.build == "PGO and LTO"


def test_this_interpreter_is_one_and_a_shell_is_none() -> None:
    own = environment.look(Path(sys.executable))
    assert own is not None
    assert own.version == sys.version.split()[0]
    assert own.seconds > 0
    assert environment.look(Path("/bin/sh")) is None
