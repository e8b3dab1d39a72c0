"""The inside of ``greenroom serve``."""

from __future__ import annotations

import json
import os
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from greenroom.cli.discovery import SERVICE_FILE
from greenroom.cli.output import print_json
from greenroom.cli.welcome import Demo, show_ready
from greenroom.model import Application, participant_id_of
from greenroom.server.api.demo import DEMO_FILE
from greenroom.server.process import run as run_service
from greenroom.server.tenants.secrets import read_or_make
from greenroom.tokens import SESSION_SCOPES, BasicCredentials, mint_client_token

if TYPE_CHECKING:
    from greenroom.server.config import ServerConfig
    from greenroom.server.service import Service

DEMO_NAME = "Demo"
DEMO_EXTERNAL_ID = "demo"
DEMO_SECRET_FILE = "demo-secret"
"""In the data directory, mode 0600."""
DEMO_TOKEN_LIFE = 86_400
"""Seconds: a day of trying things out."""


def run(config: ServerConfig, *, dev: bool, as_json: bool, warnings: Iterable[str] = ()) -> None:
    """Runs the service until SIGTERM or Ctrl-C; says when it is ready. warnings: see `Loaded.warnings`."""
    data = Path(config.data_dir)
    try:
        run_service(config, announcer(data, dev=dev, as_json=as_json), warnings=warnings)
    finally:
        forget_service(data)


def announcer(data: Path, *, dev: bool, as_json: bool) -> Callable[[Service], Awaitable[None]]:
    """What is done when the service is ready: the demo is made, other verbs can find the service, the welcome is
    printed."""

    async def announce(service: Service) -> None:
        demo = await _demo(service, data) if dev else None
        _note_service(data, service.url)
        if as_json:
            print_json({"url": service.url, **({} if demo is None else _as_json(demo))})
        else:
            show_ready(service.url, data, demo)

    return announce


def _as_json(demo: Demo) -> dict[str, str]:
    return {"appKey": demo.app_key, "appSecret": demo.app_secret, "token": demo.token, "externalId": demo.external_id}


async def _demo(service: Service, data: Path) -> Demo:
    """The demo application. Its secret is kept in the data directory, so that what was saved works after a restart."""
    tenants = service.tenants
    known = await _known_demo(service, data)
    path = data / DEMO_SECRET_FILE
    kept = path.read_text(encoding="utf-8").strip() if path.is_file() else ""
    if known is not None and tenants.authenticate([BasicCredentials(known.key, kept)]) is not None:
        app, secret = known, kept
    else:
        if known is None:
            app, secret = await tenants.create_application(DEMO_NAME)
            _note_demo(data, app.key)
        else:
            app, secret = await tenants.rotate_secret(known.key, overlap=0)
        path.unlink(missing_ok=True)
        read_or_make(path, lambda: secret)
    participant_id = participant_id_of(app.namespace, DEMO_EXTERNAL_ID)
    minted = mint_client_token(
        tenants.keys.ring,
        issuer=service.issuer,
        app=app.key,
        version=2,
        scopes=SESSION_SCOPES,
        now=tenants.now(),
        random_bytes=tenants.random_bytes,
        participant_id=participant_id,
        external_id=DEMO_EXTERNAL_ID,
        life=DEMO_TOKEN_LIFE,
        issued_after=tenants.revocations.cutoff(app, participant_id),
    )
    return Demo(app.key, secret, minted.token, DEMO_EXTERNAL_ID)


def _note_demo(data: Path, key: str) -> None:
    data.mkdir(parents=True, exist_ok=True)  # the embedded engine has made it; with Redis nobody has
    (data / DEMO_FILE).write_text(key + "\n", encoding="utf-8")


async def _known_demo(service: Service, data: Path) -> Application | None:
    try:
        key = (data / DEMO_FILE).read_text(encoding="utf-8").strip()
    except OSError:
        return None
    app = service.tenants.get(key)
    if app is not None and app.disabled:
        return await service.tenants.enable(key)
    return app


def _note_service(data: Path, url: str) -> None:
    """So that other verbs find the service; whole or not at all. Harmless where the directory cannot be written."""
    try:
        data.mkdir(parents=True, exist_ok=True)
        draft = data / f".{SERVICE_FILE}.{os.getpid()}"
        draft.write_text(json.dumps({"url": url, "pid": os.getpid()}) + "\n", encoding="utf-8")
        draft.replace(data / SERVICE_FILE)
    except OSError:
        pass


def forget_service(data: Path) -> None:
    """This process runs no service any more."""
    path = data / SERVICE_FILE
    try:
        if json.loads(path.read_text(encoding="utf-8"))["pid"] == os.getpid():
            path.unlink()
    except (OSError, ValueError, KeyError, TypeError):
        pass
