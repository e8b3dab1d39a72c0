"""OpenTelemetry spans of opens, resumes, calls to the engine and webhooks: the extra ``greenroom[otel]``.

Off unless the setting `tracing` is ``otlp``; then spans go where the standard variables say
(``OTEL_EXPORTER_OTLP_ENDPOINT``, ``OTEL_SERVICE_NAME``, …). Spans hold the application's key, session ids and codes: no
tokens, names, external ids or addresses.
"""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable, Coroutine
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from greenroom.core.requests import Attached, AttachRequest, OpenRequest
from greenroom.errors import GreenroomError, IllegalArgumentError
from greenroom.model import Application, Event
from greenroom.server.version import version

if TYPE_CHECKING:
    from opentelemetry.trace import Span, TracerProvider

Work = Callable[..., Awaitable[Any]]


class TracedAttempt(Protocol):
    """The result of an attempt to deliver."""

    @property
    def status(self) -> int | None:
        """None where no answer came."""

    @property
    def delivered(self) -> bool: ...


AttemptT = TypeVar("AttemptT", bound=TracedAttempt)


class Tracing:
    """Makes the spans. provider: of OpenTelemetry's API. close: ends the exporter, where there is one of ours."""

    def __init__(self, provider: TracerProvider, close: Callable[[], None] = lambda: None) -> None:
        from opentelemetry.trace import Status, StatusCode

        self._tracer = provider.get_tracer("greenroom", version())
        self._failed = functools.partial(Status, StatusCode.ERROR)
        self.close = close

    def _end(self, span: Span, error: GreenroomError) -> None:
        # Its number and word; never its text, which may hold what a client sent.
        span.set_attribute("greenroom.error", error.reason)
        span.set_attribute("greenroom.code", int(error.code))
        span.set_status(self._failed(error.reason))

    async def _within(self, span: Span, work: Awaitable[Any]) -> Any:
        try:
            return await work
        except GreenroomError as error:
            self._end(span, error)
            raise
        except Exception as error:
            span.set_attribute("greenroom.error", type(error).__name__)
            span.set_status(self._failed(type(error).__name__))
            raise

    def _span(self, name: str, **attributes: str) -> Any:
        named = {f"greenroom.{key}": value for key, value in attributes.items()}
        return self._tracer.start_as_current_span(
            name, attributes=named, record_exception=False, set_status_on_exception=False
        )

    def engine_call(self, name: str, call: Work) -> Work:
        """The call, within a span of its own."""

        async def traced(*arguments: Any, **named: Any) -> Any:
            with self._span(f"engine.{name}") as span:
                return await self._within(span, call(*arguments, **named))

        return traced

    async def joining(self, request: OpenRequest | AttachRequest, work: Awaitable[Any]) -> Any:
        """An open or a resume."""
        name = "session.resume" if isinstance(request, AttachRequest) else "session.open"
        with self._span(name) as span:
            joined: Attached = await self._within(span, work)
            span.set_attribute("greenroom.app", joined.session.app)
            span.set_attribute("greenroom.session", joined.session.id)
            span.set_attribute("greenroom.generation", joined.session.generation)
            return joined

    async def webhook(self, app: Application, event: Event, work: Coroutine[Any, Any, AttemptT]) -> AttemptT:
        """An attempt to deliver."""
        with self._span("webhook", app=app.key, event=event.id, type=event.type) as span:
            outcome: AttemptT = await self._within(span, work)
            if outcome.status is not None:
                span.set_attribute("http.response.status_code", outcome.status)
            if not outcome.delivered:
                span.set_status(self._failed("not delivered"))
            return outcome


def make_tracing(setting: str) -> Tracing | None:
    """What the setting `tracing` asks for. Raises IllegalArgumentError where the extra is not installed."""
    if setting == "off":
        return None
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError:
        raise IllegalArgumentError(
            "tracing = otlp needs OpenTelemetry, which is not installed.",
            hint="Run in a clone of Greenroom: pip install '.[server,otel]'",
        ) from None
    resource = Resource.create({"service.version": version()})
    if resource.attributes.get("service.name", "unknown_service").startswith("unknown_service"):  # type: ignore[union-attr]
        resource = resource.merge(Resource({"service.name": "greenroom"}))
    provider = TracerProvider(resource=resource)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return Tracing(provider, provider.shutdown)
