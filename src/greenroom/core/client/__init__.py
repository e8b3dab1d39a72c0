"""ClientSession: what an SDK must do next."""

from greenroom.core.client.session import ClientSession

__all__ = ["ClientSession"]
