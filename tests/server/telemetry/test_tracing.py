"""Spans: what is there, what is in them, and that they are off unless asked for."""

from __future__ import annotations

import sys
import tempfile
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from greenroom.engines.embedded import EmbeddedEngine
from greenroom.errors import IllegalArgumentError
from greenroom.server.service import Service
from greenroom.server.telemetry.tracing import Tracing, make_tracing
from tests.server.harness import RefusedError, running_service, short_config


def traced(monkeypatch: pytest.MonkeyPatch) -> InMemorySpanExporter:
    """What services that are made from now on export to."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr("greenroom.server.service.make_tracing", lambda _setting: Tracing(provider))
    return exporter


def named(exporter: InMemorySpanExporter, name: str) -> ReadableSpan:
    return next(span for span in exporter.get_finished_spans() if span.name == name)


async def test_an_open_and_what_it_asks_of_the_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    exporter = traced(monkeypatch)
    async with running_service() as running:
        app = await running.new_application()
        async with running.connect() as client:
            opened = await client.open(app.token("anna"))
            await client.drop()
        async with running.connect() as client:
            await client.resume(opened)
    span = named(exporter, "session.open")
    assert span.attributes is not None
    assert span.attributes["greenroom.app"] == app.key
    assert span.attributes["greenroom.session"] == opened.id
    call = named(exporter, "engine.registry.open")
    assert call.parent is not None
    assert span.context is not None
    assert call.parent.span_id == span.context.span_id
    resumed = named(exporter, "session.resume").attributes
    assert resumed is not None
    assert resumed["greenroom.generation"] == 2


async def test_a_refusal_is_traced_with_its_number(monkeypatch: pytest.MonkeyPatch) -> None:
    exporter = traced(monkeypatch)
    async with running_service() as running:
        app = await running.new_application()
        async with running.connect() as client:
            opened = await client.open(app.token("anna"))
            await client.call("session.close")
        async with running.connect() as client:
            with pytest.raises(RefusedError) as caught:
                await client.resume(opened)
    span = named(exporter, "session.resume")
    assert span.attributes is not None
    assert span.attributes["greenroom.code"] == caught.value.code
    assert not span.status.is_ok


async def test_spans_hold_no_secrets_and_no_names(monkeypatch: pytest.MonkeyPatch) -> None:
    exporter = traced(monkeypatch)
    canary = "c4n4ry"
    async with running_service() as running:
        app = await running.new_application(canary)
        token = app.token(canary)
        async with running.connect() as client:
            opened = await client.open(
                token, participant={"name": canary, "avatarUrl": f"https://{canary}.test/"}, device={"name": canary}
            )
            await client.call("session.updateParticipantInfo", updateId=canary, name=canary + "2")
            with pytest.raises(RefusedError):
                await client.call("session.updateParticipantInfo", updateId="2", name=canary * 100)
    received = " ".join(span.to_json() for span in exporter.get_finished_spans())
    assert "session.open" in received
    for secret in (canary, token, opened.secret, app.secret, app.participant_id(canary)):
        assert secret not in received


def test_off_is_nothing() -> None:
    assert make_tracing("off") is None
    with tempfile.TemporaryDirectory() as data:
        config = short_config(data)
        assert Service(config, engine=EmbeddedEngine(data))._tracing is None


def test_what_is_missing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    with pytest.raises(IllegalArgumentError, match="not installed"):
        make_tracing("otlp")


def test_otlp_goes_where_the_variables_say(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("OTEL_SERVICE_NAME", "rooms")
    tracing = make_tracing("otlp")
    assert tracing is not None
    resource: Any = tracing._tracer.resource  # type: ignore[attr-defined]
    assert resource.attributes["service.name"] == "rooms"
    tracing.close()
