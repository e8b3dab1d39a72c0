"""`GET /metrics`, for Prometheus."""

from __future__ import annotations

from greenroom.server.http.routes import Answer, Auth, Call, Nothing, public


async def metrics(call: Call[Nothing, Nothing, Nothing]) -> Answer:
    """What the node counts and measures, for Prometheus. A request from this machine itself, not through a proxy, needs
    no token if the setting `metrics_from_loopback` is on."""
    body, content_type = call.context.metrics.page(call.headers.get("accept", ""))
    return Answer(body, content_type=content_type)


ROUTES = (
    public(
        "GET /metrics",
        metrics,
        "Metrics, for Prometheus",
        reply_type=str,
        tag="service",
        auth=Auth.METRICS,
        reply_content_type="text/plain",
        headers={"Cache-Control": "no-store"},
    ),
)
