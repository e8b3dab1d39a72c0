"""ServerSession: what the service must do next with one connection."""

from greenroom.core.server.session import ServerSession

__all__ = ["ServerSession"]
