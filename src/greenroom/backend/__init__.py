"""What an app's backend asks of Greenroom: tokens for its participants, who is there, and what happened.

`Backend` is for asyncio, `BlockingBackend` for programs without a loop. `verify_webhook` checks what the service posts.
"""

from greenroom.backend.blocking import BlockingBackend
from greenroom.backend.client import Backend
from greenroom.backend.models import BlockInfo, CountsInfo, KickResult, ServiceEvent, SessionInfo
from greenroom.backend.webhooks import WebhookVerificationError, verify_webhook

__all__ = [
    "Backend",
    "BlockInfo",
    "BlockingBackend",
    "CountsInfo",
    "KickResult",
    "ServiceEvent",
    "SessionInfo",
    "WebhookVerificationError",
    "verify_webhook",
]
