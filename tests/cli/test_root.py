"""What ``greenroom`` itself takes, before any verb."""

from __future__ import annotations

from importlib.metadata import version

from tests.cli.running import run_here


def test_the_version() -> None:
    ran = run_here("--version")
    assert (ran.code, ran.out, ran.err) == (0, f"greenroom {version('greenroom')}\n", "")


def test_without_a_verb_the_help_is_shown() -> None:
    ran = run_here()
    assert ran.code == 2
    assert "Usage: greenroom" in ran.out + ran.err
    assert "Greenroom, the session service for real-time communications apps." in ran.out + ran.err
