"""The client for an app's backend: tokens for its participants, who is online, kicks and blocks, events.

`Backend` is for asyncio, `BlockingBackend` for programs without a loop. `verify_webhook` checks what the service posts.
`sign_client_token` signs in participants without asking the service.
"""

from greenroom.backend.blocking import BlockingBackend
from greenroom.backend.client import Backend
from greenroom.backend.models import (
    BlockInfo,
    CountsInfo,
    InvitationInfo,
    KickResult,
    RoomInfo,
    ServiceEvent,
    SessionInfo,
)
from greenroom.backend.signing import sign_client_token
from greenroom.backend.webhooks import WebhookVerificationError, verify_webhook

__all__ = [
    "Backend",
    "BlockInfo",
    "BlockingBackend",
    "CountsInfo",
    "InvitationInfo",
    "KickResult",
    "RoomInfo",
    "ServiceEvent",
    "SessionInfo",
    "WebhookVerificationError",
    "sign_client_token",
    "verify_webhook",
]
