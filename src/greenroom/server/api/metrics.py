"""`GET /metrics`, for Prometheus."""

from __future__ import annotations

from greenroom.server.http.routes import Answer, Auth, Call, Nothing, Route


async def metrics(call: Call[Nothing, Nothing, Nothing]) -> Answer:
    """What the node counts and measures, for Prometheus. From this machine itself without a token, unless through a
    proxy."""
    body, content_type = call.context.metrics.page(call.headers.get("accept", ""))
    return Answer(body, content_type=content_type)


ROUTES = (
    Route(
        method="GET",
        path="/metrics",
        handler=metrics,
        summary="Metrics, for Prometheus",
        tag="service",
        auth=Auth.LOCAL_OR_ADMIN,
        reply_type=str,
        reply_content_type="text/plain",
        headers={"Cache-Control": "no-store"},
    ),
)
