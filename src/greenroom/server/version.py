"""Which Greenroom this is."""

from __future__ import annotations

from functools import lru_cache
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed_version


@lru_cache(maxsize=1)
def version() -> str:
    """The version of the installed package; "0" for a source tree that was never installed."""
    try:
        return installed_version("greenroom")
    except PackageNotFoundError:
        return "0"
