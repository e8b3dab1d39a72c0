"""The service as a process: signals, limits of the system, and the collector."""

from __future__ import annotations

import asyncio
import gc
import resource
import signal
from collections.abc import Awaitable, Callable, Iterable

import structlog

from greenroom.server.config import ServerConfig
from greenroom.server.service import Service
from greenroom.server.telemetry import logs

log = structlog.stdlib.get_logger("greenroom.server")

GC_THRESHOLD = (50_000, 20, 100)
"""Sessions are many and live long: the default of 700 looks at all of them far too often."""


def run(
    config: ServerConfig, ready: Callable[[Service], Awaitable[None]] | None = None, *, warnings: Iterable[str] = ()
) -> None:
    """The service, on uvloop; returns when it has stopped. ready: see `serve`. warnings: what was found amiss in the
    settings; logged first."""
    import uvloop

    logs.configure(config.log_level, config.log_format)
    for warning in warnings:
        log.warning(warning)
    raise_file_limit()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(Service(config), ready))


async def serve(service: Service, ready: Callable[[Service], Awaitable[None]] | None = None) -> None:
    """Runs until SIGTERM or SIGINT, or a drain that was asked for. SIGHUP reads the certificate again. ready: awaited
    when the service is; None: nobody waits for that."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, service.stop_requested.set)
    loop.add_signal_handler(signal.SIGHUP, service.reload_tls)
    await service.start()
    try:
        if ready is not None:
            await ready(service)
        tune_collector()
        await service.stop_requested.wait()
        log.info("stopping")
    finally:
        await service.stop()


def raise_file_limit() -> None:
    """As many open files as this process may have: each connection is one, and the usual soft limit is 1,024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        except (ValueError, OSError) as error:
            log.warning("the limit of open files was not raised", soft=soft, hard=hard, error=str(error))


def tune_collector() -> None:
    """What was made at start is never garbage; what comes later is looked at less often."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLD)
